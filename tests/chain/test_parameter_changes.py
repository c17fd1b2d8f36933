"""A parameter that changes leaves what is under way as it is: every deadline, calendar and sum of money still agrees.

Each parameter is moved as far as one epoch allows, either way, under a market with something of everything in it.
"""

import copy
from dataclasses import replace
from functools import cache

import pytest

from chain.bank import totals
from chain.booking import BOOKINGS
from chain.escrow import ESCROWS
from chain.invariants import check_all
from chain.job import JOBS
from chain.parameter_ranges import RANGES, changed, reach
from chain.parameters import PARAMETERS, read_parameters
from chain.state.view import MemoryReader
from tests.market import Market
from tests.scene import Scene


@cache
def scene() -> Scene:
    """Made once; each test works on a copy of its state."""
    return Scene()


def moved(name: str, end: int) -> Market:
    """The market after one parameter went to the least (0) or the greatest (1) value in reach."""
    market = copy.copy(scene().market)
    market.reader = MemoryReader(dict(market.reader.values))
    view = market.view
    present = read_parameters(view)
    value = reach(name, getattr(present, name))[end]
    PARAMETERS.put(view, changed(present, present, name, value))
    market.reader.apply(view.changes())
    return market


def settled(market: Market) -> dict[bytes, bytes]:
    """What became of every booking, job and sum of money that is under way, hours later."""
    market.check = False
    for number in range(120):
        market.block(after_ms=14_000 if number < 60 else 600_000)
        if number % 10 == 9:
            check_all(market.view)
    prefixes = {table.key(b"") for table in (BOOKINGS, JOBS, ESCROWS)}
    return {key: value for key, value in market.reader.values.items() if key[:1] in prefixes}


@cache
def undisturbed() -> dict[bytes, bytes]:
    market = copy.copy(scene().market)
    market.reader = MemoryReader(dict(market.reader.values))
    return settled(market)


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("name", sorted(RANGES))
def test_what_is_under_way_keeps_its_terms(name: str, end: int) -> None:
    market = moved(name, end)
    check_all(market.view)
    assert settled(market) == undisturbed()


def test_something_is_under_way() -> None:
    before = {key: value for key, value in scene().market.reader.values.items() if key in undisturbed()}
    changed_since = [key for key, value in undisturbed().items() if before.get(key) != value]
    assert len(changed_since) > 8


def test_the_stakers_share_of_a_fee_is_that_of_the_beginning() -> None:
    """However late it is paid, and however often the share has changed since."""
    market = Market()
    booking_id = market.active()
    view = market.view
    PARAMETERS.put(view, replace(read_parameters(view), market_fee_staker_share=0))
    market.reader.apply(view.changes())
    pot = totals(market.view).epoch_pot
    market.wait(3_600_000 + 300_000 + 20_000)
    fee = market.escrow(booking_id).fee
    assert fee > 0
    assert totals(market.view).epoch_pot - pot == fee // 2
