"""`aitbc localnet`: hands everything on to `python -m localnet`, which runs the nodes as processes."""

import os
import subprocess
import sys

import click

from cli.context import Application


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def localnet(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run several nodes on this machine, break and watch them."""
    app = ctx.ensure_object(Application)
    command = [sys.executable, "-m", "localnet", *(arguments or ("--help",))]
    done = subprocess.run(command, check=False, env={**os.environ, "AITBC_LOCALNET_DIR": str(app.localnet_directory())})
    ctx.exit(done.returncode)
