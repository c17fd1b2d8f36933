"""A booking to be disputed, and what the money table says of it: what the tests of disputes share."""

from fractions import Fraction
from math import ceil, floor

from tests.court import Court, Purse
from tests.ledger import Person

PRICE = 2_000_000_011
"""Of one GPU-hour: no amount that follows from it is round."""
SECONDS = 3_601
COST = ceil(Fraction(PRICE * SECONDS, 3_600))
SLICE = ceil(Fraction(COST, 10))
WINDOW_MS = 300_000


def earned(milliseconds: int) -> int:
    """E of the money table."""
    return floor(Fraction(PRICE * milliseconds, 3_600_000))


def released(milliseconds: int) -> int:
    """What a release this long after the start comes to."""
    used = earned(max(milliseconds, 60_000))
    return used + (COST - used) * 100 // 10_000


class Stage:
    """A booking that began, and what both sides had before."""

    def __init__(self, *, closing: bool = False, used_ms: int = 400_000, court: Court | None = None) -> None:
        self.court = court or Court(price=PRICE)
        self.purse = Purse(self.court)
        self.booking = self.court.active(seconds=SECONDS)
        self.court.wait_until(self.court.booking(self.booking).start_ms + used_ms - 1_000)
        if closing:
            self.court.release(self.booking)
        self.ended_ms = used_ms

    def open(self, by_provider: bool) -> bytes:
        return self.court.open(self.party(by_provider), self.booking)

    def party(self, provider: bool) -> Person:
        return self.court.provider if provider else self.court.renter
