"""The namespace `gpu`: what is on the market, what is free when, and how devices were rated."""

from collections.abc import Callable, Iterator
from fnmatch import translate
from re import IGNORECASE, Pattern, compile
from typing import Literal

from chain import interface as api
from chain.actions.accounts import PROFILES
from chain.inventory import GPUS, Gpu, GpuStatus, clear_overdue, read_gpu
from chain.maintenance import MAINTENANCE
from chain.queries.availability import availability as slots_of
from chain.schedule import Subject
from chain.standing import conflict_now, gpu_by_clocks
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, quick
from node.rpc.pages import make_cursor, read_cursor, scan_records
from node.rpc.reputation import device_reputation, provider_reputation
from node.rpc.review import rating_of, reviews_of, reviews_page

DAY_MS = 86_400_000

_ORDERS: dict[str, Callable[[Gpu], int]] = {
    "price": lambda gpu: gpu.terms.price_per_hour,
    "memory": lambda gpu: gpu.hardware.memory_mb,
    "cores": lambda gpu: gpu.hardware.cuda_cores,
    "registered": lambda gpu: gpu.registered_height,
}


_KINDS: dict[Subject, Literal["booking", "job", "maintenance"]] = {
    Subject.BOOKING: "booking",
    Subject.JOB: "job",
    Subject.MAINTENANCE: "maintenance",
}


def in_maintenance(read: Read, gpu: Gpu) -> bool:
    """Whether its owner keeps it out of service right now."""
    now_ms = read.clocks.time_ms
    windows = (MAINTENANCE.get(read.view, window_id) for window_id in gpu.maintenance)
    return any(window is not None and window.start_ms <= now_ms < window.end_ms for window in windows)


def status_text(read: Read, gpu: Gpu) -> str:
    """The status as clients see it, of a GPU as it is by the clocks."""
    return "maintenance" if in_maintenance(read, gpu) else gpu.status.name.lower()


def is_free(read: Read, gpu_id: bytes, gpu: Gpu, start_ms: int, seconds: int | None) -> bool:
    """Whether it, as it is by the clocks, can be booked from then for so long, or for its shortest booking."""
    end_ms = start_ms + (seconds or gpu.terms.minimum_seconds) * 1_000
    return gpu.status is GpuStatus.ACTIVE and conflict_now(read.view, gpu_id, start_ms, end_ms) is None


def view_of(read: Read, gpu_id: bytes, gpu: Gpu) -> api.GpuView:
    """A GPU as clients see it, given as it is by the clocks."""
    now_ms = read.clocks.time_ms
    conflict = conflict_now(read.view, gpu_id, now_ms, now_ms + 1)
    return api.GpuView(
        id=gpu_id.hex(),
        gpu=read.show(gpu),
        status=status_text(read, gpu),
        available=is_free(read, gpu_id, gpu, now_ms, None),
        free_from_ms=conflict[1].end_ms if conflict else None,
    )


class GpuFilter:
    """The filters of a list that need the record alone."""

    def __init__(self, read: Read, params: api.GpuListParams) -> None:
        self._read = read
        self._params = params
        self._provider = None if params.provider is None else read.address(params.provider)
        self._model = pattern(params.model)
        self._region = None if params.region is None else params.region.casefold()
        self._price_max = None if params.price_max is None else int(params.price_max)

    def matches(self, gpu: Gpu) -> bool:
        """Whether a GPU, as it is by the clocks, is wanted."""
        params, hardware = self._params, gpu.hardware
        return (
            self._has_status(gpu)
            and (self._provider is None or gpu.owner == self._provider)
            and (self._price_max is None or gpu.terms.price_per_hour <= self._price_max)
            and (params.memory_min is None or hardware.memory_mb >= params.memory_min)
            and (params.cores_min is None or hardware.cuda_cores >= params.cores_min)
            and (params.attribute is None or params.attribute in hardware.attributes)
            and (self._region is None or hardware.region.casefold() == self._region)
            and (self._model is None or self._model.match(hardware.model) is not None)
        )

    def _has_status(self, gpu: Gpu) -> bool:
        if self._params.status is not None:
            return status_text(self._read, gpu) == self._params.status
        return gpu.status is GpuStatus.ACTIVE if self._params.available else gpu.status is not GpuStatus.RETIRED


def pattern(text: str | None) -> Pattern[str] | None:
    """The pattern of a file name; brackets mean themselves, and stars are merged so that matching stays quick."""
    if text is None:
        return None
    while "**" in text:
        text = text.replace("**", "*")
    return compile(translate(text.replace("[", "[[]")), IGNORECASE)


def list_gpus(read: Read, params: api.GpuListParams) -> api.GpuList:
    """Filter, order, then go through the order until the page is full; the calendar is asked last."""
    wanted = GpuFilter(read, params)
    descending, order = params.order.startswith("-"), _ORDERS[params.order.removeprefix("-")]
    sign = -1 if descending else 1
    provider = None if params.provider is None else read.address(params.provider)
    after = read_cursor(params.cursor, int, bytes)
    matching = [(sign * order(gpu), gpu_id, gpu) for gpu_id, gpu in gpus_now(read, provider) if wanted.matches(gpu)]
    matching.sort(key=lambda item: item[:2])
    start_ms = max(read.clocks.time_ms, params.start_ms or 0)
    page: list[tuple[int, bytes, Gpu]] = []
    following: str | None = None
    for item in matching:
        if after is not None and item[:2] <= after:
            continue
        if params.available and not is_free(read, item[1], item[2], start_ms, params.seconds):
            continue
        if len(page) == params.limit:
            following = make_cursor(*page[-1][:2])
            break
        page.append(item)
    items = tuple(view_of(read, gpu_id, gpu) for _, gpu_id, gpu in page)
    return api.GpuList(as_of=read.as_of, items=items, next_cursor=following)


def gpus_now(read: Read, provider: bytes | None = None) -> Iterator[tuple[bytes, Gpu]]:
    """All GPUs, or those of a provider, as they are by the clocks."""
    for gpu_id, gpu in scan_records(read.snapshot, GPUS, Gpu, provider):
        yield gpu_id, gpu_by_clocks(read.view, gpu_id, gpu)


def get(read: Read, params: api.GpuParams) -> api.GpuDetails:
    gpu_id = bytes.fromhex(params.gpu)
    gpu = gpu_by_clocks(read.view, gpu_id, read_gpu(read.view, gpu_id))
    profile = PROFILES.get(read.view, gpu.owner)
    reviews = reviews_of(read, hardware=gpu.hardware.hardware_hash)
    return api.GpuDetails(
        as_of=read.as_of,
        view=view_of(read, gpu_id, gpu),
        maintenance=_windows(read, gpu),
        provider_profile=read.show(profile.profile) if profile else None,
        rating=rating_of(reviews),
        device=device_reputation(read, gpu.hardware.hardware_hash, reviews),
        provider=provider_reputation(read, gpu.owner),
    )


def _windows(read: Read, gpu: Gpu) -> tuple[api.MaintenanceWindow, ...]:
    found = [(window_id, MAINTENANCE.get(read.view, window_id)) for window_id in gpu.maintenance]
    windows = [
        api.MaintenanceWindow(window_id.hex(), window.start_ms, window.end_ms)
        for window_id, window in found
        if window is not None and read.clocks.time_ms < window.end_ms
    ]
    return tuple(sorted(windows, key=lambda window: window.start_ms))


def availability(read: Read, params: api.AvailabilityParams) -> api.Availability:
    gpu_id = bytes.fromhex(params.gpu)
    gpu = gpu_by_clocks(read.view, gpu_id, read_gpu(read.view, gpu_id))
    now_ms = read.clocks.time_ms
    from_ms = max(now_ms, params.from_ms or 0)
    until_ms = max(from_ms, min(from_ms + params.days * DAY_MS, now_ms + gpu.terms.horizon_seconds * 1_000))
    now = read.now()
    clear_overdue(now, gpu_id)
    slots = slots_of(now.view, gpu_id, from_ms, until_ms) if until_ms > from_ms else ()
    return api.Availability(
        as_of=read.as_of,
        gpu=gpu_id.hex(),
        bookable=gpu.status is GpuStatus.ACTIVE,
        from_ms=from_ms,
        until_ms=until_ms,
        free=tuple(api.Slot(slot.start_ms, slot.end_ms) for slot in slots if slot.holder is None),
        booked=tuple(
            api.BookedSlot(slot.start_ms, slot.end_ms, slot.holder.hex(), _KINDS[slot.subject])
            for slot in slots
            if slot.holder is not None and slot.subject is not None
        ),
    )


def reviews(read: Read, params: api.GpuReviewsParams) -> api.Reviews:
    hardware = read_gpu(read.view, bytes.fromhex(params.gpu)).hardware.hardware_hash
    return reviews_page(read, params.limit, params.cursor, hardware=hardware)


HANDLERS: dict[str, Handler] = {
    "gpu.list": aside(list_gpus),
    "gpu.get": aside(get),
    "gpu.availability": quick(availability),
    "gpu.reviews": aside(reviews),
}
