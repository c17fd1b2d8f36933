"""A node's interface over a real socket, store, mempool and submission; blocks are made by hand."""

import asyncio
import contextlib
import io
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from chain.action import Action
from chain.crypto.address import format_address
from chain.evidence import ConflictingVotes
from chain.interface import METHODS
from chain.parameters import Parameters
from chain.result import TransactionResult
from chain.schema import COIN
from chain.transaction import Transaction
from genesis.specification import Specification
from node.metrics import Metrics
from node.network.peers import PeerInfo
from node.rpc.context import RpcContext
from node.rpc.server import RpcServer
from node.status import NodeStatus
from node.submission import Submission
from tests.ledger import DEFAULT_FEE, Person
from tests.solo import Solo


class Refused(Exception):
    """The error object of an answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code: int = error["code"]
        self.data: dict[str, Any] = error.get("data", {})
        self.name = self.data.get("name")
        super().__init__(error)


class RpcNode:
    """An async context manager: a solo node that serves RPC, and one well-behaved client."""

    def __init__(
        self,
        path: Path,
        people: Sequence[Person] = (),
        *,
        parameters: Parameters | None = None,
        stake: int = 0,
        specification: Specification | None = None,
        **server: Any,
    ) -> None:
        self.solo = Solo(path, people, specification=specification, parameters=parameters, stake=stake)
        self.submission = Submission(self.solo.mempool, self.solo.store, self.solo.verifier)
        self.peers: list[PeerInfo] = []
        self.evidence: list[ConflictingVotes] = []
        self.waiting: str | None = None
        self.metrics = Metrics()
        self.context = RpcContext(
            store=self.solo.store,
            specification=self.solo.specification,
            mempool=self.solo.mempool,
            submission=self.submission,
            status=self.status,
            peers=lambda: self.peers,
            metrics=self.metrics,
            evidence=lambda: self.evidence,
        )
        self.metrics.watch(self.status, lambda: len(self.peers))
        self.server = RpcServer(self.context, **server)
        self.ids = itertools.count(1)
        self.solo.executor.subscribe(self.server.on_final)

    async def __aenter__(self) -> "RpcNode":
        await self.server.start()
        self.client = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.server.stop()
        self.context.close()
        self.solo.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def status(self) -> NodeStatus:
        """What a composed node would say of itself."""
        head = self.solo.executor.head()
        return NodeStatus(
            role="authority",
            height=head.height,
            head_hash=head.hash,
            head_time_ms=head.time_ms,
            epoch=head.authorities.epoch,
            view=1,
            authorities_total=1,
            authorities_connected=1,
            quorum=1,
            waiting=self.waiting,
            syncing=False,
            target_height=head.height,
            mempool_size=len(self.solo.mempool),
            version="test",
        )

    async def post(self, body: bytes | str, **options: Any) -> tuple[int, Any]:
        """HTTP status and decoded answer of a raw body; None if there is none."""
        status, answer = await self.exchange(body, **options)
        return status, json.loads(answer) if answer else None

    async def exchange(self, body: bytes | str, **options: Any) -> tuple[int, bytes]:
        """HTTP status and answer of a raw body, as it comes: decoding a long one would hold up the node beside it."""
        data = body.encode() if isinstance(body, str) else body
        async with self.client.post(f"{self.url}/rpc", data=io.BytesIO(data), **options) as response:
            return response.status, await response.read()

    async def call(self, method: str, /, *args: Any, **params: Any) -> Any:
        """The result of one call. Raises Refused. Every result must have the form that the interface promises."""
        request = {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": list(args) or params}
        status, answer = await self.post(json.dumps(request))
        assert status == 200
        assert answer["id"] == request["id"]
        if "error" in answer:
            raise Refused(answer["error"])
        check_result(method, answer["result"])
        return answer["result"]

    async def fault(self, method: str, /, *args: Any, **params: Any) -> Refused:
        """The error of a call that must fail."""
        try:
            result = await self.call(method, *args, **params)
        except Refused as refused:
            return refused
        raise AssertionError(f"{method} answered {result}")

    async def submit(self, *transactions: Transaction) -> None:
        """Hand transactions in, one after the other."""
        for transaction in transactions:
            answer = await self.call("tx.submit", envelope=transaction.envelope.hex())
            assert answer == {"txid": transaction.txid.hex()}

    async def do(
        self, sender: Person, *actions: Action, after_ms: int = 1_000, fee: int = DEFAULT_FEE
    ) -> TransactionResult:
        """A transaction of these actions in a block of its own; it must succeed."""
        transaction = self.solo.sign(sender, *actions, fee=fee)
        await self.submit(transaction)
        self.solo.advance(after_ms=after_ms)
        place = self.solo.store.transaction_location(transaction.txid)
        assert place is not None
        result = self.solo.store.result(*place)
        assert result is not None
        assert result.succeeded, (result.error, result.error_data)
        return result

    def text(self, address: bytes) -> str:
        return format_address(self.solo.specification.prefix, address)


def check_result(method: str, result: Any) -> None:
    """Fail unless a result has exactly the form that a client is promised."""
    import msgspec

    msgspec.convert(result, METHODS[method].result)


def request(method: str, params: Any = (), /, **changes: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params, **changes})


@contextlib.asynccontextmanager
async def good_client(node: RpcNode, person: Person) -> AsyncIterator[None]:
    """A client beside the bad one; every one of its calls must succeed, and quickly."""
    address, stop, answered = node.text(person.address), asyncio.Event(), 0

    async def work() -> None:
        nonlocal answered
        async with aiohttp.ClientSession() as session:
            while not stop.is_set() or not answered:
                request = {"jsonrpc": "2.0", "id": "good", "method": "account.get", "params": [address]}
                async with asyncio.timeout(2), session.post(f"{node.url}/rpc", json=request) as response:
                    answer = await response.json()
                    assert answer["result"]["balance"] == str(10_000 * COIN)
                    answered += 1

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        stop.set()
        await task
