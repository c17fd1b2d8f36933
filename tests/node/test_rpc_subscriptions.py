"""Subscriptions over a real WebSocket: replay, following, resuming, filters, and clients that do not listen."""

import asyncio
import base64
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from chain.actions.staking import AddStake
from chain.interface import TOO_SLOW, Position
from chain.schema import COIN
from node.rpc import subscriptions
from tests.ledger import Person
from tests.rpc_node import RpcNode
from tests.solo import pay

ALICE, BOB = Person("alice"), Person("bob")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB)) as running:
        yield running


class Stream:
    """One client with subscriptions."""

    def __init__(self, web_socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = web_socket
        self.received: list[dict[str, Any]] = []

    async def call(self, method: str, **params: Any) -> Any:
        await self.socket.send_str(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        while True:
            message = await self.read()
            if "id" in message:
                return message.get("result", message.get("error"))
            self.received.append(message["params"])

    async def read(self) -> dict[str, Any]:
        message = await asyncio.wait_for(self.socket.receive(), 10)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        found: dict[str, Any] = json.loads(message.data)
        return found

    async def next(self) -> dict[str, Any]:
        """The params of the next notification."""
        if self.received:
            return self.received.pop(0)
        message = await self.read()
        assert message["method"] == "subscription"
        params: dict[str, Any] = message["params"]
        assert params.keys() == {"subscription", "resume", "item"}
        msgspec.convert(params["resume"], Position)
        return params


@contextlib.asynccontextmanager
async def stream(node: RpcNode) -> AsyncIterator[Stream]:
    async with node.client.ws_connect(f"{node.url}/ws") as web_socket:
        yield Stream(web_socket)


async def test_following_sends_each_block_as_it_becomes_final(node: RpcNode) -> None:
    node.solo.advance()
    async with stream(node) as client:
        assert await client.call("subscribe", topic="blocks") == {"subscription": 1, "height": 1}
        for _ in range(3):
            block = node.solo.advance()
            notification = await client.next()
            assert notification["item"]["hash"] == block.hash.hex()
            assert notification["resume"] == {"height": block.header.height + 1, "index": -1}


async def test_replay_then_follow_has_no_gap_and_no_repetition(node: RpcNode) -> None:
    for _ in range(5):
        node.solo.advance()
    async with stream(node) as client:
        await client.call("subscribe", topic="blocks", start={"height": 0})
        heights = [(await client.next())["item"]["height"] for _ in range(4)]
        node.solo.advance()
        heights += [(await client.next())["item"]["height"] for _ in range(3)]
    assert heights == list(range(7))


async def test_resuming_in_the_middle_of_a_block_loses_nothing(node: RpcNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "STRIDE_ITEMS", 3)
    expected = []
    for _ in range(3):
        start = node.solo.mempool.next_sequence(ALICE.address)
        transactions = [node.solo.sign(ALICE, pay(BOB, 1), sequence=start + offset) for offset in range(5)]
        await node.submit(*transactions)
        node.solo.advance()
        expected += [transaction.txid.hex() for transaction in transactions]
    found: list[str] = []
    resume: dict[str, int] = {"height": 1}
    while len(found) < len(expected):
        async with stream(node) as client:
            await client.call("subscribe", topic="transactions", start=resume)
            for _ in range(2 if len(expected) - len(found) > 1 else 1):
                notification = await client.next()
                found.append(notification["item"]["transaction"]["txid"])
                resume = notification["resume"]
    assert found == expected


async def test_events_are_filtered_by_account_and_kind(node: RpcNode) -> None:
    await node.do(ALICE, pay(BOB, 7))
    await node.do(ALICE, AddStake(COIN))
    await node.do(BOB, AddStake(COIN))
    async with stream(node) as client:
        bob = node.text(BOB.address)
        await client.call("subscribe", topic="events", start={"height": 0}, account=bob)
        first, second = await client.next(), await client.next()
        assert [event["kind"] for event in first["item"]["events"]] == ["account.transfer"]
        assert [event["kind"] for event in second["item"]["events"]] == ["stake.added"]
        assert second["item"]["height"] == 3
        await client.call("subscribe", topic="events", start={"height": 0}, kind="stake.*")
        third = await client.next()
        assert (third["subscription"], third["item"]["height"]) == (2, 2)


async def test_unsubscribing_ends_it(node: RpcNode) -> None:
    async with stream(node) as client:
        number = (await client.call("subscribe", topic="blocks"))["subscription"]
        assert await client.call("unsubscribe", subscription=number) == {"subscription": number}
        node.solo.advance()
        assert (await client.call("chain.head"))["height"] == 1  # an ordinary call, and nothing came before it
        assert client.received == []
        refused = await client.call("unsubscribe", subscription=number)
        assert refused["data"]["name"] == "unknown_subscription"


async def test_subscriptions_are_bounded_and_checked(node: RpcNode) -> None:
    async with stream(node) as client:
        assert (await client.call("subscribe", topic="events", account="tait1qq"))["data"]["name"] == "invalid_address"
        for _ in range(subscriptions.MAXIMUM_SUBSCRIPTIONS):
            await client.call("subscribe", topic="blocks")
        refused = await client.call("subscribe", topic="blocks")
        assert refused["data"]["name"] == "too_many_subscriptions"
        assert (await client.call("subscribe", topic="weather"))["code"] == -32602
        await client.socket.send_bytes(b"\x00")
        message = await asyncio.wait_for(client.socket.receive(), 10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.UNSUPPORTED_DATA)


async def test_stream_methods_are_unknown_outside_a_stream(node: RpcNode) -> None:
    assert (await node.fault("subscribe", topic="blocks")).code == -32601


async def test_slow_client_is_closed_with_its_own_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), send_seconds=0.3) as node:
        for _ in range(4):
            start = node.solo.mempool.next_sequence(ALICE.address)
            actions = [pay(BOB, 1)] * 40
            await node.submit(*(node.solo.sign(ALICE, *actions, sequence=start + offset) for offset in range(50)))
            node.solo.advance()
        noticed = asyncio.Event()
        log = logging.getLogger("node.rpc.subscriptions")
        handler = logging.Handler()
        handler.emit = lambda record: noticed.set()  # type: ignore[method-assign]
        log.addHandler(handler)
        caplog.set_level(logging.INFO, log.name)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", node.server.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=4_096)
        try:
            await _open(reader, writer)
            await _say(writer, {"topic": "transactions", "start": {"height": 0}})
            await asyncio.wait_for(noticed.wait(), 10)
            assert (await node.call("chain.head"))["height"] == 4  # others are served meanwhile
            assert await asyncio.wait_for(_close_code(reader), 10) == TOO_SLOW
        finally:
            log.removeHandler(handler)
            writer.close()


async def _open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The opening handshake of RFC 6455, on a connection whose buffers the test has chosen."""
    key = base64.b64encode(bytes(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    assert (await reader.readline()).split()[1] == b"101"
    while (await reader.readline()).strip():
        pass


async def _say(writer: asyncio.StreamWriter, params: dict[str, Any]) -> None:
    """A subscribe request as a text frame, masked with zeros."""
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}).encode()
    assert len(text) < 126
    writer.write(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
    await writer.drain()


async def _close_code(reader: asyncio.StreamReader) -> int:
    """Read frames up to the close frame."""
    while True:
        head, length = await reader.readexactly(2)
        if length >= 126:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
        payload = await reader.readexactly(length)
        if head & 0x0F == 0x8:
            return int.from_bytes(payload[:2], "big")
