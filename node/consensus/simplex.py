"""The consensus core: a deterministic function of events.

`Simplex.step` is the only way in and the effects it returns the only way out. The rules that decide are in core.py;
here is what surrounds them: taking messages apart, answering those who are behind, asking for what is missing, and
rebroadcasting while nothing is finalised. Everything that arrives is treated as hostile.
"""

from chain.block import Block
from chain.certificate import (
    BLS_SCHEME,
    CERTIFIABLE,
    Certificate,
    Scheme,
    Vote,
    vote_bytes,
)
from node.consensus.core import Core
from node.consensus.epochs import last_height
from node.consensus.events import (
    Advanced,
    Behind,
    BlockBuilt,
    BlockExecuted,
    Broadcast,
    DeadlineReached,
    Effect,
    Event,
    MessageReceived,
    PeerConnected,
    PeerDisconnected,
    ReportConflict,
    ReportPeer,
    Send,
    ServeBlock,
    ServeFinalization,
    Settings,
    Started,
    Timer,
    VoteSigned,
    WorkAvailable,
)
from node.consensus.peers import Peers
from node.consensus.standstill import Standstill, messages_of
from node.network.messages import (
    BlockRequest,
    BlockResponse,
    CandidateAnnounce,
    Certificates,
    CertificatesRequest,
    ConsensusMessage,
    Proposal,
    Status,
    Votes,
    split_certificates,
)

VOTE_WINDOW = 64
"""Views ahead of the current one for which votes are kept."""
PROPOSAL_WINDOW = 8
"""Views ahead of the current one for which proposals, which carry blocks, are kept."""
CERTIFICATES_PER_ANSWER = 256


class Simplex(Core):
    """One node in the protocol. The first event is Started."""

    def __init__(
        self, settings: Settings, node_key: bytes | None, scheme: Scheme = BLS_SCHEME, *, bls_key: bytes | None = None
    ) -> None:
        """
        Args:
            node_key: Ed25519 public key of a node that can sign, and does in every epoch whose set names it; None for
                one that never does.
            bls_key: the other key it signs with; where the set names another, it follows.
        """
        super().__init__(settings, node_key, scheme, bls_key=bls_key)
        self._peers = Peers()
        self._standstill = Standstill()
        self._ticks = 0

    def step(self, event: Event) -> list[Effect]:
        """The effects of one event, to be performed in order. The first event is Started."""
        if self._halted:
            return []
        self._effects = []
        self._now = max(self._now, event.at.monotonic_ms)
        self._wall = event.at.wall_ms
        self._dispatch(event)
        self._evaluate()
        return self._effects

    def _dispatch(self, event: Event) -> None:
        match event:
            case MessageReceived():
                self._on_message(event.peer, event.message)
            case VoteSigned():
                self._on_signed(event.vote)
            case BlockExecuted():
                self._on_executed(event.block_hash, event.invalid)
            case BlockBuilt():
                self._on_built(event.view, event.block)
            case Advanced():
                epoch = self._epoch
                self._on_advanced(event.head, event.has_work)
                if self._epoch != epoch:
                    for peer, message in self._peers.take_early(self._epoch):
                        self._on_message(peer, message)
            case WorkAvailable():
                self._on_work()
            case DeadlineReached():
                self._on_deadline(event.timer)
            case PeerConnected():
                self._on_connected(event.peer)
            case PeerDisconnected():
                self._peers.remove(event.peer)
            case Started():
                self._on_started(event)

    def _on_deadline(self, timer: Timer) -> None:
        if timer is Timer.VIEW and self._now >= self._deadline:
            self._nullify()
        elif timer is Timer.STANDSTILL:
            self._on_standstill()

    # Messages.

    def _on_message(self, peer: bytes, message: ConsensusMessage) -> None:
        match message:
            case Proposal():
                self._on_proposal(peer, message)
            case Votes():
                self._on_votes(peer, message)
            case Certificates():
                self._on_certificates(peer, message.certificates)
            case CertificatesRequest():
                self._on_certificates_request(peer, message)
            case BlockRequest():
                self._on_block_request(peer, message.block_hash)
            case BlockResponse():
                self._on_block(peer, message.block)
            case CandidateAnnounce():
                if self._candidates.is_wanted(message.block_hash):
                    self._effects.append(Send(peer, BlockRequest(message.block_hash)))
            case Status():
                self._on_status(peer, message)

    def _place(self, peer: bytes, epoch: int, message: ConsensusMessage) -> bool:
        """Whether a message is of the present epoch. An earlier one is answered by what ended that epoch."""
        if epoch == self._epoch:
            return True
        if epoch > self._epoch:
            if epoch == self._epoch + 1:
                self._peers.keep_early(peer, epoch, message)
            self._behind(peer, last_height(epoch - 1, self._settings.epoch_blocks))
        elif self._peers.may_answer(peer, self._now, self._timing.standstill_ms // 2):
            self._effects.append(ServeFinalization(peer, last_height(epoch, self._settings.epoch_blocks)))
        return False

    def _behind(self, peer: bytes, height: int) -> None:
        if height > self._head.height and self._peers.may_report(peer, height, self._now, self._timing.standstill_ms):
            self._effects.append(Behind(peer, height))

    def _on_stale_view(self, peer: bytes) -> None:
        """The sender has not seen the last finalization: that is what it needs."""
        if self._peers.may_answer(peer, self._now, self._timing.standstill_ms // 2):
            self._effects.append(Send(peer, self._status()))

    def _status(self) -> Status:
        head = self._head
        return Status(head.height, head.hash, self._epoch, self._view, head.finalization)

    def _on_proposal(self, peer: bytes, proposal: Proposal) -> None:
        header = proposal.block.header
        if not self._place(peer, header.epoch, proposal):
            return
        if proposal.view <= self._rounds.base:
            self._on_stale_view(peer)
            return
        vote = proposal.as_vote()
        message = vote_bytes(self._settings.chain_id, vote.epoch, vote.view, vote.kind, vote.block_hash)
        if not self._scheme.verify_proposal(self._leader(vote.view).node_key, message, vote.signature):
            self._effects.append(ReportPeer(peer, "proposal with a bad signature"))
            return
        for certificate in (proposal.parent_finalization, proposal.anchor, *proposal.nullifications):
            if certificate is None or certificate.epoch != self._epoch:
                continue
            if not self._adopt(certificate, peer) or self._halted:
                return
        if self._view <= vote.view <= self._view + PROPOSAL_WINDOW:
            self._keep(proposal, vote)
        # Its parent is fetched because of the finalization that came with it: a leader's word is no reason to.
        if header.height > self._head.height + 2:
            self._behind(peer, header.height - 1)

    def _keep(self, proposal: Proposal, vote: Vote) -> None:
        found = self._rounds.at(vote.view)
        if found.proposal is None:
            found.proposal = proposal
            found.received_ms = self._wall
            self._candidates.add(proposal.block)
        elif found.proposal.block.hash != vote.block_hash:
            leader = self._authorities.leader(vote.view)
            self._convict(leader, found.proposal.as_vote(), vote)

    def _convict(self, author: int, first: Vote, second: Vote) -> None:
        conflict = self._book.convict(author, first, second)
        if conflict is not None:
            self._effects.append(ReportConflict(conflict))

    def _on_votes(self, peer: bytes, message: Votes) -> None:
        author = self._authorities.index_of(peer)
        for vote in message.votes:
            if not self._place(peer, vote.epoch, message):
                return
            if vote.view <= self._rounds.base:
                self._on_stale_view(peer)
                continue
            if author is None or author == self._me or vote.kind not in CERTIFIABLE:
                continue
            if vote.view <= self._view + VOTE_WINDOW:
                self._on_vote(author, vote)

    def _on_vote(self, author: int, vote: Vote) -> None:
        excluded = self._book.add(author, vote)
        if excluded is not None:
            self._convict(author, excluded, vote)
        self._try_certify(vote)

    def _on_certificates(self, peer: bytes, certificates: tuple[Certificate, ...]) -> None:
        for certificate in certificates:
            if not self._place(peer, certificate.epoch, Certificates((certificate,))):
                continue
            if not self._adopt(certificate, peer) or self._halted:
                return

    def _on_certificates_request(self, peer: bytes, request: CertificatesRequest) -> None:
        if not self._place(peer, request.epoch, request):
            return
        if request.first_view <= self._rounds.base:
            self._on_stale_view(peer)
        if not self._peers.may_serve_certificates(peer, self._now, self._timing.standstill_ms):
            return
        wanted: list[Certificate] = []
        for found in self._rounds.ascending():
            if request.first_view <= found.view <= request.last_view:
                wanted += found.certificates.values()
        for message in split_certificates(tuple(wanted[:CERTIFICATES_PER_ANSWER])):
            self._effects.append(Send(peer, message))

    def _on_block_request(self, peer: bytes, block_hash: bytes) -> None:
        if self._peers.may_serve_block(peer, self._now, self._timing.standstill_ms):
            block = self._candidates.find(block_hash)
            answer = ServeBlock(peer, block_hash) if block is None else Send(peer, BlockResponse(block))
            self._effects.append(answer)

    def _on_block(self, peer: bytes, block: Block) -> None:
        if not self._candidates.is_wanted(block.hash) or block.header.height <= self._head.height:
            return
        if block.header.height > self._head.height + 1:
            self._behind(peer, block.header.height - 1)
        self._candidates.add(block)
        self._want(block.hash, peer)

    def _on_status(self, peer: bytes, status: Status) -> None:
        if status.height < self._head.height:
            self._on_stale_view(peer)
            return
        finalization = status.finalization
        if finalization is not None and finalization.epoch == self._epoch and not self._adopt(finalization, peer):
            return
        if status.height > self._head.height + 1:
            self._behind(peer, status.height)

    # Rule 8.

    def _on_connected(self, peer: bytes) -> None:
        self._peers.add(peer)
        self._effects.append(Send(peer, self._status()))
        for message in messages_of(list(self._rounds.ascending()), self._epoch, self._view):
            self._effects.append(Send(peer, message))

    def _on_standstill(self) -> None:
        if self._standstill.tick(self._head.height, self._view):
            self._fetched = None
            self._effects.append(Broadcast(self._status()))
            for message in self._standstill.page(self._rounds, self._epoch, self._view):
                self._effects.append(Broadcast(message))
        self._ticks += 1
        authorities = {member.node_key for member in self._authorities.members}
        for position, block_hash in enumerate(self._candidates.wanted()):
            peer = self._peers.turn(self._ticks + position, authorities)
            if peer is not None:
                self._effects.append(Send(peer, BlockRequest(block_hash)))
        self._arm(Timer.STANDSTILL, self._now + self._timing.standstill_interval(self._standstill.rounds))
