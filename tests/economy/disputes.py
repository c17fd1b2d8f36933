"""Disputes of bookings and jobs, and challenges of GPUs, in the second ledger: the rows of the money table."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from chain.actions.disputes import ChallengeHardware, OpenDispute, RespondToDispute, VoteOnDispute
from chain.dispute import Fault
from tests.economy.bookings import ModelBooking
from tests.economy.books import MOST, size_of
from tests.economy.jobs import Attempt, Jobs, ModelJob

MOST_SECONDS = (1 << 32) - 1
GROWTH, OPINION_BYTES = 160, 10
"""Of the ruling and of what names the dispute; of each opinion."""
Opinion = tuple[int, int, Fault]
"""Share of the renter and share of the collateral that goes to him, in basis points, and whose fault it is."""


@dataclass
class ModelDispute:
    kind: str
    subject: bytes
    opener: bytes
    renter: bytes
    """Of a booking or job; whoever challenges a GPU."""
    provider: bytes
    judges: tuple[bytes, ...]
    vote_seconds: int
    review_seconds: int
    deadline_live: int
    key: bytes = b""
    earned: int = 0
    paid: int = 0
    slice: int = 0
    interrupts: bool = False
    """Whether it ended an active booking."""
    deposit: int = 0
    state: str = "open"
    opinions: dict[bytes, Opinion] = field(default_factory=dict)
    ruling: Opinion | None = None
    gross: int = 0
    slashed: int = 0
    returned: int = 0
    """Of the deposit, to the opener."""
    leaves: int = 0
    """Live time at which it leaves the state, once it is over."""

    @property
    def by_provider(self) -> bool:
        return self.opener == self.provider

    @property
    def respondent(self) -> bytes:
        return self.renter if self.by_provider else self.provider

    @property
    def disputed(self) -> int:
        return self.earned - self.paid

    @property
    def pending(self) -> bool:
        return self.state in ("open", "answered")

    @property
    def lost(self) -> bool:
        """Whether the provider was found at fault, by a ruling or by his silence."""
        if self.state == "unanswered":
            return not self.by_provider
        return self.ruling is not None and self.ruling[2] is Fault.PROVIDER


def dispute_size(judges: int) -> int:
    """Bytes for which a dispute is charged."""
    address, octets, number = bytes(33), bytes(32), MOST
    head = [1, octets, address, address, False, False, 1, octets, octets, *[number] * 6]
    court = [[address] * judges, MOST_SECONDS, MOST_SECONDS, number, [], octets, octets, None, *[number] * 5]
    return size_of(*head, *court) + GROWTH + OPINION_BYTES * judges


def lower_median(values: list[int]) -> int:
    """The least value that at least half of them do not exceed."""
    return min(value for value in values if 2 * sum(other <= value for other in values) >= len(values))


def ruling(opinions: list[Opinion]) -> Opinion:
    """What most think of each question."""
    shares, slashes, faults = zip(*opinions, strict=True)
    most = [fault for fault in Fault if all(faults.count(fault) > faults.count(other) for other in {*Fault} - {fault})]
    return lower_median(list(shares)), lower_median(list(slashes)), most[0] if most else Fault.NOBODY


@dataclass
class Disputes(Jobs):
    disputes: dict[bytes, ModelDispute] = field(default_factory=dict)
    forgotten: list[bytes] = field(default_factory=list)
    """Those that have left the state."""
    verdicts: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    """How often disputes of a kind ended in a state, by whether the provider had opened them."""

    def live_edges(self) -> Iterator[int]:
        yield from super().live_edges()
        yield from (item.deadline_live if item.pending else item.leaves for item in self.disputes.values())

    def due(self) -> None:
        for key, dispute in list(self.disputes.items()):
            if dispute.pending and self.live >= dispute.deadline_live:
                self.decide(dispute, dispute.deadline_live)
            if not dispute.pending and self.live >= dispute.leaves:
                del self.disputes[key]
                self.forgotten.append(key)
                self.give_back("dispute", key)
        super().due()

    def do_dispute_open(self, sender: bytes, action: OpenDispute) -> str | None:
        booking, job = self.current_booking(action.subject), self.current_job(action.subject)
        if booking is not None:
            if sender not in (booking.renter, booking.provider):
                return "not_authorized"
            if booking.dispute is not None:
                return "already_disputed"
            if booking.state not in ("active", "closing"):
                return "not_disputable"
            return self.dispute_booking(sender, action.subject, booking)
        if job is None:
            return "not_found"
        if sender != job.renter and (job.attempt is None or sender != job.attempt.provider):
            return "not_authorized"
        if job.booking is not None:
            return "not_disputable"
        if job.dispute is not None:
            return "already_disputed"
        if job.state != "delivered" or job.attempt is None:
            return "not_disputable"
        return self.dispute_job(sender, action.subject, job, job.attempt)

    def dispute_booking(self, sender: bytes, booking_id: bytes, booking: ModelBooking) -> str | None:
        """Only what is not paid is disputed; an active booking ends, by its renter as if he released it."""
        active = booking.state == "active"
        earned = booking.gross
        if active:
            earned = self.released(booking) if sender == booking.renter else self.earned(booking, self.now)
        until = self.live + booking.rules.dispute_window_seconds * 1_000 if active else booking.pay_live
        dispute = self.drafted("booking", booking_id, sender, booking.renter, booking.provider, until)
        dispute.earned, dispute.paid, dispute.slice = earned, self.matured(booking), booking.slice
        dispute.interrupts = active
        if error := self.begin_dispute(dispute, dispute.disputed):
            return error
        booking.dispute = dispute.key
        self.mature(booking)
        if active:
            self.pay(booking.renter, booking.cost - earned)
            booking.gross, booking.ended = earned, self.now
            self.idle(self.now, *booking.gpus)
            self.note(booking, "released" if sender == booking.renter else "cancelled_late")
        booking.state = "disputed"
        self.vacated(*booking.gpus)
        return None

    def dispute_job(self, sender: bytes, job_id: bytes, job: ModelJob, attempt: Attempt) -> str | None:
        """What was not delivered returns at once."""
        dispute = self.drafted("job", job_id, sender, job.renter, attempt.provider, job.accept_live)
        dispute.earned, dispute.paid, dispute.slice = job.delivered, job.paid, attempt.slice
        if error := self.begin_dispute(dispute, dispute.disputed):
            return error
        job.state, job.dispute = "disputed", dispute.key
        self.pay(job.renter, job.cost - job.delivered)
        return None

    def do_gpu_challenge_hardware(self, sender: bytes, action: ChallengeHardware) -> str | None:
        if not self.listed(action.gpu):
            return "not_found"
        gpu = self.gpus[action.gpu]
        if gpu.owner == sender:
            return "not_authorized"
        if gpu.challenge is not None:
            return "already_disputed"
        dispute = self.drafted("gpu", action.gpu, sender, sender, gpu.owner, 0)
        dispute.slice = gpu.collateral
        if error := self.begin_dispute(dispute, gpu.collateral):
            return error
        gpu.challenge = dispute.key
        return None

    def drafted(
        self, kind: str, subject: bytes, opener: bytes, renter: bytes, provider: bytes, until: int
    ) -> ModelDispute:
        """A dispute about nothing yet; `until` is the live time to which the renter could have opened it."""
        deadline = self.live + self.parameters.dispute_response_seconds * 1_000
        judges = tuple(each for each in self.operators() if each not in (renter, provider))
        return ModelDispute(
            kind=kind,
            subject=subject,
            opener=opener,
            renter=renter,
            provider=provider,
            judges=judges,
            vote_seconds=self.parameters.dispute_vote_seconds,
            review_seconds=self.parameters.review_window_seconds,
            deadline_live=max(deadline, until) if opener == provider else deadline,
        )

    def begin_dispute(self, dispute: ModelDispute, worth: int) -> str | None:
        """Take the deposits of a dispute; one for what it is worth, one for its record."""
        dispute.deposit = max(self.parameters.dispute_deposit, ceil(Fraction(worth, 20)))
        storage = self.price(dispute_size(len(dispute.judges)))
        if self.has(dispute.opener) < dispute.deposit + storage:
            return "insufficient_funds"
        dispute.key = self.new_id("dispute")
        self.disputes[dispute.key] = dispute
        self.hold(dispute.opener, dispute.deposit, "contention", dispute.key)
        self.hold(dispute.opener, storage, "dispute", dispute.key)
        return None

    def do_dispute_respond(self, sender: bytes, action: RespondToDispute) -> str | None:
        dispute = self.disputes.get(action.dispute)
        if dispute is None:
            return "not_found"
        if dispute.respondent != sender:
            return "not_authorized"
        if dispute.state != "open":
            return "wrong_dispute_status"
        dispute.state, dispute.deadline_live = "answered", self.live + dispute.vote_seconds * 1_000
        if not dispute.judges:
            self.decide(dispute, self.live)
        return None

    def do_dispute_vote(self, sender: bytes, action: VoteOnDispute) -> str | None:
        dispute = self.disputes.get(action.dispute)
        if dispute is None:
            return "not_found"
        if sender not in dispute.judges:
            return "not_in_electorate"
        if dispute.state != "answered":
            return "wrong_dispute_status"
        if sender in dispute.opinions:
            return "already_voted"
        dispute.opinions[sender] = (action.renter_share, action.slash_share, action.fault)
        if len(dispute.opinions) == len(dispute.judges):
            self.decide(dispute, self.live)
        return None

    def decide(self, dispute: ModelDispute, live: int) -> None:
        """It ends at this live time, with the answer and the opinions that there are, as the money table says."""
        dispute.gross, dispute.returned = dispute.earned, dispute.deposit
        ruled_slash = dispute.slice if dispute.by_provider and dispute.interrupts else 0
        if dispute.state == "open":
            dispute.state = "unanswered"
            dispute.gross = dispute.earned if dispute.by_provider else dispute.paid
        elif 3 * len(dispute.opinions) <= 2 * len(dispute.judges):
            dispute.state = "undecided"
        else:
            dispute.state, dispute.ruling = "ruled", ruling(list(dispute.opinions.values()))
            share, slash = (Fraction(part, 10_000) for part in dispute.ruling[:2])
            dispute.gross = dispute.earned - floor(dispute.disputed * share)
            ruled_slash = floor(dispute.slice * slash)
            won = floor(dispute.deposit * (int(dispute.lost) if dispute.kind == "gpu" else share))
            dispute.returned = dispute.deposit - won if dispute.by_provider else won
        self.verdicts[dispute.kind, dispute.state, dispute.by_provider] += 1
        dispute.leaves = dispute.deadline_live + dispute.review_seconds * 1_000
        dispute.slashed = self.forfeit(dispute.provider, ruled_slash, dispute.renter)
        _, deposit = self.deposits.pop(("contention", dispute.key))
        self.pay(dispute.opener, dispute.returned)
        self.pay(dispute.respondent, deposit - dispute.returned)
        if dispute.kind == "gpu":
            self.end_challenge(dispute, ruled_slash, live)
        else:
            self.pay_disputed(dispute)
        if dispute.lost:
            self.remember(dispute.provider, self.devices(self.contested(dispute)), disputes_lost=1)

    def contested(self, dispute: ModelDispute) -> Sequence[bytes]:
        """The GPUs that a dispute is about."""
        if dispute.kind == "gpu":
            return (dispute.subject,)
        if dispute.kind == "booking":
            return self.bookings[dispute.subject].gpus
        attempt = self.jobs[dispute.subject].attempt
        return attempt.gpus if attempt else ()

    def pay_disputed(self, dispute: ModelDispute) -> None:
        """The booking or job is over: what was granted is paid, the rest returns."""
        subject = self.bookings[dispute.subject] if dispute.kind == "booking" else self.jobs[dispute.subject]
        subject.state = "closed"
        paid, fee = subject.paid, subject.fee
        self.reward(subject, dispute.provider, dispute.gross)
        self.pay(dispute.renter, dispute.earned - dispute.gross)
        if isinstance(subject, ModelBooking):
            subject.gross = dispute.gross
            self.note_earnings(subject)
        else:
            devices = self.devices(self.contested(dispute))
            self.remember_earnings(dispute.provider, devices, subject.paid - paid, subject.fee - fee)

    def end_challenge(self, dispute: ModelDispute, slashed: int, live: int) -> None:
        """A GPU that is not what it was said to be is off the market; one that waited for this retires."""
        gpu = self.gpus[dispute.subject]
        gpu.challenge = None
        gpu.collateral -= slashed
        gpu.refuted = gpu.refuted or dispute.lost
        if dispute.lost and not gpu.retiring:
            self.withdraw(dispute.subject, live)
        self.vacated(dispute.subject)
