"""Networks of real nodes for tests: keys, genesis and configurations in a temporary folder, on free loopback ports.

`lay_out` writes everything that a node reads; what runs the nodes, in this process or in several, is up to the test.
"""

import asyncio
import itertools
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chain.certificate import Authority
from chain.parameters import Parameters
from genesis.specification import Specification, to_file
from node import keys
from node.config import Configuration, LogSettings, NetworkSettings, NodeFiles, RpcSettings
from node.consensus.timing import Timing
from node.network.config import NetworkConfig, PeerAddress
from node.setup import initialise
from tests.ledger import Person, make_specification

FAST = Timing(
    delta_ms=200,
    view_cap_ms=2_000,
    idle_interval_ms=50,
    precision_ms=1_000,
    standstill_ms=100,
    standstill_cap_ms=500,
)
"""Blocks every 50 ms, and failed views over in less than a second."""
FAST_NETWORK = NetworkConfig(dial_backoff_min=0.02, dial_backoff_max=0.2)
PATIENCE_SECONDS = 20.0

# Below the range from which the system takes ports for outgoing connections; apart for each process of a test run, and
# most likely for another run at the same time, whose processes have another parent.
_ports = itertools.count(20_000 + 700 * ((int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) + os.getppid()) % 17))


def free_port() -> int:
    """A loopback port that nothing listens on, and that is given to nobody else in this test run."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("ports do not run out")


@dataclass(frozen=True, slots=True)
class Layout:
    """A network on disk: node `i` has `configurations[i]`; authorities, then candidates, then followers."""

    folder: Path
    specification: Specification
    configurations: tuple[Configuration, ...]
    members: tuple[Authority, ...]
    """What a set says of each authority and candidate."""

    @property
    def genesis(self) -> Path:
        return self.folder / "genesis.json"


def lay_out(
    folder: Path,
    authorities: int,
    *,
    candidates: int = 0,
    followers: int = 0,
    people: Sequence[Person] = (),
    parameters: Parameters | None = None,
    timing: Timing = FAST,
) -> Layout:
    """Make keys, genesis file, databases and signer records of a network whose nodes all know the authorities.

    Candidates have all that an authority has, but are not in the set of genesis.
    """
    voters = authorities + candidates
    names = [
        *(f"authority{i}" for i in range(authorities)),
        *(f"candidate{i}" for i in range(candidates)),
        *(f"follower{i}" for i in range(followers)),
    ]
    members = []
    for index, name in enumerate(names):
        keys.generate(folder / name)
        if index < voters:
            public = keys.public_keys(folder / name)
            operator = Person(f"operator {name}").address
            members.append(Authority(operator, public.node_key, public.bls_key, public.proof_of_possession))
    base = make_specification(people, parameters=parameters, authorities=members[:authorities])
    specification = replace(base, time_ms=int(time.time() * 1_000) - 1_000)
    (folder / "genesis.json").write_text(to_file(specification))
    addresses = [
        PeerAddress(keys.public_keys(folder / name).node_key, "127.0.0.1", free_port()) for name in names[:voters]
    ]
    configurations = []
    for index, name in enumerate(names):
        home = folder / name
        files = NodeFiles(
            data=home / "data",
            genesis=folder / "genesis.json",
            node_key=home / keys.NODE_KEY_FILE,
            bls_key=home / keys.BLS_KEY_FILE if index < voters else None,
        )
        initialise(files, specification)
        listen = ("127.0.0.1", addresses[index].port) if index < voters else None
        peers = tuple(address for position, address in enumerate(addresses) if position != index)
        configurations.append(
            Configuration(
                node=files,
                network=NetworkSettings(listen, peers),
                rpc=RpcSettings(("127.0.0.1", free_port())),
                timing=timing,
                log=LogSettings("debug"),
            )
        )
    return Layout(folder, specification, tuple(configurations), tuple(members))


async def until(condition: Callable[[], object], changed: asyncio.Event, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition holds, looking again each time `changed` is set. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            changed.clear()
            await changed.wait()
