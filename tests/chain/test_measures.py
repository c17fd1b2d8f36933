"""What a passed measure does, and when: the order, the treasury, and how far a parameter may move."""

from dataclasses import fields, replace

import pytest

from chain.actions.governance import ProposeMeasure, SetParameter, SpendTreasury, VoteOnMeasure
from chain.actions.reviews import HideText
from chain.crypto.address import MODULE
from chain.errors import InvalidField
from chain.governance import (
    GOVERNANCE_ACCOUNT,
    MAXIMUM_EXECUTED,
    MAXIMUM_OPEN_PER_OPERATOR,
    SPENDING_EPOCHS,
    TreasuryTooSmall,
    read_agenda,
)
from chain.keys import AddressNotUsable
from chain.parameter_ranges import FIXED, RANGES, ParameterRefused, changed, reach
from chain.parameters import Parameters
from chain.record import decode_record, encode_record
from chain.schema import COIN
from tests.council import EPOCH_BLOCKS, FEE, SHORT, Council, market_fee
from tests.ledger import Person
from tests.market import clog, rotation, run_queue


class TestExecution:
    def test_nothing_takes_effect_before_the_end_of_the_epoch(self) -> None:
        council = Council(1)
        measure = council.propose(FEE)
        council.before_end()
        assert market_fee(council) == 200
        council.block()
        assert council.height == EPOCH_BLOCKS
        assert market_fee(council) == 300
        (event,) = council.events("governance.parameter_set")
        assert dict(event.amounts) == {"market_fee": 300, "before": 200}
        assert dict(council.events("governance.executed")[0].subjects)["measure"] == measure
        assert council.measure(measure) is None

    def test_in_the_order_in_which_they_passed(self) -> None:
        council = Council(4)
        first, second = council.propose(FEE), council.propose(SetParameter("market_fee", 250))
        council.vote(second, *council.officers[1:3])
        council.vote(first, *council.officers[1:3])
        council.end_epoch()
        assert market_fee(council) == 300

    def test_doubling_twice_in_one_epoch_is_refused(self) -> None:
        council = Council(1)
        council.propose(SetParameter("market_fee", 400))
        council.propose(SetParameter("market_fee", 400))
        officer = council.officers[0]
        error, data = council.refused(
            officer, ProposeMeasure((SetParameter("market_fee", 800),), council.time_ms + 60_000)
        )
        expected = {"parameter": "market_fee", "value": 800, "minimum": 100, "maximum": 400}
        assert (error, data) == ("parameter_refused", expected)
        twice = ProposeMeasure(
            (SetParameter("market_fee", 400), SetParameter("market_fee", 800)), council.time_ms + 60_000
        )
        assert council.refused(officer, twice)[0] == "parameter_refused"
        council.end_epoch()
        assert market_fee(council) == 400
        council.propose(SetParameter("market_fee", 800))
        council.end_epoch()
        assert market_fee(council) == 800

    def test_a_measure_is_atomic_and_its_failure_is_told(self) -> None:
        """The payee's address was taken meanwhile: nothing of the measure happens, and the next one does."""
        council = Council(1)
        council.fill_treasury(1_000 * COIN)
        lost = Person("lost")
        failing = council.propose(FEE, SpendTreasury(council.stranger.address, COIN), SpendTreasury(lost.address, COIN))
        council.do(council.stranger, rotation(council.chain_id, council.stranger.address, lost.key))
        council.end_epoch()
        council.propose(SetParameter("release_charge", 150))
        before = council.balance(council.stranger)
        council.end_epoch()
        (event,) = council.events("governance.failed")
        assert dict(event.subjects) == {"measure": failing, "proposer": council.officers[0].address}
        assert dict(event.amounts) == {"code": AddressNotUsable.code, "action": 2}
        assert market_fee(council) == 200
        assert council.balance(council.stranger) == before
        assert council.events("governance.spent") == []
        assert [dict(each.amounts) for each in council.events("governance.parameter_set")] == [
            {"release_charge": 150, "before": 100}
        ]
        assert council.measure(failing) is None

    def test_at_most_sixteen_an_epoch(self) -> None:
        council = Council(4, parameters=replace(SHORT, epoch_blocks=60))
        measures = [council.propose(FEE, by=council.officers[index % 4]) for index in range(MAXIMUM_EXECUTED + 4)]
        for measure in measures:
            missing = [each for each in council.officers if each.address != self.proposer(council, measure)][:2]
            council.vote(measure, *missing)
        council.end_epoch()
        assert len(council.events("governance.executed")) == MAXIMUM_EXECUTED
        assert [entry.measure for entry in read_agenda(council.view).passed] == measures[MAXIMUM_EXECUTED:]
        council.end_epoch()
        assert len(council.events("governance.executed")) == 4

    @staticmethod
    def proposer(council: Council, measure: bytes) -> bytes:
        found = council.measure(measure)
        assert found is not None
        return found.proposer

    def test_a_late_queue_changes_nothing(self) -> None:
        """A measure that has expired cannot pass and takes no place, although its due item has not run."""
        council = Council(4, parameters=replace(SHORT, due_weight=100))
        measures = [council.propose(FEE, lifetime_ms=60_000) for _ in range(MAXIMUM_OPEN_PER_OPERATOR)]
        council.vote(measures[0], council.officers[1])
        clog(council)
        council.block(after_ms=70_000)
        assert council.measure(measures[0]) is not None
        assert council.refused(council.officers[2], VoteOnMeasure(measures[0], True))[0] == "measure_closed"
        council.propose(FEE)
        run_queue(council)
        assert [council.measure(measure) for measure in measures] == [None] * MAXIMUM_OPEN_PER_OPERATOR


class TestTreasury:
    def test_spending_waits_whole_epochs_after_passing(self) -> None:
        for delay in (1, 3):
            council = Council(1, parameters=replace(SHORT, treasury_delay_epochs=delay))
            council.fill_treasury(1_000 * COIN)
            before = council.balance(council.stranger)
            council.propose(SpendTreasury(council.stranger.address, COIN, "audit"))
            council.end_epoch(delay)
            council.before_end()
            assert council.balance(council.stranger) == before
            council.block()
            assert council.balance(council.stranger) == before + COIN
            (event,) = council.events("governance.spent")
            assert dict(event.amounts) == {"amount": COIN}

    def test_spending_cap(self) -> None:
        """A tenth of the treasury an epoch: what does not fit waits, what is smaller goes ahead."""
        council = Council(1)
        council.fill_treasury(1_000 * COIN)
        payees = [Person(name) for name in ("first", "second", "third")]
        for payee, amount in zip(payees, (60, 60, 30), strict=True):
            council.propose(SpendTreasury(payee.address, amount * COIN))
        council.end_epoch(2)
        assert [council.balance(payee) for payee in payees] == [60 * COIN, 0, 30 * COIN]
        council.end_epoch()
        assert [council.balance(payee) for payee in payees] == [60 * COIN, 60 * COIN, 30 * COIN]
        assert council.treasury >= 850 * COIN

    @pytest.mark.parametrize(("treasury", "paid"), [(1_000 * COIN + 9, 100 * COIN), (1_000 * COIN - 1, 0)])
    def test_the_cap_to_the_base_unit(self, treasury: int, paid: int) -> None:
        """The budget is the floored share of what the treasury holds when the epoch ends."""
        council = Council(1)
        council.fill_treasury(1_000 * COIN)
        council.propose(SpendTreasury(council.stranger.address, 100 * COIN))
        before = council.balance(council.stranger)
        council.end_epoch()
        council.before_end()
        council.fill_treasury(treasury)
        council.block()
        assert council.balance(council.stranger) == before + paid

    def test_what_never_fits_is_given_up(self) -> None:
        council = Council(1)
        council.fill_treasury(1_000 * COIN)
        measure = council.propose(SpendTreasury(council.stranger.address, 500 * COIN))
        council.end_epoch(SPENDING_EPOCHS + 1)
        assert council.measure(measure) is not None
        council.end_epoch()
        assert council.measure(measure) is None
        (event,) = council.events("governance.failed")
        assert dict(event.amounts)["code"] == TreasuryTooSmall.code
        assert council.treasury >= 1_000 * COIN

    def test_a_failed_spending_leaves_the_budget(self) -> None:
        """A payee whose address was taken meanwhile gets nothing, and the next one is paid."""
        council = Council(1)
        council.fill_treasury(1_000 * COIN)
        lost, payee = Person("lost"), Person("payee")
        failing = council.propose(SpendTreasury(lost.address, 90 * COIN))
        council.propose(SpendTreasury(payee.address, 90 * COIN))
        council.do(council.stranger, rotation(council.chain_id, council.stranger.address, lost.key))
        council.end_epoch(2)
        (event,) = council.events("governance.failed")
        assert dict(event.subjects)["measure"] == failing
        assert council.balance(payee) == 90 * COIN

    def test_nothing_to_nobody(self) -> None:
        with pytest.raises(InvalidField):
            SpendTreasury(Person("a").address, 0).validate()
        with pytest.raises(InvalidField):
            SpendTreasury(bytes([MODULE]) + bytes(32), 1).validate()
        with pytest.raises(InvalidField):
            SpendTreasury(GOVERNANCE_ACCOUNT, 1).validate()

    def test_sums_that_overflow(self) -> None:
        council = Council(1)
        whole = SpendTreasury(council.stranger.address, (1 << 64) - 1)
        action = ProposeMeasure((whole, whole), council.time_ms + 60_000)
        assert council.refused(council.officers[0], action)[0] == "amount_overflow"


class TestParameters:
    def test_every_parameter_is_changeable_or_fixed(self) -> None:
        names = {field.name for field in fields(Parameters)}
        assert names == set(RANGES) | FIXED
        assert not set(RANGES) & FIXED

    @pytest.mark.parametrize("name", sorted(RANGES))
    def test_ranges(self, name: str) -> None:
        """Everything within a range is a value that the record can hold, and the usual value is within it."""
        permitted = RANGES[name]
        for value in (permitted.minimum, permitted.maximum):
            parameters = replace(Parameters(), **{name: value})
            assert decode_record(Parameters, encode_record(parameters)) == parameters
        assert permitted.minimum <= getattr(Parameters(), name) <= permitted.maximum
        low, high = reach(name, 0)
        assert low <= high, "from zero there is a step"
        assert high > 0

    @pytest.mark.parametrize("name", sorted(FIXED))
    def test_what_nodes_rely_on_cannot_change(self, name: str) -> None:
        with pytest.raises(InvalidField):
            SetParameter(name, 1).validate()

    def test_half_and_double(self) -> None:
        usual = Parameters()
        assert reach("market_fee", 201) == (100, 402)
        assert reach("market_fee", 1) == (0, 2)
        assert reach("market_fee", 1_500) == (750, 2_000)
        assert reach("market_fee", 0) == (0, 100)
        for value in (99, 401):
            with pytest.raises(ParameterRefused):
                changed(usual, usual, "market_fee", value)
        assert changed(usual, usual, "market_fee", 100).market_fee == 100

    @pytest.mark.parametrize("name", sorted(RANGES))
    def test_a_genesis_value_out_of_range_may_come_in(self, name: str) -> None:
        permitted = RANGES[name]
        for old in (permitted.minimum // 8, 8 * permitted.maximum):
            low, high = reach(name, old)
            assert permitted.minimum <= low <= high <= permitted.maximum

    def test_what_contradicts_another_parameter(self) -> None:
        usual = Parameters(maximum_gap_ms=60_000, activation_grace_seconds=150)
        with pytest.raises(ParameterRefused) as caught:
            changed(usual, usual, "activation_grace_seconds", 100)
        assert "activation_grace_seconds" in str(caught.value.data["reason"])


def test_hiding_text_is_only_for_measures() -> None:
    council = Council(1)
    action = ProposeMeasure((HideText(bytes(32), False),), council.time_ms + 60_000)
    assert council.refused(council.officers[0], action)[0] == "not_found"
