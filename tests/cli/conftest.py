"""Shells for the tests of cli: one at a real node with people and money, one that is all alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shell import RunningNode, Shell, import_people


@pytest.fixture(scope="session")
def running_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    node = RunningNode(tmp_path_factory.mktemp("network"))
    yield node
    node.stop()


@pytest.fixture(scope="session")
def market(running_node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell at a real node, with wallets `renter`, `provider` (who has stake), `other` and `poor`."""
    shell = Shell(tmp_path_factory.mktemp("home"), running_node.url)
    import_people(shell)
    shell.ok("wallet", "stake", "2000", wallet="provider")
    return shell


@pytest.fixture
def alone(tmp_path: Path) -> Shell:
    """A shell without wallets, whose node does not exist."""
    return Shell(tmp_path / "home", "http://127.0.0.1:9")


@pytest.fixture
def register(market: Shell) -> Any:
    """Lists a GPU of `provider` and returns its id."""

    def make(model: str = "RTX 4090", price: str = "2", **options: str) -> str:
        words = ["--name", model, "--memory", "24GB", "--cuda-cores", "16384", "--price-per-hour", price]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", value]
        gpu = market.ok("marketplace", "gpu", "register", *words, wallet="provider")["gpu"]
        assert isinstance(gpu, str)
        return gpu

    return make


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test workers inherit the width of somebody's terminal, which would cut the tables."""
    monkeypatch.delenv("COLUMNS", raising=False)
