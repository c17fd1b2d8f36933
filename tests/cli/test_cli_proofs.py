"""From the node's form of a proof to the one that is checked, for every place in blocks of many sizes."""

from types import SimpleNamespace
from typing import Any

import pytest

from chain.block import Header, hash_header
from chain.certificate import AuthoritySet, Vote, VoteKind, assemble_certificate, vote_bytes
from chain.crypto import bls
from chain.crypto.hashing import merkle_path, sha256
from chain.schema import encode_record
from chain.state.nodes import EMPTY_ROOT
from chain.state.proof import Trust, list_path, verify_state_proof
from cli import proofs
from tests.ledger import make_authority, make_specification

OLD, NEW = make_authority("old"), make_authority("new")
SPECIFICATION = make_specification(authorities=[OLD[0]])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 33])
def test_paths_lead_to_the_root_from_every_place(count: int) -> None:
    leaves = [sha256(bytes([at])) for at in range(count)]
    for index in range(count):
        siblings = [sibling.hex() for sibling in merkle_path(leaves, index)]
        assert proofs._list_path(siblings, index, count) == list_path(leaves, index)


def certified(epoch: int, height: int, signer: tuple[Any, Any, bytes], next_hash: bytes | None) -> tuple[str, str]:
    """(header, finalization) in hexadecimal, by one authority."""
    authority, _, secret = signer
    header = Header(
        chain_id=SPECIFICATION.chain_id,
        height=height,
        epoch=epoch,
        view=1,
        parent_hash=sha256(b"parent"),
        time_ms=height,
        proposer=authority.operator,
        transactions_root=sha256(b""),
        results_root=sha256(b""),
        state_root=EMPTY_ROOT,
        authorities_hash=AuthoritySet(epoch, (authority,)).hash(),
        next_authorities_hash=next_hash,
    )
    encoded = encode_record(header)
    block_hash = hash_header(encoded)
    signature = bls.sign(secret, vote_bytes(header.chain_id, epoch, 1, VoteKind.FINALIZE, block_hash))
    certificate = assemble_certificate({0: Vote(VoteKind.FINALIZE, epoch, 1, block_hash, signature)}, 1)
    return encoded.hex(), certificate.encode().hex()


def test_a_change_of_authorities_is_carried_over() -> None:
    link = certified(0, 1_000, OLD, AuthoritySet(1, (NEW[0],)).hash())
    last = certified(1, 1_001, NEW, None)
    answer = SimpleNamespace(
        header=last[0],
        finalization=last[1],
        links=[SimpleNamespace(header=link[0], finalization=link[1], authorities=[encode_record(NEW[0]).hex()])],
        key="10" + "00" * 33,
        leaf_key=None,
        leaf_value=None,
        siblings=[],
    )
    trust = Trust(SPECIFICATION.chain_id, SPECIFICATION.authorities)
    proven = verify_state_proof(encode_record(proofs._state(answer)), trust)
    assert (proven.header.height, proven.value) == (1_001, None)
