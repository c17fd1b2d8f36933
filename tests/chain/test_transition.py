"""The protocol: what a block may hold, what inclusion costs, what a failure leaves; building and judging agree."""

from typing import Any

import pytest

from chain.action import BlockContext
from chain.actions.accounts import Transfer
from chain.actions.bookings import Cancel
from chain.actions.staking import AddStake, RemoveStake
from chain.bank import account, totals
from chain.block import Block
from chain.crypto.address import MULTISIG, key_address
from chain.errors import InvalidBlock, InvalidGenesis, LedgerError
from chain.idempotency import IDEMPOTENCY, LIFETIME_MS
from chain.parameters import EPOCH_END_WEIGHT, Parameters
from chain.result import results_root
from chain.schema import COIN
from chain.state.view import MemoryReader, View
from chain.transaction import MAXIMUM_VALIDITY_MS, Body, Transaction
from chain.transition import BlockExecution, apply_block, check_transaction
from tests.ledger import DEFAULT_FEE, GENESIS_TIME_MS, Ledger, Person, make_specification
from tests.market import TIGHT, Market, clog

ALICE, BOB, NOBODY = Person("alice"), Person("bob"), Person("nobody")
PAY = Transfer(BOB.address, "AITBC", 1)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(make_specification([ALICE, BOB]))


def context(ledger: Ledger, after_ms: int = 1_000) -> BlockContext:
    return BlockContext(ledger.chain_id, ledger.height + 1, 0, ledger.time_ms + after_ms, ledger.proposer)


def include(execution: BlockExecution, transaction: Transaction) -> None:
    transaction.verify_signature()
    execution.apply_transaction(transaction)


def refused(ledger: Ledger, transaction: Transaction) -> tuple[str, dict[str, Any]]:
    """The error of a transaction that may not be included; as a block it must be invalid too."""
    execution = BlockExecution(ledger.view, context(ledger))
    before = execution.view.changes()
    with pytest.raises(LedgerError) as caught:
        include(execution, transaction)
    assert execution.view.changes() == before, "a refused transaction changes nothing"
    with pytest.raises(InvalidBlock) as invalid:
        apply_block(ledger.view, context(ledger), [transaction])
    assert invalid.value.data["transaction"] == 0
    return caught.value.name, caught.value.data


class TestInclusion:
    def test_replay_on_another_chain_id(self, ledger: Ledger) -> None:
        other = Ledger(make_specification([ALICE, BOB], balance=1_000 * COIN))
        assert other.chain_id != ledger.chain_id
        name, data = refused(ledger, other.sign(ALICE, PAY))
        assert (name, data) == ("wrong_chain", {"expected": ledger.chain_id, "got": other.chain_id})

    def test_replay_on_the_same_chain(self, ledger: Ledger) -> None:
        paid = ledger.sign(ALICE, PAY)
        assert ledger.block(paid)[0].succeeded
        assert refused(ledger, paid) == ("sequence_mismatch", {"expected": 1, "got": 0})

    def test_twice_in_one_block(self, ledger: Ledger) -> None:
        paid = ledger.sign(ALICE, PAY)
        with pytest.raises(InvalidBlock):
            ledger.block(paid, paid)

    @pytest.mark.parametrize("sequence", [1, 5, (1 << 64) - 1])
    def test_a_gap_in_the_sequence(self, ledger: Ledger, sequence: int) -> None:
        expected = ("sequence_mismatch", {"expected": 0, "got": sequence})
        assert refused(ledger, ledger.sign(ALICE, PAY, sequence=sequence)) == expected

    def test_several_of_one_sender_in_one_block(self, ledger: Ledger) -> None:
        results = ledger.block(*(ledger.sign(ALICE, PAY, sequence=sequence) for sequence in range(5)))
        assert all(result.succeeded for result in results)
        assert account(ledger.view, ALICE.address).sequence == 5

    def test_a_forged_signature(self, ledger: Ledger) -> None:
        signed = ledger.sign(ALICE, PAY)
        forged = Transaction(signed.body, bytes(64), signed.body_bytes, signed.envelope, signed.txid)
        assert refused(ledger, forged) == ("bad_signature", {"txid": signed.txid})

    def test_envelopes_that_were_verified_before_are_not_verified_again(self, ledger: Ledger) -> None:
        signed = ledger.sign(ALICE, PAY)
        forged = Transaction(signed.body, bytes(64), signed.body_bytes, b"forged", signed.txid)
        assert apply_block(ledger.view, context(ledger), [forged], {b"forged"}).results[0].succeeded

    def test_the_key_of_another(self, ledger: Ledger) -> None:
        body = ledger.sign(ALICE, PAY).body
        stolen = Body(
            **{name: getattr(body, name) for name in Body.__dataclass_fields__} | {"public_key": BOB.key.public_key}
        )
        assert refused(ledger, Transaction.sign(stolen, BOB.key)) == ("key_mismatch", {"sender": ALICE.address})

    def test_a_sender_that_is_no_key_account(self, ledger: Ledger) -> None:
        body = ledger.sign(ALICE, PAY).body
        address = bytes([MULTISIG]) + key_address(ALICE.key.public_key)[1:]
        fields = {name: getattr(body, name) for name in Body.__dataclass_fields__} | {"sender": address}
        assert refused(ledger, Transaction.sign(Body(**fields), ALICE.key))[0] == "key_mismatch"

    @pytest.mark.parametrize("late_ms", [0, 1])
    def test_expiry(self, ledger: Ledger, late_ms: int) -> None:
        until_ms = ledger.time_ms + 1_000 - late_ms
        signed = ledger.sign(ALICE, PAY, valid_until_ms=until_ms)
        if late_ms:
            data = {"valid_until_ms": until_ms, "time_ms": ledger.time_ms + 1_000}
            assert refused(ledger, signed) == ("transaction_expired", data)
        else:
            assert ledger.block(signed)[0].succeeded

    @pytest.mark.parametrize("over_ms", [0, 1])
    def test_validity_of_at_most_an_hour(self, ledger: Ledger, over_ms: int) -> None:
        latest_ms = ledger.time_ms + 1_000 + MAXIMUM_VALIDITY_MS
        signed = ledger.sign(ALICE, PAY, valid_until_ms=latest_ms + over_ms)
        if over_ms:
            data = {"valid_until_ms": latest_ms + 1, "maximum": latest_ms}
            assert refused(ledger, signed) == ("validity_too_long", data)
        else:
            assert ledger.block(signed)[0].succeeded

    @pytest.mark.parametrize("short", [0, 1])
    def test_the_required_fee_to_the_unit(self, ledger: Ledger, short: int) -> None:
        needed = ledger.required_fee(ledger.sign(ALICE, PAY, fee=50_000))
        signed = ledger.sign(ALICE, PAY, fee=needed - short)
        assert ledger.required_fee(signed) == needed
        if short:
            assert refused(ledger, signed) == ("fee_too_low", {"needed": needed, "offered": needed - 1})
        else:
            assert ledger.block(signed)[0].succeeded

    def test_an_account_that_cannot_pay(self, ledger: Ledger) -> None:
        data = {"needed": DEFAULT_FEE, "available": 0}
        assert refused(ledger, ledger.sign(NOBODY, PAY)) == ("insufficient_funds", data)
        assert account(ledger.view, NOBODY.address).sequence == 0


class TestFees:
    def test_base_part_to_pot_and_treasury_and_the_tip_to_the_proposer(self, ledger: Ledger) -> None:
        signed = ledger.sign(ALICE, PAY, fee=DEFAULT_FEE)
        required = ledger.required_fee(signed)
        ledger.block(signed)
        money = totals(ledger.view)
        assert money.epoch_pot == required // 2
        assert money.treasury == required - required // 2
        assert account(ledger.view, ledger.proposer).balance == DEFAULT_FEE - required

    def test_a_proposer_pays_the_base_part_of_its_own_transactions(self) -> None:
        operator = Person("operator 0")
        ledger = Ledger(make_specification([operator, BOB]))
        assert operator.address == ledger.proposer
        before = ledger.balance(operator)
        signed = ledger.sign(operator, PAY)
        ledger.block(signed)
        assert ledger.balance(operator) == before - 1 - ledger.required_fee(signed)

    def test_base_byte_and_weight(self, ledger: Ledger) -> None:
        parameters = Parameters()
        signed = ledger.sign(ALICE, PAY, AddStake(1))
        expected = parameters.base_fee + parameters.fee_per_byte * signed.size + parameters.fee_per_weight * 4
        assert ledger.required_fee(signed) == expected

    def test_a_failure_pays_and_uses_its_sequence(self, ledger: Ledger) -> None:
        result = ledger.run(ALICE, Transfer(BOB.address, "AITBC", 1), Transfer(BOB.address, "DOGE", 1))
        assert (result.error, result.failed_action, result.fee, result.events) == ("unknown_asset", 1, DEFAULT_FEE, ())
        assert account(ledger.view, ALICE.address).sequence == 1
        assert ledger.balance(ALICE) == 10_000 * COIN - DEFAULT_FEE
        assert ledger.balance(BOB) == 10_000 * COIN


class TestWeight:
    def test_a_full_block_takes_no_more(self) -> None:
        ledger = Ledger(
            make_specification([ALICE, BOB], parameters=Parameters(maximum_block_weight=1_400, due_weight=100))
        )
        execution = BlockExecution(ledger.view, context(ledger))
        heavy = ledger.sign(ALICE, *[PAY] * 999, fee=COIN)
        assert heavy.weight == 1_000
        execution.apply_transaction(heavy)
        small = ledger.sign(BOB, *[PAY] * 400, fee=COIN)
        with pytest.raises(InvalidBlock) as caught:
            execution.apply_transaction(small)
        assert caught.value.data["transaction_weight"] == 401
        execution.apply_transaction(ledger.sign(BOB, *[PAY] * 399, fee=COIN))
        assert execution.outcome().weight == 1_400
        with pytest.raises(InvalidBlock):
            apply_block(ledger.view, context(ledger), [heavy, small])

    def test_the_last_block_of_an_epoch_leaves_room_for_its_end(self) -> None:
        parameters = Parameters(maximum_block_weight=EPOCH_END_WEIGHT + 1_400, due_weight=100, epoch_blocks=2)
        ledger = Ledger(make_specification([ALICE, BOB], parameters=parameters))
        heaviest = ledger.sign(ALICE, *[AddStake(1)] * 700, fee=COIN)
        too_heavy = ledger.sign(BOB, *[AddStake(1)] * 700, fee=COIN)
        assert heaviest.weight == 1_401
        apply_block(ledger.view, context(ledger), [heaviest, too_heavy])
        ledger.block()
        with pytest.raises(InvalidBlock) as caught:
            ledger.block(heaviest)
        assert caught.value.data["weight"] == EPOCH_END_WEIGHT
        ledger.block(ledger.sign(ALICE, *[AddStake(1)] * 699, fee=COIN))
        assert ledger.outcome is not None
        assert ledger.outcome.weight == EPOCH_END_WEIGHT + 1_399

    def test_parameters_leave_room_for_a_full_transaction_beside_the_due_items(self) -> None:
        """Or a steady stream of due items would keep the heaviest transactions out for ever."""
        with pytest.raises(InvalidGenesis):
            Parameters(maximum_block_weight=6_299, due_weight=5_000).check()
        Parameters(maximum_block_weight=6_300, due_weight=5_000).check()
        with pytest.raises(InvalidGenesis):
            Parameters(maximum_block_weight=8_299, due_weight=5_000, epoch_blocks=1).check()
        Parameters(maximum_block_weight=8_300, due_weight=5_000, epoch_blocks=1).check()


class TestIdempotency:
    ID = b"\x01" * 32

    def test_a_repeat_is_refused_and_named(self, ledger: Ledger) -> None:
        first = ledger.sign(ALICE, PAY, idempotency_id=self.ID)
        ledger.block(first)
        second = ledger.sign(ALICE, PAY, idempotency_id=self.ID)
        assert refused(ledger, second) == ("already_done", {"txid": first.txid})

    def test_twice_in_one_block(self, ledger: Ledger) -> None:
        with pytest.raises(InvalidBlock):
            ledger.block(*(ledger.sign(ALICE, PAY, sequence=at, idempotency_id=self.ID) for at in range(2)))

    def test_a_failure_consumes_nothing(self, ledger: Ledger) -> None:
        failing = ledger.sign(ALICE, Transfer(BOB.address, "DOGE", 1), idempotency_id=self.ID)
        assert not ledger.block(failing)[0].succeeded
        assert ledger.block(ledger.sign(ALICE, PAY, idempotency_id=self.ID))[0].succeeded

    def test_an_id_belongs_to_its_sender(self, ledger: Ledger) -> None:
        for person in (ALICE, BOB):
            pay = Transfer(NOBODY.address, "AITBC", 1)
            assert ledger.block(ledger.sign(person, pay, idempotency_id=self.ID))[0].succeeded

    @pytest.mark.parametrize("early_ms", [0, 1])
    def test_used_again_after_expiry(self, ledger: Ledger, early_ms: int) -> None:
        ledger.block(ledger.sign(ALICE, PAY, idempotency_id=self.ID))
        ledger.block(after_ms=LIFETIME_MS - 1_000 - early_ms)
        again = ledger.sign(ALICE, PAY, idempotency_id=self.ID)
        if early_ms:
            assert refused(ledger, again)[0] == "already_done"
        else:
            assert ledger.block(again)[0].succeeded

    def test_it_leaves_the_state(self, ledger: Ledger) -> None:
        ledger.block(ledger.sign(ALICE, PAY, idempotency_id=self.ID))
        ledger.block(after_ms=LIFETIME_MS)
        assert list(IDEMPOTENCY.scan(ledger.view)) == []

    def test_used_again_before_the_late_queue_forgot_it(self) -> None:
        """The first use's deadline must not make the second one forgotten."""
        ledger = Ledger(make_specification([ALICE, BOB], parameters=TIGHT))
        clog(ledger, 300)
        first = ledger.sign(ALICE, PAY, idempotency_id=self.ID)
        ledger.block(first)
        ledger.block(after_ms=LIFETIME_MS)
        assert [entry.txid for _, entry in IDEMPOTENCY.scan(ledger.view)] == [first.txid]
        second = ledger.sign(ALICE, PAY, idempotency_id=self.ID)
        assert ledger.block(second)[0].succeeded
        ledger.wait(60_000, step_ms=1_000)
        assert refused(ledger, ledger.sign(ALICE, PAY, idempotency_id=self.ID)) == (
            "already_done",
            {"txid": second.txid},
        )


class TestBuilding:
    """A block built from what BlockExecution took is valid in apply_block, with the same outcome."""

    def test_same_outcome(self) -> None:
        market = Market(gpus=2)
        booking_id = market.reserve(after_seconds=60)
        execution = BlockExecution(market.view, context(market, 9_000))
        taken = []
        offered = [
            market.sign(market.renter, Cancel(booking_id)),
            market.sign(market.renter, PAY, sequence=99),
            market.sign(NOBODY, PAY),
            market.sign(market.other, Transfer(BOB.address, "DOGE", 1)),
            market.sign(market.provider, RemoveStake(1), idempotency_id=b"\x05" * 32),
        ]
        for transaction in offered:
            try:
                execution.apply_transaction(transaction)
            except LedgerError:
                continue
            taken.append(transaction)
        assert len(taken) == 3
        view = market.view
        outcome = apply_block(view, context(market, 9_000), [Transaction.decode(item.envelope) for item in taken])
        assert outcome == execution.outcome()
        assert view.changes() == execution.view.changes()
        assert outcome.results_root == results_root(outcome.system, outcome.results)

    def test_the_results_root_commits_to_every_result(self, ledger: Ledger) -> None:
        roots = set()
        for action in (PAY, Transfer(BOB.address, "AITBC", 2), Transfer(BOB.address, "DOGE", 1)):
            roots.add(apply_block(ledger.view, context(ledger), [ledger.sign(ALICE, action)]).results_root)
        assert len(roots) == 3


def test_a_state_that_was_never_initialised() -> None:
    block = BlockContext("devnet-00000000", 1, 0, GENESIS_TIME_MS, ALICE.address)
    with pytest.raises(InvalidGenesis):
        apply_block(View(MemoryReader()), block, ())


def test_check_transaction_returns_the_required_fee(ledger: Ledger) -> None:
    signed = ledger.sign(ALICE, PAY)
    required = check_transaction(ledger.view, Parameters(), context(ledger), signed)
    assert required == ledger.required_fee(signed)


def test_the_genesis_block_holds_nothing(ledger: Ledger) -> None:
    assert Block.decode(ledger.genesis.block.encode()) == ledger.genesis.block
    assert ledger.genesis.block.envelopes == ()
