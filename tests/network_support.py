"""What the tests of node/network share: keys, a clock that tests turn, links and nodes over loopback."""

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest

from chain.crypto.ed25519 import PrivateKey
from node.network.config import NetworkConfig, PeerAddress
from node.network.handshake import CloseCode, Initiator, LinkClosed, Responder, Session
from node.network.link import Link, LinkLimits, LinkTimes, dial, respond
from node.network.peers import PeerNetwork
from node.network.stream import Clock, LoopClock, Stream, listen, open_stream

GENESIS = bytes(range(32))
ALICE = PrivateKey(b"\x01" * 32)
BOB = PrivateKey(b"\x02" * 32)
CAROL = PrivateKey(b"\x03" * 32)
ALICE_EPHEMERAL = b"\x11" * 32
BOB_EPHEMERAL = b"\x22" * 32


class ManualClock:
    """A clock that stands still until it is told to advance."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._order = count()

    def now(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], None]) -> "ManualTimer":
        timer = ManualTimer(callback)
        heapq.heappush(self._timers, (self._now + delay, next(self._order), timer))
        return timer

    @property
    def scheduled(self) -> int:
        """How many callbacks wait."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    async def advance(self, seconds: float) -> None:
        """Let time pass, stopping at each timer on the way as a running process would."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            self._now = max(self._now, self._timers[0][0])
            self._fire()
            await turns()
        self._now = end
        await turns()

    def jump(self, seconds: float) -> None:
        """Let time pass at once, as for a process that was suspended."""
        self._now += seconds
        while self._timers and self._timers[0][0] <= self._now:
            self._fire()

    def _fire(self) -> None:
        _, _, timer = heapq.heappop(self._timers)
        callback, timer.callback = timer.callback, None
        if callback is not None:
            callback()


class ManualTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


async def turns(number: int = 30) -> None:
    """Let everything that is ready run, also what waits for loopback sockets."""
    for _ in range(number):
        await asyncio.sleep(0)


def shake_hands(
    tamper: Callable[[str, bytes], bytes] = lambda message, data: data,
) -> tuple[bytes, bytes, bytes, Session, Session]:
    """Offer, answer, proof and the sessions of a handshake that Alice begins with Bob.

    Args: tamper: the man in the middle; takes the name and bytes of each message and returns what arrives.
    """
    initiator = Initiator(ALICE, GENESIS, BOB.public_key, ALICE_EPHEMERAL)
    responder = Responder(BOB, GENESIS, BOB_EPHEMERAL)
    responder.read_offer(tamper("offer", initiator.offer))
    answer = responder.answer()
    proof, alice_session = initiator.read_answer(tamper("answer", answer))
    return initiator.offer, answer, proof, alice_session, responder.read_proof(tamper("proof", proof))


class StreamPair:
    """Two streams joined over loopback TCP; `left` connected to `right`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or LoopClock()

    async def __aenter__(self) -> tuple[Stream, Stream]:
        accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self._server = await listen("127.0.0.1", 0, self.clock, accepted.set_result)
        self.left = await open_stream(*self._server.sockets[0].getsockname()[:2], self.clock)
        self.right = await accepted
        return self.left, self.right

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for stream in (self.left, self.right):
            stream.abort()
            await stream.shut()
        await self._server.wait_closed()


class LinkPair:
    """Two links joined over loopback TCP; Alice (`left`) dialled Bob (`right`). Runs them when told to."""

    def __init__(
        self, clock: Clock | None = None, limits: LinkLimits | None = None, times: LinkTimes | None = None
    ) -> None:
        self.clock = clock or LoopClock()
        self.limits = limits or LinkLimits()
        self.times = times or LinkTimes()
        self.streams = StreamPair(self.clock)
        self.tasks: list[asyncio.Task[object]] = []

    async def __aenter__(self) -> "LinkPair":
        left, right = await self.streams.__aenter__()
        answering = asyncio.create_task(
            respond(right, BOB, GENESIS, BOB_EPHEMERAL, self.clock, self.times, lambda key: self.limits)
        )
        dialling = asyncio.create_task(
            dial(left, ALICE, GENESIS, BOB.public_key, ALICE_EPHEMERAL, self.clock, self.limits, self.times)
        )
        self.right = await answering
        self.right.accept()
        self.left = await dialling
        return self

    def run(self, link: Link, deliver: Callable[[bytes, float], Awaitable[None] | None]) -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.create_task(link.run(deliver))
        self.tasks.append(task)
        return task

    async def __aexit__(self, *exception: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.streams.__aexit__()


class Inbox:
    """Collects messages and lets a test wait for a number of them."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, float]] = []
        self._arrived = asyncio.Event()

    def __call__(self, payload: bytes, received_at: float) -> None:
        self.messages.append((payload, received_at))
        self._arrived.set()

    @property
    def payloads(self) -> list[bytes]:
        return [payload for payload, _ in self.messages]

    async def wait_for(self, number: int) -> list[bytes]:
        async with asyncio.timeout(20):
            while len(self.messages) < number:
                self._arrived.clear()
                await self._arrived.wait()
        return self.payloads


AUTHORITIES = frozenset({ALICE.public_key, BOB.public_key})
QUICK = NetworkConfig(dial_backoff_min=0.01, dial_backoff_max=0.05)


class Node:
    """A network under test, and everything it reported."""

    def __init__(
        self,
        key: PrivateKey,
        *,
        peers: list[PeerAddress] | None = None,
        authorities: frozenset[bytes] = AUTHORITIES,
        config: NetworkConfig = QUICK,
        clock: Clock | None = None,
        port: int | None = 0,
        genesis_hash: bytes = GENESIS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.events: list[tuple[str, bytes]] = []
        self.messages: list[tuple[bytes, bytes]] = []
        self.handle: Callable[[bytes, bytes, float], Awaitable[None] | None] | None = None
        self._changed = asyncio.Event()
        self.network = PeerNetwork(
            key,
            genesis_hash,
            None if port is None else ("127.0.0.1", port),
            peers or [],
            authorities,
            on_message=self._on_message,
            on_connect=lambda peer: self._note("connect", peer),
            on_disconnect=lambda peer: self._note("disconnect", peer),
            config=config,
            clock=clock,
            jitter=jitter,
        )

    def _note(self, what: str, peer: bytes) -> None:
        self.events.append((what, peer))
        self._changed.set()

    def _on_message(self, peer: bytes, payload: bytes, received_at: float) -> Awaitable[None] | None:
        self.messages.append((peer, payload))
        self._changed.set()
        return self.handle(peer, payload, received_at) if self.handle else None

    def count(self, what: str, peer: PrivateKey) -> int:
        return Counter(self.events)[(what, peer.public_key)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until a condition holds; looked at again after every callback."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def linked(self, peer: PrivateKey) -> None:
        await self.until(lambda: self.network.is_connected(peer.public_key))

    @property
    def address(self) -> PeerAddress:
        assert self.network.listen_address is not None
        return PeerAddress(self.network.key, *self.network.listen_address)


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """Start the nodes, and stop them."""
    for node in nodes:
        await node.network.start()
    try:
        yield
    finally:
        await asyncio.gather(*(node.network.stop() for node in nodes))


async def dial_as(key: PrivateKey, address: PeerAddress, clock: Clock | None = None) -> Link:
    """A link from a peer that the test plays itself."""
    clock = clock or LoopClock()
    stream = await open_stream(address.host, address.port, clock)
    secret = random.Random(address.port).randbytes(32)
    return await dial(stream, key, GENESIS, address.key, secret, clock, LinkLimits(), LinkTimes())


async def refused(key: PrivateKey, address: PeerAddress, clock: Clock | None = None) -> int:
    """The code with which a dial is refused."""
    with pytest.raises(LinkClosed) as closed:
        await dial_as(key, address, clock)
    return closed.value.code


async def hang_up(*links: Link) -> None:
    """End links that the test holds."""
    for link in links:
        link.close(CloseCode.SHUTDOWN)
    await asyncio.gather(*(link.run(Inbox()) for link in links))


def follower(number: int) -> PrivateKey:
    return PrivateKey(b"follower" + number.to_bytes(24, "big"))
