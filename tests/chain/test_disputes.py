"""Disputes of bookings: who opens, answers and votes when, what ballots come to, and what remains afterwards."""

from dataclasses import replace

import pytest

from chain.actions.accounts import Transfer
from chain.actions.bookings import Cancel, Confirm, Extend, ProviderCancel, Release, Settle
from chain.actions.disputes import OpenDispute, RespondToDispute, VoteOnDispute
from chain.actions.reviews import SubmitReview
from chain.bank import account, adjust, totals
from chain.booking import BookingStatus
from chain.dispute import DISPUTES, Ballot, Dispute, DisputeKind, DisputeStatus, Fault, Ruling, count
from chain.errors import InvalidField
from chain.invariants import check_all
from chain.parameters import PARAMETERS
from chain.record import encode_record
from chain.schema import COIN
from chain.stake import seize, stake_of
from tests.court import RESPONSE_MS, RULES, VOTE_MS, Court, judges
from tests.disputed import COST, PRICE, SLICE, WINDOW_MS, Stage, earned, released
from tests.ledger import DEFAULT_FEE, Person
from tests.market import TIGHT, altered, booking_bytes, clog

UNKNOWN = b"\x77" * 32


class TestRefusals:
    def test_unknown_subject(self) -> None:
        court = Court()
        refused = court.refused(court.renter, OpenDispute(UNKNOWN, "x"))
        assert refused == ("not_found", {"kind": "booking or job", "id": UNKNOWN})
        for action in (RespondToDispute(UNKNOWN, "x"), VoteOnDispute(UNKNOWN, 0, 0, Fault.NOBODY)):
            assert court.refused(court.renter, action) == ("not_found", {"kind": "dispute", "id": UNKNOWN})

    def test_a_stranger_opens(self) -> None:
        stage = Stage()
        name, data = stage.court.refused(stage.court.other, OpenDispute(stage.booking, "x"))
        assert (name, data["needed"]) == ("not_authorized", "renter or provider")

    @pytest.mark.parametrize("state", ["reserved", "closed", "cancelled", "no_show"])
    def test_what_is_not_open_to_dispute(self, state: str) -> None:
        court = Court()
        booking_id = court.reserve(after_seconds=3_600)
        if state == "cancelled":
            court.cancel(booking_id)
        elif state == "no_show":
            court.wait(3_700_000, 15_000)
        elif state == "closed":
            booking_id = court.active(seconds=60)
            court.wait(60_000 + WINDOW_MS)
        name, data = court.refused(court.renter, OpenDispute(booking_id, "x"))
        assert (name, data) == (
            "not_disputable",
            {"subject": booking_id, "status": state, "needed": "active or closing"},
        )

    def test_once(self) -> None:
        stage = Stage()
        dispute_id = stage.open(by_provider=False)
        for person in (stage.court.renter, stage.court.provider):
            refused = stage.court.refused(person, OpenDispute(stage.booking, "x"))
            assert refused == ("already_disputed", {"subject": stage.booking, "dispute": dispute_id})
        stage.court.wait(RESPONSE_MS)
        name, _ = stage.court.refused(stage.court.renter, OpenDispute(stage.booking, "x"))
        assert name == "already_disputed"

    def test_twice_in_one_block(self) -> None:
        stage = Stage()
        court = stage.court
        both = [court.sign(person, OpenDispute(stage.booking, "x")) for person in (court.renter, court.provider)]
        assert [result.error for result in court.block(*both)] == ["", "already_disputed"]

    def test_the_deposit_must_be_there(self) -> None:
        stage = Stage()
        court = stage.court
        spare = court.balance(court.renter) - COIN - 2 * DEFAULT_FEE + 1
        court.do(court.renter, Transfer(court.other.address, "AITBC", spare))
        refused = court.refused(court.renter, OpenDispute(stage.booking, "x"))
        assert refused == ("insufficient_funds", {"needed": COIN, "available": COIN - 1})

    def test_only_the_other_party_responds_once(self) -> None:
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=False)
        for person in (court.renter, court.other, court.judges[0]):
            name, data = court.refused(person, RespondToDispute(dispute_id, "x"))
            assert (name, data) == ("not_authorized", {"needed": "respondent", "account": court.provider.address})
        court.respond(court.provider, dispute_id)
        name, data = court.refused(court.provider, RespondToDispute(dispute_id, "x"))
        assert (name, data) == (
            "wrong_dispute_status",
            {"dispute": dispute_id, "status": "answered", "needed": "open"},
        )

    def test_voting_begins_with_the_response(self) -> None:
        stage = Stage()
        dispute_id = stage.open(by_provider=False)
        name, data = stage.court.refused(stage.court.judges[0], VoteOnDispute(dispute_id, 0, 0, Fault.NOBODY))
        assert (name, data["status"], data["needed"]) == ("wrong_dispute_status", "open", "answered")

    def test_a_vote_by_a_stranger(self) -> None:
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=False)
        court.respond(court.provider, dispute_id)
        for person in (court.other, court.renter, court.provider):
            refused = court.refused(person, VoteOnDispute(dispute_id, 10_000, 0, Fault.NOBODY))
            assert refused == ("not_in_electorate", {"dispute": dispute_id, "account": person.address})

    def test_a_vote_cannot_be_changed(self) -> None:
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=False)
        court.respond(court.provider, dispute_id)
        court.vote(1, dispute_id, 10_000)
        refused = court.refused(court.judges[1], VoteOnDispute(dispute_id, 0, 0, Fault.NOBODY))
        assert refused == ("already_voted", {"dispute": dispute_id, "account": court.judges[1].address})

    def test_after_the_ruling(self) -> None:
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=False)
        court.respond(court.provider, dispute_id)
        court.rule(dispute_id)
        name, data = court.refused(court.judges[1], VoteOnDispute(dispute_id, 0, 0, Fault.NOBODY))
        assert (name, data["status"]) == ("wrong_dispute_status", "ruled")

    @pytest.mark.parametrize("kind", [Release, Confirm, Cancel, ProviderCancel, Settle, Extend])
    def test_a_disputed_booking_is_left_alone(self, kind: type) -> None:
        stage = Stage()
        stage.open(by_provider=False)
        action = Extend(stage.booking, 60, COIN) if kind is Extend else kind(stage.booking)
        sender = stage.court.provider if kind is ProviderCancel else stage.court.renter
        name, data = stage.court.refused(sender, action)
        assert (name, data["booking"], data["status"]) == ("wrong_booking_status", stage.booking, "disputed")

    def test_fields(self) -> None:
        for text in ("", " x", "x ", "x" * 501):
            with pytest.raises(InvalidField):
                from_text(text)
        for slash, fault in ((1, Fault.NOBODY), (10_000, Fault.RENTER)):
            with pytest.raises(InvalidField) as caught:
                VoteOnDispute(UNKNOWN, 0, slash, fault).validate()
            assert caught.value.data["field"] == "slash_share"
        VoteOnDispute(UNKNOWN, 0, 10_000, Fault.PROVIDER).validate()


def from_text(text: str) -> None:
    """Make and encode the actions that take a text."""
    for action in (OpenDispute(UNKNOWN, text), RespondToDispute(UNKNOWN, text)):
        encode_record(action)
        action.validate()


class TestElectorate:
    def test_a_party_that_is_an_authority_does_not_vote(self) -> None:
        renter, provider = Person("renter"), Person("provider")
        court = Court((renter, *judges(2), provider), price=PRICE)
        stage = Stage(court=court)
        dispute_id = stage.open(by_provider=False)
        assert court.dispute(dispute_id).electorate == tuple(judge.address for judge in judges(2))
        court.respond(court.provider, dispute_id)
        for person in (renter, provider):
            name, _ = court.refused(person, VoteOnDispute(dispute_id, 0, 0, Fault.NOBODY))
            assert name == "not_in_electorate"
        for judge in judges(2):
            court.vote(judge, dispute_id, 10_000)
        assert court.dispute(dispute_id).status is DisputeStatus.RULED

    def test_nobody_left_to_vote(self) -> None:
        """The response ends the dispute: nobody has to wait for voters that do not exist."""
        court = Court((Person("renter"), Person("provider")), price=PRICE)
        court.proposer = court.other.address  # the tips of what follows are nobody's here
        stage = Stage(court=court)
        dispute_id = stage.open(by_provider=False)
        court.respond(court.provider, dispute_id)
        assert court.dispute(dispute_id).status is DisputeStatus.UNDECIDED
        stage.purse.judge(stage.booking, COST, released(400_000))

    def test_a_quorum_rules_at_the_deadline(self) -> None:
        court = Court(judges(4), price=PRICE)
        stage = Stage(court=court)
        dispute_id = stage.open(by_provider=True)
        court.respond(court.renter, dispute_id)
        for judge in range(3):
            court.vote(judge, dispute_id, 5_000)
        assert court.dispute(dispute_id).status is DisputeStatus.ANSWERED
        court.wait(VOTE_MS - 3_000 - 1)
        assert court.dispute(dispute_id).status is DisputeStatus.ANSWERED
        court.block(after_ms=1)
        assert court.dispute(dispute_id).ruling == Ruling(5_000, 0, Fault.NOBODY)


def ballots(*votes: tuple[int, int, Fault], voters: int | None = None) -> Dispute:
    """A dispute with these votes of so many voters."""
    electorate = tuple(bytes([0]) + bytes([index]) * 32 for index in range(voters or len(votes)))
    return Dispute(
        DisputeKind.BOOKING, UNKNOWN, electorate[0], electorate[0], False, False, DisputeStatus.ANSWERED, UNKNOWN,
        UNKNOWN, 1, COIN, 0, COIN, 0, 0, electorate, 60, 60, 0,
        tuple(Ballot(index, *vote) for index, vote in enumerate(votes)),
    )  # fmt: skip


N, R, P = Fault.NOBODY, Fault.RENTER, Fault.PROVIDER


class TestCount:
    @pytest.mark.parametrize(
        ("votes", "ruling"),
        [
            ([(7, 0, N)], (7, 0, N)),
            ([(0, 0, R), (10_000, 10_000, P)], (0, 0, N)),
            ([(3_000, 0, R), (1_000, 0, R), (2_000, 0, N)], (2_000, 0, R)),
            ([(4_000, 4, P), (1_000, 0, R), (2_000, 3, P), (3_000, 0, R)], (2_000, 0, N)),
            ([(4_000, 4, P), (1_000, 2, P), (2_000, 3, P), (3_000, 0, R)], (2_000, 2, P)),
            ([(10_000, 10_000, P)] * 2 + [(0, 0, N)] * 3, (0, 0, N)),
            ([(10_000, 10_000, P)] * 3 + [(0, 0, R)] + [(0, 0, N)], (10_000, 10_000, P)),
            ([(0, 0, N), (0, 0, R), (10_000, 10_000, P)], (0, 0, N)),
        ],
    )
    def test_lower_medians_and_plurality(self, votes: list[tuple[int, int, Fault]], ruling: tuple[int, int, Fault]):  # type: ignore[no-untyped-def]
        for order in (votes, votes[::-1]):
            assert count(ballots(*order)) == Ruling(*ruling)

    @pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (7, 5), (127, 85)])
    def test_the_quorum_is_that_of_the_electorate(self, voters: int, needed: int) -> None:
        votes = [(10_000, 0, N)] * needed
        assert count(ballots(*votes, voters=voters)) == Ruling(10_000, 0, N)
        assert count(ballots(*votes[:-1], voters=voters)) is None


class TestTime:
    """Live time alone decides, to the millisecond, whatever the chain did meanwhile."""

    @pytest.mark.parametrize("late_ms", [-1, 0])
    def test_the_last_moment_to_respond(self, late_ms: int) -> None:
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=False)
        court.wait(RESPONSE_MS - 1_000)
        result = court.run(court.provider, RespondToDispute(dispute_id, "x"), after_ms=1_000 + late_ms)
        assert result.succeeded == (late_ms < 0)
        if late_ms == 0:
            assert (result.error, dict(result.error_data)["status"]) == ("wrong_dispute_status", "unanswered")

    @pytest.mark.parametrize("late_ms", [-1, 0])
    def test_the_last_moment_to_vote(self, late_ms: int) -> None:
        court = Court(judges(1), price=PRICE)
        stage = Stage(court=court)
        dispute_id = stage.open(by_provider=False)
        court.respond(court.provider, dispute_id)
        court.wait(VOTE_MS - 1_000)
        result = court.run(court.judges[0], VoteOnDispute(dispute_id, 0, 0, N), after_ms=1_000 + late_ms)
        assert result.succeeded == (late_ms < 0)
        expected = DisputeStatus.RULED if late_ms < 0 else DisputeStatus.UNDECIDED
        assert court.dispute(dispute_id).status is expected

    def test_an_outage_over_both_deadlines_punishes_nobody(self) -> None:
        hours = 3 * 3_600_000
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=False)
        court.block(after_ms=hours)
        assert court.dispute(dispute_id).status is DisputeStatus.OPEN
        court.respond(court.provider, dispute_id)
        court.block(after_ms=hours)
        assert court.dispute(dispute_id).status is DisputeStatus.ANSWERED
        court.rule(dispute_id, 10_000)
        assert court.dispute(dispute_id).status is DisputeStatus.RULED

    @pytest.mark.parametrize("answered", [False, True])
    def test_a_late_queue_decides_nothing(self, answered: bool) -> None:
        court = Court(price=PRICE, parameters=TIGHT)
        stage = Stage(court=court)
        dispute_id = stage.open(by_provider=False)
        total, paid = released(400_000), earned(400_000 - WINDOW_MS)
        if answered:
            court.respond(court.provider, dispute_id)
        clog(court)
        court.wait(400_000)
        assert court.dispute(dispute_id).closed_height is None, "the queue has not come so far"
        name, data = court.refused(court.judges[0], VoteOnDispute(dispute_id, 10_000, 0, N))
        assert (name, data["status"]) == ("wrong_dispute_status", "undecided" if answered else "unanswered")
        court.settle(stage.booking)
        stage.purse.judge(stage.booking, COST, total if answered else paid)
        check_all(court.view)

    def test_deadlines_are_those_of_the_opening(self) -> None:
        stage = Stage()
        dispute = stage.court.dispute(stage.open(by_provider=False))
        assert dispute.deadline_live_ms == stage.court.live_ms + RESPONSE_MS
        assert dispute.vote_seconds * 1_000 == VOTE_MS


class TestAfterwards:
    def test_a_ruled_booking_is_reviewed_like_any_other(self) -> None:
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=False)
        court.respond(court.provider, dispute_id)
        court.rule(dispute_id, 5_000)
        court.do(court.renter, SubmitReview(stage.booking, 1, "broken"))

    def test_nothing_paid_nothing_to_review(self) -> None:
        stage = Stage(used_ms=100_000)
        court = stage.court
        stage.open(by_provider=False)
        court.wait(RESPONSE_MS)
        name, _ = court.refused(court.renter, SubmitReview(stage.booking, 1, "broken"))
        assert name == "not_eligible_to_review"

    def test_the_events_tell_the_story(self) -> None:
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=True)
        court.respond(court.renter, dispute_id)
        last = [court.vote(judge, dispute_id, 2_500, 10_000) for judge in range(3)][-1]
        events = {event.kind: event for event in last.events}
        told = ["dispute.voted", "booking.closed", "dispute.ruled"]
        assert [event.kind for event in last.events if ("booking", stage.booking) in event.subjects] == told
        dispute, escrow = court.dispute(dispute_id), court.escrow(stage.booking)
        closed = dict(events["booking.closed"].amounts)
        assert closed["gross"] == dispute.gross == escrow.gross
        assert closed["refund"] == (dispute.earned - dispute.paid) * 2_500 // 10_000
        assert closed["forfeited"] == SLICE
        assert dict(events["dispute.ruled"].amounts) == {
            "renter_share": 2_500,
            "slash_share": 10_000,
            "claimed": dispute.earned,
            "granted": dispute.gross,
            "slashed": SLICE,
            "deposit_to_opener": COIN * 3 // 4,
            "deposit_to_respondent": COIN // 4,
        }
        for kind in ("dispute.voted", "dispute.ruled"):
            assert ("at_fault", court.provider.address) in events[kind].subjects

    @pytest.mark.parametrize("answered", [False, True])
    def test_how_it_ended_is_the_kind_of_the_last_event(self, answered: bool) -> None:
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=True)
        if answered:
            court.respond(court.renter, dispute_id)
            court.vote(0, dispute_id, 0, 0, Fault.RENTER)
        court.wait(court.dispute(dispute_id).deadline_live_ms - court.live_ms)
        assert court.outcome is not None
        told = [event.kind for event in court.outcome.system.events if ("dispute", dispute_id) in event.subjects]
        assert told == ["deposit.returned", "dispute.undecided" if answered else "dispute.unanswered"]

    def test_the_record_is_paid_for_and_forgotten(self) -> None:
        """The opener pays for its bytes at its fullest, and gets that back when it leaves the state."""
        parameters = altered(RULES, storage_deposit_per_byte=1_000, review_window_seconds=3_600)
        stage = Stage(court=Court(judges(20), price=PRICE, parameters=parameters))
        court = stage.court
        before = totals(court.view).deposits
        dispute_id = stage.open(by_provider=False)
        storage = court.dispute(dispute_id).storage
        assert totals(court.view).deposits == before + COIN + storage
        court.respond(court.provider, dispute_id)
        due_ms = court.dispute(dispute_id).deadline_live_ms + 3_600_000
        with court.system() as context:  # changes nothing for what is open
            PARAMETERS.put(context.view, replace(context.parameters, review_window_seconds=7_200))
        court.rule(dispute_id, 10_000, 10_000)
        assert 40 + len(encode_record(court.dispute(dispute_id))) <= storage // 1_000
        assert totals(court.view).deposits == before + storage
        court.wait(due_ms - court.live_ms - 1)
        assert court.dispute(dispute_id).forget_live_ms == due_ms
        balance = court.balance(court.renter)
        court.block(after_ms=1)
        assert DISPUTES.get(court.view, dispute_id) is None
        assert court.balance(court.renter) == balance + storage
        assert totals(court.view).deposits == before - booking_bytes() * 1_000, "the booking went before"
        name, _ = court.refused(court.renter, OpenDispute(stage.booking, "again"))
        assert name == "not_found"

    @pytest.mark.parametrize("decided", [False, True])
    def test_nothing_finds_what_should_have_left(self, decided: bool) -> None:
        """The clock forgets it, whatever the due queue has reached."""
        court = Court(price=PRICE, parameters=altered(TIGHT, review_window_seconds=60))
        stage = Stage(court=court)
        dispute_id = stage.open(by_provider=False)
        court.respond(court.provider, dispute_id)
        if decided:
            court.rule(dispute_id, 5_000)
        clog(court)
        court.wait(RESPONSE_MS + 60_000)
        assert DISPUTES.get(court.view, dispute_id) is not None, "the queue has not come so far"
        gone = ("not_found", {"kind": "dispute", "id": dispute_id})
        assert court.refused(court.judges[0], VoteOnDispute(dispute_id, 0, 0, N)) == gone
        assert court.refused(court.provider, RespondToDispute(dispute_id, "x")) == gone

    def test_a_slash_may_have_left_less(self) -> None:
        """What is given to the renter is what there is."""
        stage = Stage()
        court, dispute_id = stage.court, stage.open(by_provider=False)
        court.respond(court.provider, dispute_id)
        with court.system() as context:
            rest = stake_of(context.view, court.provider.address).amount - 5
            seize(context, court.provider.address, rest)
            adjust(context.view, burnt=rest)
        balance = court.balance(court.renter)
        court.rule(dispute_id, 0, 10_000)
        assert court.dispute(dispute_id).slashed == 5
        assert court.balance(court.renter) == balance + 5
        assert court.stake(court.provider).amount == 0

    def test_a_failed_dispute_leaves_nothing(self) -> None:
        stage = Stage()
        court = stage.court
        pay_too_much = Transfer(court.other.address, "AITBC", 10**18)
        assert court.run(court.renter, OpenDispute(stage.booking, "x"), pay_too_much).failed_action == 1
        assert court.booking(stage.booking).status is BookingStatus.ACTIVE
        assert totals(court.view).deposits == 0
        assert account(court.view, court.renter.address).balance > 0
