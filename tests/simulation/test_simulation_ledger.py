"""The same simulation on the production executor, database and ledger: blocks pay people, and everybody agrees."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.ledger import LedgerBackend
from tests.simulation.scenarios import scenario
from tests.simulation.world import Parts, World


def run(path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, *, extended: bool = False) -> World:
    found = scenario(seed, extended=extended)
    found = replace(
        found,
        production_signatures=False,
        chaos_ms=8_000,
        transactions_per_s=10.0,
        epoch_blocks=max(3, found.epoch_blocks),
    )
    backend = LedgerBackend(path, found.size, found.epoch_blocks)
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
