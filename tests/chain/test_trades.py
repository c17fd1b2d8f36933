"""Trades: what is recorded of a deal, for how long, and what is left out."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from chain import invariants
from chain.action import Clock
from chain.actions.bookings import Extend
from chain.actions.gpus import CommitHardware, RegisterGpu, UpdateGpu, commitment_of
from chain.actions.jobs import AcceptJob
from chain.booking import BOOKINGS, BookingStatus
from chain.errors import LedgerError
from chain.escrow import escrow_of
from chain.job import Unit
from chain.schedule import DUE, Subject
from chain.schema import COIN, U64
from chain.trades import DAY_MS, HOUR_MS, MIXED, TRADES, Trades, expires_ms, price_step, split_key, trade_key
from tests.economy.attempts import BOOKING_FAMILIES
from tests.economy.world import run
from tests.ledger import GENESIS_TIME_MS, subject
from tests.market import PRICE, SALT, TIGHT, Market, altered, clog, hardware, terms
from tests.workshop import UNITS, Workshop

MODEL = "RTX 4090"
DAY = GENESIS_TIME_MS // DAY_MS


def trades(market: Market) -> dict[tuple[str, int], Trades]:
    """Everything recorded by model and day; one step of price each."""
    found = {split_key(key): trade for key, trade in TRADES.scan(market.view)}
    assert len({(model, day) for model, day, _ in found}) == len(found)
    return {(model, day): trade for (model, day, _), trade in found.items()}


def finish(market: Market, booking_id: bytes) -> None:
    market.wait_until(market.booking(booking_id).end_ms)
    market.confirm(booking_id)


def test_steps_of_price_rise_and_are_an_eighth_wide() -> None:
    powers = [1 << shift for shift in range(86)]
    prices = sorted({power + more for power in powers for more in (0, 1, power // 8, power // 3)})
    steps = [price_step(price) for price in prices]
    assert steps == sorted(steps)
    assert price_step(U64 * HOUR_MS) < 1 << 16
    for low, high in pairwise(prices):
        assert price_step(low) != price_step(high) or 8 * (high - low) < low
    assert [price_step(price) for price in (0, 1, 7, 8, 15, 16, 17, 18)] == [0, 1, 7, 8, 15, 16, 16, 17]


def test_keys_order_by_model_day_and_price() -> None:
    keys = [trade_key(*parts) for parts in (("A", 1, 2), ("A", 2, 1), ("A b", 0, 0), ("Ä", 0, 65_535))]
    assert keys == sorted(keys)
    assert [split_key(key) for key in keys] == [("A", 1, 2), ("A", 2, 1), ("A b", 0, 0), ("Ä", 0, 65_535)]


class TestBookings:
    def test_completed(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        finish(market, booking_id)
        assert trades(market) == {(MODEL, DAY): Trades(1, HOUR_MS, PRICE, PRICE // 50)}

    def test_deals_of_a_day_add_up(self) -> None:
        market = Market(gpus=2)
        for _ in range(2):
            finish(market, market.active(seconds=1_800))
        assert trades(market) == {(MODEL, DAY): Trades(2, 2 * HOUR_MS, 2 * PRICE, 2 * PRICE // 50)}

    def test_the_day_is_that_of_the_end_however_late_it_is_paid(self) -> None:
        market = Market(parameters=TIGHT)
        market.active(seconds=3_600)
        clog(market, items=100)
        market.wait(2 * DAY_MS, step_ms=15_000_000)
        market.wait(600_000, step_ms=15_000)
        assert list(trades(market)) == [(MODEL, DAY)]
        assert market.time_ms // DAY_MS > DAY + 1

    def test_released_early_it_keeps_the_price_of_the_booking(self) -> None:
        """The minimum and the release charge pay for time that was not used, and not for dearer time."""
        market = Market(minimum=600)
        booking_id = market.active(seconds=3_600)
        market.release(booking_id)
        market.confirm(booking_id)
        gross = PRICE // 6 + (PRICE - PRICE // 6) // 100
        (found,) = trades(market).values()
        assert (found.gross, found.gpu_ms) == (gross, HOUR_MS * gross // PRICE)
        assert 0 <= found.gross * HOUR_MS // found.gpu_ms - PRICE < PRICE // 100_000

    def test_extended_at_another_price_it_is_sold_at_the_mean(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(2 * PRICE, version=2)))
        market.do(market.renter, Extend(booking_id, 3_600, 2 * PRICE))
        finish(market, booking_id)
        assert trades(market) == {(MODEL, DAY): Trades(1, 2 * HOUR_MS, 3 * PRICE, 3 * PRICE // 50)}

    def test_gpus_of_several_models_tell_no_price(self) -> None:
        market = Market()
        device = replace(hardware("x"), model="H100")
        market.do(market.provider, CommitHardware(commitment_of(market.provider.address, device.hardware_hash, SALT)))
        listed = market.do(market.provider, RegisterGpu(device, terms(3 * PRICE), SALT))
        booking_id = market.active((*market.gpus, subject(listed, "gpu.registered", "gpu")), seconds=3_600)
        finish(market, booking_id)
        assert trades(market) == {(MIXED, DAY): Trades(1, 2 * HOUR_MS, 4 * PRICE, 4 * PRICE // 50)}

    def test_what_costs_no_fee_is_left_out(self) -> None:
        """Or days of time sold to oneself for next to nothing would tell the price."""
        market = Market(price=49)
        finish(market, market.active(seconds=3_600))
        assert trades(market) == {}

    @pytest.mark.parametrize("path", ["cancel", "no show"])
    def test_what_was_never_used_is_no_deal(self, path: str) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=100)
        if path == "cancel":
            market.cancel(booking_id)
        else:
            market.wait(200_000)
        assert trades(market) == {}


class TestJobs:
    def test_time_is_that_from_claim_to_delivery(self) -> None:
        shop = Workshop()
        job_id, latest = shop.delivered()
        job = shop.job(job_id)
        assert job.claim is not None
        shop.do(shop.renter, AcceptJob(job_id, latest))
        gross = UNITS * COIN // 10
        assert trades(shop) == {(MODEL, DAY): Trades(1, (job.ended_ms or 0) - job.claim.claimed_ms, gross, gross // 50)}

    def test_or_the_seconds_that_it_is_metered_in(self) -> None:
        shop = Workshop()
        job_id = shop.shared(unit=Unit.GPU_SECOND)
        shop.wait(30_000)
        shop.do(shop.renter, AcceptJob(job_id, shop.report(job_id, 20, final=True)))
        assert trades(shop) == {(MODEL, DAY): Trades(1, 20_000, 2 * COIN, COIN // 25)}

    def test_inside_a_booking_it_is_no_deal_of_its_own(self) -> None:
        shop = Workshop()
        job_id = shop.shared(booking=shop.active(), unit_price=0)
        shop.do(shop.renter, AcceptJob(job_id, shop.report(job_id, 1, final=True)))
        assert trades(shop) == {}


class TestKeeping:
    def test_for_ninety_days_after_their_day(self) -> None:
        market = Market()
        finish(market, market.active(seconds=3_600))
        key = trade_key(MODEL, DAY, price_step(PRICE))
        assert (Clock.BLOCK, expires_ms(DAY)) in {
            (Clock(due[0]), int.from_bytes(due[1:9], "big")) for due, _ in DUE.scan(market.view) if due[10:] == key
        }
        market.wait(expires_ms(DAY) - 1 - market.time_ms, step_ms=DAY_MS)
        assert trades(market)
        market.block(after_ms=1)
        assert trades(market) == {}
        assert not [due for due, _ in DUE.scan(market.view) if due[9] == Subject.TRADE]

    def test_a_deal_of_a_day_that_is_forgotten_is_left_out(self) -> None:
        """A booking may be paid that late: what is disputed waits, and an outage stops live time."""
        market = Market(parameters=altered(dispute_window_seconds=86_400))
        booking_id = market.active(seconds=3_600)
        market.wait_until(market.booking(booking_id).end_ms)
        market.block(after_ms=100 * DAY_MS)
        market.confirm(booking_id)
        assert market.booking(booking_id).status is BookingStatus.CLOSED
        assert trades(market) == {}

    def test_a_record_that_is_full_stays_as_it_is(self) -> None:
        market = Market()
        finish(market, market.active(seconds=3_600))
        view = market.view
        ((key, found),) = TRADES.scan(view)
        full = replace(found, gross=U64 // 2, gpu_ms=(U64 // 2) * HOUR_MS // PRICE // 2**30, fee=U64)
        market.check = False
        TRADES.put(view, key, full)
        market.reader.apply(view.changes())
        finish(market, market.active(seconds=3_600))
        assert dict(TRADES.scan(market.view)) == {key: full}


def test_trades_without_a_deadline_are_found() -> None:
    market = Market()
    finish(market, market.active(seconds=3_600))
    for change in ({"gross": 3 * PRICE}, {"fee": 0}):
        view = market.view
        ((key, found),) = TRADES.scan(view)
        TRADES.put(view, key, replace(found, **change))
        with pytest.raises(LedgerError, match="trades"):
            invariants.check_all(view)
    view = market.view
    for due, _ in list(DUE.scan(view)):
        if due[9] == Subject.TRADE:
            DUE.delete(view, due)
    with pytest.raises(LedgerError, match="deadline"):
        invariants.check_all(view)


def test_all_that_was_paid_is_recorded_once(rng: random.Random) -> None:
    """The trades of a random economy add up to its closed bookings."""
    deals = 0
    for _ in range(3):
        seed = rng.randrange(1 << 32)
        print(f"replay: run({seed}, 130, wealth=10**5 * COIN, families=BOOKING_FAMILIES)")
        lived = run(seed, 130, wealth=10**5 * COIN, families=BOOKING_FAMILIES)
        view = lived.ledger.view
        expected: Counter[str] = Counter()
        for booking_id, booking in BOOKINGS.scan(view):
            escrow = escrow_of(view, booking_id)
            whole_ms = len(booking.gpus) * (booking.end_ms - booking.start_ms)
            sold_ms = whole_ms * escrow.gross // booking.cost if booking.cost else 0
            if booking.status is BookingStatus.CLOSED and escrow.fee and sold_ms:
                expected.update(deals=1, gpu_ms=sold_ms, gross=escrow.gross, fee=escrow.fee)
        found: Counter[str] = Counter()
        for _, trade in TRADES.scan(view):
            found.update(deals=trade.deals, gpu_ms=trade.gpu_ms, gross=trade.gross, fee=trade.fee)
        assert found == expected
        deals += found["deals"]
    assert deals
