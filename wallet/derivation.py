"""From one seed to many keys: SLIP-0010 for Ed25519, at the paths m/44'/1095324738'/account'/0'/index'.

Ed25519 has no derivation from public keys, so every step is hardened and a watch-only wallet watches addresses, not
branches. The fourth level stays 0' as in BIP-44, where it tells receiving from change: an account ledger has no change.
"""

import hmac
import re
from collections.abc import Sequence

from wallet.errors import InvalidDerivationPath

HARDENED = 1 << 31
COIN_TYPE = 0x41495442
"""1095324738, which is "AITB" in ASCII. Not registered in SLIP-0044, and far from the numbers handed out there."""

_MASTER_KEY = b"ed25519 seed"
_LONGEST_PATH = 10
_STEP = re.compile(r"(0|[1-9][0-9]{0,9})['hH]")


def account_path(account: int = 0, index: int = 0) -> str:
    """The path of key number `index` of `account`, both from 0 to 2^31 − 1. Raises: InvalidDerivationPath."""
    for number in (account, index):
        if not 0 <= number < HARDENED:
            raise InvalidDerivationPath(reason="a step lies outside 0 to 2147483647")
    return f"m/44'/{COIN_TYPE}'/{account}'/0'/{index}'"


def parse_path(path: str) -> tuple[int, ...]:
    """The step numbers, without the hardening bit, of a path such as m/44'/0'. `h` and `H` also mark hardening.

    Raises:
        InvalidDerivationPath: not a path, a step that is not hardened, a number too large, or more than ten steps.
    """
    root, *steps = path.split("/", _LONGEST_PATH + 1)
    if root != "m" or len(steps) > _LONGEST_PATH:
        raise InvalidDerivationPath(reason="it begins with m and has at most ten steps")
    numbers = []
    for step in steps:
        match = _STEP.fullmatch(step)
        if match is None:
            raise InvalidDerivationPath(reason="a step is a number followed by '")
        numbers.append(int(match[1]))
    if any(number >= HARDENED for number in numbers):
        raise InvalidDerivationPath(reason="a step lies outside 0 to 2147483647")
    return tuple(numbers)


def derive(seed: bytes, path: Sequence[int]) -> tuple[bytes, bytes]:
    """The 32-byte private key (an Ed25519 seed) and the 32-byte chain code at `path` (SLIP-0010).

    Args:
        seed: 16 to 64 secret bytes.
        path: step numbers without the hardening bit; every step is hardened.

    Raises:
        InvalidDerivationPath: a step outside 0 to 2^31 − 1.
        ValueError: a seed of another length.
    """
    if not 16 <= len(seed) <= 64:
        raise ValueError("a seed has 16 to 64 bytes")
    digest = hmac.digest(_MASTER_KEY, seed, "sha512")
    for number in path:
        if not 0 <= number < HARDENED:
            raise InvalidDerivationPath(reason="a step lies outside 0 to 2147483647")
        step = (number | HARDENED).to_bytes(4, "big")
        digest = hmac.digest(digest[32:], b"\x00" + digest[:32] + step, "sha512")
    return digest[:32], digest[32:]


def derive_key(seed: bytes, path: str) -> bytes:
    """The 32-byte Ed25519 seed at a path in text. Raises: InvalidDerivationPath, ValueError as `derive`."""
    return derive(seed, parse_path(path))[0]
