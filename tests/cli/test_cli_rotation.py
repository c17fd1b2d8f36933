"""`aitbc wallet rotate-key` and what members of multisig accounts may still say, at a real node."""

import json
from pathlib import Path

import pytest

from tests.shell import Shell
from wallet.keystore import Keystore
from wallet.wallet_file import CHEAPEST_COST


@pytest.fixture
def hd(market: Shell, tmp_path: Path) -> str:
    """A new wallet of recovery words with some money; its name."""
    return _funded(market, tmp_path, "hd")


@pytest.fixture
def simple(market: Shell, tmp_path: Path) -> str:
    """A new wallet of one key with some money; its name."""
    return _funded(market, tmp_path, "simple")


def _funded(market: Shell, tmp_path: Path, kind: str) -> str:
    name = f"{kind}-{tmp_path.name}"[:50]
    market.ok("wallet", "create", name, "--type", kind, "--no-passphrase")
    market.ok("wallet", "send", name, "5", wallet="renter")
    return name


def public_key(market: Shell, name: str) -> str:
    return str(market.ok("wallet", "info", name)["public_key"])


class TestRotation:
    @pytest.mark.parametrize("kind", ["hd", "simple"])
    def test_the_address_stays_and_the_new_key_signs(
        self, market: Shell, kind: str, request: pytest.FixtureRequest
    ) -> None:
        name = request.getfixturevalue(kind)
        address, old = market.ok("wallet", "address", wallet=name)["address"], public_key(market, name)
        rotated = market.ok("wallet", "rotate-key", wallet=name)
        assert (rotated["address"], rotated["status"]) == (address, "final")
        assert rotated["public_key"] == public_key(market, name) != old
        assert market.ok("wallet", "address", wallet=name)["address"] == address
        market.ok("wallet", "send", "renter", "1", wallet=name)
        again = market.ok("wallet", "rotate-key", wallet=name)
        assert again["public_key"] not in (old, rotated["public_key"])
        market.ok("wallet", "send", "renter", "1", wallet=name)
        assert [each["name"] for each in market.ok("wallet", "list") if each["name"].endswith(".next")] == []

    def test_numbered_keys(self, market: Shell, hd: str, simple: str) -> None:
        assert market.ok("wallet", "rotate-key", "--index", "7", wallet=hd)["index"] == 7
        assert market.ok("wallet", "rotate-key", wallet=hd)["index"] == 8
        assert market.fails(5, "wallet", "rotate-key", "--index", "7", wallet=hd)["name"] == "key_taken"
        assert market.fails(5, "wallet", "rotate-key", "--index", "0", wallet=hd)["name"] == "key_taken"
        assert market.fails(2, "wallet", "rotate-key", "--index", "1", wallet=simple)["name"] == "bad_input"

    def test_an_old_copy_signs_for_nothing_and_finds_its_key_again(
        self, market: Shell, hd: str, tmp_path: Path
    ) -> None:
        backup = str(tmp_path / "backup.json")
        market.ok("wallet", "backup", hd, "--out", backup)
        market.ok("wallet", "rotate-key", wallet=hd)
        market.ok("wallet", "rotate-key", wallet=hd)
        copy = f"{hd}-copy"
        market.ok("wallet", "restore", backup, copy)
        assert market.fails(5, "wallet", "send", "renter", "1", wallet=copy)["name"] == "key_mismatch"
        found = market.ok("wallet", "rotate-key", wallet=copy)
        assert (found["index"], found["public_key"]) == (2, public_key(market, hd))
        market.ok("wallet", "send", "renter", "1", wallet=copy)

    def test_an_old_copy_of_one_key_says_that_the_new_one_is_elsewhere(
        self, market: Shell, simple: str, tmp_path: Path
    ) -> None:
        backup = str(tmp_path / "backup.json")
        market.ok("wallet", "backup", simple, "--out", backup)
        market.ok("wallet", "rotate-key", wallet=simple)
        copy = f"{simple}-copy"
        market.ok("wallet", "restore", backup, copy)
        error = market.fails(1, "wallet", "rotate-key", wallet=copy)
        assert (error["name"], "backup" in error["hint"]) == ("key_not_here", True)

    @pytest.mark.parametrize("kind", ["hd", "simple"])
    def test_cut_short_after_sending(
        self, market: Shell, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The machine dies between the ledger's yes and the wallet's change: nothing is lost."""
        name = request.getfixturevalue(kind)
        with monkeypatch.context() as patch:
            patch.setattr("wallet.keystore.Keystore.rekey", _die)
            assert market.fails(1, "wallet", "rotate-key", wallet=name)["name"] == "internal_error"
        assert market.fails(5, "wallet", "send", "renter", "1", wallet=name)["name"] == "key_mismatch"
        market.ok("wallet", "rotate-key", wallet=name)
        market.ok("wallet", "send", "renter", "1", wallet=name)
        assert [each["name"] for each in market.ok("wallet", "list") if each["name"].endswith(".next")] == []

    def test_cut_short_before_sending(self, market: Shell, simple: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The key that was kept is the one that the next attempt gives to the account."""
        with monkeypatch.context() as patch:
            patch.setattr("cli.wallet_rotation.send", _die)
            assert market.fails(1, "wallet", "rotate-key", wallet=simple)["name"] == "internal_error"
        kept = public_key(market, f"{simple}.next")
        market.ok("wallet", "send", "renter", "1", wallet=simple)
        assert market.ok("wallet", "rotate-key", wallet=simple)["public_key"] == kept

    def test_cut_short_while_tidying_up(self, market: Shell, simple: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was kept is in use already, so the next rotation takes another one."""
        with monkeypatch.context() as patch:
            patch.setattr("wallet.keystore.Keystore.delete", _die)
            assert market.fails(1, "wallet", "rotate-key", wallet=simple)["name"] == "internal_error"
        used = public_key(market, simple)
        assert public_key(market, f"{simple}.next") == used
        assert market.ok("wallet", "rotate-key", wallet=simple)["public_key"] != used
        market.ok("wallet", "send", "renter", "1", wallet=simple)

    def test_not_waited_for(self, market: Shell, hd: str) -> None:
        old = public_key(market, hd)
        sent = market.ok("wallet", "rotate-key", "--no-wait", wallet=hd)
        assert (sent["status"], public_key(market, hd)) == ("pending", old)
        _until_final(market, sent["txid"])
        assert market.ok("wallet", "rotate-key", wallet=hd)["public_key"] == sent["public_key"]
        assert public_key(market, hd) == sent["public_key"]

    @pytest.mark.parametrize("kind", ["hd", "simple"])
    def test_a_dry_run_changes_nothing(self, market: Shell, kind: str, request: pytest.FixtureRequest) -> None:
        name = request.getfixturevalue(kind)
        before, names = public_key(market, name), [each["name"] for each in market.ok("wallet", "list")]
        assert market.ok("wallet", "rotate-key", "--dry-run", wallet=name)["succeeded"] is True
        assert (public_key(market, name), [each["name"] for each in market.ok("wallet", "list")]) == (before, names)

    def test_with_a_passphrase(self, market: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("wallet.keystore.NORMAL_COST", CHEAPEST_COST)
        secret = tmp_path / "passphrase"
        secret.write_text("correct horse\n")
        secret.chmod(0o600)
        opening = ("--passphrase-file", str(secret))
        market.ok("wallet", "create", "sealed", "--type", "simple", *opening)
        market.ok("wallet", "send", "sealed", "5", wallet="renter")
        market.ok("wallet", "rotate-key", *opening, wallet="sealed")
        assert market.ok("wallet", "info", "sealed")["passphrase_needed"] is True
        market.ok("wallet", "send", "renter", "1", *opening, wallet="sealed")

    def test_what_was_sealed_before_still_opens(self, market: Shell, hd: str) -> None:
        words = ["--name", "Sealed", "--memory", "24GB", "--cuda-cores", "1", "--price-per-hour", "0.001"]
        gpu = market.ok("marketplace", "gpu", "register", *words, wallet="provider")["gpu"]
        booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet=hd)["booking"]
        market.ok("marketplace", "booking", "activate", booking, "--access", "ssh x", wallet="provider")
        market.ok("wallet", "rotate-key", wallet=hd)
        assert market.ok("marketplace", "gpu", "access", booking, wallet=hd)["access"] == "ssh x"

    def test_needs_both_keys(self, market: Shell, hd: str, tmp_path: Path) -> None:
        words = ("wallet", "rotate-key", "--build", str(tmp_path / "x"))
        assert market.fails(2, *words, wallet=hd)["name"] == "bad_input"
        address = market.ok("wallet", "address", wallet=hd)["address"]
        watching = f"watch-{hd}"[:60]
        market.ok("wallet", "import", watching, "--watch", address)
        assert market.fails(4, "wallet", "rotate-key", wallet=watching)["name"] == "watch_only_wallet"

    def test_a_signed_file_tells_that_its_key_is_not_that_of_the_address(
        self, market: Shell, hd: str, tmp_path: Path
    ) -> None:
        unsigned, signed = str(tmp_path / "unsigned"), str(tmp_path / "signed")
        for rotated in (False, True):
            market.ok("wallet", "send", "renter", "1", "--build", unsigned, wallet=hd)
            market.ok("wallet", "sign", unsigned, "--out", signed, wallet=hd)
            shown = market("wallet", "verify", signed).out
            assert ("another key" in shown) is rotated
            assert "signature" in shown
            if not rotated:
                market.ok("wallet", "rotate-key", wallet=hd)

    def test_no_secret_is_shown(self, market: Shell, simple: str) -> None:
        done = market("-vv", "wallet", "rotate-key", "--yes", wallet=simple)
        assert done.code == 0
        with Keystore(market.folder / "wallets").open(simple).unlock() as opened:
            assert opened.export_secret() not in done.out + done.err


class TestMultisig:
    @pytest.fixture
    def account(self, market: Shell) -> str:
        members = ("renter", "provider", "other")
        made = market.ok("wallet", "multisig-create", "--threshold", "2", *members, wallet="renter")
        market.ok("wallet", "send", made["address"], "3", wallet="renter")
        return str(made["address"])

    def propose(self, market: Shell, account: str, *words: str) -> str:
        wanted = words or ("--send", "other", "1")
        return str(market.ok("wallet", "multisig-propose", account, *wanted, wallet="renter")["proposal"])

    def test_rejected_by_enough(self, market: Shell, account: str) -> None:
        proposal = self.propose(market, account)
        first = market.ok("wallet", "multisig-reject", proposal[:8], wallet="provider")
        assert (first["proposal"], first["closed"]) == (proposal, False)
        assert "rejections" in market("wallet", "multisig-list", account).out
        twice = market.fails(5, "wallet", "multisig-reject", proposal, wallet="provider")
        assert twice["name"] == "already_rejected"
        assert market.ok("wallet", "multisig-reject", proposal, wallet="other")["closed"] is True
        assert market.fails(1, "wallet", "multisig-sign", proposal, wallet="other")["name"] == "nothing_found"

    def test_other_members(self, market: Shell, account: str) -> None:
        for words in (("--threshold", "1"), ("--member", "other"), ("--threshold", "1", "--member", "other", "--send")):
            extra = ("other", "1") if words[-1] == "--send" else ()
            failed = market.fails(2, "wallet", "multisig-propose", account, *words, *extra, wallet="renter")
            assert failed["name"] == "usage"
        pending = self.propose(market, account)
        change = self.propose(market, account, "--threshold", "1", "--member", "other", "--member", "provider")
        assert market.ok("wallet", "multisig-sign", change, wallet="provider")["executed"] is True
        view = market.ok("wallet", "multisig-list", account)
        assert (view["account"]["multisig"]["threshold"], view["proposals"]) == (1, [])
        assert market.fails(1, "wallet", "multisig-sign", pending, wallet="provider")["name"] == "nothing_found"

    def test_an_approval_under_an_old_key_is_not_counted(self, market: Shell, hd: str) -> None:
        made = market.ok("wallet", "multisig-create", "--threshold", "2", "renter", hd, "other", wallet="renter")
        account = made["address"]
        market.ok("wallet", "send", account, "3", wallet="renter")
        proposing = ("wallet", "multisig-propose", account, "--send", "other", "1")
        proposal = market.ok(*proposing, wallet=hd)["proposal"]
        market.ok("wallet", "rotate-key", wallet=hd)
        assert json.dumps(market.ok("wallet", "multisig-list", account)["proposals"][0]["approvals"]) == "[]"
        assert market.ok("wallet", "multisig-sign", proposal, wallet="renter")["executed"] is False
        assert market.ok("wallet", "multisig-sign", proposal, wallet=hd)["executed"] is True


def _die(*_: object, **__: object) -> None:
    raise AssertionError("the power went out")


def _until_final(market: Shell, txid: str) -> None:
    while market.ok("blockchain", "transaction", txid)["status"] != "final":
        pass
