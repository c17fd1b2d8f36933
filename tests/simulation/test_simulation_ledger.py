"""The same simulation on the production executor, database and ledger: blocks pay people, and everybody agrees."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from tests.authorities import Script
from tests.simulation.changes import changing
from tests.simulation.ledger import LedgerBackend
from tests.simulation.scenarios import scenario
from tests.simulation.world import Parts, Scenario, World


def run(path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, *, extended: bool = False) -> World:
    found = scenario(seed, extended=extended)
    return play(path, replace(found, epoch_blocks=max(3, found.epoch_blocks)), monkeypatch)


def play(path: Path, found: Scenario, monkeypatch: pytest.MonkeyPatch) -> World:
    """A scenario with payments; where its set changes, the state says so."""
    found = replace(found, production_signatures=False, chaos_ms=8_000, transactions_per_s=10.0)
    backend = LedgerBackend(path, found.size, found.epoch_blocks, found.sets[0][1] if found.sets else None)
    named = {epoch: [backend.members[index] for index in members] for epoch, members in found.sets}
    Script(named).install(monkeypatch)
    monkeypatch.setattr("node.store.crash_point", backend.point)
    world = World(found, Parts(backend=backend, keys=list(backend.keys)))
    try:
        world.run()
        backend.require_equal_states()
    finally:
        backend.leave()
    return world


@pytest.mark.parametrize("seed", [2, 11, 14, 22, 31])
def test_the_ledger_is_safe_and_live(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = run(tmp_path, seed, monkeypatch)
    assert sum(len(block.envelopes) for block in world.oracle.chain) > 20


@pytest.mark.extended
@pytest.mark.parametrize("seed", range(30_000, 30_060))
def test_the_ledger_is_safe_and_live_in_many_runs(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, seed, monkeypatch, extended=True)


def run_changing(path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> World:
    world = play(path, changing(seed), monkeypatch)
    announced = [block.header for block in world.oracle.chain if block.header.next_authorities_hash is not None]
    for header in announced:
        assert header.next_authorities_hash == world.authorities_of(header.epoch + 1).hash()
    return world


@pytest.mark.parametrize("seed", [1, 4, 9])
def test_sets_from_the_state(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the state says after an epoch's last block is who certifies the next: on every node, through crashes."""
    world = run_changing(tmp_path, seed, monkeypatch)
    hashes = [block.header.authorities_hash for block in world.oracle.chain]
    assert sum(one != other for one, other in itertools.pairwise(hashes)) >= 3


@pytest.mark.extended
@pytest.mark.parametrize("seed", range(50_000, 50_040))
def test_sets_from_the_state_in_many_runs(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_changing(tmp_path, seed, monkeypatch)
