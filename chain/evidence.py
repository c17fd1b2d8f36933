"""What convicts an authority: two statements that it signed and may not both sign.

An authority that follows the protocol never signs two different proposals, notarizations or finalizations in one view,
nor both to skip a view and to finalise in it. Its signer refuses to, so a pair like this is proof of a fault and
carries everything needed to check it. Certificates convict nobody by themselves: they name signers, but the single
signatures are gone.
"""

from dataclasses import dataclass
from enum import IntEnum

from chain.certificate import BLS_SCHEME, AuthoritySet, Scheme, Vote, VoteKind, vote_bytes


class Offence(IntEnum):
    CONFLICTING_PROPOSAL = 0
    CONFLICTING_NOTARIZE = 1
    CONFLICTING_FINALIZE = 2
    NULLIFY_FINALIZE = 3

    def __str__(self) -> str:
        return self.name.lower()


_SAME_KIND = {
    VoteKind.PROPOSAL: Offence.CONFLICTING_PROPOSAL,
    VoteKind.NOTARIZE: Offence.CONFLICTING_NOTARIZE,
    VoteKind.FINALIZE: Offence.CONFLICTING_FINALIZE,
}


def offence(first: Vote, second: Vote) -> Offence | None:
    """What an author of both votes is guilty of, signatures aside; None if they are compatible."""
    if (first.epoch, first.view) != (second.epoch, second.view):
        return None
    if first.kind is second.kind:
        return _SAME_KIND.get(first.kind) if first.block_hash != second.block_hash else None
    if {first.kind, second.kind} == {VoteKind.NULLIFY, VoteKind.FINALIZE}:
        return Offence.NULLIFY_FINALIZE
    return None


@dataclass(frozen=True, slots=True)
class ConflictingVotes:
    """Two votes by one authority, named by its node key because indices mean nothing without the epoch's set."""

    node_key: bytes
    first: Vote
    second: Vote

    @property
    def offence(self) -> Offence | None:
        return offence(self.first, self.second)

    def convicts(self, chain_id: str, authorities: AuthoritySet, scheme: Scheme = BLS_SCHEME) -> bool:
        """Whether both votes conflict and are signed by the named member of `authorities`, the set of that epoch."""
        index = authorities.index_of(self.node_key)
        if self.offence is None or index is None or self.first.epoch != authorities.epoch:
            return False
        member = authorities.members[index]
        for vote in (self.first, self.second):
            message = vote_bytes(chain_id, vote.epoch, vote.view, vote.kind, vote.block_hash)
            if vote.kind is VoteKind.PROPOSAL:
                good = scheme.verify_proposal(member.node_key, message, vote.signature)
            else:
                good = scheme.verify_vote(member.bls_key, message, vote.signature)
            if not good:
                return False
        return True
