"""The demonstration that `./localnet/start` runs, told to a node in this process: it ends, and its numbers add up."""

from pathlib import Path
from typing import Any

import pytest

from localnet import demonstration
from localnet.layout import Layout, NodePlace
from tests.shell import RunningNode, Shell, import_person


def test_its_numbers_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = RunningNode(tmp_path / "network")
    try:
        shell = Shell(tmp_path / "home", node.url)
        import_person(shell, "renter", "client")
        import_person(shell, "provider", "miner")

        def ask(_: Any, *words: str, wallet: str = "client", show: bool = False) -> Any:
            return shell.ok(*words, wallet=wallet)

        monkeypatch.setattr(demonstration.Story, "ask", ask)
        layout = Layout(tmp_path / "localnet")
        layout.root.mkdir()
        layout.write_nodes([NodePlace(1, layout.root / "node1", int(node.url.rpartition(":")[2]))])
        demonstration.run(layout)
    finally:
        node.stop()
    shown = capsys.readouterr().out
    assert "Everything adds up to the base unit" in shown
    balances = shown.partition("Balances, in AITBC")[2]
    assert "deposits" in balances
    assert max(map(len, balances.splitlines())) <= 80
