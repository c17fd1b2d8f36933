"""Evidence as an action: who is convicted of what, until when, and where the stake goes."""

from dataclasses import replace

import pytest

from chain.actions.authorities import RemoveAuthority
from chain.actions.evidence import CONVICTIONS, SubmitEvidence, conviction_key
from chain.actions.staking import RemoveStake
from chain.bank import totals
from chain.certificate import VoteKind
from chain.errors import InvalidField
from chain.evidence import ConflictingVotes, Offence
from chain.parameters import Parameters
from chain.schema import COIN
from tests.council import SHORT, STAKE, Council, Officer
from tests.ledger import DEFAULT_FEE

ONE, TWO = b"\x01" * 32, b"\x02" * 32
SLASH = STAKE * SHORT.evidence_slash // 10_000


def evidence(
    council: Council,
    officer: Officer,
    first: VoteKind = VoteKind.NOTARIZE,
    second: VoteKind | None = None,
    *,
    epoch: int = 0,
    view: int = 3,
    chain_id: str | None = None,
) -> SubmitEvidence:
    """Two votes of an officer's node that exclude each other."""
    chain_id = chain_id or council.chain_id
    kinds = zip((first, first if second is None else second), (ONE, TWO), strict=True)
    votes = [
        officer.vote(chain_id, kind, epoch, view, b"" if kind is VoteKind.NULLIFY else block) for kind, block in kinds
    ]
    return SubmitEvidence(officer.authority.node_key, *votes)


class TestConviction:
    @pytest.mark.parametrize(
        ("first", "second", "offence"),
        [
            (VoteKind.PROPOSAL, VoteKind.PROPOSAL, Offence.CONFLICTING_PROPOSAL),
            (VoteKind.NOTARIZE, VoteKind.NOTARIZE, Offence.CONFLICTING_NOTARIZE),
            (VoteKind.FINALIZE, VoteKind.FINALIZE, Offence.CONFLICTING_FINALIZE),
            (VoteKind.NULLIFY, VoteKind.FINALIZE, Offence.NULLIFY_FINALIZE),
            (VoteKind.FINALIZE, VoteKind.NULLIFY, Offence.NULLIFY_FINALIZE),
        ],
    )
    def test_what_convicts(self, first: VoteKind, second: VoteKind, offence: Offence) -> None:
        council = Council(4)
        guilty = council.officers[2]
        before, burnt = council.balance(council.stranger), totals(council.view).burnt
        result = council.do(council.stranger, evidence(council, guilty, first, second))
        reward = SHORT.evidence_reward
        assert SLASH == 100 * COIN
        assert reward == 10 * COIN
        assert council.stake(guilty) == STAKE - SLASH
        assert council.balance(council.stranger) == before + reward - DEFAULT_FEE
        assert totals(council.view).burnt == burnt + SLASH - reward
        found = CONVICTIONS.get(council.view, conviction_key(0, guilty.address))
        assert found is not None
        assert (found.offence, found.rate, found.stake_before) == (offence, SHORT.evidence_slash, STAKE)
        assert (found.amount, found.reward, found.height) == (SLASH, reward, council.height)
        assert (found.submitter, found.txid) == (council.stranger.address, result.txid)
        (event,) = [event for event in result.events if event.kind == "evidence.convicted"]
        assert dict(event.subjects) == {"operator": guilty.address, "submitter": council.stranger.address}

    def test_the_reward_is_at_most_half(self) -> None:
        """Who accuses himself under another name still loses half."""
        council = Council(4, stake=SHORT.authority_minimum_stake)
        guilty = council.officers[2]
        before = council.balance(council.stranger)
        council.do(council.stranger, evidence(council, guilty))
        assert council.balance(council.stranger) == before + 5 * COIN - DEFAULT_FEE
        assert council.stake(guilty) == 90 * COIN

    def test_half_of_what_is_unbonding_as_well(self) -> None:
        """Who takes away what he need not keep does not make it less worth while to show what he did."""
        council = Council(4, stake=2 * SHORT.authority_minimum_stake)
        guilty = council.officers[2]
        council.do(guilty, RemoveStake(SHORT.authority_minimum_stake))
        before = council.balance(council.stranger)
        council.do(council.stranger, evidence(council, guilty))
        assert council.balance(council.stranger) == before + 10 * COIN - DEFAULT_FEE
        assert council.stake(guilty) == 80 * COIN

    def test_who_falls_below_the_minimum_leaves(self) -> None:
        council = Council(4, stake=SHORT.authority_minimum_stake)
        guilty = council.officers[2]
        council.do(council.officers[0], evidence(council, guilty))
        assert guilty.address in council.operators
        council.end_epoch()
        assert guilty.address not in council.operators

    def test_once_for_an_authority_and_an_epoch(self) -> None:
        council = Council(4)
        guilty, other = council.officers[2:]
        council.do(council.stranger, evidence(council, guilty))
        again = evidence(council, guilty, VoteKind.FINALIZE, view=9)
        assert council.refused(council.stranger, again) == (
            "already_convicted",
            {"operator": guilty.address, "epoch": 0},
        )
        council.do(council.stranger, evidence(council, other))
        council.end_epoch()
        council.do(council.stranger, evidence(council, guilty, epoch=1))
        assert council.stake(guilty) == (STAKE - SLASH) * 9 // 10

    def test_a_member_that_has_left(self) -> None:
        council = Council(4)
        leaver = council.officers[3]
        council.enact(RemoveAuthority(leaver.address), voters=council.officers[:3])
        assert leaver.address not in council.operators
        council.do(leaver, RemoveStake(STAKE - SHORT.authority_minimum_stake))
        council.do(council.stranger, evidence(council, leaver))
        found = CONVICTIONS.get(council.view, conviction_key(0, leaver.address))
        assert found is not None
        assert found.amount == SLASH, "what is unbonding is slashed as well"
        error, data = council.refused(council.stranger, evidence(council, leaver, epoch=1))
        assert error == "evidence_refused"
        assert data["node_key"] == leaver.authority.node_key


class TestRefusals:
    def test_of_an_epoch_to_come(self) -> None:
        council = Council(4)
        error, data = council.refused(council.stranger, evidence(council, council.officers[1], epoch=1))
        assert (error, data["epoch"], data["present"]) == ("evidence_refused", 1, 0)

    def test_the_window(self) -> None:
        """What was signed in epoch 0 counts up to the end of epoch 3, and so do the convictions."""
        council = Council(4, parameters=replace(SHORT, evidence_epochs=3))
        early, late = council.officers[1:3]
        council.do(council.stranger, evidence(council, early))
        council.end_epoch(3)
        council.before_end()
        assert CONVICTIONS.get(council.view, conviction_key(0, early.address)) is not None
        council.do(council.stranger, evidence(council, late))
        assert council.epoch == 4
        assert CONVICTIONS.get(council.view, conviction_key(0, early.address)) is None
        assert council.refused(council.stranger, evidence(council, council.officers[3])) == (
            "evidence_too_old",
            {"epoch": 0, "oldest": 1},
        )

    def test_of_a_stranger(self) -> None:
        council = Council(4)
        error, data = council.refused(council.stranger, evidence(council, council.outsiders[0]))
        assert (error, data["node_key"]) == ("evidence_refused", council.outsiders[0].authority.node_key)

    @pytest.mark.parametrize("kind", [VoteKind.PROPOSAL, VoteKind.NOTARIZE])
    def test_signatures_that_are_not_its_own(self, kind: VoteKind) -> None:
        council = Council(4)
        honest, liar = council.officers[:2]
        forged = replace(evidence(council, liar, kind), node_key=honest.authority.node_key)
        assert council.refused(council.stranger, forged)[0] == "evidence_refused"
        half = evidence(council, honest, kind)
        half = replace(half, second=evidence(council, liar, kind).second)
        assert council.refused(council.stranger, half)[0] == "evidence_refused"
        elsewhere = evidence(council, honest, kind, chain_id="another-00000000")
        assert council.refused(council.stranger, elsewhere)[0] == "evidence_refused"
        assert council.stake(honest) == STAKE

    def test_votes_that_one_may_both_sign(self) -> None:
        council = Council(4)
        officer = council.officers[0]
        good = evidence(council, officer)
        other_view = evidence(council, officer, view=4)
        for first, second in (
            (good.first, good.first),
            (good.first, other_view.second),
            (good.first, officer.vote(council.chain_id, VoteKind.NULLIFY, 0, 3)),
            (officer.vote(council.chain_id, VoteKind.NULLIFY, 0, 3),) * 2,
        ):
            with pytest.raises(InvalidField):
                SubmitEvidence(officer.authority.node_key, first, second).validate()

    def test_votes_of_no_good_shape(self) -> None:
        council = Council(4)
        good = evidence(council, council.officers[0])
        for changes in ({"block_hash": b""}, {"signature": bytes(64)}, {"view": 0}, {"block_hash": b"\x01"}):
            with pytest.raises(InvalidField):
                replace(good, first=replace(good.first, **changes)).validate()


def test_an_offender_without_stake_is_convicted_all_the_same() -> None:
    council = Council(2, parameters=Parameters(epoch_blocks=20, authority_minimum_stake=0, storage_deposit_per_byte=0))
    guilty = council.officers[1]
    council.do(guilty, RemoveStake(STAKE))
    council.wait(60_000)
    council.do(council.stranger, evidence(council, guilty, epoch=council.epoch))
    found = CONVICTIONS.get(council.view, conviction_key(council.epoch, guilty.address))
    assert found is not None
    assert (found.amount, found.reward) == (0, 0)


def test_evidence_of_a_node_is_what_the_action_takes() -> None:
    council = Council(1)
    action = evidence(council, council.officers[0])
    assert action.conflict == ConflictingVotes(action.node_key, action.first, action.second)
    assert action.conflict.offence is Offence.CONFLICTING_NOTARIZE
    assert str(action.conflict.offence) == "conflicting_notarize"
