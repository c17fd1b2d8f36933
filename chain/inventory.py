"""GPUs as the market sees them: record, status and calendar. The service that gpus, bookings and jobs share.

A GPU's calendar is a table of intervals ordered by start, so two bookings overlap only if two neighbours do, and a
conflict is found with one look at the last interval that starts before the wanted end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated

from chain import reputation, stake
from chain.action import DUE_HANDLERS, Clock, Context
from chain.clocks import live_instant
from chain.deposit import give_back, size_of
from chain.errors import LedgerError, NotFound
from chain.record import record
from chain.schedule import Subject, schedule, unschedule
from chain.schema import (
    Address,
    Amount,
    BasisPoints,
    Boolean,
    Hash,
    ListOf,
    Seconds,
    String,
    Timestamp,
    Unsigned,
    Unsigned8,
    Unsigned32,
    Unsigned64,
)
from chain.state.tables import Table, TableId, prefix_end, u64
from chain.state.view import View

MAXIMUM_MAINTENANCE = 16
"""Windows of maintenance of one GPU that are not over."""


class BookingConflict(LedgerError):
    code = 1401
    hint = "Choose another time; `aitbc marketplace gpu availability` shows the free slots."


class GpuUnavailable(LedgerError):
    code = 1305
    hint = "The GPU is not open for new bookings."


class GpuStatus(IntEnum):
    ACTIVE = 1
    OFFLINE = 2
    """Missed its heartbeat: no new bookings until the next one."""
    RETIRING = 3
    """No new bookings; retired when the last one ends, and no challenge of its hardware is open."""
    RETIRED = 4


@record(version=1)
@dataclass(frozen=True, slots=True)
class Hardware:
    """What the device is, as declared by its owner; never changes."""

    model: Annotated[str, String(64, 1)]
    memory_mb: Annotated[int, Unsigned(16 << 20, 1)]
    cuda_cores: Unsigned32
    cuda_version: Annotated[str, String(16)]
    region: Annotated[str, String(32)]
    attributes: Annotated[tuple[Annotated[str, String(64, 1)], ...], ListOf(16)]
    hardware_hash: Hash
    """Identifies the device; no two live GPUs share one."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Terms:
    """What the provider asks for."""

    price_per_hour: Amount
    """Base units per GPU-hour."""
    minimum_seconds: Seconds
    maximum_seconds: Seconds
    horizon_seconds: Seconds
    """How far ahead a booking may start."""
    notice_seconds: Seconds = 0
    """Before the start, the time in which a cancellation costs `cancellation_share`."""
    cancellation_share: BasisPoints = 0
    """Share of the cost that a cancellation within the notice costs; never less than the release charge."""
    version: Unsigned32 = 1


@record(version=1)
@dataclass(frozen=True, slots=True)
class Gpu:
    """A listed device."""

    owner: Address
    status: GpuStatus
    hardware: Hardware
    terms: Terms
    collateral: Amount
    """Reserved of the owner's stake while it is listed."""
    registered_height: Unsigned64
    heartbeat_live_ms: Timestamp
    """Live time of the last heartbeat."""
    offline_live_ms: Timestamp
    """Live time after which it is offline without another heartbeat."""
    open_bookings: Unsigned32 = 0
    """Intervals in its calendar, claimed jobs and maintenance included."""
    maintenance: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_MAINTENANCE)] = ()
    """Windows that its owner has set and that are not over, in the order in which they were set."""
    since_live_ms: Timestamp = 0
    """Live time since which it has been online, or offline."""
    challenge: Hash | None = None
    """The open dispute about its hardware."""
    refuted: Boolean = False
    """Whether a challenge has shown that the hardware is not what was declared."""
    references: Unsigned32 = 0
    """Bookings and claimed jobs in the state that name it, over or not."""
    idle_ms: Timestamp = 0
    """Block time at which the last thing in its calendar ended, or its owner retired it."""
    leaves_live_ms: Timestamp | None = None
    """Live time from which the record of a retired GPU goes, once nothing refers to it."""
    deposit: Amount = 0
    """Paid by the owner; returned when the record leaves the state."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Interval:
    """One occupied stretch [start, end) of a GPU's calendar; its start is in its key."""

    end_ms: Timestamp
    subject: Unsigned8
    """What holds it: a booking, a claimed job or maintenance (see `chain.schedule.Subject`)."""
    holder: Hash


@record(version=1)
@dataclass(frozen=True, slots=True)
class HardwareClaim:
    """Which live GPU a hardware hash belongs to."""

    gpu: Hash


GPUS: Table[Gpu] = Table(TableId.GPUS, Gpu)
HARDWARE: Table[HardwareClaim] = Table(TableId.HARDWARE, HardwareClaim)
INTERVALS: Table[Interval] = Table(TableId.INTERVALS, Interval)

INTERVAL_BYTES = size_of(Interval(0, 0, bytes(32)))
"""Part of what a booking or a job leaves as a deposit, for each GPU."""
GPU_GROWTH = size_of(HardwareClaim(bytes(32))) + 34 * MAXIMUM_MAINTENANCE
"""What comes and goes with a GPU: the claim on its hardware hash, and its list of maintenance."""


def read_gpu(view: View, gpu_id: bytes) -> Gpu:
    """The GPU. Raises NotFound."""
    gpu = GPUS.get(view, gpu_id)
    if gpu is None:
        raise NotFound(kind="gpu", id=gpu_id)
    return gpu


def challenged_gpu(context: Context, gpu_id: bytes) -> Gpu:
    """The GPU after a challenge of its hardware whose time is over, for what the due queue does. Raises NotFound."""
    gpu = read_gpu(context.view, gpu_id)
    if gpu.challenge is not None:
        DUE_HANDLERS[Subject.DISPUTE](context, gpu.challenge)
    return read_gpu(context.view, gpu_id)


def heard_of(context: Context, gpu_id: bytes, live_ms: int) -> Gpu:
    """The GPU, offline if its heartbeat was overdue at this live time. Raises NotFound."""
    gpu = read_gpu(context.view, gpu_id)
    if gpu.status is GpuStatus.ACTIVE and live_ms >= gpu.offline_live_ms:
        unschedule(context, Clock.LIVE, gpu.offline_live_ms, Subject.GPU, gpu_id)
        remember_uptime(context.view, gpu, gpu.offline_live_ms)
        gpu = replace(gpu, status=GpuStatus.OFFLINE, since_live_ms=gpu.offline_live_ms)
        GPUS.put(context.view, gpu_id, gpu)
        context.emit("gpu.offline", [("gpu", gpu_id), ("provider", gpu.owner)])
    return gpu


def record_heartbeat(context: Context, gpu_id: bytes, refuted_live_ms: int | None = None) -> None:
    """The owner was heard of: the GPU is online until the next timeout.

    Args:
        refuted_live_ms: when it left the market, if a lost challenge waits for the due queue: later counts nothing.
    """
    gpu = heard_of(context, gpu_id, context.live_ms if refuted_live_ms is None else refuted_live_ms)
    status = gpu.status
    if status is GpuStatus.ACTIVE:
        unschedule(context, Clock.LIVE, gpu.offline_live_ms, Subject.GPU, gpu_id)
    elif status is GpuStatus.OFFLINE and refuted_live_ms is None:
        remember_uptime(context.view, gpu, context.live_ms)
        gpu, status = replace(gpu, since_live_ms=context.live_ms), GpuStatus.ACTIVE
        context.emit("gpu.online", [("gpu", gpu_id), ("provider", gpu.owner)])
    offline_live_ms = context.live_ms + context.parameters.heartbeat_timeout_seconds * 1_000
    GPUS.put(
        context.view,
        gpu_id,
        replace(gpu, status=status, heartbeat_live_ms=context.live_ms, offline_live_ms=offline_live_ms),
    )
    if status is GpuStatus.ACTIVE:
        schedule(context, Clock.LIVE, offline_live_ms, Subject.GPU, gpu_id)


def remember_uptime(view: View, gpu: Gpu, until_live_ms: int) -> None:
    """A stretch of being online, or offline, is over: it counts for the owner and the device."""
    spent = "offline_ms" if gpu.status is GpuStatus.OFFLINE else "online_ms"
    reputation.count(view, gpu.owner, (gpu.hardware.hardware_hash,), **{spent: until_live_ms - gpu.since_live_ms})


def hardware_of(view: View, gpus: Iterable[bytes]) -> tuple[bytes, ...]:
    """The hardware hashes of those GPUs that are known."""
    listed = (GPUS.get(view, gpu_id) for gpu_id in gpus)
    return tuple(gpu.hardware.hardware_hash for gpu in listed if gpu is not None)


def models_of(view: View, gpus: Iterable[bytes]) -> frozenset[str]:
    """The models of those GPUs that are known."""
    listed = (GPUS.get(view, gpu_id) for gpu_id in gpus)
    return frozenset(gpu.hardware.model for gpu in listed if gpu is not None)


def clear_overdue(context: Context, gpu_id: bytes) -> None:
    """Bring up to date whatever has started on a GPU: for those who show its calendar, as no action pays for it."""
    started = INTERVALS.scan(context.view, gpu_id, gpu_id + u64(context.time_ms + 1))
    for interval in [interval for _, interval in started]:
        DUE_HANDLERS[interval.subject](context, interval.holder)


def occupy(context: Context, gpu_id: bytes, start_ms: int, end_ms: int, subject: Subject, holder: bytes) -> None:
    """Enter a booking, a job or maintenance into the calendar, after `chain.standing.require_vacant`."""
    INTERVALS.put(context.view, gpu_id + u64(start_ms), Interval(end_ms, int(subject), holder))
    gpu = read_gpu(context.view, gpu_id)
    references = gpu.references + (subject is not Subject.MAINTENANCE)
    GPUS.put(context.view, gpu_id, replace(gpu, open_bookings=gpu.open_bookings + 1, references=references))


def prolong(context: Context, gpu_id: bytes, start_ms: int, end_ms: int) -> None:
    """Move the end of the interval that starts there, after `chain.standing.require_vacant`."""
    interval = INTERVALS.get(context.view, gpu_id + u64(start_ms))
    if interval is None:
        raise NotFound(kind="interval", id=gpu_id)
    INTERVALS.put(context.view, gpu_id + u64(start_ms), replace(interval, end_ms=end_ms))


def vacate(context: Context, gpu_id: bytes, start_ms: int, ended_ms: int | None = None) -> None:
    """Take what starts there off the calendar; a retiring GPU retires with its last booking.

    Args:
        ended_ms: block time at which it ended; now when left out.
    """
    INTERVALS.delete(context.view, gpu_id + u64(start_ms))
    gpu = read_gpu(context.view, gpu_id)
    idle_ms = max(gpu.idle_ms, context.time_ms if ended_ms is None else ended_ms)
    gpu = replace(gpu, open_bookings=gpu.open_bookings - 1, idle_ms=idle_ms)
    GPUS.put(context.view, gpu_id, gpu)
    retire_if_idle(context, gpu_id)


def retire_if_idle(context: Context, gpu_id: bytes) -> None:
    """Free the collateral and the hardware hash of a retiring GPU that no booking, job or challenge holds."""
    gpu = read_gpu(context.view, gpu_id)
    if gpu.status is not GpuStatus.RETIRING or gpu.open_bookings or gpu.challenge is not None:
        return
    stake.free(context, gpu.owner, gpu.collateral)
    claim = HARDWARE.get(context.view, gpu.hardware.hardware_hash)
    if claim is not None and claim.gpu == gpu_id:  # by now the device may have been listed again
        HARDWARE.delete(context.view, gpu.hardware.hardware_hash)
    idle_live_ms = live_instant(context.view, gpu.idle_ms)
    leaves_live_ms = idle_live_ms + context.parameters.review_window_seconds * 1_000
    retired = replace(gpu, status=GpuStatus.RETIRED, collateral=0, leaves_live_ms=leaves_live_ms)
    GPUS.put(context.view, gpu_id, retired)
    schedule(context, Clock.LIVE, leaves_live_ms, Subject.GPU, gpu_id)
    context.emit("gpu.retired", [("gpu", gpu_id), ("provider", gpu.owner)], collateral_freed=gpu.collateral)


def let_go(context: Context, gpu_id: bytes) -> None:
    """A booking or job that names the GPU leaves the state, or a job its claim."""
    gpu = read_gpu(context.view, gpu_id)
    GPUS.put(context.view, gpu_id, replace(gpu, references=gpu.references - 1))
    leave_if_forgotten(context, gpu_id)


def leave_if_forgotten(context: Context, gpu_id: bytes) -> None:
    """Remove a GPU that was retired long ago, unless a booking or job still names it: then the last of them does."""
    gpu = read_gpu(context.view, gpu_id)
    if gpu.leaves_live_ms is None or context.live_ms < gpu.leaves_live_ms or gpu.references:
        return
    unschedule(context, Clock.LIVE, gpu.leaves_live_ms, Subject.GPU, gpu_id)
    GPUS.delete(context.view, gpu_id)
    give_back(context, gpu.owner, gpu.deposit, ("gpu", gpu_id))
    context.emit("gpu.removed", [("gpu", gpu_id), ("provider", gpu.owner)])


def intervals(view: View, gpu_id: bytes) -> list[tuple[int, Interval]]:
    """The calendar of a GPU as (start, interval), in order."""
    return [
        (int.from_bytes(key[32:], "big"), interval)
        for key, interval in INTERVALS.scan(view, gpu_id, prefix_end(gpu_id))
    ]
