"""One consensus core that is told what the others say: what the tests of its rules share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from chain.block import Block, Header, transactions_root
from chain.certificate import AuthoritySet, Certificate, Vote, VoteKind, assemble_certificate, vote_bytes
from node.consensus import events as ev
from node.consensus.epochs import is_last_of_epoch
from node.consensus.simplex import Simplex
from node.consensus.timing import Timing
from node.network import messages as m
from tests.simulation.scheme import HashKeys, HashScheme, authorities_for

CHAIN_ID = "test-00000000"
GENESIS = b"g" * 32
TIME = 1_800_000_000_000
SCHEME = HashScheme()
TIMING = Timing(delta_ms=1_000, view_cap_ms=30_000, idle_interval_ms=10_000, precision_ms=500)
PROPOSAL, NOTARIZE, NULLIFY, FINALIZE = VoteKind
E = TypeVar("E")


class Bench:
    """One core, index `me` of `size` authorities (None follows). Epochs of three blocks."""

    def __init__(self, size: int = 4, me: int | None = 3, *, start: bool = True, epoch_blocks: int = 3) -> None:
        self.keys = [HashKeys(index) for index in range(size)]
        self.members = authorities_for(self.keys)
        self.me = me
        self.epoch_blocks = epoch_blocks
        self.settings = ev.Settings(CHAIN_ID, epoch_blocks, 1_000, TIMING)
        self.now = 0
        self.wall = TIME + 5_000
        self.head = ev.Head(0, GENESIS, TIME, None, self.set(0))
        self.signed: list[Vote] = []
        self.core = Simplex(self.settings, None if me is None else self.keys[me].node_key, SCHEME)
        self.effects: list[ev.Effect] = []
        if start:
            self.start()

    def set(self, epoch: int) -> AuthoritySet:
        return AuthoritySet(epoch, self.members)

    @property
    def moment(self) -> ev.Moment:
        return ev.Moment(self.now, self.wall)

    @property
    def epoch(self) -> int:
        return self.head.authorities.epoch

    def start(
        self,
        blocks: Sequence[Block] = (),
        certificates: Sequence[Certificate] = (),
        votes: Sequence[Vote] = (),
        has_work: bool = False,
    ) -> None:
        self.do(ev.Started(self.moment, self.head, tuple(blocks), tuple(certificates), tuple(votes), has_work))
        for index in range(len(self.keys)):
            if index != self.me:
                self.do(ev.PeerConnected(self.moment, self.keys[index].node_key))

    def do(self, event: ev.Event) -> list[ev.Effect]:
        """One step, with its signatures answered; every effect that came of it."""
        effects = self.core.step(event)
        for effect in list(effects):
            if isinstance(effect, ev.SignVote) and self.me is not None:
                vote = self.vote(self.me, effect.kind, effect.view, effect.block_hash, effect.epoch)
                self.signed.append(vote)
                effects += self.do(ev.VoteSigned(self.moment, vote))
        self.effects = effects
        return effects

    def receive(self, author: int, message: m.ConsensusMessage) -> list[ev.Effect]:
        return self.do(ev.MessageReceived(self.moment, self.keys[author].node_key, message))

    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.wall += milliseconds

    def deadline(self, timer: ev.Timer = ev.Timer.VIEW) -> list[ev.Effect]:
        return self.do(ev.DeadlineReached(self.moment, timer))

    def execute(self, block: Block, invalid: str | None = None) -> list[ev.Effect]:
        return self.do(ev.BlockExecuted(self.moment, block.hash, invalid))

    def advance(self, block: Block, view: int | None = None, has_work: bool = False) -> list[ev.Effect]:
        """The executor has committed `block`, finalised in `view`."""
        header = block.header
        finalization = self.certificate(FINALIZE, view or header.view, block.hash)
        epoch = header.epoch + (1 if is_last_of_epoch(header.height, self.epoch_blocks) else 0)
        self.head = ev.Head(header.height, block.hash, header.time_ms, finalization, self.set(epoch))
        return self.do(ev.Advanced(self.moment, self.head, has_work))

    def block(self, view: int, /, **changes: object) -> Block:
        """A good block above the head by the leader of `view`."""
        height = self.head.height + 1
        ends = is_last_of_epoch(height, self.epoch_blocks)
        header = Header(
            chain_id=CHAIN_ID,
            height=height,
            epoch=self.epoch,
            view=view,
            parent_hash=self.head.hash,
            time_ms=max(self.wall, self.head.time_ms + 1),
            proposer=self.members[self.set(self.epoch).leader(view)].operator,
            transactions_root=transactions_root(()),
            results_root=bytes(32),
            state_root=bytes(32),
            authorities_hash=self.set(0).hash(),
            next_authorities_hash=self.set(0).hash() if ends else None,
        )
        return Block.of(replace(header, **changes), ())  # type: ignore[arg-type]

    def proposal(
        self,
        block: Block,
        view: int | None = None,
        anchor: Certificate | None = None,
        nullified: Sequence[int] = (),
        author: int | None = None,
    ) -> m.Proposal:
        view = view or block.header.view
        author = self.set(self.epoch).leader(view) if author is None else author
        signature = self.vote(author, PROPOSAL, view, block.hash).signature
        nullifications = tuple(self.certificate(NULLIFY, at) for at in nullified)
        return m.Proposal(view, block, signature, self.head.finalization, anchor, nullifications)

    def vote(self, author: int, kind: VoteKind, view: int, block_hash: bytes = b"", epoch: int | None = None) -> Vote:
        epoch = self.epoch if epoch is None else epoch
        message = vote_bytes(CHAIN_ID, epoch, view, kind, block_hash)
        keys = self.keys[author]
        signature = keys.sign_proposal(message) if kind is PROPOSAL else keys.sign_vote(message)
        return Vote(kind, epoch, view, block_hash, signature)

    def votes(self, author: int, kind: VoteKind, view: int, block_hash: bytes = b"") -> list[ev.Effect]:
        return self.receive(author, m.Votes((self.vote(author, kind, view, block_hash),)))

    def certificate(self, kind: VoteKind, view: int, block_hash: bytes = b"", epoch: int | None = None) -> Certificate:
        authorities = self.set(self.epoch if epoch is None else epoch)
        votes = {i: self.vote(i, kind, view, block_hash, epoch) for i in range(authorities.quorum)}
        return assemble_certificate(votes, authorities.size, SCHEME)

    def certify(self, kind: VoteKind, view: int, block_hash: bytes = b"") -> list[ev.Effect]:
        return self.receive(0, m.Certificates((self.certificate(kind, view, block_hash),)))

    def has_signed(self, kind: VoteKind, view: int) -> bool:
        return any((vote.kind, vote.view) == (kind, view) for vote in self.signed)

    def notarized(self, view: int = 1) -> Block:
        """A proposal of the present view, executed and notarized by this authority."""
        block = self.block(view)
        self.receive(0, self.proposal(block))
        self.execute(block)
        assert self.has_signed(NOTARIZE, view)
        return block


def of(effects: Sequence[ev.Effect], kind: type[E]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(effects: Sequence[ev.Effect], kind: type[E]) -> list[E]:
    return [effect.message for effect in of(effects, ev.Broadcast) if isinstance(effect.message, kind)]


def position(effects: Sequence[ev.Effect], of_type: type, /, **fields: object) -> int:
    for index, effect in enumerate(effects):
        if isinstance(effect, of_type) and all(getattr(effect, key) == value for key, value in fields.items()):
            return index
    raise AssertionError(f"no {of_type.__name__} {fields} in {effects}")
