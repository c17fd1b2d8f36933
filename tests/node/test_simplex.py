"""Rules 1 to 7 of consensus, one by one: proposals, votes and certificates."""

import pytest

from chain.evidence import Offence
from node.consensus import events as ev
from node.network import messages as m
from tests.core_bench import FINALIZE, GENESIS, NOTARIZE, NULLIFY, PROPOSAL, TIME, TIMING, Bench, of, position, sent

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
