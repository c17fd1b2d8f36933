"""How long to wait, how much to put in a block, and which block times to accept.

All of it is local policy: safety never depends on a clock. Every bound loosens with the views that passed since the
last finalisation, so that no wrong clock, slow machine or heavy block can stop the chain for good. Times are integer
milliseconds; "views" is the number of views since the last finalisation that failed (0 in a good run).
"""

from dataclasses import dataclass

_GREATEST_SHIFT = 40
_EMPTY_AFTER_VIEWS = 8


@dataclass(frozen=True, slots=True)
class Timing:
    """The durations of a network, in milliseconds."""

    delta_ms: int = 1_000
    """Delay of one message between honest authorities that the fast path allows for."""
    view_cap_ms: int = 30_000
    """No view waits longer than this for its leader, apart from the idle wait."""
    idle_interval_ms: int = 5_000
    """A heartbeat block follows the last block after this long without work."""
    minimum_interval_ms: int = 0
    """No new block is proposed sooner than this after the last one was final."""
    precision_ms: int = 500
    """How far apart the clocks of honest authorities are expected to be."""
    standstill_ms: int = 1_000
    """Interval of rebroadcasts while nothing is finalised; doubles up to the cap."""
    standstill_cap_ms: int = 8_000

    def __post_init__(self) -> None:
        positive = (self.delta_ms, self.view_cap_ms, self.idle_interval_ms, self.standstill_ms, self.standstill_cap_ms)
        if min(positive) < 1 or min(self.minimum_interval_ms, self.precision_ms) < 0:
            raise ValueError("durations are positive")

    def view_timeout(self, views: int) -> int:
        """How long a leader has after it should have proposed: 2 delta, doubled with each failed view, to the cap."""
        return min(self.view_cap_ms, 2 * self.delta_ms << min(views, _GREATEST_SHIFT))

    def lateness(self, views: int) -> int:
        """How old a new block's time may be on receipt; grows without a cap, so that any stamp passes in the end."""
        return 2 * self.delta_ms << min(views, _GREATEST_SHIFT)

    def accepts_time(self, time_ms: int, parent_ms: int, received_ms: int, views: int) -> bool:
        """Whether a new block with this time, received at this wall time, may be notarized."""
        earliest = received_ms - self.lateness(views) - self.precision_ms
        latest = max(received_ms + self.precision_ms, parent_ms + 1)
        return parent_ms < time_ms and earliest <= time_ms <= latest

    def earliest_proposal(self, size: int) -> int:
        """Least interval between the last finalisation and a new proposal among `size` authorities."""
        return max(self.minimum_interval_ms, 100) if size == 1 else self.minimum_interval_ms

    def standstill_interval(self, rounds: int) -> int:
        """Wait before the next rebroadcast, after `rounds` of them without progress."""
        return min(self.standstill_cap_ms, self.standstill_ms << min(rounds, _GREATEST_SHIFT))


def weight_budget(maximum: int, views: int) -> int:
    """Weight that a leader puts in a new block: halved with each failed view, and nothing after eight."""
    return maximum >> views if views < _EMPTY_AFTER_VIEWS else 0
