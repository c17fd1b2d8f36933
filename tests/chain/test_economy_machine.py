"""The proof that it adds up: a state machine of every family, valid and invalid, against the second ledger.

Hypothesis chooses families and seeds; every step is a block with one attempt, or time passing, on both clocks. After
each step the two ledgers agree, every index equals one made from scratch, and the state root equals that of the flat
table. The longest run is applied again from its bytes in processes with other hash seeds.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from chain.action import ACTIONS
from tests.conftest import EXTENDED
from tests.economy.steps import Watched
from tests.economy.world import Economy

CHUNKS, EXAMPLES, STEPS = (20, 50, 110) if EXTENDED else (1, 30, 60)
"""Steps in all: about their product."""
LEAST = 5_000 if EXTENDED else 1_200
"""Steps of a chunk: of all chunks of the extended profile 100,000."""
UNLUCKY = 4 if EXTENDED else 8
"""So many kinds of actions may never succeed in a run."""
SEEDS = st.integers(0, (1 << 24) - 1)
"""Not more bits: of larger numbers Hypothesis prefers small ones, and the same step comes again and again."""
ROOT = Path(__file__).parents[2]


class Machine(RuleBasedStateMachine):
    """One rule for each family of attempts, and two for time."""

    outcomes: ClassVar[Counter[tuple[str, str]]] = Counter()
    """What became of the actions that were signed, and why blocks were refused."""
    done: ClassVar[Counter[str]] = Counter()
    """What succeeded, also within proposals and measures."""
    walked: ClassVar[list[int]] = []
    """Steps of each example."""
    counted: ClassVar[Counter[str]] = Counter()
    """How many providers and devices each counter of reputation was above zero for."""
    verdicts: ClassVar[Counter[tuple[str, str, bool]]] = Counter()
    """How disputes ended: what of, in which state, and whether the provider had opened them."""
    failed: ClassVar[list[str]] = []
    longest: ClassVar[list[Economy]] = []

    @classmethod
    def forget(cls) -> None:
        for told in (cls.outcomes, cls.done, cls.walked, cls.counted, cls.verdicts, cls.failed, cls.longest):
            told.clear()

    @initialize(seed=SEEDS)
    def open(self, seed: int) -> None:
        self.economy = Watched(seed)
        with self.replayable():
            self.economy.open()

    @contextmanager
    def replayable(self) -> Iterator[None]:
        """Whatever fails here, the example tells how to see it again: at once, and when it cannot be made shorter."""
        try:
            yield
        except BaseException:
            if not self.failed:
                self.failed.append(self.economy.replay)
                print(f"replay of the first failure: {self.economy.replay}")
            note(f"replay: {self.economy.replay}")
            raise

    def step(self, family: str, seed: int) -> None:
        with self.replayable():
            errors = self.economy.step(family, seed)
        self.outcomes.update(("refused", refused.why[0]) for refused in self.economy.refused)
        for transaction, error in zip(self.economy.pending, errors, strict=True):
            self.outcomes.update((action.name, error) for action in transaction.body.actions)

    @rule(seed=SEEDS)
    def account(self, seed: int) -> None:
        self.step("account", seed)

    @rule(seed=SEEDS)
    def stake(self, seed: int) -> None:
        self.step("stake", seed)

    @rule(seed=SEEDS)
    def listing(self, seed: int) -> None:
        self.step("listing", seed)

    @rule(seed=SEEDS)
    def chore(self, seed: int) -> None:
        self.step("chore", seed)

    @rule(seed=SEEDS)
    def reserve(self, seed: int) -> None:
        self.step("reserve", seed)

    @rule(seed=SEEDS)
    def booking(self, seed: int) -> None:
        self.step("booking", seed)

    @rule(seed=SEEDS)
    def booking_again(self, seed: int) -> None:
        self.step("booking", seed)

    @rule(seed=SEEDS)
    def job(self, seed: int) -> None:
        self.step("job", seed)

    @rule(seed=SEEDS)
    def work(self, seed: int) -> None:
        self.step("work", seed)

    @rule(seed=SEEDS)
    def review(self, seed: int) -> None:
        self.step("review", seed)

    @rule(seed=SEEDS)
    def request(self, seed: int) -> None:
        self.step("request", seed)

    @rule(seed=SEEDS)
    def bid(self, seed: int) -> None:
        self.step("bid", seed)

    @rule(seed=SEEDS)
    def bid_again(self, seed: int) -> None:
        self.step("bid", seed)

    @rule(seed=SEEDS)
    def multisig(self, seed: int) -> None:
        self.step("multisig", seed)

    @rule(seed=SEEDS)
    def dispute(self, seed: int) -> None:
        self.step("dispute", seed)

    @rule(seed=SEEDS)
    def judge(self, seed: int) -> None:
        self.step("judge", seed)

    @rule(seed=SEEDS)
    def measure(self, seed: int) -> None:
        self.step("measure", seed)

    @rule(seed=SEEDS)
    def ballot(self, seed: int) -> None:
        self.step("ballot", seed)

    @rule(seed=SEEDS)
    def ballot_again(self, seed: int) -> None:
        self.step("ballot", seed)

    @rule(seed=SEEDS)
    def office(self, seed: int) -> None:
        self.step("office", seed)

    @rule(seed=SEEDS)
    def evidence(self, seed: int) -> None:
        self.step("evidence", seed)

    @rule(seed=SEEDS)
    def several(self, seed: int) -> None:
        self.step("several", seed)

    @rule(seed=SEEDS)
    def refused(self, seed: int) -> None:
        self.step("refused", seed)

    @rule(seed=SEEDS)
    def wait(self, seed: int) -> None:
        self.step("wait", seed)

    @rule(seed=SEEDS)
    def outage(self, seed: int) -> None:
        self.step("outage", seed)

    def teardown(self) -> None:
        if not hasattr(self, "economy"):
            return
        self.done.update(self.economy.model.done)
        self.walked.append(len(self.economy.steps))
        self.verdicts.update(self.economy.model.verdicts)
        for counters in self.economy.model.counters.values():
            self.counted.update(name for name, value in counters.items() if value)
        if len(self.economy.history) > len(self.longest[0].history if self.longest else ""):
            self.longest[:] = [self.economy]


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_everything_adds_up_whatever_happens(seed: int, chunk: int) -> None:
    Machine.forget()
    settled = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(hypothesis_seed(seed % (1 << 32))(Machine), settings=settled)
    lacking = {action.name for action in ACTIONS.values()} - set(Machine.done)
    print(sorted(Machine.outcomes.items()))
    print(f"disputes: {sorted(Machine.verdicts.items())}")
    print(f"reputations: {dict(Machine.counted)}")
    print(f"{len(Machine.walked)} examples, {sum(Machine.walked)} steps, {Machine.outcomes.total()} actions")
    print(f"succeeded: {sorted(Machine.done.items(), key=lambda item: item[1])}; never: {sorted(lacking)}")
    assert sum(Machine.walked) >= LEAST
    assert len({error for _, error in Machine.outcomes}) > 15, "what is wrong must be tried too"
    assert len({error for name, error in Machine.outcomes if name == "refused"}) > 3, "blocks must be refused too"
    assert len(lacking) <= UNLUCKY, "actions must succeed somewhere"
    assert len(Machine.counted) > 6, "most that counts for a reputation must happen somewhere"
    (longest,) = Machine.longest
    for hash_seed in ("0", "4242"):
        assert replayed(longest.trace(), hash_seed) == longest.digest.hexdigest(), longest.replay


def replayed(trace: str, hash_seed: str) -> str:
    """The digest of a recorded run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.economy", "trace"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        input=trace,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.strip()
