"""Forgetting old states, slowly: in small slices after commits, so that no block waits for it.

Blocks, results, certificates and the present state stay for ever; what goes are trie nodes that only a state further
back than the kept heights needs. A proof about a kept height can still be made.
"""

import asyncio
from collections.abc import Callable

from node.store import Store

SLICE_NODES = 512
"""Trie nodes deleted in one write: about a millisecond."""


class Pruner:
    """Keeps the states of the last `keep` heights. Used from the event loop."""

    def __init__(self, store: Store, keep: int, fail: Callable[[BaseException], None]) -> None:
        """
        Args:
            keep: heights, at least 1.
            fail: told of an error of the store, which then cannot be relied on any more.
        """
        self._store = store
        self._keep = keep
        self._fail = fail
        self._height = 0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def on_head(self, height: int) -> None:
        """The block at `height` is final."""
        self._height = height
        if height > self._keep and not self._stopping and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._prune(), name="pruning")

    async def stop(self) -> None:
        """End after the slice at hand."""
        self._stopping = True
        if self._task is not None:
            await self._task

    async def _prune(self) -> None:
        try:
            while not self._stopping:
                if not await asyncio.to_thread(self._store.prune, SLICE_NODES, self._height - self._keep):
                    break
        except Exception as error:
            self._fail(error)
