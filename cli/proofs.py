"""Proofs as files: what a node says of an account, a record or a transaction, and how to check it without any node.

Whoever checks trusts the genesis file alone. It names the authorities of the first epoch; every change of them is
certified by those before; the last ones certified a header; and the header's roots commit to the state, the
transactions and the results. What is shown afterwards is decoded from what was proven, never from what a node added.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chain.errors import LedgerError
from cli.context import Application
from cli.errors import BadInput, ProofRefused
from cli.output import plain

if TYPE_CHECKING:
    from chain.block import Header
    from chain.certificate import Authority
    from chain.interface import StateProof, TransactionProof
    from chain.result import TransactionResult
    from chain.transaction import Transaction
    from genesis.specification import Specification

FORMAT = "aitbc-proof"
VERSION = 1
_LARGEST_FILE = 64 << 20
_HINT = "Do not rely on what it claims. Ask another node for a proof."


@dataclass(frozen=True, slots=True)
class Proven:
    """What a sound proof shows."""

    header: "Header"
    key: bytes = b""
    """The state key, table id first; empty for a transaction."""
    value: bytes | None = None
    """The record's bytes; None if the proof shows that there is no record."""
    transaction: "Transaction | None" = None
    result: "TransactionResult | None" = None


def write_proof(app: Application, path: str, method: str, **params: Any) -> None:
    """Ask the node for a proof and write it to a file."""
    proof = app.call(method, **params)
    content = {"format": FORMAT, "version": VERSION, "method": method, "proof": plain(proof)}
    Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    app.note(f"The proof is in {path}. Check it with: aitbc blockchain verify-proof {path}")


def verify_file(path: str, specification: "Specification") -> Proven:
    """Check the proof in a file. Raises BadInput if it is none, ProofRefused if it does not hold."""
    proof = _read(path)
    try:
        header = _certified_header(proof, specification)
        return _state(proof, header) if hasattr(proof, "siblings") else _transaction(proof, header)
    except (LedgerError, ValueError, IndexError) as error:
        raise ProofRefused(f"The proof is malformed: {str(error)[:200]}.", _HINT) from error


def _read(path: str) -> Any:
    import msgspec

    from chain.interface import METHODS

    with open(path, "rb") as file:
        data = file.read(_LARGEST_FILE + 1)
    hint = "Write one with --proof FILE of `aitbc wallet balance` or `aitbc blockchain transaction`."
    try:
        content = json.loads(data)
        if content["format"] != FORMAT or content["version"] != VERSION or not content["method"].startswith("proof."):
            raise BadInput(f"{path} is not a proof of version {VERSION}.", hint)
        return msgspec.convert(content["proof"], METHODS[content["method"]].result)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path} is not a proof.", hint) from error


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ProofRefused(f"The proof does not hold: {reason}.", _HINT)


def _certified_header(proof: "StateProof | TransactionProof", specification: "Specification") -> "Header":
    """The header, certified by authorities who follow from the genesis file."""
    from chain.certificate import Authority, AuthoritySet
    from chain.schema import decode_record

    members: Sequence[Authority] = specification.authorities
    reached = -1
    for link in proof.links:
        header = _checked(link.header, link.finalization, members, specification)
        _require(header.epoch > reached, "its links are out of order")
        reached = header.epoch
        members = tuple(decode_record(Authority, bytes.fromhex(member)) for member in link.authorities)
        announced = AuthoritySet(header.epoch + 1, tuple(members)).hash()
        _require(header.next_authorities_hash == announced, "a link names other authorities than its header")
    header = _checked(proof.header, proof.finalization, members, specification)
    _require(header.epoch > reached, "its header is older than its links")
    return header


def _checked(
    header_hex: str, finalization_hex: str, members: Sequence["Authority"], specification: "Specification"
) -> "Header":
    from chain.block import Header, hash_header
    from chain.certificate import AuthoritySet, Certificate, VoteKind, verify_certificate
    from chain.schema import decode_record
    from genesis.builder import build

    header_bytes = bytes.fromhex(header_hex)
    header = decode_record(Header, header_bytes)
    _require(header.chain_id == specification.chain_id, f"it is of {header.chain_id}, not {specification.chain_id}")
    if header.height == 0:
        _require(header_bytes == build(specification).block.header_bytes, "its block 0 is not that of the genesis file")
        return header
    authorities = AuthoritySet(header.epoch, tuple(members))
    certificate = Certificate.decode(bytes.fromhex(finalization_hex))
    _require(header.authorities_hash == authorities.hash(), "its header names other authorities")
    _require(certificate.kind is VoteKind.FINALIZE, "its certificate finalises nothing")
    _require(certificate.block_hash == hash_header(header_bytes), "its certificate is of another block")
    _require(verify_certificate(specification.chain_id, authorities, certificate), "no quorum signed its block")
    return header


def _state(proof: "StateProof", header: "Header") -> Proven:
    from chain.crypto.hashing import sha256
    from chain.state.nodes import EMPTY_ROOT, bit_at, branch_hash, leaf_hash, state_path

    key = bytes.fromhex(proof.key)
    path, depth = state_path(key), len(proof.siblings)
    node, value = EMPTY_ROOT, None
    if proof.leaf_key is not None and proof.leaf_value is not None:
        leaf_key, leaf_value = bytes.fromhex(proof.leaf_key), bytes.fromhex(proof.leaf_value)
        # A leaf that lies elsewhere leads to another root, because the sides are taken from the place of `key`.
        node = leaf_hash(state_path(leaf_key), sha256(leaf_value))
        value = leaf_value if leaf_key == key else None
    for at in reversed(range(depth)):
        sibling = bytes.fromhex(proof.siblings[at])
        node = branch_hash(sibling, node) if bit_at(path, at) else branch_hash(node, sibling)
    _require(node == header.state_root, "its path does not lead to the state root")
    return Proven(header, key, value)


def _transaction(proof: "TransactionProof", header: "Header") -> Proven:
    from chain.crypto.hashing import sha256, verify_merkle_path
    from chain.result import TransactionResult
    from chain.schema import decode_record
    from chain.transaction import Transaction

    envelope, result_bytes = bytes.fromhex(proof.envelope), bytes.fromhex(proof.result)
    transaction = Transaction.decode(envelope)
    result = decode_record(TransactionResult, result_bytes)
    in_block = verify_merkle_path(
        header.transactions_root, sha256(envelope), proof.index, proof.count, _path(proof.transaction_path)
    )
    _require(in_block, "the transaction is not in its block")
    came_of_it = verify_merkle_path(
        header.results_root, sha256(result_bytes), proof.index + 1, proof.count + 1, _path(proof.result_path)
    )
    _require(came_of_it, "the result is not in its block")
    return Proven(header, transaction=transaction, result=result)


def _path(siblings: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(sibling) for sibling in siblings]
