"""Proofs over RPC, checked by arithmetic of their own: from the genesis file alone to a record or a transaction."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from chain.bank import ACCOUNTS
from chain.block import Header, hash_header
from chain.certificate import Certificate, VoteKind, verify_certificate
from chain.crypto.hashing import tagged_hash, verify_merkle_path
from chain.result import TransactionResult
from chain.schema import decode_record
from tests.ledger import Person
from tests.rpc_node import RpcNode
from tests.solo import pay

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")
EMPTY = bytes(32)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB)) as running:
        await running.do(ALICE, pay(BOB, 5))
        await running.do(ALICE, pay(BOB, 6))
        yield running


def trusted_header(node: RpcNode, proof: dict[str, Any]) -> Header:
    """The proof's header, once the authorities of the genesis file have made it final."""
    header_bytes = bytes.fromhex(proof["header"])
    certificate = Certificate.decode(bytes.fromhex(proof["finalization"]))
    assert proof["links"] == []  # the authorities are still those of the genesis file
    assert certificate.kind is VoteKind.FINALIZE
    assert certificate.block_hash == hash_header(header_bytes)
    assert verify_certificate(node.solo.chain_id, node.solo.specification.authority_set(), certificate)
    return decode_record(Header, header_bytes)


def root_from(proof: dict[str, Any]) -> bytes:
    """The state root that the siblings and the leaf lead to."""
    siblings = [bytes.fromhex(sibling) for sibling in proof["siblings"]]
    place = tagged_hash("aitbc/state/key/1", bytes.fromhex(proof["key"]))
    node_hash = EMPTY
    if proof["leaf_key"] is not None:
        leaf_place = tagged_hash("aitbc/state/key/1", bytes.fromhex(proof["leaf_key"]))
        value_hash = sha256(bytes.fromhex(proof["leaf_value"])).digest()
        node_hash = tagged_hash("aitbc/state/leaf/1", leaf_place + value_hash)
        shared = int.from_bytes(place, "big") ^ int.from_bytes(leaf_place, "big")
        assert shared >> (256 - len(siblings)) == 0  # the leaf stands on the way to the key
    for depth, sibling in reversed(list(enumerate(siblings))):
        bit = place[depth // 8] >> (7 - depth % 8) & 1
        pair = sibling + node_hash if bit else node_hash + sibling
        node_hash = tagged_hash("aitbc/state/branch/1", pair)
    return node_hash


async def test_account_proof_leads_to_the_certified_root(node: RpcNode) -> None:
    proof = await node.call("proof.account", address=node.text(BOB.address))
    assert root_from(proof) == trusted_header(node, proof).state_root
    assert proof["present"]
    assert proof["leaf_key"] == ACCOUNTS.key(BOB.address).hex()
    assert proof["record"] == {"balance": str(node.solo.balance(BOB)), "sequence": 0}


async def test_altered_proof_leads_elsewhere(node: RpcNode) -> None:
    proof = await node.call("proof.account", address=node.text(BOB.address))
    value = bytearray.fromhex(proof["leaf_value"])
    value[-1] ^= 1
    assert root_from({**proof, "leaf_value": value.hex()}) != trusted_header(node, proof).state_root


async def test_absence_is_proved_too(node: RpcNode) -> None:
    proof = await node.call("proof.account", address=node.text(CAROL.address))
    assert not proof["present"]
    assert proof["record"] is None
    assert proof["leaf_key"] != proof["key"]
    assert root_from(proof) == trusted_header(node, proof).state_root


async def test_record_proof_covers_any_table(node: RpcNode) -> None:
    by_record = await node.call("proof.record", kind="account", key=ALICE.address.hex())
    assert by_record == await node.call("proof.account", address=node.text(ALICE.address))
    absent = await node.call("proof.record", kind="gpu", key="00" * 32)
    assert not absent["present"]
    assert root_from(absent) == trusted_header(node, absent).state_root


async def test_transaction_proof_leads_to_both_roots(node: RpcNode) -> None:
    transactions = [node.solo.sign(ALICE, pay(BOB, amount), sequence=1 + amount) for amount in range(1, 6)]
    await node.submit(*transactions)
    node.solo.advance()
    node.solo.advance()
    for transaction in transactions:
        proof = await node.call("proof.transaction", txid=transaction.txid.hex())
        header = trusted_header(node, proof)
        assert header.height == 3
        assert sha256(transaction.body_bytes).digest() == bytes.fromhex(proof["txid"])
        assert proof["envelope"] == transaction.envelope.hex()
        path = [bytes.fromhex(item) for item in proof["transaction_path"]]
        leaf = sha256(transaction.envelope).digest()
        assert verify_merkle_path(header.transactions_root, leaf, proof["index"], proof["count"], path)
        result_path = [bytes.fromhex(item) for item in proof["result_path"]]
        result_leaf = sha256(bytes.fromhex(proof["result"])).digest()
        place, count = proof["index"] + 1, proof["count"] + 1
        assert verify_merkle_path(header.results_root, result_leaf, place, count, result_path)
        result = decode_record(TransactionResult, bytes.fromhex(proof["result"]))
        assert (result.txid, result.succeeded) == (transaction.txid, True)


async def test_there_is_no_proof_of_an_unknown_transaction(node: RpcNode) -> None:
    assert (await node.fault("proof.transaction", txid="00" * 32)).name == "not_found"
