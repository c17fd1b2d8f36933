"""A dispute: its record, and the decision that its response and its ballots come to. Its life is in `dispute_life.py`.

    open → answered → ruled | undecided          open → unanswered

Everything that money depends on is copied into the dispute when it is opened, so `outcome` needs nothing but the
record. What is disputed is A − P: what is earned if nothing of it is disputed, less what was paid before.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated

from chain.certificate import MAXIMUM_AUTHORITIES, quorum
from chain.errors import NotFound
from chain.record import record
from chain.schema import Address, Amount, BasisPoints, Boolean, Hash, ListOf, Seconds, Timestamp, Unsigned8, Unsigned64
from chain.state.tables import Table, TableId
from chain.state.view import View

MAXIMUM_TEXT_BYTES = 500


class DisputeKind(IntEnum):
    """What is disputed."""

    BOOKING = 1
    JOB = 2
    GPU = 3
    """Whether the hardware is what its owner declared; the challenger stands where else the renter does."""


class DisputeStatus(IntEnum):
    OPEN = 1
    """The other party has to respond."""
    ANSWERED = 2
    """The electorate votes."""
    RULED = 3
    UNDECIDED = 4
    """Answered, and the electorate did not rule in time."""
    UNANSWERED = 5


PENDING = (DisputeStatus.OPEN, DisputeStatus.ANSWERED)


class Fault(IntEnum):
    """Whose fault it is."""

    NOBODY = 1
    RENTER = 2
    """Of a booking or job; the challenger of a GPU."""
    PROVIDER = 3


@record(version=1)
@dataclass(frozen=True, slots=True)
class Ballot:
    """What one member of the electorate thinks."""

    voter: Unsigned8
    """Place in the electorate."""
    renter_share: BasisPoints
    """Share of what is disputed that returns to the renter."""
    slash_share: BasisPoints
    """Share of the collateral that goes to the renter."""
    fault: Fault


@record(version=1)
@dataclass(frozen=True, slots=True)
class Ruling:
    """What the ballots come to."""

    renter_share: BasisPoints
    slash_share: BasisPoints
    fault: Fault


@record(version=1)
@dataclass(frozen=True, slots=True)
class Dispute:
    """Two parties disagree about a booking, a job or a GPU."""

    kind: DisputeKind
    subject: Hash
    """The booking, job or GPU."""
    opener: Address
    respondent: Address
    by_provider: Boolean
    """Whether the opener is the provider; the renter, or whoever challenges a GPU, otherwise."""
    interrupts: Boolean
    """Whether it ended an active booking."""
    status: DisputeStatus
    text_hash: Hash
    """SHA-256 of the complaint, which stays in the transaction."""
    txid: Hash
    """The transaction that carries the complaint."""
    opened_height: Unsigned64
    deposit: Amount
    """Left by the opener; held until the dispute is over."""
    storage: Amount
    """Left by the opener for the record; held until it leaves the state."""
    earned: Amount
    """A: gross that is earned if nothing of it is disputed, base units."""
    paid: Amount
    """P: gross that was paid before the dispute, base units."""
    collateral: Amount
    """S: what the provider can lose to the renter, base units."""
    electorate: Annotated[tuple[Address, ...], ListOf(MAXIMUM_AUTHORITIES)]
    """Operators of the authorities that are not parties, as of the opening."""
    vote_seconds: Seconds
    """Live time for voting."""
    review_seconds: Seconds
    """Live time for which the record stays after the last deadline."""
    deadline_live_ms: Timestamp
    """Live time by which the respondent must answer; once he has, by which the electorate must vote."""
    ballots: Annotated[tuple[Ballot, ...], ListOf(MAXIMUM_AUTHORITIES)] = ()
    response_hash: Hash | None = None
    """SHA-256 of the response."""
    response_txid: Hash | None = None
    """The transaction that carries the response."""
    ruling: Ruling | None = None
    gross: Amount = 0
    """What the provider is paid in the end, market fee and earlier payments included."""
    slashed: Amount = 0
    """Of the collateral, given to the renter; less than was ruled only if a slash had left less."""
    deposit_returned: Amount = 0
    """Of the deposit, back to the opener; the respondent got the rest."""
    closed_height: Unsigned64 | None = None
    forget_live_ms: Timestamp | None = None
    """Live time at which the record leaves the state, once the dispute is over."""

    @property
    def disputed(self) -> int:
        """What is frozen, base units."""
        return self.earned - self.paid

    @property
    def provider(self) -> bytes:
        return self.opener if self.by_provider else self.respondent

    @property
    def renter(self) -> bytes:
        """The renter, or the challenger of a GPU."""
        return self.respondent if self.by_provider else self.opener


DISPUTES: Table[Dispute] = Table(TableId.DISPUTES, Dispute)


def read_dispute(view: View, dispute_id: bytes) -> Dispute:
    """The dispute as last written. Raises NotFound."""
    dispute = DISPUTES.get(view, dispute_id)
    if dispute is None:
        raise NotFound(kind="dispute", id=dispute_id)
    return dispute


def held(view: View) -> int:
    """What is on deposit for disputes, base units: for the record, and until it is over for the dispute itself."""
    return sum(
        dispute.storage + (dispute.deposit if dispute.status in PENDING else 0) for _, dispute in DISPUTES.scan(view)
    )


def subjects(dispute_id: bytes, dispute: Dispute) -> list[tuple[str, bytes]]:
    """Who and what a dispute's events are about."""
    return [
        ("dispute", dispute_id),
        (dispute.kind.name.lower(), dispute.subject),
        ("opener", dispute.opener),
        ("respondent", dispute.respondent),
    ]


def outcome(dispute: Dispute) -> Dispute:
    """The dispute as it ends with the response and the ballots that it has: the rows of the money table.

    A provider who ended an active booking has cancelled it, unless a ruling says that he was right.
    """
    cancelled = dispute.collateral if dispute.by_provider and dispute.interrupts else 0
    unruled = replace(dispute, gross=dispute.earned, slashed=cancelled, deposit_returned=dispute.deposit)
    if dispute.status is DisputeStatus.OPEN:
        claimed = dispute.earned if dispute.by_provider else dispute.paid
        return replace(unruled, status=DisputeStatus.UNANSWERED, gross=claimed)
    ruling = count(dispute)
    if ruling is None:
        return replace(unruled, status=DisputeStatus.UNDECIDED)
    if dispute.kind is DisputeKind.GPU:
        won = dispute.deposit if ruling.fault is Fault.PROVIDER else 0
    else:
        won = dispute.deposit * ruling.renter_share // 10_000
    return replace(
        dispute,
        status=DisputeStatus.RULED,
        ruling=ruling,
        gross=dispute.earned - dispute.disputed * ruling.renter_share // 10_000,
        slashed=dispute.collateral * ruling.slash_share // 10_000,
        deposit_returned=dispute.deposit - won if dispute.by_provider else won,
    )


def count(dispute: Dispute) -> Ruling | None:
    """What the ballots come to: lower medians, and the fault that most see; None without a quorum.

    Only a ballot that faults the provider may slash, so a slash implies that most of the ballots fault him.
    """
    ballots = dispute.ballots
    if not ballots or len(ballots) < quorum(len(dispute.electorate)):
        return None
    middle = (len(ballots) - 1) // 2
    tally = {fault: sum(ballot.fault is fault for ballot in ballots) for fault in Fault}
    most = [fault for fault, votes in tally.items() if votes == max(tally.values())]
    return Ruling(
        renter_share=sorted(ballot.renter_share for ballot in ballots)[middle],
        slash_share=sorted(ballot.slash_share for ballot in ballots)[middle],
        fault=most[0] if len(most) == 1 else Fault.NOBODY,
    )


def is_lost_by_provider(dispute: Dispute) -> bool:
    """Whether a dispute that is over found the provider at fault: by a ruling, or by his silence."""
    by_ruling = dispute.ruling is not None and dispute.ruling.fault is Fault.PROVIDER
    return by_ruling or (dispute.status is DisputeStatus.UNANSWERED and not dispute.by_provider)
