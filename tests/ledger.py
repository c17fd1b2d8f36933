"""A ledger in memory with scripted block times: what the tests of actions, consensus and storage share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from chain.action import Action, BlockContext, Context
from chain.bank import account
from chain.certificate import Authority
from chain.clocks import read_clocks
from chain.crypto import bls
from chain.crypto.address import key_address
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256
from chain.fees import required_fee
from chain.invariants import check_all
from chain.parameters import Parameters, read_parameters
from chain.result import TransactionResult
from chain.schema import COIN
from chain.state.view import MemoryReader, View
from chain.transaction import Body, Transaction
from chain.transition import SYSTEM_ACCOUNT, BlockOutcome, apply_block
from genesis.builder import build
from genesis.specification import Allocation, Specification

GENESIS_TIME_MS = 1_800_000_000_000
DEFAULT_FEE = COIN // 100


class Person:
    """A key with its address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = PrivateKey(sha256(f"test person {name}".encode()))
        self.address = key_address(self.key.public_key)

    def __repr__(self) -> str:
        return f"Person({self.name!r})"


def make_authority(name: str) -> tuple[Authority, PrivateKey, bytes]:
    """(authority, node key, BLS secret) of a test authority."""
    operator, node_key = Person(f"operator {name}"), PrivateKey(sha256(f"node {name}".encode()))
    secret = bls.secret_key_from_seed(sha256(f"bls {name}".encode()))
    authority = Authority(operator.address, node_key.public_key, bls.public_key(secret), bls.prove_possession(secret))
    return authority, node_key, secret


def make_specification(
    people: Sequence[Person] = (),
    *,
    balance: int = 10_000 * COIN,
    stake: int = 0,
    parameters: Parameters | None = None,
    authorities: Sequence[Authority] | None = None,
) -> Specification:
    """A devnet specification in which everybody owns the same and operators have at least the stake they need.

    Its state is free, and operators need no stake, unless parameters say otherwise.
    """
    parameters = parameters or Parameters(storage_deposit_per_byte=0, authority_minimum_stake=0)
    members = tuple(authorities or (make_authority("0")[0],))
    needed = parameters.authority_minimum_stake
    owners = {person.address: Allocation(person.address, balance, stake) for person in people}
    for member in members if needed else ():
        owned = owners.get(member.operator, Allocation(member.operator, 0))
        owners[member.operator] = replace(owned, stake=max(owned.stake, needed))
    return Specification(
        name="devnet",
        prefix="dait",
        time_ms=GENESIS_TIME_MS,
        parameters=parameters,
        authorities=members,
        allocations=tuple(owners.values()),
    )


class Ledger:
    """A chain of blocks applied to a dictionary; checks every invariant after every block."""

    def __init__(self, specification: Specification, *, check: bool = True) -> None:
        self.specification = specification
        self.genesis = build(specification)
        self.reader = MemoryReader(dict(self.genesis.state))
        self.chain_id = specification.chain_id
        self.proposer = specification.authorities[0].operator
        self.height = 0
        self.time_ms = specification.time_ms
        self.check = check
        self.outcome: BlockOutcome | None = None

    @property
    def view(self) -> View:
        """A fresh view of the present state."""
        return View(self.reader)

    @property
    def live_ms(self) -> int:
        return read_clocks(self.view).live_ms

    def sign(
        self,
        sender: Person,
        *actions: Action,
        sequence: int | None = None,
        fee: int = DEFAULT_FEE,
        valid_until_ms: int | None = None,
        idempotency_id: bytes | None = None,
        chain_id: str | None = None,
    ) -> Transaction:
        """A transaction of the sender with the next sequence."""
        body = Body(
            chain_id=chain_id or self.chain_id,
            sender=sender.address,
            public_key=sender.key.public_key,
            sequence=account(self.view, sender.address).sequence if sequence is None else sequence,
            valid_until_ms=self.time_ms + 1_800_000 if valid_until_ms is None else valid_until_ms,
            idempotency_id=idempotency_id,
            fee=fee,
            actions=tuple(actions),
        )
        return Transaction.sign(body, sender.key)

    def block(self, *transactions: Transaction, after_ms: int = 1_000) -> tuple[TransactionResult, ...]:
        """Apply a block `after_ms` later than the last one; returns the results. Raises InvalidBlock."""
        view = self.view
        context = self.next_block(self.time_ms + after_ms)
        outcome = apply_block(view, context, transactions)
        self.reader.apply(view.changes())
        self.height, self.time_ms, self.outcome = context.height, context.time_ms, outcome
        if self.check:
            check_all(self.view)
        return outcome.results

    def run(self, sender: Person, *actions: Action, after_ms: int = 1_000, fee: int = DEFAULT_FEE) -> TransactionResult:
        """Apply a block with one transaction of these actions; returns its result, also of a failure."""
        return self.block(self.sign(sender, *actions, fee=fee), after_ms=after_ms)[0]

    def do(self, sender: Person, *actions: Action, after_ms: int = 1_000, fee: int = DEFAULT_FEE) -> TransactionResult:
        """As `run`, but the transaction must succeed."""
        result = self.run(sender, *actions, after_ms=after_ms, fee=fee)
        assert result.succeeded, (result.error, dict(result.error_data))
        return result

    def _block(self, height: int, time_ms: int) -> BlockContext:
        epoch = max(0, height - 1) // read_parameters(self.view).epoch_blocks
        return BlockContext(self.chain_id, height, epoch, time_ms, self.proposer)

    def next_block(self, time_ms: int) -> BlockContext:
        """The context of a block at this time on top of the present state."""
        return self._block(self.height + 1, time_ms)

    @contextmanager
    def system(self) -> Iterator[Context]:
        """What a due item would see in the present block, for calling a service by itself; then it is as if one had."""
        view = self.view
        block = self._block(self.height, self.time_ms)
        yield Context(view, block, self.live_ms, read_parameters(view), SYSTEM_ACCOUNT, sha256(b"system"))
        self.reader.apply(view.changes())
        if self.check:
            check_all(self.view)

    def wait(self, milliseconds: int, step_ms: int = 10_000) -> None:
        """Let time pass in empty blocks, without an outage."""
        while milliseconds > 0:
            step = min(step_ms, milliseconds)
            self.block(after_ms=step)
            milliseconds -= step

    def balance(self, person: Person) -> int:
        return account(self.view, person.address).balance

    def required_fee(self, transaction: Transaction) -> int:
        return required_fee(read_parameters(self.view), transaction.size, transaction.weight)


def subject(result: TransactionResult, kind: str, role: str) -> bytes:
    """The id of a role in the only event of a kind."""
    (event,) = [event for event in result.events if event.kind == kind]
    return dict(event.subjects)[role]
