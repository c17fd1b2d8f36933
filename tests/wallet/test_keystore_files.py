"""The wallet file: golden files of every version, and every kind of damage and attack with its own error."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nacl.bindings
import pytest
from nacl.pwhash import argon2id

from chain.crypto.address import format_address, key_address, module_address
from chain.crypto.ed25519 import PrivateKey, verify
from chain.crypto.hashing import tagged_hash
from wallet import errors
from wallet.derivation import account_path
from wallet.wallet_file import (
    LARGEST_FILE,
    NORMAL_COST,
    Cost,
    Kind,
    Wallet,
    decode_wallet,
    encode_wallet,
    make_wallet,
    seal_wallet,
)

VECTORS = Path(__file__).parents[1] / "vectors"
WORDS = "abandon " * 11 + "about"
SEED = bytes(range(32))
PASSPHRASE = "correct horse"
CHEAP = Cost(passes=1, memory_bytes=16 * 1024)


def sealed() -> Wallet:
    return make_wallet(
        "alice", Kind.HD, bytes(16), PASSPHRASE, prefix="ait", created_ms=5, path=account_path(), cost=CHEAP
    )


def altered(wallet: Wallet, change: Callable[[dict[str, Any]], object], *, repair_checksum: bool = True) -> bytes:
    """The file as an attacker leaves it, who knows the format."""
    document = json.loads(encode_wallet(wallet))
    change(document)
    if repair_checksum:
        document.pop("checksum", None)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        document["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps(document).encode()


@pytest.mark.parametrize("kind", ["hd", "simple", "watch"])
def test_golden_files_are_read_and_written_the_same(kind: str) -> None:
    data = (VECTORS / f"wallet_v1_{kind}.json").read_bytes()
    wallet = decode_wallet("golden", data)
    assert wallet.kind == kind
    assert wallet.created_ms == 1_700_000_000_000
    assert encode_wallet(wallet) == data


def test_golden_hd_opens() -> None:
    wallet = decode_wallet("golden", (VECTORS / "wallet_v1_hd.json").read_bytes())
    assert wallet.address_text == "ait1qph07j7ye4ew7xwk3rgqeuty2lyl7dyjt8atgfxdwddfx83r3nzgj30ahx7"
    assert wallet.path == "m/44'/1095324738'/0'/0'/0'"
    assert wallet.seal is not None
    assert wallet.seal.cost == NORMAL_COST
    with wallet.unlock(PASSPHRASE) as unlocked:
        assert unlocked.public_key == wallet.public_key
        assert unlocked.export_secret() == WORDS
        assert verify(unlocked.public_key, b"message", unlocked.sign(b"message"))
        assert unlocked.derive_secret("sealing").hex() == (
            "a2d51b6260c957d2841f33d7295582a993f824f0ef4aab55d0f8467e7fac737c"
        )


def test_golden_simple_opens_however_the_passphrase_is_composed() -> None:
    wallet = decode_wallet("golden", (VECTORS / "wallet_v1_simple.json").read_bytes())
    for passphrase in ("пароль \u00e9", "пароль e\u0301"):
        unlocked = wallet.unlock(passphrase)
        assert unlocked.export_secret() == SEED.hex()
        assert unlocked.public_key == PrivateKey(SEED).public_key


def test_golden_watch_shows_its_address() -> None:
    wallet = decode_wallet("golden", (VECTORS / "wallet_v1_watch.json").read_bytes())
    assert wallet.address == module_address("treasury")
    assert wallet.public_key is None
    assert not wallet.can_sign


def test_the_seal_is_what_the_format_says() -> None:
    document = json.loads((VECTORS / "wallet_v1_simple.json").read_text())
    seal = document["seal"]
    derived = argon2id.kdf(
        64,
        "пароль e\u0301".encode(),
        bytes.fromhex(seal["salt"]),
        opslimit=seal["passes"],
        memlimit=seal["memory_bytes"],
    )
    assert tagged_hash("aitbc/wallet/check/1", derived[32:]).hex() == seal["check"]
    public = {key: value for key, value in document.items() if key != "checksum"}
    public["seal"] = {key: value for key, value in seal.items() if key != "ciphertext"}
    authenticated = json.dumps(public, sort_keys=True, separators=(",", ":")).encode()
    opened = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
        bytes.fromhex(seal["ciphertext"]), authenticated, bytes.fromhex(seal["nonce"]), derived[:32]
    )
    assert opened == SEED


def test_every_flipped_bit_is_damage_or_harmless(rng: random.Random) -> None:
    wallet = sealed()
    data = encode_wallet(wallet)
    for _ in range(600):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            decoded = decode_wallet("alice", bytes(changed))
        except (errors.DamagedWallet, errors.UnknownWalletVersion):
            continue
        # Only white space may differ without anyone noticing.
        assert decoded == wallet
    for size in range(0, len(data) - 2, 7):
        with pytest.raises(errors.DamagedWallet):
            decode_wallet("alice", data[:size])


def test_files_that_are_no_wallets() -> None:
    cases = [
        b"",
        b"\x00" * 100,
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"[" * 60_000,
        b'{"format":"aitbc-wallet","version":1,"x":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"format":"aitbc-wallet","version":' + b"9" * 5_000 + b"}",
        b'{"format":"aitbc-wallet","version":true}',
        b'{"format":"aitbc-wallet","version":"1"}',
        b'{"format":"aitbc-wallet","version":1}',
        b'{"format":"aitbc-wallet","format":"aitbc-wallet","version":1}',
        b'{"format":"aitbc-wallet","version":NaN}',
        b'{"format":"other","version":1}',
        b" " * (LARGEST_FILE + 1),
    ]
    for data in cases:
        with pytest.raises(errors.DamagedWallet):
            decode_wallet("alice", data)


def test_a_repeated_key_is_damage() -> None:
    # Readers differ in which of the two they take, so a backup could show one address here and another elsewhere.
    data = (VECTORS / "wallet_v1_simple.json").read_bytes()
    decode_wallet("alice", data)
    with pytest.raises(errors.DamagedWallet):
        decode_wallet("alice", data.replace(b'"path": null,', b'"path": "other", "path": null,'))


@pytest.mark.parametrize("version", [0, 2, 10**30, -1])
def test_another_version_is_named_whatever_else_it_has(version: int) -> None:
    data = altered(sealed(), lambda document: document.update(version=version, seal="new"), repair_checksum=False)
    with pytest.raises(errors.UnknownWalletVersion) as caught:
        decode_wallet("alice", data)
    assert caught.value.data["supported"] == 1


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.pop(name)


def put(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.update({name: value})


def put_in_seal(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["seal"].update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        *(drop(name) for name in ("kind", "prefix", "address", "public_key", "path", "created_ms", "seal")),
        *(lambda document, name=name: document["seal"].pop(name) for name in ("kdf", "passes", "salt", "ciphertext")),
        put("extra", 1),
        put_in_seal("extra", 1),
        put("kind", "paper"),
        put("kind", "simple"),
        put("kind", "watch"),
        put("kind", ["hd"]),
        put("prefix", "tait"),
        put("prefix", 1),
        put("address", "ait1"),
        put("address", None),
        put("public_key", None),
        put("public_key", "00" * 31),
        put("public_key", "AA" * 32),
        put("path", None),
        put("path", "m/44'"),
        put("path", "m/44h/1095324738h/0h/0h/0h"),
        put("path", "m/44'/0'/0'/0'/0'"),
        put("created_ms", 1.5),
        put("created_ms", -1),
        put("created_ms", True),
        put("created_ms", 1 << 60),
        put("seal", None),
        put("seal", []),
        put_in_seal("kdf", "scrypt"),
        put_in_seal("cipher", "none"),
        put_in_seal("passes", "3"),
        put_in_seal("passes", 1.0),
        put_in_seal("passphrase_needed", 1),
        put_in_seal("salt", "00" * 15),
        put_in_seal("nonce", "zz" * 24),
        put_in_seal("nonce", " " * 48),
        put_in_seal("ciphertext", ""),
        put_in_seal("ciphertext", "00" * 40),
    ],
)
def test_malformed_fields_with_a_good_checksum(change: Callable[[dict[str, Any]], object]) -> None:
    data = altered(sealed(), change)
    with pytest.raises(errors.DamagedWallet):
        decode_wallet("alice", data)


@pytest.mark.parametrize(
    ("passes", "memory"), [(0, 1 << 20), (13, 1 << 20), (1, 64 << 30), (1, (1 << 30) + 1), (1, 0), (1 << 40, 1 << 40)]
)
def test_hostile_costs_are_refused_before_any_work(passes: int, memory: int) -> None:
    data = altered(sealed(), lambda document: document["seal"].update(passes=passes, memory_bytes=memory))
    with pytest.raises(errors.UnreasonableCost):
        decode_wallet("alice", data)


def test_tampering_is_told_from_a_wrong_passphrase() -> None:
    other = PrivateKey(bytes(32)).public_key
    changes = [
        put("address", format_address("ait", key_address(other))),
        put("public_key", other.hex()),
        put("path", account_path(0, 1)),
        put("created_ms", 1),
        put_in_seal("passphrase_needed", False),
        put_in_seal("nonce", "00" * 24),
        put_in_seal("ciphertext", "00" * 32),
        put_in_seal("ciphertext", "00" * 48),
    ]
    for change in changes:
        wallet = decode_wallet("alice", altered(sealed(), change))
        with pytest.raises(errors.TamperedWallet):
            wallet.unlock(PASSPHRASE)
        with pytest.raises(errors.WrongPassphrase):
            wallet.unlock("wrong")


def test_a_secret_of_another_key_under_a_valid_seal() -> None:
    wallet = make_wallet("alice", Kind.SIMPLE, SEED, PASSPHRASE, prefix="ait", created_ms=5, cost=CHEAP)
    swapped = seal_wallet(wallet, bytes(32), PASSPHRASE, CHEAP)
    with pytest.raises(errors.TamperedWallet):
        swapped.unlock(PASSPHRASE)
