"""What a wallet shows of its secrets, in representations, files and errors: nothing."""

import copy
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import nacl.exceptions
import pytest
from nacl.pwhash import argon2id

from wallet import errors
from wallet.keystore import Keystore
from wallet.wallet_file import Cost

WORDS = "abandon " * 11 + "about"
SEED = bytes(range(32))
PASSPHRASE = "correct horse"


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "wallets", Cost(passes=1, memory_bytes=16 * 1024))


def shown(error: BaseException) -> str:
    """Everything that a log could print of an error, its causes and contexts included."""
    text = "".join(traceback.format_exception(error))
    chain: BaseException | None = error
    while chain is not None:
        text += f"{chain!r} {chain} {getattr(chain, 'data', '')} {chain.args}"
        chain = chain.__context__
    return text


def test_nothing_shows_a_secret(keystore: Keystore) -> None:
    passphrase = "tr0ub4dor-\u00e9"
    wallet = keystore.create("alice", "simple", SEED, passphrase, prefix="ait")
    unlocked = wallet.unlock(passphrase)
    data = (keystore.directory / "alice.json").read_text()
    for text in (repr(wallet), repr(unlocked), str(unlocked), f"{unlocked}", data):
        assert SEED.hex() not in text
        assert repr(SEED) not in text
        assert "tr0ub4dor" not in text
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(unlocked)
    misspelt = WORDS.replace("about", "abouut")
    failures: list[Callable[[], object]] = [
        lambda: wallet.unlock(passphrase + "x"),
        lambda: wallet.unlock(passphrase + "\ud800"),
        lambda: keystore.create("bob", "simple", SEED + b"\x00", passphrase, prefix="ait"),
        lambda: keystore.create("bob", "hd", misspelt, passphrase, prefix="ait"),
        lambda: keystore.create("bob", "hd", SEED, passphrase + "\ud800", prefix="ait"),
        lambda: keystore.rekey("alice", passphrase, seed=SEED + b"\x00"),
        lambda: keystore.change_passphrase("alice", passphrase, passphrase + "\ud800"),
    ]
    for failure in failures:
        with pytest.raises(errors.WalletError) as caught:
            failure()
        text = shown(caught.value)
        assert SEED[:8].hex() not in text
        assert repr(SEED)[2:20] not in text
        assert "abouut" not in text
        assert "tr0ub4dor" not in text


def test_locking_forgets(keystore: Keystore) -> None:
    with keystore.create("alice", "hd", WORDS, PASSPHRASE, prefix="ait").unlock(PASSPHRASE) as unlocked:
        assert unlocked.sign(b"x")
    uses: list[Callable[[], object]] = [
        lambda: unlocked.sign(b"x"),
        lambda: unlocked.public_key,
        unlocked.export_secret,
        lambda: unlocked.derive_secret("sealing"),
    ]
    for use in uses:
        with pytest.raises(errors.WalletLocked):
            use()
    assert unlocked.wallet.name == "alice"


def test_not_enough_memory_is_coded(keystore: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet = keystore.create("alice", "hd", WORDS, PASSPHRASE, prefix="ait")

    def fail(*_: object, **__: object) -> bytes:
        raise nacl.exceptions.RuntimeError("key derivation failed")

    monkeypatch.setattr(argon2id, "kdf", fail)
    with pytest.raises(errors.KeyDerivationFailed):
        wallet.unlock(PASSPHRASE)


def test_errors_have_unique_codes_names_and_complete_texts() -> None:
    classes = [each for each in errors.WalletError.__subclasses__() if each.__module__.startswith("wallet.")]
    assert len({each.code for each in classes}) == len({each.name for each in classes}) == len(classes)
    assert all(3000 < each.code < 3200 for each in classes)
    assert errors.WrongPassphrase.name == "wrong_passphrase"
    error = errors.InsecurePermissions(path="/w/{x}.json", mode="644", wanted="600")
    assert str(error) == error.message == "/w/{x}.json is open to other users of this machine (mode 644)."
    assert error.hint == "Run: chmod 600 /w/{x}.json"
