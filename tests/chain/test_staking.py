"""Staking: locking, unlocking after the unbonding time, and the collateral service inside it."""

import pytest

from chain import stake as stakes
from chain.action import BlockContext, Context
from chain.actions.staking import MAXIMUM_LOCK_SECONDS, AddStake, RemoveStake
from chain.bank import ACCOUNTS, TOTALS, Account, Totals, account, totals
from chain.errors import InsufficientCollateral, InvalidField
from chain.parameters import Parameters
from chain.schema import COIN, U64
from chain.stake import Stake, stake_of
from chain.state.view import MemoryReader, View
from chain.unbonding import MAXIMUM_UNBONDINGS, id_of, unbondings_of
from genesis.builder import build
from tests.ledger import DEFAULT_FEE, Ledger, Person, make_specification, subject
from tests.market import TIGHT, Market, clog, run_queue

ALICE, BOB = Person("alice"), Person("bob")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(make_specification([ALICE, BOB]))


class TestAdd:
    def test_moves_balance_into_the_stake(self, ledger: Ledger) -> None:
        result = ledger.do(ALICE, AddStake(5 * COIN))
        assert stake_of(ledger.view, ALICE.address).amount == 5 * COIN
        assert ledger.balance(ALICE) == 9_995 * COIN - DEFAULT_FEE
        assert totals(ledger.view).staked == 5 * COIN
        assert dict(result.events[0].amounts) == {"amount": 5 * COIN, "stake": 5 * COIN}

    def test_insufficient_funds(self, ledger: Ledger) -> None:
        result = ledger.run(ALICE, AddStake(U64))
        available = 10_000 * COIN - DEFAULT_FEE
        assert (result.error, dict(result.error_data)) == (
            "insufficient_funds",
            {"needed": U64, "available": available},
        )

    @pytest.mark.parametrize("action", [AddStake(0), AddStake(1, MAXIMUM_LOCK_SECONDS + 1), RemoveStake(0)])
    def test_what_cannot_be_right(self, action: AddStake | RemoveStake) -> None:
        with pytest.raises(InvalidField):
            action.validate()

    def test_a_longer_lock_stays(self, ledger: Ledger) -> None:
        ledger.do(ALICE, AddStake(COIN, lock_seconds=1_000))
        until_ms = ledger.time_ms + 1_000_000
        ledger.do(ALICE, AddStake(COIN, lock_seconds=10))
        assert stake_of(ledger.view, ALICE.address).locked_until_ms == until_ms
        ledger.do(ALICE, AddStake(COIN, lock_seconds=MAXIMUM_LOCK_SECONDS))
        assert stake_of(ledger.view, ALICE.address).locked_until_ms == ledger.time_ms + MAXIMUM_LOCK_SECONDS * 1_000


class TestRemove:
    def test_arrives_by_itself_after_the_unbonding_time(self, ledger: Ledger) -> None:
        ledger.do(ALICE, AddStake(5 * COIN))
        result = ledger.do(ALICE, RemoveStake(2 * COIN))
        unbonding_id = subject(result, "stake.unbonding", "unbonding")
        assert [id_of(key) for key, _ in unbondings_of(ledger.view, ALICE.address)] == [unbonding_id]
        assert (totals(ledger.view).staked, totals(ledger.view).unbonding) == (3 * COIN, 2 * COIN)
        before = ledger.balance(ALICE)
        ledger.wait(59_999)
        assert ledger.balance(ALICE) == before
        ledger.block(after_ms=1)
        assert ledger.balance(ALICE) == before + 2 * COIN
        assert totals(ledger.view).unbonding == 0
        assert unbondings_of(ledger.view, ALICE.address) == []
        assert ledger.outcome is not None
        (event,) = ledger.outcome.system.events
        assert (event.kind, dict(event.subjects)["unbonding"]) == ("stake.released", unbonding_id)

    def test_it_is_paid_once(self, ledger: Ledger) -> None:
        ledger.do(ALICE, AddStake(5 * COIN))
        ledger.do(ALICE, RemoveStake(COIN), RemoveStake(COIN))
        before = ledger.balance(ALICE)
        ledger.wait(300_000)
        assert ledger.balance(ALICE) == before + 2 * COIN

    def test_more_than_is_free(self, ledger: Ledger) -> None:
        ledger.do(ALICE, AddStake(5))
        result = ledger.run(ALICE, RemoveStake(6))
        assert (result.error, dict(result.error_data)) == ("insufficient_stake", {"needed": 6, "available": 5})

    def test_without_any_stake(self, ledger: Ledger) -> None:
        assert ledger.run(BOB, RemoveStake(1)).error == "insufficient_stake"

    @pytest.mark.parametrize(("early_ms", "error"), [(1, "stake_locked"), (0, "")])
    def test_until_the_lock_ends(self, ledger: Ledger, early_ms: int, error: str) -> None:
        ledger.do(ALICE, AddStake(5, lock_seconds=10))
        until_ms = ledger.time_ms + 10_000
        result = ledger.run(ALICE, RemoveStake(1), after_ms=10_000 - early_ms)
        assert result.error == error
        if error:
            assert dict(result.error_data) == {"until_ms": until_ms}

    def test_not_the_collateral(self) -> None:
        market = Market(stake=30 * COIN)
        error, data = market.refused(market.provider, RemoveStake(6 * COIN))
        assert (error, data) == ("insufficient_stake", {"needed": 6 * COIN, "available": 5 * COIN})
        market.do(market.provider, RemoveStake(5 * COIN))
        held = market.stake(market.provider)
        assert (held.amount, held.collateral, held.free) == (25 * COIN, 25 * COIN, 0)

    def test_at_most_32_unbondings(self, ledger: Ledger) -> None:
        ledger.do(ALICE, AddStake(100))
        ledger.do(ALICE, RemoveStake(1), after_ms=1_000)
        ledger.do(ALICE, *[RemoveStake(1)] * (MAXIMUM_UNBONDINGS - 1), fee=COIN, after_ms=30_000)
        ledger.do(BOB, AddStake(1), RemoveStake(1))  # another's do not count
        result = ledger.run(ALICE, RemoveStake(1), after_ms=28_999)
        assert (result.error, dict(result.error_data)) == ("too_many_unbondings", {"maximum": 32})
        ledger.do(ALICE, RemoveStake(1), after_ms=1)  # the first is paid out in this block

    def test_what_is_due_does_not_count_although_the_queue_is_late(self) -> None:
        ledger = Ledger(make_specification([ALICE], parameters=TIGHT))
        ledger.do(ALICE, AddStake(100))
        ledger.do(ALICE, *[RemoveStake(2)] * MAXIMUM_UNBONDINGS, fee=COIN)
        due_ms = ledger.time_ms + 60_000
        clog(ledger, 300)
        before = ledger.balance(ALICE)
        assert ledger.run(ALICE, RemoveStake(3), after_ms=59_999).error == "too_many_unbondings"
        result = ledger.do(ALICE, RemoveStake(3), after_ms=1)
        assert [event.kind for event in result.events] == ["stake.unbonding"]
        assert ledger.balance(ALICE) == before - 2 * DEFAULT_FEE
        run_queue(ledger)
        assert ledger.balance(ALICE) == before + 64 - 2 * DEFAULT_FEE
        assert [item.due_ms for _, item in unbondings_of(ledger.view, ALICE.address)] == [due_ms + 60_000]
        ledger.wait(60_000, step_ms=1_000)
        assert ledger.balance(ALICE) == before + 67 - 2 * DEFAULT_FEE

    def test_unbonding_money_backs_nothing(self, ledger: Ledger) -> None:
        ledger.do(ALICE, AddStake(5))
        result = ledger.run(ALICE, RemoveStake(5), RemoveStake(5))
        assert (result.error, result.failed_action) == ("insufficient_stake", 1)
        assert stake_of(ledger.view, ALICE.address).amount == 5


def acting(view: View) -> Context:
    """Somebody who acts on a state of which there is little."""
    block = BlockContext("devnet", 1, 0, 1, ALICE.address)
    return Context(view, block, 1, Parameters(), ALICE.address, bytes(32))


class TestCollateral:
    """The service that GPUs, bookings and jobs share."""

    @pytest.fixture
    def view(self) -> View:
        view = View(MemoryReader(dict(build(make_specification()).state)))
        stakes.STAKES.put(view, ALICE.address, Stake(amount=10))
        return view

    def test_reserve_and_free(self, view: View) -> None:
        stakes.reserve(view, ALICE.address, 4)
        assert stake_of(view, ALICE.address).free == 6
        stakes.free(acting(view), ALICE.address, 4)
        assert stake_of(view, ALICE.address) == Stake(amount=10)

    def test_no_more_than_is_free(self, view: View) -> None:
        stakes.reserve(view, ALICE.address, 4)
        with pytest.raises(InsufficientCollateral) as caught:
            stakes.reserve(view, ALICE.address, 7)
        assert caught.value.data == {"account": ALICE.address, "needed": 7, "available": 6}

    def test_forfeited_collateral_goes_to_the_beneficiary(self, view: View) -> None:
        TOTALS.put(view, Totals(staked=10))
        ACCOUNTS.put(view, BOB.address, Account())
        stakes.reserve(view, ALICE.address, 4)
        assert stakes.forfeit(acting(view), ALICE.address, 3, BOB.address) == 3
        assert stake_of(view, ALICE.address) == Stake(amount=7, collateral=1)
        assert account(view, BOB.address).balance == 3
        assert totals(view).staked == 7

    def test_forfeiting_nothing_changes_nothing(self, view: View) -> None:
        before = view.changes()
        stakes.forfeit(acting(view), BOB.address, 0, ALICE.address)
        assert view.changes() == before
