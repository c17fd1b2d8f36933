"""A market whose authorities judge: what the tests of disputes about bookings, jobs and hardware share."""

from collections.abc import Sequence
from typing import Any

from chain.actions.disputes import ChallengeHardware, OpenDispute, RespondToDispute, VoteOnDispute
from chain.dispute import DISPUTES, Dispute, Fault
from chain.result import TransactionResult
from tests.ledger import DEFAULT_FEE, Person, subject
from tests.market import UNHURRIED, Market, altered

RESPONSE_MS = 300_000
VOTE_MS = 240_000
RULES = altered(UNHURRIED, dispute_vote_seconds=VOTE_MS // 1_000)


def judges(count: int) -> tuple[Person, ...]:
    """Operators of authorities who are strangers to everybody."""
    return tuple(Person(f"judge {index}") for index in range(count))


class Court(Market):
    """A market on a network whose authorities' operators are `judges`, three if not said otherwise."""

    def __init__(self, judges: Sequence[Person] = judges(3), **more: Any) -> None:
        self.judges = tuple(judges)
        super().__init__(**{"parameters": RULES, "operators": self.judges, **more})

    def open(self, who: Person, about: bytes, text: str = "It does not work.", *, after_ms: int = 1_000) -> bytes:
        """The id of a new dispute about a booking or job."""
        return subject(self.do(who, OpenDispute(about, text), after_ms=after_ms), "dispute.opened", "dispute")

    def challenge(self, who: Person, gpu_id: bytes, *, after_ms: int = 1_000) -> bytes:
        """The id of a new dispute about a GPU's hardware."""
        action = ChallengeHardware(gpu_id, "It is a 3060.")
        return subject(self.do(who, action, after_ms=after_ms), "dispute.opened", "dispute")

    def respond(self, who: Person, dispute_id: bytes, *, after_ms: int = 1_000) -> TransactionResult:
        return self.do(who, RespondToDispute(dispute_id, "It does."), after_ms=after_ms)

    def vote(
        self,
        judge: int | Person,
        dispute_id: bytes,
        renter: int = 0,
        slash: int = 0,
        fault: Fault | None = None,
        *,
        after_ms: int = 1_000,
    ) -> TransactionResult:
        """Let a judge vote; without a word about it, the fault is the provider's if he is to be slashed."""
        person = self.judges[judge] if isinstance(judge, int) else judge
        fault = fault or (Fault.PROVIDER if slash else Fault.NOBODY)
        return self.do(person, VoteOnDispute(dispute_id, renter, slash, fault), after_ms=after_ms)

    def rule(self, dispute_id: bytes, renter: int = 0, slash: int = 0, fault: Fault | None = None) -> None:
        """Let every judge vote the same."""
        for judge in self.judges:
            self.vote(judge, dispute_id, renter, slash, fault)

    def dispute(self, dispute_id: bytes) -> Dispute:
        found = DISPUTES.get(self.view, dispute_id)
        assert found is not None
        return found


class Purse:
    """What both sides had before a deal, to be compared with what the money table says of it."""

    def __init__(self, market: Market, *, provider: Person | None = None, renter: Person | None = None) -> None:
        self.market = market
        self.people = (renter or market.renter, provider or market.provider)
        self.before = tuple(market.wealth(person) for person in self.people)
        self.sequences = self._sequences()

    def _sequences(self) -> tuple[int, ...]:
        from chain.bank import account

        return tuple(account(self.market.view, person.address).sequence for person in self.people)

    def change(self) -> tuple[int, int]:
        """What the renter and the provider have gained since, fees of transactions aside."""
        renter, provider = (
            self.market.wealth(person) - before + (now - then) * DEFAULT_FEE
            for person, before, then, now in zip(
                self.people, self.before, self.sequences, self._sequences(), strict=True
            )
        )
        return renter, provider

    def judge(
        self, about: bytes, locked: int, gross: int, slashed: int = 0, *, from_provider: int = 0, from_renter: int = 0
    ) -> None:
        """Fail unless a row of the money table was followed to the unit.

        Args:
            from_provider: what the renter got of the deposit that the provider had left.
            from_renter: what the provider got of the deposit that the renter had left.
        """
        escrow, fee = self.market.escrow(about), gross * 200 // 10_000
        assert (escrow.locked, escrow.gross, escrow.fee) == (locked, gross, fee)
        assert (escrow.refunded, escrow.remaining) == (locked - gross, 0)
        shift = from_provider - from_renter
        assert self.change() == (-gross + slashed + shift, gross - fee - slashed - shift)
