"""A pair of authorities: no fault is tolerated, so everything has to wait, survive and go on by itself."""

import itertools
import random
from dataclasses import replace

import pytest

from node.consensus.events import PeerConnected, Settings, WorkAvailable
from node.consensus.timing import Timing
from tests.simulation.disk import Crash
from tests.simulation.world import TIMING, Scenario, World

HOUR_MS = 3_600_000
CALM = Scenario(
    0,
    2,
    chaos_ms=0,
    loss=0.0,
    duplicates=0.0,
    crash_every_ms=0,
    partition_every_ms=0,
    skew_ms=0,
    transactions_per_s=0.0,
)


def started(scenario: Scenario = CALM, until_ms: int = 2_000) -> World:
    world = World(scenario)
    world.begin()
    world.run_until(until_ms)
    assert min(world.heights()) > 0
    return world


def grows(world: World, blocks: int, within_ms: int) -> int:
    """How long it takes until everybody is so many blocks higher."""
    goal = len(world.oracle.chain) + blocks
    start = world.now
    assert world.run_until(start + within_ms, lambda: min(world.heights()) >= goal), (world.heights(), goal)
    return world.now - start


def test_both_killed_at_every_persist_point() -> None:
    """Every point of one block's life, at both and at each alone."""
    for points in range(1, 45):
        for killed in ((0, 1), (0,), (1,)):
            world = started(replace(CALM, seed=points, transactions_per_s=10.0), 1_000)
            for index in killed:
                world.nodes[index].power.remaining = points
            grows(world, 6, 60_000)
            assert world.crashes == len(killed)


@pytest.mark.extended
def test_both_killed_at_every_pair_of_points() -> None:
    for one, other in itertools.product(range(1, 41), repeat=2):
        world = started(replace(CALM, seed=one), 1_000)
        world.nodes[0].power.remaining = one
        world.nodes[1].power.remaining = other
        grows(world, 5, 60_000)


def test_killed_again_while_starting() -> None:
    for points in range(1, 25):
        world = started(replace(CALM, seed=points), 1_000)
        for node in world.nodes:
            node.power.remaining = points
        world.run_until(world.now + 1_500)
        for node in world.nodes:
            node.power.remaining = points // 2 + 1
        grows(world, 4, 60_000)


@pytest.mark.parametrize("seed", range(6))
def test_both_restarted_in_the_middle_of_a_view(seed: int) -> None:
    world = started(replace(CALM, seed=seed, delay_ms=200))
    rng = random.Random(seed)
    for _ in range(4):
        world.run_until(world.now + rng.randint(50, 900))
        for node in world.nodes:
            node.die()
        grows(world, 2, 60_000)


def test_one_paused_for_a_minute() -> None:
    world = started()
    before = len(world.oracle.chain)
    world.nodes[0].paused_until = world.now + 60_000
    world.run_until(world.now + 59_000)
    assert len(world.oracle.chain) <= before + 1, "half of a pair finalised something alone"
    world.run_until(world.now + 1_000)
    assert grows(world, 3, 60_000) < 20_000


def test_a_link_that_is_replaced() -> None:
    """Both dial at once: the newer link takes the place of the older one, without a disconnection in between."""
    world = started()
    for one, other in itertools.permutations(world.nodes):
        one.handle(PeerConnected(one.moment(), other.key))
        one.handle(PeerConnected(one.moment(), other.key))
    grows(world, 3, 5_000)


def test_one_block_epochs_with_lost_votes() -> None:
    """Every block ends its epoch, and finalize votes get lost, so that one half often nullified the last view."""
    for seed in range(12):
        scenario = replace(CALM, seed=seed, epoch_blocks=1, loss=0.35, chaos_ms=10_000, transactions_per_s=5.0)
        world = World(scenario).run()
        assert world.nodes[0].executor.head().authorities.epoch == len(world.oracle.chain)


def test_a_transaction_at_the_other_one_while_idle() -> None:
    """The leader never hears of it; the one who has it must not wait for the idle interval."""
    timing = replace(TIMING, idle_interval_ms=120_000)
    for index in (0, 1):
        world = World(replace(CALM, timing=timing))
        world.begin()
        world.run_until(1_000)
        node = world.nodes[index]
        assert node.executor.submit(b"one transaction")
        node.handle(WorkAvailable(node.moment()))
        assert grows(world, 1, 10_000) < 2_000
        assert world.oracle.chain[0].envelopes == (b"one transaction",)


def test_idle_means_one_heartbeat_an_interval() -> None:
    timing = replace(TIMING, idle_interval_ms=10_000)
    world = World(replace(CALM, timing=timing, delay_ms=10))
    world.begin()
    world.run_until(100_500)
    assert 8 <= len(world.oracle.chain) <= 10
    assert all(block.header.view == index + 1 for index, block in enumerate(world.oracle.chain[:7])), "views were lost"


def test_both_clocks_an_hour_back() -> None:
    world = started()
    for node in world.nodes:
        node.skew_ms -= HOUR_MS
    assert grows(world, 5, 60_000) < 10_000
    times = [block.header.time_ms for block in world.oracle.chain]
    assert times[-1] == times[-2] + 1, "the chain's time does not follow a clock that went back"


@pytest.mark.parametrize("shift", [HOUR_MS, -HOUR_MS])
def test_one_clock_wrong_by_an_hour(shift: int) -> None:
    """Slow but never for good: what is too late or too early is accepted in the end."""
    world = started()
    world.nodes[0].skew_ms += shift
    grows(world, 2, HOUR_MS)


def test_a_peer_back_after_three_hours() -> None:
    world = started()
    peer = world.nodes[1]
    peer.switch_off()
    height = len(world.oracle.chain)
    world.run_until(world.now + 3 * HOUR_MS)
    assert len(world.oracle.chain) <= height + 1
    peer.start()
    assert grows(world, 3, 60_000) < 30_000


def test_a_peer_of_four_back_after_three_hours_catches_up() -> None:
    timing = replace(TIMING, idle_interval_ms=60_000)
    world = World(replace(CALM, size=4, timing=timing, epoch_blocks=20))
    world.begin()
    world.run_until(200_000)
    peer = world.nodes[2]
    peer.switch_off()
    behind = peer.executor.head().height
    world.run_until(world.now + 3 * HOUR_MS)
    assert len(world.oracle.chain) > behind + 100
    peer.start()
    grows(world, 2, 300_000)


def test_alone_it_keeps_a_minimum_interval() -> None:
    world = World(replace(CALM, size=1, transactions_per_s=0.0, timing=replace(TIMING, minimum_interval_ms=0)))
    world.begin()
    for at in range(0, 5_000, 7):
        world.at(at, lambda at=at: world.nodes[0].submit(b"%d" % at))
    world.run_until(5_000)
    assert 20 <= len(world.oracle.chain) <= 50


def test_power_fails_where_it_is_told_to() -> None:
    power = World(CALM).nodes[0].power
    power.remaining = 2
    power.point()
    with pytest.raises(Crash):
        power.point()


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError):
        Timing(delta_ms=0)
    assert Settings("c", 1, 1).timing == Timing()
