"""The two clocks of the state, and how an instant of one is found on the other.

Block time is what headers carry. Live time advances by the block interval, but by at most `maximum_gap_ms` a block,
so an outage of the chain adds almost nothing to it. Every outage is recorded, so that the live time of any past
instant can be told later: what an action decides does not depend on when the due queue reached it.
"""

from dataclasses import dataclass

from chain.errors import InvalidBlock
from chain.record import record
from chain.schema import Timestamp, Unsigned64
from chain.state.tables import Singleton, Table, TableId, u64
from chain.state.view import View


@record(version=1)
@dataclass(frozen=True, slots=True)
class Clocks:
    """Both clocks as of the last block."""

    height: Unsigned64
    time_ms: Timestamp
    """Block time, milliseconds since 1970, UTC."""
    live_ms: Timestamp
    """Live time, milliseconds since genesis."""
    genesis_ms: Timestamp
    """Block time of the genesis block."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Outage:
    """A block interval longer than the largest gap; its key is the block time at which the chain resumed."""

    began_ms: Timestamp
    """Block time of the last block before it."""
    live_ms: Timestamp
    """Live time at which the chain resumed."""


CLOCKS = Singleton(TableId.CLOCKS, Clocks)
OUTAGES: Table[Outage] = Table(TableId.OUTAGES, Outage)


def read_clocks(view: View) -> Clocks:
    """Both clocks. Raises InvalidBlock if the state was never initialised."""
    clocks = CLOCKS.get(view)
    if clocks is None:
        raise InvalidBlock(reason="the state has no clocks")
    return clocks


def advance_clocks(view: View, height: int, time_ms: int, maximum_gap_ms: int) -> Clocks:
    """Move both clocks to a new block. Raises InvalidBlock if height or time do not follow."""
    old = read_clocks(view)
    if height != old.height + 1:
        raise InvalidBlock(reason="height does not follow", expected=old.height + 1, got=height)
    if time_ms <= old.time_ms:
        raise InvalidBlock(reason="time does not increase", parent=old.time_ms, got=time_ms)
    interval = time_ms - old.time_ms
    new = Clocks(height, time_ms, old.live_ms + min(interval, maximum_gap_ms), old.genesis_ms)
    CLOCKS.put(view, new)
    if interval > maximum_gap_ms:
        OUTAGES.put(view, u64(time_ms), Outage(old.time_ms, new.live_ms))
    return new


def live_instant(view: View, time_ms: int) -> int:
    """The live time, in milliseconds, of a past or present instant of block time.

    An instant within an outage counts as the moment the chain resumed: before that nobody could act.
    """
    for _, outage in OUTAGES.scan(view, u64(time_ms)):
        if outage.began_ms < time_ms:
            return outage.live_ms
        break
    for resumed, outage in OUTAGES.scan(view, b"", u64(time_ms), reverse=True):
        return outage.live_ms + time_ms - int.from_bytes(resumed, "big")
    return max(0, time_ms - read_clocks(view).genesis_ms)


def live_before(view: View, time_ms: int) -> int:
    """As `live_instant`, but an instant within an outage, or its last, counts as the moment the chain stopped.

    For a time that ran out while nobody could act: the gap that an outage adds to live time counts against nobody.
    """
    for _, outage in OUTAGES.scan(view, u64(time_ms)):
        if outage.began_ms < time_ms:
            return live_instant(view, outage.began_ms)
        break
    return live_instant(view, time_ms)


def block_instant(view: View, live_ms: int) -> int:
    """The latest instant of block time, in milliseconds, whose live time is at most `live_ms`; genesis if none is."""
    stopped = read_clocks(view).time_ms
    for resumed, outage in OUTAGES.scan(view, reverse=True):
        if outage.live_ms <= live_ms:
            return min(stopped, int.from_bytes(resumed, "big") + live_ms - outage.live_ms)
        stopped = outage.began_ms
    return min(stopped, read_clocks(view).genesis_ms + max(0, live_ms))
