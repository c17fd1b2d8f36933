"""Reviews: one per finished and paid booking or job, by the one who paid for it.

A review carries the fee that was paid, so that rating oneself through cheap deals shows as what it is.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain.action import Action, Context, Family
from chain.booking import BOOKINGS, MAXIMUM_GPUS, BookingStatus, current_booking
from chain.clocks import live_instant
from chain.crypto.hashing import sha256
from chain.errors import InvalidField, LedgerError, NotAuthorized, NotFound
from chain.escrow import ESCROWS
from chain.governance import GovernedAction
from chain.inventory import hardware_of
from chain.job import JOBS, JobStatus, current_job
from chain.reputation import count_rating
from chain.schema import (
    Address,
    Amount,
    Boolean,
    Hash,
    ListOf,
    String,
    Timestamp,
    Unsigned,
    record,
)
from chain.state.tables import Table, TableId

MAXIMUM_COMMENT_BYTES = 500
Rating = Annotated[int, Unsigned(5, 1)]


class NotEligibleToReview(LedgerError):
    code = 1601
    hint = "Only the renter of a closed, paid booking or an accepted job may review it, once and in time."


class AlreadyReplied(LedgerError):
    code = 1602
    hint = "A review is answered once."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Review:
    """What a renter thinks of what he paid for; its key is the booking or job."""

    author: Address
    provider: Address
    hardware: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_GPUS)]
    """Hardware hashes of the GPUs, because reputation follows the device."""
    gpus: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_GPUS)]
    rating: Rating
    comment_hash: Hash
    """SHA-256 of the comment, which stays in the transaction."""
    txid: Hash
    """The transaction that carries the comment."""
    paid: Amount
    """Gross paid for what is reviewed, base units."""
    fee: Amount
    """Market fee within it, base units."""
    time_ms: Timestamp
    reply_hash: Hash | None = None
    """SHA-256 of the provider's reply."""
    reply_txid: Hash | None = None
    """The transaction that carries the reply."""
    hidden: Boolean = False
    """Whether the authorities decided that the comment is not to be shown; the rating counts all the same."""
    reply_hidden: Boolean = False
    """The same for the reply."""


REVIEWS: Table[Review] = Table(TableId.REVIEWS, Review)


@dataclass(frozen=True, slots=True)
class _Deal:
    """What may be reviewed."""

    provider: bytes
    gpus: tuple[bytes, ...]
    paid: int
    fee: int
    ended_ms: int


@record(version=1)
@dataclass(frozen=True, slots=True)
class SubmitReview(Action):
    """Rates a closed booking or an accepted job."""

    code: ClassVar[int] = 50
    name: ClassVar[str] = "review.submit"
    base_weight: ClassVar[int] = 36

    subject: Hash
    """The booking or job."""
    rating: Rating
    comment: Annotated[str, String(MAXIMUM_COMMENT_BYTES)] = ""

    def validate(self) -> None:
        if self.comment != self.comment.strip():
            raise InvalidField(record="SubmitReview", field="comment", reason="starts or ends with blanks")

    def check(self, context: Context) -> None:
        deal = _deal(context, self.subject)
        if REVIEWS.get(context.view, self.subject) is not None:
            raise NotEligibleToReview(subject=self.subject, reason="it has been reviewed")
        window_ms = context.parameters.review_window_seconds * 1_000
        if context.live_ms >= live_instant(context.view, deal.ended_ms) + window_ms:
            raise NotEligibleToReview(subject=self.subject, reason="the time for reviews has passed")

    def apply(self, context: Context) -> None:
        deal = _deal(context, self.subject)
        hardware = hardware_of(context.view, deal.gpus)
        review = Review(
            author=context.sender,
            provider=deal.provider,
            hardware=hardware,
            gpus=deal.gpus,
            rating=self.rating,
            comment_hash=sha256(self.comment.encode()),
            txid=context.txid,
            paid=deal.paid,
            fee=deal.fee,
            time_ms=context.time_ms,
        )
        REVIEWS.put(context.view, self.subject, review)
        count_rating(context.view, deal.provider, hardware, self.rating, deal.fee)
        names = [("subject", self.subject), ("renter", context.sender), ("provider", deal.provider)]
        names += [("gpu", gpu_id) for gpu_id in deal.gpus]
        context.emit("review.submitted", names, rating=self.rating, paid=deal.paid)


@record(version=1)
@dataclass(frozen=True, slots=True)
class ReplyToReview(Action):
    """The provider answers a review, once."""

    code: ClassVar[int] = 51
    name: ClassVar[str] = "review.reply"
    base_weight: ClassVar[int] = 4

    subject: Hash
    """The booking or job that was reviewed."""
    comment: Annotated[str, String(MAXIMUM_COMMENT_BYTES, 1)]

    def validate(self) -> None:
        if self.comment != self.comment.strip():
            raise InvalidField(record="ReplyToReview", field="comment", reason="starts or ends with blanks")

    def check(self, context: Context) -> None:
        review = REVIEWS.get(context.view, self.subject)
        if review is None:
            raise NotFound(kind="review", id=self.subject)
        if review.provider != context.sender:
            raise NotAuthorized(needed="provider", account=review.provider)
        if review.reply_hash is not None:
            raise AlreadyReplied(subject=self.subject)

    def apply(self, context: Context) -> None:
        review = REVIEWS.get(context.view, self.subject)
        if review is not None:
            replied = replace(review, reply_hash=sha256(self.comment.encode()), reply_txid=context.txid)
            REVIEWS.put(context.view, self.subject, replied)
            names = [("subject", self.subject), ("provider", context.sender), ("renter", review.author)]
            context.emit("review.replied", names)


@record(version=1)
@dataclass(frozen=True, slots=True)
class HideText(GovernedAction):
    """Lets nodes no longer show the comment of a review, or the reply to it; the rating stays."""

    code: ClassVar[int] = 52
    name: ClassVar[str] = "review.hide_text"

    subject: Hash
    """The booking or job that was reviewed."""
    reply: Boolean = False
    """Hide the reply instead of the comment."""

    def check_state(self, context: Context) -> None:
        review = REVIEWS.get(context.view, self.subject)
        if review is None or (self.reply and review.reply_hash is None):
            raise NotFound(kind="reply" if self.reply else "review", id=self.subject)

    def apply(self, context: Context) -> None:
        review = REVIEWS.get(context.view, self.subject)
        if review is not None:
            shown = replace(review, reply_hidden=True) if self.reply else replace(review, hidden=True)
            REVIEWS.put(context.view, self.subject, shown)
            names = [("subject", self.subject), ("renter", review.author), ("provider", review.provider)]
            context.emit("review.text_hidden", names, reply=int(self.reply))


def _deal(context: Context, subject: bytes) -> _Deal:
    """What the sender paid for, if it is finished. Raises NotFound or NotEligibleToReview."""
    if BOOKINGS.get(context.view, subject) is not None:
        booking = current_booking(context, subject)
        party = booking.renter == context.sender
        finished = booking.status is BookingStatus.CLOSED
        provider, gpus, ended_ms = booking.provider, booking.gpus, booking.ended_ms
    elif JOBS.get(context.view, subject) is not None:
        job = current_job(context, subject)
        party = job.renter == context.sender
        finished = job.status in (JobStatus.ACCEPTED, JobStatus.CLOSED)
        provider = b"" if job.claim is None else job.claim.provider
        gpus = () if job.claim is None or job.claim.gpu is None else (job.claim.gpu,)
        ended_ms = job.ended_ms
    else:
        raise NotFound(kind="booking or job", id=subject)
    if not party:
        raise NotEligibleToReview(subject=subject, reason="the sender was not its renter")
    escrow = ESCROWS.get(context.view, subject)
    if not finished or escrow is None or escrow.gross == 0:
        raise NotEligibleToReview(subject=subject, reason="it is not finished and paid")
    return _Deal(provider, gpus, escrow.gross, escrow.fee, ended_ms or 0)


FAMILY = Family("reviews", (SubmitReview, ReplyToReview, HideText))
