"""The two clocks: how they move, what an outage does to each, and that nobody is punished for one."""

import itertools
import random

import pytest

from chain.action import BlockContext
from chain.actions.bookings import Activate
from chain.actions.gpus import Heartbeat
from chain.actions.staking import RemoveStake
from chain.booking import BookingStatus
from chain.clocks import OUTAGES, advance_clocks, block_instant, live_before, live_instant, read_clocks
from chain.errors import InvalidBlock
from chain.inventory import GpuStatus
from chain.schema import COIN
from chain.state.view import MemoryReader, View
from chain.transition import apply_block
from genesis.networks import MAINNET, TESTNET, Network
from tests.ledger import GENESIS_TIME_MS, Ledger, Person, make_specification
from tests.market import PRICE, Market, altered

HOUR_MS = 3_600_000


def empty_ledger() -> Ledger:
    return Ledger(make_specification())


def test_both_clocks_advance_together_without_an_outage() -> None:
    ledger = empty_ledger()
    for step in (1, 999, 15_000):
        ledger.block(after_ms=step)
    clocks = read_clocks(ledger.view)
    assert (clocks.height, clocks.time_ms, clocks.live_ms) == (3, GENESIS_TIME_MS + 16_000, 16_000)
    assert clocks.genesis_ms == GENESIS_TIME_MS
    assert list(OUTAGES.scan(ledger.view)) == []


def test_live_time_advances_by_at_most_the_largest_gap() -> None:
    ledger = empty_ledger()
    ledger.block(after_ms=15_001)
    ledger.block(after_ms=3 * HOUR_MS)
    assert read_clocks(ledger.view).live_ms == 30_000


@pytest.mark.parametrize(("height", "time_ms"), [(0, 1), (2, 1), (1, 0), (1, -1)])
def test_height_and_time_must_follow(height: int, time_ms: int) -> None:
    ledger = empty_ledger()
    block = BlockContext(ledger.chain_id, height, 0, GENESIS_TIME_MS + time_ms, ledger.proposer)
    with pytest.raises(InvalidBlock):
        apply_block(ledger.view, block, ())


def test_a_state_without_clocks_is_no_state() -> None:
    with pytest.raises(InvalidBlock):
        read_clocks(View(MemoryReader()))


def test_live_time_of_any_past_instant(rng: random.Random) -> None:
    """Against a list of every millisecond that matters, over random gaps with outages of all lengths."""
    ledger = empty_ledger()
    known = {GENESIS_TIME_MS: 0}
    outages: list[tuple[int, int]] = []
    for _ in range(200):
        began = ledger.time_ms
        gap = rng.choice((1, 2, 500, 1_000, 14_999, 15_000, 15_001, 60_000, HOUR_MS))
        ledger.block(after_ms=gap)
        known[ledger.time_ms] = read_clocks(ledger.view).live_ms
        if gap > 15_000:
            outages.append((began, ledger.time_ms))
    view = ledger.view
    instants = sorted(known)
    for before, after in itertools.pairwise(instants):
        assert live_instant(view, after) == known[after]
        for inside in {before + 1, (before + after) // 2, after - 1} - {before, after}:
            if (before, after) in outages:
                assert live_instant(view, inside) == known[after], "an outage counts as the moment of resuming"
                assert live_before(view, inside) == known[before], "or as the moment it began"
                assert live_before(view, after) == known[before]
            else:
                assert live_instant(view, inside) == known[before] + inside - before
                assert live_before(view, inside) == live_instant(view, inside)
    assert live_instant(view, GENESIS_TIME_MS - 5) == 0


def test_block_time_of_any_past_live_time(rng: random.Random) -> None:
    """The latest instant that is at most so old: it agrees with the live time of instants, one millisecond sharp."""
    ledger = empty_ledger()
    for _ in range(120):
        ledger.block(after_ms=rng.choice((1, 2, 500, 1_000, 14_999, 15_000, 15_001, 60_000, HOUR_MS)))
    view = ledger.view
    edges = [outage.live_ms + offset for _, outage in OUTAGES.scan(view) for offset in (-15_000, -1, 0, 1)]
    for live_ms in [*edges, *(rng.randint(0, ledger.live_ms) for _ in range(500)), 0, ledger.live_ms]:
        if 0 <= live_ms <= ledger.live_ms:
            instant = block_instant(view, live_ms)
            assert live_instant(view, instant) <= live_ms
            assert instant == ledger.time_ms or live_instant(view, instant + 1) > live_ms
    assert block_instant(view, ledger.live_ms + 10**9) == ledger.time_ms
    assert block_instant(view, -5) == GENESIS_TIME_MS


def test_block_time_within_an_outage_is_when_the_chain_stopped() -> None:
    ledger = empty_ledger()
    ledger.block(after_ms=10_000)
    ledger.block(after_ms=HOUR_MS)
    ledger.block(after_ms=2_000)
    view = ledger.view
    assert [block_instant(view, live_ms) - GENESIS_TIME_MS for live_ms in (9_999, 10_000, 24_999, 25_000, 25_001)] == [
        9_999,
        10_000,
        10_000,
        10_000 + HOUR_MS,
        10_001 + HOUR_MS,
    ]


def test_the_live_time_of_a_past_instant_never_changes(rng: random.Random) -> None:
    ledger = empty_ledger()
    told: dict[int, int] = {}
    for _ in range(100):
        ledger.block(after_ms=rng.choice((1, 1_000, 15_000, 15_001, HOUR_MS)))
        view = ledger.view
        assert all(live_instant(view, instant) == live for instant, live in told.items())
        instant = rng.randint(GENESIS_TIME_MS, ledger.time_ms)
        told[instant] = live_instant(view, instant)


class TestOutages:
    """A three-hour outage over activations and heartbeats, and its relatives."""

    def test_heartbeats(self) -> None:
        market = Market(parameters=altered(heartbeat_timeout_seconds=120))
        market.block(after_ms=3 * HOUR_MS)
        assert market.gpu(market.gpus[0]).status is GpuStatus.ACTIVE
        market.wait(90_000)
        assert market.gpu(market.gpus[0]).status is GpuStatus.ACTIVE
        market.do(market.provider, Heartbeat(market.gpus))

    def test_activation_after_an_outage_that_began_before_the_start(self) -> None:
        """The provider has his whole grace from the moment the chain resumed."""
        market = Market()
        booking_id = market.reserve(after_seconds=600, seconds=6 * 3_600)
        market.block(after_ms=3 * HOUR_MS)
        market.wait(50_000)
        market.activate(booking_id, after_ms=9_999)
        booking = market.booking(booking_id)
        assert booking.status is BookingStatus.ACTIVE
        assert booking.from_ms == market.time_ms

    def test_no_show_after_an_outage_and_the_whole_grace(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600, seconds=6 * 3_600)
        market.block(after_ms=3 * HOUR_MS)
        market.wait(60_000)
        assert market.booking(booking_id).status is BookingStatus.NO_SHOW

    def test_an_outage_within_the_grace_costs_at_most_one_gap_of_it(self) -> None:
        market = Market()
        booking_id = market.reserve(seconds=6 * 3_600)
        market.wait(20_000)
        market.block(after_ms=3 * HOUR_MS)
        market.activate(booking_id, after_ms=24_999)
        assert market.booking(booking_id).status is BookingStatus.ACTIVE

    @pytest.mark.parametrize("before_ms", [1_000, 14_000, 59_000])
    @pytest.mark.parametrize("network", [MAINNET, TESTNET])
    def test_an_outage_over_the_end_of_a_short_booking_is_nobodys_fault(self, network: Network, before_ms: int) -> None:
        """On the main network a gap may be as long as the shortest booking, and must not count as waiting."""
        market = Market(parameters=network.parameters)
        booking_id = market.reserve(seconds=60)
        collateral = market.booking(booking_id).collateral
        before = market.wealth(market.provider)
        market.block(after_ms=before_ms)
        market.block(after_ms=3 * HOUR_MS)
        assert market.booking(booking_id).status is BookingStatus.CANCELLED
        assert market.wealth(market.provider) == before
        assert collateral > 0

    def test_an_outage_that_ends_at_the_exact_end(self) -> None:
        market = Market(parameters=altered(maximum_gap_ms=30_000))
        booking_id = market.reserve(seconds=60)
        market.block(after_ms=20_000)
        market.block(after_ms=40_000)
        assert market.booking(booking_id).end_ms == market.time_ms
        assert market.booking(booking_id).status is BookingStatus.CANCELLED

    def test_an_active_booking_completes_on_the_calendar_and_is_paid_by_live_time(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.wait(60_000)
        market.block(after_ms=3 * HOUR_MS)
        booking = market.booking(booking_id)
        assert (booking.status, booking.ended_ms, booking.gross) == (BookingStatus.CLOSING, booking.end_ms, PRICE)
        assert booking.payment_live_ms == market.live_ms + 300_000, "the renter has his whole window to complain"
        market.wait(300_000)
        assert market.booking(booking_id).status is BookingStatus.CLOSED

    def test_unbonding_runs_on_block_time(self) -> None:
        market = Market()
        before = market.balance(market.provider)
        result = market.do(market.provider, RemoveStake(COIN))
        market.block(after_ms=3 * HOUR_MS)
        assert market.balance(market.provider) == before + COIN - result.fee

    def test_a_booking_that_starts_within_an_outage_may_be_activated_after_it(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=60, seconds=12 * 3_600)
        market.wait(50_000)
        resumed = market.sign(
            market.provider, Activate(booking_id, b"x"), valid_until_ms=market.time_ms + 9 * HOUR_MS + HOUR_MS
        )
        assert market.block(resumed, after_ms=9 * HOUR_MS)[0].succeeded


def test_clocks_are_not_moved_by_a_refused_block() -> None:
    ledger = Ledger(make_specification([Person("a")]))
    view = ledger.view
    with pytest.raises(InvalidBlock):
        advance_clocks(view, 2, GENESIS_TIME_MS + 1, 15_000)
    assert read_clocks(view).height == 0
