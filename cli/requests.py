"""`aitbc marketplace request` and `bid`: a renter says what he looks for, providers bid, and he accepts one bid."""

import time
from typing import Any

import click

from cli.booking import duration_options, notice_text, seconds_of
from cli.context import Application
from cli.errors import BadInput, NothingFound, explain
from cli.framework import Group, application
from cli.gpu import own_sealing_key
from cli.jobs import wanted as wanted_gpus
from cli.output import (
    Column,
    Pairs,
    amount,
    brief_time,
    details,
    duration,
    local_time,
    number,
    plural,
    short,
    table,
    zoned,
)
from cli.resolving import gpu_id, request_id
from cli.types import AMOUNT, DURATION, ID, MEMORY, NUMBER32, TIME
from cli.writing import Sent, write

MOST_GPUS = 16


@click.group(cls=Group)
def request() -> None:
    """Ask providers for bids, and accept one."""


@request.command("open", writes=True)
@duration_options
@click.option("--max-price", type=AMOUNT, required=True, help="The most that it may cost, in AITBC; locked at once.")
@click.option("--count", type=click.IntRange(1, MOST_GPUS), default=1, show_default=True, help="GPUs of one provider.")
@click.option("--model", default="", help="Only this model.")
@click.option("--region", default="", help="Only there.")
@click.option("--memory-min", type=MEMORY, default=0, metavar="SIZE", help="Memory at least, such as 24GB.")
@click.option("--cores-min", type=NUMBER32, default=0, help="CUDA cores at least.")
@click.option("--start", type=TIME, help="When, such as 2030-01-31T18:00 or +2h [when you accept a bid].")
@click.option(
    "--open-for", type=DURATION, default="1d", show_default=True, help="How long bids may come in; a start ends it too."
)
@application
def open_(app: Application, /, hours: int | None, seconds: int | None, **asked: Any) -> None:
    """Ask for GPUs. The most that you would pay is locked; what a bid does not cost returns when you accept it.

    Without an accepted bid all of it returns by itself when the time for bids is over.
    """
    from chain.actions.requests import OpenRequest
    from chain.job import GpuFilter
    from chain.record import encode_record

    start_ms = asked["start"] or 0
    now_ms = max(time.time_ns() // 1_000_000, app.network().time_ms)
    expires_ms = now_ms + asked["open_for"] * 1_000
    action = OpenRequest(
        gpu_filter=GpuFilter(asked["model"], asked["region"], asked["memory_min"], asked["cores_min"]),
        count=asked["count"],
        start_ms=start_ms,
        seconds=seconds_of(hours, seconds),
        max_cost=asked["max_price"],
        expires_ms=min(expires_ms, start_ms or expires_ms),
        sealing_key=own_sealing_key(app),
    )
    encode_record(action)

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        made = sent.subject("request.opened", "request")
        lines = [
            ("request", made or "-"),
            ("locked", amount(action.max_cost)),
            ("open until", local_time(action.expires_ms)),
        ]
        return {"request": made, "locked": str(action.max_cost), "expires_ms": action.expires_ms}, lines

    summary = [("locked at once", f"{amount(action.max_cost)}, and a deposit that returns with the request")]
    write(app, [action], summary=summary, report=report)


@request.command("list")
@click.option("--mine", is_flag=True, help="Only those of the wallet.")
@click.option("--bidding", is_flag=True, help="Only those on which the wallet has a bid.")
@click.option("--model", help="Only those that a GPU of this model would do for.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Requests at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def list_(app: Application, mine: bool, bidding: bool, model: str | None, limit: int, cursor: str | None) -> None:
    """List the open requests, newest first."""
    own = app.wallet().address_text if mine or bidding else None
    view = app.call(
        "request.list",
        renter=own if mine else None,
        provider=own if bidding else None,
        model=model,
        limit=limit,
        cursor=cursor,
    )
    app.show(view, lambda: _request_table(view.items))
    if view.next_cursor:
        app.note(f"There is more: --cursor {view.next_cursor}")


def _request_table(items: Any) -> str:
    columns = (
        Column("request"),
        Column("gpus", right=True),
        Column("wants", shrinks=True),
        Column(zoned("from")),
        Column("for", right=True),
        Column("at most, AITBC", right=True),
        Column("bids", right=True),
        Column("cheapest", right=True),
        Column("open for", right=True, optional=True),
        Column("renter", optional=True),
    )
    rows = [
        [
            short(each.id),
            str(each.request["count"]),
            wanted_gpus(each.request["gpu_filter"]),
            brief_time(each.request["start_ms"]) if each.request["start_ms"] else "acceptance",
            duration(each.request["seconds"]),
            number(each.request["max_cost"]),
            str(each.request["bids"]),
            number(each.cheapest) if each.cheapest is not None else "-",
            duration(each.seconds_left),
            short(each.request["renter"]),
        ]
        for each in items
    ]
    return table(columns, rows, "There is no such request.")


@request.command()
@click.argument("which", type=ID, metavar="REQUEST")
@application
def show(app: Application, which: str) -> None:
    """Show a request and its bids, the cheapest first."""
    found = app.call("request.get", request=request_id(app, which))
    app.show(found, lambda: f"{details(_request_lines(found.view))}\n\n{_bid_table(found.bids)}")


def _request_lines(view: Any) -> list[tuple[str, str]]:
    record = view.request
    return [
        ("request", view.id),
        ("renter", record["renter"]),
        ("wants", f"{plural(record['count'], 'GPU')}: {wanted_gpus(record['gpu_filter'])}"),
        ("from", local_time(record["start_ms"]) if record["start_ms"] else "the acceptance of a bid"),
        ("for", duration(record["seconds"])),
        ("at most", f"{amount(record['max_cost'])}, locked"),
        ("open until", f"{local_time(record['expires_ms'])} ({duration(view.seconds_left)})"),
        ("deposit", amount(record["deposit"])),
    ]


def _bid_table(bids: Any) -> str:
    columns = (
        Column("provider"),
        Column("cost, AITBC", right=True),
        Column("an hour", right=True),
        Column("gpus"),
        Column("collateral", right=True, optional=True),
        Column("now", shrinks=True),
    )
    rows = [
        [
            short(each.provider),
            number(each.cost),
            number(each.bid["rate"]),
            ", ".join(map(short, each.bid["gpus"][:2])) + (" …" if len(each.bid["gpus"]) > 2 else ""),
            "-" if each.collateral is None else number(each.collateral),
            "can be accepted" if each.refusal is None else explain(each.refusal.name, each.refusal.data),
        ]
        for each in bids
    ]
    return table(columns, rows, "There are no bids yet.")


@request.command(writes=True)
@click.argument("which", type=ID, metavar="REQUEST")
@click.argument("provider", required=False, metavar="[PROVIDER]")
@application
def accept(app: Application, which: str, provider: str | None) -> None:
    """Accept a provider's bid [the cheapest that can be accepted]: it becomes a booking.

    What it does not cost of the locked maximum returns at once. If the provider bids anew before that, it is refused.
    """
    from chain.actions.requests import AcceptBid

    chosen = request_id(app, which, renter=app.wallet().address_text)
    found = app.call("request.get", request=chosen)
    offer = _offer(app, found, provider)
    record, cost = found.view.request, int(offer.cost)
    summary = [
        ("rate", f"{amount(offer.bid['rate'])} an hour"),
        ("gpus", "\n".join(offer.bid["gpus"])),
        ("cost", f"{amount(cost)}, locked at once"),
        ("returns at once", amount(int(record["max_cost"]) - cost)),
    ]
    if offer.refusal is None:
        summary += [
            ("cancellation", notice_text(offer.notice_seconds, offer.cancellation_share)),
            ("provider's collateral", f"{amount(offer.collateral)}, yours if nobody shows up"),
        ]
    action = AcceptBid(bytes.fromhex(chosen), app.address(offer.provider), offer.bid["number"])

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        made, amounts = sent.subject("request.bid_accepted", "booking"), sent.amounts("request.bid_accepted")
        data = {
            "booking": made,
            "provider": offer.provider,
            "cost": str(amounts["cost"]) if amounts else None,
            "saved": str(amounts["saved"]) if amounts else None,
        }
        lines = [("booking", made or "-"), ("provider", offer.provider)]
        if amounts:
            lines += [("locked", amount(amounts["cost"])), ("returned", amount(amounts["saved"]))]
            lines.append(("status", "reserved: the provider activates it"))
        return data, lines

    write(app, [action], summary=summary, report=report)


def _offer(app: Application, found: Any, provider: str | None) -> Any:
    """The bid of a provider, or the cheapest that can be accepted."""
    if provider is not None:
        address = app.account_text(provider)
        matching = [each for each in found.bids if each.provider == address]
        missing = f"{short(address)} has no bid on this request."
    else:
        matching = [each for each in found.bids if each.refusal is None]
        missing = "No bid on this request can be accepted now."
    if not matching:
        raise NothingFound(missing, "`aitbc marketplace request show` shows the bids, and what keeps each from it.")
    return matching[0]


@request.command(writes=True)
@click.argument("which", type=ID, metavar="REQUEST")
@application
def cancel(app: Application, which: str) -> None:
    """Close a request; everything that is locked for it returns."""
    from chain.actions.requests import CancelRequest

    chosen = request_id(app, which, renter=app.wallet().address_text)

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        refund = sent.amounts("request.cancelled").get("refund")
        lines = [("request", chosen), *([("returned", amount(refund))] if refund is not None else [])]
        return {"request": chosen, "refund": None if refund is None else str(refund)}, lines

    write(app, [CancelRequest(bytes.fromhex(chosen))], report=report)


@click.group(cls=Group)
def bid() -> None:
    """Bid GPUs of yours for what renters ask for."""


@bid.command(writes=True)
@click.argument("which", type=ID, metavar="REQUEST")
@click.argument("gpus", type=ID, nargs=-1, required=True, metavar="GPU...")
@click.option("--price-per-hour", type=AMOUNT, help="In AITBC, for all of them together [what they are listed at].")
@application
def place(app: Application, which: str, gpus: tuple[str, ...], price_per_hour: int | None) -> None:
    """Bid GPUs of yours on a request, in place of an earlier bid of yours.

    A bid reserves nothing. If it is accepted and they are still free, they are booked at this price.
    """
    from chain.actions.requests import PlaceBid
    from chain.booking import collateral_of, cost_of

    own = app.wallet().address_text
    chosen = request_id(app, which)
    record = app.call("request.get", request=chosen).view.request
    ids = [gpu_id(app, each, provider=own) for each in gpus]
    terms = _terms(app, ids)
    rate = sum(int(each["price_per_hour"]) for each in terms) if price_per_hour is None else price_per_hour
    cost = cost_of(rate, record["seconds"])
    if cost > int(record["max_cost"]):
        raise BadInput(
            f"It comes to {amount(cost)}, more than the {amount(record['max_cost'])} that the renter pays at most.",
            "Bid less: --price-per-hour AMOUNT.",
        )
    versions = tuple(each["version"] for each in terms)
    action = PlaceBid(bytes.fromhex(chosen), tuple(bytes.fromhex(each) for each in ids), versions, rate)
    action.validate()
    collateral = collateral_of(cost, len(ids), app.network().parameters.collateral_per_gpu)
    summary = [
        ("renter", record["renter"]),
        ("for", f"{duration(record['seconds'])}, {amount(cost)} in all"),
        ("if it is accepted", f"{amount(collateral)} of your free stake become collateral"),
    ]

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        placed = sent.amounts("request.bid_placed").get("number")
        data = {"request": chosen, "number": placed, "rate": str(rate), "cost": str(cost)}
        return data, [("request", chosen), ("rate", f"{amount(rate)} an hour"), ("cost", amount(cost))]

    write(app, [action], summary=summary, report=report)


def _terms(app: Application, ids: list[str]) -> list[dict[str, Any]]:
    """The present terms of GPUs."""
    answers = app.client().batch([("gpu.get", {"gpu": each}) for each in ids])
    found = []
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        found.append(answer.view.gpu["terms"])
    return found


@bid.command(writes=True)
@click.argument("which", type=ID, metavar="REQUEST")
@application
def withdraw(app: Application, which: str) -> None:
    """Take your bid on a request back."""
    from chain.actions.requests import WithdrawBid

    chosen = request_id(app, which, provider=app.wallet().address_text)
    write(app, [WithdrawBid(bytes.fromhex(chosen))], report=lambda _: ({"request": chosen}, [("withdrawn", chosen)]))
