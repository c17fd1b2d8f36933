"""Runs blocks on a thread of its own, because one may take seconds and what a vote waits for must not wait behind it.

Synchronisation commits blocks as well, so the head may have moved between the core's question and its turn on this
thread. A result above another head says nothing, and none is given: the core learns of the new head before it needs
an answer.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from chain.block import Block
from chain.certificate import Certificate
from node.consensus.events import BuildBlock, Executor, Head

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What execution says of a block."""

    invalid: str | None
    """None if it is valid, else why not."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was durable when the node last stopped."""

    head: Head
    candidates: tuple[Block, ...]
    certificates: tuple[Certificate, ...]


class BlockRunner:
    """One executor on one thread. Used on the event loop; what the executor raises is raised here."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._thread = ThreadPoolExecutor(1, "execution")

    async def kept(self) -> Kept:
        """The head and what is kept above it."""

        def read() -> Kept:
            executor = self._executor
            return Kept(executor.head(), tuple(executor.candidates()), tuple(executor.certificates()))

        return await self._run(read)

    async def execute(self, block: Block) -> Verdict | None:
        """Whether a block above the head is valid; None if it is not above the head any more."""

        def execute() -> Verdict | None:
            above = block.header.parent_hash == self._executor.head().hash
            return Verdict(self._executor.execute(block)) if above else None

        return await self._run(execute)

    async def build(self, wanted: BuildBlock) -> Block | None:
        """A new block; None if what it was to stand on is not the head any more."""

        def build() -> Block | None:
            if wanted.parent_hash != self._executor.head().hash:
                return None
            return self._executor.build(
                height=wanted.height,
                parent_hash=wanted.parent_hash,
                epoch=wanted.epoch,
                view=wanted.view,
                time_ms=wanted.time_ms,
                proposer=wanted.proposer,
                weight_budget=wanted.weight_budget,
            )

        return await self._run(build)

    async def commit(self, block: Block, finalization: Certificate) -> Head:
        """Make an executed block final; the head after that, which may be a later one."""

        def commit() -> Head:
            head = self._executor.head()
            return head if block.header.height <= head.height else self._executor.commit(block, finalization)

        return await self._run(commit)

    async def apply_final(self, block: Block, finalization: Certificate) -> Head | None:
        """Execute and commit a block above the head; the head after that, or None if the block is invalid here."""

        def apply() -> Head | None:
            head = self._executor.head()
            if block.header.height <= head.height:
                return head
            return None if self._executor.execute(block) is not None else self._executor.commit(block, finalization)

        return await self._run(apply)

    def shut(self) -> None:
        """Wait for what runs and end the thread. Blocks."""
        self._thread.shutdown()

    async def _run(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
