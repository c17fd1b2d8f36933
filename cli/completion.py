"""Lets a shell complete `aitbc`: writes the script that the shell loads, where the shell looks for it."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from cli.errors import BadInput

VARIABLE = "_AITBC_COMPLETE"


def install(command: click.Command, shell: str) -> None:
    """Write the completion script of a shell and say what is left to do."""
    kind = get_completion_class(shell)
    if kind is None:
        raise BadInput(f"{shell} is not known.", "Use bash, zsh or fish.")
    try:
        source = kind(command, {}, "aitbc", VARIABLE).source()
    except RuntimeError as error:
        raise BadInput(f"{shell} cannot be used: {error}.", "Install it, or choose another shell.") from error
    path = _path(shell)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    click.echo(f"Written to {path}.", err=True)
    if shell == "zsh":
        click.echo(f"Add to ~/.zshrc, before compinit: fpath=({path.parent} $fpath)", err=True)
    click.echo("It works in new shells.", err=True)


def _path(shell: str) -> Path:
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "bash":
        return data / "bash-completion" / "completions" / "aitbc"
    if shell == "zsh":
        return data / "zsh" / "site-functions" / "_aitbc"
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return config / "fish" / "completions" / "aitbc.fish"
