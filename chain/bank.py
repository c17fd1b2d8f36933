"""Accounts and the totals of money: every base unit is in exactly one place, and the totals say where.

Only this module, `escrow`, `stake` and `deposit` move money. Each movement adjusts an account and the totals together,
so that the equation in `invariants` holds after every step: balances + escrow + staked + unbonding + deposits +
rewards + epoch pot + treasury = issued - burnt.
"""

from dataclasses import dataclass, replace

from chain.errors import AmountOverflow, InsufficientFunds
from chain.parameters import Parameters, read_parameters
from chain.record import record
from chain.schema import U64, Amount, PublicKey, Unsigned32, Unsigned64
from chain.state.tables import Singleton, Table, TableId
from chain.state.view import View

NATIVE_ASSET = "AITBC"


@record(version=1)
@dataclass(frozen=True, slots=True)
class Account:
    """What the ledger keeps of an address."""

    balance: Amount = 0
    """Spendable money."""
    sequence: Unsigned64 = 0
    """Transactions included so far: the sequence of the next one."""
    key: PublicKey | None = None
    """The key that signs; None as long as it is the one that the address was made of."""
    rotations: Unsigned32 = 0
    """How often the key was replaced: approvals given under an earlier key are void."""
    deposit: Amount = 0
    """Held for the record, which stays for ever: its sequence keeps old transactions from running again."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Totals:
    """Where money is, beside the balances."""

    issued: Amount = 0
    """Created by genesis."""
    burnt: Amount = 0
    escrow: Amount = 0
    staked: Amount = 0
    """All stakes, collateral included."""
    unbonding: Amount = 0
    deposits: Amount = 0
    """Held until what they were paid for is over: records of the state, disputes."""
    rewards: Amount = 0
    """Shared among stakers and not claimed yet."""
    epoch_pot: Amount = 0
    """Collected for stakers in this epoch."""
    treasury: Amount = 0


ACCOUNTS: Table[Account] = Table(TableId.ACCOUNTS, Account)
TOTALS = Singleton(TableId.TOTALS, Totals)

_NEW_ACCOUNT = Account()

KEY_BYTES = 40
"""Charged for the key of a record and its place in the trie."""
ACCOUNT_BYTES = KEY_BYTES + 68
"""Of an account at its fullest, key rotated."""


def account(view: View, address: bytes) -> Account:
    """The account; an empty one if the address was never used."""
    return ACCOUNTS.get(view, address) or _NEW_ACCOUNT


def account_deposit(parameters: Parameters) -> int:
    """What a new account costs, base units."""
    return parameters.storage_deposit_per_byte * ACCOUNT_BYTES


def missing_deposit(view: View, address: bytes) -> int:
    """What paying this address costs on top, because it makes an account; 0 if there is one."""
    return 0 if ACCOUNTS.get(view, address) is not None else account_deposit(read_parameters(view))


def credit(view: View, address: bytes, amount: int) -> None:
    """Add to a balance. The first credit of an address makes its account, and pays the deposit for it."""
    if not amount:
        return
    old = ACCOUNTS.get(view, address)
    if old is None:
        deposit = min(amount, account_deposit(read_parameters(view)))
        adjust(view, deposits=deposit)
        old, amount = Account(deposit=deposit), amount - deposit
    ACCOUNTS.put(view, address, replace(old, balance=checked(old.balance + amount)))


def require_funds(view: View, address: bytes, amount: int, deposit: int = 0, returning: int = 0) -> None:
    """Raise InsufficientFunds unless the balance, with what is about to return, covers an amount and a deposit."""
    available = account(view, address).balance + returning
    if available < amount + deposit:
        details = {"deposit": deposit} if deposit else {}
        raise InsufficientFunds(needed=amount + deposit, available=available, **details)


def debit(view: View, address: bytes, amount: int) -> None:
    """Take from a balance. Raises InsufficientFunds."""
    old = account(view, address)
    if old.balance < amount:
        raise InsufficientFunds(needed=amount, available=old.balance)
    if amount:
        ACCOUNTS.put(view, address, replace(old, balance=old.balance - amount))


def totals(view: View) -> Totals:
    """Where money is, beside the balances."""
    return TOTALS.get(view) or Totals()


def adjust(view: View, **changes: int) -> None:
    """Add to (or, if negative, take from) the named totals."""
    old = totals(view)
    TOTALS.put(view, replace(old, **{name: getattr(old, name) + change for name, change in changes.items()}))


def share_fee(view: View, amount: int, staker_share: int, before: int = 0) -> None:
    """Give collected money to the stakers' pot (`staker_share` basis points, floored) and the rest to the treasury.

    `before` is what was collected for the same thing already: only the sum is floored, however often it is shared.
    """
    if amount:
        old = totals(view)
        stakers = (before + amount) * staker_share // 10_000 - before * staker_share // 10_000
        TOTALS.put(view, replace(old, epoch_pot=old.epoch_pot + stakers, treasury=old.treasury + amount - stakers))


def checked(amount: int) -> int:
    """The amount, if it fits 64 bits. Raises AmountOverflow."""
    if amount > U64:
        raise AmountOverflow(maximum=U64)
    return amount
