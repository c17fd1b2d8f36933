"""Requests and bids: who may ask and bid what, what an accepted bid becomes, and that all money comes back."""

from dataclasses import replace

import pytest

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.gpus import RetireGpu, SetMaintenance, UpdateGpu
from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from chain.actions.staking import RemoveStake
from chain.bank import totals
from chain.booking import BookingStatus
from chain.deposit import storage_deposit
from chain.errors import InvalidField
from chain.escrow import ESCROWS
from chain.inventory import GpuStatus, intervals
from chain.job import GpuFilter
from chain.parameters import PARAMETERS, read_parameters
from chain.request import BIDS, MAXIMUM_BIDS, MAXIMUM_LIFETIME_MS
from chain.schema import COIN, U64
from tests.bidding import DAY_MS, HOUR, MAXIMUM, PRICED, Bidding
from tests.ledger import DEFAULT_FEE, Person, subject
from tests.market import TIGHT, altered, clog, terms

UNKNOWN = b"\x77" * 32
HORIZON_MS = PRICED.booking_horizon_seconds * 1_000


class Purses:
    """What everybody owned at a moment, deposits and locked money apart."""

    def __init__(self, market: Bidding) -> None:
        self.market = market
        self.people = (market.renter, market.other, *market.providers)
        self.before = {person.name: market.wealth(person) for person in self.people}
        self.deposits = totals(market.view).deposits

    @property
    def deposited(self) -> int:
        """What is on deposit more than then."""
        return totals(self.market.view).deposits - self.deposits

    def gained(self, person: Person, fees: int = 0) -> int:
        """What he has more than then, beside the fees of so many transactions."""
        return self.market.wealth(person) - self.before[person.name] + fees * DEFAULT_FEE


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


class TestBidding:
    def test_a_request_that_never_was(self) -> None:
        market = Bidding(providers=1)
        expected = ("not_found", {"kind": "request", "id": UNKNOWN})
        assert market.refused(market.provider, market.offer(UNKNOWN, market.provider, 1)) == expected
        for action in (WithdrawBid(UNKNOWN), CancelRequest(UNKNOWN), AcceptBid(UNKNOWN, market.provider.address, 1)):
            assert market.refused(market.provider, action) == expected

    def test_the_number_of_gpus(self) -> None:
        market = Bidding(providers=1, gpus=2)
        request_id = market.ask(count=1)
        error = market.refused(market.provider, market.offer(request_id, market.provider, 1))
        assert error == ("wrong_gpu_count", {"expected": 1, "got": 2})

    def test_more_than_the_maximum(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        error = market.refused(market.provider, market.offer(request_id, market.provider, MAXIMUM + 1))
        assert error == ("bid_above_maximum", {"cost": MAXIMUM + 1, "max_cost": MAXIMUM})
        market.bid(request_id, market.provider, MAXIMUM)

    def test_a_cost_is_rounded_up_before_it_is_compared(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask(seconds=3_599, max_cost=COIN)
        rate = COIN * 3_600 // 3_599
        market.bid(request_id, market.provider, rate)
        error = market.refused(market.provider, market.offer(request_id, market.provider, rate + 1))
        assert error == ("bid_above_maximum", {"cost": COIN + 1, "max_cost": COIN})

    def test_a_rate_beyond_all_money(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask(seconds=2 * HOUR)
        error = market.refused(market.provider, market.offer(request_id, market.provider, U64))
        assert error == ("amount_overflow", {"maximum": U64})

    def test_gpus_of_somebody_else(self) -> None:
        market = Bidding(providers=2)
        request_id = market.ask()
        gpus = market.owned[market.providers[1]]
        error = market.refused(market.provider, market.offer(request_id, market.provider, 1, gpus))
        owner = market.providers[1].address
        assert error == ("not_authorized", {"needed": "provider", "account": owner})

    def test_the_renter_himself(self) -> None:
        market = Bidding(providers=1)
        opened = market.do(market.provider, market.request_action())
        request_id = subject(opened, "request.opened", "request")
        error = market.refused(market.provider, market.offer(request_id, market.provider, 1))
        assert error == ("own_gpu", {"provider": market.provider.address})

    @pytest.mark.parametrize(
        "wanted",
        [
            GpuFilter(model="H100"),
            GpuFilter(region="us-east"),
            GpuFilter(minimum_memory_mb=24_577),
            GpuFilter(minimum_cuda_cores=16_385),
        ],
    )
    def test_other_gpus_than_asked_for(self, wanted: GpuFilter) -> None:
        market = Bidding(providers=1)
        request_id = market.ask(gpu_filter=wanted)
        error = market.refused(market.provider, market.offer(request_id, market.provider, 1))
        assert error == ("gpu_not_wanted", {"gpu": market.gpus[0], "request": request_id})

    def test_gpus_that_fit_exactly(self) -> None:
        market = Bidding(providers=1)
        wanted = GpuFilter("RTX 4090", "eu-west", 24_576, 16_384)
        market.bid(market.ask(gpu_filter=wanted), market.provider, 1)

    def test_a_gpu_named_twice_or_without_its_terms(self) -> None:
        gpu = UNKNOWN
        for gpus, versions, field in (((gpu, gpu), (1, 1), "gpus"), ((gpu,), (1, 1), "terms_versions")):
            with pytest.raises(InvalidField) as caught:
                PlaceBid(UNKNOWN, gpus, versions, 1).validate()
            assert caught.value.data["field"] == field

    def test_a_gpu_that_is_booked_meanwhile(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        booking_id = market.reserve(renter=market.other)
        name, data = market.refused(market.provider, market.offer(request_id, market.provider, 1))
        assert (name, data["conflicting"]) == ("booking_conflict", booking_id)
        later_ms = market.booking(booking_id).end_ms
        later = market.ask(start_ms=later_ms, expires_ms=later_ms)
        market.bid(later, market.provider, 1)

    def test_a_gpu_that_retires_is_offline_or_asks_for_another_duration(self) -> None:
        market = Bidding(providers=2)
        first, second = market.providers
        market.reserve(market.owned[first], renter=market.other)
        market.do(first, RetireGpu(market.owned[first][0]))
        request_id = market.ask()
        error = market.refused(first, market.offer(request_id, first, 1))
        assert error == ("gpu_unavailable", {"gpu": market.owned[first][0], "status": "retiring"})
        market.do(second, UpdateGpu(market.owned[second][0], terms(minimum=2 * HOUR, version=2)))
        name, data = market.refused(second, market.offer(request_id, second, 1))
        assert (name, data["field"], data["minimum"]) == ("booking_time_refused", "seconds", 2 * HOUR)

    def test_terms_that_the_gpu_no_longer_has(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        stale = market.offer(request_id, market.provider, 1)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(version=2)))
        error = market.refused(market.provider, stale)
        assert error == ("terms_moved", {"gpu": market.gpus[0], "expected": 1, "got": 2})

    def test_a_provider_without_money_for_the_deposit(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        rest = market.balance(market.provider) - 2 * DEFAULT_FEE
        market.do(market.provider, Transfer(market.other.address, "AITBC", rest))
        name, data = market.refused(market.provider, market.offer(request_id, market.provider, 1))
        assert (name, data["available"]) == ("insufficient_funds", 0)

    def test_free_stake_is_asked_for_at_the_acceptance_alone(self) -> None:
        market = Bidding(providers=1)
        market.do(market.provider, RemoveStake(market.stake(market.provider).free))
        market.bid(market.ask(), market.provider, COIN)


class TestManyBids:
    def test_a_new_bid_takes_the_place_of_the_own_one(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        purses = Purses(market)
        market.bid(request_id, market.provider, COIN)
        ((_, first),) = market.bids(request_id)
        market.bid(request_id, market.provider, 2 * COIN)
        ((_, second),) = market.bids(request_id)
        assert (second.rate, second.number) == (2 * COIN, 2)
        assert first.deposit == second.deposit
        assert purses.gained(market.provider, fees=2) == -second.deposit
        stale = AcceptBid(request_id, market.provider.address, 1)
        error = market.refused(market.renter, stale)
        assert error == ("terms_moved", {"provider": market.provider.address, "expected": 1, "got": 2})

    def test_a_replaced_bid_pays_for_the_next(self) -> None:
        """Whoever bid his last coin may still bid less."""
        market = Bidding(providers=1)
        request_id = market.ask()
        market.bid(request_id, market.provider, 2 * COIN)
        rest = market.balance(market.provider) - 2 * DEFAULT_FEE
        market.do(market.provider, Transfer(market.other.address, "AITBC", rest))
        market.bid(request_id, market.provider, COIN)

    def test_a_full_request_takes_cheaper_bids_alone_and_the_worst_goes(self) -> None:
        market = crowd(2)
        request_id = market.ask()
        *first, late, later = market.providers
        market.fill(request_id, [COIN] * MAXIMUM_BIDS)
        error = market.refused(late, market.offer(request_id, late, COIN))
        assert error == ("bid_not_competitive", {"rate": COIN, "most_expensive": COIN})
        purses = Purses(market)
        placed = market.bid(request_id, late, COIN - 1)
        (evicted,) = [event for event in placed.events if event.kind == "request.bid_evicted"]
        # All cost the same: the one that came last goes.
        loser = first[-1]
        assert dict(evicted.subjects)["provider"] == loser.address
        (returned,) = [event for event in placed.events if event.kind == "deposit.returned"]
        assert purses.gained(loser) == dict(returned.amounts)["amount"] > 0
        assert len(market.bids(request_id)) == MAXIMUM_BIDS
        assert market.bids(request_id)[0][0] == late.address
        name, _ = market.refused(loser, WithdrawBid(request_id))
        assert name == "not_found"
        market.bid(request_id, first[0], 2 * COIN)
        evicting = market.bid(request_id, later, 2 * COIN - 1)
        (evicted,) = [event for event in evicting.events if event.kind == "request.bid_evicted"]
        assert dict(evicted.subjects)["provider"] == first[0].address

    def test_the_last_place_is_free_again_after_a_withdrawal(self) -> None:
        market = crowd(1)
        request_id = market.ask()
        market.fill(request_id, [COIN] * MAXIMUM_BIDS)
        market.withdraw(request_id, market.providers[0])
        market.bid(request_id, market.providers[-1], 2 * COIN)
        assert len(market.bids(request_id)) == MAXIMUM_BIDS

    def test_all_bids_leave_with_their_request(self) -> None:
        market = crowd(0)
        purses = Purses(market)
        request_id = market.ask()
        market.fill(request_id, [COIN] * MAXIMUM_BIDS)
        market.accept(request_id, market.providers[40])
        assert list(BIDS.scan(market.view)) == []
        assert all(purses.gained(person, fees=1) == 0 for person in market.providers)


def crowd(more: int) -> Bidding:
    """As many providers as one request takes bids, and some more."""
    return Bidding(providers=MAXIMUM_BIDS + more)


class TestAccepting:
    def test_only_by_the_renter(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        market.bid(request_id, market.provider, COIN)
        expected = ("not_authorized", {"needed": "renter", "account": market.renter.address})
        for action in (market.acceptance(request_id, market.provider), CancelRequest(request_id)):
            assert market.refused(market.other, action) == expected

    def test_the_bid_of_nobody(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        error = market.refused(market.renter, AcceptBid(request_id, market.provider.address, 1))
        assert error == ("not_found", {"kind": "bid", "request": request_id, "provider": market.provider.address})

    def test_gpus_that_were_booked_since(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        market.bid(request_id, market.provider, COIN)
        booking_id = market.reserve(renter=market.other)
        name, data = market.refused(market.renter, market.acceptance(request_id, market.provider))
        assert (name, data["conflicting"]) == ("booking_conflict", booking_id)
        assert market.escrow(request_id).remaining == MAXIMUM

    def test_gpus_that_are_in_maintenance_since(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        market.bid(request_id, market.provider, COIN)
        market.do(market.provider, SetMaintenance(market.gpus[0], 0, HOUR))
        name, _ = market.refused(market.renter, market.acceptance(request_id, market.provider))
        assert name == "booking_conflict"

    def test_terms_that_moved_since(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        market.bid(request_id, market.provider, COIN)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(version=2, share=5_000, notice=60)))
        error = market.refused(market.renter, market.acceptance(request_id, market.provider))
        assert error == ("terms_moved", {"gpu": market.gpus[0], "expected": 1, "got": 2})

    def test_a_provider_without_free_stake(self) -> None:
        market = Bidding(providers=1)
        request_id = market.ask()
        market.bid(request_id, market.provider, COIN)
        market.do(market.provider, RemoveStake(market.stake(market.provider).free))
        name, data = market.refused(market.renter, market.acceptance(request_id, market.provider))
        assert (name, data["account"]) == ("insufficient_collateral", market.provider.address)
        assert (data["needed"], data["available"]) == (COIN // 10, 0)

    def test_a_gpu_that_went_offline(self) -> None:
        market = Bidding(providers=1, parameters=altered(PRICED, heartbeat_timeout_seconds=60))
        request_id = market.ask()
        market.bid(request_id, market.provider, COIN)
        market.wait(60_000)
        assert market.gpu(market.gpus[0]).status is GpuStatus.OFFLINE
        error = market.refused(market.renter, market.acceptance(request_id, market.provider))
        assert error == ("gpu_unavailable", {"gpu": market.gpus[0], "status": "offline"})

    def test_the_other_bids_wait_while_one_is_refused(self) -> None:
        market = Bidding(providers=2)
        request_id = market.ask()
        market.fill(request_id, [COIN, 2 * COIN])
        market.reserve(market.owned[market.providers[0]], renter=market.other)
        market.refused(market.renter, market.acceptance(request_id, market.providers[0]))
        booking_id = market.accept(request_id, market.providers[1])
        assert market.booking(booking_id).rate == 2 * COIN

    def test_two_requests_for_one_gpu(self) -> None:
        """A provider may bid the same GPU twice; who accepts first has it."""
        market = Bidding(providers=1)
        first, second = market.ask(), market.ask()
        market.bid(first, market.provider, COIN)
        market.bid(second, market.provider, COIN)
        market.accept(second, market.provider)
        name, _ = market.refused(market.renter, market.acceptance(first, market.provider))
        assert name == "booking_conflict"
        market.drop(first)


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
        market.block(after_ms=8_000)
        assert market.request(request_id) is not None, "the queue is late"
        for sender, action in actions:
            error = market.refused(sender, action)
            assert error == ("not_found", {"kind": "request", "id": request_id})

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
