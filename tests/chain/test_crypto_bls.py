"""BLS against py_ecc and milagro, two independent implementations, and every malformed point we know of."""

import random

import pytest
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from chain.crypto import bls

GROUP_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
FIELD = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB

SECRETS = [bls.secret_key_from_seed(bytes([number]) * 32) for number in range(1, 5)]
KEYS = [bls.public_key(secret) for secret in SECRETS]
MESSAGE = b"a vote"

G1_IDENTITY = b"\xc0" + bytes(47)
G2_IDENTITY = b"\xc0" + bytes(95)


def off_subgroup(point_type: type[G1Point] | type[G2Point], size: int) -> bytes:
    """The first point of the curve, by x, that lies outside the subgroup."""
    for x in range(1, 200):
        data = bytearray(x.to_bytes(size, "big"))
        data[0] |= 0x80
        try:
            point = point_type.from_compressed_bytes_unchecked(bytes(data))
        except ValueError:
            continue
        if not point.is_in_subgroup():
            return bytes(data)
    raise AssertionError("no such point")


def bad_points(good: bytes, point_type: type[G1Point] | type[G2Point]) -> list[object]:
    size = len(good)
    flipped = bytes([good[0] ^ 0x20]) + good[1:]
    above_field = (int.from_bytes(good[:48], "big") & (1 << 381) - 1) + FIELD
    bad: list[object] = [
        b"",
        good[:-1],
        good + b"\x00",
        bytes(size),
        b"\xff" * size,
        bytes([good[0] & 0x7F]) + good[1:],
        flipped,
        b"\xc0" + bytes(size - 1),
        b"\xe0" + bytes(size - 1),
        b"\xc0" + bytes(size - 2) + b"\x01",
        bytes([good[0] | 0x40]) + good[1:],
        off_subgroup(point_type, size),
        None,
        "text",
        7,
        bytearray(good),
        list(good),
    ]
    if above_field < 1 << 381:
        bad.append((above_field | 1 << 383).to_bytes(48, "big") + good[48:])
    return bad


def test_golden_vector() -> None:
    # Signing case of the Ethereum consensus tests: secret key and message of 32 zero bytes.
    secret = bytes.fromhex("263dbd792f5b1be47ed85f8938c0f29586af0d3ac7b977f21c278fe1462040e3")
    signature = bls.sign(secret, bytes(32))
    assert signature.hex() == (
        "b6ed936746e01f8ecf281f020953fbf1f01debd5657c4a383940b020b26507f6"
        "076334f91e2366c96e9ab279fb5158090352ea1c5b0c9274504f4f0e7053af24"
        "802e51e4568d164fe986834f41e55c8e850ce1f98458c0cfc9ab380b55285a55"
    )
    assert bls.verify(bls.public_key(secret), bytes(32), signature)


@pytest.mark.parametrize(("seed", "message"), [(bytes(32), b""), (b"\xa5" * 48, b"\x00" * 1500)])
def test_same_bytes_as_py_ecc(seed: bytes, message: bytes) -> None:
    from py_ecc.bls import G2ProofOfPossession as Oracle

    number = Oracle.KeyGen(seed)
    secret = bls.secret_key_from_seed(seed)
    assert int.from_bytes(secret, "big") == number
    assert bls.public_key(secret) == Oracle.SkToPk(number)
    assert bls.sign(secret, message) == Oracle.Sign(number, message)
    assert bls.prove_possession(secret) == Oracle.PopProve(number)


def test_py_ecc_accepts_our_certificate_and_possession() -> None:
    from py_ecc.bls import G2ProofOfPossession as Oracle

    signatures = [bls.sign(secret, MESSAGE) for secret in SECRETS[:3]]
    total = bls.aggregate(signatures)
    assert total == Oracle.Aggregate(signatures)
    assert Oracle.FastAggregateVerify(KEYS[:3], MESSAGE, total)
    assert Oracle.PopVerify(KEYS[0], bls.prove_possession(SECRETS[0]))


def test_agrees_with_milagro(rng: random.Random) -> None:
    milagro = pytest.importorskip("milagro_bls_binding")
    for _ in range(20):
        secrets = [bls.secret_key_from_seed(rng.randbytes(32)) for _ in range(rng.randrange(1, 5))]
        message = rng.randbytes(rng.randrange(1, 200))
        keys = [bls.public_key(secret) for secret in secrets]
        signatures = [bls.sign(secret, message) for secret in secrets]
        assert keys == [milagro.SkToPk(secret) for secret in secrets]
        assert signatures == [milagro.Sign(secret, message) for secret in secrets]
        total = bls.aggregate(signatures)
        assert total == milagro.Aggregate(signatures)
        assert milagro.FastAggregateVerify(keys, message, total)
        assert bls.verify_aggregate(keys, message, total)
        assert bls.verify(keys[0], message, milagro.Sign(secrets[0], message))


def test_aggregate_needs_exactly_its_signers() -> None:
    signatures = [bls.sign(secret, MESSAGE) for secret in SECRETS]
    total = bls.aggregate(signatures[:3])
    assert bls.aggregate([signatures[2], signatures[0], signatures[1]]) == total
    assert bls.verify_aggregate(KEYS[:3], MESSAGE, total)
    assert bls.verify_aggregate((KEYS[2], KEYS[0], KEYS[1]), MESSAGE, total)
    assert not bls.verify_aggregate(KEYS[:2], MESSAGE, total)
    assert not bls.verify_aggregate(KEYS, MESSAGE, total)
    assert not bls.verify_aggregate([KEYS[0], KEYS[1], KEYS[3]], MESSAGE, total)
    assert not bls.verify_aggregate([*KEYS[:3], KEYS[0]], MESSAGE, total)
    assert not bls.verify_aggregate(KEYS[:3], MESSAGE + b"!", total)
    assert not bls.verify_aggregate([], MESSAGE, total)
    assert not bls.verify_aggregate([], MESSAGE, G2_IDENTITY)
    assert not bls.verify_aggregate(KEYS[:3], None, total)  # type: ignore[arg-type]


def test_verify_one() -> None:
    signature = bls.sign(SECRETS[0], MESSAGE)
    assert bls.verify(KEYS[0], MESSAGE, signature)
    assert not bls.verify(KEYS[1], MESSAGE, signature)
    assert not bls.verify(KEYS[0], MESSAGE[:-1], signature)
    assert not bls.verify(KEYS[0], MESSAGE, bls.sign(SECRETS[0], b"another vote"))


def test_long_messages_skip_the_cache() -> None:
    message = bytes(5000)
    before = bls._cached_hash.cache_info().currsize
    assert bls.verify(KEYS[0], message, bls.sign(SECRETS[0], message))
    assert bls._cached_hash.cache_info().currsize == before


def test_keys_that_cancel_out_certify_nothing() -> None:
    number = int.from_bytes(SECRETS[0], "big")
    opposite = (GROUP_ORDER - number).to_bytes(32, "big")
    keys = [KEYS[0], bls.public_key(opposite)]
    assert not bls.verify_aggregate(keys, MESSAGE, G2_IDENTITY)
    assert not bls.verify_aggregate(keys, MESSAGE, bls.sign(SECRETS[0], MESSAGE))


def test_bad_keys_are_false_everywhere() -> None:
    signature = bls.sign(SECRETS[0], MESSAGE)
    proof = bls.prove_possession(SECRETS[0])
    for key in bad_points(KEYS[0], G1Point):
        assert not bls.verify(key, MESSAGE, signature), key  # type: ignore[arg-type]
        assert not bls.verify_possession(key, proof), key  # type: ignore[arg-type]
        assert not bls.verify_aggregate([KEYS[0], key], MESSAGE, signature), key  # type: ignore[list-item]


def test_bad_signatures_are_false_everywhere() -> None:
    signature = bls.sign(SECRETS[0], MESSAGE)
    for bad in bad_points(signature, G2Point):
        assert not bls.verify(KEYS[0], MESSAGE, bad), bad  # type: ignore[arg-type]
        assert not bls.verify_aggregate(KEYS[:2], MESSAGE, bad), bad  # type: ignore[arg-type]
        assert not bls.verify_possession(KEYS[0], bad), bad  # type: ignore[arg-type]


def test_a_second_key_that_pairings_cannot_tell_apart_is_refused() -> None:
    # A point whose order divides the cofactor changes the key's bytes but not the result of the pairing.
    outside = G1Point.from_compressed_bytes_unchecked(off_subgroup(G1Point, 48))
    torsion = outside * Scalar(GROUP_ORDER - 1) + outside
    key = (G1Point.from_compressed_bytes(KEYS[0]) + torsion).to_compressed_bytes()
    signature = bls.sign(SECRETS[0], MESSAGE)
    hashed = G2Point.hash_to_curve(MESSAGE, b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_")
    unchecked = [G1Point.from_compressed_bytes_unchecked(key), -G1Point()]
    assert GT.pairing_check(unchecked, [hashed, G2Point.from_compressed_bytes(signature)])
    assert key != KEYS[0]
    assert not bls.verify(key, MESSAGE, signature)


def test_aggregate_refuses_malformed_parts() -> None:
    signature = bls.sign(SECRETS[0], MESSAGE)
    for bad in (G2_IDENTITY, signature[:-1], off_subgroup(G2Point, 96), b"\xe0" + bytes(95), None):
        with pytest.raises(ValueError):
            bls.aggregate([signature, bad])  # type: ignore[list-item]
    with pytest.raises(ValueError):
        bls.aggregate([])


def test_possession_is_not_a_vote_and_not_transferable() -> None:
    proof = bls.prove_possession(SECRETS[0])
    assert bls.verify_possession(KEYS[0], proof)
    assert not bls.verify_possession(KEYS[1], proof)
    # The two purposes have separate domains: signing one's own key as a message proves nothing.
    assert not bls.verify_possession(KEYS[0], bls.sign(SECRETS[0], KEYS[0]))
    assert not bls.verify(KEYS[0], KEYS[0], proof)


def test_rogue_key_passes_the_sum_but_has_no_possession() -> None:
    honest, attacker = KEYS[0], SECRETS[1]
    rogue = (G1Point.from_compressed_bytes(KEYS[1]) - G1Point.from_compressed_bytes(honest)).to_compressed_bytes()
    forged = bls.sign(attacker, MESSAGE)
    assert bls.verify_aggregate([honest, rogue], MESSAGE, forged)
    assert not bls.verify_possession(rogue, bls.prove_possession(attacker))


@pytest.mark.parametrize(
    "secret",
    [b"", bytes(32), bytes(31), b"\x01" * 33, GROUP_ORDER.to_bytes(32, "big"), b"\xff" * 32, None, 5],
)
def test_bad_secrets_are_refused_without_being_shown(secret: object) -> None:
    for use in (bls.public_key, bls.prove_possession, lambda value: bls.sign(value, MESSAGE)):
        with pytest.raises(ValueError) as caught:
            use(secret)  # type: ignore[arg-type]
        assert "ffff" not in str(caught.value)


def test_secrets_at_the_edges() -> None:
    for number in (1, GROUP_ORDER - 1):
        secret = number.to_bytes(32, "big")
        assert bls.verify(bls.public_key(secret), MESSAGE, bls.sign(secret, MESSAGE))


def test_short_seeds_are_refused() -> None:
    with pytest.raises(ValueError):
        bls.secret_key_from_seed(bytes(31))
    assert bls.secret_key_from_seed(bytes(32)) != bls.secret_key_from_seed(bytes(33))


def test_the_caches_are_bounded_and_keep_no_bad_key() -> None:
    assert bls._cached_key.cache_info().maxsize == 1024
    assert bls._cached_hash.cache_info().maxsize == 64
    before = bls._cached_key.cache_info().currsize
    assert not bls.verify(G1_IDENTITY, MESSAGE, bls.sign(SECRETS[0], MESSAGE))
    assert bls._cached_key.cache_info().currsize == before
