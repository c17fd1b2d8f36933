"""`aitbc wallet`: the keys themselves. What they do on the ledger is in the modules beside this one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import Application
from cli.errors import BadInput, PassphraseNeeded
from cli.framework import LazyGroup, application
from cli.output import Column, details, local_time, table
from cli.types import NUMBER31

if TYPE_CHECKING:
    from wallet.wallet_file import Wallet

NETWORKS = ("devnet", "testnet", "main")
_KINDS = {"hd": "recovery words", "simple": "one key", "watch": "watched"}
_LARGEST_SECRET_FILE = 4_096


_ACCOUNT = (
    "balance",
    "history",
    "send",
    "payout",
    "stake",
    "unstake",
    "staking_info",
    "rewards",
    "claim_rewards",
    "profile",
)
_ROTATION = ("rotate_key",)
_STATEMENTS = ("stats",)
_OFFLINE = ("build", "sign", "submit", "verify")
_MULTISIG = ("multisig_create", "multisig_propose", "multisig_sign", "multisig_reject", "multisig_list")
_ELSEWHERE = {
    name.replace("_", "-"): f"cli.{module}:{name}"
    for module, names in (
        ("wallet_account", _ACCOUNT),
        ("wallet_offline", _OFFLINE),
        ("wallet_multisig", _MULTISIG),
        ("wallet_rotation", _ROTATION),
        ("statements", _STATEMENTS),
    )
    for name in names
}
"""What needs more than the keys is loaded when it is used."""


@click.group(cls=LazyGroup, lazy=_ELSEWHERE)
def wallet() -> None:
    """Keys, balances, payments, stake, offline signing, multisig accounts."""


def _network_option(function: Any) -> Any:
    return click.option(
        "--network",
        type=click.Choice(NETWORKS),
        default="devnet",
        envvar="AITBC_NETWORK",
        show_default=True,
        help="Whose addresses the wallet shows.",
    )(function)


def _no_passphrase_option(function: Any) -> Any:
    return click.option(
        "--no-passphrase", is_flag=True, help="Protect it by nothing: for worthless wallets of local development."
    )(function)


@wallet.command()
@click.argument("name", default="default")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["hd", "simple"]),
    default="hd",
    show_default=True,
    help="Many keys from recovery words, or one from a seed.",
)
@click.option("--words", type=click.Choice(["12", "24"]), default="12", show_default=True, help="Recovery words.")
@_network_option
@_no_passphrase_option
@application
def create(app: Application, name: str, kind: str, words: str, network: str, no_passphrase: bool) -> None:
    """Make a new wallet NAME [default] and show what restores it, once."""
    import secrets

    from genesis.networks import NETWORKS as NAMED
    from wallet.errors import WalletExists
    from wallet.mnemonic import generate_mnemonic

    keystore = app.keystore()
    if name in keystore.names():
        raise WalletExists(wallet=name)
    passphrase = app.new_passphrase(no_passphrase)
    secret: str | bytes = generate_mnemonic(int(words)) if kind == "hd" else secrets.token_bytes(32)
    made = keystore.create(
        name, kind, secret, passphrase, prefix=NAMED[network].prefix, allow_empty_passphrase=no_passphrase
    )
    restores = secret if isinstance(secret, str) else secret.hex()
    field, label = ("recovery_words", "recovery words") if kind == "hd" else ("seed", "seed")
    data = {**_public(made, keystore.current_name()), field: restores}
    app.show(data, lambda: details([*_lines(made, keystore.current_name()), (label, restores)]))
    app.note(f"Write this down and keep it off this machine: who has the {label} has the money.")


@wallet.command("import")
@click.argument("name")
@click.option(
    "--words-file", metavar="FILE", help="Recovery words from here; - is stdin. Asked for if nothing is given."
)
@click.option("--seed-file", metavar="FILE", help="A seed of 64 hexadecimal digits from here; - is stdin.")
@click.option("--watch", metavar="ADDRESS|KEY", help="Only watch an address, or the account of a public key in hex.")
@click.option("--account", type=NUMBER31, default=0, help="Which account of the words [0].")
@click.option("--index", type=NUMBER31, default=0, help="Which key of the account [0].")
@_network_option
@_no_passphrase_option
@application
def import_(
    app: Application,
    name: str,
    words_file: str | None,
    seed_file: str | None,
    watch: str | None,
    account: int,
    index: int,
    network: str,
    no_passphrase: bool,
) -> None:
    """Take in a wallet from recovery words, a seed, or an address to watch, and call it NAME."""
    from genesis.networks import NETWORKS as NAMED
    from wallet.errors import WalletExists

    if sum(source is not None for source in (words_file, seed_file, watch)) > 1:
        raise click.UsageError("Give one of --words-file, --seed-file and --watch.")
    keystore = app.keystore()
    if name in keystore.names():
        raise WalletExists(wallet=name)
    kind, secret = _imported(app, words_file, seed_file, watch)
    passphrase = "" if kind == "watch" else app.new_passphrase(no_passphrase)
    made = keystore.create(
        name,
        kind,
        secret,
        passphrase,
        prefix=NAMED[network].prefix,
        account=account,
        index=index,
        allow_empty_passphrase=no_passphrase,
    )
    app.show(_public(made, keystore.current_name()), lambda: details(_lines(made, keystore.current_name())))


def _imported(
    app: Application, words_file: str | None, seed_file: str | None, watch: str | None
) -> tuple[str, str | bytes]:
    """(kind, secret) of what is taken in."""
    if watch is not None:
        text = watch.strip()
        return "watch", bytes.fromhex(text) if len(text) == 64 and _is_hex(text) else text
    if seed_file is not None:
        text = _secret_text(seed_file)
        if len(text) != 64 or not _is_hex(text):
            raise BadInput(
                "The seed is not 64 hexadecimal digits.", "A seed is what `wallet create --type simple` shows."
            )
        return "simple", bytes.fromhex(text)
    if words_file is not None:
        return "hd", _secret_text(words_file)
    if not app.at_terminal():
        raise PassphraseNeeded(
            "The recovery words are needed, and there is no terminal to ask for them.", "Pass --words-file FILE."
        )
    return "hd", str(click.prompt("Recovery words", hide_input=True, err=True))


def _secret_text(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_LARGEST_SECRET_FILE)
        else:
            with open(path, "rb") as file:
                data = file.read(_LARGEST_SECRET_FILE)
        return str(data, "utf-8").strip()
    except UnicodeDecodeError:
        # Without the cause, which quotes what the file holds.
        raise BadInput(f"{path} is no text.", "Store the secret as text.") from None


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)


@wallet.command("list")
@application
def list_(app: Application) -> None:
    """List the wallets; * marks the current one."""
    keystore = app.keystore()
    wallets, problems = keystore.scan()
    current = keystore.current_name()
    columns = (Column(""), Column("name", shrinks=True), Column("address"), Column("kind", optional=True))
    rows = [["*" if w.name == current else "", w.name, w.address_text, _KINDS[w.kind]] for w in wallets]
    empty = "There is no wallet yet. `aitbc wallet create` makes one."
    app.show([_public(each, current) for each in wallets], lambda: table(columns, rows, empty))
    for problem in problems:
        app.note(f"Not shown: {problem.message} {problem.hint}".rstrip())


@wallet.command()
@click.argument("name")
@application
def switch(app: Application, name: str) -> None:
    """Make NAME the current wallet."""
    chosen = app.keystore().switch(name)
    app.show(_public(chosen, name), lambda: f"{name} is the current wallet now: {chosen.address_text}")


@wallet.command()
@click.argument("name", required=False)
@application
def info(app: Application, name: str | None) -> None:
    """Show what is public of a wallet [the current one]."""
    chosen = app.keystore().open(name) if name else app.wallet()
    current = app.keystore().current_name()
    app.show(_public(chosen, current), lambda: details(_lines(chosen, current)))


@wallet.command()
@click.argument("name")
@application
def delete(app: Application, name: str) -> None:
    """Remove wallet NAME. Without a backup its key is lost."""
    keystore = app.keystore()
    if name not in keystore.names():
        keystore.open(name)
    app.confirm(f"Delete wallet {name}? Without a backup or its recovery words its money is lost.")
    keystore.delete(name)
    app.show({"deleted": name}, lambda: f"Wallet {name} is deleted.")


@wallet.command()
@click.argument("name")
@click.option("--out", metavar="FILE", help="Where to [NAME-backup.json].")
@application
def backup(app: Application, name: str, out: str | None) -> None:
    """Copy wallet NAME to a new file, still sealed by its passphrase."""
    path = Path(out or f"{name}-backup.json")
    app.keystore().backup(name, path)
    app.show({"wallet": name, "file": str(path)}, lambda: f"Wallet {name} is copied to {path}.")


@wallet.command()
@click.argument("file")
@click.argument("name")
@click.option("--force", is_flag=True, help="Replace a wallet of that name.")
@application
def restore(app: Application, file: str, name: str, force: bool) -> None:
    """Take the wallet in FILE back in as NAME."""
    keystore = app.keystore()
    if force and name in keystore.names():
        app.confirm(f"Replace wallet {name}? Without a backup or its recovery words its money is lost.")
    restored = keystore.restore(file, name, force)
    current = keystore.current_name()
    app.show(_public(restored, current), lambda: details(_lines(restored, current)))


@wallet.command()
@click.option("--qr", is_flag=True, help="Draw it for a camera.")
@application
def address(app: Application, qr: bool) -> None:
    """Print the wallet's address and nothing else."""
    text = app.wallet().address_text

    def human() -> str:
        if qr:
            import segno

            segno.make(text.upper()).terminal(out=sys.stdout, compact=True)
        return text

    app.show({"address": text}, human)


def _public(each: "Wallet", current: str | None) -> dict[str, Any]:
    return {
        "name": each.name,
        "kind": str(each.kind),
        "address": each.address_text,
        "public_key": None if each.public_key is None else each.public_key.hex(),
        "path": each.path,
        "prefix": each.prefix,
        "created_ms": each.created_ms,
        "passphrase_needed": each.passphrase_needed,
        "current": each.name == current,
    }


def _lines(each: "Wallet", current: str | None) -> list[tuple[str, str]]:
    lines = [
        ("name", f"{each.name} (current)" if each.name == current else each.name),
        ("kind", _KINDS[each.kind]),
        ("address", each.address_text),
        ("public key", each.public_key.hex() if each.public_key else "unknown"),
        ("created", local_time(each.created_ms)),
    ]
    if each.path:
        lines.append(("path", each.path))
    if each.can_sign and not each.passphrase_needed:
        lines.append(("passphrase", "none"))
    return lines
