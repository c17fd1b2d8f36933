"""Where a node stands at one instant: what RPC, readiness and operators are told, and nothing internal."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Literal


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A snapshot; cheap to take."""

    role: Literal["authority", "follower"]
    """An authority of the present epoch votes; a follower only checks."""
    height: int
    """Of the last final block."""
    head_hash: bytes
    head_time_ms: int
    """Block time of the last final block, milliseconds since 1970, UTC."""
    epoch: int
    """Epoch of the next block."""
    view: int
    """View of that epoch in which the node is."""
    authorities_total: int
    authorities_connected: int
    """Authorities with a live link, this node included if it is one."""
    quorum: int
    """Authorities that it takes to make a block final."""
    waiting: str | None
    """Why nothing can become final now, for example `waiting for quorum 1/2`; None if nothing is in the way."""
    syncing: bool
    """Whether it is fetching final blocks that it lacks."""
    target_height: int
    """The height it is fetching; its own height when it is not syncing."""
    mempool_size: int
    """Transactions that wait."""
    version: str
    """Of the software."""

    @property
    def not_ready(self) -> tuple[str, ...]:
        """Why clients should not rely on this node now; empty if they can."""
        reasons = [f"syncing {self.height}/{self.target_height}"] if self.syncing else []
        return (*reasons, *([self.waiting] if self.waiting else []))

    @property
    def ready(self) -> bool:
        return not self.not_ready


@cache
def software_version() -> str:
    """The installed version, or `unknown` when run from a bare source tree."""
    try:
        return version("aitbc")
    except PackageNotFoundError:
        return "unknown"
