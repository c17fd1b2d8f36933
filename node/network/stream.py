"""Time and TCP for links: an injectable clock, and streams that know when their bytes arrived."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from node.network.frames import MAX_RECORD_BYTES

_LINGER_SECONDS = 0.5
_MAX_ARRIVAL_MARKS = 1024


class Cancellable(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Not run it."""


class Clock(Protocol):
    """Where time comes from. Monotonic: it never jumps when somebody sets the wall clock."""

    def now(self) -> float:
        """Seconds since some fixed moment."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Cancellable:
        """Run `callback` on the event loop once `delay` seconds have passed."""


class LoopClock:
    """The clock of the running event loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay, callback)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait by `clock`."""
    woken = asyncio.Event()
    timer = clock.call_later(seconds, woken.set)
    try:
        await woken.wait()
    finally:
        timer.cancel()


@asynccontextmanager
async def deadline(clock: Clock, seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError in its body once `seconds` have passed by `clock`."""
    async with asyncio.timeout(None) as timeout:
        timer = clock.call_later(seconds, lambda: timeout.reschedule(asyncio.get_running_loop().time()))
        try:
            yield
        finally:
            timer.cancel()


class ArrivalReader(asyncio.StreamReader):
    """A stream reader that remembers when each byte arrived, for as long as the byte is unread."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(limit=MAX_RECORD_BYTES, loop=asyncio.get_running_loop())
        self._clock = clock
        self._fed = 0
        self._taken = 0
        # (bytes fed up to and including this arrival, time)
        self._marks: deque[tuple[int, float]] = deque()

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        """Called by the transport."""
        super().feed_data(data)
        self._fed += len(data)
        if len(self._marks) >= _MAX_ARRIVAL_MARKS:
            # Someone sends single bytes: let the last mark cover them all, at the latest time.
            self._marks.pop()
        self._marks.append((self._fed, self._clock.now()))

    async def take(self, size: int) -> tuple[bytes, float]:
        """Exactly `size` bytes and the time the last of them arrived.

        Raises: asyncio.IncompleteReadError, ConnectionError: the connection ended before.
        """
        data = await self.readexactly(size)
        self._taken += size
        marks = self._marks
        while marks[0][0] < self._taken:
            marks.popleft()
        return data, marks[0][1]


@dataclass(frozen=True, slots=True)
class Stream:
    """The two halves of a connection before it is a link."""

    reader: ArrivalReader
    writer: asyncio.StreamWriter

    @property
    def remote_address(self) -> tuple[str, int]:
        """Host and port of the other end; ("", 0) once it is gone."""
        address = self.writer.get_extra_info("peername")
        return (str(address[0]), int(address[1])) if address else ("", 0)

    async def shut(self) -> None:
        """Close after what was written has left, or after half a second if the peer does not take it."""
        self.writer.close()
        # A task of its own: a timeout around wait_closed() would cancel the future that every later call awaits.
        closed = asyncio.ensure_future(self.writer.wait_closed())
        try:
            await asyncio.wait({closed}, timeout=_LINGER_SECONDS)
        finally:
            self.abort()
        await asyncio.wait({closed})
        # How the connection ended does not matter any more, but asyncio complains if nobody looks.
        closed.exception()

    def abort(self) -> None:
        """Close at once, whatever was written."""
        self.writer.transport.abort()


async def open_stream(host: str, port: int, clock: Clock) -> Stream:
    """Connect over TCP. Raises: OSError."""
    loop = asyncio.get_running_loop()
    reader = ArrivalReader(clock)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port)
    return Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


async def listen(host: str, port: int, clock: Clock, accepted: Callable[[Stream], None]) -> asyncio.Server:
    """Accept TCP connections; each is handed to `accepted` on the event loop. Raises: OSError: cannot bind."""
    loop = asyncio.get_running_loop()

    def build() -> asyncio.StreamReaderProtocol:
        reader = ArrivalReader(clock)
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: accepted(Stream(reader, writer)), loop=loop)

    return await loop.create_server(build, host, port)
