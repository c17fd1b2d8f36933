"""The set of authorities changes while everything else goes wrong: one chain, each block by its own epoch's quorum."""

import itertools
import os
from dataclasses import replace

import pytest

from chain.certificate import AuthoritySet
from node.consensus.events import Head
from node.consensus.simplex import Simplex
from tests.simulation.byzantine import GHOST
from tests.simulation.changes import changing
from tests.simulation.oracle import Violation
from tests.simulation.test_simulation_pair import CALM, HOUR_MS, grows, started
from tests.simulation.world import TIMING, Parts, Scenario, World

FIRST = int(os.environ.get("AITBC_SIMULATION_SEED", "0"))
BATCH = 10


def turning(*sets: tuple[int, ...], every: int = 1) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Another of these sets every so many epochs, over and over."""
    return tuple((epoch, sets[epoch // every % len(sets)]) for epoch in range(0, 600, every))


def changes_of(world: World) -> int:
    """How often the set changed in the blocks that are final."""
    hashes = [block.header.authorities_hash for block in world.oracle.chain]
    return sum(one != other for one, other in itertools.pairwise(hashes))


@pytest.mark.parametrize("batch", range(4))
def test_safe_and_live(batch: int) -> None:
    seeds = range(FIRST + batch * BATCH, FIRST + (batch + 1) * BATCH)
    changes = [changes_of(World(changing(seed)).run()) for seed in seeds]
    assert sum(changes) >= 3 * BATCH, changes


@pytest.mark.extended
@pytest.mark.parametrize("batch", range(20))
def test_safe_and_live_in_a_thousand_runs(batch: int) -> None:
    for seed in range(FIRST + 20_000 + batch * 50, FIRST + 20_000 + (batch + 1) * 50):
        World(changing(seed)).run()


def test_production_signatures() -> None:
    sets = turning((0,), (0, 1), (2, 1, 0, 3), (3, 2, 1))
    found = Scenario(1, 4, sets=sets, chaos_ms=1_500, epoch_blocks=2, production_signatures=True, crash_every_ms=0)
    assert changes_of(World(found).run()) >= 3


@pytest.mark.parametrize("sets", [((0, 1), (1, 2), (2, 0)), ((0, 1), (2,), (1, 0, 2))], ids=["pairs", "sizes"])
def test_all_killed_at_every_persist_point_around_a_boundary(sets: tuple[tuple[int, ...], ...]) -> None:
    """Every block ends its epoch, so every point of a block's life is one of a boundary."""
    for points in range(1, 40):
        for killed in ((0, 1, 2), (points % 3,)):
            scenario = replace(CALM, seed=points, size=3, sets=turning(*sets), epoch_blocks=1, transactions_per_s=10.0)
            world = started(scenario, 1_000)
            for index in killed:
                world.nodes[index].power.remaining = points
            grows(world, 6, 60_000)


def test_one_block_epochs_with_lost_votes() -> None:
    """Every block ends its epoch, and one half has often nullified the last view; then the places change, too."""
    for seed in range(8):
        sets = turning((0, 1), (1, 0), (0, 1, 2), (2, 1))
        scenario = replace(
            CALM, seed=seed, size=3, sets=sets, epoch_blocks=1, loss=0.35, chaos_ms=8_000, transactions_per_s=5.0
        )
        world = World(scenario).run()
        assert world.nodes[0].executor.head().authorities.epoch == len(world.oracle.chain)


def test_a_new_member_that_was_off_for_hours() -> None:
    """Four go on without their new fifth; a lone one waits for its second, and nothing is final meanwhile."""
    timing = replace(TIMING, idle_interval_ms=30_000)
    for before, after, waits in (((0, 1, 2), (0, 1, 2, 3), False), ((0,), (0, 3), True)):
        scenario = replace(
            CALM, size=4, sets=((0, before), (3, after)), epoch_blocks=4, timing=timing, transactions_per_s=0.0
        )
        world = World(scenario)
        world.begin()
        world.run_until(5_000)
        world.nodes[3].switch_off()
        world.run_until(world.now + 2 * HOUR_MS)
        height = len(world.oracle.chain)
        assert (height == 12) if waits else (height > 40)
        world.nodes[3].start()
        grows(world, 3, 300_000)
        assert world.nodes[3].core.view >= 1


def test_those_who_left_stay_useful() -> None:
    """A whole set is exchanged while half of each is cut off: the new ones get what they need from whoever has it."""
    for seed in range(6):
        scenario = replace(CALM, seed=seed, size=4, sets=turning((0, 1), (2, 3), every=2), epoch_blocks=2, loss=0.1)
        world = World(scenario)
        world.begin()
        for _ in range(4):
            world.partition([0, 0, 1, 1])
            world.run_until(world.now + 4_000)
            world.partition([0, 1, 0, 1])
            world.run_until(world.now + 4_000)
        world.heal()
        world.require_progress()
        assert changes_of(world) >= 4


def test_ghosts_outnumber_the_set_and_change_nothing() -> None:
    """Three of four leave in turn and go on voting, for and against, for places that are no longer theirs."""
    for seed in range(4):
        sets = ((0, (0, 1, 2, 3)), (2, (0, 1, 2)), (4, (1, 0)), (6, (0,)))
        scenario = Scenario(
            seed, 4, (GHOST,) * 3, sets=sets, chaos_ms=8_000, crash_every_ms=2_000, epoch_blocks=3, loss=0.05
        )
        world = World(scenario).run()
        assert world.run_until(world.now + 120_000, lambda world=world: len(world.oracle.chain) > 24)
        assert world.honest[0].executor.head().authorities.size == 1
        assert not world.oracle.conflicts, "what is said without a place is no vote, and convicts nobody"


# Teeth: what must not be left out.


class KeepsItsPlace(Simplex):
    """Takes its index from the first set that it was in."""

    def _place_in(self, authorities: AuthoritySet) -> int | None:
        if not hasattr(self, "_first"):
            self._first = super()._place_in(authorities)
        return self._first


class KeepsTheSet(Simplex):
    """Goes on with the authorities of the first epoch."""

    def _rebase(self, head: Head, has_work: bool, *, new_epoch: bool) -> None:
        if not hasattr(self, "_first"):
            self._first = head.authorities.members
        authorities = AuthoritySet(head.authorities.epoch, self._first)
        super()._rebase(replace(head, authorities=authorities), has_work, new_epoch=new_epoch)


@pytest.mark.parametrize("core", [KeepsItsPlace, KeepsTheSet])
def test_a_core_that_ignores_changes_is_found_out(core: type[Simplex]) -> None:
    sets = turning((0, 1, 2), (0, 1, 2, 3), (3, 1, 0), every=2)
    scenario = Scenario(
        3, 4, sets=sets, chaos_ms=4_000, crash_every_ms=0, partition_every_ms=0, epoch_blocks=2, heal_within_ms=20_000
    )
    World(scenario).run()
    with pytest.raises(Violation):
        World(scenario, Parts(core=core)).run()
