"""Long reads take turns: two threads, and one queue for each kind of read.

Who asks for much of one kind, be it dry runs of huge transactions or scans of whole tables, waits behind himself; a
read of another kind is next but a few. Each queue is bounded, so that none waits longer than makes sense.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from node.rpc.errors import NodeBusy

READING_THREADS = 2
MAXIMUM_WAITING_READS = 64
"""Reads of one kind that wait; more are refused."""

T = TypeVar("T")


class ReadingThreads:
    """Runs reads on threads of their own. Used from the event loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(READING_THREADS, thread_name_prefix="rpc-read")
        self._running = 0
        self._queues: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        """Who waits, by kind; the kind whose turn it is comes first. None is empty."""

    async def run(self, kind: Hashable, work: Callable[[], T]) -> T:
        """Run a read when it is its turn. Raises NodeBusy if too many of its kind wait already."""
        loop = asyncio.get_running_loop()
        if self._running < READING_THREADS:
            self._running += 1
        else:
            await self._turn(kind, loop.create_future())
        future = loop.run_in_executor(self._threads, work)
        future.add_done_callback(lambda _: self._pass_on())
        # A thread that runs cannot be interrupted, so its turn lasts until it ends, also when nobody waits any more.
        return await asyncio.shield(future)

    async def _turn(self, kind: Hashable, turn: "asyncio.Future[None]") -> None:
        queue = self._queues.setdefault(kind, deque())
        if len(queue) >= MAXIMUM_WAITING_READS:
            raise NodeBusy(waiting=len(queue))
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """One turn is over: give it to the first that waits of the kind that has waited longest."""
        while self._queues:
            kind, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[kind] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1

    def close(self) -> None:
        """Wait for the reads that run. Idempotent."""
        self._threads.shutdown(wait=True, cancel_futures=True)
