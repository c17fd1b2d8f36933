"""Governance: measures, votes, what a passed measure may do, and when."""

from dataclasses import fields, replace

import pytest

from chain.action import ACTIONS
from chain.actions.accounts import Transfer
from chain.actions.authorities import RemoveAuthority
from chain.actions.governance import ProposeMeasure, SetParameter, SpendTreasury, VoteOnMeasure
from chain.actions.reviews import HideText
from chain.actions.staking import AddStake
from chain.bank import totals
from chain.certificate import quorum
from chain.crypto.address import MODULE
from chain.deposit import storage_deposit
from chain.errors import InvalidField
from chain.governance import (
    GOVERNANCE_ACCOUNT,
    MAXIMUM_EXECUTED,
    MAXIMUM_MEASURES,
    MAXIMUM_OPEN_PER_OPERATOR,
    SPENDING_EPOCHS,
    GovernedAction,
    TreasuryTooSmall,
    read_agenda,
    tally,
)
from chain.keys import AddressNotUsable
from chain.parameter_ranges import FIXED, RANGES, ParameterRefused, changed, reach
from chain.parameters import Parameters, read_parameters
from chain.record import decode_record, encode_record
from chain.schema import COIN
from tests.council import EPOCH_BLOCKS, SHORT, Council
from tests.ledger import DEFAULT_FEE, Person, subject
from tests.market import clog, rotate, rotation
from tests.records import example

FEE = SetParameter("market_fee", 300)
"""A change from the 200 with which the tests begin."""


def market_fee(council: Council) -> int:
    return read_parameters(council.view).market_fee


class TestPropose:
    def test_the_proposer_approves(self) -> None:
        council = Council(4)
        measure = council.measure(council.propose(FEE))
        assert measure is not None
        votes = tally(council.view, measure)
        assert (votes.electors, votes.needed, votes.approvals, votes.rejections) == (4, 3, 1, 0)
        assert (measure.proposer, measure.passed_epoch) == (council.officers[0].address, None)

    def test_only_operators_of_the_present_set(self) -> None:
        council = Council(4)
        action = ProposeMeasure((FEE,), council.time_ms + 60_000)
        for person in (council.stranger, council.outsiders[0]):
            assert council.refused(person, action) == ("not_an_operator", {"account": person.address})

    def test_nobody_sends_what_only_measures_do(self) -> None:
        council = Council(1)
        governed = [cls for cls in ACTIONS.values() if issubclass(cls, GovernedAction)]
        assert {cls.code for cls in governed} == {52, 82, 83, 84, 85, 86}
        for cls in governed:
            action = example(cls, full=True)
            if isinstance(action, SetParameter):
                action = FEE
            officer = council.officers[0]
            assert council.refused(officer, action) == ("governance_only", {"account": officer.address})

    def test_a_measure_holds_nothing_else(self) -> None:
        for inner in (Transfer(Person("a").address, "AITBC", 1), AddStake(1)):
            with pytest.raises(InvalidField):
                ProposeMeasure((FEE, inner), 1).validate()

    def test_a_removal_stands_alone(self) -> None:
        """Or it would carry what needs more approvals than itself."""
        with pytest.raises(InvalidField):
            ProposeMeasure((FEE, RemoveAuthority(Person("a").address)), 1).validate()

    @pytest.mark.parametrize("over_ms", [0, 1])
    def test_lifetime(self, over_ms: int) -> None:
        council = Council(4)
        longest = council.time_ms + 1_000 + SHORT.governance_seconds * 1_000
        result = council.run(council.officers[0], ProposeMeasure((FEE,), longest + over_ms))
        assert result.error == ("measure_time_refused" if over_ms else "")
        error, data = council.refused(council.officers[0], ProposeMeasure((FEE,), council.time_ms + 1_000))
        assert (error, data["minimum"]) == ("measure_time_refused", council.time_ms + 1)

    def test_what_could_not_be_executed_now_is_refused_now(self) -> None:
        council = Council(4)
        payment = SpendTreasury(council.stranger.address, council.treasury + COIN)
        before = council.treasury
        error, data = council.refused(council.officers[0], ProposeMeasure((payment,), council.time_ms + 60_000))
        assert (error, data["needed"]) == ("insufficient_funds", payment.amount)
        assert council.treasury - before < COIN
        council.propose(FEE)
        assert market_fee(council) == 200, "a rehearsal leaves nothing"

    def test_open_measures_of_an_operator(self) -> None:
        council = Council(4)
        for _ in range(MAXIMUM_OPEN_PER_OPERATOR):
            council.propose(FEE, lifetime_ms=600_000)
        officer = council.officers[0]
        error, data = council.refused(officer, ProposeMeasure((FEE,), council.time_ms + 60_000))
        assert (error, data) == ("too_many_measures", {"operator": officer.address, "maximum": 8})
        council.propose(FEE, by=council.officers[1])
        council.block(after_ms=700_000)
        council.propose(FEE)

    def test_measures_in_all(self) -> None:
        council = Council(MAXIMUM_MEASURES // MAXIMUM_OPEN_PER_OPERATOR, parameters=replace(SHORT, epoch_blocks=10_000))
        for officer in council.officers:
            council.do(
                officer, *[ProposeMeasure((FEE,), council.time_ms + 10_000_000)] * MAXIMUM_OPEN_PER_OPERATOR, fee=COIN
            )
        assert len(read_agenda(council.view).open) == MAXIMUM_MEASURES
        error, data = council.refused(council.officers[-1], ProposeMeasure((FEE,), council.time_ms + 60_000))
        assert (error, data) == ("too_many_measures", {"maximum": MAXIMUM_MEASURES})

    def test_a_third_of_a_large_set_cannot_fill_the_agenda(self) -> None:
        council = Council(49, parameters=replace(SHORT, epoch_blocks=10_000))
        for officer in council.officers[:16]:
            council.do(officer, *[ProposeMeasure((FEE,), council.time_ms + 10_000_000)] * 2)
            error, data = council.refused(officer, ProposeMeasure((FEE,), council.time_ms + 10_000_000))
            assert (error, data) == ("too_many_measures", {"operator": officer.address, "maximum": 2})
        council.propose(FEE, by=council.officers[-1])

    def test_the_deposit_comes_back(self) -> None:
        council = Council(4, parameters=replace(SHORT, storage_deposit_per_byte=1_000))
        officer = council.officers[3]
        before = council.balance(officer)
        measure_id = council.propose(FEE, by=officer, lifetime_ms=60_000)
        measure = council.measure(measure_id)
        assert measure is not None
        assert before - council.balance(officer) == DEFAULT_FEE + measure.deposit
        assert totals(council.view).deposits == measure.deposit > storage_deposit(SHORT, measure)
        council.wait(60_000)
        assert council.measure(measure_id) is None
        assert council.balance(officer) == before - DEFAULT_FEE
        assert totals(council.view).deposits == 0

    def test_a_full_measure_is_within_its_deposit(self) -> None:
        """What others' votes add was paid by the proposer."""
        council = Council(20, parameters=replace(SHORT, storage_deposit_per_byte=1))
        measure_id = council.propose(FEE)
        measure = council.measure(measure_id)
        assert measure is not None
        full = replace(measure, ballots=measure.ballots * 128, passed_epoch=(1 << 64) - 1)
        assert storage_deposit(council.specification.parameters, full) <= measure.deposit


class TestVotes:
    def test_a_quorum_passes_it(self) -> None:
        for size in (1, 2, 3, 4, 5, 6, 7, 10):
            council = Council(size)
            measure = council.propose(FEE)
            needed = quorum(size)
            for officer in council.officers[1 : needed - 1]:
                council.vote(measure, officer)
            assert council.passed(measure) == (needed == 1)
            if needed > 1:
                council.vote(measure, council.officers[needed - 1])
            assert council.passed(measure), size

    def test_only_operators_vote(self) -> None:
        council = Council(4)
        measure = council.propose(FEE)
        for person in (council.stranger, council.outsiders[0]):
            assert council.refused(person, VoteOnMeasure(measure, True))[0] == "not_an_operator"

    def test_one_vote_an_operator(self) -> None:
        council = Council(4)
        measure = council.propose(FEE)
        council.vote(measure, council.officers[1])
        council.vote(measure, council.officers[1])
        council.vote(measure, council.officers[0])
        assert not council.passed(measure)

    def test_a_vote_can_be_changed(self) -> None:
        council = Council(4)
        measure = council.propose(FEE)
        council.vote(measure, council.officers[1], approve=False)
        council.vote(measure, council.officers[1])
        council.vote(measure, council.officers[2])
        assert council.passed(measure)

    def test_it_closes_when_approval_has_become_impossible(self) -> None:
        council = Council(4)
        measure = council.propose(FEE)
        council.vote(measure, council.officers[1], approve=False)
        assert council.measure(measure) is not None
        result = council.do(council.officers[2], VoteOnMeasure(measure, False))
        assert subject(result, "governance.rejected", "measure") == measure
        assert council.measure(measure) is None
        assert council.refused(council.officers[3], VoteOnMeasure(measure, True)) == (
            "measure_closed",
            {"measure": measure},
        )

    def test_expiry(self) -> None:
        council = Council(4)
        measure = council.propose(FEE, lifetime_ms=10_000)
        council.vote(measure, council.officers[1])
        council.wait(7_999)
        assert council.refused(council.officers[2], VoteOnMeasure(measure, True))[0] == "measure_closed"
        assert [event.kind for event in council.system_events] == ["governance.expired"]
        council.end_epoch()
        assert market_fee(council) == 200

    def test_what_has_passed_does_not_expire(self) -> None:
        council = Council(1)
        council.propose(FEE, lifetime_ms=5_000)
        council.end_epoch()
        assert market_fee(council) == 300

    def test_approval_can_be_taken_back_until_it_is_executed(self) -> None:
        council = Council(4)
        measure = council.propose(FEE)
        council.vote(measure, *council.officers[1:3])
        assert council.passed(measure)
        council.vote(measure, council.officers[2], approve=False)
        result = council.do(council.officers[1], VoteOnMeasure(measure, False))
        assert subject(result, "governance.revoked", "measure") == measure
        council.end_epoch()
        assert market_fee(council) == 200

    @pytest.mark.parametrize("another", [False, True])
    def test_what_has_passed_needs_its_approvals_when_it_is_executed(self, another: bool) -> None:
        council = Council(4)
        measure = council.propose(FEE)
        council.vote(measure, *council.officers[1:3])
        council.vote(measure, council.officers[2], approve=False)
        assert council.passed(measure)
        if another:
            council.vote(measure, council.officers[3])
        council.end_epoch()
        assert len(council.events("governance.revoked")) == (not another)
        assert market_fee(council) == (300 if another else 200)

    def test_a_stolen_vote_is_void_although_its_measure_has_passed(self) -> None:
        """Whose key was stolen replaces it while a payment waits: nobody has to vote again to stop it."""
        council = Council(4)
        council.fill_treasury(1_000 * COIN)
        measure = council.propose(SpendTreasury(council.stranger.address, COIN))
        council.vote(measure, *council.officers[1:3])
        assert council.passed(measure)
        rotate(council, council.officers[2])
        council.end_epoch(2)
        assert council.measure(measure) is None
        assert (len(council.events("governance.revoked")), council.events("governance.spent")) == (1, [])

    def test_a_larger_set_has_until_the_payment_to_approve_it(self) -> None:
        """Three of four have decided; of five it takes four, and the fourth vote still comes in time."""
        for comes in (False, True):
            council = Council(4)
            council.fill_treasury(1_000 * COIN)
            newcomer = council.outsiders[0]
            council.enact(newcomer.addition)
            council.do(newcomer, newcomer.ready(council.chain_id, council.epoch))
            measure = council.propose(SpendTreasury(council.stranger.address, COIN))
            council.vote(measure, *council.officers[1:3])
            council.end_epoch()
            assert newcomer.address in council.operators
            if comes:
                council.vote(measure, newcomer)
            council.end_epoch()
            assert len(council.events("governance.spent")) == comes
            assert len(council.events("governance.revoked")) == (not comes)

    def test_a_rotated_key_voids_a_vote(self) -> None:
        council = Council(4)
        measure = council.propose(FEE)
        council.vote(measure, council.officers[1])
        rotate(council, council.officers[1])
        council.vote(measure, council.officers[2])
        assert not council.passed(measure)
        council.vote(measure, council.officers[1])
        assert council.passed(measure)

    def test_votes_of_somebody_who_left_do_not_count(self) -> None:
        council = Council(5)
        leaver = council.officers[4]
        measure = council.propose(FEE, by=leaver)
        council.vote(measure, council.officers[0])
        council.enact(RemoveAuthority(leaver.address), voters=council.officers[:4])
        assert len(council.operators) == 4
        assert council.refused(leaver, VoteOnMeasure(measure, True))[0] == "not_an_operator"
        council.vote(measure, council.officers[1])
        found = council.measure(measure)
        assert found is not None
        assert tally(council.view, found).approvals == 2
        assert not council.passed(measure)
        council.vote(measure, council.officers[2])
        assert council.passed(measure)

    def test_a_smaller_set_may_have_decided_already(self) -> None:
        """Three of five are no quorum, three of four are: nobody has to vote again."""
        council = Council(5)
        measure = council.propose(FEE)
        council.vote(measure, *council.officers[1:3])
        council.enact(RemoveAuthority(council.officers[4].address), voters=council.officers[:4])
        assert not council.passed(measure)
        council.end_epoch()
        assert market_fee(council) == 300


class TestRemoval:
    def test_a_removal_in_a_pair_is_impossible(self) -> None:
        council = Council(2)
        for officer, other in (council.officers, council.officers[::-1]):
            for target in (officer, other):
                action = ProposeMeasure((RemoveAuthority(target.address),), council.time_ms + 60_000)
                assert council.refused(officer, action) == ("measure_impossible", {"electors": 1, "needed": 2})

    @pytest.mark.parametrize(("size", "needed"), [(3, 2), (4, 3), (5, 4), (6, 5), (7, 5), (8, 6), (10, 7)])
    def test_the_others_need_the_quorum_of_all(self, size: int, needed: int) -> None:
        council = Council(size)
        target = council.officers[-1]
        measure = council.propose(RemoveAuthority(target.address))
        for officer in council.officers[1 : needed - 1]:
            council.vote(measure, officer)
        council.vote(measure, target)
        assert not council.passed(measure), "its target has no say"
        council.vote(measure, council.officers[needed - 1])
        assert council.passed(measure)

    def test_naming_more_targets_does_not_make_it_easier(self) -> None:
        """Three of seven could otherwise throw out the four others."""
        council = Council(7)
        targets = [officer.address for officer in council.officers[4:]]
        action = ProposeMeasure(tuple(map(RemoveAuthority, targets)), council.time_ms + 60_000)
        assert council.refused(council.officers[0], action) == ("measure_impossible", {"electors": 4, "needed": 5})
        measure = council.propose(*map(RemoveAuthority, targets[1:]))
        council.vote(measure, *council.officers[1:4])
        assert not council.passed(measure)
        council.vote(measure, council.officers[4])
        assert council.passed(measure)

    def test_the_sole_authority_stays(self) -> None:
        council = Council(1)
        officer = council.officers[0]
        action = ProposeMeasure((RemoveAuthority(officer.address),), council.time_ms + 60_000)
        assert council.refused(officer, action)[0] == "measure_impossible"


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
