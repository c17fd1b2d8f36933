"""Typed parameters and results of every RPC method, shared by node and wallet; `METHODS` lists them once.

Plain frozen dataclasses: the node and the wallet convert them at their edge, and the OpenRPC document is generated
from them. In JSON, amounts are decimal strings of base units, ids are hex, accounts are bech32m addresses, times are
milliseconds since 1970 (UTC) unless the name says `live`, and a `…_record` is the JSON form of a record of
the ledger (see `chain.schema.to_json`), so that no field is listed twice. An answer about the state says as of
which block it holds.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

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
JobRecord = Annotated[Json, RecordOf("chain.job", "Job")]
ReceiptRecord = Annotated[Json, RecordOf("chain.job", "Receipt")]
ReviewRecord = Annotated[Json, RecordOf("chain.actions.reviews", "Review")]
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


@dataclass(frozen=True, slots=True)
class ChainInfo:
    chain_id: str
    name: str
    prefix: str
    """Prefix of the network's addresses."""
    genesis_hash: HashHex
    """Hash of the genesis specification; its first digits are in the chain id."""
    genesis_block_hash: HashHex
    genesis_time_ms: Milliseconds
    coin: AmountText
    """Base units in one AITBC."""
    interface_version: str


@dataclass(frozen=True, slots=True)
class Head:
    """The last final block."""

    height: Height
    hash: HashHex
    state_root: HashHex
    time_ms: Milliseconds
    live_ms: int
    """Live time, milliseconds since genesis."""
    epoch: int
    view: int
    proposer: AddressText


@dataclass(frozen=True, slots=True)
class BlockParams:
    """Exactly one of height and hash."""

    height: Height | None = None
    hash: HashHex | None = None
    details: bool = False
    """Also show each transaction and its result in full."""


@dataclass(frozen=True, slots=True)
class TransactionInBlock:
    txid: HashHex
    index: int
    sender: AddressText
    succeeded: bool
    error: str
    """Name of the error; empty on success."""
    fee: AmountText
    actions: tuple[str, ...]
    """Names of its actions, in order."""
    transaction: BodyRecord | None = None
    """Only with `details`."""
    result: ResultRecord | None = None
    """Only with `details`."""


@dataclass(frozen=True, slots=True)
class BlockView:
    as_of: AsOf
    height: Height
    hash: HashHex
    header: HeaderRecord
    size: int
    """Bytes of header and envelopes."""
    transactions: tuple[TransactionInBlock, ...]
    system_events: tuple[EventRecord, ...]
    """What the block itself did: due items."""


@dataclass(frozen=True, slots=True)
class BlocksParams:
    from_height: Height | None = None
    """First block of the list; the head (or block 0, if oldest first) when left out."""
    limit: Limit = DEFAULT_PAGE
    oldest_first: bool = False
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class BlockSummary:
    height: Height
    hash: HashHex
    time_ms: Milliseconds
    epoch: int
    view: int
    proposer: AddressText
    transactions: int
    """How many."""


@dataclass(frozen=True, slots=True)
class Blocks:
    as_of: AsOf
    items: tuple[BlockSummary, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class BlockReference:
    """Exactly one of height and hash."""

    height: Height | None = None
    hash: HashHex | None = None


@dataclass(frozen=True, slots=True)
class CertificateView:
    """The finalization of a block."""

    height: Height
    block_hash: HashHex
    kind: Name
    epoch: int
    view: int
    signers: tuple[AddressText, ...]
    """Operator accounts of the authorities who signed."""
    authorities: int
    quorum: int
    bitmap: BytesHex
    signature: BytesHex
    encoded: BytesHex
    """Canonical bytes, for verification offline."""


@dataclass(frozen=True, slots=True)
class AuthoritiesParams:
    epoch: Annotated[int, IntegerRange(0, 1 << 53)] | None = None
    """The present epoch when left out."""


@dataclass(frozen=True, slots=True)
class Authorities:
    as_of: AsOf
    epoch: int
    hash: HashHex
    quorum: int
    members: tuple[AuthorityRecord, ...]


@dataclass(frozen=True, slots=True)
class Supply:
    """Where all money is: balances + escrow + staked + unbonding + epoch_pot + treasury = issued - burnt."""

    as_of: AsOf
    issued: AmountText
    burnt: AmountText
    balances: AmountText
    escrow: AmountText
    staked: AmountText
    unbonding: AmountText
    epoch_pot: AmountText
    treasury: AmountText


@dataclass(frozen=True, slots=True)
class ParametersView:
    as_of: AsOf
    parameters: ParametersRecord


@dataclass(frozen=True, slots=True)
class SubmitParams:
    envelope: BytesHex
    """[body bytes, signature] in canonical CBOR."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The node holds the transaction on disk; inclusion comes later. A known transaction answers the same."""

    txid: HashHex


@dataclass(frozen=True, slots=True)
class SimulateParams:
    """Exactly one of envelope and body: a dry run needs no signature."""

    envelope: BytesHex | None = None
    body: BytesHex | None = None


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the transaction would do in a block right after the head."""

    as_of: AsOf
    txid: HashHex
    includable: bool
    """Whether a block may carry it: sender, sequence, expiry, fee and funds are right."""
    succeeded: bool
    """Whether every action succeeds as well."""
    error: ErrorView | None
    """Why it is not includable, or why an action fails."""
    failed_action: int | None
    required_fee: AmountText
    weight: int
    size: int
    """Bytes of the envelope, signature included."""
    events: tuple[EventRecord, ...]


@dataclass(frozen=True, slots=True)
class TransactionParams:
    txid: HashHex


TransactionStatus = Literal["unknown", "pending", "final", "dropped"]


@dataclass(frozen=True, slots=True)
class TransactionView:
    as_of: AsOf
    txid: HashHex
    status: TransactionStatus
    """`final` does not mean success: see `result`. `dropped` may still be submitted again, as `reason` allows."""
    reason: ErrorView | None = None
    """Why it was dropped."""
    height: Height | None = None
    index: int | None = None
    """Its place in the block."""
    block_hash: HashHex | None = None
    time_ms: Milliseconds | None = None
    transaction: BodyRecord | None = None
    result: ResultRecord | None = None


@dataclass(frozen=True, slots=True)
class PendingParams:
    sender: AddressText | None = None
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class PendingTransaction:
    txid: HashHex
    sender: AddressText
    sequence: int
    fee: AmountText
    size: int
    valid_until_ms: Milliseconds
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PendingTransactions:
    as_of: AsOf
    total: int
    """Transactions in this node's mempool."""
    items: tuple[PendingTransaction, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class AccountParams:
    address: AddressText


@dataclass(frozen=True, slots=True)
class StakeAmounts:
    total: AmountText
    free: AmountText
    collateral: AmountText
    """The part reserved by live GPUs, bookings and claims."""
    locked_until_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class AccountView:
    as_of: AsOf
    address: AddressText
    kind: Literal["key", "multisig", "module"]
    exists: bool
    """False if the address was never used."""
    balance: AmountText
    sequence: int
    """Transactions included so far."""
    next_sequence: int
    """The sequence for the next transaction, counting those that are pending on this node."""
    stake: StakeAmounts
    profile: ProfileRecord | None


@dataclass(frozen=True, slots=True)
class NextSequence:
    as_of: AsOf
    final: int
    """Transactions included so far."""
    next: int
    """The sequence for the next transaction, counting those that are pending on this node."""


@dataclass(frozen=True, slots=True)
class HistoryParams:
    address: AddressText
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One transaction, or one block's own work, that concerned the account; newest first."""

    height: Height
    index: int | None
    """Its place in the block; None for what the block itself did."""
    time_ms: Milliseconds
    txid: HashHex | None
    sender: AddressText | None
    succeeded: bool
    error: str
    fee: AmountText
    """Paid by the sender; 0 in an entry of another account."""
    actions: tuple[str, ...]
    memo: str
    events: tuple[EventRecord, ...]
    """Those events that name the account."""


@dataclass(frozen=True, slots=True)
class History:
    as_of: AsOf
    address: AddressText
    items: tuple[HistoryEntry, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class UnbondingView:
    id: HashHex
    amount: AmountText
    due_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class StakeView:
    as_of: AsOf
    address: AddressText
    stake: StakeAmounts
    unbonding: AmountText
    """On its way back to the balance, all together."""
    unbondings: tuple[UnbondingView, ...]


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
    status: Literal["active", "offline", "retiring", "retired"] | None = None
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
    renters: int
    """Distinct reviewers."""
    fees: AmountText
    """Market fees paid on what was reviewed: what the ratings have cost."""


@dataclass(frozen=True, slots=True)
class GpuView:
    id: HashHex
    gpu: GpuRecord
    status: Name
    """As of now: the record may still await its due item."""
    available: bool
    """Active, and free now for its shortest booking."""
    free_from_ms: Milliseconds | None
    """The end of the booking or job that occupies it now; None if it is free."""


@dataclass(frozen=True, slots=True)
class GpuList:
    as_of: AsOf
    items: tuple[GpuView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class GpuParams:
    gpu: HashHex


@dataclass(frozen=True, slots=True)
class GpuDetails:
    as_of: AsOf
    view: GpuView
    provider_profile: ProfileRecord | None
    rating: RatingSummary


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
    """The booking, or the claimed job, that takes it."""


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
    market_fee: AmountText
    """Of the full cost, from the provider's side."""
    provider_net: AmountText
    collateral: AmountText
    """Of the provider's stake; the renter's if the provider does not show up."""
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
    status: Literal["reserved", "active", "closing", "closed", "cancelled", "no_show"] | None = None
    open: bool = False
    """Only reserved, active or closing ones."""
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
    """None if it came in through a multisig account's proposal."""


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


@dataclass(frozen=True, slots=True)
class Proposals:
    as_of: AsOf
    address: AddressText
    items: tuple[ProposalView, ...]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class NodeStatusView:
    chain_id: str
    version: str
    role: Literal["authority", "follower"]
    height: Height
    head_hash: HashHex
    head_time_ms: Milliseconds
    epoch: int
    view: int
    authorities_total: int
    authorities_connected: int
    """This node included, if it is one."""
    quorum: int
    ready: bool
    waiting: str | None
    """For example `waiting for quorum 1/2`."""
    syncing: bool
    target_height: Height
    """What it is fetching; its own height when it is not syncing."""
    mempool_size: int


@dataclass(frozen=True, slots=True)
class PeerView:
    key: HashHex
    """Node key."""
    host: str
    port: int
    direction: Literal["inbound", "outbound"]
    connected_seconds: int
    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int
    latency_ms: int | None
    is_authority: bool


@dataclass(frozen=True, slots=True)
class Peers:
    items: tuple[PeerView, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """The same as /readyz."""

    ready: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class VersionView:
    version: str
    interface_version: str
    python: str


@dataclass(frozen=True, slots=True)
class ProofAccountParams:
    address: AddressText


@dataclass(frozen=True, slots=True)
class ProofRecordParams:
    kind: Literal["account", "stake", "profile", "gpu", "booking", "escrow", "job", "review", "multisig", "proposal"]
    key: BytesHex
    """The record's key: an id, or an address in hexadecimal."""


@dataclass(frozen=True, slots=True)
class EpochLink:
    """Why the authorities changed: the last header of an epoch whose set differs from the next one's."""

    header: BytesHex
    finalization: BytesHex
    authorities: tuple[BytesHex, ...]
    """Records of the next epoch's authorities, in order."""


@dataclass(frozen=True, slots=True)
class StateProof:
    """Shows that a record has this value, or is absent, in the state of a final block; needs only the genesis file."""

    as_of: AsOf
    header: BytesHex
    finalization: BytesHex
    links: tuple[EpochLink, ...]
    """One for each change of the authorities since genesis."""
    key: BytesHex
    """The state key that was asked for."""
    siblings: tuple[HashHex, ...]
    """From the root down."""
    leaf_key: BytesHex | None
    leaf_value: BytesHex | None
    """The leaf at the place of `key`: its own if present, else another's or none, which proves absence."""
    present: bool
    record: Json | None
    """The value decoded, for reading; the proof is over `leaf_value`."""


@dataclass(frozen=True, slots=True)
class TransactionProof:
    """Shows that a transaction is in a final block, and its result."""

    as_of: AsOf
    header: BytesHex
    finalization: BytesHex
    links: tuple[EpochLink, ...]
    txid: HashHex
    envelope: BytesHex
    index: int
    count: int
    """Transactions in the block; the results have one leaf more, the block's own, which comes first."""
    transaction_path: tuple[HashHex, ...]
    result: BytesHex
    result_path: tuple[HashHex, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the chain: a block's own work is at index -1, before its transactions."""

    height: Height
    index: Annotated[int, IntegerRange(-1, (1 << 32) - 1)] = -1


@dataclass(frozen=True, slots=True)
class SubscribeParams:
    """Replays from disk and then follows, so a reconnect loses nothing."""

    topic: Literal["blocks", "transactions", "events"]
    start: Position | None = None
    """The first place to send: a height, or the `resume` of the last notification. The next block when left out."""
    account: AddressText | None = None
    """Only transactions and events that name this account."""
    record: HashHex | None = None
    """Only transactions and events that name this record."""
    kind: Name | None = None
    """Only events of this kind, or transactions with one; `booking.*` takes all of a family."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    subscription: int
    height: Height
    """The head when it began."""


@dataclass(frozen=True, slots=True)
class UnsubscribeParams:
    subscription: Annotated[int, IntegerRange(0, 1 << 53)]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    subscription: int


@dataclass(frozen=True, slots=True)
class TransactionItem:
    """What the topic `transactions` sends: one final transaction."""

    height: Height
    time_ms: Milliseconds
    transaction: TransactionInBlock


@dataclass(frozen=True, slots=True)
class EventsItem:
    """What the topic `events` sends: the events of one transaction, or of a block's own work, that match."""

    height: Height
    index: int | None
    """Of the transaction; None for the block's own work."""
    time_ms: Milliseconds
    txid: HashHex | None
    events: tuple[EventRecord, ...]


@dataclass(frozen=True, slots=True)
class Notification:
    """The params of a `subscription` message."""

    subscription: int
    resume: Position
    """Pass it as `start` after a reconnect."""
    item: BlockSummary | TransactionItem | EventsItem


TOO_SLOW = 4001
"""Close code of a client that does not take its messages; it may reconnect and resume."""


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method."""

    name: str
    params: type
    result: Any
    summary: str


_LIST: tuple[tuple[str, type, Any, str], ...] = (
    ("chain.info", NoParams, ChainInfo, "Which network this is."),
    ("chain.head", NoParams, Head, "The last final block."),
    ("chain.block", BlockParams, BlockView, "A block by height or hash."),
    ("chain.blocks", BlocksParams, Blocks, "A range of blocks."),
    ("chain.certificate", BlockReference, CertificateView, "The finalization of a block."),
    ("chain.authorities", AuthoritiesParams, Authorities, "Who finalises blocks in an epoch."),
    ("chain.supply", NoParams, Supply, "Where all money is."),
    ("chain.params", NoParams, ParametersView, "The network's parameters."),
    ("tx.submit", SubmitParams, Submitted, "Hands in a signed transaction; answers once it is on disk."),
    ("tx.simulate", SimulateParams, Simulation, "What a transaction would do now: result, fee, events."),
    ("tx.get", TransactionParams, TransactionView, "What became of a transaction."),
    ("tx.pending", PendingParams, PendingTransactions, "Transactions that this node holds for inclusion."),
    ("account.get", AccountParams, AccountView, "Balance, sequence, stake and profile."),
    ("account.history", HistoryParams, History, "What concerned an account, newest first."),
    ("account.next_sequence", AccountParams, NextSequence, "The sequence for the next transaction."),
    ("gpu.list", GpuListParams, GpuList, "GPUs on the market, filtered and ordered."),
    ("gpu.get", GpuParams, GpuDetails, "One GPU with its provider and rating."),
    ("gpu.availability", AvailabilityParams, Availability, "Free and booked slots of a GPU."),
    ("gpu.reviews", GpuReviewsParams, Reviews, "Reviews of the device, newest first."),
    ("booking.quote", QuoteParams, Quote, "Exact cost, fee and refunds before signing."),
    ("booking.get", BookingParams, BookingDetails, "A booking as of now."),
    ("booking.list", BookingListParams, BookingList, "Bookings, newest first."),
    ("booking.money", BookingParams, BookingMoney, "The money story of a booking by height."),
    ("job.get", JobParams, JobDetails, "A job as of now."),
    ("job.list", JobListParams, JobList, "Jobs, newest first."),
    ("job.receipts", ReceiptsParams, Receipts, "The receipts of a job, newest first."),
    ("review.list", ReviewListParams, Reviews, "Reviews, newest first."),
    ("stake.get", AccountParams, StakeView, "The stake of an account and what is unbonding."),
    ("multisig.get", MultisigParams, MultisigDetails, "A multisig account."),
    ("multisig.list", MultisigListParams, MultisigList, "Multisig accounts, of one member if given."),
    ("multisig.proposals", ProposalsParams, Proposals, "The open proposals of a multisig account."),
    ("node.status", NoParams, NodeStatusView, "Where this node stands."),
    ("node.peers", NoParams, Peers, "Who this node is linked to."),
    ("node.health", NoParams, Health, "Whether this node is ready, and if not, why."),
    ("node.version", NoParams, VersionView, "Which software this node runs."),
    ("proof.account", ProofAccountParams, StateProof, "Proof of an account's balance and sequence."),
    ("proof.record", ProofRecordParams, StateProof, "Proof of any record, or of its absence."),
    ("proof.transaction", TransactionParams, TransactionProof, "Proof that a transaction is final, and of its result."),
    ("rpc.discover", NoParams, Json, "This interface as an OpenRPC document."),
)

_STREAM_LIST: tuple[tuple[str, type, Any, str], ...] = (
    ("subscribe", SubscribeParams, Subscribed, "Begins to send what becomes final, from a place in the chain on."),
    ("unsubscribe", UnsubscribeParams, Unsubscribed, "Ends a subscription."),
)

STREAM_METHODS: dict[str, Method] = {
    name: Method(name, params, result, text) for name, params, result, text in _STREAM_LIST
}
"""What the WebSocket /ws takes beside them; it answers with `subscription` messages whose params are `Notification`."""

METHODS: dict[str, Method] = {name: Method(name, params, result, text) for name, params, result, text in _LIST}
"""Every method of POST /rpc by its name."""
