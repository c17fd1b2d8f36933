"""The set of authorities: who may enter, who leaves, when, and what operators must keep at stake."""

from dataclasses import replace

import pytest

from chain.actions.authorities import AddAuthority, DisableAuthority, ReadyAuthority, RemoveAuthority
from chain.actions.governance import ProposeMeasure, SetParameter
from chain.actions.staking import AddStake, RemoveStake
from chain.authorities import (
    AUTHORITIES,
    AUTHORITY_SETS,
    CANDIDATES,
    DISABLED_KEYS,
    FORMER,
    MAXIMUM_CANDIDATES,
    Candidate,
    authority_set,
    read_authorities,
    read_departures,
    set_of_epoch,
)
from chain.crypto.address import MODULE
from chain.errors import InvalidField
from chain.schema import COIN
from chain.slashing import slash_amount
from chain.succession import CANDIDATE_EPOCHS, leaving_limit
from tests.council import EPOCH_BLOCKS, SHORT, STAKE, Council, Officer
from tests.market import rotation

MINIMUM = SHORT.authority_minimum_stake


def slashed(council: Council, *officers: Officer) -> None:
    """Take stake from operators until they have less than they need."""
    with council.system() as context:
        for officer in officers:
            slash_amount(context, officer.address, council.stake(officer) - MINIMUM + 1)


class TestEntering:
    def test_a_candidate_enters_when_it_is_ready(self) -> None:
        council = Council(4)
        new = council.outsiders[0]
        council.enact(new.addition)
        assert new.address not in council.operators
        council.end_epoch()
        assert new.address not in council.operators, "it has not said that it is ready"
        council.do(new, new.ready(council.chain_id, council.epoch))
        council.before_end()
        assert new.address not in council.operators
        council.block()
        assert council.operators == [*(officer.address for officer in council.officers), new.address]
        assert read_authorities(council.view).epoch == council.epoch
        assert CANDIDATES.get(council.view, new.address) is None
        (event,) = council.events("authority.entered")
        assert (dict(event.subjects), dict(event.amounts)) == ({"operator": new.address}, {"epoch": council.epoch})

    def test_the_set_changes_only_in_the_last_block_of_an_epoch(self) -> None:
        council = Council(4)
        council.enact(council.outsiders[0].addition)
        council.do(council.outsiders[0], council.outsiders[0].ready(council.chain_id, council.epoch))
        council.propose(RemoveAuthority(council.officers[3].address))
        seen = []
        for _ in range(3 * EPOCH_BLOCKS):
            before = AUTHORITIES.get(council.view)
            council.block()
            if AUTHORITIES.get(council.view) != before:
                seen.append(council.height % EPOCH_BLOCKS)
        assert seen == [0]

    def test_new_members_come_last_in_the_order_of_their_approval(self) -> None:
        council = Council(1)
        first, second, third = council.outsiders
        council.enact(second.addition)
        council.enact(first.addition, third.addition)
        for officer in (first, second, third):
            council.do(officer, officer.ready(council.chain_id, council.epoch))
        council.end_epoch()
        later = sorted((first.address, third.address))
        assert council.operators == [council.officers[0].address, second.address, *later]

    def test_without_the_stake_it_waits(self) -> None:
        council = Council(1)
        new = council.outsiders[0]
        council.do(new, RemoveStake(STAKE - MINIMUM + 1))
        council.enact(new.addition)
        council.do(new, new.ready(council.chain_id, council.epoch))
        council.end_epoch()
        assert new.address not in council.operators
        council.do(new, AddStake(1))
        council.end_epoch()
        assert new.address in council.operators

    def test_being_ready_counts_for_a_while(self) -> None:
        council = Council(1, parameters=replace(SHORT, ready_epochs=2))
        new = council.outsiders[0]
        council.do(new, RemoveStake(STAKE))
        council.enact(new.addition)
        council.do(new, new.ready(council.chain_id, council.epoch))
        council.end_epoch(2)
        council.do(new, AddStake(STAKE))
        council.end_epoch()
        assert new.address not in council.operators
        council.do(new, new.ready(council.chain_id, council.epoch))
        council.end_epoch()
        assert new.address in council.operators

    def test_who_never_becomes_ready_is_dropped(self) -> None:
        council = Council(1)
        new = council.outsiders[0]
        council.enact(new.addition)
        council.end_epoch(CANDIDATE_EPOCHS - 1)
        assert CANDIDATES.get(council.view, new.address) is not None
        council.end_epoch()
        assert CANDIDATES.get(council.view, new.address) is None
        assert len(council.events("authority.dropped")) == 1
        error, data = council.refused(new, new.ready(council.chain_id, council.epoch))
        assert (error, data) == ("not_a_candidate", {"account": new.address})

    def test_an_unchanged_set_is_not_written(self) -> None:
        council = Council(3)
        before = AUTHORITIES.get(council.view)
        council.end_epoch(3)
        assert AUTHORITIES.get(council.view) == before
        assert authority_set(council.view, 7).epoch == 7
        assert list(AUTHORITY_SETS.scan(council.view)) == []


class TestAdd:
    def refused(self, council: Council, action: AddAuthority) -> tuple[str, dict[str, object]]:
        return council.refused(council.officers[0], ProposeMeasure((action,), council.time_ms + 60_000))

    def test_a_known_operator(self) -> None:
        council = Council(1)
        new = council.outsiders[0]
        for officer in (council.officers[0], new):
            if officer is new:
                council.enact(new.addition)
            error, data = self.refused(council, officer.addition)
            assert (error, data) == ("authority_known", {"operator": officer.address})

    @pytest.mark.parametrize("key", ["node_key", "bls_key"])
    def test_a_key_of_somebody_else(self, key: str) -> None:
        council = Council(1)
        council.enact(council.outsiders[1].addition)
        for other in (council.officers[0], council.outsiders[1]):
            taken = getattr(other.authority, key)
            changes = {key: taken, "proof_of_possession": other.authority.proof_of_possession}
            error, data = self.refused(council, replace(council.outsiders[0].addition, **changes))
            assert (error, data) == ("authority_key_taken", {"key": taken})

    def test_a_bad_proof_of_possession(self) -> None:
        council = Council(1)
        new = council.outsiders[0]
        proof = council.outsiders[1].authority.proof_of_possession
        error, data = self.refused(council, replace(new.addition, proof_of_possession=proof))
        assert (error, data["operator"]) == ("bad_signature", new.address)

    def test_an_operator_who_could_never_sign(self) -> None:
        council = Council(1)
        lost = council.outsiders[0]
        council.do(council.stranger, rotation(council.chain_id, council.stranger.address, Officer("9").key))
        error, _ = self.refused(council, replace(lost.addition, operator=Officer("9").address))
        assert error == "address_not_usable"
        with pytest.raises(InvalidField):
            replace(lost.addition, operator=bytes([MODULE]) + bytes(32)).validate()

    def test_too_many_candidates(self) -> None:
        council = Council(1, parameters=replace(SHORT, epoch_blocks=10_000))
        view = council.view
        for index in range(MAXIMUM_CANDIDATES):
            operator = index.to_bytes(33, "big")
            authority = replace(
                council.outsiders[1].authority,
                operator=operator,
                node_key=index.to_bytes(32, "big"),
                bls_key=index.to_bytes(48, "big"),
            )
            CANDIDATES.put(view, operator, Candidate(authority, 0))
        council.reader.apply(view.changes())
        error, data = self.refused(council, council.outsiders[0].addition)
        assert (error, data) == ("too_many_candidates", {"maximum": MAXIMUM_CANDIDATES})


class TestReady:
    def candidate(self) -> tuple[Council, Officer]:
        council = Council(1, parameters=replace(SHORT, ready_epochs=2))
        council.enact(council.outsiders[0].addition)
        return council, council.outsiders[0]

    def test_for_which_epoch(self) -> None:
        council, new = self.candidate()
        council.end_epoch(2)
        assert council.epoch == 3
        for epoch in (1, 4):
            error, data = council.refused(new, new.ready(council.chain_id, epoch))
            assert (error, data) == ("ready_refused", {"epoch": epoch, "minimum": 2, "maximum": 3})
        council.do(new, new.ready(council.chain_id, 3))
        council.do(new, new.ready(council.chain_id, 2))
        found = CANDIDATES.get(council.view, new.address)
        assert found is not None
        assert found.ready_epoch == 3

    def test_both_keys_must_sign(self) -> None:
        council, new = self.candidate()
        good = new.ready(council.chain_id, council.epoch)
        other = council.outsiders[1].ready_with(new.authority, council.chain_id, council.epoch)
        for wrong in (
            replace(good, node_signature=other.node_signature),
            replace(good, bls_signature=other.bls_signature),
            new.ready("another-00000000", council.epoch),
            replace(good, epoch=council.epoch - 1),
        ):
            assert council.refused(new, wrong)[0] == "bad_signature"

    def test_by_somebody_else(self) -> None:
        council, new = self.candidate()
        action = new.ready(council.chain_id, council.epoch)
        for person in (council.stranger, council.outsiders[1], council.officers[0]):
            assert council.refused(person, action) == ("not_a_candidate", {"account": person.address})
        assert isinstance(action, ReadyAuthority)


class TestLeaving:
    @pytest.mark.parametrize(("size", "limit"), [(1, 0), (2, 1), (3, 1), (4, 1), (6, 1), (7, 2), (10, 3), (128, 42)])
    def test_how_many(self, size: int, limit: int) -> None:
        assert leaving_limit(size) == limit

    def test_at_most_a_third_leave_and_the_rest_waits(self) -> None:
        council = Council(7)
        first, second, third = council.officers[4:]
        for target in (third, second):
            measure = council.propose(RemoveAuthority(target.address))
            council.vote(measure, *council.officers[1:4], first)
        slashed(council, first)
        council.end_epoch()
        assert council.operators == [officer.address for officer in (*council.officers[:4], first)]
        assert council.epoch == read_authorities(council.view).epoch == 1
        council.end_epoch()
        assert council.operators == [officer.address for officer in council.officers[:4]]
        assert read_departures(council.view).waiting == ()

    def test_never_below_one(self) -> None:
        council = Council(3)
        slashed(council, *council.officers)
        for left in (2, 1, 1, 1):
            council.end_epoch()
            assert len(council.operators) == left

    def test_who_tops_up_in_time_stays(self) -> None:
        council = Council(4)
        slashed(council, council.officers[1])
        council.do(council.officers[1], AddStake(1))
        council.end_epoch()
        assert len(council.operators) == 4

    def test_a_higher_minimum_leaves_an_epoch_to_top_up(self) -> None:
        council = Council(1, parameters=replace(SHORT, authority_minimum_stake=STAKE))
        council.admit(council.outsiders[0])
        council.enact(SetParameter("authority_minimum_stake", STAKE + COIN))
        assert len(council.operators) == 2, "the old minimum held at this epoch's end"
        council.do(council.officers[0], AddStake(COIN))
        council.end_epoch()
        assert council.operators == [council.officers[0].address]

    def test_disabled_members_go_first(self) -> None:
        council = Council(4)
        for action in (RemoveAuthority(council.officers[1].address), DisableAuthority(council.officers[2].address)):
            measure = council.propose(action)
            voters = [each for each in council.officers[1:] if each.address != action.operator]
            council.vote(measure, *voters)
        council.end_epoch()
        expected = [council.officers[index].address for index in (0, 1, 3)]
        assert council.operators == expected
        council.end_epoch()
        assert council.operators == [council.officers[0].address, council.officers[3].address]

    def test_twice_or_not_at_all(self) -> None:
        council = Council(7)
        target = council.officers[6]
        error, data = council.refused(
            council.officers[0],
            ProposeMeasure((RemoveAuthority(council.stranger.address),), council.time_ms + 60_000),
        )
        assert (error, data) == ("not_an_authority", {"operator": council.stranger.address})
        twice = ProposeMeasure((RemoveAuthority(target.address),) * 2, council.time_ms + 60_000)
        assert council.refused(council.officers[0], twice)[0] == "not_an_authority"
        council.propose(RemoveAuthority(target.address), DisableAuthority(target.address))

    def test_a_candidate_is_dropped_at_once(self) -> None:
        council = Council(4)
        new = council.outsiders[0]
        council.enact(new.addition)
        council.enact(RemoveAuthority(new.address))
        assert CANDIDATES.get(council.view, new.address) is None
        council.propose(new.addition)

    def test_disabled_keys_never_come_back(self) -> None:
        council = Council(4)
        target = council.officers.pop()
        council.enact(DisableAuthority(target.address))
        assert target.address not in council.operators
        for key in (target.authority.node_key, target.authority.bls_key):
            assert DISABLED_KEYS.get(council.view, key) is not None
        error, data = council.refused(council.officers[0], ProposeMeasure((target.addition,), council.time_ms + 60_000))
        assert (error, data) == ("key_disabled", {"key": target.authority.node_key})
        stolen = replace(council.outsiders[0].addition, bls_key=target.authority.bls_key)
        assert council.refused(council.officers[0], ProposeMeasure((stolen,), council.time_ms + 60_000))[0] == (
            "key_disabled"
        )
        target.rekey("again")
        council.admit(target)

    def test_removed_first_and_disabled_while_it_waits(self) -> None:
        council = Council(4)
        first, second = council.officers[2:]
        for action, voter in ((RemoveAuthority(first.address), second), (RemoveAuthority(second.address), first)):
            measure = council.propose(action)
            council.vote(measure, council.officers[1], voter)
        measure = council.propose(DisableAuthority(second.address))
        council.vote(measure, council.officers[1], first)
        council.end_epoch()
        assert council.operators == [officer.address for officer in council.officers[:3]]
        assert read_departures(council.view).operators == (first.address,)

    def test_new_keys_while_the_old_ones_wait_to_leave(self) -> None:
        """Who was voted out may be voted in again with other keys, and enters when the old ones leave, not before."""
        council = Council(5)
        for officer in council.officers[1:]:
            measure = council.propose(DisableAuthority(officer.address), by=council.officers[0])
            council.vote(measure, *[each for each in council.officers[1:] if each is not officer])
        last = council.officers[4]
        old = last.authority
        council.end_epoch()
        last.rekey("second")
        measure = council.propose(last.addition)
        council.vote(measure, *council.officers[2:4])
        council.end_epoch()
        council.do(last, last.ready(council.chain_id, council.epoch))
        council.end_epoch()
        assert read_authorities(council.view).members == (council.officers[0].authority, old)
        council.end_epoch()
        assert read_authorities(council.view).members == (council.officers[0].authority, last.authority)

    def test_keys_exchanged_in_one_epoch_are_told(self) -> None:
        """An operator whose authority leaves with the old keys as it enters with the new ones."""
        council = Council(5)
        for officer in council.officers[2:]:
            measure = council.propose(RemoveAuthority(officer.address))
            council.vote(measure, *[each for each in council.officers[1:] if each is not officer])
        council.end_epoch()
        last = council.officers[4]
        last.rekey("second")
        measure = council.propose(last.addition)
        council.vote(measure, council.officers[1], last)
        council.end_epoch()
        assert council.operators == [officer.address for officer in (*council.officers[:2], last)]
        council.do(last, last.ready(council.chain_id, council.epoch))
        council.end_epoch()
        assert read_authorities(council.view).members[-1] == last.authority
        for kind in ("authority.left", "authority.entered"):
            assert [dict(event.subjects) for event in council.events(kind)] == [{"operator": last.address}]


class TestPast:
    def test_sets_are_kept_for_evidence_and_then_forgotten(self) -> None:
        council = Council(4, parameters=replace(SHORT, evidence_epochs=3))
        original = read_authorities(council.view).members
        leaver = council.officers.pop()
        council.enact(RemoveAuthority(leaver.address))
        assert read_authorities(council.view).epoch == 1
        council.end_epoch(2)
        council.before_end()
        found = set_of_epoch(council.view, 0)
        assert found is not None
        assert (found.epoch, found.members) == (0, original)
        assert FORMER.get(council.view, leaver.address) is not None
        council.block()
        assert council.epoch == 4
        assert set_of_epoch(council.view, 0) is None
        assert FORMER.get(council.view, leaver.address) is None
        now = set_of_epoch(council.view, 1)
        assert now is not None
        assert now.members == original[:3]

    def test_which_set_an_epoch_had(self) -> None:
        council = Council(1)
        sizes = [1]
        for outsider in council.outsiders:
            council.admit(outsider)
            sizes += [sizes[-1]] * (council.epoch - len(sizes)) + [len(council.operators)]
        for epoch, size in enumerate(sizes):
            found = set_of_epoch(council.view, epoch)
            assert found is not None
            assert (found.epoch, found.size) == (epoch, size)


def test_an_epoch_ends_with_stakers_then_measures_then_the_set() -> None:
    council = Council(4)
    new = council.outsiders[0]
    council.enact(new.addition)
    council.do(new, new.ready(council.chain_id, council.epoch))
    council.enact(SetParameter("market_fee", 300))
    turn = [event.kind for event in council.system_events]
    assert new.address in council.operators
    assert turn.index("stake.rewards_shared") < turn.index("governance.executed") < turn.index("authority.entered")


class TestStake:
    def test_operators_keep_the_minimum(self) -> None:
        council = Council(2)
        officer = council.officers[0]
        error, data = council.refused(officer, RemoveStake(STAKE - MINIMUM + 1))
        assert (error, data) == (
            "authority_stake_locked",
            {"account": officer.address, "needed": MINIMUM, "available": MINIMUM - 1},
        )
        council.do(officer, RemoveStake(STAKE - MINIMUM))
        council.do(council.outsiders[0], RemoveStake(STAKE))

    def test_as_long_as_they_can_be_convicted(self) -> None:
        council = Council(4, parameters=replace(SHORT, evidence_epochs=3))
        leaver = council.officers.pop()
        council.enact(RemoveAuthority(leaver.address))
        assert leaver.address not in council.operators
        council.end_epoch(2)
        council.before_end()
        assert council.refused(leaver, RemoveStake(STAKE))[0] == "authority_stake_locked"
        assert council.epoch == 4
        council.do(leaver, RemoveStake(STAKE))
