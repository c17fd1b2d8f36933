"""Slashing: what it takes in which order, what it never takes, where it goes, and what forfeits later still find."""

import pytest

from chain.actions.bookings import ProviderCancel
from chain.actions.staking import AddStake, RemoveStake
from chain.bank import totals
from chain.booking import BookingStatus
from chain.schema import COIN
from chain.slashing import Slash, slash_amount, slash_share
from chain.stake import STAKES, stake_of
from chain.unbonding import MAXIMUM_UNBONDINGS, unbondings_of
from tests.ledger import Ledger, Person, make_specification
from tests.market import PRICE, TIGHT, UNHURRIED, Market, altered, clog, run_queue

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")


@pytest.fixture
def ledger() -> Ledger:
    """Alice has 100 staked, of which 30 are leaving: 10 a second before 20."""
    ledger = Ledger(make_specification([ALICE, BOB, CAROL]))
    ledger.do(ALICE, AddStake(100))
    ledger.do(ALICE, RemoveStake(10))
    ledger.do(ALICE, RemoveStake(20))
    return ledger


def unbonding(ledger: Ledger, person: Person = ALICE) -> list[int]:
    return [item.amount for _, item in unbondings_of(ledger.view, person.address)]


def slash(ledger: Ledger, rate: int, reward_cap: int = 0, person: Person = ALICE) -> Slash:
    with ledger.system() as context:
        return slash_share(context, person.address, rate, beneficiary=BOB.address, reward_cap=reward_cap)


class TestOrder:
    @pytest.mark.parametrize(
        ("amount", "stake", "leaving"),
        [
            (0, 70, [10, 20]),
            (69, 1, [10, 20]),
            (70, 0, [10, 20]),
            (71, 0, [9, 20]),
            (80, 0, [20]),
            (81, 0, [19]),
            (100, 0, []),
        ],
    )
    def test_free_stake_then_what_leaves_soonest(
        self, ledger: Ledger, amount: int, stake: int, leaving: list[int]
    ) -> None:
        with ledger.system() as context:
            done = slash_amount(context, ALICE.address, amount)
        assert (done.stake_before, done.amount, done.rate) == (100, amount, amount * 100)
        assert (stake_of(ledger.view, ALICE.address).amount, unbonding(ledger)) == (stake, leaving)
        assert totals(ledger.view).burnt == amount

    @pytest.mark.parametrize(
        ("coins", "left", "leaving"),
        [(9, 26, [20]), (10, 25, [20]), (11, 25, [19]), (30, 25, []), (31, 24, []), (54, 1, []), (55, 0, [])],
    )
    def test_collateral_last(self, coins: int, left: int, leaving: list[int]) -> None:
        market = Market(stake=55 * COIN)
        market.do(market.provider, RemoveStake(20 * COIN))
        held = market.stake(market.provider)
        assert (held.amount, held.collateral) == (35 * COIN, 25 * COIN)
        with market.system() as context:
            slash_amount(context, market.provider.address, coins * COIN)
        held = market.stake(market.provider)
        assert (held.amount, held.collateral) == (left * COIN, 25 * COIN)
        assert unbonding(market, market.provider) == [amount * COIN for amount in leaving]

    def test_what_is_due_is_not_taken_although_the_queue_is_late(self) -> None:
        ledger = Ledger(make_specification([ALICE, BOB], parameters=TIGHT))
        ledger.do(ALICE, AddStake(100))
        ledger.do(ALICE, RemoveStake(10))
        clog(ledger, 300)
        ledger.do(ALICE, RemoveStake(20), after_ms=30_000)
        ledger.block(after_ms=30_000)
        assert unbonding(ledger) == [10, 20]
        before = ledger.balance(ALICE)
        done = slash(ledger, 10_000)
        assert (done.stake_before, done.amount) == (90, 90)
        assert (ledger.balance(ALICE), unbonding(ledger)) == (before, [10])
        run_queue(ledger)
        assert ledger.balance(ALICE) == before + 10

    def test_all_unbondings_at_once(self, ledger: Ledger) -> None:
        ledger.do(ALICE, *[RemoveStake(1)] * (MAXIMUM_UNBONDINGS - 2), fee=COIN)
        done = slash(ledger, 10_000)
        assert (done.amount, unbonding(ledger)) == (100, [])
        ledger.wait(120_000)


class TestAmount:
    def test_slash_larger_than_stake(self, ledger: Ledger) -> None:
        with ledger.system() as context:
            done = slash_amount(context, ALICE.address, 10**18, beneficiary=BOB.address, reward_cap=7)
        assert done == Slash(rate=10_000, stake_before=100, amount=100, reward=7)
        assert stake_of(ledger.view, ALICE.address).amount == 0
        assert unbonding(ledger) == []
        assert slash(ledger, 10_000) == Slash(rate=10_000, stake_before=0, amount=0, reward=0)

    @pytest.mark.parametrize("rate", [0, 1, 10_000])
    def test_of_nothing(self, ledger: Ledger, rate: int) -> None:
        changes = ledger.view.changes()
        assert slash(ledger, rate, 5, CAROL) == Slash(rate, 0, 0, 0)
        assert ledger.view.changes() == changes
        assert STAKES.get(ledger.view, CAROL.address) is None

    @pytest.mark.parametrize(("rate", "amount"), [(1, 0), (99, 0), (100, 1), (199, 1), (3_333, 33), (9_999, 99)])
    def test_a_share_is_floored(self, ledger: Ledger, rate: int, amount: int) -> None:
        assert slash(ledger, rate).amount == amount

    def test_shares_follow_each_other(self, ledger: Ledger) -> None:
        """Each takes its share of what the one before left."""
        assert [slash(ledger, 5_000).amount for _ in range(8)] == [50, 25, 12, 6, 3, 2, 1, 0]


class TestReward:
    @pytest.mark.parametrize(("cap", "reward"), [(0, 0), (1, 1), (25, 25), (26, 25)])
    def test_is_capped_and_the_rest_burns(self, ledger: Ledger, cap: int, reward: int) -> None:
        before = ledger.balance(BOB)
        done = slash(ledger, 5_000, cap)
        assert (done.reward, done.burnt) == (reward, 50 - reward)
        assert (ledger.balance(BOB) - before, totals(ledger.view).burnt) == (reward, 50 - reward)

    def test_nobody_is_rewarded_for_himself(self, ledger: Ledger) -> None:
        before = ledger.balance(ALICE)
        with ledger.system() as context:
            done = slash_share(context, ALICE.address, 5_000, beneficiary=ALICE.address, reward_cap=50)
        assert (done.reward, done.burnt, ledger.balance(ALICE)) == (0, 50, before)

    def test_the_event_says_everything(self, ledger: Ledger) -> None:
        with ledger.system() as context:
            slash_share(context, ALICE.address, 5_000, beneficiary=BOB.address, reward_cap=8)
            (event,) = context.events
        assert (event.kind, event.subjects) == (
            "stake.slashed",
            (("account", ALICE.address), ("beneficiary", BOB.address)),
        )
        assert event.amounts == (("rate", 5_000), ("stake_before", 100), ("amount", 50), ("reward", 8), ("burnt", 42))


class TestForfeitsAfterwards:
    """Collateral that a slash took stays reserved in name; whoever should get it gets what is left."""

    @pytest.fixture
    def market(self) -> Market:
        return Market(2, stake=60 * COIN, parameters=altered(UNHURRIED, unbonding_seconds=600))

    def test_a_booking_takes_what_is_left(self, market: Market) -> None:
        booking_id = market.reserve(seconds=3_600)
        slice_ = market.booking(booking_id).collateral
        assert slice_ == 2 * PRICE // 10
        with market.system() as context:
            slash_amount(context, market.provider.address, 60 * COIN - slice_ // 4)
        assert (market.stake(market.provider).amount, market.stake(market.provider).free) == (slice_ // 4, 0)
        before = market.balance(market.renter)
        market.wait(61_000, step_ms=1_000)
        assert market.booking(booking_id).status is BookingStatus.NO_SHOW
        assert market.balance(market.renter) == before + 2 * PRICE + slice_ // 4
        held = market.stake(market.provider)
        assert (held.amount, held.collateral) == (0, 50 * COIN)

    @pytest.mark.parametrize("end", ["released", "cancelled while active"])
    def test_an_active_booking_ends_as_always(self, market: Market, end: str) -> None:
        booking_id = market.active()
        with market.system() as context:
            slash_amount(context, market.provider.address, 60 * COIN)
        market.wait(600_000)
        before = market.balance(market.renter)
        if end == "released":
            market.release(booking_id)
        else:
            (event,) = [
                event
                for event in market.do(market.provider, ProviderCancel(booking_id)).events
                if event.kind == "booking.collateral_forfeited"
            ]
            assert dict(event.amounts) == {"forfeited": 0}
        assert market.balance(market.renter) > before
        market.wait(400_000)
        assert market.booking(booking_id).status is BookingStatus.CLOSED
        held = market.stake(market.provider)
        assert (held.amount, held.collateral) == (0, 50 * COIN)

    def test_new_stake_makes_it_good_before_it_is_free(self, market: Market) -> None:
        with market.system() as context:
            slash_amount(context, market.provider.address, 40 * COIN)
        market.do(market.provider, AddStake(30 * COIN))
        assert market.refused(market.provider, RemoveStake(1)) == (
            "insufficient_stake",
            {"needed": 1, "available": 0},
        )
        error, data = market.refused(market.renter, market.reservation(seconds=3_600))
        assert (error, data["available"]) == ("insufficient_collateral", 0)
        market.do(market.provider, AddStake(5 * COIN))
        market.do(market.provider, RemoveStake(5 * COIN))
        assert market.stake(market.provider).free == 0
