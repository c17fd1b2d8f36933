"""`aitbc marketplace`: the groups gpu, booking, request, bid, dispute and review, and what one asks before booking."""

from typing import Any

import click

from cli import market
from cli.booking import booking, duration_options, seconds_of
from cli.context import Application
from cli.disputes import dispute
from cli.errors import AmbiguousId, NothingFound
from cli.framework import DefaultGroup, Group, application
from cli.gpu import gpu, rating_line
from cli.output import Column, amount, brief_time, details, number, short, table, zoned
from cli.requests import bid, request
from cli.resolving import FULL, booking_id, gpu_id, job_id, pages
from cli.types import ID, TIME
from cli.writing import write


@click.group(cls=Group)
def marketplace() -> None:
    """List, find, quote and book GPUs, or have providers bid; review what was rented."""


marketplace.add_command(gpu)
marketplace.add_command(booking)
marketplace.add_command(request)
marketplace.add_command(dispute)
marketplace.add_command(bid)
for _command in (market.offers, market.pricing, market.orders, market.stats):
    marketplace.add_command(_command)


@marketplace.command()
@click.argument("gpus", type=ID, nargs=-1, required=True, metavar="GPU...")
@duration_options
@click.option("--start", type=TIME, help="When, such as 2030-01-31T18:00 or +2h [now].")
@application
def quote(app: Application, gpus: tuple[str, ...], hours: int | None, seconds: int | None, start: int | None) -> None:
    """Show what booking GPUs would cost, and what would come back when."""
    chosen = [gpu_id(app, each) for each in gpus]
    view = app.call("booking.quote", gpus=chosen, seconds=seconds_of(hours, seconds), start_ms=start)
    app.show(view, lambda: quote_text(view))


def quote_text(view: Any) -> str:
    """A quote for a person: cost, fee, and every way in which the booking may end."""
    from cli.booking import outcome_table, quote_lines

    deposit = ("deposit", f"{amount(view.deposit)} on top, returned when the booking leaves the state")
    return f"{details([*quote_lines(view), deposit])}\n\n{outcome_table(view)}"


@marketplace.command()
@click.argument("gpu", type=ID)
@click.option("--limit", type=click.IntRange(1, 50), default=20, show_default=True, help="Reviews at most.")
@application
def reviews(app: Application, gpu: str, limit: int) -> None:
    """Show what renters said of a GPU, newest first."""
    view = app.call("gpu.reviews", gpu=gpu_id(app, gpu), limit=limit)
    columns = (
        Column("rating"),
        Column(zoned("when")),
        Column("renter"),
        Column("paid, AITBC", right=True),
        Column("fee paid", right=True, optional=True),
        Column("comment", shrinks=True),
        Column("reply", shrinks=True, optional=True),
    )
    rows = [
        [
            "★" * int(each.review["rating"]),
            brief_time(each.review["time_ms"]),
            short(each.review["author"]),
            number(each.review["paid"]),
            number(each.review["fee"]),
            "(hidden by the authorities)" if each.review["hidden"] else each.comment or "",
            "(hidden by the authorities)" if each.review["reply_hidden"] else each.reply or "",
        ]
        for each in view.items
    ]
    summary = rating_line(view.rating)
    app.show(view, lambda: f"{summary}\n\n{table(columns, rows)}" if rows else summary)


@marketplace.group(cls=DefaultGroup, default="add")
def review() -> None:
    """Say what you think of what you rented."""


@review.command(writes=True)
@click.argument("subject", type=ID, metavar="BOOKING|JOB|GPU")
@click.option("--rating", type=click.IntRange(1, 5), required=True, help="5 is best.")
@click.option("--comment", default="", help="At most 500 bytes; everyone can read it.")
@application
def add(app: Application, subject: str, rating: int, comment: str) -> None:
    """Review a closed booking or an accepted job of yours, once.

    A GPU's id means your only closed booking of it.
    """
    from chain.actions.reviews import SubmitReview
    from chain.record import encode_record

    chosen = _reviewed(app, subject)
    action = SubmitReview(bytes.fromhex(chosen), rating, comment.strip())
    action.validate()
    encode_record(action)
    write(app, [action], report=lambda _: ({"subject": chosen, "rating": rating}, [("reviewed", chosen)]))


@review.command(writes=True)
@click.argument("subject", type=ID, metavar="BOOKING|JOB|GPU")
@click.option("--comment", required=True, help="At most 500 bytes; everyone can read it.")
@application
def reply(app: Application, subject: str, comment: str) -> None:
    """Answer the review of a booking or job of your GPUs, once. A GPU's id means its only review."""
    from chain.actions.reviews import ReplyToReview
    from chain.record import encode_record

    chosen = _answered(app, subject)
    action = ReplyToReview(bytes.fromhex(chosen), comment.strip())
    action.validate()
    encode_record(action)
    write(app, [action], report=lambda _: ({"subject": chosen}, [("replied", chosen)]))


def _answered(app: Application, subject: str) -> str:
    """The booking or job whose review is meant."""
    mine = list(pages(app, "review.list", provider=app.wallet().address_text))
    found = [str(each.id) for each in mine if each.id.startswith(subject)]
    found = found or [str(each.id) for each in mine if any(gpu.startswith(subject) for gpu in each.review["gpus"])]
    if not found and len(subject) == FULL:
        return subject
    if not found:
        raise NothingFound(
            f"No review of yours as a provider is known by {short(subject)}.",
            "`aitbc marketplace reviews GPU` shows the reviews of a GPU.",
        )
    if len(found) > 1:
        listed = "\n".join(f"  {each}" for each in found)
        raise AmbiguousId(f"{subject} fits {len(found)} reviews.", f"Give the booking or job that you mean:\n{listed}")
    return found[0]


def _reviewed(app: Application, subject: str) -> str:
    """The booking, or else the job, that is meant."""
    from wallet.client import RpcError

    own = app.wallet().address_text
    if len(subject) == 64:
        job = app.client().batch([("job.get", {"job": subject})])[0]
        if not isinstance(job, RpcError):
            return subject
        return booking_id(app, subject, ("closed",), renter=own)
    try:
        return booking_id(app, subject, ("closed",), renter=own)
    except NothingFound as error:
        try:
            return job_id(app, subject, {"renter": own})
        except NothingFound:
            raise error from None
