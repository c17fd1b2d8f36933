"""Random requests: whatever comes, the answer is well-formed JSON-RPC, and never that something unexpected happened."""

import asyncio
import json
import os
import random
import typing
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chain.interface import INTERNAL_ERROR, METHODS
from chain.schema import COIN
from node.rpc.dispatch import Dispatcher
from node.rpc.methods import HANDLERS
from tests.ledger import Person, subject
from tests.market import commitment, registration
from tests.rpc_node import RpcNode
from tests.solo import pay

ALICE, BOB = Person("alice"), Person("bob")
ROUNDS = 20_000 if os.environ.get("AITBC_EXTENDED", "") not in ("", "0") else 1_500


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), stake=1_000 * COIN) as running:
        yield running


class Inventor:
    """Makes up JSON: sometimes wild, often close to something valid."""

    def __init__(self, rng: random.Random, known: dict[str, list[Any]]) -> None:
        self.rng = rng
        self.fitting = known
        """By parameter: values that fit it."""
        self.known = [value for values in known.values() for value in values]

    def scalar(self) -> Any:
        rng = self.rng
        choices: list[Callable[[], Any]] = [
            lambda: None,
            lambda: rng.choice([True, False]),
            lambda: rng.randint(-3, 3),
            lambda: rng.choice([1 << 31, 1 << 53, (1 << 53) + 1, 1 << 63, 1 << 64, -(1 << 63), 10**30]),
            lambda: rng.choice([0.0, 0.5, -1.5, 1e300, 1e-300]),
            lambda: "".join(
                chr(rng.choice([rng.randrange(32, 127), rng.randrange(0xD7FF)])) for _ in range(rng.randrange(9))
            ),
            lambda: rng.randbytes(rng.choice([0, 1, 31, 32, 33, 64])).hex(),
            lambda: str(rng.randint(-5, 1 << 65)),
            lambda: rng.choice(self.known),
            lambda: rng.choice(self.known),
        ]
        return rng.choice(choices)()

    def value(self, depth: int = 0) -> Any:
        kind = self.rng.random()
        if depth > 4 or kind < 0.7:
            return self.scalar()
        if kind < 0.85:
            return [self.value(depth + 1) for _ in range(self.rng.randrange(4))]
        return {str(self.scalar())[:40]: self.value(depth + 1) for _ in range(self.rng.randrange(4))}

    def params(self, method: str) -> Any:
        """Often the right names, and values that are right for some name."""
        if self.rng.random() < 0.1:
            return self.value()
        names = list(typing.get_type_hints(METHODS[method].params))
        if self.rng.random() < 0.3:
            return [self.scalar() for _ in range(self.rng.randrange(len(names) + 2))]
        chosen = self.rng.sample(names, self.rng.randint(0, len(names)))
        if self.rng.random() < 0.05:
            chosen.append(str(self.scalar())[:40])
        return {name: self.argument(name) for name in chosen}

    def argument(self, name: str) -> Any:
        """Mostly a value that fits."""
        if name in self.fitting and self.rng.random() < 0.7:
            return self.rng.choice(self.fitting[name])
        return self.scalar() if self.rng.random() < 0.9 else self.value()

    def request(self) -> Any:
        if self.rng.random() < 0.05:
            return self.value()
        method = self.rng.choice(list(METHODS))
        found: dict[str, Any] = {"jsonrpc": "2.0", "id": self.rng.randrange(1 << 70), "method": method}
        if self.rng.random() < 0.9:
            found["params"] = self.params(method)
        if self.rng.random() < 0.1:
            found[self.rng.choice(list(found))] = self.value()
        if self.rng.random() < 0.05:
            del found[self.rng.choice(list(found))]
        return found

    def body(self) -> bytes:
        kind = self.rng.random()
        if kind < 0.1:
            text = json.dumps([self.request() for _ in range(self.rng.randrange(6))])
        else:
            text = json.dumps(self.request())
        body = bytearray(text.encode())
        if kind > 0.85:
            for _ in range(self.rng.randint(1, 3)):
                body[self.rng.randrange(len(body))] = self.rng.randrange(256)
        return bytes(body)


def check_answer(answer: Any) -> None:
    """Fail unless this is one answer of JSON-RPC 2.0 that blames the request, not the node."""
    assert answer["jsonrpc"] == "2.0"
    assert "id" in answer
    assert ("result" in answer) != ("error" in answer)
    if "error" in answer:
        error = answer["error"]
        assert error["code"] != INTERNAL_ERROR, answer
        assert type(error["code"]) is int
        assert error["message"]
        assert error["data"]["name"]
        assert all(isinstance(value, str) for value in error["data"].values()), error
        assert len(json.dumps(error)) < 8_000


async def test_random_requests_are_answered_in_form(node: RpcNode, rng: random.Random) -> None:
    await node.do(ALICE, *commitment(ALICE, "a"))
    gpu = subject(await node.do(ALICE, registration("a")), "gpu.registered", "gpu")
    transaction = node.solo.sign(ALICE, pay(BOB, 5))
    address, gpu_id = node.text(ALICE.address), gpu.hex()
    known: dict[str, list[Any]] = {
        **{key: [address] for key in ("address", "renter", "provider", "account", "sender", "member")},
        **{key: [gpu_id, ALICE.address.hex()] for key in ("gpu", "job", "booking", "key")},
        **{key: [0, 1, 7, 3600] for key in ("limit", "days", "height", "from_height", "seconds", "cores_min")},
        **{key: [True, False] for key in ("oldest_first", "details", "available", "open")},
        "gpus": [[gpu_id], [gpu_id, gpu_id]],
        "txid": [transaction.txid.hex()],
        "envelope": [transaction.envelope.hex()],
        "body": [transaction.body_bytes.hex()],
        "hash": [node.solo.store.head.hash.hex()],
        "kind": ["account", "gpu", "stake", "inference"],
        "order": ["price", "-memory"],
        "status": ["active", "open"],
        "model": ["RTX*", "*?[!"],
        "price_max": ["100"],
    }
    inventor = Inventor(rng, known)
    dispatcher = Dispatcher(node.context, HANDLERS)
    succeeded: set[str] = set()
    for _ in range(ROUNDS):
        body = inventor.body()
        answer = await dispatcher.answer(body)
        if answer is None:
            continue
        try:
            decoded = json.loads(answer)
            for item in decoded if isinstance(decoded, list) else [decoded]:
                check_answer(item)
        except Exception as error:
            raise AssertionError(f"request {body!r} was answered by {answer!r}") from error
        if isinstance(decoded, dict) and "result" in decoded:
            succeeded.add(json.loads(body)["method"])
    assert len(succeeded) > len(METHODS) // 2  # the inventor knows enough to get past the parameters
    assert (await node.call("chain.head"))["height"] == 2


async def test_random_bytes_over_http(node: RpcNode, rng: random.Random) -> None:
    for _ in range(100):
        status, answer = await node.post(rng.randbytes(rng.randrange(300)))
        assert status == 200
        check_answer(answer)
    assert (await node.call("chain.head"))["height"] == 0


async def test_random_bytes_instead_of_http(node: RpcNode, rng: random.Random) -> None:
    for _ in range(50):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
        writer.write(rng.randbytes(rng.randint(1, 500)) + b"\r\n\r\n")
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer == b"" or answer.startswith(b"HTTP/1."), answer
        assert b"Traceback" not in answer
        writer.close()
    assert (await node.call("chain.head"))["height"] == 0
