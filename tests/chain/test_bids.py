"""Bids: who may bid what, which ones stay when there are many, and what is looked at again when one is accepted."""

import pytest

from chain.actions.accounts import Transfer
from chain.actions.gpus import RetireGpu, SetMaintenance, UpdateGpu
from chain.actions.requests import AcceptBid, CancelRequest, PlaceBid, WithdrawBid
from chain.actions.staking import RemoveStake
from chain.errors import InvalidField
from chain.inventory import GpuStatus
from chain.job import GpuFilter
from chain.request import BIDS, MAXIMUM_BIDS
from chain.schema import COIN, U64
from tests.bidding import HOUR, MAXIMUM, PRICED, Bidding, Purses, crowd
from tests.ledger import DEFAULT_FEE, subject
from tests.market import altered, terms

UNKNOWN = b"\x77" * 32


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
