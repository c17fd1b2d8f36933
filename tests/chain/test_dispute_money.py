"""The money of disputed bookings: every row of the money table about them, and no way round what it says."""

from fractions import Fraction
from math import ceil, floor

import pytest

from chain.actions.accounts import Transfer
from chain.actions.bookings import ProviderCancel, Settle
from chain.actions.gpus import RetireGpu
from chain.bank import totals
from chain.booking import BookingStatus
from chain.dispute import DisputeStatus
from chain.inventory import GpuStatus, intervals
from chain.schema import COIN
from tests.court import RESPONSE_MS, RULES, VOTE_MS, Court
from tests.disputed import COST, PRICE, SECONDS, SLICE, WINDOW_MS, Stage, earned, released
from tests.ledger import DEFAULT_FEE, Person
from tests.market import TIGHT, altered, clog, open_deadlines

SCENES = [
    pytest.param(closing, by_provider, id=f"{'closing' if closing else 'active'}, by the {name}")
    for closing in (False, True)
    for by_provider, name in ((False, "renter"), (True, "provider"))
]


def claims(stage: Stage, closing: bool, by_provider: bool) -> tuple[int, int]:
    """(A, P) by the words of the money table, for a dispute in the block after everything else."""
    if closing:
        return released(stage.ended_ms), earned(stage.ended_ms + 1_000 - WINDOW_MS)
    gross = earned(stage.ended_ms) if by_provider else released(stage.ended_ms)
    return gross, earned(stage.ended_ms - WINDOW_MS)


@pytest.mark.parametrize(("closing", "by_provider"), SCENES)
class TestMoneyTable:
    def test_what_is_unpaid_is_frozen(self, closing: bool, by_provider: bool) -> None:
        stage = Stage(closing=closing)
        court, (total, paid) = stage.court, claims(stage, closing, by_provider)
        balance = court.balance(stage.party(by_provider))
        dispute = court.dispute(stage.open(by_provider))
        assert (dispute.earned, dispute.paid, dispute.collateral) == (total, paid, SLICE)
        assert dispute.deposit == COIN == totals(court.view).deposits
        booking, escrow = court.booking(stage.booking), court.escrow(stage.booking)
        assert booking.status is BookingStatus.DISPUTED
        assert (escrow.gross, escrow.refunded, escrow.remaining) == (paid, COST - total, total - paid)
        assert intervals(court.view, court.gpus[0]) == []
        assert court.stake(court.provider).collateral == 25 * COIN + SLICE
        already = 0 if by_provider or closing else COST - total
        net = paid - paid * 200 // 10_000 if by_provider else 0
        before = earned(stage.ended_ms - WINDOW_MS) if closing else 0
        net -= before - before * 200 // 10_000 if by_provider else 0
        assert court.balance(stage.party(by_provider)) == balance - COIN - DEFAULT_FEE + already + net

    @pytest.mark.parametrize(
        ("renter_share", "slash_share"), [(0, 0), (1, 777), (3_333, 10_000), (9_999, 1), (10_000, 0)]
    )
    def test_ruled(self, closing: bool, by_provider: bool, renter_share: int, slash_share: int) -> None:
        stage = Stage(closing=closing)
        total, paid = claims(stage, closing, by_provider)
        dispute_id = stage.open(by_provider)
        stage.court.respond(stage.party(not by_provider), dispute_id)
        stage.court.rule(dispute_id, renter_share, slash_share)
        gross = total - floor(Fraction((total - paid) * renter_share, 10_000))
        slashed = floor(Fraction(SLICE * slash_share, 10_000))
        won = floor(Fraction(COIN * renter_share, 10_000))
        shift = {"from_provider": won} if by_provider else {"from_renter": COIN - won}
        stage.purse.judge(stage.booking, COST, gross, slashed, **shift)
        dispute = stage.court.dispute(dispute_id)
        assert dispute.status is DisputeStatus.RULED
        assert (dispute.gross, dispute.slashed) == (gross, slashed)
        self.over(stage, gross)

    def test_answered_without_ruling(self, closing: bool, by_provider: bool) -> None:
        stage = Stage(closing=closing)
        total, _ = claims(stage, closing, by_provider)
        dispute_id = stage.open(by_provider)
        stage.court.respond(stage.party(not by_provider), dispute_id)
        stage.court.vote(0, dispute_id, 10_000, 10_000)
        stage.court.vote(1, dispute_id, 10_000, 10_000)
        stage.court.wait(VOTE_MS)
        stage.purse.judge(stage.booking, COST, total, SLICE if by_provider and not closing else 0)
        assert stage.court.dispute(dispute_id).status is DisputeStatus.UNDECIDED
        self.over(stage, total)

    def test_unanswered(self, closing: bool, by_provider: bool) -> None:
        stage = Stage(closing=closing)
        total, paid = claims(stage, closing, by_provider)
        dispute_id = stage.open(by_provider)
        stage.court.wait(RESPONSE_MS)
        gross = total if by_provider else paid
        stage.purse.judge(stage.booking, COST, gross, SLICE if by_provider and not closing else 0)
        assert stage.court.dispute(dispute_id).status is DisputeStatus.UNANSWERED
        self.over(stage, gross)

    @staticmethod
    def over(stage: Stage, gross: int) -> None:
        court, booking = stage.court, stage.court.booking(stage.booking)
        assert (booking.status, booking.gross, booking.closed_height is None) == (BookingStatus.CLOSED, gross, False)
        assert court.stake(court.provider).collateral == 25 * COIN
        assert totals(court.view).deposits == 0
        assert not open_deadlines(court)


class TestBefore:
    """What a dispute is about depends on the moment, and on who opens it."""

    def test_dispute_after_payment(self) -> None:
        """What was paid stays paid, whatever the ruling."""
        court = Court(price=PRICE)
        stage = Stage(court=court, used_ms=1_000_000)
        court.settle(stage.booking)
        assert court.escrow(stage.booking).gross == earned(1_000_000 - WINDOW_MS)
        dispute_id = stage.open(by_provider=False)
        assert court.dispute(dispute_id).paid == earned(1_001_000 - WINDOW_MS)
        court.respond(court.provider, dispute_id)
        court.rule(dispute_id, 10_000)
        assert court.escrow(stage.booking).gross == earned(1_001_000 - WINDOW_MS)

    @pytest.mark.parametrize("settled", [False, True])
    def test_nothing_depends_on_whether_somebody_settled(self, settled: bool) -> None:
        stage = Stage(used_ms=1_000_000)
        court = stage.court
        court.block(court.sign(court.other, Settle(stage.booking) if settled else Transfer(UNKNOWN_PAYEE, "AITBC", 1)))
        dispute = court.dispute(stage.open(by_provider=False))
        assert dispute.paid == earned(1_001_000 + 1_000 - WINDOW_MS - 1_000) or not dispute
        assert dispute.earned == released(1_001_000)

    @pytest.mark.parametrize("answered", [False, True])
    def test_no_way_round_the_collateral(self, answered: bool) -> None:
        """A provider who ends a booking by a dispute that nobody rules on pays what cancelling it costs."""
        stage = Stage(used_ms=2_000)
        dispute_id = stage.open(by_provider=True)
        if answered:
            stage.court.respond(stage.court.renter, dispute_id)
        stage.court.wait(VOTE_MS if answered else RESPONSE_MS)
        assert stage.court.dispute(dispute_id).slashed == SLICE

    @pytest.mark.parametrize("closing", [False, True])
    def test_no_way_to_shorten_the_time_that_the_renter_has_to_speak_up(self, closing: bool) -> None:
        stage = Stage(closing=closing, court=Court(price=PRICE, parameters=altered(RULES, dispute_response_seconds=30)))
        court = stage.court
        window = court.booking(stage.booking).payment_live_ms
        dispute_id = stage.open(by_provider=True)
        court.wait((court.live_ms + WINDOW_MS if window is None else window) - court.live_ms - 1)
        assert court.dispute(dispute_id).status is DisputeStatus.OPEN
        court.block(after_ms=1)
        assert court.dispute(dispute_id).status is DisputeStatus.UNANSWERED

    def test_a_renters_dispute_waits_no_longer_than_for_the_response(self) -> None:
        stage = Stage(closing=True, court=Court(price=PRICE, parameters=altered(RULES, dispute_response_seconds=30)))
        dispute_id = stage.open(by_provider=False)
        stage.court.wait(30_000)
        assert stage.court.dispute(dispute_id).status is DisputeStatus.UNANSWERED

    def test_no_way_round_the_release_charge(self) -> None:
        """A renter who disputes at once, and gets nothing by the ruling, pays what a release costs."""
        stage = Stage(used_ms=2_000)
        dispute_id = stage.open(by_provider=False)
        assert stage.court.dispute(dispute_id).earned == released(2_000)
        stage.court.respond(stage.court.provider, dispute_id)
        stage.court.rule(dispute_id)
        stage.purse.judge(stage.booking, COST, released(2_000), from_renter=COIN)

    def test_no_charge_while_a_gpu_is_offline(self) -> None:
        court = Court(price=PRICE, parameters=altered(RULES, heartbeat_timeout_seconds=120))
        stage = Stage(court=court)
        assert court.gpu(court.gpus[0]).status is GpuStatus.OFFLINE
        assert court.dispute(stage.open(by_provider=False)).earned == earned(400_000)

    def test_an_overdue_end_comes_first(self) -> None:
        """The queue is late and the booking's time over: the dispute is about the whole of it."""
        court = Court(price=PRICE, parameters=altered(TIGHT, dispute_window_seconds=4_000))
        stage = Stage(court=court)
        clog(court)
        court.wait(SECONDS * 1_000 - 400_000)
        dispute = court.dispute(stage.open(by_provider=False))
        assert (dispute.earned, dispute.paid) == (earned(SECONDS * 1_000), 0)

    def test_a_large_claim_takes_a_twentieth(self) -> None:
        court = Court(price=PRICE * 1_000, balance=100_000 * COIN)
        booking_id = court.active(seconds=SECONDS)
        court.wait_until(court.booking(booking_id).start_ms + WINDOW_MS - 1_000)
        dispute = court.dispute(court.open(court.provider, booking_id))
        assert dispute.deposit == ceil(Fraction(PRICE * 1_000 * WINDOW_MS, 3_600_000 * 20)) > COIN

    def test_the_calendar_is_free_again(self) -> None:
        stage = Stage()
        stage.open(by_provider=True)
        other = stage.court.active(seconds=SECONDS)
        assert stage.court.booking(other).status is BookingStatus.ACTIVE

    def test_a_retiring_gpu_does_not_wait_for_its_dispute(self) -> None:
        stage = Stage()
        gpu_id = stage.court.gpus[0]
        stage.court.do(stage.court.provider, RetireGpu(gpu_id))
        dispute_id = stage.open(by_provider=False)
        assert stage.court.gpu(gpu_id).status is GpuStatus.RETIRED
        assert stage.court.stake(stage.court.provider).collateral == SLICE
        stage.court.respond(stage.court.provider, dispute_id)
        stage.court.rule(dispute_id, 0, 10_000)
        assert stage.court.stake(stage.court.provider).collateral == 0

    def test_after_the_provider_gave_up_there_is_no_slice_left(self) -> None:
        stage = Stage()
        stage.court.do(stage.court.provider, ProviderCancel(stage.booking))
        dispute_id = stage.open(by_provider=False)
        assert stage.court.dispute(dispute_id).collateral == 0
        stage.court.respond(stage.court.provider, dispute_id)
        stage.court.rule(dispute_id, 10_000, 10_000)
        paid = earned(401_000 - WINDOW_MS)
        stage.purse.judge(stage.booking, COST, paid, SLICE)


UNKNOWN_PAYEE = Person("payee").address
