"""Where a local network keeps its things, and what it is made of: one folder, named ports, published wallets."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_BASE_PORT = 8081
DEFAULT_NODES = 2
MAXIMUM_NODES = 10
PEER_PORT_OFFSET = 1_000
"""A node's link port is its RPC port plus this."""

COIN = 10**9


@dataclass(frozen=True, slots=True)
class PublishedWallet:
    """A wallet whose recovery words everybody knows: worthless outside a local network."""

    name: str
    words: str
    balance: int
    """Base units at genesis."""


PUBLISHED_WALLETS = (
    PublishedWallet(
        "genesis", "census bundle damp kind dad glove cross stick search anxiety misery simple", 1_000_000 * COIN
    ),
    PublishedWallet(
        "client", "budget wink gold sound very crater noodle setup patient grief require canal", 10_000 * COIN
    ),
    PublishedWallet(
        "miner", "another agree recycle clay pact duty travel smooth install near flight oblige", 1_000 * COIN
    ),
)


@dataclass(frozen=True, slots=True)
class NodePlace:
    """One node of the network."""

    number: int
    """1 for the first."""
    folder: Path
    rpc_port: int

    @property
    def name(self) -> str:
        return f"node {self.number}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def peer_port(self) -> int:
        return self.rpc_port + PEER_PORT_OFFSET

    @property
    def config(self) -> Path:
        return self.folder / "node.toml"

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / "node.pid"


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of a local network."""

    root: Path

    @property
    def marker(self) -> Path:
        """Says that this folder was made by localnet and may be deleted by it."""
        return self.root / "localnet"

    @property
    def genesis(self) -> Path:
        return self.root / "genesis.json"

    @property
    def wallets(self) -> Path:
        return self.root / "wallets"

    @property
    def nodes_file(self) -> Path:
        """Numbers and addresses of the nodes, read by `aitbc --node N`."""
        return self.root / "nodes.json"

    @property
    def agent_log(self) -> Path:
        return self.root / "agent.log"

    @property
    def agent_pid_file(self) -> Path:
        return self.root / "agent.pid"

    def place(self, number: int, base_port: int) -> NodePlace:
        return NodePlace(number, self.root / f"node{number}", base_port + number - 1)

    def write_nodes(self, places: list[NodePlace]) -> None:
        """Remember the nodes; written last, so its presence means that the network is complete."""
        plain = {str(place.number): {"rpc": place.url, "folder": place.folder.name} for place in places}
        temporary = self.nodes_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(plain, indent=2) + "\n")
        os.replace(temporary, self.nodes_file)

    def nodes(self) -> list[NodePlace]:
        """The nodes of the network that was made here; none if there is no network."""
        try:
            plain = json.loads(self.nodes_file.read_text())
        except FileNotFoundError:
            return []
        return [
            NodePlace(int(number), self.root / entry["folder"], int(entry["rpc"].rsplit(":", 1)[1]))
            for number, entry in sorted(plain.items(), key=lambda item: int(item[0]))
        ]


def default_layout() -> Layout:
    """The folder AITBC_LOCALNET_DIR names, or `.localnet` in the repository."""
    named = os.environ.get("AITBC_LOCALNET_DIR")
    return Layout(Path(named).absolute() if named else Path(__file__).resolve().parent.parent / ".localnet")
