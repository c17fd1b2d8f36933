"""Many seeds of chaos, each with another network size, weather and faults: always safe, and live once healed.

A failing seed prints the call that replays it. AITBC_EXTENDED=1 runs the thousand; AITBC_SIMULATION_SEED=n starts at
seed n instead of the fixed first one.
"""

import os

import pytest

from tests.simulation.scenarios import scenario
from tests.simulation.world import World

FIRST = int(os.environ.get("AITBC_SIMULATION_SEED", "0"))
BATCH = 10


@pytest.mark.parametrize("batch", range(8))
def test_safe_and_live(batch: int) -> None:
    for seed in range(FIRST + batch * BATCH, FIRST + (batch + 1) * BATCH):
        World(scenario(seed)).run()


@pytest.mark.extended
@pytest.mark.parametrize("batch", range(24))
def test_safe_and_live_in_a_thousand_runs(batch: int) -> None:
    for seed in range(FIRST + 10_000 + batch * 50, FIRST + 10_000 + (batch + 1) * 50):
        World(scenario(seed, extended=True)).run()


def test_a_run_can_be_replayed() -> None:
    def trace() -> list[object]:
        world = World(scenario(7)).run()
        return [world.now, world.crashes, world.delivered, [block.hash for block in world.oracle.chain]]

    assert trace() == trace()


def test_production_signatures() -> None:
    """The same on BLS and Ed25519, which is slow; a few of the other seeds do so too."""
    found = scenario(3)
    World(
        type(found)(seed=3, size=4, chaos_ms=2_000, behaviours=("equivocating_leader",), production_signatures=True)
    ).run()
