"""What RPC handlers may use of the node, and how they read its state.

Every answer about the state comes from one snapshot, so that its parts agree and `as_of` is exact. Quick reads run
on the event loop; long ones run on threads of their own, so that neither a scan nor a proof delays anybody's vote.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol, TypeVar

from chain.action import Context
from chain.clocks import Clocks, read_clocks
from chain.crypto.address import format_address, parse_address
from chain.errors import LedgerError
from chain.evidence import ConflictingVotes
from chain.interface import AsOf
from chain.queries.present import present
from chain.record import to_json
from chain.state.view import View
from genesis.specification import Specification
from node.mempool import Mempool
from node.metrics import Metrics
from node.network.peers import PeerInfo
from node.rpc.reading import ReadingThreads
from node.status import NodeStatus
from node.store import Snapshot, Store

T = TypeVar("T")

# The same few accounts come again and again, and a checksum costs as much as reading an account.
_parse = lru_cache(8_192)(parse_address)
_format = lru_cache(8_192)(format_address)


class Submitter(Protocol):
    """The way of envelopes into the node."""

    async def submit(self, envelopes: Sequence[bytes], source_peer: bytes | None) -> Sequence[bytes | LedgerError]:
        """For each envelope its txid once it is on disk, or why it is refused."""
        ...


class Read:
    """One consistent look at the final state, over a snapshot that somebody else closes."""

    __slots__ = ("_now", "clocks", "context", "snapshot", "view")

    def __init__(self, context: "RpcContext", snapshot: Snapshot, clocks: Clocks | None = None) -> None:
        self.context = context
        self.snapshot = snapshot
        self.view = View(snapshot)
        self.clocks = clocks or read_clocks(self.view)
        self._now: Context | None = None

    @property
    def prefix(self) -> str:
        return self.context.prefix

    @property
    def as_of(self) -> AsOf:
        return AsOf(self.clocks.height, self.clocks.time_ms)

    def now(self) -> Context:
        """The state as it would be right now: a view beside `view`, in which what is overdue may be settled."""
        if self._now is None:
            self._now = present(View(self.snapshot))
        return self._now

    def show(self, record: object) -> dict[str, Any]:
        """A record as JSON values."""
        return to_json(record, self.prefix)

    def address(self, text: str) -> bytes:
        """The account that a client names. Raises InvalidAddress or WrongNetworkAddress."""
        return _parse(self.prefix, text)

    def address_text(self, address: bytes) -> str:
        return _format(self.prefix, address)


class RpcContext:
    """What handlers may use. Made once, when the node is composed; close it after the server."""

    def __init__(
        self,
        *,
        store: Store,
        specification: Specification,
        mempool: Mempool,
        submission: Submitter,
        status: Callable[[], NodeStatus],
        peers: Callable[[], Sequence[PeerInfo]],
        metrics: Metrics,
        evidence: Callable[[], Sequence[ConflictingVotes]] = tuple,
    ) -> None:
        """Args: evidence: the proofs of misbehaviour that this node holds, the latest epochs first."""
        self.store = store
        self.specification = specification
        self.mempool = mempool
        self.submission = submission
        self.status = status
        self.peers = peers
        self.metrics = metrics
        self.evidence = evidence
        self._latest: Read | None = None
        self._reading = ReadingThreads()

    @property
    def prefix(self) -> str:
        return self.specification.prefix

    def read(self) -> Read:
        """A quick look, on the event loop only. All that look at one head share a snapshot of it.

        The database itself is asked for its head: a block is there to be read a moment before its commit is over, and
        no answer may be older than one that was given already.
        """
        if self._latest is None or self._latest.snapshot.head != self.store.readable_head():
            self._forget()
            self._latest = Read(self, self.store.snapshot())
        return Read(self, self._latest.snapshot, self._latest.clocks)

    def _forget(self) -> None:
        if self._latest is not None:
            self._latest.snapshot.close()
            self._latest = None

    async def read_aside(self, kind: Hashable, work: Callable[[Read], T]) -> T:
        """Run a long read on a thread, taking turns with reads of other kinds. Raises NodeBusy."""
        return await self._reading.run(kind, partial(self._run, work))

    def _run(self, work: Callable[[Read], T]) -> T:
        with self.store.snapshot() as snapshot:
            return work(Read(self, snapshot))

    def close(self) -> None:
        """Wait for the reads that run. Idempotent; nothing is read afterwards."""
        self._forget()
        self._reading.close()
