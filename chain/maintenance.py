"""Maintenance: stretches of a GPU's calendar that its owner keeps free of bookings. The service behind its actions.

A window is an entry of the calendar like a booking, so nothing can be booked or claimed over it, and it is over when
the clock says so, whatever the due queue has reached. Retirement ends all windows: only bookings may delay it.
"""

from dataclasses import dataclass, replace

from chain.action import Clock, Context
from chain.clocks import block_instant, read_clocks
from chain.errors import NotFound
from chain.inventory import (
    GPUS,
    MAXIMUM_MAINTENANCE,
    Gpu,
    GpuStatus,
    challenged_gpu,
    heard_of,
    occupy,
    read_gpu,
    remember_uptime,
    retire_if_idle,
    vacate,
)
from chain.record import record
from chain.schedule import Subject, schedule, unschedule
from chain.schema import Hash, Timestamp
from chain.standing import gpu_now, is_listed
from chain.state.tables import Table, TableId
from chain.state.view import View


@record(version=1)
@dataclass(frozen=True, slots=True)
class Maintenance:
    """One window [start, end) of block time."""

    gpu: Hash
    start_ms: Timestamp
    end_ms: Timestamp


MAINTENANCE: Table[Maintenance] = Table(TableId.MAINTENANCE, Maintenance)


def read_maintenance(view: View, maintenance_id: bytes) -> Maintenance:
    """The window. Raises NotFound."""
    found = MAINTENANCE.get(view, maintenance_id)
    if found is None:
        raise NotFound(kind="maintenance", id=maintenance_id)
    return found


def maintenance_now(view: View, maintenance_id: bytes) -> Maintenance:
    """The window, if neither the clocks nor the end of its GPU have ended it. Raises NotFound."""
    window = read_maintenance(view, maintenance_id)
    over = read_clocks(view).time_ms >= window.end_ms
    if over or not is_listed(view, window.gpu) or gpu_now(view, window.gpu).status is GpuStatus.RETIRING:
        raise NotFound(kind="maintenance", id=maintenance_id)
    return window


def overdue_window(view: View, gpu: Gpu) -> bytes | None:
    """A window of the GPU that is over by now and only waits for the due queue, if there is one."""
    now_ms = read_clocks(view).time_ms
    windows = ((window_id, read_maintenance(view, window_id)) for window_id in gpu.maintenance)
    return next((window_id for window_id, window in windows if now_ms >= window.end_ms), None)


def begin(context: Context, gpu_id: bytes, start_ms: int, end_ms: int) -> None:
    """Enter a window into the calendar, where it fits and the GPU has room for one more."""
    gpu = read_gpu(context.view, gpu_id)
    overdue = overdue_window(context.view, gpu) if len(gpu.maintenance) == MAXIMUM_MAINTENANCE else None
    if overdue is not None:
        finish(context, overdue)  # to make room
    maintenance_id = context.new_id("maintenance")
    occupy(context, gpu_id, start_ms, end_ms, Subject.MAINTENANCE, maintenance_id)
    gpu = read_gpu(context.view, gpu_id)
    GPUS.put(context.view, gpu_id, replace(gpu, maintenance=(*gpu.maintenance, maintenance_id)))
    MAINTENANCE.put(context.view, maintenance_id, Maintenance(gpu_id, start_ms, end_ms))
    schedule(context, Clock.BLOCK, end_ms, Subject.MAINTENANCE, maintenance_id)
    names = [("maintenance", maintenance_id), ("gpu", gpu_id), ("provider", gpu.owner)]
    context.emit("gpu.maintenance_set", names, start_ms=start_ms, end_ms=end_ms)


def finish(context: Context, maintenance_id: bytes, time_ms: int | None = None) -> None:
    """Take a window off the calendar, as of now or of an earlier block time. Raises NotFound."""
    window = read_maintenance(context.view, maintenance_id)
    unschedule(context, Clock.BLOCK, window.end_ms, Subject.MAINTENANCE, maintenance_id)
    MAINTENANCE.delete(context.view, maintenance_id)
    gpu = read_gpu(context.view, window.gpu)
    left = tuple(other for other in gpu.maintenance if other != maintenance_id)
    GPUS.put(context.view, window.gpu, replace(gpu, maintenance=left))
    vacate(context, window.gpu, window.start_ms, min(context.time_ms if time_ms is None else time_ms, window.end_ms))
    names = [("maintenance", maintenance_id), ("gpu", window.gpu), ("provider", gpu.owner)]
    context.emit("gpu.maintenance_ended", names)


def end_overdue(context: Context, maintenance_id: bytes) -> None:
    """Due handler: a window whose time is over leaves the calendar."""
    window = MAINTENANCE.get(context.view, maintenance_id)
    if window is None or context.time_ms < window.end_ms:
        return
    challenged_gpu(context, window.gpu)  # which may have ended it sooner
    if MAINTENANCE.get(context.view, maintenance_id) is not None:
        finish(context, maintenance_id)


def retire(context: Context, gpu_id: bytes, live_ms: int) -> None:
    """Take a listed GPU off the market as of a live time: at once if nothing holds it, else with its last booking."""
    time_ms = block_instant(context.view, live_ms)
    for maintenance_id in read_gpu(context.view, gpu_id).maintenance:
        finish(context, maintenance_id, time_ms)
    gpu = heard_of(context, gpu_id, live_ms)
    unschedule(context, Clock.LIVE, gpu.offline_live_ms, Subject.GPU, gpu_id)
    remember_uptime(context.view, gpu, live_ms)
    GPUS.put(context.view, gpu_id, replace(gpu, status=GpuStatus.RETIRING, idle_ms=max(gpu.idle_ms, time_ms)))
    context.emit("gpu.retiring", [("gpu", gpu_id), ("provider", gpu.owner)], open_bookings=gpu.open_bookings)
    retire_if_idle(context, gpu_id)
