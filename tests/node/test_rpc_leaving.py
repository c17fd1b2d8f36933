"""What has left the state, over RPC: it is not found, its hint says where its story is, and its money is still told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain.actions.bookings import Activate, Cancel, Release, Reserve
from chain.actions.jobs import AcceptJob
from chain.actions.reviews import SubmitReview
from chain.record import encode_record
from chain.schema import COIN
from tests.market import altered, booking_bytes
from tests.node.test_rpc_market import OTHER, PATIENT, PRICE, PROVIDER, RENTER, SEALING_KEY, Shop, _delivered
from tests.solo import pay

WINDOW = 600
PRICED = altered(
    PATIENT,
    maximum_gap_ms=600_000,
    activation_grace_seconds=1_200,
    storage_deposit_per_byte=1_000,
    review_window_seconds=WINDOW,
)
COST = booking_bytes() * 1_000


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path / "ledger", (PROVIDER, RENTER, OTHER), parameters=PRICED, stake=1_000 * COIN) as running:
        yield running


def let_pass(shop: Shop) -> None:
    shop.solo.advance(after_ms=WINDOW * 1_000 - 1)
    shop.solo.advance(after_ms=1_000)


async def test_a_booking_is_gone_and_its_money_is_told_by_its_events(shop: Shop) -> None:
    booking = await shop.reserve(await shop.list_gpu("a"))
    await shop.do(PROVIDER, Activate(bytes.fromhex(booking), b"access"))
    await shop.do(RENTER, Release(bytes.fromhex(booking)), after_ms=500_000)
    for _ in range(3):
        shop.solo.advance(after_ms=120_000)
    before = await shop.call("booking.money", booking=booking)
    assert (before["status"], before["in_state"], before["deposit"]) == ("closed", True, str(COST))
    let_pass(shop)
    gone = await shop.fault("booking.get", booking=booking)
    assert (gone.name, gone.data["kind"]) == ("not_found", "booking")
    assert "the blocks keep its story" in gone.data["hint"]
    after = await shop.call("booking.money", booking=booking)
    assert (after["status"], after["in_state"], after["deposit"]) == ("closed", False, "0")
    for name in ("locked", "net", "fee", "refunded", "remaining"):
        assert after[name] == before[name], name
    kinds = [step["event"]["kind"] for step in after["steps"]]
    assert kinds[:2] == ["booking.reserved", "deposit.taken"]
    assert kinds[-2:] == ["deposit.returned", "booking.removed"]
    assert (await shop.call("booking.list"))["items"] == []
    assert (await shop.call("proof.record", kind="booking", key=booking))["present"] is False


@pytest.mark.parametrize("status", ["cancelled", "no_show"])
async def test_every_end_is_told(shop: Shop, status: str) -> None:
    booking = await shop.reserve(await shop.list_gpu("a"), after_seconds=300)
    if status == "cancelled":
        await shop.do(RENTER, Cancel(bytes.fromhex(booking)))
    else:
        for _ in range(3):
            shop.solo.advance(after_ms=590_000)
    before = await shop.call("booking.money", booking=booking)
    assert before["in_state"]
    for _ in range(4):
        shop.solo.advance(after_ms=590_000)
    after = await shop.call("booking.money", booking=booking)
    assert (after["status"], after["in_state"]) == (status, False)
    for name in ("locked", "net", "fee", "refunded", "remaining"):
        assert after[name] == before[name], name


async def test_of_nothing_there_is_no_story(shop: Shop) -> None:
    await shop.list_gpu("a")
    for unknown in ("77" * 32, (await shop.list_gpu("b"))):
        assert (await shop.fault("booking.money", booking=unknown)).name == "not_found"


async def test_a_job_is_gone_and_its_receipts_are_still_told(shop: Shop) -> None:
    job, hashes = await _delivered(shop, await shop.list_gpu("a"))
    await shop.do(RENTER, AcceptJob(bytes.fromhex(job), bytes.fromhex(hashes[-1])))
    let_pass(shop)
    assert (await shop.fault("job.get", job=job)).name == "not_found"
    assert (await shop.call("job.list"))["items"] == []
    told = await shop.call("job.receipts", job=job)
    assert [item["hash"] for item in told["items"]] == hashes[::-1]
    assert (await shop.fault("job.receipts", job="77" * 32)).name == "not_found"


async def test_lists_leave_it_out(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    booking = await shop.closed_booking(gpu)
    await shop.do(RENTER, SubmitReview(bytes.fromhex(booking), 5))
    open_now = await shop.reserve(gpu, after_seconds=7_200)
    assert [item["id"] for item in (await shop.call("booking.list"))["items"]] == [open_now, booking]
    let_pass(shop)
    listed = await shop.call("booking.list")
    assert [item["id"] for item in listed["items"]] == [open_now]
    orders = await shop.call("market.orders")
    assert [item["id"] for item in orders["items"]] == [open_now]
    assert (await shop.call("market.stats"))["bookings"] == [{"name": "reserved", "count": 1}]
    assert len((await shop.call("gpu.reviews", gpu=gpu))["items"]) == 1, "a review stays longer"


async def test_quote_and_simulation_say_what_is_held(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    quote = await shop.call("booking.quote", gpus=[gpu], seconds=3_600, renter=shop.text(RENTER.address))
    assert (quote["cost"], quote["deposit"], quote["debit"]) == (str(PRICE), str(COST), str(PRICE + COST))
    action = Reserve((bytes.fromhex(gpu),), 0, 3_600, PRICE, (1,), SEALING_KEY)
    signed = shop.solo.sign(RENTER, action)
    tried = await shop.call("tx.simulate", body=encode_record(signed.body).hex())
    (taken,) = [event for event in tried["events"] if event["kind"] == "deposit.taken"]
    assert taken["subjects"][0] == {"role": "payer", "id": shop.text(RENTER.address)}
    assert taken["amounts"] == [{"name": "amount", "value": str(COST)}]
    before = shop.solo.balance(RENTER)
    result = await shop.do(RENTER, action)
    assert before - shop.solo.balance(RENTER) == int(quote["debit"]) + result.fee


async def test_a_quote_that_the_deposit_makes_too_dear(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    rest = shop.solo.balance(RENTER) - PRICE - COST + 1
    await shop.do(RENTER, pay(OTHER, rest - 10_000_000))
    fault = await shop.fault("booking.quote", gpus=[gpu], seconds=3_600, renter=shop.text(RENTER.address))
    assert (fault.name, fault.data["deposit"], fault.data["available"]) == (
        "insufficient_funds",
        str(COST),
        str(PRICE + COST - 1),
    )


async def test_supply_counts_deposits(shop: Shop) -> None:
    before = int((await shop.call("chain.supply"))["deposits"])
    await shop.reserve(await shop.list_gpu("a"))
    supply = await shop.call("chain.supply")
    assert int(supply["deposits"]) - before > COST
    places = ("balances", "escrow", "staked", "unbonding", "deposits", "rewards", "epoch_pot", "treasury")
    assert sum(int(supply[place]) for place in places) == int(supply["issued"]) - int(supply["burnt"])
