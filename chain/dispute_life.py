"""The life of a dispute: of a booking, of a job, or of a GPU's hardware, from its opening until it is forgotten.

Opening freezes only what is unpaid; the other party must respond in live time, and then the authorities that are not
parties vote. What the ballots come to is worked out in `dispute.py`; here the money goes where that says.
`current_dispute` decides a dispute from its deadlines and ballots alone, so a late due queue changes nothing.
"""

from dataclasses import dataclass, replace

from chain import booking_life, deposit, job_life, stake
from chain.action import Clock, Context
from chain.authorities import read_authorities
from chain.booking import Booking, BookingStatus, earned_until, matured, read_booking, released_gross
from chain.dispute import (
    DISPUTES,
    PENDING,
    Ballot,
    Dispute,
    DisputeKind,
    DisputeStatus,
    Fault,
    is_lost_by_provider,
    outcome,
    read_dispute,
    subjects,
)
from chain.errors import NotFound
from chain.escrow import escrow_of
from chain.inventory import GPUS, GpuStatus, hardware_of, read_gpu, retire_if_idle
from chain.job import Job, delivered_gross, read_job
from chain.maintenance import retire
from chain.parameters import Parameters
from chain.reputation import note_dispute_lost
from chain.schedule import Subject, schedule, unschedule
from chain.state.view import View

DEPOSIT_DIVISOR = 20
"""The deposit is at least this part of what is disputed."""
RECORD_GROWTH = 160
"""Bytes by which the record, and its place in what it is about, grow until the dispute is over."""
BALLOT_BYTES = 10


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
        delivered_gross(job),
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
        review_seconds=context.parameters.review_window_seconds,
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
            job_life.freeze(context, subject, read_job(context.view, subject), dispute_id)
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
    """The dispute, decided if its time is over. Raises NotFound, also when it should have left the state."""
    dispute = _update(context, dispute_id)
    if has_left(context, dispute):
        raise NotFound(kind="dispute", id=dispute_id)
    return dispute


def _update(context: Context, dispute_id: bytes) -> Dispute:
    dispute = read_dispute(context.view, dispute_id)
    if dispute.status in PENDING and context.live_ms >= dispute.deadline_live_ms:
        dispute = _decide(context, dispute_id, dispute)
    return dispute


def has_left(context: Context, dispute: Dispute) -> bool:
    """Whether a dispute is over for so long that nobody finds it any more, whatever the due queue has reached."""
    return dispute.forget_live_ms is not None and context.live_ms >= dispute.forget_live_ms


def advance(context: Context, dispute_id: bytes) -> None:
    """Due handler: bring a dispute up to date, and forget it in the end."""
    if DISPUTES.get(context.view, dispute_id) is None:
        return
    dispute = _update(context, dispute_id)
    if dispute.forget_live_ms is not None and has_left(context, dispute):
        unschedule(context, Clock.LIVE, dispute.forget_live_ms, Subject.DISPUTE, dispute_id)
        DISPUTES.delete(context.view, dispute_id)
        deposit.give_back(context, dispute.opener, dispute.storage, ("dispute", dispute_id))


def _decide(context: Context, dispute_id: bytes, dispute: Dispute) -> Dispute:
    """End a dispute: the money of its subject, the collateral and the deposit go where they belong."""
    unschedule(context, Clock.LIVE, dispute.deadline_live_ms, Subject.DISPUTE, dispute_id)
    forget_live_ms = dispute.deadline_live_ms + dispute.review_seconds * 1_000
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
            slashed = job_life.resolve(context, done.subject, done.gross, done.slashed)
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
        retire(context, gpu_id, min(context.live_ms, dispute.deadline_live_ms))
    else:
        retire_if_idle(context, gpu_id)
    return forfeited


def _hardware(view: View, dispute: Dispute) -> tuple[bytes, ...]:
    """The devices that a dispute is about."""
    match dispute.kind:
        case DisputeKind.BOOKING:
            gpus = read_booking(view, dispute.subject).gpus
        case DisputeKind.JOB:
            claim = read_job(view, dispute.subject).claim
            gpus = () if claim is None or claim.gpu is None else (claim.gpu,)
        case DisputeKind.GPU:
            gpus = (dispute.subject,)
    return hardware_of(view, gpus)


def _faulted(dispute: Dispute, fault: Fault) -> list[tuple[str, bytes]]:
    """Whose fault it is, for an event; nothing if it is nobody's."""
    match fault:
        case Fault.RENTER:
            return [("at_fault", dispute.renter)]
        case Fault.PROVIDER:
            return [("at_fault", dispute.provider)]
        case Fault.NOBODY:
            return []
