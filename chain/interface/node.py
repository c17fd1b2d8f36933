"""Parameters and results of the namespaces node and proof, and of subscriptions."""

from dataclasses import dataclass
from typing import Annotated, Literal

from chain.interface.common import (
    DEFAULT_PAGE,
    AddressText,
    AsOf,
    BytesHex,
    EventRecord,
    HashHex,
    Height,
    IntegerRange,
    Json,
    Limit,
    Milliseconds,
    Name,
    ResultRecord,
    TextFormat,
)
from chain.interface.ledger import BlockSummary, TransactionInBlock

RecordKeyHex = Annotated[str, TextFormat("1 to 65 bytes in hexadecimal", "^([0-9a-fA-F]{2})+$", 130)]
ProofHex = Annotated[
    str, TextFormat("canonical bytes of a record of `chain.state.proof`, in hexadecimal", "^([0-9a-f]{2})+$", 32 << 20)
]


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
class NodeEvidenceParams:
    limit: Limit = DEFAULT_PAGE


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """Two votes of one authority that exclude each other."""

    offence: str
    """For example `conflicting_notarize`."""
    epoch: int
    view: int
    node_key: HashHex
    """Of the authority."""
    operator: AddressText | None
    """Who is accountable for it; None if no authority of that epoch had this key."""
    convicted: bool
    """Whether its operator was convicted for that epoch already."""
    action: Json
    """What a transaction holds that convicts it: `evidence.submit` in the form that every command takes."""


@dataclass(frozen=True, slots=True)
class NodeEvidence:
    """What this node itself saw, the latest epochs first; what is too old to convict anybody is forgotten."""

    as_of: AsOf
    total: int
    items: tuple[EvidenceItem, ...]


@dataclass(frozen=True, slots=True)
class ProofAccountParams:
    address: AddressText


@dataclass(frozen=True, slots=True)
class ProofRecordParams:
    kind: Literal[
        "account",
        "stake",
        "profile",
        "gpu",
        "booking",
        "escrow",
        "request",
        "bid",
        "job",
        "review",
        "dispute",
        "multisig",
        "proposal",
        "measure",
        "candidate",
        "conviction",
    ]
    key: RecordKeyHex
    """The record's key: an id, or an address in hexadecimal."""


@dataclass(frozen=True, slots=True)
class StateProofView:
    """Shows that a record has this value, or is absent, in the state of a final block; needs only the genesis file."""

    as_of: AsOf
    """The block whose state it is."""
    key: BytesHex
    """The state key that is proven: table id first."""
    present: bool
    record: Json | None
    """The record decoded, for reading; None if it is absent."""
    proof: ProofHex
    """A `StateProof`. Nothing beside it needs to be believed: check it with `verify_state_proof`."""


@dataclass(frozen=True, slots=True)
class TransactionProofView:
    """Shows that a transaction is in a final block, and its result; needs only the genesis file."""

    as_of: AsOf
    height: Height
    """Of the block that it is in."""
    txid: HashHex
    result: ResultRecord
    """What came of it, for reading."""
    proof: ProofHex
    """A `TransactionProof`. Nothing beside it needs to be believed: check it with `verify_transaction_proof`."""


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
