"""`aitbc wallet`: what the wallet's account has and does: balance, history, payments, stake, profile."""

import csv
import io
import json
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from cli.context import Application
from cli.errors import BadInput
from cli.framework import Command, DefaultGroup, application
from cli.output import (
    Column,
    amount,
    brief_time,
    details,
    duration,
    local_time,
    number,
    plain,
    short,
    table,
    zoned,
)
from cli.proofs import write_proof
from cli.types import AMOUNT, DURATION, parse_amount
from cli.writing import Sent, write

MAXIMUM_PAYMENTS = 1_000
_LARGEST_PAYOUT_FILE = 1 << 20


@click.command(cls=Command)
@click.argument("account", required=False, metavar="[ADDRESS|WALLET]")
@click.option("--proof", metavar="FILE", help="Also write a proof of it, for `aitbc blockchain verify-proof`.")
@application
def balance(app: Application, account: str | None, proof: str | None) -> None:
    """Show what an account has [that of the wallet]."""
    view = app.call("account.get", address=app.account_text(account))
    stake = view.stake
    lines = [
        ("address", view.address),
        ("balance", amount(view.balance)),
        ("staked", amount(stake.total)),
        ("  free", amount(stake.free)),
        ("  collateral", amount(stake.collateral)),
        ("unbonding", amount(stake.unbonding)),
        ("rewards", amount(stake.rewards)),
        ("transactions", str(view.sequence)),
        ("as of", f"height {view.as_of.height}, {local_time(view.as_of.time_ms)}"),
    ]
    if view.next_sequence > view.sequence:
        lines.insert(8, ("pending", str(view.next_sequence - view.sequence)))
    if proof is not None:
        write_proof(app, proof, "proof.account", address=view.address)
    app.show(view, lambda: details(lines))


@click.command(cls=Command)
@click.argument("account", required=False, metavar="[ADDRESS|WALLET]")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Entries at most.")
@click.option("--cursor", help="Go on after the page before.")
@application
def history(app: Application, account: str | None, limit: int, cursor: str | None) -> None:
    """Show what concerned an account [that of the wallet], newest first."""
    view = app.call("account.history", address=app.account_text(account), limit=limit, cursor=cursor)
    columns = (
        Column(zoned("time")),
        Column("height", right=True),
        Column("what", shrinks=True),
        Column("AITBC", right=True),
        Column("fee", right=True, optional=True),
        Column("transaction"),
        Column("memo", shrinks=True, optional=True),
    )
    rows = [
        [
            brief_time(entry.time_ms),
            str(entry.height),
            _what(entry),
            _moved(entry, view.address),
            number(entry.fee) if int(entry.fee) else "",
            short(entry.txid) if entry.txid else "by itself",
            entry.memo,
        ]
        for entry in view.items
    ]
    app.show(view, lambda: table(columns, rows, "Nothing has concerned this account yet."))
    if view.next_cursor:
        app.note(f"There is more: --cursor {view.next_cursor}")


def _what(entry: Any) -> str:
    """The kinds of events that concerned the account, or why there were none."""
    if not entry.succeeded:
        return f"failed: {entry.error}"
    counts: dict[str, int] = {}
    for event in entry.events:
        counts[event["kind"]] = counts.get(event["kind"], 0) + 1
    told = [kind if count == 1 else f"{kind} ×{count}" for kind, count in counts.items()]
    return ", ".join(told) or ", ".join(entry.actions)


_FLOWS: dict[tuple[str, str], dict[str, int]] = {
    ("account.transfer", "from"): {"amount": -1},
    ("account.transfer", "to"): {"amount": 1},
    ("stake.added", "account"): {"amount": -1},
    ("stake.released", "account"): {"amount": 1},
    ("stake.rewards_claimed", "account"): {"amount": 1},
    ("stake.slashed", "beneficiary"): {"reward": 1},
    ("booking.reserved", "renter"): {"locked": -1},
    ("booking.released", "renter"): {"refund": 1},
    ("booking.completed", "renter"): {"refund": 1},
    ("booking.cancelled", "renter"): {"refund": 1},
    ("booking.abandoned", "renter"): {"refund": 1},
    ("booking.no_show", "renter"): {"refund": 1, "forfeited": 1},
    ("booking.closed", "provider"): {"net": 1},
    ("job.submitted", "renter"): {"locked": -1},
    ("job.accepted", "renter"): {"refund": 1},
    ("job.cancelled", "renter"): {"refund": 1},
    ("job.expired", "renter"): {"refund": 1},
    ("job.failed", "renter"): {"forfeited": 1},
    ("job.timed_out", "renter"): {"forfeited": 1},
    ("job.receipt_accepted", "provider"): {"net": 1},
    ("job.paid", "provider"): {"net": 1},
}
"""By kind of event and role in it, which of its amounts enter (1) or leave (-1) the balance."""


def _moved(entry: Any, address: str) -> str:
    """What this entry brought to the account's balance, or took from it, apart from the fee."""
    total = 0
    for event in entry.events:
        amounts = {pair["name"]: int(pair["value"]) for pair in event["amounts"]}
        for pair in event["subjects"]:
            if pair["id"] == address:
                flows = _FLOWS.get((event["kind"], pair["role"]), {})
                total += sum(sign * amounts.get(name, 0) for name, sign in flows.items())
    return f"{'+' if total > 0 else ''}{number(total)}" if total else ""


@click.command(cls=Command, writes=True)
@click.argument("recipient", metavar="ADDRESS|WALLET")
@click.argument("value", type=AMOUNT, metavar="AMOUNT")
@click.option("--desc", default="", help="A note that everyone can read.")
@application
def send(app: Application, recipient: str, value: int, desc: str) -> None:
    """Pay AMOUNT (in AITBC) to an address, or to one of your other wallets by its name."""
    from chain.actions.accounts import Transfer
    from chain.bank import NATIVE_ASSET

    to = app.account_text(recipient)
    action = Transfer(app.address(recipient), NATIVE_ASSET, value)
    action.validate()
    write(app, [action], memo=desc, report=lambda _: ({"to": to, "amount": str(value)}, [("paid", amount(value))]))


@click.command(cls=Command, writes=True)
@click.argument("file", metavar="FILE")
@click.option("--desc", default="", help="A note that everyone can read.")
@application
def payout(app: Application, file: str, desc: str) -> None:
    """Pay many accounts in one transaction, all or none.

    FILE is CSV with the columns address and amount (in AITBC), or JSON: a list of {"address", "amount"}; - is stdin.
    """
    from chain.actions.accounts import Transfer
    from chain.bank import NATIVE_ASSET

    payments = _read_payments(file)
    actions = []
    for position, (recipient, value) in enumerate(payments, 1):
        try:
            actions.append(Transfer(app.address(recipient), NATIVE_ASSET, value))
        except BadInput as error:
            raise BadInput(f"Payment {position}: {error.message}", error.hint) from error
    for action in actions:
        action.validate()
    total = sum(value for _, value in payments)
    data = {"payments": len(payments), "total": str(total)}
    lines = [("payments", str(len(payments))), ("total", amount(total))]
    write(app, actions, memo=desc, summary=lines, report=lambda _: (data, lines))


def _read_payments(file: str) -> list[tuple[str, int]]:
    """(account, base units) of each payment. Raises BadInput, naming the payment."""
    with click.open_file(file, "rb") as source:
        data = source.read(_LARGEST_PAYOUT_FILE + 1)
    if len(data) > _LARGEST_PAYOUT_FILE:
        raise BadInput("The file is larger than 1 MB.", "Split it: one transaction carries at most 1,000 payments.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not text in UTF-8.", "Write CSV or JSON.") from error
    rows = _json_rows(text) if text.lstrip().startswith("[") else _csv_rows(text)
    if not 1 <= len(rows) <= MAXIMUM_PAYMENTS:
        raise BadInput(f"The file has {len(rows)} payments.", f"One transaction carries 1 to {MAXIMUM_PAYMENTS:,}.")
    payments = []
    for position, (recipient, value) in enumerate(rows, 1):
        try:
            payments.append((recipient, parse_amount(value)))
        except ValueError as error:
            raise BadInput(
                f"Payment {position}: {error}.", "Amounts are in AITBC with at most nine decimals."
            ) from error
    return payments


def _csv_rows(text: str) -> list[tuple[str, str]]:

    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if any(row)]
    if rows and [cell.lower() for cell in rows[0][:2]] == ["address", "amount"]:
        rows = rows[1:]
    for position, row in enumerate(rows, 1):
        if len(row) < 2:
            raise BadInput(f"Payment {position} has no amount.", "Each line is: address,amount")
    return [(row[0], row[1]) for row in rows]


def _json_rows(text: str) -> list[tuple[str, str]]:

    try:
        plain = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise BadInput("The file is not JSON.", 'Write a list of {"address": …, "amount": …}.') from error
    rows = []
    for position, item in enumerate(plain, 1):
        fields = item if isinstance(item, dict) else {}
        recipient, value = fields.get("address"), fields.get("amount")
        if not isinstance(recipient, str) or isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
            raise BadInput(f"Payment {position} lacks address or amount.", 'Each is {"address": …, "amount": …}.')
        rows.append((recipient, f"{value:f}" if isinstance(value, Decimal) else str(value)))
    return rows


@click.command(cls=Command, writes=True)
@click.argument("value", type=AMOUNT, metavar="AMOUNT")
@click.option("--lock", type=DURATION, default=0, help="Bind the whole stake for this long, such as 30d [0].")
@application
def stake(app: Application, value: int, lock: int) -> None:
    """Move AMOUNT from the balance into the stake, from which collateral is taken."""
    from chain.actions.staking import AddStake

    action = AddStake(value, lock)
    action.validate()

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        total = sent.amounts("stake.added").get("stake")
        lines = [("staked", amount(value)), *([("stake now", amount(total))] if total is not None else [])]
        return {"amount": str(value), "stake": None if total is None else str(total)}, lines

    write(app, [action], report=report)


@click.command(cls=Command, writes=True)
@click.argument("value", type=AMOUNT, metavar="AMOUNT")
@application
def unstake(app: Application, value: int) -> None:
    """Start moving AMOUNT of free stake back; it arrives in the balance by itself."""
    from chain.actions.staking import RemoveStake

    action = RemoveStake(value)
    action.validate()
    wait = duration(app.network().parameters.unbonding_seconds)

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        due = sent.amounts("stake.unbonding").get("due_ms")
        lines = [("unstaked", amount(value)), *([("arrives", local_time(due))] if due else [])]
        return {"amount": str(value), "due_ms": due}, lines

    write(app, [action], summary=[("arrives after", wait)], report=report)


@click.command("staking-info", cls=Command)
@click.argument("account", required=False, metavar="[ADDRESS|WALLET]")
@application
def staking_info(app: Application, account: str | None) -> None:
    """Show a stake, what it is bound to, what it has earned, and what is on its way back."""
    view = app.call("stake.get", address=app.account_text(account))
    stake = view.stake
    lines = [
        ("address", view.address),
        ("stake", amount(stake.total)),
        ("free", amount(stake.free)),
        ("collateral", amount(stake.collateral)),
        ("locked until", local_time(stake.locked_until_ms) if stake.locked_until_ms > view.as_of.time_ms else "-"),
        ("rewards", amount(stake.rewards)),
        ("unbonding", amount(stake.unbonding)),
    ]
    lines += [("  arriving", f"{amount(each.amount)} at {local_time(each.due_ms)}") for each in view.unbondings]
    if int(stake.slashed):
        lines.append(("slashed", f"{amount(stake.slashed)} so far"))
    app.show(view, lambda: details(lines))


@click.command(cls=Command)
@click.argument("account", required=False, metavar="[ADDRESS|WALLET]")
@application
def rewards(app: Application, account: str | None) -> None:
    """Show what a stake has earned, and what it will have of the running epoch's fees."""
    view = app.call("stake.get", address=app.account_text(account))
    stake, epoch = view.stake, view.epoch
    share = int(epoch.pot) * int(stake.counted) // int(epoch.counted) if int(epoch.counted) else 0
    waiting = int(stake.total) - int(stake.counted)
    lines = [
        ("address", view.address),
        ("rewards", amount(stake.rewards)),
        ("epoch", f"{epoch.epoch}, until block {epoch.ends_height} (now {view.as_of.height})"),
        ("fees so far", f"{amount(epoch.pot)} for {amount(epoch.counted)} of stake"),
        ("this stake", f"{amount(stake.counted)} counts"),
        ("its share", f"{amount(share)} so far"),
    ]
    if waiting:
        lines.insert(5, ("", f"{amount(waiting)} counts from the next epoch"))
    app.show({**plain(view), "share": str(share)}, lambda: details(lines))


@click.command("claim-rewards", cls=Command, writes=True)
@application
def claim_rewards(app: Application) -> None:
    """Move what the stake has earned into the balance."""
    from chain.actions.staking import ClaimRewards

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        claimed = sent.amounts("stake.rewards_claimed").get("amount")
        lines = [("claimed", amount(claimed))] if claimed is not None else []
        return {"amount": None if claimed is None else str(claimed)}, lines

    write(app, [ClaimRewards()], report=report)


@click.group(cls=DefaultGroup, default="show")
def profile() -> None:
    """What an account says of itself; `set` also publishes the key to which others seal messages for you."""


@profile.command("show")
@click.argument("account", required=False, metavar="[ADDRESS|WALLET]")
@application
def profile_show(app: Application, account: str | None) -> None:
    """Show a profile [that of the wallet]."""
    view = app.call("account.get", address=app.account_text(account))
    found = view.profile or {}
    lines = [
        ("address", view.address),
        ("name", found.get("name") or "-"),
        ("contact", found.get("contact") or "-"),
        ("sealing key", found.get("encryption_key") or "none: nobody can send this account sealed messages"),
    ]
    app.show({"address": view.address, "profile": view.profile}, lambda: details(lines))


@profile.command("set", writes=True)
@click.option("--name", help="As others see it, at most 64 bytes.")
@click.option("--contact", help="How to reach you, at most 128 bytes.")
@click.option("--no-key", is_flag=True, help="Publish no sealing key.")
@application
def profile_set(app: Application, name: str | None, contact: str | None, no_key: bool) -> None:
    """Publish a profile, with the key to which others seal messages for this wallet. What is not given stays."""
    action = new_profile(app, name, contact, publish_key=not no_key)
    key = action.profile.encryption_key
    data = {"sealing_key": key.hex() if key else None}
    write(app, [action], report=lambda _: (data, [("sealing key", key.hex() if key else "none")]))


def new_profile(app: Application, name: str | None, contact: str | None, *, publish_key: bool = True) -> Any:
    """The SetProfile action that changes what is given and keeps the rest; opens the wallet for its sealing key."""
    from chain.actions.accounts import Profile, SetProfile
    from chain.record import encode_record
    from wallet.sealing import sealing_key

    wallet = app.wallet()
    old = app.call("account.get", address=wallet.address_text).profile or {}
    key = sealing_key(app.unlock(wallet)) if publish_key else None
    chosen = (old.get("name", "") if name is None else name, old.get("contact", "") if contact is None else contact)
    action = SetProfile(Profile(*chosen, key))
    encode_record(action)
    return action
