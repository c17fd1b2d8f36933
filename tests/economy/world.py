"""A random economy that the ledger and its model live through side by side.

Both get the same transactions, valid and invalid, under random jumps of time with outages; every outcome and every
balance is compared after each block. How to run one by hand is in `__main__.py`.
"""

import hashlib
import json
import random
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from chain.action import Action, BlockContext
from chain.actions.accounts import RotateKey, Transfer
from chain.actions.bookings import Activate, Confirm, Release, Reserve
from chain.actions.governance import VoteOnMeasure
from chain.actions.multisig import CreateMultisig
from chain.actions.reviews import SubmitReview
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256
from chain.parameters import Parameters
from chain.schema import COIN
from chain.transaction import Transaction
from chain.transition import BlockOutcome, apply_block
from genesis.specification import from_file, to_file
from tests.council import Officer
from tests.economy.attempts import COUNCIL_FAMILIES, FAMILIES, Attempts
from tests.economy.choices import Attempted
from tests.economy.compare import compare
from tests.economy.model import Model
from tests.economy.promises import check_promises
from tests.economy.refusals import Refused, check_refusal
from tests.economy.sight import Sight
from tests.ledger import Ledger, Person, make_specification
from tests.market import commitment, registration, terms

PARAMETERS = Parameters(
    storage_deposit_per_byte=1_003,
    heartbeat_timeout_seconds=600,
    dispute_window_seconds=120,
    unbonding_seconds=45,
    epoch_blocks=10,
    collateral_per_gpu=3 * COIN + 1,
    market_fee=333,
    market_fee_staker_share=2_222,
    release_charge=137,
    review_window_seconds=3_600,
    dispute_deposit=COIN // 2,
    dispute_response_seconds=75,
    dispute_vote_seconds=60,
    governance_seconds=6 * 3_600,
    treasury_spend_share=2_000,
    authority_minimum_stake=5 * COIN,
    ready_epochs=2,
    evidence_epochs=2,
    evidence_slash=2_500,
    evidence_reward=COIN,
)
OFFICERS = 7
COUNCILS = (4, 4, 4, 1, 2, 3, 5, 7, 7)
"""How many of them are authorities from the beginning."""
FORGETFUL = replace(PARAMETERS, review_window_seconds=240, review_retention_seconds=500)
"""So that what is over leaves the state while the economy goes on."""
AT_ONCE = {
    "judge": (1, 3, 5),
    "work": (1, 2, 4),
    "ballot": (1, 3),
    "multisig": (1, 2),
    "chore": (1, 2),
    "bid": (1, 2),
    "review": (1, 2),
}
"""Attempts of a family in one step, where most things take several."""
JUMPS_MS = (1, 2, 500, 1_000, 1_000, 9_999, 14_999, 15_000, 15_001, 40_000, 61_000, 600_000, 3 * 3_600_000)


class Economy:
    """Model and ledger side by side, and the people in them."""

    def __init__(
        self,
        seed: int,
        *,
        parameters: Parameters = PARAMETERS,
        wealth: int | None = None,
        families: Collection[str] = FAMILIES,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        wealth = wealth or self.rng.choice((50, 400, 3_000)) * COIN
        self.dowry = wealth // 50
        """What a new multisig account gets from whoever makes it."""
        officers = [Officer(str(index)) for index in range(OFFICERS)]
        seated = [officer.authority for officer in officers[: self.rng.choice(COUNCILS)]]
        busy = [Person("ada"), officers[1], Person("ben"), officers[2]]
        self.people = [*busy, officers[0], *officers[3:]]
        specification = make_specification(
            self.people,
            balance=wealth,
            stake=wealth // 5,
            parameters=parameters,
            authorities=seated,
        )
        self.ledger = Ledger(specification, check=False)
        balances = {owner.address: owner.balance for owner in specification.allocations}
        stakes = {owner.address: owner.stake for owner in specification.allocations if owner.stake}
        self.model = Model(parameters, balances, stakes, chain_id=self.ledger.chain_id, members=seated)
        self.model.issued = sum(balances.values()) + sum(stakes.values())
        self.model.found_epoch()
        self.spare_keys = [PrivateKey(sha256(f"spare {index}".encode())) for index in range(12)]
        keys, chain_id = self.spare_keys, self.ledger.chain_id
        chosen = {family: often for family, often in FAMILIES.items() if family in families}
        self.choices = Attempts(self.rng, self.model, busy, officers, keys, chain_id, chosen)
        self.sight = Sight(self.ledger.reader)
        self.digest = hashlib.sha256()
        self.all_changes: list[dict[bytes, bytes | None]] = []
        self.history: list[tuple[BlockContext, list[Transaction], BlockOutcome]] = []

    def jump(self) -> int:
        """Milliseconds to the next block: often something typical, often the exact edge of something."""
        rng = self.rng
        if rng.random() < 0.85:
            return min(self.edge(), rng.choice((1, 1_000, 10_000, 14_999, 15_000, 15_000, 15_000)))
        return self.edge() if rng.random() < 0.5 else rng.choice(JUMPS_MS)

    def edge(self) -> int:
        """Milliseconds to about the next moment at which something is due, or some other time."""
        rng, model = self.rng, self.model
        if rng.random() < 0.7:
            waiting = [edge - model.now for edge in model.edges() if edge > model.now]
            waiting += [edge - model.live for edge in model.live_edges() if edge > model.live]
            if waiting:
                return max(1, min(waiting) + rng.choice((-1, 0, 0, 0, 1)))
        return rng.randint(1, 100_000)

    def block(self) -> list[str]:
        """One block of random transactions; returns their errors. Raises AssertionError where the two differ."""
        self.begin(self.jump())
        for _ in range(self.rng.choice((0, 1, 1, 2, 3, 6))):
            self.add(self.choices.attempt())
            if self.rng.random() < 0.04:
                self.add_several()
            if self.rng.random() < 0.04:
                self.add(self.choices.attempt(), spoiled=True)
        return self.finish()

    def open_market(self, providers: int = 2) -> None:
        """Some providers list GPUs and a multisig account gets money, so that everything can happen at once."""
        owners = [person.address for person in self.people[:providers]]
        offers = [terms(price) for price in (COIN, 3_599, 2 * COIN + 1)]
        listings = [(owner, f"device {index}", offers[index // providers]) for index, owner in enumerate(owners * 3)]
        club = CreateMultisig(2, tuple(sorted(person.address for person in self.people[1:4])))
        self.begin(1_000)
        for owner, name, _ in listings:
            self.add((owner, commitment(owner, name)[0]))
        self.add((owners[0], club))
        self.finish()
        self.begin(1_000)
        for owner, name, offer in listings:
            self.add((owner, registration(name, offer)))
        for address in self.model.clubs:
            self.add((owners[0], Transfer(address, "AITBC", 8 * COIN)))
        self.finish()

    def open_books(self) -> None:
        """A booking that was paid and reviewed, so that there is something to answer and to hide."""
        gpu_id = next(iter(self.model.gpus))
        owner, renter = self.model.gpus[gpu_id].owner, self.people[3].address
        self.begin(1_000)
        self.add((renter, Reserve((gpu_id,), 0, 60, 10**15, (1,), bytes(32))))
        if not self.model.bookings:
            self.finish()
            return
        (booking_id,) = self.model.bookings
        self.add((owner, Activate(booking_id, b"x")))
        self.finish()
        self.begin(15_000)
        self.add((renter, Release(booking_id)), Confirm(booking_id), SubmitReview(booking_id, 4, "fine"))
        self.finish()

    def open_council(self) -> None:
        """Measures, votes and evidence, also a full agenda, so that the council is in the middle of something."""
        rng = self.rng
        for _ in range(rng.choice((0, 6, 14, 24))):
            self.begin(1_000)
            for _ in range(rng.choice((1, 3, 6))):
                self.add(self.choices.attempt(rng.choice(COUNCIL_FAMILIES)))
            if rng.random() < 0.2:
                self.add(self.choices.measure())
                self.carry()
            if rng.random() < 0.03:
                sender = rng.choice(self.model.operators())
                self.add((sender, self.choices.proposal()), *(self.choices.proposal() for _ in range(8)))
            self.finish()

    def carry(self) -> None:
        """Every operator votes for the latest measure."""
        for operator in self.model.operators():
            if self.model.measures:
                self.add((operator, VoteOnMeasure(list(self.model.measures)[-1], True)))

    def trace(self) -> str:
        """All blocks as JSON, from which `python -m tests.economy` makes the same digest in another process."""
        blocks = [
            [context.time_ms, [transaction.envelope.hex() for transaction in transactions]]
            for context, transactions, _ in self.history
        ]
        return json.dumps({"specification": to_file(self.ledger.specification), "blocks": blocks})

    def begin(self, jump_ms: int) -> None:
        """A block begins, this long after the last one."""
        ledger = self.ledger
        ledger.time_ms += jump_ms
        self.context = ledger.next_block(ledger.time_ms)
        self.model.step(ledger.time_ms)
        self.pending: list[Transaction] = []
        self.expected: list[str] = []
        self.refused: list[Refused] = []

    def add_several(self) -> None:
        """One account attempts several things, all or none."""
        sender, first = self.choices.attempt()
        more = [action for address, action in (self.choices.attempt() for _ in range(6)) if address == sender]
        self.add((sender, first), *more)

    def add(self, attempted: Attempted, *more: Action, spoiled: bool = False) -> None:
        """Somebody signs what an account attempts; the model does it at once."""
        signer, actions = self.choices.wrapped(attempted[0], attempted[1], *more)
        person = next(person for person in self.people if person.address == signer)
        make = self.choices.spoiled if spoiled else self.choices.envelope
        transaction = make(person, actions)
        why = self.model.refusal(transaction)
        if why is not None:
            self.refused.append(Refused(len(self.pending), transaction, why))
            return
        error = self.model.include(transaction, self.ledger.proposer)
        if not error:
            for action in actions:
                if isinstance(action, RotateKey):
                    self.choices.retired.setdefault(signer, []).append(person.key)
                    person.key = next(key for key in self.spare_keys if key.public_key == action.new_key)
        self.expected.append(error)
        self.pending.append(transaction)
        if not error and any(isinstance(action, CreateMultisig) for action in actions):
            self.add((signer, Transfer(list(self.model.clubs)[-1], "AITBC", self.dowry)))

    def finish(self) -> list[str]:
        """The ledger applies the block; both must be equal afterwards."""
        ledger, view = self.ledger, self.ledger.view
        for refused in self.refused:
            check_refusal(ledger.reader, self.context, self.pending, refused)
        outcome = apply_block(view, self.context, self.pending)
        self.model.end_block()
        found = [result.error for result in outcome.results]
        actions = [transaction.body.actions for transaction in self.pending]
        told = f"height {self.context.height}: ledger {found}, model {self.expected}, {actions}"
        assert found == self.expected, told
        changes = view.changes()
        self.digest.update(told_apart(changes, outcome))
        ledger.reader.apply(changes)
        ledger.height = self.context.height
        self.all_changes.append(changes)
        self.history.append((self.context, self.pending, outcome))
        compare(self.model, self.sight)
        check_promises(self.model, self.model.issued, changes)
        return found


def told_apart(changes: dict[bytes, bytes | None], outcome: BlockOutcome) -> bytes:
    """Everything that a block does, as bytes."""
    return repr((list(changes.items()), outcome.results_root)).encode()


def replay(trace: str) -> str:
    """The digest of the blocks of a trace, decoded and applied from their bytes."""
    document = json.loads(trace)
    ledger, digest = Ledger(from_file(document["specification"]), check=False), hashlib.sha256()
    for time_ms, envelopes in document["blocks"]:
        context, view = ledger.next_block(time_ms), ledger.view
        ledger.height = context.height
        outcome = apply_block(view, context, [Transaction.decode(bytes.fromhex(item)) for item in envelopes])
        changes = view.changes()
        digest.update(told_apart(changes, outcome))
        ledger.reader.apply(changes)
    return digest.hexdigest()


def run(seed: int, blocks: int, **more: Any) -> Economy:
    """An economy after this many blocks."""
    economy = Economy(seed, **more)
    for _ in range(blocks):
        economy.block()
    return economy
