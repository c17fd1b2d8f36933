"""Whether a block would have something to do, now or at a time of day that the ledger itself has set.

A transaction that can be included is work at once. A scheduled item becomes work when its time comes, so somebody has
to wake up then: that is all this does.
"""

from collections.abc import Callable
from typing import Protocol

from node.network.stream import Cancellable, Clock

LONGEST_WAIT_SECONDS = 60.0
"""The time of day may jump, so a long wait is looked at again after this."""


class Work(Protocol):
    """Whether there is something to put in a block."""

    def pending(self) -> bool:
        """Whether a transaction can be included now."""

    def due_ms(self) -> int | None:
        """Time of day at which the ledger itself has something to do in the present state; None if never."""


class Agenda:
    """Used on the event loop."""

    def __init__(self, work: Work, clock: Clock, wall_ms: Callable[[], int], begins: Callable[[], None]) -> None:
        """
        Args:
            wall_ms: the machine's time of day, milliseconds since 1970, UTC.
            begins: called when there is work because a time has come.
        """
        self._work = work
        self._clock = clock
        self._wall_ms = wall_ms
        self._begins = begins
        self._timer: Cancellable | None = None
        self._closed = False

    def has_work(self) -> bool:
        """Whether a block has something to do now; else arms the timer for when it will."""
        due_ms = self._work.due_ms()
        self._disarm()
        wait = None if due_ms is None else (due_ms - self._wall_ms()) / 1_000
        if self._work.pending() or (wait is not None and wait <= 0):
            return True
        if wait is not None and not self._closed:
            self._timer = self._clock.call_later(min(wait, LONGEST_WAIT_SECONDS), self._look)
        return False

    def close(self) -> None:
        """Wake nobody any more."""
        self._closed = True
        self._disarm()

    def _look(self) -> None:
        self._timer = None
        if not self._closed and self.has_work():
            self._begins()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
