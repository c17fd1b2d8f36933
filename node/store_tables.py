"""The tables of the database and typed reads over them, the same over the database and over a snapshot of it.

A key is a one-byte prefix and big-endian integers, so that byte order is numeric order. Every read checks checksums.
A scan ends only when it has seen a key beyond its range, and two keys that always exist stand at both ends of the
database: LevelDB skips a damaged block and then reports the end of the data, which must not pass for a short table.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import plyvel

from chain.block import MAXIMUM_BLOCK_BYTES, Block, Header
from chain.certificate import Certificate, VoteKind
from chain.codec import decode, encode
from chain.errors import LedgerError, MalformedEncoding
from chain.record import decode_record
from chain.result import SystemResult, TransactionResult
from chain.state.nodes import NodeReference
from node.store_errors import StoreCorrupted, translate

LOWEST = b"\x00"
HIGHEST = b"\xff"
"""Keys that always exist, before and after all tables."""

IDENTITY = b"m" + b"identity"
HEAD = b"m" + b"head"
PRUNE_FLOOR = b"m" + b"prune_floor"
WRITES = b"j"
BLOCK_HASHES = b"H"
HEADERS = b"h"
BODIES = b"b"
FINALIZATIONS = b"f"
ROOTS = b"v"
CANDIDATES = b"c"
CERTIFICATES = {VoteKind.NOTARIZE: b"q", VoteKind.NULLIFY: b"u", VoteKind.FINALIZE: b"z"}
TRANSACTIONS = b"t"
RESULTS = b"r"
SUBMITTED = b"w"
HISTORY = b"a"
STATE = b"s"
NODES = b"n"
STALE = b"x"
AUTHORITY_SETS = b"E"

SYSTEM_INDEX = 0xFFFFFFFF
"""In place of a transaction's index: what the block itself did, before its transactions."""

MAXIMUM_RESULT_BYTES = 64 << 20
T = TypeVar("T")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def slot(index: int) -> bytes:
    """The place of a transaction within its block's results: the system's own result comes first."""
    return u32((index + 1) & 0xFFFFFFFF)


def index_of(place: bytes) -> int:
    """The inverse of `slot`."""
    return (int.from_bytes(place, "big") - 1) & 0xFFFFFFFF


def inverted(data: bytes) -> bytes:
    """Every bit flipped, so that what is later sorts first."""
    return (int.from_bytes(data, "big") ^ ((1 << 8 * len(data)) - 1)).to_bytes(len(data), "big")


def history_key(subject: bytes, height: int, index: int) -> bytes:
    return history_prefix(subject) + inverted(u64(height) + slot(index))


def history_prefix(subject: bytes) -> bytes:
    """Raises ValueError unless the subject has 1 to 255 bytes."""
    if not 0 < len(subject) < 256:
        raise ValueError("a subject has 1 to 255 bytes")
    return HISTORY + bytes([len(subject)]) + subject


def candidate_key(header: Header, block_hash: bytes) -> bytes:
    return CANDIDATES + u64(header.height) + u64(header.epoch) + u64(header.view) + block_hash


def certificate_key(certificate: Certificate) -> bytes:
    return CERTIFICATES[certificate.kind] + u64(certificate.epoch) + u64(certificate.view)


class StoreReader:
    """Reads over `source`, a plyvel database or snapshot. It is a reader of state and of trie nodes, too."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def read(self, key: bytes) -> bytes | None:
        """The value at a full key. Raises StoreCorrupted or StoreFailed."""
        try:
            value: bytes | None = self._source.get(key, verify_checksums=True)
        except (plyvel.Error, OSError) as error:
            raise translate(error) from error
        return value

    def read_range(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= full key < end. Raises StoreCorrupted or StoreFailed, also in the middle."""
        if start <= LOWEST or end > HIGHEST:
            raise ValueError("a range lies within the tables")
        if start >= end:
            return
        bounds = {"stop": end} if reverse else {"start": start}
        try:
            with self._source.iterator(**bounds, reverse=reverse, verify_checksums=True) as iterator:
                for key, value in iterator:
                    if key < start or key >= end:
                        return
                    yield key, value
        except (plyvel.Error, OSError) as error:
            raise translate(error) from error
        raise StoreCorrupted(reason="the end of the data came too early", table=start[:1])

    def read_table(self, table: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of a whole table, the prefix cut off the keys."""
        for key, value in self.read_range(table, bytes([table[0] + 1]), reverse):
            yield key[1:], value

    # State and trie

    def get(self, key: bytes) -> bytes | None:
        """The value of a state key."""
        return self.read(STATE + key)

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """State pairs with start <= key < end, ascending, or descending if `reverse`."""
        for key, value in self.read_range(STATE + start, STATE + end, reverse):
            yield key[1:], value

    def get_node(self, node_key: bytes) -> bytes | None:
        """The bytes of a trie node."""
        return self.read(NODES + node_key)

    def root_at(self, height: int) -> NodeReference | None:
        """The root node of the state after the block at `height`; None if that state is empty.

        Raises KeyError if there is no such block.
        """
        data = self.read(ROOTS + u64(height))
        if data is None:
            raise KeyError(height)
        return NodeReference.decode(data) if data else None

    @property
    def prune_floor(self) -> int:
        """The lowest height at which the whole trie can still be read."""
        return int.from_bytes(self.read(PRUNE_FLOOR) or b"", "big")

    # Blocks

    def block_hash(self, height: int) -> bytes | None:
        """The hash of the final block at `height`."""
        return self.read(BLOCK_HASHES + u64(height))

    def header_bytes(self, block_hash: bytes) -> bytes | None:
        """The canonical bytes of a final block's header."""
        return self.read(HEADERS + block_hash)

    def header(self, block_hash: bytes) -> Header | None:
        data = self.header_bytes(block_hash)
        return None if data is None else _load(_decode_header, data)

    def header_at(self, height: int) -> Header | None:
        block_hash = self.block_hash(height)
        return None if block_hash is None else self.header(block_hash)

    def envelopes(self, block_hash: bytes) -> tuple[bytes, ...] | None:
        """The body of a final block."""
        data = self.read(BODIES + block_hash)
        return None if data is None else _load(_decode_body, data)

    def block(self, block_hash: bytes) -> Block | None:
        """A final block, its body checked against its header."""
        header, body = self.header_bytes(block_hash), self.read(BODIES + block_hash)
        if header is None or body is None:
            return None
        return _load(Block.decode, encode([1, header, list(_load(_decode_body, body))]))

    def block_at(self, height: int) -> Block | None:
        block_hash = self.block_hash(height)
        return None if block_hash is None else self.block(block_hash)

    def finalization(self, height: int) -> Certificate | None:
        """The certificate that made the block at `height` final; None for genesis."""
        data = self.read(FINALIZATIONS + u64(height))
        return None if data is None else _load(Certificate.decode, data)

    def authority_set(self, epoch: int) -> bytes | None:
        """What was stored last for this epoch or one before it."""
        for _, data in self.read_range(AUTHORITY_SETS, AUTHORITY_SETS + u64(epoch) + b"\x00", reverse=True):
            return data
        return None

    # Transactions

    def transaction_location(self, txid: bytes) -> tuple[int, int] | None:
        """Height and index of a final transaction."""
        data = self.read(TRANSACTIONS + txid)
        return None if data is None else (int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big"))

    def result(self, height: int, index: int) -> TransactionResult | None:
        data = self.read(RESULTS + u64(height) + slot(index))
        return None if data is None else _load(_decode_result, data)

    def results(self, height: int) -> tuple[TransactionResult, ...]:
        """Results of all transactions of a block, in order; empty if there is no such block."""
        start, end = RESULTS + u64(height) + slot(0), RESULTS + u64(height) + b"\xff" * 5
        return tuple(_load(_decode_result, data) for _, data in self.read_range(start, end))

    def system_result(self, height: int) -> SystemResult | None:
        """What the block itself did."""
        data = self.read(RESULTS + u64(height) + slot(SYSTEM_INDEX))
        return None if data is None else _load(_decode_system_result, data)

    def history(self, subject: bytes, before: tuple[int, int] | None = None, limit: int = 100) -> list[tuple[int, int]]:
        """(height, index) of what concerned an account or a record, newest first, strictly before `before`."""
        prefix = history_prefix(subject)
        start = prefix if before is None else history_key(subject, *before) + b"\x00"
        found: list[tuple[int, int]] = []
        for key, _ in self.read_range(start, prefix + b"\xff" * 13):
            if len(found) == limit:
                break
            place = inverted(key[-12:])
            found.append((int.from_bytes(place[:8], "big"), index_of(place[8:])))
        return found

    # Not final yet

    def candidates(self) -> tuple[Block, ...]:
        """Blocks proposed above the head, by height, epoch and view."""
        return tuple(_load(Block.decode, data) for _, data in self.read_table(CANDIDATES))

    def candidate(self, block_hash: bytes) -> Block | None:
        for key, data in self.read_table(CANDIDATES):
            if key[-32:] == block_hash:
                return _load(Block.decode, data)
        return None

    def certificates(self) -> tuple[Certificate, ...]:
        """Certificates above the last finalization: notarizations, then nullifications, then finalizations."""
        return tuple(
            _load(Certificate.decode, data) for table in CERTIFICATES.values() for _, data in self.read_table(table)
        )

    def submitted(self) -> Iterator[tuple[bytes, bytes]]:
        """(txid, envelope) of everything acknowledged and neither final nor dropped."""
        return self.read_table(SUBMITTED)


def encode_stale(node_keys: Sequence[bytes]) -> Iterator[bytes]:
    """Records of up to 256 node keys each: one entry a key would double what a commit writes."""
    for start in range(0, len(node_keys), 256):
        yield b"".join(node_keys[start : start + 256])


def decode_stale(record: bytes) -> Iterator[bytes]:
    """The node keys of a record: each tells its length by its depth, in bytes 8 and 9."""
    at = 0
    while at < len(record):
        end = at + 10 + (int.from_bytes(record[at + 8 : at + 10], "big") + 7) // 8
        if end > len(record):
            raise StoreCorrupted(reason="a record of stale nodes is malformed")
        yield record[at:end]
        at = end


def encode_body(envelopes: tuple[bytes, ...]) -> bytes:
    return encode(list(envelopes))


def _decode_body(data: bytes) -> tuple[bytes, ...]:
    body = decode(data, max_size=MAXIMUM_BLOCK_BYTES)
    if not isinstance(body, tuple) or not all(type(envelope) is bytes for envelope in body):
        raise MalformedEncoding(reason="not a body")
    return body


def _decode_header(data: bytes) -> Header:
    return decode_record(Header, data)


def _decode_result(data: bytes) -> TransactionResult:
    return decode_record(TransactionResult, data, max_size=MAXIMUM_RESULT_BYTES)


def _decode_system_result(data: bytes) -> SystemResult:
    return decode_record(SystemResult, data, max_size=MAXIMUM_RESULT_BYTES)


def _load(decoder: Callable[[bytes], T], data: bytes) -> T:
    """What we once encoded must decode: anything else is damage."""
    try:
        return decoder(data)
    except LedgerError as error:
        raise StoreCorrupted(reason=f"a stored record is malformed: {error}") from error
