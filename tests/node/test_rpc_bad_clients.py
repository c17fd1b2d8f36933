"""Clients that are slow, silent, greedy or many: each is bounded or cut off, and nobody else notices."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from node.rpc import guests, methods
from node.rpc.dispatch import MAXIMUM_LARGE_BATCHES, Dispatcher
from tests.ledger import Person
from tests.rpc_node import RpcNode, good_client, request

ALICE, BOB = Person("alice"), Person("bob")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), body_seconds=0.3, idle_seconds=0.5) as running:
        yield running


async def _connect(node: RpcNode) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", node.server.port)


async def test_slow_senders_are_cut_off(node: RpcNode) -> None:
    """One dribbles its headers, one says nothing, one promises a body and does not send it."""
    async with good_client(node, ALICE):
        silent = await _connect(node)
        dribbling = await _connect(node)
        dribbling[1].write(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nX-Padding: ")
        promising = await _connect(node)
        promising[1].write(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        endless = await _connect(node)
        endless[1].write(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        async with asyncio.timeout(10):
            assert await silent[0].read() == b""
            assert await dribbling[0].read() == b""
            answer = await promising[0].read()
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"request_timeout" in answer
            assert b"request_timeout" in await endless[0].read()
        for _, writer in (silent, dribbling, promising, endless):
            writer.close()


async def test_undeclared_large_body_is_cut_off(node: RpcNode) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    async with good_client(node, ALICE):
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with node.client.post(f"{node.url}/rpc", data=chunks()) as response:
                assert response.status == 413


async def test_client_that_takes_no_answer_is_cut_off(tmp_path: Path) -> None:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), send_seconds=0.3) as node:
        body = f"[{','.join([request('rpc.discover')] * 80)}]"
        _, answer = await node.exchange(body)
        assert all("result" in each for each in json.loads(answer))
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", node.server.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=4_096)
        head = f"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with _watched("node.rpc.server") as noticed:
            writer.write(head.encode() + body.encode())
            await asyncio.wait_for(noticed.wait(), 10)
        received = 0
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(reader.read(65_536), 10):
                received += len(piece)
        assert received < len(answer)
        writer.close()


async def test_untaken_answers_are_bounded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guests, "MAXIMUM_ANSWER_BYTES", 20 << 20)
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB)) as node, good_client(node, ALICE):
        body = f"[{','.join([request('rpc.discover')] * 80)}]"
        size = len((await node.exchange(body))[1])
        assert 6 << 20 < size < 20 << 20
        head = f"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        untaken = []
        for _ in range(6):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.connect(("127.0.0.1", node.server.port))
            untaken.append(await asyncio.open_connection(sock=connection, limit=4_096))
            untaken[-1][1].write(head.encode() + body.encode())
        received = 0
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(untaken[0][0].read(65_536), 10):
                received += len(piece)
        assert received < size
        for _, writer in untaken:
            writer.close()
    assert "unexpectedly" not in caplog.text


async def test_untaken_answers_to_sockets_count_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "MAXIMUM_ANSWER_BYTES", 20 << 20)
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB)) as node, good_client(node, ALICE):
        body = f"[{','.join([request('rpc.discover')] * 80)}]"
        async with aiohttp.ClientSession() as session:
            untaken = []
            for _ in range(6):
                untaken.append(await session.ws_connect(f"{node.url}/ws", max_msg_size=0))
                await untaken[-1].send_str(body)
            # The last answer is the last that is made, so by then the first had to give way.
            kinds = [(await asyncio.wait_for(each.receive(), 20)).type for each in reversed(untaken)]
        assert kinds[0] is aiohttp.WSMsgType.TEXT
        assert kinds[-1] is not aiohttp.WSMsgType.TEXT


async def test_a_batch_reads_no_more_than_fits(node: RpcNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.rpc.dispatch.MAXIMUM_RESPONSE_BYTES", 2_000)
    looks = []
    block = node.context.store.snapshot
    monkeypatch.setattr(node.context.store, "snapshot", lambda: looks.append(1) or block())
    _, answers = await node.post("[" + ",".join(request("chain.block", {"height": 0}) for _ in range(50)) + "]")
    assert "result" in answers[0]
    assert answers[-1]["error"]["data"]["name"] == "response_too_large"
    assert len(looks) < 10


async def test_large_batches_leave_room_between_them(node: RpcNode) -> None:
    """However many arrive together, each round of the event loop holds one of them."""
    dispatcher = Dispatcher(node.context, methods.HANDLERS)
    body = f"[{','.join([request('node.version')] * 50)}]".encode()
    rounds, done = 0, asyncio.gather(*(dispatcher.answer(body) for _ in range(30)))
    while not done.done():
        await asyncio.sleep(0)
        rounds += 1
    assert rounds >= 30
    assert all(answer and answer.count(b"result") == 50 for answer in done.result())
    many = await asyncio.gather(*(dispatcher.answer(body) for _ in range(MAXIMUM_LARGE_BATCHES + 5)))
    assert sum(b"node_busy" in (answer or b"") for answer in many) == 5


@contextlib.contextmanager
def _watched(name: str) -> Iterator[asyncio.Event]:
    """An event that is set when the logger of this name says something."""
    said, log = asyncio.Event(), logging.getLogger(name)
    handler = logging.Handler()
    handler.emit = lambda record: said.set()  # type: ignore[method-assign]
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


async def test_connections_are_bounded_and_the_longest_idle_gives_way(tmp_path: Path) -> None:
    async with RpcNode(tmp_path / "ledger", maximum_connections=3) as node:
        kept = [await _connect(node) for _ in range(3)]
        for reader, writer in reversed(kept):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        reader, writer = await _connect(node)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(kept[2][0].read(65_536), 5):
                pass
        for _, other in (*kept, (reader, writer)):
            other.close()


async def test_connection_is_refused_where_all_others_are_busy(tmp_path: Path) -> None:
    async with RpcNode(tmp_path / "ledger", maximum_connections=2) as node, aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(f"{node.url}/ws") for _ in range(2)]
        reader, writer = await _connect(node)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await sockets[0].send_str(request("node.status"))
        assert "result" in await asyncio.wait_for(sockets[0].receive_json(), 5)
        for each in sockets:
            await each.close()


async def test_idle_connections_shut_nobody_out(tmp_path: Path) -> None:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), maximum_connections=8) as node, good_client(node, ALICE):
        idle = [await _connect(node) for _ in range(40)]
        await node.call("node.status")
        for _, writer in idle:
            writer.close()


async def test_slow_bodies_shut_nobody_out(tmp_path: Path) -> None:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), maximum_requests=4) as node, good_client(node, ALICE):
        slow = [await _connect(node) for _ in range(20)]
        for _, writer in slow:
            writer.write(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        for _ in range(5):
            await node.call("node.status")
        for _, writer in slow:
            writer.close()


@pytest.mark.parametrize("head", ["Content-Length: 1000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
async def test_client_that_leaves_within_its_body_is_no_error(
    node: RpcNode, caplog: pytest.LogCaptureFixture, head: str
) -> None:
    with caplog.at_level(logging.INFO, "node.rpc"):
        _, writer = await _connect(node)
        writer.write(f"POST /rpc HTTP/1.1\r\nHost: localhost\r\n{head}".encode())
        await node.call("node.status")
        writer.transport.abort()
        for _ in range(3):
            await node.call("node.status")
    assert caplog.text == ""


async def test_answers_are_bounded(node: RpcNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.rpc.dispatch.MAXIMUM_RESPONSE_BYTES", 2_000)
    batch = "[" + ",".join(request("chain.params") for _ in range(20)) + "]"
    _, answers = await node.post(batch)
    assert "result" in answers[0]
    assert answers[-1]["error"]["data"]["name"] == "response_too_large"


async def test_batch_of_scans_does_not_shut_others_out(node: RpcNode) -> None:
    batch = "[" + ",".join(request("gpu.list") for _ in range(100)) + "]"
    async with good_client(node, ALICE):
        answers = await asyncio.gather(*(node.post(batch) for _ in range(4)))
    assert all("result" in answer for _, batch_answers in answers for answer in batch_answers)
