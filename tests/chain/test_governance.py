"""Governance: what can be proposed, how votes count, and when a measure passes."""

from dataclasses import replace

import pytest

from chain.action import ACTIONS
from chain.actions.accounts import Transfer
from chain.actions.authorities import RemoveAuthority
from chain.actions.governance import ProposeMeasure, SetParameter, SpendTreasury, VoteOnMeasure
from chain.actions.staking import AddStake
from chain.bank import totals
from chain.certificate import quorum
from chain.deposit import storage_deposit
from chain.errors import InvalidField
from chain.governance import (
    MAXIMUM_MEASURES,
    MAXIMUM_OPEN_PER_OPERATOR,
    GovernedAction,
    read_agenda,
    tally,
)
from chain.schema import COIN
from tests.council import FEE, SHORT, Council, market_fee
from tests.ledger import DEFAULT_FEE, Person, subject
from tests.market import rotate
from tests.records import example


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
