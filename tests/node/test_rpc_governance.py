"""Measures, candidates, convictions and changeable parameters over RPC."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chain.actions.authorities import RemoveAuthority
from chain.actions.evidence import SubmitEvidence
from chain.actions.governance import ProposeMeasure, SetParameter, SpendTreasury, VoteOnMeasure
from chain.certificate import VoteKind
from chain.parameter_ranges import FIXED, RANGES
from chain.parameters import Parameters
from chain.result import TransactionResult
from chain.schema import COIN
from tests.council import Officer
from tests.ledger import Person, make_specification, subject
from tests.rpc_node import RpcNode
from tests.solo import pay

OFFICERS = [Officer(name) for name in "0123"]
NEW = Officer("new")
ALICE = Person("alice")
EPOCH_BLOCKS = 12
FEE = SetParameter("market_fee", 300)


class Council(RpcNode):
    """A node of a network with four authorities."""

    async def propose(self, *actions: Any, by: Person = OFFICERS[0]) -> str:
        result = await self.do(by, ProposeMeasure(actions, self.solo.wall_ms + 3_600_000), fee=COIN)
        return subject(result, "governance.proposed", "measure").hex()

    async def vote(self, measure: str, voter: Person, approve: bool = True) -> TransactionResult:
        return await self.do(voter, VoteOnMeasure(bytes.fromhex(measure), approve))

    def end_epoch(self) -> None:
        self.solo.advance()
        while self.solo.executor.head().height % EPOCH_BLOCKS:
            self.solo.advance()

    def names(self, *people: Person) -> list[str]:
        return [self.text(person.address) for person in people]


@pytest.fixture
async def council(tmp_path: Path) -> AsyncIterator[Council]:
    specification = make_specification(
        [*OFFICERS, NEW, ALICE],
        parameters=Parameters(epoch_blocks=EPOCH_BLOCKS),
        authorities=[officer.authority for officer in OFFICERS],
        stake=1_000 * COIN,
    )
    async with Council(tmp_path / "ledger", specification=specification) as running:
        yield running


async def everything(node: RpcNode, method: str, **params: Any) -> list[Any]:
    """All items, one by one, so that cursors are used."""
    items: list[Any] = []
    cursor = None
    while True:
        page = await node.call(method, limit=1, cursor=cursor, **params)
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


async def test_a_measure_from_its_proposal_to_its_end(council: Council) -> None:
    measure = await council.propose(FEE)
    view = (await council.call("governance.get", measure=measure))["view"]
    assert (view["id"], view["status"], view["due_epoch"], view["spent"]) == (measure, "open", None, "0")
    assert view["measure"]["actions"] == [
        {"action": "governance.set_parameter", "parameter": "market_fee", "value": 300}
    ]
    assert (view["approvals"], view["rejections"]) == (council.names(OFFICERS[0]), [])
    assert (view["needed"], view["electors"]) == (3, 4)
    await council.vote(measure, OFFICERS[1])
    await council.vote(measure, OFFICERS[3], approve=False)
    view = (await council.call("governance.get", measure=measure))["view"]
    assert (view["approvals"], view["rejections"]) == (council.names(*OFFICERS[:2]), council.names(OFFICERS[3]))
    await council.vote(measure, OFFICERS[2])
    view = (await council.call("governance.get", measure=measure))["view"]
    assert (view["status"], view["due_epoch"]) == ("passed", 0)
    council.end_epoch()
    assert (await council.call("chain.params"))["parameters"]["market_fee"] == 300
    assert (await council.fault("governance.get", measure=measure)).name == "not_found"


async def test_the_list(council: Council) -> None:
    measures = [await council.propose(FEE, by=officer) for officer in OFFICERS[:3]]
    target = await council.propose(RemoveAuthority(OFFICERS[3].address))
    for voter in OFFICERS[:2]:
        await council.vote(measures[1], voter)
    await council.vote(measures[1], OFFICERS[3])
    listed = await everything(council, "governance.list")
    assert [item["id"] for item in listed] == [measures[0], measures[2], target, measures[1]]
    assert [item["status"] for item in listed] == ["open", "open", "open", "passed"]
    assert (listed[2]["electors"], listed[2]["needed"]) == (3, 3)
    assert [item["id"] for item in await everything(council, "governance.list", status="open")] == [
        measures[0],
        measures[2],
        target,
    ]
    assert [item["id"] for item in await everything(council, "governance.list", status="passed")] == [measures[1]]
    first = await council.call("governance.list", limit=1)
    assert first["epoch"] == 0
    for voter in (OFFICERS[1], OFFICERS[3]):
        await council.vote(measures[0], voter, approve=False)
    after = await council.call("governance.list", limit=10, cursor=first["next_cursor"])
    assert [item["id"] for item in after["items"]] == [measures[2], target, measures[1]], "what was shown is closed"
    council.solo.advance(after_ms=4_000_000)
    assert await everything(council, "governance.list", status="open") == []


async def test_a_payment(council: Council) -> None:
    await council.do(ALICE, pay(NEW, 1))
    assert int((await council.call("chain.supply"))["treasury"]) > 1_000
    measure = await council.propose(SpendTreasury(ALICE.address, 1_000, "audit"))
    view = (await council.call("governance.get", measure=measure))["view"]
    assert view["spent"] == "1000"
    assert view["measure"]["actions"][0]["memo"] == "audit"


async def test_what_can_be_changed(council: Council) -> None:
    found = await council.call("governance.parameters")
    assert [item["name"] for item in found["items"]] == list(RANGES)
    assert set(found["fixed"]) == FIXED
    (fee,) = [item for item in found["items"] if item["name"] == "market_fee"]
    assert fee == {"name": "market_fee", "value": 200, "minimum": 100, "maximum": 400, "lowest": 0, "highest": 2_000}


async def test_candidates_and_who_leaves(council: Council) -> None:
    assert await everything(council, "governance.candidates") == []
    measure = await council.propose(NEW.addition)
    for voter in OFFICERS[1:3]:
        await council.vote(measure, voter)
    council.end_epoch()
    page = await council.call("governance.candidates")
    (waiting,) = page["items"]
    assert waiting["authority"]["operator"] == council.text(NEW.address)
    assert (waiting["approved_epoch"], waiting["ready_epoch"], waiting["ready"]) == (0, None, False)
    assert (waiting["stake"], waiting["needed_stake"]) == (str(1_000 * COIN), str(100 * COIN))
    assert waiting["dropped_epoch"] == 32
    assert page["epoch"] == 1
    await council.do(NEW, NEW.ready(council.solo.chain_id, 1), fee=COIN)
    (waiting,) = await everything(council, "governance.candidates")
    assert (waiting["ready_epoch"], waiting["ready"]) == (1, True)
    council.end_epoch()
    assert await everything(council, "governance.candidates") == []


async def test_who_waits_to_leave(council: Council) -> None:
    """One of four leaves an epoch."""
    for target in OFFICERS[2:]:
        measure = await council.propose(RemoveAuthority(target.address))
        for voter in (OFFICERS[1], *(each for each in OFFICERS[2:] if each is not target)):
            await council.vote(measure, voter)
    council.end_epoch()
    assert (await council.call("governance.candidates"))["leaving"] == council.names(OFFICERS[3])


async def test_convictions(council: Council) -> None:
    chain_id = council.solo.chain_id
    for guilty in OFFICERS[:2]:
        votes = [guilty.vote(chain_id, VoteKind.FINALIZE, 0, 5, bytes([number]) * 32) for number in (1, 2)]
        await council.do(ALICE, SubmitEvidence(guilty.authority.node_key, *votes), fee=COIN)
    listed = await everything(council, "governance.convictions")
    assert {item["operator"] for item in listed} == set(council.names(*OFFICERS[:2]))
    (one,) = await everything(council, "governance.convictions", operator=council.text(OFFICERS[1].address))
    assert (one["epoch"], one["conviction"]["offence"]) == (0, "conflicting_finalize")
    assert (one["conviction"]["amount"], one["conviction"]["reward"]) == (str(100 * COIN), str(10 * COIN))
    assert one["conviction"]["submitter"] == council.text(ALICE.address)


async def test_ids_that_are_none(council: Council) -> None:
    assert (await council.fault("governance.get", measure="00" * 32)).name == "not_found"
    assert (await council.fault("governance.get", measure="00")).code == -32602
    assert (await council.fault("governance.list", cursor="00")).name == "invalid_cursor"
    assert (await council.fault("governance.list", status="closed")).code == -32602


async def test_proofs(council: Council) -> None:
    measure = await council.propose(FEE)
    found = await council.call("proof.record", kind="measure", key=measure)
    assert found["present"]
    assert found["record"]["proposer"] == council.text(OFFICERS[0].address)
    for kind in ("candidate", "conviction"):
        assert not (await council.call("proof.record", kind=kind, key=NEW.address.hex()))["present"]
