"""The peer network over loopback: finding peers, keeping them, and what misbehaviour costs them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest

from node.network.config import NetworkConfig, PeerAddress
from node.network.frames import Priority
from node.network.handshake import CloseCode
from node.network.link import LinkLimits, LinkTimes
from node.network.peers import PeerNetwork
from node.network.stream import Clock, LoopClock, Stream, open_stream
from tests.network_support import (
    ALICE,
    BOB,
    CAROL,
    GENESIS,
    QUICK,
    Inbox,
    ManualClock,
    Node,
    dial_as,
    follower,
    hang_up,
    refused,
    running,
    turns,
)


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    await turns(3)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_connection_given_up_before_its_first_turn_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    bob = Node(BOB)
    streams: list[Stream] = []
    accepted = bob.network._accepted

    def give_up(stream: Stream) -> None:
        accepted(stream)
        streams.append(stream)
        for task in bob.network._pending:
            task.cancel()

    monkeypatch.setattr(bob.network, "_accepted", give_up)
    async with running(bob):
        reader, writer = await asyncio.open_connection(bob.address.host, bob.address.port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read(1) == b""
        assert streams[0].writer.transport.is_closing()
        writer.close()


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
        jitter=lambda: 0.999,
    )
    async with running(alice):
        await turns()
        await clock.advance(300.0)
        async with running(bob):
            # By now the waits are long: the dial at 255 s was the ninth, the next comes at 511 s.
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
