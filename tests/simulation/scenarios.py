"""Makes a scenario from a seed: network size, faults within what the protocol tolerates, weather."""

import random

from tests.simulation.byzantine import BEHAVIOURS
from tests.simulation.world import Scenario


def scenario(seed: int, *, extended: bool = False) -> Scenario:
    """The scenario of this seed. The extended ones also cover the sizes between 2 and 7."""
    rng = random.Random(f"{seed}/scenario")
    size = rng.choice((1, 2, 3, 4, 5, 6, 7) if extended else (1, 2, 2, 4, 4))
    liars = rng.choice((0, *range((size - 1) // 3 + 1)))
    behaviours = (*BEHAVIOURS, "liar")
    production = rng.random() < 0.02
    return Scenario(
        seed=seed,
        size=size,
        behaviours=tuple(rng.choice(behaviours) for _ in range(liars)),
        followers=rng.choice((0, 0, 0, 1)),
        chaos_ms=3_000 if production else rng.choice((8_000, 16_000, 30_000)),
        loss=rng.choice((0.0, 0.02, 0.1, 0.1, 0.3)),
        duplicates=rng.choice((0.0, 0.1)),
        delay_ms=rng.choice((5, 60, 150)),
        crash_every_ms=rng.choice((0, 400, 1_500, 4_000)),
        partition_every_ms=rng.choice((0, 1_000, 3_000)),
        skew_ms=rng.choice((0, 100, 2_000)),
        transactions_per_s=rng.choice((0.0, 2.0, 10.0)),
        epoch_blocks=rng.choice((1, 3, 7, 50)),
        production_signatures=production,
    )
