"""Rewards: who earns what of an epoch's fees, to the last fraction of a base unit."""

import pytest

from chain import stake
from chain.actions.accounts import Transfer
from chain.actions.staking import AddStake, ClaimRewards, RemoveStake
from chain.bank import adjust, totals
from chain.rewards import EPOCH_SHARES, FRACTION_BITS, Rewards, read_rewards, settled
from chain.schema import COIN
from chain.slashing import slash_share
from chain.stake import STAKES, claimable, stake_of
from tests.ledger import Ledger, Person, make_specification
from tests.market import UNHURRIED, Market, altered

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")
EPOCH = 10
"""Blocks."""


def make_ledger(*, stake: int = 0, people: tuple[Person, ...] = (ALICE, BOB, CAROL), **changes: int) -> Ledger:
    parameters = altered(UNHURRIED, epoch_blocks=EPOCH, fee_staker_share=10_000, **changes)
    return Ledger(make_specification(people, stake=stake, parameters=parameters))


@pytest.fixture
def ledger() -> Ledger:
    return make_ledger()


def end_epoch(ledger: Ledger) -> int:
    """Empty blocks until the epoch has ended; returns its pot, base units."""
    while (ledger.height + 1) % EPOCH:
        ledger.block()
    pot = totals(ledger.view).epoch_pot
    ledger.block()
    assert totals(ledger.view).epoch_pot == 0
    return pot


def start_epoch(ledger: Ledger) -> None:
    """Like `end_epoch`, with nothing said about the pot."""
    end_epoch(ledger)


def owed(ledger: Ledger, person: Person) -> int:
    """What a person has earned and not claimed, to the nearest base unit: a claim pays one less at most."""
    held = stake_of(ledger.view, person.address)
    nearest = (settled(ledger.view, held.share, held.amount).owed + (1 << FRACTION_BITS - 1)) >> FRACTION_BITS
    assert nearest - 1 <= claimable(ledger.view, person.address) <= nearest
    return nearest


def fund(ledger: Ledger, amount: int) -> None:
    """Let the pot be a round number, of money made for it; what was in it goes to the treasury."""
    with ledger.system() as context:
        old = totals(context.view).epoch_pot
        adjust(context.view, treasury=old, epoch_pot=amount - old, issued=amount)


class TestWhoEarns:
    def test_stake_added_just_before_fees_are_shared(self, ledger: Ledger) -> None:
        """It earns nothing of that epoch, however large it is, and its share of the next."""
        ledger.do(ALICE, AddStake(COIN))
        end_epoch(ledger)
        while (ledger.height + 1) % EPOCH:
            ledger.block()
        ledger.do(BOB, AddStake(1_000 * COIN))
        pot = totals(ledger.view).rewards
        assert ledger.height % EPOCH == 0
        assert (owed(ledger, ALICE), owed(ledger, BOB)) == (pot, 0)
        fund(ledger, 1_001)
        end_epoch(ledger)
        assert (owed(ledger, ALICE), owed(ledger, BOB)) == (pot + 1, 1_000)

    def test_genesis_stakes_earn_from_the_first_epoch(self) -> None:
        ledger = make_ledger(stake=COIN)
        ledger.do(ALICE, Transfer(BOB.address, "AITBC", 1))
        pot = end_epoch(ledger)
        assert pot > 0
        assert {owed(ledger, person) for person in (ALICE, BOB, CAROL)} == {pot // 3}

    def test_nobody_is_staked_so_the_treasury_gets_it(self, ledger: Ledger) -> None:
        ledger.do(ALICE, AddStake(COIN))  # which does not count yet
        treasury = totals(ledger.view).treasury
        pot = end_epoch(ledger)
        assert pot > 0
        assert totals(ledger.view).treasury == treasury + pot
        assert (totals(ledger.view).rewards, read_rewards(ledger.view).per_unit) == (0, 0)

    @pytest.mark.parametrize("again", [False, True])
    def test_what_left_in_the_epoch_earns_nothing_of_it(self, again: bool) -> None:
        """Also if as much was added again: it was not locked for all of it."""
        ledger = make_ledger(stake=100)
        ledger.do(ALICE, RemoveStake(60))
        if again:
            ledger.do(ALICE, AddStake(60))
        fund(ledger, 240_000)
        start_epoch(ledger)
        assert [owed(ledger, person) for person in (ALICE, BOB, CAROL)] == [40_000, 100_000, 100_000]
        fund(ledger, 300_000)
        start_epoch(ledger)
        share = 300_000 * 100 // 300 if again else 300_000 * 40 // 240
        assert owed(ledger, ALICE) == 40_000 + share

    def test_what_was_added_leaves_first(self) -> None:
        """Money has no marks: the part that was locked all along is what was the least of it."""
        ledger = make_ledger(stake=100)
        ledger.do(ALICE, AddStake(50))
        ledger.do(ALICE, RemoveStake(50))
        fund(ledger, 300_000)
        start_epoch(ledger)
        assert owed(ledger, ALICE) == 100_000

    def test_raised_and_left_alone_for_epochs(self) -> None:
        """It earns its old amount in that epoch and the new one in all that follow, settled at once at the end."""
        ledger = make_ledger(stake=100)
        ledger.do(ALICE, AddStake(300))
        assert read_rewards(ledger.view).raised == 1
        fund(ledger, 300_000)
        start_epoch(ledger)
        assert [item.waiting for _, item in EPOCH_SHARES.scan(ledger.view)] == [1]
        for _ in range(3):
            fund(ledger, 600_000)
            start_epoch(ledger)
        assert owed(ledger, ALICE) == 100_000 + 3 * 400_000
        ledger.do(ALICE, AddStake(1))
        assert list(EPOCH_SHARES.scan(ledger.view)) == []
        assert owed(ledger, ALICE) == 100_000 + 3 * 400_000

    def test_where_an_epoch_ended_is_kept_until_the_last_has_asked(self) -> None:
        ledger = make_ledger(stake=100)
        ledger.do(ALICE, AddStake(1))
        ledger.do(BOB, AddStake(1))
        start_epoch(ledger)
        ledger.do(ALICE, AddStake(1))
        start_epoch(ledger)
        assert [item.waiting for _, item in EPOCH_SHARES.scan(ledger.view)] == [1, 1]
        ledger.do(BOB, ClaimRewards())
        assert [item.waiting for _, item in EPOCH_SHARES.scan(ledger.view)] == [1]
        ledger.do(ALICE, RemoveStake(102))
        assert list(EPOCH_SHARES.scan(ledger.view)) == []

    @pytest.mark.parametrize("how", ["slashed", "forfeited"])
    def test_what_was_taken_earns_nothing(self, how: str) -> None:
        market = Market(stake=100 * COIN, parameters=altered(UNHURRIED, epoch_blocks=EPOCH, fee_staker_share=0))
        provider = market.provider.address
        fund(market, 270_000)
        with market.system() as context:
            if how == "slashed":
                slash_share(context, provider, 3_000)
            else:
                stake.reserve(context.view, provider, 30 * COIN)
                stake.forfeit(context, provider, 30 * COIN, market.renter.address)
        end_epoch(market)
        assert (owed(market, market.provider), owed(market, market.other)) == (70_000, 100_000)

    def test_collateral_earns_as_well(self) -> None:
        market = Market(stake=25 * COIN, parameters=altered(UNHURRIED, epoch_blocks=EPOCH))
        assert market.stake(market.provider).free == 0
        assert (2 * end_epoch(market) + 3) // 6 == owed(market, market.provider) > 0

    def test_unbonding_money_earns_nothing(self) -> None:
        ledger = make_ledger(stake=100)
        ledger.do(ALICE, RemoveStake(100))
        start_epoch(ledger)
        before = owed(ledger, ALICE)
        fund(ledger, 1_000)
        start_epoch(ledger)
        assert (owed(ledger, ALICE), owed(ledger, BOB) % 1_000) == (before, (owed(ledger, CAROL)) % 1_000)


class TestClaim:
    def test_moves_what_is_owed(self) -> None:
        ledger = make_ledger(stake=COIN)
        fund(ledger, 3_000_000)
        start_epoch(ledger)
        before = ledger.balance(ALICE)
        result = ledger.do(ALICE, ClaimRewards())
        assert ledger.balance(ALICE) == before + 999_999 - result.fee
        (event,) = result.events
        assert (event.kind, event.subjects, event.amounts) == (
            "stake.rewards_claimed",
            (("account", ALICE.address),),
            (("amount", 999_999),),
        )
        assert totals(ledger.view).rewards == 2_000_001
        assert stake_of(ledger.view, ALICE.address).amount == COIN

    def test_nothing_to_claim(self) -> None:
        ledger = make_ledger(stake=COIN)
        for person in (ALICE, BOB):
            result = ledger.run(person, ClaimRewards())
            assert (result.error, dict(result.error_data)) == ("nothing_to_claim", {"account": person.address})
        fund(ledger, 3_000_000)
        start_epoch(ledger)
        result = ledger.run(ALICE, ClaimRewards(), ClaimRewards())
        assert (result.error, result.failed_action) == ("nothing_to_claim", 1)
        ledger.do(ALICE, ClaimRewards())
        assert ledger.run(ALICE, ClaimRewards()).error == "nothing_to_claim"

    def test_a_fraction_of_a_base_unit_is_not_paid_but_kept(self) -> None:
        ledger = make_ledger(stake=COIN)
        for paid in (1, 2):
            fund(ledger, 5)
            start_epoch(ledger)
            assert ledger.do(ALICE, ClaimRewards()).events[0].amounts == (("amount", paid),)

    def test_without_a_stake_any_more(self) -> None:
        """What was earned can be claimed after the stake has gone; then the record goes as well."""
        ledger = make_ledger(stake=COIN)
        fund(ledger, 4)
        start_epoch(ledger)
        ledger.do(ALICE, RemoveStake(COIN))
        assert owed(ledger, ALICE) == 1
        before = read_rewards(ledger.view).carry
        ledger.do(ALICE, ClaimRewards())
        assert STAKES.get(ledger.view, ALICE.address) is None
        third = read_rewards(ledger.view).carry - before
        assert abs(third - (1 << FRACTION_BITS) // 3) <= COIN
        fund(ledger, 1)
        start_epoch(ledger)
        assert owed(ledger, BOB) == owed(ledger, CAROL) == 2, "4/3, half of the third that Alice left, half of the pot"

    def test_a_stake_that_earned_nothing_leaves_nothing(self, ledger: Ledger) -> None:
        ledger.do(ALICE, AddStake(5))
        ledger.do(ALICE, RemoveStake(5))
        assert STAKES.get(ledger.view, ALICE.address) is None
        assert read_rewards(ledger.view) == Rewards()


class TestTurn:
    def test_says_what_was_shared(self) -> None:
        ledger = make_ledger(stake=COIN)
        fund(ledger, 4)
        end_epoch(ledger)
        assert ledger.outcome is not None
        (event,) = [event for event in ledger.outcome.system.events if event.kind == "stake.rewards_shared"]
        assert event.amounts == (("epoch", 0), ("amount", 4), ("counted", 3 * COIN))
        end_epoch(ledger)
        assert ledger.outcome.system.events == ()

    def test_fees_of_the_last_block_are_shared(self) -> None:
        ledger = make_ledger(stake=COIN)
        while (ledger.height + 1) % EPOCH:
            ledger.block()
        ledger.do(ALICE, Transfer(BOB.address, "AITBC", 1))
        assert owed(ledger, BOB) == totals(ledger.view).rewards // 3 > 0

    def test_as_much_as_there_can_be(self) -> None:
        """Neither a share nor a fraction overflows."""
        most = (1 << 64) - 1
        ledger = Ledger(make_specification([ALICE], balance=0, stake=most - 1_000, parameters=altered(epoch_blocks=1)))
        fund(ledger, 1_000)
        ledger.block()
        assert owed(ledger, ALICE) == 1_000
        with ledger.system() as context:
            stake.seize(context, ALICE.address, most - 1_001)
            adjust(context.view, epoch_pot=most - 1_001)
        ledger.block()
        assert (stake_of(ledger.view, ALICE.address).amount, totals(ledger.view).staked) == (1, 1)
        assert owed(ledger, ALICE) == most - 1
