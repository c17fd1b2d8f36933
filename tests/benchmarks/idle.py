"""What a node needs that has nothing to do: memory, processor time, and the time until it answers after its start.

Two authorities of a new network, as after `aitbc-node init`. The time runs from starting the process to the first
answer of its RPC. Memory is that of the larger node after the idle seconds, heartbeat blocks included.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks import network, report
from tests.e2e.support import wait_until

MEASURES = (
    report.Measure("memory", "MB", 150, at_least=False),
    report.Measure("answers after", "ms", 2_000, at_least=False),
    report.Measure("processor", "ms a second", at_least=False),
)


def once(arguments: argparse.Namespace) -> Mapping[str, float]:
    with (
        tempfile.TemporaryDirectory(prefix="aitbc-idle-") as name,
        network.make(Path(name), arguments.authorities) as nodes,
    ):
        first, *others = nodes.nodes
        began = time.monotonic()
        first.start()
        wait_until(lambda: first.answers, "the node answers")
        answered = time.monotonic()
        nodes.start(*others)
        wait_until(lambda: all(node.height >= 1 for node in nodes.nodes), "there is a block")
        before = network.processor_seconds(first)
        time.sleep(arguments.seconds)
        return {
            "memory": max(network.resident_bytes(node) for node in nodes.nodes) / 1e6,
            "answers after": 1_000 * (answered - began),
            "processor": 1_000 * (network.processor_seconds(first) - before) / arguments.seconds,
        }


if __name__ == "__main__":
    report.main("idle", MEASURES, once, {"seconds": (15, "how long the nodes are idle"), "authorities": (2, "nodes")})
