"""The authorities in the second ledger: who is in the set, who enters and leaves it, and what double signing costs.

Every set of the past is kept, so that whatever depends on one is looked up by its epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from chain.actions.authorities import AddAuthority, DisableAuthority, ReadyAuthority, RemoveAuthority
from chain.actions.evidence import SubmitEvidence
from chain.authorities import ready_bytes
from chain.certificate import Authority, VoteKind, vote_bytes
from chain.crypto import bls, ed25519
from chain.governance import GOVERNANCE_ACCOUNT
from chain.parameters import Parameters
from tests.economy.accounts import Accounts, Staking

MAXIMUM_MEMBERS = 128
MAXIMUM_CANDIDATES = 128
CANDIDATE_EPOCHS = 32


@dataclass
class Term:
    """A set of the past."""

    first: int
    last: int
    """Epochs in which it was the set."""
    members: list[Authority]


@dataclass
class ModelCandidate:
    authority: Authority
    approved: int
    """Epoch at whose end it was voted in."""
    ready: int | None = None
    """Epoch for which it said last that it is ready."""


@dataclass(frozen=True)
class ModelConviction:
    node_key: bytes
    rate: int
    stake_before: int
    amount: int
    reward: int
    submitter: bytes
    height: int


@dataclass
class Council(Staking, Accounts):
    members: list[Authority] = field(default_factory=list)
    since: int = 0
    """First epoch of the present set."""
    terms: list[Term] = field(default_factory=list)
    candidates: dict[bytes, ModelCandidate] = field(default_factory=dict)
    leaving: list[tuple[bytes, bool]] = field(default_factory=list)
    """(operator, whether its keys were disabled) of those voted out, in the order of the votes."""
    former: dict[bytes, int] = field(default_factory=dict)
    """The last epoch of everybody who ever left."""
    disabled: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    """Whose a key was that nobody may use again, and the epoch at whose end that was decided."""
    convictions: dict[tuple[int, bytes], ModelConviction] = field(default_factory=dict)
    """By epoch and operator."""
    slashed: set[bytes] = field(default_factory=set)
    """Who was ever slashed: of his stake less may be left than is reserved."""
    before: Parameters = field(default_factory=Parameters)
    """The parameters of this block, whatever its end does to them."""

    @property
    def epoch(self) -> int:
        return max(0, self.height - 1) // self.parameters.epoch_blocks

    @property
    def next_epoch(self) -> int:
        """The epoch of the next block."""
        return self.height // self.parameters.epoch_blocks

    def operators(self) -> tuple[bytes, ...]:
        return tuple(member.operator for member in self.members)

    def set_of(self, epoch: int) -> list[Authority]:
        """Who finalised the blocks of a present or past epoch."""
        return next((term.members for term in self.terms if term.first <= epoch <= term.last), self.members)

    def oldest(self, epoch: int) -> int:
        """The first epoch for which somebody can be convicted in this one."""
        return max(0, epoch - self.parameters.evidence_epochs)

    def keeps(self, owner: bytes) -> int:
        return self.keeps_in(self.epoch, owner)

    def keeps_in(self, epoch: int, owner: bytes) -> int:
        """Whoever is in the set, or can be convicted of what he did in an earlier one, keeps the minimum."""
        sets = [self.set_of(each) for each in range(self.oldest(epoch), epoch + 1)]
        operates = any(member.operator == owner for members in sets for member in members)
        return self.parameters.authority_minimum_stake if operates else 0

    def step(self, time: int) -> None:
        self.before = self.parameters
        super().step(time)

    def end_epoch(self) -> None:
        """Stakers are paid first, then measures take effect, and the set follows from them."""
        super().end_epoch()
        self.enact()
        self.change_set()
        forgotten = [key for key in self.convictions if key[0] < self.oldest(self.epoch + 1)]
        for key in forgotten:
            del self.convictions[key]

    def enact(self) -> None:
        """What was passed happens."""

    def outgoing(self) -> list[bytes]:
        """Who has to leave, first to leave first."""
        voted = [who for who, disabled in self.leaving if disabled] + [
            who for who, disabled in self.leaving if not disabled
        ]
        poor = [who for who in self.operators() if who not in voted and not self.rich(who)]
        return voted + poor

    def rich(self, operator: bytes) -> bool:
        return self.free(operator) >= self.before.authority_minimum_stake

    def change_set(self) -> None:
        size = len(self.members)
        gone = self.outgoing()[: min(size - 1, max(1, (size - 1) // 3))]
        members = [member for member in self.members if member.operator not in gone]
        came = 0
        for operator, candidate in sorted(self.candidates.items(), key=lambda item: (item[1].approved, item[0])):
            if self.enters(candidate, members):
                members.append(candidate.authority)
                came += 1
                del self.candidates[operator]
            elif self.epoch - candidate.approved >= CANDIDATE_EPOCHS:
                del self.candidates[operator]
        self.leaving = [item for item in self.leaving if item[0] not in gone]
        self.former.update(dict.fromkeys(gone, self.epoch))
        if gone or came:
            self.terms.append(Term(self.since, self.epoch, self.members))
            self.since, self.members = self.epoch + 1, members

    def enters(self, candidate: ModelCandidate, members: list[Authority]) -> bool:
        ready = candidate.ready is not None and self.epoch - candidate.ready < self.before.ready_epochs
        others = [part for member in members for part in parts(member)]
        clear = not any(part in others for part in parts(candidate.authority))
        return ready and clear and self.rich(candidate.authority.operator) and len(members) < MAXIMUM_MEMBERS

    def do_authority_add(self, sender: bytes, action: AddAuthority) -> str | None:
        if sender != GOVERNANCE_ACCOUNT:
            return "governance_only"
        who = action.operator
        if not self.usable(who):
            return "address_not_usable"
        leaves = any(operator == who for operator, _ in self.leaving)
        if who in self.candidates or (who in self.operators() and not leaves):
            return "authority_known"
        if len(self.candidates) == MAXIMUM_CANDIDATES:
            return "too_many_candidates"
        others = [*self.members, *(candidate.authority for candidate in self.candidates.values())]
        taken = [part for other in others if other.operator != who for part in parts(other)]
        for key in (action.node_key, action.bls_key):
            if key in self.disabled:
                return "key_disabled"
            if key in taken:
                return "authority_key_taken"
        if not bls.verify_possession(action.bls_key, action.proof_of_possession):
            return "bad_signature"
        authority = Authority(who, action.node_key, action.bls_key, action.proof_of_possession)
        self.candidates[who] = ModelCandidate(authority, self.epoch)
        return None

    def do_authority_remove(self, sender: bytes, action: RemoveAuthority) -> str | None:
        if sender != GOVERNANCE_ACCOUNT:
            return "governance_only"
        who = action.operator
        leaves = any(operator == who for operator, _ in self.leaving)
        if who not in self.candidates and (who not in self.operators() or leaves):
            return "not_an_authority"
        self.candidates.pop(who, None)
        if who in self.operators() and not leaves:
            self.leaving.append((who, False))
        return None

    def do_authority_disable(self, sender: bytes, action: DisableAuthority) -> str | None:
        if sender != GOVERNANCE_ACCOUNT:
            return "governance_only"
        who = action.operator
        if who not in self.candidates and who not in self.operators():
            return "not_an_authority"
        for authority in self.known(who):
            for key in (authority.node_key, authority.bls_key):
                self.disabled[key] = (who, self.epoch)
        self.candidates.pop(who, None)
        if who in self.operators():
            self.leaving = [item for item in self.leaving if item[0] != who] + [(who, True)]
        return None

    def known(self, operator: bytes) -> Iterator[Authority]:
        """What an operator has in the set and among those who wait for it."""
        yield from (member for member in self.members if member.operator == operator)
        if operator in self.candidates:
            yield self.candidates[operator].authority

    def do_authority_ready(self, sender: bytes, action: ReadyAuthority) -> str | None:
        candidate = self.candidates.get(sender)
        if candidate is None:
            return "not_a_candidate"
        if not self.epoch - self.parameters.ready_epochs < action.epoch <= self.epoch:
            return "ready_refused"
        node_key, bls_key = candidate.authority.node_key, candidate.authority.bls_key
        message = ready_bytes(self.chain_id, sender, action.epoch, node_key, bls_key)
        if not ed25519.verify(node_key, message, action.node_signature):
            return "bad_signature"
        if not bls.verify(bls_key, message, action.bls_signature):
            return "bad_signature"
        candidate.ready = max(action.epoch, candidate.ready or 0)
        return None

    def do_evidence_submit(self, sender: bytes, action: SubmitEvidence) -> str | None:
        epoch = action.first.epoch
        if epoch > self.epoch:
            return "evidence_refused"
        if epoch < self.oldest(self.epoch):
            return "evidence_too_old"
        accused = [member for member in self.set_of(epoch) if member.node_key == action.node_key]
        if not accused:
            return "evidence_refused"
        (author,) = accused
        if (epoch, author.operator) in self.convictions:
            return "already_convicted"
        for vote in (action.first, action.second):
            message = vote_bytes(self.chain_id, vote.epoch, vote.view, vote.kind, vote.block_hash)
            if vote.kind is VoteKind.PROPOSAL:
                genuine = ed25519.verify(author.node_key, message, vote.signature)
            else:
                genuine = bls.verify(author.bls_key, message, vote.signature)
            if not genuine:
                return "evidence_refused"
        self.convictions[epoch, author.operator] = self.convict(author, sender)
        return None

    def convict(self, author: Authority, reporter: bytes) -> ModelConviction:
        """Slash the operator; at most half of it, and at most so much, goes to whoever showed it."""
        rate = self.parameters.evidence_slash
        before, amount = self.slash(author.operator, rate)
        reward = 0 if reporter == author.operator else min(self.parameters.evidence_reward, amount // 2)
        self.pay(reporter, reward)
        self.burnt += amount - reward
        return ModelConviction(author.node_key, rate, before, amount, reward, reporter, self.height)

    def slash(self, owner: bytes, rate: int) -> tuple[int, int]:
        """Take a share of all that somebody has at stake: free stake, then what leaves first, then collateral."""
        self.slashed.add(owner)
        own = sorted((due, key) for key, (due, who, _) in self.unbonding.items() if who == owner)
        before = self.stake.get(owner, 0) + sum(self.unbonding[key][2] for _, key in own)
        amount = before * rate // 10_000
        taken = min(amount, max(0, self.free(owner)))
        left = amount - taken
        for due, key in own:
            part = min(left, self.unbonding[key][2])
            left -= part
            self.unbonding[key] = (due, owner, self.unbonding[key][2] - part)
            if not self.unbonding[key][2]:
                del self.unbonding[key]
        if owner in self.stake:
            self.stake[owner] -= taken + left
        return before, amount


def parts(authority: Authority) -> tuple[bytes, ...]:
    """What two members of a set may not share."""
    return authority.operator, authority.node_key, authority.bls_key
