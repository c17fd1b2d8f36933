"""The trie against its definition: roots, canonical shape, versions, pruning and paths."""

import json
import pathlib
import random
from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.crypto.hashing import sha256, tagged_hash
from chain.state import nodes as layout
from chain.state import trie
from chain.state.nodes import bit_at, branch_hash, leaf_hash, node_key, state_path
from chain.state.trie import (
    EMPTY_ROOT,
    MemoryNodes,
    NodeReference,
    OverlayNodes,
    TrieUpdate,
    UnreadableNode,
    leaves,
    prove,
    root_of,
    update,
)

VECTORS = json.loads((pathlib.Path(__file__).parent.parent / "vectors" / "trie.json").read_text())


def path_of(key: bytes) -> bytes:
    return tagged_hash("aitbc/state/key/1", key)


def defined_root(state: Mapping[bytes, bytes], path: Callable[[bytes], bytes] = path_of) -> bytes:
    """The root by definition, over strings of bits and with `tagged_hash`: shares no code with the trie."""
    items = [(f"{int.from_bytes(path(key), 'big'):0256b}", path(key), value) for key, value in state.items()]

    def subtree(members: list[tuple[str, bytes, bytes]], depth: int) -> bytes:
        if not members:
            return bytes(32)
        if len(members) == 1:
            return tagged_hash("aitbc/state/leaf/1", members[0][1] + sha256(members[0][2]))
        sides = [[item for item in members if item[0][depth] == side] for side in "01"]
        return tagged_hash("aitbc/state/branch/1", subtree(sides[0], depth + 1) + subtree(sides[1], depth + 1))

    return subtree(items, 0)


def count_nodes(paths: list[bytes]) -> int:
    """How many nodes the canonical shape over these places has: leaves, and every prefix that two of them share."""
    places = sorted(int.from_bytes(path, "big") for path in paths)
    shared = {
        (depth, left >> (256 - depth))
        for left, right in pairwise(places)
        for depth in range(257 - (left ^ right).bit_length())
    }
    return len(paths) + len(shared)


def path_bits(path: bytes) -> str:
    return f"{int.from_bytes(path, 'big'):0256b}"


class Ledger:
    """A trie and the dictionary that it should commit to, version after version."""

    def __init__(self, *, prune: bool) -> None:
        self.state: dict[bytes, bytes] = {}
        self.nodes = MemoryNodes()
        self.root: NodeReference | None = None
        self.version = 0
        self.prune = prune

    def apply(self, changes: Mapping[bytes, bytes | None]) -> TrieUpdate:
        self.version += 1
        result = update(self.nodes, self.root, self.version, changes)
        assert len(set(result.stale)) == len(result.stale)
        assert not set(result.stale) & set(result.nodes)
        assert all(int.from_bytes(key[:8], "big") == self.version for key in result.nodes)
        self.nodes.apply(result, prune=self.prune)
        self.root = result.root
        for key, value in changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        return result


def close_keys(count: int, seed: int) -> list[bytes]:
    """`count` keys in pairs whose places share as many bits as a search of moderate length finds (about 30)."""
    generator = random.Random(seed)
    by_place = sorted((state_path(key), key) for key in (generator.randbytes(8) for _ in range(60_000)))
    shared = sorted(
        range(len(by_place) - 1),
        key=lambda at: int.from_bytes(by_place[at][0], "big") ^ int.from_bytes(by_place[at + 1][0], "big"),
    )
    return [by_place[at + step][1] for at in shared[: count // 2] for step in (0, 1)]


SMALL_KEYS = st.integers(0, 40).map(lambda number: b"key %d" % number)
CHANGES = st.dictionaries(SMALL_KEYS, st.none() | st.binary(max_size=6), max_size=20)


@given(st.lists(CHANGES, max_size=12), st.booleans())
def test_every_update_matches_the_definition(history: list[dict[bytes, bytes | None]], prune: bool) -> None:
    ledger = Ledger(prune=prune)
    for changes in history:
        result = ledger.apply(changes)
        assert result.root_hash == defined_root(ledger.state) == root_of(ledger.state.items())
        assert dict(leaves(ledger.nodes, ledger.root)) == ledger.state


@given(st.dictionaries(st.binary(max_size=4), st.binary(max_size=4), max_size=40), st.randoms(use_true_random=False))
def test_the_root_does_not_depend_on_the_order_of_insertion(
    state: dict[bytes, bytes], generator: random.Random
) -> None:
    at_once = Ledger(prune=True)
    at_once.apply(state)
    order = list(state)
    generator.shuffle(order)
    one_by_one = Ledger(prune=True)
    for key in order:
        one_by_one.apply({key: b"something else"})
        one_by_one.apply({key: state[key]})
    expected = EMPTY_ROOT if at_once.root is None else at_once.root.hash
    assert (EMPTY_ROOT if one_by_one.root is None else one_by_one.root.hash) == expected == defined_root(state)


@pytest.mark.parametrize("prune", [True, False])
def test_random_life_of_a_large_state(prune: bool, rng: random.Random) -> None:
    ledger = Ledger(prune=prune)
    keys = [rng.randbytes(33) for _ in range(1_500)] + close_keys(40, rng.getrandbits(64))
    roots: list[tuple[NodeReference | None, dict[bytes, bytes]]] = []
    for _ in range(30):
        chosen = rng.sample(keys, rng.choice((1, 2, 7, 300)))
        ledger.apply({key: None if rng.random() < 0.3 else rng.randbytes(rng.randrange(80)) for key in chosen})
        roots.append((ledger.root, dict(ledger.state)))
        assert (EMPTY_ROOT if ledger.root is None else ledger.root.hash) == defined_root(ledger.state)
    if prune:
        assert len(ledger.nodes.nodes) == count_nodes([state_path(key) for key in ledger.state])
    else:
        for root, state in roots:
            assert dict(leaves(ledger.nodes, root)) == state


@pytest.mark.parametrize("batch", [1, 3, 10_000])
def test_deleting_everything_leaves_the_empty_trie_and_no_node(batch: int, rng: random.Random) -> None:
    ledger = Ledger(prune=True)
    keys = [rng.randbytes(8) for _ in range(200)] + close_keys(20, rng.getrandbits(64))
    ledger.apply(dict.fromkeys(keys, b"value"))
    rng.shuffle(keys)
    for at in range(0, len(keys), batch):
        ledger.apply(dict.fromkeys(keys[at : at + batch]))
        assert (EMPTY_ROOT if ledger.root is None else ledger.root.hash) == defined_root(ledger.state)
    assert ledger.root is None
    assert ledger.nodes.nodes == {}


@given(st.lists(st.dictionaries(st.integers(0, 9), st.none() | st.binary(max_size=2), max_size=6), max_size=8))
def test_places_that_differ_only_in_their_last_bits(history: list[dict[int, bytes | None]]) -> None:
    """No one can find such keys, but the shape must hold to the full depth of 256."""
    places = [bytes(31) + bytes([low]) for low in (0, 1, 2, 3, 0x80)]
    places += [b"\xff" * 31 + bytes([low]) for low in (0xFF, 0xFE, 0x7F)]
    places += [b"\x80" + bytes(31), bytes(15) + b"\x01" + bytes(16)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trie, "state_path", lambda key: key)
        ledger = Ledger(prune=True)
        for changes in history:
            result = ledger.apply({places[number]: value for number, value in changes.items()})
            assert result.root_hash == defined_root(ledger.state, lambda key: key) == root_of(ledger.state.items())
            assert dict(leaves(ledger.nodes, ledger.root)) == ledger.state
            assert len(ledger.nodes.nodes) == count_nodes(list(ledger.state))


def test_nothing_to_do_keeps_the_root_reference() -> None:
    ledger = Ledger(prune=True)
    ledger.apply({b"a": b"1", b"b": b"2"})
    before = ledger.root
    for changes in ({}, {b"a": b"1"}, {b"absent": None}, {b"a": b"1", b"b": b"2", b"absent": None}):
        result = ledger.apply(changes)
        assert (result.root, result.nodes, result.stale) == (before, {}, [])


def test_candidates_stack_above_nodes_that_are_not_written(rng: random.Random) -> None:
    ledger = Ledger(prune=False)
    keys = [rng.randbytes(8) for _ in range(300)]
    ledger.apply(dict.fromkeys(keys, b"final"))
    first = update(ledger.nodes, ledger.root, 2, dict.fromkeys(keys[:50], b"first"))
    rival = update(ledger.nodes, ledger.root, 2, dict.fromkeys(keys[25:75]))
    second = update(OverlayNodes(first.nodes, ledger.nodes), first.root, 3, {keys[0]: None, keys[99]: b"second"})
    expected = {**dict.fromkeys(keys, b"final"), **dict.fromkeys(keys[:50], b"first"), keys[99]: b"second"}
    del expected[keys[0]]
    assert second.root_hash == defined_root(expected)
    assert rival.root_hash == defined_root(dict.fromkeys(keys[:25] + keys[75:], b"final"))
    assert dict(leaves(OverlayNodes(second.nodes, OverlayNodes(first.nodes, ledger.nodes)), second.root)) == expected
    assert dict(leaves(ledger.nodes, ledger.root)) == ledger.state


def test_a_path_folds_up_to_the_root(rng: random.Random) -> None:
    ledger = Ledger(prune=True)
    keys = [rng.randbytes(8) for _ in range(400)] + close_keys(10, rng.getrandbits(64))
    ledger.apply({key: key + b" value" for key in keys[:-3]})
    assert ledger.root is not None
    for key in [*keys, *(rng.randbytes(9) for _ in range(200))]:
        siblings, leaf = prove(ledger.nodes, ledger.root, key)
        place = state_path(key)
        if leaf is None:
            node = EMPTY_ROOT
            assert key not in ledger.state
        else:
            assert (leaf.key == key) == (key in ledger.state)
            assert path_bits(state_path(leaf.key))[: len(siblings)] == path_bits(place)[: len(siblings)]
            assert leaf.value == ledger.state[leaf.key]
            node = leaf_hash(state_path(leaf.key), sha256(leaf.value))
        for depth in range(len(siblings) - 1, -1, -1):
            sides = (siblings[depth], node) if bit_at(place, depth) else (node, siblings[depth])
            node = branch_hash(*sides)
        assert node == ledger.root.hash
    assert prove(ledger.nodes, None, b"key") == ((), None)


def test_versions_must_rise() -> None:
    ledger = Ledger(prune=True)
    ledger.apply({b"a": b"1"})
    with pytest.raises(ValueError, match="version"):
        update(ledger.nodes, ledger.root, 1, {b"a": b"2"})


def test_a_key_too_long_for_the_format_is_refused() -> None:
    with pytest.raises(ValueError, match="65,535"):
        update(MemoryNodes(), None, 1, {bytes(65_536): b""})
    longest = update(MemoryNodes(), None, 1, {bytes(65_535): b"value"})
    assert longest.root_hash == defined_root({bytes(65_535): b"value"})


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        root_of([(b"a", b"1"), (b"a", b"1")])


def test_absent_and_malformed_nodes_are_reported(rng: random.Random) -> None:
    ledger = Ledger(prune=True)
    keys = [rng.randbytes(8) for _ in range(30)]
    ledger.apply(dict.fromkeys(keys, b"value"))
    for node, data in list(ledger.nodes.nodes.items()):
        for damage in (None, b"", b"\x00" + data[1:], data[:2], data[:-1], data[:5] + bytes([data[5] ^ 1]) + data[6:]):
            if damage is None:
                del ledger.nodes.nodes[node]
            else:
                ledger.nodes.nodes[node] = damage
            with pytest.raises(UnreadableNode):
                list(leaves(ledger.nodes, ledger.root))
            if not damage or len(damage) == 2 or damage[0] == 0:
                with pytest.raises(UnreadableNode):
                    update(ledger.nodes, ledger.root, 2, dict.fromkeys(keys))
                with pytest.raises(UnreadableNode):
                    [prove(ledger.nodes, ledger.root, key) for key in keys]
            ledger.nodes.nodes[node] = data


def test_prefixes_are_tagged_hashes() -> None:
    assert state_path(b"key") == path_of(b"key")
    assert leaf_hash(b"p" * 32, b"v" * 32) == tagged_hash("aitbc/state/leaf/1", b"p" * 32 + b"v" * 32)
    assert branch_hash(b"l" * 32, b"r" * 32) == tagged_hash("aitbc/state/branch/1", b"l" * 32 + b"r" * 32)


def test_node_keys_are_distinct_prefixes(rng: random.Random) -> None:
    path = rng.randbytes(32)
    seen = {node_key(bytes(8), depth, path) for depth in range(257)}
    assert len(seen) == 257
    for depth in range(257):
        rest = random.Random(depth).getrandbits(256) & ((1 << (256 - depth)) - 1)
        other = (int.from_bytes(path, "big") >> (256 - depth) << (256 - depth) | rest).to_bytes(32, "big")
        assert node_key(bytes(8), depth, other) == node_key(bytes(8), depth, path)


def test_node_references_round_trip() -> None:
    reference = NodeReference(7, b"h" * 32)
    assert reference.encode().hex() == "0000000000000007" + "68" * 32
    assert NodeReference.decode(reference.encode()) == reference
    with pytest.raises(ValueError, match="40"):
        NodeReference.decode(bytes(39))


@pytest.mark.parametrize("vector", VECTORS["states"], ids=lambda vector: vector["name"])
def test_golden_roots(vector: dict[str, object]) -> None:
    state = {bytes.fromhex(key): bytes.fromhex(value) for key, value in vector["state"]}  # type: ignore[attr-defined]
    assert root_of(state.items()).hex() == vector["root"] == defined_root(state).hex()


def test_golden_nodes() -> None:
    nodes = MemoryNodes()
    root: NodeReference | None = None
    for step in VECTORS["updates"]:
        changes = {
            bytes.fromhex(key): None if value is None else bytes.fromhex(value) for key, value in step["changes"]
        }
        result = update(nodes, root, step["version"], changes)
        assert {key.hex(): value.hex() for key, value in result.nodes.items()} == step["nodes"]
        assert sorted(key.hex() for key in result.stale) == step["stale"]
        assert result.root_hash.hex() == step["root"]
        nodes.apply(result)
        root = result.root


def test_the_format_has_its_version_in_every_node() -> None:
    assert layout.BRANCH >> 4 == layout.LEAF >> 4 == 1
