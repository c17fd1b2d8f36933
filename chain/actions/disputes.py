"""Disputes: contesting a booking, a job or a GPU's hardware, answering, and the authorities' votes."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from chain.action import Action, Clock, Context, Family
from chain.bank import require_funds
from chain.booking import BOOKINGS, BookingStatus
from chain.booking_life import current_booking
from chain.crypto.hashing import sha256
from chain.dispute import (
    DISPUTES,
    MAXIMUM_TEXT_BYTES,
    PENDING,
    Ballot,
    Dispute,
    DisputeKind,
    DisputeStatus,
    Fault,
    held,
)
from chain.dispute_life import (
    Matter,
    advance,
    answer,
    cast,
    draft,
    matter_of_booking,
    matter_of_gpu,
    matter_of_job,
    open_dispute,
)
from chain.errors import InvalidField, LedgerError, NotAuthorized, NotFound
from chain.escrow import escrow_of
from chain.invariants import require
from chain.inventory import GPUS
from chain.job import JOBS, JobStatus
from chain.record import record
from chain.schedule import Subject, is_scheduled
from chain.schema import BasisPoints, Hash, String
from chain.standing import booking_now, dispute_now, gpu_now, is_challenged, job_now
from chain.state.view import View

Text = Annotated[str, String(MAXIMUM_TEXT_BYTES, 1)]


class NotDisputable(LedgerError):
    code = 1801
    hint = "What can be disputed is an active or closing booking, a delivered job of its own, or a listed GPU."


class AlreadyDisputed(LedgerError):
    code = 1802
    hint = "A booking or job is disputed once; of a GPU's hardware one challenge is open at a time."


class WrongDisputeStatus(LedgerError):
    code = 1803
    hint = "The dispute is not in a state that allows this."


class NotInElectorate(LedgerError):
    code = 1804
    hint = "Only operators of authorities that are not parties vote, and only those of when the dispute was opened."


class AlreadyVoted(LedgerError):
    code = 1805
    hint = "A vote cannot be changed."


def _validate_text(action: str, text: str) -> None:
    if text != text.strip():
        raise InvalidField(record=action, field="text", reason="starts or ends with blanks")


@record(version=1)
@dataclass(frozen=True, slots=True)
class OpenDispute(Action):
    """The renter or the provider contests a booking or a delivered job: what is unpaid is frozen, for a deposit."""

    code: ClassVar[int] = 70
    name: ClassVar[str] = "dispute.open"
    base_weight: ClassVar[int] = 85

    subject: Hash
    """The booking or job."""
    text: Text
    """What is wrong; the ledger keeps its hash."""

    def validate(self) -> None:
        _validate_text("OpenDispute", self.text)

    def check(self, context: Context) -> None:
        dispute = self._draft(context)
        require_funds(context.view, context.sender, dispute.deposit, dispute.storage)

    def _draft(self, context: Context) -> Dispute:
        return draft(context, self.subject, self._matter(context), sha256(self.text.encode()))

    def _matter(self, context: Context) -> Matter:
        """What it would be about. Raises what does not allow it."""
        if BOOKINGS.get(context.view, self.subject) is not None:
            return self._booking_matter(context)
        if JOBS.get(context.view, self.subject) is not None:
            return self._job_matter(context)
        raise NotFound(kind="booking or job", id=self.subject)

    def _booking_matter(self, context: Context) -> Matter:
        booking = booking_now(context.view, self.subject)
        self._require_party(context, booking.renter, booking.provider)
        if booking.dispute is not None:
            raise AlreadyDisputed(subject=self.subject, dispute=booking.dispute)
        if booking.status not in (BookingStatus.ACTIVE, BookingStatus.CLOSING):
            raise NotDisputable(subject=self.subject, status=booking.status.name.lower(), needed="active or closing")
        booking = current_booking(context, self.subject)
        return matter_of_booking(context, self.subject, booking, context.sender)

    def _job_matter(self, context: Context) -> Matter:
        job = job_now(context.view, self.subject)
        provider = b"" if job.claim is None else job.claim.provider
        self._require_party(context, job.renter, provider)
        if job.booking is not None:
            raise NotDisputable(subject=self.subject, booking=job.booking, reason="dispute the booking that pays it")
        if job.dispute is not None:
            raise AlreadyDisputed(subject=self.subject, dispute=job.dispute)
        if job.status is not JobStatus.DELIVERED:
            raise NotDisputable(subject=self.subject, status=job.status.name.lower(), needed="delivered")
        return matter_of_job(context.view, self.subject, job)

    def _require_party(self, context: Context, renter: bytes, provider: bytes) -> None:
        if context.sender not in (renter, provider):
            raise NotAuthorized(needed="renter or provider", account=renter)

    def apply(self, context: Context) -> None:
        open_dispute(context, self._draft(context))


@record(version=1)
@dataclass(frozen=True, slots=True)
class ChallengeHardware(Action):
    """Anybody but its owner contests that a GPU is what it was declared to be, for a deposit."""

    code: ClassVar[int] = 27
    name: ClassVar[str] = "gpu.challenge_hardware"
    base_weight: ClassVar[int] = 50  # an earlier one may have to be decided

    gpu: Hash
    text: Text
    """What is wrong; the ledger keeps its hash."""

    def validate(self) -> None:
        _validate_text("ChallengeHardware", self.text)

    def check(self, context: Context) -> None:
        gpu = gpu_now(context.view, self.gpu)
        if gpu.owner == context.sender:
            raise NotAuthorized(needed="anybody but the provider", account=gpu.owner)
        if gpu.challenge is not None and is_challenged(context.view, gpu):
            raise AlreadyDisputed(subject=self.gpu, dispute=gpu.challenge)
        if gpu.challenge is not None:
            advance(context, gpu.challenge)
        dispute = self._draft(context)
        require_funds(context.view, context.sender, dispute.deposit, dispute.storage)

    def _draft(self, context: Context) -> Dispute:
        matter = matter_of_gpu(context.view, self.gpu, context.sender)
        return draft(context, self.gpu, matter, sha256(self.text.encode()))

    def apply(self, context: Context) -> None:
        open_dispute(context, self._draft(context))


def _require_status(dispute_id: bytes, dispute: Dispute, needed: DisputeStatus) -> None:
    if dispute.status is not needed:
        raise WrongDisputeStatus(dispute=dispute_id, status=dispute.status.name.lower(), needed=needed.name.lower())


@record(version=1)
@dataclass(frozen=True, slots=True)
class RespondToDispute(Action):
    """The other party answers; without an answer in time the opener is right."""

    code: ClassVar[int] = 71
    name: ClassVar[str] = "dispute.respond"
    base_weight: ClassVar[int] = 50  # without an electorate it decides

    dispute: Hash
    text: Text
    """The ledger keeps its hash."""

    def validate(self) -> None:
        _validate_text("RespondToDispute", self.text)

    def check(self, context: Context) -> None:
        dispute = dispute_now(context.view, self.dispute)
        if dispute.respondent != context.sender:
            raise NotAuthorized(needed="respondent", account=dispute.respondent)
        _require_status(self.dispute, dispute, DisputeStatus.OPEN)

    def apply(self, context: Context) -> None:
        answer(context, self.dispute, dispute_now(context.view, self.dispute), sha256(self.text.encode()))


@record(version=1)
@dataclass(frozen=True, slots=True)
class VoteOnDispute(Action):
    """An authority that is no party says what is just; the lower medians and the most frequent fault rule."""

    code: ClassVar[int] = 72
    name: ClassVar[str] = "dispute.vote"
    base_weight: ClassVar[int] = 60

    dispute: Hash
    renter_share: BasisPoints
    """Share of what is disputed that returns to the renter; says nothing about a GPU's hardware."""
    slash_share: BasisPoints
    """Share of the collateral that goes to the renter or challenger; only where the provider is at fault."""
    fault: Fault

    def validate(self) -> None:
        if self.slash_share and self.fault is not Fault.PROVIDER:
            raise InvalidField(record="VoteOnDispute", field="slash_share", reason="the provider is not at fault")

    def check(self, context: Context) -> None:
        dispute = dispute_now(context.view, self.dispute)
        if context.sender not in dispute.electorate:
            raise NotInElectorate(dispute=self.dispute, account=context.sender)
        _require_status(self.dispute, dispute, DisputeStatus.ANSWERED)
        voter = dispute.electorate.index(context.sender)
        if any(ballot.voter == voter for ballot in dispute.ballots):
            raise AlreadyVoted(dispute=self.dispute, account=context.sender)

    def apply(self, context: Context) -> None:
        dispute = dispute_now(context.view, self.dispute)
        voter = dispute.electorate.index(context.sender)
        ballot = Ballot(voter, self.renter_share, self.slash_share, self.fault)
        cast(context, self.dispute, dispute, ballot)


def check_disputes(view: View) -> None:
    """Each dispute has its deadline; an open one has voters that are no parties, and a subject that holds its money."""
    pending = {}
    for dispute_id, dispute in DISPUTES.scan(view):
        due_ms = dispute.deadline_live_ms if dispute.forget_live_ms is None else dispute.forget_live_ms
        waiting = is_scheduled(view, Clock.LIVE, due_ms, Subject.DISPUTE, dispute_id)
        require(waiting, "a dispute has its deadline", id=dispute_id)
        if dispute.status not in PENDING:
            continue
        pending[dispute_id] = dispute
        parties = {dispute.opener, dispute.respondent}
        require(len(parties) == 2 and parties.isdisjoint(dispute.electorate), "no party votes", id=dispute_id)
        voters = {ballot.voter for ballot in dispute.ballots}
        known = len(voters) == len(dispute.ballots) and max(voters, default=-1) < len(dispute.electorate)
        require(known, "each voter votes once", id=dispute_id)
        require(0 <= dispute.paid <= dispute.earned, "a dispute is about what was not paid", id=dispute_id)
        if dispute.kind is not DisputeKind.GPU:
            escrow = escrow_of(view, dispute.subject)
            require(escrow.gross == dispute.paid, "nothing is paid during a dispute", id=dispute_id)
            require(escrow.remaining == dispute.disputed, "what is disputed is held", id=dispute_id)
    named = {booking.dispute: key for key, booking in BOOKINGS.scan(view) if booking.status is BookingStatus.DISPUTED}
    named |= {job.dispute: key for key, job in JOBS.scan(view) if job.status is JobStatus.DISPUTED}
    named |= {gpu.challenge: key for key, gpu in GPUS.scan(view) if gpu.challenge is not None}
    expected = {dispute_id: dispute.subject for dispute_id, dispute in pending.items()}
    require(named == expected, "what is disputed names its dispute")


FAMILY = Family(
    "disputes",
    (ChallengeHardware, OpenDispute, RespondToDispute, VoteOnDispute),
    {Subject.DISPUTE: advance},
    (check_disputes,),
    deposits=held,
)
