"""Votes, certificates and authority sets: their one byte form, and that nothing short of a quorum passes."""

import hashlib
from dataclasses import replace
from functools import cache

import pytest

from chain.certificate import (
    BLS_SCHEME,
    MAXIMUM_AUTHORITIES,
    Authority,
    AuthoritySet,
    Certificate,
    Vote,
    VoteKind,
    assemble_certificate,
    quorum,
    verify_certificate,
    vote_bytes,
)
from chain.codec import encode
from chain.crypto import bls
from chain.crypto.address import key_address
from chain.crypto.ed25519 import PrivateKey
from chain.errors import MalformedEncoding
from chain.evidence import ConflictingVotes, Offence

CHAIN_ID = "test-00000000"
BLOCK = hashlib.sha256(b"block").digest()
OTHER = hashlib.sha256(b"other").digest()


def seed(index: int) -> bytes:
    return hashlib.sha256(b"authority %d" % index).digest()


@cache
def secret(index: int) -> bytes:
    return bls.secret_key_from_seed(seed(index))


@cache
def authorities(size: int, epoch: int = 3) -> AuthoritySet:
    members = []
    for index in range(size):
        node_key = PrivateKey(seed(index)).public_key
        proof = bls.prove_possession(secret(index))
        members.append(Authority(key_address(node_key), node_key, bls.public_key(secret(index)), proof))
    return AuthoritySet(epoch, tuple(members))


def vote(index: int, kind: VoteKind = VoteKind.NOTARIZE, block_hash: bytes = BLOCK, view: int = 9) -> Vote:
    block_hash = b"" if kind is VoteKind.NULLIFY else block_hash
    message = vote_bytes(CHAIN_ID, 3, view, kind, block_hash)
    if kind is VoteKind.PROPOSAL:
        return Vote(kind, 3, view, block_hash, PrivateKey(seed(index)).sign(message))
    return Vote(kind, 3, view, block_hash, bls.sign(secret(index), message))


@cache
def certificate(signers: tuple[int, ...], size: int, kind: VoteKind = VoteKind.NOTARIZE) -> Certificate:
    return assemble_certificate({index: vote(index, kind) for index in signers}, size)


def good(found: Certificate, size: int) -> bool:
    return verify_certificate(CHAIN_ID, authorities(size), found)


def test_quorum_by_counting() -> None:
    """Any two quorums share more than the tolerated faults, and the honest alone suffice."""
    for size in range(1, 200):
        faults = max(f for f in range(size) if 3 * f < size)
        assert quorum(size) == size - faults
        assert 2 * quorum(size) - size > faults
    assert [quorum(size) for size in range(1, 8)] == [1, 2, 3, 3, 4, 5, 5]


def test_leaders_take_turns_and_shift_with_the_epoch() -> None:
    assert [authorities(4, 0).leader(view) for view in range(1, 6)] == [1, 2, 3, 0, 1]
    assert [authorities(4, 1).leader(view) for view in range(1, 6)] == [2, 3, 0, 1, 2]


def test_a_set_keeps_its_hash_across_epochs_and_not_across_orders() -> None:
    first = authorities(3, 0)
    assert first.hash() == authorities(3, 7).hash()
    assert first.hash() != AuthoritySet(0, first.members[::-1]).hash()
    assert first.hash() != authorities(2, 0).hash()


def test_set_of_bad_shape() -> None:
    member = authorities(1).members[0]
    with pytest.raises(ValueError):
        AuthoritySet(0, ())
    with pytest.raises(ValueError):
        AuthoritySet(0, (member, member))
    with pytest.raises(ValueError):
        AuthoritySet(0, (member, replace(authorities(2).members[1], bls_key=member.bls_key)))
    many = tuple(
        replace(member, node_key=i.to_bytes(32), bls_key=i.to_bytes(48)) for i in range(MAXIMUM_AUTHORITIES + 1)
    )
    with pytest.raises(ValueError):
        AuthoritySet(0, many)


def test_possessions() -> None:
    assert authorities(2).possessions_hold()
    first, second = authorities(2).members
    assert not AuthoritySet(
        0, (first, replace(second, proof_of_possession=first.proof_of_possession))
    ).possessions_hold()


@pytest.mark.parametrize(("signers", "size"), [((0,), 1), ((0, 1), 2), ((0, 2, 3), 4), ((0, 1, 2, 3), 4)])
def test_a_quorum_is_valid(signers: tuple[int, ...], size: int) -> None:
    for kind in (VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE):
        found = certificate(signers, size, kind)
        assert found.signers() == signers
        assert good(found, size)
        assert Certificate.decode(found.encode()) == found


def test_nothing_else_is_valid() -> None:
    found = certificate((0, 2, 3), 4)
    assert good(found, 4)
    assert not good(certificate((0, 2), 4), 4), "less than a quorum"
    assert not good(replace(found, bitmap=b"\x0f"), 4), "claims one signer more"
    assert not good(replace(found, bitmap=b"\x0e"), 4), "claims another signer"
    assert not good(replace(found, bitmap=b"\x2d"), 4), "a bit beyond the set"
    assert not good(replace(found, bitmap=b"\x0d\x00"), 4), "a byte too many"
    assert not good(replace(found, bitmap=b""), 4)
    assert not good(replace(found, view=10), 4)
    assert not good(replace(found, epoch=4), 4)
    assert not good(replace(found, kind=VoteKind.FINALIZE), 4)
    assert not good(replace(found, block_hash=OTHER), 4)
    assert not good(replace(found, signature=bytes(96)), 4)
    assert not good(replace(found, kind=VoteKind.PROPOSAL), 4)
    assert not verify_certificate("other-00000000", authorities(4), found)
    assert not verify_certificate(CHAIN_ID, authorities(4, 2), found), "the set of another epoch"
    assert not good(found, 5), "the same members do not make a quorum of five"


def test_every_vote_kind_and_field_signs_other_bytes() -> None:
    signed = {
        vote_bytes(chain_id, epoch, view, kind, block_hash)
        for chain_id in ("a", "b")
        for epoch in (0, 1)
        for view in (1, 2)
        for kind in VoteKind
        for block_hash in (b"", BLOCK)
    }
    assert len(signed) == 2 * 2 * 2 * 4 * 2


@pytest.mark.parametrize(
    "plain",
    [
        [2, 1, 3, 9, BLOCK, b"\x01", bytes(96)],
        [True, 1, 3, 9, BLOCK, b"\x01", bytes(96)],
        [1, 0, 3, 9, BLOCK, b"\x01", bytes(96)],
        [1, 4, 3, 9, BLOCK, b"\x01", bytes(96)],
        [1, True, 3, 9, BLOCK, b"\x01", bytes(96)],
        [1, 2, 3, 9, BLOCK, b"\x01", bytes(96)],
        [1, 1, 3, 9, b"", b"\x01", bytes(96)],
        [1, 1, 3, 0, BLOCK, b"\x01", bytes(96)],
        [1, 1, -1, 9, BLOCK, b"\x01", bytes(96)],
        [1, 1, 3, 9, BLOCK, b"", bytes(96)],
        [1, 1, 3, 9, BLOCK, bytes(17), bytes(96)],
        [1, 1, 3, 9, BLOCK, b"\x01", bytes(95)],
        [1, 1, 3, 9, BLOCK, b"\x01"],
        [1, 1, 3, 9, BLOCK, b"\x01", bytes(96), 0],
        "text",
        None,
    ],
)
def test_malformed_certificates(plain: object) -> None:
    with pytest.raises(MalformedEncoding):
        Certificate.decode(encode(plain))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "plain",
    [
        [0, 3, 9, BLOCK, bytes(96)],
        [1, 3, 9, BLOCK, bytes(64)],
        [2, 3, 9, BLOCK, bytes(96)],
        [9, 3, 9, BLOCK, bytes(96)],
        [1, 3, 9, BLOCK],
        [1, True, 9, BLOCK, bytes(96)],
    ],
)
def test_malformed_votes(plain: list[object]) -> None:
    with pytest.raises(MalformedEncoding):
        Vote.from_plain(tuple(plain))  # type: ignore[arg-type]


SIGNATURE_DIGEST = "428d5d28266d3008c92e34a6640884bc0f28422f4b5c6d1e1e431443e3442c6d"
AUTHORITIES_HASH = "b9fe2b10d1d94fde0c3a14c291c359212ed50c09106964055c2a45b08742c1d0"


def test_golden_vectors() -> None:
    """Format version 1. What a stored or signed byte means may never change without a new version."""
    assert vote_bytes(CHAIN_ID, 3, 9, VoteKind.FINALIZE, BLOCK).hex() == (
        "866c61697462632f766f74652f316d746573742d30303030303030300309035820" + BLOCK.hex()
    )
    assert vote_bytes(CHAIN_ID, 3, 9, VoteKind.NULLIFY, b"").hex() == (
        "866c61697462632f766f74652f316d746573742d3030303030303030030902" + "40"
    )
    found = certificate((0, 2, 3), 4)
    assert found.encode().hex() == f"87010103095820{BLOCK.hex()}410d5860{found.signature.hex()}"
    assert hashlib.sha256(found.signature).hexdigest() == SIGNATURE_DIGEST
    assert authorities(3).hash().hex() == AUTHORITIES_HASH
    assert Vote.from_plain(tuple(vote(0).plain())) == vote(0)


def test_evidence_convicts_only_what_excludes_itself() -> None:
    key = authorities(4).members[1].node_key

    def offence(first: Vote, second: Vote) -> Offence | None:
        conflict = ConflictingVotes(key, first, second)
        return conflict.offence if conflict.convicts(CHAIN_ID, authorities(4), BLS_SCHEME) else None

    for kind, expected in (
        (VoteKind.PROPOSAL, Offence.CONFLICTING_PROPOSAL),
        (VoteKind.NOTARIZE, Offence.CONFLICTING_NOTARIZE),
        (VoteKind.FINALIZE, Offence.CONFLICTING_FINALIZE),
    ):
        assert offence(vote(1, kind), vote(1, kind, OTHER)) is expected
        assert offence(vote(1, kind), vote(1, kind)) is None
        assert offence(vote(1, kind), vote(1, kind, OTHER, view=10)) is None
        assert offence(vote(1, kind), vote(2, kind, OTHER)) is None, "one of them is somebody else's"
    assert offence(vote(1, VoteKind.NULLIFY), vote(1, VoteKind.FINALIZE)) is Offence.NULLIFY_FINALIZE
    assert offence(vote(1, VoteKind.NULLIFY), vote(1, VoteKind.NOTARIZE)) is None, "which is allowed"
    stranger = ConflictingVotes(bytes(32), vote(1), vote(1, block_hash=OTHER))
    assert not stranger.convicts(CHAIN_ID, authorities(4))
    assert not replace(stranger, node_key=key).convicts("other-00000000", authorities(4))
    assert not replace(stranger, node_key=key).convicts(CHAIN_ID, authorities(4, 4))
