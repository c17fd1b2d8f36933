"""Requests with few places for bids, so that they are full and bids are evicted, against the second ledger."""

import random
from collections import Counter

import pytest

from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from chain.request import bids_of
from chain.schema import COIN
from tests.conftest import EXTENDED
from tests.economy.world import Economy

RUNS, BLOCKS = (40, 600) if EXTENDED else (4, 120)
MOST_BIDS = 2
FAMILIES = {"stake": 1, "listing": 2, "chore": 1, "request": 2, "bid": 30, "multisig": 1}


@pytest.fixture(autouse=True)
def few_bids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.actions.requests.MAXIMUM_BIDS", MOST_BIDS)
    monkeypatch.setattr("tests.economy.requests.MAXIMUM_BIDS", MOST_BIDS)


def bidding(rng: random.Random) -> Economy:
    seed = rng.randrange(1 << 32)
    print(f"run of seed {seed}")
    economy = Economy(seed, wealth=3_000 * COIN, families=FAMILIES)
    economy.choices.families = FAMILIES
    economy.open_market(providers=4)
    return economy


def live(economy: Economy) -> Economy:
    for _ in range(BLOCKS):
        economy.block()
    return economy


@pytest.mark.timeout(1_800)
def test_full_requests_agree_with_their_model(rng: random.Random) -> None:
    """Errors, money, bids and calendars are the model's after each block, and every invariant holds."""
    outcomes: Counter[str] = Counter()
    done: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for _ in range(RUNS):
        economy = live(bidding(rng))
        for _, transactions, outcome in economy.history:
            for transaction, result in zip(transactions, outcome.results, strict=True):
                outcomes[result.error] += 1
                done.update(action.name for action in transaction.body.actions if result.succeeded)
                events.update(event.kind for event in result.events)
    print(dict(outcomes), dict(done), dict(events))
    assert all(done[action.name] for action in (OpenRequest, PlaceBid, AcceptBid, WithdrawBid, CancelRequest))
    assert events["request.bid_evicted"]
    assert outcomes["bid_not_competitive"]
    assert len(outcomes) > 10, "there are many ways to be refused"


def test_the_model_notices_a_wrong_ledger(rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has teeth: that the cheapest bid makes room, and not the dearest, is found."""
    monkeypatch.setattr("chain.actions.requests.bids_of", lambda view, request: bids_of(view, request)[::-1])
    with pytest.raises(AssertionError, match="model"):
        assert [live(bidding(rng)) for _ in range(20)]
