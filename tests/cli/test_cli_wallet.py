"""`aitbc wallet`: keys on this machine, which need no node."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from cli.wallet import NETWORKS
from genesis.networks import NETWORKS as NAMED
from tests.shell import Shell

WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return str(path)


def test_the_networks_are_those_of_genesis() -> None:
    assert tuple(NAMED) == NETWORKS


def test_a_wallet_is_created_and_restored_from_its_words(alone: Shell, tmp_path: Path) -> None:
    made = alone("-o", "json", "wallet", "create", "--no-passphrase").data
    assert (made["name"], made["kind"], made["current"], made["passphrase_needed"]) == ("default", "hd", True, False)
    words = tmp_path / "words"
    words.write_text(made["recovery_words"])
    again = alone("-o", "json", "wallet", "import", "again", "--words-file", str(words), "--no-passphrase").data
    assert again["address"] == made["address"]
    assert "recovery_words" not in again


def test_a_simple_wallet_is_restored_from_its_seed_by_stdin(alone: Shell) -> None:
    made = alone("-o", "json", "wallet", "create", "one", "--type", "simple", "--no-passphrase").data
    done = alone("-o", "json", "wallet", "import", "two", "--seed-file", "-", "--no-passphrase", stdin=made["seed"])
    assert done.data["address"] == made["address"]


def test_24_words_and_other_networks(alone: Shell) -> None:
    made = alone("-o", "json", "wallet", "create", "w", "--words", "24", "--network", "main", "--no-passphrase").data
    assert len(made["recovery_words"].split()) == 24
    assert made["address"].startswith("ait1")


def test_the_words_are_shown_once_and_nowhere_else(alone: Shell) -> None:
    done = alone("wallet", "create", "me", "--no-passphrase")
    line = next(line for line in done.out.splitlines() if line.startswith("recovery words"))
    words = line.removeprefix("recovery words").split()
    assert len(words) == 12
    assert "off this machine" in done.err
    for command in (("list",), ("info",), ("info", "me"), ("address",)):
        assert words[0] + " " + words[1] not in alone("wallet", *command).out


def test_list_switch_info_address(alone: Shell) -> None:
    assert "no wallet yet" in alone("wallet", "list").out
    for name in ("alice", "bob"):
        assert alone("wallet", "create", name, "--no-passphrase").code == 0
    assert [each["name"] for each in alone.ok("wallet", "list") if each["current"]] == ["alice"]
    assert alone("wallet", "switch", "bob").code == 0
    address = alone.ok("wallet", "info")["address"]
    assert alone("wallet", "address").out == f"{address}\n"
    assert alone("wallet", "address", "--wallet", "alice").out != f"{address}\n"
    assert alone.fails(1, "wallet", "switch", "carol")["name"] == "wallet_not_found"


def test_a_qr_code_is_drawn(alone: Shell) -> None:
    assert alone("wallet", "create", "--no-passphrase").code == 0
    drawn = alone("wallet", "address", "--qr").out
    assert len(drawn.splitlines()) > 10


def test_watching_an_address_or_a_key(alone: Shell) -> None:
    made = alone("-o", "json", "wallet", "create", "real", "--no-passphrase").data
    by_address = alone.ok("wallet", "import", "a", "--watch", made["address"])
    by_key = alone.ok("wallet", "import", "k", "--watch", made["public_key"])
    assert by_address["address"] == by_key["address"] == made["address"]
    assert by_address["public_key"] is None
    assert alone.fails(2, "wallet", "import", "x", "--watch", "ait1nonsense")["name"] == "invalid_address"
    foreign = alone("-o", "json", "wallet", "create", "m", "--network", "main", "--no-passphrase").data["address"]
    assert alone.fails(2, "wallet", "import", "x", "--watch", foreign)["name"] == "wrong_network_address"


@pytest.mark.parametrize(
    "words", ["", "abandon", WORDS.replace("about", "abandon"), WORDS.replace("about", "abuot"), "x" * 5_000]
)
def test_wrong_words_are_refused_without_repeating_them(alone: Shell, tmp_path: Path, words: str) -> None:
    path = tmp_path / "words"
    path.write_text(words)
    error = alone.fails(2, "wallet", "import", "x", "--words-file", str(path), "--no-passphrase")
    assert error["name"] == "invalid_mnemonic"
    assert "abuot" not in json.dumps(error)


@pytest.mark.parametrize("seed", ["", "ab", "zz" * 32, "ab" * 33])
def test_wrong_seeds_are_refused(alone: Shell, tmp_path: Path, seed: str) -> None:
    path = tmp_path / "seed"
    path.write_text(seed)
    assert alone.fails(2, "wallet", "import", "x", "--seed-file", str(path), "--no-passphrase")["name"] == "bad_input"


def test_a_secret_that_is_no_text_is_refused_without_showing_it(alone: Shell, tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(b"\xffhush hush")
    done = alone("wallet", "import", "x", "--words-file", str(path), "--no-passphrase", "--debug")
    assert done.code == 2
    assert "hush" not in done.err


def test_only_one_source_may_be_named(alone: Shell) -> None:
    assert alone.fails(2, "wallet", "import", "x", "--seed-file", "a", "--watch", "b")["name"] == "usage"


def test_a_name_that_is_taken_or_none(alone: Shell) -> None:
    assert alone("wallet", "create", "me", "--no-passphrase").code == 0
    assert alone.fails(1, "wallet", "create", "me", "--no-passphrase")["name"] == "wallet_exists"
    for name in ("../me", "", "a b", "x" * 65):
        assert alone.fails(2, "wallet", "create", name, "--no-passphrase")["name"] == "invalid_wallet_name"


def test_a_passphrase_comes_from_a_file_a_descriptor_or_the_environment(alone: Shell, secret: str) -> None:
    assert alone("wallet", "create", "me", "--passphrase-file", secret).code == 0
    error = alone.fails(4, "wallet", "create", "other")
    assert error["name"] == "passphrase_needed"
    assert "--passphrase-file" in error["hint"]
    reading, writing = os.pipe()
    os.write(writing, b"correct horse\n")
    os.close(writing)
    assert alone("wallet", "create", "third", "--passphrase-fd", str(reading)).code == 0
    alone.environment["AITBC_PASSPHRASE_FILE"] = secret
    assert alone("wallet", "create", "fourth").code == 0
    assert all(each["passphrase_needed"] for each in alone.ok("wallet", "list"))


def test_a_passphrase_file_that_others_can_read_is_pointed_out(alone: Shell, secret: str) -> None:
    Path(secret).chmod(0o644)
    done = alone("wallet", "create", "me", "--passphrase-file", secret)
    assert done.code == 0
    assert "chmod 600" in done.err


def test_an_unreadable_passphrase_file(alone: Shell) -> None:
    assert alone.fails(4, "wallet", "create", "me", "--passphrase-file", "/nonexistent")["name"] == "passphrase_needed"


def test_deleting_asks_first(alone: Shell) -> None:
    assert alone("wallet", "create", "me", "--no-passphrase").code == 0
    assert alone("wallet", "delete", "me").code == 2
    assert alone("wallet", "delete", "me", "--yes").code == 0
    assert alone.ok("wallet", "list") == []
    assert alone.fails(1, "wallet", "delete", "me")["name"] == "wallet_not_found"


def test_backup_and_restore(alone: Shell, tmp_path: Path) -> None:
    made = alone("-o", "json", "wallet", "create", "me", "--no-passphrase").data
    copy = str(tmp_path / "copy.json")
    assert alone("wallet", "backup", "me", "--out", copy).code == 0
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    assert alone.fails(1, "wallet", "backup", "me", "--out", copy)["name"] == "backup_exists"
    assert alone.fails(1, "wallet", "restore", copy, "me")["name"] == "wallet_exists"
    assert alone("wallet", "restore", copy, "me", "--force").code == 2
    assert alone.ok("wallet", "restore", copy, "again")["address"] == made["address"]
    assert alone.ok("wallet", "restore", copy, "me", "--force")["address"] == made["address"]
    Path(copy).write_text("{}")
    assert alone.fails(1, "wallet", "restore", copy, "bad")["name"] == "damaged_wallet"


def test_a_damaged_wallet_hides_no_other(alone: Shell) -> None:
    for name in ("good", "bad"):
        assert alone("wallet", "create", name, "--no-passphrase").code == 0
    (alone.folder / "wallets" / "bad.json").write_text("rubbish")
    done = alone("wallet", "list")
    assert (done.code, "good" in done.out) == (0, True)
    assert "bad is damaged" in done.err


def test_a_locked_wallet_signs_only_with_its_passphrase(market: Shell, secret: str, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_text("11" * 32)
    words = ("--seed-file", str(seed), "--passphrase-file", secret)
    assert market("wallet", "import", "locked", *words).code == 0
    market.ok("wallet", "send", "locked", "5", wallet="renter")
    assert market.fails(4, "wallet", "send", "renter", "1", wallet="locked")["name"] == "passphrase_needed"
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    error = market.fails(4, "wallet", "send", "renter", "1", "--passphrase-file", str(wrong), wallet="locked")
    assert error["name"] == "wrong_passphrase"
    sent = market.ok("wallet", "send", "renter", "1", "--passphrase-file", secret, wallet="locked")
    assert sent["status"] == "final"


def test_a_wallet_of_another_network_is_refused(market: Shell) -> None:
    assert market("wallet", "create", "foreign", "--network", "main", "--no-passphrase").code == 0
    error: Any = market.fails(1, "wallet", "send", "renter", "1", wallet="foreign")
    assert "ait1" in error["message"]
