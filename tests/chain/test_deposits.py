"""Storage deposits: who pays what for which record, when it returns, and that records leave when they are over."""

from dataclasses import replace

import pytest

from chain import stake as stakes
from chain.action import Action
from chain.actions.accounts import NO_PROFILE, PROFILES, Profile, SetProfile, StoredProfile, Transfer
from chain.actions.multisig import (
    MAXIMUM_MEMBERS,
    MULTISIGS,
    PROPOSALS,
    ApproveProposal,
    CreateMultisig,
    Multisig,
    ProposeActions,
    RejectProposal,
    SetMembers,
)
from chain.actions.staking import AddStake, RemoveStake
from chain.bank import ACCOUNT_BYTES, ACCOUNTS, KEY_BYTES, Account, account, account_deposit, credit, totals
from chain.deposit import fullest, size_of, storage_deposit
from chain.keys import ALIASES, BINDING_BYTES, KEYS, Alias, KeyBinding
from chain.parameters import PARAMETERS, Parameters, read_parameters
from chain.record import encode_record
from chain.schema import COIN, U32, U64
from chain.stake import STAKE_BYTES, STAKES, stake_of
from tests.ledger import DEFAULT_FEE, Ledger, Person, make_specification
from tests.market import Market, altered, rotate

PRICE = 1_000
"""Base units per byte, as on a development network."""
PRICED = altered(storage_deposit_per_byte=PRICE)
ACCOUNT = 108 * PRICE


def set_price(ledger: Ledger, price: int) -> None:
    """Change the price of a byte, as governance may."""
    view = ledger.view
    PARAMETERS.put(view, replace(read_parameters(view), storage_deposit_per_byte=price))
    ledger.reader.apply(view.changes())


def spent(ledger: Ledger, person: Person, *actions: Action) -> int:
    """What a transaction of these actions takes from the balance, its fee apart."""
    before = ledger.balance(person)
    ledger.do(person, *actions)
    return before - ledger.balance(person) - DEFAULT_FEE


def deposits(ledger: Ledger) -> int:
    return totals(ledger.view).deposits


@pytest.fixture
def market() -> Market:
    return Market(gpus=0, parameters=PRICED)


def pay(to: Person, amount: int) -> Transfer:
    return Transfer(to.address, "AITBC", amount)


class TestSizes:
    """Nothing is larger in the state than it was paid for."""

    def test_account(self) -> None:
        fullest = Account(U64, U64, bytes(32), U32, U64)
        assert KEY_BYTES + len(encode_record(fullest)) == ACCOUNT_BYTES
        assert account_deposit(Parameters()) == ACCOUNT

    def test_binding(self) -> None:
        address = bytes(33)
        records = (KeyBinding(address, True, U64), Alias(address))
        assert sum(KEY_BYTES + len(encode_record(record)) for record in records) == BINDING_BYTES

    def test_price_times_bytes(self) -> None:
        record = Alias(bytes(33))
        assert storage_deposit(Parameters(), record) == PRICE * (40 + 37)
        assert storage_deposit(Parameters(), record, growth=5) == PRICE * (40 + 37 + 5)


class TestAccounts:
    def test_the_sender_pays_for_the_account_that_his_transfer_makes(self, market: Market) -> None:
        newcomer = Person("newcomer")
        before = market.balance(market.renter)
        result = market.do(market.renter, pay(newcomer, 5 * COIN))
        assert before - market.balance(market.renter) == 5 * COIN + ACCOUNT + DEFAULT_FEE
        assert market.balance(newcomer) == 5 * COIN
        assert deposits(market) == ACCOUNT
        assert [event.kind for event in result.events] == ["account.transfer", "deposit.taken"]
        assert dict(result.events[1].amounts) == {"amount": ACCOUNT}
        assert spent(market, market.renter, pay(newcomer, 1)) == 1, "an account is paid for once"

    def test_one_base_unit_makes_an_account_and_one_too_few_does_not(self, market: Market) -> None:
        poor, newcomer = Person("poor"), Person("newcomer")
        market.do(market.renter, pay(poor, DEFAULT_FEE + ACCOUNT))
        error, data = market.refused(poor, pay(newcomer, 1))
        assert error == "insufficient_funds"
        assert data == {"needed": ACCOUNT + 1, "available": ACCOUNT, "deposit": ACCOUNT}
        assert ACCOUNTS.get(market.view, newcomer.address) is None
        market.do(market.renter, pay(poor, DEFAULT_FEE + 1))
        market.do(poor, pay(newcomer, 1))
        assert (market.balance(poor), market.balance(newcomer)) == (0, 1)

    def test_what_is_credited_by_the_ledger_itself_pays_for_the_account_it_makes(self, market: Market) -> None:
        for amount in (1, ACCOUNT - 1, ACCOUNT, ACCOUNT + 1, 10 * COIN):
            view, address = market.view, Person(f"paid {amount}").address
            credit(view, address, amount)
            made = account(view, address)
            assert made.deposit == min(amount, ACCOUNT)
            assert made.balance == amount - made.deposit
            assert totals(view).deposits == made.deposit

    def test_genesis_makes_accounts_for_nothing_also_for_operators(self) -> None:
        ledger = Ledger(make_specification([Person("rich")], parameters=PRICED))
        assert deposits(ledger) == 0
        assert ACCOUNTS.get(ledger.view, ledger.proposer) == Account()
        ledger.do(Person("rich"), pay(Person("rich"), 1))
        assert account(ledger.view, ledger.proposer).balance > 0
        assert deposits(ledger) == 0

    def test_a_failed_transfer_takes_no_deposit(self, market: Market) -> None:
        market.refused(market.renter, pay(Person("newcomer"), 1), pay(market.other, 10**6 * COIN))
        assert deposits(market) == 0

    def test_two_transfers_to_one_new_account_pay_for_it_once(self, market: Market) -> None:
        newcomer = Person("newcomer")
        assert spent(market, market.renter, pay(newcomer, 1), pay(newcomer, 2)) == 3 + ACCOUNT

    def test_an_account_keeps_the_deposit_of_its_day(self, market: Market) -> None:
        market.do(market.renter, pay(Person("early"), 1))
        set_price(market, 7 * PRICE)
        market.do(market.renter, pay(Person("late"), 1))
        held = [account(market.view, Person(name).address).deposit for name in ("early", "late")]
        assert held == [ACCOUNT, 7 * ACCOUNT]

    def test_rotation_pays_for_its_records_for_ever(self, market: Market) -> None:
        before = market.balance(market.renter)
        key = rotate(market, market.renter)
        assert before - market.balance(market.renter) == BINDING_BYTES * PRICE + DEFAULT_FEE
        rotate(market, market.renter, "second")
        assert deposits(market) == 2 * BINDING_BYTES * PRICE
        retired = KEYS.get(market.view, key)
        assert retired is not None
        assert retired.retired
        assert retired.deposit == BINDING_BYTES * PRICE
        assert len(list(ALIASES.scan(market.view))) == 2


class TestProfiles:
    PROFILE = Profile("Ada", "ada@example.org", bytes(32))

    def test_paid_replaced_and_cleared(self, market: Market) -> None:
        entry = StoredProfile(self.PROFILE, U64)
        price = PRICE * (KEY_BYTES + len(encode_record(entry)))
        assert spent(market, market.renter, SetProfile(self.PROFILE)) == price
        shorter = replace(self.PROFILE, contact="")
        assert spent(market, market.renter, SetProfile(shorter)) == -15 * PRICE
        assert deposits(market) == price - 15 * PRICE
        assert spent(market, market.renter, SetProfile(NO_PROFILE)) == -(price - 15 * PRICE)
        assert PROFILES.get(market.view, market.renter.address) is None
        assert spent(market, market.renter, SetProfile(NO_PROFILE)) == 0
        assert deposits(market) == 0

    @pytest.mark.parametrize("price", [0, 1, PRICE // 2, 2 * PRICE])
    def test_what_was_paid_returns_whatever_a_byte_costs_now(self, market: Market, price: int) -> None:
        paid = spent(market, market.renter, SetProfile(self.PROFILE))
        set_price(market, price)
        assert spent(market, market.renter, SetProfile(self.PROFILE)) == paid * price // PRICE - paid
        set_price(market, 3 * PRICE)
        assert spent(market, market.renter, SetProfile(NO_PROFILE)) == -(paid * price // PRICE)
        assert deposits(market) == 0

    def test_without_the_money_for_it(self, market: Market) -> None:
        poor = Person("poor")
        market.do(market.renter, pay(poor, DEFAULT_FEE + 5))
        error, data = market.refused(poor, SetProfile(self.PROFILE))
        assert error == "insufficient_funds"
        assert data["available"] == 5
        assert data["deposit"] == data["needed"] == storage_deposit(PRICED, StoredProfile(self.PROFILE, U64))


class TestMultisig:
    def office(self, market: Market, threshold: int = 2) -> bytes:
        """The account of provider and renter, made by the other."""
        members = tuple(sorted((market.provider.address, market.renter.address)))
        market.do(market.other, CreateMultisig(threshold, members))
        ((address, _),) = MULTISIGS.scan(market.view)
        return address

    def propose(self, market: Market, address: bytes, *actions: Action) -> bytes:
        market.do(market.renter, ProposeActions(address, actions, market.time_ms + 60_000))
        ((proposal_id, _),) = PROPOSALS.scan(market.view)
        return proposal_id

    def test_the_creator_pays_for_the_account_which_stays(self, market: Market) -> None:
        members = tuple(sorted((market.provider.address, market.renter.address)))
        size = size_of(Multisig(2, members))
        assert spent(market, market.other, CreateMultisig(2, members)) == PRICE * size == 125 * PRICE

    @pytest.mark.parametrize("end", ["approved", "rejected", "expired", "voided"])
    def test_a_proposal_returns_its_deposit_to_the_proposer(self, market: Market, end: str) -> None:
        address = self.office(market)
        market.do(market.other, pay(market.renter, 1), Transfer(address, "AITBC", 10 * COIN))
        held, before = deposits(market), market.balance(market.renter)
        members = MULTISIGS.get(market.view, address)
        assert members is not None
        proposed = SetMembers(1, members.members) if end == "voided" else pay(market.other, 1)
        proposal_id = self.propose(market, address, proposed)
        paid = deposits(market) - held
        assert paid > 0
        assert market.balance(market.renter) == before - paid - DEFAULT_FEE
        set_price(market, 3 * PRICE)
        if end == "rejected":
            market.do(market.provider, RejectProposal(proposal_id))
        elif end == "expired":
            market.wait(61_000)
        else:
            market.do(market.provider, ApproveProposal(proposal_id, 1_000), fee=COIN)
        assert deposits(market) == held
        assert market.balance(market.renter) == before - DEFAULT_FEE
        assert not list(PROPOSALS.scan(market.view))

    def test_a_proposal_is_never_larger_than_what_was_paid(self, market: Market) -> None:
        people = [Person(f"member {index}") for index in range(MAXIMUM_MEMBERS)]
        market.do(market.other, *(pay(person, COIN) for person in people), fee=COIN)
        market.do(market.other, CreateMultisig(MAXIMUM_MEMBERS, tuple(sorted(person.address for person in people))))
        ((address, _),) = MULTISIGS.scan(market.view)
        market.do(people[0], ProposeActions(address, (pay(market.other, 1),), market.time_ms + 600_000))
        ((proposal_id, _),) = PROPOSALS.scan(market.view)
        for person in people[1:-1]:
            market.do(person, ApproveProposal(proposal_id))
            proposal = PROPOSALS.get(market.view, proposal_id)
            assert proposal is not None
            assert proposal.deposit >= PRICE * (KEY_BYTES + len(encode_record(proposal)) + 34)

    def test_a_threshold_of_one_keeps_no_proposal_and_takes_no_deposit(self, market: Market) -> None:
        address = self.office(market, threshold=1)
        market.do(market.other, Transfer(address, "AITBC", 10 * COIN))
        action = ProposeActions(address, (pay(market.other, 1),), market.time_ms + 60_000)
        assert spent(market, market.renter, action) == 0

    def test_more_members_are_paid_for_by_the_account(self, market: Market) -> None:
        address = self.office(market, threshold=1)
        market.do(market.other, Transfer(address, "AITBC", 10 * COIN))
        found = MULTISIGS.get(market.view, address)
        assert found is not None
        larger = tuple(sorted((*found.members, market.other.address)))
        for members, more in ((larger, 35 * PRICE), (found.members, 0), (larger, 35 * PRICE)):
            before, held = account(market.view, address).balance, deposits(market)
            expires_ms = market.time_ms + 60_000
            actor = market.renter
            market.do(actor, ProposeActions(address, (SetMembers(1, members),), expires_ms), fee=COIN)
            assert before - account(market.view, address).balance == more
            assert deposits(market) - held == more


def test_a_deposit_that_cannot_be_paid_names_itself(market: Market) -> None:
    poor = Person("poor")
    market.do(market.renter, pay(poor, DEFAULT_FEE))
    members = tuple(sorted((market.provider.address, market.renter.address)))
    error, data = market.refused(poor, CreateMultisig(2, members))
    assert error == "insufficient_funds"
    assert data["deposit"] == data["needed"] == storage_deposit(PRICED, Multisig(2, members, deposit=U64))


class TestStakes:
    """Paid with the first stake, returned when nothing of it is left."""

    def test_paid_once_and_returned_with_the_last(self) -> None:
        market = Market(gpus=0, parameters=PRICED, stake=0)
        cost = PRICE * STAKE_BYTES
        assert spent(market, market.renter, AddStake(COIN)) == COIN + cost
        assert spent(market, market.renter, AddStake(COIN)) == COIN
        assert stake_of(market.view, market.renter.address).deposit == deposits(market) == cost
        set_price(market, 9 * PRICE)
        assert spent(market, market.renter, RemoveStake(COIN)) == 0
        assert spent(market, market.renter, RemoveStake(COIN)) == -cost
        assert STAKES.get(market.view, market.renter.address) is None
        assert deposits(market) == 0

    def test_returned_to_the_owner_also_when_others_take_the_last_of_it(self) -> None:
        market = Market(gpus=0, parameters=PRICED, stake=0)
        market.do(market.provider, AddStake(5))
        before = market.balance(market.provider)
        with market.system() as context:
            stakes.reserve(context.view, market.provider.address, 5)
            assert stakes.forfeit(context, market.provider.address, 5, market.renter.address) == 5
        assert STAKES.get(market.view, market.provider.address) is None
        assert market.balance(market.provider) - before == PRICE * STAKE_BYTES

    def test_a_stake_of_genesis_has_none(self, market: Market) -> None:
        before = market.balance(market.other)
        market.do(market.other, RemoveStake(stake_of(market.view, market.other.address).amount))
        assert market.balance(market.other) == before - DEFAULT_FEE

    def test_without_the_money_for_it(self) -> None:
        market = Market(gpus=0, parameters=PRICED, stake=0)
        poor = Person("poor")
        market.do(market.renter, pay(poor, DEFAULT_FEE + 5))
        error, data = market.refused(poor, AddStake(5))
        cost = PRICE * STAKE_BYTES
        assert (error, data) == ("insufficient_funds", {"needed": cost + 5, "available": 5, "deposit": cost})

    def test_nothing_is_larger_than_what_was_paid(self, market: Market) -> None:
        fullest_stake = fullest(stake_of(market.view, market.other.address))
        assert KEY_BYTES + len(encode_record(fullest_stake)) == STAKE_BYTES
