"""Transactions that no block can hold are no work, or the leaders would make one empty block after the other."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.actions.multisig import ApproveProposal
from chain.parameters import EPOCH_END_WEIGHT, PARAMETERS
from chain.record import encode_record
from chain.schema import COIN
from chain.state.view import MemoryReader
from chain.transaction import Transaction
from node.mempool import Mempool, TransactionTooHeavy
from tests.ledger import Person
from tests.solo import Solo

ALICE = Person("alice")
HEAVIEST = 8_000
OTHER_WEIGHT = 11
"""Of the transaction and the approval themselves."""


@pytest.fixture
def solo(tmp_path: Path) -> Iterator[Solo]:
    with Solo(tmp_path / "a", (ALICE,)) as node:
        yield node


def weighing(solo: Solo, weight: int) -> Transaction:
    action = ApproveProposal(bytes(32), weight - OTHER_WEIGHT)
    transaction = solo.sign(ALICE, action, fee=100 * COIN)
    assert transaction.weight == weight
    return transaction


def test_what_is_heavier_than_a_block_is_refused(solo: Solo) -> None:
    assert solo.specification.parameters.maximum_block_weight == HEAVIEST
    with pytest.raises(TransactionTooHeavy):
        solo.mempool.add(weighing(solo, HEAVIEST + 1))
    assert not solo.mempool.has_executable
    heaviest = weighing(solo, HEAVIEST)
    assert solo.mempool.add(heaviest)
    assert solo.advance().envelopes == (heaviest.envelope,)


def test_what_no_block_has_room_for_at_the_end_of_an_epoch_is_refused(solo: Solo) -> None:
    """Where each block ends an epoch, the weight of that is never free."""
    reader = MemoryReader(dict(solo.store.scan(b"\x00", b"\xfe")))
    each = replace(solo.specification.parameters, epoch_blocks=1)
    reader.apply({PARAMETERS.key(): encode_record(each)})
    mempool = Mempool(reader, solo.chain_id, wall_ms=lambda: solo.wall_ms)
    with pytest.raises(TransactionTooHeavy):
        mempool.add(weighing(solo, HEAVIEST - EPOCH_END_WEIGHT + 1))
    assert mempool.add(weighing(solo, HEAVIEST - EPOCH_END_WEIGHT))


def test_smaller_blocks_drop_what_no_longer_fits(solo: Solo) -> None:
    transaction = weighing(solo, HEAVIEST)
    reader = MemoryReader(dict(solo.store.scan(b"\x00", b"\xfe")))
    mempool = Mempool(reader, solo.chain_id, wall_ms=lambda: solo.wall_ms)
    mempool.add(transaction)
    solo.advance()
    smaller = encode_record(replace(solo.specification.parameters, maximum_block_weight=HEAVIEST - 1))
    changes = {**solo.finals[0].changes, PARAMETERS.key(): smaller}
    reader.apply(changes)
    mempool.final(replace(solo.finals[0], changes=changes))
    assert isinstance(mempool.dropped(transaction.txid), TransactionTooHeavy)
    assert not mempool.has_executable
