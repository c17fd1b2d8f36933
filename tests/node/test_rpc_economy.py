"""The namespace market over RPC, and what accounts earned and spent."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chain.actions.bookings import Activate, Cancel
from chain.actions.gpus import RetireGpu
from chain.actions.jobs import AcceptJob, AddReceipt, ClaimJob, SharePayload, SubmitJob
from chain.actions.reviews import SubmitReview
from chain.interface import METHODS
from chain.inventory import read_gpu
from chain.job import NO_RECEIPT, Receipt, Unit, receipt_hash
from chain.schema import COIN
from chain.state.view import View
from chain.trades import DAY_MS
from node.rpc import market, statement
from tests.ledger import DEFAULT_FEE, subject
from tests.market import PRICE, altered
from tests.node.test_rpc_market import OTHER, PATIENT, PROVIDER, RENTER, Shop, everything
from tests.solo import pay


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    parameters = altered(PATIENT, maximum_gap_ms=600_000, activation_grace_seconds=1_200)
    people = (PROVIDER, RENTER, OTHER)
    async with Shop(tmp_path / "ledger", people, parameters=parameters, stake=1_000 * COIN) as running:
        yield running


async def finished_job(shop: Shop, gpu: str) -> str:
    """The id of a job of ten coins that is delivered and paid."""
    submit = SubmitJob("inference", b"\x01" * 32, Unit.ITEM, 100, COIN // 10, 3_600, shop.solo.wall_ms + 86_400_000)
    job = subject(await shop.do(RENTER, submit), "job.submitted", "job")
    await shop.do(PROVIDER, ClaimJob(job, bytes.fromhex(gpu)))
    claimed_ms = shop.solo.wall_ms
    await shop.do(RENTER, SharePayload(job, b"key"))
    receipt = Receipt(job, 1, 100, NO_RECEIPT, b"\x05" * 32, "", claimed_ms, claimed_ms + 1, True)
    await shop.do(PROVIDER, AddReceipt(receipt), after_ms=10_000)
    await shop.do(RENTER, AcceptJob(job, receipt_hash(receipt)))
    return job.hex()


async def test_orders_are_bookings_and_standalone_jobs(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    closed = await shop.closed_booking(gpu)
    job = await finished_job(shop, gpu)
    running = await shop.reserve(gpu, seconds=7_200)
    await shop.do(PROVIDER, Activate(bytes.fromhex(running), b"x"))
    inside = SubmitJob(
        "free", b"\x01" * 32, Unit.ITEM, 1, 0, 60, shop.solo.wall_ms + 100_000, booking=bytes.fromhex(running)
    )
    await shop.do(RENTER, inside)

    async def ids(**params: Any) -> list[str]:
        return [item["id"] for item in await everything(shop, "market.orders", **params)]

    renter, provider, other = (shop.text(person.address) for person in (RENTER, PROVIDER, OTHER))
    assert await ids() == [running, job, closed]
    assert await ids(account=provider) == await ids(renter=renter) == await ids(provider=provider) == await ids()
    assert await ids(account=other) == await ids(renter=provider) == []
    assert await ids(kind="job") == [job]
    assert await ids(open=True) == await ids(status="active") == [running]
    assert await ids(status="accepted") == [job]
    for item in (await shop.call("market.orders"))["items"]:
        assert int(item["locked"]) == int(item["paid"]) + int(item["refunded"]) + int(item["remaining"])
        if item["kind"] == "booking":
            details = (await shop.call("booking.get", booking=item["id"]))["view"]
            assert (item["earned"], item["status"]) == (details["earned"], details["status"])
    (order,) = (await shop.call("market.orders", open=True))["items"]
    assert (order["seconds_left"], order["seconds_until_empty"]) == (7_198, 7_199)


async def test_offers_are_what_can_be_booked(shop: Shop) -> None:
    cheap = await shop.list_gpu("a", 1 * COIN, region="us-east")
    dear = await shop.list_gpu("b", 5 * COIN, memory_mb=81_920)
    taken = await shop.list_gpu("c", 3 * COIN)
    gone = await shop.list_gpu("d", 2 * COIN)
    await shop.reserve(taken, seconds=86_400)
    await shop.do(PROVIDER, RetireGpu(bytes.fromhex(gone)))

    async def ids(**params: Any) -> list[str]:
        return [item["id"] for item in await everything(shop, "market.offers", **params)]

    assert await ids() == [cheap, dear]
    assert await ids(order="-price") == await ids(order="-memory") == [dear, cheap]
    assert await ids(region="US-EAST") == await ids(price_max=str(COIN)) == [cheap]
    assert await ids(memory_min=80_000) == [dear]
    assert await ids(model="rtx*", provider=shop.text(OTHER.address)) == []
    assert await ids(start_ms=shop.solo.wall_ms + 90_000_000) == [cheap, taken, dear]
    assert await ids(seconds=31 * 86_400) == []
    first = (await shop.call("market.offers", seconds=5_400, limit=1))["items"][0]
    assert (first["cost"], first["end_ms"] - first["start_ms"]) == (str(COIN * 3 // 2), 5_400_000)
    assert (first["free_until_ms"], first["bookings"], first["weighted_hundredths"]) == (None, 0, None)


async def test_offers_go_on_after_many_that_cannot_be_booked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market, "MAXIMUM_REFUSED", 2)
    taken = [await shop.list_gpu(name, 1 * COIN) for name in "abcd"]
    free = await shop.list_gpu("e", 2 * COIN)
    for gpu in taken:
        await shop.reserve(gpu)
    page = await shop.call("market.offers")
    assert page["items"] == []
    assert [item["id"] for item in await everything(shop, "market.offers")] == [free]


async def test_offers_by_rating(shop: Shop) -> None:
    bad, good = await shop.list_gpu("a", 1 * COIN), await shop.list_gpu("b", 9 * COIN)
    for gpu, rating in ((bad, 2), (good, 5)):
        booking = await shop.closed_booking(gpu)
        await shop.do(RENTER, SubmitReview(bytes.fromhex(booking), rating))
    found = await everything(shop, "market.offers", order="-rating")
    assert [(item["id"], item["weighted_hundredths"], item["ratings"]) for item in found] == [
        (good, 500, 1),
        (bad, 200, 1),
    ]
    assert found[0]["served_share"] == 10_000


async def test_pricing_by_model(shop: Shop) -> None:
    gpu = await shop.list_gpu("a", 2 * COIN)
    await shop.list_gpu("b", 4 * COIN)
    await shop.list_gpu("c", 7 * COIN, model="H100")
    (h100, rtx) = await everything(shop, "market.pricing")
    assert (h100["model"], h100["median"], h100["recommended"], h100["basis"]) == (
        "H100",
        str(7 * COIN),
        str(7 * COIN),
        "listings",
    )
    assert (rtx["low"], rtx["median"], rtx["high"]) == (str(2 * COIN), str(2 * COIN), str(4 * COIN))
    await shop.closed_booking(gpu)
    await shop.reserve(gpu, seconds=86_400)
    (rtx,) = (await shop.call("market.pricing", model="rtx*", days=1))["items"]
    assert (rtx["basis"], rtx["deals"], rtx["calendars"], rtx["booked_share"]) == ("listings", 1, 2, 5_000)
    assert rtx["recommended"] == str(2 * COIN)
    assert (await shop.call("market.pricing", model="none"))["items"] == []
    page = await shop.call("market.pricing", limit=1)
    assert [item["model"] for item in page["items"]] == ["H100"]
    following = await shop.call("market.pricing", cursor=page["next_cursor"])
    assert [item["model"] for item in following["items"]] == ["RTX 4090"]


async def test_a_model_that_is_not_listed_any_more_keeps_its_price_for_a_while(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    await shop.closed_booking(gpu)
    await shop.do(PROVIDER, RetireGpu(bytes.fromhex(gpu)))
    (found,) = (await shop.call("market.pricing"))["items"]
    assert (found["listed"], found["median"], found["basis"]) == (0, None, "trades")
    assert abs(int(found["recommended"]) - 2 * COIN) < COIN // 1_000


async def test_stats(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    await shop.list_gpu("b", owner=OTHER, model="H100")
    await shop.closed_booking(gpu)
    await shop.reserve(gpu)
    found = await shop.call("market.stats")
    assert found["gpus"] == [{"name": "active", "count": 2}]
    assert found["models"] == [{"name": "H100", "count": 1}, {"name": "RTX 4090", "count": 1}]
    assert (found["providers"], found["renters"], found["jobs"]) == (2, 1, [])
    assert found["bookings"] == [{"name": "reserved", "count": 1}]
    (day,) = found["days"]
    assert (day["day_ms"], day["deals"]) == (shop.solo.wall_ms // DAY_MS * DAY_MS, 1)
    assert int(day["fee"]) == int(day["gross"]) // 50 > 0
    supply = await shop.call("chain.supply")
    assert (found["supply"], found["staked"], found["escrow"]) == (supply["issued"], supply["staked"], supply["escrow"])


async def test_reputation_of_provider_and_device(shop: Shop) -> None:
    gpu, idle = await shop.list_gpu("a"), await shop.list_gpu("b")
    booking = await shop.closed_booking(gpu)
    await shop.do(RENTER, SubmitReview(bytes.fromhex(booking), 4, "Fine."))
    details = await shop.call("gpu.get", gpu=gpu)
    hardware = read_gpu(View(shop.solo.store), bytes.fromhex(gpu)).hardware.hardware_hash.hex()
    device, provider = details["device"], details["provider"]
    assert device == (await shop.call("market.reputation", hardware=hardware))["reputation"]
    assert provider == (await shop.call("market.reputation", provider=shop.text(PROVIDER.address)))["reputation"]
    for found in (device, provider):
        assert (found["bookings"], found["served_share"], found["no_show_share"]) == (1, 10_000, 0)
        assert (found["average_hundredths"], found["weighted_hundredths"]) == (400, 400)
        assert (found["raters"]["renters"], found["raters"]["largest_share"]) == (1, 10_000)
        assert found["counters"]["released"] == 1
    assert provider["online_seconds"] > device["online_seconds"] > 600
    assert (await shop.call("gpu.get", gpu=idle))["device"]["bookings"] == 0
    rating = (await shop.call("gpu.reviews", gpu=gpu))["rating"]
    assert (rating["weighted_hundredths"], rating["largest_share"]) == (400, 10_000)
    nobody = await shop.call("market.reputation", hardware="00" * 32)
    assert (nobody["reputation"]["bookings"], nobody["reputation"]["uptime_share"]) == (0, None)
    assert (await shop.fault("market.reputation")).name == "invalid_params"


async def test_earnings_and_spending(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    began_ms = shop.solo.wall_ms
    spent_before = int(
        (await shop.call("account.spending", address=shop.text(PROVIDER.address)))["total"]["transaction_fees"]
    )
    booking = await shop.closed_booking(gpu)
    job = await finished_job(shop, gpu)
    given_up = await shop.reserve(gpu, after_seconds=1_000)
    await shop.do(RENTER, Cancel(bytes.fromhex(given_up)))
    await shop.do(RENTER, pay(OTHER, 5))
    provider, renter = shop.text(PROVIDER.address), shop.text(RENTER.address)
    earned = await shop.call("account.earnings", address=provider)
    spent = await shop.call("account.spending", address=renter)
    deals = {item["id"]: item["flow"] for item in earned["items"]}
    assert set(deals) == {booking, job, given_up}
    assert deals[job] == {
        "gross": str(10 * COIN),
        "fee": str(COIN // 5),
        "net": str(49 * COIN // 5),
        "penalties_paid": "0",
        "rewards": "0",
    }
    assert earned["items"][0]["id"] == job
    for name in ("gross", "fee", "net"):
        assert int(earned["total"][name]) == sum(int(flow[name]) for flow in deals.values())
    assert int(deals[given_up]["gross"]) == PRICE // 100
    total = {name: int(value) for name, value in spent["total"].items()}
    assert total["locked"] == total["paid"] + total["refunded"]
    assert total["paid"] == int(earned["total"]["gross"])
    assert (total["sent"], total["transaction_fees"]) == (5, 9 * DEFAULT_FEE)
    assert (await shop.call("account.spending", address=shop.text(OTHER.address)))["total"]["received"] == "5"
    later = await shop.call("account.spending", address=provider, from_ms=began_ms + 1)
    assert int(later["total"]["transaction_fees"]) == 3 * DEFAULT_FEE
    before = await shop.call("account.spending", address=provider, until_ms=began_ms + 1)
    assert int(before["total"]["transaction_fees"]) == spent_before
    assert (await shop.call("account.earnings", address=provider, until_ms=began_ms))["items"] == []
    (day,) = earned["days"]
    assert day["flow"] == earned["total"]


async def test_a_long_history_is_told_in_parts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "STRIDE", 3)
    gpu = await shop.list_gpu("a")
    for _ in range(3):
        await shop.closed_booking(gpu)
    renter = shop.text(RENTER.address)
    whole = await shop.call("account.spending", address=renter)
    monkeypatch.setattr(statement, "MAXIMUM_PLACES", 4)
    parts, cursor = [], None
    while True:
        part = await shop.call("account.spending", address=renter, cursor=cursor)
        parts.append(part)
        cursor = part["next_cursor"]
        if cursor is None:
            break
    assert len(parts) == 3
    for name, value in whole["total"].items():
        assert int(value) == sum(int(part["total"][name]) for part in parts)
    starts = [part["from_ms"] for part in parts]
    assert starts == sorted(starts, reverse=True)
    assert starts[-1] == 0


@pytest.mark.parametrize("method", [name for name in METHODS if name.startswith("market.")])
async def test_an_empty_market(shop: Shop, method: str) -> None:
    if method != "market.reputation":
        found = await shop.call(method)
        assert found.get("items", []) == []
    fault = await shop.fault(method, unknown=1)
    assert fault.name == "invalid_params"


async def test_parts_end_between_transactions_of_one_block(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for amount in (1, 2, 4, 8):
        shop.solo.mempool.add(shop.solo.sign(RENTER, pay(OTHER, amount)))
    assert len(shop.solo.advance().envelopes) == 4
    monkeypatch.setattr(statement, "STRIDE", 2)
    monkeypatch.setattr(statement, "MAXIMUM_PLACES", 1)
    sent, cursor = [], None
    while cursor is not None or not sent:
        part = await shop.call("account.spending", address=shop.text(RENTER.address), cursor=cursor)
        sent.append(part["total"]["sent"])
        cursor = part["next_cursor"]
    assert sent == ["8", "4", "2", "1"]
