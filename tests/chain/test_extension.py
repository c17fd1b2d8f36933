"""Extensions: time added at the end of a booking, at the terms of that moment, and what both do to its money."""

from fractions import Fraction
from math import ceil, floor

import pytest

from chain.actions.bookings import Activate, Cancel, Confirm, Extend, Release
from chain.actions.gpus import RetireGpu, SetMaintenance, UpdateGpu
from chain.actions.jobs import ClaimJob, SharePayload, SubmitJob
from chain.actions.staking import RemoveStake
from chain.booking import MAXIMUM_SEGMENTS, BookingStatus, Extension
from chain.errors import InvalidField
from chain.inventory import GpuStatus, intervals
from chain.job import Unit
from chain.schema import COIN, U64
from tests.ledger import DEFAULT_FEE, subject
from tests.market import PRICE, TIGHT, UNHURRIED, Market, altered, clog, derived_id, open_deadlines, terms

UNKNOWN = b"\x77" * 32
PLENTY = 10**15


def extend(market: Market, booking_id: bytes, seconds: int = 3_600) -> None:
    market.do(market.renter, Extend(booking_id, seconds, PLENTY))


def reprice(market: Market, price: int, gpu_id: bytes = b"") -> None:
    gpu_id = gpu_id or market.gpus[0]
    version = market.gpu(gpu_id).terms.version + 1
    market.do(market.provider, UpdateGpu(gpu_id, terms(price, version=version)))


class TestEffects:
    def test_cost_collateral_and_calendar_grow(self) -> None:
        market = Market(gpus=2)
        booking_id = market.active(seconds=3_600)
        before, balance, stake = (
            market.booking(booking_id),
            market.balance(market.renter),
            market.stake(market.provider),
        )
        result = market.do(market.renter, Extend(booking_id, 5_400, 3 * PRICE))
        after = market.booking(booking_id)
        assert after.end_ms == before.end_ms + 5_400_000
        assert after.cost == before.cost + 3 * PRICE
        assert after.collateral == after.cost // 10
        assert after.extensions == (Extension(before.end_ms, 2 * PRICE),)
        assert market.balance(market.renter) == balance - 3 * PRICE - DEFAULT_FEE
        assert market.stake(market.provider).collateral == stake.collateral + after.collateral - before.collateral
        for gpu_id in market.gpus:
            ((start_ms, interval),) = intervals(market.view, gpu_id)
            assert (start_ms, interval.end_ms) == (after.start_ms, after.end_ms)
        (event,) = result.events
        assert event.kind == "booking.extended"
        expected = {"locked": 3 * PRICE, "collateral": 3 * PRICE // 10, "end_ms": after.end_ms}
        assert dict(event.amounts) == expected

    def test_it_ends_at_the_new_end_and_only_there(self) -> None:
        market = Market()
        booking_id = market.active(seconds=600)
        extend(market, booking_id, 600)
        booking = market.booking(booking_id)
        market.wait_until(booking.end_ms - 1)
        assert market.booking(booking_id).status is BookingStatus.ACTIVE
        market.wait(1)
        ended = market.booking(booking_id)
        gross = PRICE * 1_200 // 3_600
        assert (ended.status, ended.ended_ms, ended.gross) == (BookingStatus.CLOSING, booking.end_ms, gross)
        market.wait(300_000)
        assert market.booking(booking_id).status is BookingStatus.CLOSED
        assert not open_deadlines(market)

    def test_the_patience_of_the_shorter_booking_leaves_the_queue(self) -> None:
        market = Market(parameters=altered(UNHURRIED, activation_grace_seconds=900))
        booking_id = market.active(seconds=600)
        extend(market, booking_id, 3_600)
        market.do(market.renter, Release(booking_id))
        (payment,) = open_deadlines(market)
        assert int.from_bytes(payment[1:9], "big") == market.booking(booking_id).payment_live_ms

    def test_collateral_is_capped_over_the_whole_booking(self) -> None:
        market = Market(price=200 * COIN)
        booking_id = market.active()
        assert market.booking(booking_id).collateral == 20 * COIN
        extend(market, booking_id)
        extend(market, booking_id)
        assert market.booking(booking_id).collateral == 25 * COIN

    def test_before_the_start(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600, seconds=60)
        extend(market, booking_id, 60)
        booking = market.booking(booking_id)
        assert booking.status is BookingStatus.RESERVED
        market.wait_until(booking.start_ms)
        market.activate(booking_id)
        market.wait_until(booking.end_ms)
        assert market.booking(booking_id).gross == PRICE * (120 - 1) // 3_600

    def test_a_no_show_of_an_extended_booking_costs_the_larger_slice(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600)
        extend(market, booking_id)
        wealth = market.wealth(market.renter), market.wealth(market.provider)
        forfeited = market.booking(booking_id).collateral
        market.wait(700_000)
        assert market.booking(booking_id).status is BookingStatus.NO_SHOW
        assert market.wealth(market.renter) == wealth[0] + 2 * PRICE + forfeited
        assert market.wealth(market.provider) == wealth[1] - forfeited
        assert forfeited == 2 * PRICE // 10

    def test_the_patience_of_a_short_booking_does_not_run_out_again(self) -> None:
        """The deadline of its activation was that of the short booking; after the extension nothing waits for it."""
        market = Market(parameters=altered(activation_grace_seconds=900))
        booking_id = market.reserve(seconds=60)
        market.activate(booking_id)
        extend(market, booking_id, 3_600)
        market.wait(1_000_000)
        assert market.booking(booking_id).status is BookingStatus.ACTIVE
        market.release(booking_id)
        market.confirm(booking_id)
        market.wait(1_000_000)
        assert not open_deadlines(market)

    def test_a_job_inside_it_lives_on(self) -> None:
        market = Market()
        booking_id = market.active(seconds=600)
        deadline_ms = market.time_ms + 10_000_000
        action = SubmitJob("inference", bytes(32), Unit.ITEM, 5, 0, 60, deadline_ms, booking=booking_id)
        job_id = subject(market.do(market.renter, action), "job.submitted", "job")
        extend(market, booking_id, 600)
        market.wait(700_000)
        market.do(market.provider, ClaimJob(job_id))
        market.wait_until(market.booking(booking_id).end_ms)
        data = {"job": job_id, "status": "expired", "needed": "claimed"}
        assert market.refused(market.renter, SharePayload(job_id, b"key")) == ("wrong_job_status", data)

    def test_several_in_one_transaction(self) -> None:
        market = Market()
        booking_id = market.active(seconds=600)
        market.do(market.renter, *(Extend(booking_id, 60, PLENTY) for _ in range(3)))
        booking = market.booking(booking_id)
        assert [extension.from_ms for extension in booking.extensions] == [
            booking.start_ms + 600_000 + index * 60_000 for index in range(3)
        ]


class TestMoney:
    """The money table with segments of different rates, in exact fractions."""

    RATES = (7_919, 3_600_001, 61)
    SECONDS = (601, 61, 7_201)

    def build(self) -> tuple[Market, bytes]:
        market = Market(price=self.RATES[0])
        booking_id = market.active(seconds=self.SECONDS[0])
        for rate, seconds in zip(self.RATES[1:], self.SECONDS[1:], strict=True):
            reprice(market, rate)
            extend(market, booking_id, seconds)
        return market, booking_id

    def earned(self, used_ms: int) -> int:
        """By the time that passed since the start."""
        total, left = Fraction(0), used_ms
        for rate, seconds in zip(self.RATES, self.SECONDS, strict=True):
            part = min(left, seconds * 1_000)
            total, left = total + Fraction(rate * part, 3_600_000), left - part
        return floor(total)

    @property
    def cost(self) -> int:
        return sum(
            ceil(Fraction(rate * seconds, 3_600)) for rate, seconds in zip(self.RATES, self.SECONDS, strict=True)
        )

    def test_completed(self) -> None:
        market, booking_id = self.build()
        assert market.booking(booking_id).cost == self.cost
        market.wait_until(market.booking(booking_id).end_ms, step_ms=15_000)
        market.confirm(booking_id)
        escrow = market.escrow(booking_id)
        gross = self.earned(sum(self.SECONDS) * 1_000)
        assert (escrow.gross, escrow.refunded, escrow.remaining) == (gross, self.cost - gross, 0)
        assert escrow.fee == gross * 200 // 10_000
        assert gross <= self.cost

    @pytest.mark.parametrize("used_ms", [30_000, 600_999, 601_000, 601_001, 661_999, 662_001, 4_000_000])
    def test_released(self, used_ms: int) -> None:
        market, booking_id = self.build()
        market.wait_until(market.booking(booking_id).start_ms + used_ms - 1, step_ms=15_000)
        market.release(booking_id, after_ms=1)
        used = self.earned(max(used_ms, 60_000))
        assert market.booking(booking_id).gross == used + floor((self.cost - used) * Fraction(100, 10_000))

    def test_released_while_offline(self) -> None:
        market = Market(price=self.RATES[0], parameters=altered(heartbeat_timeout_seconds=120))
        booking_id = market.active(seconds=self.SECONDS[0])
        for rate, seconds in zip(self.RATES[1:], self.SECONDS[1:], strict=True):
            reprice(market, rate)
            extend(market, booking_id, seconds)
        market.wait_until(market.booking(booking_id).start_ms + 640_000)
        market.release(booking_id, after_ms=123)
        assert market.booking(booking_id).gross == self.earned(640_123)

    def test_late_activation(self) -> None:
        market = Market(price=self.RATES[0])
        booking_id = market.reserve(seconds=600)
        market.activate(booking_id, after_ms=14_321)
        reprice(market, 3_600_001)
        extend(market, booking_id, 61)
        market.wait_until(market.booking(booking_id).end_ms)
        gross = floor(Fraction(self.RATES[0] * (600_000 - 14_321) + 3_600_001 * 61_000, 3_600_000))
        assert market.booking(booking_id).gross == gross

    def test_summed_rates_of_all_gpus(self) -> None:
        market = Market(gpus=3, price=1_201)
        booking_id = market.active(seconds=61)
        reprice(market, 7, market.gpus[1])
        extend(market, booking_id, 61)
        booking = market.booking(booking_id)
        assert booking.extensions[0].rate == 2 * 1_201 + 7
        assert booking.cost == -(-3 * 1_201 * 61 // 3_600) + -(-(2 * 1_201 + 7) * 61 // 3_600)


class TestRefusals:
    def test_at_the_exact_end(self) -> None:
        market = Market()
        booking_id = market.active(seconds=60)
        market.wait(50_000)
        data = {"booking": booking_id, "status": "closing", "needed": "reserved or active"}
        refusal = market.refused(market.renter, Extend(booking_id, 60, PLENTY), after_ms=10_000)
        assert refusal == ("wrong_booking_status", data)

    def test_just_before_the_end(self) -> None:
        market = Market()
        booking_id = market.active(seconds=60)
        market.wait(50_000)
        market.do(market.renter, Extend(booking_id, 60, PLENTY), after_ms=9_999)
        market.block(after_ms=1)
        assert market.booking(booking_id).status is BookingStatus.ACTIVE

    def test_started_but_not_active(self) -> None:
        market = Market()
        booking_id = market.reserve()
        data = {"booking": booking_id, "status": "reserved", "needed": "active"}
        assert market.refused(market.renter, Extend(booking_id, 60, PLENTY)) == ("wrong_booking_status", data)

    @pytest.mark.parametrize("who", ["provider", "other"])
    def test_by_another(self, who: str) -> None:
        market = Market()
        booking_id = market.active()
        refusal = market.refused(getattr(market, who), Extend(booking_id, 60, PLENTY))
        assert refusal == ("not_authorized", {"needed": "renter", "account": market.renter.address})

    def test_unknown_booking(self) -> None:
        market = Market()
        refusal = market.refused(market.renter, Extend(UNKNOWN, 60, PLENTY))
        assert refusal == ("not_found", {"kind": "booking", "id": UNKNOWN})

    def test_by_nothing(self) -> None:
        with pytest.raises(InvalidField):
            Extend(UNKNOWN, 0, PLENTY).validate()

    def test_of_what_is_over(self) -> None:
        market = Market()
        booking_id = market.active()
        market.release(booking_id)
        assert market.refused(market.renter, Extend(booking_id, 60, PLENTY))[1]["status"] == "closing"
        market.confirm(booking_id)
        assert market.refused(market.renter, Extend(booking_id, 60, PLENTY))[1]["status"] == "closed"

    def test_into_the_next_booking(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        end_ms = market.booking(booking_id).end_ms
        start_ms = end_ms + 60_000
        following = subject(
            market.do(market.other, market.reservation(start_ms=start_ms, seconds=60)), "booking.reserved", "booking"
        )
        data = {"gpu": market.gpus[0], "start": start_ms, "end": start_ms + 60_000, "conflicting": following}
        assert market.refused(market.renter, Extend(booking_id, 61, PLENTY)) == ("booking_conflict", data)
        assert market.refused(market.renter, Extend(booking_id, 3_600, PLENTY)) == ("booking_conflict", data)
        extend(market, booking_id, 60)
        assert market.refused(market.renter, Extend(booking_id, 1, PLENTY)) == ("booking_conflict", data)

    def test_into_maintenance(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        window = SetMaintenance(market.gpus[0], market.booking(booking_id).end_ms, 60)
        maintenance = subject(market.do(market.provider, window), "gpu.maintenance_set", "maintenance")
        error, data = market.refused(market.renter, Extend(booking_id, 1, PLENTY))
        assert (error, data["conflicting"]) == ("booking_conflict", maintenance)

    def test_one_gpu_taken_extends_none(self) -> None:
        market = Market(gpus=2)
        booking_id = market.active()
        end_ms = market.booking(booking_id).end_ms
        market.do(market.other, market.reservation([market.gpus[1]], start_ms=end_ms, seconds=60))
        before = market.booking(booking_id)
        error, data = market.refused(market.renter, Extend(booking_id, 60, PLENTY))
        assert (error, data["gpu"]) == ("booking_conflict", market.gpus[1])
        assert market.booking(booking_id) == before
        ((_, interval),) = intervals(market.view, market.gpus[0])
        assert interval.end_ms == end_ms

    def test_two_for_one_slot_in_one_block(self) -> None:
        """Whoever comes first has the time, be it the renter who extends or the next one."""
        market = Market()
        booking_id = market.active(seconds=600)
        end_ms = market.booking(booking_id).end_ms
        mine = market.sign(market.renter, Extend(booking_id, 60, PLENTY))
        theirs = market.sign(market.other, market.reservation(start_ms=end_ms, seconds=60))
        assert [result.error for result in market.block(theirs, mine)] == ["", "booking_conflict"]

    def test_max_cost_guards_to_the_unit(self) -> None:
        """Terms changed between quote and inclusion: the dearer price is not paid."""
        market = Market()
        booking_id = market.active()
        assert market.refused(market.renter, Extend(booking_id, 3_600, PRICE - 1)) == (
            "terms_moved",
            {"cost": PRICE, "max_cost": PRICE - 1},
        )
        reprice(market, PRICE + 1)
        assert market.refused(market.renter, Extend(booking_id, 3_600, PRICE))[0] == "terms_moved"
        market.do(market.renter, Extend(booking_id, 3_600, PRICE + 1))
        assert market.booking(booking_id).rate == PRICE, "what was booked keeps its price"

    @pytest.mark.parametrize("over", [0, 1])
    @pytest.mark.parametrize("limit", ["terms", "network"])
    def test_longest_time_in_total(self, limit: str, over: int) -> None:
        longest = 7_200
        parameters = altered(booking_maximum_seconds=longest) if limit == "network" else UNHURRIED
        market = Market(offer=terms(maximum=longest), parameters=parameters)
        booking_id = market.active(seconds=3_600)
        action = Extend(booking_id, 3_600 + over, PLENTY)
        if over:
            data = {"field": "seconds", "maximum": longest, "got": longest + 1}
            assert market.refused(market.renter, action) == ("booking_time_refused", data)
        else:
            market.do(market.renter, action)

    def test_the_present_terms_say_how_long(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(maximum=4_000, version=2)))
        assert market.refused(market.renter, Extend(booking_id, 401, PLENTY))[0] == "booking_time_refused"
        extend(market, booking_id, 400)

    def test_segments(self) -> None:
        market = Market()
        booking_id = market.active(seconds=600)
        for _ in range(MAXIMUM_SEGMENTS - 1):
            extend(market, booking_id, 1)
        error, data = market.refused(market.renter, Extend(booking_id, 1, PLENTY))
        assert (error, data["reason"]) == ("booking_time_refused", "extended as often as is allowed")
        market.wait_until(market.booking(booking_id).end_ms)
        assert market.booking(booking_id).status is BookingStatus.CLOSING

    @pytest.mark.parametrize("status", [GpuStatus.OFFLINE, GpuStatus.RETIRING])
    def test_a_gpu_that_is_not_open(self, status: GpuStatus) -> None:
        market = Market(parameters=altered(heartbeat_timeout_seconds=120))
        booking_id = market.active()
        if status is GpuStatus.OFFLINE:
            market.wait(120_000)
        else:
            market.do(market.provider, RetireGpu(market.gpus[0]))
        refusal = market.refused(market.renter, Extend(booking_id, 60, PLENTY))
        assert refusal == ("gpu_unavailable", {"gpu": market.gpus[0], "status": status.name.lower()})

    def test_insufficient_funds(self) -> None:
        market = Market(price=6_000 * COIN)
        booking_id = market.active()
        have = market.balance(market.renter) - DEFAULT_FEE
        refusal = market.refused(market.renter, Extend(booking_id, 3_600, PLENTY))
        assert refusal == ("insufficient_funds", {"needed": 6_000 * COIN, "available": have})

    def test_a_provider_cannot_grow_a_booking_beyond_his_stake(self) -> None:
        """Collateral dodging: what secures the longer booking must be there before it is longer."""
        market = Market(price=100 * COIN)
        booking_id = market.active()
        market.do(market.provider, RemoveStake(market.stake(market.provider).free - 3))
        data = {"account": market.provider.address, "needed": 10 * COIN, "available": 3}
        assert market.refused(market.renter, Extend(booking_id, 3_600, PLENTY)) == ("insufficient_collateral", data)
        assert market.booking(booking_id).collateral == 10 * COIN

    def test_amounts_that_overflow(self) -> None:
        market = Market(gpus=2)
        booking_id = market.active()
        for gpu_id in market.gpus:
            reprice(market, U64, gpu_id)
        assert market.refused(market.renter, Extend(booking_id, 60, U64)) == ("amount_overflow", {"maximum": U64})
        reprice(market, 0, market.gpus[0])
        assert market.refused(market.renter, Extend(booking_id, 3_601, U64))[0] == "amount_overflow"

    def test_the_fee_of_the_reservation_holds_for_the_extension(self) -> None:
        market = Market()
        booking_id = market.active()
        extend(market, booking_id)
        assert market.escrow(booking_id).fee_rate == UNHURRIED.market_fee
        assert market.escrow(booking_id).locked == 2 * PRICE


def test_in_the_block_of_the_reservation() -> None:
    market = Market()
    reserving = market.sign(market.renter, market.reservation(seconds=600))
    booking_id = derived_id(reserving.txid, "booking")
    activating = market.sign(market.provider, Activate(booking_id, b"x"))
    sequence = reserving.body.sequence
    extending = market.sign(market.renter, Extend(booking_id, 60, PLENTY), sequence=sequence + 1)
    releasing = market.sign(market.renter, Release(booking_id), Confirm(booking_id), sequence=sequence + 2)
    results = market.block(reserving, activating, extending, releasing)
    assert [result.error for result in results] == [""] * 4
    booking = market.booking(booking_id)
    assert booking.status is BookingStatus.CLOSED
    cost, used = -(-PRICE * 660 // 3_600), PRICE // 60
    assert booking.gross == used + (cost - used) // 100


def test_a_late_queue_lets_no_extension_in_and_keeps_none_out() -> None:
    """What is over by the clock is neither extended nor in the way, though nothing has settled it yet."""
    market = Market(gpus=2, parameters=TIGHT)
    over, longer = market.active([market.gpus[0]], seconds=60), market.active([market.gpus[1]], seconds=120)
    start_ms = market.booking(longer).end_ms
    reserving = market.do(market.other, market.reservation([market.gpus[1]], start_ms=start_ms, seconds=3_600))
    lapsing = subject(reserving, "booking.reserved", "booking")
    clog(market)
    market.wait(60_000)
    assert market.booking(over).status is BookingStatus.ACTIVE
    assert market.refused(market.renter, Extend(over, 60, PLENTY), after_ms=1)[0] == "wrong_booking_status"
    assert market.refused(market.renter, Extend(longer, 60, PLENTY), after_ms=1)[0] == "booking_conflict"
    market.do(market.other, Cancel(lapsing), after_ms=1)
    market.do(market.renter, Extend(longer, 3_600, PLENTY), after_ms=1)
