"""When a GPU is free."""

from dataclasses import dataclass

from chain.inventory import INTERVALS, Interval, read_gpu
from chain.schedule import Subject
from chain.state.tables import u64
from chain.state.view import View

MAXIMUM_SLOTS = 1_000


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch [start, end) of block time, milliseconds."""

    start_ms: int
    end_ms: int
    holder: bytes | None = None
    """The booking, job or maintenance that occupies it; None if it is free."""
    subject: Subject | None = None
    """What the holder is."""


def availability(view: View, gpu_id: bytes, from_ms: int, until_ms: int) -> tuple[Slot, ...]:
    """Free and occupied slots of a GPU in [from, until), in order and without holes, at most 1,000 occupied ones.

    Raises NotFound.
    """
    read_gpu(view, gpu_id)
    slots: list[Slot] = []
    reached = from_ms
    for start_ms, interval in _occupied(view, gpu_id, from_ms, until_ms):
        if start_ms > reached:
            slots.append(Slot(reached, start_ms))
        end_ms = min(interval.end_ms, until_ms)
        slots.append(Slot(max(start_ms, from_ms), end_ms, interval.holder, Subject(interval.subject)))
        reached = interval.end_ms
    if reached < until_ms:
        slots.append(Slot(reached, until_ms))
    return tuple(slots)


def _occupied(view: View, gpu_id: bytes, from_ms: int, until_ms: int) -> list[tuple[int, Interval]]:
    found = []
    for key, interval in INTERVALS.scan(view, gpu_id, gpu_id + u64(from_ms), reverse=True):
        if interval.end_ms > from_ms:
            found.append((int.from_bytes(key[32:], "big"), interval))
        break
    for key, interval in INTERVALS.scan(view, gpu_id + u64(from_ms), gpu_id + u64(until_ms)):
        found.append((int.from_bytes(key[32:], "big"), interval))
        if len(found) >= MAXIMUM_SLOTS:
            break
    return found
