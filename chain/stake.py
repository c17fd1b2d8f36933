"""Stakes and the collateral inside them: the service that staking, GPUs, bookings and jobs share.

Collateral is a part of a stake that something live has reserved; it stays inside the stake and is counted once. What
an operator of an authority must keep never becomes collateral, because collateral can leave a stake at once: he could
forfeit it to a renter who is himself before he is convicted of what he signed.
Whatever changes an amount settles its rewards first, so every change goes through `_store`.
"""

from dataclasses import dataclass, replace

from chain import rewards
from chain.action import Context
from chain.authorities import stake_bound
from chain.bank import adjust, checked, credit
from chain.clocks import read_clocks
from chain.deposit import give_back, size_of, take
from chain.errors import InsufficientCollateral
from chain.parameters import read_parameters
from chain.record import record
from chain.rewards import NO_SHARE, Share
from chain.schema import Amount, Timestamp
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
    share: Share = NO_SHARE
    """What it earns, see `chain.rewards`."""
    deposit: Amount = 0
    """Paid by the owner; returned when nothing is left of the stake."""

    @property
    def free(self) -> int:
        """What nothing has reserved, in base units; nothing if a slash took more than was free."""
        return max(0, self.amount - self.collateral)


STAKES: Table[Stake] = Table(TableId.STAKES, Stake)
_NO_STAKE = Stake()
STAKE_BYTES = size_of(_NO_STAKE)


def stake_of(view: View, address: bytes) -> Stake:
    """The stake of an account; an empty one if it has none."""
    return STAKES.get(view, address) or _NO_STAKE


def spare(view: View, address: bytes) -> int:
    """What of the free stake may become collateral: all but what an operator of an authority must keep, base units."""
    free, parameters = stake_of(view, address).free, read_parameters(view)
    epoch = max(0, read_clocks(view).height - 1) // parameters.epoch_blocks
    return max(0, free - stake_bound(view, parameters, epoch, address)) if free else 0


def require_free(view: View, address: bytes, amount: int) -> None:
    """Raise InsufficientCollateral unless this much of the stake may become collateral."""
    available = spare(view, address) if amount else 0
    if available < amount:
        raise InsufficientCollateral(account=address, needed=amount, available=available)


def reserve(view: View, address: bytes, amount: int) -> None:
    """Turn free stake into collateral. Raises InsufficientCollateral."""
    if not amount:
        return
    require_free(view, address, amount)
    old = stake_of(view, address)
    STAKES.put(view, address, replace(old, collateral=old.collateral + amount))


def free(context: Context, address: bytes, amount: int) -> None:
    """Turn collateral back into free stake."""
    if not amount:
        return
    old = stake_of(context.view, address)
    new = replace(old, collateral=old.collateral - amount)
    if new.amount:
        STAKES.put(context.view, address, new)
    else:
        _store(context, address, old, new)


def _store(context: Context, address: bytes, old: Stake, new: Stake) -> Stake:
    """Settle the rewards of a stake and write what becomes of it; one of which nothing is left goes."""
    share = rewards.change(context.view, old.share, old.amount, new.amount)
    adjust(context.view, staked=new.amount - old.amount)
    if new.amount or new.collateral or share.claimable:
        stored = replace(new, share=share)
        STAKES.put(context.view, address, stored)
        return stored
    rewards.give_up(context.view, share)
    if STAKES.get(context.view, address) is not None:
        STAKES.delete(context.view, address)
        give_back(context, address, old.deposit, ("stake", address))
    return _NO_STAKE


def missing_deposit(context: Context, address: bytes) -> int:
    """What the first stake of an account costs on top, because it makes a record; 0 if there is one."""
    known = STAKES.get(context.view, address) is not None
    return 0 if known else context.parameters.storage_deposit_per_byte * STAKE_BYTES


def add(context: Context, address: bytes, amount: int, locked_until_ms: int) -> Stake:
    """Put money that has just left a balance into a stake; an earlier, longer lock stays. Returns the stake.

    The first takes the deposit for the record from the balance as well. Raises InsufficientFunds.
    """
    old = stake_of(context.view, address)
    deposit = missing_deposit(context, address)
    take(context, address, deposit, ("stake", address))
    old = replace(old, deposit=old.deposit + deposit)
    new = replace(old, amount=checked(old.amount + amount), locked_until_ms=max(old.locked_until_ms, locked_until_ms))
    return _store(context, address, old, new)


def remove(context: Context, address: bytes, amount: int) -> None:
    """Take money out of a stake for its owner; the caller has seen that it is free, and says where it goes."""
    old = stake_of(context.view, address)
    _store(context, address, old, replace(old, amount=old.amount - amount))


def seize(context: Context, address: bytes, amount: int) -> None:
    """Take money out of a stake for a slash, at most all of it; what is reserved stays reserved in name.

    The caller says where it goes: see `chain.slashing`.
    """
    if amount:
        old = stake_of(context.view, address)
        _store(context, address, old, replace(old, amount=old.amount - amount, slashed=checked(old.slashed + amount)))


def forfeit(context: Context, address: bytes, amount: int, beneficiary: bytes) -> int:
    """Take reserved collateral out of a stake and pay it to the beneficiary's balance; returns what was paid.

    That is less than the amount only if a slash has left less.
    """
    if not amount:
        return 0
    old = stake_of(context.view, address)
    paid = min(amount, old.amount)
    _store(context, address, old, replace(old, amount=old.amount - paid, collateral=old.collateral - amount))
    credit(context.view, beneficiary, paid)
    return paid


def claimable(view: View, address: bytes) -> int:
    """The rewards that a claim would pay now, base units."""
    held = stake_of(view, address)
    return rewards.settled(view, held.share, held.amount).claimable


def claim(context: Context, address: bytes) -> int:
    """Move the rewards of an account to its balance; returns the amount."""
    old = stake_of(context.view, address)
    share, amount = rewards.pay(context.view, rewards.change(context.view, old.share, old.amount, old.amount))
    settled = replace(old, share=share)
    _store(context, address, settled, settled)
    credit(context.view, address, amount)
    return amount
