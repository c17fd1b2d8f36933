"""Every action of the ledger, by `aitbc` commands, on a local network that `aitbc localnet` started.

The short form, in this process, is tests/cli/test_cli_every_action.py.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chain.actions  # noqa: F401  registers what is looked up
from chain.action import ACTIONS
from localnet.layout import Layout
from tests.e2e.support import ROOT, aitbc_node
from tests.nodes import free_port
from tests.shell import Finished
from tests.story import Stage, happened, tell

pytestmark = [pytest.mark.e2e, pytest.mark.extended]
AUTHORITIES = 4
AITBC = str(Path(sys.executable).parent / "aitbc")
PARAMETERS = ("epoch_blocks=20", "dispute_window_seconds=60")
PATIENCE_SECONDS = 60


class Localnet:
    """`aitbc` beside a local network in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder / "localnet")

    def __call__(self, *words: str, wallet: str | None = None) -> Finished:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        environment = {
            **kept,
            "AITBC_CONFIG_DIR": str(self.folder / "home"),
            "AITBC_LOCALNET_DIR": str(self.layout.root),
            "AITBC_WALLET_PATH": str(self.layout.wallets),
            "PYTHONPATH": str(ROOT),
            **({"AITBC_WALLET": wallet} if wallet else {}),
        }
        done = subprocess.run(
            [AITBC, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    def node_says(self, command: str, operator: str) -> Any:
        """What the node of an operator prints of itself."""
        place = self.layout.nodes()[int(operator.removeprefix("operator-")) - 1]
        address = json.loads(self("-o", "json", "wallet", "address", wallet=operator).out)["address"]
        done = aitbc_node(command, "--config", place.config, "--operator", address)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def localnet(tmp_path: Path) -> Iterator[Localnet]:
    network = Localnet(tmp_path)
    words = ["start", "--nodes", str(AUTHORITIES), "--followers", "1", "--no-demo", "--no-agent"]
    words += ["--base-port", str(free_port()), "--idle-seconds", "0.2"]
    words += [word for each in PARAMETERS for word in ("--parameter", each)]
    try:
        started = network("localnet", *words)
        assert started.code == 0, started.err
        yield network
        for place in network.layout.nodes():
            print(f"== {place.name}\n{place.log.read_text(errors='replace')[-600:]}")
    finally:
        network("localnet", "stop")


def test_every_action_happens_by_command(localnet: Localnet) -> None:
    first, *_, follower = localnet.layout.nodes()
    stage = Stage(
        run=localnet,
        url=first.url,
        folder=localnet.folder,
        operators=[f"operator-{number}" for number in range(1, AUTHORITIES + 1)],
        newcomers=[f"operator-{follower.number}"],
        enters=True,
        removed="operator-2",
        disabled="operator-4",
        guilty=localnet.layout.nodes()[3].folder,
        identity=lambda operator: localnet.node_says("identity", operator),
        readiness=lambda operator: localnet.node_says("ready", operator),
    )
    tell(stage)
    assert happened(first.url) == {action.name for action in ACTIONS.values()}
    heights = [row["height"] for row in json.loads(localnet("localnet", "status", "-o", "json").out)]
    assert len(heights) == AUTHORITIES + 1
    assert localnet("localnet", "stop").code == 0
    verified = aitbc_node("verify", "--config", first.config)
    assert verified.returncode == 0, verified.stderr
