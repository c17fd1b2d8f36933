"""Bookings: who may do what when, and what refuses it. The money of each path is in `test_booking_money.py`."""

from dataclasses import replace

import pytest

from chain.actions.bookings import Activate, Cancel, Confirm, Release, Reserve
from chain.actions.gpus import RetireGpu
from chain.actions.staking import RemoveStake
from chain.booking import MAXIMUM_GPUS, Booking, BookingStatus, collateral_of, cost_of, earned_between
from chain.crypto.hashing import sha256
from chain.errors import InvalidField
from chain.inventory import INTERVALS, GpuStatus
from chain.schema import COIN, U64
from chain.state.tables import u64
from tests.ledger import Person, subject
from tests.market import PRICE, UNHURRIED, Market, altered, derived_id, terms
from tests.records import example

UNKNOWN = b"\x77" * 32


class TestReserve:
    def test_locks_the_cost_and_the_collateral_slice(self) -> None:
        market = Market(gpus=2)
        before, free = market.balance(market.renter), market.stake(market.provider).free
        booking_id = market.reserve(seconds=5_400)
        booking = market.booking(booking_id)
        assert booking.status is BookingStatus.RESERVED
        assert (booking.rate, booking.cost, booking.collateral) == (2 * PRICE, 3 * PRICE, 3 * PRICE // 10)
        assert booking.start_ms == market.time_ms
        assert booking.end_ms == market.time_ms + 5_400_000
        assert market.balance(market.renter) == before - 3 * PRICE - COIN // 100
        assert market.stake(market.provider).free == free - booking.collateral
        assert market.escrow(booking_id).remaining == booking.cost

    def test_snapshots_terms_and_parameters(self) -> None:
        market = Market(minimum=120)
        booking = market.booking(market.reserve())
        assert booking.minimum_seconds == 120
        assert booking.grace_seconds == UNHURRIED.activation_grace_seconds
        assert booking.window_seconds == UNHURRIED.dispute_window_seconds
        assert booking.release_charge == UNHURRIED.release_charge

    def test_in_the_future(self) -> None:
        market = Market()
        booking = market.booking(market.reserve(after_seconds=7_200))
        assert booking.start_ms == market.time_ms + 7_200_000
        assert booking.status is BookingStatus.RESERVED

    def test_collateral_is_capped_per_gpu(self) -> None:
        market = Market(gpus=2, price=500 * COIN)
        assert market.booking(market.reserve()).collateral == 50 * COIN

    def test_a_free_gpu_costs_nothing(self) -> None:
        market = Market(price=0)
        booking_id = market.reserve()
        assert market.booking(booking_id).cost == 0
        market.activate(booking_id)
        market.release(booking_id)
        market.confirm(booking_id)
        assert market.booking(booking_id).status is BookingStatus.CLOSED

    def test_unknown_gpu(self) -> None:
        market = Market()
        refusal = market.refused(market.renter, market.reservation([UNKNOWN]))
        assert refusal == ("not_found", {"kind": "gpu", "id": UNKNOWN})

    def test_gpus_of_two_providers(self) -> None:
        market = Market()
        foreign = market.register("foreign", owner=market.other)
        refusal = market.refused(market.renter, market.reservation([*market.gpus, foreign]))
        assert refusal == ("different_providers", {"gpu": foreign})

    def test_own_gpu(self) -> None:
        """Self-booking for ratings."""
        market = Market()
        refusal = market.refused(market.provider, market.reservation())
        assert refusal == ("own_gpu", {"provider": market.provider.address})

    def test_terms_changed_between_quote_and_inclusion(self) -> None:
        market = Market()
        stale = Reserve(market.gpus, 0, 3_600, 10**15, (2,), b"\x09" * 32)
        refusal = market.refused(market.renter, stale)
        assert refusal == ("terms_moved", {"gpu": market.gpus[0], "expected": 2, "got": 1})

    def test_max_cost_guards_to_the_unit(self) -> None:
        market = Market()
        refusal = market.refused(market.renter, market.reservation(max_cost=PRICE - 1))
        assert refusal == ("terms_moved", {"cost": PRICE, "max_cost": PRICE - 1})
        market.do(market.renter, market.reservation(max_cost=PRICE))

    @pytest.mark.parametrize("status", [GpuStatus.OFFLINE, GpuStatus.RETIRING, GpuStatus.RETIRED])
    def test_a_gpu_that_is_not_open(self, status: GpuStatus) -> None:
        market = Market(parameters=altered(heartbeat_timeout_seconds=120))
        if status is GpuStatus.RETIRING:
            market.reserve(after_seconds=3_600)
        if status is GpuStatus.OFFLINE:
            market.wait(130_000)
        else:
            market.do(market.provider, RetireGpu(market.gpus[0]))
        assert market.gpu(market.gpus[0]).status is status
        refusal = market.refused(market.renter, market.reservation(seconds=60))
        if status is GpuStatus.RETIRED:
            assert refusal == ("not_found", {"kind": "gpu", "id": market.gpus[0]})
        else:
            assert refusal == ("gpu_unavailable", {"gpu": market.gpus[0], "status": status.name.lower()})

    def test_insufficient_funds(self) -> None:
        market = Market(price=9_000 * COIN)
        have = market.balance(market.renter) - COIN // 100
        refusal = market.refused(market.renter, market.reservation(seconds=7_200))
        assert refusal == ("insufficient_funds", {"needed": 18_000 * COIN, "available": have})

    def test_insufficient_collateral(self) -> None:
        market = Market(stake=26 * COIN, price=100 * COIN)
        refusal = market.refused(market.renter, market.reservation())
        data = {"account": market.provider.address, "needed": 10 * COIN, "available": COIN}
        assert refusal == ("insufficient_collateral", data)

    def test_start_in_the_past(self) -> None:
        market = Market()
        start_ms = market.time_ms + 999
        refusal = market.refused(market.renter, market.reservation(start_ms=start_ms))
        data = {"field": "start_ms", "minimum": market.time_ms, "got": start_ms}
        assert refusal == ("booking_time_refused", data)

    def test_start_at_the_very_block(self) -> None:
        market = Market()
        market.do(market.renter, market.reservation(start_ms=market.time_ms + 1_000))

    @pytest.mark.parametrize("over_ms", [0, 1])
    def test_horizon_of_the_terms(self, over_ms: int) -> None:
        market = Market()
        gpu_id = market.register("near", terms(horizon=600))
        limit = market.time_ms + 1_000 + 600_000
        action = market.reservation([gpu_id], start_ms=limit + over_ms)
        if over_ms == 0:
            market.do(market.renter, action)
        else:
            data = {"field": "start_ms", "maximum": limit, "got": limit + 1}
            assert market.refused(market.renter, action) == ("booking_time_refused", data)

    def test_horizon_of_the_network(self) -> None:
        market = Market(parameters=altered(booking_horizon_seconds=90 * 86_400))
        action = market.reservation(start_ms=market.time_ms + 1_001 + 90 * 86_400_000)
        assert market.refused(market.renter, action)[0] == "booking_time_refused"

    @pytest.mark.parametrize("seconds", [119, 120, 7_200, 7_201])
    def test_duration_of_the_terms(self, seconds: int) -> None:
        market = Market()
        gpu_id = market.register("bounded", terms(minimum=120, maximum=7_200))
        action = market.reservation([gpu_id], seconds=seconds)
        if 120 <= seconds <= 7_200:
            market.do(market.renter, action)
        else:
            data = {"field": "seconds", "minimum": 120, "maximum": 7_200, "got": seconds}
            assert market.refused(market.renter, action) == ("booking_time_refused", data)

    def test_zero_duration(self) -> None:
        market = Market()
        with pytest.raises(InvalidField):
            market.reservation(seconds=0).validate()

    def test_a_gpu_named_twice(self) -> None:
        market = Market()
        with pytest.raises(InvalidField):
            market.reservation(market.gpus * 2).validate()

    def test_a_missing_terms_version(self) -> None:
        with pytest.raises(InvalidField):
            Reserve((UNKNOWN, b"\x01" * 32), 0, 60, 0, (1,), b"\x09" * 32).validate()

    def test_summed_rates_that_overflow(self) -> None:
        market = Market(price=U64)
        second = market.register("second", terms(U64))
        refusal = market.refused(market.renter, market.reservation([*market.gpus, second], max_cost=U64))
        assert refusal == ("amount_overflow", {"maximum": U64})

    def test_cost_that_overflows(self) -> None:
        market = Market(price=U64)
        refusal = market.refused(market.renter, market.reservation(seconds=7_200, max_cost=U64))
        assert refusal == ("amount_overflow", {"maximum": U64})

    def test_as_many_gpus_as_allowed(self) -> None:
        market = Market(gpus=MAXIMUM_GPUS)
        booking_id = market.active()
        market.release(booking_id)
        market.confirm(booking_id)
        assert all(market.gpu(gpu_id).open_bookings == 0 for gpu_id in market.gpus)

    def test_all_gpus_or_none(self) -> None:
        market = Market(gpus=2)
        market.reserve([market.gpus[1]])
        error, data = market.refused(market.renter, market.reservation())
        assert (error, data["gpu"]) == ("booking_conflict", market.gpus[1])
        assert market.gpu(market.gpus[0]).open_bookings == 0

    def test_a_failure_in_the_middle_of_a_batch_undoes_all_of_it(self) -> None:
        market = Market(gpus=2)
        before = market.balance(market.renter)
        good, bad = market.reservation([market.gpus[0]]), market.reservation([UNKNOWN])
        result = market.run(market.renter, good, bad, good)
        assert (result.error, result.failed_action, result.events) == ("not_found", 1, ())
        assert market.balance(market.renter) == before - result.fee
        assert market.gpu(market.gpus[0]).open_bookings == 0


class TestCalendar:
    @pytest.mark.parametrize(
        ("offset", "seconds", "fits"),
        [
            (-600, 600, True),
            (-600, 601, False),
            (0, 3_600, False),
            (600, 60, False),
            (3_599, 60, False),
            (3_600, 600, True),
            (-60, 4_000, False),
        ],
    )
    def test_adjacent_intervals_fit_and_overlapping_ones_do_not(self, offset: int, seconds: int, fits: bool) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=7_200)
        first = market.booking(booking_id)
        action = market.reservation(seconds=seconds, start_ms=first.start_ms + offset * 1_000)
        if fits:
            market.do(market.renter, action)
        else:
            data = {
                "gpu": market.gpus[0],
                "start": first.start_ms,
                "end": first.end_ms,
                "conflicting": booking_id,
            }
            assert market.refused(market.renter, action) == ("booking_conflict", data)

    def test_two_reservations_of_one_slot_in_one_block(self) -> None:
        market = Market()
        mine, theirs = (market.sign(who, market.reservation()) for who in (market.renter, market.other))
        results = market.block(mine, theirs)
        assert [result.error for result in results] == ["", "booking_conflict"]

    def test_a_release_frees_the_rest_of_the_slot(self) -> None:
        market = Market()
        booking_id = market.active()
        market.release(booking_id)
        assert market.reserve() != booking_id

    def test_a_slot_may_be_booked_again_at_the_same_start(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=3_600)
        start_ms = market.booking(booking_id).start_ms
        market.cancel(booking_id)
        again = market.do(market.other, market.reservation(start_ms=start_ms))
        second = subject(again, "booking.reserved", "booking")
        entry = INTERVALS.get(market.view, market.gpus[0] + u64(start_ms))
        assert entry is not None
        assert entry.holder == second


class TestActivate:
    def test_stores_the_hash_of_the_sealed_access(self) -> None:
        market = Market()
        booking_id = market.reserve()
        result = market.activate(booking_id)
        booking = market.booking(booking_id)
        assert booking.status is BookingStatus.ACTIVE
        assert booking.access_hash == sha256(b"sealed access")
        assert booking.activation_txid == result.txid
        assert booking.activated_ms == market.time_ms

    def test_unknown_booking(self) -> None:
        market = Market()
        refusal = market.refused(market.provider, Activate(UNKNOWN, b"x"))
        assert refusal == ("not_found", {"kind": "booking", "id": UNKNOWN})

    def test_by_another(self) -> None:
        market = Market()
        booking_id = market.reserve()
        refusal = market.refused(market.renter, Activate(booking_id, b"x"))
        assert refusal == ("not_authorized", {"needed": "provider", "account": market.provider.address})

    def test_twice(self) -> None:
        market = Market()
        booking_id = market.active()
        refusal = market.refused(market.provider, Activate(booking_id, b"x"))
        assert refusal == (
            "wrong_booking_status",
            {"booking": booking_id, "status": "active", "needed": "reserved"},
        )

    def test_before_the_start_earns_from_the_start(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600)
        market.activate(booking_id)
        booking = market.booking(booking_id)
        assert booking.from_ms == booking.start_ms
        market.wait_until(booking.end_ms)
        assert market.booking(booking_id).gross == PRICE

    @pytest.mark.parametrize(("late_ms", "shows"), [(59_999, True), (60_000, False)])
    def test_the_last_moment_of_the_grace(self, late_ms: int, shows: bool) -> None:
        market = Market()
        booking_id = market.reserve()
        market.wait(50_000)
        result = market.run(market.provider, Activate(booking_id, b"x"), after_ms=late_ms - 50_000)
        assert result.succeeded is shows
        expected = BookingStatus.ACTIVE if shows else BookingStatus.NO_SHOW
        assert market.booking(booking_id).status is expected
        if not shows:
            assert result.error == "wrong_booking_status"


class TestRelease:
    def test_by_another(self) -> None:
        market = Market()
        booking_id = market.active()
        for stranger in (market.provider, market.other):
            refusal = market.refused(stranger, Release(booking_id))
            assert refusal == ("not_authorized", {"needed": "renter", "account": market.renter.address})

    def test_before_activation(self) -> None:
        market = Market()
        booking_id = market.reserve()
        data = {"booking": booking_id, "status": "reserved", "needed": "active"}
        assert market.refused(market.renter, Release(booking_id)) == ("wrong_booking_status", data)

    def test_unknown_booking(self) -> None:
        market = Market()
        assert market.refused(market.renter, Release(UNKNOWN))[0] == "not_found"

    def test_at_the_exact_end_is_a_completion(self) -> None:
        market = Market()
        booking_id = market.active(seconds=60)
        market.wait(50_000)
        data = {"booking": booking_id, "status": "closing", "needed": "active"}
        refusal = market.refused(market.renter, Release(booking_id), after_ms=10_000)
        assert refusal == ("wrong_booking_status", data)
        assert market.booking(booking_id).gross == PRICE // 60

    def test_twice_in_one_block(self) -> None:
        market = Market()
        booking_id = market.active()
        result = market.run(market.renter, Release(booking_id), Release(booking_id))
        assert (result.error, result.failed_action) == ("wrong_booking_status", 1)
        assert market.booking(booking_id).status is BookingStatus.ACTIVE


class TestConfirm:
    def test_by_another(self) -> None:
        market = Market()
        booking_id = market.active()
        market.release(booking_id)
        refusal = market.refused(market.provider, Confirm(booking_id))
        assert refusal == ("not_authorized", {"needed": "renter", "account": market.renter.address})

    @pytest.mark.parametrize("status", ["reserved", "active"])
    def test_before_the_end(self, status: str) -> None:
        market = Market()
        booking_id = market.reserve() if status == "reserved" else market.active()
        data = {"booking": booking_id, "status": status, "needed": "closing"}
        assert market.refused(market.renter, Confirm(booking_id)) == ("wrong_booking_status", data)

    def test_settle_twice_in_one_block(self) -> None:
        market = Market()
        booking_id = market.active()
        market.release(booking_id)
        before = market.balance(market.provider)
        first = market.sign(market.renter, Confirm(booking_id))
        second = market.sign(market.renter, Confirm(booking_id), sequence=first.body.sequence + 1)
        assert [result.error for result in market.block(first, second)] == ["", "wrong_booking_status"]
        assert market.balance(market.provider) == before + market.escrow(booking_id).net
        market.wait(400_000)
        assert market.balance(market.provider) == before + market.escrow(booking_id).net

    def test_confirm_and_the_passing_of_the_window_in_one_block(self) -> None:
        market = Market(parameters=altered(dispute_window_seconds=30))
        booking_id = market.active()
        market.release(booking_id)
        before = market.balance(market.provider)
        market.wait(20_000)
        assert market.refused(market.renter, Confirm(booking_id), after_ms=10_000)[0] == "wrong_booking_status"
        assert market.balance(market.provider) == before + market.escrow(booking_id).net


class TestCancel:
    def test_by_another(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600)
        for stranger in (market.provider, market.other):
            refusal = market.refused(stranger, Cancel(booking_id))
            assert refusal == ("not_authorized", {"needed": "renter", "account": market.renter.address})

    @pytest.mark.parametrize(("late_ms", "error"), [(-1, ""), (0, "booking_started"), (1, "booking_started")])
    def test_is_refused_from_the_start_on(self, late_ms: int, error: str) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=10)
        start_ms = market.booking(booking_id).start_ms
        result = market.run(market.renter, Cancel(booking_id), after_ms=10_000 + late_ms)
        assert result.error == error
        if error:
            assert dict(result.error_data) == {"booking": booking_id, "start_ms": start_ms}

    def test_book_and_cancel_in_one_block(self) -> None:
        market = Market()
        start_ms = market.time_ms + 60_000
        booking = market.sign(market.renter, market.reservation(start_ms=start_ms))
        cancelling = market.sign(
            market.renter, Cancel(derived_id(booking.txid, "booking")), sequence=booking.body.sequence + 1
        )
        assert all(result.succeeded for result in market.block(booking, cancelling))
        market.reserve(after_seconds=59)

    def test_twice(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600)
        market.cancel(booking_id)
        data = {"booking": booking_id, "status": "cancelled", "needed": "reserved or active"}
        assert market.refused(market.renter, Cancel(booking_id)) == ("wrong_booking_status", data)

    def test_an_early_activation_does_not_take_the_right_to_cancel(self) -> None:
        """Or every provider would activate at once and turn the smallest charge into the minimum time."""
        market = Market()
        booking_id = market.reserve(after_seconds=3_600)
        market.activate(booking_id)
        market.cancel(booking_id)
        assert market.booking(booking_id).status is BookingStatus.CANCELLED
        assert market.booking(booking_id).gross == PRICE // 100
        assert market.stake(market.provider).collateral == 25 * COIN
        market.wait(3_700_000)

    def test_an_active_booking_is_not_cancelled(self) -> None:
        market = Market()
        booking_id = market.active()
        assert market.refused(market.renter, Cancel(booking_id))[0] == "booking_started"


class TestStuck:
    """Every booking ends by itself, whoever is silent."""

    @pytest.mark.parametrize("activated", [False, True])
    def test_everyone_is_silent(self, activated: bool) -> None:
        market = Market()
        booking_id = market.active(seconds=600) if activated else market.reserve(seconds=600)
        market.wait(600_000 + 300_000)
        assert market.booking(booking_id).status is (BookingStatus.CLOSED if activated else BookingStatus.NO_SHOW)
        assert market.stake(market.provider).collateral == 25 * COIN
        assert market.escrow(booking_id).remaining == 0

    def test_the_collateral_of_a_booking_cannot_be_unstaked(self) -> None:
        market = Market(price=100 * COIN)
        market.reserve()
        free = market.stake(market.provider).free
        error, data = market.refused(market.provider, RemoveStake(free + 1))
        assert (error, data) == ("insufficient_stake", {"needed": free + 1, "available": free})
        market.do(market.provider, RemoveStake(free))
        market.wait(60_000)
        assert market.stake(market.provider).amount == 25 * COIN

    def test_a_booking_outlives_the_retirement_of_its_gpu(self) -> None:
        """Retire with a future booking."""
        market = Market()
        booking_id = market.reserve(after_seconds=600)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        market.activate(booking_id)
        market.wait_until(market.booking(booking_id).end_ms)
        assert market.booking(booking_id).gross == PRICE
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRED
        market.confirm(booking_id)
        assert market.stake(market.provider).collateral == 0


@pytest.mark.parametrize("milliseconds", [0, 1, 999, 3_600_000, 3_600_001])
@pytest.mark.parametrize("rate", [0, 1, 3_599, 3_600, 7_919, PRICE, U64])
def test_rates_that_do_not_divide_by_3600(rate: int, milliseconds: int) -> None:
    """Cost is rounded up and earnings down, so a cost always covers what is earned in its time."""
    booking = replace(example(Booking, full=False), rate=rate, start_ms=5, end_ms=5 + milliseconds)
    gross = earned_between(booking, 5, 5 + milliseconds)
    assert gross * 3_600_000 <= rate * milliseconds < (gross + 1) * 3_600_000
    seconds = -(-milliseconds // 1_000)
    cost = cost_of(rate, seconds)
    assert (cost - 1) * 3_600 < rate * seconds <= cost * 3_600
    assert gross <= cost


def test_collateral_slice() -> None:
    assert [collateral_of(cost, 1, 25) for cost in (0, 1, 10, 11, 249, 250, 1_000)] == [0, 1, 1, 2, 25, 25, 25]
    assert collateral_of(1_000, 3, 25) == 75


def test_a_stranger_changes_nothing() -> None:
    """Whatever a third party sends at a booking in any state is refused and leaves the booking as it was."""
    market = Market()
    booking_id = market.reserve()
    stranger: Person = market.other
    steps = [lambda: None, lambda: market.activate(booking_id), lambda: market.release(booking_id)]
    for step in steps:
        step()
        before: Booking = market.booking(booking_id)
        for action in (Activate(booking_id, b"x"), Release(booking_id), Confirm(booking_id), Cancel(booking_id)):
            assert market.refused(stranger, action)[0] == "not_authorized"
        assert market.booking(booking_id) == before
