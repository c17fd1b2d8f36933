"""The database: what it keeps, how it changes, and in which bytes."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.codec import encode
from chain.crypto.hashing import sha256
from chain.state import trie
from chain.state.nodes import node_key
from chain.state.view import MemoryReader
from node import store as store_module
from node import store_tables as tables
from node.execution import encode_authorities
from node.store import SYSTEM_INDEX, FinalizedBatch, Store
from node.store_check import check_store
from node.store_errors import StoreCorrupted
from node.store_head import HeadFile, HeadRecord
from tests.storage_chain import CHAIN_ID, GENESIS_HASH, Chain, authorities_of, grow

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
                assert reader.authority_set(height // 10) == encode_authorities(authorities_of(height // 10))
            assert reader.authority_set(99) == encode_authorities(authorities_of(3))
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
        "45" + "00" * 8: encode_authorities(authorities_of(0)).hex(),
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
