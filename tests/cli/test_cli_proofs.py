"""Proofs over a change of authorities: made by hand, because no network changes them yet."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.bank import ACCOUNTS
from chain.block import Header
from chain.certificate import AuthoritySet, Vote, VoteKind, assemble_certificate, vote_bytes
from chain.crypto import bls
from chain.crypto.hashing import sha256
from chain.schema import encode_record
from chain.state.nodes import EMPTY_ROOT
from cli.errors import ProofRefused
from cli.proofs import verify_file
from genesis.specification import Specification
from tests.ledger import make_authority, make_specification

OLD = [make_authority(name) for name in ("0", "1", "2", "3")]
NEW = [make_authority(name) for name in ("4", "5")]
SPECIFICATION = make_specification(authorities=[authority for authority, _, _ in OLD])
KEY = ACCOUNTS.key(b"\x00" * 33)

Proof = dict[str, Any]


def header(epoch: int, height: int, members: list[Any], following: list[Any] | None) -> Header:
    """A header certified by `members`, after which `following` take over."""
    now = AuthoritySet(epoch, tuple(authority for authority, _, _ in members))
    then = None if following is None else AuthoritySet(epoch + 1, tuple(each for each, _, _ in following)).hash()
    return Header(
        chain_id=SPECIFICATION.chain_id,
        height=height,
        epoch=epoch,
        view=3,
        parent_hash=sha256(b"parent"),
        time_ms=1_000 * height,
        proposer=members[0][0].operator,
        transactions_root=sha256(b""),
        results_root=sha256(b""),
        state_root=EMPTY_ROOT,
        authorities_hash=now.hash(),
        next_authorities_hash=then,
    )


def certified(made: Header, signers: list[Any], size: int, kind: VoteKind = VoteKind.FINALIZE) -> tuple[str, str]:
    """(header, certificate) in hexadecimal."""
    from chain.block import hash_header

    encoded = encode_record(made)
    block_hash = hash_header(encoded)
    message = vote_bytes(made.chain_id, made.epoch, made.view, kind, block_hash)
    votes = {
        at: Vote(kind, made.epoch, made.view, block_hash, bls.sign(secret, message))
        for at, (_, _, secret) in enumerate(signers)
    }
    return encoded.hex(), assemble_certificate(votes, size).encode().hex()


def good() -> Proof:
    """The absence of an account in epoch 1, whose authorities were announced at the end of epoch 0."""
    link = certified(header(0, 1_000, OLD, NEW), OLD[:3], len(OLD))
    last = certified(header(1, 1_001, NEW, None), NEW, len(NEW))
    return {
        "as_of": {"height": 1_001, "time_ms": 1},
        "header": last[0],
        "finalization": last[1],
        "links": [
            {
                "header": link[0],
                "finalization": link[1],
                "authorities": [encode_record(each).hex() for each, _, _ in NEW],
            }
        ],
        "key": KEY.hex(),
        "siblings": [],
        "leaf_key": None,
        "leaf_value": None,
        "present": False,
        "record": None,
    }


def verify(proof: Proof, folder: Path, specification: Specification = SPECIFICATION) -> Any:
    path = folder / "proof"
    path.write_text(json.dumps({"format": "aitbc-proof", "version": 1, "method": "proof.account", "proof": proof}))
    return verify_file(str(path), specification)


def test_new_authorities_are_followed(tmp_path: Path) -> None:
    proven = verify(good(), tmp_path)
    assert (proven.header.height, proven.key, proven.value) == (1_001, KEY, None)


def without_links(proof: Proof) -> None:
    proof["links"] = []


def with_other_authorities(proof: Proof) -> None:
    proof["links"][0]["authorities"] = [encode_record(each).hex() for each, _, _ in OLD]


def with_a_link_by_too_few(proof: Proof) -> None:
    certificate = certified(header(0, 1_000, OLD, NEW), OLD[:3], len(OLD))[1]
    # Bit 2 of the only bitmap byte: three of four signers become two, with the signature of three.
    assert certificate.count("4107") == 1
    proof["links"][0]["finalization"] = certificate.replace("4107", "4103")


def with_a_link_that_only_notarizes(proof: Proof) -> None:
    made = certified(header(0, 1_000, OLD, NEW), OLD[:3], len(OLD), VoteKind.NOTARIZE)
    proof["links"][0]["finalization"] = made[1]


def with_a_link_twice(proof: Proof) -> None:
    proof["links"] *= 2


def signed_by_the_old_ones(proof: Proof) -> None:
    proof["header"], proof["finalization"] = certified(header(1, 1_001, NEW, None), OLD[:2], len(NEW))


def of_an_older_header(proof: Proof) -> None:
    proof["header"], proof["finalization"] = certified(header(0, 999, OLD, None), OLD[:3], len(OLD))


def by_authorities_that_nobody_announced(proof: Proof) -> None:
    link = certified(header(0, 1_000, OLD, OLD), OLD[:3], len(OLD))
    proof["links"][0]["header"], proof["links"][0]["finalization"] = link


def naming_authorities_that_did_not_sign(proof: Proof) -> None:
    made = replace(header(1, 1_001, NEW, None), authorities_hash=sha256(b"others"))
    proof["header"], proof["finalization"] = certified(made, NEW, len(NEW))


def link_of(epoch: int) -> Proof:
    made = certified(header(epoch, 1_000 * (epoch + 1), OLD, OLD), OLD[:3], len(OLD))
    members = [encode_record(each).hex() for each, _, _ in OLD]
    return {"header": made[0], "finalization": made[1], "authorities": members}


def with_links_out_of_order(proof: Proof) -> None:
    proof["links"] = [link_of(1), link_of(0)]
    proof["header"], proof["finalization"] = certified(header(2, 2_001, OLD, None), OLD[:3], len(OLD))


def of_a_header_before_its_links(proof: Proof) -> None:
    proof["links"] = [link_of(1)]
    proof["header"], proof["finalization"] = certified(header(1, 1_001, OLD, None), OLD[:3], len(OLD))


def of_an_invented_genesis_block(proof: Proof) -> None:
    proof["links"] = []
    proof["header"], proof["finalization"] = encode_record(header(0, 0, OLD, None)).hex(), ""


def with_too_many_siblings(proof: Proof) -> None:
    proof["siblings"] = ["00" * 32] * 300


def with_an_invented_record(proof: Proof) -> None:
    proof["leaf_key"], proof["leaf_value"] = KEY.hex(), "8301" + "00"


@pytest.mark.parametrize(
    "spoil",
    [
        without_links,
        with_other_authorities,
        with_a_link_by_too_few,
        with_a_link_that_only_notarizes,
        with_a_link_twice,
        signed_by_the_old_ones,
        of_an_older_header,
        by_authorities_that_nobody_announced,
        naming_authorities_that_did_not_sign,
        with_links_out_of_order,
        of_a_header_before_its_links,
        of_an_invented_genesis_block,
        with_too_many_siblings,
        with_an_invented_record,
    ],
)
def test_what_does_not_follow_is_refused(tmp_path: Path, spoil: Callable[[Proof], None]) -> None:
    proof = good()
    spoil(proof)
    with pytest.raises(ProofRefused):
        verify(proof, tmp_path)


def test_links_in_order_are_followed(tmp_path: Path) -> None:
    proof = good()
    proof["links"] = [link_of(0), link_of(1)]
    proof["header"], proof["finalization"] = certified(header(2, 2_001, OLD, None), OLD[:3], len(OLD))
    assert verify(proof, tmp_path).header.epoch == 2


def test_a_genesis_with_other_authorities_refuses(tmp_path: Path) -> None:
    other = replace(SPECIFICATION, authorities=SPECIFICATION.authorities[:3])
    with pytest.raises(ProofRefused):
        verify(good(), tmp_path, other)
