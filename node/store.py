"""The node's database: LevelDB behind a small interface, one synced batch for everything that happens at once.

A finalisation is one batch, so there is no half-committed state to repair. Every batch also carries its number in a
ring of recent numbers, and the number goes into a file beside the database (`node.store_head`). On opening, a gap in
the ring or a database behind the file shows what LevelDB cannot: records lost from the end of its log or manifest, or
from the end of a log that a later one follows. A database is made only by `create`, and any doubt is an error.
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import plyvel

from chain.block import Block
from chain.certificate import Certificate
from chain.codec import decode, encode
from chain.errors import MalformedEncoding
from chain.record import encode_record
from chain.result import SystemResult, TransactionResult
from chain.state.nodes import NodeReference
from chain.state.trie import TrieUpdate
from node import store_tables as tables
from node.crash import crash_point
from node.store_errors import (
    StoreCorrupted,
    StoreExists,
    StoreFailed,
    StoreLocked,
    StoreMissing,
    StoreNotWritable,
    StoreSchemaUnknown,
    StoreWrongChain,
    storage_errors,
    translate,
)
from node.store_head import HeadFile, HeadRecord
from node.store_tables import SYSTEM_INDEX, StoreReader, u32, u64

__all__ = ["SYSTEM_INDEX", "FinalizedBatch", "Head", "Snapshot", "Store"]

SCHEMA_VERSION = 1

RING_SIZE = 1 << 17
"""How many of the last batches are known by number.

Damage can silently take batches only from the end of a log or of the manifest, and what it takes then ends where the
logs that are still read begin. Those hold at most two write buffers, and a batch takes over 80 bytes of a buffer
(two entries at least), so at most 105,000 batches can have followed a gap: it always shows in the ring.
"""
WRITE_BUFFER_BYTES = 4 << 20
BLOCK_CACHE_BYTES = 64 << 20
NODE_CACHE_ENTRIES = 1 << 17

CRASH_POINTS = (
    *(f"store.create.{step}" for step in ("after_directory", "after_database", "after_head", "after_rename")),
    *(
        f"store.{write}.{step}"
        for write in ("commit", "persist", "submitted", "dropped", "prune")
        for step in ("before_batch", "after_batch", "after_head")
    ),
    "store.head.before_sync",
    "store.open.before_head",
)
"""Every place in the store where a test can kill the process."""

_OPTIONS: dict[str, Any] = {
    "paranoid_checks": True,
    "write_buffer_size": WRITE_BUFFER_BYTES,
    "lru_cache_size": BLOCK_CACHE_BYTES,
    "bloom_filter_bits": 10,
    "compression": None,  # hashes, signatures and random ids do not compress
}


@dataclass(frozen=True, slots=True)
class Head:
    """The last final block."""

    height: int
    hash: bytes
    root: NodeReference | None
    """Root node of the state after it; None if the state is empty."""

    def encode(self) -> bytes:
        return u64(self.height) + self.hash + (b"" if self.root is None else self.root.encode())

    @staticmethod
    def decode(data: bytes | None) -> "Head":
        if data is None or len(data) not in (40, 80):
            raise StoreCorrupted(reason="the head record is missing or malformed")
        root = NodeReference.decode(data[40:]) if len(data) == 80 else None
        return Head(int.from_bytes(data[:8], "big"), data[8:40], root)


@dataclass(frozen=True, slots=True)
class FinalizedBatch:
    """Everything that one finalisation writes."""

    block: Block
    finalization: Certificate | None
    """None only for genesis."""
    state_changes: Mapping[bytes, bytes | None]
    trie: TrieUpdate
    """The update by the same changes, at version `block.header.height`."""
    system: SystemResult
    results: tuple[TransactionResult, ...]
    """One for each envelope of the block, in order."""
    history: Sequence[tuple[bytes, int]] = ()
    """(account or record id, index of the transaction or SYSTEM_INDEX), for the history of that id."""
    authority_sets: Mapping[int, bytes] = field(default_factory=dict)
    """Encoded sets by epoch, where a new one becomes known."""


class Snapshot(StoreReader):
    """Reads frozen at one head, for answers that must agree with each other. Close it soon."""

    def __init__(self, source: Any) -> None:
        super().__init__(source)
        self.head = Head.decode(self.read(tables.HEAD))

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Store(StoreReader):
    """The open database. Reads are safe from any thread; writes exclude each other.

    After a write that failed, everything but reading and closing is refused: what is on disk is then unknown until
    the database is opened again.
    """

    def __init__(
        self, database: Any, head_file: HeadFile, lock: int, sequence: int, chain_id: str, genesis_hash: bytes
    ):
        super().__init__(database)
        self.chain_id = chain_id
        self.genesis_hash = genesis_hash
        self._head = Head.decode(self.read(tables.HEAD))
        self._head_file = head_file
        self._lock_descriptor = lock
        self._sequence = sequence
        self._writing = threading.Lock()
        self._usable = True
        self._recent_nodes: dict[bytes, bytes] = {}

    # Opening and closing

    @staticmethod
    def create(path: Path, genesis_hash: bytes, genesis: FinalizedBatch) -> None:
        """Make the database of a new node at `path`, whole or not at all.

        Raises StoreExists, StoreNotWritable, StoreFull or StoreFailed.
        """
        header = genesis.block.header
        if header.height != 0 or genesis.finalization is not None:
            raise ValueError("a database begins with the block of height 0")
        building = path.with_name(path.name + ".creating")
        with storage_errors():
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise StoreExists(path=str(path))
            if building.exists():
                shutil.rmtree(building)
            building.mkdir(mode=0o700, parents=True)
            crash_point("store.create.after_directory")
            database = plyvel.DB(str(building / "database"), create_if_missing=True, error_if_exists=True, **_OPTIONS)
            try:
                with database.write_batch(sync=True) as batch:
                    batch.put(tables.LOWEST, b"")
                    batch.put(tables.HIGHEST, b"")
                    batch.put(tables.IDENTITY, encode([SCHEMA_VERSION, header.chain_id, genesis_hash]))
                    batch.put(tables.WRITES + u32(1), u64(1))
                    _fill(batch, genesis)
            finally:
                database.close()
            crash_point("store.create.after_database")
            HeadFile.create(building / "head", HeadRecord(1, 0, genesis.block.hash))
            _sync_directory(building / "database")
            _sync_directory(building)
            crash_point("store.create.after_head")
            building.rename(path)
            crash_point("store.create.after_rename")
            _sync_directory(path.parent)

    @staticmethod
    def open(path: Path, chain_id: str | None = None, genesis_hash: bytes | None = None) -> "Store":
        """Open what `create` made, after checking that it is whole and, if they are given, whose chain it holds.

        Raises StoreMissing, StoreLocked, StoreCorrupted, StoreSchemaUnknown, StoreWrongChain, StoreNotWritable,
        StoreFull or StoreFailed.
        """
        with storage_errors():
            if not (path / "head").exists() and not (path / "database").exists():
                raise StoreMissing(path=str(path))
            lock = _lock(path)
        head_file = database = None
        try:
            try:
                head_file, record = HeadFile.open(path / "head")
            except StoreMissing as error:
                raise StoreCorrupted(reason="the head file is missing", path=str(path)) from error
            database = _open_database(path / "database")
            reader = StoreReader(database)
            found = _check_identity(reader, chain_id, genesis_hash)
            sequence = _check_complete(reader, record)
            store = Store(database, head_file, lock, sequence, *found)
            crash_point("store.open.before_head")
            head_file.write(HeadRecord(sequence, store.head.height, store.head.hash))
        except BaseException:
            if database is not None:
                database.close()
            if head_file is not None:
                head_file.close()
            os.close(lock)
            raise
        return store

    def close(self) -> None:
        """Release the database. Further use is an error; a second close is not."""
        with self._writing:
            if self._source.closed:
                return
            self._usable = False
            self._source.close()
            self._head_file.close()
            os.close(self._lock_descriptor)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Reading

    @property
    def head(self) -> Head:
        """The last final block."""
        return self._head

    def readable_head(self) -> Head:
        """The last block that reads see: that of `head`, or while its commit is not over already the next."""
        return Head.decode(self.read(tables.HEAD))

    def snapshot(self) -> Snapshot:
        """A frozen view of the last final block and everything below it."""
        with storage_errors():
            return Snapshot(self._source.snapshot())

    def get_node(self, node_key: bytes) -> bytes | None:
        """The bytes of a trie node. The nodes written last are in memory: they are the ones that an update reads."""
        return self._recent_nodes.get(node_key) or self.read(tables.NODES + node_key)

    # Writing

    def commit(self, batch: FinalizedBatch) -> Head:
        """Write a finalisation; it is durable on return, and the head is the block.

        Drops candidates at or below its height, certificates at or below its finalization's view, and its
        transactions from what is submitted. Raises ValueError if the block does not follow the head.
        """
        block, finalization = batch.block, batch.finalization
        header = block.header
        if header.height != self._head.height + 1 or header.parent_hash != self._head.hash or finalization is None:
            raise ValueError("the block does not follow the head")
        head = Head(header.height, block.hash, batch.trie.root)

        def fill(target: Any) -> None:
            _fill(target, batch)
            end = tables.CANDIDATES + u64(header.height + 1)
            for key, _ in self.read_range(tables.CANDIDATES, end):
                target.delete(key)
            for table in tables.CERTIFICATES.values():
                end = table + u64(finalization.epoch) + u64(finalization.view) + b"\x00"
                for key, _ in self.read_range(table, end):
                    target.delete(key)

        self._write("commit", fill, head)
        self._remember(batch.trie)
        return head

    def persist(self, blocks: Sequence[Block], certificates: Sequence[Certificate]) -> None:
        """Write candidates and certificates above the head, in one synced batch. Writing one again is harmless."""
        if not blocks and not certificates:
            return

        def fill(target: Any) -> None:
            for block in blocks:
                target.put(tables.candidate_key(block.header, block.hash), block.encode())
            for certificate in certificates:
                target.put(tables.certificate_key(certificate), certificate.encode())

        self._write("persist", fill)

    def put_submitted(self, envelopes: Mapping[bytes, bytes]) -> None:
        """Write acknowledged envelopes by txid, in one synced batch; the caller gathers a group."""
        if not envelopes:
            return

        def fill(target: Any) -> None:
            for txid, envelope in envelopes.items():
                target.put(tables.SUBMITTED + txid, envelope)

        self._write("submitted", fill)

    def drop_submitted(self, txids: Collection[bytes]) -> None:
        """Forget envelopes that can never be included any more."""
        if not txids:
            return

        def fill(target: Any) -> None:
            for txid in txids:
                target.delete(tables.SUBMITTED + txid)

        self._write("dropped", fill)

    def prune(self, limit: int, keep_from_version: int) -> int:
        """Delete trie nodes that no state at height `keep_from_version` or above needs: a slice of the work.

        The slice ends with the record of stale nodes that brings it to `limit` or beyond. Returns how many nodes went:
        none once nothing is left to do, and none for a version below zero.
        """
        if keep_from_version < 0:
            return 0
        start = tables.STALE + u64(self.prune_floor)
        end = tables.STALE + u64(min(keep_from_version, self._head.height) + 1)
        records: list[bytes] = []
        stale: list[bytes] = []
        for key, value in self.read_range(start, end):
            records.append(key)
            stale.extend(tables.decode_stale(value))
            if len(stale) >= limit:
                break
        if not records:
            return 0

        def fill(target: Any) -> None:
            for key in records:
                target.delete(key)
            for node_key in stale:
                target.delete(tables.NODES + node_key)
            target.put(tables.PRUNE_FLOOR, records[-1][1:9])

        self._write("prune", fill)
        return len(stale)

    def _write(self, name: str, fill: Callable[[Any], None], head: Head | None = None) -> None:
        """One synced batch under the next number, then the head file. A failure leaves the store unusable."""
        with self._writing, storage_errors():
            if not self._usable:
                raise StoreFailed(reason="closed, or an earlier write failed")
            sequence = self._sequence + 1
            head = head or self._head
            batch = self._source.write_batch(sync=True)
            fill(batch)
            batch.put(tables.WRITES + u32(sequence % RING_SIZE), u64(sequence))
            self._usable = False
            crash_point(f"store.{name}.before_batch")
            batch.write()
            crash_point(f"store.{name}.after_batch")
            self._head_file.write(HeadRecord(sequence, head.height, head.hash))
            crash_point(f"store.{name}.after_head")
            self._sequence, self._head, self._usable = sequence, head, True

    def _remember(self, trie: TrieUpdate) -> None:
        recent = self._recent_nodes
        for node_key in trie.stale:
            recent.pop(node_key, None)
        recent.update(trie.nodes)
        for node_key in list(islice(recent, max(0, len(recent) - NODE_CACHE_ENTRIES))):
            del recent[node_key]


def _fill(target: Any, batch: FinalizedBatch) -> None:
    """Put a block, its effects and its indexes, and make it the head."""
    block = batch.block
    height = u64(block.header.height)
    if len(batch.results) != len(block.envelopes) or batch.trie.version != block.header.height:
        raise ValueError("results and state must be those of the block")
    target.put(tables.BLOCK_HASHES + height, block.hash)
    target.put(tables.HEADERS + block.hash, block.header_bytes)
    target.put(tables.BODIES + block.hash, tables.encode_body(block.envelopes))
    if batch.finalization is not None:
        target.put(tables.FINALIZATIONS + height, batch.finalization.encode())
    for key, value in batch.state_changes.items():
        if value is None:
            target.delete(tables.STATE + key)
        else:
            target.put(tables.STATE + key, value)
    for node_key, node in batch.trie.nodes.items():
        target.put(tables.NODES + node_key, node)
    for number, record in enumerate(tables.encode_stale(batch.trie.stale)):
        target.put(tables.STALE + height + u32(number), record)
    target.put(tables.ROOTS + height, b"" if batch.trie.root is None else batch.trie.root.encode())
    target.put(tables.RESULTS + height + tables.slot(SYSTEM_INDEX), encode_record(batch.system))
    for index, result in enumerate(batch.results):
        target.put(tables.RESULTS + height + tables.slot(index), encode_record(result))
        target.put(tables.TRANSACTIONS + result.txid, height + u32(index))
        target.delete(tables.SUBMITTED + result.txid)
    for subject, index in batch.history:
        target.put(tables.history_key(subject, block.header.height, index), b"")
    for epoch, authorities in batch.authority_sets.items():
        target.put(tables.AUTHORITY_SETS + u64(epoch), authorities)
    target.put(tables.HEAD, Head(block.header.height, block.hash, batch.trie.root).encode())


def _lock(path: Path) -> int:
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreLocked(path=str(path)) from error
    return descriptor


def _open_database(path: Path) -> Any:
    try:
        return plyvel.DB(str(path), create_if_missing=False, **_OPTIONS)
    except plyvel.Error as error:
        translated = translate(error)
        if isinstance(translated, StoreNotWritable) or "does not exist" not in str(error):
            raise translated from error
        raise StoreCorrupted(reason="the file CURRENT is missing", path=str(path)) from error


def _check_identity(reader: StoreReader, chain_id: str | None, genesis_hash: bytes | None) -> tuple[str, bytes]:
    try:
        plain = decode(reader.read(tables.IDENTITY) or b"")
    except MalformedEncoding as error:
        raise StoreCorrupted(reason="the identity record is missing or malformed") from error
    match plain:
        case (int() as schema, *_) if schema != SCHEMA_VERSION:
            raise StoreSchemaUnknown(found=schema, expected=SCHEMA_VERSION)
        case (int(), str() as found_chain, bytes() as found_genesis):
            pass
        case _:
            raise StoreCorrupted(reason="the identity record is malformed")
    if chain_id not in (None, found_chain) or genesis_hash not in (None, found_genesis):
        raise StoreWrongChain(found=found_chain, expected=chain_id or found_chain)
    return found_chain, found_genesis


def _check_complete(reader: StoreReader, record: HeadRecord) -> int:
    """The number of the last batch, after making sure that none is missing. Raises StoreCorrupted."""
    head = Head.decode(reader.read(tables.HEAD))
    numbers = {}
    for key, value in reader.read_table(tables.WRITES):
        numbers[int.from_bytes(key, "big")] = int.from_bytes(value, "big")
    last = max(numbers.values(), default=0)
    for number in range(max(1, last - RING_SIZE + 1), last + 1):
        if numbers.get(number % RING_SIZE) != number:
            raise StoreCorrupted(reason="a write is missing between others", write=number, last=last)
    if last < record.sequence or head.height < record.height:
        raise StoreCorrupted(
            reason="the database is behind its head file", height=head.height, head_file_height=record.height
        )
    if head.height == record.height and head.hash != record.hash:
        raise StoreCorrupted(reason="the database and its head file disagree", height=head.height)
    if reader.block_hash(head.height) != head.hash or reader.root_at(head.height) != head.root:
        raise StoreCorrupted(reason="the last block is not stored as the head says", height=head.height)
    return last


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
