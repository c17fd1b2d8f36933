"""One wallet as bytes: what is public, what is sealed by the passphrase, and how damage is told from an attack.

A file is JSON. Its public part (kind, network prefix, address, public key) can be read without the passphrase. The
secret is sealed by XChaCha20-Poly1305 under a key that Argon2id derives from the passphrase, with the public part
authenticated along with it: nobody can change the address shown by a wallet that is going to be unlocked. Three
failures are kept apart: a wrong checksum is damage, a wrong check value is a wrong passphrase, and a seal that does
not open under the right passphrase is tampering. The name of a wallet is that of its file and no part of it.
"""

import contextlib
import hmac
import json
import re
import secrets
import unicodedata
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Never, Self

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from chain.crypto.address import format_address, key_address, parse_address
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256, tagged_hash
from chain.errors import InvalidAddress
from wallet.derivation import account_path, derive_key, parse_path
from wallet.errors import (
    DamagedWallet,
    InvalidDerivationPath,
    InvalidPassphrase,
    InvalidSecret,
    KeyDerivationFailed,
    TamperedWallet,
    UnknownWalletVersion,
    UnreasonableCost,
    WalletLocked,
    WatchOnlyWallet,
    WrongPassphrase,
)
from wallet.mnemonic import mnemonic_from_entropy, seed_from_mnemonic

FORMAT = "aitbc-wallet"
VERSION = 1
LARGEST_FILE = 64 * 1024
"""Bytes read of a wallet file at most; a version 1 file has about 900."""

_SALT_SIZE = 16
_NONCE_SIZE = 24
_CHECK_SIZE = 32
_TAG_SIZE = 16
_SECRET_SIZES = (16, 32)
_LONGEST_PASSPHRASE = 1024
_LATEST_TIME_MS = (1 << 53) - 1


class Kind(StrEnum):
    """What a wallet holds."""

    HD = "hd"
    """The entropy of recovery words, from which keys are derived."""
    SIMPLE = "simple"
    """One Ed25519 seed."""
    WATCH = "watch"
    """An address to look at, without a key."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What deriving a key from a passphrase takes (Argon2id, one lane)."""

    passes: int
    """1 to 12."""
    memory_bytes: int
    """8 KiB to 1 GiB."""

    def is_reasonable(self) -> bool:
        """Whether a file may ask for this: a hostile one must neither fill the memory nor stop the program."""
        return 1 <= self.passes <= 12 and 8 * 1024 <= self.memory_bytes <= 1 << 30


NORMAL_COST = Cost(passes=3, memory_bytes=256 << 20)
"""libsodium's "moderate": about half a second."""
CHEAPEST_COST = Cost(passes=1, memory_bytes=8 * 1024)
"""For the empty passphrase, where no amount of work protects anything."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A secret under a passphrase."""

    cost: Cost
    passphrase_needed: bool
    """False if the passphrase is empty."""
    salt: bytes
    """16 bytes, new at every writing."""
    check: bytes
    """32 bytes that tell a right passphrase from a wrong one."""
    nonce: bytes
    """24 bytes, new at every writing."""
    ciphertext: bytes
    """16 bytes of entropy, or 32 of entropy or seed, and the tag of 16 bytes."""


@dataclass(frozen=True, slots=True)
class Wallet:
    """What anyone who can read the file knows of a wallet; `unlock` gives the rest."""

    name: str
    kind: Kind
    prefix: str
    """Prefix of the network whose addresses it shows, such as "ait"."""
    address: bytes
    """33 bytes. Stays when the key of the account is rotated, so it need not be that of `public_key`."""
    public_key: bytes | None
    """32 bytes; unknown for a wallet that watches an address."""
    path: str | None
    """SLIP-0010 path of the key of an hd wallet."""
    created_ms: int
    """Unix time in milliseconds."""
    seal: Seal | None = field(repr=False)
    """None for a wallet that only watches."""

    @property
    def address_text(self) -> str:
        """The address in bech32m."""
        return format_address(self.prefix, self.address)

    @property
    def can_sign(self) -> bool:
        """False for a wallet that only watches."""
        return self.seal is not None

    @property
    def passphrase_needed(self) -> bool:
        """Whether unlocking takes a passphrase."""
        return self.seal is not None and self.seal.passphrase_needed

    def unlock(self, passphrase: str = "") -> "UnlockedWallet":
        """Open the seal, which takes about half a second.

        Raises:
            WatchOnlyWallet, WrongPassphrase, InvalidPassphrase, TamperedWallet, KeyDerivationFailed.
        """
        return UnlockedWallet(self, _open_seal(self, passphrase))


class UnlockedWallet:
    """A wallet with its secret in memory. Shows it nowhere, cannot be copied, and forgets it on `lock`.

    Python cannot erase memory for certain: `lock` drops the references, and short-lived processes do the rest.
    """

    __slots__ = ("_key", "_secret", "wallet")

    def __init__(self, wallet: Wallet, secret: bytes) -> None:
        """Args: secret: entropy or seed. Raises: TamperedWallet: it is not the secret of this wallet."""
        key = private_key(wallet.kind, secret, wallet.path)
        if key.public_key != wallet.public_key:
            raise TamperedWallet(wallet=wallet.name)
        self.wallet = wallet
        self._key: PrivateKey | None = key
        self._secret: bytes | None = secret

    @property
    def public_key(self) -> bytes:
        """The 32-byte key that signs."""
        return self._opened()[0].public_key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`. Raises: WalletLocked."""
        return self._opened()[0].sign(message)

    def export_secret(self) -> str:
        """The recovery words of an hd wallet, or the seed of a simple one in hex: for the owner's eyes alone.

        Raises:
            WalletLocked.
        """
        secret = self._opened()[1]
        return mnemonic_from_entropy(secret) if self.wallet.kind is Kind.HD else secret.hex()

    def derive_secret(self, purpose: str) -> bytes:
        """32 secret bytes for another use than signing, such as "sealing", always the same for one wallet.

        Rotating the key of an hd wallet does not change them, so what was sealed before can still be opened.

        Raises:
            WalletLocked.
        """
        return tagged_hash("aitbc/wallet/secret/1", self._opened()[1], purpose.encode("utf-8"))

    def key_at(self, index: int) -> PrivateKey:
        """Key number `index` of an hd wallet's account. Raises: InvalidSecret, InvalidDerivationPath, WalletLocked."""
        if self.wallet.path is None:
            raise InvalidSecret(expected="recovery words")
        path = account_path(parse_path(self.wallet.path)[2], index)
        return private_key(self.wallet.kind, self._opened()[1], path)

    def lock(self) -> None:
        """Forget the secret; everything but `wallet` raises WalletLocked from then on."""
        self._key = self._secret = None

    def _opened(self) -> tuple[PrivateKey, bytes]:
        if self._key is None or self._secret is None:
            raise WalletLocked(wallet=self.wallet.name)
        return self._key, self._secret

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lock()

    def __repr__(self) -> str:
        return f"UnlockedWallet({self.wallet.name})"

    def __reduce__(self) -> Never:
        raise TypeError("an unlocked wallet is not copied or serialised")


def private_key(kind: Kind, secret: bytes, path: str | None) -> PrivateKey:
    """The signing key of an hd (entropy and path) or simple (seed) wallet. Raises: InvalidSecret: another length."""
    if kind is Kind.HD and path is not None and len(secret) in _SECRET_SIZES:
        return PrivateKey(derive_key(seed_from_mnemonic(mnemonic_from_entropy(secret)), path))
    if kind is Kind.SIMPLE and path is None and len(secret) == 32:
        return PrivateKey(secret)
    raise InvalidSecret(expected="recovery words" if kind is Kind.HD else "a seed of 32 bytes")


def make_wallet(
    name: str,
    kind: Kind,
    secret: bytes,
    passphrase: str,
    *,
    prefix: str,
    created_ms: int,
    path: str | None = None,
    address: bytes | None = None,
    cost: Cost = NORMAL_COST,
) -> Wallet:
    """A wallet of kind hd or simple that signs with the key of `secret`, sealed by `passphrase`.

    Args:
        address: binary address of the account, if it is not the one that the key itself opens.

    Raises:
        InvalidSecret, InvalidDerivationPath, InvalidPassphrase, KeyDerivationFailed, chain's InvalidAddress.
    """
    public_key = private_key(kind, secret, path).public_key
    address = key_address(public_key) if address is None else address
    # Formatting now means that what is written can be read again.
    format_address(prefix, address)
    wallet = Wallet(name, kind, prefix, address, public_key, path, created_ms, None)
    return seal_wallet(wallet, secret, passphrase, cost)


def seal_wallet(
    wallet: Wallet, secret: bytes, passphrase: str, cost: Cost, *, salt: bytes | None = None, nonce: bytes | None = None
) -> Wallet:
    """`wallet` with `secret` sealed anew. Salt (16 bytes) and nonce (24 bytes) are drawn unless given.

    Raises:
        InvalidPassphrase, KeyDerivationFailed.
    """
    prepared = _passphrase_bytes(passphrase)
    salt = secrets.token_bytes(_SALT_SIZE) if salt is None else salt
    nonce = secrets.token_bytes(_NONCE_SIZE) if nonce is None else nonce
    if not prepared:
        cost = CHEAPEST_COST
    key, check = _stretch(prepared, salt, cost)
    sealed = replace(wallet, seal=Seal(cost, bool(prepared), salt, check, nonce, b""))
    ciphertext = crypto_aead_xchacha20poly1305_ietf_encrypt(secret, _authenticated(sealed), nonce, key)
    return replace(sealed, seal=Seal(cost, bool(prepared), salt, check, nonce, ciphertext))


def reseal(
    wallet: Wallet, old: str, new: str, cost: Cost, *, secret: bytes | None = None, path: str | None = None
) -> Wallet:
    """`wallet`, opened by the passphrase `old` and sealed by `new`, if asked with another secret or another path.

    Raises:
        As `Wallet.unlock` and `make_wallet`.
    """
    with wallet.unlock(old) as opened:
        if secret is None:
            secret = opened._opened()[1]
    return make_wallet(
        wallet.name,
        wallet.kind,
        secret,
        new,
        prefix=wallet.prefix,
        created_ms=wallet.created_ms,
        path=wallet.path if path is None else path,
        address=wallet.address,
        cost=cost,
    )


def encode_wallet(wallet: Wallet) -> bytes:
    """The bytes of the file: JSON in ASCII, indented, with a checksum."""
    document = _document(wallet)
    document["checksum"] = _checksum(document)
    return json.dumps(document, indent=2).encode("ascii") + b"\n"


def decode_wallet(name: str, data: bytes) -> Wallet:
    """The wallet in a file. Nothing that the file says is used before its checksum, shape and limits were checked.

    Raises:
        DamagedWallet, UnknownWalletVersion, UnreasonableCost.
    """
    document = _parse_json(name, data)
    if document.get("format") != FORMAT:
        raise DamagedWallet(wallet=name, reason="this is not a wallet file")
    version = document.get("version")
    if type(version) is not int:
        raise DamagedWallet(wallet=name, reason="it has no version")
    if version != VERSION:
        # Compared before the checksum, because another version may compute that in another way.
        raise UnknownWalletVersion(wallet=name, version=min(max(version, 0), 1 << 32), supported=VERSION)
    try:
        if document.pop("checksum", None) != _checksum(document):
            raise DamagedWallet(wallet=name, reason="the checksum is wrong")
        return _wallet_from_document(name, document)
    except (KeyError, TypeError, ValueError, RecursionError, InvalidAddress, InvalidDerivationPath):
        raise DamagedWallet(wallet=name, reason="a field is missing or malformed") from None


def _open_seal(wallet: Wallet, passphrase: str) -> bytes:
    seal = wallet.seal
    if seal is None:
        raise WatchOnlyWallet(wallet=wallet.name)
    key, check = _stretch(_passphrase_bytes(passphrase), seal.salt, seal.cost)
    if not hmac.compare_digest(check, seal.check):
        raise WrongPassphrase(wallet=wallet.name)
    secret = None
    with contextlib.suppress(CryptoError):
        secret = crypto_aead_xchacha20poly1305_ietf_decrypt(seal.ciphertext, _authenticated(wallet), seal.nonce, key)
    if secret is None:
        raise TamperedWallet(wallet=wallet.name)
    return secret


def _passphrase_bytes(passphrase: str) -> bytes:
    """The same bytes however a keyboard composes its letters (NFKD, as BIP-39 does)."""
    # The error of a failed encoding carries the text, so it is let go before our own is raised.
    prepared = None
    if len(passphrase) <= _LONGEST_PASSPHRASE:
        with contextlib.suppress(UnicodeEncodeError):
            prepared = unicodedata.normalize("NFKD", passphrase).encode("utf-8")
    if prepared is None or len(prepared) > _LONGEST_PASSPHRASE:
        raise InvalidPassphrase()
    return prepared


def _stretch(passphrase: bytes, salt: bytes, cost: Cost) -> tuple[bytes, bytes]:
    """The 32-byte key of the seal and the check value. The check is a hash of bytes that serve nothing else."""
    try:
        derived = argon2id.kdf(64, passphrase, salt, opslimit=cost.passes, memlimit=cost.memory_bytes)
    except (RuntimeError, MemoryError):
        raise KeyDerivationFailed(memory_bytes=cost.memory_bytes) from None
    return derived[:32], tagged_hash("aitbc/wallet/check/1", derived[32:])


def _document(wallet: Wallet) -> dict[str, Any]:
    seal = wallet.seal
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": str(wallet.kind),
        "prefix": wallet.prefix,
        "address": wallet.address_text,
        "public_key": None if wallet.public_key is None else wallet.public_key.hex(),
        "path": wallet.path,
        "created_ms": wallet.created_ms,
        "seal": None
        if seal is None
        else {
            "kdf": "argon2id",
            "passes": seal.cost.passes,
            "memory_bytes": seal.cost.memory_bytes,
            "passphrase_needed": seal.passphrase_needed,
            "salt": seal.salt.hex(),
            "check": seal.check.hex(),
            "cipher": "xchacha20-poly1305",
            "nonce": seal.nonce.hex(),
            "ciphertext": seal.ciphertext.hex(),
        },
    }


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def _checksum(document: dict[str, Any]) -> str:
    return sha256(_canonical(document)).hex()


def _authenticated(wallet: Wallet) -> bytes:
    """Everything in the file but the ciphertext and the checksum."""
    document = _document(wallet)
    del document["seal"]["ciphertext"]
    return _canonical(document)


def _parse_json(name: str, data: bytes) -> dict[str, Any]:
    if len(data) > LARGEST_FILE:
        raise DamagedWallet(wallet=name, reason="it is larger than any wallet file")
    try:
        document = json.loads(data.decode("ascii"), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        raise DamagedWallet(wallet=name, reason="it is not JSON") from None
    if not isinstance(document, dict):
        raise DamagedWallet(wallet=name, reason="this is not a wallet file")
    return document


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is repeated")
    return document


def _wallet_from_document(name: str, document: dict[str, Any]) -> Wallet:
    """Raises: KeyError, TypeError, ValueError, InvalidAddress, InvalidDerivationPath: see `decode_wallet`."""
    kind = Kind(document["kind"])
    prefix = _text(document["prefix"])
    path = document["path"]
    public_key = document["public_key"]
    wallet = Wallet(
        name=name,
        kind=kind,
        prefix=prefix,
        address=parse_address(prefix, document["address"]),
        public_key=None if public_key is None else _bytes(public_key, 32),
        path=None if path is None else _text(path),
        created_ms=_integer(document["created_ms"], _LATEST_TIME_MS),
        seal=None if kind is Kind.WATCH else _seal_from_document(name, document["seal"]),
    )
    if wallet.path is not None:
        steps = parse_path(wallet.path)
        if len(steps) != 5 or wallet.path != account_path(steps[2], steps[4]):
            raise ValueError("a path of another form")
    if (wallet.path is not None) != (kind is Kind.HD) or (public_key is None and kind is not Kind.WATCH):
        raise ValueError("fields of another kind")
    # What this version does not know must not be dropped silently at the next writing.
    if _document(wallet) != document:
        raise ValueError("unknown fields")
    return wallet


def _seal_from_document(name: str, document: dict[str, Any]) -> Seal:
    passes = _integer(document["passes"], 1 << 62)
    memory_bytes = _integer(document["memory_bytes"], 1 << 62)
    cost = Cost(passes, memory_bytes)
    if not cost.is_reasonable():
        raise UnreasonableCost(wallet=name, passes=passes, memory_bytes=memory_bytes)
    if type(document["passphrase_needed"]) is not bool:
        raise TypeError("not a truth value")
    ciphertext = bytes.fromhex(_text(document["ciphertext"]))
    if len(ciphertext) - _TAG_SIZE not in _SECRET_SIZES:
        raise ValueError("wrong length")
    return Seal(
        cost=cost,
        passphrase_needed=document["passphrase_needed"],
        salt=_bytes(document["salt"], _SALT_SIZE),
        check=_bytes(document["check"], _CHECK_SIZE),
        nonce=_bytes(document["nonce"], _NONCE_SIZE),
        ciphertext=ciphertext,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _integer(value: object, largest: int) -> int:
    if type(value) is not int:
        raise TypeError("not an integer")
    if not 0 <= value <= largest:
        raise ValueError("out of range")
    return value


def _bytes(value: object, size: int) -> bytes:
    if not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", _text(value)):
        raise ValueError("not bytes in hex")
    return bytes.fromhex(_text(value))
