"""Giving an account another key, in an order in which no crash and no lost answer loses one.

The next key exists on disk before the ledger hears of it: an hd wallet derives it from its words, a simple wallet keeps
it in a wallet of its own, `NAME.next`, sealed by the same passphrase. Only when the rotation is final does the wallet
sign with it. Whatever happens in between, the ledger knows which key signs, and `find` finds that key again.
"""

import secrets
from dataclasses import dataclass, field

from chain.actions.accounts import RotateKey, rotation_bytes
from chain.crypto.ed25519 import PrivateKey
from wallet.derivation import parse_path
from wallet.errors import WalletError
from wallet.keystore import Keystore
from wallet.wallet_file import Kind, UnlockedWallet, Wallet

SEARCHED_KEYS = 200
"""Keys of an hd account that are tried to find the one that the ledger knows."""
_NEXT = ".next"


class KeyNotHere(WalletError):
    """data: wallet."""

    code = 3109
    text = "Another key than that of wallet {wallet} signs for its account, and this machine does not know it."
    advice = "Restore the wallet from a backup that was made after its key was rotated."


@dataclass(frozen=True, slots=True)
class Successor:
    """A key that can follow that of a wallet."""

    key: PrivateKey = field(repr=False)
    index: int | None
    """Number of the key of an hd account."""
    seed: bytes | None = field(repr=False)
    """Seed of a simple wallet."""


def next_name(name: str) -> str:
    """The wallet that keeps the next key of a simple wallet."""
    return name[: 64 - len(_NEXT)] + _NEXT


def prepare(
    keystore: Keystore, wallet: UnlockedWallet, passphrase: str, *, index: int | None = None, keep: bool = True
) -> Successor:
    """The key that comes next, safe on disk before this returns.

    Args:
        index: of an hd wallet's key; the one after the present one if left out.
        keep: False for a mere look, which leaves nothing behind.

    Raises: as `Keystore.create` and `UnlockedWallet.key_at`.
    """
    if wallet.wallet.kind is Kind.HD:
        number = _index(wallet.wallet) + 1 if index is None else index
        return Successor(wallet.key_at(number), number, None)
    kept = _kept(keystore, wallet.wallet, passphrase)
    if kept is not None and kept.key.public_key != wallet.public_key:
        return kept
    if kept is not None:
        keystore.delete(next_name(wallet.wallet.name))
    seed = secrets.token_bytes(32)
    if keep:
        keystore.create(
            next_name(wallet.wallet.name),
            Kind.SIMPLE,
            seed,
            passphrase,
            prefix=wallet.wallet.prefix,
            address=wallet.wallet.address,
            allow_empty_passphrase=not passphrase,
        )
    return Successor(PrivateKey(seed), None, seed)


def action_for(chain_id: str, wallet: Wallet, successor: Successor) -> RotateKey:
    """The action that gives the wallet's account this key."""
    new_key = successor.key.public_key
    return RotateKey(new_key, successor.key.sign(rotation_bytes(chain_id, wallet.address, new_key)))


def find(keystore: Keystore, wallet: UnlockedWallet, passphrase: str, public_key: bytes) -> Successor:
    """The key that the ledger knows, for a wallet that has not taken it up yet. Raises KeyNotHere."""
    if wallet.wallet.kind is Kind.HD:
        for number in range(SEARCHED_KEYS):
            key = wallet.key_at(number)
            if key.public_key == public_key:
                return Successor(key, number, None)
    else:
        kept = _kept(keystore, wallet.wallet, passphrase)
        if kept is not None and kept.key.public_key == public_key:
            return kept
    raise KeyNotHere(wallet=wallet.wallet.name)


def take_up(keystore: Keystore, wallet: Wallet, passphrase: str, successor: Successor) -> Wallet:
    """Let the wallet sign with the key from now on. Only once its rotation is final."""
    changed = keystore.rekey(wallet.name, passphrase, index=successor.index, seed=successor.seed)
    if successor.seed is not None and next_name(wallet.name) in keystore.names():
        keystore.delete(next_name(wallet.name))
    return changed


def _index(wallet: Wallet) -> int:
    return parse_path(wallet.path or "")[-1]


def _kept(keystore: Keystore, wallet: Wallet, passphrase: str) -> Successor | None:
    name = next_name(wallet.name)
    if name not in keystore.names():
        return None
    with keystore.open(name).unlock(passphrase) as opened:
        seed = bytes.fromhex(opened.export_secret())
    return Successor(PrivateKey(seed), None, seed)
