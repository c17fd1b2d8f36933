"""`aitbc marketplace dispute`: contesting a booking, a job or a GPU's hardware, answering, and judging."""

from typing import Any

import click

from cli.context import Application
from cli.errors import NothingFound
from cli.framework import Command, Group, application
from cli.output import Column, Pairs, amount, details, duration, number, share, short, table
from cli.resolving import FULL, booking_id, dispute_id, disputed_id, gpu_id, job_id
from cli.types import ID, PERCENT
from cli.writing import Sent, write

STATUSES = ("open", "answered", "ruled", "undecided", "unanswered")
KINDS = ("booking", "job", "gpu")
FAULTS = ("renter", "provider", "nobody")
TEXT = click.option("--text", required=True, help="Why; at most 500 bytes, and everyone can read it.")


@click.group(cls=Group)
def dispute() -> None:
    """Contest, answer and judge what went wrong."""


@dispute.command("open", writes=True)
@click.argument("subject", type=ID, metavar="BOOKING|JOB|GPU")
@TEXT
@application
def open_(app: Application, subject: str, text: str) -> None:
    """Contest a booking that is active or just over, or a delivered job, as its renter or provider: once.

    What is unpaid is frozen, an active booking ends now, and a deposit is held. If the other party is silent you are
    right; otherwise authorities that are no parties decide. A GPU's id means your only such booking of it.
    """
    open_dispute(app, _disputed(app, subject), text)


def open_dispute(app: Application, subject: str, text: str) -> None:
    """Dispute this booking or job."""
    from chain.actions.disputes import OpenDispute
    from chain.record import encode_record

    action = OpenDispute(bytes.fromhex(subject), text.strip())
    action.validate()
    encode_record(action)
    write(app, [action], summary=_rules(app), report=_opened)


def _rules(app: Application) -> Pairs:
    """What opening a dispute means, for who confirms it."""
    parameters = app.network().parameters
    return [
        ("deposit", f"{amount(parameters.dispute_deposit)}, or a twentieth of what is disputed if that is more"),
        ("the other party", f"has {duration(parameters.dispute_response_seconds)} to answer, or you are right"),
    ]


def _opened(sent: Sent) -> tuple[dict[str, Any], Pairs]:
    made, amounts = sent.subject("dispute.opened", "dispute"), sent.amounts("dispute.opened")
    wanted = ("deposit", "disputed", "earned", "paid", "collateral")
    data = {"dispute": made, **{name: str(amounts[name]) if amounts else None for name in wanted}}
    lines = [("dispute", made or "-")]
    lines += [(name, amount(amounts[name])) for name in ("disputed", "collateral", "deposit") if amounts]
    return data, lines


def _disputed(app: Application, subject: str) -> str:
    """The booking, or else the job, that is meant."""
    from wallet.client import RpcError

    open_to_it = ("active", "closing")
    if len(subject) == FULL:
        job = app.client().batch([("job.get", {"job": subject})])[0]
        return subject if not isinstance(job, RpcError) else booking_id(app, subject, open_to_it)
    own = app.wallet().address_text
    try:
        return booking_id(app, subject, open_to_it)
    except NothingFound as error:
        try:
            return job_id(app, subject, {"account": own})
        except NothingFound:
            raise error from None


@click.command(cls=Command, writes=True)
@click.argument("which", type=ID, metavar="GPU")
@TEXT
@application
def challenge(app: Application, which: str, text: str) -> None:
    """Contest that a GPU is what its provider declared, for a deposit of at least a twentieth of its collateral.

    If the provider is silent, or at fault by the ruling, the GPU leaves the market; if not, the deposit is his.
    """
    from chain.actions.disputes import ChallengeHardware
    from chain.record import encode_record

    chosen = gpu_id(app, which)
    action = ChallengeHardware(bytes.fromhex(chosen), text.strip())
    action.validate()
    encode_record(action)
    collateral = app.call("gpu.get", gpu=chosen).view.gpu["collateral"]
    write(app, [action], summary=[("collateral", amount(collateral)), *_rules(app)], report=_opened)


@dispute.command(writes=True)
@click.argument("which", type=ID, metavar="DISPUTE|BOOKING|JOB|GPU")
@TEXT
@application
def respond(app: Application, which: str, text: str) -> None:
    """Answer a dispute as the other party; without an answer in time its opener is right."""
    from chain.actions.disputes import RespondToDispute
    from chain.record import encode_record

    chosen = dispute_id(app, which, party=app.wallet().address_text)
    action = RespondToDispute(bytes.fromhex(chosen), text.strip())
    action.validate()
    encode_record(action)
    view = app.call("dispute.get", dispute=chosen).view
    summary = [("about", f"{view.dispute['kind']} {view.dispute['subject']}"), ("complaint", view.text or "-")]
    write(app, [action], summary=summary, report=lambda _: ({"dispute": chosen}, [("answered", chosen)]))


@dispute.command(writes=True)
@click.argument("which", type=ID, metavar="DISPUTE|BOOKING|JOB|GPU")
@click.option("--to-renter", type=PERCENT, default="0", show_default=True, help="Percent of what is disputed.")
@click.option("--slash", type=PERCENT, default="0", show_default=True, help="Percent of the provider's collateral.")
@click.option(
    "--fault",
    type=click.Choice(FAULTS),
    required=True,
    help="Whose; a challenger counts as the renter.",
)
@application
def vote(app: Application, which: str, to_renter: int, slash: int, fault: str) -> None:
    """Say what is just, as the operator of an authority that is no party. It cannot be changed.

    The lower median of the shares and the most frequent fault become the ruling. Only who faults the provider may
    slash.
    """
    from chain.actions.disputes import VoteOnDispute
    from chain.dispute import Fault

    chosen = dispute_id(app, which, voter=app.wallet().address_text)
    action = VoteOnDispute(bytes.fromhex(chosen), to_renter, slash, Fault[fault.upper()])
    action.validate()
    view = app.call("dispute.get", dispute=chosen).view
    summary = [
        ("returns to the renter", amount(int(view.disputed) * to_renter // 10_000)),
        ("of the collateral", amount(int(view.dispute["collateral"]) * slash // 10_000)),
    ]

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        ruled = bool(sent.subjects("dispute.ruled", "dispute"))
        return {"dispute": chosen, "ruled": ruled}, [("dispute", chosen), ("ruled", "yes" if ruled else "not yet")]

    write(app, [action], summary=summary, report=report)


@dispute.command("list")
@click.option("--mine", is_flag=True, help="Only those in which the wallet is a party.")
@click.option("--to-vote", is_flag=True, help="Only those on which the wallet may vote and has not.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those.")
@click.option("--kind", type=click.Choice(KINDS), help="Only about one of these.")
@click.option("--subject", type=ID, metavar="BOOKING|JOB|GPU", help="Only about that.")
@click.option("--pending", is_flag=True, help="Only those that are not over.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Disputes at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def list_(app: Application, /, mine: bool, to_vote: bool, **filters: Any) -> None:
    """List disputes, newest first; what is over is kept for as long as it may be reviewed."""
    own = app.wallet().address_text if mine or to_vote else None
    if filters["subject"] is not None:
        filters["subject"] = disputed_id(app, filters["subject"])
    view = app.call("dispute.list", party=own if mine else None, voter=own if to_vote else None, **filters)
    items = [each for each in view.items if not to_vote or own in each.waiting]
    data = {"as_of": view.as_of, "items": items, "next_cursor": view.next_cursor}
    app.show(data if to_vote else view, lambda: _table(items))
    if view.next_cursor:
        app.note(f"There is more: --cursor {view.next_cursor}")


def _table(items: Any) -> str:
    columns = (
        Column("dispute"),
        Column("about"),
        Column("status"),
        Column("disputed, AITBC", right=True),
        Column("left", right=True),
        Column("opener", optional=True),
        Column("respondent", optional=True),
        Column("complaint", shrinks=True),
    )
    rows = [
        [
            short(each.id),
            f"{each.dispute['kind']} {short(each.dispute['subject'])}",
            each.status,
            number(each.disputed),
            duration(each.seconds_left) if each.seconds_left else "-",
            short(each.dispute["opener"]),
            short(each.dispute["respondent"]),
            each.text or "-",
        ]
        for each in items
    ]
    return table(columns, rows, "There is no such dispute.")


@dispute.command()
@click.argument("which", type=ID, metavar="DISPUTE|BOOKING|JOB|GPU")
@application
def show(app: Application, which: str) -> None:
    """Show everything about a dispute: what was said, who has voted, what it came to."""
    found = app.call("dispute.get", dispute=dispute_id(app, which))
    app.show(found, lambda: details(_lines(found.view)))


def _lines(view: Any) -> list[tuple[str, str]]:
    record, ruling = view.dispute, view.dispute["ruling"]
    by = "provider" if record["by_provider"] else "challenger" if record["kind"] == "gpu" else "renter"
    lines = [
        ("dispute", view.id),
        ("about", f"{record['kind']} {record['subject']}"),
        ("status", view.status),
        ("opened", f"at height {record['opened_height']}, by the {by}"),
        ("opener", record["opener"]),
        ("complaint", view.text or "-"),
        ("respondent", record["respondent"]),
        ("response", view.response or "-"),
        ("earned so far", amount(record["earned"])),
        ("of it paid before", amount(record["paid"])),
        ("disputed", amount(view.disputed)),
        ("collateral", amount(record["collateral"])),
        ("deposit", amount(record["deposit"])),
    ]
    if view.seconds_left:
        what = "to answer" if view.status == "open" else "to vote"
        lines.append(("left", f"{duration(view.seconds_left)} {what}"))
    for ballot in record["ballots"]:
        lines.append(("vote", f"{short(record['electorate'][ballot['voter']])}: {_verdict(ballot)}"))
    lines += [("may still vote", voter) for voter in view.waiting]
    if ruling:
        lines.append(("ruling", _verdict(ruling)))
    if record["closed_height"]:
        lines += [
            ("over", f"at height {record['closed_height']}"),
            ("provider's gross", amount(record["gross"])),
            ("slashed", amount(record["slashed"])),
            ("deposit returned", amount(record["deposit_returned"])),
        ]
    return lines


def _verdict(said: Any) -> str:
    """A ballot or a ruling in words."""
    return (
        f"{share(said['renter_share'])} to the renter, {share(said['slash_share'])} of the collateral,"
        f" fault of {said['fault']}"
    )
