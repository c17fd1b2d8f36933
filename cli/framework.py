"""Commands and groups that take the global options wherever they stand, and load a group only when it is used.

`aitbc -o json wallet list` and `aitbc wallet list -o json` are the same; what stands later wins. A command that sends
transactions says so (`writes=True`) and takes the options of sending; any other refuses them rather than ignore them.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from cli.context import Application
from cli.output import FORMATS
from cli.types import AMOUNT


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is not None and param.name:
        setattr(ctx.ensure_object(Application).settings, param.name, value)


def _remember_louder(ctx: click.Context, _: click.Parameter, value: int) -> None:
    settings = ctx.ensure_object(Application).settings
    settings.verbosity = max(settings.verbosity, value)


def _option(*names: str, **attributes: Any) -> click.Option:
    attributes = {"default": None, "expose_value": False, "callback": _remember, **attributes}
    return click.Option(list(names), **attributes)


def _global_options() -> tuple[click.Parameter, ...]:
    return (
        _option("-o", "--output", type=click.Choice(FORMATS), is_eager=True, help="How data is shown [table]."),
        _option("--node", metavar="URL|N", help="Node to ask: its URL, or its number on the local network [1]."),
        _option("--wallet", metavar="NAME", help="Wallet to act with [the current one]."),
        _option("--wallet-path", metavar="DIR", help="Folder of the wallets."),
        _option("--passphrase-file", metavar="FILE", help="Read the wallet's passphrase from here; - is stdin."),
        _option("--passphrase-fd", metavar="N", type=click.IntRange(0), help="Read it from this file descriptor."),
        _option("--yes", "-y", "assume_yes", is_flag=True, help="Do not ask for confirmation."),
        _option("-v", "--verbose", count=True, default=0, callback=_remember_louder, help="Say more; -vv even more."),
        _option("--debug", is_flag=True, help="Show where an unexpected error came from."),
    )


def _write_options() -> tuple[click.Parameter, ...]:
    return (
        _option("--dry-run", is_flag=True, help="Show what the ledger would do; sign and send nothing."),
        _option("--wait/--no-wait", "wait", help="Wait until the transaction is final [wait]."),
        _option("--timeout", type=click.IntRange(1, 86_400), metavar="SECONDS", help="How long to wait [60]."),
        _option("--tip", type=AMOUNT, metavar="AMOUNT", help="Paid to the proposer on top of the fee [0]."),
        _option("--build", "build_file", metavar="FILE", help="Write the unsigned transaction here; do not sign it."),
    )


GLOBAL_OPTIONS = _global_options()
"""The options that every command takes; they hold no state, so all commands share them."""
WRITE_OPTIONS = _write_options()
"""The options of commands that send a transaction."""
_GLOBAL = frozenset(map(id, GLOBAL_OPTIONS))
_WRITE = frozenset(map(id, WRITE_OPTIONS))


_LONGEST_SUMMARY = 200
"""Characters of a command's first sentence that a list of commands shows: all of it."""


class _Sections:
    """Help that lists a command's own options before the ones that every command takes."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        command: Any = self
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Sending": [], "Global options": []}
        for param in command.get_params(ctx):
            row = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if row is not None:
                mark = id(param)
                title = "Sending" if mark in _WRITE else "Global options" if mark in _GLOBAL else "Options"
                sections[title].append(row)
        if isinstance(command, click.Group):
            command.format_commands(ctx, formatter)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Command(_Sections, click.Command):
    """A command with the global options."""

    def __init__(self, *args: Any, writes: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.writes = writes
        self.params = [*self.params, *(WRITE_OPTIONS if writes else ()), *GLOBAL_OPTIONS]

    def invoke(self, ctx: click.Context) -> Any:
        settings = ctx.ensure_object(Application).settings
        if not self.writes and settings.dry_run:
            raise click.UsageError("This command sends no transaction, so there is nothing to run dry.", ctx)
        if not self.writes and settings.build_file is not None:
            raise click.UsageError("This command sends no transaction that could be built.", ctx)
        return super().invoke(ctx)


class Group(_Sections, click.Group):
    """A group with the global options, whose commands are of the kinds above."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params = [*self.params, *GLOBAL_OPTIONS]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its whole first sentence."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_LONGEST_SUMMARY)) for name, command in found if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class DefaultGroup(Group):
    """A group in which a first word that is no command belongs to the command `default`."""

    def __init__(self, *args: Any, default: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Also where an option of that command comes first, as in `review --rating 5 ID`.
        if not (args and (args[0] in self.commands or args[0] in ctx.help_option_names)):
            args = [self._default, *args]
        return super().parse_args(ctx, args)


class LazyGroup(Group):
    """A group of which some commands are loaded when they are used."""

    def __init__(
        self, *args: Any, lazy: Mapping[str, str], summaries: Mapping[str, str] | None = None, **attributes: Any
    ) -> None:
        """
        Args:
            lazy: name to `module:attribute`.
            summaries: one line of help for each command, so that help loads none of them.
        """
        super().__init__(*args, **attributes)
        self._lazy = lazy
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._summaries or sorted({*self.commands, *self._lazy}))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self._summaries is None:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))


application = click.make_pass_decorator(Application, ensure=True)
"""Gives a command the Application as its first argument."""
