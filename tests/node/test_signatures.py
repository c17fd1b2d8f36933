"""Verifying in chunks: order, errors in their places, and a memory that is bounded and exact."""

from collections.abc import Iterator

import pytest

from chain.codec import encode
from chain.errors import LedgerError
from chain.transaction import Transaction
from node.signatures import ALONE, CHUNK, SignatureVerifier, VerifiedTransactions
from tests.ledger import Ledger, Person, make_specification
from tests.solo import pay

ALICE, BOB = Person("alice"), Person("bob")
COUNT = 3 * CHUNK + 5


@pytest.fixture(scope="module")
def transactions() -> list[Transaction]:
    ledger = Ledger(make_specification([ALICE]))
    return [ledger.sign(ALICE, pay(BOB, 1), sequence=sequence) for sequence in range(COUNT)]


@pytest.fixture
def verifier() -> Iterator[SignatureVerifier]:
    with SignatureVerifier() as made:
        yield made


@pytest.mark.parametrize("count", [0, 1, ALONE, ALONE + 1, CHUNK, COUNT])
def test_answers_keep_the_order(verifier: SignatureVerifier, transactions: list[Transaction], count: int) -> None:
    envelopes = [transaction.envelope for transaction in transactions[:count]]
    for index in range(0, count, 10):
        envelopes[index] = encode([transactions[index].body_bytes, bytes(64)])
    for index in range(5, count, 10):
        envelopes[index] = b"\xff"
    for _ in range(2):
        answers = verifier.check_all(envelopes)
        assert len(answers) == count
        for index, answer in enumerate(answers):
            if index % 10 == 0:
                assert isinstance(answer, LedgerError)
                assert answer.name == "bad_signature"
            elif index % 10 == 5:
                assert isinstance(answer, LedgerError)
                assert answer.name == "malformed_encoding"
            else:
                assert answer == transactions[index]
    assert len(verifier.verified) == sum(index % 5 != 0 for index in range(count))


def test_the_memory_keeps_the_latest_within_its_bounds(transactions: list[Transaction]) -> None:
    memory = VerifiedTransactions(capacity=100)
    for transaction in transactions:
        memory.add([transaction])
        assert len(memory) <= 100
    assert all(memory.get(transaction.envelope) is transaction for transaction in transactions[-50:])
    assert memory.get(transactions[0].envelope) is None
    small = VerifiedTransactions(capacity_bytes=20 * transactions[0].size)
    small.add(transactions)
    assert 10 <= len(small) <= 22


def test_what_is_forgotten_is_gone_and_makes_room(transactions: list[Transaction]) -> None:
    memory = VerifiedTransactions(capacity=100, capacity_bytes=50 * transactions[0].size)
    for transaction in transactions:
        memory.add([transaction])
        memory.forget([transaction.envelope])
    assert len(memory) == 0
    memory.add(transactions[:20])
    assert len(memory) == 20
    memory.forget([b"unknown", transactions[3].envelope])
    assert memory.get(transactions[3].envelope) is None
    assert len(memory) == 19
