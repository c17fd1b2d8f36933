"""Reviews: one per finished and paid booking or job, by the one who paid for it.

A review carries the fee that was paid, so that rating oneself through cheap deals shows as what it is.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain.action import Action, Clock, Context, Family
from chain.bank import require_funds
from chain.booking import BOOKINGS, MAXIMUM_GPUS, BookingStatus, leaves_live_ms
from chain.booking_life import current_booking
from chain.crypto.hashing import sha256
from chain.deposit import give_back, held_in, storage_deposit, take
from chain.errors import InvalidField, LedgerError, NotAuthorized, NotFound
from chain.escrow import ESCROWS
from chain.governance import GovernedAction
from chain.invariants import require
from chain.inventory import hardware_of
from chain.job import JOBS, JobStatus
from chain.job import leaves_live_ms as job_leaves_live_ms
from chain.job_life import current_job
from chain.record import record
from chain.reputation import count_rating
from chain.schedule import Subject, is_scheduled, schedule, unschedule
from chain.schema import (
    Address,
    Amount,
    Boolean,
    Hash,
    ListOf,
    String,
    Timestamp,
    Unsigned,
)
from chain.standing import booking_now, job_now
from chain.state.tables import Table, TableId
from chain.state.view import View

MAXIMUM_COMMENT_BYTES = 500
UNPAID = "it is not finished and paid"
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
    leaves_live_ms: Timestamp = 0
    """Live time at which it leaves the state."""
    deposit: Amount = 0
    """Paid by the author, the reply included; returned when it leaves the state."""


REVIEWS: Table[Review] = Table(TableId.REVIEWS, Review)


@dataclass(frozen=True, slots=True)
class _Deal:
    """What may be reviewed."""

    provider: bytes
    gpus: tuple[bytes, ...]
    paid: int
    fee: int
    leaves_live_ms: int
    """Live time until which it may be reviewed."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class SubmitReview(Action):
    """Rates a closed booking or an accepted job."""

    code: ClassVar[int] = 50
    name: ClassVar[str] = "review.submit"
    base_weight: ClassVar[int] = 90  # of what has to be closed and paid first

    subject: Hash
    """The booking or job."""
    rating: Rating
    comment: Annotated[str, String(MAXIMUM_COMMENT_BYTES)] = ""

    def validate(self) -> None:
        if self.comment != self.comment.strip():
            raise InvalidField(record="SubmitReview", field="comment", reason="starts or ends with blanks")

    def check(self, context: Context) -> None:
        deal = _deal(context, self.subject)
        if current_review(context, self.subject) is not None:
            raise NotEligibleToReview(subject=self.subject, reason="it has been reviewed")
        deposit = storage_deposit(context.parameters, self._review(context, deal))
        require_funds(context.view, context.sender, 0, deposit)

    def _review(self, context: Context, deal: _Deal) -> Review:
        return Review(
            author=context.sender,
            provider=deal.provider,
            hardware=hardware_of(context.view, deal.gpus),
            gpus=deal.gpus,
            rating=self.rating,
            comment_hash=sha256(self.comment.encode()),
            txid=context.txid,
            paid=deal.paid,
            fee=deal.fee,
            time_ms=context.time_ms,
            # Not before what it is about, or that could be reviewed again.
            leaves_live_ms=max(
                context.live_ms + context.parameters.review_retention_seconds * 1_000, deal.leaves_live_ms
            ),
        )

    def apply(self, context: Context) -> None:
        deal = _deal(context, self.subject)
        review = self._review(context, deal)
        deposit = storage_deposit(context.parameters, review)
        take(context, context.sender, deposit, ("subject", self.subject))
        REVIEWS.put(context.view, self.subject, replace(review, deposit=deposit))
        schedule(context, Clock.LIVE, review.leaves_live_ms, Subject.REVIEW, self.subject)
        count_rating(context.view, deal.provider, review.hardware, self.rating, deal.fee)
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
        review = current_review(context, self.subject)
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
        review = current_review(context, self.subject)
        if review is None or (self.reply and review.reply_hash is None):
            raise NotFound(kind="reply" if self.reply else "review", id=self.subject)

    def apply(self, context: Context) -> None:
        review = current_review(context, self.subject)
        if review is not None:
            shown = replace(review, reply_hidden=True) if self.reply else replace(review, hidden=True)
            REVIEWS.put(context.view, self.subject, shown)
            names = [("subject", self.subject), ("renter", review.author), ("provider", review.provider)]
            context.emit("review.text_hidden", names, reply=int(self.reply))


def _deal(context: Context, subject: bytes) -> _Deal:
    """What the sender paid for, if it is finished. Raises NotFound or NotEligibleToReview."""
    view = context.view
    if BOOKINGS.get(view, subject) is not None:
        booking = booking_now(view, subject)
        _require_finished(subject, booking.renter == context.sender, booking.status is BookingStatus.CLOSED)
        booking = current_booking(context, subject)
        provider, gpus, until_live_ms = booking.provider, booking.gpus, leaves_live_ms(view, booking)
    elif JOBS.get(view, subject) is not None:
        job = job_now(view, subject)
        finished = job.status in (JobStatus.ACCEPTED, JobStatus.CLOSED)
        _require_finished(subject, job.renter == context.sender, finished)
        job = current_job(context, subject)
        provider = b"" if job.claim is None else job.claim.provider
        gpus = () if job.claim is None or job.claim.gpu is None else (job.claim.gpu,)
        until_live_ms = job_leaves_live_ms(view, job)
    else:
        raise NotFound(kind="booking or job", id=subject)
    escrow = ESCROWS.get(view, subject)
    if escrow is None or escrow.gross == 0:
        raise NotEligibleToReview(subject=subject, reason=UNPAID)
    return _Deal(provider, gpus, escrow.gross, escrow.fee, until_live_ms)


def _require_finished(subject: bytes, party: bool, finished: bool) -> None:
    if not party:
        raise NotEligibleToReview(subject=subject, reason="the sender was not its renter")
    if not finished:
        raise NotEligibleToReview(subject=subject, reason=UNPAID)


def current_review(context: Context, subject: bytes) -> Review | None:
    """The review of a booking or job, unless it has left the state by the clock."""
    review = REVIEWS.get(context.view, subject)
    if review is None or context.live_ms < review.leaves_live_ms:
        return review
    unschedule(context, Clock.LIVE, review.leaves_live_ms, Subject.REVIEW, subject)
    REVIEWS.delete(context.view, subject)
    give_back(context, review.author, review.deposit, ("subject", subject))
    context.emit("review.removed", [("subject", subject), ("renter", review.author), ("provider", review.provider)])
    return None


def expire(context: Context, subject: bytes) -> None:
    """Due handler: a review has been in the state for long enough."""
    current_review(context, subject)


def check_reviews(view: View) -> None:
    """Each review has the deadline at which it leaves the state."""
    for subject, review in REVIEWS.scan(view):
        waiting = is_scheduled(view, Clock.LIVE, review.leaves_live_ms, Subject.REVIEW, subject)
        require(waiting, "a review has its deadline", id=subject)


FAMILY = Family(
    "reviews",
    (SubmitReview, ReplyToReview, HideText),
    {Subject.REVIEW: expire},
    (check_reviews,),
    deposits=held_in(REVIEWS),
)
