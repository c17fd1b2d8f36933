"""`aitbc wallet`: build, sign and submit as separate steps over files, so that a key may stay where no network is.

The signer decodes the file and shows every field before it signs: what is signed is what was read.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from cli.context import Application
from cli.errors import BadInput, CliError
from cli.framework import Command, application
from cli.output import details, local_time
from cli.writing import await_result, describe, tell, write

if TYPE_CHECKING:
    from chain.action import Action
    from chain.transaction import Body, Transaction

_LARGEST_FILE = 1 << 20


def read_actions(path: str, prefix: str) -> "list[Action]":
    """The actions of a JSON file: a list of {"action": name, …fields}, or one such object. Raises BadInput."""
    import chain.actions  # noqa: F401 - the registry must be filled before a name means anything
    from chain.action import MAXIMUM_ACTIONS, action_from_json
    from chain.errors import LedgerError

    try:
        plain = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON.", 'Write [{"action": "account.transfer", …}].') from error
    items = plain if isinstance(plain, list) else [plain]
    if not 1 <= len(items) <= MAXIMUM_ACTIONS:
        raise BadInput(f"{path} has {len(items)} actions.", f"One transaction carries 1 to {MAXIMUM_ACTIONS:,}.")
    actions = []
    for number, item in enumerate(items, 1):
        try:
            actions.append(action_from_json(item, prefix))
        except LedgerError as error:
            raise BadInput(f"Action {number}: {error}.", error.hint) from error
    return actions


def _read(path: str) -> bytes:
    with click.open_file(path, "rb") as source:
        data: bytes = source.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise BadInput(f"{path} is larger than 1 MB.", "No transaction is that large.")
    return data


def _load(path: str) -> "Transaction | Body":
    from wallet.transactions import from_file

    return from_file(_read(path))


@click.command(cls=Command, writes=True)
@click.argument("actions", metavar="ACTIONS")
@click.option("--out", metavar="FILE", required=True, help="Where the unsigned transaction goes.")
@click.option("--desc", default="", help="A note that everyone can read.")
@application
def build(app: Application, actions: str, out: str, desc: str) -> None:
    """Build an unsigned transaction from a JSON file of ACTIONS; - is stdin. Amounts in it are base units.

    Every command that sends a transaction builds one instead with --build FILE.
    """
    app.settings.build_file = out
    write(app, read_actions(actions, app.network().prefix), memo=desc)


@click.command(cls=Command)
@click.argument("file")
@click.option("--out", metavar="FILE", required=True, help="Where the signed transaction goes.")
@application
def sign(app: Application, file: str, out: str) -> None:
    """Show the unsigned transaction in FILE in full, and sign it. Needs no node."""
    from chain.transaction import Transaction
    from wallet.transactions import WrongWallet, to_file
    from wallet.transactions import sign as sign_body

    wallet = app.wallet()
    body = _load(file)
    if isinstance(body, Transaction):
        raise BadInput(f"{file} is signed already.", "Send it with `aitbc wallet submit FILE`.")
    if body.public_key != wallet.public_key or body.sender != wallet.address:
        raise WrongWallet(wallet=wallet.name)
    if app.tells:
        output.note(details(_all_lines(body, wallet.prefix), indent="  "))
    app.confirm("Sign this transaction?")
    transaction = sign_body(app.unlock(wallet), body)
    Path(out).write_bytes(to_file(transaction))
    data = {"txid": transaction.txid.hex(), "file": out}
    app.show(data, lambda: details([("transaction", transaction.txid.hex()), ("signed", out)]))


@click.command(cls=Command, writes=True)
@click.argument("file")
@application
def submit(app: Application, file: str) -> None:
    """Send the signed transaction in FILE. Sending it twice does no harm."""
    from chain.transaction import Transaction
    from cli.writing import require_success
    from wallet.transactions import submit as hand_in

    transaction = _load(file)
    if not isinstance(transaction, Transaction):
        raise BadInput(f"{file} is not signed.", "Sign it with `aitbc wallet sign FILE --out SIGNED`.")
    if app.settings.dry_run:
        simulation = app.call("tx.simulate", envelope=transaction.envelope.hex())
        app.show(simulation, lambda: details([*describe(transaction.body, app.network().prefix)]))
        require_success(simulation)
        return
    app.note(f"Sending transaction {transaction.txid.hex()} …")
    txid = hand_in(app.client(), transaction)
    tell(app, await_result(app, txid, transaction.body.fee), None)


@click.command(cls=Command)
@click.argument("file")
@click.option("--prefix", default="dait", show_default=True, help="Prefix of the network's addresses.")
@application
def verify(app: Application, file: str, prefix: str) -> None:
    """Show the transaction in FILE in full and check its signature. Needs neither node nor wallet."""
    from chain.record import to_json
    from chain.transaction import Body

    transaction = _load(file)
    body = transaction if isinstance(transaction, Body) else transaction.body
    lines = _all_lines(body, prefix)
    signature = "none yet"
    if not isinstance(transaction, Body):
        _require_signature(transaction)
        signature = "valid"
        lines.append(("transaction", transaction.txid.hex()))
    lines.append(("key", _signer(body)))
    lines.append(("signature", signature))
    shown: dict[str, Any] = to_json(body, prefix) if isinstance(transaction, Body) else transaction.to_json(prefix)
    app.show({"signature_valid": signature == "valid", "transaction": shown}, lambda: details(lines))


def _signer(body: "Body") -> str:
    from chain.crypto.address import key_address

    own = key_address(body.public_key) == body.sender
    return "the key of the address" if own else "another key: right only if the account's key was rotated"


def _require_signature(transaction: "Transaction") -> None:
    from chain.errors import BadSignature

    try:
        transaction.verify_signature()
    except BadSignature as error:
        raise CliError(
            "The signature is wrong: someone changed the transaction after it was signed.", error.hint
        ) from error


def _all_lines(body: "Body", prefix: str) -> list[tuple[str, str]]:
    return [*describe(body, prefix), ("valid until", local_time(body.valid_until_ms))]
