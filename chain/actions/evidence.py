"""Evidence: convicting an authority that signed two things which exclude each other, at the cost of its stake.

Anybody may submit it, once for an authority and an epoch, as long as that epoch lies within `evidence_epochs`; until
then the set of the epoch is kept and the operator's stake locked. Whoever shows it gets a part of the slash, up to a
cap and at most half, so that an offender gains little by accusing himself under another name; the rest is burnt.
"""

from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from chain.action import Action, Context, Family
from chain.authorities import set_of_epoch
from chain.certificate import Authority, AuthoritySet, Vote
from chain.errors import InvalidField, LedgerError, MalformedEncoding
from chain.evidence import ConflictingVotes, Offence
from chain.invariants import require
from chain.record import record
from chain.schema import Address, Amount, BasisPoints, Hash, PublicKey, Unsigned64
from chain.slashing import SLASH_WEIGHT, slash_share
from chain.state.tables import Table, TableId, u64
from chain.state.view import View

EVIDENCE_WEIGHT = 60 + SLASH_WEIGHT
"""Two BLS signatures, the set of an epoch with up to 128 members, and the slash."""
MAXIMUM_PRUNED_CONVICTIONS = 256
"""Convictions forgotten at the end of an epoch at most: more than an epoch can add."""


class EvidenceTooOld(LedgerError):
    code = 2101
    hint = "Evidence counts for a number of epochs (`evidence_epochs`)."


class EvidenceRefused(LedgerError):
    code = 2102
    hint = "This does not prove that an authority of that epoch broke a rule."


class AlreadyConvicted(LedgerError):
    code = 2103
    hint = "An authority is convicted once for an epoch."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Conviction:
    """That an authority was slashed for what it signed in an epoch; its key is the epoch and the operator."""

    offence: Offence
    node_key: PublicKey
    rate: BasisPoints
    """Share of the stake that it was to lose."""
    stake_before: Amount
    """Stake and open unbondings before it, base units."""
    amount: Amount
    """What was taken, base units."""
    reward: Amount
    """The part that went to whoever submitted the evidence; the rest was burnt."""
    submitter: Address
    height: Unsigned64
    """Block that convicted it."""
    txid: Hash
    """The transaction that holds the evidence."""


CONVICTIONS: Table[Conviction] = Table(TableId.CONVICTIONS, Conviction)


def conviction_key(epoch: int, operator: bytes) -> bytes:
    """The table key of a conviction."""
    return u64(epoch) + operator


@record(version=1)
@dataclass(frozen=True, slots=True)
class SubmitEvidence(Action):
    """Two votes of one authority that nobody may both sign."""

    code: ClassVar[int] = 90
    name: ClassVar[str] = "evidence.submit"
    base_weight: ClassVar[int] = EVIDENCE_WEIGHT

    node_key: PublicKey
    """Names the authority: indices mean nothing without the set of the epoch."""
    first: Vote
    second: Vote

    @property
    def conflict(self) -> ConflictingVotes:
        return ConflictingVotes(self.node_key, self.first, self.second)

    def validate(self) -> None:
        for name, vote in (("first", self.first), ("second", self.second)):
            try:
                Vote.from_plain(tuple(vote.plain()))
            except MalformedEncoding as error:
                raise InvalidField(record="SubmitEvidence", field=name, reason=str(error.data["reason"])) from error
        if self.conflict.offence is None:
            raise InvalidField(record="SubmitEvidence", field="second", reason="one may sign both")

    def check(self, context: Context) -> None:
        authorities, accused = _accused(context, self.first.epoch, self.node_key)
        key = conviction_key(self.first.epoch, accused.operator)
        if CONVICTIONS.get(context.view, key) is not None:
            raise AlreadyConvicted(operator=accused.operator, epoch=self.first.epoch)
        if not self.conflict.convicts(context.block.chain_id, authorities):
            raise EvidenceRefused(reason="it signed not both votes", node_key=self.node_key)

    def apply(self, context: Context) -> None:
        epoch, offence = self.first.epoch, self.conflict.offence
        operator = _accused(context, epoch, self.node_key)[1].operator
        if offence is None:
            return
        rate = context.parameters.evidence_slash
        cap = context.parameters.evidence_reward
        done = slash_share(context, operator, rate, beneficiary=context.sender, reward_cap=cap)
        conviction = Conviction(
            offence=offence,
            node_key=self.node_key,
            rate=done.rate,
            stake_before=done.stake_before,
            amount=done.amount,
            reward=done.reward,
            submitter=context.sender,
            height=context.block.height,
            txid=context.txid,
        )
        CONVICTIONS.put(context.view, conviction_key(epoch, operator), conviction)
        subjects = [("operator", operator), ("submitter", context.sender)]
        amounts = {"offence": int(offence), "epoch": epoch, "amount": done.amount, "reward": done.reward}
        context.emit("evidence.convicted", subjects, **amounts)


def _accused(context: Context, epoch: int, node_key: bytes) -> tuple[AuthoritySet, Authority]:
    """The set of a recent epoch and its member with this key. Raises EvidenceTooOld or EvidenceRefused."""
    present = context.block.epoch
    if epoch > present:
        raise EvidenceRefused(reason="that epoch is to come", epoch=epoch, present=present)
    oldest = max(0, present - context.parameters.evidence_epochs)
    authorities = set_of_epoch(context.view, epoch) if epoch >= oldest else None
    if authorities is None:
        raise EvidenceTooOld(epoch=epoch, oldest=oldest)
    index = authorities.index_of(node_key)
    if index is None:
        raise EvidenceRefused(reason="no authority of that epoch has this key", node_key=node_key)
    return authorities, authorities.members[index]


def forget_convictions(context: Context) -> None:
    """Epoch handler: forget convictions for epochs of which nobody can be convicted any more."""
    oldest = context.block.epoch + 1 - context.parameters.evidence_epochs
    if oldest > 0:
        for key, _ in list(islice(CONVICTIONS.scan(context.view, b"", u64(oldest)), MAXIMUM_PRUNED_CONVICTIONS)):
            CONVICTIONS.delete(context.view, key)


def check_convictions(view: View) -> None:
    """Nobody gets more for evidence than half of what it cost, and nothing was taken that was not there."""
    for key, conviction in CONVICTIONS.scan(view):
        operator = key[8:]
        require(2 * conviction.reward <= conviction.amount, "most of a slash is burnt", operator=operator)
        require(conviction.amount <= conviction.stake_before, "a slash takes what is there", operator=operator)


FAMILY = Family("evidence", (SubmitEvidence,), invariants=(check_convictions,), epoch_end=forget_convictions)
