"""A node of a single authority without consensus or network: real store, mempool and executor, driven by hand."""

from collections.abc import Sequence
from pathlib import Path

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.bookings import Activate, Release, Reserve
from chain.actions.staking import AddStake
from chain.bank import NATIVE_ASSET, account
from chain.block import Block
from chain.certificate import Certificate, Vote, VoteKind, assemble_certificate, vote_bytes
from chain.crypto import bls
from chain.crypto.hashing import sha256
from chain.parameters import Parameters
from chain.result import TransactionResult
from chain.schema import COIN
from chain.state.view import View
from chain.transaction import Body, Transaction
from genesis.specification import Specification
from node.consensus.epochs import epoch_of
from node.executor import FinalBlock, LedgerExecutor, create_store
from node.mempool import Limits, Mempool
from node.signatures import SignatureVerifier
from node.store import Store
from tests.ledger import DEFAULT_FEE, GENESIS_TIME_MS, Person, make_authority, make_specification, subject
from tests.market import commitment, registration

AUTHORITY, NODE_KEY, SECRET = make_authority("0")
FILL_SECONDS = 60.0
"""So that what is in a block does not depend on how fast the machine is."""


class Solo:
    """One node. Time is a number that tests advance."""

    def __init__(
        self,
        path: Path,
        people: Sequence[Person] = (),
        *,
        specification: Specification | None = None,
        parameters: Parameters | None = None,
        limits: Limits | None = None,
        stake: int = 0,
    ) -> None:
        self.path = path
        self.specification = specification or make_specification(
            people, parameters=parameters, authorities=(AUTHORITY,), stake=stake
        )
        self.chain_id = self.specification.chain_id
        self.wall_ms = GENESIS_TIME_MS
        self.limits = limits
        self.finals: list[FinalBlock] = []
        if not path.exists():
            create_store(path, self.specification)
        self.start()

    def start(self) -> None:
        """Open everything, as a node does on starting."""
        self.store = Store.open(self.path, self.chain_id, self.specification.hash)
        self.mempool = Mempool(self.store, self.chain_id, wall_ms=lambda: self.wall_ms, limits=self.limits)
        self.verifier = SignatureVerifier()
        self.executor = LedgerExecutor(
            self.store, self.specification, self.mempool, self.verifier, fill_seconds=FILL_SECONDS
        )
        self.executor.subscribe(self.mempool.final)
        self.executor.subscribe(self.finals.append)
        self.wall_ms = max(self.wall_ms, self.executor.head().time_ms)

    def close(self) -> None:
        """Close everything."""
        self.verifier.close()
        self.store.close()

    def __enter__(self) -> "Solo":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sign(
        self,
        sender: Person,
        *actions: Action,
        sequence: int | None = None,
        fee: int = DEFAULT_FEE,
        valid_ms: int = 1_800_000,
        idempotency_id: bytes | None = None,
    ) -> Transaction:
        """A transaction of the sender; without a sequence, the next one that is not pending."""
        body = Body(
            chain_id=self.chain_id,
            sender=sender.address,
            public_key=sender.key.public_key,
            sequence=self.mempool.next_sequence(sender.address) if sequence is None else sequence,
            valid_until_ms=self.wall_ms + valid_ms,
            idempotency_id=idempotency_id,
            fee=fee,
            actions=actions,
        )
        return Transaction.sign(body, sender.key)

    def build(self, *, after_ms: int = 1_000, weight: int = 20_000, view: int | None = None) -> Block:
        """A block above the head, from the mempool."""
        self.wall_ms += after_ms
        head = self.executor.head()
        height = head.height + 1
        return self.executor.build(
            height=height,
            parent_hash=head.hash,
            epoch=epoch_of(height, self.specification.parameters.epoch_blocks),
            view=height if view is None else view,
            time_ms=max(head.time_ms + 1, self.wall_ms),
            proposer=AUTHORITY.operator,
            weight_budget=weight,
        )

    def finalize(self, block: Block) -> Certificate:
        """The authority's finalization of a block."""
        return finalization_of(self.chain_id, block)

    def advance(self, *, after_ms: int = 1_000) -> Block:
        """Build a block, make it final and return it."""
        block = self.build(after_ms=after_ms)
        self.executor.commit(block, self.finalize(block))
        return block

    def results(self, height: int) -> tuple[TransactionResult, ...]:
        """The results of a final block; all must be successes."""
        results = self.store.results(height)
        assert all(result.succeeded for result in results), results
        return results

    def balance(self, person: Person) -> int:
        return account(View(self.store), person.address).balance


def finalization_of(chain_id: str, block: Block, *secrets: bytes | None) -> Certificate:
    """A real finalization in the header's view by a set with these secrets; None for a member who does not sign.

    Without any, by the one authority of a solo node.
    """
    kind, epoch, view = VoteKind.FINALIZE, block.header.epoch, max(1, block.header.view)
    message = vote_bytes(chain_id, epoch, view, kind, block.hash)
    votes = {
        index: Vote(kind, epoch, view, block.hash, bls.sign(secret, message))
        for index, secret in enumerate(secrets or (SECRET,))
        if secret is not None
    }
    return assemble_certificate(votes, max(1, len(secrets)))


def trade(solo: Solo, people: Sequence[Person], blocks: int) -> None:
    """Let blocks pass in which people pay and stake, one lists a GPU and another books and uses it."""
    provider, renter, *_ = people
    booking = b""
    for number in range(blocks):
        actions: list[tuple[Person, Action]] = [
            (person, pay(people[(number + index) % len(people)], 1 + number)) for index, person in enumerate(people)
        ]
        match number:
            case 0:
                actions.append((provider, AddStake(100 * COIN)))
                actions += [(provider, promise) for promise in commitment(provider, "solo")]
            case 1:
                actions.append((provider, registration("solo")))
            case 3:
                gpu = subject(solo.results(2)[-1], "gpu.registered", "gpu")
                actions.append((renter, Reserve((gpu,), 0, 3_600, 10**15, (1,), bytes(32))))
            case 4:
                booking = subject(solo.results(4)[-1], "booking.reserved", "booking")
                actions.append((provider, Activate(booking, b"sealed access")))
            case 6:
                actions.append((renter, Release(booking)))
        for index, (sender, action) in enumerate(actions):
            identifier = sha256(number.to_bytes(4, "big")) if index == 0 else None
            # Falling fees keep the order.
            fee = DEFAULT_FEE * (1_000 - index) // 100
            solo.mempool.add(solo.sign(sender, action, fee=fee, idempotency_id=identifier))
        block = solo.advance()
        assert len(block.envelopes) == len(actions)


def pay(to: Person, amount: int) -> Transfer:
    return Transfer(to.address, NATIVE_ASSET, amount)
