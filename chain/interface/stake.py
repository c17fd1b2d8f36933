"""Parameters and results of the namespace stake, and the stake of an account."""

from dataclasses import dataclass

from chain.interface.common import (
    DEFAULT_PAGE,
    AddressText,
    AmountText,
    AsOf,
    Cursor,
    HashHex,
    Height,
    Limit,
    Milliseconds,
)


@dataclass(frozen=True, slots=True)
class StakeAmounts:
    total: AmountText
    free: AmountText
    collateral: AmountText
    """What live GPUs, bookings and claims reserve; more than the total if a slash took of it."""
    locked_until_ms: Milliseconds
    counted: AmountText
    """The part that has been locked since the running epoch began: it earns a share of the epoch's fees."""
    rewards: AmountText
    """Earned in epochs that have ended; `stake.claim_rewards` moves it to the balance."""
    slashed: AmountText
    """Taken by slashes so far."""
    unbonding: AmountText
    """On its way back to the balance, all together; not in the total."""


@dataclass(frozen=True, slots=True)
class UnbondingView:
    id: HashHex
    amount: AmountText
    due_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class EpochView:
    """The running epoch."""

    epoch: int
    ends_height: Height
    """Its last block, if the length of an epoch stays as it is."""
    counted: AmountText
    """All stake that has been locked since it began."""
    pot: AmountText
    """Fees that it has collected for stakers so far."""


@dataclass(frozen=True, slots=True)
class StakeView:
    as_of: AsOf
    address: AddressText
    stake: StakeAmounts
    unbondings: tuple[UnbondingView, ...]
    """What is on its way back to the balance, the soonest due first."""
    epoch: EpochView


@dataclass(frozen=True, slots=True)
class StakeListParams:
    """The largest first; every filter that is given must hold."""

    minimum: AmountText | None = None
    """Of the whole stake."""
    slashed: bool | None = None
    """Whether a slash has ever taken of it."""
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class StakerView:
    address: AddressText
    stake: StakeAmounts


@dataclass(frozen=True, slots=True)
class Stakers:
    as_of: AsOf
    items: tuple[StakerView, ...]
    epoch: EpochView
    next_cursor: Cursor | None
    """None on the last page."""
