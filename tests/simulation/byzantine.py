"""Authorities that break the rules, by name. Each runs the production core and lies about what comes out of it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from chain.block import Block
from chain.certificate import Certificate, Vote, VoteKind, vote_bytes
from node.consensus import events as ev
from node.consensus.rounds import Round
from node.consensus.signer import SigningKeys
from node.consensus.simplex import Simplex
from node.network.messages import (
    BlockRequest,
    BlockResponse,
    Certificates,
    CertificatesRequest,
    ConsensusMessage,
    Message,
    Proposal,
    Status,
    Votes,
)
from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

GHOST = "ghost"
"""Faultless while it is in the set, and as loud as it can be in every epoch whose set it is not in."""
BEHAVIOURS = ("equivocating_leader", "double_voter", "withholding_leader", "forgetful_leader", "garbage", "silent")


class Forgetful(Simplex):
    """As the leader, proposes a new block whatever was notarized before."""

    def _try_propose(self, found: Round) -> None:
        if VoteKind.PROPOSAL not in found.asked and self._building != self._view:
            self._build()


class ByzantineNode(Node):
    """`behaviour` is one of BEHAVIOURS, or "liar": equivocates, votes for everything, and never tells one what another
    said, so that enough of them keep two halves of the honest on two chains."""

    def __init__(self, world: "World", index: int, keys: SigningKeys, behaviour: str) -> None:
        super().__init__(world, index, keys)
        self.lies = {"liar": {"equivocating_leader", "double_voter", "secretive"}}.get(behaviour, {behaviour})

    def start(self) -> None:
        if "silent" not in self.lies:
            super().start()

    def core_class(self) -> type[Simplex]:
        return Forgetful if "forgetful_leader" in self.lies else super().core_class()

    def on_restart(self, head: ev.Head) -> None:
        """Nobody judges a liar."""

    def halted(self, reason: str) -> None:
        """Its core has had enough of its lies; what it does without the core goes on."""

    def commit(self, block: Block, finalization: Certificate) -> None:
        self.executor.commit(block, finalization)

    def sign(self, effect: ev.SignVote) -> None:
        if GHOST in self.lies:
            super().sign(effect)
            return
        vote = self.lie(effect.kind, effect.epoch, effect.view, effect.block_hash)
        self.later(1, lambda: ev.VoteSigned(self.moment(), vote))

    def lie(self, kind: VoteKind, epoch: int, view: int, block_hash: bytes) -> Vote:
        """A vote without a record."""
        assert self.keys is not None
        message = vote_bytes(self.world.backend.chain_id, epoch, view, kind, block_hash)
        sign = self.keys.sign_proposal if kind is VoteKind.PROPOSAL else self.keys.sign_vote
        return Vote(kind, epoch, view, block_hash, sign(message))

    def broadcast(self, message: ConsensusMessage) -> None:
        if "equivocating_leader" in self.lies and isinstance(message, Proposal):
            self._two_faces(message)
        elif "withholding_leader" in self.lies:
            for peer in self.world.linked(self):
                if self.rng.random() < (0.3 if isinstance(message, Proposal) else 0.6):
                    self.send(peer, message)
        else:
            super().broadcast(message)
        if "garbage" in self.lies:
            for peer in self.world.linked(self):
                self._garbage(peer, message)

    def send(self, peer: Node, message: Message) -> None:
        if "withholding_leader" in self.lies and isinstance(message, BlockResponse):
            return
        if "secretive" in self.lies and isinstance(message, Certificates | Status):
            return
        self.world.transmit(self, peer, self.world.encode(message))

    def _two_faces(self, proposal: Proposal) -> None:
        """A different block for half of the others, with votes to match."""
        header = proposal.block.header
        other = proposal
        if header.view == proposal.view:
            block = Block.of(replace(header, time_ms=header.time_ms + 1), proposal.block.envelopes)
            vote = self.lie(VoteKind.PROPOSAL, header.epoch, proposal.view, block.hash)
            other = replace(proposal, block=block, signature=vote.signature)
        peers = self.world.linked(self)
        self.rng.shuffle(peers)
        for position, peer in enumerate(peers):
            shown = proposal if position % 2 else other
            self.send(peer, shown)
            for kind in (VoteKind.NOTARIZE, VoteKind.FINALIZE):
                self.send(peer, Votes((self.lie(kind, header.epoch, proposal.view, shown.block.hash),)))

    def receive(self, peer: Node, data: bytes) -> None:
        message = self.world.decode(data)
        # Two liars would answer each other for ever.
        if "double_voter" in self.lies and not isinstance(peer, ByzantineNode):
            self._agree_with(peer, message)
        if GHOST in self.lies and not isinstance(peer, ByzantineNode):
            self._haunt(peer, message)
        super().receive(peer, data)

    def _haunt(self, peer: Node, message: Message | None) -> None:
        """Vote for and against what an epoch's set says, and usurp the place of its leader."""
        if not isinstance(message, Proposal | Votes):
            return
        epoch = message.block.header.epoch if isinstance(message, Proposal) else message.votes[0].epoch
        if self.index in self.world.members_of(epoch) or self.rng.random() < 0.5:
            return
        self._agree_with(peer, message)
        if isinstance(message, Proposal):
            own = self.world.backend.members[self.index].operator
            header = replace(message.block.header, proposer=own, time_ms=message.block.header.time_ms + 1)
            block = Block.of(header, message.block.envelopes)
            vote = self.lie(VoteKind.PROPOSAL, epoch, message.view, block.hash)
            self.send(peer, replace(message, block=block, signature=vote.signature))
            self.send(peer, Votes((self.lie(VoteKind.NOTARIZE, epoch, message.view, block.hash),)))

    def _agree_with(self, peer: Node, message: Message | None) -> None:
        """Votes for whatever somebody says, to whoever says it, and against it too."""
        places: list[tuple[int, int, bytes]] = []
        if isinstance(message, Proposal):
            places.append((message.block.header.epoch, message.view, message.block.hash))
        elif isinstance(message, Votes):
            places += [(vote.epoch, vote.view, vote.block_hash) for vote in message.votes[:4]]
        for epoch, view, block_hash in places:
            kinds = (VoteKind.NOTARIZE, VoteKind.FINALIZE) if block_hash else (VoteKind.NULLIFY,)
            for kind in kinds:
                self.send(peer, Votes((self.lie(kind, epoch, view, block_hash),)))
            if self.rng.random() < 0.2:
                self.send(peer, Votes((self.lie(VoteKind.NULLIFY, epoch, view, b""),)))

    def _garbage(self, peer: Node, message: ConsensusMessage) -> None:
        rng = self.rng
        data = bytearray(self.world.encode(message))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        self.world.transmit(self, peer, bytes(data))
        epoch = self.core.head.authorities.epoch + rng.choice((-1, 0, 0, 0, 1, 1 << 40))
        epoch = max(0, epoch)
        view = max(1, self.core.view + rng.choice((-2, 0, 1, 2, 63, 1 << 62)))
        kind = rng.choice((VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE))
        block_hash = b"" if kind is VoteKind.NULLIFY else rng.randbytes(32)
        forged = Certificate(kind, epoch, view, block_hash, rng.randbytes(rng.choice((1, 1, 2))), rng.randbytes(96))
        nonsense: tuple[Message, ...] = (
            Votes((Vote(kind, epoch, view, block_hash, rng.randbytes(96)),)),
            Certificates((forged,)),
            Status(rng.choice((0, 5, 1 << 60)), rng.randbytes(32), epoch, view, forged),
            CertificatesRequest(epoch, 0, (1 << 64) - 1),
            BlockRequest(rng.randbytes(32)),
        )
        self.send(peer, rng.choice(nonsense))
        if isinstance(message, Proposal) and message.block.header.view == message.view:
            self._invalid_block(peer, message)

    def _invalid_block(self, peer: Node, proposal: Proposal) -> None:
        header = proposal.block.header
        wrong = self.rng.choice(
            (
                replace(header, state_root=self.rng.randbytes(32)),
                replace(header, time_ms=header.time_ms + 3_600_000),
                replace(header, height=header.height + self.rng.choice((1, 2, 1 << 40))),
                replace(header, parent_hash=self.rng.randbytes(32)),
                replace(header, proposer=self.world.backend.members[0].operator),
                replace(header, chain_id="another-chain"),
                replace(header, view=header.view + 5),
                replace(header, next_authorities_hash=self.rng.randbytes(32)),
            )
        )
        block = Block.of(wrong, proposal.block.envelopes)
        vote = self.lie(VoteKind.PROPOSAL, header.epoch, proposal.view, block.hash)
        self.send(peer, replace(proposal, block=block, signature=vote.signature))
