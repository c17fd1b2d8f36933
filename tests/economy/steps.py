"""An economy that is driven step by step, and looked at from all sides after each block.

Beside what is compared after every block (`world.py`), every index is made again from scratch, and the state root from
the flat table. `python -m tests.economy steps` drives one through the steps of a failing example.
"""

from tests.economy.indexes import Root, check_indexes
from tests.economy.world import AT_ONCE, FORGETFUL, Economy

OUTAGES_MS = (15_001, 61_000, 600_000, 3 * 3_600_000, 3 * 3_600_000, 100 * 86_400_000)


class Watched(Economy):
    """An economy in which a step is one block: something of one family is attempted, or time passes."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, parameters=FORGETFUL)
        self.steps: list[str] = []
        self.root = Root(self.ledger.genesis.state)

    def open(self) -> None:
        """What there is before the first step."""
        self.open_market()
        if self.rng.random() < 0.6:
            self.open_books()
        self.open_council()

    @property
    def replay(self) -> str:
        """The command that goes the same way again."""
        return " ".join([".venv/bin/python -m tests.economy steps", str(self.seed), *self.steps])

    def step(self, family: str, seed: int) -> list[str]:
        """One block with what a family attempts at once, or nothing of `wait` and `outage`; returns the errors.

        The seed decides the rest; the same step again is another. Whatever else happens, a dispute that is open may
        go on.
        """
        step = f"{family}:{seed}"
        self.rng.seed(f"{step} {self.steps.count(step)}")
        self.steps.append(step)
        rng = self.rng
        if family == "wait":
            self.begin(self.edge())
        elif family == "outage":
            self.begin(rng.choice((*OUTAGES_MS, rng.randint(15_001, 10**8))))
        else:
            self.begin(min(self.edge(), rng.choice((1, 1_000, 14_999, 15_000))))
            if family == "several":
                self.add_several()
            elif family == "refused":
                self.add(self.choices.attempt(), spoiled=True)
            else:
                self.add_round(family)
            if family == "measure" and rng.random() < 0.3:
                self.carry()
            if rng.random() < 0.1 and any(dispute.pending for dispute in self.model.disputes.values()):
                self.add_round("judge")
        return self.finish()

    def add_round(self, family: str) -> None:
        """As many attempts of a family as belong into one step."""
        for _ in range(self.rng.choice(AT_ONCE.get(family, (1,)))):
            self.add(self.choices.attempt(family))

    def finish(self) -> list[str]:
        errors = super().finish()
        check_indexes(self.sight)
        self.root.check(self.ledger.height, self.all_changes[-1], self.ledger.reader)
        return errors
