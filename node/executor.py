"""Runs blocks above the one final state, and makes them final in one synced write each.

A candidate is executed on an overlay: its changes, trie nodes and results stay in memory by block hash until the
block is final or dropped, so the disk holds one state and nothing has to be undone. What the proposer claimed in the
header is derived again here and compared. The methods may be called from any thread and take turns; what comes of a
final block is handed to the subscribers through `notify`, which the node points at its event loop.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

from chain.action import BlockContext, Clock
from chain.block import MAXIMUM_BLOCK_BYTES, MAXIMUM_BLOCK_TRANSACTIONS, Block, Header, transactions_root
from chain.certificate import Authority, AuthoritySet, Certificate, VoteKind
from chain.clocks import read_clocks
from chain.codec import decode, encode
from chain.errors import (
    InsufficientFunds,
    InvalidBlock,
    LedgerError,
    MalformedEncoding,
    SequenceMismatch,
    ValidityTooLong,
)
from chain.result import Event
from chain.schedule import next_due
from chain.schema import decode_record, encode_record
from chain.state import trie
from chain.state.trie import TrieUpdate
from chain.state.view import Reader, View
from chain.transaction import Transaction
from chain.transition import BlockExecution, BlockOutcome, apply_block
from genesis.builder import GENESIS_RESULT, build
from genesis.specification import Specification
from node.consensus.epochs import epoch_of, is_last_of_epoch
from node.consensus.events import Head
from node.signatures import SignatureVerifier
from node.store import SYSTEM_INDEX, FinalizedBatch, Store

AUTHORITIES_VERSION = 1

HEADER_ROOM = 2_048
"""Bytes of an encoded block that its header and the framing may take."""
ENVELOPE_ROOM = 5
"""Bytes that frame one envelope, at most."""
MAXIMUM_MISFITS = 64
"""After so many transactions that do not fit what is left of a block, it counts as full."""
MAXIMUM_OVERLAYS = 8
"""Executed blocks kept in memory; honest leaders propose one a height, and a lost one is executed again."""


class ExecutionDiverged(LedgerError):
    """A quorum made final what this node holds to be invalid: its state or its software is not theirs."""

    code = 2030
    hint = "Stop, run `aitbc-node verify`, and compare the software version with the other authorities."


class StateUnreadable(Exception):
    """The store could not be read while a block ran.

    Not a LedgerError on purpose: what fails on this machine must never become a transaction's failed result or an
    invalid block.
    """


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


@dataclass(frozen=True, slots=True)
class _Overlay:
    """An executed block above the head, ready to be written."""

    block: Block
    transactions: tuple[Transaction, ...]
    outcome: BlockOutcome
    changes: dict[bytes, bytes | None]
    update: TrieUpdate


class _StateReader:
    """The final state for the length of one execution.

    Remembers what it read, because a view reads a record before it changes it and once more to see whether it did.
    """

    def __init__(self, base: Reader) -> None:
        self._base = base
        self._read: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._read[key]
        except KeyError:
            pass
        try:
            value = self._read[key] = self._base.get(key)
        except Exception as error:
            raise StateUnreadable(str(error)) from error
        return value

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        try:
            yield from self._base.scan(start, end, reverse)
        except Exception as error:
            raise StateUnreadable(str(error)) from error


@dataclass(slots=True)
class _Progress:
    """How full a block in the making is."""

    weight_left: int
    bytes_left: int = MAXIMUM_BLOCK_BYTES - HEADER_ROOM
    misfits: int = 0
    chosen: list[Transaction] = field(default_factory=list)

    def fits(self, transaction: Transaction) -> bool:
        fits = transaction.weight <= self.weight_left and transaction.size + ENVELOPE_ROOM <= self.bytes_left
        self.misfits += not fits
        return fits

    def add(self, transaction: Transaction) -> None:
        self.chosen.append(transaction)
        self.weight_left -= transaction.weight
        self.bytes_left -= transaction.size + ENVELOPE_ROOM

    @property
    def full(self) -> bool:
        return self.weight_left <= 0 or self.misfits > MAXIMUM_MISFITS or len(self.chosen) >= MAXIMUM_BLOCK_TRANSACTIONS


def encode_authorities(authorities: AuthoritySet) -> bytes:
    """The stored form of the members of an authority set: [version, [authority record, …]].

    The epoch is the key it is stored under; a set that stays the same is stored once.
    """
    return encode([AUTHORITIES_VERSION, [encode_record(member) for member in authorities.members]])


def decode_authorities(data: bytes, epoch: int) -> AuthoritySet:
    """The set of its stored form in an epoch. Raises MalformedEncoding or InvalidField."""
    match decode(data):
        case (1, tuple() as members) if all(type(member) is bytes for member in members):
            try:
                return AuthoritySet(epoch, tuple(decode_record(Authority, member) for member in members))
            except ValueError as error:
                raise MalformedEncoding(reason=str(error)) from error
    raise MalformedEncoding(reason="not an authority set of version 1")


def following_authorities(authorities: AuthoritySet) -> AuthoritySet:
    """The set of the next epoch: the same members."""
    return AuthoritySet(authorities.epoch + 1, authorities.members)


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
    ) -> None:
        """
        Args:
            store: open, of this specification's chain.
            notify: runs a function where subscribers live, in the order given: an event loop's
                `call_soon_threadsafe`. Without it they are called at once in the thread that commits.
        """
        self._store = store
        self._chain_id = specification.chain_id
        self._epoch_blocks = specification.parameters.epoch_blocks
        self._pool = pool
        self._verifier = verifier
        self._notify: Notify = notify or (lambda call: call())
        self._subscribers: list[Subscriber] = []
        self._turn = threading.RLock()
        self._overlays: OrderedDict[bytes, _Overlay] = OrderedDict()
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
            state = View(_StateReader(self._store))
            execution = BlockExecution(state, BlockContext(self._chain_id, height, epoch, time_ms, proposer))
            room = execution.parameters.maximum_block_weight - execution.weight
            transactions = self._fill(execution, min(weight_budget, room))
            outcome = execution.outcome()
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
                next_authorities_hash=self._next_authorities_hash(height),
            )
            block = Block.of(header, envelopes)
            self._keep(_Overlay(block, tuple(transactions), outcome, changes, update))
            return block

    def _fill(self, execution: BlockExecution, weight: int) -> list[Transaction]:
        """Run the pool's best transactions as long as there is room; those that cannot be included stay out."""
        progress = _Progress(weight)
        selection = self._pool.select()
        while not progress.full:
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

    def _run(self, block: Block) -> _Overlay:
        """Derive everything that the header commits to. Raises InvalidBlock."""
        head, header = self._head, block.header
        _require(header.chain_id == self._chain_id, "another chain")
        _require(header.height == head.height + 1 and header.parent_hash == head.hash, "the parent is not the head")
        _require(header.epoch == epoch_of(header.height, self._epoch_blocks), "another epoch")
        _require(header.authorities_hash == head.authorities.hash(), "another authority set")
        _require(
            header.next_authorities_hash == self._next_authorities_hash(header.height), "another next authority set"
        )
        _require(header.transactions_root == transactions_root(block.envelopes), "another transactions root")
        transactions = self._transactions(block)
        context = BlockContext(self._chain_id, header.height, header.epoch, header.time_ms, header.proposer)
        state = View(_StateReader(self._store))
        outcome = apply_block(state, context, transactions, frozenset(block.envelopes))
        _require(header.results_root == outcome.results_root, "another results root")
        changes = state.changes()
        update = trie.update(self._store, self._store.head.root, header.height, changes)
        _require(header.state_root == update.root_hash, "another state root")
        return _Overlay(block, transactions, outcome, changes, update)

    def _transactions(self, block: Block) -> tuple[Transaction, ...]:
        """The decoded body, every signature verified. Raises InvalidBlock."""
        transactions = []
        for index, item in enumerate(self._verifier.check_all(block.envelopes)):
            if isinstance(item, LedgerError):
                raise InvalidBlock(transaction=index, reason=str(item))
            transactions.append(item)
        return tuple(transactions)

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
            self._store.commit(self._batch(overlay, finalization))
            self._overlays.clear()
            self._head = self._head_after(block, finalization)
            self._next_due_ms = self._find_next_due()
            final = FinalBlock(block, overlay.transactions, overlay.outcome, finalization, overlay.changes)
            for subscriber in self._subscribers:
                self._notify(partial(subscriber, final))
            return self._head

    def _batch(self, overlay: _Overlay, finalization: Certificate) -> FinalizedBatch:
        sets = {}
        if overlay.block.header.next_authorities_hash is not None:
            following = following_authorities(self._head.authorities)
            if following.members != self._head.authorities.members:
                sets[following.epoch] = encode_authorities(following)
        return FinalizedBatch(
            block=overlay.block,
            finalization=finalization,
            state_changes=overlay.changes,
            trie=overlay.update,
            system=overlay.outcome.system,
            results=overlay.outcome.results,
            history=history_of(overlay.transactions, overlay.outcome),
            authority_sets=sets,
        )

    def persist(self, blocks: Sequence[Block], certificates: Sequence[Certificate]) -> None:
        """Keep candidates and certificates above the head, in one synced write."""
        if blocks or certificates:
            with self._turn:
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

    def _keep(self, overlay: _Overlay) -> None:
        self._overlays[overlay.block.hash] = overlay
        while len(self._overlays) > MAXIMUM_OVERLAYS:
            self._overlays.popitem(last=False)

    def _next_authorities_hash(self, height: int) -> bytes | None:
        if not is_last_of_epoch(height, self._epoch_blocks):
            return None
        return following_authorities(self._head.authorities).hash()

    def _head_after(self, block: Block, finalization: Certificate) -> Head:
        authorities = self._head.authorities
        if block.header.next_authorities_hash is not None:
            authorities = following_authorities(authorities)
        return Head(block.header.height, block.hash, block.header.time_ms, finalization, authorities)

    def _read_head(self) -> Head:
        """What the store holds. Raises MalformedEncoding if something is missing."""
        height, block_hash = self._store.head.height, self._store.head.hash
        header = self._store.header(block_hash)
        epoch = epoch_of(height + 1, self._epoch_blocks)
        stored = self._store.authority_set(epoch)
        if header is None or stored is None:
            raise MalformedEncoding(reason="the store lacks its head's header or authority set", height=height)
        authorities = decode_authorities(stored, epoch)
        return Head(height, block_hash, header.time_ms, self._store.finalization(height), authorities)

    def _find_next_due(self) -> int | None:
        state = View(self._store)
        clocks = read_clocks(state)
        block_due, live_due = next_due(state, Clock.BLOCK), next_due(state, Clock.LIVE)
        times = [] if block_due is None else [block_due]
        if live_due is not None:
            times.append(clocks.time_ms + max(0, live_due - clocks.live_ms))
        return min(times, default=None)


def history_of(transactions: Sequence[Transaction], outcome: BlockOutcome) -> list[tuple[bytes, int]]:
    """(subject, index) for every account and record that a block concerns: senders and the subjects of events.

    The index is the transaction's place in the block, or SYSTEM_INDEX for what the block itself did.
    """
    entries: list[tuple[bytes, int]] = []
    for index, (transaction, result) in enumerate(zip(transactions, outcome.results, strict=True)):
        entries.append((transaction.body.sender, index))
        entries += [(subject, index) for subject in _subjects(result.events) if subject != transaction.body.sender]
    entries += [(subject, SYSTEM_INDEX) for subject in _subjects(outcome.system.events)]
    return entries


def _subjects(events: Sequence[Event]) -> dict[bytes, None]:
    """Every subject once, in order of appearance: addresses of 33 bytes and record ids of 32."""
    return {subject: None for event in events for _, subject in event.subjects if len(subject) in (32, 33)}


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise InvalidBlock(reason=reason)
