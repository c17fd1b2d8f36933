"""The keystore: golden files, each failure with its own error, atomic writing, and secrets that stay inside."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.crypto.address import format_address, key_address, module_address
from chain.crypto.ed25519 import PrivateKey
from chain.errors import InvalidAddress, WrongNetworkAddress
from wallet import errors
from wallet.derivation import account_path, derive_key
from wallet.keystore import Keystore
from wallet.mnemonic import seed_from_mnemonic
from wallet.wallet_file import (
    CHEAPEST_COST,
    Cost,
    Kind,
    Wallet,
)

VECTORS = Path(__file__).parents[1] / "vectors"
WORDS = "abandon " * 11 + "about"
SEED = bytes(range(32))
PASSPHRASE = "correct horse"
CHEAP = Cost(passes=1, memory_bytes=16 * 1024)


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "wallets", CHEAP)


def make(keystore: Keystore, name: str = "alice", kind: str = "hd", **options: Any) -> Wallet:
    secret: str | bytes = WORDS if kind == "hd" else SEED
    passphrase = "" if kind == "watch" else PASSPHRASE
    return keystore.create(name, kind, secret, passphrase, prefix="ait", **options)


def file_of(keystore: Keystore, name: str = "alice") -> Path:
    return keystore.directory / f"{name}.json"


# --- the three kinds


@pytest.mark.parametrize("words", [WORDS, "abandon " * 23 + "art"])
def test_hd_signs_with_the_derived_key(keystore: Keystore, words: str) -> None:
    made = keystore.create("alice", "hd", words, PASSPHRASE, prefix="dait", account=2, index=5)
    key = PrivateKey(derive_key(seed_from_mnemonic(words), account_path(2, 5)))
    wallet = keystore.open("alice")
    assert wallet == made
    assert wallet.public_key == key.public_key
    assert wallet.address == key_address(key.public_key)
    assert wallet.address_text.startswith("dait1")
    assert wallet.passphrase_needed
    unlocked = wallet.unlock(PASSPHRASE)
    assert unlocked.sign(b"x") == key.sign(b"x")
    assert unlocked.export_secret() == words


def test_simple_signs_with_its_seed(keystore: Keystore) -> None:
    wallet = make(keystore, kind="simple")
    assert wallet.path is None
    assert keystore.open("alice").unlock(PASSPHRASE).sign(b"x") == PrivateKey(SEED).sign(b"x")


def test_watch_by_address_or_public_key(keystore: Keystore) -> None:
    text = format_address("ait", module_address("treasury"))
    by_address = keystore.create("pot", "watch", text, prefix="ait")
    assert (by_address.address_text, by_address.public_key) == (text, None)
    public_key = PrivateKey(SEED).public_key
    by_key = keystore.create("friend", Kind.WATCH, public_key, prefix="ait")
    assert (by_key.address, by_key.public_key) == (key_address(public_key), public_key)
    assert keystore.list() == (by_key, by_address)
    for wallet in keystore.list():
        assert not wallet.can_sign
        assert not wallet.passphrase_needed
        with pytest.raises(errors.WatchOnlyWallet):
            wallet.unlock(PASSPHRASE)
    with pytest.raises(WrongNetworkAddress):
        keystore.create("other", "watch", text, prefix="tait")
    with pytest.raises(InvalidAddress):
        keystore.create("other", "watch", text[:-1], prefix="ait")
    for nothing in (b"", bytes(33), 7):
        with pytest.raises(errors.InvalidSecret):
            keystore.create("other", "watch", nothing, prefix="ait")  # type: ignore[arg-type]


def test_a_key_can_act_for_another_address(keystore: Keystore) -> None:
    address = key_address(bytes(32))
    for name, kind in (("hd", "hd"), ("simple", "simple"), ("watch", "watch")):
        assert make(keystore, name, kind, address=address).address == address
        assert keystore.open(name).address == address


def test_bad_secrets(keystore: Keystore) -> None:
    cases: list[tuple[str, object, type[errors.WalletError]]] = [
        ("hd", WORDS[:-1], errors.InvalidMnemonic),
        ("hd", SEED, errors.InvalidSecret),
        ("simple", WORDS, errors.InvalidSecret),
        ("simple", SEED[:-1], errors.InvalidSecret),
        ("simple", b"", errors.InvalidSecret),
    ]
    for kind, secret, expected in cases:
        with pytest.raises(expected):
            keystore.create("alice", kind, secret, PASSPHRASE, prefix="ait")  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidDerivationPath):
        make(keystore, index=2**31)
    with pytest.raises(InvalidAddress):
        keystore.create("alice", "hd", WORDS, PASSPHRASE, prefix="NO")
    with pytest.raises(ValueError):
        keystore.create("alice", "paper", WORDS, PASSPHRASE, prefix="ait")
    assert keystore.names() == ()


# --- passphrases


def test_wrong_passphrase(keystore: Keystore) -> None:
    wallet = make(keystore)
    for wrong in ("", "Correct horse", PASSPHRASE + " ", "correct hors\u00e9"):
        with pytest.raises(errors.WrongPassphrase):
            wallet.unlock(wrong)


def test_empty_passphrase_only_when_asked_for(keystore: Keystore) -> None:
    for kind, secret in (("hd", WORDS), ("simple", SEED)):
        with pytest.raises(errors.PassphraseRequired):
            keystore.create("dev", kind, secret, prefix="ait")
    wallet = Keystore(keystore.directory).create("dev", "hd", WORDS, prefix="ait", allow_empty_passphrase=True)
    assert not wallet.passphrase_needed
    assert wallet.seal is not None
    assert wallet.seal.cost == CHEAPEST_COST
    assert keystore.open("dev").unlock().export_secret() == WORDS
    with pytest.raises(errors.WrongPassphrase):
        wallet.unlock("x")


@pytest.mark.parametrize("passphrase", ["x" * 1025, "ü" * 600, "lone surrogate \ud800", "\ufdfa" * 100])
def test_unusable_passphrases(keystore: Keystore, passphrase: str) -> None:
    with pytest.raises(errors.InvalidPassphrase):
        keystore.create("alice", "hd", WORDS, passphrase, prefix="ait")
    make(keystore)
    with pytest.raises(errors.InvalidPassphrase):
        keystore.open("alice").unlock(passphrase)


def test_change_passphrase(keystore: Keystore) -> None:
    before = make(keystore, index=3)
    with pytest.raises(errors.WrongPassphrase):
        keystore.change_passphrase("alice", "wrong", "new")
    with pytest.raises(errors.PassphraseRequired):
        keystore.change_passphrase("alice", PASSPHRASE, "")
    keystore.change_passphrase("alice", PASSPHRASE, "new")
    after = keystore.open("alice")
    assert after.unlock("new").export_secret() == WORDS
    assert (after.path, after.address, after.created_ms) == (before.path, before.address, before.created_ms)
    assert before.seal is not None
    assert after.seal is not None
    assert after.seal.salt != before.seal.salt
    assert after.seal.nonce != before.seal.nonce
    with pytest.raises(errors.WrongPassphrase):
        after.unlock(PASSPHRASE)
    assert not keystore.change_passphrase("alice", "new", "", allow_empty_passphrase=True).passphrase_needed
    assert keystore.open("alice").unlock().export_secret() == WORDS


def test_equal_wallets_share_no_salt_nonce_or_ciphertext(keystore: Keystore) -> None:
    seals = [make(keystore, name).seal for name in ("a", "b", "c")]
    for field in ("salt", "nonce", "check", "ciphertext"):
        assert len({getattr(seal, field) for seal in seals}) == 3


# --- rotation


def test_rekey_hd_keeps_the_address_and_derived_secrets(keystore: Keystore) -> None:
    before = make(keystore, account=1)
    sealing = before.unlock(PASSPHRASE).derive_secret("sealing")
    keystore.rekey("alice", PASSPHRASE, index=1)
    after = keystore.open("alice")
    assert after.address == before.address
    assert after.path == account_path(1, 1)
    assert after.public_key == PrivateKey(derive_key(seed_from_mnemonic(WORDS), account_path(1, 1))).public_key
    unlocked = after.unlock(PASSPHRASE)
    assert unlocked.derive_secret("sealing") == sealing
    assert unlocked.derive_secret("sealing") != unlocked.derive_secret("payload")
    assert unlocked.export_secret() == WORDS


def test_rekey_simple_takes_a_new_seed(keystore: Keystore) -> None:
    before = make(keystore, kind="simple")
    keystore.rekey("alice", PASSPHRASE, seed=bytes(32))
    after = keystore.open("alice")
    assert after.address == before.address
    assert after.unlock(PASSPHRASE).public_key == PrivateKey(bytes(32)).public_key


def test_rekey_refuses_what_does_not_fit(keystore: Keystore) -> None:
    make(keystore, "hd", "hd")
    make(keystore, "simple", "simple")
    make(keystore, "watch", "watch")
    contents = {name: file_of(keystore, name).read_bytes() for name in keystore.names()}
    cases: list[tuple[str, dict[str, Any], type[errors.WalletError]]] = [
        ("hd", {}, errors.InvalidSecret),
        ("hd", {"seed": SEED}, errors.InvalidSecret),
        ("hd", {"seed": SEED, "index": 1}, errors.InvalidSecret),
        ("hd", {"index": -1}, errors.InvalidDerivationPath),
        ("simple", {}, errors.InvalidSecret),
        ("simple", {"index": 1}, errors.InvalidSecret),
        ("simple", {"seed": SEED[:5]}, errors.InvalidSecret),
        ("watch", {"index": 1}, errors.WatchOnlyWallet),
        ("watch", {"seed": SEED}, errors.WatchOnlyWallet),
    ]
    for name, options, expected in cases:
        with pytest.raises(expected):
            keystore.rekey(name, PASSPHRASE, **options)
    with pytest.raises(errors.WrongPassphrase):
        keystore.rekey("hd", "wrong", index=1)
    with pytest.raises(errors.WatchOnlyWallet):
        keystore.change_passphrase("watch", "", "new")
    assert contents == {name: file_of(keystore, name).read_bytes() for name in keystore.names()}


# --- names, current, deletion


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../alice",
        "a/b",
        "/etc/passwd",
        ".hidden",
        "-x",
        "a b",
        "a\x00",
        "a\n",
        "é",
        "x" * 65,
        "a\\b",
        None,
        7,
    ],
)
def test_names_that_lead_elsewhere(keystore: Keystore, tmp_path: Path, name: Any) -> None:
    make(keystore)
    uses: list[Callable[[], object]] = [
        lambda: keystore.create(name, "hd", WORDS, PASSPHRASE, prefix="ait"),
        lambda: keystore.open(name),
        lambda: keystore.switch(name),
        lambda: keystore.delete(name),
        lambda: keystore.backup(name, tmp_path / "copy"),
        lambda: keystore.restore(file_of(keystore), name),
        lambda: keystore.change_passphrase(name, PASSPHRASE, "new"),
        lambda: keystore.rekey(name, PASSPHRASE, index=1),
    ]
    for use in uses:
        with pytest.raises(errors.InvalidWalletName):
            use()
    assert sorted(os.listdir(tmp_path)) == ["wallets"]
    assert sorted(os.listdir(keystore.directory)) == ["alice.json", "current"]


def test_a_wallet_may_be_called_current(keystore: Keystore) -> None:
    make(keystore, "current")
    assert keystore.current().name == "current"
    assert keystore.names() == ("current",)


def test_current_follows_creation_switch_and_deletion(keystore: Keystore) -> None:
    assert keystore.current_name() is None
    with pytest.raises(errors.NoCurrentWallet):
        keystore.current()
    make(keystore, "alice")
    make(keystore, "bob")
    assert keystore.current_name() == "alice"
    assert keystore.switch("bob") == keystore.current() == keystore.open("bob")
    keystore.delete("alice")
    assert keystore.current_name() == "bob"
    keystore.delete("bob")
    assert keystore.current_name() is None
    assert os.listdir(keystore.directory) == []
    with pytest.raises(errors.WalletNotFound):
        keystore.switch("bob")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"../alice\n", b"nobody\n", b"\xff\xfe", b"a" * 100_000, b"alice\nbob\n"]
)
def test_a_nonsensical_selection_is_none(keystore: Keystore, content: bytes) -> None:
    make(keystore)
    (keystore.directory / "current").write_bytes(content)
    assert keystore.current_name() is None
    with pytest.raises(errors.NoCurrentWallet):
        keystore.current()


def test_existing_and_missing(keystore: Keystore) -> None:
    assert keystore.names() == ()
    assert keystore.list() == ()
    for use in (keystore.open, keystore.delete, keystore.switch):
        with pytest.raises(errors.WalletNotFound):
            use("alice")
    assert not keystore.directory.exists()
    make(keystore)
    before = file_of(keystore).read_bytes()
    with pytest.raises(errors.WalletExists):
        make(keystore, kind="simple")
    assert file_of(keystore).read_bytes() == before


def test_of_many_creators_one_wins(keystore: Keystore) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def create(number: int) -> None:
        barrier.wait()
        try:
            keystore.create("alice", "simple", bytes([number]) * 32, PASSPHRASE, prefix="ait")
            outcomes.append(bytes([number]).hex() * 32)
        except errors.WalletExists:
            outcomes.append("")

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome]
    assert len(outcomes) == 8
    assert winners == [keystore.open("alice").unlock(PASSPHRASE).export_secret()]


# --- backup and restore


def test_backup_and_restore(keystore: Keystore, tmp_path: Path) -> None:
    wallet = make(keystore)
    copy_path = tmp_path / "copy.json"
    keystore.backup("alice", copy_path)
    assert copy_path.read_bytes() == file_of(keystore).read_bytes()
    assert stat.S_IMODE(copy_path.stat().st_mode) == 0o600
    with pytest.raises(errors.BackupExists):
        keystore.backup("alice", copy_path)
    keystore.delete("alice")
    # A memory stick knows no permissions.
    copy_path.chmod(0o644)
    restored = keystore.restore(copy_path, "again")
    assert (restored.name, restored.address, restored.seal) == ("again", wallet.address, wallet.seal)
    assert stat.S_IMODE(file_of(keystore, "again").stat().st_mode) == 0o600
    assert keystore.current_name() == "again"
    assert keystore.open("again").unlock(PASSPHRASE).export_secret() == WORDS


def test_restore_replaces_only_by_force(keystore: Keystore, tmp_path: Path) -> None:
    make(keystore, "alice")
    make(keystore, "bob", "simple")
    keystore.backup("bob", tmp_path / "copy")
    with pytest.raises(errors.WalletExists):
        keystore.restore(tmp_path / "copy", "alice")
    assert keystore.open("alice").kind is Kind.HD
    keystore.restore(tmp_path / "copy", "alice", force=True)
    assert keystore.open("alice").unlock(PASSPHRASE).export_secret() == SEED.hex()


def test_backup_and_restore_refuse_what_is_not_sound(keystore: Keystore, tmp_path: Path) -> None:
    make(keystore)
    (tmp_path / "text").write_text("not a wallet")
    for source, expected in (
        (tmp_path / "text", errors.DamagedWallet),
        (tmp_path / "missing", errors.WalletStorageFailed),
        (tmp_path, errors.WalletStorageFailed),
        (Path("/dev/zero"), errors.WalletStorageFailed),
    ):
        with pytest.raises(expected):
            keystore.restore(source, "new", force=True)
    with pytest.raises(errors.WalletStorageFailed):
        keystore.backup("alice", tmp_path / "no" / "such" / "place")
    file_of(keystore).write_text("damaged")
    with pytest.raises(errors.DamagedWallet):
        keystore.backup("alice", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert keystore.names() == ("alice",)


def test_one_damaged_file_does_not_hide_the_others(keystore: Keystore) -> None:
    make(keystore, "alice")
    make(keystore, "bob")
    file_of(keystore, "alice").write_text("?")
    (keystore.directory / "notes.txt").write_text("not a wallet")
    (keystore.directory / ".hidden.json").write_text("not a wallet")
    wallets, problems = keystore.scan()
    assert [wallet.name for wallet in wallets] == ["bob"]
    assert [type(problem) for problem in problems] == [errors.DamagedWallet]
    assert keystore.list() == wallets
    keystore.delete("alice")
    assert keystore.scan()[1] == ()


# --- the disk


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_files_open_to_others_are_refused(keystore: Keystore, tmp_path: Path, mode: int) -> None:
    make(keystore)
    file_of(keystore).chmod(mode)
    for use in (lambda: keystore.open("alice"), lambda: keystore.backup("alice", tmp_path / "copy")):
        with pytest.raises(errors.InsecurePermissions) as caught:
            use()
        assert caught.value.hint == f"Run: chmod 600 {file_of(keystore)}"
    file_of(keystore).chmod(0o400)
    keystore.open("alice")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_others_can_write_to_is_refused(keystore: Keystore, mode: int) -> None:
    make(keystore)
    keystore.directory.chmod(mode)
    for use in (lambda: keystore.open("alice"), lambda: make(keystore, "bob"), lambda: keystore.delete("alice")):
        with pytest.raises(errors.InsecurePermissions):
            use()
    keystore.directory.chmod(0o755)
    keystore.open("alice")


def test_what_is_made_is_private_under_any_umask(keystore: Keystore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make(keystore)
        keystore.backup("alice", tmp_path / "copy")
        keystore.change_passphrase("alice", PASSPHRASE, "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(keystore.directory.stat().st_mode) == 0o700
    for path in (file_of(keystore), keystore.directory / "current", tmp_path / "copy"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_links_and_pipes_are_not_read(keystore: Keystore, tmp_path: Path) -> None:
    make(keystore)
    file_of(keystore).rename(tmp_path / "elsewhere")
    file_of(keystore).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.WalletStorageFailed, match="symbolic link"):
        keystore.open("alice")
    os.mkfifo(file_of(keystore, "pipe"), 0o600)
    with pytest.raises(errors.WalletStorageFailed, match="regular"):
        keystore.open("pipe")
    file_of(keystore, "folder").mkdir()
    with pytest.raises(errors.WalletStorageFailed):
        keystore.open("folder")


def here(fake: Callable[..., None], real: Callable[..., None]) -> Callable[..., None]:
    """The fake in this thread alone: another one may run a node for other tests, which needs its disk."""
    thread = threading.current_thread()
    return lambda *args: fake(*args) if threading.current_thread() is thread else real(*args)


def test_data_is_on_disk_before_its_name_is(keystore: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    make(keystore)
    steps: list[str] = []
    fsync, rename = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        steps.append("sync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def watched_replace(source: Any, target: Any) -> None:
        assert stat.S_IMODE(os.stat(source).st_mode) == 0o600
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", here(watched_fsync, fsync))
    monkeypatch.setattr(os, "replace", here(watched_replace, rename))
    keystore.change_passphrase("alice", PASSPHRASE, "new")
    assert steps == ["sync file", "rename", "sync directory"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_wallet(keystore: Keystore, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    make(keystore)
    before = file_of(keystore).read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, here(fail, getattr(os, step)))
        with pytest.raises(errors.WalletStorageFailed, match="No space left"):
            keystore.change_passphrase("alice", PASSPHRASE, "new")
    assert file_of(keystore).read_bytes() == before
    assert sorted(os.listdir(keystore.directory)) == ["alice.json", "current"]


def test_leftovers_of_a_crash_are_cleared(keystore: Keystore) -> None:
    make(keystore)
    leftover = keystore.directory / ".alice.json.0123456789abcdef.tmp"
    leftover.write_bytes(b"half")
    assert keystore.names() == ("alice",)
    keystore.switch("alice")
    assert not leftover.exists()


def test_storage_errors_are_coded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = Keystore(tmp_path / "file", CHEAP)
    for use in (blocked.names, lambda: blocked.open("alice"), lambda: make(blocked), blocked.current_name):
        with pytest.raises(errors.WalletStorageFailed):
            use()
