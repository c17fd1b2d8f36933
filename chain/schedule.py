"""Scheduled work: what the ledger itself must do when a clock passes a deadline. Nobody has to crank or poll.

A due queue in the state holds one item per (clock, due, subject). Each block first runs what is due, within a weight
budget; the rest carries over in order. Decisions never depend on whether the queue has run: every action first
brings its own subject up to date. So a late item changes when something is written, never what.
"""

from dataclasses import dataclass
from enum import IntEnum

from chain.action import DUE_HANDLERS, Clock, Context
from chain.record import record
from chain.schema import Unsigned64
from chain.state.tables import Table, TableId, u64
from chain.state.view import View

DUE_ITEM_WEIGHT = 5
"""Least weight of running one due item; one that writes more weighs one unit for each record that it writes."""


class Subject(IntEnum):
    """What a due item is about; one handler each, see `chain.action.Family.due`."""

    BOOKING = 1
    GPU = 2
    UNBONDING = 3
    JOB = 4
    PROPOSAL = 5
    IDEMPOTENCY = 6
    MAINTENANCE = 7
    COMMITMENT = 8
    DISPUTE = 9
    REQUEST = 10
    MEASURE = 11
    REVIEW = 12
    TRADE = 13


@record(version=1)
@dataclass(frozen=True, slots=True)
class DueItem:
    """The value of a queue entry; what it is about is in its key."""

    scheduled_height: Unsigned64
    """Block that scheduled it."""


DUE: Table[DueItem] = Table(TableId.DUE, DueItem)


def _key(clock: Clock, due_ms: int, subject: Subject, identifier: bytes) -> bytes:
    return bytes([clock]) + u64(due_ms) + bytes([subject]) + identifier


def schedule(context: Context, clock: Clock, due_ms: int, subject: Subject, identifier: bytes) -> None:
    """Run the subject's handler in the first block at or after `due_ms` of that clock that has room for it."""
    DUE.put(context.view, _key(clock, due_ms, subject, identifier), DueItem(context.block.height))


def unschedule(context: Context, clock: Clock, due_ms: int, subject: Subject, identifier: bytes) -> None:
    """Forget a due item; does nothing if it has run or never was."""
    key = _key(clock, due_ms, subject, identifier)
    if DUE.get(context.view, key) is not None:
        DUE.delete(context.view, key)


def is_scheduled(view: View, clock: Clock, due_ms: int, subject: Subject, identifier: bytes) -> bool:
    """Whether this item waits in the queue."""
    return DUE.get(view, _key(clock, due_ms, subject, identifier)) is not None


def run_due(context: Context, budget: int) -> int:
    """Run due items in order of (due, subject) within a weight budget; returns the weight used.

    Block time has half of the budget, live time the rest, and block time what that leaves: a flood of items on one
    clock cannot hold up the other.
    """
    used = _run_clock(context, Clock.BLOCK, budget // 2)
    used += _run_clock(context, Clock.LIVE, budget - used)
    return used + _run_clock(context, Clock.BLOCK, budget - used)


def _run_clock(context: Context, clock: Clock, budget: int) -> int:
    used = 0
    while used + DUE_ITEM_WEIGHT <= budget:
        limit = (budget - used) // DUE_ITEM_WEIGHT
        batch = _due(context.view, clock, context.now(clock), limit)
        if not batch:
            break
        for key in batch:
            if DUE.get(context.view, key) is None:
                continue  # an earlier item of this batch took it off the queue
            used += _run_item(context, key)
            if used + DUE_ITEM_WEIGHT > budget:
                break
    return used


def _run_item(context: Context, key: bytes) -> int:
    """Run one item; returns its weight. The last one in a block may go beyond the budget by what it writes."""
    before = context.view.checkpoint()
    DUE.delete(context.view, key)
    DUE_HANDLERS[key[9]](context, key[10:])
    return max(DUE_ITEM_WEIGHT, context.view.checkpoint() - before)


def _due(view: View, clock: Clock, now: int, limit: int) -> list[bytes]:
    start, end = bytes([clock]), bytes([clock]) + u64(now + 1)
    batch = []
    for key, _ in DUE.scan(view, start, end):
        batch.append(key)
        if len(batch) == limit:
            break
    return batch


def next_due(view: View, clock: Clock) -> int | None:
    """When the first item of a clock is due, in milliseconds of that clock; None if there is none."""
    for key, _ in DUE.scan(view, bytes([clock]), bytes([clock + 1])):
        return int.from_bytes(key[1:9], "big")
    return None
