"""`aitbc marketplace gpu`: listing, finding, booking and using GPUs."""

import time
from typing import Any

import click

from cli import booking, disputes, listing
from cli.context import Application
from cli.errors import BadInput, NothingFound
from cli.framework import Group, application
from cli.output import (
    Column,
    amount,
    brief_time,
    details,
    duration,
    foreign,
    local_time,
    memory,
    number,
    plural,
    rating,
    share,
    short,
    table,
    zoned,
)
from cli.resolving import booking_id, gpu_id, pages
from cli.types import AMOUNT, DURATION, ID, MEMORY, NUMBER32, TIME
from cli.writing import Sent, write

ORDERS = ("price", "-price", "memory", "-memory", "cores", "-cores", "registered", "-registered")
STATUSES = ("active", "maintenance", "offline", "retiring", "retired")
_TAKEN = {"booking": "booked", "job": "job", "maintenance": "maintenance"}
HEARTBEATS = 100
"""GPUs in one heartbeat."""


@click.group(cls=Group)
def gpu() -> None:
    """List, find, book and use GPUs."""


for _command in (listing.register, listing.update, listing.maintenance, booking.extend, disputes.challenge):
    gpu.add_command(_command)


@gpu.command("list")
@click.option("--available", is_flag=True, help="Only those that can be booked now (or from --start for --seconds).")
@click.option("--start", type=TIME, help="Free from then, such as +2h.")
@click.option("--seconds", type=DURATION, help="Free for this long, such as 2h.")
@click.option("--price-max", type=AMOUNT, help="Per hour at most, in AITBC.")
@click.option("--model", help="Model; * and ? match as in file names, _ stands for a space.")
@click.option("--region", help="Only there.")
@click.option("--memory-min", type=MEMORY, help="At least, such as 24GB.")
@click.option("--cores-min", type=NUMBER32, help="CUDA cores at least.")
@click.option("--attribute", help="Only those with this attribute.")
@click.option("--provider", metavar="ADDRESS|WALLET", help="Only those of one provider.")
@click.option("--mine", is_flag=True, help="Only those of the wallet.")
@click.option("--status", type=click.Choice(STATUSES), help="Retired ones show only when asked for.")
@click.option("--order", type=click.Choice(ORDERS), default="price", show_default=True, help="- turns it round.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="GPUs at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def list_(app: Application, /, **filters: Any) -> None:
    """Show GPUs on the market, cheapest first."""
    provider = None if filters["mine"] else filters["provider"]
    wanted = {
        "available": filters["available"] or filters["start"] is not None or filters["seconds"] is not None,
        "start_ms": filters["start"],
        "seconds": filters["seconds"],
        "price_max": None if filters["price_max"] is None else str(filters["price_max"]),
        "model": filters["model"].replace("_", "?") if filters["model"] else None,
        "region": filters["region"],
        "memory_min": filters["memory_min"],
        "cores_min": filters["cores_min"],
        "attribute": filters["attribute"],
        "provider": app.account_text(provider) if provider or filters["mine"] else None,
        "status": filters["status"],
        "order": filters["order"],
        "limit": filters["limit"],
        "cursor": filters["cursor"],
    }
    view = app.call("gpu.list", **wanted)
    app.show(view, lambda: gpu_table(view.items))
    if view.next_cursor:
        app.note(f"There is more: --cursor {view.next_cursor}")


def gpu_table(items: Any) -> str:
    """GPUs as a table."""
    columns = (
        Column("gpu"),
        Column("model", shrinks=True),
        Column("memory", right=True),
        Column("cores", right=True),
        Column("AITBC/h", right=True),
        Column("status"),
        Column("free"),
        Column("region", shrinks=True, optional=True),
        Column("provider", optional=True),
    )
    rows = [
        [
            short(each.id),
            each.gpu["hardware"]["model"],
            memory(each.gpu["hardware"]["memory_mb"]),
            str(each.gpu["hardware"]["cuda_cores"]),
            number(each.gpu["terms"]["price_per_hour"]),
            each.status,
            _free(each),
            each.gpu["hardware"]["region"] or "-",
            short(each.gpu["owner"]),
        ]
        for each in items
    ]
    return table(columns, rows, "No GPU fits.")


def _free(view: Any) -> str:
    if view.available:
        return "now"
    if view.free_from_ms:
        left = (view.free_from_ms - time.time_ns() // 1_000_000) // 1_000
        return f"in {duration(left)}" if left > 0 else "soon"
    return "no"


def rating_line(found: Any) -> str:
    """What all reviews come to, and what they have cost their writers."""
    if not found.reviews:
        return "no reviews yet"
    by = f"{plural(found.reviews, 'review')} by {plural(found.renters, 'renter')}, for {amount(found.fees)} in fees"
    weighted = f"{rating(found.weighted_hundredths)} of 5 weighted by fee, {rating(found.average_hundredths)} plain"
    if found.renters > 1:
        by += f", {share(found.largest_share)} of them by one renter"
    return f"{weighted}, in {by}"


def reputation_lines(found: Any) -> list[tuple[str, str]]:
    """What a provider or a device did so far, with the sample of each share."""
    counters = found.counters

    def part(basis_points: int | None, text: str) -> str:
        return f"{share(basis_points or 0)} {text}"

    lines = [("bookings", "none yet")]
    if found.bookings:
        parts = [
            part(found.served_share, "served"),
            part(found.no_show_share, "no-shows"),
            part(found.provider_cancel_share, "cancelled"),
        ]
        lines = [("bookings", f"{', '.join(parts)}; of {found.bookings:,}")]
    if found.jobs:
        lines.append(("jobs", f"{part(found.jobs_accepted_share, 'accepted')}; of {found.jobs:,}"))
    if int(counters["disputes_lost"]):
        lines.append(("disputes", f"{counters['disputes_lost']} lost"))
    if found.uptime_share is not None:
        lines.append(
            ("uptime", f"{share(found.uptime_share)} of {duration(found.online_seconds + found.offline_seconds)}")
        )
    if int(counters["ratings"]):
        mean = f"{rating(found.weighted_hundredths)} of 5 weighted by fee, {rating(found.average_hundredths)} plain"
        lines.append(("ratings", f"{mean}; of {counters['ratings']}"))
    lines.append(("earned", f"{amount(counters['gross'])}, {amount(counters['fee'])} of it market fees"))
    return lines


@gpu.command("details")
@click.argument("which", type=ID, metavar="GPU")
@application
def details_(app: Application, which: str) -> None:
    """Show everything about a GPU, its provider and its rating."""
    found = app.call("gpu.get", gpu=gpu_id(app, which))
    view, hardware, terms = found.view, found.view.gpu["hardware"], found.view.gpu["terms"]
    provider = found.provider_profile or {}
    lines = [
        ("gpu", view.id),
        ("status", f"{view.status}, free {_free(view)}"),
        ("model", hardware["model"]),
        ("memory", memory(hardware["memory_mb"])),
        ("CUDA cores", str(hardware["cuda_cores"])),
        ("CUDA version", hardware["cuda_version"] or "-"),
        ("region", hardware["region"] or "-"),
        ("attributes", ", ".join(hardware["attributes"]) or "-"),
        ("hardware hash", f"{hardware['hardware_hash']} ({_trust(view.gpu)})"),
        ("price", f"{amount(terms['price_per_hour'])} an hour (terms version {terms['version']})"),
        ("bookings", f"{duration(terms['minimum_seconds'])} to {duration(terms['maximum_seconds'])}"),
        ("ahead", f"at most {duration(terms['horizon_seconds'])}"),
        ("cancellation", booking.notice_text(terms["notice_seconds"], terms["cancellation_share"])),
        *(
            ("maintenance", f"{local_time(each.start_ms)} to {local_time(each.end_ms)}, {short(each.id)}")
            for each in found.maintenance
        ),
        ("open bookings", str(int(view.gpu["open_bookings"]) - len(view.gpu["maintenance"]))),
        ("provider", view.gpu["owner"]),
        ("", " ".join(text for text in (provider.get("name"), provider.get("contact")) if text) or "no profile"),
        ("rating", rating_line(found.rating)),
        ("registered", f"at height {view.gpu['registered_height']}"),
    ]
    parts = [
        details(lines),
        f"this device\n{details(reputation_lines(found.device), '  ')}",
        f"all of its provider\n{details(reputation_lines(found.provider), '  ')}",
    ]
    app.show(found, lambda: "\n\n".join(parts))


def _trust(record: Any) -> str:
    """What is known of the hardware beyond what its owner says."""
    if record["refuted"]:
        return "refuted by a challenge"
    return f"self-declared, challenged in {short(record['challenge'])}" if record["challenge"] else "self-declared"


@gpu.command(writes=True)
@click.argument("gpus", type=ID, nargs=-1, required=True, metavar="GPU...")
@booking.duration_options
@click.option("--start", type=TIME, help="When, such as 2030-01-31T18:00 or +2h [now].")
@click.option("--max-price", type=AMOUNT, help="Refuse if it costs more than this in all, in AITBC.")
@application
def book(
    app: Application,
    gpus: tuple[str, ...],
    hours: int | None,
    seconds: int | None,
    start: int | None,
    max_price: int | None,
) -> None:
    """Book GPUs of one provider: all or none, for exactly the price that is shown.

    The whole cost is locked, and what is not used returns by itself. If terms move before the booking is final, it is
    refused rather than costing more.
    """
    from chain.actions.bookings import Reserve

    chosen = [gpu_id(app, each) for each in gpus]
    length = booking.seconds_of(hours, seconds)
    quote = app.call("booking.quote", gpus=chosen, seconds=length, start_ms=start)
    cost = int(quote.cost)
    if max_price is not None and cost > max_price:
        raise BadInput(
            f"It costs {amount(cost)}, more than the {amount(max_price)} of --max-price.",
            "Book for a shorter time, choose another GPU, or allow more.",
        )
    action = Reserve(
        gpus=tuple(bytes.fromhex(each) for each in chosen),
        start_ms=start or 0,
        seconds=length,
        max_cost=cost,
        terms_versions=tuple(quote.terms_versions),
        sealing_key=own_sealing_key(app),
    )
    action.validate()
    if app.form == "table" and not app.settings.dry_run:
        app.note(f"{booking.outcome_table(quote)}\n")
    write(app, [action], summary=booking.quote_lines(quote), report=_booked)


def _booked(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    made = sent.subject("booking.reserved", "booking")
    amounts = sent.amounts("booking.reserved")
    data = {
        "booking": made,
        "locked": str(amounts["locked"]) if amounts else None,
        "start_ms": amounts.get("start_ms"),
        "end_ms": amounts.get("end_ms"),
    }
    lines = [("booking", made or "-")]
    if amounts:
        lines += [
            ("locked", amount(amounts["locked"])),
            ("from", local_time(amounts["start_ms"])),
            ("until", local_time(amounts["end_ms"])),
            ("status", "reserved: the provider activates it"),
        ]
    return data, lines


def own_sealing_key(app: Application) -> bytes:
    """The published sealing key of a wallet without its secret here, else the one derived from the secret."""
    from wallet.sealing import sealing_key

    wallet = app.wallet()
    if wallet.can_sign:
        return sealing_key(app.unlock(wallet))
    profile = app.call("account.get", address=wallet.address_text).profile
    if not profile or not profile.get("encryption_key"):
        raise NothingFound(
            f"Wallet {wallet.name} has no key here, and its profile publishes none to seal the access details to.",
            "Publish one where the key is: aitbc wallet profile set",
        )
    return bytes.fromhex(profile["encryption_key"])


@gpu.command()
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@application
def access(app: Application, which: str) -> None:
    """Show how to reach what you booked: opens the access details that the provider sealed for you."""
    chosen = booking_id(app, which, ("active",), renter=app.wallet().address_text)
    text = booking.open_access(app, chosen)
    app.show({"booking": chosen, "access": text}, lambda: foreign(text))


@gpu.command(writes=True)
@click.argument("which", type=ID, metavar="BOOKING|GPU")
@application
def release(app: Application, which: str) -> None:
    """Leave a booking early; what was not earned returns, less the release charge."""
    from chain.actions.bookings import Release

    chosen = booking_id(app, which, ("active",), renter=app.wallet().address_text)
    view = app.call("booking.get", booking=chosen).view
    summary = [("returns now", amount(view.refund_if_ended)), ("time left", duration(view.seconds_left))]
    report = booking.ended_report(chosen, "booking.released")
    write(app, [Release(bytes.fromhex(chosen))], summary=summary, report=report)


@gpu.command()
@click.argument("which", type=ID, metavar="GPU")
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, help="How far to look.")
@click.option("--from", "from_ms", type=TIME, help="From then on [now].")
@application
def availability(app: Application, which: str, days: int, from_ms: int | None) -> None:
    """Show when a GPU is free, and when it is booked."""
    view = app.call("gpu.availability", gpu=gpu_id(app, which), days=days, from_ms=from_ms)
    slots = [(each.start_ms, each.end_ms, "free") for each in view.free]
    slots += [(each.start_ms, each.end_ms, f"{_TAKEN[each.kind]} {short(each.booking)}") for each in view.booked]
    columns = (Column(zoned("from")), Column(zoned("until")), Column("for", right=True), Column(""))
    rows = [
        [brief_time(start), brief_time(end), duration((end - start) // 1_000), what]
        for start, end, what in sorted(slots)
    ]
    app.show(view, lambda: table(columns, rows))
    if not view.bookable:
        app.note("The GPU takes no new bookings now: it is offline, retiring or retired.")


@gpu.command(writes=True)
@click.argument("gpus", type=ID, nargs=-1, metavar="[GPU...]")
@application
def heartbeat(app: Application, gpus: tuple[str, ...]) -> None:
    """Say that your GPUs are alive [all that you list]; offline ones come back."""
    beat(app, gpus)


def beat(app: Application, gpus: tuple[str, ...]) -> None:
    """Send a heartbeat for these GPUs of the wallet, or for all of them."""
    from chain.actions.gpus import Heartbeat

    own = app.wallet().address_text
    chosen = [gpu_id(app, each, provider=own) for each in gpus] or [
        each.id for each in pages(app, "gpu.list", provider=own)
    ]
    if not chosen:
        raise NothingFound("You list no GPU.", "`aitbc miner register` lists one.")
    chosen = list(dict.fromkeys(chosen))
    actions = [
        Heartbeat(tuple(bytes.fromhex(each) for each in chosen[at : at + HEARTBEATS]))
        for at in range(0, len(chosen), HEARTBEATS)
    ]
    write(app, actions, report=lambda _: ({"gpus": chosen}, [("alive", plural(len(chosen), "GPU"))]))


@gpu.command(writes=True)
@click.argument("which", type=ID, metavar="GPU")
@application
def retire(app: Application, which: str) -> None:
    """Take a GPU off the market: at once, or when its last booking ends."""
    from chain.actions.gpus import RetireGpu

    chosen = gpu_id(app, which, provider=app.wallet().address_text)

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        retired = bool(sent.subjects("gpu.retired", "gpu"))
        done = "retired" if retired else "retires when its last booking ends"
        return {"gpu": chosen, "retired": retired}, [("gpu", chosen), ("status", done)]

    write(app, [RetireGpu(bytes.fromhex(chosen))], report=report)
