"""Whole nodes in one process over real loopback links: what they finalise together, what they say, how they end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chain.actions.accounts import Transfer
from chain.bank import NATIVE_ASSET, account
from chain.errors import InvalidGenesis, LedgerError
from chain.parameters import Parameters
from chain.schema import COIN
from chain.state.view import View
from chain.transaction import Body, Transaction
from node import keys
from node.config import Configuration
from node.consensus.signer import SignerRecordMissing
from node.network.frames import Priority
from node.service import CannotListen, Node, wall_ms
from node.setup import WrongAuthorityKey
from node.store_errors import StoreFailed, StoreLocked, StoreMissing, StoreWrongChain
from tests.ledger import DEFAULT_FEE, Person
from tests.nodes import FAST_NETWORK, Layout, lay_out, until

ALICE, BOB = Person("alice"), Person("bob")


class Running:
    """A started node, and an event for each of its final blocks and links."""

    def __init__(self, configuration: Configuration, wall: Callable[[], int] = wall_ms) -> None:
        self.node = Node(configuration, network=FAST_NETWORK, wall=wall)
        self.changed = asyncio.Event()

    async def start(self) -> "Running":
        await self.node.start()
        self.node.executor.subscribe(lambda final: self.changed.set())
        return self

    @property
    def height(self) -> int:
        return self.node.status().height

    def balance(self, person: Person) -> int:
        return account(View(self.node.store), person.address).balance

    async def reach(self, height: int) -> None:
        await until(lambda: self.node.executor.head().height >= height, self.changed)

    def sign(self, sender: Person, to: Person, amount: int, sequence: int) -> Transaction:
        body = Body(
            chain_id=self.node.specification.chain_id,
            sender=sender.address,
            public_key=sender.key.public_key,
            sequence=sequence,
            valid_until_ms=wall_ms() + 600_000,
            idempotency_id=None,
            fee=DEFAULT_FEE,
            actions=(Transfer(to.address, NATIVE_ASSET, amount),),
        )
        return Transaction.sign(body, sender.key)


@asynccontextmanager
async def running(layout: Layout, *indices: int, wall: Callable[[], int] = wall_ms) -> AsyncIterator[list[Running]]:
    """These nodes of a network; stops them and makes sure that nothing of them is left."""
    before = asyncio.all_tasks()
    nodes = [Running(layout.configurations[index], wall) for index in indices]
    started: list[Running] = []
    try:
        for item in nodes:
            started.append(await item.start())
        yield nodes
    finally:
        for item in started:
            await item.node.stop()
        assert asyncio.all_tasks() <= before
    for item in nodes:
        await item.node.wait_stopped()


async def test_a_pair_finalises_empty_blocks(tmp_path: Path) -> None:
    async with running(lay_out(tmp_path, 2), 0, 1) as (first, second):
        await first.reach(5)
        await second.reach(5)
        for height in range(1, 6):
            assert first.node.store.block_hash(height) == second.node.store.block_hash(height)
        status = first.node.status()
        assert (status.role, status.waiting, status.ready) == ("authority", None, True)
        assert (status.authorities_connected, status.quorum) == (2, 2)


async def test_a_pair_finalises_a_transaction_wherever_it_comes_in(tmp_path: Path) -> None:
    """Also at the authority that does not lead, while the chain idles."""
    async with running(lay_out(tmp_path, 2, people=[ALICE, BOB]), 0, 1) as nodes:
        for sequence in range(4):
            entry = nodes[sequence % 2]
            transaction = entry.sign(ALICE, BOB, 7, sequence)
            assert await entry.node.submit([transaction.envelope], None) == [transaction.txid]
            for item in nodes:
                await until(
                    lambda item=item, txid=transaction.txid: item.node.store.transaction_location(txid), item.changed
                )
        assert nodes[0].balance(BOB) == nodes[1].balance(BOB) == 10_000 * COIN + 28
        for item in nodes:
            await until(lambda item=item: not len(item.node.mempool), item.changed)


async def test_epochs_pass(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 2, parameters=Parameters(epoch_blocks=3))
    async with running(layout, 0, 1) as (first, second):
        await first.reach(10)
        await second.reach(10)
        assert first.node.status().epoch >= 3


async def test_half_of_a_pair_waits_and_says_so(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 2)
    async with running(layout, 0) as (lone,):
        status = lone.node.status()
        assert status.waiting == "waiting for quorum 1/2"
        assert status.not_ready == ("waiting for quorum 1/2",)
        async with running(layout, 1):
            await lone.reach(1)
            assert lone.node.status().ready
        height = lone.height
        assert lone.node.status().waiting == "waiting for quorum 1/2"
    assert lone.node.status().height == height


async def test_one_that_was_away_catches_up_and_takes_part_again(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 4)
    async with running(layout, 0, 1, 2) as (first, *_):
        await first.reach(8)
        async with running(layout, 3) as (late,):
            await late.reach(first.height + 3)
            assert late.node.status().ready


async def test_a_pair_goes_on_after_both_restarted(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 2)
    height = 0
    for _ in range(3):
        async with running(layout, 0, 1) as (first, second):
            await first.reach(height + 3)
            await second.reach(height + 3)
            height = first.height


async def test_a_follower_follows(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 1, followers=1, people=[ALICE, BOB])
    async with running(layout, 0) as (authority,):
        await authority.reach(5)
        async with running(layout, 1) as (follower,):
            await follower.reach(authority.height + 2)
            status = follower.node.status()
            assert (status.role, status.waiting, status.authorities_connected) == ("follower", None, 1)
            transaction = follower.sign(ALICE, BOB, 5, 0)
            assert await follower.node.submit([transaction.envelope], None) == [transaction.txid]
            await until(lambda: follower.node.store.transaction_location(transaction.txid), follower.changed)


async def test_what_a_peer_sends_that_is_no_message_costs_it(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 1, followers=1)
    async with running(layout, 0, 1) as (authority, follower):
        await follower.reach(1)
        follower.node.links.send(authority.node.node_key, b"\xff\x00", Priority.URGENT)
        await until(lambda: not authority.node.peers(), authority.changed)


async def test_a_failing_disk_stops_the_node_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    item = await Running(lay_out(tmp_path, 1).configurations[0]).start()
    await item.reach(2)

    def broken(*_: object) -> None:
        raise StoreFailed(reason="input/output error")

    monkeypatch.setattr(item.node.store, "_write", broken)
    with pytest.raises(StoreFailed):
        await asyncio.wait_for(item.node.wait_stopped(), 5)
    assert "store_failed" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _refused(configuration: Configuration) -> LedgerError:
    with pytest.raises(LedgerError) as refusal:
        await Node(configuration).start()
    assert refusal.value.hint
    return refusal.value


async def test_what_a_node_refuses_to_start_with(tmp_path: Path) -> None:
    layout = lay_out(tmp_path / "a", 2)
    other = lay_out(tmp_path / "b", 1)
    good = layout.configurations[0]
    files = good.node
    for wrong, error in [
        (replace(files, data=tmp_path), StoreMissing),
        (replace(files, genesis=tmp_path / "none"), InvalidGenesis),
        (replace(files, genesis=other.genesis), StoreWrongChain),
        (replace(files, node_key=tmp_path / "none"), keys.KeyFileUnusable),
        (replace(files, bls_key=layout.configurations[1].node.bls_key), WrongAuthorityKey),
    ]:
        assert type(await _refused(replace(good, node=wrong))) is error
    assert asyncio.all_tasks() == {asyncio.current_task()}
    async with running(layout, 0) as (lone,):
        assert type(await _refused(good)) is StoreLocked
        second = layout.configurations[1]
        assert type(await _refused(replace(second, rpc=good.rpc))) is CannotListen
        assert type(await _refused(replace(second, network=good.network))) is CannotListen
        stolen = replace(second.node, data=files.data)
        assert type(await _refused(replace(second, node=stolen))) is StoreLocked
        assert lone.height == 0
    files.signer_record.rename(tmp_path / "away")
    assert type(await _refused(good)) is SignerRecordMissing


async def test_the_clocks_of_both_go_back_an_hour(tmp_path: Path) -> None:
    """Block time goes on from where it was, and the chain with it."""
    offset = 0

    def clock() -> int:
        return wall_ms() + offset

    async with running(lay_out(tmp_path, 2), 0, 1, wall=clock) as (first, second):
        await first.reach(3)
        offset = -3_600_000
        height = first.height
        await first.reach(height + 6)
        await second.reach(height + 6)
        times = [block_time(first.node, at) for at in range(height + 7)]
        assert times == sorted(set(times))


async def test_one_clock_is_an_hour_ahead(tmp_path: Path) -> None:
    """What that authority proposes is refused, what the other proposes becomes final."""
    layout = lay_out(tmp_path, 2)
    async with running(layout, 0, wall=lambda: wall_ms() + 3_600_000) as (ahead,), running(layout, 1) as (right,):
        await ahead.reach(4)
        await right.reach(4)
        assert block_time(right.node, 4) <= wall_ms() + 1_000


def block_time(node: Node, height: int) -> int:
    header = node.store.header_at(height)
    assert header is not None
    return header.time_ms
