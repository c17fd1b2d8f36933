"""The life of a job: how time, its booking and people move it from one status to the next, and what money this moves.

`current_job` brings a job up to date from the clocks and its booking alone, so an action on an overdue job and the due
queue always agree. Who may take a step, and which receipts count, is for `actions/jobs.py`. A job that is over stays
for as long as it may be reviewed.
"""

from dataclasses import replace

from chain import deposit, escrow, reputation, stake
from chain.action import DUE_HANDLERS, Clock, Context
from chain.booking_life import enter_job, leave_job
from chain.inventory import hardware_of, let_go, models_of, vacate
from chain.job import (
    HELD,
    JOBS,
    OVER,
    Claim,
    Job,
    JobStatus,
    Unit,
    delivered_gross,
    is_spent,
    leaves_live_ms,
    read_job,
    reopened,
    storage_deposit,
    subjects,
)
from chain.schedule import Subject, schedule, unschedule
from chain.standing import booking_over_ms, job_now, ran_out_ms
from chain.trades import record_trade


def current_job(context: Context, job_id: bytes) -> Job:
    """The job, brought up to date with both clocks and its booking.

    Raises NotFound, also when it should have left the state.
    """
    job_now(context.view, job_id)
    return _update(context, job_id)


def _update(context: Context, job_id: bytes) -> Job:
    """Do with a job what both clocks and its booking say, in the order in which it happened, but for its leaving."""
    job = read_job(context.view, job_id)
    over_ms, timed_out_ms = booking_over_ms(context.view, job), ran_out_ms(context.view, job)
    if timed_out_ms is not None and job.claim is not None:
        job = _claim_timed_out(context, job_id, job, job.claim, timed_out_ms)
    if (
        job.status is JobStatus.DELIVERED
        and job.acceptance_live_ms is not None
        and context.live_ms >= job.acceptance_live_ms
    ):
        job = accept_delivery(context, job_id, job)
    if job.status is JobStatus.DISPUTED and job.dispute is not None:
        DUE_HANDLERS[Subject.DISPUTE](context, job.dispute)
        job = read_job(context.view, job_id)
    if job.status is JobStatus.OPEN and context.time_ms >= job.deadline_ms:
        ended_ms = job.deadline_ms if over_ms is None else min(over_ms, job.deadline_ms)
        job = _finish(context, job_id, job, JobStatus.EXPIRED, "expired", ended_ms)
    if over_ms is not None and job.status in (JobStatus.OPEN, *HELD):
        job = _finish(context, job_id, job, JobStatus.EXPIRED, "expired", over_ms)
    return job


def advance(context: Context, job_id: bytes) -> None:
    """Due handler: bring a job up to date, and let it leave in the end."""
    if JOBS.get(context.view, job_id) is not None:
        job = _update(context, job_id)
        if has_left(context, job):
            _leave(context, job_id, job)


def enter(context: Context, job_id: bytes, job: Job) -> None:
    """A new job enters the state: its renter leaves a deposit and, if it stands alone, the money for it."""
    held = storage_deposit(context.parameters, job)
    deposit.take(context, job.renter, held, ("job", job_id))
    if job.booking is None:
        escrow.open_escrow(context, job_id, job.renter, job.cost)
    else:
        enter_job(context, job.booking)
    JOBS.put(context.view, job_id, replace(job, deposit=held))
    schedule(context, Clock.BLOCK, job.deadline_ms, Subject.JOB, job_id)


def start_work(context: Context, job_id: bytes, job: Job) -> Job:
    """The claimer has the payload: from now on he has the whole time that the job allows."""
    if job.claim is None:
        return job
    unschedule_job(context, job_id, job)
    deadline_live_ms = context.live_ms + job.claim_seconds * 1_000
    working = replace(job, status=JobStatus.PAYLOAD_SHARED, claim=replace(job.claim, deadline_live_ms=deadline_live_ms))
    JOBS.put(context.view, job_id, working)
    schedule(context, Clock.LIVE, deadline_live_ms, Subject.JOB, job_id)
    context.emit("job.payload_shared", subjects(job_id, working))
    return working


def accept_interim(context: Context, job_id: bytes, job: Job, claim: Claim) -> Job:
    """The renter accepts the last receipt while work goes on: what it counts is paid."""
    net, fee = _pay(context, job_id, job, claim, claim.units_total)
    paid = replace(job, claim=replace(claim, units_accepted=claim.units_total))
    JOBS.put(context.view, job_id, paid)
    context.emit("job.receipt_accepted", subjects(job_id, paid), units=claim.units_total, net=net, fee=fee)
    return paid


def deliver(context: Context, job_id: bytes, job: Job, claim: Claim) -> Job:
    """The final receipt is in: the GPU is free again and the acceptance window runs."""
    unschedule_job(context, job_id, job)
    _leave_calendar(context, claim, context.time_ms)
    acceptance_live_ms = context.live_ms + context.parameters.dispute_window_seconds * 1_000
    delivered = replace(
        job,
        status=JobStatus.DELIVERED,
        claim=claim,
        acceptance_live_ms=acceptance_live_ms,
        ended_ms=context.time_ms,
    )
    JOBS.put(context.view, job_id, delivered)
    schedule(context, Clock.LIVE, acceptance_live_ms, Subject.JOB, job_id)
    context.emit("job.delivered", subjects(job_id, delivered), units=claim.units_total)
    return delivered


def accept_delivery(context: Context, job_id: bytes, job: Job) -> Job:
    """A delivered job is accepted, by the renter or by the window: the claimer is paid for every unit."""
    claim = job.claim
    if claim is None:
        return job
    net, fee = _pay(context, job_id, job, claim, claim.units_total)
    accepted = replace(job, claim=replace(claim, units_accepted=claim.units_total))
    context.emit("job.paid", subjects(job_id, job), units=claim.units_total, net=net, fee=fee)
    stake.free(context, claim.provider, claim.collateral)
    _remember_delivery(context, job_id, accepted, claim)
    return _finish(context, job_id, accepted, JobStatus.ACCEPTED, "accepted", context.time_ms)


def end_attempt(context: Context, job_id: bytes, job: Job, claim: Claim, forfeited: int, why: str, time_ms: int) -> Job:
    """An attempt ends at a block time without delivery: part of the collateral goes to the renter, the job reopens."""
    unschedule_job(context, job_id, job)
    _leave_calendar(context, claim, time_ms)
    paid = stake.forfeit(context, claim.provider, forfeited, job.renter)
    stake.free(context, claim.provider, claim.collateral - forfeited)
    context.emit(f"job.{why}", subjects(job_id, job), units=claim.units_accepted, forfeited=paid)
    if why in ("failed", "timed_out"):
        reputation.count(context.view, claim.provider, _hardware(context, claim), **{f"jobs_{why}": 1})
    if claim.gpu is not None:
        let_go(context, claim.gpu)
    open_again = reopened(job, claim)
    if is_spent(open_again, time_ms):
        return _finish(context, job_id, open_again, JobStatus.EXPIRED, "expired", time_ms)
    JOBS.put(context.view, job_id, open_again)
    schedule(context, Clock.BLOCK, job.deadline_ms, Subject.JOB, job_id)
    return open_again


def _claim_timed_out(context: Context, job_id: bytes, job: Job, claim: Claim, time_ms: int) -> Job:
    if job.status is JobStatus.CLAIMED:
        # The renter never shared the payload, so the provider could not work: nobody loses collateral.
        unschedule_job(context, job_id, job)
        _leave_calendar(context, claim, time_ms)
        stake.free(context, claim.provider, claim.collateral)
        return _finish(context, job_id, job, JobStatus.EXPIRED, "expired", time_ms)
    return end_attempt(context, job_id, job, claim, claim.collateral, "timed_out", time_ms)


def cancel(context: Context, job_id: bytes, job: Job) -> Job:
    """The renter withdraws an open job."""
    return _finish(context, job_id, job, JobStatus.CANCELLED, "cancelled", context.time_ms)


def _finish(context: Context, job_id: bytes, job: Job, status: JobStatus, what: str, ended_ms: int) -> Job:
    """The last state: nothing is scheduled, nothing is held, the rest of the money is back with the renter."""
    unschedule_job(context, job_id, job)
    refund = 0 if job.booking is not None else escrow.refund_rest(context, job_id)
    done = replace(job, status=status, ended_ms=job.ended_ms or ended_ms)
    _retain(context, job_id, done)
    context.emit(f"job.{what}", subjects(job_id, done), refund=refund)
    return done


def freeze(context: Context, job_id: bytes, job: Job, dispute_id: bytes) -> Job:
    """A dispute begins: what was not delivered returns, and what was and is not paid waits for the outcome."""
    unschedule_job(context, job_id, job)
    refund = escrow.refund(context, job_id, job.cost - delivered_gross(job))
    frozen = replace(job, status=JobStatus.DISPUTED, dispute=dispute_id)
    JOBS.put(context.view, job_id, frozen)
    context.emit("job.disputed", subjects(job_id, frozen), gross=delivered_gross(job), refund=refund)
    return frozen


def resolve(context: Context, job_id: bytes, gross: int, slashed: int) -> int:
    """Its dispute is over: pay up to the gross, return the rest, and give the renter a part of the collateral.

    Returns what the renter got of it.
    """
    job = read_job(context.view, job_id)
    claim = job.claim
    if claim is None:
        return 0
    net, fee = escrow.pay(context, job_id, claim.provider, gross)
    reputation.count_earnings(context.view, claim.provider, _hardware(context, claim), net + fee, fee)
    refund = escrow.refund_rest(context, job_id)
    forfeited = stake.forfeit(context, claim.provider, slashed, job.renter)
    stake.free(context, claim.provider, claim.collateral - slashed)
    closed = replace(job, status=JobStatus.CLOSED)
    _retain(context, job_id, closed)
    names = subjects(job_id, closed)
    context.emit("job.closed", names, gross=gross, net=net, fee=fee, refund=refund, forfeited=forfeited)
    return forfeited


def has_left(context: Context, job: Job) -> bool:
    """Whether a job is over for so long that nobody finds it any more, whatever the due queue has reached."""
    return job.status in OVER and context.live_ms >= leaves_live_ms(context.view, job)


def _retain(context: Context, job_id: bytes, job: Job) -> None:
    """Write a job that is over: it stays for as long as it may be reviewed."""
    JOBS.put(context.view, job_id, job)
    schedule(context, Clock.LIVE, leaves_live_ms(context.view, job), Subject.JOB, job_id)


def _leave(context: Context, job_id: bytes, job: Job) -> None:
    """Remove a job whose time is over."""
    unschedule(context, Clock.LIVE, leaves_live_ms(context.view, job), Subject.JOB, job_id)
    JOBS.delete(context.view, job_id)
    deposit.give_back(context, job.renter, job.deposit, ("job", job_id))
    context.emit("job.removed", subjects(job_id, job))
    if job.claim is not None and job.claim.gpu is not None:
        let_go(context, job.claim.gpu)
    if job.booking is None:
        escrow.close(context, job_id)
    else:
        leave_job(context, job.booking)


def unschedule_job(context: Context, job_id: bytes, job: Job) -> None:
    """Take every deadline of the job off the queue."""
    unschedule(context, Clock.BLOCK, job.deadline_ms, Subject.JOB, job_id)
    if job.claim is not None:
        unschedule(context, Clock.LIVE, job.claim.deadline_live_ms, Subject.JOB, job_id)
    if job.acceptance_live_ms is not None:
        unschedule(context, Clock.LIVE, job.acceptance_live_ms, Subject.JOB, job_id)


def _leave_calendar(context: Context, claim: Claim, time_ms: int) -> None:
    if claim.gpu is not None:
        vacate(context, claim.gpu, claim.claimed_ms, time_ms)


def _pay(context: Context, job_id: bytes, job: Job, claim: Claim, units: int) -> tuple[int, int]:
    """Pay the claimer for `units` of this attempt, counting what earlier attempts were paid."""
    if job.booking is not None:
        return 0, 0
    net, fee = escrow.pay(context, job_id, claim.provider, (job.units_done + units) * job.unit_price)
    reputation.count_earnings(context.view, claim.provider, _hardware(context, claim), net + fee, fee)
    return net, fee


def _hardware(context: Context, claim: Claim) -> tuple[bytes, ...]:
    return () if claim.gpu is None else hardware_of(context.view, (claim.gpu,))


def _remember_delivery(context: Context, job_id: bytes, job: Job, claim: Claim) -> None:
    """An accepted job counts for the reputation and, if it took a GPU's time, as a deal of the market."""
    reputation.count(context.view, claim.provider, _hardware(context, claim), jobs_accepted=1)
    if claim.gpu is None or job.booking is not None or job.ended_ms is None:
        return
    gpu_seconds = job.unit is Unit.GPU_SECOND
    gpu_ms = claim.units_total * 1_000 if gpu_seconds else job.ended_ms - claim.claimed_ms
    gross = claim.units_total * job.unit_price
    fee = gross * escrow.escrow_of(context.view, job_id).fee_rate // 10_000
    record_trade(context, models_of(context.view, (claim.gpu,)), job.ended_ms, gpu_ms, gross, fee)
