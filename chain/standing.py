"""What a record is by the clocks, whether or not the due queue has come to it: reads, and nothing else.

An action asks here whether it may happen. To refuse one therefore costs no more than a look, however much is overdue;
one that goes ahead does the overdue work of its own subject alone, which its weight covers. All else waits for the
queue. `booking_life`, `job_life` and `dispute_life` write what is told here.
"""

from dataclasses import replace

from chain.booking import BOOKINGS, OPEN_STATUSES, Booking, BookingStatus, leaves_live_ms, read_booking
from chain.clocks import OUTAGES, block_instant, live_before, live_instant, read_clocks
from chain.dispute import DISPUTES, PENDING, Dispute, is_lost_by_provider, outcome, read_dispute
from chain.errors import NotFound
from chain.inventory import GPUS, INTERVALS, BookingConflict, Gpu, GpuStatus, Interval, read_gpu
from chain.job import HELD, JOBS, OVER, Claim, Job, JobStatus, is_spent, read_job, reopened
from chain.job import leaves_live_ms as job_leaves_live_ms
from chain.schedule import Subject
from chain.state.tables import prefix_end, u64
from chain.state.view import View


def dispute_by_clocks(view: View, dispute: Dispute) -> Dispute:
    """A dispute with its outcome, if its time is over."""
    over = dispute.status in PENDING and read_clocks(view).live_ms >= dispute.deadline_live_ms
    return outcome(dispute) if over else dispute


def dispute_now(view: View, dispute_id: bytes) -> Dispute:
    """As `dispute_by_clocks`. Raises NotFound, also when the dispute should have left the state."""
    dispute = dispute_by_clocks(view, read_dispute(view, dispute_id))
    forget_live_ms = dispute.forget_live_ms
    if dispute.status not in PENDING and forget_live_ms is None:  # nobody has noticed yet that it is over
        forget_live_ms = dispute.deadline_live_ms + dispute.review_seconds * 1_000
    if forget_live_ms is not None and read_clocks(view).live_ms >= forget_live_ms:
        raise NotFound(kind="dispute", id=dispute_id)
    return dispute


def _is_decided(view: View, dispute_id: bytes | None) -> bool:
    dispute = None if dispute_id is None else DISPUTES.get(view, dispute_id)
    return dispute is not None and read_clocks(view).live_ms >= dispute.deadline_live_ms


def awaited(view: View, booking: Booking) -> tuple[BookingStatus, int | None]:
    """(status, block time at which it ended) of a booking that nobody has activated.

    Past its start it waits for the provider, gives up on him, or ends without fault.
    """
    now = read_clocks(view)
    if now.time_ms < booking.start_ms:
        return BookingStatus.RESERVED, None
    start_live_ms, patience_ms = live_instant(view, booking.start_ms), booking.patience_ms
    if now.time_ms >= booking.end_ms:
        if live_before(view, booking.end_ms) - start_live_ms < patience_ms:
            return BookingStatus.CANCELLED, booking.end_ms
    elif now.live_ms < start_live_ms + patience_ms:
        return BookingStatus.RESERVED, None
    return BookingStatus.NO_SHOW, block_instant(view, start_live_ms + patience_ms)


def booking_by_clocks(view: View, booking: Booking) -> Booking:
    """A booking with the status that it has by now, and when it ended; what that does to money is not worked out."""
    now, status, ended_ms = read_clocks(view), booking.status, booking.ended_ms
    if status is BookingStatus.RESERVED:
        status, ended_ms = awaited(view, booking)
    elif status is BookingStatus.ACTIVE and now.time_ms >= booking.end_ms:
        ended_ms = booking.end_ms
        payment_live_ms = live_instant(view, ended_ms) + booking.window_seconds * 1_000
        status = BookingStatus.CLOSED if now.live_ms >= payment_live_ms else BookingStatus.CLOSING
    elif status is BookingStatus.CLOSING and booking.payment_live_ms is not None:
        status = BookingStatus.CLOSED if now.live_ms >= booking.payment_live_ms else status
    elif status is BookingStatus.DISPUTED:
        status = BookingStatus.CLOSED if _is_decided(view, booking.dispute) else status
    return booking if status is booking.status else replace(booking, status=status, ended_ms=ended_ms)


def booking_now(view: View, booking_id: bytes) -> Booking:
    """As `booking_by_clocks`. Raises NotFound, also when the booking should have left the state."""
    booking = booking_by_clocks(view, read_booking(view, booking_id))
    if booking.status not in OPEN_STATUSES and read_clocks(view).live_ms >= leaves_live_ms(view, booking):
        raise NotFound(kind="booking", id=booking_id)
    return booking


def booking_over_ms(view: View, job: Job) -> int | None:
    """Block time at which the booking around an unfinished job ended, if it has."""
    if job.booking is None or job.status not in (JobStatus.OPEN, *HELD):
        return None
    booking = booking_by_clocks(view, read_booking(view, job.booking))
    return None if booking.status in (BookingStatus.RESERVED, BookingStatus.ACTIVE) else booking.ended_ms


def ran_out_ms(view: View, job: Job) -> int | None:
    """Block time at which the present attempt ran out, if it did before the booking around the job was over.

    A transaction that ends a booking comes after all that is due in its block.
    """
    if job.status not in HELD or job.claim is None or read_clocks(view).live_ms < job.claim.deadline_live_ms:
        return None
    time_ms, over_ms = block_instant(view, job.claim.deadline_live_ms), booking_over_ms(view, job)
    if job.booking is None or over_ms is None:
        return time_ms
    if over_ms < read_booking(view, job.booking).end_ms:
        return time_ms if job.claim.deadline_live_ms <= live_instant(view, over_ms) else None
    return time_ms if time_ms < over_ms else None


def job_by_clocks(view: View, job: Job) -> Job:
    """A job with the status that it has by now, and when it ended; what that does to money is not worked out."""
    now, over_ms, timed_out_ms = read_clocks(view), booking_over_ms(view, job), ran_out_ms(view, job)
    if timed_out_ms is not None and job.claim is not None:
        job = _timed_out(job, job.claim, timed_out_ms)
    elif job.status is JobStatus.DELIVERED and now.live_ms >= (job.acceptance_live_ms or 0):
        job = replace(job, status=JobStatus.ACCEPTED)
    elif job.status is JobStatus.DISPUTED and _is_decided(view, job.dispute):
        job = replace(job, status=JobStatus.CLOSED)
    if job.status is JobStatus.OPEN and now.time_ms >= job.deadline_ms:
        ended_ms = job.deadline_ms if over_ms is None else min(over_ms, job.deadline_ms)
        job = replace(job, status=JobStatus.EXPIRED, ended_ms=ended_ms)
    if over_ms is not None and job.status in (JobStatus.OPEN, *HELD):
        job = replace(job, status=JobStatus.EXPIRED, ended_ms=over_ms)
    return job


def _timed_out(job: Job, claim: Claim, time_ms: int) -> Job:
    if job.status is JobStatus.CLAIMED:
        return replace(job, status=JobStatus.EXPIRED, ended_ms=time_ms)
    again = reopened(job, claim)
    return replace(again, status=JobStatus.EXPIRED, ended_ms=time_ms) if is_spent(again, time_ms) else again


def job_now(view: View, job_id: bytes) -> Job:
    """As `job_by_clocks`. Raises NotFound, also when the job should have left the state."""
    job = job_by_clocks(view, read_job(view, job_id))
    if job.status in OVER and read_clocks(view).live_ms >= job_leaves_live_ms(view, job):
        raise NotFound(kind="job", id=job_id)
    return job


def gpu_by_clocks(view: View, gpu_id: bytes, gpu: Gpu) -> Gpu:
    """A GPU with the status that it has by now."""
    status = _gpu_status(view, gpu_id, gpu)
    return gpu if status is gpu.status else replace(gpu, status=status)


def gpu_now(view: View, gpu_id: bytes) -> Gpu:
    """The GPU with the status that it has by now.

    Raises NotFound, also once it is retired: what an action sees does not depend on when its record leaves the state.
    """
    gpu = gpu_by_clocks(view, gpu_id, read_gpu(view, gpu_id))
    if gpu.status is GpuStatus.RETIRED:
        raise NotFound(kind="gpu", id=gpu_id)
    return gpu


def is_listed(view: View, gpu_id: bytes) -> bool:
    """Whether there is such a GPU that is not retired, nor only waiting for what is over by now."""
    gpu = GPUS.get(view, gpu_id)
    return gpu is not None and gpu_by_clocks(view, gpu_id, gpu).status is not GpuStatus.RETIRED


def is_challenged(view: View, gpu: Gpu) -> bool:
    """Whether a dispute about its hardware is open by now."""
    return gpu.challenge is not None and not _is_decided(view, gpu.challenge)


def refuted_live_ms(view: View, gpu: Gpu) -> int | None:
    """Live time at which a challenge took the GPU off the market, if that only waits for the due queue."""
    if gpu.challenge is None or is_challenged(view, gpu):
        return None
    dispute = dispute_by_clocks(view, read_dispute(view, gpu.challenge))
    return dispute.deadline_live_ms if is_lost_by_provider(dispute) else None


def _gpu_status(view: View, gpu_id: bytes, gpu: Gpu) -> GpuStatus:
    status, challenged = gpu.status, is_challenged(view, gpu)
    if refuted_live_ms(view, gpu) is not None:
        status = GpuStatus.RETIRING
    if status is GpuStatus.ACTIVE and read_clocks(view).live_ms >= gpu.offline_live_ms:
        return GpuStatus.OFFLINE
    if status is GpuStatus.RETIRING and not challenged and _is_idle(view, gpu_id):
        return GpuStatus.RETIRED
    return status


def _is_idle(view: View, gpu_id: bytes) -> bool:
    """Whether no booking or job holds a place in the calendar of a retiring GPU.

    Nothing follows what is still on, so if the last is over, all is: but for a job that an outage has let run on
    beyond its place, and nothing could be entered within that place when the outage began.
    """
    if _holds(view, _last(view, gpu_id, prefix_end(gpu_id))):
        return False
    for _, outage in OUTAGES.scan(view, reverse=True):
        before = _last(view, gpu_id, gpu_id + u64(outage.began_ms + 1))
        if before is None:
            break
        if _holds(view, before):
            return False
    return True


def _last(view: View, gpu_id: bytes, end: bytes | None) -> Interval | None:
    """The last booking or job of a calendar before some key; a retiring GPU has no maintenance."""
    found = (interval for _, interval in INTERVALS.scan(view, gpu_id, end, reverse=True))
    return next((interval for interval in found if interval.subject != Subject.MAINTENANCE), None)


def _holds(view: View, interval: Interval | None) -> bool:
    return interval is not None and not is_over(view, interval)


def is_over(view: View, interval: Interval) -> bool:
    """Whether what a calendar holds is over by now, and only waits for the due queue."""
    if interval.subject == Subject.MAINTENANCE:
        return read_clocks(view).time_ms >= interval.end_ms
    if interval.subject == Subject.JOB:
        job = JOBS.get(view, interval.holder)
        return job is None or job_by_clocks(view, job).status not in HELD
    booking = BOOKINGS.get(view, interval.holder)
    if booking is None:
        return True
    return booking_by_clocks(view, booking).status not in (BookingStatus.RESERVED, BookingStatus.ACTIVE)


def conflict_now(view: View, gpu_id: bytes, start_ms: int, end_ms: int) -> tuple[int, Interval] | None:
    """The (start, interval) that is in the way of [start, end), which is to come, if any.

    One look is enough: what is still on ends before the next begins, and what is over holds nothing although it may
    reach into the time to come.
    """
    for key, interval in INTERVALS.scan(view, gpu_id, gpu_id + u64(end_ms), reverse=True):
        if interval.end_ms > start_ms and not is_over(view, interval):
            return int.from_bytes(key[32:], "big"), interval
        break
    return None


def require_vacant(view: View, gpu_id: bytes, start_ms: int, end_ms: int) -> None:
    """Raise BookingConflict, naming what is in the way, unless [start, end), which is to come, is free."""
    conflict = conflict_now(view, gpu_id, start_ms, end_ms)
    if conflict is not None:
        start, interval = conflict
        raise BookingConflict(gpu=gpu_id, start=start, end=interval.end_ms, conflicting=interval.holder)
