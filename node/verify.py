"""Checks a stopped node's database against the genesis file alone, trusting nothing that is written in it.

Every block since genesis is executed again with every signature and every certificate verified, in memory, by the same
code that the node runs; what making it final would write is compared with what is there. At the end the whole state
is compared, computed from the flat table and from the trie, and must obey every invariant. The memory needed grows
with the state, not with the number of blocks.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chain.authorities import authority_set
from chain.certificate import VoteKind, verify_certificate
from chain.errors import InvalidBlock, LedgerError
from chain.invariants import InvariantBroken, check_all
from chain.state import trie
from chain.state.nodes import NodeReference
from chain.state.view import View
from genesis.specification import Specification
from node import store_tables as tables
from node.consensus.events import Head
from node.execution import Parent, batch_of, head_after, run_block
from node.executor import genesis_batch
from node.signatures import SignatureVerifier
from node.store import FinalizedBatch, Store
from node.store_check import check_store
from node.store_tables import StoreReader

INVARIANTS_EVERY = 1_000
"""Blocks between two checks of every invariant; each reads the whole state."""
REPORT_EVERY = 100

Progress = Callable[[str, int, int], None]
"""Told of (stage, done, total) now and then; total is 0 where it is not known."""


class VerifyFailed(LedgerError):
    """The database holds something else than the blocks lead to."""

    code = 2036
    hint = (
        "Do not run a node on this database. Keep it for examination, and restore a snapshot or resync from the others."
    )


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found to be right."""

    chain_id: str
    height: int
    head_hash: bytes
    transactions: int
    certificates: int
    state_entries: int
    history_entries: int

    def __str__(self) -> str:
        return (
            f"{self.chain_id}: height {self.height}, block {self.head_hash.hex()}\n"
            f"{self.transactions} transactions and {self.certificates} certificates verified;"
            f" {self.state_entries} state entries and {self.history_entries} history entries are as they must be"
        )


def verify(
    path: Path, specification: Specification, progress: Progress = lambda stage, done, total: None
) -> VerifyReport:
    """Verify the database at `path`, which no node may be using.

    Raises VerifyFailed, naming what differs and where; a store's error if the database cannot be opened or read, or
    does not agree with itself; InvalidGenesis if the specification breaks a rule.
    """
    with Store.open(path, specification.chain_id, specification.hash) as store, SignatureVerifier() as verifier:
        check_store(store, progress)
        with store.snapshot() as reader:
            replay = _Replay(specification, verifier, reader)
            target = reader.head.height
            for height in range(1, target + 1):
                replay.advance(height)
                if height % INVARIANTS_EVERY == 0:
                    replay.check_invariants()
                if height % REPORT_EVERY == 0 or height == target:
                    progress("execution", height, target)
            replay.check_invariants()
            replay.check_end()
            return VerifyReport(
                chain_id=specification.chain_id,
                height=target,
                head_hash=replay.head.hash,
                transactions=replay.transactions,
                certificates=target,
                state_entries=len(replay.state),
                history_entries=replay.history,
            )


class OrderedState:
    """A state in memory whose keys stay sorted, so that a scan costs what it yields."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        keys = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, end)]
        return ((key, self._values[key]) for key in (reversed(keys) if reverse else keys))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything, in order."""
        return ((key, self._values[key]) for key in self._keys)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write changes; None deletes."""
        for key, value in changes.items():
            if value is None:
                del self._values[key]
                del self._keys[bisect_left(self._keys, key)]
                continue
            if key not in self._values:
                insort(self._keys, key)
            self._values[key] = value


class _Replay:
    """The chain built again in memory, compared with the store step by step."""

    def __init__(self, specification: Specification, verifier: SignatureVerifier, reader: StoreReader) -> None:
        self._specification = specification
        self._verifier = verifier
        self._reader = reader
        self.state = OrderedState()
        self._nodes = trie.MemoryNodes()
        self._root: NodeReference | None = None
        self.transactions = 0
        self.history = 0
        self._sets = 0
        batch = genesis_batch(specification)
        header = batch.block.header
        self.head = Head(0, batch.block.hash, header.time_ms, None, specification.authority_set())
        self._compare(batch)

    def advance(self, height: int) -> None:
        """Execute the stored block at `height` and compare what comes of it."""
        block, finalization = self._reader.block_at(height), self._reader.finalization(height)
        if block is None or finalization is None:
            raise VerifyFailed(what="the block or its finalization is missing", height=height)
        parent = Parent(self.head, self.state, self._nodes, self._root)
        chain_id, epoch_blocks = self._specification.chain_id, self._specification.parameters.epoch_blocks
        try:
            executed = run_block(parent, block, self._verifier, chain_id=chain_id, epoch_blocks=epoch_blocks)
        except InvalidBlock as error:
            raise VerifyFailed(what="the block is invalid", height=height, reason=str(error)) from error
        is_final = (
            finalization.kind is VoteKind.FINALIZE
            and finalization.block_hash == block.hash
            and finalization.view >= block.header.view
            and verify_certificate(chain_id, self.head.authorities, finalization)
        )
        _require(is_final, "the finalization does not hold", height)
        self._compare(batch_of(executed, finalization, self.head.authorities))
        self.head = head_after(self.head, executed, finalization)
        # Whoever asks the state who may vote must get those who certify the next block.
        in_state = authority_set(View(self.state), self.head.authorities.epoch)
        _require(in_state == self.head.authorities, "the set in the state changed within an epoch", height)

    def _compare(self, batch: FinalizedBatch) -> None:
        """Take over what a block does, after comparing it with what is stored."""
        reader, block = self._reader, batch.block
        height = block.header.height
        _require(reader.block_hash(height) == block.hash, "another block hash", height)
        _require(reader.header_bytes(block.hash) == block.header_bytes, "another header", height)
        _require(reader.envelopes(block.hash) == block.envelopes, "another body", height)
        _require(reader.system_result(height) == batch.system, "another result of the block itself", height)
        _require(reader.results(height) == batch.results, "other results", height)
        for index, result in enumerate(batch.results):
            _require(
                reader.transaction_location(result.txid) == (height, index),
                "a transaction is not where the index says",
                height,
                index=index,
            )
        for subject, index in batch.history:
            entry = reader.read(tables.history_key(subject, height, index))
            _require(entry == b"", "a history entry is missing", height, subject=subject)
        for epoch, data in batch.authority_sets.items():
            _require(reader.authority_set(epoch) == data, "another authority set", height, epoch=epoch)
        self._compare_nodes(batch)
        self.transactions += len(batch.results)
        self.history += len(batch.history)
        self._sets += len(batch.authority_sets)
        self.state.apply(batch.state_changes)
        self._nodes.apply(batch.trie, prune=True)
        self._root = batch.trie.root

    def _compare_nodes(self, batch: FinalizedBatch) -> None:
        height = batch.block.header.height
        try:
            _require(self._reader.root_at(height) == batch.trie.root, "another root node", height)
        except (KeyError, ValueError) as error:
            raise VerifyFailed(what="the root node is missing or malformed", height=height) from error
        pruned = self._reader.prune_floor
        for key, node in batch.trie.nodes.items():
            stored = self._reader.get_node(key)
            missing_rightly = stored is None and pruned > height
            _require(stored == node or missing_rightly, "another trie node", height, node=key)
        if height > pruned:
            _require(self._stored_stale(height) == sorted(batch.trie.stale), "another list of stale nodes", height)

    def _stored_stale(self, height: int) -> list[bytes]:
        records = self._reader.read_range(tables.STALE + tables.u64(height), tables.STALE + tables.u64(height + 1))
        return sorted(node_key for _, data in records for node_key in tables.decode_stale(data))

    def check_invariants(self) -> None:
        """Raise VerifyFailed if money does not add up or two records contradict each other."""
        try:
            check_all(View(self.state))
        except InvariantBroken as error:
            raise VerifyFailed(what="an invariant is broken", height=self.head.height, reason=str(error)) from error

    def check_end(self) -> None:
        """Compare what belongs to no single block."""
        height, reader = self.head.height, self._reader
        stored = reader.read_table(tables.STATE)
        for key, value in self.state.items():
            _require(next(stored, None) == (key, value), "another state entry", height, key=key)
        _require(next(stored, None) is None, "a state entry that no block wrote", height)
        for node_key, node in self._nodes.nodes.items():
            _require(reader.get_node(node_key) == node, "another trie node", height, node=node_key)
        expected = {
            tables.FINALIZATIONS: height,
            tables.ROOTS: height + 1,
            tables.RESULTS: height + 1 + self.transactions,
            tables.TRANSACTIONS: self.transactions,
            tables.HISTORY: self.history,
            tables.AUTHORITY_SETS: self._sets,
        }
        for table, count in expected.items():
            found = sum(1 for _ in reader.read_table(table))
            _require(found == count, "a table has entries of no block", height, table=table, found=found)
        self._check_pending()

    def _check_pending(self) -> None:
        """What is not final is not proven by anything, but must be what its key says."""
        for txid, envelope in self._reader.submitted():
            (checked,) = self._verifier.check_chunk([envelope])
            sound = not isinstance(checked, LedgerError) and checked.txid == txid
            _require(sound, "a submitted envelope is not what its id says", self.head.height, txid=txid)
        for block in self._reader.candidates():
            _require(block.header.height > self.head.height, "a candidate below the head", block.header.height)
        self._reader.certificates()


def _require(holds: bool, what: str, height: int, **where: int | bytes) -> None:
    if not holds:
        raise VerifyFailed(what=what, height=height, **where)
