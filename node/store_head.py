"""A small file beside the database that knows how far the database must have come.

LevelDB takes a damaged length in the last records of its log for the end of the log, and opens an older state without
a word. So after every synced write its number, and the height and hash of the last block, go into this file; a database
that is behind it has lost something. Two slots take turns, each in a sector of its own and checksummed: a write that
is torn destroys only the slot that was the older one anyway.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from node.crash import crash_point
from node.store_errors import StoreCorrupted, StoreMissing, storage_errors

_MAGIC = b"aitbchd1"
_SLOT_BYTES = 4096
_RECORD_BYTES = 64

# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True, slots=True)
class HeadRecord:
    """How far the database had come when the record was written."""

    sequence: int
    """Number of the last synced write, from 1."""
    height: int
    hash: bytes
    """32 bytes: the hash of the last block."""

    def encode(self) -> bytes:
        """64 bytes: magic with version, sequence, height, hash, and the first 8 bytes of their SHA-256."""
        data = _MAGIC + self.sequence.to_bytes(8, "big") + self.height.to_bytes(8, "big") + self.hash
        return data + sha256(data).digest()[:8]

    @staticmethod
    def decode(data: bytes) -> "HeadRecord | None":
        """The record, or None if the bytes are not one."""
        if len(data) != _RECORD_BYTES or data[:8] != _MAGIC or sha256(data[:56]).digest()[:8] != data[56:]:
            return None
        return HeadRecord(int.from_bytes(data[8:16], "big"), int.from_bytes(data[16:24], "big"), data[24:56])


class HeadFile:
    """The open file. Not safe for two threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @staticmethod
    def create(path: Path, record: HeadRecord) -> None:
        """Make the file with its first record, synced. The caller syncs the directory."""
        with storage_errors():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.pwrite(descriptor, bytes(2 * _SLOT_BYTES), 0)
                os.pwrite(descriptor, record.encode(), _offset(record))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @staticmethod
    def open(path: Path) -> "tuple[HeadFile, HeadRecord]":
        """The file and its newest good record. Raises StoreMissing or StoreCorrupted."""
        with storage_errors():
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError as error:
                raise StoreMissing(path=str(path)) from error
            data = os.pread(descriptor, 2 * _SLOT_BYTES + 1, 0)
        records = [HeadRecord.decode(data[at : at + _RECORD_BYTES]) for at in (0, _SLOT_BYTES)]
        good = [record for record in records if record is not None]
        if not good or len(data) != 2 * _SLOT_BYTES:
            os.close(descriptor)
            raise StoreCorrupted(reason="the head file is damaged", path=str(path))
        return HeadFile(descriptor), max(good, key=lambda record: record.sequence)

    def write(self, record: HeadRecord) -> None:
        """Replace the older of the two records; synced on return. Raises StoreFull or StoreFailed."""
        with storage_errors():
            os.pwrite(self._descriptor, record.encode(), _offset(record))
            crash_point("store.head.before_sync")
            _sync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _offset(record: HeadRecord) -> int:
    return record.sequence % 2 * _SLOT_BYTES
