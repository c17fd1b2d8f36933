"""Multisig accounts in the second ledger."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chain.action import Action, encode_action
from chain.actions.multisig import ApproveProposal, CreateMultisig, ProposeActions, RejectProposal, SetMembers
from chain.crypto.address import MULTISIG, multisig_address
from tests.economy.accounts import Accounts
from tests.economy.books import MOST, size_of

MONTH_MS = 30 * 86_400_000
MAXIMUM_PROPOSALS = 32
MAXIMUM_MEMBERS = 32
LIST_ENTRY_BYTES = 36
MOST_ROTATIONS = (1 << 32) - 1


@dataclass
class Club:
    threshold: int
    members: tuple[bytes, ...]


@dataclass
class ModelProposal:
    account: bytes
    actions: tuple[Action, ...]
    expires: int
    yes: dict[bytes, int]
    """Who approved, and how often he had rotated his key by then."""
    no: dict[bytes, int] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        return sum(action.weight() for action in self.actions)


@dataclass
class Multisigs(Accounts):
    clubs: dict[bytes, Club] = field(default_factory=dict)
    proposals: dict[bytes, ModelProposal] = field(default_factory=dict)

    def due(self) -> None:
        super().due()
        self.shut(*(key for key, item in self.proposals.items() if item.expires <= self.now))

    def shut(self, *keys: bytes) -> None:
        """These proposals are over; whoever made them gets his deposit back."""
        for key in keys:
            del self.proposals[key]
            self.give_back("proposal", key)

    def club_deposit(self, members: tuple[bytes, ...]) -> int:
        return self.price(size_of(MAXIMUM_MEMBERS, members, [], MOST))

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        yield from (proposal.expires for proposal in self.proposals.values())

    def delicate(self, actions: Sequence[Action]) -> bool:
        return super().delicate(actions) or isinstance(actions[0], ApproveProposal | ProposeActions)

    def counts(self, opinions: dict[bytes, int]) -> dict[bytes, int]:
        """Those that were given with a key that is still current."""
        return {who: when for who, when in opinions.items() if self.rotations.get(who, 0) == when}

    def do_multisig_create(self, sender: bytes, action: CreateMultisig) -> str | None:
        address = multisig_address(sender, self.sequences[sender] - 1, action.threshold, action.members)
        if address in self.clubs:
            return "account_exists"
        if not all(self.usable(member) for member in action.members):
            return "address_not_usable"
        deposit = self.club_deposit(action.members)
        if self.has(sender) < deposit:
            return "insufficient_funds"
        self.hold(sender, deposit, "multisig", address)
        self.clubs[address] = Club(action.threshold, action.members)
        return None

    def do_multisig_propose(self, sender: bytes, action: ProposeActions) -> str | None:
        club = self.clubs.get(action.account)
        if club is None:
            return "not_found"
        if sender not in club.members:
            return "not_authorized"
        if not self.now < action.expires_ms <= self.now + MONTH_MS:
            return "proposal_time_refused"
        if sum(proposal.account == action.account for proposal in self.proposals.values()) == MAXIMUM_PROPOSALS:
            return "too_many_proposals"
        deposit = self.price(self.proposal_size(sender, action, club))
        if club.threshold > 1 and self.has(sender) < deposit:
            return "insufficient_funds"
        key = self.new_id("proposal")
        mine = {sender: self.rotations.get(sender, 0)}
        proposal = ModelProposal(action.account, action.actions, action.expires_ms, mine)
        if club.threshold == 1:
            return self.execute(proposal)
        self.proposals[key] = proposal
        self.hold(sender, deposit, "proposal", key)
        return None

    def proposal_size(self, sender: bytes, action: ProposeActions, club: Club) -> int:
        """Of a proposal, once every member has an opinion."""
        opinions = [[member, MOST_ROTATIONS] for member in club.members]
        actions = [encode_action(inner) for inner in action.actions]
        fields = (action.account, sender, actions, MOST, opinions, [], MOST, MOST)
        return size_of(*fields) + LIST_ENTRY_BYTES

    def execute(self, proposal: ModelProposal) -> str | None:
        for action in proposal.actions:
            if error := self.perform(proposal.account, action):
                return error
        return None

    def votable(self, sender: bytes, key: bytes) -> str | None:
        proposal = self.proposals.get(key)
        if proposal is None:
            return "proposal_closed"
        return None if sender in self.clubs[proposal.account].members else "not_authorized"

    def do_multisig_approve(self, sender: bytes, action: ApproveProposal) -> str | None:
        if error := self.votable(sender, action.proposal):
            return error
        proposal = self.proposals[action.proposal]
        yes = self.counts(proposal.yes)
        if sender in yes:
            return "already_approved"
        yes[sender] = self.rotations.get(sender, 0)
        decided = len(yes) >= self.clubs[proposal.account].threshold
        if decided and action.execution_weight < proposal.weight:
            return "execution_weight_too_low"
        proposal.yes = yes
        proposal.no.pop(sender, None)
        if not decided:
            return None
        self.shut(action.proposal)
        return self.execute(proposal)

    def do_multisig_reject(self, sender: bytes, action: RejectProposal) -> str | None:
        if error := self.votable(sender, action.proposal):
            return error
        proposal = self.proposals[action.proposal]
        no = self.counts(proposal.no)
        if sender in no:
            return "already_rejected"
        no[sender] = self.rotations.get(sender, 0)
        proposal.no = no
        proposal.yes.pop(sender, None)
        club = self.clubs[proposal.account]
        if len(club.members) - len(no) < club.threshold:
            self.shut(action.proposal)
        return None

    def do_multisig_set_members(self, sender: bytes, action: SetMembers) -> str | None:
        if sender[0] != MULTISIG:
            return "not_authorized"
        if not all(self.usable(member) for member in action.members):
            return "address_not_usable"
        club = self.clubs[sender]
        more = self.club_deposit(action.members) - self.club_deposit(club.members)
        if self.has(sender) < more:
            return "insufficient_funds"
        if more > 0:
            payer, before = self.deposits["multisig", sender]
            self.pay(sender, -more)
            self.deposits["multisig", sender] = (payer, before + more)
        self.clubs[sender] = Club(action.threshold, action.members)
        self.shut(*(key for key, item in self.proposals.items() if item.account == sender))
        return None
