"""GPUs, bookings, jobs, reviews and multisig accounts over RPC."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.actions.accounts import Profile, SetProfile
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Reserve, Settle
from chain.actions.governance import ProposeMeasure
from chain.actions.gpus import EndMaintenance, RegisterGpu, SetMaintenance, UpdateGpu
from chain.actions.jobs import AcceptJob, AddReceipt, ClaimJob, SharePayload, SubmitJob
from chain.actions.multisig import CreateMultisig, ProposeActions, RejectProposal
from chain.actions.reviews import HideText, ReplyToReview, SubmitReview
from chain.booking import BOOKINGS, BookingStatus
from chain.crypto.ed25519 import PrivateKey
from chain.inventory import read_gpu
from chain.job import NO_RECEIPT, Receipt, Unit, receipt_hash
from chain.schema import COIN
from chain.state.view import View
from tests.ledger import Person, subject
from tests.market import PRICE, SALT, UNHURRIED, altered, commitment, hardware, registration, rotation, terms
from tests.rpc_node import RpcNode
from tests.solo import pay

PROVIDER, RENTER, OTHER = Person("provider"), Person("renter"), Person("other")
SEALING_KEY = b"\x09" * 32

PATIENT = altered(UNHURRIED, dispute_response_seconds=1_200, dispute_vote_seconds=1_200)


class Shop(RpcNode):
    """A node whose provider has listed GPUs."""

    async def list_gpu(self, name: str, price: int = PRICE, owner: Person = PROVIDER, **facts: Any) -> str:
        device = replace(hardware(name), **facts)
        await self.do(owner, *commitment(owner, name))
        return subject(await self.do(owner, RegisterGpu(device, terms(price), SALT)), "gpu.registered", "gpu").hex()

    async def reserve(self, gpu: str, *, seconds: int = 3_600, after_seconds: int = 0) -> str:
        start_ms = self.solo.wall_ms + 1_000 + after_seconds * 1_000 if after_seconds else 0
        action = Reserve((bytes.fromhex(gpu),), start_ms, seconds, 10**15, (1,), SEALING_KEY)
        return subject(await self.do(RENTER, action), "booking.reserved", "booking").hex()

    async def closed_booking(self, gpu: str) -> str:
        booking = await self.reserve(gpu)
        await self.do(PROVIDER, Activate(bytes.fromhex(booking), b"access"))
        await self.do(RENTER, Release(bytes.fromhex(booking)), after_ms=600_000)
        await self.do(RENTER, Confirm(bytes.fromhex(booking)))
        return booking


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    people, parameters = (
        (PROVIDER, RENTER, OTHER),
        altered(PATIENT, maximum_gap_ms=600_000, activation_grace_seconds=1_200),
    )
    async with Shop(tmp_path / "ledger", people, parameters=parameters, stake=1_000 * COIN) as running:
        yield running


async def everything(shop: Shop, method: str, **params: Any) -> list[Any]:
    """All items of a list, two a page."""
    items, cursor = [], None
    while True:
        page = await shop.call(method, limit=2, cursor=cursor, **params)
        assert len(page["items"]) <= 2
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


async def test_gpus_are_filtered_ordered_and_paged(shop: Shop) -> None:
    cheap = await shop.list_gpu("a", 1 * COIN, model="RTX 3060", memory_mb=12_288)
    middle = await shop.list_gpu("b", 2 * COIN, region="us-east")
    dear = await shop.list_gpu("c", 5 * COIN, model="H100 [SXM]", memory_mb=81_920, attributes=("nvlink=yes",))
    foreign = await shop.list_gpu("d", 3 * COIN, owner=OTHER)

    async def ids(**params: Any) -> list[str]:
        return [item["id"] for item in await everything(shop, "gpu.list", **params)]

    assert await ids() == [cheap, middle, foreign, dear]
    assert await ids(order="-price") == [dear, foreign, middle, cheap]
    assert (await ids(order="memory"))[0] == cheap
    assert await ids(order="registered") == [cheap, middle, dear, foreign]
    assert await ids(model="rtx*") == [cheap, middle, foreign]
    assert await ids(model="H100 [SXM]") == [dear]
    assert await ids(model="*") == await ids()
    assert await ids(price_max=str(2 * COIN)) == [cheap, middle]
    assert await ids(region="US-EAST") == [middle]
    assert await ids(memory_min=80_000) == [dear]
    assert await ids(attribute="nvlink=yes") == [dear]
    assert await ids(provider=shop.text(OTHER.address)) == [foreign]
    assert await ids(status="retired") == []


async def test_available_means_free_at_that_time_for_so_long(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    await shop.reserve(gpu, seconds=3_600, after_seconds=7_200)
    now_ms = shop.solo.wall_ms

    async def available(**params: Any) -> bool:
        return bool((await shop.call("gpu.list", available=True, **params))["items"])

    assert await available()
    assert await available(seconds=7_000)
    assert not await available(seconds=8_000)
    assert not await available(start_ms=now_ms + 8_000_000, seconds=60)
    assert await available(start_ms=now_ms + 20_000_000, seconds=60)


async def test_occupied_gpu_says_until_when(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    await shop.reserve(gpu, seconds=600)
    details = await shop.call("gpu.get", gpu=gpu)
    assert (details["view"]["available"], details["view"]["free_from_ms"]) == (False, shop.solo.wall_ms + 600_000)


async def test_overdue_booking_does_not_hide_a_gpu(tmp_path: Path) -> None:
    """More bookings lapse at once than a block may settle; by the clocks they are over all the same."""
    count, parameters = 40, altered(UNHURRIED, maximum_gap_ms=60_000, activation_grace_seconds=600, due_weight=100)
    people = (PROVIDER, RENTER)
    async with Shop(tmp_path / "ledger", people, parameters=parameters, stake=10_000 * COIN) as shop:
        names = [str(index) for index in range(count)]
        await shop.do(PROVIDER, *commitment(PROVIDER, *names), fee=COIN)
        listing = [registration(name) for name in names]
        listed = await shop.do(PROVIDER, *listing, fee=COIN)
        gpus = [dict(event.subjects)["gpu"] for event in listed.events if event.kind == "gpu.registered"]
        reserved = await shop.do(
            RENTER, *(Reserve((gpu,), 0, 3_600, 10**15, (1,), SEALING_KEY) for gpu in gpus), fee=COIN
        )
        bookings = [dict(event.subjects)["booking"] for event in reserved.events if event.kind == "booking.reserved"]
        assert await everything(shop, "gpu.list", available=True) == []
        for _ in range(10):
            shop.solo.advance(after_ms=60_000)
        stored = [BOOKINGS.get(View(shop.solo.store), booking) for booking in bookings]
        assert any(booking is not None and booking.status is BookingStatus.RESERVED for booking in stored)
        assert len(await everything(shop, "gpu.list", available=True)) == count
        assert len(await everything(shop, "booking.list", status="no_show")) == count


async def test_gpu_is_offline_the_moment_its_heartbeat_is_overdue(tmp_path: Path) -> None:
    async with Shop(tmp_path / "ledger", (PROVIDER,), stake=1_000 * COIN) as shop:
        gpu = await shop.list_gpu("a")
        for _ in range(9):
            shop.solo.advance(after_ms=15_000)
        assert (await shop.call("gpu.get", gpu=gpu))["view"]["status"] == "offline"
        assert (await shop.call("gpu.list", available=True))["items"] == []
        assert (await shop.call("gpu.list", status="offline"))["items"][0]["id"] == gpu
        availability = await shop.call("gpu.availability", gpu=gpu)
        assert not availability["bookable"]


async def test_availability_shows_free_and_booked_slots(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    booking = await shop.reserve(gpu, seconds=3_600, after_seconds=7_200)
    start_ms = shop.solo.wall_ms + 7_200_000
    found = await shop.call("gpu.availability", gpu=gpu, days=1)
    taken = {"start_ms": start_ms, "end_ms": start_ms + 3_600_000, "booking": booking, "kind": "booking"}
    assert found["booked"] == [taken]
    assert found["free"][0]["end_ms"] == start_ms
    assert found["free"][1] == {"start_ms": start_ms + 3_600_000, "end_ms": found["until_ms"]}
    assert (await shop.call("gpu.availability", gpu=gpu, from_ms=1 << 52))["free"] == []


async def test_maintenance_is_shown_by_status_and_availability(shop: Shop) -> None:
    gpu, other = await shop.list_gpu("a"), await shop.list_gpu("b")
    await shop.reserve(gpu, seconds=600, after_seconds=100_000)
    windows = []
    for start_ms in (shop.solo.wall_ms + 50_000_000, 0):
        made = await shop.do(PROVIDER, SetMaintenance(bytes.fromhex(gpu), start_ms, 3_600))
        windows.append(subject(made, "gpu.maintenance_set", "maintenance").hex())
    now_ms = shop.solo.wall_ms
    details = await shop.call("gpu.get", gpu=gpu)
    view = details["view"]
    assert (view["status"], view["available"], view["free_from_ms"]) == ("maintenance", False, now_ms + 3_600_000)
    assert [window["id"] for window in details["maintenance"]] == windows[::-1]
    assert details["maintenance"][0] == {"id": windows[1], "start_ms": now_ms, "end_ms": now_ms + 3_600_000}

    async def ids(**params: Any) -> list[str]:
        return [item["id"] for item in await everything(shop, "gpu.list", **params)]

    assert (await ids(status="maintenance"), await ids(status="active")) == ([gpu], [other])
    assert await ids(available=True) == [other]
    assert sorted(await ids()) == sorted([gpu, other])
    found = await shop.call("gpu.availability", gpu=gpu, days=2)
    assert [slot["kind"] for slot in found["booked"]] == ["maintenance", "maintenance", "booking"]
    assert [slot["booking"] for slot in found["booked"]][:2] == windows[::-1]
    conflict = await shop.fault("booking.quote", gpus=[gpu], seconds=60)
    assert (conflict.name, conflict.data["conflicting"]) == ("booking_conflict", windows[1])
    await shop.do(PROVIDER, EndMaintenance(bytes.fromhex(windows[1])))
    details = await shop.call("gpu.get", gpu=gpu)
    assert (details["view"]["status"], len(details["maintenance"])) == ("active", 1)
    assert sorted(await ids(available=True, seconds=60)) == sorted([gpu, other])


async def test_maintenance_that_is_over_by_the_clock_is_not_shown(tmp_path: Path) -> None:
    """More windows end at once than a block may take off the calendar."""
    parameters = altered(PATIENT, maximum_gap_ms=600_000, activation_grace_seconds=1_200, due_weight=100)
    async with Shop(tmp_path / "ledger", (PROVIDER,), parameters=parameters, stake=1_000 * COIN) as shop:
        gpus = [bytes.fromhex(await shop.list_gpu(name)) for name in ("a", "b")]
        begin_ms = shop.solo.wall_ms + 10_000
        windows = [SetMaintenance(gpu, begin_ms + 2_000 * index, 1) for gpu in gpus for index in range(15)]
        await shop.do(PROVIDER, *windows, fee=COIN)
        shop.solo.advance(after_ms=600_000)
        stored = [len(read_gpu(View(shop.solo.store), gpu).maintenance) for gpu in gpus]
        assert sum(stored) == 10
        for gpu in gpus:
            details = await shop.call("gpu.get", gpu=gpu.hex())
            view = details["view"]
            assert (view["status"], view["available"], details["maintenance"]) == ("active", True, [])
            assert (await shop.call("gpu.availability", gpu=gpu.hex()))["booked"] == []


async def test_a_claimed_job_is_shown_in_the_calendar(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    submit = SubmitJob("inference", b"\x01" * 32, Unit.ITEM, 100, 1, 3_600, shop.solo.wall_ms + 86_400_000)
    job = subject(await shop.do(RENTER, submit), "job.submitted", "job")
    await shop.do(PROVIDER, ClaimJob(job, bytes.fromhex(gpu)))
    (slot,) = (await shop.call("gpu.availability", gpu=gpu))["booked"]
    assert (slot["booking"], slot["kind"]) == (job.hex(), "job")


async def test_quote_tells_what_leaving_costs_within_the_notice_and_before(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    offer = terms(PRICE, notice=3_600, share=2_500, version=2)
    await shop.do(PROVIDER, UpdateGpu(bytes.fromhex(gpu), offer))
    start_ms = shop.solo.wall_ms + 10_000_000
    quote = await shop.call("booking.quote", gpus=[gpu], seconds=3_600, start_ms=start_ms)
    assert (quote["notice_seconds"], quote["cancellation_share"], quote["terms_versions"]) == (3_600, 2_500, [2])
    ways = {way["what"]: way for way in quote["outcomes"]}
    cost, collateral = int(quote["cost"]), int(quote["collateral"])
    assert all(int(way["charged"]) + int(way["refund"]) == cost for way in ways.values())
    before, within = ways["cancelled before the notice"], ways["cancelled within the notice"]
    assert (before["at_ms"], int(before["charged"])) == (start_ms - 3_600_000, cost // 100)
    assert (within["at_ms"], int(within["charged"])) == (start_ms, cost // 4)
    assert int(ways["provider cancels before the notice"]["compensation"]) == collateral // 2
    assert int(ways["provider cancels within the notice"]["compensation"]) == collateral
    half = ways["provider cancels after 50 %"]
    assert (int(half["charged"]), int(half["compensation"])) == (cost // 2, collateral)
    soon = await shop.call("booking.quote", gpus=[gpu], seconds=3_600, start_ms=shop.solo.wall_ms + 1_000)
    names = [way["what"] for way in soon["outcomes"]]
    assert "cancelled within the notice" in names
    assert "cancelled before the notice" not in names


@pytest.mark.parametrize(("wait_ms", "share"), [(0, 100), (7_000_000, 2_500)])
@pytest.mark.parametrize("activated", [False, True])
async def test_a_booking_says_what_leaving_would_return(shop: Shop, wait_ms: int, share: int, activated: bool) -> None:
    """By the cheaper way, where a booking that was activated early may be cancelled or released."""
    gpu = await shop.list_gpu("a")
    await shop.do(PROVIDER, UpdateGpu(bytes.fromhex(gpu), terms(PRICE, notice=3_600, share=2_500, version=2)))
    start_ms = shop.solo.wall_ms + 10_000_000
    action = Reserve((bytes.fromhex(gpu),), start_ms, 3_600, 10**15, (2,), SEALING_KEY)
    booking = subject(await shop.do(RENTER, action), "booking.reserved", "booking")
    if activated:
        await shop.do(PROVIDER, Activate(booking, b"access"))
    if wait_ms:
        shop.solo.advance(after_ms=wait_ms)
    view = (await shop.call("booking.get", booking=booking.hex()))["view"]
    assert int(view["refund_if_ended"]) == PRICE - PRICE * share // 10_000
    before = shop.solo.balance(RENTER)
    result = await shop.do(RENTER, Cancel(booking))
    assert shop.solo.balance(RENTER) == before + int(view["refund_if_ended"]) - result.fee


async def test_extension_settlement_and_provider_cancellation_in_the_money_story(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    booking = await shop.reserve(gpu)
    booking_id = bytes.fromhex(booking)
    await shop.do(PROVIDER, Activate(booking_id, b"access"))
    await shop.do(RENTER, Extend(booking_id, 3_600, PRICE))
    view = (await shop.call("booking.get", booking=booking))["view"]
    assert (view["escrow"]["locked"], len(view["booking"]["extensions"])) == (str(2 * PRICE), 1)
    assert view["seconds_left"] > 7_100
    shop.solo.advance(after_ms=600_000)
    await shop.do(OTHER, Settle(booking_id))
    paid = (await shop.call("booking.get", booking=booking))["view"]["escrow"]
    assert int(paid["net"]) > 0
    collateral = int(view["booking"]["collateral"])
    before = shop.solo.balance(RENTER)
    await shop.do(PROVIDER, ProviderCancel(booking_id))
    story = await shop.call("booking.money", booking=booking)
    kinds = [step["event"]["kind"] for step in story["steps"]]
    assert kinds == [
        "booking.reserved",
        "booking.activated",
        "booking.extended",
        "booking.settled",
        "booking.collateral_forfeited",
        "booking.provider_cancelled",
    ]
    assert shop.solo.balance(RENTER) == before + int(story["refunded"]) + collateral
    parts = [int(story[name]) for name in ("net", "fee", "refunded", "remaining")]
    assert sum(parts) == int(story["locked"]) == 2 * PRICE
    other = await shop.reserve(gpu, after_seconds=7_200)
    await shop.do(PROVIDER, ProviderCancel(bytes.fromhex(other)))
    listed = await everything(shop, "booking.list", status="provider_cancelled")
    assert [item["id"] for item in listed] == [other]


async def test_account_shows_the_key_that_signs(shop: Shop) -> None:
    address = shop.text(OTHER.address)
    found = await shop.call("account.get", address=address)
    assert (found["key"], found["rotations"]) == (None, 0)
    key = PrivateKey(bytes(31) + b"\x05")
    await shop.do(OTHER, rotation(shop.solo.chain_id, OTHER.address, key))
    found = await shop.call("account.get", address=address)
    assert (found["key"], found["rotations"]) == (key.public_key.hex(), 1)
    refused = await shop.fault("tx.submit", envelope=shop.solo.sign(OTHER, pay(RENTER, 1)).envelope.hex())
    assert refused.name == "key_mismatch"


async def test_quote_is_what_the_reservation_then_does(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    quote = await shop.call("booking.quote", gpus=[gpu], seconds=5_400, renter=shop.text(RENTER.address))
    assert quote["cost"] == str(3 * COIN)
    assert int(quote["market_fee"]) + int(quote["provider_net"]) == int(quote["cost"])
    booking = (await shop.call("booking.get", booking=await shop.reserve(gpu, seconds=5_400)))["view"]
    assert booking["booking"]["cost"] == quote["cost"]
    assert booking["booking"]["collateral"] == quote["collateral"]
    conflict = await shop.fault("booking.quote", gpus=[gpu], seconds=60)
    assert (conflict.name, conflict.data["conflicting"]) == ("booking_conflict", booking["id"])
    poor = await shop.fault("booking.quote", gpus=[gpu], seconds=60, start_ms=1 << 52)
    assert poor.name == "booking_time_refused"
    assert (await shop.fault("booking.quote", gpus=[gpu, gpu], seconds=60)).name == "invalid_field"


async def test_booking_earns_as_time_passes_and_tells_its_money_story(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    booking = await shop.reserve(gpu)
    before = (await shop.call("booking.get", booking=booking))["view"]
    assert (before["status"], before["earned"], before["seconds_left"]) == ("reserved", "0", 3_600)
    await shop.do(PROVIDER, Activate(bytes.fromhex(booking), b"access"))
    shop.solo.advance(after_ms=600_000)
    active = (await shop.call("booking.get", booking=booking))["view"]
    assert active["status"] == "active"
    assert 0 < int(active["earned"]) < int(active["booking"]["cost"])
    assert int(active["refund_if_ended"]) < int(active["booking"]["cost"]) - int(active["earned"])
    await shop.do(RENTER, Release(bytes.fromhex(booking)))
    closing = (await shop.call("booking.get", booking=booking))["view"]
    assert (closing["status"], closing["seconds_left"]) == ("closing", 0)
    assert closing["payment_in_seconds"] == 300
    await shop.do(RENTER, Confirm(bytes.fromhex(booking)))
    story = await shop.call("booking.money", booking=booking)
    kinds = [step["event"]["kind"] for step in story["steps"]]
    assert kinds == ["booking.reserved", "booking.activated", "booking.released", "booking.closed"]
    assert [step["height"] for step in story["steps"]] == sorted(step["height"] for step in story["steps"])
    parts = [int(story[name]) for name in ("net", "fee", "refunded", "remaining")]
    assert sum(parts) == int(story["locked"])
    assert story["status"] == "closed"


async def test_bookings_are_listed_newest_first_for_either_side(shop: Shop) -> None:
    first, second = await shop.list_gpu("a"), await shop.list_gpu("b")
    bookings = [
        await shop.reserve(gpu, seconds=60, after_seconds=wait)
        for gpu, wait in ((first, 900), (first, 90_000), (second, 900))
    ]

    async def ids(**params: Any) -> list[str]:
        return [item["id"] for item in await everything(shop, "booking.list", **params)]

    newest = bookings[::-1]
    assert await ids() == newest
    assert await ids(renter=shop.text(RENTER.address)) == newest
    assert await ids(account=shop.text(PROVIDER.address)) == newest
    assert await ids(renter=shop.text(PROVIDER.address)) == []
    assert await ids(gpu=second) == bookings[2:]
    assert await ids(status="reserved", open=True) == newest
    for _ in range(6):
        shop.solo.advance(after_ms=600_000)
    assert await ids(status="no_show") == [bookings[2], bookings[0]]
    assert await ids(open=True) == [bookings[1]]


async def _delivered(shop: Shop, gpu: str) -> tuple[str, list[str]]:
    """The id of a delivered job and the hashes of its receipts."""
    deadline_ms = shop.solo.wall_ms + 86_400_000
    submit = SubmitJob("inference", b"\x01" * 32, Unit.ITEM, 100, COIN // 100, 3_600, deadline_ms)
    job = subject(await shop.do(RENTER, submit), "job.submitted", "job")
    await shop.do(PROVIDER, ClaimJob(job, bytes.fromhex(gpu)))
    claimed_ms = shop.solo.wall_ms
    await shop.do(RENTER, SharePayload(job, b"key"))
    hashes, previous = [], NO_RECEIPT
    for sequence in range(1, 4):
        receipt = Receipt(
            job, sequence, 10 * sequence, previous, b"\x02" * 32, "ipfs://x", claimed_ms, claimed_ms, sequence == 3
        )
        await shop.do(PROVIDER, AddReceipt(receipt))
        previous = receipt_hash(receipt)
        hashes.append(previous.hex())
    return job.hex(), hashes


async def test_job_and_its_chain_of_receipts(shop: Shop) -> None:
    job, hashes = await _delivered(shop, await shop.list_gpu("a"))
    found = await shop.call("job.get", job=job)
    assert (found["view"]["status"], found["escrow"]["locked"]) == ("delivered", str(COIN))
    receipts = await everything(shop, "job.receipts", job=job)
    assert [item["hash"] for item in receipts] == hashes[::-1]
    assert [item["receipt"]["previous_hash"] for item in receipts] == [*hashes[-2::-1], NO_RECEIPT.hex()]
    assert receipts[0]["receipt"]["final"]
    for params in (
        {},
        {"renter": shop.text(RENTER.address)},
        {"provider": shop.text(PROVIDER.address)},
        {"kind": "inference"},
    ):
        assert [item["id"] for item in await everything(shop, "job.list", **params)] == [job]
    assert await everything(shop, "job.list", status="open") == []
    await shop.do(RENTER, AcceptJob(bytes.fromhex(job), bytes.fromhex(hashes[-1])))
    assert (await shop.call("job.get", job=job))["view"]["status"] == "accepted"


async def test_reviews_show_comment_rating_and_what_was_paid(shop: Shop) -> None:
    gpu = await shop.list_gpu("a")
    booking = await shop.closed_booking(gpu)
    await shop.do(RENTER, SubmitReview(bytes.fromhex(booking), 4, "Fast, no surprises."))
    job, hashes = await _delivered(shop, gpu)
    await shop.do(RENTER, AcceptJob(bytes.fromhex(job), bytes.fromhex(hashes[-1])))
    await shop.do(RENTER, SubmitReview(bytes.fromhex(job), 5))
    for method, params in (
        ("gpu.reviews", {"gpu": gpu}),
        ("review.list", {"gpu": gpu}),
    ):
        found = await shop.call(method, **params)
        of_job, review = found["items"]
        assert (review["id"], review["comment"], review["review"]["rating"]) == (booking, "Fast, no surprises.", 4)
        assert (of_job["id"], of_job["review"]["gpus"], of_job["review"]["rating"]) == (job, [gpu], 5)
        assert (found["rating"]["reviews"], found["rating"]["average_hundredths"]) == (2, 450)
        assert int(found["rating"]["fees"]) > 0
    by_provider = await everything(shop, "review.list", provider=shop.text(PROVIDER.address))
    assert [review["id"] for review in by_provider] == [job, booking]
    assert await everything(shop, "review.list", reviewer=shop.text(OTHER.address)) == []
    assert (await shop.call("gpu.get", gpu=gpu))["rating"]["reviews"] == 2
    assert [review["reply"] for review in by_provider] == [None, None]
    await shop.do(PROVIDER, ReplyToReview(bytes.fromhex(booking), "Thank you."))
    _, review = (await shop.call("review.list", gpu=gpu))["items"]
    assert (review["comment"], review["reply"]) == ("Fast, no surprises.", "Thank you.")
    assert review["review"]["reply_txid"]


async def test_hidden_text_is_not_shown(tmp_path: Path) -> None:
    operator = Person("operator 0")
    parameters = altered(PATIENT, maximum_gap_ms=600_000, activation_grace_seconds=1_200, epoch_blocks=15)
    people = (PROVIDER, RENTER, OTHER, operator)
    async with Shop(tmp_path / "ledger", people, parameters=parameters, stake=1_000 * COIN) as shop:
        gpu = await shop.list_gpu("a")
        booking = bytes.fromhex(await shop.closed_booking(gpu))
        await shop.do(RENTER, SubmitReview(booking, 1, "Rude words."))
        await shop.do(PROVIDER, ReplyToReview(booking, "Ruder words."))
        hiding = ProposeMeasure((HideText(booking), HideText(booking, True)), shop.solo.wall_ms + 3_600_000)
        await shop.do(operator, hiding, fee=COIN)
        for _ in range(15):
            shop.solo.advance()
        found = await shop.call("gpu.reviews", gpu=gpu)
        (review,) = found["items"]
        assert (review["comment"], review["reply"]) == (None, None)
        assert (review["review"]["hidden"], review["review"]["reply_hidden"]) == (True, True)
        assert (review["review"]["rating"], found["rating"]["average_hundredths"]) == (1, 100)


async def test_provider_profile_comes_with_the_gpu(shop: Shop) -> None:
    await shop.do(PROVIDER, SetProfile(Profile("Rack & Co", "ops@example.org", None)))
    found = await shop.call("gpu.get", gpu=await shop.list_gpu("a"))
    assert found["provider_profile"]["name"] == "Rack & Co"


async def test_multisig_accounts_and_their_proposals(shop: Shop) -> None:
    members = tuple(sorted(person.address for person in (PROVIDER, RENTER, OTHER)))
    created = await shop.do(RENTER, CreateMultisig(2, members))
    address = subject(created, "multisig.created", "account")
    await shop.do(RENTER, pay(RENTER, 1))
    text = shop.text(address)
    found = (await shop.call("multisig.get", address=text))["view"]
    assert (found["multisig"]["threshold"], len(found["multisig"]["members"])) == (2, 3)
    assert (await shop.call("account.get", address=text))["kind"] == "multisig"
    listed = await everything(shop, "multisig.list", member=shop.text(OTHER.address))
    assert [item["address"] for item in listed] == [text]
    expires_ms = shop.solo.wall_ms + 3_600_000
    proposal = await shop.do(OTHER, ProposeActions(address, (pay(OTHER, 5),), expires_ms))
    (waiting,) = await everything(shop, "multisig.proposals", address=text)
    assert waiting["id"] == subject(proposal, "multisig.proposed", "proposal").hex()
    assert waiting["proposal"]["actions"] == [
        {"action": "account.transfer", "to": shop.text(OTHER.address), "asset": "AITBC", "amount": "5"}
    ]
    assert (waiting["threshold"], waiting["execution_weight"]) == (2, 1)
    assert (waiting["approvals"], waiting["rejections"]) == ([shop.text(OTHER.address)], [])
    await shop.do(RENTER, RejectProposal(bytes.fromhex(waiting["id"])))
    key = PrivateKey(bytes(31) + b"\x06")
    await shop.do(OTHER, rotation(shop.solo.chain_id, OTHER.address, key))
    (waiting,) = await everything(shop, "multisig.proposals", address=text)
    assert (waiting["approvals"], waiting["rejections"]) == ([], [shop.text(RENTER.address)]), "the old key's is void"
    assert len(waiting["proposal"]["approvals"]) == 1
    await shop.do(RENTER, pay(PROVIDER, 1))
    shop.solo.advance(after_ms=600_000)
    for _ in range(6):
        shop.solo.advance(after_ms=600_000)
    assert await everything(shop, "multisig.proposals", address=text) == []
    assert (await shop.fault("multisig.get", address=shop.text(OTHER.address))).name == "not_found"
