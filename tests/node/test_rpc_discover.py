"""The OpenRPC document, health and metrics: what the outside learns without reading the source."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chain.action import ACTIONS
from chain.errors import LedgerError
from chain.interface import METHODS
from tests.ledger import Person
from tests.rpc_node import RpcNode
from tests.solo import pay

ALICE, BOB = Person("alice"), Person("bob")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB)) as running:
        yield running


def references(value: Any) -> list[str]:
    """Every $ref within a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


async def test_document_lists_every_method_action_and_error(node: RpcNode) -> None:
    document = await node.call("rpc.discover")
    assert [method["name"] for method in document["methods"]] == list(METHODS)
    schemas = document["components"]["schemas"]
    assert {name.removeprefix("Action.") for name in schemas if name.startswith("Action.")} == {
        action.name for action in ACTIONS.values()
    }
    assert {error["code"] for error in document["components"]["errors"].values()} == set(LedgerError.by_code)
    assert {name.rpartition("/")[2] for name in references(document)} <= schemas.keys()
    assert all(method["summary"] for method in document["methods"])
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_answers_have_the_documented_form(node: RpcNode) -> None:
    transaction = node.solo.sign(ALICE, pay(BOB, 5))
    await node.submit(transaction)
    node.solo.advance()
    document = await node.call("rpc.discover")
    forms = {method["name"]: method["result"]["schema"] for method in document["methods"]}
    address = node.text(ALICE.address)
    for name, params in (
        ("chain.info", {}),
        ("chain.head", {}),
        ("chain.block", {"height": 1, "details": True}),
        ("chain.blocks", {}),
        ("chain.certificate", {"height": 1}),
        ("chain.authorities", {}),
        ("chain.supply", {}),
        ("chain.params", {}),
        ("tx.get", {"txid": transaction.txid.hex()}),
        ("account.get", {"address": address}),
        ("account.history", {"address": address}),
        ("proof.account", {"address": address}),
        ("node.status", {}),
    ):
        result = await node.call(name, **params)
        jsonschema.validate(result, {**forms[name], "components": document["components"]})


async def test_documented_params_are_those_that_are_taken(node: RpcNode) -> None:
    document = await node.call("rpc.discover")
    by_name = {method["name"]: method["params"] for method in document["methods"]}
    assert [(item["name"], item["required"]) for item in by_name["gpu.availability"]] == [
        ("gpu", True),
        ("from_ms", False),
        ("days", False),
    ]
    days = by_name["gpu.availability"][2]["schema"]
    assert (days["default"], days["minimum"], days["maximum"]) == (7, 1, 366)


async def test_health_and_readiness(node: RpcNode) -> None:
    for path, expected in (("/healthz", (200, "ok\n")), ("/readyz", (200, "ready\n"))):
        async with node.client.get(f"{node.url}{path}") as response:
            assert (response.status, await response.text()) == expected
    node.waiting = "waiting for quorum 1/2"
    async with node.client.get(f"{node.url}/readyz") as response:
        assert (response.status, await response.text()) == (503, "waiting for quorum 1/2\n")
    assert await node.call("node.health") == {"ready": False, "reason": "waiting for quorum 1/2"}
    async with node.client.get(f"{node.url}/healthz") as response:
        assert response.status == 200


async def test_metrics_count_calls_by_method_and_never_by_what_a_client_invents(node: RpcNode) -> None:
    await node.call("chain.head")
    await node.fault("account.get")
    await node.fault("invented.by.a.client")
    node.solo.advance()
    node.metrics.block_final(1_000, 1_250, 3, 1)
    async with node.client.get(f"{node.url}/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        text = await response.text()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['aitbc_rpc_seconds_count{method="chain.head"}'] == "1.0"
    assert lines['aitbc_rpc_errors_total{code="-32602",method="account.get"}'] == "1.0"
    assert lines['aitbc_rpc_errors_total{code="-32601",method="unknown"}'] == "1.0"
    assert "invented" not in text
    assert lines["aitbc_height"] == "1.0"
    assert lines["aitbc_ready"] == "1.0"
    assert lines['aitbc_finalisation_seconds_bucket{le="0.3"}'] == "1.0"
    assert lines['aitbc_transactions_total{outcome="succeeded"}'] == "3.0"
    assert float(lines["process_resident_memory_bytes"]) > 1_000_000


async def test_stopping_ends_open_streams_and_frees_the_port(tmp_path: Path) -> None:
    async with RpcNode(tmp_path / "ledger") as node:
        port = node.server.port
        async with node.client.ws_connect(f"{node.url}/ws") as stream:
            stopping = asyncio.create_task(node.server.stop())
            message = await asyncio.wait_for(stream.receive(), 10)
            assert message.data == 1001  # going away
            await stopping
        await node.server.stop()
        probe = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
        probe.close()
        await probe.wait_closed()


async def test_occupied_port_is_an_error(node: RpcNode, tmp_path: Path) -> None:
    other = RpcNode(tmp_path / "other", port=node.server.port)
    try:
        with pytest.raises(OSError, match="in use"):
            await other.server.start()
    finally:
        other.context.close()
        other.solo.close()
