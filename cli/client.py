"""`aitbc client`: the renter's side of jobs: submitting work, sharing its input, accepting results."""

import time
from pathlib import Path
from typing import Any

import click

from cli import payloads
from cli.context import Application
from cli.disputes import TEXT, open_dispute
from cli.errors import BadInput, NothingFound
from cli.framework import Group, application
from cli.jobs import UNITS, list_options, read_content, settled_lines, show_job, show_jobs
from cli.output import Column, amount, brief_time, plain, short, table, zoned
from cli.resolving import booking_id, job_id, pages
from cli.types import AMOUNT, COUNT, DURATION, ID, MEMORY, NUMBER32
from cli.writing import Sent, write


@click.group(cls=Group)
def client() -> None:
    """Have jobs done: submit, follow, accept."""


def _own_job(app: Application, text: str) -> str:
    return job_id(app, text, {"renter": app.wallet().address_text}, {})


@client.command(writes=True)
@click.argument("kind")
@click.option("--prompt", help="The input, as text.")
@click.option("--file", metavar="FILE", help="The input, from here; - is stdin.")
@click.option("--max-units", type=COUNT, required=True, help="Units at most.")
@click.option("--unit-price", type=AMOUNT, help="In AITBC; what a booking pays for costs nothing more.")
@click.option(
    "--unit",
    type=click.Choice(list(UNITS)),
    default="gpu_second",
    show_default=True,
    help="What is counted, and paid for.",
)
@click.option("--booking", type=ID, metavar="BOOKING|GPU", help="Have it done inside this booking of yours.")
@click.option("--gpu-model", default="", help="Only on this model.")
@click.option("--region", default="", help="Only there.")
@click.option("--memory-min", type=MEMORY, default=0, metavar="SIZE", help="Memory at least, such as 24GB.")
@click.option("--cores-min", type=NUMBER32, default=0, help="CUDA cores at least.")
@click.option(
    "--attempt",
    type=DURATION,
    default="1h",
    show_default=True,
    help="How long the work of one attempt may take, from sharing on.",
)
@click.option("--deadline", type=DURATION, default="1d", show_default=True, help="How long it may wait for takers.")
@application
def submit(app: Application, /, **wanted: Any) -> None:
    """Offer a job of some KIND, such as inference or training, to providers.

    The ledger keeps a hash of the input. The input stays here until someone has claimed the job; then you `share` it,
    within the network's activation grace (`aitbc blockchain info`), or the job expires.
    """
    content = read_content(wanted["prompt"], wanted["file"], "--prompt and --file", payloads.MAXIMUM_INPUT_BYTES)
    if wanted["booking"] is None and wanted["unit_price"] is None:
        raise click.UsageError("Give --unit-price, or --booking for a job inside a booking.")
    document = payloads.make_document(content)
    action = _submission(app, wanted, document)
    action.validate()
    if not app.settings.dry_run:
        payloads.keep(app, document)
    cost = 0 if wanted["booking"] else wanted["max_units"] * (wanted["unit_price"] or 0)
    summary = [("costs at most", "nothing: its booking pays" if wanted["booking"] else amount(cost))]

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        job = sent.subject("job.submitted", "job")
        data = {"job": job, "input_hash": action.input_hash.hex(), "locked": str(cost)}
        return data, [("job", job or "-"), ("locked", amount(cost))]

    write(app, [action], summary=summary, report=report)


def _submission(app: Application, wanted: dict[str, Any], document: bytes) -> Any:
    from chain.actions.jobs import SubmitJob
    from chain.crypto.hashing import sha256
    from chain.job import GpuFilter, Unit
    from chain.record import encode_record

    now_ms = max(time.time_ns() // 1_000_000, app.network().time_ms)
    booking = wanted["booking"]
    if booking is not None:
        booking = booking_id(app, booking, ("reserved", "active"), renter=app.wallet().address_text)
    action = SubmitJob(
        kind=wanted["kind"],
        input_hash=sha256(document),
        unit=Unit[wanted["unit"].upper()],
        max_units=wanted["max_units"],
        unit_price=wanted["unit_price"] or 0,
        claim_seconds=wanted["attempt"],
        deadline_ms=now_ms + wanted["deadline"] * 1_000,
        gpu_filter=GpuFilter(wanted["gpu_model"], wanted["region"], wanted["memory_min"], wanted["cores_min"]),
        booking=None if booking is None else bytes.fromhex(booking),
    )
    encode_record(action)
    return action


@client.command()
@click.argument("job", type=ID)
@application
def status(app: Application, job: str) -> None:
    """Show where a job stands."""
    show_job(app, _own_job(app, job))


@client.command(writes=True)
@click.argument("job", type=ID)
@application
def cancel(app: Application, job: str) -> None:
    """Withdraw a job that nobody has claimed; its money returns."""
    from chain.actions.jobs import CancelJob

    chosen = _own_job(app, job)

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        refund = sent.amounts("job.cancelled").get("refund")
        lines = [("job", chosen), *([("refunded", amount(refund))] if refund is not None else [])]
        return {"job": chosen, "refund": None if refund is None else str(refund)}, lines

    write(app, [CancelJob(bytes.fromhex(chosen))], report=report)


@client.command(writes=True)
@click.argument("job", type=ID)
@click.option("--location", help="Where the encrypted input can be fetched; needed for inputs above 900 bytes.")
@click.option("--encrypted", metavar="FILE", help="Write the encrypted input here, to be put at --location.")
@application
def share(app: Application, job: str, location: str | None, encrypted: str | None) -> None:
    """Hand the input of a claimed job to its provider, sealed so that nobody else can read it.

    A small input goes with the transaction. A large one is encrypted into a file, which you put where the provider
    can fetch it; its key goes with the transaction.
    """
    from chain.actions.jobs import SharePayload
    from wallet.sealing import seal

    chosen = _own_job(app, job)
    view = app.call("job.get", job=chosen).view
    document = payloads.kept(app, view.job["input_hash"])
    key = _claimers_key(app, view)
    message = payloads.inline_message(document)
    if message is None or location is not None:
        if location is None or encrypted is None:
            raise BadInput(
                f"The input of {len(document):,} bytes is too large to go with the transaction.",
                "Pass --encrypted FILE and --location URL, and put the file there.",
            )
        message, ciphertext = payloads.file_message(document, location)
        Path(encrypted).write_bytes(ciphertext)
    try:
        sealed = seal(message, key)
    except ValueError as error:
        raise BadInput(
            "The provider's sealing key cannot be used.", "Wait until the attempt times out; the job reopens."
        ) from error
    lines = [("job", chosen), ("provider", view.job["claim"]["provider"])]
    write(app, [SharePayload(bytes.fromhex(chosen), sealed)], report=lambda _: ({"job": chosen}, lines))


def _claimers_key(app: Application, view: Any) -> bytes:
    claim = view.job["claim"]
    if view.status != "claimed" or claim is None:
        raise NothingFound(
            f"The job is {view.status}, so there is nobody who waits for its input.",
            "Share it when a provider has claimed it; `aitbc client status` tells.",
        )
    profile = app.call("account.get", address=claim["provider"]).profile or {}
    if not profile.get("encryption_key"):
        raise NothingFound(
            "The provider has published no key to which the input could be sealed.",
            "Ask for it: the provider publishes one with `aitbc wallet profile set`.",
        )
    return bytes.fromhex(profile["encryption_key"])


@client.command(writes=True)
@click.argument("job", type=ID)
@application
def accept(app: Application, job: str) -> None:
    """Accept the last receipt of a job: pays what it says, and finishes the job if it was the final one."""
    from chain.actions.jobs import AcceptJob

    chosen = _own_job(app, job)
    claim = app.call("job.get", job=chosen).view.job["claim"]
    if not claim or not claim["receipts"]:
        raise NothingFound(
            "The job has no receipt that could be accepted.", "`aitbc client status` tells how far it is."
        )
    action = AcceptJob(bytes.fromhex(chosen), bytes.fromhex(claim["last_receipt"]))
    summary = [("units delivered", f"{claim['units_total']:,}")]
    write(app, [action], summary=summary, report=lambda sent: settled_lines(sent, chosen))


@client.command(writes=True)
@click.argument("job", type=ID)
@TEXT
@application
def dispute(app: Application, job: str, text: str) -> None:
    """Contest a delivered job of yours before it is accepted: what is unpaid of it is frozen, for a deposit."""
    open_dispute(app, _own_job(app, job), text)


@client.command()
@list_options
@application
def history(app: Application, /, **filters: Any) -> None:
    """List the jobs you submitted, newest first."""
    show_jobs(app, renter=app.wallet().address_text, **filters)


@client.command()
@click.option("--job-id", type=ID, metavar="JOB", help="Of one job [all yours that have receipts].")
@application
def receipts(app: Application, job_id: str | None) -> None:
    """Show the receipts of your jobs: what providers say they have done."""
    if job_id is not None:
        jobs = [_own_job(app, job_id)]
    else:
        own = pages(app, "job.list", renter=app.wallet().address_text)
        jobs = [each.id for each in own if each.job["claim"] and each.job["claim"]["receipts"]]
    found = [(job, view) for job in jobs for view in pages(app, "job.receipts", job=job)]
    columns = (
        Column("job"),
        Column("", right=True),
        Column(zoned("came in")),
        Column("units", right=True),
        Column("final"),
        Column("receipt", optional=True),
        Column("result hash", optional=True),
        Column("location", shrinks=True),
    )
    rows = [[short(job), *_receipt_cells(view)] for job, view in found]
    data = {"items": [{"job": job, **plain(view)} for job, view in found]}
    app.show(data, lambda: table(columns, rows, "There is no receipt yet."))


def _receipt_cells(view: Any) -> list[str]:
    receipt = view.receipt
    if receipt is None:
        return ["", brief_time(view.time_ms), "", "", short(view.hash), "", f"in transaction {view.txid}"]
    return [
        str(receipt["sequence"]),
        brief_time(view.time_ms),
        f"{receipt['units_total']:,}",
        "yes" if receipt["final"] else "no",
        short(view.hash),
        short(receipt["result_hash"]),
        receipt["location"],
    ]
