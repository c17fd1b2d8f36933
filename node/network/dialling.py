"""When to dial a listed peer: whenever there is no link to it, for ever, with waits that grow while it fails.

What a dial does, and which of two links stays, is for peers.py; that may wait for an attempt, or end it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from node.network.config import NetworkConfig
from node.network.stream import Clock, deadline, sleep

_MOST_FAILURES = 32


@dataclass(slots=True)
class Attempt:
    """One try at dialling a peer; who makes it says how far it came."""

    connected: bool = False
    """Whether the peer's machine took the connection."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is a link, or none will come of it."""


class Dialler:
    """One listed peer. `run` never ends by itself."""

    def __init__(
        self,
        dial: Callable[[Attempt], asyncio.Task[None] | None],
        config: NetworkConfig,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        """
        Args:
            dial: begins an attempt; None if the peer may not be dialled now.
            jitter: uniform in [0, 1), for the waits between dials.
        """
        self._dial = dial
        self._config = config
        self._clock = clock
        self._jitter = jitter
        self._vacant = asyncio.Event()
        self._vacant.set()
        self._failures = 0
        self._attempt: Attempt | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Have a link to the peer, for ever."""
        while True:
            await self._vacant.wait()
            self._attempt = Attempt()
            self._task = self._dial(self._attempt)
            if self._task is not None:
                await asyncio.wait({self._task})
            self._attempt = self._task = None
            await self._vacant.wait()
            wait = min(self._config.dial_backoff_max, self._config.dial_backoff_min * 2.0**self._failures)
            self._failures = min(self._failures + 1, _MOST_FAILURES)
            await sleep(self._clock, wait * (1.0 + self._jitter()) / 2.0)

    def linked(self) -> None:
        """There is a link to the peer, whoever dialled."""
        self._vacant.clear()

    def unlinked(self, *, stable: bool) -> None:
        """The link ended; one that was stable ends the waiting."""
        if stable:
            self._failures = 0
        self._vacant.set()

    async def settle(self, seconds: float) -> None:
        """If an attempt has come as far as the peer's machine, wait for its end, but no longer than this."""
        if self._attempt is None or not self._attempt.connected:
            return
        try:
            async with deadline(self._clock, seconds):
                await self._attempt.finished.wait()
        except TimeoutError:
            pass

    def give_way(self) -> None:
        """End the attempt, if there is one."""
        if self._task is not None:
            self._task.cancel()
