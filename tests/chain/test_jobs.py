"""Jobs: offered, claimed, metered by chained receipts, paid; every row of the money table and every refusal."""

from dataclasses import replace
from typing import Any

import pytest

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.bookings import Release
from chain.actions.gpus import RetireGpu
from chain.actions.jobs import AcceptJob, AddReceipt, CancelJob, ClaimJob, FailJob, SharePayload
from chain.actions.staking import AddStake
from chain.errors import InvalidField
from chain.inventory import GpuStatus, intervals
from chain.job import NO_RECEIPT, GpuFilter, JobStatus, Unit, receipt_hash
from chain.schema import COIN, U64
from tests.ledger import DEFAULT_FEE, Person
from tests.market import altered
from tests.workshop import PRICE, UNITS, Workshop

UNKNOWN = b"\x77" * 32


class Purse:
    """What everybody had before a job, to be compared with what the money table says."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.renter, self.provider = shop.wealth(shop.renter), shop.wealth(shop.provider)

    def judge(self, job_id: bytes, gross: int, forfeited: int = 0, *, by_renter: int, by_provider: int) -> None:
        shop, fee = self.shop, gross * 200 // 10_000
        escrow = shop.escrow(job_id)
        assert (escrow.gross, escrow.fee, escrow.remaining) == (gross, fee, 0)
        assert shop.wealth(shop.renter) == self.renter - gross + forfeited - by_renter * DEFAULT_FEE
        assert shop.wealth(shop.provider) == self.provider + gross - fee - forfeited - by_provider * DEFAULT_FEE
        assert shop.stake(shop.provider).collateral == 25 * COIN
        assert intervals(shop.view, shop.gpus[0]) == []


COST = UNITS * PRICE
SLICE = COST // 10


class TestMoney:
    """The job rows of the money table."""

    def test_cancelled_while_open(self) -> None:
        shop = Workshop()
        purse = Purse(shop)
        job_id = shop.submit()
        assert shop.escrow(job_id).remaining == COST
        shop.do(shop.renter, CancelJob(job_id))
        assert shop.job(job_id).status is JobStatus.CANCELLED
        purse.judge(job_id, 0, by_renter=2, by_provider=0)

    def test_expired_while_open(self) -> None:
        shop = Workshop()
        purse = Purse(shop)
        job_id = shop.submit(deadline_ms=shop.time_ms + 10_000)
        shop.wait(10_000)
        assert shop.job(job_id).status is JobStatus.EXPIRED
        purse.judge(job_id, 0, by_renter=1, by_provider=0)

    def test_payload_not_shared(self) -> None:
        shop = Workshop()
        purse = Purse(shop)
        job_id = shop.claimed()
        assert shop.stake(shop.provider).collateral == 25 * COIN + SLICE
        shop.wait(60_000)
        assert shop.job(job_id).status is JobStatus.EXPIRED
        purse.judge(job_id, 0, by_renter=1, by_provider=1)

    @pytest.mark.parametrize("units", [0, 1, UNITS])
    def test_accepted(self, units: int) -> None:
        shop = Workshop()
        purse = Purse(shop)
        job_id, receipt = shop.delivered(units)
        shop.do(shop.renter, AcceptJob(job_id, receipt))
        assert shop.job(job_id).status is JobStatus.ACCEPTED
        purse.judge(job_id, units * PRICE, by_renter=3, by_provider=2)

    def test_accepted_by_itself_after_the_window(self) -> None:
        shop = Workshop()
        purse = Purse(shop)
        job_id, _ = shop.delivered()
        shop.wait(299_999)
        assert shop.job(job_id).status is JobStatus.DELIVERED
        shop.block(after_ms=1)
        assert shop.job(job_id).status is JobStatus.ACCEPTED
        purse.judge(job_id, COST, by_renter=2, by_provider=2)

    def test_interim_receipts_pay_only_what_is_accepted(self) -> None:
        shop = Workshop()
        purse = Purse(shop)
        job_id = shop.shared()
        accepted = shop.report(job_id, 20)
        shop.do(shop.renter, AcceptJob(job_id, accepted))
        assert shop.escrow(job_id).gross == 20 * PRICE
        shop.report(job_id, 35)
        shop.wait(120_000)
        assert shop.job(job_id).status is JobStatus.OPEN
        shop.do(shop.renter, CancelJob(job_id))
        purse.judge(job_id, 20 * PRICE, SLICE, by_renter=4, by_provider=3)

    def test_provider_fails(self) -> None:
        shop = Workshop()
        purse = Purse(shop)
        job_id = shop.shared()
        shop.do(shop.provider, FailJob(job_id))
        job = shop.job(job_id)
        assert (job.status, job.tried) == (JobStatus.OPEN, (shop.provider.address,))
        shop.do(shop.renter, CancelJob(job_id))
        purse.judge(job_id, 0, SLICE // 2, by_renter=3, by_provider=2)

    def test_claim_times_out(self) -> None:
        shop = Workshop()
        purse = Purse(shop)
        job_id = shop.shared()
        shop.wait(120_000)
        assert shop.job(job_id).status is JobStatus.OPEN
        shop.do(shop.renter, CancelJob(job_id))
        purse.judge(job_id, 0, SLICE, by_renter=3, by_provider=1)

    def test_sharing_the_payload_late_does_not_cost_the_provider_his_collateral(self) -> None:
        """The time to work begins with the sharing, so a renter cannot let it run out first."""
        shop = Workshop()
        job_id = shop.claimed(claim_seconds=10)
        shop.wait(59_000)
        shop.do(shop.renter, SharePayload(job_id, b"k"), after_ms=999)
        shop.block(after_ms=8_999)
        shop.report(job_id, UNITS, final=True)
        assert shop.job(job_id).status is JobStatus.DELIVERED

    def test_a_second_provider_finishes_what_is_left(self) -> None:
        shop = Workshop()
        purse = Purse(shop)
        other_gpu = shop.register("other", owner=shop.other)
        job_id = shop.shared()
        shop.do(shop.renter, AcceptJob(job_id, shop.report(job_id, 30)))
        shop.do(shop.provider, FailJob(job_id))
        shop.do(shop.other, ClaimJob(job_id, other_gpu))
        shop.do(shop.renter, SharePayload(job_id, b"k"))
        left = shop.job(job_id).units_left
        assert left == 20
        refusal = shop.refused(shop.other, AddReceipt(shop.receipt(job_id, left + 1, final=True)))
        assert refusal[0] == "receipt_refused"
        before = shop.wealth(shop.other)
        receipt = shop.receipt(job_id, left, final=True)
        shop.do(shop.other, AddReceipt(receipt))
        shop.do(shop.renter, AcceptJob(job_id, receipt_hash(receipt)))
        gross = 20 * PRICE
        assert shop.wealth(shop.other) == before + gross - gross * 200 // 10_000 - DEFAULT_FEE
        assert shop.escrow(job_id).gross == COST
        assert shop.wealth(shop.renter) == purse.renter - COST + SLICE // 2 - 5 * DEFAULT_FEE

    def test_inside_a_booking_nothing_is_locked_or_paid(self) -> None:
        shop = Workshop()
        booking_id = shop.active(seconds=3_600)
        purse = shop.wealth(shop.renter), shop.wealth(shop.provider)
        job_id = shop.shared(booking=booking_id, unit_price=0)
        shop.do(shop.renter, AcceptJob(job_id, shop.report(job_id, 9, final=True)))
        assert shop.job(job_id).status is JobStatus.ACCEPTED
        assert (shop.wealth(shop.renter) + 3 * DEFAULT_FEE, shop.wealth(shop.provider) + 2 * DEFAULT_FEE) == purse

    def test_it_ends_with_its_booking(self) -> None:
        shop = Workshop()
        booking_id = shop.active(seconds=3_600)
        job_id = shop.shared(booking=booking_id, unit_price=0, claim_seconds=86_400)
        shop.do(shop.renter, Release(booking_id))
        error, data = shop.refused(shop.provider, AddReceipt(shop.receipt(job_id, 1)))
        assert (error, data["status"]) == ("wrong_job_status", "expired")


class TestSubmit:
    @pytest.mark.parametrize(
        "changes", [{"max_units": 0}, {"claim_seconds": 0}, {"claim_seconds": 30 * 86_400 + 1}, {"booking": UNKNOWN}]
    )
    def test_what_cannot_be_right(self, changes: dict[str, Any]) -> None:
        with pytest.raises(InvalidField):
            Workshop().submission(**changes).validate()

    @pytest.mark.parametrize("after_ms", [0, 1, 365 * 86_400_000, 365 * 86_400_000 + 1])
    def test_deadline(self, after_ms: int) -> None:
        shop = Workshop()
        action = shop.submission(deadline_ms=shop.time_ms + 1_000 + after_ms)
        if after_ms in (1, 365 * 86_400_000):
            shop.do(shop.renter, action)
        else:
            assert shop.refused(shop.renter, action)[0] == "job_time_refused"

    def test_insufficient_funds_and_overflow(self) -> None:
        shop = Workshop()
        error, data = shop.refused(shop.renter, shop.submission(unit_price=1_000 * COIN))
        assert (error, data["needed"]) == ("insufficient_funds", 50_000 * COIN)
        assert shop.refused(shop.renter, shop.submission(unit_price=U64))[0] == "amount_overflow"

    def test_in_a_booking_of_another_or_one_that_is_over(self) -> None:
        shop = Workshop()
        booking_id = shop.active()
        action = shop.submission(booking=booking_id, unit_price=0)
        assert shop.refused(shop.other, action) == (
            "not_authorized",
            {"needed": "renter", "account": shop.renter.address},
        )
        shop.do(shop.renter, Release(booking_id))
        assert shop.refused(shop.renter, action)[0] == "job_not_eligible"
        assert shop.refused(shop.renter, shop.submission(booking=UNKNOWN, unit_price=0))[0] == "not_found"


class TestClaim:
    def refusal(self, shop: Workshop, person: Person, action: ClaimJob) -> str:
        return shop.refused(person, action)[0]

    def test_occupies_the_gpu(self) -> None:
        shop = Workshop()
        shop.claimed()
        error, data = shop.refused(shop.renter, shop.reservation(seconds=60))
        assert (error, data["gpu"]) == ("booking_conflict", shop.gpus[0])
        other = shop.submit()
        assert self.refusal(shop, shop.provider, ClaimJob(other, shop.gpus[0])) == "booking_conflict"

    def test_own_job_foreign_gpu_no_gpu_unknown_gpu(self) -> None:
        shop = Workshop()
        job_id = shop.submit()
        assert self.refusal(shop, shop.renter, ClaimJob(job_id, shop.gpus[0])) == "job_not_eligible"
        assert self.refusal(shop, shop.other, ClaimJob(job_id, shop.gpus[0])) == "not_authorized"
        assert self.refusal(shop, shop.provider, ClaimJob(job_id)) == "job_not_eligible"
        assert self.refusal(shop, shop.provider, ClaimJob(job_id, UNKNOWN)) == "not_found"
        assert self.refusal(shop, shop.provider, ClaimJob(UNKNOWN, shop.gpus[0])) == "not_found"

    @pytest.mark.parametrize(
        "wanted", [GpuFilter(model="H100"), GpuFilter(region="us"), GpuFilter(minimum_memory_mb=24_577)]
    )
    def test_a_gpu_that_does_not_match(self, wanted: GpuFilter) -> None:
        shop = Workshop()
        job_id = shop.submit(gpu_filter=wanted)
        assert self.refusal(shop, shop.provider, ClaimJob(job_id, shop.gpus[0])) == "job_not_eligible"

    def test_an_offline_gpu(self) -> None:
        shop = Workshop(parameters=altered(heartbeat_timeout_seconds=60))
        job_id = shop.submit()
        shop.wait(60_000)
        assert self.refusal(shop, shop.provider, ClaimJob(job_id, shop.gpus[0])) == "gpu_unavailable"

    def test_insufficient_collateral(self) -> None:
        shop = Workshop(stake=25 * COIN)
        job_id = shop.submit()
        assert self.refusal(shop, shop.provider, ClaimJob(job_id, shop.gpus[0])) == "insufficient_collateral"

    def test_twice_and_again_after_a_failure(self) -> None:
        shop = Workshop()
        job_id = shop.claimed()
        assert self.refusal(shop, shop.provider, ClaimJob(job_id, shop.gpus[0])) == "wrong_job_status"
        shop.do(shop.provider, FailJob(job_id))
        assert self.refusal(shop, shop.provider, ClaimJob(job_id, shop.gpus[0])) == "job_not_eligible"

    def test_at_most_three_attempts(self) -> None:
        shop = Workshop()
        third = Person("third")
        shop.do(shop.other, Transfer(third.address, "AITBC", 100 * COIN))
        shop.do(third, AddStake(50 * COIN))
        job_id = shop.submit()
        for person in (shop.provider, shop.other, third):
            assert shop.job(job_id).status is JobStatus.OPEN
            gpu_id = shop.gpus[0] if person is shop.provider else shop.register(person.name, owner=person)
            shop.do(person, ClaimJob(job_id, gpu_id))
            shop.do(person, FailJob(job_id))
        assert shop.job(job_id).status is JobStatus.EXPIRED
        assert shop.escrow(job_id).refunded == COST

    def test_a_claimed_gpu_retires_with_the_job(self) -> None:
        shop = Workshop()
        job_id = shop.shared()
        shop.do(shop.provider, RetireGpu(shop.gpus[0]))
        assert shop.gpu(shop.gpus[0]).status is GpuStatus.RETIRING
        shop.report(job_id, 1, final=True)
        assert shop.gpu(shop.gpus[0]).status is GpuStatus.RETIRED

    def test_in_a_booking_only_its_provider_while_it_is_active(self) -> None:
        shop = Workshop()
        booking_id = shop.reserve()
        job_id = shop.submit(booking=booking_id, unit_price=0)
        assert self.refusal(shop, shop.other, ClaimJob(job_id)) == "not_authorized"
        assert self.refusal(shop, shop.provider, ClaimJob(job_id)) == "job_not_eligible"
        shop.activate(booking_id)
        shop.do(shop.provider, ClaimJob(job_id))


class TestReceipts:
    def test_by_a_stranger(self) -> None:
        """A receipt by a stranger."""
        shop = Workshop()
        job_id = shop.shared()
        for person in (shop.other, shop.renter):
            error, data = shop.refused(person, AddReceipt(shop.receipt(job_id, 1)))
            assert (error, data) == ("not_authorized", {"needed": "claimer", "account": shop.provider.address})

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"sequence": 1}, "sequence"),
            ({"sequence": 3}, "sequence"),
            ({"previous_hash": NO_RECEIPT}, "previous_hash"),
            ({"units_total": 9}, "units_total"),
            ({"units_total": UNITS + 1}, "units_total"),
            ({"started_ms": 0}, "started_ms"),
            ({"ended_ms": 0}, "started_ms"),
            ({"ended_ms": 1 << 52}, "started_ms"),
        ],
    )
    def test_what_does_not_continue_the_chain(self, changes: dict[str, Any], field: str) -> None:
        shop = Workshop()
        job_id = shop.shared()
        shop.report(job_id, 10)
        good = shop.receipt(job_id, 11)
        error, data = shop.refused(shop.provider, AddReceipt(replace(good, **changes)))
        assert (error, data["field"]) == ("receipt_refused", field)
        assert good.sequence == 2

    def test_time_units_are_at_most_the_time_that_passed(self) -> None:
        shop = Workshop()
        job_id = shop.shared(unit=Unit.GPU_SECOND)
        shop.block(after_ms=10_000)
        claim = shop.job(job_id).claim
        assert claim is not None
        passed = (shop.time_ms - claim.claimed_ms) // 1_000
        assert shop.refused(shop.provider, AddReceipt(shop.receipt(job_id, passed + 1)))[0] == "receipt_refused"
        early = shop.receipt(job_id, 1, ended_ms=claim.claimed_ms + 999)
        assert shop.refused(shop.provider, AddReceipt(early))[0] == "receipt_refused"
        shop.do(shop.provider, AddReceipt(shop.receipt(job_id, passed, ended_ms=claim.claimed_ms + passed * 1_000)))

    def test_before_the_payload_and_after_delivery(self) -> None:
        shop = Workshop()
        job_id = shop.claimed()
        assert shop.refused(shop.provider, AddReceipt(shop.receipt(job_id, 1)))[0] == "wrong_job_status"
        shop.do(shop.renter, SharePayload(job_id, b"k"))
        shop.report(job_id, 1, final=True)
        assert shop.refused(shop.provider, AddReceipt(shop.receipt(job_id, 2)))[0] == "wrong_job_status"

    def test_a_newer_receipt_must_be_seen_before_accepting(self) -> None:
        shop = Workshop()
        job_id = shop.shared()
        assert shop.refused(shop.renter, AcceptJob(job_id, NO_RECEIPT))[0] == "receipt_refused"
        first = shop.report(job_id, 1)
        second = shop.report(job_id, 2)
        assert shop.refused(shop.renter, AcceptJob(job_id, first)) == ("receipt_superseded", {"latest": second})

    def test_accepting_twice_pays_once(self) -> None:
        shop = Workshop()
        job_id = shop.shared()
        receipt = shop.report(job_id, 10)
        shop.do(shop.renter, AcceptJob(job_id, receipt), AcceptJob(job_id, receipt))
        assert shop.escrow(job_id).gross == 10 * PRICE


@pytest.mark.parametrize("state", ["open", "claimed", "payload_shared", "delivered", "accepted"])
def test_each_state_refuses_what_does_not_belong_to_it(state: str) -> None:
    shop = Workshop()
    receipt = NO_RECEIPT
    job_id = {"open": shop.submit, "claimed": shop.claimed, "payload_shared": shop.shared}.get(state, lambda: b"")()
    if not job_id:
        job_id, receipt = shop.delivered()
    if state == "accepted":
        shop.do(shop.renter, AcceptJob(job_id, receipt))
    allowed = {
        CancelJob: {"open"},
        SharePayload: {"claimed"},
        AcceptJob: {"payload_shared", "delivered"},
        FailJob: {"claimed", "payload_shared"},
    }
    attempts: list[tuple[Person, Action]] = [
        (shop.renter, CancelJob(job_id)),
        (shop.renter, SharePayload(job_id, b"k")),
        (shop.renter, AcceptJob(job_id, receipt)),
        (shop.provider, FailJob(job_id)),
    ]
    for person, action in attempts:
        if state not in allowed[type(action)]:
            error, data = shop.refused(person, action)
            assert (error, data["status"]) == ("wrong_job_status", state)
        assert shop.refused(shop.other, action)[0] in ("not_authorized", "wrong_job_status")
