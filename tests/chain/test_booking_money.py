"""The money table of the booking paths, worked out here a second time in exact fractions."""

from fractions import Fraction
from math import ceil, floor

import pytest

from chain import escrow
from chain.action import BlockContext, Context
from chain.actions.gpus import Heartbeat
from chain.bank import account, totals
from chain.booking import BookingStatus
from chain.parameters import Parameters, read_parameters
from chain.schema import COIN
from tests.ledger import DEFAULT_FEE
from tests.market import UNHURRIED, Market, altered

RATES = [1, 3_599, 7_919, 3_600_001, 2 * COIN, 999_999_999_999]
FEE = Fraction(UNHURRIED.market_fee, 10_000)
CHARGE = Fraction(UNHURRIED.release_charge, 10_000)


def full_cost(rate: int, seconds: int) -> int:
    return ceil(Fraction(rate) * seconds / 3_600)


def earnings(rate: int, milliseconds: int) -> int:
    return floor(Fraction(rate) * milliseconds / 3_600_000)


class Books:
    """Remembers who had what before a booking, and judges it after."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.renter, self.provider = market.wealth(market.renter), market.wealth(market.provider)

    def judge(self, booking_id: bytes, gross: int, forfeited: int = 0, *, by_renter: int, by_provider: int) -> None:
        """Everyone has what the table says, after this many transactions of each."""
        booking, escrow = self.market.booking(booking_id), self.market.escrow(booking_id)
        fee = floor(gross * FEE)
        assert booking.gross == gross
        assert (escrow.net, escrow.fee, escrow.refunded) == (gross - fee, fee, booking.cost - gross)
        assert escrow.remaining == 0
        paid_renter, paid_provider = by_renter * DEFAULT_FEE, by_provider * DEFAULT_FEE
        assert self.market.wealth(self.market.renter) == self.renter - gross + forfeited - paid_renter
        assert self.market.wealth(self.market.provider) == self.provider + gross - fee - forfeited - paid_provider
        assert self.market.stake(self.market.provider).collateral == 25 * COIN * len(self.market.gpus)


@pytest.mark.parametrize("seconds", [60, 61, 3_607])
@pytest.mark.parametrize("rate", RATES)
def test_completed(rate: int, seconds: int) -> None:
    market = Market(price=rate)
    books = Books(market)
    booking_id = market.active(seconds=seconds)
    assert market.booking(booking_id).cost == full_cost(rate, seconds)
    market.wait_until(market.booking(booking_id).end_ms)
    market.wait(300_000)
    books.judge(booking_id, earnings(rate, seconds * 1_000), by_renter=1, by_provider=1)
    assert market.booking(booking_id).status is BookingStatus.CLOSED


@pytest.mark.parametrize("late_ms", [1, 1_000, 47_123, 59_999])
@pytest.mark.parametrize("rate", RATES)
def test_late_activation_is_not_billed_from_the_start(rate: int, late_ms: int) -> None:
    market = Market(price=rate)
    books = Books(market)
    booking_id = market.reserve(seconds=600)
    market.wait(late_ms // 10_000 * 10_000)
    market.activate(booking_id, after_ms=late_ms % 10_000 or 1)
    booking = market.booking(booking_id)
    market.wait_until(booking.end_ms)
    market.confirm(booking_id)
    late = booking.from_ms - booking.start_ms
    books.judge(booking_id, earnings(rate, 600_000 - late), by_renter=2, by_provider=1)


@pytest.mark.parametrize("used_ms", [1, 59_999, 60_000, 61_234, 599_999])
@pytest.mark.parametrize("rate", RATES)
def test_released(rate: int, used_ms: int) -> None:
    market = Market(price=rate)
    books = Books(market)
    booking_id = market.active(seconds=600)
    cost = full_cost(rate, 600)
    waited_ms = (used_ms - 1) // 10_000 * 10_000
    market.wait(waited_ms)
    market.release(booking_id, after_ms=used_ms - waited_ms)
    used = earnings(rate, max(used_ms, 60_000))
    gross = used + floor((cost - used) * CHARGE)
    assert market.escrow(booking_id).refunded == cost - gross, "the refund returns at once"
    market.confirm(booking_id)
    books.judge(booking_id, gross, by_renter=3, by_provider=1)


def test_released_after_a_late_activation_is_charged_no_more_than_what_is_left() -> None:
    """The minimum time is clamped to the time from activation to end."""
    market = Market(price=2 * COIN, minimum=600)
    books = Books(market)
    booking_id = market.reserve(seconds=600)
    market.wait(50_000)
    market.activate(booking_id)
    late = market.booking(booking_id).from_ms - market.booking(booking_id).start_ms
    market.release(booking_id)
    cost, used = full_cost(2 * COIN, 600), earnings(2 * COIN, 600_000 - late)
    market.confirm(booking_id)
    books.judge(booking_id, used + floor((cost - used) * CHARGE), by_renter=3, by_provider=1)


@pytest.mark.parametrize("released_after_ms", [130_000, 200_000])
def test_released_while_a_gpu_is_offline(released_after_ms: int) -> None:
    """No minimum, no charge: only the time that passed."""
    market = Market(gpus=2, parameters=altered(heartbeat_timeout_seconds=120), minimum=600)
    market.do(market.provider, Heartbeat(market.gpus))
    books = Books(market)
    booking_id = market.active(seconds=7_200)
    start_ms = market.booking(booking_id).start_ms
    market.do(market.provider, Heartbeat((market.gpus[0],)))
    market.wait_until(start_ms + released_after_ms - 1_000)
    market.release(booking_id)
    gross = earnings(4 * COIN, released_after_ms)
    market.confirm(booking_id)
    books.judge(booking_id, gross, by_renter=3, by_provider=2)


def test_released_after_the_gpu_came_back_is_charged_again() -> None:
    market = Market(parameters=altered(heartbeat_timeout_seconds=120))
    booking_id = market.active(seconds=7_200)
    market.wait(130_000)
    market.do(market.provider, Heartbeat(market.gpus))
    market.release(booking_id)
    booking = market.booking(booking_id)
    assert booking.ended_ms is not None
    used = earnings(2 * COIN, booking.ended_ms - booking.start_ms)
    assert booking.gross == used + floor((booking.cost - used) * CHARGE)


@pytest.mark.parametrize("rate", RATES)
def test_cancelled_before_the_start(rate: int) -> None:
    market = Market(price=rate)
    books = Books(market)
    booking_id = market.reserve(after_seconds=600, seconds=601)
    market.cancel(booking_id)
    books.judge(booking_id, floor(full_cost(rate, 601) * CHARGE), by_renter=2, by_provider=0)


@pytest.mark.parametrize("rate", RATES)
def test_no_show(rate: int) -> None:
    market = Market(price=rate)
    books = Books(market)
    booking_id = market.reserve()
    forfeited = min(ceil(Fraction(full_cost(rate, 3_600), 10)), 25 * COIN)
    market.wait(50_000)
    assert market.booking(booking_id).status is BookingStatus.RESERVED
    market.block(after_ms=9_999)
    assert market.booking(booking_id).status is BookingStatus.RESERVED
    market.block(after_ms=1)
    assert market.booking(booking_id).status is BookingStatus.NO_SHOW
    books.judge(booking_id, 0, forfeited, by_renter=1, by_provider=0)


def test_no_show_of_a_booking_shorter_than_the_grace() -> None:
    market = Market(parameters=altered(activation_grace_seconds=900))
    books = Books(market)
    booking_id = market.reserve(seconds=60)
    forfeited = market.booking(booking_id).collateral
    market.wait(60_000)
    assert market.booking(booking_id).status is BookingStatus.NO_SHOW
    books.judge(booking_id, 0, forfeited, by_renter=1, by_provider=0)


def test_abandoned_after_an_outage() -> None:
    """The booking's whole time passed while the chain was down: nobody is at fault and nobody pays."""
    market = Market()
    books = Books(market)
    booking_id = market.reserve(after_seconds=600)
    market.block(after_ms=3 * 3_600_000)
    assert market.booking(booking_id).status is BookingStatus.CANCELLED
    books.judge(booking_id, 0, by_renter=1, by_provider=0)


def test_summed_rates_are_rounded_once() -> None:
    market = Market(gpus=3, price=1_201)
    booking_id = market.active(seconds=61)
    assert market.booking(booking_id).cost == full_cost(3 * 1_201, 61) != 3 * full_cost(1_201, 61)


@pytest.mark.parametrize("share", [0, 1, 3_333, 10_000])
def test_a_market_fee_is_shared_to_the_unit(share: int) -> None:
    parameters = altered(market_fee=777, market_fee_staker_share=share, base_fee=0, fee_per_byte=0, fee_per_weight=0)
    market = Market(price=7_919_003, parameters=parameters)
    before = totals(market.view)
    booking_id = market.active(seconds=611)
    market.wait_until(market.booking(booking_id).end_ms)
    market.confirm(booking_id)
    after, fee = totals(market.view), market.escrow(booking_id).fee
    assert fee == earnings(7_919_003, 611_000) * 777 // 10_000
    assert after.epoch_pot - before.epoch_pot == fee * share // 10_000
    assert after.treasury - before.treasury == fee - fee * share // 10_000


def test_dust_over_many_settlements() -> None:
    """Many tiny bookings lose no unit and create none: what the two parties miss is what was collected."""
    market = Market(price=61, parameters=altered(base_fee=0, fee_per_byte=0, fee_per_weight=0))
    before, pots = market.wealth(market.renter) + market.wealth(market.provider), pooled(market)
    rounds = 50
    for _ in range(rounds):
        booking_id = market.active(seconds=61)
        market.release(booking_id)
        market.confirm(booking_id)
    after = market.wealth(market.renter) + market.wealth(market.provider)
    assert before - after == rounds * 4 * DEFAULT_FEE + pooled(market) - pots


def pooled(market: Market) -> int:
    money = totals(market.view)
    return money.epoch_pot + money.treasury


@pytest.mark.parametrize("parameters", [UNHURRIED, altered(market_fee=10_000), altered(market_fee=0)])
def test_the_fee_is_snapshotted_from_the_reservation(parameters: Parameters) -> None:
    market = Market(parameters=parameters)
    booking_id = market.active()
    assert market.escrow(booking_id).fee_rate == parameters.market_fee
    market.release(booking_id)
    market.confirm(booking_id)
    escrow = market.escrow(booking_id)
    assert escrow.fee == escrow.gross * parameters.market_fee // 10_000


@pytest.mark.parametrize("charge", [0, 10_000])
def test_extreme_release_charges(charge: int) -> None:
    market = Market(parameters=altered(release_charge=charge))
    booking_id = market.active()
    market.release(booking_id)
    booking = market.booking(booking_id)
    assert booking.gross == (booking.cost if charge else earnings(2 * COIN, 60_000))


@pytest.mark.parametrize("steps", [(1, 2, 3), (999, 1_000), (500, 400, 500), (333, 333, 334, 1_000, 7), (5_000,)])
def test_settling_often_never_changes_a_total(steps: tuple[int, ...]) -> None:
    """Payments are cumulative: a smaller or repeated total moves nothing, a larger one than what is held only that."""
    market = Market(parameters=altered(market_fee=333))
    view, booking_id = market.view, b"\x01" * 32
    block = BlockContext(market.chain_id, 1, 0, market.time_ms, market.proposer)
    context = Context(view, block, 0, read_parameters(view), market.renter.address, bytes(32))
    escrow.open_escrow(context, booking_id, market.renter.address, 1_000)
    before = account(view, market.provider.address).balance
    for gross in steps:
        escrow.pay(context, booking_id, market.provider.address, gross)
    paid = min(max(steps), 1_000)
    fee = paid * 333 // 10_000
    assert account(view, market.provider.address).balance - before == paid - fee
    assert (escrow.escrow_of(view, booking_id).fee, escrow.refund_rest(context, booking_id)) == (fee, 1_000 - paid)
