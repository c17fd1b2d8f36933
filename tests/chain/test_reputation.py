"""Reputation: what counts, for whom, and that ratings weigh by what was paid."""

import random

import pytest

from chain import reputation
from chain.actions.bookings import Activate, Cancel, Confirm, ProviderCancel
from chain.actions.disputes import OpenDispute
from chain.actions.gpus import Heartbeat, RetireGpu
from chain.actions.jobs import AcceptJob, FailJob
from chain.actions.reviews import SubmitReview
from chain.actions.staking import AddStake
from chain.booking import BookingStatus
from chain.inventory import hardware_of
from chain.parameters import Parameters
from chain.reputation import COUNTERS, REPUTATIONS, Reputation, note_dispute_lost, reputation_of
from chain.schema import COIN, U64
from chain.state.view import MemoryReader, View
from tests.economy.attempts import BOOKING_FAMILIES
from tests.economy.world import run
from tests.ledger import Person
from tests.market import PRICE, Market, altered, hardware, terms
from tests.workshop import Workshop

HEARTBEAT = altered(Parameters(), heartbeat_timeout_seconds=100)


def counted(market: Market, gpu: int | None = None) -> dict[str, int]:
    """The counters that are not zero, of the provider or of one of the devices, without time online."""
    subject = market.provider.address if gpu is None else hardware(str(gpu)).hardware_hash
    found = reputation_of(market.view, subject)
    return {
        name: getattr(found, name)
        for name in COUNTERS
        if getattr(found, name) and name not in ("online_ms", "offline_ms")
    }


def everywhere(market: Market) -> dict[str, int]:
    """The counters of the provider, which must be those of his only device."""
    found = counted(market)
    assert counted(market, 0) == found
    return found


class TestBookings:
    def test_completed(self) -> None:
        market = Market()
        market.active(seconds=3_600)
        market.wait(3_600_000 - 1_000)
        assert everywhere(market) == {}
        market.wait(1_000)
        assert everywhere(market) == {"completed": 1}
        market.wait(300_000)
        assert everywhere(market) == {"completed": 1, "gross": PRICE, "fee": PRICE // 50}

    def test_released(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.release(booking_id)
        assert everywhere(market) == {"released": 1}
        market.confirm(booking_id)
        escrow = market.escrow(booking_id)
        assert everywhere(market) == {"released": 1, "gross": escrow.gross, "fee": escrow.fee}

    def test_cancelled_by_the_renter(self) -> None:
        market = Market()
        market.cancel(market.reserve(after_seconds=100))
        assert everywhere(market) == {"cancelled": 1, "gross": PRICE // 100, "fee": PRICE // 5_000}

    def test_no_show(self) -> None:
        market = Market()
        market.reserve()
        market.wait(60_000)
        assert everywhere(market) == {"no_shows": 1}

    def test_the_time_passed_in_an_outage_is_nobodys_fault(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=60, seconds=60)
        market.block(after_ms=10_000_000)
        assert market.booking(booking_id).status is BookingStatus.CANCELLED
        assert everywhere(market) == {}

    @pytest.mark.parametrize(
        ("after_seconds", "activated", "expected"),
        [(3_601, False, "cancelled_in_time"), (3_600, False, "cancelled_late"), (3_601, True, "cancelled_late")],
    )
    def test_given_up_by_the_provider(self, after_seconds: int, activated: bool, expected: str) -> None:
        market = Market(offer=terms(notice=3_600))
        waited = 1 if activated else 0
        booking_id = market.reserve(after_seconds=after_seconds + waited)
        if activated:
            market.activate(booking_id)
        market.do(market.provider, ProviderCancel(booking_id), after_ms=1)
        assert set(everywhere(market)) == {expected}

    def test_several_devices_share_what_was_earned(self) -> None:
        market = Market(gpus=3)
        booking_id = market.active(seconds=3_600)
        market.wait(3_600_000)
        market.confirm(booking_id)
        gross, fee = 3 * PRICE, 3 * PRICE // 50
        assert counted(market) == {"completed": 1, "gross": gross, "fee": fee}
        for gpu in range(3):
            assert counted(market, gpu) == {"completed": 1, "gross": gross // 3, "fee": fee // 3}

    @pytest.mark.parametrize(("opener", "expected"), [("renter", "released"), ("provider", "cancelled_late")])
    def test_ended_by_a_dispute(self, opener: str, expected: str) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.do(getattr(market, opener), OpenDispute(booking_id, "x"), after_ms=600_000)
        assert everywhere(market) == {expected: 1}

    def test_a_dispute_about_what_is_over_already_changes_nothing_before_it_is_decided(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.release(booking_id)
        market.do(market.renter, OpenDispute(booking_id, "x"))
        assert everywhere(market) == {"released": 1}
        market.wait(300_000)
        assert everywhere(market)["disputes_lost"] == 1

    def test_a_dispute_that_was_lost(self) -> None:
        market = Market()
        view = market.view
        note_dispute_lost(view, market.provider.address, hardware_of(view, market.gpus))
        market.reader.apply(view.changes())
        assert everywhere(market) == {"disputes_lost": 1}


class TestJobs:
    def test_accepted(self) -> None:
        shop = Workshop()
        job_id, latest = shop.delivered()
        shop.do(shop.renter, AcceptJob(job_id, latest))
        assert everywhere(shop) == {"jobs_accepted": 1, "gross": 5 * COIN, "fee": COIN // 10}

    def test_failed_after_part_of_it_was_paid(self) -> None:
        shop = Workshop()
        job_id = shop.shared()
        shop.do(shop.renter, AcceptJob(job_id, shop.report(job_id, 20)))
        shop.do(shop.provider, FailJob(job_id))
        assert everywhere(shop) == {"jobs_failed": 1, "gross": 2 * COIN, "fee": COIN // 25}

    def test_timed_out(self) -> None:
        shop = Workshop()
        shop.shared()
        shop.wait(120_000)
        assert everywhere(shop) == {"jobs_timed_out": 1}

    def test_a_payload_that_was_not_shared_is_not_the_providers_fault(self) -> None:
        shop = Workshop()
        shop.claimed()
        shop.wait(60_000)
        assert everywhere(shop) == {}

    def test_inside_a_booking_it_counts_for_the_provider_alone(self) -> None:
        shop = Workshop()
        job_id = shop.shared(booking=shop.active(), unit_price=0)
        shop.do(shop.renter, AcceptJob(job_id, shop.report(job_id, 1, final=True)))
        assert (counted(shop), counted(shop, 0)) == ({"jobs_accepted": 1}, {})


class TestUptime:
    def online(self, market: Market) -> tuple[int, int]:
        found = reputation_of(market.view, market.provider.address)
        device = reputation_of(market.view, hardware("0").hardware_hash)
        assert (device.online_ms, device.offline_ms) == (found.online_ms, found.offline_ms)
        return found.online_ms, found.offline_ms

    def test_until_the_timeout_and_back_again(self) -> None:
        market = Market(parameters=HEARTBEAT)
        market.do(market.provider, Heartbeat(market.gpus), after_ms=10_000)
        market.wait(99_000)
        assert self.online(market) == (0, 0)
        market.wait(2_000)
        assert self.online(market) == (110_000, 0)
        market.do(market.provider, Heartbeat(market.gpus), after_ms=9_000)
        assert self.online(market) == (110_000, 10_000)
        market.do(market.provider, RetireGpu(market.gpus[0]), after_ms=7_000)
        assert self.online(market) == (117_000, 10_000)

    def test_an_outage_of_the_chain_is_no_time_offline(self) -> None:
        market = Market(parameters=HEARTBEAT)
        market.block(after_ms=3_600_000)
        market.do(market.provider, RetireGpu(market.gpus[0]), after_ms=1_000)
        assert self.online(market) == (HEARTBEAT.maximum_gap_ms + 1_000, 0)

    def test_retired_while_offline(self) -> None:
        market = Market(parameters=HEARTBEAT)
        market.wait(150_000)
        market.do(market.provider, RetireGpu(market.gpus[0]), after_ms=1_000)
        assert self.online(market) == (100_000, 51_000)

    def test_it_follows_the_hardware_hash_to_the_next_owner(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.wait(3_600_000)
        market.confirm(booking_id)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        market.register("0", owner=market.other)
        assert counted(market, 0)["completed"] == 1
        assert reputation_of(market.view, market.other.address) == Reputation()


def deal(market: Market, renter: Person, gpu: bytes, seconds: int, rating: int) -> int:
    """A booking that runs to its end and is rated; returns the market fee that was paid."""
    booking_id = market.reserve([gpu], seconds=seconds, renter=renter)
    owner = next(person for person in (market.provider, market.other) if person.address == market.gpu(gpu).owner)
    market.do(owner, Activate(booking_id, b"x"))
    market.wait(seconds * 1_000, step_ms=15_000)
    market.do(renter, Confirm(booking_id))
    market.do(renter, SubmitReview(booking_id, rating))
    return market.escrow(booking_id).fee


class TestRatings:
    def test_weigh_by_the_fee(self) -> None:
        market = Market()
        gpu = market.gpus[0]
        dear, cheap = deal(market, market.renter, gpu, 3_600, 2), deal(market, market.other, gpu, 60, 5)
        assert (dear, cheap) == (39_988_888, 655_555)
        for subject in (market.provider.address, hardware("0").hardware_hash):
            found = reputation_of(market.view, subject)
            assert (found.ratings, found.rating_sum) == (2, 7)
            assert (found.rated_fee, found.weighted_rating_sum) == (dear + cheap, 2 * dear + 5 * cheap)

    def test_self_booking_for_ratings_hardly_moves_the_weighted_rating(self) -> None:
        """Twenty flawless ratings by an own second account weigh what their fees have cost."""
        market = Market()
        gpu = market.gpus[0]
        for _ in range(2):
            deal(market, market.renter, gpu, 7_200, 2)
        honest = reputation_of(market.view, market.provider.address)
        for _ in range(20):
            deal(market, market.other, gpu, 60, 5)
        found = reputation_of(market.view, market.provider.address)
        plain = 100 * found.rating_sum // found.ratings
        weighted = 100 * found.weighted_rating_sum // found.rated_fee
        assert (plain, weighted) == (472, 222)
        assert 100 * honest.weighted_rating_sum // honest.rated_fee == 200

    def test_what_costs_no_fee_weighs_nothing(self) -> None:
        market = Market(price=60 * 49)
        fee = deal(market, market.renter, market.gpus[0], 60, 5)
        found = reputation_of(market.view, market.provider.address)
        assert (fee, found.ratings, found.rated_fee, found.weighted_rating_sum) == (0, 1, 0, 0)

    def test_counters_stop_rather_than_overflow_and_the_quotient_stays(self) -> None:
        view = View(MemoryReader())
        who, device = b"\x00" * 33, b"\x01" * 32
        reputation.count_rating(view, who, (), 5, U64 // 5)
        reputation.count_rating(view, who, (), 1, U64 // 2)
        found = reputation_of(view, who)
        assert (found.ratings, found.rated_fee, found.weighted_rating_sum) == (2, U64 // 5, U64 // 5 * 5)
        for _ in range(2):
            reputation.count_earnings(view, who, (device,), U64, U64)
        assert (reputation_of(view, who).gross, reputation_of(view, device).fee) == (U64, U64)


@pytest.mark.parametrize("name", ["released", "online_ms", "gross"])
def test_the_second_ledger_notices_what_is_not_counted(
    name: str, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its counters are compared with the ledger's after each block of a random economy."""
    add = reputation._add

    def forgetful(view: View, subject: bytes, changes: dict[str, int]) -> None:
        add(view, subject, {counter: more for counter, more in changes.items() if counter != name})

    monkeypatch.setattr(reputation, "_add", forgetful)
    seed = rng.randrange(1 << 32)
    print(f"replay: run({seed}, 2_000, families=BOOKING_FAMILIES)")
    with pytest.raises(AssertionError, match=f"{name}: model"):
        run(seed, 2_000, families=BOOKING_FAMILIES)


def test_whoever_never_provided_has_none() -> None:
    market = Market()
    market.do(market.renter, AddStake(COIN))
    market.do(market.renter, Cancel(market.reserve(after_seconds=100)))
    assert REPUTATIONS.get(market.view, market.renter.address) is None
    assert REPUTATIONS.get(market.view, market.provider.address) is not None
