"""The tree of commands: options wherever they stand, exit codes, errors as text and as JSON, and quick starts."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest

from cli.errors import classify
from cli.main import GROUPS, aitbc
from tests.shell import Shell


def commands(group: click.Group = aitbc, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its path."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())
SAMPLES: dict[str, str] = {
    "recipient": "dait1qqv3kdnxe49qh4u20kz9ud7k346dr55mrmnr6jgj8ty5dh3paept5r84c9v",
    "account": "dait1qqv3kdnxe49qh4u20kz9ud7k346dr55mrmnr6jgj8ty5dh3paept5r84c9v",
    "members": "dait1qqv3kdnxe49qh4u20kz9ud7k346dr55mrmnr6jgj8ty5dh3paept5r84c9v",
    "operators": "dait1qqv3kdnxe49qh4u20kz9ud7k346dr55mrmnr6jgj8ty5dh3paept5r84c9v",
    "to": "dait1qqv3kdnxe49qh4u20kz9ud7k346dr55mrmnr6jgj8ty5dh3paept5r84c9v",
    "parameter": "market_fee",
    "value": "1",
    "which": "1",
    "kind": "inference",
    "fault": "nobody",
}


def arguments(command: click.Command) -> list[str]:
    """Words that satisfy every required parameter of a command."""
    words = []
    for param in command.params:
        if not param.required:
            continue
        value = "ab" * 32 if getattr(param.type, "name", "") == "id" else SAMPLES.get(str(param.name), "1")
        if isinstance(param, click.Option):
            words += [param.opts[-1], value]
        else:
            words.append(value)
    return words


def test_every_command_says_what_it_does() -> None:
    for path, command in COMMANDS.items():
        text = command.get_help(click.Context(command, info_name=" ".join(path)))
        assert command.help, path
        assert "--output" in text or path[0] == "localnet", path


@pytest.mark.parametrize("path", [path for path in COMMANDS if path[0] != "localnet"], ids=" ".join)
def test_every_option_says_what_it_is(path: tuple[str, ...]) -> None:
    """And none shows a bound that only a machine can read."""
    command = COMMANDS[path]
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [param.name for param in options if not (param.help or "").endswith((".", "]."))] == []
    text = command.get_help(click.Context(command, info_name=" ".join(path)))
    assert not re.search(r"<=[0-9]{8}", text)


def groups(group: click.Group = aitbc, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    yield path, group
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from groups(command, (*path, name))


@pytest.mark.parametrize(
    ("path", "group"), list(groups()), ids=lambda each: " ".join(each) if isinstance(each, tuple) else ""
)
def test_no_summary_of_a_command_is_cut_short(path: tuple[str, ...], group: click.Group) -> None:
    assert "..." not in group.get_help(click.Context(group)).partition("Options:")[0].partition("Commands:")[2]


@pytest.mark.parametrize("path", [path for path in COMMANDS if path[0] != "localnet"], ids=" ".join)
def test_help_of_every_command(alone: Any, path: tuple[str, ...]) -> None:
    done = alone(*path, "--help")
    assert done.code == 0
    assert done.out.startswith("Usage: aitbc ")
    assert done.err == ""


LOCAL = {
    ("wallet", name)
    for name in (
        "create",
        "import",
        "list",
        "switch",
        "info",
        "delete",
        "backup",
        "restore",
        "address",
        "sign",
        "verify",
    )
}
NEEDS_MORE = {
    ("marketplace", "booking", "activate"): ["--access", "x"],
    ("marketplace", "gpu", "book"): ["--hours", "1"],
    ("marketplace", "gpu", "extend"): ["--hours", "1"],
    ("marketplace", "gpu", "update"): ["--price-per-hour", "1"],
    ("marketplace", "gpu", "maintenance", "set"): ["--hours", "1"],
    ("marketplace", "booking", "extend"): ["--hours", "1"],
    ("marketplace", "request", "open"): ["--hours", "1"],
    ("marketplace", "quote"): ["--hours", "1"],
    ("client", "submit"): ["--prompt", "x", "--unit-price", "1"],
    ("miner", "receipt"): ["--result", "x"],
    ("miner", "deliver"): ["--result", "x"],
    ("wallet", "multisig-propose"): ["--send", SAMPLES["account"], "1"],
}
FILES = {
    ("wallet", "submit"),
    ("wallet", "payout"),
    ("wallet", "build"),
    ("blockchain", "verify-proof"),
    ("governance", "propose", "actions"),
    ("governance", "propose", "add-authority"),
    ("governance", "ready"),
}
REMOTE = [path for path in COMMANDS if path not in LOCAL | FILES and path[0] not in ("localnet", "genesis")]


@pytest.mark.parametrize("path", REMOTE, ids=" ".join)
def test_a_node_that_is_down_is_said_so_by_every_command(alone: Any, path: tuple[str, ...]) -> None:
    assert alone("wallet", "create", "me", "--no-passphrase").code == 0
    error = alone.fails(3, *path, *arguments(COMMANDS[path]), *NEEDS_MORE.get(path, []))
    assert (error["code"], error["name"]) == (3101, "node_unreachable")
    assert "localnet" in error["hint"]


WRITES = [path for path in REMOTE if getattr(COMMANDS[path], "writes", False)]


@pytest.mark.parametrize("path", WRITES, ids=" ".join)
def test_nothing_is_sent_without_a_wallet(running_node: Any, tmp_path: Any, path: tuple[str, ...]) -> None:
    shell = Shell(tmp_path / "home", running_node.url)
    done = shell("-o", "json", *path, *arguments(COMMANDS[path]), *NEEDS_MORE.get(path, []), "--yes")
    assert done.code in (1, 2)
    assert done.error["name"] in ("no_current_wallet", "not_found", "nothing_found")


@pytest.mark.parametrize("path", REMOTE, ids=" ".join)
def test_unknown_ids_end_in_a_coded_error(market: Any, path: tuple[str, ...]) -> None:
    """Whatever a command makes of an id that nothing has, it is an answer or an error with a hint, never a trace."""
    words = arguments(COMMANDS[path])
    done = market(
        "-o", "json", *path, *words, *NEEDS_MORE.get(path, []), "--dry-run" if path in WRITES else "-y", wallet="renter"
    )
    if done.code:
        assert done.code in (1, 2, 5)
        assert done.error["name"] != "internal_error"
    if "ab" * 32 in words and path != ("blockchain", "transaction"):
        assert done.code


@pytest.mark.parametrize("path", sorted(FILES), ids=" ".join)
def test_a_file_that_is_not_there(alone: Any, path: tuple[str, ...]) -> None:
    done = alone(
        "-o", "json", *path, "/nonexistent/file", *(["--out", "/nonexistent/out"] if path[1] == "build" else [])
    )
    assert done.code in (1, 2, 3)
    assert done.error["hint"]


@pytest.mark.parametrize(
    "words",
    [
        ("-o", "json", "wallet", "list"),
        ("wallet", "-o", "json", "list"),
        ("wallet", "list", "-o", "json"),
        ("-o", "yaml", "wallet", "list", "--output", "json"),
    ],
)
def test_global_options_stand_anywhere_and_the_last_one_wins(alone: Any, words: tuple[str, ...]) -> None:
    done = alone(*words)
    assert (done.code, done.out) == (0, "[]\n")


def test_an_unknown_command_or_option_is_a_usage_error(alone: Any) -> None:
    for words in (("nonsense",), ("wallet", "nonsense"), ("wallet", "list", "--nonsense"), ("wallet", "send", "x")):
        done = alone(*words)
        assert done.code == 2
        assert "Error:" in done.err
        assert "Hint:" in done.err
        assert alone("-o", "json", *words).error["name"] == "usage"
        assert alone(*words, "-o", "json").error["code"] == 4001


def test_nothing_at_all_shows_the_groups(alone: Any) -> None:
    done = alone()
    assert done.code == 2
    assert all(name in done.err for name in GROUPS)
    assert alone("-o", "json").error["message"] == "Missing command."


def test_version(alone: Any) -> None:
    done = alone("--version")
    assert (done.code, done.out.split()[0]) == (0, "aitbc")


def test_options_of_sending_are_refused_where_nothing_is_sent(alone: Any) -> None:
    for words in (("--dry-run", "wallet", "list"), ("--build", "file", "blockchain", "status")):
        assert alone.fails(2, *words)["name"] == "usage"


def test_a_write_without_terminal_needs_yes(market: Any) -> None:
    done = market("-o", "json", "wallet", "send", "other", "1", wallet="renter")
    assert done.code == 2
    assert done.error["name"] == "confirmation_needed"
    assert "--yes" in done.error["hint"]


def test_an_unexpected_error_shows_no_trace_unless_asked(alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("cli.context.Application.keystore", break_down)
    done = alone("wallet", "list")
    assert done.code == 1
    assert "ZeroDivisionError" in done.err
    assert "secret detail" not in done.err
    assert alone("-o", "json", "wallet", "list").error["name"] == "internal_error"
    assert "secret detail" in alone_with_trace(alone)


def alone_with_trace(shell: Any) -> str:
    from click.testing import CliRunner

    environment = {"AITBC_CONFIG_DIR": str(shell.folder)}
    return CliRunner().invoke(aitbc, ["wallet", "list", "--debug"], env=environment).stderr


def test_interruption_has_its_own_code() -> None:
    assert classify(KeyboardInterrupt()).exit_code == 130
    assert classify(click.Abort()).exit_code == 130


def test_the_environment_may_name_the_format_and_a_wrong_one_is_refused(alone: Any) -> None:
    alone.environment["AITBC_OUTPUT"] = "json"
    assert alone("wallet", "list").out == "[]\n"
    alone.environment["AITBC_OUTPUT"] = "xml"
    done = alone("wallet", "list")
    assert done.code == 2
    assert "AITBC_OUTPUT" in done.err


def loaded(*words: str) -> set[str]:
    """The modules that a command loads, in a process of its own."""
    code = "import sys\nfrom cli.main import aitbc\ncode = aitbc.main(sys.argv[1:], standalone_mode=False)\n"
    code += "print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


SLOW = {
    "py_arkworks_bls12381",
    "py_ecc",
    "aiohttp",
    "asyncio",
    "chain.crypto.bls",
    "chain.certificate",
    "yaml",
    "rich.table",
}


def test_help_and_version_load_next_to_nothing() -> None:
    for words in (("--help",), ("--version",)):
        found = loaded(*words)
        assert not found & (SLOW | {"nacl", "chain", "wallet", "msgspec", "http.client"})


def test_a_local_command_loads_neither_bls_nor_network(tmp_path: Any) -> None:
    found = loaded("wallet", "list", "--wallet-path", str(tmp_path))
    assert not found & (SLOW | {"msgspec", "http.client", "chain.actions", "chain.interface"})
