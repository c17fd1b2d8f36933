"""Stakes and the collateral inside them: the service that staking, GPUs, bookings and jobs share.

Collateral is a part of a stake that something live has reserved; it stays inside the stake and is counted once.
"""

from dataclasses import dataclass, replace

from chain.bank import adjust, checked, credit
from chain.errors import InsufficientCollateral
from chain.schema import Amount, Timestamp, record
from chain.state.tables import Table, TableId
from chain.state.view import View


@record(version=1)
@dataclass(frozen=True, slots=True)
class Stake:
    """What an account has locked."""

    amount: Amount = 0
    """All of it."""
    collateral: Amount = 0
    """What live GPUs, bookings and claims reserve; more than there is if a slash took of it."""
    locked_until_ms: Timestamp = 0
    """Block time before which nothing of it may be unstaked."""
    slashed: Amount = 0
    """Taken by slashes so far: by so much the collateral may exceed what is left."""

    @property
    def free(self) -> int:
        """What nothing has reserved, in base units; nothing if a slash took more than was free."""
        return max(0, self.amount - self.collateral)


STAKES: Table[Stake] = Table(TableId.STAKES, Stake)
_NO_STAKE = Stake()


def stake_of(view: View, address: bytes) -> Stake:
    """The stake of an account; an empty one if it has none."""
    return STAKES.get(view, address) or _NO_STAKE


def require_free(view: View, address: bytes, amount: int) -> None:
    """Raise InsufficientCollateral unless this much of the stake is free."""
    free = stake_of(view, address).free
    if free < amount:
        raise InsufficientCollateral(account=address, needed=amount, available=free)


def reserve(view: View, address: bytes, amount: int) -> None:
    """Turn free stake into collateral. Raises InsufficientCollateral."""
    require_free(view, address, amount)
    old = stake_of(view, address)
    STAKES.put(view, address, replace(old, collateral=old.collateral + amount))


def free(view: View, address: bytes, amount: int) -> None:
    """Turn collateral back into free stake."""
    old = stake_of(view, address)
    STAKES.put(view, address, replace(old, collateral=old.collateral - amount))


def add(view: View, address: bytes, amount: int, locked_until_ms: int) -> Stake:
    """Put money that has just left a balance into a stake; an earlier, longer lock stays. Returns the stake."""
    old = stake_of(view, address)
    new = replace(old, amount=checked(old.amount + amount), locked_until_ms=max(old.locked_until_ms, locked_until_ms))
    STAKES.put(view, address, new)
    adjust(view, staked=amount)
    return new


def remove(view: View, address: bytes, amount: int) -> None:
    """Take money out of a stake for its owner; the caller has seen that it is free, and says where it goes."""
    old = stake_of(view, address)
    STAKES.put(view, address, replace(old, amount=old.amount - amount))
    adjust(view, staked=-amount)


def seize(view: View, address: bytes, amount: int) -> None:
    """Take money out of a stake for a slash, at most all of it; what is reserved stays reserved in name.

    The caller says where it goes: see `chain.slashing`.
    """
    if not amount:
        return
    old = stake_of(view, address)
    STAKES.put(view, address, replace(old, amount=old.amount - amount, slashed=checked(old.slashed + amount)))
    adjust(view, staked=-amount)


def forfeit(view: View, address: bytes, amount: int, beneficiary: bytes) -> int:
    """Take reserved collateral out of a stake and pay it to the beneficiary's balance; returns what was paid.

    That is less than the amount only if a slash has left less.
    """
    if not amount:
        return 0
    old = stake_of(view, address)
    paid = min(amount, old.amount)
    STAKES.put(view, address, replace(old, amount=old.amount - paid, collateral=old.collateral - amount))
    adjust(view, staked=-paid)
    credit(view, beneficiary, paid)
    return paid
