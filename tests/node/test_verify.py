"""Verification from genesis: an honest database passes, and whatever else it holds is named."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import plyvel
import pytest

from chain.bank import ACCOUNTS, Account
from chain.block import Block
from chain.certificate import VoteKind
from chain.crypto import bls
from chain.errors import LedgerError
from chain.parameters import Parameters
from chain.record import decode_record, encode_record
from chain.result import Event, SystemResult, TransactionResult
from chain.state import trie
from chain.state.view import View
from node import store_tables as tables
from node.execution import Parent, batch_of, run_block
from node.store import Store
from node.store_errors import StoreCorrupted, StoreLocked, StoreMissing, StoreWrongChain
from node.verify import OrderedState, VerifyFailed, verify
from tests.ledger import Person, make_specification
from tests.solo import AUTHORITY, Solo, finalization_of, pay, trade

PEOPLE = tuple(Person(name) for name in ("provider", "renter", "carol", "dave"))
PARAMETERS = Parameters(epoch_blocks=5, dispute_window_seconds=3)
SPECIFICATION = make_specification(PEOPLE, parameters=PARAMETERS, authorities=(AUTHORITY,))
BLOCKS = 14


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of three epochs with payments, stakes, a booking from reservation to its last payment, and leftovers."""
    path = tmp_path_factory.mktemp("verify") / "a"
    with Solo(path, specification=SPECIFICATION) as solo:
        trade(solo, PEOPLE, BLOCKS)
        assert any(final.outcome.system.events for final in solo.finals)
        waiting = solo.sign(PEOPLE[2], pay(PEOPLE[3], 1))
        solo.store.put_submitted({waiting.txid: waiting.envelope})
        candidate = solo.build()
        solo.executor.persist([candidate], [replace(solo.finalize(candidate), kind=VoteKind.NOTARIZE)])
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "copy")
    return tmp_path / "copy"


def test_an_honest_database_passes(path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    report = verify(path, SPECIFICATION, lambda *progress: stages.append(progress))
    assert (report.height, report.certificates) == (BLOCKS, BLOCKS)
    assert report.transactions == 4 * BLOCKS + 6
    assert report.chain_id in str(report)
    assert ("execution", BLOCKS, BLOCKS) in stages
    with Store.open(path) as store:
        assert report.state_entries == sum(1 for _ in store.read_table(tables.STATE))
        assert report.history_entries == sum(1 for _ in store.read_table(tables.HISTORY))
        assert store.head.hash == report.head_hash


def test_a_new_and_a_pruned_database_pass(path: Path, tmp_path: Path) -> None:
    with Solo(tmp_path / "new", specification=SPECIFICATION):
        pass
    assert verify(tmp_path / "new", SPECIFICATION).height == 0
    with Store.open(path) as store:
        assert store.prune(10_000, BLOCKS - 2) > 0
    assert verify(path, SPECIFICATION).height == BLOCKS


def test_what_cannot_be_opened(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        verify(tmp_path / "nothing", SPECIFICATION)
    with pytest.raises(StoreWrongChain):
        verify(path, replace(SPECIFICATION, time_ms=SPECIFICATION.time_ms + 1))
    with Store.open(path), pytest.raises(StoreLocked):
        verify(path, SPECIFICATION)


Tamper = Callable[[plyvel.DB], None]


def _rewrite(table: bytes, change: Callable[[bytes], bytes | None], number: int = -1) -> Tamper:
    """Replace one value of a table, by its place in the table; None deletes."""

    def tamper(database: plyvel.DB) -> None:
        key, value = list(database.iterator(prefix=table))[number]
        new = change(value)
        assert new != value
        if new is None:
            database.delete(key)
        else:
            database.put(key, new)

    return tamper


def _rich(value: bytes) -> bytes:
    account = decode_record(Account, value)
    return encode_record(Account(account.balance + 1, account.sequence))


def _put(key: bytes, value: bytes) -> Tamper:
    return lambda database: database.put(key, value)


def _dearer(value: bytes) -> bytes:
    result = decode_record(TransactionResult, value)
    return encode_record(replace(result, fee=result.fee + 1))


def _block_at(database: plyvel.DB, height: bytes) -> bytes:
    block = tables.StoreReader(database).block_at(int.from_bytes(height, "big"))
    assert block is not None
    return block.encode()


def _flip(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


HEIGHT = tables.u64(7)
MORE = encode_record(SystemResult(5, (Event("booking.closed", (("booking", bytes(32)),), ()),)))
TAMPERINGS: dict[str, Tamper] = {
    "a balance": _rewrite(tables.STATE + ACCOUNTS.key(b""), _rich),
    "a state entry too many": _put(tables.STATE + ACCOUNTS.key(b"\x00" * 33), encode_record(Account(0, 0))),
    "a state entry after all others": _put(tables.STATE + b"\xf0", b""),
    "a state entry gone": _rewrite(tables.STATE + b"\x10", lambda _: None),
    "a header": _rewrite(tables.HEADERS, _flip),
    "the genesis hash": _rewrite(tables.BLOCK_HASHES, lambda _: bytes(32), 0),
    "the genesis header": lambda database: database.put(
        tables.HEADERS + database.get(tables.BLOCK_HASHES + tables.u64(0)),
        database.get(tables.HEADERS + database.get(tables.BLOCK_HASHES + HEIGHT)),
    ),
    "the genesis body": lambda database: database.put(
        tables.BODIES + database.get(tables.BLOCK_HASHES + tables.u64(0)),
        database.get(tables.BODIES + database.get(tables.BLOCK_HASHES + HEIGHT)),
    ),
    "a body": _rewrite(tables.BODIES, _flip),
    "a body gone": _rewrite(tables.BODIES, lambda _: None),
    "a block hash": _rewrite(tables.BLOCK_HASHES, lambda _: bytes(32), 5),
    "a finalization": _rewrite(tables.FINALIZATIONS, _flip, 5),
    "a finalization gone": _rewrite(tables.FINALIZATIONS, lambda _: None, 5),
    "a finalization of genesis": lambda database: database.put(
        tables.FINALIZATIONS + tables.u64(0), database.get(tables.FINALIZATIONS + HEIGHT)
    ),
    "a result of the block itself": _put(tables.RESULTS + HEIGHT + tables.slot(tables.SYSTEM_INDEX), MORE),
    "a result": _rewrite(tables.RESULTS + HEIGHT, lambda value: None),
    "another result": _rewrite(tables.RESULTS + HEIGHT, _dearer),
    "a result too many": lambda database: database.put(
        tables.RESULTS + tables.u64(99) + tables.slot(0), database.get(tables.RESULTS + HEIGHT + tables.slot(0))
    ),
    "a transaction's place": _rewrite(tables.TRANSACTIONS, lambda _: HEIGHT + tables.u32(1)),
    "a transaction too many": _put(tables.TRANSACTIONS + bytes(32), HEIGHT + tables.u32(0)),
    "a history entry too many": _put(tables.history_key(PEOPLE[2].address, 3, 9), b""),
    "a history entry gone": _rewrite(tables.HISTORY, lambda _: None),
    "a history entry with a value": _rewrite(tables.HISTORY, lambda _: b"x"),
    "a root": _rewrite(tables.ROOTS, lambda _: b"", 4),
    "a root with another version": _rewrite(tables.ROOTS, lambda value: tables.u64(3) + value[8:], 4),
    "an old trie node": _rewrite(tables.NODES, _flip, 0),
    "a new trie node": _rewrite(tables.NODES, _flip),
    "an old trie node gone": _rewrite(tables.NODES, lambda _: None, 0),
    "a list of stale nodes": _rewrite(tables.STALE, lambda value: value[: 10 + (value[9] + 7) // 8]),
    "a list of stale nodes gone": _rewrite(tables.STALE, lambda _: None),
    "an authority set": _rewrite(tables.AUTHORITY_SETS, _flip),
    "an authority set too many": _put(tables.AUTHORITY_SETS + tables.u64(1), b"\x82\x01\x80"),
    "a submitted envelope": _rewrite(tables.SUBMITTED, _flip),
    "a submitted envelope under another id": _put(tables.SUBMITTED + bytes(32), b"\x82\x40\x40"),
    "a candidate": _rewrite(tables.CANDIDATES, _flip),
    "a candidate below the head": lambda database: database.put(
        tables.CANDIDATES + HEIGHT, _block_at(database, HEIGHT)
    ),
    "a notarization": _rewrite(tables.CERTIFICATES[VoteKind.NOTARIZE], lambda value: value[:-1]),
}


@pytest.mark.parametrize("alone", [False, True], ids=["whole", "execution alone"])
@pytest.mark.parametrize("name", TAMPERINGS)
def test_whatever_was_changed_is_found(path: Path, name: str, alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With good checksums everywhere, so that LevelDB has nothing to complain about; also without the first stage."""
    database = plyvel.DB(str(path / "database"), create_if_missing=False)
    TAMPERINGS[name](database)
    database.close()
    if alone:
        monkeypatch.setattr("node.verify.check_store", lambda *_: None)
    with pytest.raises((VerifyFailed, StoreCorrupted)) as found:
        verify(path, SPECIFICATION)
    print(found.value)


def test_a_live_node_lost_in_pruning_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        store.prune(10_000, BLOCKS - 1)
        oldest = min(key for key, _ in store.read_table(tables.NODES))
        assert int.from_bytes(oldest[:8], "big") < BLOCKS - 1
    database = plyvel.DB(str(path / "database"), create_if_missing=False)
    database.delete(tables.NODES + oldest)
    database.close()
    monkeypatch.setattr("node.verify.check_store", lambda *_: None)
    with pytest.raises(VerifyFailed, match="another trie node"):
        verify(path, SPECIFICATION)


def _above(solo: Solo) -> Parent:
    return Parent(solo.executor.head(), solo.store, solo.store, solo.store.head.root)


def test_a_forged_certificate_is_found(tmp_path: Path) -> None:
    """Everything agrees, but the finalization was made with a key that no authority has."""
    stranger = bls.secret_key_from_seed(bytes(32))
    with Solo(tmp_path / "a", specification=SPECIFICATION) as solo:
        trade(solo, PEOPLE, 2)
        block = solo.build()
        solo.executor.commit(block, finalization_of(solo.chain_id, block, stranger))
        solo.advance()
    with pytest.raises(VerifyFailed) as found:
        verify(tmp_path / "a", SPECIFICATION)
    assert found.value.data == {"what": "the finalization does not hold", "height": 3}


def test_certificates_of_another_kind_or_view_are_found(tmp_path: Path) -> None:
    for number, change in enumerate(({"kind": VoteKind.NOTARIZE}, {"view": 1})):
        path = tmp_path / str(number)
        with Solo(path, specification=SPECIFICATION) as solo:
            trade(solo, PEOPLE, 2)
            block = solo.build(view=3)
            executed = run_block(_above(solo), block, solo.verifier, chain_id=solo.chain_id, epoch_blocks=5)
            wrong = replace(solo.finalize(block), **change)  # type: ignore[arg-type]
            solo.store.commit(batch_of(executed, wrong, solo.executor.head().authorities))
        with pytest.raises(LedgerError) as found:
            verify(path, SPECIFICATION)
        assert found.value.data == {"what": "the finalization does not hold", "height": 3}


def test_a_lie_that_agrees_with_itself_is_found_by_execution(tmp_path: Path) -> None:
    """The authority itself signed a block whose state gives somebody money; every root and certificate fits it."""
    with Solo(tmp_path / "a", specification=SPECIFICATION) as solo:
        trade(solo, PEOPLE, 2)
        block = solo.build()
        parent = _above(solo)
        honest = run_block(parent, block, solo.verifier, chain_id=solo.chain_id, epoch_blocks=5)
        key = ACCOUNTS.key(PEOPLE[3].address)
        held = solo.store.get(key)
        assert held is not None
        changes = {**honest.changes, key: _rich(held)}
        update = trie.update(solo.store, parent.root, 3, changes)
        lie = Block.of(replace(block.header, state_root=update.root_hash), block.envelopes)
        executed = replace(honest, block=lie, changes=changes, update=update)
        solo.store.commit(batch_of(executed, solo.finalize(lie), parent.head.authorities))
    with pytest.raises(VerifyFailed) as found:
        verify(tmp_path / "a", SPECIFICATION)
    assert found.value.data["height"] == 3
    assert "another state root" in str(found.value)


def test_a_bad_signature_in_a_final_block_is_found(tmp_path: Path) -> None:
    """The authority included a transaction that its sender never signed."""
    with Solo(tmp_path / "a", specification=SPECIFICATION) as solo:
        transaction = solo.sign(PEOPLE[0], pay(PEOPLE[1], 5))
        forged = replace(
            transaction, signature=bytes(64), envelope=transaction.envelope.replace(transaction.signature, bytes(64))
        )
        solo.verifier.verified.add([forged])
        solo.mempool.add(forged)
        assert solo.advance().envelopes == (forged.envelope,)
    with pytest.raises(VerifyFailed, match="bad_signature"):
        verify(tmp_path / "a", SPECIFICATION)


def test_money_from_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the transition itself wrong, and so every root right, the invariants would tell."""
    real = View.changes

    def generous(self: View) -> dict[bytes, bytes | None]:
        changes = real(self)
        key = ACCOUNTS.key(PEOPLE[3].address)
        if self._base.get(key) is not None and (value := changes.get(key)) is not None:
            changes[key] = _rich(value)
        return changes

    monkeypatch.setattr(View, "changes", generous)
    with Solo(tmp_path / "a", specification=SPECIFICATION) as solo:
        trade(solo, PEOPLE, 1)
    with pytest.raises(VerifyFailed, match="money is conserved"):
        verify(tmp_path / "a", SPECIFICATION)


def test_ordered_state_is_a_reader() -> None:
    state = OrderedState()
    state.apply({bytes([key]): bytes([key]) for key in (5, 1, 3)})
    state.apply({b"\x03": None, b"\x05": b"new", b"\x04": b"x"})
    assert list(state.items()) == [(b"\x01", b"\x01"), (b"\x04", b"x"), (b"\x05", b"new")]
    assert list(state.scan(b"\x01", b"\x05")) == [(b"\x01", b"\x01"), (b"\x04", b"x")]
    assert list(state.scan(b"\x02", b"\x09", reverse=True)) == [(b"\x05", b"new"), (b"\x04", b"x")]
    assert state.get(b"\x03") is None
    assert len(state) == 3
