"""Ed25519 (RFC 8032) through libsodium, and through nothing else.

Implementations disagree about small-order and non-canonical keys. A ledger whose nodes disagree about one signature
has split, so there is a single verifier, without a fallback: libsodium, which refuses both. It releases the GIL and
takes about 50 microseconds.
"""

from typing import Never

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

SEED_SIZE = 32
PUBLIC_KEY_SIZE = 32
SIGNATURE_SIZE = 64


class PrivateKey:
    """A signing key. Its secret shows in no representation and cannot be pickled or copied."""

    __slots__ = ("_secret", "public_key")

    public_key: bytes
    """The 32-byte public key."""

    def __init__(self, seed: bytes) -> None:
        """Args: seed: 32 secret bytes (the private key of RFC 8032). Raises: ValueError: another type or length."""
        if not isinstance(seed, bytes) or len(seed) != SEED_SIZE:
            raise ValueError("an Ed25519 seed is 32 bytes")
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte deterministic signature of `message`."""
        return crypto_sign(message, self._secret)[:SIGNATURE_SIZE]

    def __repr__(self) -> str:
        return f"PrivateKey(public_key={self.public_key.hex()})"

    def __reduce__(self) -> Never:
        raise TypeError("a private key is not copied or serialised")


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of `message` by `public_key`. Malformed input is False and never an exception."""
    # The binding passes the buffers on without looking at their lengths.
    if not (
        isinstance(public_key, bytes)
        and isinstance(message, bytes)
        and isinstance(signature, bytes)
        and len(public_key) == PUBLIC_KEY_SIZE
        and len(signature) == SIGNATURE_SIZE
    ):
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True
