"""SHA-256, domain-separated hashes and Merkle trees.

Everything the ledger names by hash uses `tagged_hash`, so that bytes which mean one thing can never be presented as
another. Lists are committed to by an RFC 6962 tree, whose leaves and nodes hash under different prefixes: an inner
node cannot pass for a leaf, and lists of different lengths cannot share a root by padding.
"""

import hashlib
from collections.abc import Sequence

HASH_SIZE = 32

_LEAF_PREFIX = b"\x00"
_NODE_PREFIX = b"\x01"
_EMPTY_ROOT = hashlib.sha256(b"").digest()


def sha256(data: bytes) -> bytes:
    """The 32-byte SHA-256 digest of `data` (FIPS 180-4)."""
    return hashlib.sha256(data).digest()


def tagged_hash(domain: str, *parts: bytes) -> bytes:
    """The 32-byte hash of `parts` within `domain`.

    The domain and each part are preceded by their length (one byte and eight bytes, big-endian), so that no two
    different calls hash the same bytes.

    Args:
        domain: 1 to 255 bytes of ASCII that end in a version, such as "aitbc/block/1".

    Raises:
        ValueError: the domain is empty, too long or not ASCII.
    """
    tag = domain.encode("ascii")
    if not 0 < len(tag) <= 255:
        raise ValueError("a hash domain has 1 to 255 characters")
    pieces = [len(tag).to_bytes(1, "big"), tag]
    for part in parts:
        pieces.append(len(part).to_bytes(8, "big"))
        pieces.append(part)
    return hashlib.sha256(b"".join(pieces)).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root of the RFC 6962 (section 2.1) tree over `leaves`; SHA-256 of nothing for an empty list."""
    if not leaves:
        return _EMPTY_ROOT
    level = [_hash_leaf(leaf) for leaf in leaves]
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def merkle_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The sibling hashes, from leaf to root, that prove `leaves[index]` (RFC 6962, section 2.1.1).

    Raises:
        IndexError: `index` is not within the list.
    """
    if not 0 <= index < len(leaves):
        raise IndexError("no such leaf")
    level = [_hash_leaf(leaf) for leaf in leaves]
    path: list[bytes] = []
    position = index
    while len(level) > 1:
        sibling = position ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _next_level(level)
        position >>= 1
    return path


def verify_merkle_path(root: bytes, leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that `leaf` is number `index` (from 0) of the `count` leaves under `root`.

    `leaf` is the leaf itself, not its hash. Malformed input is a failed proof and never an exception. `count` must
    come from where the root comes from: leaf 0 of three and leaf 0 of four have paths of one shape, and a root does
    not tell them apart. The loop is that of RFC 9162, section 2.1.3.2: it consumes exactly the path of such a tree.
    """
    if not (isinstance(index, int) and isinstance(count, int) and isinstance(leaf, bytes) and 0 <= index < count):
        return False
    position, last = index, count - 1
    node = _hash_leaf(leaf)
    for sibling in path:
        if last == 0 or not isinstance(sibling, bytes) or len(sibling) != HASH_SIZE:
            return False
        if position & 1 or position == last:
            node = _hash_node(sibling, node)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            node = _hash_node(node, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and node == root


def _hash_leaf(leaf: bytes) -> bytes:
    return hashlib.sha256(_LEAF_PREFIX + leaf).digest()


def _hash_node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()


def _next_level(level: list[bytes]) -> list[bytes]:
    """Pairs are hashed and an odd last node moves up unchanged: the same tree as RFC 6962's recursive split."""
    paired = [_hash_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        paired.append(level[-1])
    return paired
