"""Slashing: taking stake from whoever broke a rule that his stake vouched for.

A slash takes free stake, then unbondings (the soonest due first), then collateral, and never more than there is. So
what somebody tries to take away goes before what secures renters. Part of it, up to a cap and at most half, rewards
whoever showed the fault; the rest is burnt. Collateral that was taken stays reserved in name (`Stake.collateral`), so
nothing that it secured has to be found: whatever is forfeited later takes what is left.
"""

from dataclasses import dataclass

from chain import stake, unbonding
from chain.action import Context
from chain.bank import adjust, credit
from chain.record import record
from chain.schema import Amount, BasisPoints

SLASH_WEIGHT = 40
"""Weight of a slash at worst, with every unbonding that an account may have."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Slash:
    """What one slash did."""

    rate: BasisPoints
    """Share of the stake that it was to take; of one by amount, the share that it took, floored."""
    stake_before: Amount
    """Stake and open unbondings before it."""
    amount: Amount
    """What was taken, base units."""
    reward: Amount
    """The part that went to the beneficiary."""

    @property
    def burnt(self) -> int:
        """The part that is gone, base units."""
        return self.amount - self.reward


def slash_share(
    context: Context, address: bytes, rate: int, *, beneficiary: bytes | None = None, reward_cap: int = 0
) -> Slash:
    """Take floor(rate / 10,000) of all that an account has staked or is unbonding.

    Args:
        rate: basis points.
        beneficiary: gets up to `reward_cap` of it, and at most half, unless it is the account itself.
    """
    before = _stake_before(context, address)
    return _slash(context, address, before, before * rate // 10_000, rate, beneficiary, reward_cap)


def slash_amount(
    context: Context, address: bytes, amount: int, *, beneficiary: bytes | None = None, reward_cap: int = 0
) -> Slash:
    """Take an amount, or all that there is if that is less; see `slash_share`."""
    before = _stake_before(context, address)
    taken = min(amount, before)
    rate = taken * 10_000 // before if before else 0
    return _slash(context, address, before, taken, rate, beneficiary, reward_cap)


def _stake_before(context: Context, address: bytes) -> int:
    open_now = unbonding.open_unbondings(context, address)
    return stake.stake_of(context.view, address).amount + sum(item.amount for _, item in open_now)


def _slash(
    context: Context, address: bytes, before: int, amount: int, rate: int, beneficiary: bytes | None, reward_cap: int
) -> Slash:
    from_free = min(amount, stake.stake_of(context.view, address).free)
    from_unbondings = unbonding.take(context, address, amount - from_free)
    stake.seize(context, address, amount - from_unbondings)
    reward = min(amount // 2, reward_cap) if beneficiary not in (None, address) else 0
    if beneficiary is not None:
        credit(context.view, beneficiary, reward)
    adjust(context.view, burnt=amount - reward)
    done = Slash(rate, before, amount, reward)
    subjects = [("account", address)]
    if beneficiary is not None:
        subjects.append(("beneficiary", beneficiary))
    amounts = {"rate": rate, "stake_before": before, "amount": amount, "reward": reward, "burnt": done.burnt}
    context.emit("stake.slashed", subjects, **amounts)
    return done
