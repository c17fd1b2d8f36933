"""Accounts: transfers and profiles."""

import pytest

from chain.actions.accounts import PROFILES, Profile, SetProfile, StoredProfile, Transfer
from chain.bank import ACCOUNTS, Account, account, adjust, checked, credit, debit, totals
from chain.crypto.address import MULTISIG, module_address
from chain.errors import AmountOverflow, InsufficientFunds, InvalidField
from chain.schema import COIN, U64
from chain.state.view import MemoryReader, View
from tests.ledger import DEFAULT_FEE, Ledger, Person, make_specification

ALICE, BOB, NEW = Person("alice"), Person("bob"), Person("new")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(make_specification([ALICE, BOB]))


class TestTransfer:
    def test_moves_the_amount(self, ledger: Ledger) -> None:
        result = ledger.do(ALICE, Transfer(BOB.address, "AITBC", 7))
        assert ledger.balance(ALICE) == 10_000 * COIN - 7 - DEFAULT_FEE
        assert ledger.balance(BOB) == 10_000 * COIN + 7
        (event,) = result.events
        assert (event.kind, dict(event.amounts)) == ("account.transfer", {"amount": 7})
        assert dict(event.subjects) == {"from": ALICE.address, "to": BOB.address}

    def test_to_oneself_changes_nothing_but_the_fee(self, ledger: Ledger) -> None:
        ledger.do(ALICE, Transfer(ALICE.address, "AITBC", 5 * COIN))
        assert ledger.balance(ALICE) == 10_000 * COIN - DEFAULT_FEE

    def test_makes_an_account(self, ledger: Ledger) -> None:
        ledger.do(ALICE, Transfer(NEW.address, "AITBC", COIN))
        ledger.do(NEW, Transfer(ALICE.address, "AITBC", COIN - DEFAULT_FEE))
        assert account(ledger.view, NEW.address).balance == 0
        assert account(ledger.view, NEW.address).sequence == 1

    def test_to_a_multisig_account(self, ledger: Ledger) -> None:
        address = bytes([MULTISIG]) + b"\x01" * 32
        ledger.do(ALICE, Transfer(address, "AITBC", 3))
        assert account(ledger.view, address).balance == 3

    def test_everything_down_to_zero(self, ledger: Ledger) -> None:
        everything = 10_000 * COIN - DEFAULT_FEE
        ledger.do(ALICE, Transfer(BOB.address, "AITBC", everything))
        assert ledger.balance(ALICE) == 0

    def test_one_unit_too_many(self, ledger: Ledger) -> None:
        everything = 10_000 * COIN - DEFAULT_FEE
        result = ledger.run(ALICE, Transfer(BOB.address, "AITBC", everything + 1))
        assert result.error == "insufficient_funds"
        assert dict(result.error_data) == {"needed": everything + 1, "available": everything}

    def test_the_largest_amount(self, ledger: Ledger) -> None:
        assert ledger.run(ALICE, Transfer(BOB.address, "AITBC", U64)).error == "insufficient_funds"

    def test_another_asset(self, ledger: Ledger) -> None:
        result = ledger.run(ALICE, Transfer(BOB.address, "DOGE", 1))
        assert (result.error, dict(result.error_data)) == ("unknown_asset", {"asset": "DOGE"})

    def test_nothing(self) -> None:
        with pytest.raises(InvalidField):
            Transfer(BOB.address, "AITBC", 0).validate()

    def test_to_a_module_account(self) -> None:
        with pytest.raises(InvalidField):
            Transfer(module_address("treasury"), "AITBC", 1).validate()

    def test_funds_count_within_a_transaction(self, ledger: Ledger) -> None:
        """Spending twice what one has fails as a whole, whatever the order of the parts."""
        most = 6_000 * COIN
        spend = Transfer(BOB.address, "AITBC", most)
        result = ledger.run(ALICE, spend, spend)
        assert (result.error, result.failed_action) == ("insufficient_funds", 1)
        assert ledger.balance(BOB) == 10_000 * COIN


class TestProfile:
    def test_is_set_and_replaced(self, ledger: Ledger) -> None:
        first = Profile("Alice", "alice@example.org", b"\x01" * 32)
        result = ledger.do(ALICE, SetProfile(first))
        assert PROFILES.get(ledger.view, ALICE.address) == StoredProfile(first, 0)
        assert [event.kind for event in result.events] == ["account.profile_set"]
        second = Profile("Alice", "", None)
        ledger.do(ALICE, SetProfile(second))
        assert PROFILES.get(ledger.view, ALICE.address) == StoredProfile(second, 0)
        assert PROFILES.get(ledger.view, BOB.address) is None


class TestBank:
    """The service below the actions."""

    def test_no_credit_beyond_64_bits(self) -> None:
        view = View(MemoryReader())
        ACCOUNTS.put(view, ALICE.address, Account())
        credit(view, ALICE.address, U64)
        with pytest.raises(AmountOverflow):
            credit(view, ALICE.address, 1)
        assert account(view, ALICE.address).balance == U64

    def test_no_debit_below_zero(self) -> None:
        view = View(MemoryReader())
        ACCOUNTS.put(view, ALICE.address, Account())
        credit(view, ALICE.address, 5)
        with pytest.raises(InsufficientFunds) as caught:
            debit(view, ALICE.address, 6)
        assert caught.value.data == {"needed": 6, "available": 5}

    def test_a_credit_of_nothing_makes_no_account(self) -> None:
        view = View(MemoryReader())
        credit(view, ALICE.address, 0)
        assert view.changes() == {}

    def test_totals(self) -> None:
        view = View(MemoryReader())
        adjust(view, staked=7, escrow=5)
        adjust(view, staked=-3)
        assert (totals(view).staked, totals(view).escrow) == (4, 5)

    def test_checked(self) -> None:
        assert checked(U64) == U64
        with pytest.raises(AmountOverflow):
            checked(U64 + 1)
