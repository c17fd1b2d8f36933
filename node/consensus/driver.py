"""Time and I/O around the consensus core: performs its effects exactly in order and tells it what happened.

One task steps the core, so there is nothing to lock. What must be durable before something else is awaited; execution
runs on a thread of its own and answers with an event, so that a heavy block delays neither votes nor deadlines. The
driver judges nothing: an invalid block is an answer to the core, and every local failure ends the node. It is never
turned into a vote.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chain.block import Block
from chain.certificate import Certificate
from chain.errors import LedgerError
from chain.evidence import ConflictingVotes
from node.consensus.agenda import Agenda, Work
from node.consensus.deadlines import Deadlines
from node.consensus.events import (
    Advanced,
    Behind,
    BlockBuilt,
    BlockExecuted,
    Broadcast,
    BuildBlock,
    Commit,
    DeadlineReached,
    Effect,
    Event,
    ExecuteBlock,
    Executor,
    Halt,
    Head,
    MessageReceived,
    Moment,
    PeerConnected,
    PeerDisconnected,
    Persist,
    RaiseFloor,
    ReportConflict,
    ReportPeer,
    Send,
    ServeBlock,
    ServeFinalization,
    SetDeadline,
    SignVote,
    Started,
    Timer,
    VoteSigned,
    WorkAvailable,
)
from node.consensus.inbox import Inbox
from node.consensus.runner import BlockRunner
from node.consensus.signer import Signer
from node.consensus.simplex import Simplex
from node.crash import crash_point
from node.network.frames import Priority
from node.network.messages import (
    BlockResponse,
    Certificates,
    ConsensusMessage,
    Message,
    encode_message,
)
from node.network.stream import Clock

PEER_QUEUE_BYTES = 8 << 20
"""Undelivered consensus messages of one peer; above it nothing more is read from that peer."""
MESSAGE_OVERHEAD_BYTES = 1 << 10
"""What a decoded message costs beside its bytes, so that the bound above also holds for many small ones."""
MAXIMUM_SERVING = 16
"""Answers being prepared for peers; a request above it is dropped, for peers ask again."""
PENALTY_POINTS = 50
"""What an invalid consensus message costs its sender."""
_LONGEST_TURN_SECONDS = 0.005

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class ConsensusHalted(LedgerError):
    """The core found that to go on would risk the ledger."""

    code = 2311
    hint = "Do not restart it blindly: compare this node's state and version with those of the other authorities."


class Links(Protocol):
    """What the driver needs of the peer network; `node.network.peers.PeerNetwork` is one."""

    def send(self, peer_key: bytes, payload: bytes, priority: Priority = ...) -> bool: ...

    def broadcast(self, payload: bytes, priority: Priority = ...) -> int: ...

    def penalise(self, peer_key: bytes, points: int, reason: str) -> None: ...

    def is_connected(self, peer_key: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Reports:
    """Whom the driver tells what is not its own business. All are called on the event loop."""

    behind: Callable[[bytes, int], None]
    """(peer, height): the peer shows or claims that this height is final."""
    conflict: Callable[[ConflictingVotes], None]
    advanced: Callable[[Head], None]
    """There is a new head, and the core knows it."""


def message_priority(message: Message) -> Priority:
    """The lane of a consensus message: a block that one peer lacks must not delay the votes of all."""
    return Priority.NORMAL if isinstance(message, BlockResponse) else Priority.URGENT


class Driver:
    """Runs one consensus core. `start`, then feed it; `wait_failed` returns when it cannot go on; then `stop`."""

    def __init__(
        self,
        core: Simplex,
        executor: Executor,
        signer: Signer | None,
        links: Links,
        work: Work,
        reports: Reports,
        *,
        clock: Clock,
        wall_ms: Callable[[], int],
    ) -> None:
        """
        Args:
            signer: None for a node that never votes.
            clock: monotonic; the one that stamps what arrives on links.
            wall_ms: the machine's time of day, milliseconds since 1970, UTC.
        """
        self._core = core
        self._executor = executor
        self._runner = BlockRunner(executor)
        self._signer = signer
        self._links = links
        self._reports = reports
        self._clock = clock
        self._wall_ms = wall_ms
        self._inbox = Inbox()
        self._answers: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._room: dict[bytes, asyncio.Event] = {}
        self._received = 0
        self._deadlines = Deadlines(clock, lambda: self._received, self._on_deadline)
        self._agenda = Agenda(work, clock, wall_ms, self.work_available)
        self._work_queued = False
        self._may_propose = True
        self._silent = False
        self._serving = 0
        self._stopping = False
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._durable = ThreadPoolExecutor(1, "durable")
        self._reading = ThreadPoolExecutor(1, "reading")

    @property
    def head(self) -> Head:
        """The last final block that the core knows."""
        return self._core.head

    @property
    def view(self) -> int:
        """The view of the head's next epoch in which the core is."""
        return self._core.view

    @property
    def durable_head(self) -> Head:
        """The last final block on disk; at times a step ahead of what the core knows."""
        return self._executor.head()

    async def start(self) -> None:
        """Read what was durable, execute the candidates again and start the core. Raises what reading raises."""
        kept = await self._runner.kept()
        for block in kept.candidates:
            verdict = await self._runner.execute(block)
            if verdict is not None and verdict.invalid is not None:
                raise ConsensusHalted(reason=f"a stored candidate is invalid: {verdict.invalid}", block_hash=block.hash)
        has_work = self._agenda.has_work()
        votes = () if self._signer is None else self._signer.votes()
        self._put(Started(self._now(), kept.head, kept.candidates, kept.certificates, votes, has_work))
        self._task = asyncio.create_task(self._run(), name="consensus")

    async def stop(self) -> None:
        """End after the effect at hand. Nothing of the driver runs or writes any more once this returns."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._deadlines.close()
        self._agenda.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for room in self._room.values():
            room.set()
        await asyncio.to_thread(self._shut_workers)

    async def wait_failed(self) -> BaseException:
        """Wait until a failure ends the node; what it was."""
        return await asyncio.shield(self._failed)

    # What happens outside; all on the event loop.

    def receive(self, peer: bytes, message: ConsensusMessage, size: int, received_at: float) -> Awaitable[None] | None:
        """Take a message whose last byte arrived at `received_at` by the clock.

        The result, if any, is to be awaited before more is read from this peer.
        """
        self._received += 1
        event = MessageReceived(self._moment(received_at), peer, message)
        self._inbox.put_of(peer, event, size + MESSAGE_OVERHEAD_BYTES)
        self._wake.set()
        if self._inbox.size_of(peer) <= PEER_QUEUE_BYTES:
            return None
        return _wait(self._room.setdefault(peer, asyncio.Event()))

    def connected(self, peer: bytes) -> None:
        """A link was made, or replaced."""
        self._inbox.put_of(peer, PeerConnected(self._now(), peer))
        self._wake.set()

    def disconnected(self, peer: bytes) -> None:
        """A link ended."""
        self._inbox.put_of(peer, PeerDisconnected(self._now(), peer))
        self._wake.set()

    def work_available(self) -> None:
        """There is something to put in a block. Cheap; may repeat."""
        if not self._work_queued:
            self._work_queued = True
            self._put(WorkAvailable(self._now()))

    def allow_proposals(self, allowed: bool) -> None:
        """A node that knows that it lags does not propose; it goes on voting."""
        self._may_propose = allowed

    async def apply_final(self, block: Block, finalization: Certificate) -> Head | None:
        """Execute and commit a block above the head whose finalization was verified, for synchronisation.

        Returns the new head, or None if the block is invalid here. Tell the core with `announce`.
        """

        return await self._runner.apply_final(block, finalization)

    def announce(self, head: Head) -> None:
        """Tell the core of a head that synchronisation reached."""
        self._put(Advanced(self._now(), head, self._agenda.has_work()))

    def fail(self, error: BaseException) -> None:
        """Stop the core for a failure, here or elsewhere in the node."""
        if not self._failed.done():
            self._failed.set_result(error)
        self._wake.set()

    # The one task that steps the core.

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            while not self._stopping and not self._failed.done():
                event = self._take()
                if event is None:
                    self._wake.clear()
                    await self._wake.wait()
                    since = loop.time()
                    continue
                if loop.time() - since > _LONGEST_TURN_SECONDS:
                    # Steps may follow each other without ever waiting; the links must be heard in between.
                    await asyncio.sleep(0)
                    since = loop.time()
                for effect in self._core.step(event):
                    if self._stopping or self._failed.done():
                        break
                    await self._perform(effect)
                if isinstance(event, Advanced):
                    self._reports.advanced(self._core.head)
        except Exception as error:
            self.fail(error)

    def _take(self) -> Event | None:
        if self._answers:
            return self._answers.popleft()
        event = self._inbox.take()
        if isinstance(event, MessageReceived):
            if event.peer in self._room and self._inbox.size_of(event.peer) <= PEER_QUEUE_BYTES // 2:
                self._room.pop(event.peer).set()
        elif isinstance(event, WorkAvailable):
            self._work_queued = False
        return event

    def _forget(self, peer: bytes) -> None:
        """Drop what a peer that is banned, or gone, had sent: checking it would cost more than it did to make."""
        self._inbox.forget(peer)
        if peer in self._room:
            self._room.pop(peer).set()

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case Persist():
                await self._on(self._durable, lambda: self._executor.persist(effect.blocks, effect.certificates))
            case SignVote():
                await self._sign(effect)
            case Commit():
                head = await self._runner.commit(effect.block, effect.finalization)
                self._answers.append(Advanced(self._now(), head, self._agenda.has_work()))
            case RaiseFloor() if self._signer is not None:
                signer = self._signer
                await self._on(self._durable, lambda: signer.raise_floor(effect.epoch, effect.view))
            case SetDeadline():
                self._deadlines.arm(effect.timer, effect.at_ms)
            case ExecuteBlock():
                self._spawn(self._execute(effect.block))
            case BuildBlock():
                self._spawn(self._build(effect))
            case Halt():
                raise ConsensusHalted(reason=effect.reason)
            case _:
                self._tell(effect)

    def _tell(self, effect: Effect) -> None:
        """The effects that only say something."""
        match effect:
            case Broadcast():
                self._links.broadcast(encode_message(effect.message), message_priority(effect.message))
            case Send():
                self._send(effect.peer, effect.message)
            case ServeBlock() | ServeFinalization():
                if self._serving < MAXIMUM_SERVING:
                    self._serving += 1
                    self._spawn(self._serve(effect))
            case Behind():
                self._reports.behind(effect.peer, effect.height)
            case ReportPeer():
                self._links.penalise(effect.peer, PENALTY_POINTS, effect.reason)
                if not self._links.is_connected(effect.peer):
                    self._forget(effect.peer)
            case ReportConflict():
                self._reports.conflict(effect.conflict)

    async def _sign(self, effect: SignVote) -> None:
        signer = self._signer
        if signer is None:
            raise ConsensusHalted(reason="asked for a signature without a key")
        if (effect.epoch, effect.view) < signer.floor:
            # The database is younger than the signer's record: it was lost and is being fetched again. Until then
            # the key has nothing to say, for nobody knows any more what it said.
            if not self._silent:
                _log.warning("not voting below epoch %d, view %d, which this key has passed", *signer.floor)
            self._silent = True
            return
        crash_point("consensus.before_sign")
        vote = await self._on(
            self._durable, lambda: signer.sign(effect.kind, effect.epoch, effect.view, effect.block_hash)
        )
        crash_point("consensus.after_sign")
        self._answers.append(VoteSigned(self._now(), vote))

    async def _execute(self, block: Block) -> None:
        verdict = await self._runner.execute(block)
        if verdict is not None:
            self._put(BlockExecuted(self._now(), block.hash, verdict.invalid))

    async def _build(self, effect: BuildBlock) -> None:
        block = await self._runner.build(effect) if self._may_propose else None
        if block is not None:
            self._put(BlockBuilt(self._now(), effect.view, block))

    async def _serve(self, effect: ServeBlock | ServeFinalization) -> None:
        try:
            if isinstance(effect, ServeBlock):
                block = await self._on(self._reading, lambda: self._executor.block(effect.block_hash))
                if block is not None:
                    self._send(effect.peer, BlockResponse(block))
            else:
                proof = await self._on(self._reading, lambda: self._executor.finalization(effect.height))
                if proof is not None:
                    self._send(effect.peer, Certificates((proof,)))
        finally:
            self._serving -= 1

    def _send(self, peer: bytes, message: ConsensusMessage) -> None:
        self._links.send(peer, encode_message(message), message_priority(message))

    # Timers.

    def _on_deadline(self, timer: Timer, at_ms: int) -> None:
        now = self._now()
        # A timer may fire within its resolution before its time, which the core would take for a stale one.
        self._put(DeadlineReached(Moment(max(now.monotonic_ms, at_ms), now.wall_ms), timer))

    # Small parts.

    def _put(self, event: Event) -> None:
        self._inbox.put(event)
        self._wake.set()

    def _now(self) -> Moment:
        return Moment(int(self._clock.now() * 1_000), self._wall_ms())

    def _moment(self, instant: float) -> Moment:
        """A past instant of the clock, by both clocks."""
        return Moment(int(instant * 1_000), self._wall_ms() - int((self._clock.now() - instant) * 1_000))

    async def _on(self, worker: ThreadPoolExecutor, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(worker, call)

    def _spawn(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.fail(error)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _shut_workers(self) -> None:
        self._runner.shut()
        self._durable.shutdown()
        self._reading.shutdown()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
