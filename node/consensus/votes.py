"""Collects the votes of one epoch and turns a quorum of them into a certificate.

Verification is lazy: nothing is checked until a quorum for one statement is there, then one check covers all of them,
and only if it fails are the votes bisected to find the bad ones. That is sound because a vote is taken only from its
author's own authenticated link, so nobody can spoil another's place. Each authority has one place per view and kind:
memory is bounded by the window of views that the core admits.
"""

from dataclasses import dataclass, field

from chain.certificate import AuthoritySet, Certificate, Scheme, Vote, VoteKind, assemble_certificate, vote_bytes
from chain.evidence import ConflictingVotes

_CONFLICT_CHECKS = 4
"""How many suspected conflicts of one authority are checked in a view; each costs two verifications. Not in an epoch,
or a few forged ones would hide all that follow."""


@dataclass(slots=True)
class _Place:
    """The votes of one kind in one view."""

    votes: dict[int, Vote] = field(default_factory=dict)
    verified: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)


class VoteBook:
    """Votes of one epoch by view, kind and author."""

    def __init__(self, chain_id: str, authorities: AuthoritySet, scheme: Scheme) -> None:
        self._chain_id = chain_id
        self._authorities = authorities
        self._scheme = scheme
        self._views: dict[int, dict[VoteKind, _Place]] = {}
        self._checks: dict[tuple[int, int], int] = {}
        """Of each view and author."""
        self._convicted: set[int] = set()

    def add(self, author: int, vote: Vote, *, own: bool = False) -> Vote | None:
        """Take a vote by the authority with index `author`; the first one for its view and kind counts.

        Returns an earlier vote of that author which excludes this one, if there is one; neither is verified yet.
        """
        kinds = self._views.setdefault(vote.view, {})
        place = kinds.setdefault(vote.kind, _Place())
        earlier = place.votes.get(author)
        if earlier is not None:
            return earlier if earlier.block_hash != vote.block_hash else None
        if author in place.rejected:
            return None
        place.votes[author] = vote
        if own:
            place.verified.add(author)
        opposite = {VoteKind.NULLIFY: VoteKind.FINALIZE, VoteKind.FINALIZE: VoteKind.NULLIFY}.get(vote.kind)
        return kinds[opposite].votes.get(author) if opposite in kinds else None

    def has(self, view: int, kind: VoteKind, author: int) -> bool:
        place = self._place(view, kind)
        return place is not None and author in place.votes

    def count(self, view: int, kind: VoteKind) -> int:
        """How many authorities have voted, whether or not their signatures are good."""
        place = self._place(view, kind)
        return 0 if place is None else len(place.votes)

    def certify(self, view: int, kind: VoteKind, block_hash: bytes) -> tuple[Certificate | None, tuple[int, ...]]:
        """A verified certificate of this statement if a quorum signed it, and the authors whose votes were bad."""
        place = self._place(view, kind)
        if place is None:
            return None, ()
        votes = {author: vote for author, vote in place.votes.items() if vote.block_hash == block_hash}
        if len(votes) < self._authorities.quorum:
            return None, ()
        epoch = self._authorities.epoch
        message = vote_bytes(self._chain_id, epoch, view, kind, block_hash)
        bad: list[int] = []
        if not self._good(votes, message):
            suspects = sorted(set(votes) - place.verified)
            bad = self._bisect(suspects, votes, message)
            place.verified.update(set(suspects) - set(bad))
            for author in bad:
                del place.votes[author]
                del votes[author]
                place.rejected.add(author)
            if len(votes) < self._authorities.quorum:
                return None, tuple(bad)
        place.verified.update(votes)
        return assemble_certificate(votes, self._authorities.size, self._scheme), tuple(bad)

    def convict(self, author: int, first: Vote, second: Vote) -> ConflictingVotes | None:
        """Proof that the author signed both, if both signatures are good; one proof of an author is enough."""
        place = (first.view, author)
        if author in self._convicted or self._checks.get(place, 0) >= _CONFLICT_CHECKS:
            return None
        self._checks[place] = self._checks.get(place, 0) + 1
        conflict = ConflictingVotes(self._authorities.members[author].node_key, first, second)
        if not conflict.convicts(self._chain_id, self._authorities, self._scheme):
            return None
        self._convicted.add(author)
        return conflict

    def prune(self, view: int) -> None:
        """Forget everything up to and including `view`."""
        for old in [known for known in self._views if known <= view]:
            del self._views[old]
        for place in [known for known in self._checks if known[0] <= view]:
            del self._checks[place]

    def _place(self, view: int, kind: VoteKind) -> _Place | None:
        return self._views.get(view, {}).get(kind)

    def _good(self, votes: dict[int, Vote], message: bytes) -> bool:
        try:
            signature = self._scheme.aggregate([vote.signature for vote in votes.values()])
        except ValueError:
            return False
        keys = [self._authorities.members[author].bls_key for author in votes]
        return self._scheme.verify_aggregate(keys, message, signature)

    def _bisect(self, authors: list[int], votes: dict[int, Vote], message: bytes) -> list[int]:
        """Those of `authors` whose vote is bad."""
        if not authors or self._good({author: votes[author] for author in authors}, message):
            return []
        if len(authors) == 1:
            return authors
        middle = len(authors) // 2
        return self._bisect(authors[:middle], votes, message) + self._bisect(authors[middle:], votes, message)
