"""What is known about each view above the last final block: its proposal, its certificates and one's own votes.

The questions on which safety rests are asked here: which certificate a new proposal stands on (the anchor), and
whether every view between that and the proposal was nullified.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from chain.certificate import Certificate, Vote, VoteKind
from node.network.messages import Proposal


@dataclass(slots=True)
class Round:
    """One view."""

    view: int
    proposal: Proposal | None = None
    """The first that its leader signed; kept while the view is current or ahead."""
    rejected: bool = False
    """Whether the proposal was found invalid and its leader reported."""
    received_ms: int = 0
    """Wall time at which the proposal arrived."""
    certificates: dict[VoteKind, Certificate] = field(default_factory=dict)
    asked: set[VoteKind] = field(default_factory=set)
    """What this authority has asked its signer for; it never asks for what excludes it."""
    votes: dict[VoteKind, Vote] = field(default_factory=dict)
    """Own votes, as signed."""

    @property
    def certified_block(self) -> Certificate | None:
        """A finalization or notarization of this view."""
        return self.certificates.get(VoteKind.FINALIZE) or self.certificates.get(VoteKind.NOTARIZE)

    @property
    def nullification(self) -> Certificate | None:
        return self.certificates.get(VoteKind.NULLIFY)


class Rounds:
    """The views above `base`, the view in which the last final block was finalised (0 at the start of an epoch)."""

    def __init__(self, base: int) -> None:
        self.base = base
        self._rounds: dict[int, Round] = {}

    def at(self, view: int) -> Round:
        """The round of a view above the base, made if new."""
        found = self._rounds.get(view)
        if found is None:
            found = self._rounds[view] = Round(view)
        return found

    def find(self, view: int) -> Round | None:
        return self._rounds.get(view)

    def ascending(self) -> Iterator[Round]:
        for view in sorted(self._rounds):
            yield self._rounds[view]

    def anchor(self, before: int, block_hash: bytes | None = None) -> Certificate | None:
        """The certified block (this one, if given) of the highest view below `before`; None if there is none."""
        best: Certificate | None = None
        for view, found in self._rounds.items():
            certificate = found.certified_block
            if certificate is None or view >= before or (best is not None and best.view > view):
                continue
            if block_hash is None or certificate.block_hash == block_hash:
                best = certificate
        return best

    def nullifications(self, after: int, before: int) -> list[Certificate]:
        """Those known of the views strictly between, ascending."""
        known = (self._rounds[view].nullification for view in range(after + 1, before) if view in self._rounds)
        return [certificate for certificate in known if certificate is not None]

    def lacking(self, after: int, before: int) -> tuple[int, int] | None:
        """First and last of the views strictly between whose nullification is not known; None if none is missing."""
        gaps = []
        for view in range(after + 1, before):
            found = self._rounds.get(view)
            if found is None or found.nullification is None:
                gaps.append(view)
        return (gaps[0], gaps[-1]) if gaps else None

    def highest_certified(self) -> int:
        """The highest view with any certificate; the base if there is none."""
        return max((view for view, found in self._rounds.items() if found.certificates), default=self.base)

    def prune(self, base: int) -> None:
        """Raise the base and forget everything up to it."""
        self.base = base
        for view in [known for known in self._rounds if known <= base]:
            del self._rounds[view]
