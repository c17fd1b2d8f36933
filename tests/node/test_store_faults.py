"""The database when something is wrong: what it refuses, what damage it notices, and what it says."""

import errno
import fcntl
import multiprocessing
import os
import random
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import plyvel
import pytest

from chain.codec import encode
from node import store as store_module
from node import store_tables as tables
from node.store import SYSTEM_INDEX, Store
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
from tests.storage_chain import CHAIN_ID, GENESIS_HASH, Chain, grow

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
