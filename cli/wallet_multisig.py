"""`aitbc wallet`: accounts that several members control together, and what they propose and approve."""

import time
from typing import Any

import click

from cli.context import Application
from cli.errors import AmbiguousId, BadInput, NothingFound
from cli.framework import Command, application
from cli.output import Column, amount, details, local_time, number, short, table
from cli.resolving import pages
from cli.types import AMOUNT, DURATION, ID
from cli.wallet_offline import read_actions
from cli.writing import Sent, write


@click.command("multisig-create", cls=Command, writes=True)
@click.option("--threshold", type=click.IntRange(1, 32), required=True, help="How many members must approve.")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@application
def multisig_create(app: Application, threshold: int, members: tuple[str, ...]) -> None:
    """Make an account that acts when enough of its MEMBERs (addresses, or wallets by name) approve."""
    from chain.actions.multisig import CreateMultisig

    addresses = sorted({app.address(member) for member in members})
    if len(addresses) != len(members):
        raise BadInput("A member is named twice.", "Name each member once.")
    action = CreateMultisig(threshold, tuple(addresses))
    action.validate()

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        address = sent.subject("multisig.created", "account")
        return {"address": address, "threshold": threshold, "members": len(members)}, [("account", address or "-")]

    write(app, [action], report=report)


@click.command("multisig-propose", cls=Command, writes=True)
@click.argument("account", metavar="ACCOUNT")
@click.option("--actions", metavar="FILE", help="JSON file of actions, as for `wallet build`; - is stdin.")
@click.option(
    "--send",
    "payment",
    type=(str, AMOUNT),
    metavar="ADDRESS|WALLET AMOUNT",
    help="Propose to pay an account (in AITBC).",
)
@click.option("--threshold", type=click.IntRange(1, 32), help="Propose other members: how many must approve then.")
@click.option("--member", "members", multiple=True, metavar="ADDRESS|WALLET", help="One of them; repeat for each.")
@click.option("--expires", type=DURATION, default="7d", show_default=True, help="How long it can be approved.")
@application
def multisig_propose(
    app: Application,
    account: str,
    actions: str | None,
    payment: tuple[str, int] | None,
    threshold: int | None,
    members: tuple[str, ...],
    expires: int,
) -> None:
    """Propose what a multisig ACCOUNT of yours should do, and approve it yourself."""
    from chain.actions.accounts import Transfer
    from chain.actions.multisig import ProposeActions, SetMembers
    from chain.bank import NATIVE_ASSET

    if [payment, actions, threshold].count(None) != 2 or (threshold is None) != (not members):
        raise click.UsageError("Give one of --actions FILE, --send ADDRESS AMOUNT, --threshold N with --member.")
    proposed: list[Any] = []
    if actions is not None:
        proposed = read_actions(actions, app.network().prefix)
    elif threshold is not None:
        proposed = [SetMembers(threshold, tuple(sorted({app.address(member) for member in members})))]
    elif payment is not None:
        proposed = [Transfer(app.address(payment[0]), NATIVE_ASSET, payment[1])]
    now_ms = max(time.time_ns() // 1_000_000, app.network().time_ms)
    action = ProposeActions(app.address(account), tuple(proposed), now_ms + expires * 1_000)
    for each in (*proposed, action):
        each.validate()

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        proposal = sent.subject("multisig.proposed", "proposal")
        executed = bool(sent.subjects("multisig.executed", "proposal"))
        done = "executed" if executed else "waits for approvals"
        return {"proposal": proposal, "executed": executed}, [("proposal", proposal or "-"), ("status", done)]

    write(app, [action], report=report)


@click.command("multisig-sign", cls=Command, writes=True)
@click.argument("proposal", type=ID)
@click.option("--account", metavar="ADDRESS|WALLET", help="The multisig account; looked for among yours if left out.")
@application
def multisig_sign(app: Application, proposal: str, account: str | None) -> None:
    """Approve a PROPOSAL; the approval that reaches the threshold executes it."""
    from chain.actions.multisig import ApproveProposal, Proposal
    from chain.record import from_json

    found = _find(app, proposal, account)
    record = from_json(Proposal, found.proposal, app.network().prefix)
    approvals = len(found.approvals) + 1
    action = ApproveProposal(bytes.fromhex(found.id), record.weight if approvals >= found.threshold else 0)
    lines = [("proposal", each) for each in _proposal_lines(app, record)]
    lines.append(("approvals", f"{approvals} of {found.threshold} with yours"))

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        executed = bool(sent.subjects("multisig.executed", "proposal"))
        done = "executed" if executed else "approved"
        return {"proposal": found.id, "executed": executed}, [("proposal", found.id), ("status", done)]

    write(app, [action], summary=lines, report=report)


@click.command("multisig-reject", cls=Command, writes=True)
@click.argument("proposal", type=ID)
@click.option("--account", metavar="ADDRESS|WALLET", help="The multisig account; looked for among yours if left out.")
@application
def multisig_reject(app: Application, proposal: str, account: str | None) -> None:
    """Say no to a PROPOSAL, taking back an approval; it closes when too few are left who could approve it."""
    from chain.actions.multisig import Proposal, RejectProposal
    from chain.record import from_json

    found = _find(app, proposal, account)
    record = from_json(Proposal, found.proposal, app.network().prefix)
    lines = [("proposal", each) for each in _proposal_lines(app, record)]
    lines.append(("rejections", f"{len(found.rejections) + 1} with yours"))

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        closed = bool(sent.subjects("multisig.refused", "proposal"))
        done = "closed: it can no longer be approved" if closed else "rejected"
        return {"proposal": found.id, "closed": closed}, [("proposal", found.id), ("status", done)]

    write(app, [RejectProposal(bytes.fromhex(found.id))], summary=lines, report=report)


def _find(app: Application, proposal: str, account: str | None) -> Any:
    """The proposal that is meant."""
    if account is not None:
        accounts = [app.call("multisig.get", address=app.account_text(account)).view]
    else:
        accounts = list(pages(app, "multisig.list", member=app.wallet().address_text))
    found = [
        view
        for each in accounts
        for view in pages(app, "multisig.proposals", address=each.address)
        if view.id.startswith(proposal)
    ]
    if not found:
        raise NothingFound(
            f"No open proposal of your multisig accounts is known by {short(proposal)}.",
            "`aitbc wallet multisig-list` shows the open ones; an executed or expired one is gone.",
        )
    if len(found) > 1:
        listed = "\n".join(f"  {view.id}" for view in found)
        raise AmbiguousId(f"{proposal} fits {len(found)} proposals.", f"Give more of the id that you mean:\n{listed}")
    return found[0]


def _proposal_lines(app: Application, record: Any) -> list[str]:
    from chain.action import describe_action

    prefix = app.network().prefix
    return [
        ", ".join(text if name == "action" else f"{name} {text}" for name, text in describe_action(action, prefix))
        for action in record.actions
    ]


@click.command("multisig-list", cls=Command)
@click.argument("account", required=False, metavar="[ACCOUNT]")
@application
def multisig_list(app: Application, account: str | None) -> None:
    """List the multisig accounts of the wallet, or show one with its open proposals."""
    if account is not None:
        _show_one(app, app.account_text(account))
        return
    found = list(pages(app, "multisig.list", member=app.wallet().address_text))
    columns = (
        Column("account", shrinks=True),
        Column("AITBC", right=True),
        Column("needs"),
        Column("open proposals", right=True),
    )
    rows = [
        [
            each.address,
            number(each.balance),
            f"{each.multisig['threshold']} of {len(each.multisig['members'])}",
            str(len(each.multisig["proposals"])),
        ]
        for each in found
    ]
    app.show({"items": found}, lambda: table(columns, rows, "This wallet is in no multisig account."))


def _show_one(app: Application, address: str) -> None:
    from chain.actions.multisig import Proposal
    from chain.record import from_json

    view = app.call("multisig.get", address=address).view
    proposals = list(pages(app, "multisig.proposals", address=address))
    lines = [
        ("account", view.address),
        ("balance", amount(view.balance)),
        ("threshold", f"{view.multisig['threshold']} of {len(view.multisig['members'])}"),
        *(("member", member) for member in view.multisig["members"]),
    ]
    for each in proposals:
        record = from_json(Proposal, each.proposal, app.network().prefix)
        lines += [
            ("proposal", each.id),
            *(("  does", text) for text in _proposal_lines(app, record)),
            ("  approvals", f"{len(each.approvals)} of {each.threshold}"),
            *([("  rejections", str(len(each.rejections)))] if each.rejections else []),
            ("  expires", local_time(record.expires_ms)),
        ]
    app.show({"account": view, "proposals": proposals}, lambda: details(lines))
