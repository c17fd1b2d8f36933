"""What renters and providers see of jobs alike: tables, details, reading and finding them."""

from typing import Any

import click

from cli.context import Application
from cli.errors import BadInput
from cli.output import Column, Pairs, amount, brief_time, details, duration, local_time, number, short, table, zoned
from cli.writing import Sent

STATUSES = (
    "open",
    "claimed",
    "payload_shared",
    "delivered",
    "accepted",
    "disputed",
    "closed",
    "cancelled",
    "expired",
)
UNITS = {"gpu_second": "GPU-second", "token": "token", "item": "item"}


def job_table(items: Any) -> str:
    """Jobs as a table."""
    columns = (
        Column("job"),
        Column("kind", shrinks=True),
        Column("status"),
        Column("units", right=True),
        Column("unit", optional=True),
        Column("AITBC/unit", right=True),
        Column(zoned("deadline")),
        Column("renter", optional=True),
        Column("provider", optional=True),
        Column("wants", shrinks=True, optional=True),
    )
    rows = [
        [
            short(each.id),
            each.job["kind"],
            each.status,
            units_done(each.job),
            UNITS.get(each.job["unit"], each.job["unit"]),
            "booked" if each.job["booking"] else number(each.job["unit_price"]),
            brief_time(each.job["deadline_ms"]),
            short(each.job["renter"]),
            short((each.job["claim"] or {}).get("provider")),
            wanted(each.job["gpu_filter"]),
        ]
        for each in items
    ]
    return table(columns, rows, "There is no such job.")


def units_done(job: dict[str, Any]) -> str:
    """Units so far, of those that were asked for."""
    claim = job["claim"] or {}
    return f"{job['units_done'] + claim.get('units_total', 0):,}/{job['max_units']:,}"


def wanted(gpu_filter: dict[str, Any]) -> str:
    """Which GPUs may take a job."""
    parts = [gpu_filter["model"], gpu_filter["region"]]
    if gpu_filter["minimum_memory_mb"]:
        parts.append(f"≥ {gpu_filter['minimum_memory_mb']} MB")
    if gpu_filter["minimum_cuda_cores"]:
        parts.append(f"≥ {gpu_filter['minimum_cuda_cores']} cores")
    return ", ".join(part for part in parts if part) or "any"


def show_job(app: Application, job: str) -> None:
    """Everything about a job as of now."""
    found = app.call("job.get", job=job)
    app.show(found, lambda: details(job_lines(found)))


def job_lines(found: Any) -> list[tuple[str, str]]:
    """A job, its claim and its money."""
    view, job, escrow = found.view, found.view.job, found.escrow
    lines = [
        ("job", view.id),
        ("status", view.status),
        ("kind", job["kind"]),
        ("renter", job["renter"]),
        ("input hash", job["input_hash"]),
        ("units", f"{units_done(job)} {UNITS.get(job['unit'], job['unit'])}s"),
        ("deadline", local_time(job["deadline_ms"])),
        ("attempt", f"{duration(job['claim_seconds'])}, {len(job['tried'])} failed so far"),
        ("GPU", wanted(job["gpu_filter"])),
    ]
    if job["booking"]:
        lines.append(("booking", job["booking"]))
    if job["claim"]:
        claim = job["claim"]
        lines += [
            ("provider", claim["provider"]),
            ("claimed", local_time(claim["claimed_ms"])),
            ("receipts", str(claim["receipts"])),
            ("collateral", amount(claim["collateral"])),
        ]
    if job["dispute"]:
        lines.append(("dispute", job["dispute"]))
    if job["ended_ms"]:
        lines.append(("ended", local_time(job["ended_ms"])))
    if escrow is not None:
        lines += [
            ("price", f"{amount(job['unit_price'])} a unit"),
            ("locked", amount(escrow["locked"])),
            ("paid", f"{amount(escrow['net'])} and {amount(escrow['fee'])} market fee"),
            ("refunded", amount(escrow["refunded"])),
        ]
    return lines


def list_options(function: Any) -> Any:
    """Filters of lists of jobs."""
    for option in reversed(
        (
            click.option("--kind", help="Only jobs of this kind."),
            click.option("--status", type=click.Choice(STATUSES), help="Only those."),
            click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Jobs at most."),
            click.option("--cursor", help="Go on after the page before."),
        )
    ):
        function = option(function)
    return function


def show_jobs(app: Application, **filters: Any) -> None:
    """A page of jobs."""
    view = app.call("job.list", **filters)
    app.show(view, lambda: job_table(view.items))
    if view.next_cursor:
        app.note(f"There is more: --cursor {view.next_cursor}")


def settled_lines(sent: Sent, job: str) -> tuple[dict[str, Any], Pairs]:
    """What an acceptance paid and returned."""
    paid = sent.amounts("job.paid") or sent.amounts("job.receipt_accepted")
    refund = sent.amounts("job.accepted").get("refund")
    lines = [("job", job)]
    if paid:
        lines += [
            ("units", f"{paid.get('units', 0):,}"),
            ("provider got", amount(paid["net"])),
            ("market fee", amount(paid["fee"])),
        ]
    if refund is not None:
        lines.append(("refunded", amount(refund)))
    return {"job": job}, lines


def read_content(text: str | None, file: str | None, names: str, largest: int) -> bytes:
    """What was given as text or as a file. Raises UsageError unless exactly one was, BadInput if it is too large."""
    if (text is None) == (file is None):
        raise click.UsageError(f"Give one of {names}.")
    if text is not None:
        return text.encode()
    with click.open_file(str(file), "rb") as source:
        data: bytes = source.read(largest + 1)
    if len(data) > largest:
        raise BadInput(f"{file} is larger than {largest >> 20} MB.", "Hand over a description of where it is instead.")
    return data
