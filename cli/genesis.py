"""`aitbc genesis`: making the file that a network starts from, and checking one."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import Application
from cli.errors import BadInput
from cli.framework import Group, application
from cli.output import amount, details, local_time
from cli.types import TIME, parse_amount

if TYPE_CHECKING:
    from chain.certificate import Authority
    from chain.parameters import Parameters
    from genesis.specification import Allocation, Specification

_LARGEST_KEY_FILE = 64 << 10
_KEYS = ("node_key", "bls_key", "proof_of_possession")


@click.group(cls=Group)
def genesis() -> None:
    """Build and check the file that a network starts from."""


@genesis.command()
@click.option(
    "--network",
    type=click.Choice(["devnet", "testnet", "main"]),
    default="devnet",
    show_default=True,
    help="Whose parameters and addresses it starts with.",
)
@click.option("--name", help="Name of the network, if not that of its kind; the chain id begins with it.")
@click.option(
    "--authority",
    "authorities",
    type=(str, str),
    multiple=True,
    required=True,
    metavar="KEYS OPERATOR",
    help="File that `aitbc-node keygen` printed, and the operator's address or wallet; repeat it for each authority.",
)
@click.option(
    "--allocation",
    "allocations",
    multiple=True,
    metavar="ACCOUNT=AMOUNT[:STAKE]",
    help="What an account (address or wallet) starts with, in AITBC; repeatable.",
)
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Change a number of the network.")
@click.option("--time", "time_ms", type=TIME, help="Time of the beginning [now].")
@click.option("--out", metavar="FILE", default="genesis.json", show_default=True, help="Where it goes.")
@application
def build(app: Application, /, **given: Any) -> None:
    """Build a genesis file. Every node of the network needs the same one."""
    from genesis.networks import network
    from genesis.specification import Specification, to_file

    kind = network(given["network"])
    operators = [_authority(app, kind.prefix, *each) for each in given["authorities"]]
    specification = Specification(
        name=given["name"] or kind.name,
        prefix=kind.prefix,
        time_ms=given["time_ms"] or time.time_ns() // 1_000_000,
        parameters=_parameters(kind.parameters, given["parameters"]),
        authorities=tuple(operators),
        allocations=tuple(_allocation(app, kind.prefix, each) for each in given["allocations"]),
    )
    specification.check()
    path = Path(given["out"])
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(to_file(specification))
    except FileExistsError as error:
        raise BadInput(
            f"{path} exists already.", "Choose another file with --out; a genesis is never overwritten."
        ) from error
    app.show(_plain(specification, path), lambda: details([*_lines(specification), ("file", str(path))]))


def _account(app: Application, prefix: str, text: str) -> bytes:
    from chain.crypto.address import parse_address

    return parse_address(prefix, app.account_text(text))


def _authority(app: Application, prefix: str, keys: str, operator: str) -> "Authority":
    from chain.certificate import Authority

    with click.open_file(keys, "rb") as file:
        data = file.read(_LARGEST_KEY_FILE)
    try:
        plain = json.loads(data)
        found = [bytes.fromhex(plain[name]) for name in _KEYS]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            f"{keys} does not hold the public keys of a node.", "Write one with: aitbc-node keygen FOLDER > FILE"
        ) from error
    return Authority(_account(app, prefix, operator), *found)


def _allocation(app: Application, prefix: str, text: str) -> "Allocation":
    from genesis.specification import Allocation

    account, equals, amounts = text.rpartition("=")
    balance, _, staked = amounts.partition(":")
    if not equals:
        raise BadInput(f"{text!r} is no allocation.", "Write ACCOUNT=AMOUNT, or ACCOUNT=AMOUNT:STAKE.")
    try:
        return Allocation(_account(app, prefix, account), parse_amount(balance), parse_amount(staked or "0"))
    except ValueError as error:
        raise BadInput(f"{text}: {error}.", "Amounts are in AITBC with at most nine decimals.") from error


def _parameters(usual: "Parameters", given: tuple[str, ...]) -> "Parameters":
    from genesis.networks import changed

    try:
        return changed(usual, given)
    except ValueError as error:
        problem, _, hint = str(error).partition(". ")
        raise BadInput(f"{problem}.", hint) from error


def read_specification(path: str) -> "Specification":
    """The checked specification of a genesis file. Raises BadInput, or InvalidGenesis for what is wrong in it."""
    from genesis.specification import MAXIMUM_FILE_BYTES, from_file

    with click.open_file(path, "rb") as file:
        data = file.read(MAXIMUM_FILE_BYTES + 1)
    try:
        return from_file(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no text in UTF-8.", "Name a genesis file.") from error


@genesis.command()
@click.argument("file")
@application
def check(app: Application, file: str) -> None:
    """Check a genesis file: its hash, its rules, and that every authority holds its keys."""
    from genesis.builder import build as build_genesis

    made = build_genesis(read_specification(file))
    data = {
        **_plain(made.specification, Path(file)),
        "genesis_block_hash": made.block.hash.hex(),
        "state_root": made.block.header.state_root.hex(),
        "valid": True,
    }
    lines = [
        ("network", made.specification.chain_id),
        ("hash", made.specification.hash.hex()),
        ("block 0", made.block.hash.hex()),
        ("state root", made.block.header.state_root.hex()),
        ("result", "the file is sound"),
    ]
    app.show(data, lambda: details(lines))


@genesis.command()
@click.argument("file")
@application
def show(app: Application, file: str) -> None:
    """Show what a genesis file says."""
    specification = read_specification(file)
    app.show(_plain(specification, Path(file)), lambda: details(_lines(specification)))


def _plain(specification: "Specification", path: Path) -> dict[str, Any]:
    from chain.record import to_json

    return {
        "file": str(path),
        "chain_id": specification.chain_id,
        "hash": specification.hash.hex(),
        "specification": to_json(specification, specification.prefix),
    }


def _lines(specification: "Specification") -> list[tuple[str, str]]:
    from chain.crypto.address import format_address
    from chain.record import describe

    prefix = specification.prefix
    total = sum(each.balance + each.stake for each in specification.allocations)
    lines = [
        ("network", specification.chain_id),
        ("hash", specification.hash.hex()),
        ("address prefix", prefix),
        ("time", local_time(specification.time_ms)),
        ("money", f"{amount(total)} in {len(specification.allocations)} accounts"),
    ]
    lines += [("authority", format_address(prefix, each.operator)) for each in specification.authorities]
    for each in specification.allocations[:20]:
        owned = amount(each.balance) + (f" and {amount(each.stake)} staked" if each.stake else "")
        lines.append(("account", f"{format_address(prefix, each.address)}  {owned}"))
    if len(specification.allocations) > 20:
        lines.append(("", f"and {len(specification.allocations) - 20} more"))
    return [*lines, *describe(specification.parameters, prefix)]
