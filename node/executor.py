"""Runs blocks above the one final state, and makes them final in one synced write each.

A candidate is executed on an overlay: its changes, trie nodes and results stay in memory by block hash until the
block is final or dropped, so the disk holds one state and nothing has to be undone. What the proposer claimed in the
header is derived again here and compared. The methods may be called from any thread and take turns; what comes of a
final block is handed to the subscribers through `notify`, which the node points at its event loop.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

from chain.action import BlockContext, Clock
from chain.authorities import authority_set
from chain.block import MAXIMUM_BLOCK_BYTES, MAXIMUM_BLOCK_TRANSACTIONS, Block, Header, transactions_root
from chain.certificate import Certificate, VoteKind
from chain.clocks import read_clocks
from chain.errors import (
    InsufficientFunds,
    InvalidBlock,
    LedgerError,
    MalformedEncoding,
    SequenceMismatch,
    ValidityTooLong,
)
from chain.schedule import next_due
from chain.state import trie
from chain.state.view import View
from chain.transaction import Transaction
from chain.transition import BlockExecution, BlockOutcome
from genesis.builder import GENESIS_RESULT, build
from genesis.specification import Specification
from node.consensus.epochs import epoch_of
from node.consensus.events import Head
from node.execution import (
    Executed,
    Parent,
    StateReader,
    batch_of,
    decode_authorities,
    encode_authorities,
    following_authorities,
    hash_of,
    head_after,
    run_block,
)
from node.signatures import SignatureVerifier
from node.store import FinalizedBatch, Store
from node.store_errors import StoreCorrupted

HEADER_ROOM = 2_048
"""Bytes of an encoded block that its header and the framing may take."""
ENVELOPE_ROOM = 5
"""Bytes that frame one envelope, at most."""
MAXIMUM_MISFITS = 64
"""After so many transactions that do not fit what is left of a block, it counts as full."""
FILL_SECONDS = 0.25
"""How long a proposer runs transactions: the others take as long again, and all of it must fit well into a view."""
MAXIMUM_OVERLAYS = 8
"""Executed blocks kept in memory; honest leaders propose one a height, and a lost one is executed again."""


class ExecutionDiverged(LedgerError):
    """A quorum made final what this node holds to be invalid: its state or its software is not theirs."""

    code = 2030
    hint = "Stop, run `aitbc-node verify`, and compare the software version with the other authorities."


class StaleParent(Exception):
    """A block was to be built above what is no longer the head; nothing is wrong, and nothing is to be proposed."""


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A block that became final and all that came of it."""

    block: Block
    transactions: tuple[Transaction, ...]
    outcome: BlockOutcome
    finalization: Certificate
    changes: Mapping[bytes, bytes | None]
    """The state keys it changed; None for those it deleted."""


Subscriber: TypeAlias = Callable[[FinalBlock], None]
Notify: TypeAlias = Callable[[Callable[[], None]], object]


class Selection(Protocol):
    """Transactions in the order in which a proposer wants them, each sender's in sequence."""

    def next(self) -> Transaction | None:
        """The best one left, or None. Its sender's following ones come only if it is accepted."""

    def accept(self) -> None:
        """The last one is in the block."""


class TransactionPool(Protocol):
    """Where a proposal's transactions come from; called from the thread that builds."""

    def select(self) -> Selection: ...

    def drop(self, txid: bytes, reason: LedgerError) -> None:
        """Forget a transaction that can never be included."""


@dataclass(slots=True)
class _Progress:
    """How full a block in the making is."""

    room: int
    """Weight that transactions may have in all."""
    weight_left: int
    bytes_left: int = MAXIMUM_BLOCK_BYTES - HEADER_ROOM
    misfits: int = 0
    chosen: list[Transaction] = field(default_factory=list)

    def fits(self, transaction: Transaction) -> bool:
        fits = transaction.weight <= self.weight_left and transaction.size + ENVELOPE_ROOM <= self.bytes_left
        # What has no room in the emptiest block of this kind says nothing of how full this one is.
        self.misfits += not fits and transaction.weight <= self.room
        return fits

    def add(self, transaction: Transaction) -> None:
        self.chosen.append(transaction)
        self.weight_left -= transaction.weight
        self.bytes_left -= transaction.size + ENVELOPE_ROOM

    @property
    def full(self) -> bool:
        return self.weight_left <= 0 or self.misfits > MAXIMUM_MISFITS or len(self.chosen) >= MAXIMUM_BLOCK_TRANSACTIONS


def genesis_batch(specification: Specification) -> FinalizedBatch:
    """What a new database begins with. Raises InvalidGenesis."""
    genesis = build(specification)
    return FinalizedBatch(
        block=genesis.block,
        finalization=None,
        state_changes=genesis.state,
        trie=trie.update(trie.MemoryNodes(), None, 0, genesis.state),
        system=GENESIS_RESULT,
        results=(),
        authority_sets={0: encode_authorities(specification.authority_set())},
    )


def create_store(path: Path, specification: Specification) -> None:
    """Create a node's database with the genesis block. Raises InvalidGenesis, StoreExists or a store's error."""
    Store.create(path, specification.hash, genesis_batch(specification))


class LedgerExecutor:
    """The executor of `node.consensus.events` over a store, the ledger and a pool of transactions."""

    def __init__(
        self,
        store: Store,
        specification: Specification,
        pool: TransactionPool,
        verifier: SignatureVerifier,
        *,
        notify: Notify | None = None,
        fill_seconds: float = FILL_SECONDS,
    ) -> None:
        """
        Args:
            store: open, of this specification's chain.
            notify: runs a function where subscribers live, in the order given: an event loop's
                `call_soon_threadsafe`. Without it they are called at once in the thread that commits.
            fill_seconds: for how long `build` runs transactions.
        """
        self._store = store
        self._chain_id = specification.chain_id
        self._epoch_blocks = specification.parameters.epoch_blocks
        self._pool = pool
        self._verifier = verifier
        self._notify: Notify = notify or (lambda call: call())
        self._fill_seconds = fill_seconds
        self._subscribers: list[Subscriber] = []
        self._turn = threading.RLock()
        self._overlays: OrderedDict[bytes, Executed] = OrderedDict()
        self._head = self._read_head()
        self._next_due_ms = self._find_next_due()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` for every block that becomes final, in order, after it is on disk."""
        self._subscribers.append(subscriber)

    @property
    def next_due_ms(self) -> int | None:
        """The earliest block time, in milliseconds, at which scheduled work can be due; None if there is none."""
        return self._next_due_ms

    def head(self) -> Head:
        """The last final block."""
        return self._head

    def build(
        self,
        *,
        height: int,
        parent_hash: bytes,
        epoch: int,
        view: int,
        time_ms: int,
        proposer: bytes,
        weight_budget: int,
    ) -> Block:
        """A block above the head, executed, with transactions of at most `weight_budget`; 0 for none.

        Raises StaleParent if the head has moved meanwhile, so that the proposal is void.
        """
        with self._turn:
            head = self._head
            if parent_hash != head.hash or height != head.height + 1:
                raise StaleParent("a block is built above the head only")
            state = View(StateReader(self._store))
            execution = BlockExecution(state, BlockContext(self._chain_id, height, epoch, time_ms, proposer))
            room = execution.parameters.maximum_block_weight - execution.weight
            transactions = self._fill(execution, min(weight_budget, room))
            outcome = execution.outcome()
            following = following_authorities(state, height, self._epoch_blocks)
            changes = state.changes()
            update = trie.update(self._store, self._store.head.root, height, changes)
            envelopes = tuple(transaction.envelope for transaction in transactions)
            header = Header(
                chain_id=self._chain_id,
                height=height,
                epoch=epoch,
                view=view,
                parent_hash=parent_hash,
                time_ms=time_ms,
                proposer=proposer,
                transactions_root=transactions_root(envelopes),
                results_root=outcome.results_root,
                state_root=update.root_hash,
                authorities_hash=head.authorities.hash(),
                next_authorities_hash=hash_of(following),
            )
            block = Block.of(header, envelopes)
            self._keep(Executed(block, tuple(transactions), outcome, changes, update, following))
            return block

    def _fill(self, execution: BlockExecution, weight: int) -> list[Transaction]:
        """Run the pool's best transactions as long as there is room and time; those that may not go in stay out."""
        progress = _Progress(room=weight, weight_left=weight)
        selection = self._pool.select()
        end = time.monotonic() + self._fill_seconds
        while not progress.full and time.monotonic() < end:
            transaction = selection.next()
            if transaction is None:
                break
            if not progress.fits(transaction):
                continue
            try:
                execution.apply_transaction(transaction)
            except (InvalidBlock, InsufficientFunds, ValidityTooLong):
                continue  # it may fit a later block, or be paid for by then
            except SequenceMismatch as error:
                if transaction.body.sequence < int(error.data["expected"]):
                    self._pool.drop(transaction.txid, error)
            except LedgerError as error:
                self._pool.drop(transaction.txid, error)
            else:
                progress.add(transaction)
                selection.accept()
        return progress.chosen

    def execute(self, block: Block) -> str | None:
        """None if the block is valid above the head, else why not. Local failures are raised."""
        with self._turn:
            if block.hash in self._overlays or block.hash == self._head.hash:
                return None
            try:
                self._keep(self._run(block))
            except InvalidBlock as error:
                return str(error)
            return None

    def _run(self, block: Block) -> Executed:
        return run_block(self._parent, block, self._verifier, chain_id=self._chain_id, epoch_blocks=self._epoch_blocks)

    @property
    def _parent(self) -> Parent:
        return Parent(self._head, self._store, self._store, self._store.head.root)

    def commit(self, block: Block, finalization: Certificate) -> Head:
        """Make a block final in one synced write; returns the new head.

        A block that is the head already changes nothing. Raises ExecutionDiverged if the block is invalid here,
        ValueError if the certificate is not a finalization of this block, and the store's errors.
        """
        if finalization.kind is not VoteKind.FINALIZE or finalization.block_hash != block.hash:
            raise ValueError("not the finalization of this block")
        with self._turn:
            if block.hash == self._head.hash:
                return self._head
            overlay = self._overlays.get(block.hash)
            if overlay is None:
                try:
                    overlay = self._run(block)
                except InvalidBlock as error:
                    raise ExecutionDiverged(height=block.header.height, hash=block.hash, reason=str(error)) from error
            self._store.commit(batch_of(overlay, finalization, self._head.authorities))
            self._overlays.clear()
            self._verifier.verified.forget(block.envelopes)
            self._head = head_after(self._head, overlay, finalization)
            self._next_due_ms = self._find_next_due()
            final = FinalBlock(block, overlay.transactions, overlay.outcome, finalization, overlay.changes)
            for subscriber in self._subscribers:
                self._notify(partial(subscriber, final))
            return self._head

    def persist(self, blocks: Sequence[Block], certificates: Sequence[Certificate]) -> None:
        """Keep candidates and certificates above the head, in one synced write.

        Takes no turn: a vote to skip a view must not wait until a heavy block has been executed.
        """
        if blocks or certificates:
            self._store.persist(blocks, certificates)

    def candidates(self) -> Sequence[Block]:
        """Every persisted block above the head."""
        return self._store.candidates()

    def certificates(self) -> Sequence[Certificate]:
        """Every persisted certificate above the head's."""
        return self._store.certificates()

    def block(self, block_hash: bytes) -> Block | None:
        """A candidate or final block."""
        overlay = self._overlays.get(block_hash)
        if overlay is not None:
            return overlay.block
        return self._store.candidate(block_hash) or self._store.block(block_hash)

    def finalization(self, height: int) -> Certificate | None:
        """The finalization of the final block at `height`; None at genesis and above the head."""
        return self._store.finalization(height)

    def _keep(self, overlay: Executed) -> None:
        self._overlays[overlay.block.hash] = overlay
        while len(self._overlays) > MAXIMUM_OVERLAYS:
            self._overlays.popitem(last=False)

    def _read_head(self) -> Head:
        """What the store holds. Raises MalformedEncoding if something is missing, StoreCorrupted if it disagrees."""
        height, block_hash = self._store.head.height, self._store.head.hash
        header = self._store.header(block_hash)
        epoch = epoch_of(height + 1, self._epoch_blocks)
        stored = self._store.authority_set(epoch)
        if header is None or stored is None:
            raise MalformedEncoding(reason="the store lacks its head's header or authority set", height=height)
        authorities = decode_authorities(stored, epoch)
        if authority_set(View(self._store), epoch) != authorities:
            raise StoreCorrupted(reason="the stored authority set is not the one in the state", epoch=epoch)
        return Head(height, block_hash, header.time_ms, self._store.finalization(height), authorities)

    def _find_next_due(self) -> int | None:
        state = View(self._store)
        clocks = read_clocks(state)
        block_due, live_due = next_due(state, Clock.BLOCK), next_due(state, Clock.LIVE)
        times = [] if block_due is None else [block_due]
        if live_due is not None:
            times.append(clocks.time_ms + max(0, live_due - clocks.live_ms))
        return min(times, default=None)
