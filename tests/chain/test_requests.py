"""Requests: who may ask for what, what an accepted bid becomes, and that all money comes back."""

from dataclasses import replace

import pytest

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from chain.booking import BookingStatus
from chain.deposit import storage_deposit
from chain.errors import InvalidField
from chain.escrow import ESCROWS
from chain.inventory import intervals
from chain.job import GpuFilter
from chain.parameters import PARAMETERS, read_parameters
from chain.request import MAXIMUM_BIDS, MAXIMUM_LIFETIME_MS
from chain.schema import COIN, U64
from tests.bidding import DAY_MS, HOUR, MAXIMUM, PRICED, Bidding, Purses, crowd
from tests.ledger import DEFAULT_FEE, Person, subject
from tests.market import TIGHT, clog

UNKNOWN = b"\x77" * 32
HORIZON_MS = PRICED.booking_horizon_seconds * 1_000


class TestTheWay:
    def test_a_request_locks_its_maximum_and_pays_for_its_place(self) -> None:
        market = Bidding()
        purses = Purses(market)
        request_id = market.ask()
        request = market.request(request_id)
        assert request is not None
        assert request.deposit >= storage_deposit(PRICED, request)
        assert market.escrow(request_id).remaining == MAXIMUM
        assert purses.deposited == request.deposit
        assert purses.gained(market.renter, fees=1) == -MAXIMUM - request.deposit

    def test_a_bid_reserves_nothing_and_pays_for_its_place(self) -> None:
        market = Bidding()
        request_id = market.ask()
        purses = Purses(market)
        placed = market.bid(request_id, market.provider, COIN)
        ((provider, bid),) = market.bids(request_id)
        assert (provider, bid.rate, bid.number) == (market.provider.address, COIN, 1)
        assert bid.deposit >= storage_deposit(PRICED, bid)
        assert purses.gained(market.provider, fees=1) == -bid.deposit
        assert market.stake(market.provider).collateral == 25 * COIN
        assert intervals(market.view, market.gpus[0]) == []
        (event,) = [event for event in placed.events if event.kind == "request.bid_placed"]
        assert dict(event.subjects)["renter"] == market.renter.address
        assert dict(event.amounts)["cost"] == COIN

    def test_an_accepted_bid_is_a_booking_at_its_rate(self) -> None:
        market = Bidding()
        purses = Purses(market)
        request_id = market.ask(seconds=2 * HOUR)
        market.bid(request_id, market.providers[0], COIN)
        market.bid(request_id, market.providers[1], COIN + 1)
        accepted = market.do(market.renter, market.acceptance(request_id, market.providers[1]))
        booking_id = subject(accepted, "request.bid_accepted", "booking")
        booking, cost = market.booking(booking_id), 2 * COIN + 2
        assert (booking.renter, booking.provider) == (market.renter.address, market.providers[1].address)
        assert (booking.rate, booking.cost, booking.status) == (COIN + 1, cost, BookingStatus.RESERVED)
        assert (booking.start_ms, booking.end_ms) == (market.time_ms, market.time_ms + 2 * HOUR * 1_000)
        assert (booking.sealing_key, booking.collateral) == (b"\x09" * 32, -(-cost // 10))
        assert market.escrow(booking_id).remaining == cost
        (event,) = [event for event in accepted.events if event.kind == "request.bid_accepted"]
        assert dict(event.amounts)["saved"] == MAXIMUM - cost
        assert [who for role, who in event.subjects if role == "bidder"] == [
            person.address for person in market.providers
        ]
        assert (market.request(request_id), market.bids(request_id)) == (None, [])
        assert ESCROWS.get(market.view, request_id) is None
        assert purses.gained(market.renter, fees=2) == -cost - purses.deposited
        assert [purses.gained(person, fees=1) for person in market.providers] == [0, 0]

    def test_the_booking_of_a_bid_runs_like_any_other(self) -> None:
        market = Bidding(gpus=3)
        purses = Purses(market)
        request_id = market.ask(count=3)
        market.bid(request_id, market.provider, COIN)
        booking_id = market.accept(request_id, market.provider)
        market.activate(booking_id)
        market.wait(2 * HOUR * 1_000, step_ms=15_000)
        booking = market.booking(booking_id)
        assert booking.status is BookingStatus.CLOSED
        # It earns from its activation, a second after its start.
        gross = COIN * 3_599 // 3_600
        assert market.escrow(booking_id).gross == gross
        assert purses.gained(market.provider, fees=2) == gross - gross * 200 // 10_000
        assert purses.gained(market.renter, fees=2) == -gross - purses.deposited

    def test_a_fixed_start_is_kept(self) -> None:
        market = Bidding()
        start_ms = market.time_ms + DAY_MS
        request_id = market.ask(start_ms=start_ms, expires_ms=start_ms)
        market.bid(request_id, market.provider, COIN)
        booking = market.booking(market.accept(request_id, market.provider))
        assert (booking.start_ms, booking.end_ms) == (start_ms, start_ms + HOUR * 1_000)

    def test_a_bid_may_be_accepted_until_the_last_moment(self) -> None:
        market = Bidding()
        request_id = market.ask(expires_ms=market.time_ms + 10_000)
        market.bid(request_id, market.provider, COIN)
        market.do(market.renter, market.acceptance(request_id, market.provider), after_ms=10_000 - 2_000 - 1)

    def test_the_renter_needs_no_money_beside_the_locked_maximum(self) -> None:
        """His balance is empty, and the bid costs all that the request holds."""
        market = Bidding()
        request_id = market.ask()
        market.bid(request_id, market.provider, MAXIMUM)
        last_fee = 2 * DEFAULT_FEE
        rest = market.balance(market.renter) - last_fee
        market.do(market.renter, Transfer(market.other.address, "AITBC", rest))
        assert market.balance(market.renter) == DEFAULT_FEE
        booking_id = market.accept(request_id, market.provider)
        assert market.booking(booking_id).cost == MAXIMUM

    def test_cancelling_returns_everything(self) -> None:
        market = Bidding()
        purses = Purses(market)
        request_id = market.ask()
        market.fill(request_id, [COIN, 2 * COIN])
        dropped = market.drop(request_id)
        (event,) = [event for event in dropped.events if event.kind == "request.cancelled"]
        assert dict(event.amounts)["refund"] == MAXIMUM
        assert sum(role == "bidder" for role, _ in event.subjects) == 2
        assert purses.gained(market.renter, fees=2) == 0
        assert [purses.gained(person, fees=1) for person in market.providers] == [0, 0]
        assert purses.deposited == 0
        assert market.refused(market.renter, CancelRequest(request_id)) == (
            "not_found",
            {"kind": "request", "id": request_id},
        )

    def test_withdrawing_returns_the_deposit(self) -> None:
        market = Bidding()
        request_id = market.ask()
        purses = Purses(market)
        market.bid(request_id, market.provider, COIN)
        market.withdraw(request_id, market.provider)
        assert purses.gained(market.provider, fees=2) == 0
        assert market.bids(request_id) == []
        error = market.refused(market.renter, AcceptBid(request_id, market.provider.address, 1))
        assert error == ("not_found", {"kind": "bid", "request": request_id, "provider": market.provider.address})

    def test_open_accept_and_cancel_in_one_block(self) -> None:
        market = Bidding()
        request_id = market.ask()
        bidding = market.sign(market.provider, market.offer(request_id, market.provider, COIN))
        accepting = market.sign(market.renter, AcceptBid(request_id, market.provider.address, 1))
        sequence = accepting.body.sequence + 1
        cancelling = market.sign(market.renter, CancelRequest(request_id), sequence=sequence)
        results = market.block(bidding, accepting, cancelling)
        assert [result.error for result in results] == ["", "", "not_found"]


class TestOpening:
    @pytest.mark.parametrize(
        ("field", "value", "minimum", "maximum"),
        [
            ("start_ms", -1, 1, HORIZON_MS),
            ("start_ms", HORIZON_MS + 1, 1, HORIZON_MS),
            ("seconds", 0, 60, 90 * 86_400),
            ("seconds", 59, 60, 90 * 86_400),
            ("seconds", 90 * 86_400 + 1, 60, 90 * 86_400),
            ("expires_ms", 0, 1, MAXIMUM_LIFETIME_MS),
            ("expires_ms", MAXIMUM_LIFETIME_MS + 1, 1, MAXIMUM_LIFETIME_MS),
        ],
    )
    def test_times_are_bounded(self, field: str, value: int, minimum: int, maximum: int) -> None:
        """Times are given from the block that includes the request."""
        market = Bidding(providers=1)
        now_ms = market.time_ms + 1_000
        base = now_ms if field.endswith("_ms") else 0
        name, data = market.refused(market.renter, market.request_action(**{field: base + value}))
        expected = {"field": field, "minimum": base + minimum, "maximum": base + maximum, "got": base + value}
        assert (name, data) == ("request_time_refused", expected)

    def test_a_request_is_not_open_past_its_start(self) -> None:
        market = Bidding(providers=1)
        start_ms = market.time_ms + 60_000
        action = market.request_action(start_ms=start_ms, expires_ms=start_ms + 1)
        name, data = market.refused(market.renter, action)
        assert (name, data["field"], data["maximum"]) == ("request_time_refused", "expires_ms", start_ms)
        market.ask(start_ms=start_ms, expires_ms=start_ms)

    def test_the_maximum_and_the_deposit_must_be_there(self) -> None:
        market = Bidding(providers=1)
        balance = market.balance(market.renter) - DEFAULT_FEE
        name, data = market.refused(market.renter, market.request_action(max_cost=balance))
        assert (name, data["available"]) == ("insufficient_funds", balance)
        assert int(str(data["needed"])) > balance
        name, data = market.refused(market.renter, market.request_action(max_cost=U64))
        assert name == "amount_overflow"

    @pytest.mark.parametrize("count", [0, 17])
    def test_the_count_is_bounded(self, count: int) -> None:
        market = Bidding(providers=1)
        with pytest.raises(InvalidField):
            market.sign(market.renter, market.request_action(count=count))


class TestExpiry:
    def test_everything_returns_by_itself(self) -> None:
        market = Bidding()
        purses = Purses(market)
        request_id = market.ask(expires_ms=market.time_ms + 10_000)
        market.fill(request_id, [COIN, 2 * COIN])
        market.block(after_ms=7_999)
        assert market.request(request_id) is not None
        market.block(after_ms=1)
        assert (market.request(request_id), market.bids(request_id)) == (None, [])
        assert market.outcome is not None
        kinds = [event.kind for event in market.outcome.system.events]
        assert kinds[::2] == ["deposit.returned"] * 3
        assert kinds[1::2] == ["request.expired", "request.bid_expired", "request.bid_expired"]
        assert purses.gained(market.renter, fees=1) == 0
        assert [purses.gained(person, fees=1) for person in market.providers] == [0, 0]
        assert purses.deposited == 0

    def test_with_sixty_four_bids_in_small_blocks(self) -> None:
        """Each bid is a due item of its own: the flood takes four blocks, the renter has his money in the first."""
        market = crowd(0)
        purses = Purses(market)
        request_id = market.ask(expires_ms=market.time_ms + 10_000)
        market.fill(request_id, [COIN] * MAXIMUM_BIDS)
        small(market)
        renters = market.balance(market.renter)
        market.block(after_ms=8_000)
        assert market.request(request_id) is None
        assert market.balance(market.renter) > renters + MAXIMUM
        left = [len(market.bids(request_id))]
        while left[-1]:
            error = market.refused(market.providers[-1], WithdrawBid(request_id))
            assert error == ("not_found", {"kind": "request", "id": request_id})
            left.append(len(market.bids(request_id)))
        assert left == [46, 26, 6, 0]
        assert purses.deposited == 0

    def test_an_overdue_request_is_closed_whatever_the_queue_has_reached(self) -> None:
        market = Bidding(parameters=TIGHT)
        request_id = market.ask(expires_ms=market.time_ms + 10_000)
        market.bid(request_id, market.provider, COIN)
        market.check = False
        clog(market)
        actions: list[tuple[Person, Action]] = [
            (market.providers[1], market.offer(request_id, market.providers[1], 1)),
            (market.provider, WithdrawBid(request_id)),
            (market.renter, market.acceptance(request_id, market.provider)),
            (market.renter, CancelRequest(request_id)),
        ]
        for after_ms, (sender, action) in zip((8_000, 1, 1, 1), actions, strict=True):
            error = market.refused(sender, action, after_ms=after_ms)
            assert error == ("not_found", {"kind": "request", "id": request_id})
            assert market.request(request_id) is not None, "the queue is late"

    def test_in_an_outage(self) -> None:
        """Nobody could accept, and nothing is lost: a request is of block time, and its money returns at once."""
        market = Bidding()
        purses = Purses(market)
        request_id = market.ask(expires_ms=market.time_ms + 60_000)
        market.bid(request_id, market.provider, COIN)
        acceptance = market.sign(market.renter, market.acceptance(request_id, market.provider))
        (result,) = market.block(
            market.sign(market.renter, acceptance.body.actions[0], valid_until_ms=market.time_ms + 3 * 3_600_000),
            after_ms=3 * 3_600_000,
        )
        assert result.error == "not_found"
        assert purses.gained(market.renter, fees=2) == 0
        assert purses.gained(market.provider, fees=1) == 0

    def test_a_bid_that_went_leaves_no_deadline(self) -> None:
        market = Bidding()
        request_id = market.ask(expires_ms=market.time_ms + 10_000)
        market.bid(request_id, market.provider, COIN)
        market.withdraw(request_id, market.provider)
        market.drop(request_id)
        market.block(after_ms=20_000)
        assert market.outcome is not None
        assert (market.outcome.system.weight, market.outcome.system.events) == (0, ())


def small(market: Bidding) -> None:
    """From now on a block runs twenty due items."""
    view = market.view
    PARAMETERS.put(view, replace(read_parameters(view), due_weight=100))
    market.reader.apply(view.changes())


def test_weights_cover_what_is_looked_at() -> None:
    wanted = GpuFilter()
    opening = OpenRequest(wanted, 16, 0, HOUR, 1, 1, bytes(32))
    assert opening.weight() == 15
    gpus = tuple(bytes([index]) * 32 for index in range(16))
    assert PlaceBid(UNKNOWN, gpus, (1,) * 16, 1).weight() == 200
    assert AcceptBid(UNKNOWN, b"\x00" * 33, 1).weight() == 330
    assert CancelRequest(UNKNOWN).weight() == 136
