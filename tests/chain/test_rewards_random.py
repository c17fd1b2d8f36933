"""Random stakers against a model of rewards in fractions, which knows nothing of accumulators."""

import random
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

import pytest

from chain import rewards, stake
from chain.action import Action
from chain.actions.staking import AddStake, ClaimRewards, RemoveStake
from chain.bank import adjust, totals
from chain.rewards import EPOCH_SHARES, FRACTION_BITS, settled
from chain.slashing import slash_share
from chain.stake import STAKES, stake_of
from tests.conftest import EXTENDED
from tests.ledger import Ledger, Person, make_specification
from tests.market import UNHURRIED, altered

BLOCKS = 5_000 if EXTENDED else 400
PEOPLE = tuple(Person(f"staker {index}") for index in range(8))
EPSILON = Fraction(1, 1 << 30)
"""Far more than all the fractions of 2^-64 that sharing in integers moves from one epoch into another."""


@dataclass
class Staker:
    """What one account has, and what it has earned since it began."""

    amount: int = 0
    counted: int = 0
    """The least of it in this epoch."""
    earned: Fraction = Fraction(0)
    claimed: int = 0

    @property
    def claimable(self) -> set[int]:
        """What a claim may pay: which of two is open only if there is a whole number of base units, but for dust."""
        exact = self.earned - self.claimed
        return {max(0, floor(exact - EPSILON)), floor(exact + EPSILON)}


@dataclass
class Model:
    """Shares each pot by the least that everybody had locked during the epoch."""

    stakers: dict[bytes, Staker] = field(default_factory=lambda: {person.address: Staker() for person in PEOPLE})
    pot: int = 0
    left_behind: Fraction = Fraction(0)
    """Of a base unit, by those who are gone."""
    lost: int = 0
    """Pots of epochs in which nobody was staked."""

    def change(self, address: bytes, amount: int) -> None:
        staker = self.stakers[address]
        staker.amount += amount
        staker.counted = min(staker.counted, staker.amount)

    def leave(self, address: bytes) -> None:
        """Who has no stake and less than a base unit to claim is forgotten."""
        staker = self.stakers[address]
        assert not staker.amount
        assert 0 in staker.claimable
        self.left_behind += staker.earned - staker.claimed
        staker.earned = Fraction(staker.claimed)

    def end_epoch(self) -> None:
        total = sum(staker.counted for staker in self.stakers.values())
        if total:
            pot = self.pot + self.left_behind
            self.left_behind = Fraction(0)
            for staker in self.stakers.values():
                staker.earned += pot * staker.counted / total
        else:
            self.lost += self.pot
        self.pot = 0
        for staker in self.stakers.values():
            staker.counted = staker.amount


class Stakers:
    """A ledger with tiny fees and its model, driven by the same random choices."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.model = rng, Model()
        self.epoch_blocks = rng.randint(1, 6)
        parameters = altered(
            UNHURRIED,
            epoch_blocks=self.epoch_blocks,
            fee_staker_share=10_000,
            base_fee=rng.choice((1, 7, 1_000)),
            fee_per_byte=0,
            fee_per_weight=0,
            unbonding_seconds=5,
        )
        self.ledger = Ledger(make_specification(PEOPLE, balance=10**15, parameters=parameters))
        self.refused: set[str] = set()

    def action(self, person: Person) -> Action:
        amount = self.model.stakers[person.address].amount
        match self.rng.randrange(8):
            case 0 | 1 | 2:
                return AddStake(self.rng.choice((1, 2, 3, 10, 997)))
            case 3 | 4:
                return RemoveStake(self.rng.randint(1, amount + 1))
            case 5:
                return RemoveStake(max(1, amount))
            case _:
                return ClaimRewards()

    def block(self) -> None:
        senders = self.rng.sample(PEOPLE, self.rng.choice((0, 0, 1, 1, 2, 4)))
        actions = [self.action(sender) for sender in senders]
        signed = [self.ledger.sign(sender, action) for sender, action in zip(senders, actions, strict=True)]
        self.model.pot += sum(self.ledger.required_fee(transaction) for transaction in signed)
        results = self.ledger.block(*signed)
        for sender, action, result in zip(senders, actions, results, strict=True):
            self.apply(sender, action, result.error, dict(result.events[0].amounts) if result.events else {})
        if self.ledger.height % self.epoch_blocks == 0:
            self.model.end_epoch()

    def apply(self, sender: Person, action: Action, error: str, amounts: dict[str, int]) -> None:
        staker = self.model.stakers[sender.address]
        match action:
            case ClaimRewards():
                paid = amounts.get("amount", 0)
                assert paid in staker.claimable
                assert error == ("" if paid else "nothing_to_claim")
                staker.claimed += paid
            case RemoveStake() if error:
                assert error == "too_many_unbondings" or action.amount > staker.amount
            case RemoveStake():
                self.model.change(sender.address, -action.amount)
            case AddStake():
                assert not error
                self.model.change(sender.address, action.amount)
        self.refused.add(error)
        self.see_off(sender)

    def see_off(self, person: Person) -> None:
        if STAKES.get(self.ledger.view, person.address) is None:
            self.model.leave(person.address)
        else:
            staker = self.model.stakers[person.address]
            assert staker.amount or max(staker.claimable)

    def misfortune(self) -> None:
        """Somebody is slashed, or forfeits collateral."""
        person = self.rng.choice(PEOPLE)
        staker = self.model.stakers[person.address]
        with self.ledger.system() as context:
            if self.rng.random() < 0.5:
                slash_share(context, person.address, self.rng.choice((1, 500, 3_333, 10_000)))
                taken = staker.amount - stake_of(context.view, person.address).amount
            else:
                taken = self.rng.randint(0, staker.amount)
                stake.reserve(context.view, person.address, taken)
                stake.forfeit(context, person.address, taken, PEOPLE[0].address)
        self.model.change(person.address, -taken)
        self.see_off(person)

    def compare(self) -> None:
        view, model = self.ledger.view, self.model
        assert totals(view).treasury == model.lost
        for address, staker in model.stakers.items():
            held = stake_of(view, address)
            assert held.amount == staker.amount
            share = settled(view, held.share, held.amount)
            owed = Fraction(share.owed, 1 << FRACTION_BITS)
            assert share.counted == staker.counted
            assert abs(staker.earned - staker.claimed - owed) < EPSILON


def test_random_stakers_earn_their_exact_shares(rng: random.Random) -> None:
    """Whatever they do: all have earned what fractions say, and a claim rounds down to base units."""
    stakers = Stakers(rng)
    for _ in range(BLOCKS):
        stakers.block()
        if rng.random() < 0.1:
            stakers.misfortune()
        stakers.compare()
    assert stakers.refused >= {"", "nothing_to_claim", "insufficient_stake"}
    assert sum(staker.claimed for staker in stakers.model.stakers.values()) > 0
    assert len(list(EPOCH_SHARES.scan(stakers.ledger.view))) <= len(list(STAKES.scan(stakers.ledger.view)))


@pytest.mark.parametrize("seldom", [0.05, 0.9])
def test_the_order_of_settlement_does_not_matter(rng: random.Random, seldom: float) -> None:
    """Two ledgers with the same stakes and pots owe exactly the same, although in one of them many claim."""
    parameters = altered(UNHURRIED, epoch_blocks=1_000_000)
    lazy, busy = (Ledger(make_specification(PEOPLE, stake=1_000, parameters=parameters)) for _ in range(2))
    claimed = dict.fromkeys((person.address for person in PEOPLE), 0)
    for _ in range(60):
        changes = [(person, rng.randint(-9, 12)) for person in rng.sample(PEOPLE, rng.randint(0, 4))]
        pot = rng.choice((0, 1, 10, 10**9 + 7))
        for ledger in (lazy, busy):
            with ledger.system() as context:
                adjust(context.view, epoch_pot=pot, issued=pot)
                for person, amount in rng.sample(changes, len(changes)):
                    if amount >= 0:
                        adjust(context.view, issued=amount)
                        stake.add(context, person.address, amount, 0)
                    else:
                        stake.remove(context, person.address, -amount)
                        adjust(context.view, burnt=-amount)
                for address in claimed if ledger is busy else ():
                    if rng.random() < seldom:
                        claimed[address] += stake.claim(context, address)
                rewards.end_epoch(context)
    for person in PEOPLE:
        one, other = (
            settled(ledger.view, held.share, held.amount).owed
            for ledger in (lazy, busy)
            for held in [stake_of(ledger.view, person.address)]
        )
        assert one == other + (claimed[person.address] << FRACTION_BITS)
    assert sum(claimed.values()) > 0
