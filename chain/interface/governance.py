"""Parameters and results of the namespace governance: measures, candidates, convictions, what may be changed."""

from dataclasses import dataclass
from typing import Annotated, Literal

from chain.interface.common import (
    DEFAULT_PAGE,
    AddressText,
    AmountText,
    AsOf,
    AuthorityRecord,
    Cursor,
    HashHex,
    Json,
    Limit,
    Name,
    RecordOf,
)

MeasureRecord = Annotated[Json, RecordOf("chain.governance", "Measure")]
ConvictionRecord = Annotated[Json, RecordOf("chain.actions.evidence", "Conviction")]


@dataclass(frozen=True, slots=True)
class MeasureParams:
    measure: HashHex


@dataclass(frozen=True, slots=True)
class MeasureView:
    id: HashHex
    measure: MeasureRecord
    status: Literal["open", "passed"]
    """A measure that is executed, rejected or expired is gone; events tell what became of it. One that has passed is
    revoked unless it has its approvals when it is due."""
    approvals: tuple[AddressText, ...]
    """Operators whose approval counts now."""
    rejections: tuple[AddressText, ...]
    """Operators whose rejection counts now."""
    needed: int
    """Approvals that it takes."""
    electors: int
    """Operators who have a say in it: the present ones, without those whom it would remove."""
    due_epoch: int | None
    """First epoch at whose end a passed measure may be executed."""
    spent: AmountText
    """What it takes out of the treasury."""


@dataclass(frozen=True, slots=True)
class MeasureDetails:
    as_of: AsOf
    view: MeasureView


@dataclass(frozen=True, slots=True)
class MeasureListParams:
    status: Literal["open", "passed"] | None = None
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class MeasureList:
    """Open measures, oldest first, then passed ones in the order in which they are executed."""

    as_of: AsOf
    epoch: int
    """The epoch of the next block."""
    items: tuple[MeasureView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class ChangeableParameter:
    name: Name
    value: int
    minimum: int
    """The least value that a measure can give it now."""
    maximum: int
    """The greatest value that a measure can give it now."""
    lowest: int
    """The end of its range."""
    highest: int
    """The other end of its range."""


@dataclass(frozen=True, slots=True)
class ChangeableParameters:
    as_of: AsOf
    items: tuple[ChangeableParameter, ...]
    fixed: tuple[Name, ...]
    """Parameters that no measure can change."""


@dataclass(frozen=True, slots=True)
class CandidateView:
    authority: AuthorityRecord
    approved_epoch: int
    ready_epoch: int | None
    """Epoch for which it last said that it is ready."""
    ready: bool
    """Whether that still counts at the end of this epoch."""
    stake: AmountText
    needed_stake: AmountText
    dropped_epoch: int
    """Epoch at whose end it is dropped unless it has entered."""


@dataclass(frozen=True, slots=True)
class CandidatesParams:
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """Authorities that were voted in and have not entered, and the operators who were voted out and have not left."""

    as_of: AsOf
    epoch: int
    """The epoch of the next block."""
    items: tuple[CandidateView, ...]
    leaving: tuple[AddressText, ...]
    """First to leave first."""
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class ConvictionListParams:
    operator: AddressText | None = None
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class ConvictionView:
    operator: AddressText
    epoch: int
    """In which it signed what convicts it."""
    conviction: ConvictionRecord


@dataclass(frozen=True, slots=True)
class ConvictionList:
    """By epoch of the offence, oldest first; forgotten when nobody can be convicted of that epoch any more."""

    as_of: AsOf
    items: tuple[ConvictionView, ...]
    next_cursor: Cursor | None
