"""Collecting votes: lazily verified, bisected when something is bad, one place per authority, kind and view."""

import random
from collections.abc import Sequence

import pytest

from chain.certificate import AuthoritySet, Vote, VoteKind, verify_certificate, vote_bytes
from chain.evidence import Offence
from node.consensus.votes import VoteBook
from tests.simulation.scheme import HashKeys, HashScheme, authorities_for

CHAIN_ID = "test-00000000"
BLOCK = b"b" * 32
OTHER = b"o" * 32
NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


class Counting(HashScheme):
    def __init__(self) -> None:
        self.checks = 0

    def verify_aggregate(self, bls_keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
        self.checks += 1
        return super().verify_aggregate(bls_keys, message, signature)


def book(size: int) -> tuple[VoteBook, AuthoritySet, Counting]:
    authorities = AuthoritySet(2, authorities_for([HashKeys(index) for index in range(size)]))
    scheme = Counting()
    return VoteBook(CHAIN_ID, authorities, scheme), authorities, scheme


def vote(author: int, kind: VoteKind = NOTARIZE, block_hash: bytes = BLOCK, view: int = 5, good: bool = True) -> Vote:
    block_hash = b"" if kind is NULLIFY else block_hash
    signature = HashKeys(author).sign_vote(vote_bytes(CHAIN_ID, 2, view, kind, block_hash))
    return Vote(kind, 2, view, block_hash, signature if good else bytes(96))


def test_nothing_is_verified_before_a_quorum_and_then_once() -> None:
    votes, authorities, scheme = book(7)
    for author in range(4):
        assert votes.add(author, vote(author)) is None
        assert votes.certify(5, NOTARIZE, BLOCK) == (None, ())
    assert scheme.checks == 0
    votes.add(6, vote(6))
    certificate, bad = votes.certify(5, NOTARIZE, BLOCK)
    assert scheme.checks == 1
    assert certificate is not None
    assert certificate.signers() == (0, 1, 2, 3, 6)
    assert verify_certificate(CHAIN_ID, authorities, certificate, scheme)
    assert bad == ()


@pytest.mark.parametrize("seed", range(20))
def test_bad_votes_are_found_and_never_counted_again(seed: int) -> None:
    rng = random.Random(seed)
    votes, authorities, scheme = book(10)
    liars = set(rng.sample(range(10), rng.randint(1, 3)))
    order = list(range(10))
    rng.shuffle(order)
    found: set[int] = set()
    certificate = None
    for author in order:
        votes.add(author, vote(author, good=author not in liars))
        made, bad = votes.certify(5, NOTARIZE, BLOCK)
        found |= set(bad)
        certificate = certificate or made
        votes.add(author, vote(author, good=author not in liars))
    assert found <= liars
    assert certificate is not None
    assert not set(certificate.signers()) & liars
    assert verify_certificate(CHAIN_ID, authorities, certificate, scheme)
    for liar in found:
        votes.add(liar, vote(liar))
        assert not votes.has(5, NOTARIZE, liar), "its place in this view is gone"


def test_a_rejected_author_costs_nothing_more() -> None:
    votes, _, scheme = book(4)
    for author in range(3):
        votes.add(author, vote(author, good=author != 0))
    assert votes.certify(5, NOTARIZE, BLOCK) == (None, (0,))
    checks = scheme.checks
    for _ in range(50):
        votes.add(0, vote(0, good=False))
        assert votes.certify(5, NOTARIZE, BLOCK) == (None, ())
    assert scheme.checks == checks


def test_votes_for_different_blocks_do_not_add_up() -> None:
    votes, _, _ = book(4)
    for author in range(4):
        votes.add(author, vote(author, block_hash=BLOCK if author < 2 else OTHER))
    assert votes.certify(5, NOTARIZE, BLOCK)[0] is None
    assert votes.certify(5, NOTARIZE, OTHER)[0] is None
    assert votes.count(5, NOTARIZE) == 4


def test_the_first_vote_of_an_authority_counts_and_the_second_is_returned() -> None:
    votes, _, _ = book(4)
    assert votes.add(0, vote(0)) is None
    assert votes.add(0, vote(0)) is None
    assert votes.add(0, vote(0, block_hash=OTHER)) == vote(0)
    assert votes.count(5, NOTARIZE) == 1
    assert votes.add(0, vote(0, NULLIFY)) is None, "to notarize and then to nullify is allowed"
    assert votes.add(0, vote(0, FINALIZE)) == vote(0, NULLIFY)
    assert votes.add(1, vote(1, FINALIZE)) is None
    assert votes.add(1, vote(1, NULLIFY)) == vote(1, FINALIZE)


def test_convictions() -> None:
    votes, authorities, scheme = book(4)
    conflict = votes.convict(0, vote(0), vote(0, block_hash=OTHER))
    assert conflict is not None
    assert conflict.offence is Offence.CONFLICTING_NOTARIZE
    assert conflict.convicts(CHAIN_ID, authorities, scheme)
    assert votes.convict(0, vote(0), vote(0, block_hash=OTHER)) is None, "once per epoch"
    for _ in range(10):
        assert votes.convict(1, vote(1), vote(1, block_hash=OTHER, good=False)) is None
    assert votes.convict(1, vote(1), vote(1, block_hash=OTHER)) is None, "an author's suspicions are bounded"


def test_pruning() -> None:
    votes, _, _ = book(1)
    for view in (5, 6, 7):
        votes.add(0, vote(0, view=view))
    votes.prune(6)
    assert [votes.count(view, NOTARIZE) for view in (5, 6, 7)] == [0, 0, 1]
