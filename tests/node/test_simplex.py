"""The rules of consensus one by one, on a single core that is told what the others say."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from chain.block import Block, Header, transactions_root
from chain.certificate import AuthoritySet, Certificate, Vote, VoteKind, assemble_certificate, vote_bytes
from chain.evidence import Offence
from node.consensus import events as ev
from node.consensus.core import HASTY_VIEWS
from node.consensus.epochs import is_last_of_epoch
from node.consensus.simplex import VOTE_WINDOW, Simplex
from node.consensus.timing import Timing, weight_budget
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


# Rules 1 and 2.


def test_the_leader_proposes_with_the_parents_finalization() -> None:
    bench = Bench(me=1)
    assert not of(bench.do(ev.DeadlineReached(bench.moment, ev.Timer.PROPOSE)), ev.BuildBlock)
    (build,) = of(bench.do(ev.WorkAvailable(bench.moment)), ev.BuildBlock)
    assert (build.height, build.view, build.parent_hash, build.weight_budget) == (1, 1, GENESIS, 1_000)
    assert build.time_ms == bench.wall
    block = bench.block(1)
    effects = bench.do(ev.BlockBuilt(bench.moment, 1, block))
    order = [
        position(effects, ev.Persist, blocks=(block,)),
        position(effects, ev.SignVote, kind=PROPOSAL),
        position(effects, ev.Broadcast, message=bench.proposal(block)),
        position(effects, ev.SignVote, kind=NOTARIZE),
    ]
    assert order == sorted(order)
    bench.advance(block)
    bench.certify(NULLIFY, 2)
    bench.certify(NULLIFY, 3)
    bench.certify(NULLIFY, 4)
    bench.do(ev.WorkAvailable(bench.moment))
    (proposal,) = sent(bench.do(ev.BlockBuilt(bench.moment, 5, bench.block(5))), m.Proposal)
    assert proposal.parent_finalization == bench.head.finalization
    assert [certificate.view for certificate in proposal.nullifications] == [2, 3, 4]


def test_a_block_built_too_late_or_on_another_parent_is_dropped() -> None:
    bench = Bench(me=1)
    bench.do(ev.WorkAvailable(bench.moment))
    block = bench.block(1)
    bench.certify(NULLIFY, 1)
    assert not bench.do(ev.BlockBuilt(bench.moment, 1, block))
    assert not bench.has_signed(PROPOSAL, 1)


def test_the_leader_repeats_the_highest_notarized_candidate() -> None:
    bench = Bench(me=2)
    block = bench.notarized(1)
    bench.certify(NOTARIZE, 1, block.hash)
    assert bench.core.view == 2
    assert not bench.has_signed(PROPOSAL, 2), "its finalization may come within a delta"
    bench.wait(TIMING.delta_ms)
    (proposal,) = sent(bench.deadline(ev.Timer.PROPOSE), m.Proposal)
    assert proposal.block == block
    assert proposal.anchor == bench.certificate(NOTARIZE, 1, block.hash)
    assert proposal.view == 2


def test_a_candidate_that_can_no_longer_be_finalised_is_repeated_at_once() -> None:
    bench = Bench(me=2)
    block = bench.notarized(1)
    bench.votes(0, NULLIFY, 1)
    bench.votes(1, NULLIFY, 1)
    effects = bench.certify(NOTARIZE, 1, block.hash)
    assert sent(effects, m.Proposal)


def test_a_leader_who_lacks_something_fetches_it_and_then_nullifies() -> None:
    bench = Bench(me=3)
    effects = bench.certify(NULLIFY, 2)
    assert bench.core.view == 3
    assert sent(effects, m.CertificatesRequest) == [m.CertificatesRequest(0, 1, 1)]
    assert not bench.has_signed(NULLIFY, 3)
    bench.wait(TIMING.view_timeout(2) // 2)
    bench.deadline(ev.Timer.PROPOSE)
    assert bench.has_signed(NULLIFY, 3)
    other = Bench(me=3)
    other.do(ev.WorkAvailable(other.moment))
    other.certify(NULLIFY, 2)
    assert of(other.certify(NULLIFY, 1), ev.BuildBlock), "and proposes if it comes in time"


# Rule 3.


def test_candidate_and_certificates_are_durable_before_the_notarize() -> None:
    bench = Bench()
    bench.certify(NULLIFY, 1)
    block = bench.block(3)
    received = bench.receive(0, bench.proposal(block, nullified=(1, 2), author=3))
    assert of(received, ev.Persist)[0].certificates == (bench.certificate(NULLIFY, 2),)
    bench = Bench(me=0)
    block = bench.block(2)
    first = bench.receive(2, bench.proposal(block, nullified=(1,)))
    assert of(first, ev.ExecuteBlock) == [ev.ExecuteBlock(block)]
    assert not bench.signed
    second = bench.execute(block)
    assert position(second, ev.Persist, blocks=(block,)) < position(second, ev.SignVote, kind=NOTARIZE)


def test_one_notarize_in_a_view_and_evidence_against_two_faces() -> None:
    bench = Bench()
    bench.notarized(1)
    other = bench.block(1, results_root=b"x" * 32)
    effects = bench.receive(2, bench.proposal(other))
    assert [conflict.conflict.offence for conflict in of(effects, ev.ReportConflict)] == [Offence.CONFLICTING_PROPOSAL]
    bench.execute(other)
    assert [vote.kind for vote in bench.signed] == [NOTARIZE]


def test_no_notarize_after_nullify() -> None:
    bench = Bench()
    bench.wait(60_000)
    bench.deadline()
    assert bench.has_signed(NULLIFY, 1)
    block = bench.block(1)
    bench.receive(1, bench.proposal(block))
    bench.execute(block)
    assert not bench.has_signed(NOTARIZE, 1)


def test_missing_certificates_are_pending_and_not_invalid() -> None:
    bench = Bench(me=0)
    bench.certify(NULLIFY, 2)
    bench.do(ev.WorkAvailable(bench.moment))
    block = bench.block(3)
    effects = bench.receive(3, bench.proposal(block))
    assert sent(effects, m.CertificatesRequest) == [m.CertificatesRequest(0, 1, 1)]
    bench.execute(block)
    assert not bench.signed
    bench.certify(NULLIFY, 1)
    assert bench.has_signed(NOTARIZE, 3)


def test_a_view_of_the_parent_s_own_repetition_needs_no_nullification() -> None:
    """The last final block was notarized again in a later view: that view stands for itself."""
    bench = Bench(me=0)
    first = bench.block(1)
    bench.advance(first)
    bench.certify(NOTARIZE, 2, first.hash)
    assert bench.core.view == 3
    block = bench.block(3)
    anchor = bench.certificate(NOTARIZE, 2, first.hash)
    bench.receive(3, bench.proposal(block, anchor=anchor))
    bench.execute(block)
    assert bench.has_signed(NOTARIZE, 3)


def test_a_later_finalization_of_the_parent_stands_for_its_view_too() -> None:
    bench = Bench(me=0)
    first = bench.block(1)
    bench.advance(first)
    bench.certify(FINALIZE, 2, first.hash)
    block = bench.block(3)
    bench.receive(3, bench.proposal(block))
    bench.execute(block)
    assert bench.has_signed(NOTARIZE, 3)


def test_a_new_block_beside_a_candidate_that_may_be_final_waits() -> None:
    """All of safety: the view of a notarized candidate was not nullified, so nothing may be put in its place."""
    bench = Bench(me=0)
    candidate = bench.notarized(1)
    bench.certify(NOTARIZE, 1, candidate.hash)
    rival = bench.block(2, results_root=b"r" * 32)
    bench.receive(2, bench.proposal(rival, anchor=bench.certificate(NOTARIZE, 1, candidate.hash)))
    bench.execute(rival)
    assert not bench.has_signed(NOTARIZE, 2)
    bench.certify(NULLIFY, 1)
    assert bench.has_signed(NOTARIZE, 2), "it could not become final any more"


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": "other-00000000"},
        {"parent_hash": b"x" * 32},
        {"view": 2},
        {"proposer": bytes(33)},
        {"authorities_hash": bytes(32)},
        {"next_authorities_hash": bytes(32)},
        {"time_ms": TIME},
        {"time_ms": TIME + 5_000 + 501},
        {"time_ms": TIME + 5_000 - 2_501},
    ],
)
def test_an_invalid_proposal_is_nullified_at_once(changes: dict[str, object]) -> None:
    bench = Bench()
    effects = bench.receive(1, bench.proposal(bench.block(1, **changes), view=1))
    assert bench.has_signed(NULLIFY, 1)
    assert of(effects, ev.ReportPeer)[0].peer == bench.keys[1].node_key
    assert not of(effects, ev.ExecuteBlock)


@pytest.mark.parametrize("time_ms", [TIME + 5_000 + 500, TIME + 5_000 - 2_500])
def test_time_within_bounds(time_ms: int) -> None:
    bench = Bench()
    block = bench.block(1, time_ms=time_ms)
    bench.receive(1, bench.proposal(block))
    bench.execute(block)
    assert bench.has_signed(NOTARIZE, 1)


def test_neither_a_wrong_clock_nor_one_bad_stamp_lasts() -> None:
    assert TIMING.accepts_time(TIME + 1, TIME, TIME - 3_600_000, 0), "the parent's time is ahead of this clock"
    assert not TIMING.accepts_time(TIME, TIME, TIME - 3_600_000, 0)
    assert not TIMING.accepts_time(TIME, 0, TIME + 3_600_000, 0)
    assert any(TIMING.accepts_time(TIME, 0, TIME + 3_600_000, views) for views in range(16))


def test_a_repeated_candidate_is_not_judged_for_time() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.certify(NOTARIZE, 1, block.hash)
    bench.wait(3_600_000)
    bench.receive(2, bench.proposal(block, view=2, anchor=bench.certificate(NOTARIZE, 1, block.hash)))
    bench.execute(block)
    assert bench.has_signed(NOTARIZE, 2)


def test_a_repetition_without_its_notarization_waits() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.certify(NULLIFY, 1)
    bench.receive(2, bench.proposal(block, view=2))
    bench.execute(block)
    assert not bench.signed
    bench.certify(NOTARIZE, 1, block.hash)
    assert bench.has_signed(NOTARIZE, 2)


def test_a_signature_by_somebody_else_is_no_proposal() -> None:
    bench = Bench()
    effects = bench.receive(2, bench.proposal(bench.block(1), author=2))
    assert of(effects, ev.ReportPeer)[0].peer == bench.keys[2].node_key
    assert not bench.signed


# Rules 4 to 7.


def test_notarization_then_finalize_then_commit() -> None:
    bench = Bench()
    block = bench.notarized(1)
    bench.votes(0, NOTARIZE, 1, block.hash)
    effects = bench.votes(1, NOTARIZE, 1, block.hash)
    (made,) = [c for message in sent(effects, m.Certificates) for c in message.certificates]
    assert made.kind is NOTARIZE
    assert position(effects, ev.Persist, certificates=(made,)) < position(effects, ev.SignVote, kind=FINALIZE)
    assert bench.core.view == 2
    bench.votes(0, FINALIZE, 1, block.hash)
    effects = bench.votes(1, FINALIZE, 1, block.hash)
    (commit,) = of(effects, ev.Commit)
    assert commit.block == block
    assert not of(effects, ev.RaiseFloor)
    assert of(bench.advance(block), ev.RaiseFloor) == [ev.RaiseFloor(0, 2)]


def test_no_finalize_after_nullify() -> None:
    bench = Bench()
    block = bench.notarized(1)
    bench.wait(60_000)
    bench.deadline()
    bench.certify(NOTARIZE, 1, block.hash)
    assert bench.core.view == 2
    assert not bench.has_signed(FINALIZE, 1)


def test_finalize_for_a_past_view_that_was_not_nullified() -> None:
    bench = Bench()
    bench.certify(NULLIFY, 2)
    assert bench.core.view == 3
    block = bench.block(1)
    effects = bench.certify(NOTARIZE, 1, block.hash)
    assert bench.has_signed(FINALIZE, 1)
    assert of(effects, ev.Send) == [ev.Send(bench.keys[0].node_key, m.BlockRequest(block.hash))]
    assert bench.core.view == 3


def test_late_finalize_votes_for_an_old_view_count() -> None:
    bench = Bench()
    block = bench.notarized(1)
    bench.certify(NOTARIZE, 1, block.hash)
    bench.certify(NULLIFY, 2)
    bench.certify(NULLIFY, 3)
    bench.votes(0, FINALIZE, 1, block.hash)
    assert of(bench.votes(2, FINALIZE, 1, block.hash), ev.Commit)


def test_nullify_at_the_deadline_and_not_before() -> None:
    bench = Bench()
    bench.wait(TIMING.idle_interval_ms + TIMING.view_timeout(0) - 1)
    bench.deadline()
    assert not bench.signed
    bench.wait(1)
    bench.deadline()
    assert bench.has_signed(NULLIFY, 1)
    bench.votes(0, NULLIFY, 1)
    effects = bench.votes(1, NULLIFY, 1)
    assert sent(effects, m.Certificates)
    assert bench.core.view == 2


def test_nullify_when_a_quorum_has_become_impossible() -> None:
    bench = Bench()
    bench.votes(0, NULLIFY, 1)
    assert not bench.signed
    bench.votes(2, NULLIFY, 1)
    assert bench.has_signed(NULLIFY, 1)


def test_nullify_with_the_leader() -> None:
    bench = Bench()
    bench.votes(1, NULLIFY, 1)
    assert bench.has_signed(NULLIFY, 1)


def test_nullify_votes_that_came_before_the_view() -> None:
    bench = Bench()
    bench.votes(0, NULLIFY, 2)
    bench.votes(1, NULLIFY, 2)
    assert not bench.signed
    bench.certify(NULLIFY, 1)
    assert bench.has_signed(NULLIFY, 2)


def test_a_certificate_moves_forward_without_its_block() -> None:
    bench = Bench()
    effects = bench.certify(FINALIZE, 40, b"x" * 32)
    assert bench.core.view == 41
    assert ev.Send(bench.keys[0].node_key, m.BlockRequest(b"x" * 32)) in effects
    assert not of(effects, ev.Commit)


def test_a_finalised_block_is_fetched_executed_and_committed() -> None:
    bench = Bench()
    block = bench.block(1)
    bench.certify(FINALIZE, 1, block.hash)
    effects = bench.receive(2, m.BlockResponse(block))
    assert of(effects, ev.ExecuteBlock)
    (commit,) = of(bench.execute(block), ev.Commit)
    assert commit.finalization.kind is FINALIZE
    assert not of(bench.execute(block), ev.Commit), "once"


def test_blocks_nobody_asked_for_are_ignored() -> None:
    bench = Bench()
    assert not bench.receive(2, m.BlockResponse(bench.block(1)))


# Rule 8.


def test_standstill_repeats_everything_lowest_view_first() -> None:
    bench = Bench(me=0)
    block = bench.notarized(1)
    bench.certify(NOTARIZE, 1, block.hash)
    bench.wait(60_000)
    bench.deadline()
    bench.deadline(ev.Timer.STANDSTILL)
    effects = bench.deadline(ev.Timer.STANDSTILL)
    assert sent(effects, m.Status)
    (certificates,) = sent(effects, m.Certificates)
    assert [certificate.view for certificate in certificates.certificates] == [1]
    (votes,) = sent(effects, m.Votes)
    assert [(vote.kind, vote.view) for vote in votes.votes] == [(NOTARIZE, 1), (FINALIZE, 1), (NULLIFY, 2)]
    assert sent(effects, m.CandidateAnnounce) == [m.CandidateAnnounce(0, 1, block.hash)]
    assert position(effects, ev.SetDeadline, timer=ev.Timer.STANDSTILL) == len(effects) - 1


def test_standstill_pages_cover_every_view_again_and_again() -> None:
    bench = Bench()
    for view in range(1, 50):
        bench.certify(NULLIFY, view)
    seen: list[set[int]] = []
    for _ in range(9):
        effects = bench.deadline(ev.Timer.STANDSTILL)
        seen.append({c.view for message in sent(effects, m.Certificates) for c in message.certificates})
    for pages in (seen[1:5], seen[5:9]):
        assert set().union(*pages) == set(range(1, 50))
    assert all(len(page) <= 20 for page in seen)


def test_standstill_rests_while_blocks_become_final() -> None:
    bench = Bench()
    block = bench.block(1)
    bench.deadline(ev.Timer.STANDSTILL)
    bench.advance(block)
    assert not sent(bench.deadline(ev.Timer.STANDSTILL), m.Status)
    assert sent(bench.deadline(ev.Timer.STANDSTILL), m.Status)


def test_standstill_slows_down_to_a_bounded_rate() -> None:
    bench = Bench()
    waits = []
    for _ in range(12):
        (arm,) = [e for e in bench.deadline(ev.Timer.STANDSTILL) if isinstance(e, ev.SetDeadline)]
        waits.append(arm.at_ms - bench.now)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (TIMING.standstill_ms, TIMING.standstill_cap_ms)


def test_a_new_link_gets_everything_at_once() -> None:
    bench = Bench(me=1)
    bench.do(ev.WorkAvailable(bench.moment))
    block = bench.block(1)
    bench.do(ev.BlockBuilt(bench.moment, 1, block))
    effects = bench.do(ev.PeerConnected(bench.moment, bench.keys[2].node_key))
    kinds = [type(effect.message) for effect in of(effects, ev.Send)]
    assert kinds == [m.Status, m.Proposal, m.Votes, m.CandidateAnnounce]


def test_missing_blocks_are_asked_of_each_peer_in_turn() -> None:
    bench = Bench()
    bench.certify(NOTARIZE, 1, b"x" * 32)
    asked = set()
    for _ in range(3):
        asked |= {effect.peer for effect in of(bench.deadline(ev.Timer.STANDSTILL), ev.Send)}
    assert asked == {keys.node_key for keys in bench.keys[:3]}


# Rule 9 and time.


def test_deadlines_grow_to_a_cap_and_start_again_with_a_block() -> None:
    bench = Bench()
    bench.do(ev.WorkAvailable(bench.moment))
    waits = []
    for view in range(1, 9):
        (arm,) = [e for e in bench.certify(NULLIFY, view) if isinstance(e, ev.SetDeadline) and e.timer is ev.Timer.VIEW]
        waits.append(arm.at_ms - bench.now)
    assert waits == [4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000, 30_000]
    effects = bench.advance(bench.block(9), view=9, has_work=True)
    assert [e.at_ms - bench.now for e in of(effects, ev.SetDeadline) if e.timer is ev.Timer.VIEW] == [2_000]


def test_the_weight_budget_halves_down_to_an_empty_block() -> None:
    assert [weight_budget(1_000, views) for views in (0, 1, 2, 7, 8, 9_999)] == [1_000, 500, 250, 7, 0, 0]
    bench = Bench(me=1)
    bench.do(ev.WorkAvailable(bench.moment))
    builds = [e for view in range(1, 17) for e in of(bench.certify(NULLIFY, view), ev.BuildBlock)]
    assert [(build.view, build.weight_budget) for build in builds] == [(5, 62), (9, 0), (13, 0), (17, 0)]


def test_work_hastens_the_view_once() -> None:
    bench = Bench()
    bench.wait(1_000)
    (arm,) = of(bench.do(ev.WorkAvailable(bench.moment)), ev.SetDeadline)
    assert arm == ev.SetDeadline(ev.Timer.VIEW, 1_000 + TIMING.view_timeout(0))
    bench.wait(1_000)
    assert not of(bench.do(ev.WorkAvailable(bench.moment)), ev.SetDeadline)


def test_idle_leader_waits_for_the_heartbeat_or_work() -> None:
    bench = Bench(me=1, start=False)
    effects = bench.core.step(ev.Started(bench.moment, bench.head, (), (), (), False))
    assert ev.SetDeadline(ev.Timer.PROPOSE, TIMING.idle_interval_ms) in effects
    bench.wait(TIMING.idle_interval_ms)
    assert of(bench.deadline(ev.Timer.PROPOSE), ev.BuildBlock)


def test_time_goes_on_from_the_parent_when_the_clock_is_behind() -> None:
    bench = Bench(me=1)
    bench.wall = TIME - 3_600_000
    (build,) = of(bench.do(ev.WorkAvailable(bench.moment)), ev.BuildBlock)
    assert build.time_ms == TIME + 1


def test_proposal_after_invalid_proposal_does_not_race_through_views() -> None:
    bench = Bench(me=0)
    bench.do(ev.WorkAvailable(bench.moment))
    for view in range(1, HASTY_VIEWS + 1):
        bench.certify(NULLIFY, view)
    view = bench.core.view
    bench.receive(1, bench.proposal(bench.block(view, state_root=b"x" * 32, chain_id="other"), view=view))
    assert not bench.has_signed(NULLIFY, view)
    bench.wait(60_000)
    bench.deadline()
    assert bench.has_signed(NULLIFY, view)


# Rule 10.


def test_votes_count_only_from_their_author_and_within_the_window() -> None:
    bench = Bench()
    block = bench.notarized(1)
    vote = bench.vote(0, NOTARIZE, 1, block.hash)
    for _ in range(3):
        bench.receive(1, m.Votes((vote,)))
        bench.receive(2, m.Votes((vote,)))
    assert not bench.has_signed(FINALIZE, 1)
    stranger = ev.MessageReceived(bench.moment, b"s" * 32, m.Votes((vote,)))
    assert not bench.do(stranger)
    bench.votes(0, NULLIFY, 1 + VOTE_WINDOW + 1)
    assert bench.core._book.count(1 + VOTE_WINDOW + 1, NULLIFY) == 0
    bench.votes(0, NULLIFY, 1 + VOTE_WINDOW)
    assert bench.core._book.count(1 + VOTE_WINDOW, NULLIFY) == 1


def test_known_certificates_are_not_verified_again() -> None:
    bench = Bench()
    bench.certify(NULLIFY, 1)
    forged = replace(bench.certificate(NULLIFY, 1), signature=bytes(96))
    assert not bench.receive(1, m.Certificates((forged,)))
    effects = bench.receive(1, m.Certificates((replace(forged, view=2), bench.certificate(NULLIFY, 3))))
    assert of(effects, ev.ReportPeer)
    assert bench.core.view == 2, "after a forged one the rest of the message is not read"


def test_requests_are_answered_from_what_is_known() -> None:
    bench = Bench()
    for view in range(1, 70):
        bench.certify(NULLIFY, view)
    answers = of(bench.receive(2, m.CertificatesRequest(0, 3, (1 << 64) - 1)), ev.Send)
    views = [c.view for answer in answers for c in answer.message.certificates]  # type: ignore[union-attr]
    assert views == list(range(3, 70))
    block = bench.block(70, time_ms=bench.wall)
    assert bench.receive(2, m.BlockRequest(block.hash)) == [ev.ServeBlock(bench.keys[2].node_key, block.hash)]


# Rule 11.


def test_a_notarized_block_that_is_invalid_here_stops_the_node() -> None:
    bench = Bench()
    block = bench.block(1)
    bench.receive(1, bench.proposal(block))
    bench.execute(block, "state root differs")
    assert bench.has_signed(NULLIFY, 1)
    assert of(bench.certify(NOTARIZE, 1, block.hash), ev.Halt)
    assert not bench.has_signed(FINALIZE, 1)
    assert bench.certify(NULLIFY, 2) == [], "and it does nothing any more"


def test_a_result_that_differs_from_a_quorums_stops_the_node() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.receive(1, bench.proposal(block))
    bench.certify(NOTARIZE, 1, block.hash)
    assert of(bench.execute(block, "state root differs"), ev.Halt)
    assert not bench.has_signed(NULLIFY, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((NOTARIZE, b"a" * 32), (NOTARIZE, b"b" * 32)),
        ((FINALIZE, b"a" * 32), (NULLIFY, b"")),
        ((NULLIFY, b""), (FINALIZE, b"a" * 32)),
        ((NOTARIZE, b"a" * 32), (FINALIZE, b"b" * 32)),
    ],
)
def test_certificates_that_exclude_each_other_stop_the_node(
    first: tuple[VoteKind, bytes], second: tuple[VoteKind, bytes]
) -> None:
    bench = Bench()
    bench.certify(first[0], 5, first[1])
    assert of(bench.certify(second[0], 5, second[1]), ev.Halt)


def test_notarization_and_nullification_of_one_view_are_no_contradiction() -> None:
    bench = Bench()
    bench.certify(NOTARIZE, 5, b"a" * 32)
    assert not of(bench.certify(NULLIFY, 5), ev.Halt)


# Epochs and those who are behind or ahead.


def test_views_restart_with_an_epoch_and_the_old_one_is_answered() -> None:
    bench = Bench()
    for view in range(1, 4):
        bench.advance(bench.block(view))
    assert (bench.head.authorities.epoch, bench.core.view) == (1, 1)
    late = m.Votes((bench.vote(0, NULLIFY, 4, epoch=0),))
    assert bench.receive(0, late) == [ev.ServeFinalization(bench.keys[0].node_key, 3)]
    assert not bench.receive(0, late), "at a bounded rate"
    bench.wait(1_000)
    assert bench.receive(0, late)


def test_a_sender_of_an_old_view_gets_the_last_finalization() -> None:
    bench = Bench()
    bench.advance(bench.block(1), view=5)
    (answer,) = of(bench.votes(0, NULLIFY, 5), ev.Send)
    assert isinstance(answer.message, m.Status)
    assert answer.message.finalization == bench.head.finalization


def test_what_the_next_epoch_says_early_is_kept() -> None:
    bench = Bench()
    for view in range(1, 3):
        bench.advance(bench.block(view))
    last = bench.block(3)
    ahead = Bench()
    ahead.head = ev.Head(3, last.hash, last.header.time_ms, None, ahead.set(1))
    block = ahead.block(1)
    effects = bench.receive(2, ahead.proposal(block))
    assert of(effects, ev.Behind) == [ev.Behind(bench.keys[2].node_key, 3)]
    effects = bench.advance(last)
    assert of(effects, ev.ExecuteBlock) == [ev.ExecuteBlock(block)]


def test_one_block_behind_it_fetches_and_further_behind_it_reports() -> None:
    ahead = Bench()
    first = ahead.block(1)
    ahead.advance(first)
    second = ahead.block(2)
    bench = Bench()
    effects = bench.receive(2, ahead.proposal(second))
    assert ev.Send(bench.keys[2].node_key, m.BlockRequest(first.hash)) in effects
    assert not of(effects, ev.Behind)
    bench.receive(2, m.BlockResponse(first))
    assert of(bench.execute(first), ev.Commit)
    assert of(bench.advance(first), ev.ExecuteBlock) == [ev.ExecuteBlock(second)], "the proposal was not forgotten"
    ahead.advance(second)
    effects = Bench(me=0).receive(3, ahead.proposal(ahead.block(3)))
    assert of(effects, ev.Behind) == [ev.Behind(bench.keys[3].node_key, 2)]


def test_status_of_one_who_is_ahead() -> None:
    bench = Bench()
    far = m.Status(900, b"x" * 32, 300, 1, bench.certificate(FINALIZE, 3, b"x" * 32, epoch=299))
    assert of(bench.receive(2, far), ev.Behind) == [ev.Behind(bench.keys[2].node_key, 900)]
    assert not bench.receive(2, far), "once a while"
    assert bench.core.view == 1


def test_rebasing_after_synchronisation() -> None:
    bench = Bench()
    bench.notarized(1)
    bench.head = replace(bench.head, height=6, hash=b"h" * 32, authorities=bench.set(2))
    effects = bench.do(ev.Advanced(bench.moment, bench.head, True))
    assert of(effects, ev.RaiseFloor) == [ev.RaiseFloor(2, 1)]
    assert bench.core.view == 1
    stale = replace(bench.head, height=3, authorities=bench.set(1))
    assert not bench.do(ev.Advanced(bench.moment, stale, False))
    assert bench.core.head.height == 6


# Restart.


def test_restart_takes_up_own_votes_and_certificates() -> None:
    before = Bench()
    block = before.notarized(1)
    before.certify(NOTARIZE, 1, block.hash)
    before.wait(60_000)
    before.deadline()
    after = Bench(start=False)
    after.start((block,), (before.certificate(NOTARIZE, 1, block.hash),), before.signed)
    assert after.core.view == 2
    assert not after.signed, "nothing is asked of the signer again"
    votes = sent([ev.Broadcast(e.message) for e in of(after.effects, ev.Send)], m.Votes)[0].votes
    assert set(votes) == set(before.signed)
    after.execute(block)
    after.votes(0, FINALIZE, 1, block.hash)
    assert of(after.votes(1, FINALIZE, 1, block.hash), ev.Commit)


def test_restart_between_notarization_and_finalize() -> None:
    before = Bench()
    block = before.notarized(1)
    after = Bench(start=False)
    after.start((block,), (before.certificate(NOTARIZE, 1, block.hash),), before.signed)
    assert after.has_signed(FINALIZE, 1)


def test_restart_of_a_leader_repeats_its_proposal() -> None:
    before = Bench(me=1)
    before.do(ev.WorkAvailable(before.moment))
    block = before.block(1)
    before.do(ev.BlockBuilt(before.moment, 1, block))
    after = Bench(me=1, start=False)
    after.start((block,), (), before.signed[:1], has_work=True)
    messages = [effect.message for effect in of(after.effects, ev.Send)]
    assert before.proposal(block) in messages
    after.execute(block)
    assert [vote.kind for vote in after.signed] == [NOTARIZE]


def test_restart_alone_goes_on_from_its_own_vote() -> None:
    before = Bench(size=1, me=0)
    before.do(ev.WorkAvailable(before.moment))
    before.wait(1_000)
    before.deadline(ev.Timer.PROPOSE)
    block = before.block(1)
    before.do(ev.BlockBuilt(before.moment, 1, block))
    notarize = next(vote for vote in before.signed if vote.kind is NOTARIZE)
    after = Bench(size=1, me=0, start=False)
    after.start((block,), (), (notarize,))
    assert of(after.execute(block), ev.Commit)


def test_a_node_that_lost_its_blocks_but_not_its_record_keeps_to_it() -> None:
    """The record reaches into an epoch that the blocks do not: it counts when that epoch begins."""
    bench = Bench(start=False)
    nullify = bench.vote(3, NULLIFY, 4, epoch=1)
    bench.start(votes=(nullify,))
    for view in range(1, 4):
        bench.advance(bench.block(view))
    assert bench.core.view == 4
    bench.wait(60_000)
    bench.deadline()
    assert not bench.has_signed(NULLIFY, 4), "it is in the record already"


# Without a key.


def test_a_follower_commits_relays_and_never_signs() -> None:
    bench = Bench(me=None)
    block = bench.block(1)
    bench.receive(1, bench.proposal(block))
    bench.wait(60_000)
    bench.deadline()
    effects = bench.certify(FINALIZE, 1, block.hash)
    assert sent(effects, m.Certificates)
    assert of(effects, ev.ExecuteBlock)
    effects += bench.execute(block)
    assert of(effects, ev.Commit)
    assert not of(effects, ev.SignVote)
    outsider = Simplex(bench.settings, b"o" * 32, SCHEME)
    effects = outsider.step(ev.Started(bench.moment, bench.head, (), (), (), True))
    assert [effect.timer for effect in of(effects, ev.SetDeadline)] == [ev.Timer.STANDSTILL]


def test_alone_it_needs_nobody() -> None:
    bench = Bench(size=1, me=0)
    bench.do(ev.WorkAvailable(bench.moment))
    bench.wait(100)
    (build,) = of(bench.deadline(ev.Timer.PROPOSE), ev.BuildBlock)
    block = bench.block(build.view)
    effects = bench.do(ev.BlockBuilt(bench.moment, build.view, block))
    assert [vote.kind for vote in bench.signed] == [PROPOSAL, NOTARIZE, FINALIZE]
    assert of(effects, ev.Commit)
