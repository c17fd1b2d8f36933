"""Proofs as files: what a node says of an account or a transaction, with all that is needed to check it elsewhere.

A file holds one proof as `chain.state.proof` defines it, and is checked by that module against the genesis file alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.context import Application
from cli.errors import BadInput, ProofRefused

if TYPE_CHECKING:
    from chain.state.proof import FinalHeader, ListPath, ProvenState, ProvenTransaction
    from genesis.specification import Specification

FORMAT = "aitbc-proof"
VERSION = 1
_LARGEST_FILE = 40 << 20
_STATE, _TRANSACTION = "state", "transaction"


def write_proof(app: Application, path: str, method: str, **params: Any) -> None:
    """Ask the node for a proof and write it to a file."""
    from chain.schema import encode_record

    answer = app.call(method, **params)
    kind, proof = (_STATE, _state(answer)) if hasattr(answer, "siblings") else (_TRANSACTION, _transaction(answer))
    content = {"format": FORMAT, "version": VERSION, "kind": kind, "proof": encode_record(proof).hex()}
    Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    app.note(f"The proof is in {path}. Check it with: aitbc blockchain verify-proof {path}")


def verify_file(path: str, specification: "Specification") -> "ProvenState | ProvenTransaction":
    """Check the proof in a file. Raises BadInput if it is none, ProofRefused if it does not hold."""
    from chain.errors import InvalidProof
    from chain.state.proof import Trust, verify_state_proof, verify_transaction_proof
    from genesis.builder import build

    kind, data = _read(path)
    trust = Trust(specification.chain_id, specification.authorities, build(specification).block.hash)
    try:
        return verify_state_proof(data, trust) if kind == _STATE else verify_transaction_proof(data, trust)
    except InvalidProof as error:
        reason = str(error.data.get("reason"))
        raise ProofRefused(
            f"The proof does not hold: {reason}.",
            "Do not rely on what it claims. Check that the genesis file is that of its network, or ask another node.",
        ) from error


def _read(path: str) -> tuple[str, bytes]:
    with open(path, "rb") as file:
        data = file.read(_LARGEST_FILE + 1)
    try:
        content = json.loads(data)
        if (content["format"], content["version"]) == (FORMAT, VERSION) and content["kind"] in (_STATE, _TRANSACTION):
            return content["kind"], bytes.fromhex(content["proof"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    hint = "Write one with --proof FILE of `aitbc wallet balance` or `aitbc blockchain transaction`."
    raise BadInput(f"{path} is not a proof of version {VERSION}.", hint)


def _final(answer: Any) -> "FinalHeader":
    from chain.certificate import Authority
    from chain.schema import decode_record
    from chain.state.proof import EpochLink, FinalHeader

    links = tuple(
        EpochLink(
            bytes.fromhex(link.header),
            bytes.fromhex(link.finalization),
            tuple(decode_record(Authority, bytes.fromhex(member)) for member in link.authorities),
        )
        for link in answer.links
    )
    return FinalHeader(bytes.fromhex(answer.header), bytes.fromhex(answer.finalization), links)


def _state(answer: Any) -> Any:
    from chain.crypto.hashing import sha256
    from chain.state.nodes import state_path
    from chain.state.proof import OtherLeaf, StateProof

    value = other = None
    if answer.leaf_key is not None and answer.leaf_value is not None:
        leaf_value = bytes.fromhex(answer.leaf_value)
        if answer.leaf_key == answer.key:
            value = leaf_value
        else:
            other = OtherLeaf(state_path(bytes.fromhex(answer.leaf_key)), sha256(leaf_value))
    return StateProof(_final(answer), bytes.fromhex(answer.key), value, other, _siblings(answer.siblings))


def _transaction(answer: Any) -> Any:
    from chain.state.proof import TransactionProof

    return TransactionProof(
        _final(answer),
        bytes.fromhex(answer.envelope),
        _list_path(answer.transaction_path, answer.index, answer.count),
        bytes.fromhex(answer.result),
        # The first leaf of the results is the block's own.
        _list_path(answer.result_path, answer.index + 1, answer.count + 1),
    )


def _list_path(siblings: Sequence[str], index: int, count: int) -> "ListPath":
    """The way up from leaf `index` of `count` (RFC 6962): a last leaf without a partner has no sibling at its level."""
    from chain.state.proof import ListPath

    left = level = 0
    last = count - 1
    while last > 0:
        if index & 1:
            left |= 1 << level
        if index & 1 or index < last:
            level += 1
        index, last = index >> 1, last >> 1
    return ListPath(_siblings(siblings), left)


def _siblings(siblings: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(sibling) for sibling in siblings)
