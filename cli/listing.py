"""What an owner does with a GPU on the market: list it, change its terms, keep it out of service for a while.

A GPU is listed by two transactions: a commitment that shows nothing, and a block later the listing itself. The salt
that ties them together stays in memory; if the command is cut short in between, running it again starts afresh.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cli.booking import duration_options, seconds_of
from cli.context import Application
from cli.errors import BadInput, NothingFound
from cli.framework import Command, DefaultGroup, application
from cli.output import Column, amount, brief_time, duration, local_time, plural, short, table, zoned
from cli.resolving import gpu_id, pages
from cli.types import AMOUNT, DURATION, ID, MEMORY, NUMBER32, PERCENT, TIME
from cli.writing import Sent, describe_actions, foresee, send, tell, write

if TYPE_CHECKING:
    from chain.action import Action
    from chain.actions.gpus import RegisterGpu

_TERMS = (
    ("--min-seconds", DURATION, "Shortest booking", "the network's minimum"),
    ("--max-seconds", DURATION, "Longest booking, such as 7d", "the network's maximum"),
    ("--horizon", DURATION, "How far ahead it may be booked", "the network's maximum"),
    ("--notice", DURATION, "Before the start, when cancelling costs --cancellation-share", "0"),
    ("--cancellation-share", PERCENT, "Percent of the cost", "the network's release charge"),
)
"""Option, type, what it is, and what holds for a new listing without it."""
_FACTS = (
    click.option("--name", "model", required=True, help="Model, such as 'RTX 4090'."),
    click.option("--memory", "memory_mb", type=MEMORY, required=True, help="In MB, or such as 24GB."),
    click.option("--cuda-cores", type=NUMBER32, required=True, help="How many it has."),
    click.option("--price-per-hour", type=AMOUNT, required=True, help="In AITBC."),
    click.option("--region", default="", help="Where it stands, such as eu-west."),
    click.option("--cuda-version", default="", help="Such as 12.4."),
    click.option("--attribute", "attributes", multiple=True, help="A further fact, name=value; repeatable."),
    click.option(
        "--hardware-id",
        "hardware_ids",
        multiple=True,
        help="Serial number or UUID; only its hash is published. Repeat it to list several cards at once.",
    ),
)


def _options(function: Any, *options: Any) -> Any:
    for option in reversed(options):
        function = option(function)
    return function


def registration_options(function: Any) -> Any:
    """What `gpu register` and `miner register` take."""
    terms = [click.option(name, type=kind, help=f"{what} [{usual}].") for name, kind, what, usual in _TERMS]
    return _options(function, *_FACTS, *terms)


def registrations(app: Application, facts: dict[str, Any]) -> "list[RegisterGpu]":
    """One RegisterGpu action for each hardware id, with the network's own limits where none are given."""
    from chain.actions.gpus import RegisterGpu
    from chain.crypto.hashing import tagged_hash
    from chain.inventory import Hardware, Terms
    from chain.record import encode_record

    parameters = app.network().parameters
    terms = Terms(
        price_per_hour=facts["price_per_hour"],
        minimum_seconds=_or(facts["min_seconds"], parameters.booking_minimum_seconds),
        maximum_seconds=_or(facts["max_seconds"], parameters.booking_maximum_seconds),
        horizon_seconds=_or(facts["horizon"], parameters.booking_horizon_seconds),
        notice_seconds=_or(facts["notice"], 0),
        cancellation_share=_or(facts["cancellation_share"], 0),
    )
    names = facts["hardware_ids"]
    if len(set(names)) != len(names):
        raise BadInput("A hardware id is given twice.", "Each card has its own.")
    # Without an id nobody can tell the card apart from another, so a random one does as well.
    hashes = [tagged_hash("aitbc/hardware/1", name.encode()) for name in names] or [secrets.token_bytes(32)]
    actions = []
    for hardware_hash in hashes:
        hardware = Hardware(
            model=facts["model"],
            memory_mb=facts["memory_mb"],
            cuda_cores=facts["cuda_cores"],
            cuda_version=facts["cuda_version"],
            region=facts["region"],
            attributes=facts["attributes"],
            hardware_hash=hardware_hash,
        )
        action = RegisterGpu(hardware, terms, secrets.token_bytes(32))
        action.validate()
        encode_record(action)
        actions.append(action)
    return actions


def _or(value: int | None, usual: int) -> int:
    return usual if value is None else value


def list_gpus(app: Application, actions: "Sequence[RegisterGpu]", first: "Sequence[Action]" = ()) -> None:
    """Commit to the GPUs, wait a block, and list them. `first` goes along with the commitment."""
    from chain.actions.gpus import CommitHardware, commitment_of

    if app.settings.build_file is not None:
        raise BadInput(
            "Listing a GPU takes two transactions, the second of which needs the secret of the first.",
            "List it where the key is, or `aitbc wallet build` both: gpu.commit_hardware, then gpu.register.",
        )
    own = app.wallet().address
    # Under another hash, because the node that is asked here must not learn the real one yet.
    veiled = replace(actions[0].hardware, hardware_hash=secrets.token_bytes(32))
    foresee(app, [replace(actions[0], hardware=veiled)], expected="commitment_refused")
    commitments = [CommitHardware(commitment_of(own, action.hardware.hardware_hash, action.salt)) for action in actions]
    collateral = app.network().parameters.collateral_per_gpu * len(actions)
    promised = send(
        app,
        [*first, *commitments],
        summary=[
            ("then, in a second transaction", f"{plural(len(actions), 'GPU')} such as this:"),
            *(line for line in describe_actions(actions[:1], app.network().prefix) if line[0] != "salt"),
            ("collateral", f"{amount(collateral)} of your free stake, until retired"),
        ],
        question="Sign and send this transaction, and then the listing?",
        wait=True,
    )
    if promised is None:
        return
    app.note(f"Committed at height {promised.height}; listing …")
    listed = send(app, actions, question=None)
    if listed is not None:
        tell(app, listed, lambda sent: _listed(promised, sent))


def _listed(promised: Sent, listed: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The ids of what was listed, and the transaction that came before."""
    ids = listed.subjects("gpu.registered", "gpu")
    collateral = listed.amounts("gpu.registered").get("collateral", 0) * len(ids)
    commitment = {
        "txid": promised.txid,
        "height": promised.height,
        "fee": str(promised.fee),
        "events": list(promised.events),
    }
    lines = [
        *(("gpu", each) for each in ids),
        *([("collateral", amount(collateral))] if ids else []),
        ("commitment", f"{promised.txid} at height {promised.height}, fee {amount(promised.fee)}"),
    ]
    return {"gpus": ids, "gpu": ids[0] if ids else None, "commitment": commitment}, lines


@click.command(cls=Command, writes=True)
@registration_options
@application
def register(app: Application, /, **facts: Any) -> None:
    """List a GPU for rent, in two transactions. Its collateral is taken from your free stake until it is retired.

    The first one commits to the device without showing it, so that nobody who sees the second can list it before you.
    """
    list_gpus(app, registrations(app, facts))


@click.command(cls=Command, writes=True)
@click.argument("which", type=ID, metavar="GPU")
@click.option("--price-per-hour", type=AMOUNT, help="In AITBC.")
@(lambda function: _options(function, *(click.option(each[0], type=each[1], help=f"{each[2]}.") for each in _TERMS)))
@application
def update(app: Application, /, which: str, **wanted: Any) -> None:
    """Change the terms of a GPU of yours. What is not given stays as it is; bookings keep their terms."""
    from chain.actions.gpus import UpdateGpu
    from chain.inventory import Terms
    from chain.record import from_json

    fields = {
        "price_per_hour": wanted["price_per_hour"],
        "minimum_seconds": wanted["min_seconds"],
        "maximum_seconds": wanted["max_seconds"],
        "horizon_seconds": wanted["horizon"],
        "notice_seconds": wanted["notice"],
        "cancellation_share": wanted["cancellation_share"],
    }
    changes = {name: value for name, value in fields.items() if value is not None}
    if not changes:
        raise click.UsageError("Say what should change, such as --price-per-hour 3.")
    chosen = gpu_id(app, which, provider=app.wallet().address_text)
    present = from_json(Terms, app.call("gpu.get", gpu=chosen).view.gpu["terms"], app.network().prefix)
    terms = replace(present, **changes, version=present.version + 1)
    action = UpdateGpu(bytes.fromhex(chosen), terms)
    action.validate()
    lines = [("gpu", chosen), ("terms version", str(terms.version))]
    write(app, [action], report=lambda _: ({"gpu": chosen, "terms_version": terms.version}, lines))


@click.group(cls=DefaultGroup, default="set")
def maintenance() -> None:
    """Keep a GPU out of service for a while: no new booking may touch that time."""


@maintenance.command("set", writes=True)
@click.argument("which", type=ID, metavar="GPU")
@click.option("--start", type=TIME, help="When, such as 2030-01-31T18:00 or +2h [now].")
@duration_options
@application
def set_(app: Application, which: str, start: int | None, hours: int | None, seconds: int | None) -> None:
    """Keep a stretch of a GPU's calendar free of bookings. What is booked already stays booked."""
    from chain.actions.gpus import SetMaintenance

    length = seconds_of(hours, seconds)
    chosen = gpu_id(app, which, provider=app.wallet().address_text)
    action = SetMaintenance(bytes.fromhex(chosen), start or 0, length)
    action.validate()

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        window, times = sent.subject("gpu.maintenance_set", "maintenance"), sent.amounts("gpu.maintenance_set")
        data = {"maintenance": window, "gpu": chosen, **times}
        lines = [("maintenance", window or "-"), ("gpu", chosen)]
        if times:
            lines += [("from", local_time(times["start_ms"])), ("until", local_time(times["end_ms"]))]
        return data, lines

    write(app, [action], report=report)


@maintenance.command("end", writes=True)
@click.argument("which", type=ID, metavar="WINDOW|GPU")
@application
def end(app: Application, which: str) -> None:
    """Give a window of maintenance, or what is left of it, back to the market. A GPU means its only window."""
    from chain.actions.gpus import EndMaintenance

    window, chosen = _window(app, which)
    lines = [("maintenance", window), ("gpu", chosen), ("status", "ended")]
    action = EndMaintenance(bytes.fromhex(window))
    write(app, [action], report=lambda _: ({"maintenance": window, "gpu": chosen}, lines))


def _windows(app: Application, gpu: str | None) -> list[tuple[str, Any]]:
    """(GPU, window) of one GPU, or of all GPUs of the wallet."""
    own = app.wallet().address_text
    gpus = [gpu] if gpu else [each.id for each in pages(app, "gpu.list", provider=own) if each.gpu["maintenance"]]
    return [(each, window) for each in gpus for window in app.call("gpu.get", gpu=each).maintenance]


def _window(app: Application, text: str) -> tuple[str, str]:
    """(window, GPU) that is meant by the beginning of either id."""
    every = _windows(app, None)
    found = [(window.id, gpu) for gpu, window in every if window.id.startswith(text)]
    found = found or [(window.id, gpu) for gpu, window in every if gpu.startswith(text)]
    if not found:
        raise NothingFound(
            f"No maintenance of your GPUs is known by {short(text)}.",
            "`aitbc marketplace gpu maintenance list` shows all windows that are not over.",
        )
    if len(found) > 1:
        listed = "\n".join(f"  {window}  of GPU {short(gpu)}" for window, gpu in found)
        raise BadInput(f"{text} fits {len(found)} windows.", f"Give more of the id that you mean:\n{listed}")
    return found[0]


@maintenance.command("list")
@click.argument("which", type=ID, required=False, metavar="[GPU]")
@application
def list_(app: Application, which: str | None) -> None:
    """Show the windows of a GPU [of all your GPUs] that are not over."""
    found = _windows(app, gpu_id(app, which) if which else None)
    columns = (Column("maintenance"), Column("gpu"), Column(zoned("from")), Column(zoned("until")), Column("for"))
    rows = [
        [
            short(window.id),
            short(gpu),
            brief_time(window.start_ms),
            brief_time(window.end_ms),
            duration((window.end_ms - window.start_ms) // 1_000),
        ]
        for gpu, window in found
    ]
    items = [{"gpu": gpu, "id": each.id, "start_ms": each.start_ms, "end_ms": each.end_ms} for gpu, each in found]
    app.show({"items": items}, lambda: table(columns, rows, "No maintenance is planned."))
