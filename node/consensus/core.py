"""The rules of the protocol: what one authority signs, which certificates it follows, and when it commits.

README.md states the rules by number. After every event `_evaluate` asks what the present knowledge allows: commit,
nullify, propose, notarize. All of safety is in `_ask`, `_consider` and `_adopt`: what is signed, when a proposal may be
notarized, and which certificates count. A node without a key, or whose key is not in the set, runs the same code and
never asks for a signature. What is known, and how long a view lasts, is in position.py; messages, links and
rebroadcasts are in simplex.py.
"""

from chain.block import Block
from chain.certificate import (
    CERTIFIABLE,
    Certificate,
    Vote,
    VoteKind,
    verify_certificate,
)
from node.consensus.events import (
    Broadcast,
    BuildBlock,
    Commit,
    ExecuteBlock,
    Halt,
    Persist,
    ReportPeer,
    Send,
    SignVote,
    Started,
    Timer,
)
from node.consensus.headers import header_fault
from node.consensus.position import Position
from node.consensus.rounds import Round
from node.consensus.timing import weight_budget
from node.network.messages import (
    BlockRequest,
    Certificates,
    CertificatesRequest,
    Proposal,
    Votes,
)

HASTY_VIEWS = 16
"""Failed views after which an invalid proposal is no longer nullified before the deadline."""


class Core(Position):
    """The rules, without the messages."""

    def _on_started(self, event: Started) -> None:
        self._take_up(event)
        for found in list(self._rounds.ascending()):
            if VoteKind.NOTARIZE in found.certificates:
                self._on_notarization(found, None)
            for vote in found.votes.values():
                self._try_certify(vote)
        self._arm(Timer.STANDSTILL, self._now + self._timing.standstill_ms)

    # What the present knowledge allows.

    def _evaluate(self) -> None:
        if self._halted:
            return
        self._finish()
        if self._me is None or self._halted:
            return
        opposed = self._book.count(self._view, VoteKind.NULLIFY)
        leader = self._authorities.leader(self._view)
        if opposed > self._authorities.size - self._authorities.quorum or self._book.has(
            self._view, VoteKind.NULLIFY, leader
        ):
            self._nullify()
        if leader == self._me:
            self._try_propose(self._rounds.at(self._view))
        found = self._rounds.find(self._view)
        if found is not None and found.proposal is not None:
            self._consider(found, found.proposal)

    def _finish(self) -> None:
        """Rule 6: commit the finalised block above the head, as soon as it is here and executed."""
        finalization = self._uncommitted()
        if finalization is None or self._committing is not None:
            return
        invalid = self._candidates.fault(finalization.block_hash)
        if invalid is not None:
            self._halt_for(finalization.block_hash, invalid)
            return
        self._want(finalization.block_hash, None)
        block = self._candidates.find(finalization.block_hash)
        if block is None or not self._executed(block):
            return
        self._committing = block.hash
        self._effects.append(Commit(block, finalization))

    def _uncommitted(self) -> Certificate | None:
        """The lowest finalization of a block above the head."""
        for found in self._rounds.ascending():
            finalization = found.certificates.get(VoteKind.FINALIZE)
            if finalization is not None and finalization.block_hash != self._head.hash:
                return finalization
        return None

    def _executed(self, block: Block) -> bool:
        """Whether the block is known to be valid; starts finding out if it stands on the head."""
        if block.header.parent_hash != self._head.hash:
            return False
        if self._candidates.must_execute(block.hash):
            self._effects.append(ExecuteBlock(block))
        return self._candidates.is_valid(block.hash)

    def _ask(self, kind: VoteKind, view: int, block_hash: bytes) -> None:
        """Ask for a signature, unless an own vote excludes it. Every effect before this one is durable by then."""
        if self._me is None or self._halted:
            return
        asked = self._rounds.at(view).asked
        excluding = {
            VoteKind.NOTARIZE: VoteKind.NULLIFY,
            VoteKind.FINALIZE: VoteKind.NULLIFY,
            VoteKind.NULLIFY: VoteKind.FINALIZE,
        }
        if kind in asked or excluding.get(kind) in asked:
            return
        asked.add(kind)
        self._effects.append(SignVote(kind, self._epoch, view, block_hash))

    def _nullify(self) -> None:
        """Rule 5, for the current view."""
        self._ask(VoteKind.NULLIFY, self._view, b"")

    def _try_propose(self, found: Round) -> None:
        """Rule 2, as the leader of the current view."""
        if VoteKind.PROPOSAL in found.asked or VoteKind.NULLIFY in found.asked or self._building == self._view:
            return
        if self._uncommitted() is not None:
            return
        anchor = self._rounds.anchor(self._view)
        gap = self._rounds.lacking(self._rounds.base if anchor is None else anchor.view, self._view)
        if gap is not None:
            self._fetch_certificates(gap)
            self._give_up()
            return
        candidate = self._repeatable()
        if candidate is not None:
            block = self._candidates.find(candidate.block_hash)
            if block is None or block.header.parent_hash != self._head.hash:
                self._want(candidate.block_hash, None)
                self._give_up()
            elif not self._too_early(self._due()):
                self._propose(block)
        elif not self._too_early(self._due()):
            self._build()

    def _give_up(self) -> None:
        """Lacking what a proposal needs, nullify; but leave time to fetch it, or views would pass at network speed."""
        if not self._too_early(self._entered + self._timing.view_timeout(self._failed()) // 2):
            self._nullify()

    def _too_early(self, due: int) -> bool:
        """Whether the leader has to wait; it is woken when the time comes."""
        if due > self._now and self._propose_at != due:
            self._propose_at = due
            self._arm(Timer.PROPOSE, due)
        return due > self._now

    def _build(self) -> None:
        self._building = self._view
        self._effects.append(
            BuildBlock(
                height=self._head.height + 1,
                parent_hash=self._head.hash,
                epoch=self._epoch,
                view=self._view,
                time_ms=max(self._wall, self._head.time_ms + 1),
                proposer=self._leader(self._view).operator,
                weight_budget=weight_budget(self._settings.maximum_weight, self._failed()),
            )
        )

    def _on_built(self, view: int, block: Block) -> None:
        if self._building != view or block.header.parent_hash != self._head.hash:
            return
        self._building = None
        if view != self._view:
            return
        if VoteKind.NULLIFY in self._rounds.at(view).asked:
            return
        self._candidates.add(block)
        self._candidates.judge(block.hash, None)
        self._propose(block)

    def _propose(self, block: Block) -> None:
        self._persist(block)
        self._ask(VoteKind.PROPOSAL, self._view, block.hash)

    def _persist(self, block: Block) -> None:
        if self._candidates.make_durable(block.hash):
            self._effects.append(Persist((block,), ()))

    def _consider(self, found: Round, proposal: Proposal) -> None:
        """Rule 3: notarize the current view's proposal, nullify the view, or wait for what is missing."""
        if VoteKind.NOTARIZE in found.asked or VoteKind.NULLIFY in found.asked:
            return
        block = proposal.block
        header = block.header
        if block.hash == self._head.hash:
            repeated = True
        else:
            if header.height != self._head.height + 1:
                return
            fault = self._fault(block, proposal.view, found.received_ms)
            if fault is not None:
                self._reject(found, fault)
                return
            repeated = header.view < proposal.view
        anchor = self._rounds.anchor(proposal.view, block.hash if repeated else self._head.hash)
        if anchor is None and repeated:
            self._fetch_certificates((header.view, proposal.view - 1))
            return
        # Nobody judges the time of a repeated block, so it is run only now that it is known to be certified.
        executed = block.hash == self._head.hash or self._executed(block)
        gap = self._rounds.lacking(self._rounds.base if anchor is None else anchor.view, proposal.view)
        if gap is not None:
            self._fetch_certificates(gap)
            return
        if executed:
            if block.hash != self._head.hash:
                self._persist(block)
            self._ask(VoteKind.NOTARIZE, proposal.view, block.hash)

    def _reject(self, found: Round, fault: str) -> None:
        """Nullify at once; but if proposal after proposal is invalid, only at the deadline, which grows."""
        if not found.rejected:
            found.rejected = True
            self._effects.append(ReportPeer(self._leader(found.view).node_key, fault))
        if self._failed() < HASTY_VIEWS:
            self._nullify()

    def _fault(self, block: Block, view: int, received_ms: int) -> str | None:
        """Why a proposal above the head is invalid, or None as far as is known."""
        header = block.header
        fault = header_fault(header, view, self._head, self._authorities_hash, self._settings)
        if fault is not None:
            return fault
        invalid = self._candidates.fault(block.hash)
        if invalid is not None:
            return f"proposal is invalid: {invalid}"
        if header.view == view and self._leader(view).node_key != self._node_key:
            accepted = self._timing.accepts_time(header.time_ms, self._head.time_ms, received_ms, self._failed())
            return None if accepted else "proposal with an unacceptable time"
        return None

    def _on_signed(self, vote: Vote) -> None:
        if vote.epoch != self._epoch or vote.view <= self._rounds.base or self._me is None:
            return
        found = self._rounds.at(vote.view)
        found.votes[vote.kind] = vote
        if vote.kind is not VoteKind.PROPOSAL:
            self._book.add(self._me, vote, own=True)
            self._effects.append(Broadcast(Votes((vote,))))
            self._try_certify(vote)
            return
        block = self._candidates.find(vote.block_hash)
        if block is not None and block.header.parent_hash == self._head.hash:
            found.proposal = self._proposal(vote, block)
            self._effects.append(Broadcast(found.proposal))

    def _on_executed(self, block_hash: bytes, invalid: str | None) -> None:
        block = self._candidates.find(block_hash)
        if block is None or block.header.parent_hash != self._head.hash or self._committing is not None:
            return  # a result above a head that is gone, or going, means nothing
        self._candidates.judge(block_hash, invalid)
        if invalid is None:
            return
        if any(self._certifies(found, block_hash) for found in self._rounds.ascending()):
            self._halt_for(block_hash, invalid)

    @staticmethod
    def _certifies(found: Round, block_hash: bytes) -> bool:
        return found.certified_block is not None and found.certified_block.block_hash == block_hash

    def _halt_for(self, block_hash: bytes, invalid: str) -> None:
        self._halt(f"a quorum certified block {block_hash.hex()}, which is invalid here: {invalid}")

    def _halt(self, reason: str) -> None:
        """Rule 11."""
        self._halted = True
        self._effects.append(Halt(reason))

    # Votes and certificates.

    def _try_certify(self, vote: Vote) -> None:
        found = self._rounds.find(vote.view)
        if vote.kind not in CERTIFIABLE or (found is not None and vote.kind in found.certificates):
            return
        certificate, bad = self._book.certify(vote.view, vote.kind, vote.block_hash)
        for author in bad:
            self._effects.append(ReportPeer(self._authorities.members[author].node_key, "vote with a bad signature"))
        if certificate is not None:
            self._adopt(certificate, None)

    def _adopt(self, certificate: Certificate, peer: bytes | None) -> bool:
        """Rules 4 to 7: take a certificate of this epoch, own (`peer` is None) or received. False if it is invalid."""
        if certificate.view <= self._rounds.base:
            return True
        known = self._rounds.find(certificate.view)
        earlier = known.certificates.get(certificate.kind) if known is not None else None
        if earlier is not None and earlier.block_hash == certificate.block_hash:
            return True
        if peer is not None and not verify_certificate(
            self._settings.chain_id, self._authorities, certificate, self._scheme
        ):
            self._effects.append(ReportPeer(peer, "invalid certificate"))
            return False
        found = self._rounds.at(certificate.view)
        if earlier is not None or self._contradicts(found, certificate):
            self._halt(f"view {certificate.view} of epoch {self._epoch} has two certificates that exclude each other")
            return True
        found.certificates[certificate.kind] = certificate
        if certificate.kind is not VoteKind.FINALIZE or not self._candidates.is_valid(certificate.block_hash):
            self._effects.append(Persist((), (certificate,)))
        self._effects.append(Broadcast(Certificates((certificate,))))
        if certificate.kind is VoteKind.NOTARIZE:
            self._on_notarization(found, peer)
        elif certificate.kind is VoteKind.FINALIZE:
            self._want(certificate.block_hash, peer)
        if certificate.view >= self._view and not self._halted:
            self._enter(certificate.view + 1)
        return True

    @staticmethod
    def _contradicts(found: Round, certificate: Certificate) -> bool:
        """Whether a certificate cannot stand beside those of its view unless too many authorities lied."""
        others = found.certificates
        if certificate.kind is VoteKind.NULLIFY:
            return VoteKind.FINALIZE in others
        if certificate.kind is VoteKind.FINALIZE and VoteKind.NULLIFY in others:
            return True
        return any(other.block_hash not in (certificate.block_hash, b"") for other in others.values())

    def _on_notarization(self, found: Round, peer: bytes | None) -> None:
        """Rule 4: finalise what a quorum holds, unless this authority voted to skip the view."""
        block_hash = found.certificates[VoteKind.NOTARIZE].block_hash
        invalid = self._candidates.fault(block_hash)
        if invalid is not None:
            self._halt_for(block_hash, invalid)
            return
        self._want(block_hash, peer)
        self._ask(VoteKind.FINALIZE, found.view, block_hash)

    def _want(self, block_hash: bytes, peer: bytes | None) -> None:
        """Have a certified block, and know whether it is valid."""
        if block_hash == self._head.hash:
            return
        block = self._candidates.find(block_hash)
        if block is not None:
            self._executed(block)
        elif self._candidates.want(block_hash) and peer is not None:
            self._effects.append(Send(peer, BlockRequest(block_hash)))

    def _fetch_certificates(self, gap: tuple[int, int]) -> None:
        if self._fetched != gap:
            self._fetched = gap
            self._effects.append(Broadcast(CertificatesRequest(self._epoch, *gap)))
