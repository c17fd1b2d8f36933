"""`aitbc governance`: what the operators of authorities propose and vote on, and how an authority comes and goes.

A measure passes when enough operators approve it and takes effect at the end of an epoch. Anybody may look, and submit
evidence against an authority.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.context import Application
from cli.errors import BadInput, NothingFound
from cli.framework import Group, application
from cli.output import (
    Column,
    Pairs,
    amount,
    details,
    foreign,
    local_time,
    number,
    share,
    short,
    table,
)
from cli.parameters import parse_value, value_text
from cli.resolving import booking_id, measure_id
from cli.types import AMOUNT, DURATION, ID
from cli.wallet_offline import read_actions
from cli.writing import Sent, write

if TYPE_CHECKING:
    from chain.action import Action
    from chain.actions.evidence import SubmitEvidence

_LARGEST_FILE = 64 << 10
MOST_CONVICTED = 10
"""Pieces of evidence in one transaction."""
_KEYS = ("node_key", "bls_key", "proof_of_possession")


@click.group(cls=Group)
def governance() -> None:
    """Propose measures and vote on them; see what is decided, who comes, who goes, who was convicted."""


@governance.group(cls=Group)
def propose() -> None:
    """Propose a measure, and so approve it. Only operators of present authorities can."""


def _expires(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--expires", type=DURATION, default="7d", show_default=True, help="How long it can be voted on."
    )(command)


def _propose(app: Application, actions: Sequence["Action"], expires: int, summary: Pairs = ()) -> None:
    from chain.actions.governance import ProposeMeasure

    now_ms = max(time.time_ns() // 1_000_000, app.network().time_ms)
    action = ProposeMeasure(tuple(actions), now_ms + expires * 1_000)
    for each in (*actions, action):
        each.validate()

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        measure = sent.subject("governance.proposed", "measure")
        passed = sent.subject("governance.passed", "measure") is not None
        told = sent.amounts("governance.proposed")
        votes = f"{told['approvals']} of {told['needed']} with yours" if told else "-"
        data = {"measure": measure, "passed": passed}
        return data, [("measure", measure or "-"), ("approvals", votes), ("outcome", "passed" if passed else "open")]

    write(app, [action], summary=summary, report=report)


def _read(path: str) -> Any:
    with click.open_file(path, "rb") as source:
        data = source.read(_LARGEST_FILE + 1)
    try:
        if len(data) > _LARGEST_FILE:
            raise ValueError
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON of at most 64 KB.", "Name a file that `aitbc-node` printed.") from error


def _fields(path: str, plain: Any, *names: str) -> list[bytes]:
    """The hexadecimal fields of an object. Raises BadInput."""
    try:
        return [bytes.fromhex(plain[name]) for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} has not the fields {', '.join(names)}.", "Use what `aitbc-node` printed.") from error


@propose.command("add-authority", writes=True)
@click.argument("keys", metavar="KEYS")
@click.option("--operator", metavar="ADDRESS|WALLET", help="Who is accountable, if KEYS does not say so.")
@_expires
@application
def add_authority(app: Application, keys: str, operator: str | None, expires: int) -> None:
    """Let an authority in. KEYS is the file that `aitbc-node keygen` or `aitbc-node identity` printed.

    It enters at the end of an epoch in which its operator has the stake and it has said that it is ready.
    """
    from chain.actions.authorities import AddAuthority

    plain = _read(keys)
    found = _fields(keys, plain, *_KEYS)
    named = operator or (plain.get("operator") if isinstance(plain, dict) else None)
    if not isinstance(named, str):
        raise BadInput("Nobody is named as its operator.", "Give --operator ADDRESS.")
    _propose(app, [AddAuthority(app.address(named), *found)], expires)


@propose.command("remove-authority", writes=True)
@click.argument("operators", metavar="ADDRESS|WALLET...", nargs=-1, required=True)
@_expires
@application
def remove_authority(app: Application, operators: tuple[str, ...], expires: int) -> None:
    """Let authorities leave, or drop candidates; those operators have no vote on it."""
    from chain.actions.authorities import RemoveAuthority

    _propose(app, [RemoveAuthority(app.address(operator)) for operator in operators], expires)


@propose.command("disable-authority", writes=True)
@click.argument("operators", metavar="ADDRESS|WALLET...", nargs=-1, required=True)
@_expires
@application
def disable_authority(app: Application, operators: tuple[str, ...], expires: int) -> None:
    """As remove-authority, for keys that others may have: they leave first, and their keys are refused for ever."""
    from chain.actions.authorities import DisableAuthority

    _propose(app, [DisableAuthority(app.address(operator)) for operator in operators], expires)


@propose.command("set-parameter", writes=True)
@click.argument("parameter")
@click.argument("value")
@_expires
@application
def set_parameter(app: Application, parameter: str, value: str, expires: int) -> None:
    """Change a number of the network; at most to half or double what it is. Amounts are AITBC, shares percentages.

    `aitbc governance parameters` shows what can be changed and how far.
    """
    from chain.actions.governance import SetParameter

    name = parameter.strip().replace("-", "_")
    action = SetParameter(name, parse_value(name, value))
    _propose(app, [action], expires, [("new value", value_text(name, action.value))])


@propose.command(writes=True)
@click.argument("to", metavar="ADDRESS|WALLET")
@click.argument("payment", type=AMOUNT, metavar="AMOUNT")
@click.option("--memo", default="", help="What it is for; everybody can read it.")
@_expires
@application
def spend(app: Application, to: str, payment: int, memo: str, expires: int) -> None:
    """Pay an account from the treasury, some epochs after the measure has passed."""
    from chain.actions.governance import SpendTreasury

    _propose(app, [SpendTreasury(app.address(to), payment, memo.strip())], expires)


@propose.command("hide-text", writes=True)
@click.argument("subject", type=ID)
@click.option("--reply", is_flag=True, help="Hide the provider's reply instead.")
@_expires
@application
def hide_text(app: Application, subject: str, reply: bool, expires: int) -> None:
    """Let nodes no longer show the comment of a review. SUBJECT is the booking or job; the rating stays."""
    from chain.actions.reviews import HideText

    chosen = subject if len(subject) == 64 else booking_id(app, subject)
    _propose(app, [HideText(bytes.fromhex(chosen), reply)], expires)


@propose.command("actions", writes=True)
@click.argument("file", metavar="FILE")
@_expires
@application
def several(app: Application, file: str, expires: int) -> None:
    """Propose everything in a JSON FILE of actions at once; all of it happens, or nothing. - is stdin."""
    _propose(app, read_actions(file, app.network().prefix), expires)


@governance.command(writes=True)
@click.argument("which", type=ID, metavar="MEASURE")
@click.option("--reject", is_flag=True, help="Vote against it; also takes back an approval.")
@application
def vote(app: Application, which: str, reject: bool) -> None:
    """Approve a MEASURE, or reject it. A vote can be changed until the measure is executed."""
    from chain.actions.governance import VoteOnMeasure

    view = app.call("governance.get", measure=measure_id(app, which)).view
    lines = [("measure", text) for text in _action_lines(app, view)]
    lines.append(("votes so far", _votes(view)))

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        told = sent.amounts("governance.voted")
        kinds = ("passed", "rejected", "revoked")
        outcome = next((kind for kind in kinds if sent.subject(f"governance.{kind}", "measure")), view.status)
        data: dict[str, Any] = {"measure": view.id, "approve": not reject, "outcome": outcome}
        if not told:
            return data, [("measure", view.id)]
        data |= {"approvals": told["approvals"], "rejections": told["rejections"], "needed": told["needed"]}
        tally = f"{told['approvals']} of {told['needed']} approvals, {told['rejections']} rejections"
        return data, [("measure", view.id), ("votes", tally), ("outcome", _outcome(outcome, **told))]

    write(app, [VoteOnMeasure(bytes.fromhex(view.id), not reject)], summary=lines, report=report)


def _outcome(outcome: str, *, approvals: int, needed: int, **_: int) -> str:
    """What became of a measure; one that has passed keeps waiting for its time when an approval is taken back."""
    lacking = outcome == "passed" and approvals < needed
    return "passed, but lacks approvals: without them it is revoked when it is due" if lacking else outcome


def _votes(view: Any) -> str:
    against = f", {len(view.rejections)} against" if view.rejections else ""
    return f"{len(view.approvals)} of {view.needed} needed{against}"


def _action_lines(app: Application, view: Any) -> list[str]:
    """What a measure does, one line an action."""
    from chain.action import describe_action
    from chain.actions.governance import SetParameter
    from chain.governance import Measure
    from chain.record import from_json

    prefix = app.network().prefix
    lines = []
    for action in from_json(Measure, view.measure, prefix).actions:
        if isinstance(action, SetParameter):
            lines.append(f"{action.name}, {action.parameter} to {value_text(action.parameter, action.value)}")
            continue
        told = describe_action(action, prefix)
        lines.append(", ".join(text if name == "action" else f"{name} {foreign(text)}" for name, text in told))
    return lines


@governance.command("list")
@click.option("--status", type=click.Choice(["open", "passed"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Measures at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def list_(app: Application, status: str | None, limit: int, cursor: str | None) -> None:
    """List the measures that are open, or passed and not executed yet."""
    found = app.call("governance.list", status=status, limit=limit, cursor=cursor)
    columns = (
        Column("measure"),
        Column("what", shrinks=True),
        Column("votes"),
        Column("status"),
        Column("until", optional=True),
    )
    rows = [
        [
            short(view.id),
            "; ".join(_action_lines(app, view)),
            _votes(view),
            view.status,
            local_time(view.measure["expires_ms"])
            if view.due_epoch is None
            else f"end of epoch {max(found.epoch, view.due_epoch)}",
        ]
        for view in found.items
    ]
    app.show(found, lambda: table(columns, rows, "Nothing is voted on, and nothing waits to be executed."))
    if found.next_cursor:
        app.note(f"There is more: --cursor {found.next_cursor}")


@governance.command()
@click.argument("which", type=ID, metavar="MEASURE")
@application
def show(app: Application, which: str) -> None:
    """Show a MEASURE with its votes."""
    found = app.call("governance.get", measure=measure_id(app, which))
    view = found.view
    lines = [
        ("measure", view.id),
        *(("does", text) for text in _action_lines(app, view)),
        ("proposed by", view.measure["proposer"]),
        ("status", view.status),
        ("votes", f"{_votes(view)}, of {view.electors} who have one"),
        *(("  for", operator) for operator in view.approvals),
        *(("  against", operator) for operator in view.rejections),
    ]
    if view.due_epoch is None:
        lines.append(("open until", local_time(view.measure["expires_ms"])))
    else:
        lines.append(("takes effect", f"at the end of epoch {view.due_epoch}, or as soon as there is room"))
    app.show(found, lambda: details(lines))


@governance.command()
@application
def parameters(app: Application) -> None:
    """Show which numbers of the network a measure can change, and how far now."""
    found = app.call("governance.parameters")
    columns = (Column("parameter"), Column("is", right=True), Column("can become", right=True), Column("ever"))
    rows = [
        [
            each.name,
            value_text(each.name, each.value),
            f"{value_text(each.name, each.minimum)} to {value_text(each.name, each.maximum)}",
            f"{value_text(each.name, each.lowest)} to {value_text(each.name, each.highest)}",
        ]
        for each in found.items
    ]
    app.show(found, lambda: f"{table(columns, rows)}\n\nFixed for ever: {', '.join(found.fixed)}.")


@governance.command()
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Candidates at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def candidates(app: Application, limit: int, cursor: str | None) -> None:
    """Show who was voted in and waits to enter, and who was voted out and waits to leave."""
    found = app.call("governance.candidates", limit=limit, cursor=cursor)
    columns = (
        Column("operator", shrinks=True),
        Column("ready"),
        Column("stake, AITBC", right=True),
        Column("needed", right=True),
        Column("dropped after epoch", right=True, optional=True),
    )
    rows = [
        [
            each.authority["operator"],
            "yes" if each.ready else "no",
            number(each.stake),
            number(each.needed_stake),
            str(each.dropped_epoch),
        ]
        for each in found.items
    ]
    leaving = "".join(f"\nleaves: {operator}" for operator in found.leaving)
    app.show(found, lambda: table(columns, rows, "Nobody waits to enter.") + leaving)
    if found.next_cursor:
        app.note(f"There is more: --cursor {found.next_cursor}")


@governance.command()
@click.option("--operator", metavar="ADDRESS|WALLET", help="Only of this one.")
@click.option("--limit", type=click.IntRange(1, 100), default=25, show_default=True, help="Convictions at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def convictions(app: Application, operator: str | None, limit: int, cursor: str | None) -> None:
    """Show which authorities were convicted of signing what excludes itself, and what it cost them."""
    named = None if operator is None else app.account_text(operator)
    found = app.call("governance.convictions", operator=named, limit=limit, cursor=cursor)
    columns = (
        Column("operator", shrinks=True),
        Column("epoch", right=True),
        Column("offence"),
        Column("rate", right=True),
        Column("lost, AITBC", right=True),
        Column("of it rewarded", right=True, optional=True),
    )
    rows = [
        [
            each.operator,
            str(each.epoch),
            each.conviction["offence"].replace("_", " "),
            share(each.conviction["rate"]),
            number(each.conviction["amount"]),
            number(each.conviction["reward"]),
        ]
        for each in found.items
    ]
    app.show(found, lambda: table(columns, rows, "Nobody was convicted of anything that is still remembered."))
    if found.next_cursor:
        app.note(f"There is more: --cursor {found.next_cursor}")


@governance.command(writes=True)
@click.argument("file", metavar="FILE")
@application
def ready(app: Application, file: str) -> None:
    """Say that your authority, which was voted in, runs. FILE is what `aitbc-node ready` printed; - is stdin."""
    from chain.actions.authorities import ReadyAuthority

    plain = _read(file)
    signatures = _fields(file, plain, "node_signature", "bls_signature")
    epoch = plain.get("epoch")
    if type(epoch) is not int:
        raise BadInput(f"{file} names no epoch.", "Use what `aitbc-node ready` printed.")
    operator = plain.get("operator")
    own = app.wallet().address_text
    if isinstance(operator, str) and operator != own:
        raise BadInput(
            f"{file} is for the operator {operator}, and this wallet is {own}.",
            "Choose the operator's wallet with --wallet, or make the file anew with --operator.",
        )

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        return {"epoch": epoch}, [("ready in epoch", str(epoch)), ("enters", "at the end of an epoch")]

    write(app, [ReadyAuthority(epoch, *signatures)], report=report)


@governance.command(writes=True)
@click.argument("file", metavar="[FILE]", required=False)
@application
def convict(app: Application, file: str | None) -> None:
    """Submit evidence that an authority signed what excludes itself, for a part of what it loses.

    Without FILE it is what the node itself saw. FILE is JSON: the action `evidence.submit`, or an item of what a node
    answers to `node.evidence`; - is stdin.
    """
    actions = _seen(app) if file is None else [_evidence(app, file, _read(file))]

    def report(sent: Sent) -> tuple[dict[str, Any], Pairs]:
        operators = sent.subjects("evidence.convicted", "operator")
        told = [_amounts(event) for event in sent.events if event["kind"] == "evidence.convicted"]
        data = [
            {"operator": operator, "amount": str(each["amount"]), "reward": str(each["reward"])}
            for operator, each in zip(operators, told, strict=True)
        ]
        lines = [
            (each["operator"], f"loses {amount(each['amount'])}; reward {amount(each['reward'])}") for each in data
        ]
        return {"convicted": data}, lines

    summary = [
        (f"evidence {number}", f"{str(action.conflict.offence).replace('_', ' ')} in epoch {action.first.epoch}")
        for number, action in enumerate(actions, 1)
    ]
    write(app, actions, summary=summary, report=report)


def _amounts(event: dict[str, Any]) -> dict[str, int]:
    return {pair["name"]: int(pair["value"]) for pair in event["amounts"]}


def _evidence(app: Application, where: str, plain: Any) -> "SubmitEvidence":
    """The evidence in a decoded file or answer. Raises BadInput."""
    from chain.action import action_from_json
    from chain.actions.evidence import SubmitEvidence
    from chain.errors import LedgerError

    if isinstance(plain, dict) and isinstance(plain.get("action"), dict):
        plain = plain["action"]
    try:
        action = action_from_json(plain, app.network().prefix)
    except LedgerError as error:
        raise BadInput(f"{where} holds no evidence: {error}.", error.hint) from error
    if not isinstance(action, SubmitEvidence):
        raise BadInput(f"{where} holds another action: {action.name}.", "Give the action `evidence.submit`.")
    return action


def _seen(app: Application) -> "list[SubmitEvidence]":
    """What the node saw of authorities that are not convicted for it yet: one piece for each of them and epoch."""
    found = {
        (item.operator, item.epoch): item.action
        for item in app.call("node.evidence", limit=100).items
        if item.operator is not None and not item.convicted
    }
    if not found:
        raise NothingFound(
            "The node has no evidence against anybody who is not convicted already.",
            "Ask another one with --node, or give a FILE.",
        )
    return [_evidence(app, "the node's answer", plain) for plain in list(found.values())[:MOST_CONVICTED]]
