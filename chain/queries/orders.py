"""Orders: the commercial view of bookings and standalone jobs as of now: what is locked, earned, paid and left."""

from dataclasses import dataclass
from typing import Literal

from chain.action import Context
from chain.booking import Booking, BookingStatus, Extension
from chain.escrow import Escrow, escrow_of
from chain.job import HELD, Job, JobStatus
from chain.job_life import current_job
from chain.queries.bookings import BookingNow
from chain.trades import HOUR_MS

Kind = Literal["booking", "job"]


@dataclass(frozen=True, slots=True)
class Order:
    """What two parties do for each other. Amounts in base units; locked = paid + refunded + remaining."""

    kind: Kind
    renter: bytes
    provider: bytes | None
    """None for a job that nobody has claimed."""
    gpus: tuple[bytes, ...]
    status: str
    locked: int
    earned: int
    """Gross, by now."""
    fee: int
    """Market fee within what is earned."""
    paid: int
    """Gross, fee included, that has left the escrow."""
    refunded: int
    remaining: int
    start_ms: int | None
    end_ms: int | None
    """Of a booking; the deadline of a job that is open."""
    seconds_left: int
    """Until the end, for what is not over."""
    seconds_until_empty: int | None
    """Time of use until all that is locked is earned, at the rates agreed; None if nothing runs or it costs nothing."""


def seconds_until_empty(booking: Booking, earned: int, time_ms: int) -> int | None:
    """How long the money that is not earned yet lasts, from now or from a start to come; None if it is for free.

    What is left at the end, because a booking was activated late, is divided by the last rate, though it will return.
    """
    left = (booking.cost - earned) * HOUR_MS
    reached = max(time_ms, booking.start_ms)
    rate, spent_ms = booking.rate, 0
    for extension in (*booking.extensions, Extension(booking.end_ms, 0)):
        stretch_ms = max(0, extension.from_ms - reached)
        if rate and rate * stretch_ms >= left:
            break
        left, spent_ms, reached = left - rate * stretch_ms, spent_ms + stretch_ms, max(reached, extension.from_ms)
        rate = extension.rate or rate
    return (spent_ms + left // rate) // 1_000 if rate else None


def booking_order(now: BookingNow, time_ms: int) -> Order:
    """The order that a booking is.

    Args:
        time_ms: the present block time.
    """
    booking, escrow = now.booking, now.escrow
    runs = booking.status in (BookingStatus.RESERVED, BookingStatus.ACTIVE)
    return Order(
        kind="booking",
        renter=booking.renter,
        provider=booking.provider,
        gpus=booking.gpus,
        status=booking.status.name.lower(),
        locked=escrow.locked,
        earned=now.earned,
        fee=now.earned * escrow.fee_rate // 10_000,
        paid=escrow.gross,
        refunded=escrow.refunded,
        remaining=escrow.remaining,
        start_ms=booking.start_ms,
        end_ms=booking.end_ms,
        seconds_left=now.seconds_left,
        seconds_until_empty=seconds_until_empty(booking, now.earned, time_ms) if runs else None,
    )


def job_order(context: Context, job_id: bytes) -> Order:
    """The order that a standalone job is. Raises NotFound, also for a job inside a booking."""
    job = current_job(context, job_id)
    escrow = escrow_of(context.view, job_id)
    claim = job.claim
    return Order(
        kind="job",
        renter=job.renter,
        provider=None if claim is None else claim.provider,
        gpus=() if claim is None or claim.gpu is None else (claim.gpu,),
        status=job.status.name.lower(),
        locked=escrow.locked,
        earned=_earned(job, escrow),
        fee=_earned(job, escrow) * escrow.fee_rate // 10_000,
        paid=escrow.gross,
        refunded=escrow.refunded,
        remaining=escrow.remaining,
        start_ms=None if claim is None else claim.claimed_ms,
        end_ms=job.deadline_ms if job.status is JobStatus.OPEN else job.ended_ms,
        seconds_left=_seconds_left(context, job),
        seconds_until_empty=None,
    )


def _earned(job: Job, escrow: Escrow) -> int:
    """What was reported until it is over, what was paid then."""
    if job.claim is None or job.status not in (*HELD, JobStatus.DELIVERED, JobStatus.DISPUTED):
        return escrow.gross
    return (job.units_done + job.claim.units_total) * job.unit_price


def _seconds_left(context: Context, job: Job) -> int:
    if job.status is JobStatus.OPEN:
        return max(0, job.deadline_ms - context.time_ms) // 1_000
    if job.status in HELD and job.claim is not None:
        return max(0, job.claim.deadline_live_ms - context.live_ms) // 1_000
    return 0
