"""Multisig accounts: saying no, changing the members, and members whose keys change."""

import pytest

from chain.actions.accounts import Transfer
from chain.actions.multisig import (
    MAXIMUM_MEMBERS,
    MAXIMUM_OPEN_PROPOSALS,
    PROPOSALS,
    ApproveProposal,
    CreateMultisig,
    Opinion,
    ProposeActions,
    RejectProposal,
    SetMembers,
)
from chain.bank import account
from chain.crypto.address import MULTISIG, key_address
from chain.crypto.ed25519 import PrivateKey
from chain.errors import InvalidField
from chain.result import TransactionResult
from chain.schedule import DUE, Subject
from chain.schema import COIN
from tests.ledger import Person
from tests.market import TIGHT, clog, rotate, rotation
from tests.office import PAY, Office

UNKNOWN = b"\x77" * 32


def kinds(result: TransactionResult) -> list[str]:
    return [event.kind for event in result.events]


def waiting(office: Office) -> int:
    return sum(key[9] == Subject.PROPOSAL for key, _ in DUE.scan(office.view))


class TestReject:
    def test_is_recorded(self) -> None:
        office = Office()
        proposal_id = office.propose()
        result = office.do(office.bob, RejectProposal(proposal_id))
        proposal = office.proposal(proposal_id)
        assert proposal is not None
        assert proposal.approvals == (Opinion(office.ann.address, 0),)
        assert proposal.rejections == (Opinion(office.bob.address, 0),)
        assert kinds(result) == ["multisig.rejected"]
        assert dict(result.events[0].amounts) == {"rejections": 1, "threshold": 2}

    def test_closes_when_approval_is_impossible(self) -> None:
        office = Office()
        proposal_id = office.propose()
        office.do(office.bob, RejectProposal(proposal_id))
        result = office.do(office.cid, RejectProposal(proposal_id))
        assert kinds(result) == ["multisig.rejected", "multisig.refused"]
        assert (office.proposal(proposal_id), office.multisig.proposals, waiting(office)) == (None, (), 0)
        refusal = office.refused(office.bob, ApproveProposal(proposal_id, 1))
        assert refusal == ("proposal_closed", {"proposal": proposal_id})
        assert office.funds == 100 * COIN

    def test_one_of_unanimous_members_is_enough(self) -> None:
        office = Office(threshold=3)
        proposal_id = office.propose()
        office.do(office.bob, ApproveProposal(proposal_id))
        office.do(office.cid, RejectProposal(proposal_id))
        assert office.proposal(proposal_id) is None

    def test_takes_an_approval_back(self) -> None:
        office = Office()
        proposal_id = office.propose()
        office.do(office.ann, RejectProposal(proposal_id))
        result = office.do(office.bob, ApproveProposal(proposal_id, 1))
        assert kinds(result) == ["multisig.approved"], "the proposer's approval is gone"
        office.do(office.cid, ApproveProposal(proposal_id, 1))
        assert office.funds == 100 * COIN - 7

    def test_is_taken_back_by_an_approval(self) -> None:
        office = Office()
        proposal_id = office.propose()
        office.do(office.bob, RejectProposal(proposal_id))
        result = office.do(office.bob, ApproveProposal(proposal_id, 1))
        assert kinds(result)[-1] == "multisig.executed"

    def test_what_was_taken_back_does_not_count_against_it(self) -> None:
        office = Office()
        proposal_id = office.propose()
        office.do(office.ann, RejectProposal(proposal_id))
        office.do(office.ann, ApproveProposal(proposal_id))
        office.do(office.bob, RejectProposal(proposal_id))
        proposal = office.proposal(proposal_id)
        assert proposal is not None, "one member alone does not refuse it"
        assert proposal.rejections == (Opinion(office.bob.address, 0),)

    def test_twice(self) -> None:
        office = Office()
        proposal_id = office.propose()
        office.do(office.bob, RejectProposal(proposal_id))
        data = {"proposal": proposal_id, "member": office.bob.address}
        assert office.refused(office.bob, RejectProposal(proposal_id)) == ("already_rejected", data)
        proposal = office.proposal(proposal_id)
        assert proposal is not None
        assert len(proposal.rejections) == 1

    def test_by_a_stranger(self) -> None:
        office = Office()
        proposal_id = office.propose()
        data = {"needed": "member", "account": office.stranger.address}
        assert office.refused(office.stranger, RejectProposal(proposal_id)) == ("not_authorized", data)

    def test_of_nothing_and_of_what_has_expired(self) -> None:
        office = Office()
        assert office.refused(office.ann, RejectProposal(UNKNOWN)) == ("proposal_closed", {"proposal": UNKNOWN})
        proposal_id = office.propose(lifetime_ms=10_000)
        refusal = office.refused(office.bob, RejectProposal(proposal_id), after_ms=9_000)
        assert refusal == ("proposal_closed", {"proposal": proposal_id})

    def test_makes_room_for_another_proposal(self) -> None:
        office = Office()
        proposals = [office.propose(lifetime_ms=600_000) for _ in range(MAXIMUM_OPEN_PROPOSALS)]
        for member in (office.bob, office.cid):
            office.do(member, RejectProposal(proposals[5]))
        office.propose()
        assert proposals[5] not in office.multisig.proposals


class TestSetMembers:
    def change(self, office: Office, threshold: int, *people: Person) -> TransactionResult:
        """By the whole procedure: proposed by one member, approved by another."""
        action = SetMembers(threshold, tuple(sorted(person.address for person in people)))
        proposal_id = office.propose(action)
        return office.do(office.bob, ApproveProposal(proposal_id, action.weight()))

    def test_replaces_threshold_and_members(self) -> None:
        office = Office()
        result = self.change(office, 1, office.bob, office.stranger)
        assert kinds(result) == ["multisig.approved", "multisig.members_set", "multisig.executed"]
        assert office.multisig.threshold == 1
        assert set(office.multisig.members) == {office.bob.address, office.stranger.address}
        office.propose(by=office.stranger)
        assert office.funds == 100 * COIN - 7
        action = ProposeActions(office.address, (PAY,), office.time_ms + 60_000)
        assert office.refused(office.ann, action)[0] == "not_authorized"

    def test_a_multisig_proposal_across_a_change_of_members(self) -> None:
        """Approvals of those who may not decide any more decide nothing, nor do those of members who stay."""
        office = Office()
        pending = [office.propose(by=person) for person in (office.ann, office.bob)]
        result = self.change(office, 2, office.ann, office.bob, office.stranger)
        assert kinds(result).count("multisig.voided") == 2
        assert (office.multisig.proposals, waiting(office), list(PROPOSALS.scan(office.view))) == ((), 0, [])
        for proposal_id in pending:
            for person in (office.ann, office.bob, office.stranger):
                assert office.refused(person, ApproveProposal(proposal_id, 1))[0] == "proposal_closed"
        assert office.funds == 100 * COIN

    def test_only_by_the_account_itself(self) -> None:
        office = Office()
        action = SetMembers(1, (office.ann.address,))
        data = {"needed": "multisig account", "account": office.ann.address}
        assert office.refused(office.ann, action) == ("not_authorized", data)

    def test_with_a_threshold_of_one(self) -> None:
        office = Office(threshold=1)
        office.propose(SetMembers(1, (office.bob.address,)), PAY)
        assert office.funds == 100 * COIN - 7, "what was proposed together happens together"
        assert office.multisig.members == (office.bob.address,)

    def test_twice_in_one_proposal(self) -> None:
        office = Office(threshold=1)
        office.propose(SetMembers(1, (office.bob.address,)), SetMembers(1, (office.cid.address,)))
        assert office.multisig.members == (office.cid.address,)

    @pytest.mark.parametrize(
        ("threshold", "names"),
        [(3, ("ann", "bob")), (2, ("ann",)), (1, ("bob", "ann")), (1, ("ann", "ann")), (1, ("nest",))],
    )
    def test_no_threshold_out_of_reach(self, threshold: int, names: tuple[str, ...]) -> None:
        office = Office()
        nest = bytes([MULTISIG]) + bytes(32)
        members = tuple(nest if name == "nest" else getattr(office, name).address for name in names)
        with pytest.raises(InvalidField):
            SetMembers(threshold, members).validate()
        with pytest.raises(InvalidField):
            CreateMultisig(threshold, members).validate()

    def test_no_member_who_can_never_sign(self) -> None:
        """The address of a key that was bound to another account: its vote would be missing for ever."""
        office = Office()
        address = key_address(rotate(office, office.stranger))
        action = SetMembers(1, (address,))
        proposal_id = office.propose(action)
        error, data = office.refused(office.bob, ApproveProposal(proposal_id, action.weight()))
        assert (error, data) == ("address_not_usable", {"address": address, "account": office.stranger.address})
        assert office.proposal(proposal_id) is not None

    def test_is_paid_for_by_the_last_approver(self) -> None:
        """The weight covers voiding as many proposals as there may be."""
        office = Office()
        for _ in range(MAXIMUM_OPEN_PROPOSALS - 1):
            office.propose(lifetime_ms=600_000)
        action = SetMembers(1, (office.ann.address,))
        proposal_id = office.propose(action, lifetime_ms=600_000)
        data = {"needed": action.weight(), "got": action.weight() - 1}
        refusal = office.refused(office.bob, ApproveProposal(proposal_id, action.weight() - 1))
        assert refusal == ("execution_weight_too_low", data)
        result = office.do(office.bob, ApproveProposal(proposal_id, action.weight()))
        assert kinds(result).count("multisig.voided") == MAXIMUM_OPEN_PROPOSALS - 1
        assert action.weight() >= 4 * MAXIMUM_OPEN_PROPOSALS

    def test_as_many_members_as_allowed(self) -> None:
        office = Office(threshold=1)
        people = [Person(str(index)) for index in range(MAXIMUM_MEMBERS)]
        office.propose(SetMembers(MAXIMUM_MEMBERS, tuple(sorted(person.address for person in people))))
        assert len(office.multisig.members) == MAXIMUM_MEMBERS

    def test_the_address_and_the_money_stay(self) -> None:
        office = Office()
        before = account(office.view, office.address)
        self.change(office, 2, office.bob, office.cid)
        assert account(office.view, office.address) == before

    def test_expired_proposals_in_a_late_queue_are_no_obstacle(self) -> None:
        office = Office(parameters=TIGHT)
        for _ in range(3):
            office.propose(lifetime_ms=5_000)
        clog(office)
        office.wait(10_000)
        assert len(office.multisig.proposals) == 3
        self.change(office, 1, office.cid)
        assert (office.multisig.members, office.multisig.proposals) == ((office.cid.address,), ())


class TestRotatedMembers:
    def test_no_approval_counts_twice(self) -> None:
        """Approve, rotate, approve again: still one member."""
        office = Office()
        proposal_id = office.propose()
        rotate(office, office.ann)
        result = office.do(office.ann, ApproveProposal(proposal_id, 1))
        assert dict(result.events[0].amounts) == {"approvals": 1, "threshold": 2}
        rotate(office, office.ann, "again")
        result = office.do(office.ann, ApproveProposal(proposal_id, 1))
        assert dict(result.events[0].amounts) == {"approvals": 1, "threshold": 2}
        assert office.funds == 100 * COIN
        office.do(office.cid, ApproveProposal(proposal_id, 1))
        assert office.funds == 100 * COIN - 7

    def test_no_rejection_counts_twice(self) -> None:
        office = Office()
        proposal_id = office.propose()
        office.do(office.bob, RejectProposal(proposal_id))
        rotate(office, office.bob)
        office.do(office.bob, RejectProposal(proposal_id))
        assert office.proposal(proposal_id) is not None, "one member alone does not refuse it"
        office.do(office.cid, RejectProposal(proposal_id))
        assert office.proposal(proposal_id) is None

    def test_a_void_rejection_refuses_nothing(self) -> None:
        office = Office()
        proposal_id = office.propose()
        office.do(office.bob, RejectProposal(proposal_id))
        rotate(office, office.bob)
        result = office.do(office.cid, RejectProposal(proposal_id))
        assert kinds(result) == ["multisig.rejected"]
        assert dict(result.events[0].amounts)["rejections"] == 1

    def test_the_weight_is_asked_of_him_who_really_executes(self) -> None:
        office = Office()
        proposal_id = office.propose()
        rotate(office, office.ann)
        office.do(office.bob, ApproveProposal(proposal_id))
        assert office.refused(office.cid, ApproveProposal(proposal_id))[0] == "execution_weight_too_low"
        office.do(office.cid, ApproveProposal(proposal_id, 1))

    def test_a_member_keeps_his_seat(self) -> None:
        office = Office(threshold=1)
        rotate(office, office.ann)
        office.propose()
        assert office.funds == 100 * COIN - 7

    def test_a_rotation_in_the_middle_of_a_block(self) -> None:
        office = Office()
        proposal_id = office.propose()
        approving = office.sign(office.bob, ApproveProposal(proposal_id, 1))
        key = PrivateKey(bytes(31) + b"\x01")
        rotating = office.sign(office.ann, rotation(office.chain_id, office.ann.address, key))
        assert all(result.succeeded for result in office.block(rotating, approving))
        assert office.funds == 100 * COIN
        assert office.proposal(proposal_id) is not None


def test_a_proposal_may_hold_what_a_key_account_may_do() -> None:
    """Any action but those of members."""
    office = Office(threshold=1)
    with pytest.raises(InvalidField):
        ProposeActions(office.address, (RejectProposal(UNKNOWN),), 1).validate()
    office.propose(Transfer(office.stranger.address, "AITBC", 1), Transfer(office.ann.address, "AITBC", 1))
    assert office.funds == 100 * COIN - 2
