"""Real nodes for the benchmarks: processes on loopback with the timing of a network in use."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from node.config import Configuration, LogSettings, NetworkSettings, RpcSettings
from node.consensus.timing import Timing
from tests.e2e.support import Network, NodeProcess, wait_until
from tests.ledger import Person
from tests.nodes import lay_out

BASE_PORT = 21_000
"""Apart from the ports that tests take, so that both can run at a time."""
TIMING = Timing()
"""As every node has it whose operator changes nothing."""


def make(folder: Path, authorities: int, people: Sequence[Person] = ()) -> Network:
    """Keys, genesis, databases and configurations; start the nodes with `start`, in a `with` block."""
    layout = lay_out(folder, authorities, people=people, timing=TIMING)
    places = {
        configuration.network.listen: ("127.0.0.1", BASE_PORT + 2 * index)
        for index, configuration in enumerate(layout.configurations)
    }
    moved = [_moved(configuration, places, index) for index, configuration in enumerate(layout.configurations)]
    return Network(replace(layout, configurations=tuple(moved)))


def _moved(
    configuration: Configuration, places: dict[tuple[str, int] | None, tuple[str, int]], index: int
) -> Configuration:
    """The same node on the ports of a benchmark, logging as much as an operator would have it log."""
    network = configuration.network
    peers = tuple(replace(peer, port=places[(peer.host, peer.port)][1]) for peer in network.peers)
    return replace(
        configuration,
        network=NetworkSettings(places[network.listen], peers),
        rpc=RpcSettings(("127.0.0.1", BASE_PORT + 2 * index + 1)),
        log=LogSettings("info"),
    )


def start(network: Network) -> None:
    """Start every node, and wait until all are ready and have made a block together."""
    network.start()
    wait_until(lambda: all(node.get("/readyz")[0] == 200 for node in network.nodes), "the nodes are ready")
    wait_until(lambda: all(node.height >= 1 for node in network.nodes), "there is a block")


def address(node: NodeProcess) -> tuple[str, int]:
    """Where a node serves RPC."""
    return node.configuration.rpc.listen


def resident_bytes(node: NodeProcess) -> int:
    """Physical memory of a node's process, shared libraries included."""
    assert node.process is not None
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("a living process has resident memory")


def processor_seconds(node: NodeProcess) -> float:
    """Processor time that a node's process has used so far, on all cores."""
    assert node.process is not None
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
