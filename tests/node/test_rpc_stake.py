"""Stakes over RPC: what counts, what was earned as of now, what is unbonding, and who has staked."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chain.actions.staking import AddStake, ClaimRewards, RemoveStake
from chain.bank import totals
from chain.parameters import Parameters
from chain.schema import COIN
from chain.stake import claimable
from chain.state.view import View
from tests.ledger import Person
from tests.rpc_node import RpcNode
from tests.solo import AUTHORITY

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")
EPOCH = 5
PARAMETERS = Parameters(epoch_blocks=EPOCH)
OPERATOR = PARAMETERS.authority_minimum_stake
"""What the authority's operator has staked, base units."""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RpcNode]:
    async with RpcNode(tmp_path / "ledger", (ALICE, BOB), parameters=PARAMETERS, stake=30 * COIN) as running:
        yield running


async def stake_of(node: RpcNode, person: Person) -> dict[str, Any]:
    found: dict[str, Any] = await node.call("stake.get", address=node.text(person.address))
    return found


async def test_an_epoch_as_a_staker_sees_it(node: RpcNode) -> None:
    await node.do(ALICE, AddStake(10 * COIN))
    await node.do(BOB, RemoveStake(10 * COIN))
    alice, bob = await stake_of(node, ALICE), await stake_of(node, BOB)
    assert (alice["stake"]["total"], alice["stake"]["counted"]) == (str(40 * COIN), str(30 * COIN))
    assert (bob["stake"]["total"], bob["stake"]["counted"]) == (str(20 * COIN), str(20 * COIN))
    assert alice["epoch"] == {
        "epoch": 0,
        "ends_height": EPOCH,
        "counted": str(50 * COIN + OPERATOR),
        "pot": str(totals(View(node.solo.store)).epoch_pot),
    }
    while node.solo.executor.head().height < EPOCH:
        node.solo.advance()
    pot = int(alice["epoch"]["pot"])
    alice, bob = await stake_of(node, ALICE), await stake_of(node, BOB)
    assert alice["stake"]["counted"] == str(40 * COIN)
    total = 50 * COIN + OPERATOR
    assert 0 <= pot * 30 * COIN // total - int(alice["stake"]["rewards"]) <= 1
    assert 0 <= pot * 20 * COIN // total - int(bob["stake"]["rewards"]) <= 1
    counted = str(total + 10 * COIN)
    assert alice["epoch"] == {"epoch": 1, "ends_height": 2 * EPOCH, "counted": counted, "pot": "0"}
    account = await node.call("account.get", address=node.text(ALICE.address))
    assert account["stake"] == alice["stake"]
    earned = claimable(View(node.solo.store), ALICE.address)
    result = await node.do(ALICE, ClaimRewards())
    assert dict(result.events[0].amounts) == {"amount": earned} == {"amount": int(alice["stake"]["rewards"])}
    assert (await stake_of(node, ALICE))["stake"]["rewards"] == "0"


async def test_unbondings_the_soonest_first(node: RpcNode) -> None:
    for amount in (1, 2, 3):
        await node.do(ALICE, RemoveStake(amount))
    found = await stake_of(node, ALICE)
    assert found["stake"]["unbonding"] == "6"
    assert [item["amount"] for item in found["unbondings"]] == ["1", "2", "3"]
    dues = [item["due_ms"] for item in found["unbondings"]]
    assert dues == sorted(dues)


async def test_an_account_without_stake(node: RpcNode) -> None:
    found = await stake_of(node, CAROL)
    assert set(found["stake"].values()) == {"0", 0}
    assert found["unbondings"] == []


async def test_list_the_largest_first(node: RpcNode) -> None:
    await node.do(BOB, AddStake(COIN))
    everyone = await node.call("stake.list")
    people = (AUTHORITY.operator, BOB.address, ALICE.address)
    assert [item["address"] for item in everyone["items"]] == [node.text(address) for address in people]
    assert everyone["items"][1]["stake"] == (await stake_of(node, BOB))["stake"]
    first = await node.call("stake.list", limit=1)
    rest = await node.call("stake.list", limit=2, cursor=first["next_cursor"])
    assert first["items"] + rest["items"] == everyone["items"]
    assert rest["next_cursor"] is None
    large = await node.call("stake.list", minimum=str(31 * COIN))
    assert large["items"] == everyone["items"][:2]
    assert (await node.call("stake.list", slashed=True))["items"] == []
    assert (await node.call("stake.list", slashed=False))["items"] == everyone["items"]
