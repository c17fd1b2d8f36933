"""Recovery words: BIP-39 in English, 12 or 24 words.

The words, not the wallet file, are what an owner keeps on paper, so reading them is forgiving about case and spacing
and exact about everything else. An error names the position of a word and never the word. Twelve words carry 128 bits,
which is the strength of an Ed25519 key.
"""

import secrets
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from wallet.errors import InvalidMnemonic

if TYPE_CHECKING:
    from mnemonic import Mnemonic

ENTROPY_BYTES = {12: 16, 24: 32}
"""Number of words, and the bytes of entropy they carry."""

_LONGEST_TEXT = 1000
"""Characters accepted; 24 words with single spaces have at most 215."""


def generate_mnemonic(words: int = 12) -> str:
    """Fresh recovery words from the operating system's randomness. Raises: InvalidMnemonic: not 12 or 24."""
    if words not in ENTROPY_BYTES:
        raise InvalidMnemonic(reason="there must be 12 or 24 words")
    return mnemonic_from_entropy(secrets.token_bytes(ENTROPY_BYTES[words]))


def mnemonic_from_entropy(entropy: bytes) -> str:
    """The words for 16 or 32 bytes of entropy. Raises: InvalidMnemonic: another length."""
    if len(entropy) not in ENTROPY_BYTES.values():
        raise InvalidMnemonic(reason="the entropy must have 16 or 32 bytes")
    return _english().to_mnemonic(entropy)


def entropy_from_mnemonic(text: str) -> bytes:
    """The 16 or 32 bytes that the words stand for.

    Raises:
        InvalidMnemonic: a wrong number of words, a word that is not on the list, or a wrong checksum.
    """
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        raise InvalidMnemonic(reason="the text is too long")
    words = unicodedata.normalize("NFKD", text).lower().split()
    if len(words) not in ENTROPY_BYTES:
        raise InvalidMnemonic(reason=f"there must be 12 or 24 words, and there are {len(words)}")
    numbers = _numbers()
    bits = 0
    for position, word in enumerate(words, start=1):
        number = numbers.get(word)
        if number is None:
            raise InvalidMnemonic(reason=f"word {position} is not on the list")
        bits = bits << 11 | number
    entropy = (bits >> len(words) // 3).to_bytes(ENTROPY_BYTES[len(words)], "big")
    # The library computes the checksum: the words are right if it would have chosen them.
    if mnemonic_from_entropy(entropy).split() != words:
        raise InvalidMnemonic(reason="the checksum is wrong, so a word was mistaken for another or the order changed")
    return entropy


def seed_from_mnemonic(text: str, passphrase: str = "") -> bytes:
    """The 64-byte BIP-39 seed of valid words, optionally with a BIP-39 passphrase. Raises: InvalidMnemonic."""
    words = mnemonic_from_entropy(entropy_from_mnemonic(text))
    return _english().to_seed(words, passphrase)


@lru_cache(maxsize=1)
def _english() -> "Mnemonic":
    # Loaded on first use: only commands that touch recovery words should wait for the word list.
    from mnemonic import Mnemonic

    return Mnemonic("english")


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    return {word: number for number, word in enumerate(_english().wordlist)}
