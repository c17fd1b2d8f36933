"""What goes into the consensus core and what comes out, and what the core requires of the executor.

The core is a function of events: it has no clock, disk, network or randomness. Each event says when it happened. The
effects of one step are performed in the order given, each complete (and synced, where it writes) before the next
begins; only ExecuteBlock, BuildBlock and the two Serve effects may run beside the rest and are answered by an event.
That order is what "durable before signed" rests on: Persist stands before the SignVote that depends on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from chain.block import Block
from chain.certificate import AuthoritySet, Certificate, Vote, VoteKind
from chain.evidence import ConflictingVotes
from node.consensus.timing import Timing
from node.network.messages import ConsensusMessage


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant by both clocks of the machine."""

    monotonic_ms: int
    """For timers; never goes back, and means nothing outside the process."""
    wall_ms: int
    """For block times; milliseconds since 1970 UTC, and may jump."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the core must know of its network."""

    chain_id: str
    epoch_blocks: int
    """Blocks per epoch, at least 1."""
    maximum_weight: int
    """Weight that a block may have; the leader's budget starts there."""
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class Head:
    """The last final block."""

    height: int
    hash: bytes
    time_ms: int
    finalization: Certificate | None
    """None only at genesis."""
    authorities: AuthoritySet
    """The set that certifies the next block; its epoch is the epoch of the next block."""


class Executor(Protocol):
    """What runs blocks and keeps them. Any failure other than an invalid block is raised, and stops the node."""

    def head(self) -> Head: ...

    def build(
        self,
        *,
        height: int,
        parent_hash: bytes,
        epoch: int,
        view: int,
        time_ms: int,
        proposer: bytes,
        weight_budget: int,
    ) -> Block:
        """A new block above the head with transactions of at most this weight; it counts as executed."""

    def execute(self, block: Block) -> str | None:
        """None if the block, whose parent is the head, is valid and its roots are right; else why it is not.

        Raises StaleParent-like errors rather than answer "invalid" if its parent is not the head.
        """

    def persist(self, blocks: Sequence[Block], certificates: Sequence[Certificate]) -> None:
        """Keep candidates and certificates above the head, in one synced write. May repeat what is there."""

    def commit(self, block: Block, finalization: Certificate) -> Head:
        """Make an executed block final in one synced write and return the new head.

        Drops candidates up to its height and certificates up to (epoch, view) of the finalization. A block that is
        final already changes nothing.
        """

    def candidates(self) -> Sequence[Block]:
        """Every persisted block above the head."""

    def certificates(self) -> Sequence[Certificate]:
        """Every persisted certificate above the head's."""

    def block(self, block_hash: bytes) -> Block | None:
        """A candidate or final block."""

    def finalization(self, height: int) -> Certificate | None:
        """Of the final block at this height."""


class Timer(Enum):
    """The core's deadlines; each has at most one pending time."""

    VIEW = "view"
    PROPOSE = "propose"
    STANDSTILL = "standstill"


@dataclass(frozen=True, slots=True)
class Started:
    """First event: what was durable when the node last stopped."""

    at: Moment
    head: Head
    candidates: tuple[Block, ...]
    certificates: tuple[Certificate, ...]
    votes: tuple[Vote, ...]
    """Everything in the signer's record."""
    has_work: bool


@dataclass(frozen=True, slots=True)
class MessageReceived:
    at: Moment
    """When its bytes arrived, not when they were decoded."""
    peer: bytes
    """Node key of the link it came on."""
    message: ConsensusMessage


@dataclass(frozen=True, slots=True)
class PeerConnected:
    at: Moment
    peer: bytes


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    at: Moment
    peer: bytes


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """Delivered after all input that arrived before it. A deadline that was moved meanwhile is ignored."""

    at: Moment
    timer: Timer


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    at: Moment
    view: int
    block: Block


@dataclass(frozen=True, slots=True)
class BlockExecuted:
    at: Moment
    block_hash: bytes
    invalid: str | None
    """None if valid, else why not."""


@dataclass(frozen=True, slots=True)
class VoteSigned:
    """Recorded, synced and signed, by SignVote."""

    at: Moment
    vote: Vote


@dataclass(frozen=True, slots=True)
class Advanced:
    """The executor has a new head, by Commit or by synchronisation."""

    at: Moment
    head: Head
    has_work: bool


@dataclass(frozen=True, slots=True)
class WorkAvailable:
    """There is something to put in a block: an executable transaction, evidence, or a scheduled item that is due."""

    at: Moment


Event: TypeAlias = (
    Started
    | MessageReceived
    | PeerConnected
    | PeerDisconnected
    | DeadlineReached
    | BlockBuilt
    | BlockExecuted
    | VoteSigned
    | Advanced
    | WorkAvailable
)


@dataclass(frozen=True, slots=True)
class Persist:
    """Write these, synced, before anything that follows."""

    blocks: tuple[Block, ...]
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class SignVote:
    """Have the signer record and sign this; answered by VoteSigned."""

    kind: VoteKind
    epoch: int
    view: int
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send to every linked peer."""

    message: ConsensusMessage


@dataclass(frozen=True, slots=True)
class Send:
    peer: bytes
    message: ConsensusMessage


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Replaces the pending time of this timer."""

    timer: Timer
    at_ms: int
    """Monotonic; may have passed already."""


@dataclass(frozen=True, slots=True)
class ExecuteBlock:
    """Run a block above the head; answered by BlockExecuted.

    Not answered if the executor's head is no longer the block's parent when its turn comes: that says nothing about
    the block, and Advanced is on its way.
    """

    block: Block


@dataclass(frozen=True, slots=True)
class BuildBlock:
    """Answered by BlockBuilt. A leader that cannot build says nothing and its view passes."""

    height: int
    parent_hash: bytes
    epoch: int
    view: int
    time_ms: int
    proposer: bytes
    weight_budget: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Make an executed block final; answered by Advanced."""

    block: Block
    finalization: Certificate


@dataclass(frozen=True, slots=True)
class RaiseFloor:
    """The signer may forget, and must never again sign, anything below this view."""

    epoch: int
    view: int


@dataclass(frozen=True, slots=True)
class ServeBlock:
    """Send the peer this block, if the executor has it."""

    peer: bytes
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class ServeFinalization:
    """Send the peer the finalization of this height, if the executor has it."""

    peer: bytes
    height: int


@dataclass(frozen=True, slots=True)
class Behind:
    """The peer shows or claims that `height` is final, above what can be fetched block by block: synchronise."""

    peer: bytes
    height: int


@dataclass(frozen=True, slots=True)
class ReportConflict:
    """Proof that an authority signed two things that exclude each other."""

    conflict: ConflictingVotes


@dataclass(frozen=True, slots=True)
class ReportPeer:
    """The peer sent something invalid."""

    peer: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop the process loudly; to go on would risk the ledger. Every later event is ignored."""

    reason: str


Effect: TypeAlias = (
    Persist
    | SignVote
    | Broadcast
    | Send
    | SetDeadline
    | ExecuteBlock
    | BuildBlock
    | Commit
    | RaiseFloor
    | ServeBlock
    | ServeFinalization
    | Behind
    | ReportConflict
    | ReportPeer
    | Halt
)
