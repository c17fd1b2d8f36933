"""The executor: what it builds is valid, whatever the header claims wrongly is found, and what is final is on disk."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from chain.actions.accounts import Transfer
from chain.bank import ACCOUNTS
from chain.block import Block, Header, transactions_root
from chain.certificate import AuthoritySet, VoteKind
from chain.crypto.hashing import sha256
from chain.errors import LedgerError, MalformedEncoding
from chain.parameters import Parameters
from chain.result import results_root
from chain.schema import COIN
from chain.state.trie import leaves, root_of
from chain.state.view import View
from chain.transaction import Transaction
from chain.transition import SYSTEM_ACCOUNT
from node.execution import StateUnreadable, decode_authorities, encode_authorities
from node.executor import MAXIMUM_MISFITS, ExecutionDiverged, FinalBlock, StaleParent
from node.mempool import Limits
from node.store import SYSTEM_INDEX
from node.store_errors import StoreFailed
from tests.ledger import DEFAULT_FEE, Ledger, Person, make_authority
from tests.solo import AUTHORITY, FILL_SECONDS, Solo, pay

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")
PEOPLE = (ALICE, BOB, CAROL)
PARAMETERS = Parameters(epoch_blocks=4)


@pytest.fixture
def solo(tmp_path: Path) -> Iterator[Solo]:
    with Solo(tmp_path / "a", PEOPLE, parameters=PARAMETERS) as node:
        yield node


@pytest.fixture
def other(tmp_path: Path, solo: Solo) -> Iterator[Solo]:
    with Solo(tmp_path / "b", specification=solo.specification) as node:
        yield node


def test_built_blocks_are_what_the_ledger_says(solo: Solo, other: Solo) -> None:
    """The same transactions give the same results and state here, on a second node and in the ledger alone."""
    ledger = Ledger(solo.specification)
    for round_ in range(9):
        transactions = [solo.sign(sender, pay(BOB, 10 + round_)) for sender in (ALICE, CAROL)]
        for transaction in transactions:
            assert solo.mempool.add(transaction)
        block = solo.build()
        finalization = solo.finalize(block)
        assert solo.executor.execute(block) is None
        assert other.executor.execute(Block.decode(block.encode())) is None
        for node in (solo, other):
            head = node.executor.commit(block, finalization)
            assert (head.height, head.hash, head.finalization) == (round_ + 1, block.hash, finalization)
        assert set(block.envelopes) == {transaction.envelope for transaction in transactions}
        decoded = [Transaction.decode(envelope) for envelope in block.envelopes]
        results = ledger.block(*decoded, after_ms=block.header.time_ms - ledger.time_ms)
        assert solo.store.results(round_ + 1) == results == other.store.results(round_ + 1)
        state = dict(solo.store.scan(b"\x00", b"\xfe"))
        assert state == ledger.reader.values == dict(other.store.scan(b"\x00", b"\xfe"))
        assert root_of(state.items()) == block.header.state_root
        assert dict(leaves(solo.store, solo.store.head.root)) == state
    assert len(solo.mempool) == 0


def test_epochs_turn_with_the_authorities_carried_over(solo: Solo) -> None:
    genesis_set = solo.specification.authority_set()
    for height in range(1, 10):
        block = solo.advance()
        head = solo.executor.head()
        assert block.header.epoch == (height - 1) // 4
        last = height % 4 == 0
        assert block.header.next_authorities_hash == (genesis_set.hash() if last else None)
        assert head.authorities == AuthoritySet(height // 4, genesis_set.members)
    before = solo.executor.head()
    solo.close()
    solo.start()
    assert solo.executor.head() == before


WRONG = [
    ("chain_id", "devnet-00000000"),
    ("height", 7),
    ("epoch", 1),
    ("parent_hash", bytes(32)),
    ("transactions_root", bytes(32)),
    ("results_root", bytes(32)),
    ("state_root", bytes(32)),
    ("authorities_hash", bytes(32)),
    ("next_authorities_hash", bytes(32)),
    ("time_ms", 5),
    ("proposer", ALICE.address),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=[name for name, _ in WRONG])
def test_a_wrong_header_field_is_invalid(solo: Solo, other: Solo, field: str, value: object) -> None:
    solo.mempool.add(solo.sign(ALICE, pay(BOB, 5)))
    block = solo.build()
    bad = Block.of(replace(block.header, **{field: value}), block.envelopes)
    reason = other.executor.execute(bad)
    assert reason is not None
    assert other.executor.execute(bad) == reason
    assert other.executor.execute(block) is None


def _reseal(block: Block, envelopes: tuple[bytes, ...]) -> Block:
    return Block.of(replace(block.header, transactions_root=transactions_root(envelopes)), envelopes)


def test_a_wrong_body_is_invalid(solo: Solo, other: Solo) -> None:
    first, second = solo.sign(ALICE, pay(BOB, 5)), solo.sign(CAROL, pay(BOB, 5))
    solo.mempool.add(first)
    solo.mempool.add(second)
    block = solo.build()
    forged = Transaction.decode(first.envelope[:-1] + bytes([first.envelope[-1] ^ 1])).envelope
    bodies = [
        (forged, second.envelope),
        (second.envelope, first.envelope),
        (first.envelope,),
        (first.envelope, first.envelope),
        (first.envelope, second.envelope, b"\x00"),
        (),
    ]
    for envelopes in bodies:
        assert other.executor.execute(_reseal(block, envelopes)) is not None
    assert "bad_signature" in (other.executor.execute(_reseal(block, bodies[0])) or "")
    assert other.executor.execute(block) is None


def test_a_known_transaction_under_another_signature_is_verified_again(solo: Solo) -> None:
    """The memory of verified envelopes never answers for a body alone."""
    transaction = solo.sign(ALICE, pay(BOB, 5))
    solo.verifier.check_all([transaction.envelope])
    forged = transaction.envelope[:-1] + bytes([transaction.envelope[-1] ^ 1])
    (answer,) = solo.verifier.check_all([forged])
    assert isinstance(answer, LedgerError)
    (answer,) = solo.verifier.check_all([transaction.envelope])
    assert isinstance(answer, Transaction)


def test_history_names_senders_and_subjects(solo: Solo) -> None:
    solo.mempool.add(solo.sign(ALICE, pay(BOB, 5), fee=3 * DEFAULT_FEE))
    solo.mempool.add(solo.sign(ALICE, pay(CAROL, 5), pay(CAROL, 6)))
    solo.advance()
    solo.mempool.add(solo.sign(CAROL, pay(ALICE, 1)))
    solo.advance()
    assert solo.store.history(ALICE.address) == [(2, 0), (1, 1), (1, 0)]
    assert solo.store.history(BOB.address) == [(1, 0)]
    assert solo.store.history(CAROL.address) == [(2, 0), (1, 1)]
    assert solo.store.transaction_location(solo.finals[0].transactions[1].txid) == (1, 1)


def test_a_failed_action_is_included_pays_and_is_indexed(solo: Solo) -> None:
    transaction = solo.sign(ALICE, pay(BOB, 5), Transfer(BOB.address, "GOLD", 5))
    solo.mempool.add(transaction)
    before = solo.balance(ALICE)
    assert solo.advance().envelopes == (transaction.envelope,)
    result = solo.store.result(1, 0)
    assert result is not None
    assert (result.error, result.failed_action, result.events) == ("unknown_asset", 1, ())
    assert solo.balance(ALICE) == before - DEFAULT_FEE
    assert solo.store.history(ALICE.address) == [(1, 0)]
    assert solo.store.history(BOB.address) == []


def test_a_block_keeps_to_its_weight_and_takes_the_best(solo: Solo) -> None:
    cheap = [solo.sign(ALICE, pay(BOB, 1), sequence=index) for index in range(3)]
    dear = [solo.sign(CAROL, pay(BOB, 1), sequence=index, fee=2 * DEFAULT_FEE) for index in range(3)]
    for transaction in cheap + dear:
        solo.mempool.add(transaction)
    assert solo.build(weight=0).envelopes == ()
    two = dear[0].weight * 2 + 1
    assert solo.build(weight=two).envelopes == (dear[0].envelope, dear[1].envelope)
    assert solo.build().envelopes == tuple(item.envelope for item in dear + cheap)


def test_what_no_such_block_has_room_for_leaves_it_to_the_others(tmp_path: Path) -> None:
    """Due work may take half of a block; who offers much for what is heavier than the rest holds up nobody."""
    heavy = [Person(f"heavy {index}") for index in range(MAXIMUM_MISFITS + 1)]
    with Solo(tmp_path / "a", [*heavy, ALICE]) as solo:
        for person in heavy:
            solo.mempool.add(solo.sign(person, *[pay(BOB, 1)] * 20, fee=COIN))
        light = solo.sign(ALICE, pay(BOB, 1))
        solo.mempool.add(light)
        assert solo.build(weight=light.weight).envelopes == (light.envelope,)


def test_what_can_never_be_included_is_dropped_and_the_rest_of_the_block_is_built(solo: Solo) -> None:
    once = solo.sign(ALICE, pay(BOB, 1), idempotency_id=bytes(32))
    again = solo.sign(ALICE, pay(BOB, 1), sequence=1, idempotency_id=bytes(32))
    later, fine = solo.sign(ALICE, pay(BOB, 1), sequence=2), solo.sign(CAROL, pay(BOB, 1))
    for transaction in (once, again, later, fine):
        solo.mempool.add(transaction)
    block = solo.advance()
    assert set(block.envelopes) == {once.envelope, fine.envelope}
    reason = solo.mempool.dropped(again.txid)
    assert reason is not None
    assert (reason.name, reason.data) == ("already_done", {"txid": once.txid})
    assert later.txid in solo.mempool
    assert not solo.mempool.has_executable


def test_blocks_stay_below_their_size(tmp_path: Path) -> None:
    """Many large transactions: the block that is built can be decoded."""
    people = [Person(f"person {index}") for index in range(110)]
    parameters = Parameters(maximum_block_weight=1_000_000)
    with Solo(tmp_path / "a", people, parameters=parameters) as solo:
        for person in people:
            actions = [pay(BOB, 1)] * 1_000
            assert solo.mempool.add(solo.sign(person, *actions, fee=COIN))
        block = solo.build(weight=1_000_000)
        data = block.encode()
        assert Block.decode(data) == block
        assert 4_100_000 < len(data) <= 4 << 20
        solo.executor.commit(block, solo.finalize(block))
        assert 0 < len(solo.mempool) < 110


def test_a_proposer_does_not_fill_a_block_for_longer_than_a_view_allows(
    solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sequence in range(9):
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), sequence=sequence))
    # Looking at the clock takes a quarter of the time that there is.
    clock = itertools.count(0, FILL_SECONDS / 4)
    with monkeypatch.context() as patch:
        patch.setattr("node.executor.time", SimpleNamespace(monotonic=lambda: next(clock)))
        assert len(solo.advance().envelopes) == 3
    assert len(solo.advance().envelopes) == 6


def test_commit_without_execution_executes(solo: Solo, other: Solo) -> None:
    block = solo.advance()
    assert other.executor.commit(block, solo.finalize(block)) == solo.executor.head()
    assert other.executor.commit(block, solo.finalize(block)).height == 1
    assert len(other.finals) == 1


def test_a_final_block_that_is_invalid_here_is_refused_loudly(solo: Solo) -> None:
    block = solo.build()
    bad = Block.of(replace(block.header, state_root=bytes(32)), block.envelopes)
    with pytest.raises(ExecutionDiverged):
        solo.executor.commit(bad, solo.finalize(bad))
    assert solo.executor.head().height == 0
    with pytest.raises(ValueError, match="not the finalization"):
        solo.executor.commit(block, solo.finalize(bad))
    notarization = replace(solo.finalize(block), kind=VoteKind.NOTARIZE)
    with pytest.raises(ValueError, match="not the finalization"):
        solo.executor.commit(block, notarization)


def test_candidates_and_certificates_survive_and_go(solo: Solo) -> None:
    first = solo.build(view=1)
    second = solo.build(view=2)
    notarization = replace(solo.finalize(first), kind=VoteKind.NOTARIZE)
    solo.executor.persist([first, second], [notarization])
    solo.executor.persist([first], [notarization])
    solo.close()
    solo.start()
    assert list(solo.executor.candidates()) == [first, second]
    assert list(solo.executor.certificates()) == [notarization]
    assert solo.executor.block(second.hash) == second
    assert solo.executor.execute(second) is None
    solo.executor.commit(second, solo.finalize(second))
    assert list(solo.executor.candidates()) == []
    assert list(solo.executor.certificates()) == []
    assert solo.executor.block(first.hash) is None
    assert solo.executor.block(second.hash) == second
    assert solo.executor.finalization(1) == solo.finalize(second)
    assert solo.executor.finalization(0) is None
    assert solo.executor.finalization(2) is None


def test_building_above_a_block_that_is_no_longer_the_head(solo: Solo) -> None:
    old = solo.executor.head()
    solo.advance()
    arguments = {"epoch": 0, "view": 1, "time_ms": solo.wall_ms, "proposer": SYSTEM_ACCOUNT, "weight_budget": 0}
    with pytest.raises(StaleParent):
        solo.executor.build(height=1, parent_hash=old.hash, **arguments)


def test_many_candidates_of_one_height_are_bounded_and_any_can_become_final(solo: Solo) -> None:
    solo.mempool.add(solo.sign(ALICE, pay(BOB, 5)))
    blocks = [solo.build(view=view) for view in range(1, 30)]
    assert len(solo.executor._overlays) <= 8
    solo.executor.commit(blocks[0], solo.finalize(blocks[0]))
    assert solo.executor.head().hash == blocks[0].hash


class _FailingReads:
    """A store whose state reads fail from the nth on."""

    def __init__(self, store: object, reads: int) -> None:
        self._store = store
        self._left = reads

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def get(self, key: bytes) -> bytes | None:
        self._left -= 1
        if self._left < 0:
            raise StoreFailed(reason="input/output error")
        return self._store.get(key)  # type: ignore[attr-defined]


def test_a_read_that_fails_is_never_an_invalid_block_nor_a_failed_transaction(solo: Solo, other: Solo) -> None:
    for sender in (ALICE, CAROL):
        solo.mempool.add(solo.sign(sender, pay(BOB, 5)))
    block = solo.build()
    store, outcomes = other.executor._store, set()
    for reads in range(40):
        other.executor._store = _FailingReads(store, reads)  # type: ignore[assignment]
        try:
            outcomes.add(other.executor.execute(block))
            break
        except StateUnreadable:
            outcomes.add("raised")
    assert outcomes == {"raised", None}


def test_next_due_work(tmp_path: Path) -> None:
    with Solo(tmp_path / "a", PEOPLE) as solo:
        assert solo.executor.next_due_ms is None
        solo.mempool.add(solo.sign(ALICE, pay(BOB, 1), idempotency_id=bytes(32)))
        block = solo.advance()
        assert solo.executor.next_due_ms == block.header.time_ms + 24 * 3_600_000


def test_subscribers_hear_of_final_blocks_through_notify(solo: Solo) -> None:
    waiting: list[object] = []
    heard: list[FinalBlock] = []
    solo.executor._notify = waiting.append
    solo.executor.subscribe(heard.append)
    solo.mempool.add(solo.sign(ALICE, pay(BOB, 1)))
    block = solo.advance()
    assert heard == []
    for call in waiting:
        call()  # type: ignore[operator]
    (final,) = heard
    assert final.block == block
    assert [item.envelope for item in final.transactions] == list(block.envelopes)
    assert results_root(final.outcome.system, final.outcome.results) == block.header.results_root
    assert ACCOUNTS.key(ALICE.address) in final.changes


def test_methods_take_turns(tmp_path: Path) -> None:
    """Blocks are built and made final while other threads admit transactions and read."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def guard(work: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:
            failures.append(error)

    with Solo(tmp_path / "a", PEOPLE, limits=Limits(count=50)) as solo:
        other = Solo(tmp_path / "b", specification=solo.specification)

        def submit() -> None:
            with contextlib.suppress(LedgerError):
                solo.mempool.add(solo.sign(ALICE, pay(BOB, 1)))

        def read() -> None:
            solo.executor.persist([], [])
            assert solo.executor.block(solo.executor.head().hash) is not None
            assert View(solo.store) is not None

        threads = [threading.Thread(target=guard, args=(work,)) for work in (submit, read)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                block = solo.advance()
                other.executor.commit(block, solo.finalize(block))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        other.close()
        assert failures == []
        assert solo.executor.head() == other.executor.head()


def test_authority_set_bytes() -> None:
    """The stored form, byte for byte."""
    authorities = AuthoritySet(3, (AUTHORITY, make_authority("1")[0]))
    data = encode_authorities(authorities)
    assert data[:3] == b"\x82\x01\x82"
    assert sha256(data).hex() == "81b89514d388ae3999e82dca02ec277b41512a7d1f3ff482a38e44096eefb868"
    assert decode_authorities(data, 3) == authorities
    assert decode_authorities(data, 4) == AuthoritySet(4, authorities.members)
    for bad in (
        b"",
        b"\x82\x02\x80",
        b"\x82\x01\x80",
        data[:-1],
        b"\x82\x01\x82" + data[3:225] * 2,
        b"\x82\x01\x81\x01",
    ):
        with pytest.raises(MalformedEncoding):
            decode_authorities(bad, 0)


def test_genesis_bytes_of_the_store(solo: Solo) -> None:
    header = solo.store.header_at(0)
    assert isinstance(header, Header)
    assert header.parent_hash == solo.specification.hash
    assert solo.store.system_result(0) is not None
    assert solo.store.history(SYSTEM_ACCOUNT) == []
    assert SYSTEM_INDEX == 0xFFFFFFFF
