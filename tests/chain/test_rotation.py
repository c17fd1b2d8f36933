"""Key rotation: the address stays, the key changes, and no key ever signs for two accounts."""

from dataclasses import replace

import pytest

from chain.actions.accounts import Profile as AccountProfile
from chain.actions.accounts import RotateKey, SetProfile, Transfer, rotation_bytes
from chain.actions.bookings import Release
from chain.actions.multisig import MULTISIGS, ApproveProposal, CreateMultisig, ProposeActions
from chain.actions.staking import AddStake, RemoveStake
from chain.bank import account
from chain.crypto.address import key_address
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256
from chain.errors import InvalidBlock
from chain.keys import ALIASES, KEYS
from chain.schema import COIN
from chain.transaction import Transaction
from tests.ledger import DEFAULT_FEE, Ledger, Person, make_specification, subject
from tests.market import Market, rotate, rotation

ALICE_NAME, BOB_NAME = "alice", "bob"
KEY = PrivateKey(sha256(b"another key"))
OTHER_KEY = PrivateKey(sha256(b"yet another key"))


class Stage(Ledger):
    """Two people with money, new for each test because a rotation changes what they sign with."""

    def __init__(self) -> None:
        self.alice, self.bob = Person(ALICE_NAME), Person(BOB_NAME)
        super().__init__(make_specification([self.alice, self.bob]))

    def rotate(self, person: Person, key: PrivateKey = KEY) -> None:
        self.do(person, rotation(self.chain_id, person.address, key))
        person.key = key

    def signed_by(self, person: Person, key: PrivateKey, *, sequence: int | None = None) -> Transaction:
        body = replace(self.sign(person, pay(self.bob)).body, public_key=key.public_key)
        return Transaction.sign(body if sequence is None else replace(body, sequence=sequence), key)

    def refused(self, *transactions: Transaction) -> str:
        """The name of the error for which a block with these is invalid."""
        with pytest.raises(InvalidBlock) as caught:
            self.block(*transactions)
        return str(caught.value.data["reason"]).split(" ")[0]


def pay(person: Person) -> Transfer:
    return Transfer(person.address, "AITBC", 1)


def as_person(key: PrivateKey) -> Person:
    """Who owns the account of the key's own address."""
    person = Person("nobody")
    person.key, person.address = key, key_address(key.public_key)
    return person


class TestRotation:
    def test_the_new_key_signs_and_everything_stays(self) -> None:
        stage = Stage()
        stage.do(stage.alice, AddStake(5 * COIN), SetProfile(AccountProfile("Alice", "", None)))
        before, address = account(stage.view, stage.alice.address), stage.alice.address
        result = stage.do(stage.alice, rotation(stage.chain_id, address, KEY))
        stage.alice.key = KEY
        after = account(stage.view, address)
        assert (after.balance, after.sequence) == (before.balance - DEFAULT_FEE, before.sequence + 1)
        assert (after.key, after.rotations) == (KEY.public_key, 1)
        (event,) = result.events
        assert event.kind == "account.key_rotated"
        assert dict(event.subjects) == {"account": address, "key": KEY.public_key}
        stage.do(stage.alice, RemoveStake(COIN))

    def test_a_rotated_out_key(self) -> None:
        stage = Stage()
        first = stage.alice.key
        stage.rotate(stage.alice)
        assert stage.refused(stage.signed_by(stage.alice, first)) == "key_mismatch"
        stage.rotate(stage.alice, OTHER_KEY)
        for old in (first, KEY):
            assert stage.refused(stage.signed_by(stage.alice, old)) == "key_mismatch"
        stage.do(stage.alice, pay(stage.bob))

    def test_within_one_block(self) -> None:
        """The old key may sign up to the rotation, and the new one from then on."""
        stage = Stage()
        rotating = stage.sign(stage.alice, rotation(stage.chain_id, stage.alice.address, KEY))
        sequence = rotating.body.sequence + 1
        with_old = stage.signed_by(stage.alice, stage.alice.key, sequence=sequence)
        assert stage.refused(rotating, with_old) == "key_mismatch"
        with_new = stage.signed_by(stage.alice, KEY, sequence=sequence)
        assert stage.refused(with_new) == "key_mismatch"
        assert all(result.succeeded for result in stage.block(rotating, with_new))

    def test_in_the_middle_of_a_transaction(self) -> None:
        """What was signed together stays together."""
        stage = Stage()
        action = rotation(stage.chain_id, stage.alice.address, KEY)
        stage.do(stage.alice, pay(stage.bob), action, pay(stage.bob))

    def test_twice_in_a_transaction(self) -> None:
        stage = Stage()
        address = stage.alice.address
        stage.do(stage.alice, *(rotation(stage.chain_id, address, key) for key in (KEY, OTHER_KEY)))
        stage.alice.key = OTHER_KEY
        stage.do(stage.alice, pay(stage.bob))
        assert account(stage.view, address).rotations == 2

    def test_a_rolled_back_rotation_binds_nothing(self) -> None:
        stage = Stage()
        action = rotation(stage.chain_id, stage.alice.address, KEY)
        result = stage.run(stage.alice, action, Transfer(stage.bob.address, "AITBC", 10**18))
        assert result.error == "insufficient_funds"
        assert not [*KEYS.scan(stage.view), *ALIASES.scan(stage.view)]
        stage.do(stage.alice, pay(stage.bob))

    def test_fees_and_sequence_stay_with_the_account(self) -> None:
        stage = Stage()
        stage.rotate(stage.alice)
        stage.do(stage.alice, pay(stage.bob))
        assert account(stage.view, stage.alice.address).key == KEY.public_key

    def test_a_booking_is_carried_on(self) -> None:
        market = Market()
        booking_id = market.active()
        rotate(market, market.renter)
        rotate(market, market.provider)
        market.do(market.renter, Release(booking_id))
        market.confirm(booking_id)
        assert market.escrow(booking_id).remaining == 0


class TestUniqueness:
    def test_two_accounts_rotating_to_one_key(self) -> None:
        stage = Stage()
        first, second = (
            stage.sign(person, rotation(stage.chain_id, person.address, KEY)) for person in (stage.alice, stage.bob)
        )
        results = stage.block(first, second)
        assert [result.error for result in results] == ["", "key_taken"]
        assert dict(results[1].error_data) == {"key": KEY.public_key}
        stage.do(stage.bob, pay(stage.bob))

    def test_to_the_key_of_another_account(self) -> None:
        stage = Stage()
        result = stage.run(stage.alice, rotation(stage.chain_id, stage.alice.address, stage.bob.key))
        assert result.error == "key_taken"

    def test_to_the_present_key(self) -> None:
        stage = Stage()
        for _ in range(2):
            result = stage.run(stage.alice, rotation(stage.chain_id, stage.alice.address, stage.alice.key))
            assert result.error == "key_taken"
            if stage.alice.key is not KEY:
                stage.rotate(stage.alice)

    def test_back_to_a_retired_key(self) -> None:
        stage = Stage()
        first = stage.alice.key
        stage.rotate(stage.alice)
        stage.rotate(stage.alice, OTHER_KEY)
        for old in (first, KEY):
            assert stage.run(stage.alice, rotation(stage.chain_id, stage.alice.address, old)).error == "key_taken"
            assert stage.run(stage.bob, rotation(stage.chain_id, stage.bob.address, old)).error == "key_taken"

    @pytest.mark.parametrize("retired", [False, True])
    def test_the_new_key_is_not_the_key_of_its_own_address(self, retired: bool) -> None:
        stage = Stage()
        stage.rotate(stage.alice)
        if retired:
            stage.rotate(stage.alice, OTHER_KEY)
        nobody = as_person(KEY)
        assert stage.refused(stage.sign(nobody, pay(stage.bob), sequence=0)) == "key_mismatch"

    @pytest.mark.parametrize("retired", [False, True])
    def test_no_money_goes_where_no_key_can_sign(self, retired: bool) -> None:
        """Stuck funds after a rotation: the key's own address would swallow them."""
        stage = Stage()
        stage.rotate(stage.alice)
        if retired:
            stage.rotate(stage.alice, OTHER_KEY)
        swallowed = key_address(KEY.public_key)
        result = stage.run(stage.bob, Transfer(swallowed, "AITBC", 5))
        expected = {"address": swallowed, "account": stage.alice.address}
        assert (result.error, dict(result.error_data)) == ("address_not_usable", expected)
        for members in ((swallowed,), tuple(sorted((swallowed, stage.bob.address)))):
            assert stage.run(stage.bob, CreateMultisig(1, members)).error == "address_not_usable"

    def test_nor_is_a_key_taken_whose_address_holds_money(self) -> None:
        stage = Stage()
        nobody = as_person(KEY)
        stage.do(stage.bob, Transfer(nobody.address, "AITBC", COIN))
        assert stage.run(stage.alice, rotation(stage.chain_id, stage.alice.address, KEY)).error == "key_taken"
        stage.do(nobody, pay(stage.bob))


class TestProof:
    """Nobody gives an account a key whose secret he does not hold, nor replays a proof elsewhere."""

    @pytest.mark.parametrize("what", ["another account", "another chain", "another key", "nothing"])
    def test_of_something_else(self, what: str) -> None:
        stage = Stage()
        message = {
            "another account": rotation_bytes(stage.chain_id, stage.bob.address, KEY.public_key),
            "another chain": rotation_bytes("devnet-00000000", stage.alice.address, KEY.public_key),
            "another key": rotation_bytes(stage.chain_id, stage.alice.address, OTHER_KEY.public_key),
            "nothing": b"",
        }[what]
        result = stage.run(stage.alice, RotateKey(KEY.public_key, KEY.sign(message)))
        assert (result.error, dict(result.error_data)) == ("bad_signature", {"key": KEY.public_key})

    def test_by_another_key(self) -> None:
        stage = Stage()
        message = rotation_bytes(stage.chain_id, stage.alice.address, KEY.public_key)
        result = stage.run(stage.alice, RotateKey(KEY.public_key, stage.alice.key.sign(message)))
        assert result.error == "bad_signature"

    @pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
    def test_of_a_key_that_is_none(self, key: bytes) -> None:
        """Points of small order verify nothing, so they cannot be taken either."""
        stage = Stage()
        assert stage.run(stage.alice, RotateKey(key, bytes(64))).error == "bad_signature"

    def test_is_no_transaction(self) -> None:
        """The domain keeps a proof from being anything else that a key signs."""
        assert rotation_bytes("devnet-00000000", bytes(33), bytes(32)) != b"aitbc/tx/1"
        assert b"aitbc/rotate-key/1" in rotation_bytes("devnet-00000000", bytes(33), bytes(32))


def test_a_multisig_account_has_no_key_to_rotate() -> None:
    stage = Stage()
    address = subject(stage.do(stage.alice, CreateMultisig(1, (stage.alice.address,))), "multisig.created", "account")
    action = ProposeActions(address, (rotation(stage.chain_id, address, KEY),), stage.time_ms + 60_000)
    result = stage.run(stage.alice, action)
    assert (result.error, dict(result.error_data)["needed"]) == ("not_authorized", "key account")


def test_approvals_given_under_an_earlier_key_are_void() -> None:
    stage = Stage()
    carol = Person("carol")
    stage.do(stage.alice, Transfer(carol.address, "AITBC", COIN))
    members = tuple(sorted(person.address for person in (stage.alice, stage.bob, carol)))
    address = subject(stage.do(stage.alice, CreateMultisig(2, members)), "multisig.created", "account")
    stage.do(stage.alice, Transfer(address, "AITBC", 10))
    action = ProposeActions(address, (pay(stage.bob),), stage.time_ms + 60_000)
    proposal_id = subject(stage.do(stage.alice, action), "multisig.proposed", "proposal")
    stage.rotate(stage.alice)
    result = stage.do(stage.bob, ApproveProposal(proposal_id))
    assert [event.kind for event in result.events] == ["multisig.approved"], "alice's no longer counts"
    stage.do(stage.alice, ApproveProposal(proposal_id, 1))
    assert account(stage.view, address).balance == 9
    assert MULTISIGS.get(stage.view, address) is not None
