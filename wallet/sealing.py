"""Sealed messages: access details and payload keys that only one account can open, carried in public transactions.

A sealed box (X25519, XSalsa20-Poly1305, ephemeral sender key) of libsodium. The key is derived from the wallet's
secret, so restoring the wallet restores what was sealed to it.
"""

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from wallet.errors import WalletError
from wallet.wallet_file import UnlockedWallet

_PURPOSE = "sealing"


class CannotOpenSeal(WalletError):
    code = 3103
    text = "This wallet cannot open the sealed message."
    advice = "It was sealed to another key."


def sealing_key(wallet: UnlockedWallet) -> bytes:
    """The 32-byte X25519 public key to which others seal messages for this wallet."""
    return bytes(PrivateKey(wallet.derive_secret(_PURPOSE)).public_key)


def seal(message: bytes, key: bytes) -> bytes:
    """The message, readable by the owner of `key` alone; 48 bytes longer. Raises ValueError for a bad key."""
    return SealedBox(PublicKey(key)).encrypt(message)


def unseal(wallet: UnlockedWallet, sealed: bytes) -> bytes:
    """The message sealed to this wallet. Raises CannotOpenSeal."""
    try:
        return SealedBox(PrivateKey(wallet.derive_secret(_PURPOSE))).decrypt(sealed)
    except (CryptoError, ValueError) as error:
        raise CannotOpenSeal() from error
