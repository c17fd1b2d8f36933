"""The blocks above the last final one: their bodies, whether they are valid, and which ones are still wanted.

Bodies are large and come from others, so only a few that nobody certified are kept in memory. One that this authority
voted for is on disk as well and is kept until its height is final, because the others may depend on it.
"""

from chain.block import Block

MAXIMUM_LOOSE = 16
"""Bodies kept that are neither durable nor wanted; more than the window of views whose proposals are kept."""
MAXIMUM_WANTED = 64


class Candidates:
    """Blocks by hash."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, Block] = {}
        self._pinned: set[bytes] = set()
        self._durable: set[bytes] = set()
        self._running: set[bytes] = set()
        self._verdicts: dict[bytes, str | None] = {}
        self._wanted: dict[bytes, None] = {}

    def add(self, block: Block, *, durable: bool = False) -> None:
        if durable:
            self._durable.add(block.hash)
            self._pinned.add(block.hash)
        if block.hash in self._wanted:
            del self._wanted[block.hash]
            self._pinned.add(block.hash)
        self._blocks.setdefault(block.hash, block)
        loose = [known for known in self._blocks if known not in self._pinned and known not in self._running]
        for known in loose[:-MAXIMUM_LOOSE]:
            self._forget(known)

    def find(self, block_hash: bytes) -> Block | None:
        return self._blocks.get(block_hash)

    def make_durable(self, block_hash: bytes) -> bool:
        """Mark as written; whether it still has to be."""
        if block_hash in self._durable:
            return False
        self._durable.add(block_hash)
        self._pinned.add(block_hash)
        return True

    def want(self, block_hash: bytes) -> bool:
        """Remember that a certified block is missing; whether it was not remembered before."""
        if block_hash in self._wanted or len(self._wanted) >= MAXIMUM_WANTED:
            return False
        self._wanted[block_hash] = None
        return True

    def is_wanted(self, block_hash: bytes) -> bool:
        return block_hash in self._wanted

    def wanted(self) -> tuple[bytes, ...]:
        return tuple(self._wanted)

    def must_execute(self, block_hash: bytes) -> bool:
        """Whether the block has to be executed now; it is taken to be running from then on."""
        if block_hash in self._running or block_hash in self._verdicts:
            return False
        self._running.add(block_hash)
        return True

    def judge(self, block_hash: bytes, invalid: str | None) -> None:
        """Record the outcome of execution: None if valid."""
        self._running.discard(block_hash)
        self._verdicts[block_hash] = invalid

    def is_valid(self, block_hash: bytes) -> bool:
        return block_hash in self._verdicts and self._verdicts[block_hash] is None

    def fault(self, block_hash: bytes) -> str | None:
        """Why the block is invalid, if it is known to be."""
        return self._verdicts.get(block_hash)

    def prune(self, height: int) -> None:
        """A block of `height` is final: forget every block up to it, what was wanted, and what is running."""
        for known in [block.hash for block in self._blocks.values() if block.header.height <= height]:
            self._forget(known)
        # A certificate still above the base asks again; a result for another parent means nothing.
        self._wanted.clear()
        self._running.clear()

    def _forget(self, block_hash: bytes) -> None:
        del self._blocks[block_hash]
        self._pinned.discard(block_hash)
        self._durable.discard(block_hash)
        self._running.discard(block_hash)
        self._verdicts.pop(block_hash, None)
