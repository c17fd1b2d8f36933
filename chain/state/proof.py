"""Proofs that need no trust in whoever shows them: this module, and what a verifier knows from the genesis file.

A proof leads from something up to a root in a header, from the header to the quorum that finalised it, and from that
quorum back to the genesis authorities, by one link for each change of them. It is canonical CBOR, bounded, and nothing
in it is without effect: with any byte altered it shows nothing, or the absence of another key that is absent, too.

What it cannot show is that the header is the newest, or that a quorum of authorities long replaced does not lie: a
verifier who knows a later set should begin with that one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from chain.block import Header, hash_header
from chain.certificate import (
    MAXIMUM_AUTHORITIES,
    MAXIMUM_CERTIFICATE_BYTES,
    Authority,
    AuthoritySet,
    Certificate,
    VoteKind,
    verify_certificate,
)
from chain.codec import decode
from chain.crypto.hashing import merkle_path, sha256
from chain.errors import InvalidProof, LedgerError
from chain.record import decode_record, encode_record, record
from chain.result import SystemResult, TransactionResult
from chain.schema import Hash, ListOf, Octets, Unsigned64
from chain.state.nodes import (
    EMPTY_ROOT,
    MAXIMUM_DEPTH,
    MAXIMUM_KEY_BYTES,
    NodeReader,
    NodeReference,
    bit_at,
    branch_hash,
    leaf_hash,
    state_path,
)
from chain.state.trie import prove

MAXIMUM_LINKS = 4_096
"""A chain may change its authorities in every epoch, for years; a verifier checks a few hundred links a second."""
MAXIMUM_VALUE_BYTES = 4 << 20
MAXIMUM_LIST_DEPTH = 32
MAXIMUM_PROOF_BYTES = 16 << 20

HeaderBytes = Annotated[bytes, Octets(1, 1024)]
CertificateBytes = Annotated[bytes, Octets(0, MAXIMUM_CERTIFICATE_BYTES)]


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier takes for granted, all of it from the genesis file."""

    chain_id: str
    authorities: tuple[Authority, ...]
    """The authorities of the first epoch, in order."""
    genesis_block_hash: bytes | None = None
    """With it, proofs against the state of genesis hold too; no quorum has signed that block."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class EpochLink:
    """A change of authorities: the last header of an epoch, certified by the old set, which names the new one."""

    header: HeaderBytes
    finalization: CertificateBytes
    authorities: Annotated[tuple[Authority, ...], ListOf(MAXIMUM_AUTHORITIES, 1)]
    """The authorities from the next epoch on, in order."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class FinalHeader:
    """A header and why it is final."""

    header: HeaderBytes
    finalization: CertificateBytes
    """Empty for the block of genesis."""
    links: Annotated[tuple[EpochLink, ...], ListOf(MAXIMUM_LINKS)] = ()
    """One for each change of the authorities before this header, oldest first."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class OtherLeaf:
    """A leaf of another key that stands where the key in question would have to stand."""

    path: Hash
    value_hash: Hash


@record(version=1)
@dataclass(frozen=True, slots=True)
class StateProof:
    """Shows that a state key has a value, or that it has none, after a final block."""

    final: FinalHeader
    key: Annotated[bytes, Octets(0, MAXIMUM_KEY_BYTES)]
    """Table id first."""
    value: Annotated[bytes, Octets(0, MAXIMUM_VALUE_BYTES)] | None
    """None if the proof is one of absence."""
    other: OtherLeaf | None
    """For absence: the leaf at the key's place; None if nothing stands there."""
    siblings: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_DEPTH)]
    """Hashes beside the way from the root down to the key's place."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class ListPath:
    """The way from a leaf up to the root of an RFC 6962 tree."""

    siblings: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_LIST_DEPTH)]
    """From the leaf upwards."""
    left: Unsigned64
    """Bit i is set if sibling i is on the left."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class TransactionProof:
    """Shows that a transaction is in a final block, and what came of it there."""

    final: FinalHeader
    envelope: Annotated[bytes, Octets(1, MAXIMUM_VALUE_BYTES)]
    envelope_path: ListPath
    result: Annotated[bytes, Octets(1, MAXIMUM_VALUE_BYTES)]
    """Canonical bytes of the TransactionResult."""
    result_path: ListPath


@dataclass(frozen=True, slots=True)
class ProvenState:
    """What a sound StateProof shows."""

    header: Header
    key: bytes
    value: bytes | None
    """None: the key is absent."""


@dataclass(frozen=True, slots=True)
class ProvenTransaction:
    """What a sound TransactionProof shows."""

    header: Header
    txid: bytes
    envelope: bytes
    result: TransactionResult


P = TypeVar("P")
Proven = TypeVar("Proven")


# Checking


def verify_state_proof(data: bytes, trust: Trust, key: bytes | None = None) -> ProvenState:
    """What the encoded StateProof shows. Raises InvalidProof with the reason it shows nothing.

    Who asked for a certain key gives it, so that a proof of another is refused.
    """
    return _verified(StateProof, data, lambda proof: _check_state(proof, trust, key))


def verify_transaction_proof(data: bytes, trust: Trust) -> ProvenTransaction:
    """What the encoded TransactionProof shows. Raises InvalidProof with the reason it shows nothing."""
    return _verified(TransactionProof, data, lambda proof: _check_transaction(proof, trust))


def verify_final_header(final: FinalHeader, trust: Trust) -> Header:
    """The header, if it is final on the chain of `trust`. Raises InvalidProof, or another LedgerError if malformed."""
    members = trust.authorities
    last_epoch = -1
    for link in final.links:
        header = _certified(link.header, link.finalization, members, trust)
        _require(header.epoch > last_epoch, "links out of order")
        new_hash = AuthoritySet(header.epoch + 1, link.authorities).hash()
        _require(header.next_authorities_hash == new_hash, "a link names other authorities than its header")
        _require(header.authorities_hash != new_hash, "a link without a change")
        members, last_epoch = link.authorities, header.epoch
    header = _certified(final.header, final.finalization, members, trust)
    _require(header.epoch > last_epoch, "the header is older than its links")
    return header


def state_root_of(key: bytes, value: bytes | None, other: OtherLeaf | None, siblings: Sequence[bytes]) -> bytes:
    """The state root under which the key has this value, or none. Raises InvalidProof if there can be no such root.

    Absence rests on the leaf that stands at the key's place. Any leaf of the trie could be shown; only one that shares
    the key's path down to its own depth excludes the key.
    """
    path, depth = state_path(key), len(siblings)
    _require(depth <= MAXIMUM_DEPTH, "more siblings than a path has bits")
    if value is not None:
        _require(other is None, "a value and another leaf")
        node = leaf_hash(path, sha256(value))
    elif other is not None:
        _require(other.path != path, "the other leaf is the key's own")
        _require(all(bit_at(other.path, at) == bit_at(path, at) for at in range(depth)), "the leaf lies elsewhere")
        node = leaf_hash(other.path, other.value_hash)
    else:
        node = EMPTY_ROOT
    for at in range(depth - 1, -1, -1):
        node = branch_hash(siblings[at], node) if bit_at(path, at) else branch_hash(node, siblings[at])
    return node


def list_root_of(leaf: bytes, path: ListPath) -> bytes:
    """The RFC 6962 root over a list that holds `leaf` at the place that `path` describes. Raises InvalidProof."""
    _require(path.left >> len(path.siblings) == 0, "sides of more siblings than there are")
    node = sha256(b"\x00" + leaf)
    for at, sibling in enumerate(path.siblings):
        node = sha256(b"\x01" + sibling + node) if path.left >> at & 1 else sha256(b"\x01" + node + sibling)
    return node


def _verified(cls: type[P], data: bytes, check: Callable[[P], Proven]) -> Proven:
    try:
        return check(decode_record(cls, data, max_size=MAXIMUM_PROOF_BYTES))
    except InvalidProof:
        raise
    except (LedgerError, ValueError) as error:
        raise InvalidProof(reason=f"malformed: {error}"[:200]) from error


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise InvalidProof(reason=reason)


def _certified(header_bytes: bytes, finalization: bytes, members: tuple[Authority, ...], trust: Trust) -> Header:
    """The header of these bytes, if it is genesis or a quorum of `members` made it final."""
    header = decode_record(Header, header_bytes)
    block_hash = hash_header(header_bytes)
    _require(header.chain_id == trust.chain_id, "the header is of another chain")
    if header.height == 0:
        _require(block_hash == trust.genesis_block_hash and not finalization, "not the genesis block that is trusted")
        return header
    authorities = AuthoritySet(header.epoch, members)
    certificate = Certificate.decode(finalization)
    _require(header.authorities_hash == authorities.hash(), "the header names other authorities")
    _require(certificate.kind is VoteKind.FINALIZE, "the certificate finalises nothing")
    _require(certificate.block_hash == block_hash, "the certificate is of another block")
    _require(verify_certificate(trust.chain_id, authorities, certificate), "no quorum signed the certificate")
    return header


def _check_state(proof: StateProof, trust: Trust, key: bytes | None) -> ProvenState:
    _require(key in (None, proof.key), "the proof is of another key")
    root = state_root_of(proof.key, proof.value, proof.other, proof.siblings)
    _require(_header(proof.final).state_root == root, "the path does not lead to the state root")
    return ProvenState(verify_final_header(proof.final, trust), proof.key, proof.value)


def _check_transaction(proof: TransactionProof, trust: Trust) -> ProvenTransaction:
    result = decode_record(TransactionResult, proof.result, max_size=MAXIMUM_VALUE_BYTES)
    match decode(proof.envelope, max_size=MAXIMUM_VALUE_BYTES):
        case (bytes() as body, bytes()):
            txid = sha256(body)
        case _:
            raise InvalidProof(reason="not an envelope")
    header = _header(proof.final)
    transactions = list_root_of(sha256(proof.envelope), proof.envelope_path)
    results = list_root_of(sha256(proof.result), proof.result_path)
    _require(result.txid == txid, "the result is of another transaction")
    _require(header.transactions_root == transactions, "the transaction is not in the block")
    _require(header.results_root == results, "the result is not the block's")
    return ProvenTransaction(verify_final_header(proof.final, trust), txid, proof.envelope, result)


def _header(final: FinalHeader) -> Header:
    """The header, not verified: roots are compared before signatures, because that costs a thousandth."""
    return decode_record(Header, final.header)


# Making


def prove_state(reader: NodeReader, root: NodeReference | None, key: bytes, final: FinalHeader) -> StateProof:
    """The proof of a key's value or absence under `root`, which must be the state of `final`. Raises UnreadableNode."""
    siblings, leaf = prove(reader, root, key)
    if leaf is None:
        return StateProof(final, key, None, None, siblings)
    if leaf.key == key:
        return StateProof(final, key, leaf.value, None, siblings)
    return StateProof(final, key, None, OtherLeaf(state_path(leaf.key), sha256(leaf.value)), siblings)


def prove_transaction(
    final: FinalHeader,
    envelopes: Sequence[bytes],
    system: SystemResult,
    results: Sequence[TransactionResult],
    index: int,
) -> TransactionProof:
    """The proof of transaction `index` of the block of `final`, whose envelopes and results are given in full.

    Raises IndexError if there is no such transaction.
    """
    encoded = [encode_record(result) for result in (system, *results)]
    return TransactionProof(
        final,
        envelopes[index],
        list_path([sha256(envelope) for envelope in envelopes], index),
        encoded[index + 1],
        list_path([sha256(result) for result in encoded], index + 1),
    )


def list_path(leaves: Sequence[bytes], index: int) -> ListPath:
    """The way up from `leaves[index]`. Raises IndexError."""
    siblings = merkle_path(leaves, index)
    left, at, last, position = 0, 0, len(leaves) - 1, index
    while last > 0:
        if position & 1:
            left |= 1 << at
            at += 1
        elif position < last:
            at += 1
        position >>= 1
        last >>= 1
    return ListPath(tuple(siblings), left)
