"""The command `aitbc`: its groups, and the one place where errors become messages and exit codes."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from cli import output
from cli.context import Application
from cli.errors import DONE, classify
from cli.framework import WRITE_OPTIONS, LazyGroup

GROUPS = {
    "wallet": "Keys, balances, payments, stake, offline signing, multisig accounts.",
    "marketplace": "List, find, quote and book GPUs, or have providers bid; review what was rented.",
    "client": "Have jobs done: submit, follow, accept.",
    "miner": "Provide GPUs: register, take jobs, deliver, earn.",
    "blockchain": "Blocks, transactions, nodes, supply, proofs.",
    "governance": "What authorities vote on: themselves, parameters, the treasury.",
    "genesis": "Build and check the file that a network starts from.",
    "localnet": "Run several nodes on this machine, break and watch them.",
}
"""One module of the same name for each."""
_PLACES = {name: f"cli.{name}:{name}" for name in GROUPS}

_EPILOG = (
    "Environment: AITBC_NODE, AITBC_WALLET, AITBC_WALLET_PATH, AITBC_PASSPHRASE_FILE, AITBC_CONFIG_DIR, AITBC_OUTPUT, "
    "AITBC_LOG_LEVEL, AITBC_LOCALNET_DIR, NO_COLOR. Exit codes: 0 done, 1 failed, 2 usage, 3 node unreachable, "
    "4 wallet locked or unauthorised, 5 transaction rejected, 6 still pending at timeout, 130 interrupted."
)


class Root(LazyGroup):
    """The top of the tree, which turns whatever goes wrong into a message, a hint and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        application = extra.setdefault("obj", Application())
        try:
            result = super().main(given, prog_name or "aitbc", complete_var, standalone_mode=False, **extra)
            code = result if isinstance(result, int) else DONE
        except (Exception, KeyboardInterrupt) as error:
            code = _report(application, error, given)
        finally:
            application.close()
        if standalone_mode:
            sys.exit(code)
        return code


def _report(application: Application, error: BaseException, args: Sequence[str]) -> int:
    failure = classify(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not _wants_json(application, args):
        output.note(error.format_message())
        return failure.exit_code
    if application.settings.debug and failure.code == 4999:
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
    if _wants_json(application, args):
        output.json_failure(failure.to_json())
    else:
        output.note(failure.message, "Error:")
        if failure.hint and failure.hint != failure.message:
            output.note(failure.hint, "Hint:")
    return failure.exit_code


def _wants_json(application: Application, args: Sequence[str]) -> bool:
    """Whether errors are wanted as JSON, also if the arguments were wrong before `-o` was reached."""
    form = application.settings.output or application.environment.get("AITBC_OUTPUT")
    for at, word in enumerate(args):
        if word in ("-ojson", "--output=json") or (word in ("-o", "--output") and args[at + 1 : at + 2] == ["json"]):
            return True
    return form == "json"


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"aitbc {version('aitbc')}")
        except PackageNotFoundError:
            click.echo("aitbc, run from its sources")
        ctx.exit()


def _install_completion(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value and not ctx.resilient_parsing:
        from cli.completion import install

        install(ctx.command, value)
        ctx.exit()


@click.command(
    cls=Root,
    name="aitbc",
    lazy=_PLACES,
    summaries=GROUPS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show it.")
@click.option(
    "--install-completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    expose_value=False,
    is_eager=True,
    callback=_install_completion,
    help="Let this shell complete `aitbc`.",
)
def aitbc() -> None:
    """Rent GPUs, and rent out yours, on a ledger that settles every second of it."""


aitbc.params += WRITE_OPTIONS


def main() -> None:
    """The console script."""
    aitbc.main()


if __name__ == "__main__":
    main()
