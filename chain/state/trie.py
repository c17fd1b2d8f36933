"""The state commitment: a compact binary Merkle trie over hashed keys, kept as versioned nodes.

A leaf sits at the shortest prefix that no other leaf shares, so the root depends on the contents alone and never on
how they came about; deletions fold branches away to keep it so. Nodes are keyed (version, place) and never
overwritten: an update names the nodes that its version made stale, so that earlier versions can be served and later
pruned (the layout of the Jellyfish Merkle tree: Gao, Hu and Wu, 2021). Nothing here writes: an update returns what
to write. The format is in `chain.state.nodes`.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from chain.state.nodes import (
    BRANCH,
    BRANCH_HEAD,
    BRANCH_SIZE,
    BRANCH_TAG,
    DEPTH_BYTES,
    EMPTY_ROOT,
    LEAF,
    MASKED,
    MAXIMUM_DEPTH,
    NO_VERSION,
    Leaf,
    NodeReader,
    NodeReference,
    OverlayNodes,
    UnreadableNode,
    bit_at,
    branch_hash,
    decode_leaf,
    encode_leaf,
    hash_leaf_node,
    leaf_hash,
    node_key,
    read_node,
    state_path,
    with_bit,
)

__all__ = [
    "EMPTY_ROOT",
    "Leaf",
    "MemoryNodes",
    "NodeReader",
    "NodeReference",
    "OverlayNodes",
    "TrieUpdate",
    "UnreadableNode",
    "leaves",
    "prove",
    "root_of",
    "state_path",
    "update",
]

Spine = list[tuple[int, bytes, bytes, int]]
"""Branches from the top down: depth, node key, node bytes, and the side taken (0 is left)."""


@dataclass(frozen=True, slots=True)
class TrieUpdate:
    """What one version changes: write `nodes`, and index `stale` under `version` for pruning."""

    version: int
    """Height of the block."""
    root: NodeReference | None
    nodes: dict[bytes, bytes]
    """New nodes by key."""
    stale: list[bytes]
    """Keys of nodes that belong to earlier versions only."""

    @property
    def root_hash(self) -> bytes:
        """The state root, 32 bytes."""
        return EMPTY_ROOT if self.root is None else self.root.hash


class MemoryNodes:
    """Nodes in a dictionary: genesis, tools and tests."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, bytes] = {}

    def get_node(self, node_key: bytes) -> bytes | None:
        return self.nodes.get(node_key)

    def apply(self, update: TrieUpdate, *, prune: bool = False) -> None:
        """Add the nodes of an update; with `prune`, drop those that it made stale."""
        self.nodes.update(update.nodes)
        if prune:
            for key in update.stale:
                del self.nodes[key]


def update(
    reader: NodeReader, root: NodeReference | None, version: int, changes: Mapping[bytes, bytes | None]
) -> TrieUpdate:
    """Apply `changes` (None deletes) to the state under `root`, in one sorted pass from the top.

    Keys that already have the value given, and deletions of absent keys, change nothing. If nothing changes, the
    update has the old root and no nodes.

    Args:
        reader: nodes of the earlier versions; for a candidate above a candidate, an `OverlayNodes`.
        version: height of the block; above the root's version.

    Raises:
        ValueError: the version is not above the root's, or a key is longer than 65,535 bytes.
        UnreadableNode: the reader lacks a node.
    """
    if root is not None and version <= root.version:
        raise ValueError("the version of an update must be above the root's")
    work = _Pass(reader, version, changes)
    if not work.paths:
        return TrieUpdate(version, root, {}, [])
    if root is None:
        found = work.change(EMPTY_ROOT, NO_VERSION, 0, 0, len(work.paths))
    else:
        found = work.change(root.hash, root.version.to_bytes(8, "big"), 0, 0, len(work.paths))
    if found is None:
        return TrieUpdate(version, root, {}, [])
    top = work.settle(found, 0)
    new_root = None if top.hash == EMPTY_ROOT else NodeReference(version, top.hash)
    return TrieUpdate(version, new_root, work.nodes, work.stale)


class _Subtree(NamedTuple):
    """What stands at a position after the pass: nothing, a node that is written, or a leaf that is not yet.

    A leaf waits because a deletion beside it may still move it up; whoever finds its place writes it there.
    """

    hash: bytes
    version: bytes
    path: bytes = b""
    node: bytes = b""
    """The bytes of a waiting leaf; empty otherwise."""


_EMPTY = _Subtree(EMPTY_ROOT, NO_VERSION)


class _Pass:
    """One update in progress: the sorted changes, and the nodes gathered so far."""

    __slots__ = ("nodes", "paths", "puts", "reader", "stale", "version")

    def __init__(self, reader: NodeReader, version: int, changes: Mapping[bytes, bytes | None]) -> None:
        self.reader = reader
        self.version = version.to_bytes(8, "big")
        self.nodes: dict[bytes, bytes] = {}
        self.stale: list[bytes] = []
        self.puts: dict[bytes, bytes] = {}
        """Place to the bytes of its new leaf; no bytes for a deletion."""
        for key, value in changes.items():
            self.puts[state_path(key)] = b"" if value is None else encode_leaf(key, value)
        self.paths = sorted(self.puts)

    def change(self, node_hash: bytes, version: bytes, depth: int, low: int, high: int) -> _Subtree | None:
        """Apply the changes `low` to `high`, all of which lie under the position; None if nothing changes."""
        first = self.paths[low]
        if high - low == 1:
            return self.change_one(node_hash, version, depth, first)
        if node_hash == EMPTY_ROOT:
            waiting = [path for path in self.paths[low:high] if self.puts[path]]
            return self.build(waiting, depth) if waiting else None
        key = node_key(version, depth, first)
        data = read_node(self.reader, key)
        if data[0] == LEAF:
            return self.change_leaf(key, data, depth, low, high)
        middle = self.split(depth, low, high)
        left = self.change(data[1:33], data[65:73], depth + 1, low, middle) if low < middle else None
        right = self.change(data[33:65], data[73:81], depth + 1, middle, high) if middle < high else None
        if left is None:
            if right is None:
                return None
            left = self.beside(data, 0, right, depth, first)
        elif right is None:
            right = self.beside(data, 1, left, depth, first)
        self.stale.append(key)
        return self.join(left, right, depth, first)

    def split(self, depth: int, low: int, high: int) -> int:
        """The index of the first path in the range whose bit at `depth` is set."""
        first = self.paths[low]
        if bit_at(first, depth):
            return low
        whole = depth >> 3
        bound = first[:whole] + bytes([MASKED[depth & 7][first[whole]][0] | 0x80 >> (depth & 7)])
        return bisect_left(self.paths, bound, low, high)

    def change_leaf(self, key: bytes, data: bytes, depth: int, low: int, high: int) -> _Subtree | None:
        """Several changes fall where the leaf `data` stood."""
        path = state_path(decode_leaf(data).key)
        waiting = [other for other in self.paths[low:high] if self.puts[other]]
        if path not in self.puts:
            self.puts[path] = data
            insort(waiting, path)
        if waiting == [path] and self.puts[path] == data:
            return None
        self.stale.append(key)
        return self.build(waiting, depth)

    def build(self, paths: Sequence[bytes], depth: int) -> _Subtree:
        """A fresh subtree of new leaves, given in order."""
        if not paths:
            return _EMPTY
        if len(paths) == 1:
            return self.waiting_leaf(paths[0])
        middle = bisect_left(paths, 1, key=lambda path: bit_at(path, depth))
        left, right = self.build(paths[:middle], depth + 1), self.build(paths[middle:], depth + 1)
        return self.join(left, right, depth, paths[0])

    def waiting_leaf(self, path: bytes) -> _Subtree:
        """The new leaf at `path`, without a place yet."""
        node = self.puts[path]
        return _Subtree(hash_leaf_node(path, node), self.version, path, node)

    def beside(self, branch: bytes, side: int, other: _Subtree, depth: int, path: bytes) -> _Subtree:
        """The untouched child at `side` of a branch. Where the other side became empty, a leaf has to move up."""
        node_hash, version = (branch[33:65], branch[73:81]) if side else (branch[1:33], branch[65:73])
        if node_hash == EMPTY_ROOT:
            return _EMPTY
        if other is _EMPTY:
            key = node_key(version, depth + 1, with_bit(path, depth, side))
            data = read_node(self.reader, key)
            if data[0] == LEAF:
                self.stale.append(key)
                return _Subtree(node_hash, version, state_path(decode_leaf(data).key), data)
        return _Subtree(node_hash, version)

    def join(self, left: _Subtree, right: _Subtree, depth: int, path: bytes) -> _Subtree:
        """The subtree at `depth` over two sides: a lone leaf stays in wait, everything else becomes a branch."""
        if left.node or right.node or left is _EMPTY or right is _EMPTY:
            if left is _EMPTY and (right.node or right is _EMPTY):
                return right
            if right is _EMPTY and left.node:
                return left
            left, right = self.settle(left, depth + 1), self.settle(right, depth + 1)
        hashes = left.hash + right.hash
        self.nodes[node_key(self.version, depth, path)] = BRANCH_TAG + hashes + left.version + right.version
        return _Subtree(sha256(BRANCH_HEAD + hashes).digest(), self.version)

    def settle(self, subtree: _Subtree, depth: int) -> _Subtree:
        """Write a waiting leaf at `depth`; anything else is in place already."""
        if not subtree.node:
            return subtree
        self.nodes[node_key(self.version, depth, subtree.path)] = subtree.node
        return _Subtree(subtree.hash, self.version)

    def change_one(self, node_hash: bytes, version: bytes, depth: int, path: bytes) -> _Subtree | None:
        """Apply the single change at `path`: down to where it belongs and back up.

        Nearly all of an update's work is here and in `rise`, hence loops that call nothing of ours but the reader.
        """
        spine: Spine = []
        get_node = self.reader.get_node
        while node_hash != EMPTY_ROOT:
            whole, bits = depth >> 3, depth & 7
            if bits:
                key = version + DEPTH_BYTES[depth] + path[:whole] + MASKED[bits][path[whole]]
            else:
                key = version + DEPTH_BYTES[depth] + path[:whole]
            data = get_node(key)
            if data is None or len(data) != BRANCH_SIZE or data[0] != BRANCH:
                found = self.replace_leaf(key, read_node(self.reader, key), depth, path)
                return None if found is None else self.rise(found, spine, path)
            bit = path[whole] >> (7 - bits) & 1
            spine.append((depth, key, data, bit))
            if bit:
                node_hash, version = data[33:65], data[73:81]
            else:
                node_hash, version = data[1:33], data[65:73]
            depth += 1
        return self.rise(self.waiting_leaf(path), spine, path) if self.puts[path] else None

    def replace_leaf(self, key: bytes, data: bytes, depth: int, path: bytes) -> _Subtree | None:
        """The single change at `path` falls where the leaf `data` stood."""
        new = self.puts[path]
        if new == data:
            return None
        end = 3 + (data[1] << 8 | data[2])
        if new[:end] == data[:end]:  # the usual case: the same key, and no need to hash it
            self.stale.append(key)
            return self.waiting_leaf(path)
        standing = state_path(decode_leaf(data).key)
        if not new and standing != path:
            return None
        self.stale.append(key)
        if not new:
            return _EMPTY
        self.puts[standing] = data
        return self.build([standing, path] if standing < path else [path, standing], depth)

    def rise(self, subtree: _Subtree, spine: Spine, path: bytes) -> _Subtree:
        """Put the changed subtree under the branches of `spine`, from the lowest to the highest."""
        stale, nodes, own = self.stale, self.nodes, self.version
        while spine and (subtree.node or subtree is _EMPTY):
            depth, key, data, bit = spine[-1]
            if subtree.node and (data[1:33] if bit else data[33:65]) != EMPTY_ROOT:
                subtree = self.settle(subtree, depth + 1)
                break
            spine.pop()
            stale.append(key)
            other = self.beside(data, 1 - bit, subtree, depth, path)
            subtree = self.join(other, subtree, depth, path) if bit else self.join(subtree, other, depth, path)
        if not spine:
            return subtree
        node_hash = subtree.hash
        for _, key, data, bit in reversed(spine):
            stale.append(key)
            if bit:
                hashes = data[1:33] + node_hash
                nodes[own + key[8:]] = BRANCH_TAG + hashes + data[65:73] + own
            else:
                hashes = node_hash + data[33:65]
                nodes[own + key[8:]] = BRANCH_TAG + hashes + own + data[73:81]
            node_hash = sha256(BRANCH_HEAD + hashes).digest()
        return _Subtree(node_hash, own)


def prove(reader: NodeReader, root: NodeReference | None, key: bytes) -> tuple[tuple[bytes, ...], Leaf | None]:
    """The siblings from the root down to where `key` belongs, and the leaf that stands there, if any.

    The leaf is the key's own if the key is present; otherwise it is none or another key's. Raises UnreadableNode.
    """
    path = state_path(key)
    siblings: list[bytes] = []
    if root is None:
        return (), None
    node_hash, version = root.hash, root.version.to_bytes(8, "big")
    while node_hash != EMPTY_ROOT:
        depth = len(siblings)
        data = read_node(reader, node_key(version, depth, path))
        if data[0] == LEAF:
            return tuple(siblings), decode_leaf(data)
        if bit_at(path, depth):
            siblings.append(data[1:33])
            node_hash, version = data[33:65], data[73:81]
        else:
            siblings.append(data[33:65])
            node_hash, version = data[1:33], data[65:73]
    return tuple(siblings), None


def leaves(reader: NodeReader, root: NodeReference | None) -> Iterator[Leaf]:
    """Every key and value of a version, in the order of their places.

    Each node is hashed again on the way, so that what comes out is what the root commits to. Raises UnreadableNode
    when a node is absent, malformed or not the one that its parent names.
    """
    if root is None:
        return
    waiting = [(root.hash, root.version.to_bytes(8, "big"), 0, bytes(32))]
    while waiting:
        expected, version, depth, path = waiting.pop()
        key = node_key(version, depth, path)
        data = read_node(reader, key)
        if data[0] == LEAF:
            leaf = decode_leaf(data)
            place = state_path(leaf.key)
            if hash_leaf_node(place, data) != expected or node_key(version, depth, place) != key:
                raise UnreadableNode(node=key, reason="not what its parent names")
            yield leaf
            continue
        if branch_hash(data[1:33], data[33:65]) != expected or depth == MAXIMUM_DEPTH:
            raise UnreadableNode(node=key, reason="not what its parent names")
        if data[33:65] != EMPTY_ROOT:
            waiting.append((data[33:65], data[73:81], depth + 1, with_bit(path, depth, 1)))
        if data[1:33] != EMPTY_ROOT:
            waiting.append((data[1:33], data[65:73], depth + 1, path))


def root_of(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The root over these keys and values, computed from the definition without any node.

    Raises ValueError if a key comes twice.
    """
    hashes: dict[bytes, bytes] = {}
    for key, value in pairs:
        path = state_path(key)
        if path in hashes:
            raise ValueError("a key comes twice")
        hashes[path] = sha256(value).digest()
    paths = sorted(hashes)

    def root(low: int, high: int, depth: int) -> bytes:
        if low == high:
            return EMPTY_ROOT
        if high - low == 1:
            return leaf_hash(paths[low], hashes[paths[low]])
        middle = bisect_left(paths, 1, low, high, key=lambda path: bit_at(path, depth))
        return branch_hash(root(low, middle, depth + 1), root(middle, high, depth + 1))

    return root(0, len(paths), 0)
