"""`aitbc wallet rotate-key`: another key for the same account.

The next key is safe before the ledger hears of it, and the wallet takes it up only when the ledger has. Cut short
anywhere, the same command goes on from where it stopped: the ledger tells which key signs.
"""

from typing import TYPE_CHECKING, Any

import click

from cli.context import Application
from cli.errors import BadInput
from cli.framework import Command, application
from cli.output import details
from cli.types import NUMBER31
from cli.writing import Sent, send, tell

if TYPE_CHECKING:
    from wallet.rotation import Successor
    from wallet.wallet_file import Wallet


@click.command("rotate-key", cls=Command, writes=True)
@click.option("--index", type=NUMBER31, help="Which key of a wallet of recovery words [next].")
@application
def rotate_key(app: Application, index: int | None) -> None:
    """Give the account another key. The address stays; the old key signs for nothing from then on.

    Approvals that this account gave and that still wait become void.
    """
    from wallet.errors import WatchOnlyWallet
    from wallet.rotation import action_for, find, prepare
    from wallet.wallet_file import Kind

    wallet, keystore = app.wallet(), app.keystore()
    if not wallet.can_sign:
        raise WatchOnlyWallet(wallet=wallet.name)
    if app.settings.build_file is not None:
        raise BadInput("A rotation is signed by both keys, so it cannot be built without them.", "Leave --build out.")
    if index is not None and wallet.kind is not Kind.HD:
        raise BadInput("Only a wallet of recovery words has numbered keys.", "Leave --index out.")
    signs = _signing_key(app, wallet)
    passphrase, unlocked = app.passphrase(wallet), app.unlock(wallet)
    if signs != wallet.public_key:
        taken = find(keystore, unlocked, passphrase, signs)
        _take_up(app, wallet, taken)
        app.note("The rotation was final already; the wallet signs with its new key now.")
        app.show(_data(wallet, taken), lambda: details(_lines(wallet, taken)))
        return
    successor = prepare(keystore, unlocked, passphrase, index=index, keep=not app.settings.dry_run)
    action = action_for(app.network().chain_id, wallet, successor)
    sent = send(app, [action], summary=[("afterwards", "the old key signs for nothing; back this wallet up anew")])
    if sent is None:
        return
    if sent.final:
        _take_up(app, wallet, successor)

    def report(sent: Sent) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        return _data(wallet, successor), _lines(wallet, successor)

    tell(app, sent, report)
    if not sent.final:
        app.note("Run `aitbc wallet rotate-key` again when it is final: then the wallet takes up its new key.")
    elif wallet.kind is not Kind.HD:
        app.note("Its sealing key changed too: publish the new one with `aitbc wallet profile set`.")


def _signing_key(app: Application, wallet: "Wallet") -> bytes:
    """The key that signs for the account according to the ledger."""
    from chain.crypto.address import key_address

    known = app.call("account.get", address=wallet.address_text).key
    if known is not None:
        return bytes.fromhex(known)
    own = wallet.public_key or b""
    if key_address(own) != wallet.address:
        raise BadInput(
            "The wallet's key is not that of its address, and the ledger knows of no rotation.",
            "Choose a node of the network on which the key was rotated.",
        )
    return own


def _take_up(app: Application, wallet: "Wallet", successor: "Successor") -> None:
    from wallet.rotation import take_up

    take_up(app.keystore(), wallet, app.passphrase(wallet), successor)


def _data(wallet: "Wallet", successor: "Successor") -> dict[str, Any]:
    return {
        "wallet": wallet.name,
        "address": wallet.address_text,
        "public_key": successor.key.public_key.hex(),
        "index": successor.index,
    }


def _lines(wallet: "Wallet", successor: "Successor") -> list[tuple[str, str]]:
    lines = [("account", wallet.address_text), ("signs now", successor.key.public_key.hex())]
    if successor.index is not None:
        lines.append(("key number", str(successor.index)))
    return lines
