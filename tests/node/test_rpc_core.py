"""Blocks, accounts and transactions over RPC, against a real store with real blocks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain.actions.accounts import Profile, SetProfile
from chain.actions.staking import AddStake, RemoveStake
from chain.bank import account
from chain.certificate import Certificate, verify_certificate
from chain.codec import encode
from chain.record import encode_record
from chain.schema import COIN
from chain.state.view import View
from node.rpc.dispatch import Dispatcher
from node.rpc.methods import HANDLERS
from tests.ledger import DEFAULT_FEE, Person
from tests.rpc_node import RpcNode
from tests.solo import AUTHORITY, pay

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB)) as running:
        yield running


async def test_chain_says_which_network_it_is(node: RpcNode) -> None:
    info = await node.call("chain.info")
    assert info["chain_id"] == node.solo.chain_id
    assert info["genesis_hash"] == node.solo.specification.hash.hex()
    assert info["prefix"] == "dait"
    assert info["coin"] == str(COIN)


async def test_head_follows_the_chain(node: RpcNode) -> None:
    assert (await node.call("chain.head"))["height"] == 0
    block = node.solo.advance()
    head = await node.call("chain.head")
    assert head["height"] == 1
    assert head["hash"] == block.hash.hex()
    assert head["state_root"] == block.header.state_root.hex()
    assert head["time_ms"] == block.header.time_ms


async def test_block_by_height_and_by_hash_is_the_same_block(node: RpcNode) -> None:
    transaction = node.solo.sign(ALICE, pay(BOB, 5))
    await node.submit(transaction)
    block = node.solo.advance()
    by_height = await node.call("chain.block", height=1)
    assert by_height == await node.call("chain.block", hash=block.hash.hex())
    assert by_height["header"]["parent_hash"] == block.header.parent_hash.hex()
    (shown,) = by_height["transactions"]
    assert shown["txid"] == transaction.txid.hex()
    assert shown["actions"] == ["account.transfer"]
    assert shown["transaction"] is None
    assert (await node.call("chain.blocks"))["items"][0]["transactions"] == 1
    assert (await node.call("chain.block", height=0))["transactions"] == []
    details = await node.call("chain.block", height=1, details=True)
    assert details["transactions"][0]["transaction"]["actions"][0]["amount"] == "5"
    assert details["transactions"][0]["result"]["fee"] == str(DEFAULT_FEE)


async def test_block_wants_exactly_one_name(node: RpcNode) -> None:
    assert (await node.fault("chain.block")).code == -32602
    assert (await node.fault("chain.block", height=0, hash="00" * 32)).code == -32602
    missing = await node.fault("chain.block", height=99)
    assert (missing.name, missing.data["height"], missing.data["head"]) == ("not_found", "99", "0")
    assert (await node.fault("chain.block", hash="00" * 32)).name == "not_found"


async def test_blocks_page_in_both_directions_without_gap_or_repetition(node: RpcNode) -> None:
    for _ in range(7):
        node.solo.advance()
    for oldest_first, expected in ((False, list(range(7, -1, -1))), (True, list(range(8)))):
        heights, cursor = [], None
        while True:
            page = await node.call("chain.blocks", limit=3, oldest_first=oldest_first, cursor=cursor)
            heights += [item["height"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert heights == expected
    assert [item["height"] for item in (await node.call("chain.blocks", from_height=2))["items"]] == [2, 1, 0]
    assert (await node.call("chain.blocks", from_height=100, oldest_first=True))["items"] == []


async def test_certificate_can_be_verified(node: RpcNode) -> None:
    node.solo.advance()
    found = await node.call("chain.certificate", height=1)
    certificate = Certificate.decode(bytes.fromhex(found["encoded"]))
    authorities = node.solo.specification.authority_set()
    assert verify_certificate(node.solo.chain_id, authorities, certificate)
    assert found["signers"] == [node.text(authorities.members[0].operator)]
    assert (await node.fault("chain.certificate", height=0)).name == "not_found"


async def test_authorities_of_the_present_and_of_no_epoch(node: RpcNode) -> None:
    found = await node.call("chain.authorities")
    assert found["hash"] == node.solo.specification.authority_set().hash().hex()
    assert found["quorum"] == 1
    assert (await node.fault("chain.authorities", epoch=5)).name == "not_found"


async def test_supply_adds_up(node: RpcNode) -> None:
    await node.do(ALICE, AddStake(100 * COIN))
    supply = {name: int(value) for name, value in (await node.call("chain.supply")).items() if name != "as_of"}
    issued, burnt = supply.pop("issued"), supply.pop("burnt")
    assert sum(supply.values()) == issued - burnt
    assert supply["staked"] == 100 * COIN
    addresses = (ALICE.address, BOB.address, AUTHORITY.operator)
    assert supply["balances"] == sum(account(View(node.solo.store), address).balance for address in addresses)


async def test_account_shows_money_stake_and_profile(node: RpcNode) -> None:
    await node.do(ALICE, AddStake(100 * COIN), SetProfile(Profile("Alice", "alice@example.org", None)))
    await node.do(ALICE, RemoveStake(40 * COIN))
    found = await node.call("account.get", address=node.text(ALICE.address))
    assert found["as_of"]["height"] == 2
    assert found["balance"] == str(node.solo.balance(ALICE))
    assert found["stake"]["total"] == str(60 * COIN)
    assert found["profile"]["name"] == "Alice"
    assert (found["kind"], found["exists"], found["sequence"]) == ("key", True, 2)
    stake = await node.call("stake.get", address=node.text(ALICE.address))
    assert stake["stake"]["unbonding"] == found["stake"]["unbonding"] == str(40 * COIN)
    assert len(stake["unbondings"]) == 1
    unknown = await node.call("account.get", address=node.text(CAROL.address))
    assert (unknown["balance"], unknown["exists"]) == ("0", False)


async def test_next_sequence_counts_what_is_pending(node: RpcNode) -> None:
    await node.submit(node.solo.sign(ALICE, pay(BOB, 1)))
    await node.submit(node.solo.sign(ALICE, pay(BOB, 1)))
    found = await node.call("account.next_sequence", address=node.text(ALICE.address))
    assert (found["final"], found["next"]) == (0, 2)
    node.solo.advance()
    found = await node.call("account.next_sequence", address=node.text(ALICE.address))
    assert (found["final"], found["next"]) == (2, 2)


async def test_history_pages_newest_first_and_names_both_sides(node: RpcNode) -> None:
    for amount in range(1, 6):
        await node.do(ALICE, pay(BOB, amount))
    for person, fee in ((ALICE, DEFAULT_FEE), (BOB, 0)):
        amounts, cursor = [], None
        while True:
            page = await node.call("account.history", address=node.text(person.address), limit=2, cursor=cursor)
            for entry in page["items"]:
                assert entry["fee"] == str(fee)
                amounts.append(int(entry["events"][0]["amounts"][0]["value"]))
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert amounts == [5, 4, 3, 2, 1]


async def test_transaction_passes_from_unknown_to_pending_to_final(node: RpcNode) -> None:
    transaction = node.solo.sign(ALICE, pay(BOB, 5))
    txid = transaction.txid.hex()
    assert (await node.call("tx.get", txid=txid))["status"] == "unknown"
    await node.submit(transaction)
    pending = await node.call("tx.get", txid=txid)
    assert (pending["status"], pending["transaction"]["sender"]) == ("pending", node.text(ALICE.address))
    assert [item["txid"] for item in (await node.call("tx.pending"))["items"]] == [txid]
    block = node.solo.advance()
    final = await node.call("tx.get", txid=txid)
    assert (final["status"], final["height"], final["index"]) == ("final", 1, 0)
    assert final["block_hash"] == block.hash.hex()
    assert final["result"]["code"] == 0
    await node.submit(transaction)  # known already, and so a success
    assert (await node.call("tx.pending"))["total"] == 0


async def test_dropped_transaction_says_why(node: RpcNode) -> None:
    cheap = node.solo.sign(ALICE, pay(BOB, 5))
    dear = node.solo.sign(ALICE, pay(BOB, 6), sequence=0, fee=2 * DEFAULT_FEE)
    await node.submit(cheap, dear)
    found = await node.call("tx.get", txid=cheap.txid.hex())
    assert found["status"] == "dropped"
    assert (found["reason"]["name"], found["reason"]["data"]["by"]) == ("replaced", dear.txid.hex())


async def test_pending_pages_and_filters(node: RpcNode) -> None:
    mine = [node.solo.sign(ALICE, pay(BOB, 1), sequence=sequence) for sequence in range(5)]
    await node.submit(*mine, node.solo.sign(BOB, pay(ALICE, 1)))
    found, cursor = [], None
    while True:
        page = await node.call("tx.pending", limit=2, cursor=cursor)
        found += [item["txid"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(found) == len(set(found)) == page["total"] == 6
    page = await node.call("tx.pending", sender=node.text(ALICE.address))
    assert sorted(item["sequence"] for item in page["items"]) == [0, 1, 2, 3, 4]


async def test_simulation_foretells_result_and_fee(node: RpcNode) -> None:
    good = node.solo.sign(ALICE, pay(BOB, 5))
    found = await node.call("tx.simulate", envelope=good.envelope.hex())
    assert (found["includable"], found["succeeded"], found["error"]) == (True, True, None)
    assert found["events"][0]["kind"] == "account.transfer"
    await node.do(ALICE, pay(BOB, 5))
    failing = node.solo.sign(ALICE, pay(BOB, 10**6 * COIN))
    found = await node.call("tx.simulate", envelope=failing.envelope.hex())
    assert (found["includable"], found["succeeded"]) == (True, False)
    assert found["error"]["name"] == "insufficient_funds"
    assert found["failed_action"] == 0
    assert node.solo.balance(ALICE) == 10_000 * COIN - DEFAULT_FEE - 5  # nothing has changed
    stale = node.solo.sign(ALICE, pay(BOB, 5), sequence=0)
    found = await node.call("tx.simulate", envelope=stale.envelope.hex())
    assert (found["includable"], found["error"]["name"]) == (False, "sequence_mismatch")
    assert found["error"]["data"] == {"expected": "1", "got": "0"}


async def test_simulation_needs_no_signature_and_counts_what_is_pending(node: RpcNode) -> None:
    await node.submit(node.solo.sign(ALICE, pay(BOB, 1)))
    ahead = node.solo.sign(ALICE, pay(BOB, 5))
    assert ahead.body.sequence == 1
    found = await node.call("tx.simulate", body=ahead.body_bytes.hex())
    assert found["succeeded"]
    assert found["size"] == ahead.size
    assert found["required_fee"] == str(10_000 + 100 * ahead.size + 10_000 * ahead.weight)
    forged = encode([ahead.body_bytes, bytes(64)])
    assert (await node.call("tx.simulate", envelope=forged.hex()))["error"]["name"] == "bad_signature"
    assert (await node.fault("tx.simulate", body=encode_record(ahead.body)[:-1].hex())).name == "malformed_encoding"


async def test_batch_of_submissions_is_handed_in_at_once(node: RpcNode, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    submit = node.submission.submit

    async def counting(envelopes: list[bytes], source_peer: bytes | None) -> list[object]:
        calls.append(len(envelopes))
        return await submit(envelopes, source_peer)

    monkeypatch.setattr(node.submission, "submit", counting)
    transactions = [node.solo.sign(ALICE, pay(BOB, 1), sequence=sequence) for sequence in range(100)]
    requests = ",".join(
        f'{{"jsonrpc":"2.0","id":{index},"method":"tx.submit","params":["{item.envelope.hex()}"]}}'
        for index, item in enumerate(transactions)
    )
    status, answers = await node.post(f"[{requests}]")
    assert status == 200
    assert [answer["result"]["txid"] for answer in answers] == [item.txid.hex() for item in transactions]
    assert calls == [100]


async def test_node_tells_of_itself(node: RpcNode) -> None:
    status = await node.call("node.status")
    assert (status["height"], status["ready"], status["waiting"]) == (0, True, None)
    assert await node.call("node.health") == {"ready": True, "reason": None}
    assert await node.call("node.peers") == {"items": []}
    assert (await node.call("node.version"))["interface_version"]


def test_every_method_of_the_interface_has_a_handler(tmp_path: Path) -> None:
    node = RpcNode(tmp_path / "ledger")
    with pytest.raises(ValueError, match=r"chain\.head"):
        Dispatcher(node.context, {name: handler for name, handler in HANDLERS.items() if name != "chain.head"})
    node.context.close()
    node.solo.close()


def test_no_look_is_older_than_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was told that a transaction is final sees its effects, also while the commit is still going on."""
    node = RpcNode(tmp_path / "ledger", (ALICE, BOB))
    transaction = node.solo.sign(ALICE, pay(BOB, 5))
    sequence_before = account(node.context.read().view, ALICE.address).sequence
    seen: list[tuple[bool, int]] = []

    def look(name: str) -> None:
        if name == "store.commit.after_batch":
            final = node.solo.store.transaction_location(transaction.txid) is not None
            seen.append((final, account(node.context.read().view, ALICE.address).sequence))

    monkeypatch.setattr("node.store.crash_point", look)
    node.solo.mempool.add(transaction)
    node.solo.advance()
    node.context.close()
    node.solo.close()
    assert seen == [(True, sequence_before + 1)]
