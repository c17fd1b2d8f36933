"""Providers and renters who ask, bid, accept and give up at random, against a small second ledger in dictionaries."""

import random
from collections import Counter
from collections.abc import Iterable

import pytest

from chain.action import Action
from chain.actions.gpus import UpdateGpu
from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from chain.actions.staking import RemoveStake
from chain.bank import totals
from chain.inventory import intervals
from chain.job import GpuFilter
from chain.request import REQUESTS, bids_of
from chain.result import Event, TransactionResult
from chain.schema import COIN
from tests.bidding import PRICED, Bidding
from tests.bidding_model import BiddingModel, ModelGpu
from tests.conftest import EXTENDED
from tests.ledger import DEFAULT_FEE, Person
from tests.market import altered, derived_id, terms

RUNS, BLOCKS = (40, 600) if EXTENDED else (4, 150)
MOST_BIDS = 3
"""Instead of 64, so that requests are full and bids are evicted."""
UNBROKEN = altered(
    PRICED,
    maximum_gap_ms=120_000,
    activation_grace_seconds=240,
    review_window_seconds=600,
    unbonding_seconds=365 * 86_400,
)
STEPS_MS = (1, 1_000, 10_000, 60_000, 120_000)
MODEL = "RTX 4090"


class Crowd:
    """Five providers with two GPUs each and little free stake, two renters with little money, and the model of it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.market = market = Bidding(providers=5, gpus=2, parameters=UNBROKEN)
        for person in market.providers:
            free = market.stake(person).free
            market.do(person, RemoveStake(free - rng.choice((0, COIN // 10, 5 * COIN, 20 * COIN))))
        self.people = [market.renter, market.other, *market.providers]
        self.names = {person.address: person for person in self.people}
        self.first_deposits = totals(market.view).deposits
        self.model = BiddingModel(
            parameters=UNBROKEN,
            most_bids=MOST_BIDS,
            balance={person.address: market.balance(person) for person in self.people},
            stake={person.address: market.stake(person).amount for person in self.people},
            locked={person.address: market.stake(person).collateral for person in self.people},
            gpus={gpu_id: ModelGpu(person.address, MODEL) for person, ids in market.owned.items() for gpu_id in ids},
            now=market.time_ms,
        )
        self.outcomes: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    def draw(self) -> tuple[Person, Action]:
        """Somebody who does something that often makes sense."""
        rng, market = self.rng, self.market
        known = list(self.model.requests)
        if not known or rng.random() < 0.1:
            return self.opening()
        request_id = rng.choice(known) if rng.random() < 0.97 else rng.randbytes(32)
        request = self.model.requests.get(request_id)
        renter = self.names[request.renter] if request and rng.random() < 0.9 else rng.choice(self.people)
        bidders = [self.names[address] for address in request.bids] if request else []
        match rng.choice(("bid",) * 24 + ("accept",) * 4 + ("withdraw", "withdraw", "cancel", "update")):
            case "bid":
                return self.bidding(request_id)
            case "accept":
                provider = rng.choice(bidders or market.providers)
                bid = request.bids.get(provider.address) if request else None
                number = bid.number if bid and rng.random() < 0.9 else rng.randint(1, 5)
                return renter, AcceptBid(request_id, provider.address, number)
            case "withdraw":
                return rng.choice(bidders if bidders and rng.random() < 0.8 else self.people), WithdrawBid(request_id)
            case "cancel":
                return renter, CancelRequest(request_id)
        person = rng.choice(market.providers)
        gpu_id = rng.choice(market.owned[person])
        version = self.model.gpus[gpu_id].version + 1
        return person, UpdateGpu(gpu_id, terms(minimum=rng.choice((60, 60, 60, 1_800)), version=version))

    def opening(self) -> tuple[Person, Action]:
        rng, now = self.rng, self.market.time_ms
        start_ms = rng.choice((0, 0, now + rng.randint(0, 2_000_000)))
        action = OpenRequest(
            gpu_filter=GpuFilter(rng.choice(("", "", "", MODEL, MODEL, "H100"))),
            count=rng.choice((1, 1, 2)),
            start_ms=start_ms,
            seconds=rng.choice((59, 60, 600, 600, 1_801, 3_600)),
            max_cost=rng.choice((0, COIN, rng.randint(1, 20 * COIN), 6_000 * COIN)),
            expires_ms=rng.choice((start_ms or now + 4_000_000, now + rng.randint(0, 1_500_000))),
            sealing_key=bytes(32),
        )
        return rng.choice((self.market.renter, self.market.other, rng.choice(self.people))), action

    def bidding(self, request_id: bytes) -> tuple[Person, Action]:
        rng, request = self.rng, self.model.requests.get(request_id)
        person = rng.choice(self.market.providers)
        everything = self.market.owned[person] if rng.random() < 0.95 else list(self.model.gpus)
        count = request.wanted.count if request and rng.random() < 0.9 else rng.randint(1, 2)
        gpus = tuple(rng.sample(everything, k=count))
        versions = tuple(self.model.gpus[gpu_id].version - (rng.random() < 0.05) for gpu_id in gpus)
        limit = request.wanted.max_cost * 3_600 // max(1, request.wanted.seconds) if request else COIN
        rate = rng.choice((0, limit, limit + 1, rng.randint(0, limit), rng.randint(0, limit)))
        return person, PlaceBid(request_id, gpus, versions, rate)

    def round(self) -> None:
        """One block with a transaction of some of the people, in both ledgers."""
        drawn: dict[Person, Action] = {}
        for _ in range(self.rng.randint(0, 6)):
            person, action = self.draw()
            drawn.setdefault(person, action)
        signed = [self.market.sign(person, action) for person, action in drawn.items()]
        results = self.market.block(*signed, after_ms=self.rng.choice(STEPS_MS))
        self.model.pass_time(self.market.time_ms)
        assert self.market.outcome is not None
        self.note_returned(self.market.outcome.system.events)
        for (person, action), transaction, result in zip(drawn.items(), signed, results, strict=True):
            self.model.balance[person.address] -= DEFAULT_FEE
            domain = "request" if isinstance(action, OpenRequest) else "booking"
            made = derived_id(transaction.txid, domain)
            expected = self.model.do(person.address, action, made, taken(result))
            assert result.error == expected, (action, dict(result.error_data))
            self.note_returned(result.events)
            self.outcomes[result.error] += 1
            self.done["evictions"] += any(event.kind == "request.bid_evicted" for event in result.events)
            self.done[action.name] += result.succeeded
        self.compare()

    def note_returned(self, events: Iterable[Event]) -> None:
        """Bookings that left the state, some time after they were over, gave their deposits back."""
        for event in events:
            names = dict(event.subjects)
            if event.kind == "deposit.returned" and "booking" in names:
                self.model.booking_left(names["booking"], names["payer"], dict(event.amounts)["amount"])

    def live(self, blocks: int) -> None:
        for _ in range(blocks):
            self.round()

    def compare(self) -> None:
        """Money, requests, bids and calendars of both ledgers are the same."""
        market, model, view = self.market, self.model, self.market.view
        for address, person in self.names.items():
            stake = market.stake(person)
            assert market.balance(person) == model.balance[address], person
            assert (stake.amount, stake.collateral) == (model.stake[address], model.locked[address]), person
        assert totals(view).escrow == model.escrowed
        assert totals(view).deposits == self.first_deposits + model.deposits
        assert {key for key, _ in REQUESTS.scan(view)} == set(model.requests)
        for request_id, request in model.requests.items():
            found = [(who, bid.rate, bid.number, bid.gpus) for who, bid in bids_of(view, request_id)]
            expected = [(who, bid.rate, bid.number, bid.gpus) for who, bid in request.bids.items()]
            assert found == sorted(expected, key=lambda item: item[1:3])
        for gpu_id in model.gpus:
            booked = [(start, interval.end_ms, interval.holder) for start, interval in intervals(view, gpu_id)]
            held = [(each.start, each.end, key) for key, each in model.bookings.items() if gpu_id in each.gpus]
            assert booked == sorted(held)


def taken(result: TransactionResult) -> int:
    """The deposit that an action has, or would have, taken."""
    took = [dict(event.amounts)["amount"] for event in result.events if event.kind == "deposit.taken"]
    return sum(took) if result.succeeded else int(dict(result.error_data).get("deposit", 0))


@pytest.mark.timeout(1_800)
def test_random_requests_and_bids_agree_with_their_model(rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors, money, bids and calendars are the model's after each block, and every invariant holds."""
    monkeypatch.setattr("chain.actions.requests.MAXIMUM_BIDS", MOST_BIDS)
    outcomes: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for _ in range(RUNS):
        seed = rng.randrange(1 << 32)
        print(f"run of seed {seed}")
        crowd = Crowd(random.Random(seed))
        crowd.live(BLOCKS)
        outcomes.update(crowd.outcomes)
        done.update(crowd.done)
    print(dict(outcomes), dict(done))
    assert all(done[action.name] for action in (OpenRequest, PlaceBid, AcceptBid, WithdrawBid, CancelRequest))
    assert done["evictions"]
    assert len(outcomes) > 10, "there are many ways to be refused"


def test_the_model_notices_a_wrong_ledger(rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has teeth: one base unit too much in the cost of a booking is found."""
    monkeypatch.setattr("chain.reservation.cost_of", lambda rate, seconds: -(-rate * seconds // 3_600) + 1)
    crowd = Crowd(rng)
    with pytest.raises(AssertionError):
        crowd.live(BLOCKS)
