"""Jobs: offering work, taking it, metering it with chained receipts, and being paid for it."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain import stake
from chain.action import Action, Clock, Context, Family
from chain.bank import checked, require_funds
from chain.booking import BookingStatus, collateral_of
from chain.deposit import held_in
from chain.errors import InvalidField, LedgerError, NotAuthorized
from chain.inventory import GpuStatus, GpuUnavailable, occupy
from chain.job import (
    ANY_GPU,
    HELD,
    JOBS,
    NO_RECEIPT,
    Claim,
    GpuFilter,
    Job,
    JobStatus,
    Receipt,
    Unit,
    receipt_hash,
    storage_deposit,
    subjects,
)
from chain.job_life import (
    accept_delivery,
    accept_interim,
    advance,
    cancel,
    current_job,
    deliver,
    end_attempt,
    enter,
    start_work,
    unschedule_job,
)
from chain.record import record
from chain.schedule import Subject, schedule
from chain.schema import Amount, Hash, Octets, Seconds, String, Timestamp, Unsigned64
from chain.standing import booking_now, gpu_now, job_now, require_vacant

MAXIMUM_CLAIM_SECONDS = 30 * 86_400
MAXIMUM_HORIZON_MS = 365 * 86_400_000


class WrongJobStatus(LedgerError):
    code = 1501
    hint = "The job is not in a state that allows this."


class JobNotEligible(LedgerError):
    code = 1502
    hint = "This provider or GPU may not take the job."


class ReceiptRefused(LedgerError):
    code = 1503
    hint = "The receipt does not continue the chain of the job's receipts, or claims more than can be."


class ReceiptSuperseded(LedgerError):
    code = 1504
    hint = "A newer receipt is in; look at it before accepting."


class JobTimeRefused(LedgerError):
    code = 1505
    hint = "The deadline is outside what the network or the booking allows."


@record(version=1)
@dataclass(frozen=True, slots=True)
class SubmitJob(Action):
    """Offers work: standalone, with its whole price locked, or inside an own booking."""

    code: ClassVar[int] = 40
    name: ClassVar[str] = "job.submit"
    base_weight: ClassVar[int] = 18

    kind: Annotated[str, String(32, 1)]
    input_hash: Hash
    unit: Unit
    max_units: Unsigned64
    unit_price: Amount
    claim_seconds: Seconds
    deadline_ms: Timestamp
    gpu_filter: GpuFilter = ANY_GPU
    booking: Hash | None = None

    def validate(self) -> None:
        rules = [
            (self.max_units > 0, "max_units", "must be more than zero"),
            (0 < self.claim_seconds <= MAXIMUM_CLAIM_SECONDS, "claim_seconds", "must be 1 second to 30 days"),
            (self.booking is None or self.unit_price == 0, "unit_price", "must be zero inside a booking"),
        ]
        for holds, field, reason in rules:
            if not holds:
                raise InvalidField(record="SubmitJob", field=field, reason=reason)

    def check(self, context: Context) -> None:
        if not context.time_ms < self.deadline_ms <= context.time_ms + MAXIMUM_HORIZON_MS:
            raise JobTimeRefused(
                field="deadline_ms", minimum=context.time_ms + 1, maximum=context.time_ms + MAXIMUM_HORIZON_MS
            )
        if self.booking is not None:
            booking = booking_now(context.view, self.booking)
            if booking.renter != context.sender:
                raise NotAuthorized(needed="renter", account=booking.renter)
            if booking.status not in (BookingStatus.RESERVED, BookingStatus.ACTIVE):
                raise JobNotEligible(booking=self.booking, reason="the booking is over")
        cost = checked(self.max_units * self.unit_price)
        require_funds(context.view, context.sender, cost, storage_deposit(context.parameters, self._job(context)))

    def _job(self, context: Context) -> Job:
        return Job(
            renter=context.sender,
            status=JobStatus.OPEN,
            kind=self.kind,
            input_hash=self.input_hash,
            unit=self.unit,
            max_units=self.max_units,
            unit_price=self.unit_price,
            claim_seconds=self.claim_seconds,
            deadline_ms=self.deadline_ms,
            gpu_filter=self.gpu_filter,
            booking=self.booking,
            submitted_height=context.block.height,
            review_seconds=context.parameters.review_window_seconds,
        )

    def apply(self, context: Context) -> None:
        job_id, job = context.new_id("job"), self._job(context)
        enter(context, job_id, job)
        context.emit("job.submitted", subjects(job_id, job), locked=job.cost, max_units=self.max_units)


def require_status(job_id: bytes, job: Job, *allowed: JobStatus) -> None:
    """Raise WrongJobStatus unless the job is in one of these states."""
    if job.status not in allowed:
        needed = " or ".join(status.name.lower() for status in allowed)
        raise WrongJobStatus(job=job_id, status=job.status.name.lower(), needed=needed)


def _as_renter(context: Context, job_id: bytes, *allowed: JobStatus) -> Job:
    job = job_now(context.view, job_id)
    if job.renter != context.sender:
        raise NotAuthorized(needed="renter", account=job.renter)
    require_status(job_id, job, *allowed)
    return job


def _as_claimer(context: Context, job_id: bytes, *allowed: JobStatus) -> tuple[Job, Claim]:
    job = job_now(context.view, job_id)
    require_status(job_id, job, *allowed)
    if job.claim is None or job.claim.provider != context.sender:
        raise NotAuthorized(needed="claimer", account=b"" if job.claim is None else job.claim.provider)
    return job, job.claim


@record(version=1)
@dataclass(frozen=True, slots=True)
class ClaimJob(Action):
    """A provider takes an open job, reserving collateral and, if standalone, the time of one of his GPUs."""

    code: ClassVar[int] = 41
    name: ClassVar[str] = "job.claim"
    base_weight: ClassVar[int] = 25

    job: Hash
    gpu: Hash | None = None
    """The GPU that will do the work; none for a job inside a booking."""

    def check(self, context: Context) -> None:
        job = job_now(context.view, self.job)
        require_status(self.job, job, JobStatus.OPEN)
        if job.renter == context.sender:
            raise JobNotEligible(job=self.job, reason="a renter cannot take his own job")
        if context.sender in job.tried:
            raise JobNotEligible(job=self.job, reason="this provider has had his attempt")
        if job.booking is not None:
            booking = booking_now(context.view, job.booking)
            if booking.provider != context.sender:
                raise NotAuthorized(needed="provider", account=booking.provider)
            if booking.status is not BookingStatus.ACTIVE:
                raise JobNotEligible(job=self.job, reason="the booking is not active")
            return
        if self.gpu is None:
            raise JobNotEligible(job=self.job, reason="a standalone job needs a GPU")
        gpu = gpu_now(context.view, self.gpu)
        if gpu.owner != context.sender:
            raise NotAuthorized(needed="provider", account=gpu.owner)
        if gpu.status is not GpuStatus.ACTIVE:
            raise GpuUnavailable(gpu=self.gpu, status=gpu.status.name.lower())
        if not job.gpu_filter.matches(gpu.hardware):
            raise JobNotEligible(job=self.job, reason="the GPU does not match the job's filter")
        require_vacant(context.view, self.gpu, context.time_ms, _attempt_end_ms(context, job))
        stake.require_free(context.view, context.sender, _collateral(context, job))

    def apply(self, context: Context) -> None:
        job = current_job(context, self.job)
        unschedule_job(context, self.job, job)
        collateral, gpu = 0, None
        if job.booking is None and self.gpu is not None:
            collateral, gpu = _collateral(context, job), self.gpu
            stake.reserve(context.view, context.sender, collateral)
            occupy(context, gpu, context.time_ms, _attempt_end_ms(context, job), Subject.JOB, self.job)
        deadline_live_ms = context.live_ms + context.parameters.activation_grace_seconds * 1_000
        claim = Claim(context.sender, gpu, collateral, context.time_ms, deadline_live_ms)
        claimed = replace(job, status=JobStatus.CLAIMED, claim=claim)
        JOBS.put(context.view, self.job, claimed)
        schedule(context, Clock.LIVE, deadline_live_ms, Subject.JOB, self.job)
        context.emit("job.claimed", subjects(self.job, claimed), collateral=collateral)


def _attempt_end_ms(context: Context, job: Job) -> int:
    """Block time until which an attempt that begins now may take its GPU: waiting for the payload, then working."""
    return context.time_ms + (context.parameters.activation_grace_seconds + job.claim_seconds) * 1_000


def _collateral(context: Context, job: Job) -> int:
    return collateral_of(job.units_left * job.unit_price, 1, context.parameters.collateral_per_gpu)


@record(version=1)
@dataclass(frozen=True, slots=True)
class SharePayload(Action):
    """The renter hands the payload's content key to the claimer, sealed to the claimer's profile key."""

    code: ClassVar[int] = 42
    name: ClassVar[str] = "job.share_payload"
    base_weight: ClassVar[int] = 8

    job: Hash
    sealed_key: Annotated[bytes, Octets(1, 1_024)]
    """Stays in the transaction; the state does not keep it."""

    def check(self, context: Context) -> None:
        _as_renter(context, self.job, JobStatus.CLAIMED)

    def apply(self, context: Context) -> None:
        start_work(context, self.job, current_job(context, self.job))


@record(version=1)
@dataclass(frozen=True, slots=True)
class AddReceipt(Action):
    """The claimer says how much is done; the final receipt delivers the job."""

    code: ClassVar[int] = 43
    name: ClassVar[str] = "job.receipt"
    base_weight: ClassVar[int] = 20

    receipt: Receipt

    def check(self, context: Context) -> None:
        receipt = self.receipt
        job, claim = _as_claimer(context, receipt.job, JobStatus.PAYLOAD_SHARED)
        if receipt.sequence != claim.receipts + 1:
            raise ReceiptRefused(field="sequence", expected=claim.receipts + 1, got=receipt.sequence)
        if receipt.previous_hash != claim.last_receipt:
            raise ReceiptRefused(field="previous_hash", expected=claim.last_receipt, got=receipt.previous_hash)
        if not claim.units_total <= receipt.units_total <= job.units_left:
            raise ReceiptRefused(
                field="units_total", minimum=claim.units_total, maximum=job.units_left, got=receipt.units_total
            )
        if not claim.claimed_ms <= receipt.started_ms <= receipt.ended_ms <= context.time_ms:
            raise ReceiptRefused(field="started_ms", minimum=claim.claimed_ms, maximum=context.time_ms)
        elapsed_seconds = (receipt.ended_ms - claim.claimed_ms) // 1_000
        if job.unit is Unit.GPU_SECOND and receipt.units_total > elapsed_seconds:
            raise ReceiptRefused(field="units_total", maximum=elapsed_seconds, got=receipt.units_total)

    def apply(self, context: Context) -> None:
        receipt = self.receipt
        job, claim = _as_claimer(context, receipt.job, JobStatus.PAYLOAD_SHARED)
        latest = receipt_hash(receipt)
        claim = replace(claim, receipts=receipt.sequence, last_receipt=latest, units_total=receipt.units_total)
        updated = replace(job, claim=claim)
        JOBS.put(context.view, receipt.job, updated)
        names = [*subjects(receipt.job, updated), ("receipt", latest)]
        context.emit("job.receipt", names, units=receipt.units_total, sequence=receipt.sequence)
        if receipt.final:
            deliver(context, receipt.job, updated, claim)


@record(version=1)
@dataclass(frozen=True, slots=True)
class AcceptJob(Action):
    """The renter accepts the last receipt: pays an interim one, finishes a delivered job."""

    code: ClassVar[int] = 44
    name: ClassVar[str] = "job.accept"
    base_weight: ClassVar[int] = 16

    job: Hash
    receipt_hash: Hash
    """The receipt that the renter has seen."""

    def check(self, context: Context) -> None:
        job = _as_renter(context, self.job, JobStatus.PAYLOAD_SHARED, JobStatus.DELIVERED)
        if job.claim is None or job.claim.last_receipt == NO_RECEIPT:
            raise ReceiptRefused(field="receipt_hash", reason="there is no receipt yet")
        if job.claim.last_receipt != self.receipt_hash:
            raise ReceiptSuperseded(latest=job.claim.last_receipt)

    def apply(self, context: Context) -> None:
        job = current_job(context, self.job)
        if job.status is JobStatus.DELIVERED:
            accept_delivery(context, self.job, job)
        elif job.claim is not None:
            accept_interim(context, self.job, job, job.claim)


@record(version=1)
@dataclass(frozen=True, slots=True)
class FailJob(Action):
    """The claimer gives up: half the collateral goes to the renter, and the rest of the job reopens."""

    code: ClassVar[int] = 45
    name: ClassVar[str] = "job.fail"
    base_weight: ClassVar[int] = 23

    job: Hash
    reason: Annotated[str, String(200)] = ""

    def check(self, context: Context) -> None:
        _as_claimer(context, self.job, *HELD)

    def apply(self, context: Context) -> None:
        job, claim = _as_claimer(context, self.job, *HELD)
        end_attempt(context, self.job, job, claim, claim.collateral // 2, "failed", context.time_ms)


@record(version=1)
@dataclass(frozen=True, slots=True)
class CancelJob(Action):
    """The renter withdraws a job that nobody has claimed."""

    code: ClassVar[int] = 46
    name: ClassVar[str] = "job.cancel"
    base_weight: ClassVar[int] = 10

    job: Hash

    def check(self, context: Context) -> None:
        _as_renter(context, self.job, JobStatus.OPEN)

    def apply(self, context: Context) -> None:
        cancel(context, self.job, current_job(context, self.job))


FAMILY = Family(
    "jobs",
    (SubmitJob, ClaimJob, SharePayload, AddReceipt, AcceptJob, FailJob, CancelJob),
    {Subject.JOB: advance},
    deposits=held_in(JOBS),
)
