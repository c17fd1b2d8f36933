"""The table of actions in chain/README.md is complete and true: each action with its command, file, test and errors.

That a test fits its row is judged by the name of the action: the test, or a helper that it imports, uses it.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest

import chain
import chain.actions
from chain.action import ACTIONS, Action
from chain.errors import LedgerError
from cli.main import aitbc

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "chain" / "README.md"
OF_BLOCKS = range(1900, 2000)
"""Codes of what is wrong with blocks, proofs and states."""
OF_TRANSACTIONS = range(1000, 1100)
"""Codes of what is wrong with a transaction before its actions run."""
OF_ADDRESSES = {"invalid_address", "wrong_network_address"}
"""Errors of addresses as people type them, which no action meets."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    action: str
    commands: tuple[str, ...]
    files: tuple[str, ...]
    tests: tuple[str, ...]
    errors: tuple[str, ...]


@cache
def rows() -> tuple[Row, ...]:
    return tuple(_rows())


def _rows() -> Iterator[Row]:
    for line in README.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"`[a-z]+\.[a-z_]+`", cells[0]):
            action, commands, files, tests = (tuple(re.findall(r"`([^`]+)`", cell)) for cell in cells[:4])
            yield Row(action[0], commands, files, tests, names_in(cells[4]))


def names_in(text: str) -> tuple[str, ...]:
    """The names of errors, which are the words with an underscore."""
    return tuple(re.findall(r"[a-z]+(?:_[a-z]+)+", text))


@cache
def errors() -> dict[str, type[LedgerError]]:
    """Every error of the ledger by name."""
    for module in pkgutil.walk_packages(chain.__path__, "chain."):
        importlib.import_module(module.name)
    found: dict[str, type[LedgerError]] = {}
    waiting = [LedgerError]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if cls.__module__.startswith("chain."):
            found[cls.name] = cls
    return found


def action_named(name: str) -> type[Action]:
    (found,) = [action for action in ACTIONS.values() if action.name == name]
    return found


def test_every_action_has_one_row() -> None:
    known = [action.name for action in ACTIONS.values() if action.__module__.startswith("chain.actions.")]
    assert sorted(row.action for row in rows()) == sorted(known)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.action)
def test_a_row_names_the_file_and_a_test_of_its_action(row: Row) -> None:
    action = action_named(row.action)
    assert row.files == (action.__module__.removeprefix("chain.actions.") + ".py",)
    assert row.tests
    for name in row.tests:
        text = (ROOT / "tests" / "chain" / name).read_text()
        helpers = [
            ROOT / "tests" / f"{helper}.py" for helper in re.findall(r"^from tests\.(\w+) import", text, re.MULTILINE)
        ]
        everything = text + "".join(helper.read_text() for helper in helpers)
        assert re.search(rf"\b{action.__name__}\b", everything), f"{name} does not use {action.__name__}"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.action)
def test_a_row_names_errors_that_exist(row: Row) -> None:
    assert set(row.errors) <= set(errors())
    assert len(set(row.errors)) == len(row.errors)


def test_every_error_of_an_action_is_listed() -> None:
    """Errors of the actions' files and of the services beside them; blocks and transactions have their own."""
    (general,) = re.findall(r"^Besides the errors listed(.*?)\.", README.read_text(), re.MULTILINE | re.DOTALL)
    listed = {name for row in rows() for name in row.errors} | set(names_in(general)) | OF_ADDRESSES
    of_actions = {
        name for name, cls in errors().items() if cls.code not in OF_BLOCKS and cls.code not in OF_TRANSACTIONS
    }
    assert sorted(of_actions - listed) == []


@pytest.mark.parametrize("file", sorted({file for row in rows() for file in row.files}))
def test_an_error_of_a_file_is_in_a_row_of_that_file(file: str) -> None:
    own = {name for name, cls in errors().items() if cls.__module__ == f"chain.actions.{file.removesuffix('.py')}"}
    listed = {name for row in rows() if file in row.files for name in row.errors}
    assert sorted(own - listed) == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.action)
def test_a_row_names_commands_that_send_transactions(row: Row) -> None:
    assert row.commands
    for words in row.commands:
        command: click.Command = aitbc
        context = click.Context(aitbc, info_name="aitbc")
        for word in words.split():
            assert isinstance(command, click.Group), words
            found = command.get_command(context, word)
            assert found is not None, words
            command, context = found, click.Context(found, info_name=word, parent=context)
        assert getattr(command, "writes", False), words
