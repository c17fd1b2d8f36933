"""Proofs over RPC, checked as a stranger does: with the answered bytes and the genesis file, and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chain.bank import ACCOUNTS, Account
from chain.errors import InvalidProof
from chain.interface.node import ProofHex
from chain.inventory import GPUS
from chain.parameters import Parameters
from chain.record import decode_record, encode_record, to_json
from chain.state.proof import (
    MAXIMUM_PROOF_BYTES,
    StateProof,
    TransactionProof,
    Trust,
    verify_state_proof,
    verify_transaction_proof,
)
from genesis.builder import build
from tests.authorities import Candidate, Script
from tests.ledger import Person
from tests.rpc_node import RpcNode
from tests.solo import finalization_of, pay

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB)) as running:
        await running.do(ALICE, pay(BOB, 5))
        await running.do(ALICE, pay(BOB, 6))
        yield running


def trust_in(node: RpcNode) -> Trust:
    """What the genesis file of a node says."""
    specification = node.solo.specification
    return Trust(specification.chain_id, specification.authorities, build(specification).block.hash)


def encoded(answer: dict[str, Any]) -> bytes:
    return bytes.fromhex(answer["proof"])


async def test_account_proof_shows_what_the_node_says(node: RpcNode) -> None:
    answer = await node.call("proof.account", address=node.text(BOB.address))
    proven = verify_state_proof(encoded(answer), trust_in(node), ACCOUNTS.key(BOB.address))
    assert proven.value is not None
    assert decode_record(Account, proven.value).balance == node.solo.balance(BOB)
    assert answer["as_of"] == {"height": proven.header.height, "time_ms": proven.header.time_ms}
    assert answer["key"] == proven.key.hex()
    assert answer["present"]
    assert answer["record"] == {
        "balance": str(node.solo.balance(BOB)),
        "sequence": 0,
        "key": None,
        "rotations": 0,
        "deposit": "0",
    }


async def test_absence_is_proved_too(node: RpcNode) -> None:
    answer = await node.call("proof.account", address=node.text(CAROL.address))
    assert (answer["present"], answer["record"]) == (False, None)
    proven = verify_state_proof(encoded(answer), trust_in(node), ACCOUNTS.key(CAROL.address))
    assert (proven.value, proven.header.height) == (None, 2)


async def test_record_proof_covers_any_table(node: RpcNode) -> None:
    by_record = await node.call("proof.record", kind="account", key=ALICE.address.hex())
    assert by_record == await node.call("proof.account", address=node.text(ALICE.address))
    absent = await node.call("proof.record", kind="gpu", key="00" * 32)
    assert not absent["present"]
    assert verify_state_proof(encoded(absent), trust_in(node), GPUS.key(bytes(32))).value is None


@pytest.mark.parametrize("key", ["", "0", "zz", "00 00", "00" * 66, "00\n"])
async def test_a_record_key_has_bounds(node: RpcNode, key: str) -> None:
    assert (await node.fault("proof.record", kind="gpu", key=key)).name == "invalid_params"


async def test_genesis_is_proved_without_signatures(tmp_path: Path) -> None:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB)) as fresh:
        answer = await fresh.call("proof.account", address=fresh.text(BOB.address))
        proven = verify_state_proof(encoded(answer), trust_in(fresh), ACCOUNTS.key(BOB.address))
        assert proven.header.height == 0
        assert proven.value is not None
        assert decode_record(StateProof, encoded(answer)).final.finalization == b""


async def test_transaction_proof_shows_transaction_and_result(node: RpcNode) -> None:
    transactions = [node.solo.sign(ALICE, pay(BOB, amount), sequence=1 + amount) for amount in range(1, 6)]
    await node.submit(*transactions)
    node.solo.advance()
    node.solo.advance()
    for transaction in transactions:
        answer = await node.call("proof.transaction", txid=transaction.txid.hex())
        proven = verify_transaction_proof(encoded(answer), trust_in(node))
        assert (proven.txid, proven.envelope) == (transaction.txid, transaction.envelope)
        assert proven.result.succeeded
        assert answer["txid"] == transaction.txid.hex()
        assert answer["height"] == proven.header.height == 3
        assert answer["as_of"]["height"] == 4
        assert answer["result"] == to_json(proven.result, node.context.prefix)


async def test_proofs_follow_a_change_of_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof has a link for each change before its own header, and none for those that came after it."""
    first, second, third, fourth = (Candidate(name) for name in "0abc")
    sets = {0: (first,), 1: (second, first), 3: (fourth, second, first, third), 4: (third,)}
    Script({epoch: [item.authority for item in sets[epoch]] for epoch in (1, 3, 4)}).install(monkeypatch)
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), parameters=Parameters(epoch_blocks=2)) as node:
        txids = []
        for height in range(1, 11):
            transaction = node.solo.sign(ALICE, pay(BOB, height))
            await node.submit(transaction)
            block = node.solo.build()
            epoch = (height - 1) // 2
            members = sets[max(since for since in sets if since <= epoch)]
            # One of four does not sign.
            secrets = [None if item is third and len(members) > 1 else item.secret for item in members]
            signed = finalization_of(node.solo.chain_id, block, *secrets)
            node.solo.executor.commit(block, signed)
            txids.append(transaction.txid)
        for height, txid in enumerate(txids, 1):
            answer = await node.call("proof.transaction", txid=txid.hex())
            assert verify_transaction_proof(encoded(answer), trust_in(node)).header.height == height
            links = decode_record(TransactionProof, encoded(answer)).final.links
            assert len(links) == (0 if height <= 2 else 1 if height <= 6 else 2 if height <= 8 else 3)
            certificate = await node.call("chain.certificate", height=height)
            signers = [item.authority.operator for item in sets[max(s for s in sets if s <= (height - 1) // 2)]]
            assert set(certificate["signers"]) <= {node.text(operator) for operator in signers}
        answer = await node.call("proof.account", address=node.text(BOB.address))
        assert verify_state_proof(encoded(answer), trust_in(node)).header.height == 10
        assert len(decode_record(StateProof, encoded(answer)).final.links) == 3
        for epoch in range(6):
            answer = await node.call("chain.authorities", epoch=epoch)
            members = sets[max(since for since in sets if since <= epoch)]
            assert [item["node_key"] for item in answer["members"]] == [
                item.authority.node_key.hex() for item in members
            ]


async def test_a_node_of_another_network_proves_nothing(node: RpcNode, tmp_path: Path) -> None:
    answer = await node.call("proof.account", address=node.text(BOB.address))
    async with RpcNode(tmp_path / "other", (ALICE,)) as other:
        with pytest.raises(InvalidProof):
            verify_state_proof(encoded(answer), trust_in(other))


async def test_there_is_no_proof_of_an_unknown_transaction(node: RpcNode) -> None:
    assert (await node.fault("proof.transaction", txid="00" * 32)).name == "not_found"


async def test_bytes_are_canonical_and_bounded_as_documented(node: RpcNode) -> None:
    answer = await node.call("proof.account", address=node.text(BOB.address))
    assert encode_record(decode_record(StateProof, encoded(answer))) == encoded(answer)
    (form,) = ProofHex.__metadata__
    assert form.maximum == 2 * MAXIMUM_PROOF_BYTES
