"""Multisig accounts: several key accounts that act as one, when enough of them approve.

A proposal holds the actions themselves. They run atomically as the multisig account in the transaction of the
approval that reaches the threshold; if one of them fails, that approval fails and the proposal stays.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain.action import Action, ActionList, Clock, Context, Family
from chain.bank import account, require_funds
from chain.crypto.address import KEY, MULTISIG, multisig_address
from chain.deposit import give_back, held_in, storage_deposit, take
from chain.errors import InvalidField, LedgerError, NotAuthorized, NotFound
from chain.invariants import require
from chain.keys import require_usable
from chain.record import record
from chain.schedule import Subject, is_scheduled, schedule, unschedule
from chain.schema import U32, U64, Address, Amount, Hash, ListOf, Timestamp, Unsigned, Unsigned32, Unsigned64
from chain.state.tables import Table, TableId
from chain.state.view import View

MAXIMUM_MEMBERS = 32
MAXIMUM_OPEN_PROPOSALS = 32
MAXIMUM_PROPOSAL_ACTIONS = 32
MAXIMUM_LIFETIME_MS = 30 * 86_400_000


class ProposalClosed(LedgerError):
    code = 1701
    hint = "The proposal was executed or has expired."


class TooManyProposals(LedgerError):
    code = 1702
    hint = "Wait until an open proposal of this account is executed or expires."


class AlreadyApproved(LedgerError):
    code = 1703
    hint = "This member has approved the proposal."


class AlreadyRejected(LedgerError):
    code = 1707
    hint = "This member has rejected the proposal."


class ExecutionWeightTooLow(LedgerError):
    code = 1704
    hint = "This approval executes the proposal and must pay the weight of its actions."


class ProposalTimeRefused(LedgerError):
    code = 1705
    hint = "A proposal expires after now and within 30 days."


class AccountExists(LedgerError):
    code = 1706
    hint = "This multisig account exists already."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Multisig:
    """Who controls a multisig account; its key is the account's address."""

    threshold: Annotated[int, Unsigned(MAXIMUM_MEMBERS, 1)]
    members: Annotated[tuple[Address, ...], ListOf(MAXIMUM_MEMBERS, 1)]
    """Sorted, each once."""
    proposals: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_OPEN_PROPOSALS)] = ()
    """The open proposals, oldest first."""
    deposit: Amount = 0
    """Held for the record, which stays for ever; paid by the creator, and for more members by the account."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Opinion:
    """A member's approval or rejection; void once the member's key is rotated or the members change."""

    member: Address
    rotations: Unsigned32
    """How often the member's key had been rotated."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Proposal:
    """Actions that wait for approvals."""

    account: Address
    proposer: Address
    actions: Annotated[tuple[Action, ...], ActionList(MAXIMUM_PROPOSAL_ACTIONS)]
    expires_ms: Timestamp
    """Block time from which it can no longer be approved."""
    approvals: Annotated[tuple[Opinion, ...], ListOf(MAXIMUM_MEMBERS)]
    rejections: Annotated[tuple[Opinion, ...], ListOf(MAXIMUM_MEMBERS)]
    proposed_height: Unsigned64
    deposit: Amount = 0
    """Paid by the proposer; returned when the proposal is closed."""

    @property
    def weight(self) -> int:
        """Weight of executing it."""
        return sum(action.weight() for action in self.actions)


MULTISIGS: Table[Multisig] = Table(TableId.MULTISIGS, Multisig)
PROPOSALS: Table[Proposal] = Table(TableId.PROPOSALS, Proposal)


def read_multisig(view: View, address: bytes) -> Multisig:
    """The account's members and threshold. Raises NotFound."""
    found = MULTISIGS.get(view, address)
    if found is None:
        raise NotFound(kind="multisig", id=address)
    return found


def _overdue(context: Context, multisig: Multisig) -> bytes | None:
    """A proposal of a full list that is over by the clock and only waits for the due queue, if there is one."""
    if len(multisig.proposals) < MAXIMUM_OPEN_PROPOSALS:
        return None
    held = ((proposal_id, PROPOSALS.get(context.view, proposal_id)) for proposal_id in multisig.proposals)
    over = (key for key, proposal in held if proposal is not None and context.time_ms >= proposal.expires_ms)
    return next(over, None)


def open_proposal(context: Context, proposal_id: bytes) -> Proposal:
    """The proposal, if it can still be approved. Raises ProposalClosed."""
    proposal = PROPOSALS.get(context.view, proposal_id)
    if proposal is None or context.time_ms >= proposal.expires_ms:
        raise ProposalClosed(proposal=proposal_id)
    return proposal


LIST_ENTRY_BYTES = 36
"""Of a proposal in the list of its account."""


def _multisig_deposit(context: Context, threshold: int, members: tuple[bytes, ...]) -> int:
    return storage_deposit(context.parameters, Multisig(threshold, members, deposit=U64))


def _proposal_deposit(context: Context, proposal: Proposal, members: tuple[bytes, ...]) -> int:
    """What a proposal costs, once every member has an opinion."""
    opinions = tuple(Opinion(member, U32) for member in members)
    fullest = replace(proposal, approvals=opinions, deposit=U64)
    return storage_deposit(context.parameters, fullest, LIST_ENTRY_BYTES)


def _opinion(view: View, member: bytes) -> Opinion:
    return Opinion(member, account(view, member).rotations)


def valid(view: View, opinions: tuple[Opinion, ...]) -> tuple[Opinion, ...]:
    """The opinions that still count: given with a key that is still current."""
    return tuple(opinion for opinion in opinions if opinion == _opinion(view, opinion.member))


def _without(opinions: tuple[Opinion, ...], member: bytes) -> tuple[Opinion, ...]:
    return tuple(opinion for opinion in opinions if opinion.member != member)


def validate_members(action: str, threshold: int, members: tuple[bytes, ...]) -> None:
    """Raise InvalidField unless threshold and members can make an account."""
    if list(members) != sorted(set(members)):
        raise InvalidField(record=action, field="members", reason="must be sorted, each once")
    if any(member[0] != KEY for member in members):
        raise InvalidField(record=action, field="members", reason="members are key accounts")
    if threshold > len(members):
        raise InvalidField(record=action, field="threshold", reason="exceeds the number of members")


def require_able(context: Context, members: tuple[bytes, ...]) -> None:
    """Raise AddressNotUsable if a member could never sign."""
    for member in members:
        require_usable(context.view, member)


def require_member(multisig: Multisig, address: bytes) -> None:
    """Raise NotAuthorized unless the address is a member."""
    if address not in multisig.members:
        raise NotAuthorized(needed="member", account=address)


@record(version=1)
@dataclass(frozen=True, slots=True)
class CreateMultisig(Action):
    """Makes an account that needs `threshold` of its members."""

    code: ClassVar[int] = 60
    name: ClassVar[str] = "multisig.create"

    threshold: Annotated[int, Unsigned(MAXIMUM_MEMBERS, 1)]
    members: Annotated[tuple[Address, ...], ListOf(MAXIMUM_MEMBERS, 1)]

    def weight(self) -> int:
        return 4 + len(self.members) // 4

    def validate(self) -> None:
        validate_members("CreateMultisig", self.threshold, self.members)

    def _address(self, context: Context) -> bytes:
        sequence = account(context.view, context.sender).sequence - 1  # that of this transaction
        return multisig_address(context.sender, sequence, self.threshold, self.members)

    def check(self, context: Context) -> None:
        address = self._address(context)
        if MULTISIGS.get(context.view, address) is not None:
            raise AccountExists(account=address)
        require_able(context, self.members)
        require_funds(context.view, context.sender, 0, _multisig_deposit(context, self.threshold, self.members))

    def apply(self, context: Context) -> None:
        address = self._address(context)
        deposit = _multisig_deposit(context, self.threshold, self.members)
        take(context, context.sender, deposit, ("account", address))
        MULTISIGS.put(context.view, address, Multisig(self.threshold, self.members, deposit=deposit))
        names = [("account", address), ("creator", context.sender), *(("member", m) for m in self.members)]
        context.emit("multisig.created", names, threshold=self.threshold)


@record(version=1)
@dataclass(frozen=True, slots=True)
class ProposeActions(Action):
    """A member proposes actions of the account, and so approves them; a threshold of one runs them at once."""

    code: ClassVar[int] = 61
    name: ClassVar[str] = "multisig.propose"

    account: Address
    actions: Annotated[tuple[Action, ...], ActionList(MAXIMUM_PROPOSAL_ACTIONS)]
    expires_ms: Timestamp

    def weight(self) -> int:
        return 85 + sum(action.weight() for action in self.actions)

    def validate(self) -> None:
        if any(action.name.startswith("multisig.") and not isinstance(action, SetMembers) for action in self.actions):
            raise InvalidField(record="ProposeActions", field="actions", reason="members are key accounts")

    def check(self, context: Context) -> None:
        multisig = read_multisig(context.view, self.account)
        require_member(multisig, context.sender)
        if not context.time_ms < self.expires_ms <= context.time_ms + MAXIMUM_LIFETIME_MS:
            raise ProposalTimeRefused(minimum=context.time_ms + 1, maximum=context.time_ms + MAXIMUM_LIFETIME_MS)
        if len(multisig.proposals) >= MAXIMUM_OPEN_PROPOSALS and _overdue(context, multisig) is None:
            raise TooManyProposals(account=self.account, maximum=MAXIMUM_OPEN_PROPOSALS)
        if multisig.threshold > 1:
            deposit = _proposal_deposit(context, self._proposal(context), multisig.members)
            require_funds(context.view, context.sender, 0, deposit)

    def _proposal(self, context: Context) -> Proposal:
        return Proposal(
            account=self.account,
            proposer=context.sender,
            actions=self.actions,
            expires_ms=self.expires_ms,
            approvals=(_opinion(context.view, context.sender),),
            rejections=(),
            proposed_height=context.block.height,
        )

    def apply(self, context: Context) -> None:
        multisig = read_multisig(context.view, self.account)
        proposal_id = context.new_id("proposal")
        proposal = self._proposal(context)
        names = [("proposal", proposal_id), ("account", self.account), ("proposer", context.sender)]
        context.emit("multisig.proposed", names, approvals=1, threshold=multisig.threshold)
        if multisig.threshold == 1:
            _execute(context, proposal_id, proposal)
            return
        overdue = _overdue(context, multisig)
        if overdue is not None:
            expire(context, overdue)  # to make room
            multisig = read_multisig(context.view, self.account)
        deposit = _proposal_deposit(context, proposal, multisig.members)
        take(context, context.sender, deposit, ("proposal", proposal_id))
        PROPOSALS.put(context.view, proposal_id, replace(proposal, deposit=deposit))
        MULTISIGS.put(context.view, self.account, replace(multisig, proposals=(*multisig.proposals, proposal_id)))
        schedule(context, Clock.BLOCK, self.expires_ms, Subject.PROPOSAL, proposal_id)


@record(version=1)
@dataclass(frozen=True, slots=True)
class ApproveProposal(Action):
    """A member approves; the approval that reaches the threshold runs the actions and pays their weight."""

    code: ClassVar[int] = 62
    name: ClassVar[str] = "multisig.approve"

    proposal: Hash
    execution_weight: Unsigned32 = 0
    """Weight of the proposal's actions, if this approval will execute them; declared so that the fee covers it."""

    def weight(self) -> int:
        return 10 + self.execution_weight

    def check(self, context: Context) -> None:
        proposal = open_proposal(context, self.proposal)
        multisig = read_multisig(context.view, proposal.account)
        require_member(multisig, context.sender)
        approvals = valid(context.view, proposal.approvals)
        if any(approval.member == context.sender for approval in approvals):
            raise AlreadyApproved(proposal=self.proposal, member=context.sender)
        executes = len(approvals) + 1 >= multisig.threshold
        if executes and self.execution_weight < proposal.weight:
            raise ExecutionWeightTooLow(needed=proposal.weight, got=self.execution_weight)

    def apply(self, context: Context) -> None:
        proposal = open_proposal(context, self.proposal)
        multisig = read_multisig(context.view, proposal.account)
        mine = _opinion(context.view, context.sender)
        approved = replace(
            proposal,
            approvals=(*valid(context.view, proposal.approvals), mine),
            rejections=_without(proposal.rejections, context.sender),
        )
        names = [("proposal", self.proposal), ("account", proposal.account), ("member", context.sender)]
        approvals = len(approved.approvals)
        context.emit("multisig.approved", names, approvals=approvals, threshold=multisig.threshold)
        if approvals >= multisig.threshold:
            _close(context, self.proposal, proposal)
            _execute(context, self.proposal, approved)
        else:
            PROPOSALS.put(context.view, self.proposal, approved)


@record(version=1)
@dataclass(frozen=True, slots=True)
class RejectProposal(Action):
    """A member says no, taking back an approval; the proposal closes when it can no longer be approved."""

    code: ClassVar[int] = 63
    name: ClassVar[str] = "multisig.reject"
    base_weight: ClassVar[int] = 14

    proposal: Hash

    def check(self, context: Context) -> None:
        proposal = open_proposal(context, self.proposal)
        require_member(read_multisig(context.view, proposal.account), context.sender)
        if any(rejection.member == context.sender for rejection in valid(context.view, proposal.rejections)):
            raise AlreadyRejected(proposal=self.proposal, member=context.sender)

    def apply(self, context: Context) -> None:
        proposal = open_proposal(context, self.proposal)
        multisig = read_multisig(context.view, proposal.account)
        mine = _opinion(context.view, context.sender)
        rejected = replace(
            proposal,
            approvals=_without(proposal.approvals, context.sender),
            rejections=(*_without(valid(context.view, proposal.rejections), context.sender), mine),
        )
        names = [("proposal", self.proposal), ("account", proposal.account), ("member", context.sender)]
        context.emit("multisig.rejected", names, rejections=len(rejected.rejections), threshold=multisig.threshold)
        if len(multisig.members) - len(rejected.rejections) < multisig.threshold:
            _close(context, self.proposal, proposal)
            context.emit("multisig.refused", names[:2])
        else:
            PROPOSALS.put(context.view, self.proposal, rejected)


@record(version=1)
@dataclass(frozen=True, slots=True)
class SetMembers(Action):
    """Replaces threshold and members of the multisig account that executes it; every open proposal is void."""

    code: ClassVar[int] = 64
    name: ClassVar[str] = "multisig.set_members"

    threshold: Annotated[int, Unsigned(MAXIMUM_MEMBERS, 1)]
    members: Annotated[tuple[Address, ...], ListOf(MAXIMUM_MEMBERS, 1)]

    def weight(self) -> int:
        return 4 + len(self.members) // 4 + 4 * MAXIMUM_OPEN_PROPOSALS

    def validate(self) -> None:
        validate_members("SetMembers", self.threshold, self.members)

    def check(self, context: Context) -> None:
        if context.sender[0] != MULTISIG:
            raise NotAuthorized(needed="multisig account", account=context.sender)
        require_able(context, self.members)
        require_funds(context.view, context.sender, 0, self._more_deposit(context))

    def _more_deposit(self, context: Context) -> int:
        """What more members cost than there were."""
        old = read_multisig(context.view, context.sender)
        before = _multisig_deposit(context, old.threshold, old.members)
        return max(0, _multisig_deposit(context, self.threshold, self.members) - before)

    def apply(self, context: Context) -> None:
        more = self._more_deposit(context)
        take(context, context.sender, more, ("account", context.sender))
        for proposal_id in read_multisig(context.view, context.sender).proposals:
            proposal = PROPOSALS.get(context.view, proposal_id)
            if proposal is not None:
                _close(context, proposal_id, proposal)
                context.emit("multisig.voided", [("proposal", proposal_id), ("account", context.sender)])
        deposit = read_multisig(context.view, context.sender).deposit + more
        MULTISIGS.put(context.view, context.sender, Multisig(self.threshold, self.members, deposit=deposit))
        names = [("account", context.sender), *(("member", member) for member in self.members)]
        context.emit("multisig.members_set", names, threshold=self.threshold)


def _execute(context: Context, proposal_id: bytes, proposal: Proposal) -> None:
    """Run the actions as the multisig account; an error rolls the whole approval back."""
    inner = context.acting_as(proposal.account)
    for action in proposal.actions:
        action.check(inner)
        action.apply(inner)
    context.emit("multisig.executed", [("proposal", proposal_id), ("account", proposal.account)])


def _close(context: Context, proposal_id: bytes, proposal: Proposal) -> None:
    unschedule(context, Clock.BLOCK, proposal.expires_ms, Subject.PROPOSAL, proposal_id)
    PROPOSALS.delete(context.view, proposal_id)
    give_back(context, proposal.proposer, proposal.deposit, ("proposal", proposal_id))
    multisig = read_multisig(context.view, proposal.account)
    left = tuple(other for other in multisig.proposals if other != proposal_id)
    MULTISIGS.put(context.view, proposal.account, replace(multisig, proposals=left))


def expire(context: Context, proposal_id: bytes) -> None:
    """Due handler: a proposal's time is up."""
    proposal = PROPOSALS.get(context.view, proposal_id)
    if proposal is not None and context.time_ms >= proposal.expires_ms:
        _close(context, proposal_id, proposal)
        context.emit("multisig.expired", [("proposal", proposal_id), ("account", proposal.account)])


def check_proposals(view: View) -> None:
    """Each account names its open proposals, and each of these has the deadline at which it expires."""
    named = {(address, proposal_id) for address, held in MULTISIGS.scan(view) for proposal_id in held.proposals}
    found = set()
    for proposal_id, proposal in PROPOSALS.scan(view):
        found.add((proposal.account, proposal_id))
        waiting = is_scheduled(view, Clock.BLOCK, proposal.expires_ms, Subject.PROPOSAL, proposal_id)
        require(waiting, "a proposal has its deadline", id=proposal_id)
    require(named == found, "accounts name their open proposals")


FAMILY = Family(
    "multisig",
    (CreateMultisig, ProposeActions, ApproveProposal, RejectProposal, SetMembers),
    {Subject.PROPOSAL: expire},
    (check_proposals,),
    deposits=held_in(MULTISIGS, PROPOSALS),
)
