"""Disputes over RPC: what was said, who has voted, how it ended, and where the booking's money went."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chain.actions.bookings import Activate, Reserve
from chain.actions.disputes import ChallengeHardware, OpenDispute, RespondToDispute, VoteOnDispute
from chain.dispute import Fault
from chain.schema import COIN
from tests.ledger import Person, make_authority, subject
from tests.market import UNHURRIED, altered, commitment, registration
from tests.rpc_node import RpcNode
from tests.solo import pay

PROVIDER, RENTER, OTHER, JUDGE = Person("provider"), Person("renter"), Person("other"), Person("operator 0")
UNKNOWN = "77" * 32
PARAMETERS = altered(
    UNHURRIED,
    activation_grace_seconds=600,
    dispute_response_seconds=600,
    dispute_vote_seconds=600,
    maximum_gap_ms=300_000,
)


class Chamber(RpcNode):
    """A node on which a booking is disputed."""

    async def set_up(self) -> None:
        await self.do(PROVIDER, *commitment(PROVIDER, "a"))
        self.gpu = subject(await self.do(PROVIDER, registration("a")), "gpu.registered", "gpu")
        reserve = Reserve((self.gpu,), 0, 3_600, 10**15, (1,), b"\x09" * 32)
        self.booking = subject(await self.do(RENTER, reserve), "booking.reserved", "booking")
        await self.do(PROVIDER, Activate(self.booking, b"access"))
        await self.do(RENTER, pay(JUDGE, COIN))
        opened = await self.do(RENTER, OpenDispute(self.booking, "Ten times too slow."), after_ms=300_000)
        self.dispute = subject(opened, "dispute.opened", "dispute").hex()

    async def view(self, dispute: str | None = None) -> Any:
        return (await self.call("dispute.get", dispute=dispute or self.dispute))["view"]

    async def found(self, **params: Any) -> list[str]:
        return [item["id"] for item in (await self.call("dispute.list", **params))["items"]]


@pytest.fixture
async def chamber(tmp_path: Path) -> AsyncIterator[Chamber]:
    assert make_authority("0")[0].operator == JUDGE.address
    async with Chamber(
        tmp_path / "ledger", (PROVIDER, RENTER, OTHER), parameters=PARAMETERS, stake=1_000 * COIN
    ) as running:
        await running.set_up()
        yield running


async def test_from_the_complaint_to_the_ruling(chamber: Chamber) -> None:
    view = await chamber.view()
    assert (view["status"], view["text"], view["response"]) == ("open", "Ten times too slow.", None)
    assert (view["seconds_left"], view["waiting"]) == (600, [])
    assert view["dispute"]["opener"] == chamber.text(RENTER.address)
    assert view["dispute"]["electorate"] == [chamber.text(JUDGE.address)]
    disputed = int(view["disputed"])
    assert disputed == int(view["dispute"]["earned"]) - int(view["dispute"]["paid"]) > 0

    booking = (await chamber.call("booking.get", booking=chamber.booking.hex()))["view"]
    assert (booking["status"], booking["payment_in_seconds"]) == ("disputed", None)
    listed = await chamber.call("booking.list", status="disputed", open=True)
    assert [item["id"] for item in listed["items"]] == [chamber.booking.hex()]

    await chamber.do(PROVIDER, RespondToDispute(bytes.fromhex(chamber.dispute), "It ran at full speed."))
    view = await chamber.view()
    assert (view["status"], view["response"], view["seconds_left"]) == ("answered", "It ran at full speed.", 600)
    assert view["waiting"] == [chamber.text(JUDGE.address)]

    await chamber.do(JUDGE, VoteOnDispute(bytes.fromhex(chamber.dispute), 2_500, 5_000, Fault.PROVIDER))
    view = await chamber.view()
    assert (view["status"], view["seconds_left"], view["waiting"]) == ("ruled", 0, [])
    assert view["dispute"]["ruling"] == {"renter_share": 2_500, "slash_share": 5_000, "fault": "provider"}

    money = await chamber.call("booking.money", booking=chamber.booking.hex())
    assert money["status"] == "closed"
    assert int(money["locked"]) == int(money["net"]) + int(money["fee"]) + int(money["refunded"])
    assert [step["event"]["kind"] for step in money["steps"]] == [
        "booking.reserved",
        "booking.activated",
        "booking.disputed",
        "dispute.opened",
        "dispute.answered",
        "dispute.voted",
        "booking.closed",
        "dispute.ruled",
    ]
    heights = [step["height"] for step in money["steps"]]
    assert heights == sorted(heights)
    closed = {pair["name"]: int(pair["value"]) for pair in money["steps"][6]["event"]["amounts"]}
    assert closed["refund"] == disputed * 2_500 // 10_000
    assert closed["forfeited"] == int(view["dispute"]["slashed"]) > 0
    assert closed["gross"] == int(money["net"]) + int(money["fee"])


async def test_lists(chamber: Chamber) -> None:
    opened = await chamber.do(OTHER, ChallengeHardware(chamber.gpu, "It is a 3060."))
    challenge, dispute = subject(opened, "dispute.opened", "dispute").hex(), chamber.dispute
    assert (await chamber.view(challenge))["text"] == "It is a 3060."
    assert await chamber.found() == [challenge, dispute]
    assert await chamber.found(party=chamber.text(PROVIDER.address)) == [challenge, dispute]
    assert await chamber.found(party=chamber.text(OTHER.address)) == [challenge]
    assert await chamber.found(voter=chamber.text(JUDGE.address)) == [challenge, dispute]
    assert await chamber.found(voter=chamber.text(OTHER.address)) == []
    assert await chamber.found(subject=chamber.booking.hex()) == [dispute]
    assert await chamber.found(kind="gpu") == [challenge]
    assert await chamber.found(status="answered") == []
    assert await chamber.found(limit=1) == [challenge]
    page = await chamber.call("dispute.list", limit=1)
    assert await chamber.found(limit=1, cursor=page["next_cursor"]) == [dispute]
    gpu = (await chamber.call("gpu.get", gpu=chamber.gpu.hex()))["view"]["gpu"]
    assert (gpu["challenge"], gpu["refuted"]) == (challenge, False)


async def test_it_is_over_by_the_clock(chamber: Chamber) -> None:
    for _ in range(2):
        chamber.solo.advance(after_ms=300_000)
    assert await chamber.found(pending=True) == []
    assert await chamber.found(status="unanswered") == [chamber.dispute]
    assert (await chamber.view())["status"] == "unanswered"


@pytest.mark.parametrize(
    "params", [{"status": "lost"}, {"kind": "person"}, {"party": "nobody"}, {"subject": "00"}, {"limit": 0}]
)
async def test_wrong_filters(chamber: Chamber, params: dict[str, Any]) -> None:
    assert (await chamber.fault("dispute.list", **params)).code in (-32602, 1102, 1103)


async def test_unknown(chamber: Chamber) -> None:
    fault = await chamber.fault("dispute.get", dispute=UNKNOWN)
    assert (fault.name, fault.data["kind"], fault.data["id"]) == ("not_found", "dispute", UNKNOWN)


async def test_a_dispute_is_proven(chamber: Chamber) -> None:
    found = await chamber.call("proof.record", kind="dispute", key=chamber.dispute)
    assert found["present"]
    assert found["record"]["subject"] == chamber.booking.hex()


async def test_a_refuted_gpu_is_off_the_market_although_the_queue_is_late(
    chamber: Chamber, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listed() -> list[str]:
        return [item["id"] for item in (await chamber.call("gpu.list"))["items"]]

    await chamber.do(OTHER, ChallengeHardware(chamber.gpu, "It is a 3060."))
    monkeypatch.setattr("chain.transition.run_due", lambda *_: 0)
    for _ in range(2):
        assert await listed() == [chamber.gpu.hex()]
        chamber.solo.advance(after_ms=300_000)
    assert await listed() == []
    view = (await chamber.call("gpu.get", gpu=chamber.gpu.hex()))["view"]
    assert (view["status"], view["gpu"]["status"], view["available"]) == ("retired", "retired", False)
    assert not (await chamber.call("gpu.availability", gpu=chamber.gpu.hex(), days=1))["bookable"]
