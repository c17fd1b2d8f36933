"""A dispute and its life: the service behind disputes of bookings and jobs, and challenges of a GPU's hardware.

    open → answered → ruled | undecided          open → unanswered

Opening freezes only what is unpaid, A − P; the other party must respond in live time, and then the authorities that
are not parties vote. Everything that money depends on is copied into the dispute when it is opened, and
`current_dispute` decides it from its deadlines and ballots alone, so a late due queue changes nothing.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated

from chain import booking_life, deposit, stake
from chain import job as jobs
from chain.action import Clock, Context
from chain.authorities import read_authorities
from chain.booking import Booking, BookingStatus, earned_until, matured, read_booking, released_gross
from chain.certificate import MAXIMUM_AUTHORITIES, quorum
from chain.errors import NotFound
from chain.escrow import escrow_of
from chain.inventory import GPUS, GpuStatus, hardware_of, read_gpu, retire_if_idle
from chain.job import Job
from chain.maintenance import retire
from chain.parameters import Parameters
from chain.reputation import note_dispute_lost
from chain.schedule import Subject, schedule, unschedule
from chain.schema import (
    Address,
    Amount,
    BasisPoints,
    Boolean,
    Hash,
    ListOf,
    Seconds,
    Timestamp,
    Unsigned8,
    Unsigned64,
    record,
)
from chain.state.tables import Table, TableId
from chain.state.view import View

MAXIMUM_TEXT_BYTES = 500
DEPOSIT_DIVISOR = 20
"""The deposit is at least this part of what is disputed."""
RECORD_GROWTH = 160
"""Bytes by which the record, and its place in what it is about, grow until the dispute is over."""
BALLOT_BYTES = 10


class DisputeKind(IntEnum):
    """What is disputed."""

    BOOKING = 1
    JOB = 2
    GPU = 3
    """Whether the hardware is what its owner declared; the challenger stands where else the renter does."""


class DisputeStatus(IntEnum):
    OPEN = 1
    """The other party has to respond."""
    ANSWERED = 2
    """The electorate votes."""
    RULED = 3
    UNDECIDED = 4
    """Answered, and the electorate did not rule in time."""
    UNANSWERED = 5


PENDING = (DisputeStatus.OPEN, DisputeStatus.ANSWERED)


class Fault(IntEnum):
    """Whose fault it is."""

    NOBODY = 1
    RENTER = 2
    """Of a booking or job; the challenger of a GPU."""
    PROVIDER = 3


@record(version=1)
@dataclass(frozen=True, slots=True)
class Ballot:
    """What one member of the electorate thinks."""

    voter: Unsigned8
    """Place in the electorate."""
    renter_share: BasisPoints
    """Share of what is disputed that returns to the renter."""
    slash_share: BasisPoints
    """Share of the collateral that goes to the renter."""
    fault: Fault


@record(version=1)
@dataclass(frozen=True, slots=True)
class Ruling:
    """What the ballots come to."""

    renter_share: BasisPoints
    slash_share: BasisPoints
    fault: Fault


@record(version=1)
@dataclass(frozen=True, slots=True)
class Dispute:
    """Two parties disagree about a booking, a job or a GPU."""

    kind: DisputeKind
    subject: Hash
    """The booking, job or GPU."""
    opener: Address
    respondent: Address
    by_provider: Boolean
    """Whether the opener is the provider; the renter, or whoever challenges a GPU, otherwise."""
    interrupts: Boolean
    """Whether it ended an active booking."""
    status: DisputeStatus
    text_hash: Hash
    """SHA-256 of the complaint, which stays in the transaction."""
    txid: Hash
    """The transaction that carries the complaint."""
    opened_height: Unsigned64
    deposit: Amount
    """Left by the opener; held until the dispute is over."""
    storage: Amount
    """Left by the opener for the record; held until it leaves the state."""
    earned: Amount
    """A: gross that is earned if nothing of it is disputed, base units."""
    paid: Amount
    """P: gross that was paid before the dispute, base units."""
    collateral: Amount
    """S: what the provider can lose to the renter, base units."""
    electorate: Annotated[tuple[Address, ...], ListOf(MAXIMUM_AUTHORITIES)]
    """Operators of the authorities that are not parties, as of the opening."""
    vote_seconds: Seconds
    """Live time for voting."""
    deadline_live_ms: Timestamp
    """Live time by which the respondent must answer; once he has, by which the electorate must vote."""
    ballots: Annotated[tuple[Ballot, ...], ListOf(MAXIMUM_AUTHORITIES)] = ()
    response_hash: Hash | None = None
    """SHA-256 of the response."""
    response_txid: Hash | None = None
    """The transaction that carries the response."""
    ruling: Ruling | None = None
    gross: Amount = 0
    """What the provider is paid in the end, market fee and earlier payments included."""
    slashed: Amount = 0
    """Of the collateral, given to the renter; less than was ruled only if a slash had left less."""
    deposit_returned: Amount = 0
    """Of the deposit, back to the opener; the respondent got the rest."""
    closed_height: Unsigned64 | None = None
    forget_live_ms: Timestamp | None = None
    """Live time at which the record leaves the state, once the dispute is over."""

    @property
    def disputed(self) -> int:
        """What is frozen, base units."""
        return self.earned - self.paid

    @property
    def provider(self) -> bytes:
        return self.opener if self.by_provider else self.respondent

    @property
    def renter(self) -> bytes:
        """The renter, or the challenger of a GPU."""
        return self.respondent if self.by_provider else self.opener


DISPUTES: Table[Dispute] = Table(TableId.DISPUTES, Dispute)


@dataclass(frozen=True, slots=True)
class Matter:
    """What a dispute would be about."""

    kind: DisputeKind
    renter: bytes
    provider: bytes
    earned: int = 0
    paid: int = 0
    collateral: int = 0
    interrupts: bool = False
    window_live_ms: int = 0
    """Live time until which the renter could open it."""

    def deposit(self, parameters: Parameters) -> int:
        """What opening it costs until it is over, base units."""
        at_stake = self.collateral if self.kind is DisputeKind.GPU else self.earned - self.paid
        return max(parameters.dispute_deposit, -(-at_stake // DEPOSIT_DIVISOR))


def read_dispute(view: View, dispute_id: bytes) -> Dispute:
    """The dispute as last written. Raises NotFound."""
    dispute = DISPUTES.get(view, dispute_id)
    if dispute is None:
        raise NotFound(kind="dispute", id=dispute_id)
    return dispute


def subjects(dispute_id: bytes, dispute: Dispute) -> list[tuple[str, bytes]]:
    """Who and what a dispute's events are about."""
    return [
        ("dispute", dispute_id),
        (dispute.kind.name.lower(), dispute.subject),
        ("opener", dispute.opener),
        ("respondent", dispute.respondent),
    ]


def matter_of_booking(context: Context, booking_id: bytes, booking: Booking, opener: bytes) -> Matter:
    """What a dispute of an active or closing booking would be about, opened by its renter or provider now.

    A renter's dispute of an active booking ends it as a release does, so it is no way round the charge for that.
    """
    earned = booking.gross
    if booking.status is BookingStatus.ACTIVE and opener == booking.renter:
        offline = booking_life.gpu_is_offline(context, booking)
        earned = released_gross(booking, context.time_ms, offline)
    elif booking.status is BookingStatus.ACTIVE:
        earned = earned_until(booking, context.time_ms)
    window_live_ms = booking.payment_live_ms or context.live_ms + booking.window_seconds * 1_000
    paid = max(escrow_of(context.view, booking_id).gross, matured(context.view, booking, context.live_ms))
    return Matter(
        DisputeKind.BOOKING,
        booking.renter,
        booking.provider,
        earned,
        paid,
        booking.collateral,
        interrupts=booking.status is BookingStatus.ACTIVE,
        window_live_ms=window_live_ms,
    )


def matter_of_job(view: View, job_id: bytes, job: Job) -> Matter:
    """What a dispute of a delivered standalone job would be about."""
    provider, collateral = (b"", 0) if job.claim is None else (job.claim.provider, job.claim.collateral)
    paid = escrow_of(view, job_id).gross
    return Matter(
        DisputeKind.JOB,
        job.renter,
        provider,
        jobs.delivered_gross(job),
        paid,
        collateral,
        window_live_ms=job.acceptance_live_ms or 0,
    )


def matter_of_gpu(view: View, gpu_id: bytes, challenger: bytes) -> Matter:
    """What a challenge of a GPU's hardware would be about."""
    gpu = read_gpu(view, gpu_id)
    return Matter(DisputeKind.GPU, challenger, gpu.owner, collateral=gpu.collateral)


def draft(context: Context, subject: bytes, matter: Matter, text_hash: bytes) -> Dispute:
    """The dispute as it would be if the sender opened it now."""
    by_provider = context.sender == matter.provider
    parties = (matter.renter, matter.provider)
    electorate = tuple(each for each in read_authorities(context.view).operators if each not in parties)
    deadline_live_ms = context.live_ms + context.parameters.dispute_response_seconds * 1_000
    if by_provider:
        # What he opens takes the place of what the renter might, so it leaves the renter no less time to speak up.
        deadline_live_ms = max(deadline_live_ms, matter.window_live_ms)
    dispute = Dispute(
        kind=matter.kind,
        subject=subject,
        opener=context.sender,
        respondent=matter.renter if by_provider else matter.provider,
        by_provider=by_provider,
        interrupts=matter.interrupts,
        status=DisputeStatus.OPEN,
        text_hash=text_hash,
        txid=context.txid,
        opened_height=context.block.height,
        deposit=matter.deposit(context.parameters),
        storage=0,
        earned=matter.earned,
        paid=matter.paid,
        collateral=matter.collateral,
        electorate=electorate,
        vote_seconds=context.parameters.dispute_vote_seconds,
        deadline_live_ms=deadline_live_ms,
    )
    growth = RECORD_GROWTH + BALLOT_BYTES * len(electorate)
    return replace(dispute, storage=deposit.storage_deposit(context.parameters, dispute, growth))


def open_dispute(context: Context, dispute: Dispute) -> None:
    """Take the opener's deposits, freeze what is disputed, and give the other party time to respond."""
    dispute_id, subject = context.new_id("dispute"), dispute.subject
    deposit.take(context, dispute.opener, dispute.deposit + dispute.storage, ("dispute", dispute_id))
    DISPUTES.put(context.view, dispute_id, dispute)
    schedule(context, Clock.LIVE, dispute.deadline_live_ms, Subject.DISPUTE, dispute_id)
    match dispute.kind:
        case DisputeKind.BOOKING:
            booking = read_booking(context.view, subject)
            booking_life.freeze(context, subject, booking, dispute_id, dispute.earned)
        case DisputeKind.JOB:
            jobs.freeze(context, subject, jobs.read_job(context.view, subject), dispute_id)
        case DisputeKind.GPU:
            GPUS.put(context.view, subject, replace(read_gpu(context.view, subject), challenge=dispute_id))
    context.emit(
        "dispute.opened",
        subjects(dispute_id, dispute),
        deposit=dispute.deposit,
        disputed=dispute.disputed,
        earned=dispute.earned,
        paid=dispute.paid,
        collateral=dispute.collateral,
        voters=len(dispute.electorate),
    )


def answer(context: Context, dispute_id: bytes, dispute: Dispute, text_hash: bytes) -> Dispute:
    """The respondent has answered: the electorate may vote. Without an electorate it is over."""
    unschedule(context, Clock.LIVE, dispute.deadline_live_ms, Subject.DISPUTE, dispute_id)
    answered = replace(
        dispute,
        status=DisputeStatus.ANSWERED,
        response_hash=text_hash,
        response_txid=context.txid,
        deadline_live_ms=context.live_ms + dispute.vote_seconds * 1_000,
    )
    DISPUTES.put(context.view, dispute_id, answered)
    schedule(context, Clock.LIVE, answered.deadline_live_ms, Subject.DISPUTE, dispute_id)
    context.emit("dispute.answered", subjects(dispute_id, answered))
    return answered if answered.electorate else _decide(context, dispute_id, answered)


def cast(context: Context, dispute_id: bytes, dispute: Dispute, ballot: Ballot) -> Dispute:
    """Count a ballot; the last one of the electorate decides the dispute."""
    counted = replace(dispute, ballots=(*dispute.ballots, ballot))
    DISPUTES.put(context.view, dispute_id, counted)
    names = [
        *subjects(dispute_id, counted),
        ("voter", counted.electorate[ballot.voter]),
        *_faulted(dispute, ballot.fault),
    ]
    context.emit("dispute.voted", names, renter_share=ballot.renter_share, slash_share=ballot.slash_share)
    complete = len(counted.ballots) == len(counted.electorate)
    return _decide(context, dispute_id, counted) if complete else counted


def current_dispute(context: Context, dispute_id: bytes) -> Dispute:
    """The dispute, decided if its time is over. Raises NotFound."""
    dispute = read_dispute(context.view, dispute_id)
    if dispute.status in PENDING and context.live_ms >= dispute.deadline_live_ms:
        dispute = _decide(context, dispute_id, dispute)
    return dispute


def advance(context: Context, dispute_id: bytes) -> None:
    """Due handler: bring a dispute up to date, and forget it in the end."""
    if DISPUTES.get(context.view, dispute_id) is None:
        return
    dispute = current_dispute(context, dispute_id)
    if dispute.forget_live_ms is not None and context.live_ms >= dispute.forget_live_ms:
        unschedule(context, Clock.LIVE, dispute.forget_live_ms, Subject.DISPUTE, dispute_id)
        DISPUTES.delete(context.view, dispute_id)
        deposit.give_back(context, dispute.opener, dispute.storage, ("dispute", dispute_id))


def count(dispute: Dispute) -> Ruling | None:
    """What the ballots come to: lower medians, and the fault that most see; None without a quorum.

    Only a ballot that faults the provider may slash, so a slash implies that most of the ballots fault him.
    """
    ballots = dispute.ballots
    if not ballots or len(ballots) < quorum(len(dispute.electorate)):
        return None
    middle = (len(ballots) - 1) // 2
    tally = {fault: sum(ballot.fault is fault for ballot in ballots) for fault in Fault}
    most = [fault for fault, votes in tally.items() if votes == max(tally.values())]
    return Ruling(
        renter_share=sorted(ballot.renter_share for ballot in ballots)[middle],
        slash_share=sorted(ballot.slash_share for ballot in ballots)[middle],
        fault=most[0] if len(most) == 1 else Fault.NOBODY,
    )


def outcome(dispute: Dispute) -> Dispute:
    """The dispute as it ends with the response and the ballots that it has: the rows of the money table.

    A provider who ended an active booking has cancelled it, unless a ruling says that he was right.
    """
    cancelled = dispute.collateral if dispute.by_provider and dispute.interrupts else 0
    unruled = replace(dispute, gross=dispute.earned, slashed=cancelled, deposit_returned=dispute.deposit)
    if dispute.status is DisputeStatus.OPEN:
        claimed = dispute.earned if dispute.by_provider else dispute.paid
        return replace(unruled, status=DisputeStatus.UNANSWERED, gross=claimed)
    ruling = count(dispute)
    if ruling is None:
        return replace(unruled, status=DisputeStatus.UNDECIDED)
    if dispute.kind is DisputeKind.GPU:
        won = dispute.deposit if ruling.fault is Fault.PROVIDER else 0
    else:
        won = dispute.deposit * ruling.renter_share // 10_000
    return replace(
        dispute,
        status=DisputeStatus.RULED,
        ruling=ruling,
        gross=dispute.earned - dispute.disputed * ruling.renter_share // 10_000,
        slashed=dispute.collateral * ruling.slash_share // 10_000,
        deposit_returned=dispute.deposit - won if dispute.by_provider else won,
    )


def _decide(context: Context, dispute_id: bytes, dispute: Dispute) -> Dispute:
    """End a dispute: the money of its subject, the collateral and the deposit go where they belong."""
    unschedule(context, Clock.LIVE, dispute.deadline_live_ms, Subject.DISPUTE, dispute_id)
    forget_live_ms = dispute.deadline_live_ms + context.parameters.review_window_seconds * 1_000
    done = replace(outcome(dispute), closed_height=context.block.height, forget_live_ms=forget_live_ms)
    # First, so that whatever is brought up to date on the way finds it over.
    DISPUTES.put(context.view, dispute_id, done)
    schedule(context, Clock.LIVE, forget_live_ms, Subject.DISPUTE, dispute_id)
    if is_lost_by_provider(done):
        note_dispute_lost(context.view, done.provider, _hardware(context.view, done))
    match done.kind:
        case DisputeKind.BOOKING:
            slashed = booking_life.resolve(context, done.subject, done.gross, done.slashed)
        case DisputeKind.JOB:
            slashed = jobs.resolve(context, done.subject, done.gross, done.slashed)
        case DisputeKind.GPU:
            slashed = _end_challenge(context, done)
    done = replace(done, slashed=slashed)
    DISPUTES.put(context.view, dispute_id, done)
    lost = done.deposit - done.deposit_returned
    deposit.give_back(context, done.opener, done.deposit_returned, ("dispute", dispute_id))
    deposit.give_back(context, done.respondent, lost, ("dispute", dispute_id))
    names, shares = subjects(dispute_id, done), {}
    if done.ruling is not None:
        names += _faulted(done, done.ruling.fault)
        shares = {"renter_share": done.ruling.renter_share, "slash_share": done.ruling.slash_share}
    context.emit(
        f"dispute.{done.status.name.lower()}",
        names,
        **shares,
        claimed=done.earned,
        granted=done.gross,
        slashed=slashed,
        deposit_to_opener=done.deposit_returned,
        deposit_to_respondent=lost,
    )
    return done


def _faulted(dispute: Dispute, fault: Fault) -> list[tuple[str, bytes]]:
    """Whose fault it is, for an event; nothing if it is nobody's."""
    match fault:
        case Fault.RENTER:
            return [("at_fault", dispute.renter)]
        case Fault.PROVIDER:
            return [("at_fault", dispute.provider)]
        case Fault.NOBODY:
            return []


def is_lost_by_provider(dispute: Dispute) -> bool:
    """Whether a dispute that is over found the provider at fault: by a ruling, or by his silence."""
    by_ruling = dispute.ruling is not None and dispute.ruling.fault is Fault.PROVIDER
    return by_ruling or (dispute.status is DisputeStatus.UNANSWERED and not dispute.by_provider)


def _hardware(view: View, dispute: Dispute) -> tuple[bytes, ...]:
    """The devices that a dispute is about."""
    match dispute.kind:
        case DisputeKind.BOOKING:
            gpus = read_booking(view, dispute.subject).gpus
        case DisputeKind.JOB:
            claim = jobs.read_job(view, dispute.subject).claim
            gpus = () if claim is None or claim.gpu is None else (claim.gpu,)
        case DisputeKind.GPU:
            gpus = (dispute.subject,)
    return hardware_of(view, gpus)


def _end_challenge(context: Context, dispute: Dispute) -> int:
    """A refuted GPU leaves the market, bookings kept; one that was only waiting for this retires.

    Returns what the challenger gets of the collateral.
    """
    gpu_id, gpu = dispute.subject, read_gpu(context.view, dispute.subject)
    refuted = is_lost_by_provider(dispute)
    forfeited = stake.forfeit(context, gpu.owner, dispute.slashed, dispute.opener)
    gpu = replace(gpu, challenge=None, refuted=gpu.refuted or refuted, collateral=gpu.collateral - dispute.slashed)
    GPUS.put(context.view, gpu_id, gpu)
    if refuted:
        names = [("gpu", gpu_id), ("provider", gpu.owner), ("challenger", dispute.opener)]
        context.emit("gpu.refuted", names, forfeited=forfeited)
    if refuted and gpu.status is not GpuStatus.RETIRING:
        retire(context, gpu_id)
    else:
        retire_if_idle(context, gpu_id)
    return forfeited


def held(view: View) -> int:
    """What is on deposit for disputes, base units: for the record, and until it is over for the dispute itself."""
    return sum(
        dispute.storage + (dispute.deposit if dispute.status in PENDING else 0) for _, dispute in DISPUTES.scan(view)
    )
