"""Reviews: by whom, of what, once and in time."""

from dataclasses import replace

import pytest

from chain.actions.bookings import Cancel, ProviderCancel
from chain.actions.reviews import REVIEWS, HideText, ReplyToReview, SubmitReview
from chain.crypto.hashing import sha256
from chain.errors import InvalidField
from chain.governance import GOVERNANCE_ACCOUNT, run
from chain.parameters import Parameters
from chain.record import decode_record, encode_record
from tests.market import PRICE, UNHURRIED, Market, altered

UNKNOWN = b"\x77" * 32


def closed(market: Market) -> bytes:
    """A booking that is over and paid."""
    booking_id = market.active()
    market.release(booking_id)
    market.confirm(booking_id)
    return booking_id


def test_a_review_tells_what_was_paid() -> None:
    market = Market()
    booking_id = closed(market)
    result = market.do(market.renter, SubmitReview(booking_id, 4, "solid"))
    review = REVIEWS.get(market.view, booking_id)
    assert review is not None
    escrow = market.escrow(booking_id)
    assert (review.author, review.provider, review.rating) == (market.renter.address, market.provider.address, 4)
    assert (review.paid, review.fee) == (escrow.gross, escrow.fee)
    assert review.comment_hash == sha256(b"solid")
    assert review.hardware == (market.gpu(market.gpus[0]).hardware.hardware_hash,)
    assert review.txid == result.txid
    assert escrow.gross < PRICE


@pytest.mark.parametrize("rating", [0, 6])
def test_ratings_are_one_to_five(rating: int) -> None:
    with pytest.raises(InvalidField):
        decode_record(SubmitReview, encode_record(SubmitReview(UNKNOWN, rating)))


def test_comments_are_bounded_and_trimmed() -> None:
    with pytest.raises(InvalidField):
        encode_record(SubmitReview(UNKNOWN, 5, "x" * 501))
    for comment in (" x", "x\n"):
        with pytest.raises(InvalidField):
            SubmitReview(UNKNOWN, 5, comment).validate()


class TestReply:
    def reviewed(self) -> tuple[Market, bytes]:
        market = Market()
        booking_id = closed(market)
        market.do(market.renter, SubmitReview(booking_id, 2, "slow"))
        return market, booking_id

    def test_the_provider_answers_once(self) -> None:
        market, booking_id = self.reviewed()
        before = REVIEWS.get(market.view, booking_id)
        result = market.do(market.provider, ReplyToReview(booking_id, "we have replaced the disk"))
        review = REVIEWS.get(market.view, booking_id)
        assert review is not None
        assert before is not None
        assert (review.reply_hash, review.reply_txid) == (sha256(b"we have replaced the disk"), result.txid)
        assert replace(review, reply_hash=None, reply_txid=None) == before
        (event,) = result.events
        assert event.kind == "review.replied"
        assert dict(event.subjects) == {
            "subject": booking_id,
            "provider": market.provider.address,
            "renter": market.renter.address,
        }
        refusal = market.refused(market.provider, ReplyToReview(booking_id, "and the fan"))
        assert refusal == ("already_replied", {"subject": booking_id})

    def test_by_another(self) -> None:
        market, booking_id = self.reviewed()
        data = {"needed": "provider", "account": market.provider.address}
        for person in (market.renter, market.other):
            assert market.refused(person, ReplyToReview(booking_id, "x")) == ("not_authorized", data)

    def test_to_what_was_not_reviewed(self) -> None:
        market = Market()
        for subject in (UNKNOWN, closed(market)):
            refusal = market.refused(market.provider, ReplyToReview(subject, "x"))
            assert refusal == ("not_found", {"kind": "review", "id": subject})

    def test_is_bounded_and_trimmed(self) -> None:
        for comment in ("", "x" * 501):
            with pytest.raises(InvalidField):
                encode_record(ReplyToReview(UNKNOWN, comment))
        for comment in (" x", "x\n"):
            with pytest.raises(InvalidField):
                ReplyToReview(UNKNOWN, comment).validate()

    def test_of_a_booking_that_the_provider_broke_off(self) -> None:
        """What was used was paid, so it may be reviewed."""
        market = Market()
        booking_id = market.active()
        market.wait(60_000)
        market.do(market.provider, ProviderCancel(booking_id))
        market.confirm(booking_id)
        market.do(market.renter, SubmitReview(booking_id, 1))
        market.do(market.provider, ReplyToReview(booking_id, "a power cut"))


class TestEligibility:
    def refusal(self, market: Market, person: object, subject: bytes) -> tuple[str, object]:
        error, data = market.refused(person, SubmitReview(subject, 5))  # type: ignore[arg-type]
        return error, data.get("reason")

    def test_only_its_renter(self) -> None:
        market = Market()
        booking_id = closed(market)
        for person in (market.provider, market.other):
            assert self.refusal(market, person, booking_id) == (
                "not_eligible_to_review",
                "the sender was not its renter",
            )

    def test_once(self) -> None:
        market = Market()
        booking_id = closed(market)
        market.do(market.renter, SubmitReview(booking_id, 5))
        assert self.refusal(market, market.renter, booking_id) == ("not_eligible_to_review", "it has been reviewed")

    def test_not_before_it_is_closed(self) -> None:
        market = Market()
        booking_id = market.active()
        reason = ("not_eligible_to_review", "it is not finished and paid")
        assert self.refusal(market, market.renter, booking_id) == reason
        market.release(booking_id)
        assert self.refusal(market, market.renter, booking_id) == reason

    def test_closed_by_the_clocks_is_closed(self) -> None:
        market = Market(parameters=altered(dispute_window_seconds=10))
        booking_id = market.active()
        market.release(booking_id)
        market.do(market.renter, SubmitReview(booking_id, 5), after_ms=10_000)

    @pytest.mark.parametrize("path", ["cancelled", "no_show", "free"])
    def test_not_what_was_never_used_or_paid(self, path: str) -> None:
        market = Market(price=0 if path == "free" else PRICE)
        if path == "free":
            booking_id = closed(market)
        else:
            booking_id = market.reserve(after_seconds=60)
            if path == "cancelled":
                market.do(market.renter, Cancel(booking_id))
            else:
                market.wait(120_000)
        assert self.refusal(market, market.renter, booking_id)[0] == "not_eligible_to_review"

    @pytest.mark.parametrize("late_ms", [-1, 0])
    def test_in_time(self, late_ms: int) -> None:
        parameters: Parameters = altered(UNHURRIED, review_window_seconds=100)
        market = Market(parameters=parameters)
        booking_id = market.active()
        market.release(booking_id)
        ended_ms = market.time_ms
        market.confirm(booking_id)
        market.wait_until(ended_ms + 99_000)
        result = market.run(market.renter, SubmitReview(booking_id, 5), after_ms=1_000 + late_ms)
        assert result.succeeded is (late_ms < 0)

    def test_it_stays_as_long_as_what_it_is_about(self) -> None:
        """Or that could be reviewed again."""
        market = Market(parameters=altered(UNHURRIED, review_window_seconds=100, review_retention_seconds=10))
        booking_id = closed(market)
        ended_ms = market.booking(booking_id).ended_ms
        assert ended_ms is not None
        market.do(market.renter, SubmitReview(booking_id, 5))
        market.wait_until(ended_ms + 98_000)
        assert self.refusal(market, market.renter, booking_id)[0] == "not_eligible_to_review"
        market.wait_until(ended_ms + 101_000)
        assert REVIEWS.get(market.view, booking_id) is None

    def test_of_nothing(self) -> None:
        market = Market()
        assert market.refused(market.renter, SubmitReview(UNKNOWN, 5))[0] == "not_found"


class TestHide:
    """What a passed measure does; how one passes is tested with governance."""

    def reviewed(self) -> tuple[Market, bytes]:
        market = Market()
        booking_id = closed(market)
        market.do(market.renter, SubmitReview(booking_id, 1, "rude words"))
        return market, booking_id

    @pytest.mark.parametrize("reply", [False, True])
    def test_the_text_goes_and_the_rating_stays(self, reply: bool) -> None:
        market, booking_id = self.reviewed()
        market.do(market.provider, ReplyToReview(booking_id, "ruder words"))
        before = REVIEWS.get(market.view, booking_id)
        assert before is not None
        with market.system() as context:
            run(context.acting_as(GOVERNANCE_ACCOUNT), [HideText(booking_id, reply)])
            (event,) = context.events
        after = REVIEWS.get(market.view, booking_id)
        assert after == replace(before, hidden=not reply, reply_hidden=reply)
        assert (event.kind, dict(event.amounts)) == ("review.text_hidden", {"reply": int(reply)})

    def test_what_is_not_there(self) -> None:
        market, booking_id = self.reviewed()
        for action, kind in ((HideText(UNKNOWN), "review"), (HideText(booking_id, True), "reply")):
            with market.system() as context:
                failed = run(context.acting_as(GOVERNANCE_ACCOUNT), [action])
            assert failed is not None
            assert (failed[1].name, failed[1].data) == ("not_found", {"kind": kind, "id": action.subject})

    def test_a_reply_can_still_be_given(self) -> None:
        market, booking_id = self.reviewed()
        with market.system() as context:
            assert run(context.acting_as(GOVERNANCE_ACCOUNT), [HideText(booking_id)]) is None
        market.do(market.provider, ReplyToReview(booking_id, "sorry"))
        review = REVIEWS.get(market.view, booking_id)
        assert review is not None
        assert review.hidden
        assert not review.reply_hidden
