"""How fast two authorities take transactions from clients and make them final, client included, on this machine.

Two nodes and the client are three processes. Transfers are signed beforehand and sent as JSON-RPC batches of 100 over
kept connections, half of them to each node. The time runs from the first batch that leaves to when both nodes show the
last transfer in a final block. Nothing may be refused, and in the end each sender's sequence must be right on both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from chain.crypto.address import format_address
from chain.interface import MAXIMUM_BATCH, MAXIMUM_PAGE
from chain.transaction import Transaction
from tests.benchmarks import load, network, report
from tests.e2e.support import ROOT, NodeProcess, assert_same_chain
from tests.ledger import Person
from wallet.client import NodeClient

PATIENCE_SECONDS = 180.0
POLL_SECONDS = 0.025
VALID_MS = 1_800_000
MEASURES = (
    report.Measure("final", "transactions a second", 1_500),
    report.Measure("accepted", "transactions a second"),
    report.Measure("lag", "ms", at_least=False),
    report.Measure("blocks", "blocks"),
    report.Measure("memory", "MB", at_least=False),
)


def once(arguments: argparse.Namespace) -> Mapping[str, float]:
    people = load.people(arguments.accounts)
    with tempfile.TemporaryDirectory(prefix="aitbc-submit-") as name:
        folder = Path(name)
        with network.make(folder, arguments.authorities, people) as nodes:
            network.start(nodes)
            valid_until_ms = time.time_ns() // 1_000_000 + VALID_MS
            chain_id = nodes.layout.specification.chain_id
            _write_batches(folder / "load", load.transfers(chain_id, people, arguments.transactions, valid_until_ms))
            targets = nodes.nodes[: arguments.targets]
            heights = [node.height for node in nodes.nodes]
            with _generator(folder / "load", arguments, targets) as generator:
                assert generator.stdin is not None
                assert generator.stdout is not None
                assert generator.stdout.readline() == b"ready\n"
                generator.stdin.write(b"go\n")
                generator.stdin.flush()
                ended, blocks = _wait_final(nodes.nodes, heights, arguments.transactions)
                sent = _result(generator.stdout)
            _check(nodes.nodes, people, arguments.transactions)
            return {
                "final": arguments.transactions / (ended - sent["began"]),
                "accepted": arguments.transactions / (sent["ended"] - sent["began"]),
                "lag": 1_000 * (ended - sent["ended"]),
                "blocks": blocks,
                "memory": max(network.resident_bytes(node) for node in nodes.nodes) / 1e6,
            }


def _write_batches(folder: Path, transactions: Sequence[Transaction]) -> None:
    folder.mkdir()
    for first in range(0, len(transactions), MAXIMUM_BATCH):
        calls = [
            {"jsonrpc": "2.0", "id": number, "method": "tx.submit", "params": {"envelope": item.envelope.hex()}}
            for number, item in enumerate(transactions[first : first + MAXIMUM_BATCH])
        ]
        (folder / f"{first:08d}").write_text(json.dumps(calls))


def _generator(
    folder: Path, arguments: argparse.Namespace, targets: Sequence[NodeProcess]
) -> "subprocess.Popen[bytes]":
    places = ["{}:{}".format(*network.address(node)) for node in targets]
    numbers = [str(arguments.connections), str(arguments.rate * 1_000 // MAXIMUM_BATCH)]
    command = [sys.executable, "-m", "tests.benchmarks.generator", str(folder), *numbers, *places]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _result(output: IO[bytes]) -> dict[str, float]:
    sent = json.loads(output.readline())
    assert sent["refused"] == 0, sent["refusals"]
    return {key: sent[key] for key in ("began", "ended")}


def _wait_final(nodes: Sequence[NodeProcess], heights: Sequence[int], wanted: int) -> tuple[float, int]:
    """When the last node had so many transactions in blocks above its height, and how many blocks held them."""
    seen, left, blocks = list(heights), [wanted] * len(nodes), 0
    clients = [NodeClient("http://{}:{}".format(*network.address(node))) for node in nodes]
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while any(left):
            time.sleep(POLL_SECONDS)
            assert time.monotonic() < deadline, f"transactions that are not final yet, by node: {left}"
            for index, client in enumerate(clients):
                new = client.call("chain.blocks", from_height=seen[index] + 1, oldest_first=True, limit=MAXIMUM_PAGE)
                seen[index] += len(new.items)
                left[index] -= sum(block.transactions for block in new.items)
                blocks += sum(block.transactions > 0 for block in new.items) if index == 0 else 0
        return time.monotonic(), blocks
    finally:
        for client in clients:
            client.close()


def _check(nodes: Sequence[NodeProcess], people: Sequence[Person], transactions: int) -> None:
    """Every transfer counted once, on every node."""
    rounds, rest = divmod(transactions, len(people))
    for node in nodes:
        with NodeClient("http://{}:{}".format(*network.address(node))) as client:
            prefix = client.call("chain.info").prefix
            calls = [("account.get", {"address": format_address(prefix, person.address)}) for person in people]
            for first in range(0, len(calls), MAXIMUM_BATCH):
                for number, view in enumerate(client.batch(calls[first : first + MAXIMUM_BATCH]), first):
                    assert view.sequence == rounds + (number < rest), view
    assert_same_chain(nodes)


if __name__ == "__main__":
    report.main(
        "submit",
        MEASURES,
        once,
        {
            "transactions": (15_000, "transfers in all"),
            "accounts": (5_000, "accounts that pay each other"),
            "authorities": (2, "nodes"),
            "targets": (2, "nodes that clients talk to"),
            "connections": (8, "kept connections"),
            "rate": (0, "transfers a second that the client sends; 0 is as fast as they are answered"),
        },
    )
