"""The namespace `review`: what renters said, shown with what it cost them to say it."""

from collections.abc import Iterable

from chain import interface as api
from chain.actions.reviews import REVIEWS, ReplyToReview, Review, SubmitReview
from chain.inventory import read_gpu
from chain.queries.reputation import raters
from node.rpc.account import Places
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside
from node.rpc.pages import newest_first, scan_records

Found = list[tuple[bytes, Review]]


def _find(
    read: Read, *, hardware: bytes | None = None, provider: bytes | None = None, author: bytes | None = None
) -> Found:
    return [
        (subject, review)
        for subject, review in scan_records(read.snapshot, REVIEWS, Review, hardware, provider, author)
        if read.clocks.live_ms < review.leaves_live_ms
        and (hardware is None or hardware in review.hardware)
        and (provider is None or review.provider == provider)
        and (author is None or review.author == author)
    ]


def rating_of(reviews: Iterable[Review]) -> api.RatingSummary:
    """What these reviews come to."""
    found = raters(reviews)
    return api.RatingSummary(
        reviews=found.reviews,
        average_hundredths=found.rating_hundredths,
        weighted_hundredths=found.weighted_hundredths,
        renters=found.renters,
        fees=str(found.fees),
        largest_share=found.largest_share,
    )


def reviews_of(read: Read, *, hardware: bytes | None = None, provider: bytes | None = None) -> list[Review]:
    """The reviews of a device or of a provider that are in the state; they follow the hardware hash."""
    return [review for _, review in _find(read, hardware=hardware, provider=provider)]


def reviews_page(
    read: Read,
    limit: int,
    cursor: str | None,
    *,
    hardware: bytes | None = None,
    provider: bytes | None = None,
    author: bytes | None = None,
) -> api.Reviews:
    """A page of the reviews that match, newest first, with the summary of all of them."""
    found = _find(read, hardware=hardware, provider=provider, author=author)
    page, following = newest_first(found, lambda review: review.time_ms, cursor, limit)
    return api.Reviews(
        as_of=read.as_of,
        rating=rating_of(review for _, review in found),
        items=tuple(
            api.ReviewView(
                subject.hex(),
                read.show(review),
                None if review.hidden else _comment(read, subject, review.txid, SubmitReview),
                None
                if review.reply_txid is None or review.reply_hidden
                else _comment(read, subject, review.reply_txid, ReplyToReview),
            )
            for subject, review in page
        ),
        next_cursor=following,
    )


def _comment(read: Read, subject: bytes, txid: bytes, kind: type[SubmitReview] | type[ReplyToReview]) -> str | None:
    """The comment or the reply, which only its transaction keeps."""
    place = read.snapshot.transaction_location(txid)
    if place is None:
        return None
    for action in Places(read).transaction(*place).body.actions:
        if isinstance(action, kind) and action.subject == subject:
            return action.comment
    return None


def list_reviews(read: Read, params: api.ReviewListParams) -> api.Reviews:
    hardware = None
    if params.gpu is not None:
        hardware = read_gpu(read.view, bytes.fromhex(params.gpu)).hardware.hardware_hash
    provider = None if params.provider is None else read.address(params.provider)
    author = None if params.reviewer is None else read.address(params.reviewer)
    return reviews_page(read, params.limit, params.cursor, hardware=hardware, provider=provider, author=author)


HANDLERS: dict[str, Handler] = {"review.list": aside(list_reviews)}
