"""How fast one node makes blocks final that it has never seen: the pace of a follower, and of catching up.

Blocks arrive as bytes, as from a peer. For each: decode, verify the certificate and every signature on two threads,
execute, compare the state root, and commit with one synced write. Consensus and network are left out.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from chain.block import Block
from chain.certificate import Certificate, verify_certificate
from node.main import COLLECTOR_THRESHOLDS, SWITCH_INTERVAL_SECONDS
from tests.benchmarks import load, report
from tests.solo import Solo

MEASURES = (
    report.Measure("applied", "transactions a second", 3_000),
    report.Measure("built", "transactions a second"),
)


def once(arguments: argparse.Namespace) -> Mapping[str, float]:
    people = load.people(arguments.accounts)
    with tempfile.TemporaryDirectory(prefix="aitbc-apply-") as folder:
        with Solo(Path(folder) / "proposer", people) as proposer:
            blocks, seconds = _build(proposer, arguments)
        with Solo(Path(folder) / "follower", specification=proposer.specification) as follower:
            began = time.perf_counter()
            for block, finalization in blocks:
                _apply(follower, Block.decode(block), Certificate.decode(finalization))
            applied = arguments.transactions / (time.perf_counter() - began)
            assert follower.store.head == proposer.store.head
    return {"applied": applied, "built": arguments.transactions / seconds}


def _build(proposer: Solo, arguments: argparse.Namespace) -> tuple[list[tuple[bytes, bytes]], float]:
    """Encoded blocks with their finalizations, and the seconds that building and committing them took."""
    blocks: list[tuple[bytes, bytes]] = []
    seconds = 0.0
    people = load.people(arguments.accounts)
    for first in range(0, arguments.transactions, arguments.block):
        count = min(arguments.block, arguments.transactions - first)
        valid_until_ms = proposer.wall_ms + 1_800_000
        for transaction in load.transfers(proposer.chain_id, people, count, valid_until_ms, first=first):
            proposer.mempool.add(transaction)
        # A slow proposer ends a block early; what is left goes into the next one.
        while len(proposer.mempool):
            began = time.perf_counter()
            block = proposer.build()
            finalization = proposer.finalize(block)
            proposer.executor.commit(block, finalization)
            seconds += time.perf_counter() - began
            blocks.append((block.encode(), finalization.encode()))
    return blocks, seconds


def _apply(follower: Solo, block: Block, finalization: Certificate) -> None:
    head = follower.executor.head()
    assert verify_certificate(follower.chain_id, head.authorities, finalization)
    invalid = follower.executor.execute(block)
    assert invalid is None, invalid
    follower.executor.commit(block, finalization)


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    report.main(
        "apply",
        MEASURES,
        once,
        {
            "transactions": (20_000, "transfers in all"),
            "block": (2_000, "transfers in a block, at most"),
            "accounts": (5_000, "accounts that pay each other"),
        },
    )
