"""Votes, certificates and the authorities who sign them: all that is needed to check that a block is final.

Every vote of one kind for one block signs the same bytes, so a certificate is one aggregate signature and a bitmap of
who signed. It has exactly one valid form per set of signers: a bitmap of exact length, without bits beyond the set,
and with at least a quorum. Certificates lie outside every hash, because different nodes may hold different ones for
the same block, all valid. Sources: Simplex (Chan and Pass, TCC 2023); draft-irtf-cfrg-bls-signature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Protocol

from chain.codec import Value, decode, encode
from chain.crypto import bls, ed25519
from chain.crypto.hashing import tagged_hash
from chain.errors import MalformedEncoding
from chain.record import encode_record, record
from chain.schema import U64, Address, Octets, PublicKey, Unsigned64

VOTE_DOMAIN = "aitbc/vote/1"
AUTHORITIES_DOMAIN = "aitbc/authorities/1"
CERTIFICATE_VERSION = 1
MAXIMUM_AUTHORITIES = 128
MAXIMUM_CERTIFICATE_BYTES = 256

BlsPublicKey = Annotated[bytes, Octets(bls.PUBLIC_KEY_SIZE, bls.PUBLIC_KEY_SIZE)]
BlsSignature = Annotated[bytes, Octets(bls.SIGNATURE_SIZE, bls.SIGNATURE_SIZE)]


class VoteKind(IntEnum):
    """What a signature says about a view."""

    PROPOSAL = 0
    """By the leader's node key: this is my block for the view."""
    NOTARIZE = 1
    """The block is valid and I keep its body until it is final."""
    NULLIFY = 2
    """The view may be skipped; I shall not vote to finalise in it."""
    FINALIZE = 3
    """A quorum notarized the block and I shall not vote to skip the view."""


CERTIFIABLE = (VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE)


class Scheme(Protocol):
    """The signature arithmetic. Production uses `BLS_SCHEME`; a simulation may put something faster in its place."""

    def verify_proposal(self, node_key: bytes, message: bytes, signature: bytes) -> bool: ...

    def verify_vote(self, bls_key: bytes, message: bytes, signature: bytes) -> bool: ...

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        """One 96-byte signature from several. Raises ValueError if one of them is malformed."""

    def verify_aggregate(self, bls_keys: Sequence[bytes], message: bytes, signature: bytes) -> bool: ...


class BlsScheme:
    """Ed25519 for proposals and BLS12-381 for votes."""

    def verify_proposal(self, node_key: bytes, message: bytes, signature: bytes) -> bool:
        return ed25519.verify(node_key, message, signature)

    def verify_vote(self, bls_key: bytes, message: bytes, signature: bytes) -> bool:
        return bls.verify(bls_key, message, signature)

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        return bls.aggregate(signatures)

    def verify_aggregate(self, bls_keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
        return bls.verify_aggregate(bls_keys, message, signature)


BLS_SCHEME: Scheme = BlsScheme()


def quorum(size: int) -> int:
    """How many of `size` authorities (at least 1) make a certificate: any two quorums share an honest authority.

    n - floor((n - 1) / 3), which is neither 2f + 1 nor ceil(2n / 3): both let 3, 5 or 6 authorities fork.
    """
    return size - (size - 1) // 3


@record(version=1)
@dataclass(frozen=True, slots=True)
class Authority:
    """One member of an authority set."""

    operator: Address
    """The account that is accountable for it."""
    node_key: PublicKey
    """Ed25519 key of its links and proposals."""
    bls_key: BlsPublicKey
    """Key of its votes."""
    proof_of_possession: BlsSignature
    """Shows that the secret of `bls_key` is held; without it aggregates could be forged by a chosen key."""


@dataclass(frozen=True, slots=True)
class AuthoritySet:
    """The authorities of one epoch, in the order that leaders and bitmaps follow."""

    epoch: int
    members: tuple[Authority, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.members) <= MAXIMUM_AUTHORITIES:
            raise ValueError(f"an authority set has 1 to {MAXIMUM_AUTHORITIES} members")
        if len({member.node_key for member in self.members}) != len(self.members):
            raise ValueError("two authorities share a node key")
        if len({member.bls_key for member in self.members}) != len(self.members):
            raise ValueError("two authorities share a BLS key")

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def quorum(self) -> int:
        return quorum(len(self.members))

    def leader(self, view: int) -> int:
        """Index of the authority that proposes in `view` of this epoch."""
        return (view + self.epoch) % len(self.members)

    def index_of(self, node_key: bytes) -> int | None:
        """Index of the authority with this node key, or None."""
        for index, member in enumerate(self.members):
            if member.node_key == node_key:
                return index
        return None

    def index_of_both(self, node_key: bytes, bls_key: bytes) -> int | None:
        """Index of the authority with both keys; None also if it is known by this node key and another BLS key."""
        index = self.index_of(node_key)
        return index if index is not None and self.members[index].bls_key == bls_key else None

    def hash(self) -> bytes:
        """32 bytes over the members in order. The epoch is left out, so that an unchanged set keeps its hash."""
        return tagged_hash(AUTHORITIES_DOMAIN, *(encode_record(member) for member in self.members))

    def possessions_hold(self) -> bool:
        """Whether every BLS key is valid and its proof of possession good. Slow; once per new set."""
        return all(bls.verify_possession(member.bls_key, member.proof_of_possession) for member in self.members)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Vote:
    """One authority's signature on one statement about a view; the author is known by other means (its link)."""

    kind: VoteKind
    epoch: Unsigned64
    view: Unsigned64
    block_hash: Annotated[bytes, Octets(0, 32)]
    """32 bytes, or empty for NULLIFY."""
    signature: Annotated[bytes, Octets(ed25519.SIGNATURE_SIZE, bls.SIGNATURE_SIZE)]
    """64 bytes for PROPOSAL, else 96."""

    def plain(self) -> list[Value]:
        return [int(self.kind), self.epoch, self.view, self.block_hash, self.signature]

    @staticmethod
    def from_plain(plain: Value) -> "Vote":
        """The vote of a decoded array. Raises MalformedEncoding."""
        match plain:
            case (int() as kind, int() as epoch, int() as view, bytes() as block_hash, bytes() as signature):
                statement = _statement(kind, epoch, view, block_hash)
                expected = ed25519.SIGNATURE_SIZE if statement is VoteKind.PROPOSAL else bls.SIGNATURE_SIZE
                if len(signature) != expected:
                    raise MalformedEncoding(reason="a signature has the wrong length")
                return Vote(statement, epoch, view, block_hash, signature)
        raise MalformedEncoding(reason="not a vote")


def vote_bytes(chain_id: str, epoch: int, view: int, kind: VoteKind, block_hash: bytes) -> bytes:
    """What a vote signs: canonical CBOR of [domain, chain id, epoch, view, kind, block hash or empty]."""
    return encode([VOTE_DOMAIN, chain_id, epoch, view, int(kind), block_hash])


@dataclass(frozen=True, slots=True)
class Certificate:
    """A quorum of votes of one kind: a notarization, a nullification or a finalization."""

    kind: VoteKind
    epoch: int
    view: int
    block_hash: bytes
    """32 bytes, or empty for a nullification."""
    bitmap: bytes
    """Bit i % 8 of byte i // 8 is set if authority i signed."""
    signature: bytes
    """96 bytes: the sum of the signers' votes."""

    def plain(self) -> list[Value]:
        fields: list[Value] = [CERTIFICATE_VERSION, int(self.kind), self.epoch, self.view]
        return [*fields, self.block_hash, self.bitmap, self.signature]

    def encode(self) -> bytes:
        return encode(self.plain())

    @staticmethod
    def from_plain(plain: Value) -> "Certificate":
        """The certificate of a decoded array, of good shape but not verified. Raises MalformedEncoding."""
        match plain:
            case (
                int() as version,
                int() as kind,
                int() as epoch,
                int() as view,
                bytes() as block_hash,
                bytes() as bitmap,
                bytes() as signature,
            ) if type(version) is int and version == CERTIFICATE_VERSION:
                statement = _statement(kind, epoch, view, block_hash)
                if statement not in CERTIFIABLE or len(signature) != bls.SIGNATURE_SIZE:
                    raise MalformedEncoding(reason="not a certificate")
                if not 1 <= len(bitmap) <= (MAXIMUM_AUTHORITIES + 7) // 8:
                    raise MalformedEncoding(reason="a bitmap has the wrong length")
                return Certificate(statement, epoch, view, block_hash, bitmap, signature)
        raise MalformedEncoding(reason="not a certificate")

    @staticmethod
    def decode(data: bytes) -> "Certificate":
        """The certificate of these bytes, of good shape but not verified. Raises MalformedEncoding."""
        return Certificate.from_plain(decode(data, max_size=MAXIMUM_CERTIFICATE_BYTES))

    def signers(self) -> tuple[int, ...]:
        """Indices of the authorities whose votes it claims, ascending."""
        return tuple(
            8 * position + bit for position, byte in enumerate(self.bitmap) for bit in range(8) if byte >> bit & 1
        )


def _statement(kind: int, epoch: int, view: int, block_hash: bytes) -> VoteKind:
    if type(kind) is not int or not 0 <= kind <= VoteKind.FINALIZE:
        raise MalformedEncoding(reason="unknown kind of vote")
    if type(epoch) is not int or type(view) is not int or not 0 <= epoch <= U64 or not 1 <= view <= U64:
        raise MalformedEncoding(reason="epoch or view out of range")
    if len(block_hash) != (0 if kind == VoteKind.NULLIFY else 32):
        raise MalformedEncoding(reason="a vote names a block, except to nullify")
    return VoteKind(kind)


def assemble_certificate(votes: Mapping[int, Vote], size: int, scheme: Scheme = BLS_SCHEME) -> Certificate:
    """The certificate of these votes by authority index, all for one statement, in a set of `size`.

    Neither quorum nor signatures are checked here. Raises ValueError if a signature is malformed.
    """
    first = next(iter(votes.values()))
    bitmap = bytearray((size + 7) // 8)
    for index in votes:
        bitmap[index // 8] |= 1 << index % 8
    signature = scheme.aggregate([votes[index].signature for index in sorted(votes)])
    return Certificate(first.kind, first.epoch, first.view, first.block_hash, bytes(bitmap), signature)


def verify_certificate(
    chain_id: str, authorities: AuthoritySet, certificate: Certificate, scheme: Scheme = BLS_SCHEME
) -> bool:
    """Whether a quorum of `authorities`, who must be those of the certificate's epoch, signed it."""
    if certificate.epoch != authorities.epoch or certificate.kind not in CERTIFIABLE:
        return False
    if len(certificate.bitmap) != (authorities.size + 7) // 8:
        return False
    signers = certificate.signers()
    if len(signers) < authorities.quorum or signers[-1] >= authorities.size:
        return False
    message = vote_bytes(chain_id, certificate.epoch, certificate.view, certificate.kind, certificate.block_hash)
    keys = [authorities.members[index].bls_key for index in signers]
    return scheme.verify_aggregate(keys, message, certificate.signature)
