"""Parameters and results of the namespace market, of reputation, and of what an account earned and spent."""

from dataclasses import dataclass
from typing import Annotated, Literal

from chain.interface.common import (
    DEFAULT_PAGE,
    AddressText,
    AmountText,
    AsOf,
    Count,
    Cursor,
    DurationSeconds,
    GpuRecord,
    HashHex,
    IntegerRange,
    Limit,
    Milliseconds,
    Name,
    ReputationRecord,
)

Share = Annotated[int, IntegerRange(0, 10_000, "basis points")]
Days = Annotated[int, IntegerRange(1, 90)]


@dataclass(frozen=True, slots=True)
class RatersView:
    """Who is behind the reviews that are in the state."""

    reviews: int
    renters: int
    """Distinct reviewers."""
    fees: AmountText
    """Market fees paid on what was reviewed: what the ratings have cost."""
    weighted_hundredths: int | None
    """Their mean rating weighted by these fees, times 100, floored."""
    largest_share: Share
    """Of the fees, by the one renter who paid most of them: near 10,000, it is one person's word."""


@dataclass(frozen=True, slots=True)
class ReputationView:
    """Components with what they are based on. Shares are basis points; None where nothing happened yet."""

    counters: ReputationRecord
    bookings: int
    """Those in which the provider's turn came, or that he gave up: all but what renters cancelled."""
    served_share: Share | None
    no_show_share: Share | None
    provider_cancel_share: Share | None
    dispute_lost_share: int | None
    """Of bookings and jobs."""
    jobs: int
    """Attempts that ended."""
    jobs_accepted_share: Share | None
    online_seconds: int
    """Live time."""
    offline_seconds: int
    uptime_share: Share | None
    average_hundredths: int | None
    """Mean of all ratings ever, times 100, floored."""
    weighted_hundredths: int | None
    """The same weighted by the market fees that were paid for what was rated."""
    raters: RatersView


@dataclass(frozen=True, slots=True)
class ReputationParams:
    """Exactly one of them."""

    provider: AddressText | None = None
    hardware: HashHex | None = None
    """The hardware hash of a device."""


@dataclass(frozen=True, slots=True)
class ReputationDetails:
    as_of: AsOf
    reputation: ReputationView


OfferOrder = Literal["price", "-price", "memory", "-memory", "cores", "-cores", "-rating"]


@dataclass(frozen=True, slots=True)
class OffersParams:
    """GPUs that a reservation would get. Every filter that is given must hold."""

    start_ms: Milliseconds | None = None
    """Now when left out."""
    seconds: DurationSeconds | None = None
    """The shortest booking that the GPU takes when left out."""
    model: Name | None = None
    """Case-insensitive; `*` and `?` match as in file names."""
    region: Name | None = None
    provider: AddressText | None = None
    price_max: AmountText | None = None
    """Base units per GPU-hour."""
    memory_min: Count | None = None
    """MB."""
    cores_min: Count | None = None
    attribute: Name | None = None
    order: OfferOrder = "price"
    """`-rating`: by the device's rating weighted by fee, best first."""
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class OfferView:
    id: HashHex
    """Of the GPU."""
    gpu: GpuRecord
    start_ms: Milliseconds
    end_ms: Milliseconds
    cost: AmountText
    """Of the whole time."""
    collateral: AmountText
    """Of the provider's stake, the renter's if the provider does not show up."""
    free_until_ms: Milliseconds | None
    """Start of what its calendar holds next; None if it holds nothing."""
    bookings: int
    """That it was to serve so far."""
    served_share: Share | None
    ratings: int
    weighted_hundredths: int | None


@dataclass(frozen=True, slots=True)
class Offers:
    as_of: AsOf
    items: tuple[OfferView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class StatsParams:
    days: Days = 7
    """Days of trades: today and those before."""


@dataclass(frozen=True, slots=True)
class Counted:
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class DayOfTrades:
    day_ms: Milliseconds
    """Block time at which the day begins, UTC."""
    deals: int
    gpu_seconds: int
    gross: AmountText
    fee: AmountText


@dataclass(frozen=True, slots=True)
class MarketStats:
    as_of: AsOf
    gpus: tuple[Counted, ...]
    """By status."""
    models: tuple[Counted, ...]
    """Active GPUs by model, most first, at most 100."""
    providers: int
    """Owners of active GPUs."""
    renters: int
    """Renters of what is open."""
    bookings: tuple[Counted, ...]
    """Open ones by status."""
    jobs: tuple[Counted, ...]
    """By status, if not over."""
    days: tuple[DayOfTrades, ...]
    """What ended and was paid, by the day of its end; newest first, without days on which nothing did."""
    supply: AmountText
    """Issued and not burnt."""
    staked: AmountText
    escrow: AmountText


@dataclass(frozen=True, slots=True)
class PricingParams:
    model: Name | None = None
    """Case-insensitive; `*` and `?` match as in file names. All models when left out."""
    days: Days = 7
    """Coming days over which `booked_share` is taken."""
    past_days: Days = 30
    """Days before today whose trades count."""
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class PricingView:
    """One model. Prices in base units per GPU-hour; None where there is nothing to tell them by."""

    model: str
    listed: int
    """GPUs on the market, offline ones included."""
    active: int
    low: AmountText | None
    """Of the prices of active GPUs."""
    median: AmountText | None
    high: AmountText | None
    calendars: int
    """GPUs that `booked_share` is of."""
    booked_share: Share | None
    """Of the coming days, by bookings and jobs."""
    sold_share: int | None
    """Basis points of the past days that were sold, for as many GPUs as are listed now; may be more than all."""
    deals: int
    """Over the past days: the sample."""
    gpu_seconds: int
    gross: AmountText
    fee: AmountText
    middle_price: AmountText | None
    """Half of the market fees were paid at lower prices, half at higher ones."""
    mean_price: AmountText | None
    recommended: AmountText | None
    basis: Literal["trades", "listings", "none"]
    """What is recommended: the middle price of the trades; until an hour was sold the median of the listings."""


@dataclass(frozen=True, slots=True)
class Pricing:
    as_of: AsOf
    items: tuple[PricingView, ...]
    """By model."""
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class OrdersParams:
    """Newest first; every filter that is given must hold."""

    account: AddressText | None = None
    """Renter or provider."""
    renter: AddressText | None = None
    provider: AddressText | None = None
    kind: Literal["booking", "job"] | None = None
    status: Name | None = None
    """Of the booking or job."""
    open: bool = False
    """Only what is not over and paid."""
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class OrderView:
    """A booking or a standalone job as of now: locked = paid + refunded + remaining."""

    id: HashHex
    kind: Literal["booking", "job"]
    renter: AddressText
    provider: AddressText | None
    """None for a job that nobody has claimed."""
    gpus: tuple[HashHex, ...]
    status: Name
    locked: AmountText
    earned: AmountText
    """Gross, by now."""
    fee: AmountText
    """Market fee within what is earned."""
    paid: AmountText
    """Gross, fee included, that has left the escrow."""
    refunded: AmountText
    remaining: AmountText
    start_ms: Milliseconds | None
    end_ms: Milliseconds | None
    """Of a booking; the deadline of an open job."""
    seconds_left: int
    """Until the end, for what is not over."""
    seconds_until_empty: int | None
    """Time of use until all that is locked is earned; None if nothing runs by the hour."""


@dataclass(frozen=True, slots=True)
class Orders:
    as_of: AsOf
    items: tuple[OrderView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class StatementParams:
    address: AddressText
    from_ms: Milliseconds = 0
    """Block time; from the beginning when left out."""
    until_ms: Milliseconds | None = None
    """Until now when left out; the instant itself is not in it."""
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class EarningsFlow:
    """As a provider and as a staker."""

    gross: AmountText
    """Paid for bookings and jobs: fee + net."""
    fee: AmountText
    """Market fee."""
    net: AmountText
    penalties_paid: AmountText
    """Collateral that went to renters; taken from the stake."""
    rewards: AmountText
    """Claimed rewards of the stake."""


@dataclass(frozen=True, slots=True)
class SpendingFlow:
    """As a renter, and as whoever sends transactions."""

    locked: AmountText
    """For bookings, jobs and requests: what was not refunded is paid or still held."""
    paid: AmountText
    """To providers, market fee included."""
    refunded: AmountText
    penalties_received: AmountText
    """Collateral of providers."""
    transaction_fees: AmountText
    sent: AmountText
    """By transfers."""
    received: AmountText
    deposits_taken: AmountText
    deposits_returned: AmountText


@dataclass(frozen=True, slots=True)
class EarningsDay:
    day_ms: Milliseconds
    """Block time at which the day begins, UTC."""
    flow: EarningsFlow


@dataclass(frozen=True, slots=True)
class EarningsDeal:
    kind: Literal["booking", "job", "request"]
    id: HashHex
    flow: EarningsFlow


@dataclass(frozen=True, slots=True)
class Earnings:
    """One part of the period if there is a next cursor: a client adds up the parts. Newest first."""

    as_of: AsOf
    address: AddressText
    from_ms: Milliseconds
    """What this part begins with: later than asked for if there is more."""
    until_ms: Milliseconds
    total: EarningsFlow
    days: tuple[EarningsDay, ...]
    """Without days on which nothing was earned."""
    items: tuple[EarningsDeal, ...]
    """By booking or job, the one that earned most first."""
    next_cursor: Cursor | None
    """Set if this part was cut off, because so much concerned the account."""


@dataclass(frozen=True, slots=True)
class SpendingDay:
    day_ms: Milliseconds
    """Block time at which the day begins, UTC."""
    flow: SpendingFlow


@dataclass(frozen=True, slots=True)
class SpendingDeal:
    kind: Literal["booking", "job", "request"]
    id: HashHex
    flow: SpendingFlow


@dataclass(frozen=True, slots=True)
class Spending:
    """One part of the period if there is a next cursor: a client adds up the parts. Newest first."""

    as_of: AsOf
    address: AddressText
    from_ms: Milliseconds
    """What this part begins with: later than asked for if there is more."""
    until_ms: Milliseconds
    total: SpendingFlow
    days: tuple[SpendingDay, ...]
    """Without days on which nothing was spent."""
    items: tuple[SpendingDeal, ...]
    """By booking, job or request, the one that cost most first."""
    next_cursor: Cursor | None
    """Set if this part was cut off, because so much concerned the account."""
