"""When a GPU is free."""

from dataclasses import dataclass

from chain.inventory import INTERVALS, read_gpu
from chain.state.tables import u64
from chain.state.view import View

MAXIMUM_SLOTS = 1_000


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch [start, end) of block time, milliseconds."""

    start_ms: int
    end_ms: int
    booking: bytes | None
    """The booking that occupies it; None if it is free."""


def availability(view: View, gpu_id: bytes, from_ms: int, until_ms: int) -> tuple[Slot, ...]:
    """Free and occupied slots of a GPU in [from, until), in order and without holes, at most 1,000 occupied ones.

    Raises NotFound.
    """
    read_gpu(view, gpu_id)
    slots: list[Slot] = []
    reached = from_ms
    for start_ms, end_ms, booking in _occupied(view, gpu_id, from_ms, until_ms):
        if start_ms > reached:
            slots.append(Slot(reached, start_ms, None))
        slots.append(Slot(max(start_ms, from_ms), min(end_ms, until_ms), booking))
        reached = end_ms
    if reached < until_ms:
        slots.append(Slot(reached, until_ms, None))
    return tuple(slots)


def _occupied(view: View, gpu_id: bytes, from_ms: int, until_ms: int) -> list[tuple[int, int, bytes]]:
    found = []
    for key, interval in INTERVALS.scan(view, gpu_id, gpu_id + u64(from_ms), reverse=True):
        if interval.end_ms > from_ms:
            found.append((int.from_bytes(key[32:], "big"), interval.end_ms, interval.holder))
        break
    for key, interval in INTERVALS.scan(view, gpu_id + u64(from_ms), gpu_id + u64(until_ms)):
        found.append((int.from_bytes(key[32:], "big"), interval.end_ms, interval.holder))
        if len(found) >= MAXIMUM_SLOTS:
            break
    return found
