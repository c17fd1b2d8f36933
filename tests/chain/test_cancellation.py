"""Leaving before the time: the terms of cancellation, and what it costs a provider to give up a booking."""

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import pytest

from chain.actions.bookings import Activate, Cancel, Extend, ProviderCancel, Release
from chain.actions.gpus import RegisterGpu, RetireGpu, UpdateGpu
from chain.actions.reviews import SubmitReview
from chain.actions.staking import RemoveStake
from chain.booking import BookingStatus
from chain.inventory import GpuStatus, intervals
from chain.schema import COIN
from tests.ledger import DEFAULT_FEE, subject
from tests.market import PRICE, SALT, TIGHT, Market, clog, hardware, open_deadlines, terms

UNKNOWN = b"\x77" * 32
NOTICE = 600
SHARE = 2_500
RATES = [1, 3_599, 7_919, 3_600_001, 2 * COIN, 999_999_999_999]


def strict(rate: int = PRICE, *, share: int = SHARE, notice: int = NOTICE) -> Market:
    """A market whose provider wants ten minutes' notice."""
    return Market(offer=terms(rate, notice=notice, share=share))


def full_cost(rate: int, seconds: int) -> int:
    return ceil(Fraction(rate) * seconds / 3_600)


class Books:
    """Remembers who had what, and judges it after a booking."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.renter, self.provider = market.wealth(market.renter), market.wealth(market.provider)

    def judge(self, booking_id: bytes, gross: int, forfeited: int, *, by_renter: int, by_provider: int) -> None:
        market = self.market
        booking, escrow = market.booking(booking_id), market.escrow(booking_id)
        fee = gross * 200 // 10_000
        assert booking.gross == gross
        assert (escrow.net, escrow.fee, escrow.refunded) == (gross - fee, fee, booking.cost - gross)
        assert escrow.remaining == 0
        assert market.wealth(market.renter) == self.renter - gross + forfeited - by_renter * DEFAULT_FEE
        assert market.wealth(market.provider) == self.provider + gross - fee - forfeited - by_provider * DEFAULT_FEE
        assert market.stake(market.provider).collateral == 25 * COIN * len(market.gpus)
        assert all(market.gpu(gpu_id).open_bookings == 0 for gpu_id in booking.gpus)
        assert not open_deadlines(market)


class TestTerms:
    """c within the notice T before the start, else 0; c0 always."""

    @pytest.mark.parametrize("rate", RATES)
    @pytest.mark.parametrize(("before_ms", "within"), [(600_001, False), (600_000, True), (1, True)])
    def test_cancelled(self, rate: int, before_ms: int, within: bool) -> None:
        market = strict(rate)
        books = Books(market)
        booking_id = market.reserve(after_seconds=1_200, seconds=601)
        market.wait_until(market.booking(booking_id).start_ms - before_ms - 1)
        market.cancel(booking_id, after_ms=1)
        share = Fraction(SHARE if within else 100, 10_000)
        books.judge(booking_id, floor(full_cost(rate, 601) * share), 0, by_renter=2, by_provider=0)

    @pytest.mark.parametrize("share", [0, 99, 100, 101, 10_000])
    def test_never_less_than_the_release_charge(self, share: int) -> None:
        market = strict(share=share)
        booking_id = market.reserve(after_seconds=60)
        market.cancel(booking_id)
        assert market.booking(booking_id).gross == PRICE * max(share, 100) // 10_000

    def test_a_notice_as_long_as_the_wait(self) -> None:
        """Booked within the notice: the share holds from the first moment, as the quote says."""
        market = strict(notice=86_400)
        booking_id = market.reserve(after_seconds=3_600)
        market.cancel(booking_id)
        assert market.booking(booking_id).gross == PRICE * SHARE // 10_000

    def test_the_strictest_terms_of_several_gpus_hold(self) -> None:
        market = Market(gpus=0)
        market.gpus = (
            market.register("a", terms(notice=60, share=5_000)),
            market.register("b", terms(notice=600, share=1_000)),
        )
        booking = market.booking(market.reserve(after_seconds=3_600))
        assert (booking.notice_seconds, booking.cancellation_share) == (600, 5_000)

    def test_terms_of_the_reservation_hold(self) -> None:
        market = strict()
        booking_id = market.reserve(after_seconds=300)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(notice=3_600, share=10_000, version=2)))
        market.cancel(booking_id)
        assert market.booking(booking_id).gross == PRICE * SHARE // 10_000

    def test_stricter_terms_before_inclusion_are_refused(self) -> None:
        """Terms changed between quote and inclusion."""
        market = Market()
        update = market.sign(market.provider, UpdateGpu(market.gpus[0], terms(share=10_000, version=2)))
        booking = market.sign(market.renter, market.reservation())
        changed, refused = market.block(update, booking)
        assert changed.succeeded
        assert (refused.error, dict(refused.error_data)) == (
            "terms_moved",
            {"gpu": market.gpus[0], "expected": 1, "got": 2},
        )

    @pytest.mark.parametrize(("before_ms", "share"), [(600_001, 100), (600_000, SHARE), (1, SHARE)])
    def test_released_before_the_start(self, before_ms: int, share: int) -> None:
        """Activated early and left before the start: the minimum is charged, and the share of the rest."""
        market = strict()
        books = Books(market)
        booking_id = market.reserve(after_seconds=1_200)
        market.activate(booking_id)
        market.wait_until(market.booking(booking_id).start_ms - before_ms - 1)
        market.release(booking_id, after_ms=1)
        market.confirm(booking_id)
        used = PRICE // 60
        books.judge(booking_id, used + (PRICE - used) * share // 10_000, 0, by_renter=3, by_provider=1)

    def test_released_at_the_start_the_share_is_over(self) -> None:
        market = strict()
        booking_id = market.reserve(after_seconds=60)
        market.activate(booking_id)
        market.wait_until(market.booking(booking_id).start_ms - 1)
        market.release(booking_id, after_ms=1)
        used = PRICE // 60
        assert market.booking(booking_id).gross == used + (PRICE - used) // 100

    def test_a_share_of_everything_costs_everything(self) -> None:
        market = strict(share=10_000)
        booking_id = market.reserve(after_seconds=60)
        market.cancel(booking_id)
        assert market.escrow(booking_id).refunded == 0

    def test_the_cost_of_extensions_counts(self) -> None:
        market = strict()
        booking_id = market.reserve(after_seconds=60)
        market.do(market.renter, Extend(booking_id, 3_600, COIN * 10))
        market.cancel(booking_id)
        assert market.booking(booking_id).gross == 2 * PRICE * SHARE // 10_000

    def test_notice_beyond_the_horizon_of_the_network(self) -> None:
        market = Market()
        market.commit("a")
        offer = terms(notice=365 * 86_400 + 1)
        refusal = market.refused(market.provider, RegisterGpu(hardware("a"), offer, SALT))
        assert refusal == ("terms_out_of_range", {"field": "notice_seconds", "maximum": 365 * 86_400})

    def test_a_notice_as_long_as_the_horizon_of_the_network(self) -> None:
        market = Market()
        market.commit("a")
        market.do(market.provider, RegisterGpu(hardware("a"), terms(notice=365 * 86_400), SALT))

    def test_an_outage_moves_no_notice(self) -> None:
        """The notice is a matter of the calendar: block time decides."""
        market = strict()
        booking_id = market.reserve(after_seconds=3 * 3_600)
        start_ms = market.booking(booking_id).start_ms
        market.block(after_ms=start_ms - market.time_ms - 600_001)
        market.cancel(booking_id, after_ms=1)
        assert market.booking(booking_id).gross == PRICE * SHARE // 10_000


class TestProviderCancel:
    @pytest.mark.parametrize("rate", RATES)
    @pytest.mark.parametrize(("before_ms", "within"), [(600_001, False), (600_000, True), (1, True), (-1, True)])
    def test_before_activation(self, rate: int, before_ms: int, within: bool) -> None:
        market = strict(rate)
        books = Books(market)
        booking_id = market.reserve(after_seconds=1_200, seconds=601)
        slice_ = market.booking(booking_id).collateral
        market.wait_until(market.booking(booking_id).start_ms - before_ms - 1)
        result = market.do(market.provider, ProviderCancel(booking_id), after_ms=1)
        forfeited = slice_ if within else slice_ // 2
        assert market.booking(booking_id).status is BookingStatus.PROVIDER_CANCELLED
        books.judge(booking_id, 0, forfeited, by_renter=1, by_provider=1)
        (event,) = result.events
        assert (event.kind, dict(event.amounts)) == (
            "booking.provider_cancelled",
            {"gross": 0, "refund": full_cost(rate, 601), "forfeited": forfeited, "net": 0, "fee": 0},
        )

    @pytest.mark.parametrize(("before_ms", "within"), [(1, False), (0, True)])
    def test_without_a_notice_until_the_start(self, before_ms: int, within: bool) -> None:
        market = Market()
        books = Books(market)
        booking_id = market.reserve(after_seconds=60)
        slice_ = market.booking(booking_id).collateral
        market.wait_until(market.booking(booking_id).start_ms - before_ms - 1)
        market.do(market.provider, ProviderCancel(booking_id), after_ms=1)
        books.judge(booking_id, 0, slice_ if within else slice_ // 2, by_renter=1, by_provider=1)

    @pytest.mark.parametrize("used_ms", [1, 30_000, 61_234, 599_999])
    @pytest.mark.parametrize("rate", RATES)
    def test_while_active(self, rate: int, used_ms: int) -> None:
        """What was used is earned to the millisecond, without minimum or charge; all the collateral goes."""
        market = strict(rate)
        books = Books(market)
        booking_id = market.active(seconds=600)
        slice_ = market.booking(booking_id).collateral
        before = market.balance(market.renter)
        market.wait_until(market.booking(booking_id).start_ms + used_ms - 1)
        market.do(market.provider, ProviderCancel(booking_id), after_ms=1)
        gross = floor(Fraction(rate * used_ms, 3_600_000))
        booking = market.booking(booking_id)
        assert (booking.status, booking.collateral) == (BookingStatus.CLOSING, 0)
        assert market.balance(market.renter) == before + full_cost(rate, 600) - gross + slice_, "at once"
        market.wait(300_000)
        assert market.booking(booking_id).status is BookingStatus.CLOSED
        books.judge(booking_id, gross, slice_, by_renter=1, by_provider=2)

    def test_active_early(self) -> None:
        market = strict()
        books = Books(market)
        booking_id = market.reserve(after_seconds=1_200)
        slice_ = market.booking(booking_id).collateral
        market.activate(booking_id)
        market.do(market.provider, ProviderCancel(booking_id))
        market.wait(300_000)
        books.judge(booking_id, 0, slice_, by_renter=1, by_provider=2)
        assert market.run(market.renter, SubmitReview(booking_id, 1)).error == "not_eligible_to_review"

    def test_an_extended_booking_with_several_rates(self) -> None:
        market = strict(7_919)
        booking_id = market.active(seconds=60)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(3_600_001, version=2)))
        market.do(market.renter, Extend(booking_id, 600, COIN))
        market.wait_until(market.booking(booking_id).start_ms + 99_000)
        market.do(market.provider, ProviderCancel(booking_id))
        assert market.booking(booking_id).gross == floor(Fraction(7_919 * 60_000 + 3_600_001 * 40_000, 3_600_000))

    def test_after_some_of_it_was_paid(self) -> None:
        market = Market()
        books = Books(market)
        booking_id = market.active(seconds=7_200)
        slice_ = market.booking(booking_id).collateral
        market.wait_until(market.booking(booking_id).start_ms + 1_000_000)
        market.settle(booking_id)
        assert market.escrow(booking_id).gross == PRICE * 701 // 3_600
        market.do(market.provider, ProviderCancel(booking_id))
        market.wait(300_000)
        books.judge(booking_id, PRICE * 1_002 // 3_600, slice_, by_renter=1, by_provider=2)

    def test_the_slot_is_free_at_once(self) -> None:
        market = Market()
        first, second = market.reserve(after_seconds=600), market.active(seconds=300)
        for booking_id in (first, second):
            market.do(market.provider, ProviderCancel(booking_id))
        assert intervals(market.view, market.gpus[0]) == []
        market.reserve()

    def test_it_lets_a_retiring_gpu_go(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600)
        market.do(market.provider, RetireGpu(market.gpus[0]), ProviderCancel(booking_id))
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRED
        assert market.stake(market.provider).collateral == 0

    def test_the_forfeited_part_cannot_be_saved_by_unstaking(self) -> None:
        market = Market(price=100 * COIN)
        booking_id = market.reserve(after_seconds=600)
        market.do(market.provider, RemoveStake(market.stake(market.provider).free))
        before = market.balance(market.renter)
        market.do(market.provider, ProviderCancel(booking_id))
        assert market.balance(market.renter) == before + 100 * COIN + 5 * COIN

    def test_by_another(self) -> None:
        market = Market()
        booking_id = market.reserve()
        for person in (market.renter, market.other):
            data = {"needed": "provider", "account": market.provider.address}
            assert market.refused(person, ProviderCancel(booking_id)) == ("not_authorized", data)

    def test_of_nothing(self) -> None:
        market = Market()
        refusal = market.refused(market.provider, ProviderCancel(UNKNOWN))
        assert refusal == ("not_found", {"kind": "booking", "id": UNKNOWN})

    def test_of_what_is_over(self) -> None:
        market = Market()
        closing, cancelled = market.active(), market.reserve(after_seconds=7_200)
        market.release(closing)
        market.cancel(cancelled)
        for booking_id, status in ((closing, "closing"), (cancelled, "cancelled")):
            data = {"booking": booking_id, "status": status, "needed": "reserved or active"}
            assert market.refused(market.provider, ProviderCancel(booking_id)) == ("wrong_booking_status", data)

    def test_twice_in_one_transaction(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600)
        before = market.stake(market.provider)
        result = market.run(market.provider, ProviderCancel(booking_id), ProviderCancel(booking_id))
        assert (result.error, result.failed_action) == ("wrong_booking_status", 1)
        assert market.stake(market.provider) == before

    @pytest.mark.parametrize("rival", [Cancel, Release])
    def test_a_race_with_the_renter_in_one_block(self, rival: type[Cancel] | type[Release]) -> None:
        """Whoever comes first decides; the other finds it over."""
        market = Market()
        booking_id = market.reserve(after_seconds=600)
        market.do(market.provider, Activate(booking_id, b"x"))
        mine, theirs = (
            market.sign(market.provider, ProviderCancel(booking_id)),
            market.sign(market.renter, rival(booking_id)),
        )
        assert [result.error for result in market.block(theirs, mine)] == ["", "wrong_booking_status"]
        assert market.stake(market.provider).amount == 1_000 * COIN

    @pytest.mark.parametrize(("late_ms", "status"), [(59_999, "PROVIDER_CANCELLED"), (60_000, "NO_SHOW")])
    def test_it_does_not_escape_a_no_show(self, late_ms: int, status: str) -> None:
        market = Market()
        booking_id = market.reserve()
        market.wait(50_000)
        market.run(market.provider, ProviderCancel(booking_id), after_ms=late_ms - 50_000)
        assert market.booking(booking_id).status is BookingStatus[status]

    def test_late_queue(self) -> None:
        """What the clock has ended is over also for the provider who would rather cancel it."""
        market = Market(parameters=TIGHT)
        ended, missed = market.active(seconds=60), market.reserve(after_seconds=120, seconds=600)
        clog(market)
        market.wait(300_000)
        assert market.booking(ended).status is BookingStatus.ACTIVE
        assert market.refused(market.provider, ProviderCancel(ended), after_ms=1)[1]["status"] == "closing"
        assert market.refused(market.provider, ProviderCancel(missed), after_ms=1)[1]["status"] == "no_show"

    def test_after_an_outage_over_the_start(self) -> None:
        """Nobody could act meanwhile, so it is neither a no-show nor in time: the notice has begun."""
        market = Market()
        booking_id = market.reserve(after_seconds=600, seconds=8 * 3_600)
        slice_ = market.booking(booking_id).collateral
        books = Books(market)
        market.block(after_ms=3 * 3_600_000)
        assert market.booking(booking_id).status is BookingStatus.RESERVED
        market.do(market.provider, ProviderCancel(booking_id))
        cost = market.booking(booking_id).cost
        assert market.wealth(market.renter) == books.renter + cost + slice_

    def test_several_gpus(self) -> None:
        market = Market(gpus=3)
        books = Books(market)
        booking_id = market.reserve(after_seconds=600)
        slice_ = market.booking(booking_id).collateral
        market.do(market.provider, ProviderCancel(booking_id))
        books.judge(booking_id, 0, slice_ // 2, by_renter=1, by_provider=1)

    def test_a_free_booking_costs_nothing(self) -> None:
        market = Market(price=0)
        booking_id = market.reserve(after_seconds=600)
        before = market.wealth(market.provider)
        market.do(market.provider, ProviderCancel(booking_id))
        assert market.wealth(market.provider) == before - DEFAULT_FEE

    def test_the_same_slot_may_be_booked_again(self) -> None:
        market = Market()
        action = market.reservation(start_ms=market.time_ms + 60_000)
        booking = market.sign(market.renter, action)
        booking_id = subject(market.block(booking)[0], "booking.reserved", "booking")
        market.do(market.provider, ProviderCancel(booking_id))
        again = market.do(market.renter, replace(action, start_ms=market.time_ms + 60_000))
        assert subject(again, "booking.reserved", "booking") != booking_id
