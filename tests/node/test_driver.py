"""The driver's contract with the core: order, durability before what follows, deadlines after input, loud failures.

The core is a script that answers events with effects, so that each rule is seen alone; the other tests of the node
run the driver with the real one.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from chain.block import Block
from chain.certificate import AuthoritySet, Certificate, Vote, VoteKind
from genesis.builder import build
from node.consensus import driver as driver_module
from node.consensus.driver import ConsensusHalted, Driver, Reports
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
    Halt,
    Head,
    MessageReceived,
    PeerConnected,
    Persist,
    RaiseFloor,
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
from node.network.frames import Priority
from node.network.messages import (
    BlockRequest,
    BlockResponse,
    Certificates,
    ConsensusMessage,
    Votes,
    decode_message,
)
from node.network.stream import LoopClock
from tests.ledger import make_authority, make_specification
from tests.nodes import until
from tests.solo import SECRET, finalization_of

PEER = b"\x11" * 32
PING = BlockRequest(b"\x22" * 32)
AUTHORITIES = AuthoritySet(0, (make_authority("0")[0],))
SPECIFICATION = make_specification()


def block_at(height: int, parent_hash: bytes) -> Block:
    header = replace(build(SPECIFICATION).block.header, height=height, parent_hash=parent_hash, view=height)
    return Block.of(header, ())


GENESIS = block_at(0, bytes(32))
FIRST = block_at(1, GENESIS.hash)
SECOND = block_at(2, FIRST.hash)
PROOF = finalization_of(SPECIFICATION.chain_id, FIRST, SECRET)
BUILD = BuildBlock(1, GENESIS.hash, 0, 1, 1, b"", 0)


class Core:
    """Answers each event with what the script says for its type, once."""

    def __init__(self, script: dict[type, list[Effect]]) -> None:
        self.script = script
        self.events: list[Event] = []
        self.trace: list[str] = []
        self.head = Head(0, GENESIS.hash, 0, None, AUTHORITIES)
        self.view = 1
        self.changed = asyncio.Event()

    def step(self, event: Event) -> list[Effect]:
        self.events.append(event)
        self.trace.append(type(event).__name__)
        self.changed.set()
        return self.script.pop(type(event), [])

    def seen(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Disk:
    """Executor, signer and links in one: notes each call, and fails or blocks where a test says so."""

    def __init__(self, trace: list[str], changed: asyncio.Event) -> None:
        self.trace = trace
        self.changed = changed
        self.at = Head(0, GENESIS.hash, 0, None, AUTHORITIES)
        self.failing: str | None = None
        self.hold: dict[str, threading.Event] = {}
        self.sent: list[tuple[bytes, ConsensusMessage, Priority]] = []
        self.penalties: list[tuple[bytes, str]] = []
        self.banned: set[bytes] = set()

    def _note(self, what: str) -> None:
        if what in self.hold:
            assert self.hold[what].wait(5)
        # Slower than the event loop, so that whoever does not wait is found out.
        time.sleep(0.002)
        self.trace.append(what)
        if self.failing == what:
            raise OSError(f"{what} failed")

    def head(self) -> Head:
        return self.at

    def build(self, **place: Any) -> Block:
        self._note("build")
        return FIRST

    def execute(self, block: Block) -> str | None:
        self._note("execute")
        return None

    def persist(self, blocks: Sequence[Block], certificates: Sequence[Certificate]) -> None:
        self._note("persist")

    def commit(self, block: Block, finalization: Certificate) -> Head:
        self._note("commit")
        self.at = Head(block.header.height, block.hash, 0, finalization, AUTHORITIES)
        return self.at

    def candidates(self) -> Sequence[Block]:
        return ()

    def certificates(self) -> Sequence[Certificate]:
        return ()

    def block(self, block_hash: bytes) -> Block | None:
        self._note("read")
        return FIRST if block_hash == FIRST.hash else None

    def finalization(self, height: int) -> Certificate | None:
        self._note("read")
        return PROOF if height == 1 else None

    floor = (0, 0)

    def votes(self) -> tuple[Vote, ...]:
        return ()

    def sign(self, kind: VoteKind, epoch: int, view: int, block_hash: bytes) -> Vote:
        self._note("sign")
        return Vote(kind, epoch, view, block_hash, bytes(96))

    def raise_floor(self, epoch: int, view: int) -> None:
        self._note("floor")

    def send(self, peer_key: bytes, payload: bytes, priority: Priority = Priority.NORMAL) -> bool:
        self.trace.append("send")
        message = decode_message(payload)
        self.sent.append((peer_key, message, priority))  # type: ignore[arg-type]
        self.changed.set()
        return True

    def broadcast(self, payload: bytes, priority: Priority = Priority.URGENT) -> int:
        self.trace.append("broadcast")
        return 1

    def penalise(self, peer_key: bytes, points: int, reason: str) -> None:
        self.penalties.append((peer_key, reason))

    def is_connected(self, peer_key: bytes) -> bool:
        return peer_key not in self.banned


class Work:
    def __init__(self) -> None:
        self.waiting = False
        self.due: int | None = None

    def pending(self) -> bool:
        return self.waiting

    def due_ms(self) -> int | None:
        return self.due


class Rig:
    def __init__(self, script: dict[type, list[Effect]], clock: LoopClock | None = None) -> None:
        self.core = Core(script)
        self.disk = Disk(self.core.trace, self.core.changed)
        self.work = Work()
        self.behind: list[tuple[bytes, int]] = []
        self.advanced: list[Head] = []
        self.driver = Driver(
            self.core,  # type: ignore[arg-type]
            self.disk,
            self.disk,  # type: ignore[arg-type]
            self.disk,
            self.work,
            Reports(lambda *claim: self.behind.append(claim), lambda conflict: None, self.on_advanced),
            clock=clock or LoopClock(),
            wall_ms=lambda: time.time_ns() // 1_000_000,
        )

    def on_advanced(self, head: Head) -> None:
        self.advanced.append(head)
        self.core.changed.set()

    @property
    def trace(self) -> list[str]:
        return self.core.trace

    async def see(self, *kinds: type) -> None:
        """Wait until the core has seen events of all these types."""
        await until(lambda: all(self.core.seen(kind) for kind in kinds), self.core.changed, 5)

    def receive(self, size: int = 10) -> Any:
        return self.driver.receive(PEER, PING, size, asyncio.get_running_loop().time())


@asynccontextmanager
async def driving(
    script: dict[type, list[Effect]],
    prepare: Callable[[Rig], None] = lambda rig: None,
    *,
    clock: LoopClock | None = None,
) -> AsyncIterator[Rig]:
    rig = Rig(script, clock)
    prepare(rig)
    before = asyncio.all_tasks()
    await rig.driver.start()
    try:
        yield rig
    finally:
        await rig.driver.stop()
        assert asyncio.all_tasks() == before


SIGN = SignVote(VoteKind.NOTARIZE, 0, 1, FIRST.hash)


async def test_each_effect_is_complete_before_the_next() -> None:
    effects: list[Effect] = [Persist((FIRST,), ()), SIGN, Broadcast(PING), Persist((), (PROOF,)), Send(PEER, PING)]
    async with driving({MessageReceived: effects, VoteSigned: [Broadcast(PING)]}) as rig:
        rig.receive()
        rig.driver.connected(PEER)
        await rig.see(PeerConnected)
    assert rig.trace == [
        *("Started", "MessageReceived", "persist", "sign", "broadcast", "persist", "send"),
        # The answer comes after the last effect of its step, and before what arrived later.
        *("VoteSigned", "broadcast", "PeerConnected"),
    ]


async def test_a_commit_is_durable_before_the_core_hears_of_it() -> None:
    async with driving({Started: [Commit(FIRST, PROOF)], Advanced: [RaiseFloor(0, 2)]}) as rig:
        await rig.see(Advanced)
        await until(lambda: rig.advanced, rig.core.changed)
    assert rig.trace == ["Started", "commit", "Advanced", "floor"]
    assert rig.core.seen(Advanced)[0].head.hash == FIRST.hash


async def test_execution_delays_neither_votes_nor_messages_nor_deadlines() -> None:
    def hold(rig: Rig) -> None:
        rig.disk.hold["execute"] = threading.Event()

    script: dict[type, list[Effect]] = {
        Started: [ExecuteBlock(FIRST), SetDeadline(Timer.VIEW, 0)],
        MessageReceived: [Persist((), (PROOF,)), SIGN],
    }
    async with driving(script, hold) as rig:
        rig.receive()
        await rig.see(MessageReceived, VoteSigned, DeadlineReached)
        assert not rig.core.seen(BlockExecuted)
        rig.disk.hold["execute"].set()
        await rig.see(BlockExecuted)
    assert rig.core.seen(BlockExecuted)[0].invalid is None


async def test_a_deadline_comes_after_all_input_that_arrived_before_it() -> None:
    """Input passes through several turns of the loop between the socket and the driver."""
    async with driving({Started: [SetDeadline(Timer.VIEW, 0)]}) as rig:
        loop = asyncio.get_running_loop()

        def on_its_way(turns: int) -> None:
            if turns:
                loop.call_soon(on_its_way, turns - 1)
            else:
                rig.receive()

        await rig.see(Started)
        for _ in range(3):
            on_its_way(3)
        await rig.see(DeadlineReached)
    assert rig.trace == ["Started", *["MessageReceived"] * 3, "DeadlineReached"]


async def test_a_deadline_is_never_early_and_a_later_one_replaces_it() -> None:
    now = int(asyncio.get_running_loop().time() * 1_000)
    script: dict[type, list[Effect]] = {
        Started: [
            SetDeadline(Timer.VIEW, now + 3_600_000),
            SetDeadline(Timer.PROPOSE, now + 20),
            SetDeadline(Timer.VIEW, now + 40),
        ]
    }
    async with driving(script) as rig:
        await until(lambda: len(rig.core.seen(DeadlineReached)) == 2, rig.core.changed, 5)
    first, second = rig.core.seen(DeadlineReached)
    assert (first.timer, second.timer) == (Timer.PROPOSE, Timer.VIEW)
    assert first.at.monotonic_ms >= now + 20
    assert second.at.monotonic_ms >= now + 40


@pytest.mark.parametrize(
    ("effect", "fails"),
    [
        (Persist((FIRST,), ()), "persist"),
        (SIGN, "sign"),
        (Commit(FIRST, PROOF), "commit"),
        (RaiseFloor(0, 1), "floor"),
        (ExecuteBlock(FIRST), "execute"),
        (BUILD, "build"),
        (ServeBlock(PEER, FIRST.hash), "read"),
        (ServeFinalization(PEER, 1), "read"),
    ],
)
async def test_a_local_failure_stops_everything(effect: Effect, fails: str) -> None:
    def fail(rig: Rig) -> None:
        rig.disk.failing = fails

    async with driving({Started: [effect, Persist((), ())]}, fail) as rig:
        failure = await asyncio.wait_for(rig.driver.wait_failed(), 5)
        assert str(failure) == f"{fails} failed"
        rig.receive()
        await asyncio.sleep(0.01)
        assert "MessageReceived" not in rig.trace
        assert not rig.core.seen(VoteSigned)


async def test_halt_stops_everything() -> None:
    async with driving({Started: [Halt("two certificates"), Broadcast(PING)]}) as rig:
        failure = await asyncio.wait_for(rig.driver.wait_failed(), 5)
    assert isinstance(failure, ConsensusHalted)
    assert failure.data["reason"] == "two certificates"
    assert "broadcast" not in rig.trace


async def test_a_block_above_another_head_is_neither_executed_nor_built_nor_committed_twice() -> None:
    def ahead(rig: Rig) -> None:
        rig.disk.at = Head(2, SECOND.hash, 0, PROOF, AUTHORITIES)

    async with driving({Started: [ExecuteBlock(SECOND), BUILD, Commit(FIRST, PROOF)]}, ahead) as rig:
        await rig.see(Advanced)
    assert rig.trace == ["Started", "Advanced"]
    assert rig.core.seen(Advanced)[0].head.height == 2


async def test_a_node_that_lags_does_not_propose() -> None:
    async with driving({WorkAvailable: [BUILD], PeerConnected: [BUILD]}) as rig:
        rig.driver.allow_proposals(False)
        rig.driver.work_available()
        await rig.see(WorkAvailable)
        await asyncio.sleep(0.01)
        assert "build" not in rig.trace
        rig.driver.allow_proposals(True)
        rig.driver.connected(PEER)
        await rig.see(BlockBuilt)
    assert rig.core.seen(BlockBuilt)[0].block == FIRST


async def test_scheduled_work_wakes_the_core_when_it_is_due() -> None:
    def due_soon(rig: Rig) -> None:
        rig.work.due = time.time_ns() // 1_000_000 + 50

    async with driving({}, due_soon) as rig:
        await rig.see(Started)
        assert not rig.core.seen(Started)[0].has_work
        await rig.see(WorkAvailable)
        assert time.time_ns() // 1_000_000 >= (rig.work.due or 0)


@pytest.mark.parametrize("kind", ["waiting", "due"])
async def test_what_waits_at_the_start_is_work(kind: str) -> None:
    def prepare(rig: Rig) -> None:
        rig.work.waiting = kind == "waiting"
        rig.work.due = 1 if kind == "due" else None

    async with driving({}, prepare) as rig:
        await rig.see(Started)
    assert rig.core.seen(Started)[0].has_work


async def test_work_is_told_once_until_the_core_has_heard_it() -> None:
    async with driving({}) as rig:
        for _ in range(5):
            rig.driver.work_available()
        await rig.see(WorkAvailable)
        rig.driver.connected(PEER)
        await rig.see(PeerConnected)
    assert rig.trace.count("WorkAvailable") == 1


async def test_a_peer_that_sends_faster_than_it_is_heard_must_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "PEER_QUEUE_BYTES", 100)
    monkeypatch.setattr(driver_module, "MESSAGE_OVERHEAD_BYTES", 0)
    async with driving({}) as rig:
        assert rig.receive(60) is None
        waits = rig.receive(60)
        assert waits is not None
        await asyncio.wait_for(waits, 5)
        assert len(rig.core.seen(MessageReceived)) == 2
        assert rig.receive(60) is None


@pytest.mark.parametrize("banned", [True, False])
async def test_what_a_banned_peer_had_sent_is_not_looked_at(banned: bool) -> None:
    def ban(rig: Rig) -> None:
        rig.disk.banned = {PEER} if banned else set()

    async with driving({MessageReceived: [ReportPeer(PEER, "a lie")]}, ban) as rig:
        for _ in range(5):
            rig.receive()
        rig.driver.connected(PEER)
        await rig.see(PeerConnected)
    assert len(rig.core.seen(MessageReceived)) == (1 if banned else 5)


async def test_receipt_is_told_by_both_clocks() -> None:
    async with driving({}) as rig:
        loop = asyncio.get_running_loop()
        arrived, wall = loop.time() - 2.0, time.time_ns() // 1_000_000 - 2_000
        rig.driver.receive(PEER, PING, 10, arrived)
        await rig.see(MessageReceived)
    at = rig.core.seen(MessageReceived)[0].at
    assert at.monotonic_ms == int(arrived * 1_000)
    assert abs(at.wall_ms - wall) < 1_000


async def test_peers_are_served_and_told_on() -> None:
    effects: list[Effect] = [
        ServeBlock(PEER, FIRST.hash),
        ServeBlock(PEER, bytes(32)),
        ServeFinalization(PEER, 1),
        ServeFinalization(PEER, 9),
        Behind(PEER, 7),
        ReportPeer(PEER, "a lie"),
    ]
    async with driving({Started: effects}) as rig:
        await until(lambda: len(rig.disk.sent) == 2, rig.core.changed)
    assert rig.disk.sent == [
        (PEER, BlockResponse(FIRST), Priority.NORMAL),
        (PEER, Certificates((PROOF,)), Priority.URGENT),
    ]
    assert rig.behind == [(PEER, 7)]
    assert rig.disk.penalties == [(PEER, "a lie")]


async def test_requests_beyond_what_is_being_answered_are_dropped() -> None:
    many: list[Effect] = [ServeBlock(PEER, FIRST.hash)] * (driver_module.MAXIMUM_SERVING + 9)
    async with driving({Started: many, MessageReceived: [ServeBlock(PEER, FIRST.hash)]}) as rig:
        await until(lambda: len(rig.disk.sent) == driver_module.MAXIMUM_SERVING, rig.core.changed)
        rig.receive()
        await rig.see(MessageReceived)
    assert len(rig.disk.sent) == driver_module.MAXIMUM_SERVING + 1


async def test_stopping_ends_after_the_effect_at_hand() -> None:
    rig = Rig({Started: [Persist((), ()), SIGN, Broadcast(Votes(()))]})
    rig.disk.hold["persist"] = threading.Event()
    await rig.driver.start()
    await rig.see(Started)
    stopping = asyncio.create_task(rig.driver.stop())
    await asyncio.sleep(0.01)
    assert not stopping.done()
    rig.disk.hold["persist"].set()
    await stopping
    assert rig.trace == ["Started", "persist"]


async def test_a_key_that_is_ahead_of_the_database_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def lost_database(rig: Rig) -> None:
        rig.disk.floor = (0, 2)

    later = SignVote(VoteKind.NULLIFY, 0, 2, b"")
    async with driving({Started: [SIGN, SIGN], MessageReceived: [later]}, lost_database) as rig:
        rig.receive()
        await rig.see(VoteSigned)
    assert [event.vote.view for event in rig.core.seen(VoteSigned)] == [2]
    assert caplog.text.count("not voting below epoch 0, view 2") == 1


async def test_a_timer_that_fires_early_is_on_time() -> None:
    """A loop may run a callback within its clock's resolution before the time; the core takes that for a stale one."""

    class Early(LoopClock):
        def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
            return super().call_later(0.0, callback)

    at_ms = int(asyncio.get_running_loop().time() * 1_000) + 60_000
    async with driving({Started: [SetDeadline(Timer.VIEW, at_ms)]}, clock=Early()) as rig:
        await rig.see(DeadlineReached)
    assert rig.core.seen(DeadlineReached)[0].at.monotonic_ms == at_ms


async def test_synchronised_blocks_go_through_the_same_thread() -> None:
    async with driving({}) as rig:
        head = await rig.driver.apply_final(FIRST, PROOF)
        assert head is not None
        assert head.hash == rig.driver.durable_head.hash == FIRST.hash
        assert await rig.driver.apply_final(FIRST, PROOF) == head
        rig.driver.announce(head)
        await rig.see(Advanced)
    assert rig.trace == ["Started", "execute", "commit", "Advanced"]
