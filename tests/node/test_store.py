"""The database: what it keeps, what it refuses, and what it says when something is wrong."""

import errno
import fcntl
import multiprocessing
import os
import random
import resource
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import plyvel
import pytest

from chain.codec import encode
from chain.crypto.hashing import sha256
from chain.state import trie
from chain.state.nodes import node_key
from chain.state.view import MemoryReader
from node import store as store_module
from node import store_tables as tables
from node.store import SYSTEM_INDEX, FinalizedBatch, Store
from node.store_check import check_store
from node.store_errors import (
    StoreCorrupted,
    StoreExists,
    StoreFailed,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreNotWritable,
    StoreSchemaUnknown,
    StoreWrongChain,
    translate,
)
from node.store_head import HeadFile, HeadRecord
from tests.leveldb_log import read_records, stretch_last_record, write_records
from tests.storage_chain import CHAIN_ID, GENESIS_HASH, Chain

SEED = 7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def chain() -> Chain:
    return Chain(SEED)


@pytest.fixture
def store(path: Path, chain: Chain) -> Iterator[Store]:
    Store.create(path, GENESIS_HASH, chain.genesis)
    with Store.open(path, CHAIN_ID, GENESIS_HASH) as opened:
        yield opened


def grow(store: Store, chain: Chain, blocks: int) -> None:
    for _ in range(blocks):
        store.commit(chain.advance())


def grow_small_tables(path: Path, chain: Chain, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit with a small write buffer, so that LevelDB flushes and compacts, and stop as a killed process does.

    The copy is what stays: taken while the database is open, with whatever its log and manifest hold by then.
    """
    monkeypatch.setitem(store_module._OPTIONS, "write_buffer_size", 64 << 10)
    Store.create(path, GENESIS_HASH, chain.genesis)
    with Store.open(path) as store:
        grow(store, chain, blocks)
        shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    path.with_name("copy").rename(path)
    monkeypatch.undo()


def only(path: Path, pattern: str) -> Path:
    (found,) = path.glob(pattern)
    return found


# What it keeps


def test_everything_of_a_block_can_be_read_after_reopening(path: Path, chain: Chain, store: Store) -> None:
    grow(store, chain, 35)
    store.close()
    with Store.open(path) as again, again.snapshot() as snapshot:
        for reader in (again, snapshot):
            assert reader.head.height == 35
            assert reader.head.root == chain.root
            for height, batch in enumerate(chain.batches):
                block = batch.block
                assert reader.block_hash(height) == block.hash
                assert reader.block_at(height) == reader.block(block.hash) == block
                assert reader.header_at(height) == reader.header(block.hash) == block.header
                assert reader.header_bytes(block.hash) == block.header_bytes
                assert reader.envelopes(block.hash) == block.envelopes
                assert reader.finalization(height) == batch.finalization
                assert reader.root_at(height) == batch.trie.root
                assert reader.results(height) == batch.results
                assert reader.system_result(height) == batch.system
                for index, result in enumerate(batch.results):
                    assert reader.result(height, index) == result
                    assert reader.transaction_location(result.txid) == (height, index)
                assert reader.authority_set(height // 10) == b"set %d" % (height // 10)
            assert reader.authority_set(99) == b"set 3"
            assert dict(reader.scan(b"\x00", b"\xff")) == chain.state


def test_what_is_not_there_is_none(store: Store) -> None:
    missing = bytes(32)
    assert store.block_hash(1) is None
    assert store.header(missing) is None
    assert store.header_at(1) is None
    assert store.block(missing) is None
    assert store.block_at(1) is None
    assert store.envelopes(missing) is None
    assert store.finalization(0) is None
    assert store.result(0, 0) is None
    assert store.results(1) == ()
    assert store.system_result(1) is None
    assert store.transaction_location(missing) is None
    assert store.history(missing) == []
    assert store.candidate(missing) is None
    assert store.get(b"nothing") is None
    with pytest.raises(KeyError):
        store.root_at(1)


def test_an_empty_state_is_kept(path: Path) -> None:
    chain = Chain(SEED, keys=3, changes=0)
    Store.create(path, GENESIS_HASH, chain.genesis)
    with Store.open(path) as store:
        grow(store, chain, 2)
        assert store.head.root is None
        assert store.root_at(2) is None
        assert list(store.scan(b"\x00", b"\xff")) == []
        assert check_store(store).accounts_of_state == 0


def test_scans_are_those_of_a_sorted_table(store: Store, chain: Chain, rng: random.Random) -> None:
    grow(store, chain, 3)
    memory = MemoryReader(chain.state)
    keys = sorted(chain.state)
    for _ in range(200):
        start, end = rng.choice(keys)[: rng.randrange(1, 22)], rng.choice(keys)[: rng.randrange(1, 22)]
        for reverse in (False, True):
            assert list(store.scan(start, end, reverse)) == list(memory.scan(start, end, reverse))
    assert list(store.scan(b"\x00", b"\xff", reverse=True)) == sorted(chain.state.items(), reverse=True)


def test_history_is_newest_first_and_pages(store: Store, chain: Chain) -> None:
    base = chain.advance()
    account, record = b"\x00" + b"a" * 32, b"r" * 32
    history = [(account, SYSTEM_INDEX), (account, 0), (account, 3), (record, 3), (account, 3)]
    store.commit(replaced(base, history=history))
    follow = chain.advance()
    store.commit(replaced(follow, history=[(account, 1)]))
    expected = [(2, 1), (1, 3), (1, 0), (1, SYSTEM_INDEX)]
    assert store.history(account) == expected
    assert store.history(record) == [(1, 3)]
    assert store.history(account[:32]) == []
    page: list[tuple[int, int]] = []
    while more := store.history(account, before=page[-1] if page else None, limit=1):
        page += more
    assert page == expected
    with pytest.raises(ValueError, match="255"):
        store.history(b"")


def replaced(batch: FinalizedBatch, **changes: object) -> FinalizedBatch:
    values = {name: getattr(batch, name) for name in FinalizedBatch.__slots__}
    return FinalizedBatch(**{**values, **changes})


def test_candidates_and_certificates_stay_until_they_are_decided(path: Path, store: Store, chain: Chain) -> None:
    above = chain.certificates_above()
    future = Chain(SEED)
    batches = [future.advance() for _ in range(3)]
    store.persist([batch.block for batch in batches], above)
    store.persist([batches[0].block], above[:1])
    store.close()
    with Store.open(path) as again:
        assert again.candidates() == tuple(batch.block for batch in batches)
        assert again.candidate(batches[1].block.hash) == batches[1].block
        assert set(again.certificates()) == set(above)
        again.commit(chain.advance())
        assert again.candidates() == tuple(batch.block for batch in batches[1:])
        assert set(again.certificates()) == set(above), "their views lie above the finalization's"
        again.commit(chain.advance())
        assert again.candidates() == (batches[2].block,)
        assert again.certificates() == ()


def test_submitted_envelopes_stay_until_final_or_dropped(path: Path, store: Store, chain: Chain) -> None:
    envelopes = {sha256(envelope): envelope for envelope in chain.envelopes(1) + chain.envelopes(2) + (b"late",)}
    store.put_submitted(envelopes)
    store.close()
    with Store.open(path) as again:
        assert dict(again.submitted()) == envelopes
        batch = chain.advance()
        again.commit(batch)
        for result in batch.results:
            del envelopes[result.txid]
        assert dict(again.submitted()) == envelopes
        again.drop_submitted([sha256(b"late")])
        del envelopes[sha256(b"late")]
        assert dict(again.submitted()) == envelopes


def test_writing_nothing_writes_nothing(path: Path, store: Store) -> None:
    before = (path / "head").read_bytes()
    store.persist([], [])
    store.put_submitted({})
    store.drop_submitted([])
    assert store.prune(10, 0) == 0
    assert (path / "head").read_bytes() == before


def test_a_snapshot_stands_still(store: Store, chain: Chain) -> None:
    grow(store, chain, 5)
    state = dict(chain.state)
    with store.snapshot() as snapshot:
        grow(store, chain, 5)
        while store.prune(1_000, store.head.height):
            pass
        assert snapshot.head.height == 5
        assert dict(snapshot.scan(b"\x00", b"\xff")) == state
        assert dict(trie.leaves(snapshot, snapshot.head.root)) == state
        assert snapshot.block_hash(6) is None


def test_updates_read_their_nodes_from_the_store(path: Path, store: Store, chain: Chain) -> None:
    for reopen in (False, True):
        for _ in range(10):
            batch = chain.advance()
            again = trie.update(store, store.head.root, batch.block.header.height, batch.state_changes)
            assert (again.root, again.nodes) == (batch.trie.root, batch.trie.nodes)
            store.commit(batch)
        if not reopen:
            store.close()
            store = Store.open(path)
    store.close()


def test_the_node_cache_is_bounded(store: Store, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "NODE_CACHE_ENTRIES", 40)
    grow(store, chain, 10)
    assert len(store._recent_nodes) <= 40
    assert dict(trie.leaves(store, store.head.root)) == chain.state


def test_pruning_goes_in_slices_and_keeps_what_is_needed(store: Store, chain: Chain) -> None:
    states: dict[int, dict[bytes, bytes]] = {}
    for _ in range(20):
        grow(store, chain, 1)
        states[chain.height] = dict(chain.state)
    before = sum(1 for _ in store.read_table(tables.NODES))
    stale = sum(len(batch.trie.stale) for batch in chain.batches[:13])
    removed = []
    while count := store.prune(60, 12):
        removed.append(count)
    assert sum(removed) == stale
    assert len(removed) > 3
    assert sum(1 for _ in store.read_table(tables.NODES)) == before - stale
    assert store.prune_floor == 12
    for height in range(12, 21):
        assert dict(trie.leaves(store, store.root_at(height))) == states[height]
    with pytest.raises(trie.UnreadableNode):
        list(trie.leaves(store, store.root_at(11)))
    while store.prune(1_000, 10**9):
        pass
    assert store.prune_floor == 20
    assert dict(trie.leaves(store, store.head.root)) == chain.state
    check_store(store)


def test_blocks_must_follow_one_another(store: Store, chain: Chain) -> None:
    first, second = chain.advance(), chain.advance()
    for wrong in (second, chain.genesis, Chain(SEED + 1).advance(), replaced(first, finalization=None)):
        with pytest.raises(ValueError, match="follow"):
            store.commit(wrong)
    with pytest.raises(ValueError, match="results and state"):
        store.commit(replaced(first, trie=second.trie))
    store.commit(first)
    with pytest.raises(ValueError, match="follow"):
        store.commit(first)
    store.commit(second)
    check_store(store)


def test_readers_run_beside_the_writer(store: Store, chain: Chain) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                with store.snapshot() as snapshot:
                    expected = trie.EMPTY_ROOT if snapshot.head.root is None else snapshot.head.root.hash
                    assert trie.root_of(snapshot.scan(b"\x00", b"\xff")) == expected
                    assert snapshot.block_hash(snapshot.head.height) == snapshot.head.hash
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    grow(store, chain, 60)
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []


# What it refuses


def test_nothing_is_created_by_opening(tmp_path: Path, path: Path) -> None:
    for place in (path, tmp_path):
        with pytest.raises(StoreMissing) as refusal:
            Store.open(place)
        assert "init" in refusal.value.hint
    assert list(tmp_path.iterdir()) == []


def test_creating_never_replaces_anything(path: Path, store: Store, chain: Chain) -> None:
    with pytest.raises(StoreExists):
        Store.create(path, GENESIS_HASH, chain.genesis)
    other = path.with_name("other")
    other.mkdir()
    (other / "note").write_text("mine")
    with pytest.raises(StoreExists):
        Store.create(other, GENESIS_HASH, chain.genesis)
    assert (other / "note").read_text() == "mine"


def test_an_empty_directory_may_be_filled(path: Path, chain: Chain) -> None:
    path.mkdir()
    path.with_name("store.creating").mkdir()
    Store.create(path, GENESIS_HASH, chain.genesis)
    Store.open(path).close()
    assert not path.with_name("store.creating").exists()


def test_a_database_begins_with_genesis(path: Path, chain: Chain) -> None:
    with pytest.raises(ValueError, match="height 0"):
        Store.create(path, GENESIS_HASH, chain.advance())


def _try_to_open(path: Path, answers: "multiprocessing.Queue[str]") -> None:
    try:
        Store.open(path).close()
        answers.put("opened")
    except StoreLocked as error:
        answers.put(error.name)


def test_a_second_opener_is_told(path: Path, store: Store) -> None:
    with pytest.raises(StoreLocked) as refusal:
        Store.open(path)
    assert "process" in refusal.value.hint
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    for expected in ("store_locked", "opened"):
        process = context.Process(target=_try_to_open, args=(path, answers))
        process.start()
        assert answers.get(timeout=60) == expected
        process.join()
        store.close()


def test_the_lock_of_leveldb_itself_is_an_error_too(path: Path, store: Store) -> None:
    store.close()
    other = plyvel.DB(str(path / "database"))
    with pytest.raises(StoreFailed):
        Store.open(path)
    other.close()
    Store.open(path).close()


def test_another_chain_is_refused(path: Path, store: Store) -> None:
    store.close()
    for chain_id, genesis_hash in ((CHAIN_ID, bytes(32)), ("other-00112233", GENESIS_HASH)):
        with pytest.raises(StoreWrongChain):
            Store.open(path, chain_id, genesis_hash)
    with Store.open(path, CHAIN_ID, GENESIS_HASH) as again:
        assert (again.chain_id, again.genesis_hash) == (CHAIN_ID, GENESIS_HASH)


def raw_put(path: Path, key: bytes, value: bytes | None) -> None:
    database = plyvel.DB(str(path / "database"))
    if value is None:
        database.delete(key, sync=True)
    else:
        database.put(key, value, sync=True)
    database.close()


def test_another_schema_is_refused_by_its_number(path: Path, store: Store) -> None:
    store.close()
    for version in (0, 2):
        raw_put(path, tables.IDENTITY, encode([version, "fields of that version", 1, 2, 3]))
        with pytest.raises(StoreSchemaUnknown) as refusal:
            Store.open(path)
        assert refusal.value.data == {"found": version, "expected": 1}
        assert "resync" in refusal.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (tables.IDENTITY, None),
        (tables.IDENTITY, b"not cbor"),
        (tables.IDENTITY, encode([1, "text", "text"])),
        (tables.HEAD, None),
        (tables.HEAD, bytes(39)),
        (tables.BLOCK_HASHES + tables.u64(5), None),
        (tables.ROOTS + tables.u64(5), bytes(40)),
        (tables.WRITES + tables.u32(3), None),
        (tables.WRITES + tables.u32(3), tables.u64(2)),
        (tables.WRITES + tables.u32(6), None),
        (tables.LOWEST, None),
        (tables.HIGHEST, None),
    ],
)
def test_missing_pieces_are_noticed(path: Path, store: Store, chain: Chain, key: bytes, value: bytes | None) -> None:
    grow(store, chain, 5)
    store.close()
    raw_put(path, key, value)
    if key in (tables.LOWEST, tables.HIGHEST):
        with Store.open(path) as again, pytest.raises(StoreCorrupted, match="too early"):
            list(again.read_range(b"\x00\x00", tables.HIGHEST, reverse=key == tables.LOWEST))
        return
    with pytest.raises(StoreCorrupted) as refusal:
        Store.open(path)
    assert "resync" in refusal.value.hint


def test_a_missing_current_is_damage_and_makes_no_empty_database(path: Path, store: Store) -> None:
    store.close()
    (path / "database" / "CURRENT").unlink()
    for _ in range(2):
        with pytest.raises(StoreCorrupted, match="CURRENT"):
            Store.open(path)
    assert not (path / "database" / "CURRENT").exists()


def test_a_missing_database_or_head_file_is_damage(path: Path, store: Store) -> None:
    store.close()
    shutil.move(path / "head", path / "gone")
    with pytest.raises(StoreCorrupted, match="head file"):
        Store.open(path)
    shutil.move(path / "gone", path / "head")
    shutil.rmtree(path / "database")
    with pytest.raises(StoreCorrupted):
        Store.open(path)


# Damage that LevelDB does not see


def test_a_database_behind_its_head_file_is_refused(path: Path, store: Store, chain: Chain) -> None:
    grow(store, chain, 5)
    store.close()
    shutil.copytree(path, path.with_name("older"))
    with Store.open(path) as again:
        grow(again, chain, 1)
    shutil.rmtree(path / "database")
    shutil.move(path.with_name("older") / "database", path / "database")
    with pytest.raises(StoreCorrupted, match="behind"):
        Store.open(path)


def test_a_head_file_of_another_history_is_refused(path: Path, store: Store, chain: Chain) -> None:
    grow(store, chain, 2)
    store.close()
    (path / "head").unlink()
    HeadFile.create(path / "head", HeadRecord(2, 2, bytes(32)))
    with pytest.raises(StoreCorrupted, match="disagree"):
        Store.open(path)


def test_a_shortened_log_is_refused(path: Path, chain: Chain) -> None:
    """The length of the last record flipped: LevelDB opens the state before it without a word."""
    Store.create(path, GENESIS_HASH, chain.genesis)
    with Store.open(path) as store:
        grow(store, chain, 4)
        shutil.copytree(path, path.with_name("copy"))
    log = only(path.with_name("copy") / "database", "*.log")
    assert len(read_records(log)) == 4
    stretch_last_record(log)
    database = plyvel.DB(str(path.with_name("copy") / "database"), paranoid_checks=True)
    assert (
        database.get(tables.HEAD, verify_checksums=True)
        == store_module.Head(3, chain.blocks[3].hash, chain.batches[3].trie.root).encode()
    )
    database.close()
    with pytest.raises(StoreCorrupted, match="behind"):
        Store.open(path.with_name("copy"))


def test_a_lost_acknowledged_envelope_is_refused(path: Path, store: Store) -> None:
    store.put_submitted({bytes(32): b"envelope"})
    shutil.copytree(path, path.with_name("copy"))
    stretch_last_record(only(path.with_name("copy") / "database", "*.log"))
    with pytest.raises(StoreCorrupted, match="behind"):
        Store.open(path.with_name("copy"))


def test_a_shortened_manifest_is_refused(path: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest's last flush lost: its table is gone and later records are there, so the head alone looks right."""
    grow_small_tables(path, chain, 60, monkeypatch)
    manifest = only(path / "database", "MANIFEST-*")
    records = read_records(manifest)
    reasons = []
    for keep in range(len(records) - 1, 1, -1):
        copy = path.with_name(f"copy-{keep}")
        shutil.copytree(path, copy)
        write_records(copy / "database" / manifest.name, records[:keep])
        try:
            plyvel.DB(str(copy / "database"), paranoid_checks=True).close()
        except plyvel.Error:
            continue
        with pytest.raises(StoreCorrupted) as refusal:
            Store.open(copy)
        reasons.append(refusal.value.data["reason"])
    assert "a write is missing between others" in reasons, (
        f"LevelDB noticed by itself, the test shows nothing: {reasons}"
    )


def test_a_shortened_older_log_is_refused(path: Path, chain: Chain) -> None:
    """Two logs, as after a crash during a flush, and the first one lost its end: a hole, and the newest block there."""
    Store.create(path, GENESIS_HASH, chain.genesis)
    with Store.open(path) as store:
        grow(store, chain, 8)
        shutil.copytree(path, path.with_name("copy"))
    log = only(path.with_name("copy") / "database", "*.log")
    later = log.with_name(f"{int(log.stem) + 5:06d}.log")
    records = read_records(log)
    write_records(log, records[:4])
    write_records(later, records[4:])
    whole = path.with_name("whole")
    shutil.copytree(path.with_name("copy"), whole)
    with Store.open(whole) as store:
        assert store.head.height == 8
        check_store(store)
    stretch_last_record(log)
    with pytest.raises(StoreCorrupted, match="missing between"):
        Store.open(path.with_name("copy"))


def test_a_damaged_last_block_does_not_end_a_scan(path: Path, chain: Chain, rng: random.Random) -> None:
    Store.create(path, GENESIS_HASH, chain.genesis)
    with Store.open(path) as store:
        grow(store, chain, 30)
    Store.open(path).close()
    for table in (path / "database").glob("*.ldb"):
        intact = table.read_bytes()
        for _ in range(15):
            at = rng.randrange(len(intact))
            table.write_bytes(intact[:at] + bytes([intact[at] ^ 1 << rng.randrange(8)]) + intact[at + 1 :])
            for reverse in (False, True):
                try:
                    with Store.open(path) as damaged:
                        assert dict(damaged.scan(b"\x00", b"\xff", reverse)) == chain.state, f"{table.name} {at}"
                except StoreCorrupted:
                    pass
        table.write_bytes(intact)


def test_check_finds_what_opening_does_not(path: Path, store: Store, chain: Chain) -> None:
    grow(store, chain, 20)
    report = check_store(store)
    assert (report.height, report.blocks, report.accounts_of_state) == (20, 21, len(chain.state))
    assert report.transactions == sum(len(block.envelopes) for block in chain.blocks)
    store.close()
    busy = next(batch for batch in chain.batches if batch.results)
    height, block = tables.u64(busy.block.header.height), busy.block
    some_key = next(iter(chain.state))
    damage: list[tuple[bytes, bytes | None]] = [
        (tables.STATE + some_key, None),
        (tables.STATE + some_key, b"another value"),
        (tables.STATE + b"extra", b"value"),
        (tables.NODES + next(iter(chain.batches[-1].trie.nodes)), None),
        (tables.BLOCK_HASHES + height, None),
        (tables.BLOCK_HASHES + height, chain.blocks[-1].hash),
        (tables.BLOCK_HASHES + tables.u64(99), bytes(32)),
        (tables.HEADERS + block.hash, None),
        (tables.HEADERS + block.hash, chain.blocks[-1].header_bytes),
        (tables.BODIES + block.hash, None),
        (tables.BODIES + block.hash, encode([])),
        (tables.FINALIZATIONS + height, None),
        (tables.FINALIZATIONS + height, b"\x00"),
        (tables.ROOTS + height, None),
        (tables.ROOTS + height, b""),
        (tables.RESULTS + height + tables.slot(0), None),
        (tables.RESULTS + height + tables.slot(SYSTEM_INDEX), None),
        (tables.RESULTS + height + tables.slot(SYSTEM_INDEX), b"\x80"),
        (tables.TRANSACTIONS + busy.results[0].txid, None),
        (tables.TRANSACTIONS + bytes(32), bytes(12)),
    ]
    for key, value in damage:
        copy = path.with_name("copy")
        shutil.copytree(path, copy)
        raw_put(copy, key, value)
        with Store.open(copy) as damaged, pytest.raises(StoreCorrupted):
            check_store(damaged)
        shutil.rmtree(copy)


# What goes wrong while writing


def _write_until_full(path: Path, answers: "multiprocessing.Queue[tuple[str, int]]") -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    chain = Chain(SEED)
    with Store.open(path) as store:
        try:
            while True:
                grow(store, chain, 1)
        except StoreFull as error:
            answers.put((error.name, store.head.height))
        try:
            store.put_submitted({bytes(32): b"envelope"})
        except StoreFailed as error:
            answers.put((error.name, store.head.height))
        assert store.block_hash(store.head.height) == store.head.hash


def test_a_full_disk_stops_all_writing_until_the_store_is_opened_again(path: Path, chain: Chain) -> None:
    Store.create(path, GENESIS_HASH, chain.genesis)
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[tuple[str, int]] = context.Queue()
    process = context.Process(target=_write_until_full, args=(path, answers))
    process.start()
    name, height = answers.get(timeout=60)
    assert name == "store_full"
    assert answers.get(timeout=60) == ("store_failed", height)
    process.join()
    assert process.exitcode == 0
    while chain.height < height:
        chain.advance()
    with Store.open(path) as store:
        assert store.head.height == height > 0
        check_store(store)
        grow(store, chain, 3)
        check_store(store)


def test_a_head_file_that_cannot_be_written_stops_all_writing(store: Store, chain: Chain) -> None:
    writable = store._head_file._descriptor
    store._head_file._descriptor = os.open("/dev/full", os.O_RDWR)
    batch = chain.advance()
    with pytest.raises(StoreFull):
        store.commit(batch)
    with pytest.raises(StoreFailed, match="earlier write"):
        store.commit(batch)
    assert store.head.height == 0
    os.close(store._head_file._descriptor)
    store._head_file._descriptor = writable


def test_a_directory_that_cannot_be_written_is_named(chain: Chain) -> None:
    with pytest.raises(StoreNotWritable) as refusal:
        Store.create(Path("/sys/aitbc"), GENESIS_HASH, chain.genesis)
    assert "mounted" in refusal.value.hint


def test_errors_are_told_apart() -> None:
    assert isinstance(translate(OSError(errno.ENOSPC, "No space left on device")), StoreFull)
    assert isinstance(translate(OSError(errno.EROFS, "Read-only file system")), StoreNotWritable)
    assert isinstance(translate(OSError(errno.EIO, "Input/output error")), StoreFailed)
    assert isinstance(translate(plyvel.IOError(b"IO error: x.log: No space left on device")), StoreFull)
    assert isinstance(translate(plyvel.IOError(b"IO error: x.log: Permission denied")), StoreNotWritable)
    assert isinstance(translate(plyvel.IOError(b"IO error: x.ldb: No such file or directory")), StoreCorrupted)
    assert isinstance(translate(plyvel.IOError(b"IO error: x.ldb: Input/output error")), StoreFailed)
    assert isinstance(translate(plyvel.CorruptionError(b"Corruption: block checksum mismatch")), StoreCorrupted)


def test_a_closed_store_refuses_to_write(path: Path, store: Store, chain: Chain) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreFailed, match="closed"):
        store.commit(chain.advance())
    descriptor = os.open(path / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


# Formats


def test_the_head_file_takes_turns_and_survives_a_torn_slot(tmp_path: Path) -> None:
    path = tmp_path / "head"
    HeadFile.create(path, HeadRecord(1, 0, b"a" * 32))
    head_file, record = HeadFile.open(path)
    assert record == HeadRecord(1, 0, b"a" * 32)
    for sequence in range(2, 7):
        head_file.write(HeadRecord(sequence, sequence * 10, bytes([sequence]) * 32))
    head_file.close()
    data = path.read_bytes()
    for at, expected in ((0, 5), (4096, 6)):
        path.write_bytes(data[:at] + b"torn" + data[at + 4 :])
        again, record = HeadFile.open(path)
        assert record.sequence == expected
        again.close()
    for bad in (data[:-1], data + b"\x00", bytes(8192), b""):
        path.write_bytes(bad)
        with pytest.raises(StoreCorrupted):
            HeadFile.open(path)


def test_golden_head_record() -> None:
    record = HeadRecord(258, 7, bytes(range(32)))
    data = record.encode()
    assert data.hex() == "".join(
        (
            "616974626368643100000000000001020000000000000007",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "71f749270a3af8e6",
        )
    )
    assert HeadRecord.decode(data) == record
    for at in range(64):
        assert HeadRecord.decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None


def test_golden_keys(chain: Chain) -> None:
    account = b"\x00" + b"a" * 32
    assert tables.history_key(account, 1, 0).hex() == "6121" + account.hex() + "fffffffffffffffe" + "fffffffe"
    assert tables.history_key(account, 1, SYSTEM_INDEX).hex() == "6121" + account.hex() + "fffffffffffffffe" + "f" * 8
    header = chain.blocks[0].header
    assert tables.candidate_key(header, b"h" * 32).hex() == "63" + "00" * 24 + "68" * 32
    keys = [tables.certificate_key(item).hex() for item in chain.certificates_above()]
    assert keys == [table + "00" * 15 + number for table, number in (("75", "05"), ("71", "06"), ("7a", "07"))]
    assert [tables.index_of(tables.slot(index)) for index in (SYSTEM_INDEX, 0, 5)] == [SYSTEM_INDEX, 0, 5]


def test_golden_entries_of_a_block(store: Store, chain: Chain) -> None:
    """What the store itself lays out; headers, bodies and results have vectors of their own. See SCHEMA_VERSION."""
    while not (batch := chain.advance()).results:
        store.commit(batch)
    store.commit(batch)
    store.put_submitted({b"t" * 32: b"envelope"})
    height, block, txid = batch.block.header.height, batch.block, batch.results[0].txid
    place = f"{height:016x}"
    writes = height + 2
    assert batch.trie.root is not None
    expected: dict[str, str | None] = {
        "00": "",
        "ff": "",
        b"midentity".hex(): "83" + "01" + "70" + CHAIN_ID.encode().hex() + "5820" + GENESIS_HASH.hex(),
        b"mhead".hex(): place + block.hash.hex() + place + batch.trie.root.hash.hex(),
        "6a" + f"{writes:08x}": f"{writes:016x}",
        "48" + place: block.hash.hex(),
        "68" + block.hash.hex(): block.header_bytes.hex(),
        "62" + block.hash.hex(): encode(list(block.envelopes)).hex(),
        "76" + place: place + batch.trie.root.hash.hex(),
        "74" + txid.hex(): place + "00000000",
        "77" + "74" * 32: b"envelope".hex(),
        "61" + "21" + batch.history[1][0].hex() + f"{(1 << 64) - 1 - height:016x}" + "fffffffe": "",
        "78" + place + "00000000": b"".join(batch.trie.stale[:256]).hex(),
        "45" + "00" * 8: b"set 0".hex(),
    }
    for key, value in batch.state_changes.items():
        expected["73" + key.hex()] = None if value is None else value.hex()
    for key, value in batch.trie.nodes.items():
        expected["6e" + key.hex()] = value.hex()
    for name, text in expected.items():
        found = store.read(bytes.fromhex(name))
        assert (None if found is None else found.hex()) == text, name
    assert store.read(tables.RESULTS + tables.u64(height) + bytes(4)) is not None
    assert store_module.SCHEMA_VERSION == 1


def test_records_of_stale_nodes(rng: random.Random) -> None:
    node_keys = [
        node_key(rng.randbytes(8), rng.randrange(257), rng.randbytes(32)) for _ in range(rng.randrange(600, 700))
    ]
    records = list(tables.encode_stale(node_keys))
    assert len(records) == 3
    assert [key for record in records for key in tables.decode_stale(record)] == node_keys
    with pytest.raises(StoreCorrupted):
        list(tables.decode_stale(records[0][:-1]))
