"""What GPU time was sold for, in the second ledger: deals by model, day and step of price, kept for ninety days."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.economy.books import Books

DAY_MS = 86_400_000
KEPT_DAYS = 90
HOUR_MS = 3_600_000

Deals = tuple[str, int, int]
"""(model, or nothing if it was several; day; step of price)."""


def step_of(price: int) -> int:
    """Sixteen prices, then steps of an eighth: eight from each power of two to the next."""
    halvings = 0
    while price >= 16:
        price, halvings = price // 2, halvings + 1
    return 8 * halvings + price


@dataclass
class Trading(Books):
    trades: dict[Deals, list[int]] = field(default_factory=dict)
    """[deals, milliseconds of GPU time, gross, fee]."""

    def due(self) -> None:
        super().due()
        self.trades = {key: sums for key, sums in self.trades.items() if self.now < self.forgotten_at(key[1])}

    @staticmethod
    def forgotten_at(day: int) -> int:
        """Block time at which a day's deals leave the state: so many whole days after it."""
        return (day + 1 + KEPT_DAYS) * DAY_MS

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        yield from {self.forgotten_at(day) for _, day, _ in self.trades}

    def note_deal(self, models: Iterable[str], ended: int, gpu_ms: int, gross: int, fee: int) -> None:
        """GPU time was sold; what cost no fee tells no price."""
        day, names = ended // DAY_MS, set(models)
        if not fee or not gpu_ms or self.now >= self.forgotten_at(day):
            return
        key = ("", day, 0) if len(names) > 1 else (*names, day, step_of(gross * HOUR_MS // gpu_ms))
        sums = self.trades.get(key, [0, 0, 0, 0])
        self.trades[key] = [old + more for old, more in zip(sums, (1, gpu_ms, gross, fee), strict=True)]
