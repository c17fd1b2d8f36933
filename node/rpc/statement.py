"""`account.earnings` and `account.spending`: what flowed to and from an account, told from its history.

The history is an index of this node, so it needs no record that is still in the state. One answer looks at a bounded
part of it and says where it goes on.
"""

from collections import Counter
from dataclasses import fields
from typing import Any, TypeVar, cast

from chain import interface as api
from chain.queries.earnings import Occurrence, Statement, statement
from chain.trades import DAY_MS
from node.rpc.account import Places, concerning
from node.rpc.chain import require_header
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside
from node.rpc.pages import make_cursor, read_cursor
from node.store import SYSTEM_INDEX

STRIDE = 100
MAXIMUM_PLACES = 2_000
"""Places of the history that one answer looks at."""
MAXIMUM_EVENTS = 20_000
"""Events that one answer looks through, the last place aside."""
MAXIMUM_DEALS = 100
"""Bookings, jobs and requests that one answer tells apart."""

F = TypeVar("F")


class _Part:
    """The part of an account's history that one answer is about, newest first."""

    def __init__(self, read: Read, params: api.StatementParams, *, fees: bool) -> None:
        self.address = read.address(params.address)
        self.until_ms = read.clocks.time_ms + 1 if params.until_ms is None else params.until_ms
        self.from_ms = params.from_ms
        self.cursor: str | None = None
        self._read, self._fees, self._places = read, fees, Places(read)
        place = read_cursor(params.cursor, int, int)
        before = (place[0], place[1]) if place else (_height_at(read, self.until_ms), 0)
        self.statement = statement(self.address, self._occurrences(before), params.from_ms, self.until_ms)

    def _occurrences(self, before: tuple[int, int]) -> list[Occurrence]:
        found: list[Occurrence] = []
        looked = 0
        while True:
            stride = self._read.snapshot.history(self.address, before, STRIDE)
            for height, index in stride:
                time_ms = require_header(self._read, height)[0].time_ms
                if time_ms < self.from_ms:
                    return found
                if len(found) >= MAXIMUM_PLACES or looked >= MAXIMUM_EVENTS:
                    self.from_ms, self.cursor = found[-1].time_ms, make_cursor(*before)
                    return found
                events = self._places.events(height, index)
                looked += len(events)
                fee = self._fee(height, index) if self._fees else 0
                found.append(Occurrence(time_ms, tuple(concerning(events, self.address)), fee))
                before = (height, index)
            if len(stride) < STRIDE:
                return found

    def _fee(self, height: int, index: int) -> int:
        """What the account paid for the transaction at a place."""
        if index == SYSTEM_INDEX:
            return 0
        result = self._read.snapshot.result(height, index)
        sender = self._places.transaction(height, index).body.sender
        return result.fee if result is not None and sender == self.address else 0


def _height_at(read: Read, time_ms: int) -> int:
    """The first height whose block time is not before this one; one above the head if there is none."""
    low, high = 0, read.snapshot.head.height + 1
    while low < high:
        middle = (low + high) // 2
        if require_header(read, middle)[0].time_ms < time_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _flow(kind: type[F], counted: Counter[str]) -> F:
    """The amounts of a kind of flow, as text."""
    return kind(**{field.name: str(counted[field.name]) for field in fields(cast(Any, kind))})


def _matters(kind: type[Any], counted: Counter[str]) -> bool:
    return any(counted[field.name] for field in fields(kind))


def _days(kind: type[Any], told: Statement) -> list[tuple[int, Counter[str]]]:
    return [(day * DAY_MS, flow) for day, flow in sorted(told.days.items(), reverse=True) if _matters(kind, flow)]


def _deals(kind: type[Any], told: Statement, *order: str) -> list[tuple[Any, str, Counter[str]]]:
    """(kind, id, flow) of the deals that matter most, by the sum of these flows."""
    matter = [(what, identifier.hex(), flow) for (what, identifier), flow in told.deals.items() if _matters(kind, flow)]
    matter.sort(key=lambda deal: (-sum(deal[2][name] for name in order), deal[1]))
    return matter[:MAXIMUM_DEALS]


def earnings(read: Read, params: api.StatementParams) -> api.Earnings:
    part, kind = _Part(read, params, fees=False), api.EarningsFlow
    told = part.statement
    return api.Earnings(
        as_of=read.as_of,
        address=read.address_text(part.address),
        from_ms=part.from_ms,
        until_ms=part.until_ms,
        total=_flow(kind, told.total),
        days=tuple(api.EarningsDay(day_ms, _flow(kind, flow)) for day_ms, flow in _days(kind, told)),
        items=tuple(
            api.EarningsDeal(what, identifier, _flow(kind, flow))
            for what, identifier, flow in _deals(kind, told, "gross", "penalties_paid")
        ),
        next_cursor=part.cursor,
    )


def spending(read: Read, params: api.StatementParams) -> api.Spending:
    part, kind = _Part(read, params, fees=True), api.SpendingFlow
    told = part.statement
    return api.Spending(
        as_of=read.as_of,
        address=read.address_text(part.address),
        from_ms=part.from_ms,
        until_ms=part.until_ms,
        total=_flow(kind, told.total),
        days=tuple(api.SpendingDay(day_ms, _flow(kind, flow)) for day_ms, flow in _days(kind, told)),
        items=tuple(
            api.SpendingDeal(what, identifier, _flow(kind, flow))
            for what, identifier, flow in _deals(kind, told, "paid", "locked")
        ),
        next_cursor=part.cursor,
    )


HANDLERS: dict[str, Handler] = {"account.earnings": aside(earnings), "account.spending": aside(spending)}
