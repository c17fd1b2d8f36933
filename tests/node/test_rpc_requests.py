"""Requests and bids over RPC: what renters look for, who bids what, and whether a bid could be accepted now."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.actions.bookings import Reserve
from chain.actions.gpus import RegisterGpu
from chain.actions.requests import AcceptBid, OpenRequest, PlaceBid
from chain.actions.staking import RemoveStake
from chain.job import GpuFilter
from chain.schema import COIN
from tests.ledger import Person, subject
from tests.market import SALT, UNHURRIED, commitment, hardware, terms
from tests.rpc_node import RpcNode

RENTER, OTHER = Person("renter"), Person("other")
PROVIDERS = [Person("provider 0"), Person("provider 1"), Person("provider 2")]
UNKNOWN = "77" * 32


class Exchange(RpcNode):
    """A node on which three providers list a GPU each."""

    gpus: dict[Person, bytes]

    async def stock(self) -> None:
        self.gpus = {}
        for person in PROVIDERS:
            await self.do(person, *commitment(person, person.name))
            listing = RegisterGpu(replace(hardware(person.name)), terms(notice=60, share=2_500), SALT)
            self.gpus[person] = subject(await self.do(person, listing), "gpu.registered", "gpu")

    async def ask(self, renter: Person = RENTER, *, model: str = "", lifetime_ms: int = 3_600_000) -> str:
        expires_ms = self.solo.wall_ms + lifetime_ms
        action = OpenRequest(GpuFilter(model), 1, 0, 3_600, 3 * COIN, expires_ms, b"\x09" * 32)
        return subject(await self.do(renter, action), "request.opened", "request").hex()

    async def bid(self, request: str, provider: Person, rate: int) -> None:
        await self.do(provider, PlaceBid(bytes.fromhex(request), (self.gpus[provider],), (1,), rate))


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[Exchange]:
    people = (RENTER, OTHER, *PROVIDERS)
    async with Exchange(tmp_path / "ledger", people, parameters=UNHURRIED, stake=1_000 * COIN) as running:
        await running.stock()
        yield running


async def test_a_request_shows_its_bids_the_cheapest_first(exchange: Exchange) -> None:
    request = await exchange.ask()
    found = await exchange.call("request.get", request=request)
    assert (found["bids"], found["view"]["cheapest"]) == ([], None)
    assert found["view"]["request"]["max_cost"] == str(3 * COIN)
    assert found["view"]["request"]["renter"] == exchange.text(RENTER.address)
    for provider, rate in zip(PROVIDERS, (3 * COIN, COIN, COIN), strict=True):
        await exchange.bid(request, provider, rate)
    found = await exchange.call("request.get", request=request)
    whose = [bid["provider"] for bid in found["bids"]]
    assert whose == [exchange.text(PROVIDERS[index].address) for index in (1, 2, 0)]
    best = found["bids"][0]
    assert (best["cost"], best["refusal"], best["collateral"]) == (str(COIN), None, str(COIN // 10))
    assert (best["notice_seconds"], best["cancellation_share"]) == (60, 2_500)
    assert (best["bid"]["gpus"], best["bid"]["number"]) == ([exchange.gpus[PROVIDERS[1]].hex()], 2)
    assert found["view"]["cheapest"] == str(COIN)
    # A second a block: three bids and the one that opened it.
    assert found["view"]["seconds_left"] == 3_600 - 4


async def test_a_bid_that_cannot_be_accepted_says_why(exchange: Exchange) -> None:
    request = await exchange.ask()
    provider = PROVIDERS[0]
    await exchange.bid(request, provider, COIN)
    await exchange.do(OTHER, Reserve((exchange.gpus[provider],), 0, 3_600, 10**15, (1,), bytes(32)))
    (bid,) = (await exchange.call("request.get", request=request))["bids"]
    assert (bid["refusal"]["code"], bid["refusal"]["name"]) == (1401, "booking_conflict")
    assert bid["refusal"]["data"]["gpu"] == exchange.gpus[provider].hex()
    assert (bid["collateral"], bid["notice_seconds"], bid["cancellation_share"]) == (None, None, None)


async def test_a_bid_without_free_stake_behind_it_says_so(exchange: Exchange) -> None:
    request, provider = await exchange.ask(), PROVIDERS[0]
    await exchange.bid(request, provider, COIN)
    await exchange.do(provider, RemoveStake(975 * COIN))
    (bid,) = (await exchange.call("request.get", request=request))["bids"]
    assert (bid["refusal"]["name"], bid["refusal"]["data"]["available"]) == ("insufficient_collateral", "0")


async def test_what_is_over_is_not_shown(exchange: Exchange) -> None:
    request = await exchange.ask()
    await exchange.bid(request, PROVIDERS[0], COIN)
    await exchange.do(RENTER, AcceptBid(bytes.fromhex(request), PROVIDERS[0].address, 1))
    overdue = await exchange.ask(lifetime_ms=10_000)
    exchange.solo.advance(after_ms=10_000)
    for gone in (request, overdue, UNKNOWN):
        refused = await exchange.fault("request.get", request=gone)
        assert (refused.name, refused.data["kind"], refused.data["id"]) == ("not_found", "request", gone)
    assert (await exchange.call("request.list"))["items"] == []


async def test_a_request_with_a_late_queue_is_over_by_the_clock(tmp_path: Path) -> None:
    """The list looks at the clock, not at what the queue has taken out of the state."""
    parameters = replace(UNHURRIED, due_weight=100)
    async with Exchange(tmp_path / "ledger", (RENTER,), parameters=parameters) as exchange:
        expires_ms = exchange.solo.wall_ms + 60_000
        action = OpenRequest(GpuFilter(), 1, 0, 3_600, COIN, expires_ms, b"\x09" * 32)
        await exchange.do(RENTER, *[action] * 50, fee=COIN)
        assert len((await exchange.call("request.list", limit=100))["items"]) == 50
        exchange.solo.advance(after_ms=120_000)
        assert (await exchange.call("request.list"))["items"] == []


async def test_requests_are_filtered_and_paged(exchange: Exchange) -> None:
    first = await exchange.ask(model="RTX 4090")
    second = await exchange.ask(model="H100")
    third = await exchange.ask(OTHER)
    await exchange.bid(first, PROVIDERS[0], COIN)
    await exchange.bid(third, PROVIDERS[0], COIN)

    async def ids(**params: Any) -> list[str]:
        items, cursor = [], None
        while True:
            page = await exchange.call("request.list", limit=1, cursor=cursor, **params)
            items += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    assert await ids() == [third, second, first]
    assert await ids(renter=exchange.text(RENTER.address)) == [second, first]
    assert await ids(provider=exchange.text(PROVIDERS[0].address)) == [third, first]
    assert await ids(provider=exchange.text(PROVIDERS[1].address)) == []
    assert await ids(model="rtx 4090") == [third, first]
    assert await ids(model="A100") == [third]
    assert await ids(model="rtx 4090", renter=exchange.text(RENTER.address)) == [first]
    assert (await exchange.fault("request.list", cursor="zz")).name == "invalid_cursor"
    assert (await exchange.fault("request.list", renter="nobody")).name == "invalid_address"
    assert (await exchange.fault("request.get", request="77")).name == "invalid_params"


async def test_history_tells_a_bidder_what_became_of_the_request(exchange: Exchange) -> None:
    request = await exchange.ask()
    for provider in PROVIDERS[:2]:
        await exchange.bid(request, provider, COIN)
    await exchange.do(RENTER, AcceptBid(bytes.fromhex(request), PROVIDERS[0].address, 1))
    history = await exchange.call("account.history", address=exchange.text(PROVIDERS[1].address), limit=1)
    kinds = [event["kind"] for event in history["items"][0]["events"]]
    assert kinds[-1] == "request.bid_accepted"


async def test_requests_and_bids_can_be_proven(exchange: Exchange) -> None:
    request = await exchange.ask()
    await exchange.bid(request, PROVIDERS[0], COIN)
    proven = await exchange.call("proof.record", kind="request", key=request)
    assert (proven["present"], proven["record"]["bids"]) == (True, 1)
    proven = await exchange.call("proof.record", kind="bid", key=request + PROVIDERS[0].address.hex())
    assert (proven["present"], proven["record"]["rate"]) == (True, str(COIN))
