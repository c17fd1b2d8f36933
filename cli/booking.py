"""`aitbc marketplace booking`: what was booked, where it stands, and where its money is."""

from collections.abc import Callable
from typing import Any

import click

from cli.context import Application
from cli.errors import BadInput, NothingFound
from cli.framework import Command, Group, application
from cli.output import (
    Column,
    Pairs,
    amount,
    brief_time,
    details,
    duration,
    event_amounts,
    local_time,
    number,
    share,
    short,
    table,
    zoned,
)
from cli.resolving import booking_id
from cli.types import AMOUNT, DURATION, HOURS, ID
from cli.writing import Sent, write

STATUSES = ("reserved", "active", "closing", "disputed", "closed", "cancelled", "no_show", "provider_cancelled")
LONGEST_ACCESS = 976
"""Bytes of access details: what a sealed box of 1,024 bytes holds."""


@click.group(cls=Group)
def booking() -> None:
    """Follow, activate, end and settle bookings."""


def duration_options(function: Any) -> Any:
    """--hours or --seconds, one of which must be given."""
    function = click.option("--seconds", type=DURATION, help="For how long; also 90m, 2h, 7d.")(function)
    return click.option("--hours", type=HOURS, help="For how many hours.")(function)


def seconds_of(hours: int | None, seconds: int | None) -> int:
    """The one that was given; both are parsed to seconds. Raises UsageError."""
    if (hours is None) == (seconds is None):
        raise click.UsageError("Give --hours N or --seconds N.")
    chosen = hours if hours is not None else seconds
    if not chosen:
        raise click.UsageError("That is no time at all.")
    return chosen


def notice_text(notice_seconds: int, cancellation_share: int) -> str:
    """What cancelling before the start costs beyond the network's smallest charge."""
    usual = "the network's release charge until the start"
    if not notice_seconds:
        return usual
    notice = f"within {duration(notice_seconds)} of the start"
    return f"{share(cancellation_share)} of the cost {notice}" if cancellation_share else f"{usual}; notice {notice}"


def quote_lines(quote: Any) -> list[tuple[str, str]]:
    """The terms of a quote."""
    seconds = (quote.end_ms - quote.start_ms) // 1_000
    return [
        ("from", local_time(quote.start_ms)),
        ("until", f"{local_time(quote.end_ms)} ({duration(seconds)})"),
        ("provider", quote.provider),
        ("rate", f"{amount(quote.rate)} an hour"),
        ("cost", f"{amount(quote.cost)}, locked at once"),
        ("of it market fee", amount(quote.market_fee)),
        ("cancellation", notice_text(quote.notice_seconds, quote.cancellation_share)),
        ("provider's collateral", f"{amount(quote.collateral)}, yours if nobody shows up"),
    ]


def outcome_table(quote: Any) -> str:
    """Every way in which a booking may end, and what comes back."""
    columns = (
        Column("if it is", shrinks=True),
        Column(zoned("by")),
        Column("you pay, AITBC", right=True),
        Column("returns", right=True),
        Column("on top", right=True),
    )
    rows = [
        [
            each.what,
            brief_time(each.at_ms),
            number(each.charged),
            number(each.refund),
            number(each.compensation) if int(each.compensation) else "",
        ]
        for each in quote.outcomes
    ]
    return table(columns, rows)


@booking.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only those.")
@click.option("--open", "open_only", is_flag=True, help="Only reserved, active, closing or disputed ones.")
@click.option("--as", "role", type=click.Choice(["renter", "provider"]), help="Only where you are that.")
@click.option("--account", metavar="ADDRESS|WALLET", help="Of another account.")
@click.option("--all", "everyone", is_flag=True, help="Of everyone.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Bookings at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def list_(app: Application, /, role: str | None, account: str | None, everyone: bool, **filters: Any) -> None:
    """List the wallet's bookings, newest first."""
    whose = {} if everyone else {role or "account": app.account_text(account)}
    view = app.call(
        "booking.list",
        status=filters["status"],
        open=filters["open_only"],
        limit=filters["limit"],
        cursor=filters["cursor"],
        **whose,
    )
    app.show(view, lambda: booking_table(view.items))
    if view.next_cursor:
        app.note(f"There is more: --cursor {view.next_cursor}")


def booking_table(items: Any) -> str:
    """Bookings as a table."""
    columns = (
        Column("booking"),
        Column("status"),
        Column("gpus"),
        Column(zoned("from")),
        Column("left", right=True),
        Column("cost, AITBC", right=True),
        Column("earned", right=True, optional=True),
        Column("renter", optional=True),
        Column("provider", optional=True),
    )
    rows = [
        [
            short(each.id),
            each.status,
            _gpus(each.booking["gpus"]),
            brief_time(each.booking["start_ms"]),
            duration(each.seconds_left) if each.seconds_left else "-",
            number(each.booking["cost"]),
            number(each.earned),
            short(each.booking["renter"]),
            short(each.booking["provider"]),
        ]
        for each in items
    ]
    return table(columns, rows, "There is no such booking.")


def _gpus(ids: list[str]) -> str:
    return short(ids[0]) if len(ids) == 1 else f"{short(ids[0])} +{len(ids) - 1}"


@booking.command()
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@application
def show(app: Application, which: str) -> None:
    """Show a booking as of now."""
    found = app.call("booking.get", booking=booking_id(app, which))
    app.show(found, lambda: details(_booking_lines(found.view)))


def _booking_lines(view: Any) -> list[tuple[str, str]]:
    record, escrow = view.booking, view.escrow
    lines = [
        ("booking", view.id),
        ("status", view.status),
        *(("gpu", each) for each in record["gpus"]),
        ("renter", record["renter"]),
        ("provider", record["provider"]),
        ("from", local_time(record["start_ms"])),
        ("until", local_time(record["end_ms"])),
        ("activated", local_time(record["activated_ms"])),
    ]
    if view.seconds_left:
        lines.append(("time left", duration(view.seconds_left)))
    if record["ended_ms"]:
        lines.append(("ended", local_time(record["ended_ms"])))
    if record["dispute"]:
        lines.append(("dispute", record["dispute"]))
    if view.payment_in_seconds is not None:
        lines.append(("last payment in", duration(view.payment_in_seconds)))
    lines += [
        ("rate", f"{amount(record['rate'])} an hour"),
        *(
            ("extended", f"from {local_time(each['from_ms'])} at {amount(each['rate'])} an hour")
            for each in record["extensions"]
        ),
        ("cancellation", notice_text(record["notice_seconds"], record["cancellation_share"])),
        ("locked", amount(escrow["locked"])),
        ("earned", amount(view.earned)),
        ("paid", f"{amount(escrow['net'])} and {amount(escrow['fee'])} market fee"),
        ("refunded", amount(escrow["refunded"])),
    ]
    if view.status in ("reserved", "active"):
        lines.append(("returns if ended now", amount(view.refund_if_ended)))
    lines.append(("collateral", amount(record["collateral"])))
    return lines


@booking.command(writes=True)
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@click.option("--access", help="How the renter reaches the GPUs, such as ssh://host:port. Sealed for him alone.")
@click.option("--access-file", metavar="FILE", help="Read it from here; - is stdin.")
@application
def activate(app: Application, which: str, access: str | None, access_file: str | None) -> None:
    """Hand a booking of your GPUs over to its renter; it earns from its start or from now, whichever is later."""
    from chain.actions.bookings import Activate
    from wallet.sealing import seal

    message = _access(access, access_file)
    chosen = booking_id(app, which, ("reserved",), provider=app.wallet().address_text)
    view = app.call("booking.get", booking=chosen).view
    try:
        sealed = seal(message, bytes.fromhex(view.booking["sealing_key"]))
    except ValueError as error:
        raise BadInput(
            "The renter's sealing key cannot be used, so nothing can be sealed for him.",
            "Let the booking pass unused; he gave the key himself.",
        ) from error
    action = Activate(bytes.fromhex(chosen), sealed)

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        from_ms = sent.amounts("booking.activated").get("from_ms")
        return {"booking": chosen, "from_ms": from_ms}, [("booking", chosen), ("earns from", local_time(from_ms))]

    lines = [("renter", view.booking["renter"]), ("access", f"{len(message)} bytes, sealed for the renter")]
    write(app, [action], summary=lines, report=report)


def _access(access: str | None, access_file: str | None) -> bytes:
    if (access is None) == (access_file is None):
        raise click.UsageError("Give --access TEXT or --access-file FILE.")
    if access is not None:
        message = access.encode()
    else:
        with click.open_file(str(access_file), "rb") as file:
            message = file.read(LONGEST_ACCESS + 1)
    if not 1 <= len(message) <= LONGEST_ACCESS:
        raise BadInput(
            f"Access details have 1 to {LONGEST_ACCESS} bytes.", "Put longer ones behind a link and seal the link."
        )
    return message


def open_access(app: Application, chosen: str) -> str:
    """The access details of an own booking, from the transaction that activated it."""
    from chain.crypto.hashing import sha256
    from wallet.sealing import unseal

    record = app.call("booking.get", booking=chosen).view.booking
    if not record["activation_txid"]:
        raise NothingFound(
            "The provider has not activated this booking yet.", "`aitbc marketplace booking show` tells when he does."
        )
    transaction = app.call("tx.get", txid=record["activation_txid"]).transaction or {}
    sealed = b""
    for outer in transaction.get("actions", ()):
        for action in (outer, *outer.get("actions", ())):
            if action.get("action") == "booking.activate" and action.get("booking") == chosen:
                sealed = bytes.fromhex(action["sealed_access"])
    if sha256(sealed).hex() != record["access_hash"]:
        raise NothingFound("The node does not show the access details that the ledger keeps a hash of.", "Ask another.")
    return unseal(app.unlock(app.wallet()), sealed).decode("utf-8", "replace")


@booking.command(writes=True)
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@application
def cancel(app: Application, which: str) -> None:
    """Give up a booking before its start, for the charge in its terms."""
    from chain.actions.bookings import Cancel

    chosen = booking_id(app, which, ("reserved", "active"), renter=app.wallet().address_text)
    view = app.call("booking.get", booking=chosen).view
    summary = [("returns", amount(view.refund_if_ended))]
    write(app, [Cancel(bytes.fromhex(chosen))], summary=summary, report=ended_report(chosen, "booking.cancelled"))


@booking.command("provider-cancel", writes=True)
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@application
def provider_cancel(app: Application, which: str) -> None:
    """Give up a booking of your GPUs. It costs collateral: half of it in time, all of it once the notice has begun."""
    from chain.actions.bookings import ProviderCancel

    chosen = booking_id(app, which, ("reserved", "active"), provider=app.wallet().address_text)
    found = app.call("booking.get", booking=chosen)
    record = found.view.booking
    notice_ms = record["start_ms"] - record["notice_seconds"] * 1_000
    in_time = found.view.status == "reserved" and found.as_of.time_ms < notice_ms
    collateral = int(record["collateral"])
    forfeited = collateral // 2 if in_time else collateral
    summary = [("goes to the renter", f"{amount(forfeited)} of your stake, and what was not earned")]

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        ended = sent.amounts("booking.provider_cancelled")
        lost = ended.get("forfeited", sent.amounts("booking.collateral_forfeited").get("forfeited"))
        data = {"booking": chosen, "refund": _text(ended.get("refund")), "forfeited": _text(lost)}
        lines = [("booking", chosen)]
        if ended:
            lines += [("refunded", amount(ended["refund"])), ("forfeited", amount(lost or 0))]
        return data, lines

    write(app, [ProviderCancel(bytes.fromhex(chosen))], summary=summary, report=report)


@click.command(cls=Command, writes=True)
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@duration_options
@click.option("--max-price", type=AMOUNT, help="Refuse if the added time costs more than this, in AITBC.")
@application
def extend(app: Application, which: str, hours: int | None, seconds: int | None, max_price: int | None) -> None:
    """Add time at the end of a booking, at the present price of its GPUs."""
    from chain.actions.bookings import Extend
    from chain.booking import cost_of

    length = seconds_of(hours, seconds)
    chosen = booking_id(app, which, ("active", "reserved"), renter=app.wallet().address_text)
    record = app.call("booking.get", booking=chosen).view.booking
    answers = app.client().batch([("gpu.get", {"gpu": each}) for each in record["gpus"]])
    rate = 0
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        rate += int(answer.view.gpu["terms"]["price_per_hour"])
    cost = cost_of(rate, length)
    if max_price is not None and cost > max_price:
        raise BadInput(
            f"It costs {amount(cost)}, more than the {amount(max_price)} of --max-price.",
            "Add less time, or allow more.",
        )
    action = Extend(bytes.fromhex(chosen), length, cost)
    action.validate()
    end_ms = record["end_ms"] + length * 1_000
    summary = [
        ("until", f"{local_time(end_ms)}, {duration(length)} longer"),
        ("rate", f"{amount(rate)} an hour"),
        ("cost", f"{amount(cost)}, locked at once"),
    ]

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        added = sent.amounts("booking.extended")
        data = {"booking": chosen, "locked": _text(added.get("locked")), "end_ms": added.get("end_ms")}
        lines = [("booking", chosen)]
        if added:
            lines += [("locked", amount(added["locked"])), ("until", local_time(added["end_ms"]))]
        return data, lines

    write(app, [action], summary=summary, report=report)


booking.add_command(extend)


@booking.command(writes=True)
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@application
def settle(app: Application, which: str) -> None:
    """Have paid what a booking earned longer ago than the dispute window. Anyone may, given its full id."""
    from chain.actions.bookings import Settle

    chosen = booking_id(app, which, ("active", "closing"))

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        paid = [sent.amounts(kind) for kind in ("booking.settled", "booking.completed", "booking.closed")]
        net, fee = (sum(each.get(name, 0) for each in paid) for name in ("net", "fee"))
        data = {"booking": chosen, "net": _text(net), "market_fee": _text(fee)}
        return data, [("booking", chosen), ("provider got", amount(net)), ("market fee", amount(fee))]

    write(app, [Settle(bytes.fromhex(chosen))], report=report)


@booking.command(writes=True)
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@application
def confirm(app: Application, which: str) -> None:
    """Say that all was well with an ended booking: the provider is paid at once."""
    from chain.actions.bookings import Confirm

    chosen = booking_id(app, which, ("closing",), renter=app.wallet().address_text)

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        paid = sent.amounts("booking.closed")
        data = {"booking": chosen, "net": _text(paid.get("net")), "market_fee": _text(paid.get("fee"))}
        lines = [("booking", chosen)]
        if paid:
            lines += [("provider got", amount(paid["net"])), ("market fee", amount(paid["fee"]))]
        return data, lines

    write(app, [Confirm(bytes.fromhex(chosen))], report=report)


def ended_report(chosen: str, kind: str) -> Callable[[Sent], tuple[dict[str, Any], Pairs]]:
    """What an early end came to."""

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        ended = sent.amounts(kind)
        data = {"booking": chosen, "gross": _text(ended.get("gross")), "refund": _text(ended.get("refund"))}
        lines = [("booking", chosen)]
        if ended:
            lines += [("charged", amount(ended["gross"])), ("refunded", amount(ended["refund"]))]
        return data, lines

    return report


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


@booking.command()
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@application
def money(app: Application, which: str) -> None:
    """Tell the story of a booking's money, block by block."""
    view = app.call("booking.money", booking=booking_id(app, which, gone=True))
    lines = [
        ("booking", view.booking),
        (
            "status",
            view.status if view.in_state else f"{view.status}; it has left the state: its events tell this",
        ),
        ("locked", amount(view.locked)),
        ("= paid to provider", amount(view.net)),
        ("+ market fee", amount(view.fee)),
        ("+ refunded", amount(view.refunded)),
        ("+ still held", amount(view.remaining)),
        ("deposit", amount(view.deposit)),
    ]
    columns = (Column("height", right=True), Column(zoned("time")), Column("event"), Column("amounts", shrinks=True))
    rows = [
        [str(each.height), brief_time(each.time_ms), each.event["kind"], _money(each.event["amounts"])]
        for each in view.steps
    ]
    app.show(view, lambda: f"{details(lines)}\n\n{table(columns, rows)}")


def _money(pairs: list[dict[str, str]]) -> str:
    return event_amounts(pair for pair in pairs if not pair["name"].endswith("_ms"))
