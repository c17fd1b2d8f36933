"""Disputes of delivered jobs: the money table's rows about them, and what cannot be disputed."""

from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest

from chain.actions.disputes import OpenDispute
from chain.actions.jobs import AcceptJob, AddReceipt, CancelJob, ClaimJob, FailJob, SharePayload
from chain.actions.reviews import SubmitReview
from chain.bank import totals
from chain.dispute import DisputeKind, DisputeStatus, Fault
from chain.job import JobStatus
from chain.reputation import reputation_of
from chain.schema import COIN
from tests.court import RESPONSE_MS, RULES, VOTE_MS, Court, Purse
from tests.ledger import Person
from tests.market import TIGHT, altered, clog
from tests.workshop import UNITS, Workshop

PRICE = 30_000_000_007
"""Of one unit: no amount that follows from it is round."""
COST = UNITS * PRICE
SLICE = 25 * COIN
WINDOW_MS = 300_000


class JobCourt(Court, Workshop):
    """A workshop whose jobs are disputed and judged."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.purse = Purse(self)

    def done(self, units: int = 40, interim: int = 11) -> bytes:
        """A delivered job of which the renter accepted a part before."""
        job_id = self.shared(unit_price=PRICE)
        receipt = self.report(job_id, interim)
        self.do(self.renter, AcceptJob(job_id, receipt))
        self.report(job_id, units, final=True)
        return job_id

    def party(self, provider: bool) -> Person:
        return self.provider if provider else self.renter


BY = pytest.mark.parametrize("by_provider", [False, True], ids=["by the renter", "by the provider"])


@BY
class TestMoneyTable:
    def test_what_is_unpaid_is_frozen(self, by_provider: bool) -> None:
        court = JobCourt()
        job_id = court.done()
        dispute = court.dispute(court.open(court.party(by_provider), job_id))
        assert (dispute.kind, dispute.by_provider) == (DisputeKind.JOB, by_provider)
        assert (dispute.earned, dispute.paid, dispute.collateral) == (40 * PRICE, 11 * PRICE, SLICE)
        assert dispute.deposit == ceil(Fraction(29 * PRICE, 20)) > COIN
        escrow = court.escrow(job_id)
        assert (escrow.gross, escrow.refunded, escrow.remaining) == (11 * PRICE, 10 * PRICE, 29 * PRICE)
        assert court.job(job_id).status is JobStatus.DISPUTED
        assert court.stake(court.provider).collateral == 25 * COIN + SLICE
        court.wait(WINDOW_MS - 10_000)
        assert court.job(job_id).status is JobStatus.DISPUTED

    @pytest.mark.parametrize(("renter_share", "slash_share"), [(0, 0), (1, 1), (3_333, 10_000), (10_000, 777)])
    def test_ruled(self, by_provider: bool, renter_share: int, slash_share: int) -> None:
        court = JobCourt()
        job_id = court.done()
        dispute_id = court.open(court.party(by_provider), job_id)
        deposit = court.dispute(dispute_id).deposit
        court.respond(court.party(not by_provider), dispute_id)
        court.rule(dispute_id, renter_share, slash_share)
        gross = 40 * PRICE - floor(Fraction(29 * PRICE * renter_share, 10_000))
        won = floor(Fraction(deposit * renter_share, 10_000))
        shift = {"from_provider": won} if by_provider else {"from_renter": deposit - won}
        court.purse.judge(job_id, COST, gross, floor(Fraction(SLICE * slash_share, 10_000)), **shift)
        self.over(court, job_id)

    def test_answered_without_ruling(self, by_provider: bool) -> None:
        court = JobCourt()
        job_id = court.done()
        dispute_id = court.open(court.party(by_provider), job_id)
        court.respond(court.party(not by_provider), dispute_id)
        court.vote(0, dispute_id, 10_000, 10_000)
        court.wait(VOTE_MS)
        court.purse.judge(job_id, COST, 40 * PRICE)
        self.over(court, job_id)

    def test_unanswered(self, by_provider: bool) -> None:
        court = JobCourt()
        job_id = court.done()
        dispute_id = court.open(court.party(by_provider), job_id)
        court.wait(RESPONSE_MS)
        assert court.dispute(dispute_id).status is DisputeStatus.UNANSWERED
        court.purse.judge(job_id, COST, (40 if by_provider else 11) * PRICE)
        self.over(court, job_id)

    @staticmethod
    def over(court: JobCourt, job_id: bytes) -> None:
        assert court.job(job_id).status is JobStatus.CLOSED
        assert court.stake(court.provider).collateral == 25 * COIN
        assert totals(court.view).deposits == 0


def test_the_provider_cannot_shorten_the_time_that_the_renter_has_to_speak_up() -> None:
    court = JobCourt(parameters=altered(RULES, dispute_response_seconds=30))
    job_id = court.done()
    accepted_live_ms = court.job(job_id).acceptance_live_ms
    assert accepted_live_ms is not None
    dispute_id = court.open(court.provider, job_id)
    court.wait(accepted_live_ms - court.live_ms - 1)
    assert court.dispute(dispute_id).status is DisputeStatus.OPEN
    court.block(after_ms=1)
    assert court.dispute(dispute_id).status is DisputeStatus.UNANSWERED


def test_earlier_attempts_stay_paid() -> None:
    """The job was reopened once: what the first provider was paid is no part of the dispute."""
    court = JobCourt()
    job_id = court.shared(unit_price=PRICE)
    court.do(court.renter, AcceptJob(job_id, court.report(job_id, 7)))
    court.do(court.provider, FailJob(job_id))
    gpu_id = court.register("second", owner=court.other)
    court.do(court.other, ClaimJob(job_id, gpu_id))
    court.do(court.renter, SharePayload(job_id, b"key"))
    court.do(court.other, AddReceipt(court.receipt(job_id, 13, final=True)))
    assert court.refused(court.provider, OpenDispute(job_id, "mine"))[0] == "not_authorized"
    dispute_id = court.open(court.renter, job_id)
    dispute = court.dispute(dispute_id)
    assert (dispute.respondent, dispute.earned, dispute.paid) == (court.other.address, 20 * PRICE, 7 * PRICE)
    court.respond(court.other, dispute_id)
    court.rule(dispute_id, 10_000)
    assert court.escrow(job_id).gross == 7 * PRICE


class TestRefusals:
    def test_a_job_inside_a_booking(self) -> None:
        court = JobCourt()
        booking_id = court.active(seconds=7_200)
        job_id = court.shared(booking=booking_id, unit_price=0)
        court.report(job_id, 5, final=True)
        name, data = court.refused(court.renter, OpenDispute(job_id, "x"))
        assert (name, data["booking"]) == ("not_disputable", booking_id)

    @pytest.mark.parametrize("state", ["open", "claimed", "payload_shared", "cancelled", "accepted", "expired"])
    def test_what_is_not_delivered(self, state: str) -> None:
        court = JobCourt()
        job_id = court.submit()
        if state == "cancelled":
            court.do(court.renter, CancelJob(job_id))
        if state not in ("open", "cancelled"):
            court.do(court.provider, ClaimJob(job_id, court.gpus[0]))
        if state == "expired":
            court.wait(60_000)
        if state in ("payload_shared", "accepted"):
            court.do(court.renter, SharePayload(job_id, b"key"))
        if state == "accepted":
            court.report(job_id, 1, final=True)
            court.wait(WINDOW_MS)
        name, data = court.refused(court.renter, OpenDispute(job_id, "x"))
        assert (name, data) == ("not_disputable", {"subject": job_id, "status": state, "needed": "delivered"})

    def test_the_window_is_over_although_the_queue_is_late(self) -> None:
        court = JobCourt(parameters=TIGHT)
        job_id = court.done()
        clog(court)
        court.wait(WINDOW_MS)
        assert court.job(job_id).status is JobStatus.DELIVERED
        name, data = court.refused(court.renter, OpenDispute(job_id, "x"))
        assert (name, data["status"]) == ("not_disputable", "accepted")

    def test_a_stranger_and_once(self) -> None:
        court = JobCourt()
        job_id = court.done()
        assert court.refused(court.other, OpenDispute(job_id, "x"))[0] == "not_authorized"
        dispute_id = court.open(court.renter, job_id)
        refused = court.refused(court.provider, OpenDispute(job_id, "x"))
        assert refused == ("already_disputed", {"subject": job_id, "dispute": dispute_id})

    def test_a_disputed_job_is_left_alone(self) -> None:
        court = JobCourt()
        job_id = court.done()
        claim = court.job(job_id).claim
        assert claim is not None
        court.open(court.provider, job_id)
        for sender, action in (
            (court.renter, AcceptJob(job_id, claim.last_receipt)),
            (court.renter, CancelJob(job_id)),
            (court.provider, FailJob(job_id)),
        ):
            name, data = court.refused(sender, action)
            assert (name, data["status"]) == ("wrong_job_status", "disputed")


class TestAfterwards:
    @pytest.mark.parametrize(("fault", "lost"), [(Fault.PROVIDER, 1), (Fault.RENTER, 0), (Fault.NOBODY, 0)])
    def test_fault_is_remembered(self, fault: Fault, lost: int) -> None:
        court = JobCourt()
        dispute_id = court.open(court.renter, court.done())
        court.respond(court.provider, dispute_id)
        court.rule(dispute_id, 5_000, 0, fault)
        device = court.gpu(court.gpus[0]).hardware.hardware_hash
        for known in (court.provider.address, device):
            assert reputation_of(court.view, known).disputes_lost == lost

    @BY
    def test_silence_loses(self, by_provider: bool) -> None:
        court = JobCourt()
        court.open(court.party(by_provider), court.done())
        court.wait(RESPONSE_MS)
        assert reputation_of(court.view, court.provider.address).disputes_lost == (0 if by_provider else 1)

    def test_what_was_paid_may_be_reviewed(self) -> None:
        court = JobCourt()
        job_id = court.done()
        court.open(court.renter, job_id)
        assert court.refused(court.renter, SubmitReview(job_id, 1, "x"))[0] == "not_eligible_to_review"
        court.wait(RESPONSE_MS)
        court.do(court.renter, SubmitReview(job_id, 1, "never answered"))

    def test_a_late_queue_decides_nothing(self) -> None:
        court = JobCourt(parameters=TIGHT)
        job_id = court.done()
        court.open(court.renter, job_id)
        clog(court)
        court.wait(RESPONSE_MS)
        assert court.job(job_id).status is JobStatus.DISPUTED
        court.do(court.renter, SubmitReview(job_id, 1, "never answered"))
        court.purse.judge(job_id, COST, 11 * PRICE)
