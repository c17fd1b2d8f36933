"""Where an authority stands: on which head, in which epoch and view, what it knows, and how long it waits.

Rule 1 of README.md with the waits of rule 9, and what a restart, a new head and new work change. Nothing here signs,
follows a certificate or commits; that is in core.py. What depends on the set of authorities is made anew in each epoch.
"""

from chain.block import Block
from chain.certificate import BLS_SCHEME, Authority, AuthoritySet, Certificate, Scheme, Vote, VoteKind
from node.consensus.candidates import Candidates
from node.consensus.events import Effect, Head, RaiseFloor, SetDeadline, Settings, Started, Timer
from node.consensus.rounds import Rounds
from node.consensus.votes import VoteBook
from node.network.messages import MAXIMUM_PROPOSAL_NULLIFICATIONS, Proposal


class Position:
    """What the rules in `Core` judge by. Effects gather in `_effects`."""

    def __init__(
        self, settings: Settings, node_key: bytes | None, scheme: Scheme = BLS_SCHEME, *, bls_key: bytes | None = None
    ) -> None:
        self._settings = settings
        self._timing = settings.timing
        self._node_key = node_key
        self._bls_key = bls_key
        self._scheme = scheme
        self._effects: list[Effect] = []
        self._halted = False
        self._now = 0
        self._wall = 0
        self._record: tuple[Vote, ...] = ()

    @property
    def head(self) -> Head:
        """The last final block, as far as the core was told."""
        return self._head

    @property
    def view(self) -> int:
        """The view it is in, of the head's next epoch."""
        return self._view

    # Beginning of the process, of a height, of an epoch.

    def _take_up(self, event: Started) -> None:
        """Stand where the node stood when it last stopped, with what was durable."""
        self._candidates = Candidates()
        self._record = event.votes if self._node_key is not None else ()
        self._rebase(event.head, event.has_work, new_epoch=True)
        for certificate in event.certificates:
            if certificate.epoch == self._epoch and certificate.view > self._rounds.base:
                self._rounds.at(certificate.view).certificates[certificate.kind] = certificate
        for block in event.candidates:
            if block.header.height > self._head.height:
                self._candidates.add(block, durable=True)
        self._enter(max(self._rounds.highest_certified() + 1, self._restore()))

    def _rebase(self, head: Head, has_work: bool, *, new_epoch: bool) -> None:
        """Stand on a new head."""
        authorities = head.authorities
        finalization = head.finalization
        base = finalization.view if finalization is not None and finalization.epoch == authorities.epoch else 0
        self._head = head
        self._epoch = authorities.epoch
        self._authorities = authorities
        if new_epoch:
            self._rounds = Rounds(base)
            self._book = VoteBook(self._settings.chain_id, authorities, self._scheme)
            self._me = self._place_in(authorities)
            self._authorities_hash = authorities.hash()
            self._view = base
        self._rounds.prune(base)
        self._book.prune(base)
        self._candidates.prune(head.height)
        self._committing: bytes | None = None
        self._building: int | None = None
        self._final_at = self._now
        self._has_work = has_work

    def _place_in(self, authorities: AuthoritySet) -> int | None:
        """This node's index in a set; None for one that only follows, be it for want of the key that the set names."""
        if self._node_key is None:
            return None
        if self._bls_key is None:
            return authorities.index_of(self._node_key)
        return authorities.index_of_both(self._node_key, self._bls_key)

    def _restore(self) -> int:
        """Take up the own votes of this epoch from the signer's record; the highest view among them, or 0."""
        highest = 0
        for vote in self._record:
            if self._me is None or vote.epoch != self._epoch or vote.view <= self._rounds.base:
                continue
            highest = max(highest, vote.view)
            found = self._rounds.at(vote.view)
            found.asked.add(vote.kind)
            found.votes[vote.kind] = vote
            block = self._candidates.find(vote.block_hash)
            if vote.kind is not VoteKind.PROPOSAL:
                self._book.add(self._me, vote, own=True)
            elif block is not None:
                found.proposal = self._proposal(vote, block)
        return highest

    def _proposal(self, vote: Vote, block: Block) -> Proposal:
        """An own proposal as signed, with the certificates that open its view."""
        anchor = self._rounds.anchor(vote.view, block.hash) or self._rounds.anchor(vote.view, self._head.hash)
        start = self._rounds.base if anchor is None else anchor.view
        nullifications = self._rounds.nullifications(start, vote.view)[-MAXIMUM_PROPOSAL_NULLIFICATIONS:]
        return Proposal(vote.view, block, vote.signature, self._head.finalization, anchor, tuple(nullifications))

    def _on_advanced(self, head: Head, has_work: bool) -> None:
        """The executor has this head; it may be one that is known, with something to do now."""
        if head.height <= self._head.height:
            if head.height == self._head.height and has_work:
                self._on_work()
            return
        new_epoch = head.authorities.epoch != self._epoch
        self._rebase(head, has_work, new_epoch=new_epoch)
        self._effects.append(RaiseFloor(self._epoch, self._rounds.base + 1))
        if not new_epoch:
            self._enter(max(self._view, self._rounds.base + 1))
        else:
            self._enter(max(self._rounds.base + 1, self._restore()))

    # Beginning and deadline of a view.

    def _enter(self, view: int) -> None:
        """Rule 1."""
        self._view = view
        self._entered = self._now
        self._hastened = self._has_work
        self._propose_at: int | None = None
        self._fetched: tuple[int, int] | None = None
        for found in self._rounds.ascending():
            if found.view < view and VoteKind.PROPOSAL not in found.asked:
                found.proposal = None
        self._deadline = self._due() + self._timing.view_timeout(self._failed())
        if self._me is not None:
            self._arm(Timer.VIEW, self._deadline)

    def _failed(self) -> int:
        """Views since the last finalisation, without the current one."""
        return max(0, self._view - self._rounds.base - 1)

    def _due(self) -> int:
        """When the current view's leader should propose (rules of the idle wait)."""
        candidate = self._repeatable()
        if candidate is not None:
            return max(self._now, self._entered + self._timing.delta_ms) if self._may_finish(candidate) else self._now
        earliest = self._final_at + self._timing.earliest_proposal(self._authorities.size)
        if self._has_work:
            return max(self._now, earliest)
        return max(self._now, earliest, self._final_at + self._timing.idle_interval_ms)

    def _repeatable(self) -> Certificate | None:
        """The certificate of the highest notarized candidate, if that is what the current leader has to repeat."""
        anchor = self._rounds.anchor(self._view)
        return None if anchor is None or anchor.block_hash == self._head.hash else anchor

    def _may_finish(self, candidate: Certificate) -> bool:
        """Whether the last view's candidate is about to be finalised: to repeat it at once would send it twice."""
        opposed = self._book.count(candidate.view, VoteKind.NULLIFY)
        return candidate.view == self._view - 1 and opposed <= self._authorities.size - self._authorities.quorum

    def _on_work(self) -> None:
        """There is something to put in a block: the idle wait ends, once in a view."""
        self._has_work = True
        if self._hastened:
            return
        self._hastened = True
        self._propose_at = None
        sooner = self._due() + self._timing.view_timeout(self._failed())
        if sooner < self._deadline and self._me is not None:
            self._deadline = sooner
            self._arm(Timer.VIEW, sooner)

    def _leader(self, view: int) -> Authority:
        return self._authorities.members[self._authorities.leader(view)]

    def _arm(self, timer: Timer, at_ms: int) -> None:
        self._effects.append(SetDeadline(timer, at_ms))
