"""The core's timers: each has one pending time, and none is told before the input that arrived ahead of it.

Bytes pass from the socket to the decoder to the core in a few turns of the event loop. A timer that fires in between
would make late what was not; after a pause of the machine, everything. So a time that has come is delivered only once
the loop has turned a few times without new input.
"""

import asyncio
from collections.abc import Callable

from node.consensus.events import Timer
from node.network.stream import Cancellable, Clock

QUIET_TURNS = 4
"""Turns of the loop without input after which none is on its way."""
MOST_TURNS = 1_000
"""A flood of input delays a deadline by so many turns at most."""


class Deadlines:
    """Used on the event loop."""

    def __init__(self, clock: Clock, received: Callable[[], int], deliver: Callable[[Timer, int], None]) -> None:
        """
        Args:
            received: how many messages have been handed over so far.
            deliver: takes a timer and the time for which it was set, in monotonic milliseconds.
        """
        self._clock = clock
        self._received = received
        self._deliver = deliver
        self._pending: dict[Timer, Cancellable] = {}
        self._closed = False

    def arm(self, timer: Timer, at_ms: int) -> None:
        """Set a timer, in place of its earlier time. A time that has passed is delivered soon."""
        earlier = self._pending.pop(timer, None)
        if earlier is not None:
            earlier.cancel()
        delay = max(0.0, at_ms / 1_000 - self._clock.now())
        self._pending[timer] = self._clock.call_later(delay, lambda: self._settle(timer, at_ms, self._received(), 0, 0))

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        for pending in self._pending.values():
            pending.cancel()

    def _settle(self, timer: Timer, at_ms: int, seen: int, quiet: int, turns: int) -> None:
        if self._closed:
            return
        received = self._received()
        quiet = quiet + 1 if seen == received else 0
        if quiet < QUIET_TURNS and turns < MOST_TURNS:
            asyncio.get_running_loop().call_soon(self._settle, timer, at_ms, received, quiet, turns + 1)
        else:
            self._deliver(timer, at_ms)
