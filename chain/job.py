"""A job, the attempts at it and their receipts: the records. Their life is in `job_life.py`.

    open → claimed → payload_shared → delivered → accepted | disputed → closed
    claimed → open again (another provider, at most three attempts) or expired;  open → cancelled | expired

A standalone job locks max_units · unit_price. A job inside a booking locks and pays nothing: its receipts meter it.
Receipts are chained and cumulative, so the last one stands for all before it.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated

from chain import deposit, escrow
from chain.clocks import live_instant
from chain.crypto.hashing import tagged_hash
from chain.errors import NotFound
from chain.inventory import INTERVAL_BYTES, Hardware
from chain.parameters import Parameters
from chain.record import encode_record, record
from chain.schema import Address, Amount, Boolean, Hash, ListOf, Seconds, String, Timestamp, Unsigned32, Unsigned64
from chain.state.tables import Table, TableId
from chain.state.view import View

MAXIMUM_ATTEMPTS = 3


class JobStatus(IntEnum):
    OPEN = 1
    CLAIMED = 2
    """A provider has it and waits for the payload key."""
    PAYLOAD_SHARED = 3
    """The provider works."""
    DELIVERED = 4
    """The final receipt is in; accepted by the renter, or by itself after the window."""
    ACCEPTED = 5
    CANCELLED = 6
    EXPIRED = 7
    DISPUTED = 8
    """Delivered; what was not paid waits for the outcome of the dispute."""
    CLOSED = 9
    """After a dispute."""


HELD = (JobStatus.CLAIMED, JobStatus.PAYLOAD_SHARED)
OVER = (JobStatus.ACCEPTED, JobStatus.CANCELLED, JobStatus.EXPIRED, JobStatus.CLOSED)


class Unit(IntEnum):
    """What a job is measured in."""

    GPU_SECOND = 1
    """Bounded by the time that has passed."""
    TOKEN = 2
    ITEM = 3


@record(version=1)
@dataclass(frozen=True, slots=True)
class GpuFilter:
    """Which GPUs will do, for a standalone job or a request; empty text and zero match everything."""

    model: Annotated[str, String(64)] = ""
    region: Annotated[str, String(32)] = ""
    minimum_memory_mb: Unsigned32 = 0
    minimum_cuda_cores: Unsigned32 = 0

    def matches(self, hardware: Hardware) -> bool:
        """Whether a device will do."""
        return (
            self.model in ("", hardware.model)
            and self.region in ("", hardware.region)
            and hardware.memory_mb >= self.minimum_memory_mb
            and hardware.cuda_cores >= self.minimum_cuda_cores
        )


ANY_GPU = GpuFilter()


@record(version=1)
@dataclass(frozen=True, slots=True)
class Receipt:
    """What a claimer says he has done so far; signed as part of his transaction."""

    job: Hash
    sequence: Unsigned32
    """1 for the first of an attempt."""
    units_total: Unsigned64
    """Units since the start of the attempt."""
    previous_hash: Hash
    """Hash of the receipt before it; 32 zero bytes for the first of an attempt."""
    result_hash: Hash
    location: Annotated[str, String(256)]
    """Where the result can be fetched."""
    started_ms: Timestamp
    ended_ms: Timestamp
    final: Boolean
    """Only a final receipt delivers the job."""


NO_RECEIPT = bytes(32)


def receipt_hash(receipt: Receipt) -> bytes:
    """The 32 bytes that the next receipt and the renter's acceptance name."""
    return tagged_hash("aitbc/receipt/1", encode_record(receipt))


@record(version=1)
@dataclass(frozen=True, slots=True)
class Claim:
    """One provider's attempt at a job."""

    provider: Address
    gpu: Hash | None
    """The GPU whose time it takes until it is delivered; none for a job inside a booking."""
    collateral: Amount
    claimed_ms: Timestamp
    deadline_live_ms: Timestamp
    """Live time by which the payload must be shared; once it is, by which the final receipt must be in."""
    receipts: Unsigned32 = 0
    last_receipt: Hash = NO_RECEIPT
    units_total: Unsigned64 = 0
    """According to the last receipt."""
    units_accepted: Unsigned64 = 0
    """Paid before delivery because the renter accepted an interim receipt."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Job:
    """Work that a renter wants done."""

    renter: Address
    status: JobStatus
    kind: Annotated[str, String(32, 1)]
    input_hash: Hash
    """SHA-256 of the input, which never enters the ledger."""
    unit: Unit
    max_units: Unsigned64
    unit_price: Amount
    """Base units per unit; zero inside a booking."""
    claim_seconds: Seconds
    """Live time that the work of one attempt may take, from the sharing of the payload."""
    deadline_ms: Timestamp
    """Block time at which an open job expires; one inside a booking also when that is over."""
    gpu_filter: GpuFilter
    booking: Hash | None
    submitted_height: Unsigned64
    tried: Annotated[tuple[Address, ...], ListOf(MAXIMUM_ATTEMPTS)] = ()
    """Providers of earlier attempts; each gets one."""
    units_done: Unsigned64 = 0
    """Accepted in earlier attempts."""
    claim: Claim | None = None
    acceptance_live_ms: Timestamp | None = None
    """Live time at which a delivered job is accepted by itself."""
    ended_ms: Timestamp | None = None
    dispute: Hash | None = None
    """The dispute about it; there is one at most."""
    review_seconds: Seconds = 0
    """Live time after its end in which it may be reviewed; then, once it is over, it leaves the state."""
    deposit: Amount = 0
    """Paid by the renter; returned when it leaves the state."""

    @property
    def units_left(self) -> int:
        """Units that the present attempt may still deliver."""
        return self.max_units - self.units_done

    @property
    def cost(self) -> int:
        """Locked at submission, base units."""
        return 0 if self.booking is not None else self.max_units * self.unit_price


JOBS: Table[Job] = Table(TableId.JOBS, Job)


def read_job(view: View, job_id: bytes) -> Job:
    """The job as last written. Raises NotFound."""
    job = JOBS.get(view, job_id)
    if job is None:
        raise NotFound(kind="job", id=job_id)
    return job


def subjects(job_id: bytes, job: Job) -> list[tuple[str, bytes]]:
    """Who and what a job's events are about."""
    found = [("job", job_id), ("renter", job.renter)]
    if job.claim is not None:
        found.append(("provider", job.claim.provider))
    if job.booking is not None:
        found.append(("booking", job.booking))
    return found


def reopened(job: Job, claim: Claim) -> Job:
    """The job after an attempt that ended without delivery."""
    tried, done = (*job.tried, claim.provider), job.units_done + claim.units_accepted
    return replace(job, status=JobStatus.OPEN, tried=tried, units_done=done, claim=None)


def is_spent(job: Job, time_ms: int) -> bool:
    """Whether a job that was reopened at a block time can have no further attempt."""
    return len(job.tried) >= MAXIMUM_ATTEMPTS or job.units_left == 0 or time_ms >= job.deadline_ms


def leaves_live_ms(view: View, job: Job) -> int:
    """Live time at which a job that is over leaves the state."""
    return live_instant(view, job.ended_ms or 0) + job.review_seconds * 1_000


def delivered_gross(job: Job) -> int:
    """What a delivered standalone job comes to if it is accepted, earlier attempts included, base units."""
    units = 0 if job.claim is None else job.claim.units_total
    return (job.units_done + units) * job.unit_price


def storage_deposit(parameters: Parameters, job: Job) -> int:
    """What a job costs while it is in the state, with its attempts, its escrow and its time in a calendar."""
    claim = Claim(job.renter, bytes(32), 0, 0, 0)
    tried = replace(job, claim=claim, tried=(job.renter,) * MAXIMUM_ATTEMPTS)
    growth = 0 if job.booking is not None else escrow.ESCROW_BYTES + INTERVAL_BYTES
    return deposit.storage_deposit(parameters, tried, growth)
