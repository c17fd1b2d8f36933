"""Parameters and results of the namespaces chain, tx and account."""

from dataclasses import dataclass
from typing import Annotated, Literal

from chain.interface.common import (
    DEFAULT_PAGE,
    AddressText,
    AmountText,
    AsOf,
    AuthorityRecord,
    BodyRecord,
    BytesHex,
    Cursor,
    ErrorView,
    EventRecord,
    HashHex,
    HeaderRecord,
    Height,
    IntegerRange,
    Limit,
    Milliseconds,
    Name,
    ParametersRecord,
    ProfileRecord,
    ResultRecord,
)
from chain.interface.stake import StakeAmounts


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
    """Where all money is: balances + escrow + staked + unbonding + deposits + rewards + epoch_pot
    + treasury = issued - burnt.
    """

    as_of: AsOf
    issued: AmountText
    burnt: AmountText
    balances: AmountText
    escrow: AmountText
    staked: AmountText
    unbonding: AmountText
    deposits: AmountText
    rewards: AmountText
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
    key: HashHex | None = None
    """The public key that signs since the last rotation; None as long as it is the one of the address."""
    rotations: int = 0
    """How often the key was replaced."""


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
