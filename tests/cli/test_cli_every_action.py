"""Every action of the ledger, by `aitbc` commands, at two authorities in this process: a short form of tests/e2e."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chain.actions  # noqa: F401  registers what is looked up
from chain.action import ACTIONS
from chain.parameters import Parameters
from tests.council import Officer
from tests.ledger import Person
from tests.shell import Finished, RunningNode, Shell, import_person
from tests.story import PROVIDER, RENTER, RICH, Stage, happened, tell

AUTHORITIES = ("authority0", "authority1")
PARAMETERS = Parameters(epoch_blocks=20)
OFFICERS = {"operator-3": Officer("third"), "operator-4": Officer("fourth")}
"""Who is voted in, without running a node: a set with such a member would wait for it, so it never gets its stake."""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[RunningNode]:
    people = [*(Person(f"operator {name}") for name in AUTHORITIES), *OFFICERS.values()]
    node = RunningNode(tmp_path / "network", 2, running=2, parameters=PARAMETERS, others=people)
    yield node
    node.stop()


@pytest.fixture
def shell(network: RunningNode, tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "home", network.url)
    people = {RICH: "other", RENTER: "renter", PROVIDER: "provider"}
    people |= {f"operator-{index + 1}": f"operator {name}" for index, name in enumerate(AUTHORITIES)}
    people |= {wallet: officer.name for wallet, officer in OFFICERS.items()}
    for wallet, person in people.items():
        import_person(shell, person, wallet)
    return shell


def test_every_action_happens_by_command(network: RunningNode, shell: Shell, tmp_path: Path) -> None:
    specification = network.layout.specification

    def run(*words: str, wallet: str | None = None) -> Finished:
        return shell(*words, wallet=wallet)

    def identity(wallet: str) -> Any:
        found = OFFICERS[wallet].authority
        keys = {name: getattr(found, name).hex() for name in ("node_key", "bls_key", "proof_of_possession")}
        return {"operator": stage.address(wallet), **keys}

    def readiness(wallet: str) -> Any:
        epoch = stage.ok("governance", "list")["epoch"]
        said = OFFICERS[wallet].ready(specification.chain_id, epoch)
        signatures = {name: getattr(said, name).hex() for name in ("node_signature", "bls_signature")}
        return {"operator": stage.address(wallet), "epoch": epoch, **signatures}

    stage = Stage(
        run=run,
        url=network.url,
        folder=tmp_path,
        operators=["operator-1", "operator-2"],
        newcomers=list(OFFICERS),
        enters=False,
        removed="operator-3",
        disabled="operator-4",
        guilty=network.layout.configurations[1].node.data.parent,
        identity=identity,
        readiness=readiness,
    )
    # It is convicted, and stays an authority only if enough is left.
    shell.ok("wallet", "stake", "100", wallet="operator-2")
    tell(stage)
    assert happened(network.url) == {action.name for action in ACTIONS.values()}
