"""Multisig accounts: creation, proposals, approval, execution as one, and expiry."""

import pytest

from chain.actions.accounts import Transfer
from chain.actions.multisig import (
    MAXIMUM_LIFETIME_MS,
    MAXIMUM_OPEN_PROPOSALS,
    MULTISIGS,
    PROPOSALS,
    ApproveProposal,
    CreateMultisig,
    Opinion,
    ProposeActions,
)
from chain.actions.staking import AddStake, RemoveStake
from chain.bank import account
from chain.crypto.address import MULTISIG
from chain.errors import InvalidField
from chain.schema import COIN
from chain.stake import stake_of
from tests.ledger import Person, subject
from tests.office import PAY, Office, members

PEOPLE = members()
ANN, BOB, CID = PEOPLE
STRANGER = Person("stranger")


class TestCreate:
    def test_the_address_is_derived_and_of_its_kind(self) -> None:
        office = Office()
        assert office.address[0] == MULTISIG
        found = MULTISIGS.get(office.view, office.address)
        assert found is not None
        assert (found.threshold, found.members) == (2, tuple(person.address for person in PEOPLE))
        again = office.do(ANN, CreateMultisig(2, found.members))
        assert subject(again, "multisig.created", "account") != office.address

    def test_twice_in_one_transaction(self) -> None:
        office = Office()
        action = CreateMultisig(1, (BOB.address,))
        result = office.run(ANN, action, action)
        assert (result.error, result.failed_action) == ("account_exists", 1)

    @pytest.mark.parametrize(
        ("threshold", "members"),
        [
            (2, (ANN.address,)),
            (1, (BOB.address, ANN.address)),
            (1, (ANN.address, ANN.address)),
            (1, (bytes([MULTISIG]) + bytes(32),)),
        ],
    )
    def test_what_cannot_be_right(self, threshold: int, members: tuple[bytes, ...]) -> None:
        with pytest.raises(InvalidField):
            CreateMultisig(threshold, members).validate()


class TestApproval:
    def test_the_last_approver_executes_and_pays(self) -> None:
        office = Office()
        proposal_id = office.propose()
        assert office.funds == 100 * COIN
        error, data = office.refused(BOB, ApproveProposal(proposal_id))
        assert (error, data) == ("execution_weight_too_low", {"needed": 1, "got": 0})
        result = office.do(BOB, ApproveProposal(proposal_id, 1))
        assert office.funds == 100 * COIN - 7
        assert [event.kind for event in result.events][-1] == "multisig.executed"
        assert PROPOSALS.get(office.view, proposal_id) is None
        assert office.refused(CID, ApproveProposal(proposal_id, 1)) == (
            "proposal_closed",
            {"proposal": proposal_id},
        )

    def test_nobody_approves_twice_and_no_stranger_at_all(self) -> None:
        office = Office(threshold=3)
        proposal_id = office.propose()
        office.do(BOB, ApproveProposal(proposal_id))
        for member in (ANN, BOB):
            assert office.refused(member, ApproveProposal(proposal_id, 1))[0] == "already_approved"
        error, data = office.refused(STRANGER, ApproveProposal(proposal_id, 1))
        assert (error, data) == ("not_authorized", {"needed": "member", "account": STRANGER.address})
        office.do(CID, ApproveProposal(proposal_id, 1))
        assert office.funds == 100 * COIN - 7

    def test_a_threshold_of_one_executes_at_once(self) -> None:
        office = Office(threshold=1)
        office.propose()
        assert office.funds == 100 * COIN - 7

    def test_an_inner_failure_rolls_back_and_leaves_the_proposal(self) -> None:
        office = Office(funds=10)
        proposal_id = office.propose(PAY, PAY)
        assert office.refused(BOB, ApproveProposal(proposal_id, 2))[0] == "insufficient_funds"
        assert office.funds == 10
        proposal = PROPOSALS.get(office.view, proposal_id)
        assert proposal is not None
        assert proposal.approvals == (Opinion(ANN.address, 0),)
        office.do(ANN, Transfer(office.address, "AITBC", 4))
        office.do(BOB, ApproveProposal(proposal_id, 2))
        assert office.funds == 0

    def test_it_can_stake_and_gets_its_money_back(self) -> None:
        office = Office(threshold=1)
        office.propose(AddStake(50 * COIN))
        office.propose(RemoveStake(20 * COIN))
        assert stake_of(office.view, office.address).amount == 30 * COIN
        office.wait(60_000)
        assert office.funds == 70 * COIN

    def test_two_inner_actions_make_different_records(self) -> None:
        office = Office(threshold=1)
        office.propose(AddStake(5), RemoveStake(1), RemoveStake(1))
        office.wait(60_000)
        assert stake_of(office.view, office.address).amount == 3


class TestLimits:
    def test_expiry(self) -> None:
        office = Office()
        proposal_id = office.propose(lifetime_ms=10_000)
        office.wait(8_999)
        assert PROPOSALS.get(office.view, proposal_id) is not None
        assert office.refused(BOB, ApproveProposal(proposal_id, 1), after_ms=1) == (
            "proposal_closed",
            {"proposal": proposal_id},
        )
        assert PROPOSALS.get(office.view, proposal_id) is None

    @pytest.mark.parametrize("over_ms", [0, 1])
    def test_lifetime(self, over_ms: int) -> None:
        office = Office()
        latest = office.time_ms + 1_000 + MAXIMUM_LIFETIME_MS + over_ms
        result = office.run(ANN, ProposeActions(office.address, (PAY,), latest))
        assert result.error == ("proposal_time_refused" if over_ms else "")
        assert office.run(ANN, ProposeActions(office.address, (PAY,), office.time_ms)).error == "proposal_time_refused"

    def test_open_proposals(self) -> None:
        office = Office()
        for _ in range(MAXIMUM_OPEN_PROPOSALS):
            office.propose(lifetime_ms=600_000)
        action = ProposeActions(office.address, (PAY,), office.time_ms + 60_000)
        assert office.refused(ANN, action)[0] == "too_many_proposals"
        office.block(after_ms=600_000)
        office.propose()

    def test_by_a_stranger_or_to_nowhere(self) -> None:
        office = Office()
        until_ms = office.time_ms + 60_000
        assert office.refused(STRANGER, ProposeActions(office.address, (PAY,), until_ms))[0] == "not_authorized"
        nowhere = bytes([MULTISIG]) + bytes(32)
        assert office.refused(ANN, ProposeActions(nowhere, (PAY,), until_ms))[0] == "not_found"

    def test_no_multisig_within_a_multisig(self) -> None:
        for inner in (ApproveProposal(bytes(32)), CreateMultisig(1, (ANN.address,))):
            with pytest.raises(InvalidField):
                ProposeActions(bytes([MULTISIG]) + bytes(32), (inner,), 1).validate()

    def test_it_cannot_sign_by_itself(self) -> None:
        """Only proposals act for it: its address is no key's address."""
        office = Office()
        assert account(office.view, office.address).sequence == 0
        assert all(person.address != office.address for person in PEOPLE)
