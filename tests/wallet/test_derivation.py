"""SLIP-0010 against its published vectors; the paths of our accounts."""

import json
from pathlib import Path

import pytest

from chain.crypto.ed25519 import PrivateKey
from wallet.derivation import COIN_TYPE, account_path, derive, derive_key, parse_path
from wallet.errors import InvalidDerivationPath
from wallet.mnemonic import seed_from_mnemonic

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "slip0010_ed25519.json").read_text())["vectors"]
ROWS = [(vector["seed"], row) for vector in VECTORS for row in vector["rows"]]
SEED = seed_from_mnemonic("abandon " * 11 + "about")


@pytest.mark.parametrize(("seed", "row"), ROWS, ids=[f"{seed[:6]} {row['path']}" for seed, row in ROWS])
def test_published_vectors(seed: str, row: dict[str, str]) -> None:
    private, chain_code = derive(bytes.fromhex(seed), parse_path(row["path"]))
    assert private.hex() == row["private"]
    assert chain_code.hex() == row["chain_code"]
    # The vectors write Ed25519 keys with a leading zero byte, as BIP-32 serialises keys.
    assert "00" + PrivateKey(private).public_key.hex() == row["public"]
    assert derive_key(bytes.fromhex(seed), row["path"]) == private


def test_all_the_vectors_are_there() -> None:
    assert len(ROWS) == 12


def test_coin_type_is_ascii() -> None:
    assert COIN_TYPE.to_bytes(4, "big") == b"AITB"
    assert COIN_TYPE == 1095324738


def test_golden_account_keys() -> None:
    keys = [PrivateKey(derive_key(SEED, account_path(*at))).public_key.hex() for at in ((0, 0), (0, 1), (1, 0))]
    assert keys == [
        "19363d82a50b05ecfe6404e86c3f4887ea2df6cc5f76a74615929e1db4c9cc5b",
        "4503ae553db0c394b44f00c6eb2f7ea447feb46b6d5ce992ba2dc08a693a259b",
        "e3d9ef322135ef732f586a1cf02271c627deb8bd971b5e45d819f7ab659b68b9",
    ]


def test_account_path() -> None:
    assert account_path() == "m/44'/1095324738'/0'/0'/0'"
    assert parse_path(account_path(3, 2**31 - 1)) == (44, 1095324738, 3, 0, 2**31 - 1)
    for account, index in ((-1, 0), (0, -1), (2**31, 0), (0, 2**31)):
        with pytest.raises(InvalidDerivationPath):
            account_path(account, index)


def test_marks_of_hardening() -> None:
    assert parse_path("m/44'/1h/2H") == (44, 1, 2)
    assert parse_path("m") == ()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "44'",
        "m/",
        "m/44",
        "m/44'/",
        "m//44'",
        "M/44'",
        "m/-1'",
        "m/+1'",
        "m/01'",
        "m/1_0'",
        "m/٣'",
        "m/1''",
        "m/2147483648'",
        "m/99999999999'",
        "m/44'\n",
        "m" + "/0'" * 11,
        "m" + "/0'" * 100_000,
    ],
)
def test_malformed_paths(path: str) -> None:
    with pytest.raises(InvalidDerivationPath):
        parse_path(path)


def test_steps_outside_the_range() -> None:
    for number in (-1, 2**31):
        with pytest.raises(InvalidDerivationPath):
            derive(SEED, (number,))


@pytest.mark.parametrize("size", [0, 15, 65])
def test_seed_sizes(size: int) -> None:
    with pytest.raises(ValueError):
        derive(bytes(size), ())
