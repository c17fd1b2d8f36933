"""Consensus across epochs and restarts, behind the others and ahead of them, without a key and alone."""

from dataclasses import replace

from node.consensus import events as ev
from node.consensus.simplex import Simplex
from node.network import messages as m
from tests.core_bench import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    PROPOSAL,
    SCHEME,
    Bench,
    of,
    sent,
)

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
