"""Merkle trees against the Certificate Transparency vectors and the recursive definition; hash domains."""

import hashlib
import random

import pytest

from chain.crypto.hashing import merkle_path, merkle_root, sha256, tagged_hash, verify_merkle_path

# Roots over the first 1 to 8 leaves, as published with the Certificate Transparency reference code.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + recursive_root(leaves[:split]) + recursive_root(leaves[split:])).digest()


def recursive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1, word for word."""
    if len(leaves) <= 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*recursive_path(index, leaves[:split]), recursive_root(leaves[split:])]
    return [*recursive_path(index - split, leaves[split:]), recursive_root(leaves[:split])]


def test_sha256_vector() -> None:
    assert sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_tagged_hash_golden() -> None:
    assert tagged_hash("aitbc/block/1", b"header") == sha256(b"\x0daitbc/block/1" + bytes(7) + b"\x06header")
    assert (
        tagged_hash("aitbc/block/1", b"header").hex()
        == "5765010bf2ec974a015fa391a13fb226acb66872a3afc7170868561d5a99cc64"
    )


def test_tagged_hash_separates_domains_and_parts() -> None:
    digests = {
        tagged_hash("a", b"bc"),
        tagged_hash("ab", b"c"),
        tagged_hash("a", b"b", b"c"),
        tagged_hash("a", b"bc", b""),
        tagged_hash("a", b"", b"bc"),
        tagged_hash("a"),
        tagged_hash("a", b""),
    }
    assert len(digests) == 7


@pytest.mark.parametrize("domain", ["", "x" * 256, "ü"])
def test_tagged_hash_refuses_bad_domains(domain: str) -> None:
    with pytest.raises(ValueError):
        tagged_hash(domain, b"")


def test_merkle_root_published_vectors() -> None:
    assert merkle_root([]) == sha256(b"")
    for count, root in enumerate(CT_ROOTS, start=1):
        assert merkle_root(CT_LEAVES[:count]).hex() == root


def test_every_tree_matches_the_definition_and_proves_every_leaf() -> None:
    leaves = [number.to_bytes(2, "big") for number in range(34)]
    for count in range(1, len(leaves) + 1):
        tree = leaves[:count]
        root = recursive_root(tree)
        assert merkle_root(tree) == root
        for index, leaf in enumerate(tree):
            path = merkle_path(tree, index)
            assert path == recursive_path(index, tree)
            assert verify_merkle_path(root, leaf, index, count, path)


def test_false_proofs_fail(rng: random.Random) -> None:
    for _ in range(200):
        count = rng.randrange(2, 40)
        leaves = [rng.randbytes(8) for _ in range(count)]
        index = rng.randrange(count)
        root, path = merkle_root(leaves), merkle_path(leaves, index)
        assert not verify_merkle_path(root, leaves[index] + b"\x00", index, count, path)
        assert not verify_merkle_path(root, leaves[index], (index + 1) % count, count, path)
        assert not verify_merkle_path(root, leaves[index], index, count, path[:-1])
        assert not verify_merkle_path(root, leaves[index], index, count, [*path, bytes(32)])
        position = rng.randrange(len(path))
        broken = bytearray(path[position])
        broken[rng.randrange(32)] ^= 1 << rng.randrange(8)
        assert not verify_merkle_path(
            root, leaves[index], index, count, [*path[:position], bytes(broken), *path[position + 1 :]]
        )


def shape(index: int, count: int) -> list[str]:
    """On which side each sibling of the path stands, from leaf to root."""
    if count <= 1:
        return []
    split = 1
    while split * 2 < count:
        split *= 2
    return [*shape(index, split), "right"] if index < split else [*shape(index - split, count - split), "left"]


def test_a_proof_holds_only_for_positions_of_its_own_shape() -> None:
    leaves = [bytes([number]) for number in range(9)]
    positions = [(index, count) for count in range(1, 10) for index in range(count)]
    for index, count in positions:
        root, path = merkle_root(leaves[:count]), merkle_path(leaves[:count], index)
        for claimed_index, claimed_count in positions:
            holds = verify_merkle_path(root, leaves[index], claimed_index, claimed_count, path)
            assert holds == (shape(claimed_index, claimed_count) == shape(index, count))


def test_malformed_proofs_are_false() -> None:
    root, path = merkle_root(CT_LEAVES), merkle_path(CT_LEAVES, 3)
    assert verify_merkle_path(root, CT_LEAVES[3], 3, 8, path)
    assert not verify_merkle_path(root, CT_LEAVES[3], -1, 8, path)
    assert not verify_merkle_path(root, CT_LEAVES[3], 8, 8, path)
    assert not verify_merkle_path(root, CT_LEAVES[3], 0, 0, [])
    assert not verify_merkle_path(root, CT_LEAVES[3], 3, 8, [path[0][:-1], *path[1:]])
    assert not verify_merkle_path(root, CT_LEAVES[3], 3, 8, ["text", *path[1:]])  # type: ignore[list-item]
    assert not verify_merkle_path(root, None, 3, 8, path)  # type: ignore[arg-type]
    assert not verify_merkle_path(root[:-1], CT_LEAVES[3], 3, 8, path)
    # An inner node is not a leaf: its two children, presented as one leaf, hash under another prefix.
    pair = hashlib.sha256(b"\x00" + CT_LEAVES[0]).digest() + hashlib.sha256(b"\x00" + CT_LEAVES[1]).digest()
    assert not verify_merkle_path(merkle_root(CT_LEAVES[:2]), pair, 0, 1, [])


def test_merkle_path_outside_the_list() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            merkle_path(CT_LEAVES, index)
