"""The mempool: who is admitted, who gives way, what is proposed first, and that its books always add up."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.actions.accounts import Transfer
from chain.actions.staking import AddStake
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256
from chain.errors import (
    BadSignature,
    FeeTooLow,
    InsufficientFunds,
    KeyMismatch,
    LedgerError,
    SequenceMismatch,
    TransactionExpired,
    ValidityTooLong,
    WrongChain,
)
from chain.parameters import PARAMETERS
from chain.record import encode_record
from chain.schema import COIN
from chain.state.view import MemoryReader
from chain.transaction import Body, Transaction
from node.mempool import Limits, Mempool, MempoolFull, Replaced, ReplacementUnderpriced, SequenceTooFar
from tests.ledger import DEFAULT_FEE, Person
from tests.market import rotation
from tests.solo import Solo, pay

ALICE, BOB, CAROL, DAVE = (Person(name) for name in ("alice", "bob", "carol", "dave"))
PEOPLE = (ALICE, BOB, CAROL, DAVE)
LIMITS = Limits(count=8, sender_count=5, gap=3, remembered=4)


@pytest.fixture
def solo(tmp_path: Path) -> Iterator[Solo]:
    with Solo(tmp_path / "a", PEOPLE) as node:
        yield node


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Solo]:
    with Solo(tmp_path / "a", PEOPLE, limits=LIMITS) as node:
        yield node


def chosen(mempool: Mempool) -> list[Transaction]:
    """What a proposal with room for everything takes."""
    selection = mempool.select()
    found = []
    while (transaction := selection.next()) is not None:
        found.append(transaction)
        selection.accept()
    return found


def test_known_is_no_error(solo: Solo) -> None:
    transaction = solo.sign(ALICE, pay(BOB, 1))
    assert solo.mempool.add(transaction) is True
    assert solo.mempool.add(transaction) is False
    assert len(solo.mempool) == 1
    assert solo.mempool.pending(transaction.txid) == transaction
    assert solo.mempool.envelopes() == ((transaction.txid, transaction.envelope),)


def test_sequences(solo: Solo) -> None:
    """A gap of 64 is allowed, more is not; what lies beyond a gap waits for it to close."""
    gap = [solo.sign(ALICE, pay(BOB, 1), sequence=sequence) for sequence in (2, 64)]
    for transaction in gap:
        solo.mempool.add(transaction)
    assert not solo.mempool.has_executable
    assert chosen(solo.mempool) == []
    with pytest.raises(SequenceTooFar) as far:
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=65))
    assert far.value.data == {"expected": 0, "got": 65, "maximum": 64}
    assert solo.mempool.next_sequence(ALICE.address) == 0
    solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=0))
    assert solo.mempool.next_sequence(ALICE.address) == 1
    solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=1))
    assert solo.mempool.next_sequence(ALICE.address) == 3
    assert [item.body.sequence for item in chosen(solo.mempool)] == [0, 1, 2]
    solo.advance()
    with pytest.raises(SequenceMismatch) as stale:
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 2), sequence=1))
    assert stale.value.data == {"expected": 3, "got": 1}
    assert solo.mempool.next_sequence(ALICE.address) == 3
    assert [item.body.sequence for item in solo.mempool.pending_of(ALICE.address)] == [64]


def test_replacement_needs_ten_percent(solo: Solo) -> None:
    first = solo.sign(ALICE, pay(BOB, 1), sequence=0, fee=1_000_001)
    solo.mempool.add(first)
    with pytest.raises(ReplacementUnderpriced) as refused:
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 2), sequence=0, fee=1_100_001))
    assert refused.value.data == {"needed": 1_100_002, "offered": 1_100_001, "pending": first.txid}
    second = solo.sign(ALICE, pay(BOB, 2), sequence=0, fee=1_100_002)
    assert solo.mempool.add(second)
    assert first.txid not in solo.mempool
    reason = solo.mempool.dropped(first.txid)
    assert isinstance(reason, Replaced)
    assert reason.data == {"by": second.txid}
    assert chosen(solo.mempool) == [second]


def test_a_replacement_in_the_middle_keeps_the_run(solo: Solo) -> None:
    run = [solo.sign(ALICE, pay(BOB, 1), sequence=sequence) for sequence in range(4)]
    for transaction in run:
        solo.mempool.add(transaction)
    run[1] = solo.sign(ALICE, pay(BOB, 9), sequence=1, fee=2 * DEFAULT_FEE)
    solo.mempool.add(run[1])
    assert chosen(solo.mempool) == run
    assert solo.mempool.next_sequence(ALICE.address) == 4


def test_funds_cover_everything_pending(solo: Solo) -> None:
    """Fees, transfers and stakes of all pending transactions together stay within the balance."""
    half = 5_000 * COIN - DEFAULT_FEE
    solo.mempool.add(solo.sign(ALICE, pay(BOB, half)))
    with pytest.raises(InsufficientFunds) as poor:
        solo.mempool.add(solo.sign(ALICE, pay(BOB, half + 1)))
    assert poor.value.data == {"needed": half + 1 + DEFAULT_FEE, "available": half + DEFAULT_FEE}
    with pytest.raises(InsufficientFunds):
        solo.mempool.add(solo.sign(ALICE, AddStake(half + 1)))
    assert solo.mempool.add(solo.sign(ALICE, AddStake(half)))
    with pytest.raises(InsufficientFunds) as empty:
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 1)))
    assert empty.value.data == {"needed": DEFAULT_FEE, "available": 0}
    replacement = solo.sign(ALICE, AddStake(half - COIN), sequence=1, fee=2 * DEFAULT_FEE)
    assert solo.mempool.add(replacement)
    solo.advance()
    assert len(solo.mempool) == 0
    assert solo.balance(ALICE) == COIN - DEFAULT_FEE


def test_what_can_no_longer_be_paid_is_dropped(solo: Solo) -> None:
    """A block built elsewhere holds another transaction of the sender: the tail that is not covered goes."""
    other = Solo(solo.path.with_name("b"), specification=solo.specification)
    other.mempool.add(other.sign(ALICE, pay(BOB, 6_000 * COIN)))
    block = other.advance()
    mine = [
        solo.sign(ALICE, pay(CAROL, amount * COIN), sequence=index) for index, amount in enumerate((1, 3_000, 5_000))
    ]
    for transaction in mine:
        solo.mempool.add(transaction)
    solo.executor.commit(block, other.finalize(block))
    assert [item.txid for item in solo.mempool.pending_of(ALICE.address)] == [mine[1].txid]
    superseded, unpaid = solo.mempool.dropped(mine[0].txid), solo.mempool.dropped(mine[2].txid)
    assert isinstance(superseded, SequenceMismatch)
    assert isinstance(unpaid, InsufficientFunds)
    other.close()


def test_expiry(solo: Solo) -> None:
    with pytest.raises(TransactionExpired):
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), valid_ms=-1))
    with pytest.raises(ValidityTooLong):
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), valid_ms=3_600_002))
    short = solo.sign(ALICE, pay(BOB, 1), sequence=1, valid_ms=2_500)
    long = solo.sign(ALICE, pay(BOB, 1), sequence=2, valid_ms=1_800_000)
    solo.mempool.add(short)
    solo.mempool.add(long)
    for _ in range(2):
        solo.advance()
        assert short.txid in solo.mempool
    solo.advance()
    assert short.txid not in solo.mempool
    assert isinstance(solo.mempool.dropped(short.txid), TransactionExpired)
    assert long.txid in solo.mempool
    assert solo.mempool.dropped(long.txid) is None


def test_the_clock_of_the_machine_judges_new_transactions_only(solo: Solo) -> None:
    """After an outage a client may sign an hour ahead of the machine's clock; an old promise outlives a wrong clock."""
    transaction = solo.sign(ALICE, pay(BOB, 1), valid_ms=600_000)
    solo.wall_ms += 3 * 3_600_000
    with pytest.raises(TransactionExpired):
        solo.mempool.add(transaction)
    assert solo.mempool.add(transaction, acknowledged=True)
    assert solo.mempool.add(solo.sign(CAROL, pay(BOB, 1), valid_ms=3_600_000))


def test_refusals_of_the_ledger(solo: Solo) -> None:
    other_chain = Solo(solo.path.with_name("b"), PEOPLE, stake=1)
    with pytest.raises(WrongChain):
        solo.mempool.add(other_chain.sign(ALICE, pay(BOB, 1)))
    other_chain.close()
    with pytest.raises(FeeTooLow):
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), fee=1))
    body = Body(
        chain_id=solo.chain_id,
        sender=ALICE.address,
        public_key=BOB.key.public_key,
        sequence=0,
        valid_until_ms=solo.wall_ms + 1_000,
        idempotency_id=None,
        fee=DEFAULT_FEE,
        actions=(pay(BOB, 1),),
    )
    with pytest.raises(KeyMismatch):
        solo.mempool.add(Transaction.sign(body, BOB.key))
    with pytest.raises(InsufficientFunds):
        solo.mempool.add(solo.sign(Person("stranger"), pay(BOB, 1)))
    assert len(solo.mempool) == 0
    assert chosen(solo.mempool) == []


class TestRotation:
    """The key with which an account signs is that of its final state."""

    def rotated(self, solo: Solo) -> tuple[Person, PrivateKey]:
        """A person whose key was replaced; and the old key."""
        person = Person("alice")
        old = person.key
        key = PrivateKey(sha256(b"another key"))
        solo.mempool.add(solo.sign(person, rotation(solo.chain_id, person.address, key)))
        person.key = key
        return person, old

    def test_what_the_old_key_signed_is_dropped(self, solo: Solo) -> None:
        person, old = self.rotated(solo)
        stale = Person("alice")
        assert stale.key.public_key == old.public_key
        pending = [solo.sign(stale, pay(BOB, 1), sequence=sequence) for sequence in (1, 2)]
        for transaction in pending:
            solo.mempool.add(transaction)
        block = solo.build()
        assert len(block.envelopes) == 1
        solo.executor.commit(block, solo.finalize(block))
        assert len(solo.mempool) == 0
        assert all(isinstance(solo.mempool.dropped(item.txid), KeyMismatch) for item in pending)
        assert solo.mempool.next_sequence(person.address) == 1

    def test_the_old_key_is_refused_and_the_new_one_admitted(self, solo: Solo) -> None:
        person, _ = self.rotated(solo)
        solo.advance()
        with pytest.raises(KeyMismatch):
            solo.mempool.add(solo.sign(Person("alice"), pay(BOB, 1)))
        transaction = solo.sign(person, pay(BOB, 1))
        solo.mempool.add(transaction)
        solo.advance()
        assert solo.results(solo.executor.head().height)[0].txid == transaction.txid

    def test_the_old_key_replaces_nothing(self, solo: Solo) -> None:
        """Nobody who has a rotated-out key can push out what its owner has pending."""
        person, _ = self.rotated(solo)
        solo.advance()
        transaction = solo.sign(person, pay(BOB, 1))
        solo.mempool.add(transaction)
        sequence = transaction.body.sequence
        with pytest.raises(KeyMismatch):
            solo.mempool.add(solo.sign(Person("alice"), pay(BOB, 2), sequence=sequence, fee=9 * DEFAULT_FEE))
        assert transaction.txid in solo.mempool

    def test_the_new_key_waits_until_its_rotation_is_final(self, solo: Solo) -> None:
        person, _ = self.rotated(solo)
        with pytest.raises(KeyMismatch):
            solo.mempool.add(solo.sign(person, pay(BOB, 1)))


def test_selection_goes_by_fee_for_weight_and_in_sequence(solo: Solo) -> None:
    heavy = solo.sign(ALICE, *[pay(BOB, 1)] * 9, fee=4 * DEFAULT_FEE)
    light = solo.sign(BOB, pay(ALICE, 1), fee=DEFAULT_FEE)
    first = solo.sign(CAROL, pay(ALICE, 1), sequence=0, fee=DEFAULT_FEE // 2)
    second = solo.sign(CAROL, pay(ALICE, 1), sequence=1, fee=9 * DEFAULT_FEE)
    for transaction in (second, heavy, first, light):
        solo.mempool.add(transaction)
    assert heavy.weight == 10
    assert chosen(solo.mempool) == [light, heavy, first, second]


def test_selection_skips_the_rest_of_a_refused_sender(solo: Solo) -> None:
    for sequence in range(3):
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=sequence, fee=2 * DEFAULT_FEE))
    solo.mempool.add(solo.sign(CAROL, pay(BOB, 1)))
    selection = solo.mempool.select()
    assert selection.next() == solo.mempool.pending_of(ALICE.address)[0]
    assert selection.next() == solo.mempool.pending_of(CAROL.address)[0]
    assert selection.next() is None


def test_equal_prices_go_in_order_of_arrival(solo: Solo) -> None:
    arrived = [solo.sign(person, pay(BOB, 1)) for person in (DAVE, ALICE, CAROL)]
    for transaction in arrived:
        solo.mempool.add(transaction)
    assert chosen(solo.mempool) == arrived


def test_a_full_mempool_gives_up_its_cheapest_tail(small: Solo) -> None:
    alices = [small.sign(ALICE, pay(BOB, 1), sequence=index, fee=(5 - index) * DEFAULT_FEE) for index in range(4)]
    bobs = [small.sign(BOB, pay(ALICE, 1), sequence=index, fee=3 * DEFAULT_FEE) for index in range(4)]
    for transaction in alices + bobs:
        small.mempool.add(transaction)
    with pytest.raises(MempoolFull):
        small.mempool.add(small.sign(CAROL, pay(BOB, 1), fee=2 * DEFAULT_FEE))
    dear = small.sign(CAROL, pay(BOB, 1), fee=2 * DEFAULT_FEE + 1)
    assert small.mempool.add(dear)
    assert alices[3].txid not in small.mempool
    assert isinstance(small.mempool.dropped(alices[3].txid), MempoolFull)
    assert small.mempool.add(small.sign(DAVE, pay(BOB, 1), fee=3 * DEFAULT_FEE))
    assert dear.txid not in small.mempool
    assert [item.body.sequence for item in small.mempool.pending_of(ALICE.address)] == [0, 1, 2]
    assert len(small.mempool) == 8


def test_what_waits_beyond_a_gap_gives_way_first_and_pushes_nothing_out(small: Solo) -> None:
    for person in (ALICE, BOB):
        for sequence in range(3):
            small.mempool.add(small.sign(person, pay(CAROL, 1), sequence=sequence))
    waiting = small.sign(CAROL, pay(BOB, 1), sequence=2, fee=50 * DEFAULT_FEE)
    small.mempool.add(waiting)
    small.mempool.add(small.sign(DAVE, pay(BOB, 1), sequence=0))
    with pytest.raises(MempoolFull):
        small.mempool.add(small.sign(DAVE, pay(BOB, 1), sequence=3, fee=40 * DEFAULT_FEE))
    assert small.mempool.add(small.sign(DAVE, pay(BOB, 1), sequence=1))
    assert waiting.txid not in small.mempool


def test_a_sender_cannot_push_out_his_own_run(tmp_path: Path) -> None:
    with Solo(tmp_path / "a", PEOPLE, limits=Limits(count=3)) as solo:
        for sequence in range(3):
            solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=sequence))
        with pytest.raises(MempoolFull):
            solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=3, fee=9 * DEFAULT_FEE))
        assert solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=1, fee=9 * DEFAULT_FEE))
        assert len(solo.mempool) == 3


def test_one_sender_is_bounded_in_count_and_bytes(tmp_path: Path) -> None:
    with Solo(tmp_path / "a", PEOPLE, limits=Limits(sender_count=3)) as solo:
        for sequence in range(3):
            solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=sequence))
        with pytest.raises(MempoolFull) as full:
            solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=3))
        assert full.value.data["scope"] == "sender"
    with Solo(tmp_path / "b", PEOPLE, limits=Limits(sender_size=1_000)) as solo:
        solo.mempool.add(solo.sign(ALICE, *[pay(BOB, 1)] * 10))
        with pytest.raises(MempoolFull):
            solo.mempool.add(solo.sign(ALICE, *[pay(BOB, 1)] * 10))
        assert solo.mempool.add(solo.sign(CAROL, *[pay(BOB, 1)] * 10))


def test_all_bytes_are_bounded(tmp_path: Path) -> None:
    with Solo(tmp_path / "a", PEOPLE, limits=Limits(size=2_000)) as solo:
        for person in (ALICE, BOB, CAROL):
            solo.mempool.add(solo.sign(person, *[pay(DAVE, 1)] * 6, fee=2 * DEFAULT_FEE))
        with pytest.raises(MempoolFull):
            solo.mempool.add(solo.sign(DAVE, *[pay(ALICE, 1)] * 28, fee=DEFAULT_FEE))
        assert solo.mempool.add(solo.sign(DAVE, *[pay(ALICE, 1)] * 28, fee=90 * DEFAULT_FEE))
        assert solo.mempool.size <= 2_000
        assert len(solo.mempool) == 2


def test_dropped_reasons_are_bounded(small: Solo) -> None:
    dropped = []
    for index in range(6):
        transaction = small.sign(ALICE, pay(BOB, 1 + index))
        small.mempool.add(transaction)
        small.mempool.drop(transaction.txid, BadSignature(txid=transaction.txid))
        dropped.append(transaction.txid)
    assert [small.mempool.dropped(txid) is not None for txid in dropped] == [False, False, True, True, True, True]
    small.mempool.drop(bytes(32), BadSignature())
    assert small.mempool.dropped(bytes(32)) is None


def test_listeners_hear_of_every_drop_but_not_of_inclusion(solo: Solo) -> None:
    heard: list[tuple[bytes, str]] = []
    solo.mempool.on_drop(lambda txid, reason: heard.append((txid, reason.name)))
    first = solo.sign(ALICE, pay(BOB, 1), sequence=0)
    second = solo.sign(ALICE, pay(BOB, 1), sequence=0, fee=2 * DEFAULT_FEE)
    solo.mempool.add(first)
    solo.mempool.add(second)
    solo.advance()
    assert heard == [(first.txid, "replaced")]


def test_dearer_parameters_drop_what_pays_too_little(solo: Solo) -> None:
    """As governance may change them: what is pending is judged again by the new ones."""
    cheap = solo.sign(ALICE, pay(BOB, 1), fee=DEFAULT_FEE // 2)
    dear = solo.sign(CAROL, pay(BOB, 1), fee=2 * DEFAULT_FEE)
    reader = MemoryReader(dict(solo.store.scan(b"\x00", b"\xfe")))
    mempool = Mempool(reader, solo.chain_id, wall_ms=lambda: solo.wall_ms)
    for transaction in (cheap, dear):
        mempool.add(transaction)
    solo.advance()
    raised = encode_record(replace(solo.specification.parameters, base_fee=DEFAULT_FEE))
    changes = {**solo.finals[0].changes, PARAMETERS.key(): raised}
    reader.apply(changes)
    mempool.final(replace(solo.finals[0], changes=changes))
    assert isinstance(mempool.dropped(cheap.txid), FeeTooLow)
    assert chosen(mempool) == [dear]
    with pytest.raises(FeeTooLow):
        mempool.add(solo.sign(DAVE, pay(BOB, 1), fee=DEFAULT_FEE))


def _check_books(mempool: Mempool, limits: Limits) -> None:
    """Everything that is kept twice agrees, and every bound holds."""
    entries = {}
    tails = {(rank, address, top) for rank, address, top in mempool._tails}
    expiries = {txid for _, txid in mempool._expiries}
    for address, sender in mempool._senders.items():
        assert sender.address == address
        assert sender.entries
        assert sender.top == max(sender.entries)
        end = sender.account.sequence
        assert min(sender.entries) >= end
        while end in sender.entries:
            end += 1
        assert sender.end == end
        assert sender.cost == sum(entry.cost for entry in sender.entries.values()) <= sender.account.balance
        assert sender.size == sum(entry.transaction.size for entry in sender.entries.values()) <= limits.sender_size
        assert len(sender.entries) <= limits.sender_count
        assert (address in mempool._ready) == (sender.account.sequence in sender.entries)
        assert (sender.tail, address, sender.top) in tails
        entries |= {entry.transaction.txid: entry.transaction for entry in sender.entries.values()}
    assert set(mempool._ready) <= set(mempool._senders)
    assert entries == mempool._entries
    assert set(entries) <= expiries
    assert mempool.size == sum(transaction.size for transaction in entries.values()) <= limits.size
    assert len(entries) <= limits.count
    assert len(mempool._tails) <= 2 * len(entries) + 1_025


def _expected_order(mempool: Mempool) -> list[Transaction]:
    """The greedy choice, worked out the slow way."""
    arrival = {entry.transaction.txid: entry.arrival for s in mempool._senders.values() for entry in s.entries.values()}
    runs = [
        [item for item in mempool.pending_of(address) if item.body.sequence < sender.end]
        for address, sender in mempool._senders.items()
    ]
    order: list[Transaction] = []
    while runs := [run for run in runs if run]:
        best = min(runs, key=lambda run: (-(run[0].body.fee * (1 << 20) // run[0].weight), arrival[run[0].txid]))
        order.append(best.pop(0))
    return order


def test_random_operations_keep_the_books(tmp_path: Path, rng: random.Random) -> None:
    """Admissions, replacements, gaps, drops, foreign blocks and expiry, against the definition of each book."""
    limits = Limits(count=14, sender_count=7, size=5_000, sender_size=3_000, gap=4)
    outcomes = set()
    with (
        Solo(tmp_path / "a", PEOPLE, limits=limits) as solo,
        Solo(tmp_path / "b", specification=solo.specification) as other,
    ):
        for step in range(600):
            person = rng.choice(PEOPLE)
            sequence = solo.mempool.next_sequence(person.address) + rng.choice((-3, -1, 0, 0, 0, 0, 1, 3, 9))
            transaction = solo.sign(
                person,
                *[pay(rng.choice(PEOPLE), rng.choice((1, COIN, COIN, 2_000 * COIN)))] * rng.randrange(1, 4),
                sequence=max(0, sequence),
                fee=rng.randrange(1, 12) * DEFAULT_FEE,
                valid_ms=rng.choice((3_000, 1_800_000)),
            )
            try:
                outcomes.add(solo.mempool.add(transaction))
            except LedgerError as error:
                outcomes.add(type(error))
            if rng.random() < 0.05 and len(solo.mempool):
                txid, _ = rng.choice(solo.mempool.envelopes())
                solo.mempool.drop(txid, BadSignature())
            assert chosen(solo.mempool) == _expected_order(solo.mempool)
            if step % 40 == 39:
                builder = rng.choice((solo, other))
                for pending in _expected_order(solo.mempool)[: rng.randrange(8)]:
                    if builder is other:
                        # What it kept from an earlier round may be worth more.
                        with contextlib.suppress(ReplacementUnderpriced):
                            other.mempool.add(pending)
                builder.wall_ms = solo.wall_ms = max(solo.wall_ms, other.wall_ms)
                block = builder.build(weight=rng.choice((5, 40, 20_000)))
                solo.wall_ms = builder.wall_ms
                for node in (solo, other):
                    node.executor.commit(block, solo.finalize(block))
                _check_books(other.mempool, limits)
            _check_books(solo.mempool, limits)
    assert {True, ReplacementUnderpriced, SequenceTooFar, MempoolFull, InsufficientFunds} <= outcomes, outcomes


def test_native_asset_only_counts_as_spending(solo: Solo) -> None:
    gold = solo.sign(ALICE, Transfer(BOB.address, "GOLD", 1 << 60))
    assert solo.mempool.add(gold)
