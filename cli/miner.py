"""`aitbc miner`: the provider's side: listing GPUs, taking jobs, delivering results, earning."""

import time
from typing import Any

import click

from cli import payloads
from cli.context import Application
from cli.errors import BadInput, NothingFound
from cli.framework import Group, application
from cli.gpu import beat, gpu_table
from cli.jobs import job_table, list_options, read_content, show_jobs
from cli.listing import list_gpus, registration_options, registrations
from cli.output import amount, details, duration, foreign
from cli.resolving import booking_id, gpu_id, job_id, pages
from cli.statements import earnings
from cli.types import ID, NUMBER
from cli.wallet_account import new_profile
from cli.writing import Sent, write

_LARGEST_RESULT = 1 << 30
_HELD = ("claimed", "payload_shared", "delivered")


@click.group(cls=Group)
def miner() -> None:
    """Provide GPUs: register, take jobs, deliver, earn."""


@miner.command(writes=True)
@registration_options
@click.option("--provider-name", help="As renters see you.")
@click.option("--contact", help="How renters reach you.")
@application
def register(app: Application, /, **facts: Any) -> None:
    """List a GPU, in two transactions, and publish your profile with the key that jobs are sealed to."""
    profile = new_profile(app, facts["provider_name"], facts["contact"])
    list_gpus(app, registrations(app, facts), first=[profile])


@miner.command()
@application
def status(app: Application) -> None:
    """Show your GPUs, stake, bookings and jobs at a glance."""
    own = app.wallet().address_text
    account = app.call("account.get", address=own)
    gpus = list(pages(app, "gpu.list", provider=own))
    bookings = list(pages(app, "booking.list", provider=own, open=True))
    jobs = [each for each in pages(app, "job.list", provider=own) if each.status in _HELD]
    waiting = [each for each in bookings if each.status == "reserved"]
    data = {"account": account, "gpus": gpus, "bookings": bookings, "jobs": jobs}

    def human() -> str:
        lines = [
            ("provider", own),
            ("balance", amount(account.balance)),
            ("stake", f"{amount(account.stake.total)}, {amount(account.stake.free)} of it free"),
            ("sealing key", "published" if (account.profile or {}).get("encryption_key") else "none: set a profile"),
            ("open bookings", f"{len(bookings)}, {len(waiting)} of them to activate"),
            ("jobs in hand", str(len(jobs))),
        ]
        parts = [details(lines)]
        if gpus:
            parts.append(gpu_table(gpus))
        if jobs:
            parts.append(job_table(jobs))
        return "\n\n".join(parts)

    app.show(data, human)


@miner.command(writes=True)
@click.argument("gpus", type=ID, nargs=-1, metavar="[GPU...]")
@application
def heartbeat(app: Application, gpus: tuple[str, ...]) -> None:
    """Say that your GPUs are alive [all that you list]; offline ones come back."""
    beat(app, gpus)


@miner.command()
@list_options
@click.option("--mine", is_flag=True, help="Those you have claimed, in any state.")
@click.option("--booking", type=ID, metavar="BOOKING|GPU", help="Only those inside one booking.")
@application
def jobs(app: Application, /, **filters: Any) -> None:
    """List the jobs that are open to be claimed, newest first."""
    mine = filters.pop("mine")
    if filters["booking"] is not None:
        filters["booking"] = booking_id(app, filters["booking"])
    if mine:
        filters["provider"] = app.wallet().address_text
    elif filters["status"] is None:
        filters["status"] = "open"
    show_jobs(app, **filters)


@miner.command(writes=True)
@click.argument("job", type=ID)
@click.option("--gpu", type=ID, metavar="GPU", help="Which of your GPUs does it [your only one that fits].")
@application
def claim(app: Application, job: str, gpu: str | None) -> None:
    """Take an open job. Collateral is reserved until it is delivered and accepted."""
    from chain.actions.jobs import ClaimJob

    chosen = job_id(app, job, {"status": "open"}, {})
    view = app.call("job.get", job=chosen).view
    own = app.wallet().address_text
    used = None
    if view.job["booking"] is None:
        used = gpu_id(app, gpu, provider=own) if gpu else _only_fitting(app, view.job["gpu_filter"], own)
    elif gpu is not None:
        raise BadInput("A job inside a booking runs on the booking's GPUs.", "Leave --gpu out.")
    action = ClaimJob(bytes.fromhex(chosen), None if used is None else bytes.fromhex(used))

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        collateral = sent.amounts("job.claimed").get("collateral", 0)
        grace = duration(app.network().parameters.activation_grace_seconds)
        lines = [
            ("job", chosen),
            ("gpu", used or "of the booking"),
            ("collateral", amount(collateral)),
            ("next", f"the renter shares the input within {grace}, or the job expires"),
        ]
        return {"job": chosen, "gpu": used, "collateral": str(collateral)}, lines

    write(app, [action], report=report)


def _only_fitting(app: Application, wanted: dict[str, Any], own: str) -> str:
    fitting = [
        each
        for each in pages(app, "gpu.list", provider=own, status="active")
        if wanted["model"] in ("", each.gpu["hardware"]["model"])
        and wanted["region"] in ("", each.gpu["hardware"]["region"])
        and each.gpu["hardware"]["memory_mb"] >= wanted["minimum_memory_mb"]
        and each.gpu["hardware"]["cuda_cores"] >= wanted["minimum_cuda_cores"]
    ]
    free = [each for each in fitting if each.available] or fitting
    if not free:
        raise NothingFound("None of your active GPUs fits the job.", "`aitbc miner status` shows your GPUs.")
    return str(free[0].id)


def _held_job(app: Application, text: str) -> str:
    return job_id(app, text, {"provider": app.wallet().address_text}, {})


@miner.command()
@click.argument("job", type=ID)
@click.option("--encrypted", metavar="FILE", help="The encrypted input, fetched from where the renter put it.")
@click.option("--out", metavar="FILE", help="Write the input here instead of showing it.")
@application
def payload(app: Application, job: str, encrypted: str | None, out: str | None) -> None:
    """Open the input of a job that the renter sealed for you, and check it against the ledger."""
    chosen = _held_job(app, job)
    shared = payloads.read_message(_sealed_message(app, chosen))
    document = shared.document
    if document is None:
        if encrypted is None:
            app.show(
                {"job": chosen, "location": shared.location},
                lambda: details([("job", chosen), ("encrypted input at", shared.location)]),
            )
            app.note("Fetch it, then: aitbc miner payload JOB --encrypted FILE")
            return
        document = payloads.decrypt_file(read_content(None, encrypted, "--encrypted", _LARGEST_RESULT), shared.key)
    input_hash = app.call("job.get", job=chosen).view.job["input_hash"]
    content = payloads.content_of(document, input_hash)
    if out is not None:
        with open(out, "wb") as file:
            file.write(content)
        app.show({"job": chosen, "file": out}, lambda: details([("job", chosen), ("input", out)]))
        return
    text = content.decode("utf-8", "backslashreplace")
    app.show({"job": chosen, "payload": text}, lambda: foreign(text))


def _sealed_message(app: Application, chosen: str) -> bytes:
    """What the renter sealed last for this job, opened with the wallet's key."""
    from wallet.sealing import unseal

    own = app.wallet().address_text
    for entry in pages(app, "account.history", address=own):
        kinds = [event for event in entry.events if event["kind"] == "job.payload_shared"]
        if entry.txid is None or not any(_names(event, chosen) for event in kinds):
            continue
        transaction = app.call("tx.get", txid=entry.txid).transaction or {}
        for outer in transaction.get("actions", ()):
            for action in (outer, *outer.get("actions", ())):
                if action.get("action") == "job.share_payload" and action.get("job") == chosen:
                    return unseal(app.unlock(app.wallet()), bytes.fromhex(action["sealed_key"]))
    raise NothingFound("The renter has not shared the input with you.", "`aitbc client share` is what the renter does.")


def _names(event: dict[str, Any], identifier: str) -> bool:
    return any(pair["id"] == identifier for pair in event["subjects"])


def _receipt_options(function: Any) -> Any:
    for option in reversed(
        (
            click.argument("job", type=ID),
            click.option("--units", type=NUMBER, required=True, help="Done in all so far."),
            click.option("--result", help="The result, as text; the ledger keeps its hash."),
            click.option("--result-file", metavar="FILE", help="The result, from here; - is stdin."),
            click.option("--location", default="", help="Where the renter can fetch it."),
        )
    ):
        function = option(function)
    return function


@miner.command(writes=True)
@_receipt_options
@click.option("--final", is_flag=True, help="This delivers the job.")
@application
def receipt(app: Application, /, final: bool, **done: Any) -> None:
    """Say how much of a job is done so far; the renter may accept and pay that much."""
    _send_receipt(app, done, final)


@miner.command(writes=True)
@_receipt_options
@application
def deliver(app: Application, /, **done: Any) -> None:
    """Deliver a job: the final receipt. It is paid when the renter accepts, or by itself after the window."""
    _send_receipt(app, done, True)


def _send_receipt(app: Application, done: dict[str, Any], final: bool) -> None:
    from chain.actions.jobs import AddReceipt
    from chain.crypto.hashing import sha256
    from chain.job import Receipt, receipt_hash
    from chain.record import encode_record

    content = read_content(done["result"], done["result_file"], "--result and --result-file", _LARGEST_RESULT)
    chosen = _held_job(app, done["job"])
    found = app.call("job.get", job=chosen)
    claimed = found.view.job["claim"]
    if claimed is None or claimed["provider"] != app.wallet().address_text:
        raise NothingFound("You hold no claim on this job.", "`aitbc miner jobs --mine` shows those that you do.")
    # The block that carries the receipt cannot be older than the head, so the head's time is a safe end.
    ended_ms = max(claimed["claimed_ms"], min(found.as_of.time_ms, time.time_ns() // 1_000_000))
    receipt = Receipt(
        job=bytes.fromhex(chosen),
        sequence=claimed["receipts"] + 1,
        units_total=done["units"],
        previous_hash=bytes.fromhex(claimed["last_receipt"]),
        result_hash=sha256(content),
        location=done["location"],
        started_ms=claimed["claimed_ms"],
        ended_ms=ended_ms,
        final=final,
    )
    encode_record(receipt)
    latest = receipt_hash(receipt).hex()
    data = {"job": chosen, "receipt": latest, "units": done["units"], "final": final}
    lines = [("job", chosen), ("receipt", latest), ("units", f"{done['units']:,}")]
    write(app, [AddReceipt(receipt)], report=lambda _: (data, lines))


@miner.command(writes=True)
@click.argument("job", type=ID)
@click.option("--reason", default="", help="Why; everyone can read it.")
@application
def fail(app: Application, job: str, reason: str) -> None:
    """Give a claimed job up: half the collateral goes to the renter, and the rest of the job reopens."""
    from chain.actions.jobs import FailJob
    from chain.record import encode_record

    chosen = _held_job(app, job)
    action = FailJob(bytes.fromhex(chosen), reason)
    encode_record(action)
    claimed = app.call("job.get", job=chosen).view.job["claim"] or {}
    lost = amount(int(claimed.get("collateral", 0)) // 2)
    write(app, [action], summary=[("goes to the renter", lost)], report=lambda _: ({"job": chosen}, [("job", chosen)]))


miner.add_command(earnings)
