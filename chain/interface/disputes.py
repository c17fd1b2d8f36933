"""Parameters and results of the namespace dispute."""

from dataclasses import dataclass
from typing import Literal

from chain.interface.common import (
    DEFAULT_PAGE,
    AddressText,
    AmountText,
    AsOf,
    Cursor,
    DisputeRecord,
    HashHex,
    Limit,
    Name,
)


@dataclass(frozen=True, slots=True)
class DisputeParams:
    dispute: HashHex


@dataclass(frozen=True, slots=True)
class DisputeView:
    id: HashHex
    dispute: DisputeRecord
    status: Name
    """As of now: the record may still await its due item."""
    disputed: AmountText
    """What is frozen, or was: the gross that was earned and not paid."""
    text: str | None
    """The complaint; None if it came in through a multisig account's proposal."""
    response: str | None
    """The answer; None if there is none, or if it came in through a multisig account's proposal."""
    seconds_left: int
    """Live time in which the respondent must answer or the electorate may vote; 0 once it is over."""
    waiting: tuple[AddressText, ...]
    """Those of the electorate who may vote and have not."""


@dataclass(frozen=True, slots=True)
class DisputeDetails:
    as_of: AsOf
    view: DisputeView


@dataclass(frozen=True, slots=True)
class DisputeListParams:
    """Newest first; every filter that is given must hold."""

    party: AddressText | None = None
    """Opener or respondent."""
    voter: AddressText | None = None
    """Member of the electorate."""
    subject: HashHex | None = None
    """The booking, job or GPU."""
    kind: Literal["booking", "job", "gpu"] | None = None
    status: Literal["open", "answered", "ruled", "undecided", "unanswered"] | None = None
    pending: bool = False
    """Only open or answered ones."""
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class DisputeList:
    """What is over is kept for as long as a deal may be reviewed."""

    as_of: AsOf
    items: tuple[DisputeView, ...]
    next_cursor: Cursor | None
