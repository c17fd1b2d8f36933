"""Shows that the simulation notices what it is there to notice: each rule that is taken away is missed.

Every test runs the same scenario with the rule in place first, where nothing may be found.
"""

from collections.abc import Callable
from dataclasses import replace

from chain.block import Block
from chain.certificate import AuthoritySet, Certificate
from node.consensus.events import PeerConnected, Timer
from node.consensus.simplex import Simplex
from tests.simulation.oracle import Violation
from tests.simulation.toy import ToyExecutor
from tests.simulation.world import Parts, Scenario, World

LOSSY = Scenario(0, 2, chaos_ms=6_000, loss=0.4, crash_every_ms=0, partition_every_ms=0, heal_within_ms=30_000)


def violations(run: Callable[[int], object], seeds: int) -> list[str]:
    """What the oracle complained about in this many runs."""
    found = []
    for seed in range(seeds):
        try:
            run(seed)
        except Violation as violation:
            found.append(str(violation))
    return found


def split(seed: int, size: int, liars: int, authority_set: type[AuthoritySet] = AuthoritySet) -> None:
    """The honest in two halves that cannot hear each other, the liars in touch with both. Quorums are not judged."""
    scenario = Scenario(
        seed, size, ("liar",) * liars, loss=0.02, crash_every_ms=0, partition_every_ms=0, heal_within_ms=30_000
    )
    world = World(scenario, Parts(authority_set=authority_set))
    world.oracle.check_quorum = False
    world.oracle.halts_allowed = True
    honest = size - liars
    world.partition([index % 2 for index in range(honest)] + [None] * liars)
    world.begin()
    world.chaos()
    world.heal()
    world.require_progress()


class TwoFaultsPlusOne(AuthoritySet):
    """The quorum of textbooks, right only for n = 3f + 1."""

    @property
    def quorum(self) -> int:
        return 2 * ((self.size - 1) // 3) + 1


class TwoThirds(AuthoritySet):
    """The quorum of QBFT, ceil(2n / 3)."""

    @property
    def quorum(self) -> int:
        return -(-2 * self.size // 3)


class WithoutStandstill(Simplex):
    def _on_standstill(self) -> None:
        self._arm(Timer.STANDSTILL, self._now + 1_000)


class WithoutCandidates(ToyExecutor):
    def persist(self, blocks: tuple[Block, ...], certificates: tuple[Certificate, ...]) -> None:
        super().persist((), certificates)


class WithoutDurableVotes(Simplex):
    """Forgets at a restart what it had signed; the signer still knows."""

    def _restore(self) -> int:
        return 0


def test_as_many_liars_as_are_tolerated_fork_nothing() -> None:
    assert not violations(lambda seed: split(seed, 4, 1), 8)


def test_one_liar_too_many_forks() -> None:
    found = violations(lambda seed: split(seed, 4, 2), 8)
    assert any("two blocks at height" in text for text in found), found


def test_the_quorum_formula_of_textbooks_forks_five_and_six() -> None:
    assert not violations(lambda seed: split(seed, 5, 1), 3)
    assert any("two blocks" in text for text in violations(lambda seed: split(seed, 5, 1, TwoFaultsPlusOne), 3))
    assert not violations(lambda seed: split(seed, 6, 0), 3)
    assert any("two blocks" in text for text in violations(lambda seed: split(seed, 6, 0, TwoFaultsPlusOne), 3))


def test_the_quorum_formula_of_qbft_forks_three() -> None:
    assert not violations(lambda seed: split(seed, 3, 1), 4)
    assert any("two blocks" in text for text in violations(lambda seed: split(seed, 3, 1, TwoThirds), 4))


def test_without_rebroadcasts_a_lossy_pair_stalls() -> None:
    assert not violations(lambda seed: World(replace(LOSSY, seed=seed)).run(), 8)
    broken = Parts(core=WithoutStandstill)
    found = violations(lambda seed: World(replace(LOSSY, seed=seed), broken).run(), 8)
    assert sum("no progress" in text for text in found) >= 4, found


def kill_both(seed: int, points: int, parts: Parts | None = None) -> None:
    """A pair in good weather loses power together, each at its own count of points from now."""
    world = World(replace(LOSSY, seed=seed, loss=0.0, transactions_per_s=10.0), parts)
    world.begin()
    world.run_until(2_000 + 37 * points)
    for node in world.nodes:
        node.power.remaining = points
    world.run_until(world.now + 3_000)
    world.heal()
    world.require_progress()


def test_without_the_candidate_on_disk_a_pair_that_crashes_together_is_dead() -> None:
    def run(parts: Parts | None) -> Callable[[int], None]:
        return lambda points: kill_both(1, points + 1, parts)

    assert not violations(run(None), 60)
    assert any("no progress" in text for text in violations(run(Parts(executor=WithoutCandidates)), 60))


def test_without_own_votes_at_restart_the_signer_refuses() -> None:
    scenario = replace(LOSSY, loss=0.05, crash_every_ms=300, transactions_per_s=10.0)
    found = violations(lambda seed: World(replace(scenario, seed=seed), Parts(core=WithoutDurableVotes)).run(), 8)
    assert any("signing_refused" in text for text in found), found


def test_the_oracle_convicts_nobody_honest_and_every_open_liar() -> None:
    scenario = Scenario(5, 4, ("double_voter",), chaos_ms=6_000, crash_every_ms=0, loss=0.02)
    world = World(scenario).run()
    assert {conflict.node_key for conflict in world.oracle.conflicts} == {world.keys[3].node_key}
    scenario = replace(scenario, behaviours=("equivocating_leader",))
    world = World(scenario).run()
    assert {conflict.node_key for conflict in world.oracle.conflicts} <= {world.keys[3].node_key}


def test_every_link_starts_with_what_is_known() -> None:
    class Silent(WithoutStandstill):
        def _on_connected(self, peer: bytes) -> None:
            self._peers.add(peer)

    assert PeerConnected in Silent.step.__globals__.values()
    found = violations(lambda seed: World(replace(LOSSY, seed=seed, size=4), Parts(core=Silent)).run(), 12)
    assert any("no progress" in text for text in found)
