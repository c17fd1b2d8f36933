"""Addresses: the BIP-350 vectors, golden addresses of each kind, and every way to mistype one."""

import json
import random
from pathlib import Path

import pytest

from chain.crypto import address as addresses
from chain.crypto.hashing import tagged_hash
from chain.errors import InvalidAddress, WrongNetworkAddress

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bech32m.json").read_text())
PUBLIC_KEY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
ADDRESS = addresses.key_address(PUBLIC_KEY)
TEXT = addresses.format_address("ait", ADDRESS)


@pytest.mark.parametrize("text", VECTORS["valid"])
def test_bip_350_valid(text: str) -> None:
    prefix, values = addresses.bech32m_decode(text)
    assert addresses.bech32m_encode(prefix, values) == text.lower()


@pytest.mark.parametrize(("text", "reason"), VECTORS["invalid"])
def test_bip_350_invalid(text: str, reason: str) -> None:
    with pytest.raises(ValueError):
        addresses.bech32m_decode(text)
    with pytest.raises(InvalidAddress):
        addresses.parse_address("ait", text)


def test_golden_addresses() -> None:
    assert ADDRESS.hex() == "00231aacec00b91ee8af9dfd1a0f5fb9cb01da6b9f3a9ed0c6ca8b29eb50d59578"
    assert TEXT == "ait1qq334t8vqzu3a690nh735r6lh89srkntnuafa5xxe29jn66s6k2hshczz4g"
    other = addresses.key_address(bytes(32))
    assert (
        addresses.multisig_address(ADDRESS, 7, 2, [other, ADDRESS]).hex()
        == "01f85b67cdf2aba6a099e71eee5dfbe586740125aae3d4697e037def4bf49277b6"
    )
    assert (
        addresses.module_address("treasury").hex()
        == "0247b5a4a1ece48350601fbbd2915d1f2a51d6d6c9c56b43cb6652d689ffca2398"
    )


def test_kinds_are_distinct_and_round_trip() -> None:
    made = [ADDRESS, addresses.multisig_address(ADDRESS, 0, 1, [ADDRESS]), addresses.module_address("treasury")]
    assert [address[0] for address in made] == [addresses.KEY, addresses.MULTISIG, addresses.MODULE]
    for address in made:
        for prefix in ("ait", "tait", "dait"):
            text = addresses.format_address(prefix, address)
            assert addresses.parse_address(prefix, text) == address
            assert addresses.parse_address(prefix, text.upper()) == address


def test_multisig_address_covers_everything_and_ignores_order() -> None:
    members = [addresses.key_address(bytes([number]) * 32) for number in range(3)]
    base = addresses.multisig_address(ADDRESS, 1, 2, members)
    assert addresses.multisig_address(ADDRESS, 1, 2, members[::-1]) == base
    others = {
        addresses.multisig_address(members[0], 1, 2, members),
        addresses.multisig_address(ADDRESS, 2, 2, members),
        addresses.multisig_address(ADDRESS, 1, 3, members),
        addresses.multisig_address(ADDRESS, 1, 2, members[:2]),
    }
    assert len(others | {base}) == 5
    with pytest.raises(ValueError):
        addresses.multisig_address(ADDRESS, 1, 2, [b"short"])


def test_wrong_network_is_its_own_error() -> None:
    with pytest.raises(WrongNetworkAddress) as caught:
        addresses.parse_address("tait", TEXT)
    assert caught.value.data == {"expected": "tait", "got": "ait"}


def test_damage_is_invalid_even_with_a_foreign_prefix() -> None:
    with pytest.raises(InvalidAddress) as caught:
        addresses.parse_address("tait", TEXT[:-1] + ("q" if TEXT[-1] != "q" else "p"))
    assert not isinstance(caught.value, WrongNetworkAddress)


def test_mixed_case_is_refused() -> None:
    for text in (TEXT[:-1] + TEXT[-1].upper(), "Ait" + TEXT[3:], "AIT" + TEXT[3:]):
        with pytest.raises(InvalidAddress) as caught:
            addresses.parse_address("ait", text)
        assert caught.value.data["reason"] == "upper and lower case mixed"


def test_every_single_and_many_quadruple_substitutions_are_noticed(rng: random.Random) -> None:
    charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    for at in range(4, len(TEXT)):
        for letter in charset:
            if letter != TEXT[at]:
                with pytest.raises(InvalidAddress):
                    addresses.parse_address("ait", TEXT[:at] + letter + TEXT[at + 1 :])
    for _ in range(300):
        letters = list(TEXT)
        for at in rng.sample(range(4, len(TEXT)), rng.randrange(2, 5)):
            letters[at] = rng.choice([letter for letter in charset if letter != letters[at]])
        with pytest.raises(InvalidAddress):
            addresses.parse_address("ait", "".join(letters))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "ait1",
        "ait",
        TEXT[:-1],
        TEXT + "q",
        " " + TEXT,
        TEXT + "\n",
        "ait1" + "q" * 100,
        "ＡＩＴ" + TEXT[3:],
        "1" * 10**6,
    ],
)
def test_malformed_text(text: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        addresses.parse_address("ait", text)
    assert len(str(caught.value.data["address"])) <= 90


@pytest.mark.parametrize("text", [None, 5, TEXT.encode(), ["ait"]])
def test_other_types(text: object) -> None:
    with pytest.raises(InvalidAddress):
        addresses.parse_address("ait", text)  # type: ignore[arg-type]


def test_sound_checksum_around_a_bad_payload() -> None:
    def spell(payload: bytes, extra_bits: int = 0) -> str:
        bits = "".join(f"{byte:08b}" for byte in payload)
        bits += f"{extra_bits:b}".zfill(-len(bits) % 5) if len(bits) % 5 else ""
        return addresses.bech32m_encode("ait", [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)])

    assert spell(ADDRESS) == TEXT
    for text, reason in (
        (spell(ADDRESS[:-1]), "wrong length"),
        (spell(ADDRESS + b"\x00"), "wrong length"),
        (spell(b"\x03" + ADDRESS[1:]), "unknown kind of account"),
        (spell(ADDRESS, extra_bits=1), "wrong padding"),
    ):
        with pytest.raises(InvalidAddress) as caught:
            addresses.parse_address("ait", text)
        assert caught.value.data["reason"] == reason


@pytest.mark.parametrize("address", [b"", ADDRESS[:-1], ADDRESS + b"\x00", b"\x03" + ADDRESS[1:]])
def test_format_refuses_what_is_no_address(address: bytes) -> None:
    with pytest.raises(InvalidAddress):
        addresses.format_address("ait", address)


def test_prefix_limits() -> None:
    longest = "p" * addresses.LONGEST_PREFIX
    assert addresses.parse_address(longest, addresses.format_address(longest, ADDRESS)) == ADDRESS
    for prefix in ("", "AIT", "a it", "p" * (addresses.LONGEST_PREFIX + 1), "ä"):
        with pytest.raises(InvalidAddress):
            addresses.format_address(prefix, ADDRESS)


def test_bech32m_encode_refuses_wide_values() -> None:
    for value in (-1, 32):
        with pytest.raises(ValueError):
            addresses.bech32m_encode("ait", [value])


def test_key_address_is_a_tagged_hash() -> None:
    assert b"\x00" + tagged_hash("aitbc/address/key/1", PUBLIC_KEY) == ADDRESS
    with pytest.raises(ValueError):
        addresses.key_address(PUBLIC_KEY[:-1])
