"""LevelDB's log format (doc/log_format.md of its source), read and written, so that tests can damage it exactly.

Logs and the manifest share it: blocks of 32 KiB, in them fragments of records, each with a masked CRC-32C.
"""

from dataclasses import dataclass
from pathlib import Path

BLOCK = 32 * 1024
HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def _table() -> list[int]:
    entries = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        entries.append(crc)
    return entries


_CRC_TABLE = _table()


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as LevelDB stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Fragment:
    """One physical record."""

    offset: int
    """Of its header in the file."""
    kind: int
    data: bytes


def read_fragments(path: Path) -> list[Fragment]:
    data = path.read_bytes()
    found = []
    at = 0
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        assert masked_crc(data[at + 6 : at + HEADER + length]) == int.from_bytes(data[at : at + 4], "little")
        found.append(Fragment(at, kind, data[at + HEADER : at + HEADER + length]))
        at += HEADER + length
    return found


def read_records(path: Path) -> list[bytes]:
    """The whole records, put together again."""
    records: list[bytes] = []
    for fragment in read_fragments(path):
        if fragment.kind in (FULL, FIRST):
            records.append(b"")
        records[-1] += fragment.data
    return records


def write_records(path: Path, records: list[bytes]) -> None:
    out = bytearray()
    for record in records:
        rest, first = record, True
        while first or rest:
            left = BLOCK - len(out) % BLOCK
            if left < HEADER:
                out += bytes(left)
                left = BLOCK
            piece, rest = rest[: left - HEADER], rest[left - HEADER :]
            kind = (FULL if not rest else FIRST) if first else (LAST if not rest else MIDDLE)
            body = bytes([kind]) + piece
            out += masked_crc(body).to_bytes(4, "little") + len(piece).to_bytes(2, "little") + body
            first = False
    path.write_bytes(bytes(out))


def stretch_last_record(path: Path) -> None:
    """Flip the highest bit of the length of the last fragment: LevelDB then takes it for a write that was torn."""
    data = bytearray(path.read_bytes())
    data[read_fragments(path)[-1].offset + 5] ^= 0x80
    path.write_bytes(bytes(data))
