"""What one block does above a state: derived again from its body and compared with what its header claims.

The node's executor does this for every candidate, and `aitbc-node verify` for every block since genesis; both then
have the same batch to write, or to compare with what was written. Nothing here writes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chain.action import BlockContext
from chain.authorities import authority_set
from chain.block import Block, transactions_root
from chain.certificate import Authority, AuthoritySet, Certificate
from chain.codec import decode, encode
from chain.errors import InvalidBlock, LedgerError, MalformedEncoding
from chain.record import decode_record, encode_record
from chain.result import Event
from chain.state import trie
from chain.state.nodes import NodeReader, NodeReference
from chain.state.trie import TrieUpdate
from chain.state.view import Reader, View
from chain.transaction import Transaction
from chain.transition import BlockOutcome, apply_block
from node.consensus.epochs import epoch_of, is_last_of_epoch
from node.consensus.events import Head
from node.signatures import SignatureVerifier
from node.store import FinalizedBatch
from node.store_tables import SYSTEM_INDEX

AUTHORITIES_VERSION = 1


class StateUnreadable(Exception):
    """The store could not be read while a block ran.

    Not a LedgerError on purpose: what fails on this machine must never become a transaction's failed result or an
    invalid block.
    """


@dataclass(frozen=True, slots=True)
class Parent:
    """What a block stands on."""

    head: Head
    reader: Reader
    """The state after it."""
    nodes: NodeReader
    root: NodeReference | None
    """Root node of that state."""


@dataclass(frozen=True, slots=True)
class Executed:
    """A block and all that it does."""

    block: Block
    transactions: tuple[Transaction, ...]
    outcome: BlockOutcome
    changes: dict[bytes, bytes | None]
    """The state keys it changes; None for those it deletes."""
    update: TrieUpdate
    following: AuthoritySet | None
    """The set that certifies what comes after it, if it is the last block of its epoch."""


class StateReader:
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


def run_block(
    parent: Parent, block: Block, verifier: SignatureVerifier, *, chain_id: str, epoch_blocks: int
) -> Executed:
    """Derive everything that the header commits to; signatures are verified unless the verifier knows them.

    Raises InvalidBlock, saying what differs. A failure of this machine is StateUnreadable or another error.
    """
    head, header = parent.head, block.header
    _require(header.chain_id == chain_id, "another chain")
    _require(header.height == head.height + 1 and header.parent_hash == head.hash, "the parent is not the head")
    _require(header.epoch == epoch_of(header.height, epoch_blocks), "another epoch")
    _require(header.authorities_hash == head.authorities.hash(), "another authority set")
    _require(header.transactions_root == transactions_root(block.envelopes), "another transactions root")
    transactions = _transactions(block, verifier)
    context = BlockContext(chain_id, header.height, header.epoch, header.time_ms, header.proposer)
    state = View(StateReader(parent.reader))
    outcome = apply_block(state, context, transactions, frozenset(block.envelopes))
    _require(header.results_root == outcome.results_root, "another results root")
    following = following_authorities(state, header.height, epoch_blocks)
    _require(header.next_authorities_hash == hash_of(following), "another next authority set")
    changes = state.changes()
    update = trie.update(parent.nodes, parent.root, header.height, changes)
    _require(header.state_root == update.root_hash, "another state root")
    return Executed(block, transactions, outcome, changes, update, following)


def _transactions(block: Block, verifier: SignatureVerifier) -> tuple[Transaction, ...]:
    """The decoded body, every signature verified. Raises InvalidBlock."""
    transactions = []
    for index, item in enumerate(verifier.check_all(block.envelopes)):
        if isinstance(item, LedgerError):
            raise InvalidBlock(transaction=index, reason=str(item))
        transactions.append(item)
    return tuple(transactions)


def head_after(head: Head, executed: Executed, finalization: Certificate) -> Head:
    """The head once a block that was executed above `head` is final."""
    block = executed.block
    return Head(
        block.header.height, block.hash, block.header.time_ms, finalization, executed.following or head.authorities
    )


def batch_of(executed: Executed, finalization: Certificate, authorities: AuthoritySet) -> FinalizedBatch:
    """What making the block final writes; `authorities` are those that certify it."""
    following, sets = executed.following, {}
    if following is not None and following.members != authorities.members:
        sets[following.epoch] = encode_authorities(following)
    return FinalizedBatch(
        block=executed.block,
        finalization=finalization,
        state_changes=executed.changes,
        trie=executed.update,
        system=executed.outcome.system,
        results=executed.outcome.results,
        history=history_of(executed.transactions, executed.outcome),
        authority_sets=sets,
    )


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


def following_authorities(state: View, height: int, epoch_blocks: int) -> AuthoritySet | None:
    """The set of the next epoch, as the state after block `height` names it; None unless the block ends its epoch.

    Raises ValueError if what the state holds is no set: the ledger never writes such a thing, so this node is broken.
    """
    return authority_set(state, height // epoch_blocks) if is_last_of_epoch(height, epoch_blocks) else None


def hash_of(authorities: AuthoritySet | None) -> bytes | None:
    """What a header says of the next epoch's set."""
    return None if authorities is None else authorities.hash()


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise InvalidBlock(reason=reason)
