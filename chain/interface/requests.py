"""Parameters and results of the namespace request."""

from dataclasses import dataclass

from chain.interface.common import (
    DEFAULT_PAGE,
    AddressText,
    AmountText,
    AsOf,
    BidRecord,
    Cursor,
    ErrorView,
    HashHex,
    Limit,
    Name,
    RequestRecord,
)


@dataclass(frozen=True, slots=True)
class RequestParams:
    request: HashHex


@dataclass(frozen=True, slots=True)
class RequestView:
    id: HashHex
    request: RequestRecord
    seconds_left: int
    """Until it closes by itself."""
    cheapest: AmountText | None
    """Cost of its cheapest bid; None if it has none."""


@dataclass(frozen=True, slots=True)
class BidView:
    provider: AddressText
    bid: BidRecord
    cost: AmountText
    """Locked if it is accepted."""
    refusal: ErrorView | None
    """Why it could not be accepted now; None if it could."""
    collateral: AmountText | None
    """Of the provider's stake, yours if he does not show up; this and what follows is None if there is a refusal."""
    notice_seconds: int | None
    """Before the start, the time in which a cancellation costs `cancellation_share`."""
    cancellation_share: int | None
    """Basis points of the cost; the network's release charge holds if it is more."""


@dataclass(frozen=True, slots=True)
class RequestDetails:
    as_of: AsOf
    view: RequestView
    bids: tuple[BidView, ...]
    """The cheapest first."""


@dataclass(frozen=True, slots=True)
class RequestListParams:
    """Open requests, newest first; every filter that is given must hold."""

    renter: AddressText | None = None
    provider: AddressText | None = None
    """Who has a bid on it."""
    model: Name | None = None
    """A GPU of this model would do, as far as the model goes."""
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class RequestList:
    as_of: AsOf
    items: tuple[RequestView, ...]
    next_cursor: Cursor | None
