"""How the state commitment is laid out: hashes, places, the bytes of nodes and where nodes are read from.

This is the format alone; `chain.state.trie` changes and walks it, `chain.state.proof` checks paths through it.

- place of a key: `tagged_hash("aitbc/state/key/1", key)`, 256 bits, the highest bit of the first byte first
- leaf: `tagged_hash("aitbc/state/leaf/1", place ‖ sha256(value))`, at the shortest prefix that no other leaf shares
- branch: `tagged_hash("aitbc/state/branch/1", left ‖ right)`; an empty side, and an empty trie, is 32 zero bytes
- leaf node: 0x11, length of the key (2 bytes, big-endian), key, value
- branch node: 0x10, left hash, right hash, version of the left node, version of the right node (8 bytes each)
- key of a node: version (8 bytes, big-endian), depth (2 bytes), the first `depth` bits of the place, zero-padded

The high half of a node's first byte is the version of its format. A branch names its children by version alone,
because their place follows from its own; the version of an empty side is zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

from chain.errors import LedgerError

EMPTY_ROOT = bytes(32)
"""The root of a trie without leaves; also stands for the empty side of a branch."""

MAXIMUM_DEPTH = 256
"""Bits of a place, and so the most siblings on the way to a leaf."""

MAXIMUM_KEY_BYTES = 0xFFFF

BRANCH = 0x10
LEAF = 0x11
BRANCH_TAG = bytes([BRANCH])
LEAF_TAG = bytes([LEAF])
BRANCH_SIZE = 1 + 32 + 32 + 8 + 8
NO_VERSION = bytes(8)

# The parts of a tagged hash that come before what differs; tests hold them against `tagged_hash`.
PATH_HEAD = b"\x11aitbc/state/key/1"
LEAF_HEAD = b"\x12aitbc/state/leaf/1" + (64).to_bytes(8, "big")
BRANCH_HEAD = b"\x14aitbc/state/branch/1" + (64).to_bytes(8, "big")

DEPTH_BYTES = [depth.to_bytes(2, "big") for depth in range(MAXIMUM_DEPTH + 1)]
MASKED = [[bytes([byte & (0xFF00 >> bits) & 0xFF]) for byte in range(256)] for bits in range(8)]
"""MASKED[n][byte] keeps the first n bits of the byte."""


class UnreadableNode(LedgerError):
    """A trie node is absent or malformed."""

    code = 1905
    hint = "That version of the state has been pruned; if it is recent, the database is damaged: run verify."


class NodeReader(Protocol):
    """Where the nodes of earlier versions are read from."""

    def get_node(self, node_key: bytes) -> bytes | None: ...


class Leaf(NamedTuple):
    """A key and its value as a leaf node holds them."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class NodeReference:
    """The root node of a non-empty state. None in its place means the empty state."""

    version: int
    """Height of the block that wrote the node; at most 2^64 - 1."""
    hash: bytes
    """32 bytes: the state root."""

    def encode(self) -> bytes:
        """40 bytes: version, big-endian, then hash."""
        return self.version.to_bytes(8, "big") + self.hash

    @staticmethod
    def decode(data: bytes) -> "NodeReference":
        """Raises ValueError unless `data` has 40 bytes."""
        if len(data) != 40:
            raise ValueError("a node reference has 40 bytes")
        return NodeReference(int.from_bytes(data[:8], "big"), data[8:])


class OverlayNodes:
    """The nodes of a candidate that is not written yet, above those that are."""

    def __init__(self, nodes: Mapping[bytes, bytes], base: NodeReader) -> None:
        self._nodes = nodes
        self._base = base

    def get_node(self, node_key: bytes) -> bytes | None:
        return self._nodes.get(node_key) or self._base.get_node(node_key)


def state_path(key: bytes) -> bytes:
    """The place of a key, 32 bytes."""
    return sha256(PATH_HEAD + len(key).to_bytes(8, "big") + key).digest()


def leaf_hash(path: bytes, value_hash: bytes) -> bytes:
    """The hash of a leaf, from its place and the SHA-256 of its value."""
    return sha256(LEAF_HEAD + path + value_hash).digest()


def branch_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a branch, from the hashes of its sides."""
    return sha256(BRANCH_HEAD + left + right).digest()


def bit_at(path: bytes, depth: int) -> int:
    """The bit that chooses the side at `depth`: 0 is left."""
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


def with_bit(path: bytes, depth: int, bit: int) -> bytes:
    """`path` with the bit at `depth` set to `bit`."""
    whole, mask = depth >> 3, 0x80 >> (depth & 7)
    byte = path[whole] | mask if bit else path[whole] & ~mask
    return path[:whole] + bytes([byte]) + path[whole + 1 :]


def node_key(version: bytes, depth: int, path: bytes) -> bytes:
    """The key of the node that `version` (8 bytes) wrote at the first `depth` bits of `path`."""
    whole, bits = depth >> 3, depth & 7
    if bits:
        return version + DEPTH_BYTES[depth] + path[:whole] + MASKED[bits][path[whole]]
    return version + DEPTH_BYTES[depth] + path[:whole]


def encode_leaf(key: bytes, value: bytes) -> bytes:
    """The leaf node. Raises ValueError if the key is longer than 65,535 bytes."""
    if len(key) > MAXIMUM_KEY_BYTES:
        raise ValueError("a state key has at most 65,535 bytes")
    return b"".join((LEAF_TAG, len(key).to_bytes(2, "big"), key, value))


def decode_leaf(data: bytes) -> Leaf:
    """Key and value of a leaf node. Raises UnreadableNode."""
    end = 3 + int.from_bytes(data[1:3], "big")
    if not data[:1] == LEAF_TAG or len(data) < end:
        raise UnreadableNode(reason="malformed leaf")
    return Leaf(data[3:end], data[end:])


def hash_leaf_node(path: bytes, data: bytes) -> bytes:
    """The hash of the leaf node `data`, whose key has its place at `path`."""
    value_hash = sha256(data[3 + (data[1] << 8 | data[2]) :]).digest()
    return sha256(LEAF_HEAD + path + value_hash).digest()


def read_node(reader: NodeReader, key: bytes) -> bytes:
    """The bytes of a node, with a known tag and of a size that its kind can have. Raises UnreadableNode."""
    data = reader.get_node(key)
    if data is None or len(data) < 3:
        raise UnreadableNode(node=key)
    if data[0] != LEAF and (data[0] != BRANCH or len(data) != BRANCH_SIZE):
        raise UnreadableNode(node=key)
    return data
