"""What every part of the interface shares: limits, codes, and the formats of single fields."""

from dataclasses import dataclass
from typing import Annotated, Any

INTERFACE_VERSION = "1.0.0"
"""Of the methods below; the first number changes when a client may break."""

MAXIMUM_BATCH = 100
"""Requests in one JSON-RPC batch."""
MAXIMUM_REQUEST_BYTES = 1 << 20
MAXIMUM_PAGE = 100
"""Items on one page of a list."""
DEFAULT_PAGE = 25

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
"""Something unexpected; `data.reference` finds it in the node's log. Positive codes are those of `chain.errors`."""


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Says of a `str` what it holds; enforced on parameters."""

    description: str
    pattern: str | None = None
    maximum: int = 1_024
    """Characters."""


@dataclass(frozen=True, slots=True)
class IntegerRange:
    """Says of an `int` what it counts; enforced on parameters."""

    minimum: int
    maximum: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class ListLength:
    """Says of a tuple how many items it has; enforced on parameters."""

    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class RecordOf:
    """Says of a `dict` which record of the ledger it shows."""

    module: str
    name: str


Json = dict[str, Any]
HashHex = Annotated[str, TextFormat("32 bytes in hexadecimal", "^[0-9a-fA-F]{64}$", 64)]
BytesHex = Annotated[str, TextFormat("bytes in hexadecimal", "^([0-9a-fA-F]{2})*$", MAXIMUM_REQUEST_BYTES)]
AddressText = Annotated[str, TextFormat("bech32m address of this network", None, 128)]
AmountText = Annotated[str, TextFormat("base units (10^-9 AITBC) as a decimal string", "^(0|[1-9][0-9]{0,19})$", 20)]
Name = Annotated[str, TextFormat("a name", None, 64)]
Cursor = Annotated[str, TextFormat("opaque: `next_cursor` of the page before", "^[0-9A-Za-z_.=-]+$", 512)]
Height = Annotated[int, IntegerRange(0, 1 << 53, "block height; 0 is genesis")]
Milliseconds = Annotated[int, IntegerRange(0, 1 << 53, "milliseconds since 1970, UTC")]
DurationSeconds = Annotated[int, IntegerRange(1, (1 << 32) - 1, "seconds")]
Count = Annotated[int, IntegerRange(0, (1 << 32) - 1)]
Limit = Annotated[int, IntegerRange(1, MAXIMUM_PAGE, "items at most")]

HeaderRecord = Annotated[Json, RecordOf("chain.block", "Header")]
ParametersRecord = Annotated[Json, RecordOf("chain.parameters", "Parameters")]
AuthorityRecord = Annotated[Json, RecordOf("chain.certificate", "Authority")]
BodyRecord = Annotated[Json, RecordOf("chain.transaction", "Body")]
"""With `txid` and `signature` beside the fields of the body."""
ResultRecord = Annotated[Json, RecordOf("chain.result", "TransactionResult")]
EventRecord = Annotated[Json, RecordOf("chain.result", "Event")]
ProfileRecord = Annotated[Json, RecordOf("chain.actions.accounts", "Profile")]
GpuRecord = Annotated[Json, RecordOf("chain.inventory", "Gpu")]
BookingRecord = Annotated[Json, RecordOf("chain.booking", "Booking")]
EscrowRecord = Annotated[Json, RecordOf("chain.escrow", "Escrow")]
RequestRecord = Annotated[Json, RecordOf("chain.request", "Request")]
BidRecord = Annotated[Json, RecordOf("chain.request", "Bid")]
JobRecord = Annotated[Json, RecordOf("chain.job", "Job")]
ReceiptRecord = Annotated[Json, RecordOf("chain.job", "Receipt")]
ReputationRecord = Annotated[Json, RecordOf("chain.reputation", "Reputation")]
ReviewRecord = Annotated[Json, RecordOf("chain.actions.reviews", "Review")]
DisputeRecord = Annotated[Json, RecordOf("chain.dispute", "Dispute")]
MultisigRecord = Annotated[Json, RecordOf("chain.actions.multisig", "Multisig")]
ProposalRecord = Annotated[Json, RecordOf("chain.actions.multisig", "Proposal")]


@dataclass(frozen=True, slots=True)
class AsOf:
    """The final block whose state an answer describes."""

    height: int
    time_ms: int
    """Its block time."""


@dataclass(frozen=True, slots=True)
class ErrorView:
    """A ledger error as data: the same code and name in results, RPC errors and messages."""

    code: int
    name: str
    hint: str
    data: dict[str, str]
    """What helps, for example `expected` and `got`; every value as text."""


@dataclass(frozen=True, slots=True)
class NoParams:
    """The method takes no parameters."""
