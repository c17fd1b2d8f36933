"""Proofs as files: fetched from a real node, or made by hand where no network gets to, and checked without any node."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.bank import ACCOUNTS
from chain.block import Header, hash_header
from chain.certificate import Authority, AuthoritySet, Vote, VoteKind, assemble_certificate, vote_bytes
from chain.crypto import bls
from chain.crypto.hashing import sha256
from chain.parameters import PARAMETERS
from chain.record import decode_record, encode_record
from chain.state import trie
from chain.state.nodes import EMPTY_ROOT
from chain.state.proof import EpochLink, FinalHeader, ProvenState, StateProof, prove_state
from cli.errors import ProofRefused
from cli.proofs import Checked, verify_file
from genesis.builder import build
from genesis.specification import Specification
from tests.ledger import make_authority, make_specification
from tests.shell import RunningNode, Shell

# Files from a real node


@pytest.fixture
def genesis(running_node: RunningNode) -> Path:
    return running_node.layout.genesis


@pytest.fixture
def of_balance(market: Shell, tmp_path: Path) -> Path:
    """A proof of what `other` owns."""
    path = tmp_path / "balance.proof"
    market.ok("wallet", "balance", "other", "--proof", str(path))
    return path


@pytest.fixture
def of_transaction(market: Shell, tmp_path: Path) -> Path:
    """A proof of a transfer."""
    path = tmp_path / "transaction.proof"
    sent = market.ok("wallet", "send", "other", "1", wallet="renter")
    market.ok("blockchain", "transaction", sent["txid"], "--proof", str(path))
    return path


def check(shell: Shell, proof: Path, genesis: Path, code: int = 0) -> Any:
    """What `verify-proof` writes when there is no node to ask, as data or as an error."""
    words = ("-o", "json", "blockchain", "verify-proof", str(proof), "--genesis", str(genesis))
    done = Shell(shell.folder, "http://127.0.0.1:9")(*words)
    assert done.code == code, done.err
    return done.error if code else done.data


def test_block_and_signers_are_shown(market: Shell, genesis: Path, of_balance: Path) -> None:
    proven = check(market, of_balance, genesis)
    assert (proven["signers"], proven["authorities"]) == (1, 1)
    assert proven["block_hash"] == market.ok("blockchain", "block", str(proven["height"]))["hash"]
    shown = market("blockchain", "verify-proof", str(of_balance), "--genesis", str(genesis)).out
    assert "1 of 1 authorities" in shown
    assert proven["block_hash"] in shown


@pytest.mark.parametrize("which", ["of_balance", "of_transaction"])
def test_changed_bytes(market: Shell, genesis: Path, which: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(which)
    content = json.loads(path.read_text())
    proof = bytes.fromhex(content["proof"])
    for at in range(0, len(proof), len(proof) // 8):
        changed = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
        path.write_text(json.dumps(content | {"proof": changed.hex()}))
        assert check(market, path, genesis, 1)["name"] == "proof_refused"
    for other in (proof[:-1], proof + b"\x00", b""):
        path.write_text(json.dumps(content | {"proof": other.hex()}))
        assert check(market, path, genesis, 1)["name"] == "proof_refused"


@pytest.mark.parametrize(("which", "kind"), [("of_balance", "transaction"), ("of_transaction", "state")])
def test_a_proof_under_another_name(
    market: Shell, genesis: Path, which: str, kind: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(which)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": kind}))
    assert "malformed" in check(market, path, genesis, 1)["message"]


FILE = {"format": "aitbc-proof", "version": 1, "kind": "state", "proof": "00"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "\udcff",
        "[" * 9_999,
        json.dumps({key: value for key, value in FILE.items() if key != "proof"}),
        *(
            json.dumps(FILE | change)
            for change in ({"format": "x"}, {"version": 2}, {"kind": "x"}, {"kind": []}, {"proof": "0"}, {"proof": 1})
        ),
    ],
)
def test_what_is_no_proof(alone: Shell, genesis: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "proof"
    path.write_text(content, errors="surrogateescape")
    assert check(alone, path, genesis, 2)["name"] == "bad_input"


# Made by hand

Member = tuple[Authority, Any, bytes]

OLD = [make_authority(name) for name in ("0", "1", "2", "3")]
NEW = [make_authority(name) for name in ("4", "5")]
SPECIFICATION = make_specification(authorities=[authority for authority, _, _ in OLD])
KEY = ACCOUNTS.key(b"\x00" * 33)


def authorities_of(members: Sequence[Member]) -> tuple[Authority, ...]:
    return tuple(authority for authority, _, _ in members)


def certified(
    epoch: int, height: int, members: Sequence[Member], signers: int, following: Sequence[Member] = ()
) -> tuple[bytes, bytes]:
    """A header after which `following` take over, if any, and its finalization by the first `signers` of `members`."""
    header = Header(
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
        authorities_hash=AuthoritySet(epoch, authorities_of(members)).hash(),
        next_authorities_hash=AuthoritySet(epoch + 1, authorities_of(following)).hash() if following else None,
    )
    data, kind = encode_record(header), VoteKind.FINALIZE
    block_hash = hash_header(data)
    message = vote_bytes(header.chain_id, epoch, header.view, kind, block_hash)
    votes = {
        at: Vote(kind, epoch, header.view, block_hash, bls.sign(secret, message))
        for at, (_, _, secret) in enumerate(members[:signers])
    }
    return data, assemble_certificate(votes, len(members)).encode()


def absence(final: FinalHeader) -> bytes:
    """The absence of an account in an empty state."""
    return encode_record(StateProof(final, KEY, None, None, ()))


def verify(proof: bytes, folder: Path, specification: Specification = SPECIFICATION) -> Checked:
    path = folder / "proof"
    path.write_text(json.dumps(FILE | {"proof": proof.hex()}))
    return verify_file(str(path), specification)


def test_a_quorum_is_enough_and_needed(tmp_path: Path) -> None:
    for signers in (3, 4):
        header, finalization = certified(0, 5, OLD, signers)
        checked = verify(absence(FinalHeader(header, finalization)), tmp_path)
        shown = ProvenState(decode_record(Header, header), KEY, None)
        assert checked == Checked(shown, hash_header(header), signers, 4)
    with pytest.raises(ProofRefused, match="no quorum"):
        verify(absence(FinalHeader(*certified(0, 5, OLD, 2))), tmp_path)


def test_new_authorities_are_followed(tmp_path: Path) -> None:
    link = EpochLink(*certified(0, 1_000, OLD, 3, following=NEW), authorities_of(NEW))
    last = certified(1, 1_001, NEW, 2)
    checked = verify(absence(FinalHeader(*last, (link,))), tmp_path)
    assert (checked.proven.header.height, checked.signers, checked.authorities) == (1_001, 2, 2)
    with pytest.raises(ProofRefused, match="other authorities"):
        verify(absence(FinalHeader(*last)), tmp_path)


def test_a_genesis_with_other_authorities_refuses(tmp_path: Path) -> None:
    proof = absence(FinalHeader(*certified(0, 5, OLD, 3)))
    with pytest.raises(ProofRefused):
        verify(proof, tmp_path, replace(SPECIFICATION, authorities=SPECIFICATION.authorities[:3]))


def test_genesis_needs_no_signers(tmp_path: Path) -> None:
    made, nodes = build(SPECIFICATION), trie.MemoryNodes()
    update = trie.update(nodes, None, 0, made.state)
    nodes.apply(update)
    final = FinalHeader(made.block.header_bytes, b"")
    proof = prove_state(nodes, update.root, PARAMETERS.key(), final)
    checked = verify(encode_record(proof), tmp_path)
    shown = ProvenState(made.block.header, PARAMETERS.key(), made.state[PARAMETERS.key()])
    assert checked == Checked(shown, made.block.hash, 0, 4)
    invented = FinalHeader(encode_record(replace(made.block.header, state_root=EMPTY_ROOT)), b"")
    with pytest.raises(ProofRefused, match="genesis block"):
        verify(absence(invented), tmp_path)
