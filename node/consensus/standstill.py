"""What an authority repeats while nothing new is finalised.

Messages get lost, and a node that crashed has forgotten what it received. Whatever a quorum once signed exists on the
disk of honest authorities, so it is enough that each of them repeats what it has, for ever: where it stands, the
certificates above that, its candidates and its own votes, lowest view first and a page at a time. Without this rule
faulty networks hang for good.
"""

from chain.certificate import Certificate, Vote, VoteKind
from node.consensus.rounds import Round, Rounds
from node.network.messages import (
    CandidateAnnounce,
    ConsensusMessage,
    split_certificates,
    split_votes,
)

PAGE_VIEWS = 16
"""Views in one page: at most three certificates, three votes and one announcement each."""


class Standstill:
    """Remembers which page comes next and how long nothing has moved."""

    def __init__(self) -> None:
        self.rounds = 0
        """Rebroadcasts since the last progress."""
        self._height = -1
        self._view = 0
        self._next = 0

    def tick(self, height: int, view: int) -> bool:
        """Whether to rebroadcast now: nothing was finalised since the last tick."""
        if height != self._height:
            self._height, self._view, self._next, self.rounds = height, view, 0, 0
            return False
        if view != self._view:
            self._view, self.rounds = view, 0
        else:
            self.rounds += 1
        return True

    def page(self, rounds: Rounds, epoch: int, current: int) -> list[ConsensusMessage]:
        """The next page, lowest view first, and always the current view's own messages."""
        known = list(rounds.ascending())
        page = [found for found in known if found.view >= self._next][:PAGE_VIEWS]
        self._next = page[-1].view + 1 if page and page[-1] is not known[-1] else 0
        if all(found.view != current for found in page):
            page += [found for found in known if found.view in (current - 1, current)]
        return messages_of(page, epoch, current)


def messages_of(page: list[Round], epoch: int, current: int) -> list[ConsensusMessage]:
    """What these rounds give cause to repeat; a proposal, which carries a block, only in the current view."""
    certificates: list[Certificate] = []
    votes: list[Vote] = []
    announcements: list[ConsensusMessage] = []
    proposals: list[ConsensusMessage] = []
    for found in page:
        certificates += found.certificates.values()
        votes += [vote for kind, vote in found.votes.items() if kind is not VoteKind.PROPOSAL]
        notarized = found.votes.get(VoteKind.NOTARIZE)
        if notarized is not None:
            announcements.append(CandidateAnnounce(epoch, found.view, notarized.block_hash))
        if found.view == current and found.proposal is not None and VoteKind.PROPOSAL in found.votes:
            proposals.append(found.proposal)
    return [*split_certificates(tuple(certificates)), *proposals, *split_votes(tuple(votes)), *announcements]
