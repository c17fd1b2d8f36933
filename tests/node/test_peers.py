"""The peer network over loopback: one link per pair whatever happens, and peers that misbehave."""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from chain.crypto.ed25519 import PrivateKey
from node.network.frames import Priority
from node.network.handshake import CloseCode, LinkClosed
from node.network.link import Link, LinkLimits, LinkTimes, dial
from node.network.peers import NetworkConfig, PeerAddress, PeerNetwork
from node.network.stream import Clock, LoopClock, Stream, open_stream
from tests.network_support import ALICE, BOB, CAROL, GENESIS, Inbox, ManualClock, turns

assert ALICE.public_key > BOB.public_key, "the tests below rely on Bob's key being the smaller"

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


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    await turns(3)
    assert asyncio.all_tasks() == {asyncio.current_task()}


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


async def test_messages_and_what_is_known_of_a_peer() -> None:
    bob = Node(BOB)
    async with running(bob):
        alice = Node(ALICE, peers=[bob.address], port=None)
        async with running(alice):
            await asyncio.gather(alice.linked(BOB), bob.linked(ALICE))
            assert alice.network.link_id(BOB.public_key) == bob.network.link_id(ALICE.public_key)
            assert alice.network.send(BOB.public_key, b"vote", Priority.URGENT)
            assert bob.network.broadcast(b"certificate") == 1
            await asyncio.gather(
                bob.until(lambda: bob.messages == [(ALICE.public_key, b"vote")]),
                alice.until(lambda: alice.messages == [(BOB.public_key, b"certificate")]),
            )
            [info] = alice.network.peers()
            assert (info.key, info.direction, info.is_authority) == (BOB.public_key, "outbound", True)
            assert (info.host, info.port) == (bob.address.host, bob.address.port)
            assert (info.messages_in, info.messages_out, info.score) == (1, 1, 0.0)
            assert info.bytes_in > 0
            assert info.bytes_out > 0
            assert not alice.network.send(CAROL.public_key, b"nobody")
        await bob.until(lambda: bob.events == [("connect", ALICE.public_key), ("disconnect", ALICE.public_key)])
        assert not bob.network.send(ALICE.public_key, b"gone")
        assert bob.network.peers() == []
    await bob.network.stop()


async def test_broadcast_to_authorities_only() -> None:
    bob = Node(BOB)
    async with running(bob):
        alice, carol = (Node(key, peers=[bob.address], port=None) for key in (ALICE, CAROL))
        async with running(alice, carol):
            await asyncio.gather(bob.linked(ALICE), bob.linked(CAROL))
            assert bob.network.broadcast(b"vote", authorities_only=True) == 1
            assert bob.network.broadcast(b"certificate") == 2
            await alice.until(lambda: len(alice.messages) == 2)
            await carol.until(lambda: len(carol.messages) == 1)
            assert carol.messages == [(BOB.public_key, b"certificate")]
            bob.network.set_authorities({CAROL.public_key})
            assert {info.key for info in bob.network.peers() if info.is_authority} == {CAROL.public_key}


async def test_a_peer_that_comes_later_is_found_and_found_again() -> None:
    bob = Node(BOB)
    await bob.network.start()
    address = bob.address
    await bob.network.stop()
    alice = Node(ALICE, peers=[address], port=None)
    async with running(alice):
        for life in (1, 2):
            bob = Node(BOB, port=address.port)
            async with running(bob):
                await alice.until(lambda life=life: alice.count("connect", BOB) == life)
                await bob.linked(ALICE)
            await alice.until(lambda life=life: alice.count("disconnect", BOB) == life)
        assert [what for what, _ in alice.events] == ["connect", "disconnect"] * 2


async def test_redialling_backs_off_and_never_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    tried: list[float] = []

    async def unreachable(host: str, port: int, clock: Clock) -> Stream:
        tried.append(clock.now())
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("node.network.peers.open_stream", unreachable)
    address = PeerAddress(BOB.public_key, "127.0.0.1", 1)
    config = NetworkConfig(dial_backoff_min=1.0, dial_backoff_max=10.0)
    alice = Node(ALICE, peers=[address], port=None, clock=clock, config=config)
    async with running(alice):
        await turns()
        await clock.advance(1000.0)
    waits = [later - sooner for sooner, later in pairwise(tried)]
    for number, wait in enumerate(waits):
        full = min(10.0, 2.0**number)
        assert full / 2 <= wait <= full
    assert len(waits) >= 100
    assert len(set(waits[10:])) > 10


async def test_a_link_that_lasted_is_redialled_quickly() -> None:
    clock = ManualClock()
    bob = Node(BOB)
    async with running(bob):
        address = bob.address
    bob = Node(BOB, port=address.port)
    alice = Node(
        ALICE,
        peers=[address],
        port=None,
        clock=clock,
        config=NetworkConfig(dial_backoff_min=1.0, dial_backoff_max=1000.0, stable_after=10.0),
    )
    async with running(alice):
        await turns()
        await clock.advance(300.0)
        async with running(bob):
            # By now the waits are long.
            await clock.advance(60.0)
            assert not alice.network.is_connected(BOB.public_key)
            await clock.advance(1000.0)
            await alice.linked(BOB)
            await clock.advance(11.0)
        await alice.until(lambda: alice.count("disconnect", BOB) == 1)
        async with running(bob):
            await turns()
            await clock.advance(1.0)
            await alice.until(lambda: alice.count("connect", BOB) == 2)


class Relay:
    """Stands between a dialler and a listener and lets some turns of the event loop pass before each piece goes on."""

    def __init__(self, rng: random.Random, longest: int) -> None:
        self._rng = rng
        self._longest = longest
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.target: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    async def start(self) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Once both ends have closed."""
        self._server.close()
        await asyncio.gather(*self._tasks)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._join(reader, writer)))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(*await self.target)
        self._writers += [writer, onward_writer]
        await asyncio.gather(self._carry(reader, onward_writer), self._carry(onward_reader, writer))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                await turns(self._rng.randrange(self._longest))
                sink.write(data)
        sink.close()


async def one_link(alice: Node, bob: Node) -> None:
    """Until both ends hold the same link."""

    def agreed() -> bool:
        mine = alice.network.link_id(BOB.public_key)
        return mine is not None and mine == bob.network.link_id(ALICE.public_key)

    waiting = {asyncio.create_task(node.until(agreed)) for node in (alice, bob)}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert agreed()


@pytest.mark.parametrize("longest", [1, 5, 40])
async def test_a_simultaneous_dial_leaves_one_link(rng: random.Random, longest: int) -> None:
    """Whatever the order of events, both ends keep the same link and neither sees it flap."""
    dialled_by = Counter[str]()
    for _ in range(15):
        relays = Relay(rng, longest), Relay(rng, longest)
        to_alice, to_bob = [await relay.start() for relay in relays]
        alice = Node(ALICE, peers=[PeerAddress(BOB.public_key, *to_bob)])
        bob = Node(BOB, peers=[PeerAddress(ALICE.public_key, *to_alice)])
        for relay, node in zip(relays, (alice, bob), strict=True):
            await node.network.start()
            relay.target.set_result((node.address.host, node.address.port))
        try:
            await one_link(alice, bob)
            await turns(4 * longest + 30)
            await one_link(alice, bob)
            assert [what for what, _ in alice.events] == ["connect"]
            assert [what for what, _ in bob.events] == ["connect"]
            [info] = bob.network.peers()
            dialled_by["bob" if info.direction == "outbound" else "alice"] += 1
            assert len(alice.network.peers()) == 1
        finally:
            await asyncio.gather(alice.network.stop(), bob.network.stop())
            for relay in relays:
                await relay.stop()
    print(dialled_by)
    assert dialled_by["bob"]


async def test_of_two_simultaneous_dials_the_smaller_keys_stays() -> None:
    """Alice's proof reaches Bob while his own dial, which has precedence, is under way."""
    clock = ManualClock()
    # This is where Bob dials Alice: she answers when the test lets her.
    bobs_offer: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
        asyncio.get_running_loop().create_future()
    )
    server = await asyncio.start_server(lambda *connection: bobs_offer.set_result(connection), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    alice = Node(ALICE)
    bob = Node(BOB, peers=[PeerAddress(ALICE.public_key, host, port)], clock=clock)
    async with running(alice, bob):
        from_bob, to_bob = await bobs_offer
        dialling = asyncio.create_task(dial_as(ALICE, bob.address))
        await turns(60)
        assert not dialling.done()
        assert alice.address.port != port
        onward_reader, onward_writer = await asyncio.open_connection(alice.address.host, alice.address.port)

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.close()

        carriers = [
            asyncio.create_task(carry(from_bob, onward_writer)),
            asyncio.create_task(carry(onward_reader, to_bob)),
        ]
        with pytest.raises(LinkClosed) as closed:
            await dialling
        assert closed.value.code == CloseCode.DUPLICATE
        [info] = bob.network.peers()
        assert info.direction == "outbound"
        await bob.network.stop()
        await asyncio.gather(*carriers)
    server.close()
    await server.wait_closed()


async def test_a_dial_that_hangs_does_not_keep_the_peer_out() -> None:
    """Bob's own dial has precedence but gets nowhere: Alice's link is taken after half a step's time."""
    clock = ManualClock()
    connected = asyncio.Event()
    hanging: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hanging.append((reader, writer))
        connected.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    bob = Node(BOB, peers=[PeerAddress(ALICE.public_key, *server.sockets[0].getsockname()[:2])], clock=clock)
    async with running(bob):
        await connected.wait()
        dialling = asyncio.create_task(dial_as(ALICE, bob.address))
        await turns()
        await clock.advance(2.4)
        assert not dialling.done()
        await clock.advance(0.2)
        link = await dialling
        assert bob.network.link_id(ALICE.public_key) == link.link_id
        # And his own dial is given up.
        [(reader, writer)] = hanging
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await hang_up(link)
        await bob.until(lambda: not bob.network.is_connected(ALICE.public_key))
    server.close()
    await server.wait_closed()


async def test_a_newer_link_replaces_one_whose_peer_crashed() -> None:
    bob = Node(BOB)
    async with running(bob):
        # The first life of Alice ends without a word: her connection stays open and nobody serves it.
        first = await dial_as(ALICE, bob.address)
        second = await dial_as(ALICE, bob.address)
        await bob.until(lambda: bob.network.link_id(ALICE.public_key) == second.link_id)
        assert [what for what, _ in bob.events] == ["connect", "disconnect", "connect"]
        told = await first.run(Inbox())
        assert (told.code, told.remote) == (CloseCode.REPLACED, True)
        inbox = Inbox()
        serving = asyncio.create_task(second.run(inbox))
        assert bob.network.send(ALICE.public_key, b"to the second")
        assert await inbox.wait_for(1) == [b"to the second"]
        second.close(CloseCode.SHUTDOWN)
        await serving


async def test_a_peer_that_dials_replaces_the_link_that_was_dialled_to_it() -> None:
    """Bob has the smaller key and dialled; Alice crashed since, and comes back: hers is newer and must win."""
    alice = Node(ALICE)
    await alice.network.start()
    bob = Node(BOB, peers=[alice.address])
    async with running(bob):
        await bob.linked(ALICE)
        before = bob.network.link_id(ALICE.public_key)
        newer = await dial_as(ALICE, bob.address)
        await bob.until(lambda: bob.network.link_id(ALICE.public_key) == newer.link_id)
        assert before != newer.link_id
        await alice.until(lambda: alice.count("disconnect", BOB) == 1)
        await alice.network.stop()
        await hang_up(newer)


async def test_a_proof_held_back_does_not_replace_a_newer_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody on the path delays the end of an older handshake until a newer one is done."""
    bob = Node(BOB)
    async with running(bob):
        clock = LoopClock()
        stream = await open_stream(bob.address.host, bob.address.port, clock)
        held: list[bytes] = []
        write = stream.writer.write

        def hold_proof(data: bytes) -> None:
            if data[:1] == b"\x03":
                held.append(data)
            else:
                write(data)

        monkeypatch.setattr(stream.writer, "write", hold_proof)
        older = asyncio.create_task(
            dial(stream, ALICE, GENESIS, BOB.public_key, b"\x55" * 32, clock, LinkLimits(), LinkTimes())
        )
        await turns()
        assert held
        newer = await dial_as(ALICE, bob.address)
        await bob.linked(ALICE)
        write(held[0])
        with pytest.raises(LinkClosed) as closed:
            await older
        assert closed.value.code == CloseCode.DUPLICATE
        assert bob.network.link_id(ALICE.public_key) == newer.link_id
        await hang_up(newer)


async def test_followers_are_limited_in_number_and_authorities_are_not() -> None:
    bob = Node(BOB, config=replace(QUICK, max_followers=2))
    async with running(bob):
        links = [await dial_as(follower(number), bob.address) for number in range(2)]
        assert await refused(follower(2), bob.address) == CloseCode.FULL
        links.append(await dial_as(ALICE, bob.address))
        # A follower that is in already may come back.
        links.append(await dial_as(follower(0), bob.address))
        assert len(bob.network.peers()) == 3
        await hang_up(*links)
        await bob.until(lambda: not bob.network.peers())
        await hang_up(await dial_as(follower(2), bob.address))


async def test_misbehaviour_adds_up_to_a_ban_that_ends() -> None:
    clock = ManualClock()
    patient = replace(QUICK, times=LinkTimes(dead_after=1e6))
    bob = Node(BOB, clock=clock, config=patient)
    bad = follower(1)
    async with running(bob):
        link = await dial_as(bad, bob.address)
        bob.network.penalise(bad.public_key, 60, "invalid transaction")
        await clock.advance(30.0)
        [info] = bob.network.peers()
        assert info.score == pytest.approx(30.0)
        bob.network.penalise(bad.public_key, 69, "invalid transaction")
        assert bob.network.is_connected(bad.public_key)
        bob.network.penalise(bad.public_key, 1, "invalid transaction")
        told = await link.run(Inbox())
        assert (told.code, told.remote) == (CloseCode.BANNED, True)
        await bob.until(lambda: bob.count("disconnect", bad) == 1)
        assert await refused(bad, bob.address) == CloseCode.BANNED
        # Everybody here shares this machine's address, which is not banned.
        await hang_up(await dial_as(follower(2), bob.address))
        await clock.advance(601.0)
        await hang_up(await dial_as(bad, bob.address))


async def test_authorities_are_never_banned() -> None:
    bob = Node(BOB)
    async with running(bob):
        link = await dial_as(ALICE, bob.address)
        bob.network.penalise(ALICE.public_key, 100_000, "conflicting votes")
        await turns()
        assert bob.events == [("connect", ALICE.public_key)]
        [info] = bob.network.peers()
        assert info.score >= 99_990
        again = await dial_as(ALICE, bob.address)
        await hang_up(link, again)


async def test_a_ban_covers_the_host_of_a_follower(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key costs nothing to replace. Authorities behind the same address are let in nevertheless."""
    monkeypatch.setattr("node.network.peers._is_loopback", lambda host: False)
    bob = Node(BOB)
    async with running(bob):
        link = await dial_as(follower(1), bob.address)
        bob.network.penalise(follower(1).public_key, 100, "invalid transaction")
        await link.run(Inbox())
        assert await refused(follower(2), bob.address) == CloseCode.BANNED
        await hang_up(await dial_as(ALICE, bob.address))


async def test_becoming_an_authority_widens_the_limits() -> None:
    limits = LinkLimits(max_message_bytes=1_000)
    bob = Node(BOB, config=replace(QUICK, follower_limits=limits))
    async with running(bob):
        link = await dial_as(CAROL, bob.address)
        serving = asyncio.create_task(link.run(Inbox()))
        link.send(bytes(1_000), Priority.NORMAL)
        await bob.until(lambda: len(bob.messages) == 1)
        bob.network.set_authorities({CAROL.public_key})
        link.send(bytes(5_000_000), Priority.NORMAL)
        await bob.until(lambda: len(bob.messages) == 2)
        bob.network.set_authorities({ALICE.public_key})
        link.send(bytes(1_001), Priority.NORMAL)
        assert str(await serving) == "violation by peer"


async def test_breaking_the_link_protocol_bans_a_follower() -> None:
    bob = Node(BOB)
    async with running(bob):
        link = await dial_as(follower(1), bob.address)
        link._writer.write(b"\x00\x20" + bytes(32))
        told = await link.run(Inbox())
        assert (told.code, told.remote) == (CloseCode.VIOLATION, True)
        await bob.until(lambda: bob.count("disconnect", follower(1)) == 1)
        assert await refused(follower(1), bob.address) == CloseCode.BANNED


async def test_a_follower_that_floods_is_banned() -> None:
    clock = ManualClock()
    limits = LinkLimits(messages_per_second=10.0, burst_seconds=1.0)
    bob = Node(BOB, clock=clock, config=replace(QUICK, follower_limits=limits, throttle_points=30))
    async with running(bob):
        link = await dial_as(follower(1), bob.address)
        serving = asyncio.create_task(link.run(Inbox()))
        for _ in range(2000):
            link.send(b"spam", Priority.NORMAL)
        await turns()
        await clock.advance(60.0)
        told = await serving
        assert (told.code, told.remote) == (CloseCode.BANNED, True)
        assert 0 < len(bob.messages) < 1000


async def test_the_oldest_unfinished_handshake_makes_room() -> None:
    bob = Node(BOB, config=replace(QUICK, max_pending_handshakes=3))
    async with running(bob):
        idle = [await open_stream(bob.address.host, bob.address.port, LoopClock()) for _ in range(3)]
        await turns()
        link = await dial_as(ALICE, bob.address)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await idle[0].reader.take(1)
        for stream in idle[1:]:
            assert not stream.reader.at_eof()
        await hang_up(link)
        for stream in idle:
            await stream.shut()


async def test_too_many_connections_are_turned_away() -> None:
    clock = ManualClock()
    bob = Node(BOB, clock=clock, config=replace(QUICK, accepts_per_second=1.0))
    async with running(bob):
        for number in range(5):
            await hang_up(await dial_as(follower(number), bob.address))
        assert await refused(follower(9), bob.address) == CloseCode.LOST
        await clock.advance(2.0)
        await hang_up(await dial_as(follower(9), bob.address))


async def test_another_network_is_logged_on_both_sides(caplog: pytest.LogCaptureFixture) -> None:
    bob = Node(BOB, genesis_hash=bytes(32))
    with caplog.at_level(logging.WARNING):
        async with running(bob):
            alice = Node(ALICE, peers=[bob.address], port=None)
            async with running(alice):
                async with asyncio.timeout(10):
                    while len(caplog.records) < 2:
                        await turns()
    messages = {record.getMessage() for record in caplog.records}
    assert any("refused a connection" in text and GENESIS.hex() in text for text in messages)
    assert any("no link with" in text and "wrong_network by peer" in text for text in messages)


async def test_a_dead_peer_is_noticed() -> None:
    clock = ManualClock()
    bob = Node(BOB, clock=clock)
    async with running(bob):
        link = await dial_as(ALICE, bob.address)
        await clock.advance(14.0)
        assert bob.network.is_connected(ALICE.public_key)
        await clock.advance(2.0)
        await bob.until(lambda: bob.count("disconnect", ALICE) == 1)
        await hang_up(link)


async def test_a_failing_connection_handler_costs_the_link_only(caplog: pytest.LogCaptureFixture) -> None:
    bob = Node(BOB)

    def fail(peer: bytes) -> None:
        raise RuntimeError("handler")

    bob.network._on_connect = fail
    async with running(bob):
        with caplog.at_level(logging.ERROR):
            link = await dial_as(ALICE, bob.address)
            told = await link.run(Inbox())
        assert (told.code, told.remote) == (CloseCode.DROPPED, True)
        assert "a connection handler failed" in caplog.text


async def test_stopping_in_the_middle_of_everything_leaves_nothing() -> None:
    bob = Node(BOB, peers=[PeerAddress(CAROL.public_key, "127.0.0.1", 1)])
    async with running(bob):
        links = [await dial_as(follower(number), bob.address) for number in range(3)]
        half_open = [await open_stream(bob.address.host, bob.address.port, LoopClock()) for _ in range(3)]
        blocked = asyncio.Event()

        async def block() -> None:
            blocked.set()
            await asyncio.Event().wait()

        bob.handle = lambda peer, payload, received_at: block()
        serving = asyncio.create_task(links[0].run(Inbox()))
        links[0].send(b"handle this for ever", Priority.NORMAL)
        await blocked.wait()
        await bob.network.stop()
        assert [what for what, _ in bob.events].count("disconnect") == 3
        await serving
        await hang_up(*links[1:])
        for stream in half_open:
            await stream.shut()


async def test_a_taken_address_is_reported() -> None:
    bob = Node(BOB)
    async with running(bob):
        alice = Node(ALICE, port=bob.address.port)
        with pytest.raises(OSError, match="in use"):
            await alice.network.start()
        await alice.network.stop()


def test_keys_of_a_wrong_size_are_refused() -> None:
    def nothing(*arguments: object) -> None:
        return None

    for genesis_hash, authorities in ((b"short", []), (GENESIS, [b"short"])):
        with pytest.raises(ValueError, match="32 bytes"):
            PeerNetwork(
                BOB,
                genesis_hash,
                None,
                [],
                authorities,
                on_message=nothing,
                on_connect=nothing,
                on_disconnect=nothing,
            )
