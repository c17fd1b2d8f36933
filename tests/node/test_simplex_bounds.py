"""Rules 8 to 11 of consensus, one by one: what is repeated, how long is waited, what is bounded, and when to stop."""

from dataclasses import replace

import pytest

from chain.certificate import VoteKind
from node.consensus import events as ev
from node.consensus.core import HASTY_VIEWS
from node.consensus.simplex import VOTE_WINDOW
from node.consensus.timing import weight_budget
from node.network import messages as m
from tests.core_bench import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    TIME,
    TIMING,
    Bench,
    of,
    position,
    sent,
)

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
