"""Parameters and results of the namespaces gpu, booking, job, review and multisig."""

from dataclasses import dataclass
from typing import Annotated, Literal

from chain.interface.common import (
    DEFAULT_PAGE,
    AddressText,
    AmountText,
    AsOf,
    BookingRecord,
    Count,
    Cursor,
    DurationSeconds,
    EscrowRecord,
    EventRecord,
    GpuRecord,
    HashHex,
    Height,
    IntegerRange,
    JobRecord,
    Limit,
    ListLength,
    Milliseconds,
    MultisigRecord,
    Name,
    ProfileRecord,
    ProposalRecord,
    ReceiptRecord,
    ReviewRecord,
)
from chain.interface.economy import ReputationView

BookingStatusName = Literal[
    "reserved", "active", "closing", "disputed", "closed", "cancelled", "no_show", "provider_cancelled"
]
GpuOrder = Literal["price", "-price", "memory", "-memory", "cores", "-cores", "registered", "-registered"]


@dataclass(frozen=True, slots=True)
class GpuListParams:
    """Every filter that is given must hold."""

    available: bool = False
    """Active, and free from `start_ms` for `seconds`."""
    start_ms: Milliseconds | None = None
    """Now when left out."""
    seconds: DurationSeconds | None = None
    """The shortest booking that the GPU takes when left out."""
    model: Name | None = None
    """Case-insensitive; `*` and `?` match as in file names."""
    region: Name | None = None
    provider: AddressText | None = None
    status: Literal["active", "maintenance", "offline", "retiring", "retired"] | None = None
    """Retired GPUs are shown only on request."""
    price_max: AmountText | None = None
    """Base units per GPU-hour."""
    memory_min: Count | None = None
    """MB."""
    cores_min: Count | None = None
    attribute: Name | None = None
    order: GpuOrder = "price"
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class RatingSummary:
    reviews: int
    average_hundredths: int | None
    """Mean rating times 100, floored; None without reviews."""
    weighted_hundredths: int | None
    """The same weighted by the market fees that were paid for what is rated; None if none was paid."""
    renters: int
    """Distinct reviewers."""
    fees: AmountText
    """Market fees paid on what was reviewed: what the ratings have cost."""
    largest_share: int
    """Basis points of the fees that one renter alone has paid, the one who paid most."""


@dataclass(frozen=True, slots=True)
class GpuView:
    id: HashHex
    gpu: GpuRecord
    status: Name
    """As of now: the record may still await its due item. `maintenance` within a window that its owner has set."""
    available: bool
    """Active, and free now for its shortest booking."""
    free_from_ms: Milliseconds | None
    """The end of the booking, job or maintenance that occupies it now; None if it is free."""


@dataclass(frozen=True, slots=True)
class GpuList:
    as_of: AsOf
    items: tuple[GpuView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class GpuParams:
    gpu: HashHex


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """Half-open [start_ms, end_ms)."""

    id: HashHex
    start_ms: Milliseconds
    end_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class GpuDetails:
    as_of: AsOf
    view: GpuView
    maintenance: tuple[MaintenanceWindow, ...]
    """Windows that are not over, by start."""
    provider_profile: ProfileRecord | None
    rating: RatingSummary
    """Of the device, by the reviews that are in the state."""
    device: ReputationView
    """Follows the hardware hash from one listing to the next."""
    provider: ReputationView


@dataclass(frozen=True, slots=True)
class AvailabilityParams:
    gpu: HashHex
    from_ms: Milliseconds | None = None
    """Now when left out."""
    days: Annotated[int, IntegerRange(1, 366)] = 7


@dataclass(frozen=True, slots=True)
class Slot:
    """Half-open [start_ms, end_ms)."""

    start_ms: Milliseconds
    end_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class BookedSlot:
    """Half-open [start_ms, end_ms)."""

    start_ms: Milliseconds
    end_ms: Milliseconds
    booking: HashHex
    """The booking, claimed job or maintenance that takes it."""
    kind: Literal["booking", "job", "maintenance"]


@dataclass(frozen=True, slots=True)
class Availability:
    as_of: AsOf
    gpu: HashHex
    bookable: bool
    """False if it is offline, retiring or retired: then no slot can be booked now."""
    from_ms: Milliseconds
    until_ms: Milliseconds
    """The end of what was asked for, or of the provider's horizon if that is earlier."""
    free: tuple[Slot, ...]
    booked: tuple[BookedSlot, ...]


@dataclass(frozen=True, slots=True)
class GpuReviewsParams:
    gpu: HashHex
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class QuoteParams:
    gpus: Annotated[tuple[HashHex, ...], ListLength(1, 16)]
    seconds: DurationSeconds
    start_ms: Milliseconds | None = None
    """Now when left out."""
    renter: AddressText | None = None
    """Also check this account's funds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way in which a quoted booking may end."""

    what: str
    at_ms: Milliseconds
    charged: AmountText
    """What the renter pays in the end."""
    refund: AmountText
    """What returns to the renter of the cost."""
    compensation: AmountText
    """What the renter gets of the provider's collateral on top."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What `booking.reserve` would do right now; pass `cost` as max_cost and the terms versions with it."""

    as_of: AsOf
    gpus: tuple[HashHex, ...]
    provider: AddressText
    start_ms: Milliseconds
    end_ms: Milliseconds
    rate: AmountText
    """Summed price, base units per hour."""
    cost: AmountText
    """Locked at reservation, and the most that is ever paid."""
    deposit: AmountText
    """Held on top for the booking's record; it returns when the booking leaves the state."""
    debit: AmountText
    """Cost and deposit: what the balance must cover, beside the transaction fee."""
    market_fee: AmountText
    """Of the full cost, from the provider's side."""
    provider_net: AmountText
    collateral: AmountText
    """Of the provider's stake; the renter's if the provider does not show up."""
    notice_seconds: int
    """Before the start, the time in which a cancellation costs `cancellation_share`."""
    cancellation_share: int
    """Basis points of the cost; the network's release charge holds if it is more."""
    terms_versions: tuple[int, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class BookingParams:
    booking: HashHex


@dataclass(frozen=True, slots=True)
class BookingView:
    id: HashHex
    booking: BookingRecord
    status: Name
    """As of now: the record may still await its due item."""
    escrow: EscrowRecord
    earned: AmountText
    """Gross, market fee included, by now."""
    refund_if_ended: AmountText
    """What would return to the renter if the booking were cancelled or released now."""
    seconds_left: int
    """Until its end; 0 once it has ended."""
    payment_in_seconds: int | None
    """Live time until the last payment, while it is closing."""


@dataclass(frozen=True, slots=True)
class BookingDetails:
    as_of: AsOf
    view: BookingView


@dataclass(frozen=True, slots=True)
class BookingListParams:
    """Newest first; every filter that is given must hold."""

    account: AddressText | None = None
    """Renter or provider."""
    renter: AddressText | None = None
    provider: AddressText | None = None
    gpu: HashHex | None = None
    status: BookingStatusName | None = None
    open: bool = False
    """Only reserved, active, closing or disputed ones."""
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class BookingList:
    as_of: AsOf
    items: tuple[BookingView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class MoneyStep:
    """One event in a booking's life."""

    height: Height
    time_ms: Milliseconds
    txid: HashHex | None
    """None if the ledger did it by itself."""
    event: EventRecord


@dataclass(frozen=True, slots=True)
class BookingMoney:
    """locked = net + fee + refunded + remaining, at every height."""

    as_of: AsOf
    booking: HashHex
    status: Name
    in_state: bool
    """False once the booking has left the state: then the numbers are told by its events."""
    deposit: AmountText
    """Held for its record; 0 once it has returned."""
    locked: AmountText
    net: AmountText
    fee: AmountText
    refunded: AmountText
    remaining: AmountText
    steps: tuple[MoneyStep, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class JobParams:
    job: HashHex


@dataclass(frozen=True, slots=True)
class JobView:
    id: HashHex
    job: JobRecord
    status: Name
    """As of now: the record may still await its due item."""


@dataclass(frozen=True, slots=True)
class JobDetails:
    as_of: AsOf
    view: JobView
    escrow: EscrowRecord | None
    """None for a job inside a booking."""


@dataclass(frozen=True, slots=True)
class JobListParams:
    """Newest first; every filter that is given must hold."""

    account: AddressText | None = None
    """Renter or provider."""
    renter: AddressText | None = None
    provider: AddressText | None = None
    booking: HashHex | None = None
    gpu: HashHex | None = None
    kind: Name | None = None
    status: Name | None = None
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class JobList:
    as_of: AsOf
    items: tuple[JobView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class ReceiptsParams:
    job: HashHex
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class ReceiptView:
    hash: HashHex
    """What the next receipt and the acceptance name."""
    height: Height
    time_ms: Milliseconds
    """Block time at which it came in."""
    txid: HashHex
    receipt: ReceiptRecord | None
    """None if it came in through a multisig account's proposal; look into that transaction."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """Newest first: a chain, each naming the hash of the one before."""

    as_of: AsOf
    job: HashHex
    items: tuple[ReceiptView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class ReviewListParams:
    """Newest first; every filter that is given must hold."""

    provider: AddressText | None = None
    reviewer: AddressText | None = None
    gpu: HashHex | None = None
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class ReviewView:
    id: HashHex
    """Of the booking or job that is reviewed."""
    review: ReviewRecord
    comment: str | None
    """None if it came in through a multisig account's proposal, or if the authorities decided to hide it."""
    reply: str | None = None
    """The provider's answer; None if there is none, or for the reasons above."""


@dataclass(frozen=True, slots=True)
class Reviews:
    as_of: AsOf
    rating: RatingSummary
    """Over all that match, not only this page."""
    items: tuple[ReviewView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class MultisigParams:
    address: AddressText


@dataclass(frozen=True, slots=True)
class MultisigView:
    address: AddressText
    multisig: MultisigRecord
    balance: AmountText


@dataclass(frozen=True, slots=True)
class MultisigDetails:
    as_of: AsOf
    view: MultisigView


@dataclass(frozen=True, slots=True)
class MultisigListParams:
    member: AddressText | None = None
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class MultisigList:
    as_of: AsOf
    items: tuple[MultisigView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class ProposalsParams:
    address: AddressText
    """Of the multisig account."""
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class ProposalView:
    id: HashHex
    proposal: ProposalRecord
    approvals: tuple[AddressText, ...]
    """Members whose approval counts: given with the key that they have now."""
    rejections: tuple[AddressText, ...]
    """Members whose rejection counts."""
    threshold: int
    execution_weight: int
    """What the approval that reaches the threshold must declare."""


@dataclass(frozen=True, slots=True)
class Proposals:
    as_of: AsOf
    address: AddressText
    items: tuple[ProposalView, ...]
    next_cursor: Cursor | None
