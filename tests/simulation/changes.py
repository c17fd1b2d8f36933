"""Makes scenarios in which the set of authorities changes: it grows, shrinks, swaps and turns round, in bad weather."""

import random

from tests.simulation.byzantine import BEHAVIOURS, GHOST
from tests.simulation.world import Scenario

Sets = tuple[tuple[int, tuple[int, ...]], ...]


def schedule(rng: random.Random, *sets: tuple[int, ...]) -> Sets:
    """These sets one after the other, each for one to three epochs, over and over."""
    plan, epoch = [], 0
    for _ in range(40):
        for members in sets:
            plan.append((epoch, members))
            epoch += rng.randint(1, 3)
    return tuple(plan)


def course(rng: random.Random) -> tuple[int, Sets]:
    """How many nodes take part, and the sets they form."""
    kind = rng.randrange(6)
    if kind == 0:
        return 4, schedule(rng, (0,), (0, 1), (0, 1, 2, 3), (0, 1, 2))
    if kind == 1:
        return 5, schedule(rng, (0, 1, 2, 3), (0, 1, 2, 4), (4, 3, 2, 1))
    if kind == 2:
        return 3, schedule(rng, (0, 1), (1, 2), (2, 0), (0, 2))
    if kind == 3:
        return 4, schedule(rng, (0, 1), (2, 3), (3,), (1, 0, 3))
    if kind == 4:
        return 7, schedule(rng, (0, 1, 2, 3), (0, 1, 2, 3, 4, 5, 6), (6, 5, 4), (2, 6, 1, 0, 5))
    size = rng.randint(2, 6)
    sets = [tuple(rng.sample(range(size), rng.randint(1, size))) for _ in range(rng.randint(2, 6))]
    return size, schedule(rng, *sets)


def tolerated(sets: Sets, liars: frozenset[int]) -> bool:
    """Whether no set has more liars than it bears."""
    return all(len(liars & set(members)) <= (len(members) - 1) // 3 for _, members in sets)


def changing(seed: int) -> Scenario:
    """The scenario of this seed."""
    rng = random.Random(f"{seed}/changing")
    size, sets = course(rng)
    # The last node lies where every set it is in bears that; else it only haunts the sets that it is not in.
    behaviours: tuple[str, ...] = ()
    if rng.random() < 0.6:
        tolerant = tolerated(sets, frozenset({size - 1}))
        behaviours = (rng.choice((*BEHAVIOURS, "liar", GHOST)) if tolerant else GHOST,)
    return Scenario(
        seed=seed,
        size=size,
        behaviours=behaviours,
        sets=sets,
        followers=rng.choice((0, 0, 1)),
        chaos_ms=rng.choice((8_000, 16_000)),
        loss=rng.choice((0.0, 0.05, 0.1, 0.3)),
        duplicates=rng.choice((0.0, 0.1)),
        delay_ms=rng.choice((5, 60, 150)),
        crash_every_ms=rng.choice((0, 400, 1_500, 4_000)),
        partition_every_ms=rng.choice((0, 1_000, 3_000)),
        skew_ms=rng.choice((0, 100, 2_000)),
        transactions_per_s=rng.choice((0.0, 2.0, 10.0)),
        epoch_blocks=rng.choice((1, 2, 3)),
        blocks_after_healing=12,
    )
