"""Everything wrong that a client can say: each has its own coded error, and nobody else notices."""

import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chain.actions.accounts import Transfer
from chain.bank import NATIVE_ASSET
from chain.codec import encode
from chain.crypto.address import format_address
from chain.record import encode_record, to_plain
from chain.schema import COIN
from chain.transaction import Transaction, encode_envelope, signing_bytes
from node.rpc import methods
from tests.ledger import Person
from tests.rpc_node import RpcNode, good_client, request
from tests.solo import pay

ALICE, BOB = Person("alice"), Person("bob")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), body_seconds=0.3, idle_seconds=0.5) as running:
        yield running


def block(height: str) -> str:
    """A request whose only parameter is this text."""
    return f'{{"jsonrpc":"2.0","id":1,"method":"chain.block","params":[{height}]}}'


DEEP = '{"jsonrpc":"2.0","id":1,"method":"chain.head","params":' + "[" * 100_000 + "]" * 100_000 + "}"

MISTYPED = format_address("dait", ALICE.address)[:-1] + "q"
FOREIGN = format_address("tait", ALICE.address)
CODES = {
    "parse_error": -32700,
    "invalid_request": -32600,
    "method_not_found": -32601,
    "invalid_params": -32602,
    "malformed_encoding": 1001,
    "invalid_address": 1102,
    "wrong_network_address": 1103,
    "not_found": 1106,
    "request_too_large": 2401,
    "batch_too_large": 2402,
    "invalid_cursor": 2410,
}

BODIES: dict[str, tuple[bytes | str, str]] = {
    "empty": ("", "parse_error"),
    "not json": ("hello", "parse_error"),
    "cut off": ('{"jsonrpc":"2.0","id":1', "parse_error"),
    "two values": ('{"jsonrpc":"2.0","id":1,"method":"chain.head"} {}', "parse_error"),
    "not utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', "parse_error"),
    "not a number": (block("NaN"), "parse_error"),
    "infinity": (block("Infinity"), "parse_error"),
    "too deep": (DEEP, "parse_error"),
    "a number": ("5", "invalid_request"),
    "a string": ('"chain.head"', "invalid_request"),
    "null": ("null", "invalid_request"),
    "empty object": ("{}", "invalid_request"),
    "no version": ('{"id":1,"method":"chain.head"}', "invalid_request"),
    "old version": (request("chain.head", jsonrpc="1.0"), "invalid_request"),
    "method a number": (request("chain.head", method=5), "invalid_request"),
    "method too long": (request("x" * 1_000), "invalid_request"),
    "id an object": (request("chain.head", id={}), "invalid_request"),
    "id a list": (request("chain.head", id=[1]), "invalid_request"),
    "id a fraction": (request("chain.head", id=1.5), "invalid_request"),
    "id a boolean": (request("chain.head", id=True), "invalid_request"),
    "id too long": (request("chain.head", id="x" * 10_000), "invalid_request"),
    "id huge": ('{"jsonrpc":"2.0","method":"chain.head","id":' + "9" * 10_000 + "}", "invalid_request"),
    "empty batch": ("[]", "invalid_request"),
    "large batch": (f"[{','.join([request('chain.head')] * 101)}]", "batch_too_large"),
    "large body": (" " * ((1 << 20) + 1), "request_too_large"),
    "unknown method": (request("chain.tail"), "method_not_found"),
    "private method": (request("__class__"), "method_not_found"),
    "params a string": (request("chain.head", "x"), "invalid_params"),
    "params a number": (request("chain.head", 5), "invalid_params"),
    "unknown param": (request("chain.head", {"verbose": True}), "invalid_params"),
    "too many params": (request("chain.head", [1]), "invalid_params"),
    "missing param": (request("account.get"), "invalid_params"),
    "wrong type": (request("account.get", [5]), "invalid_params"),
    "float": (request("chain.block", [1.0]), "invalid_params"),
    "float with exponent": (block("1e400"), "invalid_params"),
    "float amount": (request("gpu.list", {"price_max": 1.5}), "invalid_params"),
    "integer amount": (request("gpu.list", {"price_max": 5}), "invalid_params"),
    "negative amount": (request("gpu.list", {"price_max": "-5"}), "invalid_params"),
    "fractional amount": (request("gpu.list", {"price_max": "1.5"}), "invalid_params"),
    "amount in other digits": (request("gpu.list", {"price_max": "٣"}), "invalid_params"),
    "amount with line feed": (request("gpu.list", {"price_max": "5\n"}), "invalid_params"),
    "huge amount": (request("gpu.list", {"price_max": "9" * 21}), "invalid_params"),
    "negative": (request("chain.block", [-1]), "invalid_params"),
    "huge integer": (block("9" * 400), "invalid_params"),
    "endless integer": (block("9" * 9_999), "invalid_params"),
    "boolean for integer": (request("chain.block", [True]), "invalid_params"),
    "hash too short": (request("tx.get", ["00" * 31]), "invalid_params"),
    "hash with line feed": (request("tx.get", ["00" * 32 + "\n"]), "invalid_params"),
    "hash not hex": (request("tx.get", ["zz" * 32]), "invalid_params"),
    "limit too high": (request("gpu.list", {"limit": 101}), "invalid_params"),
    "limit zero": (request("gpu.list", {"limit": 0}), "invalid_params"),
    "unknown choice": (request("gpu.list", {"order": "beauty"}), "invalid_params"),
    "cursor of nonsense": (request("gpu.list", {"cursor": "abc"}), "invalid_cursor"),
    "cursor of another list": (request("gpu.list", {"cursor": encode([5]).hex()}), "invalid_cursor"),
    "address of nonsense": (request("account.get", ["dait1nonsense"]), "invalid_address"),
    "address with a wrong letter": (request("account.get", [MISTYPED]), "invalid_address"),
    "address of another network": (request("account.get", [FOREIGN]), "wrong_network_address"),
    "envelope not hex": (request("tx.submit", ["zz"]), "invalid_params"),
    "envelope with blanks": (request("tx.submit", ["00 00"]), "invalid_params"),
    "envelope a float": (request("tx.submit", [0.5]), "invalid_params"),
    "envelope empty": (request("tx.submit", [""]), "malformed_encoding"),
    "envelope no cbor": (request("tx.submit", ["ff"]), "malformed_encoding"),
    "envelope a map": (request("tx.submit", ["a10102"]), "malformed_encoding"),
    "envelope with a tail": (request("tx.submit", [encode([b"", bytes(64)]).hex() + "00"]), "malformed_encoding"),
    "no such block": (request("chain.block", [10**9]), "not_found"),
    "no such gpu": (request("gpu.get", ["00" * 32]), "not_found"),
    "no such booking": (request("booking.get", ["00" * 32]), "not_found"),
    "no such job": (request("job.get", ["00" * 32]), "not_found"),
    "key of a record too long": (request("proof.record", ["gpu", "zz"]), "invalid_params"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
async def test_bad_body_has_its_own_error(node: RpcNode, name: str) -> None:
    body, error = BODIES[name]
    async with good_client(node, ALICE):
        status, answer = await node.post(body)
    assert status == (413 if error == "request_too_large" else 200)
    assert (answer["error"]["data"]["name"], answer["error"]["code"]) == (error, CODES[error])
    assert answer["error"]["message"]
    assert answer["error"]["data"]["hint"]
    assert len(json.dumps(answer)) < 2_000
    assert answer["id"] in (1, None)


def altered(transaction: Transaction, person: Person, **changes: Any) -> bytes:
    """The transaction with other plain field values, signed again: what no honest wallet would make."""
    names = [
        "chain_id",
        "sender",
        "public_key",
        "sequence",
        "valid_until_ms",
        "idempotency_id",
        "fee",
        "actions",
        "memo",
    ]
    plain = dict(zip(names, to_plain(transaction.body), strict=True)) | changes
    body = encode([1, *plain.values()])
    return encode_envelope(body, person.key.sign(signing_bytes(body)))


def transfer(amount: Any) -> list[Any]:
    return [[1, [BOB.address, NATIVE_ASSET, amount]]]


ENVELOPES: dict[str, tuple[Callable[[RpcNode, Transaction], bytes], str]] = {
    "wrong chain": (lambda node, good: altered(good, ALICE, chain_id="other-00000000"), "wrong_chain"),
    "bad signature": (lambda node, good: encode_envelope(good.body_bytes, bytes(64)), "bad_signature"),
    "another's signature": (
        lambda node, good: encode_envelope(good.body_bytes, BOB.key.sign(signing_bytes(good.body_bytes))),
        "bad_signature",
    ),
    "short signature": (lambda node, good: encode([good.body_bytes, bytes(63)]), "malformed_encoding"),
    "another's key": (
        lambda node, good: altered(good, BOB, public_key=BOB.key.public_key),
        "key_mismatch",
    ),
    "gapped sequence": (lambda node, good: altered(good, ALICE, sequence=1_000), "sequence_too_far"),
    "unknown action": (lambda node, good: altered(good, ALICE, actions=[[9_999, []]]), "unknown_action"),
    "no action": (lambda node, good: altered(good, ALICE, actions=[]), "invalid_field"),
    "negative amount": (lambda node, good: altered(good, ALICE, actions=transfer(-1)), "invalid_field"),
    "zero amount": (lambda node, good: altered(good, ALICE, actions=transfer(0)), "invalid_field"),
    "boolean amount": (lambda node, good: altered(good, ALICE, actions=transfer(True)), "invalid_field"),
    "text amount": (lambda node, good: altered(good, ALICE, actions=transfer("5")), "invalid_field"),
    "more than there is": (
        lambda node, good: altered(good, ALICE, actions=transfer((1 << 64) - 1)),
        "insufficient_funds",
    ),
    "overflow": (
        # 2^64 as the nine bytes that CBOR has for 2^64 - 1, but one more: a bignum, which no record holds.
        lambda node, good: good.envelope[:1] + b"\xc2\x49\x01" + bytes(8) + good.envelope[1:],
        "malformed_encoding",
    ),
    "fee too low": (lambda node, good: altered(good, ALICE, fee=1), "fee_too_low"),
    "expired": (lambda node, good: altered(good, ALICE, valid_until_ms=1), "transaction_expired"),
    "valid for too long": (lambda node, good: altered(good, ALICE, valid_until_ms=1 << 52), "validity_too_long"),
    "module sender": (lambda node, good: altered(good, ALICE, sender=b"\x02" + bytes(32)), "key_mismatch"),
    "too large": (lambda node, good: encode_envelope(bytes(300_000), bytes(64)), "transaction_too_large"),
}


@pytest.mark.parametrize("name", ENVELOPES)
async def test_bad_envelope_has_its_own_error(node: RpcNode, name: str) -> None:
    make, error = ENVELOPES[name]
    envelope = make(node, node.solo.sign(ALICE, pay(BOB, 5)))
    async with good_client(node, ALICE):
        found = await node.fault("tx.submit", envelope=envelope.hex())
    assert found.name == error
    assert found.code > 0
    assert len(node.solo.mempool) == 0


async def test_float_inside_a_transaction_is_refused(node: RpcNode) -> None:
    good = node.solo.sign(ALICE, pay(BOB, 5))
    body = encode_record(good.body)
    marker = encode(NATIVE_ASSET) + encode(5)
    assert body.count(marker) == 1
    floating = body.replace(marker, encode(NATIVE_ASSET) + bytes.fromhex("fb4014000000000000"))  # 5.0
    envelope = encode_envelope(floating, ALICE.key.sign(signing_bytes(floating)))
    assert (await node.fault("tx.submit", envelope=envelope.hex())).name == "malformed_encoding"


async def test_replayed_and_stale_transactions(node: RpcNode) -> None:
    first = node.solo.sign(ALICE, pay(BOB, 5))
    await node.submit(first, first)
    node.solo.advance()
    await node.submit(first)  # final already: a success, and nothing happens again
    node.solo.advance()
    assert node.solo.balance(BOB) == 10_000 * COIN + 5
    stale = node.solo.sign(ALICE, pay(BOB, 6), sequence=0)
    found = await node.fault("tx.submit", envelope=stale.envelope.hex())
    assert (found.name, found.data["expected"], found.data["got"]) == ("sequence_mismatch", "1", "0")


async def test_one_bad_item_of_a_batch_costs_one_error(node: RpcNode) -> None:
    items: list[Any] = [
        {"jsonrpc": "2.0", "id": "a", "method": "chain.head"},
        5,
        {"jsonrpc": "2.0", "id": "b", "method": "nothing"},
        {"jsonrpc": "2.0", "method": "chain.head"},
        {"jsonrpc": "2.0", "id": {}, "method": "chain.head"},
        {"jsonrpc": "2.0", "id": 12345678901234567890, "method": "tx.submit", "params": ["ff"]},
        {"jsonrpc": "2.0", "id": None, "method": "node.version"},
    ]
    status, answers = await node.post(json.dumps(items))
    assert status == 200
    assert [(answer["id"], answer.get("error", {}).get("code")) for answer in answers] == [
        ("a", None),
        (None, -32600),
        ("b", -32601),
        (None, -32600),
        (12345678901234567890, 1001),
        (None, None),
    ]


@pytest.mark.parametrize("number", ["0", "-7", "123456789012345678901234567890", '"\\u00e9 \\" x"', "null", '""'])
async def test_id_returns_exactly(node: RpcNode, number: str) -> None:
    body = f'{{"jsonrpc":"2.0","method":"chain.head","id":{number}}}'
    async with node.client.post(f"{node.url}/rpc", data=body) as response:
        assert f'"id":{number}}}'.encode() in await response.read()


async def test_notifications_are_answered_by_nothing(node: RpcNode) -> None:
    single = '{"jsonrpc":"2.0","method":"chain.head"}'
    for body in (single, f"[{single},{single}]", '{"jsonrpc":"2.0","method":"nothing"}'):
        assert await node.post(body) == (204, None)


async def test_http_itself_is_checked(node: RpcNode) -> None:
    good = request("chain.head")
    cases: list[tuple[dict[str, str], int, str | None]] = [
        ({"Host": "attacker.example"}, 403, "forbidden_host"),
        ({"Host": f"attacker.example:{node.server.port}"}, 403, "forbidden_host"),
        ({"Host": "[::1"}, 403, "forbidden_host"),
        ({"Host": "localhost:9999"}, 200, None),
        ({"Host": "[::1]:80"}, 200, None),
        ({"Origin": "http://attacker.example"}, 403, "forbidden_origin"),
        ({"Origin": "null"}, 403, "forbidden_origin"),
        ({"Origin": node.url}, 200, None),
        ({"Content-Type": "text/plain"}, 200, None),
    ]
    for headers, expected, name in cases:
        status, answer = await node.post(good, headers=headers)
        assert status == expected, headers
        assert name is None or answer["error"]["data"]["name"] == name
    squeezed = gzip.compress(good.encode())
    async with node.client.post(f"{node.url}/rpc", data=squeezed, headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 415
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await node.client.ws_connect(f"{node.url}/ws", origin="http://attacker.example")
    for method, path, expected in (("GET", "/rpc", 405), ("GET", "/", 404), ("PUT", "/rpc", 405), ("POST", "/ws", 405)):
        async with node.client.request(method, f"{node.url}{path}") as response:
            assert response.status == expected


async def test_configured_names_and_origins_are_let_in(tmp_path: Path) -> None:
    options = {"hosts": ["node.example"], "origins": ["https://wallet.example"]}
    async with RpcNode(tmp_path / "ledger", **options) as node:
        headers = {"Host": "node.example:8081", "Origin": "https://wallet.example"}
        async with node.client.post(f"{node.url}/rpc", data=request("chain.head"), headers=headers) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "https://wallet.example"
        async with node.client.options(f"{node.url}/rpc", headers=headers) as response:
            assert response.status == 204


async def test_nothing_internal_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(context: Any, params: Any) -> Any:
        raise RuntimeError("secret path /home/operator/node.key")

    async def later(context: Any, params: Any) -> Any:
        raise KeyError("secret of another kind")

    def unprintable(context: Any, params: Any) -> Any:
        return object()

    monkeypatch.setitem(methods.HANDLERS, "chain.head", broken)
    monkeypatch.setitem(methods.HANDLERS, "chain.info", lambda context, params: later(context, params))
    monkeypatch.setitem(methods.HANDLERS, "chain.supply", unprintable)
    async with RpcNode(tmp_path / "ledger") as node:
        with caplog.at_level(logging.ERROR, "node.rpc.dispatch"):
            for method in ("chain.head", "chain.info", "chain.supply"):
                found = await node.fault(method)
                assert found.code == -32603
                assert set(found.data) == {"name", "hint", "reference"}
                assert found.data["reference"] in caplog.text
                assert "secret" not in str(found.args)


def test_transfer_has_the_form_that_the_cases_assume() -> None:
    assert to_plain(Transfer(BOB.address, NATIVE_ASSET, 5)) == transfer(5)[0][1]
