"""BLS signatures that add up: ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ of draft-irtf-cfrg-bls-signature.

Keys are points of G1 (48 bytes), signatures points of G2 (96 bytes), so that a certificate by any number of
authorities is one signature. The backend only offers curve arithmetic, and it reads the point at infinity from
several encodings; this module is the ciphersuite around it, and the one place that accepts a point: canonical bytes,
in the subgroup, not the identity. Aggregates over one message are safe against rogue keys only among keys whose proof
of possession was verified: whoever admits a key must have called `verify_possession`.

The arithmetic does not run in constant time, so sign only where nobody can time single operations from close by.
"""

import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

SECRET_KEY_SIZE = 32
PUBLIC_KEY_SIZE = 48
SIGNATURE_SIZE = 96

_SIGNATURE_DOMAIN = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
_POSSESSION_DOMAIN = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
_GROUP_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001

_G1 = G1Point()
_MINUS_G1 = -_G1
_G1_IDENTITY = G1Point.identity()
_G2_IDENTITY = G2Point.identity()

# Authorities are few and vote on the same bytes, so a certificate costs two pairings and little else. Both caches
# are bounded in entries and in the size of an entry.
_PARSED_KEYS = 1024
_HASHED_MESSAGES = 64
_LONGEST_CACHED_MESSAGE = 1024


def secret_key_from_seed(seed: bytes) -> bytes:
    """The 32-byte big-endian secret key for `seed`: KeyGen of the draft (section 2.3) with empty key_info.

    Args:
        seed: at least 32 secret bytes of full entropy.

    Raises:
        ValueError: the seed is shorter.
    """
    if not isinstance(seed, bytes) or len(seed) < 32:
        raise ValueError("a BLS seed is at least 32 bytes")
    salt = b"BLS-SIG-KEYGEN-SALT-"
    length = 48
    while True:
        salt = hashlib.sha256(salt).digest()
        pseudorandom = hmac.digest(salt, seed + b"\x00", "sha256")
        secret = int.from_bytes(_expand(pseudorandom, length.to_bytes(2, "big"), length), "big") % _GROUP_ORDER
        if secret:
            return secret.to_bytes(SECRET_KEY_SIZE, "big")


def public_key(secret: bytes) -> bytes:
    """The 48-byte public key of `secret`. Raises: ValueError: not a secret key."""
    return (_G1 * _parse_secret(secret)).to_compressed_bytes()


def sign(secret: bytes, message: bytes) -> bytes:
    """The 96-byte signature of `message`. Raises: ValueError: not a secret key."""
    return (_hash_message(message) * _parse_secret(secret)).to_compressed_bytes()


def prove_possession(secret: bytes) -> bytes:
    """The 96-byte proof that its maker holds `secret` (PopProve). Raises: ValueError: not a secret key."""
    scalar = _parse_secret(secret)
    own_key = (_G1 * scalar).to_compressed_bytes()
    return (G2Point.hash_to_curve(own_key, _POSSESSION_DOMAIN) * scalar).to_compressed_bytes()


def verify_possession(public_key: bytes, proof: bytes) -> bool:
    """Whether `proof` shows possession of the secret of `public_key` (PopVerify). Malformed input is False."""
    try:
        key = _parse_key(public_key)
        point = _parse_signature(proof)
    except ValueError:
        return False
    return _pairs(key, G2Point.hash_to_curve(public_key, _POSSESSION_DOMAIN), point)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of `message` by `public_key`. Malformed input is False and never an exception."""
    return verify_aggregate((public_key,), message, signature)


def aggregate(signatures: Sequence[bytes]) -> bytes:
    """The 96-byte sum of `signatures`, in any order.

    A sum says nothing about its parts: verify each signature before adding it, or the sum afterwards.

    Raises:
        ValueError: no signature, or one that is malformed.
    """
    if not signatures:
        raise ValueError("no signature to aggregate")
    total = _G2_IDENTITY
    for signature in signatures:
        total = total + _parse_signature(signature)
    return total.to_compressed_bytes()


def verify_aggregate(public_keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the sum of one signature of `message` by each of `public_keys` (FastAggregateVerify).

    A key that is listed twice must have signed twice. Malformed input and an empty list are False.
    """
    if not public_keys or not isinstance(message, bytes):
        return False
    try:
        total = _G1_IDENTITY
        for key in public_keys:
            total = total + _cached_key(key)
        point = _parse_signature(signature)
    except (ValueError, TypeError):
        return False
    # Keys that cancel out would accept the identity as a signature of anything.
    if total == _G1_IDENTITY:
        return False
    return _pairs(total, _hash_message(message), point)


def _pairs(key: G1Point, hashed: G2Point, signature: G2Point) -> bool:
    """e(key, H(m)) = e(g1, signature), as one product of pairings."""
    return GT.pairing_check([key, _MINUS_G1], [hashed, signature])


def _parse_secret(secret: bytes) -> Scalar:
    if not isinstance(secret, bytes) or len(secret) != SECRET_KEY_SIZE:
        raise ValueError("a BLS secret key is 32 bytes")
    if not 0 < int.from_bytes(secret, "big") < _GROUP_ORDER:
        raise ValueError("a BLS secret key lies between zero and the group order")
    return Scalar.from_be_bytes(secret)


def _parse_key(data: bytes) -> G1Point:
    """KeyValidate of the draft. The backend checks curve and subgroup; re-encoding refuses any second spelling."""
    if not isinstance(data, bytes) or len(data) != PUBLIC_KEY_SIZE:
        raise ValueError("a BLS public key is 48 bytes")
    point = G1Point.from_compressed_bytes(data)
    if point == _G1_IDENTITY or point.to_compressed_bytes() != data:
        raise ValueError("not a BLS public key")
    return point


def _parse_signature(data: bytes) -> G2Point:
    if not isinstance(data, bytes) or len(data) != SIGNATURE_SIZE:
        raise ValueError("a BLS signature is 96 bytes")
    point = G2Point.from_compressed_bytes(data)
    if point == _G2_IDENTITY or point.to_compressed_bytes() != data:
        raise ValueError("not a BLS signature")
    return point


# Only keys that passed every check are kept: a failed parse raises, and exceptions are not cached.
_cached_key = lru_cache(maxsize=_PARSED_KEYS)(_parse_key)


def _hash_message(message: bytes) -> G2Point:
    if len(message) <= _LONGEST_CACHED_MESSAGE:
        return _cached_hash(message)
    return G2Point.hash_to_curve(message, _SIGNATURE_DOMAIN)


@lru_cache(maxsize=_HASHED_MESSAGES)
def _cached_hash(message: bytes) -> G2Point:
    return G2Point.hash_to_curve(message, _SIGNATURE_DOMAIN)


def _expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256."""
    output = b""
    block = b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        output += block
        counter += 1
    return output[:length]
