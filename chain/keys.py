"""Which key signs for which account: at any time one key an account, and one account a key.

An account begins with the key that its address was made of. Rotation gives it another one and keeps the address; the
old key signs for nothing from then on, and the new one for nothing else, not even for the account of its own address.
"""

from dataclasses import dataclass, replace

from chain.bank import ACCOUNTS, KEY_BYTES, account
from chain.crypto.address import KEY, key_address
from chain.errors import KeyMismatch, LedgerError
from chain.parameters import Parameters
from chain.record import record
from chain.schema import Address, Amount, Boolean
from chain.state.tables import Table, TableId
from chain.state.view import View


@record(version=1)
@dataclass(frozen=True, slots=True)
class KeyBinding:
    """What a key that took part in a rotation may do; its table key is the public key."""

    account: Address
    retired: Boolean
    deposit: Amount = 0
    """Held for this record and the alias; both stay for ever, because a key belongs to one account for ever."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Alias:
    """To which account the key of an address was bound; its table key is the address, which nobody can sign for."""

    account: Address


KEYS: Table[KeyBinding] = Table(TableId.KEYS, KeyBinding)
ALIASES: Table[Alias] = Table(TableId.ALIASES, Alias)

BINDING_BYTES = 2 * KEY_BYTES + 47 + 37
"""Of a binding at its fullest and an alias."""


class AddressNotUsable(LedgerError):
    code = 1109
    hint = "The key of this address signs for another account; name that account instead."


def require_current_key(view: View, sender: bytes, public_key: bytes) -> None:
    """Raise KeyMismatch unless this key signs for this account now."""
    binding = KEYS.get(view, public_key)
    if binding is None:
        matches = sender[0] == KEY and key_address(public_key) == sender and account(view, sender).key is None
    else:
        matches = binding.account == sender and not binding.retired
    if not matches:
        raise KeyMismatch(sender=sender)


def is_bound(view: View, public_key: bytes) -> bool:
    """Whether a key belongs, or belonged, to some account: bound by rotation, or its own address is in use."""
    return KEYS.get(view, public_key) is not None or ACCOUNTS.get(view, key_address(public_key)) is not None


def require_usable(view: View, address: bytes) -> None:
    """Raise AddressNotUsable if nobody can ever sign for an address, because its key was bound to another account."""
    alias = ALIASES.get(view, address)
    if alias is not None:
        raise AddressNotUsable(address=address, account=alias.account)


def binding_deposit(parameters: Parameters) -> int:
    """What giving an account a key costs, base units."""
    return parameters.storage_deposit_per_byte * BINDING_BYTES


def bind(view: View, address: bytes, key: bytes, deposit: int) -> None:
    """Let a key sign for an account, and for nothing else; the caller holds the deposit."""
    KEYS.put(view, key, KeyBinding(address, False, deposit))
    ALIASES.put(view, key_address(key), Alias(address))


def retire(view: View, key: bytes) -> None:
    """Let a bound key sign for nothing any more."""
    binding = KEYS.get(view, key)
    if binding is not None:
        KEYS.put(view, key, replace(binding, retired=True))
