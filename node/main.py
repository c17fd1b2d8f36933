"""The command `aitbc-node`: makes keys and databases, runs a node, checks one.

Expected trouble (a wrong file, a busy port, a damaged database) is one line on standard error with a hint, and exit
code 1. Each command imports what it needs when it runs, so that help and errors come at once.
"""

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

if TYPE_CHECKING:
    from node.config import Configuration, NodeFiles

P = ParamSpec("P")
SWITCH_INTERVAL_SECONDS = 0.001
"""How long a thread keeps the interpreter while others wait: execution must not hold up the network."""

COLLECTOR_THRESHOLDS = (50_000, 20, 100)
"""Allocations between runs of the cyclic garbage collector: the defaults walk every pending transaction and cached
trie node so often that they are the largest cost of a loaded node."""

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


def _coded(command: Callable[P, None]) -> Callable[P, None]:
    """End with one line and exit code 1 for every coded error."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from chain.errors import LedgerError

        try:
            command(*args, **kwargs)
        except LedgerError as error:
            click.echo(f"error: {error}" + (f". {error.hint}" if error.hint else ""), err=True)
            sys.exit(1)
        except OSError as error:
            click.echo(f"error: {error.strerror or error}: {error.filename or ''}", err=True)
            sys.exit(1)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run an authority or a follower of the ledger."""


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--follower", is_flag=True, help="Make no BLS key: the node will never vote.")
@_coded
def keygen(folder: Path, follower: bool) -> None:
    """Make the secret keys of a node in FOLDER and print their public parts as JSON."""
    from chain.crypto.ed25519 import PrivateKey
    from node import keys

    keys.generate(folder, authority=not follower)
    if follower:
        shown = {"node_key": PrivateKey(keys.read_secret(folder / keys.NODE_KEY_FILE)).public_key}
    else:
        public = keys.public_keys(folder)
        shown = {name: getattr(public, name) for name in ("node_key", "bls_key", "proof_of_possession")}
    click.echo(json.dumps({name: value.hex() for name, value in shown.items()}, indent=2))


def _place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where a node's files are: a configuration, or the two that a command without one needs."""
    options: list[Callable[..., Any]] = [
        click.option("--config", "config_file", type=_FILE, help="Configuration of the node."),
        click.option("--data", type=_FOLDER, help="Folder of the database."),
        click.option("--genesis", type=_FILE, help="Genesis file of the network."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@_place_options
@click.option("--node-key", type=_FILE, help="Node key of an authority; with --bls-key.")
@click.option("--bls-key", type=_FILE, help="BLS key of an authority: also begins the record of what it signs.")
@click.option("--signer-record-only", is_flag=True, help="Begin only the signer's record. DANGEROUS on a live chain.")
@_coded
def init(
    config_file: Path | None,
    data: Path | None,
    genesis: Path | None,
    node_key: Path | None,
    bls_key: Path | None,
    signer_record_only: bool,
) -> None:
    """Create the database from the genesis file and, for an authority, the record of what it signs.

    The record protects an authority from voting twice. A new one is safe only for a key that has never voted.
    """
    from node import setup

    files = _files(config_file, data, genesis, node_key, bls_key)
    specification = setup.read_genesis(files.genesis)
    if signer_record_only:
        setup.begin_signer_record(files, specification.chain_id)
        begun = True
    else:
        begun = setup.initialise(files, specification)
    if begun:
        click.echo(
            "warning: the signer's record is new; a key that has voted on this chain before must not use it", err=True
        )
    click.echo(f"{specification.chain_id}: initialised {files.data}", err=True)


@main.command()
@click.option("--config", "config_file", type=_FILE, required=True, help="Configuration of the node.")
@_coded
def run(config_file: Path) -> None:
    """Run the node until it is told to stop (SIGTERM or SIGINT)."""
    from node import config, log

    configuration = config.load(config_file, os.environ)
    log.configure(configuration.log.level, configuration.log.format)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    asyncio.run(_run(configuration))


async def _run(configuration: "Configuration") -> None:
    import signal

    from node.service import Node
    from node.supervisor import notify

    node = Node(configuration)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await node.start()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    notify("READY=1")
    stopped = asyncio.create_task(node.wait_stopped())
    asked = asyncio.create_task(told.wait())
    await asyncio.wait({stopped, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    notify("STOPPING=1")
    await node.stop()
    await stopped


@main.command()
@_place_options
@_coded
def verify(config_file: Path | None, data: Path | None, genesis: Path | None) -> None:
    """Check a database against its genesis file: every block, every certificate, the whole state."""
    from node.setup import read_genesis
    from node.verify import verify as verify_store

    files = _files(config_file, data, genesis, None, None)
    report = verify_store(files.database, read_genesis(files.genesis))
    click.echo(str(report))


def _signing_files(configuration: "Configuration") -> "NodeFiles":
    if configuration.node.bls_key is None:
        raise click.UsageError("the configuration names no bls_key, so this node cannot become an authority")
    return configuration.node


@main.command()
@click.option("--config", "config_file", type=_FILE, required=True, help="Configuration of the node.")
@click.option("--operator", required=True, help="Address of the account that is accountable for it.")
@_coded
def identity(config_file: Path, operator: str) -> None:
    """Print what a measure that adds this node to the authorities names, as JSON."""
    from node import config
    from node.identity import identity
    from node.setup import read_genesis

    files = _signing_files(config.load(config_file, os.environ))
    click.echo(json.dumps(identity(files, read_genesis(files.genesis).prefix, operator), indent=2))


@main.command()
@click.option("--config", "config_file", type=_FILE, required=True, help="Configuration of the node.")
@click.option("--operator", required=True, help="Address of the account that is accountable for it.")
@click.option("--epoch", type=click.IntRange(0), help="The present epoch; without it, the running node is asked.")
@_coded
def ready(config_file: Path, operator: str, epoch: int | None) -> None:
    """Print, signed by both keys, that this node is ready to join the authorities.

    Its operator submits it, once a measure that adds the node has passed.
    """
    from node import config
    from node.identity import present_epoch, readiness
    from node.setup import read_genesis

    configuration = config.load(config_file, os.environ)
    files = _signing_files(configuration)
    specification = read_genesis(files.genesis)
    if epoch is None:
        epoch = present_epoch(configuration.rpc.listen, specification.chain_id)
    click.echo(json.dumps(readiness(files, specification, operator, epoch), indent=2))


@main.command()
def version() -> None:
    """Print the version of the software."""
    from node.status import software_version

    click.echo(software_version())


def _files(
    config_file: Path | None, data: Path | None, genesis: Path | None, node_key: Path | None, bls_key: Path | None
) -> "NodeFiles":
    """The files that the options name, with those of the configuration for the rest."""
    from node import config

    if config_file is not None:
        if data or genesis or node_key or bls_key:
            raise click.UsageError("give either --config or the single files")
        return config.load(config_file, os.environ).node
    if data is None or genesis is None:
        raise click.UsageError("give --config, or --data and --genesis")
    if bls_key is not None and node_key is None:
        raise click.UsageError("--bls-key needs --node-key")
    return config.NodeFiles(data, genesis, node_key or data / "node.key", bls_key)


if __name__ == "__main__":
    main()
