"""Rewards: the fees of an epoch, shared among the stake that was locked for all of it.

`per_unit` is what one base unit that counted in every epoch has earned since genesis. A stake remembers where it stood
when it was last settled, so the turn of an epoch costs the same for one staker as for a million. What was added in an
epoch counts from the next; what left in it does not count any more. So a stake that was raised earns its old part for
that epoch and all of it afterwards, and asks later what `per_unit` was in between: EPOCH_SHARES keeps that for as long
as somebody will ask.

Everything is counted in fractions of 2^-64 base units and nothing is rounded but what a claim pays: what all are owed
and what could not be divided are exactly `Totals.rewards`, and how often somebody settles changes nothing.
"""

from dataclasses import dataclass, replace

from chain.action import Context
from chain.bank import adjust, totals
from chain.record import record
from chain.schema import Amount, Fixed192, Unsigned64
from chain.state.tables import Singleton, Table, TableId, u64
from chain.state.view import View

FRACTION_BITS = 64


@record(version=1)
@dataclass(frozen=True, slots=True)
class Rewards:
    """The running epoch, and what has been shared before it."""

    epoch: Unsigned64 = 0
    """How many epochs have ended."""
    per_unit: Fixed192 = 0
    """What one base unit has earned since genesis, in 2^-64 base units."""
    counted: Amount = 0
    """Stake that has been locked since the epoch began: all shares' `counted` as if settled now."""
    raised: Unsigned64 = 0
    """Stakes of which a part was added in this epoch: so many will ask what `per_unit` is at its end."""
    carry: Fixed192 = 0
    """In `Totals.rewards` but nobody's, 2^-64 base units: it is shared when the epoch ends."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class EpochShare:
    """Where an epoch ended, kept until nobody will ask."""

    per_unit: Fixed192
    """`Rewards.per_unit` after it."""
    waiting: Unsigned64
    """Stakes that were raised in it and have not been settled since."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Share:
    """What a stake has earned, as it was when the stake last changed."""

    counted: Amount = 0
    """The part of the stake that had been locked since `epoch` began; all of it from the next epoch on."""
    epoch: Unsigned64 = 0
    """Epoch before whose beginning everything is settled."""
    per_unit: Fixed192 = 0
    """`Rewards.per_unit` at that beginning."""
    owed: Fixed192 = 0
    """Earned before that beginning and not claimed, in 2^-64 base units."""

    @property
    def claimable(self) -> int:
        """What a claim would pay, base units, if this is settled now."""
        return self.owed >> FRACTION_BITS


NO_SHARE = Share()
REWARDS = Singleton(TableId.REWARDS, Rewards)
EPOCH_SHARES: Table[EpochShare] = Table(TableId.EPOCH_SHARES, EpochShare)
"""By epoch, eight bytes."""


def read_rewards(view: View) -> Rewards:
    """The running epoch and what has been shared before it."""
    return REWARDS.get(view) or Rewards()


def settled(view: View, share: Share, amount: int) -> Share:
    """The share of a stake of this amount, as it is now; changes nothing."""
    now = read_rewards(view)
    if share.epoch == now.epoch:
        return share
    owed, per_unit = share.owed, share.per_unit
    if share.counted < amount:
        between = _epoch_share(view, share.epoch).per_unit
        owed += share.counted * (between - per_unit)
        per_unit = between
    return Share(amount, now.epoch, now.per_unit, owed + amount * (now.per_unit - per_unit))


def change(view: View, share: Share, before: int, after: int) -> Share:
    """Settle the share of a stake that goes from one amount to another (or stays), and count it; returns the share."""
    fresh = settled(view, share, before)
    if share.counted < before and share.epoch != fresh.epoch:
        _ask_no_more(view, share.epoch)
    counted = min(fresh.counted, after)
    now = read_rewards(view)
    raised = now.raised + (counted < after) - (fresh.counted < before)
    REWARDS.put(view, replace(now, counted=now.counted + counted - fresh.counted, raised=raised))
    return replace(fresh, counted=counted)


def _epoch_share(view: View, epoch: int) -> EpochShare:
    found = EPOCH_SHARES.get(view, u64(epoch))
    if found is None:
        raise RuntimeError(f"the state has lost where epoch {epoch} ended, although a stake waits for it")
    return found


def _ask_no_more(view: View, epoch: int) -> None:
    found = _epoch_share(view, epoch)
    if found.waiting == 1:
        EPOCH_SHARES.delete(view, u64(epoch))
    else:
        EPOCH_SHARES.put(view, u64(epoch), replace(found, waiting=found.waiting - 1))


def pay(view: View, share: Share) -> tuple[Share, int]:
    """(share, amount): take what a settled share can claim out of the pool; the caller says where it goes."""
    amount = share.claimable
    adjust(view, rewards=-amount)
    return replace(share, owed=share.owed - (amount << FRACTION_BITS)), amount


def give_up(view: View, share: Share) -> None:
    """Leave the fraction of a base unit that a vanishing stake is still owed to the others."""
    now = read_rewards(view)
    REWARDS.put(view, replace(now, carry=now.carry + share.owed))


def end_epoch(context: Context) -> None:
    """Epoch handler: share the epoch's pot among the stake that counted; if there was none, it is the treasury's."""
    now, money = read_rewards(context.view), totals(context.view)
    per_unit, carry, pot = now.per_unit, now.carry, money.epoch_pot
    if now.counted:
        gained, carry = divmod((pot << FRACTION_BITS) + carry, now.counted)
        per_unit += gained
        adjust(context.view, epoch_pot=-pot, rewards=pot)
    else:
        adjust(context.view, epoch_pot=-pot, treasury=pot)
    if now.raised:
        EPOCH_SHARES.put(context.view, u64(now.epoch), EpochShare(per_unit, now.raised))
    REWARDS.put(context.view, Rewards(now.epoch + 1, per_unit, money.staked, 0, carry))
    if pot:
        context.emit("stake.rewards_shared", [], epoch=now.epoch, amount=pot, counted=now.counted)
