"""Proofs as files: what a node says of an account or a transaction, with all that is needed to check it elsewhere.

A file holds the bytes of one proof as `chain.state.proof` defines it, and is checked by that module against the genesis
file alone. Nothing else of a node's answer is kept, so that all that is ever shown of a file has been verified.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.context import Application
from cli.errors import BadInput, ProofRefused

if TYPE_CHECKING:
    from chain.state.proof import FinalHeader, ProvenState, ProvenTransaction, Trust
    from genesis.specification import Specification

FORMAT = "aitbc-proof"
VERSION = 1
_LARGEST_FILE = 40 << 20
_STATE, _TRANSACTION = "state", "transaction"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a sound proof shows, and who vouches for it."""

    proven: "ProvenState | ProvenTransaction"
    block_hash: bytes
    signers: int
    """How many authorities made the block final; 0 for that of genesis, which nobody signs."""
    authorities: int
    """How many there were."""


def write_proof(app: Application, path: str, method: str, **params: Any) -> None:
    """Ask the node for a proof and write it to a file."""
    answer = app.call(method, **params)
    kind = _TRANSACTION if method == "proof.transaction" else _STATE
    content = {"format": FORMAT, "version": VERSION, "kind": kind, "proof": answer.proof}
    Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    app.note(f"The proof is in {path}. Check it with: aitbc blockchain verify-proof {path}")


def verify_file(path: str, specification: "Specification") -> Checked:
    """Check the proof in a file. Raises BadInput if it is none, ProofRefused if it does not hold."""
    from chain.errors import InvalidProof
    from chain.record import decode_record
    from chain.state.proof import (
        MAXIMUM_PROOF_BYTES,
        StateProof,
        TransactionProof,
        Trust,
        verify_state_proof,
        verify_transaction_proof,
    )
    from genesis.builder import build

    kind, data = _read(path)
    trust = Trust(specification.chain_id, specification.authorities, build(specification).block.hash)
    try:
        proven = verify_state_proof(data, trust) if kind == _STATE else verify_transaction_proof(data, trust)
    except InvalidProof as error:
        reason = str(error.data.get("reason"))
        raise ProofRefused(
            f"The proof does not hold: {reason}.",
            "Do not rely on what it claims. Check that the genesis file is that of its network, or ask another node.",
        ) from error
    form: type[StateProof] | type[TransactionProof] = StateProof if kind == _STATE else TransactionProof
    return Checked(proven, *_grounds(decode_record(form, data, max_size=MAXIMUM_PROOF_BYTES).final, trust))


def _grounds(final: "FinalHeader", trust: "Trust") -> tuple[bytes, int, int]:
    """(block hash, signers, authorities) of a final header that has been verified."""
    from chain.block import hash_header
    from chain.certificate import Certificate

    members = final.links[-1].authorities if final.links else trust.authorities
    signers = len(Certificate.decode(final.finalization).signers()) if final.finalization else 0
    return hash_header(final.header), signers, len(members)


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
