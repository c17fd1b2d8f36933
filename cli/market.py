"""`aitbc marketplace offers, pricing, orders, stats`: what can be rented, what it costs, what is agreed."""

from typing import Any

import click

from cli.booking import notice_text
from cli.context import Application
from cli.framework import Command, DefaultGroup, application
from cli.output import (
    Column,
    amount,
    brief_time,
    day,
    details,
    duration,
    memory,
    number,
    plural,
    rating,
    share,
    short,
    table,
    zoned,
)
from cli.types import AMOUNT, DURATION, HOURS, MEMORY, NUMBER32, TIME

_ORDERS = ("price", "-price", "memory", "-memory", "cores", "-cores", "-rating")


def _more(app: Application, view: Any) -> None:
    if view.next_cursor:
        app.note(f"There is more: --cursor {view.next_cursor}")


@click.command(cls=Command)
@click.option("--hours", type=HOURS, help="Free for so many hours [the shortest booking].")
@click.option("--seconds", type=DURATION, help="The same as a duration, such as 90m.")
@click.option("--start", type=TIME, help="From when, such as +2h [now].")
@click.option("--model", help="Model; * and ? match as in file names, _ stands for a space.")
@click.option("--region", help="Only there.")
@click.option("--price-max", type=AMOUNT, help="Per hour at most, in AITBC.")
@click.option("--memory-min", type=MEMORY, help="At least, such as 24GB.")
@click.option("--cores-min", type=NUMBER32, help="CUDA cores at least.")
@click.option("--attribute", help="Only those with this attribute.")
@click.option("--provider", metavar="ADDRESS|WALLET", help="Only those of one provider.")
@click.option("--order", type=click.Choice(_ORDERS), default="price", show_default=True, help="-rating: best first.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Offers at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def offers(app: Application, /, hours: int | None, seconds: int | None, **filters: Any) -> None:
    """Show GPUs that can be booked now (or from --start), with what it would cost."""
    if hours is not None and seconds is not None:
        raise click.UsageError("Give --hours or --seconds.")
    view = app.call(
        "market.offers",
        start_ms=filters["start"],
        seconds=hours if hours is not None else seconds,
        model=filters["model"].replace("_", "?") if filters["model"] else None,
        region=filters["region"],
        provider=app.account_text(filters["provider"]) if filters["provider"] else None,
        price_max=None if filters["price_max"] is None else str(filters["price_max"]),
        memory_min=filters["memory_min"],
        cores_min=filters["cores_min"],
        attribute=filters["attribute"],
        order=filters["order"],
        limit=filters["limit"],
        cursor=filters["cursor"],
    )
    app.show(view, lambda: offer_table(view.items))
    _more(app, view)


def offer_table(items: Any) -> str:
    """Offers as a table."""
    columns = (
        Column("gpu"),
        Column("model", shrinks=True),
        Column("memory", right=True),
        Column("AITBC/h", right=True),
        Column("for", right=True),
        Column("cost, AITBC", right=True),
        Column("rating"),
        Column("served", optional=True),
        Column(zoned("free until"), optional=True),
        Column("cancelling", shrinks=True, optional=True),
    )
    rows = [
        [
            short(each.id),
            each.gpu["hardware"]["model"],
            memory(each.gpu["hardware"]["memory_mb"]),
            number(each.gpu["terms"]["price_per_hour"]),
            duration((each.end_ms - each.start_ms) // 1_000),
            number(each.cost),
            f"{rating(each.weighted_hundredths)} ({each.ratings})",
            f"{_share(each.served_share)} of {each.bookings}",
            brief_time(each.free_until_ms) if each.free_until_ms else "open",
            notice_text(each.gpu["terms"]["notice_seconds"], each.gpu["terms"]["cancellation_share"]),
        ]
        for each in items
    ]
    return table(columns, rows, "Nothing of that can be booked.")


def _share(basis_points: int | None) -> str:
    return "-" if basis_points is None else share(basis_points)


def _price(base_units: str | None) -> str:
    return "-" if base_units is None else number(base_units)


@click.command(cls=Command)
@click.argument("model", required=False)
@click.option(
    "--days", type=click.IntRange(1, 90), default=7, show_default=True, help="Coming days that are looked at."
)
@click.option("--past-days", type=click.IntRange(1, 90), default=30, show_default=True, help="Days whose trades count.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Models at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def pricing(app: Application, model: str | None, days: int, past_days: int, limit: int, cursor: str | None) -> None:
    """Show what a model costs and what to ask for it [all models].

    The recommended price is the middle of what was paid, weighted by market fee, or until an hour was sold the median
    of the listings. * and ? match as in file names, _ stands for a space.
    """
    named = model.replace("_", "?") if model else None
    view = app.call("market.pricing", model=named, days=days, past_days=past_days, limit=limit, cursor=cursor)
    columns = (
        Column("model", shrinks=True),
        Column("low, AITBC/h", right=True),
        Column("median", right=True),
        Column("high", right=True),
        Column("recommended", right=True),
        Column("by"),
        Column("GPUs", right=True),
        Column("booked", right=True),
        Column("sold", right=True, optional=True),
        Column("traded, AITBC", right=True, optional=True),
    )
    rows = [
        [
            each.model,
            _price(each.low),
            _price(each.median),
            _price(each.high),
            _price(each.recommended),
            plural(each.deals, "deal") if each.basis == "trades" else each.basis,
            str(each.active),
            _share(each.booked_share),
            _share(each.sold_share),
            number(each.gross),
        ]
        for each in view.items
    ]
    app.show(view, lambda: table(columns, rows, "No such model is or was on the market."))
    _more(app, view)


@click.group(cls=DefaultGroup, default="list")
def orders() -> None:
    """What was agreed: bookings and standalone jobs as money sees them."""


@orders.command("list")
@click.option("--status", help="Of the booking or job, such as active.")
@click.option("--open", "open_only", is_flag=True, help="Only what is not over and paid.")
@click.option("--kind", type=click.Choice(["booking", "job"]), help="Only those.")
@click.option("--as", "role", type=click.Choice(["renter", "provider"]), help="Only where you are that.")
@click.option("--account", metavar="ADDRESS|WALLET", help="Of another account.")
@click.option("--all", "everyone", is_flag=True, help="Of everyone.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Orders at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def list_orders(app: Application, /, role: str | None, account: str | None, everyone: bool, **filters: Any) -> None:
    """List the wallet's orders, newest first."""
    whose = {} if everyone else {role or "account": app.account_text(account)}
    view = app.call(
        "market.orders",
        status=filters["status"],
        open=filters["open_only"],
        kind=filters["kind"],
        limit=filters["limit"],
        cursor=filters["cursor"],
        **whose,
    )
    columns = (
        Column("order"),
        Column("kind"),
        Column("status"),
        Column("locked, AITBC", right=True),
        Column("earned", right=True),
        Column("fee", right=True, optional=True),
        Column("held", right=True),
        Column("left", right=True),
        Column("empty in", right=True, optional=True),
        Column("renter", optional=True),
        Column("provider", optional=True),
    )
    rows = [
        [
            short(each.id),
            each.kind,
            each.status,
            number(each.locked),
            number(each.earned),
            number(each.fee),
            number(each.remaining),
            duration(each.seconds_left) if each.seconds_left else "-",
            "-" if each.seconds_until_empty is None else duration(each.seconds_until_empty),
            short(each.renter),
            short(each.provider),
        ]
        for each in view.items
    ]
    app.show(view, lambda: table(columns, rows, "No order fits."))
    _more(app, view)


@click.command(cls=Command)
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="Days of trades.")
@application
def stats(app: Application, days: int) -> None:
    """Show the market in figures."""
    view = app.call("market.stats", days=days)

    def counted(items: Any, noun: str) -> str:
        return ", ".join(f"{each.count:,} {each.name.replace('_', ' ')}" for each in items) or f"no {noun}"

    lines = [
        ("GPUs", counted(view.gpus, "GPU")),
        ("models", counted(view.models, "GPU is active")),
        ("providers", f"{view.providers:,} with active GPUs"),
        ("renters", f"{view.renters:,} with open bookings or jobs"),
        ("bookings", counted(view.bookings, "open booking")),
        ("jobs", counted(view.jobs, "open job")),
        ("staked", amount(view.staked)),
        ("in escrow", amount(view.escrow)),
        ("supply", amount(view.supply)),
    ]
    columns = (
        Column("day (UTC)"),
        Column("deals", right=True),
        Column("GPU time", right=True),
        Column("traded, AITBC", right=True),
        Column("market fees", right=True),
    )
    rows = [
        [day(each.day_ms), f"{each.deals:,}", duration(each.gpu_seconds), number(each.gross), number(each.fee)]
        for each in view.days
    ]
    traded = table(columns, rows, f"Nothing was sold in {plural(days, 'day')}.")
    app.show(view, lambda: f"{details(lines)}\n\n{traded}")
