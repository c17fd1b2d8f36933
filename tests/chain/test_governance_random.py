"""Random councils beside the second ledger: votes, keys and members that come and go, for dozens of epochs.

The state machine has all families and few epochs; here there is nothing but a council, and epochs are short. So sets
shrink and grow, candidates wait until they are dropped, and measures wait for a treasury that may never pay them.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import EXTENDED
from tests.economy.attempts import COUNCIL_FAMILIES
from tests.economy.indexes import check_indexes
from tests.economy.world import FORGETFUL, Economy

ROUNDS = 40 if EXTENDED else 3
BLOCKS = 220
SHORT = replace(FORGETFUL, epoch_blocks=5)
FAMILIES = ("account", "stake", "multisig", *COUNCIL_FAMILIES)


def live(rng: random.Random, blocks: int) -> Iterator[Economy]:
    """A new council after each of its blocks."""
    seed = rng.randrange(1 << 32)
    print(f"replay: run({seed}, {blocks}, parameters=SHORT, families=FAMILIES)")
    economy = Economy(seed, parameters=SHORT, families=FAMILIES)
    for _ in range(blocks):
        economy.block()
        yield economy


@pytest.mark.timeout(600)
def test_random_councils_do_what_the_second_ledger_says(rng: random.Random) -> None:
    sizes: Counter[int] = Counter()
    told: Counter[str] = Counter()
    for _ in range(ROUNDS):
        for economy in live(rng, BLOCKS):
            check_indexes(economy.ledger.view)
            sizes[len(economy.model.members)] += 1
            _, _, outcome = economy.history[-1]
            told.update(event.kind for part in (outcome.system, *outcome.results) for event in part.events)
    print(sorted(sizes.items()), sorted(told.items()))
    assert len(sizes) > 1
    ends = {"governance.executed", "governance.expired", "governance.rejected", "governance.revoked"}
    assert ends | {"authority.entered", "authority.left", "evidence.convicted"} <= set(told)


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("chain.governance.quorum", lambda size: (size + 1) // 2),
        ("chain.actions.governance.changed", lambda now, _, name, value: replace(now, **{name: value})),
    ],
)
def test_the_second_ledger_notices_a_wrong_rule(
    rng: random.Random, monkeypatch: pytest.MonkeyPatch, place: str, wrong: object
) -> None:
    monkeypatch.setattr(place, wrong)
    with pytest.raises(AssertionError):
        list(live(rng, 2_000))
