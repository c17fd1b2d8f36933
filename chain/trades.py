"""What GPU time was sold for: one record for each model, day and step of price, kept for ninety days.

A step is an eighth of a power of two of the price per hour. So a price of the market can be told by the middle of what
was paid, weighted by fee: a deal with oneself moves it only as far as the fees that are burnt on it, whatever its
price and length. A record leaves the state by a due item that the deal has paid for.
"""

from collections.abc import Set
from dataclasses import dataclass, replace

from chain.action import Clock, Context
from chain.record import record
from chain.schedule import Subject, schedule, unschedule
from chain.schema import U64, Amount, Unsigned64
from chain.state.tables import Table, TableId

DAY_MS = 86_400_000
KEPT_DAYS = 90
"""Whole days for which the trades of a day stay in the state after it."""
HOUR_MS = 3_600_000
MIXED = ""
"""In place of the model: bookings of GPUs of several models, which say nothing of the price of one."""
_END = b"\x00"
"""Ends a model in a key; no model contains it."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Trades:
    """All deals of one model at one step of price that ended on one day of block time."""

    deals: Unsigned64
    """Bookings and standalone jobs."""
    gpu_ms: Unsigned64
    """GPU time that was paid for, milliseconds."""
    gross: Amount
    fee: Amount
    """Market fee within the gross, base units; never zero."""


TRADES: Table[Trades] = Table(TableId.TRADES, Trades)


def price_step(price: int) -> int:
    """The step of a price in base units per hour: rises with it, and all prices of a step lie within an eighth."""
    shift = max(0, price.bit_length() - 4)
    return (shift << 3) + (price >> shift)


def trade_key(model: str, day: int, step: int) -> bytes:
    """The key of a record: by model, then by day since 1970, then by price."""
    return model.encode() + _END + day.to_bytes(4, "big") + step.to_bytes(2, "big")


def split_key(key: bytes) -> tuple[str, int, int]:
    """(model, day, step) of a key."""
    return key[:-7].decode(), int.from_bytes(key[-6:-2], "big"), int.from_bytes(key[-2:], "big")


def expires_ms(day: int) -> int:
    """Block time at which the trades of a day are forgotten."""
    return (day + 1 + KEPT_DAYS) * DAY_MS


def record_trade(context: Context, models: Set[str], ended_ms: int, gpu_ms: int, gross: int, fee: int) -> None:
    """Add a deal. What was sold for no fee, or longer ago than trades are kept, says nothing and is left out."""
    day = ended_ms // DAY_MS
    if not (models and fee and gpu_ms) or context.time_ms >= expires_ms(day):
        return
    model, step = MIXED, 0
    if len(models) == 1:
        (model,) = models
        step = price_step(gross * HOUR_MS // gpu_ms)
    key = trade_key(model, day, step)
    old = TRADES.get(context.view, key)
    if old is None:
        schedule(context, Clock.BLOCK, expires_ms(day), Subject.TRADE, key)
        TRADES.put(context.view, key, Trades(1, gpu_ms, gross, fee))
        return
    new = (old.deals + 1, old.gpu_ms + gpu_ms, old.gross + gross, old.fee + fee)
    if max(new) <= U64:  # beyond that the record stays as it is, because its parts belong together
        TRADES.put(context.view, key, replace(old, deals=new[0], gpu_ms=new[1], gross=new[2], fee=new[3]))


def expire_trades(context: Context, key: bytes) -> None:
    """Due handler: the trades of a day long ago are forgotten."""
    day = split_key(key)[1]
    if TRADES.get(context.view, key) is not None and context.time_ms >= expires_ms(day):
        unschedule(context, Clock.BLOCK, expires_ms(day), Subject.TRADE, key)
        TRADES.delete(context.view, key)
