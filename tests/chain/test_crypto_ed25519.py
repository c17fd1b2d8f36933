"""Ed25519 against RFC 8032, and the points on which verifiers are known to disagree."""

import copy
import hashlib
import pickle
import random

import pytest

from chain.crypto.ed25519 import PrivateKey, verify

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, section 7.1: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]

# The eight points of small order, with the encodings that are not canonical (as listed in libsodium's blocklist).
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), RFC_8032)
def test_rfc_8032_vectors(seed: str, public_key: str, message: str, signature: str) -> None:
    key = PrivateKey(bytes.fromhex(seed))
    assert key.public_key.hex() == public_key
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert verify(key.public_key, bytes.fromhex(message), bytes.fromhex(signature))


def test_any_change_breaks_the_signature(rng: random.Random) -> None:
    key = PrivateKey(rng.randbytes(32))
    message = rng.randbytes(50)
    fields = {"public_key": key.public_key, "message": message, "signature": key.sign(message)}
    assert verify(**fields)
    for name, value in fields.items():
        for at in range(len(value)):
            changed = bytearray(value)
            changed[at] ^= 1 << rng.randrange(8)
            assert not verify(**{**fields, name: bytes(changed)})


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_small_order_keys_sign_nothing(encoded: str) -> None:
    # With such a key, R = the identity and S = 0 satisfies a naive equation for any message.
    forged = bytes([1]) + bytes(63)
    for message in (b"", b"a", b"b", b"c"):
        assert not verify(bytes.fromhex(encoded), message, forged)


def test_second_form_of_a_signature_is_refused() -> None:
    key = PrivateKey(bytes(32))
    signature = key.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert verify(key.public_key, b"message", signature)
    assert not verify(key.public_key, b"message", signature[:32] + scalar.to_bytes(32, "little"))


def test_malformed_input_is_false() -> None:
    key = PrivateKey(bytes(32))
    signature = key.sign(b"message")
    for public_key in (b"", key.public_key[:-1], key.public_key + b"\x00", None, "key", bytearray(key.public_key)):
        assert not verify(public_key, b"message", signature)  # type: ignore[arg-type]
    for broken in (b"", signature[:-1], signature + b"\x00", None, 7, bytearray(signature)):
        assert not verify(key.public_key, b"message", broken)  # type: ignore[arg-type]
    for message in (None, "message", 7, bytearray(b"message")):
        assert not verify(key.public_key, message, signature)  # type: ignore[arg-type]
    # A byte moved from the signature to the message gives the same concatenation.
    assert not verify(key.public_key, signature[-1:] + b"message", signature[:-1])


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), "0" * 32, None])
def test_bad_seeds_are_refused(seed: object) -> None:
    with pytest.raises(ValueError):
        PrivateKey(seed)  # type: ignore[arg-type]


def test_the_secret_stays_inside() -> None:
    seed = bytes(range(32))
    key = PrivateKey(seed)
    for text in (repr(key), str(key), f"{key}"):
        assert seed.hex() not in text
        assert repr(seed) not in text
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(key)
    with pytest.raises(ValueError) as caught:
        PrivateKey(seed[:31])
    assert seed[:8].hex() not in str(caught.value)
