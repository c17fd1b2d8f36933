"""How long one payment takes on a quiet network of four authorities, as its sender sees it.

From before the request of `tx.submit` leaves until the WebSocket of the same node tells that the transaction is final.
Payments go to the nodes in turn, one at a time, after pauses drawn by lot, so that they meet leaders and followers at
every point of the idle interval.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from chain.transaction import Transaction
from tests.benchmarks import load, network, report
from tests.e2e.support import NodeProcess

VALID_MS = 1_800_000
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = (0.1, 0.7)
MEASURES = (
    report.Measure("median", "ms", 300, at_least=False),
    report.Measure("slowest tenth", "ms", at_least=False),
)


def once(arguments: argparse.Namespace) -> Mapping[str, float]:
    people = load.people(arguments.transactions)
    with (
        tempfile.TemporaryDirectory(prefix="aitbc-latency-") as name,
        network.make(Path(name), arguments.authorities, people) as nodes,
    ):
        network.start(nodes)
        chain_id = nodes.layout.specification.chain_id
        valid_until_ms = time.time_ns() // 1_000_000 + VALID_MS
        transactions = load.transfers(chain_id, people, arguments.transactions, valid_until_ms)
        seconds = sorted(asyncio.run(_pay(nodes.nodes, transactions)))
        return {
            "median": 1_000 * statistics.median(seconds),
            "slowest tenth": 1_000 * seconds[len(seconds) * 9 // 10],
        }


class _Client:
    """A sender with one connection for requests and one for what becomes final, both to the same node."""

    def __init__(self, session: aiohttp.ClientSession, node: NodeProcess) -> None:
        self._session = session
        self._url = "http://{}:{}".format(*network.address(node))

    async def __aenter__(self) -> Self:
        self._socket = await self._session.ws_connect(self._url + "/ws")
        await self._socket.send_json(_request("subscribe", topic="transactions"))
        answer = await self._socket.receive_json()
        assert "result" in answer, answer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._socket.close()

    async def pay(self, transaction: Transaction) -> float:
        """Seconds until the transaction is final."""
        request = _request("tx.submit", envelope=transaction.envelope.hex())
        began = time.monotonic()
        async with self._session.post(self._url + "/rpc", json=request) as response:
            answer = await response.json()
        assert "result" in answer, answer
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                told = await self._socket.receive_json()
                if told["params"]["item"]["transaction"]["txid"] == transaction.txid.hex():
                    assert told["params"]["item"]["transaction"]["succeeded"], told
                    return time.monotonic() - began


async def _pay(nodes: Sequence[NodeProcess], transactions: Sequence[Transaction]) -> list[float]:
    pauses = random.Random(load.SEED)
    async with aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_Client(session, node)) for node in nodes]
        seconds = []
        for number, transaction in enumerate(transactions):
            await asyncio.sleep(pauses.uniform(*PAUSE_SECONDS))
            seconds.append(await clients[number % len(clients)].pay(transaction))
        return seconds


def _request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


if __name__ == "__main__":
    report.main(
        "latency",
        MEASURES,
        once,
        {"transactions": (40, "payments"), "authorities": (4, "nodes")},
    )
