"""What a GPU model costs: as it is listed, as it was sold, how much of its time is taken, and what to ask for it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from chain.inventory import INTERVALS, Gpu, GpuStatus
from chain.queries.reputation import share
from chain.schedule import Subject
from chain.state.tables import u64
from chain.state.view import View
from chain.trades import DAY_MS, HOUR_MS, MIXED, TRADES, Trades, split_key, trade_key

MAXIMUM_CALENDARS = 1_000
"""GPUs whose calendars one answer looks at."""
MAXIMUM_INTERVALS = 20_000
"""Entries of calendars that one answer looks at."""
SAMPLE_MS = HOUR_MS
"""GPU time that must have been sold before its price outweighs the listings: what an hour of a short job would cost
says little."""
Basis = Literal["trades", "listings", "none"]


@dataclass(frozen=True, slots=True)
class Sold:
    """What was sold over some days. Amounts in base units."""

    deals: int = 0
    gpu_ms: int = 0
    gross: int = 0
    fee: int = 0
    middle_price: int | None = None
    """Per GPU-hour: half of the fees were paid at steps of price below, half above; None without trades."""
    mean_price: int | None = None
    """Gross per GPU-hour, which one odd deal can move."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """One model on the market. Prices in base units per GPU-hour."""

    model: str
    listed: int
    """GPUs that are not retired or retiring."""
    active: int
    low: int | None
    """Of the prices of active GPUs; None if there is none."""
    median: int | None
    """The lower of the two in the middle."""
    high: int | None
    calendars: int
    """GPUs that `booked_share` is of: the active ones, or as many as one answer may look at."""
    booked_share: int | None
    """Basis points of the coming days that bookings and jobs take."""
    sold_share: int | None
    """Basis points of the past days, for as many GPUs as are listed now, that were sold; may be more than all."""
    sold: Sold
    """Over the past days."""
    recommended: int | None
    basis: Basis
    """What is recommended is the middle of the trades, or until an hour was sold the median of the listings."""


def sold(trades: Iterable[tuple[bytes, Trades]]) -> Sold:
    """What these records of trades come to."""
    steps: dict[int, Counter[str]] = {}
    for key, trade in trades:
        at_step = steps.setdefault(split_key(key)[2], Counter())
        at_step.update(deals=trade.deals, gpu_ms=trade.gpu_ms, gross=trade.gross, fee=trade.fee)
    total: Counter[str] = sum(steps.values(), Counter())
    if not total:
        return Sold()
    middle, below = Counter[str](), 0
    for _, at_step in sorted(steps.items()):
        middle, below = at_step, below + at_step["fee"]
        if 2 * below >= total["fee"]:
            break
    return Sold(
        deals=total["deals"],
        gpu_ms=total["gpu_ms"],
        gross=total["gross"],
        fee=total["fee"],
        middle_price=middle["gross"] * HOUR_MS // middle["gpu_ms"],
        mean_price=total["gross"] * HOUR_MS // total["gpu_ms"],
    )


def trades_of(view: View, model: str, from_day: int, until_day: int) -> Iterable[tuple[bytes, Trades]]:
    """The trades of a model on days in [from, until)."""
    return TRADES.scan(view, trade_key(model, max(0, from_day), 0), trade_key(model, until_day, 0))


def booked_ms(view: View, gpu_id: bytes, from_ms: int, until_ms: int, limit: int) -> tuple[int, int]:
    """(time in [from, until) that bookings and jobs take, entries looked at: more than `limit` at most by one)."""
    taken = looked = 0
    before = INTERVALS.scan(view, gpu_id, gpu_id + u64(from_ms), reverse=True)
    within = INTERVALS.scan(view, gpu_id + u64(from_ms), gpu_id + u64(until_ms))
    for key, interval in (*islice(before, 1), *islice(within, limit)):
        looked += 1
        start_ms = int.from_bytes(key[32:], "big")
        if interval.subject != Subject.MAINTENANCE:
            taken += max(0, min(interval.end_ms, until_ms) - max(start_ms, from_ms))
    return taken, looked


def pricing(
    view: View,
    model: str,
    gpus: Sequence[tuple[bytes, Gpu]],
    time_ms: int,
    coming_days: int,
    past_days: int,
    models: int = 1,
) -> Pricing:
    """The figures of one model.

    Args:
        gpus: all GPUs of the model, with their status as of now.
        time_ms: the present block time.
        coming_days: over which `booked_share` is taken, from now.
        past_days: whole days before today whose trades count, and the part of today that is past.
        models: that share what one answer may look at.
    """
    active = [(gpu_id, gpu) for gpu_id, gpu in gpus if gpu.status is GpuStatus.ACTIVE]
    listed = len(active) + sum(gpu.status is GpuStatus.OFFLINE for _, gpu in gpus)
    prices = sorted(gpu.terms.price_per_hour for _, gpu in active)
    median = prices[(len(prices) - 1) // 2] if prices else None
    calendars = taken_ms = looked = 0
    until_ms = time_ms + coming_days * DAY_MS
    most = MAXIMUM_INTERVALS // models
    for gpu_id, _ in active[: MAXIMUM_CALENDARS // models]:
        took_ms, more = booked_ms(view, gpu_id, time_ms, until_ms, most - looked)
        looked += more
        if looked >= most:
            break
        calendars, taken_ms = calendars + 1, taken_ms + took_ms
    today = time_ms // DAY_MS
    past = sold(trades_of(view, model, today - past_days, today + 1))
    past_ms = time_ms - max(0, today - past_days) * DAY_MS
    recommended, basis = _recommendation(past, median)
    return Pricing(
        model=model,
        listed=listed,
        active=len(active),
        low=prices[0] if prices else None,
        median=median,
        high=prices[-1] if prices else None,
        calendars=calendars,
        booked_share=share(taken_ms, calendars * coming_days * DAY_MS),
        sold_share=share(past.gpu_ms, listed * past_ms),
        sold=past,
        recommended=recommended,
        basis=basis,
    )


def _recommendation(past: Sold, median: int | None) -> tuple[int | None, Basis]:
    """What to ask for a GPU of a model, and what that is based on."""
    if past.middle_price is not None and (past.gpu_ms >= SAMPLE_MS or median is None):
        return past.middle_price, "trades"
    return median, "none" if median is None else "listings"


def sold_by_day(trades: Iterable[tuple[bytes, Trades]]) -> dict[int, Sold]:
    """What was sold of all models on each day since 1970, bookings of several models included."""
    days: dict[int, list[tuple[bytes, Trades]]] = {}
    for key, trade in trades:
        days.setdefault(split_key(key)[1], []).append((key, trade))
    return {day: sold(found) for day, found in sorted(days.items())}


def models_sold(trades: Iterable[tuple[bytes, Trades]]) -> set[str]:
    """The models that these trades name."""
    return {split_key(key)[0] for key, _ in trades} - {MIXED}
