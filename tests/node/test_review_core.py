"""What one lying authority, or a follower, cannot do to the consensus core."""

from dataclasses import replace

from chain.certificate import VoteKind
from node.consensus import events as ev
from node.consensus.peers import BLOCKS_PER_INTERVAL, REQUESTS_PER_INTERVAL
from node.network import messages as m
from tests.core_bench import TIMING, Bench, of

NOTARIZE, FINALIZE = VoteKind.NOTARIZE, VoteKind.FINALIZE
FOLLOWER = b"f" * 32


def requested(effects: list[ev.Effect]) -> set[bytes]:
    return {effect.message.block_hash for effect in of(effects, ev.Send) if isinstance(effect.message, m.BlockRequest)}


def test_parents_that_nobody_certified_are_not_fetched() -> None:
    """Or a liar names so many that there is no room left for the block that a quorum made final."""
    bench = Bench()
    for number in range(80):
        block = bench.block(1, height=2, parent_hash=number.to_bytes(32, "big"))
        effects = bench.receive(1, replace(bench.proposal(block, view=1 + 4 * number, author=1)))
        assert not requested(effects)
    final = bench.block(1)
    assert requested(bench.certify(FINALIZE, 1, final.hash)) == {final.hash}
    bench.receive(0, m.BlockResponse(final))
    assert of(bench.execute(final), ev.Commit)


def test_a_block_is_not_executed_as_repeated_before_anybody_certified_it() -> None:
    """Nobody judges the time of a repeated block, so it must have passed that judgement before."""
    bench = Bench()
    bench.certify(VoteKind.NULLIFY, 1)
    block = bench.block(1, time_ms=(1 << 53) - 1)
    assert not of(bench.receive(2, bench.proposal(block, view=2)), ev.ExecuteBlock)
    assert of(bench.certify(NOTARIZE, 1, block.hash), ev.ExecuteBlock)


def test_a_peer_is_served_a_few_blocks_at_a_time() -> None:
    bench = Bench()
    block = bench.notarized()
    bench.do(ev.PeerConnected(bench.moment, FOLLOWER))

    def ask(block_hash: bytes) -> list[ev.Effect]:
        message = m.BlockRequest(block_hash)
        effects = bench.do(ev.MessageReceived(bench.moment, FOLLOWER, message))
        return [*of(effects, ev.Send), *of(effects, ev.ServeBlock)]

    assert sum(bool(ask(block.hash)) for _ in range(100)) == BLOCKS_PER_INTERVAL
    assert not ask(b"x" * 32), "looking for a block costs as well"
    bench.wait(TIMING.standstill_ms)
    assert sum(bool(ask(b"x" * 32)) for _ in range(100)) == BLOCKS_PER_INTERVAL
    assert not bench.do(ev.MessageReceived(bench.moment, b"nobody" * 5 + b"xx", m.BlockRequest(block.hash)))


def test_a_peer_is_sent_certificates_a_few_times_at_a_time() -> None:
    bench = Bench()
    bench.certify(VoteKind.NULLIFY, 1)
    bench.do(ev.PeerConnected(bench.moment, FOLLOWER))
    message = m.CertificatesRequest(0, 1, 5)
    answers = [of(bench.do(ev.MessageReceived(bench.moment, FOLLOWER, message)), ev.Send) for _ in range(100)]
    assert sum(map(bool, answers)) == REQUESTS_PER_INTERVAL
    bench.wait(TIMING.standstill_ms)
    assert of(bench.do(ev.MessageReceived(bench.moment, FOLLOWER, message)), ev.Send)


def test_a_missing_block_is_asked_of_authorities_first() -> None:
    """They hold what they certified, and followers, however many, need not."""
    bench = Bench()
    for number in range(20):
        bench.do(ev.PeerConnected(bench.moment, number.to_bytes(32, "big")))
    final = bench.block(1)
    bench.certify(FINALIZE, 1, final.hash)
    asked = set()
    for _ in range(6):
        bench.wait(8_000)
        effects = bench.deadline(ev.Timer.STANDSTILL)
        asked |= {effect.peer for effect in of(effects, ev.Send) if isinstance(effect.message, m.BlockRequest)}
    assert asked == {bench.keys[index].node_key for index in range(3)}
    lonely = Bench(start=False)
    lonely.do(ev.Started(lonely.moment, lonely.head, (), (), (), False))
    lonely.do(ev.PeerConnected(lonely.moment, FOLLOWER))
    lonely.do(
        ev.MessageReceived(lonely.moment, FOLLOWER, m.Certificates((lonely.certificate(FINALIZE, 1, final.hash),)))
    )
    lonely.wait(8_000)
    assert requested(lonely.deadline(ev.Timer.STANDSTILL)) == {final.hash}


def test_a_finalization_of_what_is_invalid_here_stops_the_node() -> None:
    """Even if the notarization was never seen."""
    bench = Bench()
    block = bench.block(1)
    bench.receive(1, bench.proposal(block))
    assert not of(bench.execute(block, "another state root"), ev.Halt)
    assert of(bench.certify(FINALIZE, 1, block.hash), ev.Halt)


def test_forged_conflicts_in_one_view_do_not_hide_a_real_one_in_the_next() -> None:
    bench = Bench()
    forged = replace(bench.vote(0, NOTARIZE, 1, b"x" * 32), signature=bytes(96))
    bench.receive(0, m.Votes((forged,)))
    for number in range(20):
        other = replace(forged, block_hash=number.to_bytes(32, "big"))
        assert not of(bench.receive(0, m.Votes((other,))), ev.ReportConflict)
    bench.votes(0, NOTARIZE, 2, b"x" * 32)
    assert of(bench.votes(0, NOTARIZE, 2, b"y" * 32), ev.ReportConflict)
    bench.votes(0, NOTARIZE, 3, b"x" * 32)
    assert not of(bench.votes(0, NOTARIZE, 3, b"y" * 32), ev.ReportConflict), "one proof is enough"
