"""Proofs: the true ones hold, and nothing else does."""

import dataclasses
import json
import os
import pathlib
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from chain.block import Block, Header, transactions_root
from chain.certificate import Authority, AuthoritySet, Vote, VoteKind, assemble_certificate, vote_bytes
from chain.codec import encode
from chain.crypto import bls
from chain.crypto.hashing import merkle_root, sha256
from chain.errors import InvalidProof
from chain.record import decode_record, encode_record
from chain.result import Event, SystemResult, TransactionResult, results_root
from chain.state import trie
from chain.state.nodes import bit_at, state_path
from chain.state.proof import (
    MAXIMUM_LINKS,
    EpochLink,
    FinalHeader,
    ListPath,
    OtherLeaf,
    StateProof,
    TransactionProof,
    Trust,
    list_path,
    list_root_of,
    prove_state,
    prove_transaction,
    state_root_of,
    verify_final_header,
    verify_state_proof,
    verify_transaction_proof,
)
from tests.ledger import make_authority

CHAIN_ID = "proofs-01234567"
VECTORS = json.loads((pathlib.Path(__file__).parent.parent / "vectors" / "proof.json").read_text())
EXTENDED = os.environ.get("AITBC_EXTENDED", "") not in ("", "0")

Members = list[tuple[Authority, bytes]]


def members_named(*names: str) -> Members:
    made = [make_authority(f"proof {name}") for name in names]
    return [(authority, secret) for authority, _, secret in made]


def authorities_of(members: Members) -> tuple[Authority, ...]:
    return tuple(authority for authority, _ in members)


FIRST, SECOND, THIRD = members_named("a", "b", "c", "d"), members_named("b", "e"), members_named("f")


def make_header(
    height: int,
    epoch: int,
    members: Members,
    *,
    following: Members | None = None,
    state_root: bytes = bytes(32),
    envelopes: tuple[bytes, ...] = (),
    results: bytes = bytes(32),
) -> Header:
    following_hash = None if following is None else AuthoritySet(epoch + 1, authorities_of(following)).hash()
    return Header(
        chain_id=CHAIN_ID,
        height=height,
        epoch=epoch,
        view=height,
        parent_hash=bytes(32),
        time_ms=1_000 * height,
        proposer=b"\x00" + bytes(32),
        transactions_root=transactions_root(envelopes),
        results_root=results,
        state_root=state_root,
        authorities_hash=AuthoritySet(epoch, authorities_of(members)).hash(),
        next_authorities_hash=following_hash,
    )


def finalize(
    header: Header, members: Members, *, kind: VoteKind = VoteKind.FINALIZE, signers: int | None = None
) -> bytes:
    """The encoded certificate of a header by the first `signers` of `members`; by a quorum if not given."""
    block_hash = Block.of(header, ()).hash
    message = vote_bytes(CHAIN_ID, header.epoch, header.view, kind, block_hash)
    count = AuthoritySet(0, authorities_of(members)).quorum if signers is None else signers
    votes = {
        index: Vote(kind, header.epoch, header.view, block_hash, bls.sign(secret, message))
        for index, (_, secret) in enumerate(members[:count])
    }
    return assemble_certificate(votes, len(members)).encode()


def link(height: int, epoch: int, members: Members, following: Members) -> EpochLink:
    header = make_header(height, epoch, members, following=following)
    return EpochLink(encode_record(header), finalize(header, members), authorities_of(following))


LINKS = (link(10, 0, FIRST, SECOND), link(30, 2, SECOND, THIRD))
TRUST = Trust(CHAIN_ID, authorities_of(FIRST))


@dataclass
class World:
    """A state and a block in the fourth epoch, after two changes of authorities."""

    state: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = {b"\x10 account %d" % number: b"balance %d" % number for number in range(60)}
        self.nodes = trie.MemoryNodes()
        update = trie.update(self.nodes, None, 0, self.state)
        self.nodes.apply(update)
        self.root = update.root
        self.envelopes = tuple(encode([b"body %d" % number, bytes(64)]) for number in range(5))
        self.system = SystemResult(3, (Event("epoch.turned", (), (("epoch", 3),)),))
        self.results = tuple(
            TransactionResult(sha256(b"body %d" % number), 0, "", (), None, 10, 1, ()) for number in range(5)
        )
        header = make_header(
            35,
            3,
            THIRD,
            state_root=update.root_hash,
            envelopes=self.envelopes,
            results=results_root(self.system, self.results),
        )
        self.final = FinalHeader(encode_record(header), finalize(header, THIRD), LINKS)

    def of_state(self, key: bytes) -> StateProof:
        return prove_state(self.nodes, self.root, key, self.final)

    def of_transaction(self, index: int) -> TransactionProof:
        return prove_transaction(self.final, self.envelopes, self.system, self.results, index)

    def absent_key(self, *, beside_leaf: bool) -> bytes:
        """A key that is not there, with another's leaf at its place, or with nothing there."""
        for number in range(10_000):
            key = b"\x10 nobody %d" % number
            if (self.of_state(key).other is not None) == beside_leaf:
                return key
        raise AssertionError("no such key")


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def refused(proof: StateProof | TransactionProof, trust: Trust = TRUST) -> str:
    """The reason for which a proof is refused."""
    verify = verify_state_proof if isinstance(proof, StateProof) else verify_transaction_proof
    with pytest.raises(InvalidProof) as refusal:
        verify(encode_record(proof), trust)
    return str(refusal.value.data["reason"])


# What holds


def test_presence_and_absence_are_shown(world: World) -> None:
    for key, value in list(world.state.items())[:5]:
        proven = verify_state_proof(encode_record(world.of_state(key)), TRUST)
        assert (proven.key, proven.value, proven.header.height) == (key, value, 35)
    for beside_leaf in (True, False):
        key = world.absent_key(beside_leaf=beside_leaf)
        proven = verify_state_proof(encode_record(world.of_state(key)), TRUST)
        assert (proven.key, proven.value) == (key, None)


def test_all_keys_fold_to_the_root(world: World) -> None:
    assert world.root is not None
    keys = [*world.state, *(b"absent %d" % number for number in range(300))]
    for key in keys:
        proof = world.of_state(key)
        assert state_root_of(key, proof.value, proof.other, proof.siblings) == world.root.hash
        assert (proof.value is None) == (key not in world.state)


def test_the_empty_state_holds_nothing() -> None:
    header = make_header(1, 0, FIRST)
    final = FinalHeader(encode_record(header), finalize(header, FIRST))
    proof = prove_state(trie.MemoryNodes(), None, b"key", final)
    assert verify_state_proof(encode_record(proof), TRUST).value is None


def test_an_empty_value_is_not_absence() -> None:
    nodes = trie.MemoryNodes()
    update = trie.update(nodes, None, 0, {b"key": b""})
    nodes.apply(update)
    header = make_header(1, 0, FIRST, state_root=update.root_hash)
    proof = prove_state(nodes, update.root, b"key", FinalHeader(encode_record(header), finalize(header, FIRST)))
    assert verify_state_proof(encode_record(proof), TRUST).value == b""
    assert "lead" in refused(dataclasses.replace(proof, value=None))


def test_transactions_are_shown_with_their_results(world: World) -> None:
    for index in range(5):
        proven = verify_transaction_proof(encode_record(world.of_transaction(index)), TRUST)
        assert proven.txid == sha256(b"body %d" % index)
        assert proven.envelope == world.envelopes[index]
        assert proven.result == world.results[index]
        assert proven.header.height == 35
    with pytest.raises(IndexError):
        world.of_transaction(5)


def test_list_paths_fit_every_list(rng: random.Random) -> None:
    for count in range(1, 70):
        leaves = [rng.randbytes(32) for _ in range(count)]
        root = merkle_root(leaves)
        for index in {0, count - 1, rng.randrange(count)}:
            path = list_path(leaves, index)
            assert list_root_of(leaves[index], path) == root
            for at in range(len(path.siblings)):
                assert list_root_of(leaves[index], ListPath(path.siblings, path.left ^ 1 << at)) != root
    with pytest.raises(InvalidProof, match="sides"):
        list_root_of(b"leaf", ListPath((), 1))


def test_genesis_holds_only_for_who_knows_its_hash() -> None:
    header = make_header(0, 0, FIRST)
    final = FinalHeader(encode_record(header), b"")
    proof = StateProof(final, b"key", None, None, ())
    block_hash = Block.of(header, ()).hash
    trust = Trust(CHAIN_ID, authorities_of(FIRST), block_hash)
    assert verify_state_proof(encode_record(proof), trust).header.height == 0
    assert "genesis" in refused(proof)
    assert "genesis" in refused(proof, Trust(CHAIN_ID, authorities_of(FIRST), bytes(32)))
    signed = dataclasses.replace(proof, final=FinalHeader(final.header, finalize(header, FIRST)))
    assert "genesis" in refused(signed, trust)


# What does not


def test_another_value_or_key_is_refused(world: World) -> None:
    key, other_key = list(world.state)[:2]
    proof = world.of_state(key)
    assert "lead" in refused(dataclasses.replace(proof, value=b"more"))
    assert "lead" in refused(dataclasses.replace(proof, key=other_key))
    assert "lead" in refused(dataclasses.replace(proof, siblings=proof.siblings[:-1]))
    assert "lead" in refused(dataclasses.replace(proof, siblings=(*proof.siblings, bytes(32))))
    assert "lead" in refused(dataclasses.replace(proof, siblings=proof.siblings[::-1]))


def test_absence_of_a_present_key_cannot_be_shown(world: World) -> None:
    """With any leaf of the trie and its own true siblings, or with none."""
    keys = list(world.state)
    for key in keys[:12]:
        own = world.of_state(key)
        leaf = OtherLeaf(state_path(key), sha256(world.state[key]))
        forgeries = [
            dataclasses.replace(own, value=None),
            dataclasses.replace(own, value=None, other=leaf),
            dataclasses.replace(own, other=leaf),
        ]
        for standing in keys:
            if standing == key:
                continue
            true = world.of_state(standing)
            shown = OtherLeaf(state_path(standing), sha256(world.state[standing]))
            forgeries.append(dataclasses.replace(own, value=None, other=shown))
            forgeries.append(dataclasses.replace(true, key=key, value=None, other=shown))
        for forgery in forgeries:
            refused(forgery)


def test_a_leaf_that_lies_elsewhere_shows_no_absence(world: World) -> None:
    """Whoever folds along the leaf's own path instead of the key's would take any leaf for a proof of any absence."""
    for key in list(world.state)[:20]:
        proof, path = world.of_state(key), state_path(key)
        stranger = next(k for k in world.state if bit_at(state_path(k), 0) != bit_at(path, 0))
        shown = OtherLeaf(state_path(stranger), sha256(world.state[stranger]))
        with pytest.raises(InvalidProof, match="elsewhere"):
            state_root_of(key, None, shown, proof.siblings)


def test_a_path_longer_than_a_path_has_bits_is_refused(world: World) -> None:
    with pytest.raises(InvalidProof, match="more siblings"):
        state_root_of(b"key", b"value", None, (bytes(32),) * 257)
    refused(dataclasses.replace(world.of_state(b"key"), siblings=(bytes(32),) * 257))


def test_transactions_and_results_cannot_be_exchanged(world: World) -> None:
    first, second = world.of_transaction(0), world.of_transaction(1)
    assert "another transaction" in refused(dataclasses.replace(first, result=second.result))
    swapped = dataclasses.replace(first, result=second.result, result_path=second.result_path)
    assert "another transaction" in refused(swapped)
    exchanged = dataclasses.replace(first, envelope=encode([b"body 0", b"\x01" * 64]))
    assert "not in the block" in refused(exchanged), "another signature is another envelope"
    forged = dataclasses.replace(world.results[0], fee=0)
    assert "result is not" in refused(dataclasses.replace(first, result=encode_record(forged)))
    system = dataclasses.replace(
        first, result=encode_record(world.system), result_path=list_path([b""], 0), envelope_path=second.envelope_path
    )
    assert "malformed" in refused(system)
    assert "envelope" in refused(dataclasses.replace(first, envelope=encode(b"body 0")))


def with_final(proof: StateProof, **changes: Any) -> StateProof:
    return dataclasses.replace(proof, final=dataclasses.replace(proof.final, **changes))


def test_only_a_quorum_of_the_right_set_makes_a_header_final(world: World) -> None:
    proof = world.of_state(b"absent")
    header = make_header(35, 3, THIRD, state_root=trie.EMPTY_ROOT if world.root is None else world.root.hash)
    data = encode_record(header)

    def signed(certificate: bytes) -> str:
        return refused(with_final(proof, header=data, finalization=certificate))

    assert verify_final_header(FinalHeader(data, finalize(header, THIRD), LINKS), TRUST) == header
    assert "quorum" in signed(finalize(header, SECOND))
    assert "finalises nothing" in signed(finalize(header, THIRD, kind=VoteKind.NOTARIZE))
    assert "another block" in signed(finalize(make_header(36, 3, THIRD), THIRD))
    assert "malformed" in signed(b"")
    by_old = make_header(35, 3, FIRST, state_root=header.state_root)
    old = with_final(proof, header=encode_record(by_old), finalization=finalize(by_old, FIRST))
    assert "other authorities" in refused(old), "those who were replaced cannot sign for a later epoch"
    few = make_header(5, 0, FIRST, state_root=header.state_root)
    assert "quorum" in refused(
        with_final(proof, header=encode_record(few), finalization=finalize(few, FIRST, signers=2), links=())
    )


def test_another_chain_is_refused(world: World) -> None:
    assert "another chain" in refused(world.of_state(b"absent"), Trust("other-01234567", TRUST.authorities))
    assert "other authorities" in refused(world.of_state(b"absent"), Trust(CHAIN_ID, authorities_of(SECOND)))


def test_links_must_lead_from_genesis_without_gaps(world: World) -> None:
    proof = world.of_state(b"absent")
    for links in ((), LINKS[:1], LINKS[1:], LINKS[::-1], (LINKS[0], LINKS[0], LINKS[1])):
        assert "other authorities" in refused(with_final(proof, links=links))
    wrong = dataclasses.replace(LINKS[0], authorities=authorities_of(FIRST))
    assert "than its header" in refused(with_final(proof, links=(wrong, LINKS[1])))
    idle = link(20, 1, SECOND, SECOND)
    assert "without a change" in refused(with_final(proof, links=(LINKS[0], idle, LINKS[1])))
    back_and_forth = (LINKS[0], link(30, 2, SECOND, FIRST), link(20, 1, FIRST, SECOND), LINKS[1])
    assert "out of order" in refused(with_final(proof, links=back_and_forth))
    early = make_header(12, 1, THIRD, state_root=trie.EMPTY_ROOT)
    older = FinalHeader(encode_record(early), finalize(early, THIRD), LINKS)
    with pytest.raises(InvalidProof, match="older"):
        verify_final_header(older, TRUST)
    doubled = dataclasses.replace(LINKS[0], authorities=authorities_of(FIRST)[:1] * 2)
    assert "malformed" in refused(with_final(proof, links=(doubled,)))


def test_sizes_are_bounded(world: World) -> None:
    proof = world.of_state(b"absent")
    refused(with_final(proof, links=LINKS[:1] * (MAXIMUM_LINKS + 1)))
    with pytest.raises(InvalidProof, match="too large"):
        verify_state_proof(bytes(17 << 20), TRUST)


def test_a_proof_of_another_key_is_refused_to_who_names_one(world: World) -> None:
    data = encode_record(world.of_state(b"absent"))
    assert verify_state_proof(data, TRUST, b"absent").value is None
    with pytest.raises(InvalidProof, match="another key"):
        verify_state_proof(data, TRUST, b"missing")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["present", "beside a leaf", "in an empty place", "transaction"])
def test_no_byte_can_be_changed(world: World, kind: str, rng: random.Random) -> None:
    """Every byte is flipped in one bit, some are dropped and doubled. All of them in all bits if AITBC_EXTENDED=1."""
    keys = {
        "present": next(iter(world.state)),
        "beside a leaf": world.absent_key(beside_leaf=True),
        "in an empty place": world.absent_key(beside_leaf=False),
    }
    proof = world.of_transaction(2) if kind == "transaction" else world.of_state(keys[kind])

    def verify(encoded: bytes) -> None:
        if kind == "transaction":
            verify_transaction_proof(encoded, TRUST)
        else:
            verify_state_proof(encoded, TRUST, keys[kind])

    data = encode_record(proof)
    verify(data)
    everywhere = EXTENDED or kind == "present"
    for at in range(0 if everywhere else len(encode_record(proof.final)), len(data)):
        flips = [1 << bit for bit in range(8)] if EXTENDED else [1 << rng.randrange(8)]
        changed = [data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :] for flip in flips]
        if EXTENDED or at % 7 == 0:
            changed += [data[:at] + data[at + 1 :], data[: at + 1] + data[at:]]
        for other in changed:
            if other != data:
                with pytest.raises(InvalidProof):
                    verify(other)


# Formats


def vector_trust() -> Trust:
    members = tuple(decode_record(Authority, bytes.fromhex(item)) for item in VECTORS["trust"]["authorities"])
    return Trust(VECTORS["trust"]["chain_id"], members)


@pytest.mark.parametrize("vector", VECTORS["state"], ids=lambda vector: vector["name"])
def test_golden_state_proofs(world: World, vector: dict[str, str]) -> None:
    proven = verify_state_proof(bytes.fromhex(vector["proof"]), vector_trust())
    assert proven.key.hex() == vector["key"]
    assert (None if proven.value is None else proven.value.hex()) == vector["value"]
    assert encode_record(world.of_state(proven.key)).hex() == vector["proof"]


def test_golden_transaction_proof(world: World) -> None:
    vector = VECTORS["transaction"]
    proven = verify_transaction_proof(bytes.fromhex(vector["proof"]), vector_trust())
    assert proven.txid.hex() == vector["txid"]
    assert encode_record(world.of_transaction(2)).hex() == vector["proof"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_golden_refusals(vector: dict[str, str]) -> None:
    verify = verify_transaction_proof if vector["kind"] == "transaction" else verify_state_proof
    with pytest.raises(InvalidProof):
        verify(bytes.fromhex(vector["proof"]), vector_trust())
