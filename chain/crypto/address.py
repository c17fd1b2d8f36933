"""Addresses: 33 bytes inside the ledger, bech32m text with a network prefix outside it.

The first byte tells the kind of account and so the rule by which it acts; the other 32 are a hash over what made the
account, which is why an address survives a change of key. The text form is bech32m (BIP-350): up to four wrong
characters are always noticed, and an address of another network is told apart from a mistyped one.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from chain.crypto.hashing import HASH_SIZE, tagged_hash
from chain.errors import InvalidAddress, WrongNetworkAddress

KEY = 0x00
"""An account that one Ed25519 key controls."""
MULTISIG = 0x01
"""An account that a threshold of members controls."""
MODULE = 0x02
"""An account of the ledger itself; nobody can sign for it."""

ADDRESS_SIZE = 1 + HASH_SIZE
LONGEST_TEXT = 90
"""Characters in a bech32m string at most (BIP-173)."""
LONGEST_PREFIX = 30
"""Characters in a network prefix at most: with more, an address would not fit into bech32m."""

_KINDS = frozenset((KEY, MULTISIG, MODULE))
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M = 0x2BC830A3
_CHECKSUM_SIZE = 6


def key_address(public_key: bytes) -> bytes:
    """The address of the account that `public_key` (32 bytes) opens. Raises: ValueError: another length."""
    if len(public_key) != 32:
        raise ValueError("an Ed25519 public key is 32 bytes")
    return bytes((KEY,)) + tagged_hash("aitbc/address/key/1", public_key)


def multisig_address(creator: bytes, sequence: int, threshold: int, members: Sequence[bytes]) -> bytes:
    """The address of the multisig account that `creator` makes with its transaction number `sequence`.

    Args:
        creator: binary address of the creating account.
        sequence: u64, sequence number of the creating transaction.
        threshold: u32, approvals needed.
        members: binary addresses, in any order.

    Raises:
        ValueError: an address is malformed.
        OverflowError: a number does not fit.
    """
    if any(len(address) != ADDRESS_SIZE for address in (creator, *members)):
        raise ValueError("a binary address is 33 bytes")
    return bytes((MULTISIG,)) + tagged_hash(
        "aitbc/address/multisig/1",
        creator,
        sequence.to_bytes(8, "big"),
        threshold.to_bytes(4, "big"),
        *sorted(members),
    )


def module_address(name: str) -> bytes:
    """The address of the ledger's own account called `name`, such as "treasury"."""
    return bytes((MODULE,)) + tagged_hash("aitbc/address/module/1", name.encode("utf-8"))


@lru_cache(maxsize=65_536)
def format_address(prefix: str, address: bytes) -> str:
    """The text of a binary address on the network with `prefix`. Raises: InvalidAddress: no such address or prefix."""
    if len(address) != ADDRESS_SIZE or address[0] not in _KINDS:
        raise InvalidAddress(address=address[: 2 * ADDRESS_SIZE].hex(), reason="not a binary address")
    try:
        return bech32m_encode(prefix, _regroup(address, 8, 5, pad=True))
    except ValueError as error:
        raise InvalidAddress(address=address.hex(), reason=str(error)) from None


def parse_address(prefix: str, text: str) -> bytes:
    """The binary address that `text` spells on the network with `prefix`.

    Raises:
        InvalidAddress: damaged or malformed text.
        WrongNetworkAddress: a sound address of another network.
    """
    if not isinstance(text, str):
        raise InvalidAddress(address="", reason="not text")
    try:
        found, values = bech32m_decode(text)
        address = bytes(_regroup(values, 5, 8, pad=False))
        if len(address) != ADDRESS_SIZE:
            raise ValueError("wrong length")
        if address[0] not in _KINDS:
            raise ValueError("unknown kind of account")
    except ValueError as error:
        raise InvalidAddress(address=text[:LONGEST_TEXT], reason=str(error)) from None
    if found != prefix:
        raise WrongNetworkAddress(expected=prefix, got=found)
    return address


def bech32m_encode(prefix: str, values: Sequence[int]) -> str:
    """The bech32m string of 5-bit `values` under `prefix` (BIP-350), in lower case.

    Raises:
        ValueError: a prefix or value that bech32m cannot hold, or a result of more than 90 characters.
    """
    if not prefix or prefix != prefix.lower() or not all(33 <= ord(character) <= 126 for character in prefix):
        raise ValueError("a prefix is lower-case printable ASCII")
    if len(prefix) + 1 + len(values) + _CHECKSUM_SIZE > LONGEST_TEXT:
        raise ValueError("too long for bech32m")
    if not all(0 <= value < 32 for value in values):
        raise ValueError("a value has more than five bits")
    remainder = _polymod((*_expand_prefix(prefix), *values, *(0,) * _CHECKSUM_SIZE)) ^ _BECH32M
    checksum = [remainder >> 5 * (_CHECKSUM_SIZE - 1 - at) & 31 for at in range(_CHECKSUM_SIZE)]
    return prefix + "1" + "".join(_CHARSET[value] for value in (*values, *checksum))


def bech32m_decode(text: str) -> tuple[str, list[int]]:
    """The prefix, in lower case, and the 5-bit values of a bech32m string (BIP-350).

    Raises:
        ValueError: says what is wrong with the text, without quoting it.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError("too long")
    if not all(33 <= ord(character) <= 126 for character in text):
        raise ValueError("a character that addresses never have")
    lowered = text.lower()
    if text != lowered and text != text.upper():
        raise ValueError("upper and lower case mixed")
    prefix, separator, data = lowered.rpartition("1")
    if not separator:
        raise ValueError("no separator")
    if not prefix:
        raise ValueError("no prefix")
    if len(data) < _CHECKSUM_SIZE:
        raise ValueError("too short")
    try:
        values = [_VALUES[character] for character in data]
    except KeyError:
        raise ValueError("a character that addresses never have") from None
    if _polymod((*_expand_prefix(prefix), *values)) != _BECH32M:
        raise ValueError("wrong checksum")
    return prefix, values[:-_CHECKSUM_SIZE]


def _polymod(values: Iterable[int]) -> int:
    """The BCH checksum of BIP-173."""
    remainder = 1
    for value in values:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= generator
    return remainder


def _expand_prefix(prefix: str) -> list[int]:
    codes = [ord(character) for character in prefix]
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _regroup(values: Iterable[int], from_bits: int, to_bits: int, *, pad: bool) -> list[int]:
    """Cuts a bit string into other groups; without padding, what is left over must be a few zero bits (BIP-173)."""
    accumulator = bits = 0
    groups: list[int] = []
    for value in values:
        accumulator = accumulator << from_bits | value
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            groups.append(accumulator >> bits & (1 << to_bits) - 1)
        accumulator &= (1 << bits) - 1
    if pad:
        if bits:
            groups.append(accumulator << to_bits - bits)
    elif bits >= from_bits or accumulator:
        raise ValueError("wrong padding")
    return groups
