"""Payments of what is no longer disputable: when they come, how much they are, and that no number of them matters."""

from fractions import Fraction
from math import floor

import pytest

from chain.actions.bookings import Extend, Settle
from chain.actions.gpus import UpdateGpu
from chain.bank import totals
from chain.booking import BookingStatus, matured
from chain.schema import COIN
from tests.ledger import DEFAULT_FEE, subject
from tests.market import PRICE, TIGHT, Market, altered, clog, terms

UNKNOWN = b"\x77" * 32
WINDOW_MS = 300_000


def paid(market: Market, booking_id: bytes) -> int:
    return market.escrow(booking_id).gross


class TestSettle:
    def test_pays_what_is_older_than_the_window(self) -> None:
        market = Market()
        booking_id = market.active(seconds=7_200)
        market.wait_until(market.booking(booking_id).start_ms + 1_000_000)
        balance = market.balance(market.provider)
        result = market.settle(booking_id)
        gross = PRICE * 701 // 3_600
        fee = gross * 200 // 10_000
        assert paid(market, booking_id) == gross
        assert market.balance(market.provider) == balance + gross - fee
        (event,) = result.events
        assert (event.kind, dict(event.amounts)) == ("booking.settled", {"net": gross - fee, "fee": fee})
        assert market.booking(booking_id).status is BookingStatus.ACTIVE

    @pytest.mark.parametrize(("late_ms", "gross"), [(0, 0), (1, 1), (3_599, 3_599)])
    def test_to_the_millisecond(self, late_ms: int, gross: int) -> None:
        market = Market(price=3_600_000)
        booking_id = market.active(seconds=7_200)
        market.wait_until(market.booking(booking_id).start_ms + WINDOW_MS + late_ms - 1)
        market.settle(booking_id, after_ms=1)
        assert paid(market, booking_id) == gross

    def test_twice_in_one_block(self) -> None:
        market = Market()
        booking_id = market.active(seconds=7_200)
        market.wait_until(market.booking(booking_id).start_ms + 1_000_000)
        first, second = (market.sign(person, Settle(booking_id)) for person in (market.other, market.renter))
        results = market.block(first, second)
        assert [dict(result.events[0].amounts)["net"] > 0 for result in results] == [True, False]
        assert paid(market, booking_id) == PRICE * 701 // 3_600

    def test_anybody_may(self) -> None:
        market = Market()
        booking_id = market.active(seconds=7_200)
        market.wait_until(market.booking(booking_id).start_ms + 400_000)
        before = market.balance(market.other)
        market.settle(booking_id)
        assert market.balance(market.other) == before - DEFAULT_FEE
        assert paid(market, booking_id) > 0

    def test_of_nothing(self) -> None:
        market = Market()
        assert market.refused(market.other, Settle(UNKNOWN)) == ("not_found", {"kind": "booking", "id": UNKNOWN})

    def test_of_what_was_not_activated_and_of_what_is_over_does_nothing(self) -> None:
        market = Market()
        reserved = market.reserve(after_seconds=7_200)
        closed = market.active()
        market.release(closed)
        market.confirm(closed)
        for booking_id in (reserved, closed):
            before = market.booking(booking_id), market.escrow(booking_id)
            assert market.settle(booking_id).events == ()
            assert (market.booking(booking_id), market.escrow(booking_id)) == before

    def test_it_brings_an_overdue_booking_up_to_date(self) -> None:
        market = Market(parameters=TIGHT)
        booking_id, missed = market.active(seconds=60), market.reserve(after_seconds=120)
        clog(market)
        market.wait(500_000)
        assert market.booking(booking_id).status is BookingStatus.ACTIVE
        result = market.settle(booking_id)
        assert [event.kind for event in result.events] == ["booking.completed", "booking.closed"]
        assert market.booking(booking_id).status is BookingStatus.CLOSED
        market.settle(missed)
        assert market.booking(missed).status is BookingStatus.NO_SHOW

    def test_nothing_before_the_start_of_an_early_activation(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=3_600)
        market.activate(booking_id)
        market.wait(1_000_000)
        market.settle(booking_id)
        assert paid(market, booking_id) == 0

    def test_late_activation_is_not_paid_from_the_start(self) -> None:
        market = Market()
        booking_id = market.reserve(seconds=7_200)
        market.wait(40_000)
        market.activate(booking_id)
        from_ms = market.booking(booking_id).from_ms
        market.wait_until(from_ms + 999_000)
        market.settle(booking_id)
        assert paid(market, booking_id) == PRICE * 700 // 3_600

    def test_segments_of_different_rates(self) -> None:
        market = Market(price=7_919)
        booking_id = market.active(seconds=60)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(3_600_001, version=2)))
        market.do(market.renter, Extend(booking_id, 6_000, COIN))
        start_ms = market.booking(booking_id).start_ms
        for passed_ms in (WINDOW_MS + 59_999, WINDOW_MS + 60_001, WINDOW_MS + 1_234_567):
            market.wait_until(start_ms + passed_ms - 1)
            market.settle(booking_id, after_ms=1)
            old = passed_ms - WINDOW_MS
            exact = Fraction(7_919 * min(old, 60_000) + 3_600_001 * max(0, old - 60_000), 3_600_000)
            assert paid(market, booking_id) == floor(exact)


class TestEnd:
    """Earnings older than the window are paid when a booking ends, the rest when the window passes or on confirm."""

    @pytest.mark.parametrize("how", ["completed", "released"])
    def test_two_payments(self, how: str) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        booking = market.booking(booking_id)
        if how == "completed":
            market.wait_until(booking.end_ms)
            used = 3_600
        else:
            market.wait_until(booking.start_ms + 1_799_000)
            market.release(booking_id)
            used = 1_800
        gross = market.booking(booking_id).gross
        assert paid(market, booking_id) == PRICE * (used - 300) // 3_600
        market.wait(WINDOW_MS - 1)
        assert market.booking(booking_id).status is BookingStatus.CLOSING
        market.wait(1)
        assert paid(market, booking_id) == gross
        assert market.booking(booking_id).status is BookingStatus.CLOSED

    def test_the_window_runs_on_while_it_is_closing(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.wait_until(market.booking(booking_id).start_ms + 1_800_000)
        market.release(booking_id)
        market.wait(99_000)
        market.settle(booking_id)
        assert paid(market, booking_id) == PRICE * (1_801 - 200) // 3_600

    def test_the_charge_for_leaving_waits_for_the_whole_window(self) -> None:
        market = Market(minimum=3_000)
        booking_id = market.active(seconds=3_600)
        market.release(booking_id)
        market.wait(WINDOW_MS - 1_001)
        market.settle(booking_id)
        assert paid(market, booking_id) == PRICE * 999 // 3_600_000, "only the second that was used"
        market.wait(1)
        assert paid(market, booking_id) == market.booking(booking_id).gross > PRICE * 3_000 // 3_600

    def test_no_more_than_the_gross_however_late(self) -> None:
        market = Market(parameters=altered(TIGHT, heartbeat_timeout_seconds=120))
        booking_id = market.active(seconds=7_200)
        market.wait(1_000_000)
        market.release(booking_id)
        gross = market.booking(booking_id).gross
        clog(market)
        market.wait(400_000)
        closing = market.booking(booking_id)
        assert closing.status is BookingStatus.CLOSING
        assert matured(market.view, closing, market.live_ms) == gross
        market.settle(booking_id)
        assert (paid(market, booking_id), market.escrow(booking_id).remaining) == (gross, 0)

    @pytest.mark.parametrize("outage_ms", [20_000, 3 * 3_600_000])
    def test_an_outage_ends_no_window(self, outage_ms: int) -> None:
        """Live time stood still, so nothing of it became undisputed."""
        market = Market()
        booking_id = market.active(seconds=6 * 3_600)
        start_ms = market.booking(booking_id).start_ms
        market.wait_until(start_ms + 400_000)
        market.settle(booking_id)
        assert paid(market, booking_id) == PRICE * 101 // 3_600
        market.block(after_ms=outage_ms)
        market.settle(booking_id)
        assert paid(market, booking_id) == PRICE * (101 + 15 + 1) // 3_600
        market.wait(WINDOW_MS)
        market.settle(booking_id)
        late_s = (market.time_ms - start_ms - WINDOW_MS) // 1_000
        assert paid(market, booking_id) == PRICE * late_s // 3_600

    def test_a_payment_at_the_end_within_an_outage(self) -> None:
        market = Market()
        booking_id = market.active(seconds=1_000)
        market.wait(900_000)
        market.block(after_ms=3_600_000)
        booking = market.booking(booking_id)
        assert booking.status is BookingStatus.CLOSING
        assert paid(market, booking_id) == PRICE * 615 // 3_600
        market.wait(WINDOW_MS)
        assert paid(market, booking_id) == PRICE * 1_000 // 3_600


class TestDust:
    """Dust over many settlements: settling often never changes a total."""

    @pytest.mark.parametrize("rate", [61, 7_919, 3_600_001])
    def test_every_split_of_time_pays_the_same(self, rate: int) -> None:
        parameters = altered(
            market_fee=333, market_fee_staker_share=3_333, base_fee=0, fee_per_byte=0, fee_per_weight=0
        )
        ends = []
        for steps in (0, 7, 60):
            market = Market(price=rate, parameters=parameters)
            before = totals(market.view)
            booking_id = market.active(seconds=3_601)
            for _ in range(steps):
                market.block(market.sign(market.other, Settle(booking_id)), after_ms=11_003)
            market.wait_until(market.booking(booking_id).end_ms)
            market.wait(WINDOW_MS)
            escrow, after = market.escrow(booking_id), totals(market.view)
            ends.append((escrow, after.epoch_pot - before.epoch_pot, after.treasury - before.treasury))
            assert escrow.gross == rate * 3_601 // 3_600
            assert escrow.fee == escrow.gross * 333 // 10_000
            assert after.epoch_pot - before.epoch_pot == escrow.fee * 3_333 // 10_000
        assert ends[0] == ends[1] == ends[2]

    def test_nobody_can_grind_the_stakers_share_away(self) -> None:
        """Each single fee is below one unit of the share; together they are not."""
        parameters = altered(market_fee_staker_share=5_000, base_fee=0, fee_per_byte=0, fee_per_weight=0)
        market = Market(price=3_600 * 100, parameters=parameters)
        before = totals(market.view).epoch_pot
        booking_id = market.active(seconds=7_200)
        market.wait(WINDOW_MS)
        for _ in range(40):
            market.settle(booking_id)
        fee = market.escrow(booking_id).fee
        assert fee >= 70
        assert totals(market.view).epoch_pot - before == fee // 2


def test_a_settled_booking_is_confirmed_and_closed_like_any_other() -> None:
    market = Market()
    booking_id = market.active(seconds=3_600)
    market.wait_until(market.booking(booking_id).start_ms + 1_000_000)
    market.settle(booking_id)
    early = paid(market, booking_id)
    market.release(booking_id)
    result = market.confirm(booking_id)
    gross = market.booking(booking_id).gross
    assert paid(market, booking_id) == gross > early
    assert dict(result.events[0].amounts)["net"] + early - early * 200 // 10_000 <= gross
    assert subject(result, "booking.closed", "booking") == booking_id
    assert market.stake(market.provider).collateral == 25 * COIN
