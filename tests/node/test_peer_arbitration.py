"""One link per pair of nodes: simultaneous dials, crashes that one side missed, and handshakes held back."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from node.network.config import PeerAddress
from node.network.handshake import CloseCode, LinkClosed
from node.network.link import LinkLimits, LinkTimes, dial
from node.network.stream import LoopClock, open_stream
from tests.network_support import (
    ALICE,
    BOB,
    GENESIS,
    Inbox,
    ManualClock,
    Node,
    dial_as,
    hang_up,
    running,
    turns,
)

assert ALICE.public_key > BOB.public_key, "the tests below rely on Bob's key being the smaller"


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    await turns(3)
    assert asyncio.all_tasks() == {asyncio.current_task()}


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
