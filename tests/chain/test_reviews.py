"""Reviews: by whom, of what, once and in time."""

import pytest

from chain.actions.bookings import Cancel
from chain.actions.reviews import REVIEWS, SubmitReview
from chain.crypto.hashing import sha256
from chain.errors import InvalidField
from chain.parameters import Parameters
from chain.schema import decode_record, encode_record
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

    def test_of_nothing(self) -> None:
        market = Market()
        assert market.refused(market.renter, SubmitReview(UNKNOWN, 5))[0] == "not_found"
