"""Scheduled work: order, budget, carry-over, and that being late changes when something is written, never what."""

import pytest

from chain import schedule, stake
from chain.action import ACTIONS, DUE_HANDLERS, BlockContext, Clock, Context
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, Release
from chain.actions.gpus import Heartbeat, RetireGpu, SetMaintenance
from chain.actions.staking import AddStake, RemoveStake
from chain.booking import BookingStatus
from chain.clocks import read_clocks
from chain.crypto.address import key_address
from chain.crypto.hashing import sha256
from chain.inventory import GpuStatus
from chain.parameters import read_parameters
from chain.schedule import DUE, DUE_ITEM_WEIGHT, Subject, next_due, run_due, unschedule
from chain.schema import COIN
from chain.state.view import View
from chain.transaction import Transaction
from chain.unbonding import id_of, open_unbonding
from tests.ledger import DEFAULT_FEE, Person, subject
from tests.market import PRICE, TIGHT, Market, altered, clog, commitment, registration, run_queue

"""Twenty due items a block."""


def pending(view: View, clock: Clock) -> int:
    """Items of a clock that are overdue."""
    context = now(view)
    return sum(1 for key, _ in DUE.scan(view, bytes([clock])) if key[0] == clock and due_ms(key) <= context.now(clock))


def due_ms(key: bytes) -> int:
    return int.from_bytes(key[1:9], "big")


def now(view: View) -> Context:
    clocks = read_clocks(view)
    block = BlockContext("devnet-00000000", clocks.height, 0, clocks.time_ms, b"\x00" * 33)
    return Context(view, block, clocks.live_ms, read_parameters(view), b"\x02" + b"\x00" * 32, b"\x00" * 32)


def flood(market: Market, items: int) -> None:
    """After a block, payments of one base unit to as many owners, from the stranger's stake, all due in a minute."""
    market.block()
    with market.system() as context:
        stake.remove(context, market.other.address, items)
        for index in range(items):
            owner = key_address(sha256(index.to_bytes(4, "big")))
            open_unbonding(context, owner, 1, context.time_ms + 60_000)


def test_items_run_in_the_order_of_clock_due_and_id() -> None:
    market = Market(parameters=altered(unbonding_seconds=10))
    market.do(market.provider, RemoveStake(1), RemoveStake(2), RemoveStake(3), after_ms=500)
    market.do(market.renter, RemoveStake(4), after_ms=1_000)
    queue = [key for key, _ in DUE.scan(market.view)]
    assert queue == sorted(queue)
    market.block(after_ms=20_000)
    assert market.outcome is not None
    ids = [dict(event.subjects)["unbonding"] for event in market.outcome.system.events]
    assert ids == [id_of(key[10:]) for key in queue if key[9] == Subject.UNBONDING]
    assert market.outcome.system.weight == market.outcome.weight == 4 * DUE_ITEM_WEIGHT


def test_nothing_runs_before_it_is_due() -> None:
    market = Market()
    market.do(market.provider, RemoveStake(COIN))
    market.wait(59_999)
    assert next_due(market.view, Clock.BLOCK) == market.time_ms + 1
    before = market.balance(market.provider)
    market.block(after_ms=1)
    assert market.balance(market.provider) == before + COIN
    assert next_due(market.view, Clock.BLOCK) is None


def test_the_budget_bounds_each_block_and_the_rest_carries_over() -> None:
    market = Market(parameters=TIGHT)
    flood(market, 50)
    market.wait(59_999)
    weights = []
    for step in (1, 1, 1, 1):
        market.block(after_ms=step)
        assert market.outcome is not None
        weights.append(market.outcome.system.weight)
    assert weights == [100, 100, 50, 0]


def test_due_items_count_towards_the_weight_of_the_block() -> None:
    market = Market(parameters=altered(due_weight=100, maximum_block_weight=1_400))
    flood(market, 100)
    market.wait(59_999)
    heavy = market.sign(market.provider, *[AddStake(1)] * 548, fee=COIN)
    assert heavy.weight == 1_097
    assert market.block(heavy, after_ms=1)[0].succeeded
    assert market.outcome is not None
    assert market.outcome.weight == 1_197


def test_a_flood_due_in_one_block_with_a_refund_behind_it() -> None:
    """The renter of a booking whose provider never came is paid the same, a few blocks later."""
    market = Market(parameters=TIGHT)
    flood(market, 400)
    booking_id = market.reserve(after_ms=1)
    collateral, before = market.booking(booking_id).collateral, market.balance(market.renter)
    market.wait(60_000, step_ms=15_000)
    for _ in range(60):
        market.block(after_ms=100)
        if market.booking(booking_id).status is BookingStatus.NO_SHOW:
            break
    assert market.booking(booking_id).status is BookingStatus.NO_SHOW
    assert market.balance(market.renter) == before + PRICE + collateral


def test_a_flood_on_one_clock_does_not_hold_up_the_other() -> None:
    """Block time has half of the budget and live time the other, whichever is flooded."""
    market = Market(parameters=TIGHT)
    flood(market, 900)
    booking_id = market.reserve(after_ms=1)
    market.wait(60_000, step_ms=15_000)
    assert pending(market.view, Clock.BLOCK) > 800
    assert market.booking(booking_id).status is BookingStatus.NO_SHOW


def test_a_flood_of_missed_heartbeats_does_not_hold_up_payments_of_the_other_clock() -> None:
    market = Market(
        parameters=altered(due_weight=100, heartbeat_timeout_seconds=60, collateral_per_gpu=1), stake=10_000
    )
    names = [f"flood {index}" for index in range(300)]
    registrations = [registration(name) for name in names]
    for start in range(0, 300, 100):
        commitments = commitment(market.other, *names[start : start + 100])
        assert market.run(market.other, *commitments, fee=COIN, after_ms=1).succeeded
        assert market.run(market.other, *registrations[start : start + 100], fee=COIN, after_ms=1).succeeded
    before = market.balance(market.provider)
    cost = market.do(market.provider, RemoveStake(7), after_ms=1).fee
    market.wait(60_000)
    assert pending(market.view, Clock.LIVE) > 100
    assert market.balance(market.provider) == before + 7 - cost


def test_unscheduling_what_is_not_there_writes_nothing() -> None:
    market = Market()
    view = market.view
    unschedule(now(view), Clock.BLOCK, 1, Subject.BOOKING, b"\x00" * 32)
    assert view.changes() == {}


def test_an_item_that_another_takes_off_the_queue_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    market = Market()
    context, ran = now(market.view), []

    def handler(inner: Context, identifier: bytes) -> None:
        ran.append(identifier)
        unschedule(inner, Clock.BLOCK, 5, Subject.UNBONDING, b"second")

    monkeypatch.setitem(DUE_HANDLERS, Subject.UNBONDING, handler)
    for identifier in (b"first", b"second"):
        schedule.schedule(context, Clock.BLOCK, 5, Subject.UNBONDING, identifier)
    assert run_due(context, 5_000) == DUE_ITEM_WEIGHT
    assert ran == [b"first"]


class TestLateQueue:
    """Decisions never depend on whether the queue has run: each test acts while its subject waits in a full queue."""

    def late_no_show(self, market: Market) -> bytes:
        """The id of a booking that is a no-show by the clocks, while its deadline waits behind others."""
        booking_id = market.reserve(seconds=7_200)
        clog(market)
        market.wait(60_000)
        assert market.booking(booking_id).status is BookingStatus.RESERVED
        assert pending(market.view, Clock.LIVE) > 0
        return booking_id

    def test_a_slot_that_a_late_no_show_still_holds_is_free(self) -> None:
        market = Market(parameters=TIGHT)
        late = self.late_no_show(market)
        second = market.reserve(after_ms=1, renter=market.other)
        assert market.booking(second).status is BookingStatus.RESERVED
        run_queue(market)
        assert market.booking(late).status is BookingStatus.NO_SHOW
        assert market.escrow(late).refunded == 2 * PRICE

    def test_a_late_no_show_cannot_be_activated(self) -> None:
        market = Market(parameters=TIGHT)
        late = self.late_no_show(market)
        refusal = market.refused(market.provider, Activate(late, b"x"), after_ms=1)
        assert refusal == ("wrong_booking_status", {"booking": late, "status": "no_show", "needed": "reserved"})

    def test_a_late_no_show_cannot_be_cancelled(self) -> None:
        market = Market(parameters=TIGHT)
        late = self.late_no_show(market)
        assert market.refused(market.renter, Cancel(late))[0] == "wrong_booking_status"

    def test_a_late_gpu_is_offline(self) -> None:
        market = Market(parameters=altered(due_weight=100, heartbeat_timeout_seconds=60))
        clog(market)
        market.wait(60_000)
        assert market.gpu(market.gpus[0]).status is GpuStatus.ACTIVE
        error, data = market.refused(market.renter, market.reservation(), after_ms=1)
        assert (error, data["status"]) == ("gpu_unavailable", "offline")

    def test_a_late_offline_gpu_waives_the_charges_of_a_release(self) -> None:
        market = Market(parameters=altered(due_weight=100, heartbeat_timeout_seconds=60), minimum=600)
        booking_id = market.active(seconds=7_200)
        clog(market)
        market.wait(60_000)
        market.release(booking_id)
        assert market.booking(booking_id).gross == PRICE * 61 // 3_600

    def test_a_late_completion_cannot_be_released(self) -> None:
        market = Market(parameters=TIGHT)
        booking_id = market.active(seconds=60)
        end_ms = market.booking(booking_id).end_ms
        clog(market)
        market.wait(60_000)
        assert market.booking(booking_id).status is BookingStatus.ACTIVE
        assert market.refused(market.renter, Release(booking_id), after_ms=1)[0] == "wrong_booking_status"
        market.confirm(booking_id, after_ms=1)
        booking = market.booking(booking_id)
        assert (booking.status, booking.ended_ms) == (BookingStatus.CLOSED, end_ms)
        assert booking.gross == PRICE * 60 // 3_600

    def test_a_late_payment_cannot_be_confirmed(self) -> None:
        market = Market(parameters=TIGHT)
        booking_id = market.active(seconds=3_600)
        market.release(booking_id)
        clog(market)
        market.wait(300_000)
        assert market.booking(booking_id).status is BookingStatus.CLOSING
        assert market.refused(market.renter, Confirm(booking_id), after_ms=1)[0] == "wrong_booking_status"

    def test_a_retired_gpu_whose_last_booking_waits_in_the_queue_may_be_listed_again(self) -> None:
        market = Market(parameters=TIGHT)
        market.active(seconds=60)
        market.do(market.provider, RetireGpu(market.gpus[0]), *commitment(market.provider, "0"), after_ms=1)
        clog(market)
        market.wait(60_000)
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRING
        assert market.refused(market.provider, Heartbeat(market.gpus), after_ms=1) == (
            "not_found",
            {"kind": "gpu", "id": market.gpus[0]},
        )
        again = market.do(market.provider, registration("0"), after_ms=1)
        assert subject(again, "gpu.registered", "gpu") != market.gpus[0]
        run_queue(market)
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRED
        assert market.refused(market.provider, registration("0"))[0] == "hardware_taken"


class TestPaidWork:
    """Work that an action schedules is paid for by that action."""

    def scheduled(self, market: Market, sender: Person, *actions: object, after_ms: int = 1_000, **more: object) -> int:
        """Due items that were new after a transaction; its weight must cover running them."""
        before = {key for key, _ in DUE.scan(market.view)}
        transaction: Transaction = market.sign(sender, *actions, **more)  # type: ignore[arg-type]
        assert market.block(transaction, after_ms=after_ms)[0].succeeded
        new = len({key for key, _ in DUE.scan(market.view)} - before)
        assert transaction.weight - 1 >= DUE_ITEM_WEIGHT * new
        return new

    def test_each_action(self) -> None:
        market = Market(gpus=3, parameters=altered(heartbeat_timeout_seconds=120))
        provider, renter = market.provider, market.renter
        assert self.scheduled(market, provider, AddStake(COIN)) == 0
        assert self.scheduled(market, provider, RemoveStake(1), RemoveStake(1)) == 2
        assert self.scheduled(market, provider, *commitment(provider, "new")) == 1
        assert self.scheduled(market, provider, registration("new")) == 1
        assert self.scheduled(market, provider, Heartbeat(market.gpus)) == 3
        assert self.scheduled(market, renter, market.reservation(market.gpus[:1])) == 2
        start_ms = market.time_ms + 60_000
        assert self.scheduled(market, renter, market.reservation(market.gpus[1:2], start_ms=start_ms)) == 1
        booking_id = market.active([market.gpus[2]], seconds=60)
        assert self.scheduled(market, renter, Extend(booking_id, 60, COIN)) == 1
        assert self.scheduled(market, renter, Release(booking_id)) == 1
        windows = [SetMaintenance(market.gpus[2], market.time_ms + 1_000_000 * index, 60) for index in (1, 2)]
        assert self.scheduled(market, provider, *windows) == 2
        assert self.scheduled(market, provider, RetireGpu(market.gpus[2])) == 1

    def test_an_idempotency_id(self) -> None:
        market = Market()
        assert self.scheduled(market, market.renter, AddStake(1), idempotency_id=b"\x01" * 32) == 1

    def test_the_whole_life_of_a_booking(self) -> None:
        """No path runs more due items than its actions paid for."""
        paths: list[list[str]] = [["activate"], ["activate", "release"], [], ["activate", "release", "confirm"]]
        for path in paths:
            market = Market(parameters=altered(dispute_window_seconds=30))
            reserve = market.reservation(seconds=120, start_ms=market.time_ms + 10_000)
            result = market.do(market.renter, reserve)
            booking_id = subject(result, "booking.reserved", "booking")
            paid, worked = reserve.weight(), 0
            for step in path:
                action = {"activate": Activate(booking_id, b"x")}.get(step)
                if step == "release":
                    market.wait(20_000)
                    action = Release(booking_id)  # type: ignore[assignment]
                if step == "confirm":
                    action = Confirm(booking_id)  # type: ignore[assignment]
                assert action is not None
                market.do(market.provider if step == "activate" else market.renter, action)
                paid += action.weight()
            for _ in range(40):
                market.block(after_ms=10_000)
                assert market.outcome is not None
                worked += market.outcome.system.weight
            assert worked <= paid

    def test_every_action_weighs_something(self) -> None:
        assert all(action.base_weight >= 1 for action in ACTIONS.values())
        assert Cancel(b"\x00" * 32).weight() > 0


def test_the_default_fee_of_the_tests_is_enough_for_one_action() -> None:
    market = Market()
    assert market.required_fee(market.sign(market.renter, market.reservation())) < DEFAULT_FEE
