"""The property test: a random economy against its model, again in another process, and again with a late queue."""

import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from chain.action import BlockContext, Clock, Context
from chain.bank import ACCOUNTS, totals
from chain.booking import BOOKINGS
from chain.clocks import read_clocks
from chain.dispute import DISPUTES
from chain.escrow import ESCROWS
from chain.invariants import check_all
from chain.inventory import GPUS
from chain.job import JOBS
from chain.parameters import read_parameters
from chain.reputation import REPUTATIONS
from chain.rewards import NO_SHARE
from chain.schedule import DUE, Subject, schedule
from chain.schema import COIN
from chain.stake import STAKES
from chain.state.view import View
from chain.trades import TRADES
from chain.transaction import Transaction
from chain.transition import apply_block
from tests.conftest import EXTENDED
from tests.economy.attempts import COUNCIL_FAMILIES, FAMILIES
from tests.economy.world import FORGETFUL, Economy, run
from tests.ledger import Ledger

UNTIMED = tuple(family for family in FAMILIES if family not in ("reward", *COUNCIL_FAMILIES))
"""What depends on no epoch: a fee is shared in the one in which it was collected, and what is late collects it late.

And without slashes, which leave the least to whoever forfeits last.
"""
RUNS, LATE_RUNS, BLOCKS = (20, 10, 500) if EXTENDED else (5, 2, 130)


def economy(rng: random.Random, blocks: int) -> Economy:
    seed = rng.randrange(1 << 32)
    print(f"replay: python -m tests.economy {seed} {blocks}")
    return run(seed, blocks, parameters=FORGETFUL)


@pytest.mark.timeout(1_800)
def test_a_random_economy_agrees_with_its_model(rng: random.Random) -> None:
    """Money, stakes, statuses and errors are the model's after each block, and every invariant holds."""
    outcomes: Counter[str] = Counter()
    done: Counter[str] = Counter()
    gone = 0
    for _ in range(RUNS):
        lived = economy(rng, BLOCKS)
        outcomes.update(result.error for _, _, outcome in lived.history for result in outcome.results)
        done.update(lived.model.done)
        gone += len(lived.model.gone)
    print(dict(outcomes), dict(done), gone)
    assert outcomes[""] > RUNS * BLOCKS // 5, "most of it must reach the effects"
    assert len(outcomes) > 8
    assert len(done) > 25, "most actions must succeed somewhere"
    assert gone, "bookings must leave the state"


def test_the_model_notices_a_wrong_ledger(rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has teeth: one base unit too much in each cost is found at once."""
    monkeypatch.setattr("chain.reservation.cost_of", lambda rate, seconds: -(-rate * seconds // 3_600) + 1)
    with pytest.raises(AssertionError):
        economy(rng, 2_000)


def test_the_model_notices_what_should_be_refused(rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what a block must not hold is compared: here a transaction may be repeated."""
    monkeypatch.setattr("chain.transition.require_new", lambda *_: None)
    with pytest.raises(AssertionError, match=r"model .'already_done'"):
        economy(rng, 2_000)


def test_another_process_with_another_hash_seed_makes_the_same_changes(rng: random.Random) -> None:
    lived = economy(rng, 60)
    seed = lived.seed
    for hash_seed in ("0", "4242"):
        output = subprocess.run(
            [sys.executable, "-m", "tests.economy", str(seed), "60"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        assert output.strip() == lived.digest.hexdigest()


def test_the_same_blocks_decoded_from_their_bytes_make_the_same_changes(rng: random.Random) -> None:
    lived = economy(rng, 80)
    again = Ledger(lived.ledger.specification, check=False)
    for context, transactions, outcome in lived.history:
        view = again.view
        assert apply_block(view, context, [Transaction.decode(item.envelope) for item in transactions]) == outcome
        again.reader.apply(view.changes())
    assert again.reader.values == lived.ledger.reader.values


class Late:
    """The blocks of an economy on a ledger whose queue is full, so that nothing runs by itself in time."""

    def __init__(self, lived: Economy) -> None:
        specification = replace(lived.ledger.specification, parameters=replace(FORGETFUL, due_weight=100))
        self.ledger = Ledger(specification, check=False)
        view = self.ledger.view
        clocks = read_clocks(view)
        block = BlockContext(lived.ledger.chain_id, 0, 0, clocks.time_ms, bytes(33))
        context = Context(view, block, 0, read_parameters(view), bytes(33), bytes(32))
        for clock in Clock:
            for index in range(10 * len(lived.history)):
                schedule(context, clock, 0, Subject.IDEMPOTENCY, index.to_bytes(4, "big"))
        self.ledger.reader.apply(view.changes())

    def apply(self, context: BlockContext, transactions: list[Transaction]) -> list[str]:
        view = self.ledger.view
        verified = {item.envelope for item in transactions}
        outcome = apply_block(view, context, transactions, verified)
        self.ledger.reader.apply(view.changes())
        return [result.error for result in outcome.results]

    def overdue(self) -> int:
        clocks = read_clocks(self.ledger.view)
        now = (clocks.time_ms, clocks.live_ms)
        return sum(int.from_bytes(key[1:9], "big") <= now[key[0]] for key, _ in DUE.scan(self.ledger.view))


def settled(view: View) -> dict[str, object]:
    """A state without what only tells when something was written, and so in which epoch a fee was collected."""

    money = totals(view)
    return {
        "accounts": dict(ACCOUNTS.scan(view)),
        "stakes": {key: replace(held, share=NO_SHARE) for key, held in STAKES.scan(view)},
        "escrows": dict(ESCROWS.scan(view)),
        "bookings": {key: replace(booking, closed_height=None) for key, booking in BOOKINGS.scan(view)},
        "jobs": {key: job for key, job in JOBS.scan(view) if job.booking is None},
        "gpus": dict(GPUS.scan(view)),
        "disputes": {key: replace(dispute, closed_height=None) for key, dispute in DISPUTES.scan(view)},
        "totals": replace(money, epoch_pot=money.epoch_pot + money.rewards, rewards=0),
        "reputations": dict(REPUTATIONS.scan(view)),
        "trades": dict(TRADES.scan(view)),
    }


@pytest.mark.timeout(1_800)
def test_a_late_queue_changes_when_but_never_what(rng: random.Random) -> None:
    """Every transaction has the same outcome whether the queue is in time or hopelessly late, and so has the end."""
    for _ in range(LATE_RUNS):
        seed = rng.randrange(1 << 32)
        print(f"replay: run({seed}, {BLOCKS}, wealth=10**6 * COIN, families=UNTIMED, parameters=FORGETFUL)")
        lived = run(seed, BLOCKS, wealth=10**6 * COIN, families=UNTIMED, parameters=FORGETFUL)
        late = Late(lived)
        held_up = 0
        for context, transactions, outcome in lived.history:
            errors = late.apply(context, transactions)
            assert errors == [result.error for result in outcome.results], f"height {context.height}"
            if context.height % 20 == 0:
                check_all(late.ledger.view)
                held_up += late.overdue()
        assert held_up > BLOCKS
        proposer, context = lived.ledger.proposer, lived.history[-1][0]
        # First the queue catches up; then the windows pass in which an early look pays a part of what is owed, and the
        # deadlines of open jobs whose booking is over, which keep it in the state until somebody looks at them.
        ahead = [15_000] * 20 + [400 * 86_400_000] + [15_000] * 10
        while late.overdue() or ahead:
            step_ms = 1 if late.overdue() else ahead.pop()
            context = BlockContext(context.chain_id, context.height + 1, 0, context.time_ms + step_ms, proposer)
            late.apply(context, [])
            view = lived.ledger.view
            apply_block(view, context, [])
            lived.ledger.reader.apply(view.changes())
        for name, part in settled(late.ledger.view).items():
            assert part == settled(lived.ledger.view)[name], name
