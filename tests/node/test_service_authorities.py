"""Whole nodes through changes of the set, without a restart: who votes, who follows, and what each says of itself."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from chain.certificate import AuthoritySet
from chain.parameters import Parameters
from node.membership import Membership
from node.service import Node
from node.status import NodeStatus
from tests.authorities import Candidate, Script
from tests.ledger import Person
from tests.node.test_service import Running, running
from tests.nodes import PATIENCE_SECONDS, Layout, lay_out, until

ALICE, BOB = Person("alice"), Person("bob")
EPOCH_BLOCKS = 3


def changing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, authorities: int, candidates: int, sets: dict[int, str]
) -> Layout:
    """A network whose set changes; `sets` tells by epoch which nodes are in it, by number."""
    parameters = Parameters(epoch_blocks=EPOCH_BLOCKS)
    layout = lay_out(folder, authorities, candidates=candidates, people=[ALICE, BOB], parameters=parameters)
    members = {epoch: [layout.members[int(digit)] for digit in digits] for epoch, digits in sets.items()}
    Script(members).install(monkeypatch)
    return layout


def voting(status: NodeStatus) -> tuple[str, int, int]:
    return status.role, status.authorities_total, status.quorum


async def in_epoch(node: Running, epoch: int) -> NodeStatus:
    """What it says of itself once that epoch has begun for it."""
    turned = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        # The core learns of a head after everybody who waits for final blocks.
        if node.node.driver.head.authorities.epoch >= epoch:
            turned.set()
        else:
            loop.call_later(0.01, look)

    look()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await turned.wait()
    return node.node.status()


def authority_links(node: Node) -> set[bytes]:
    return {peer.key for peer in node.peers() if peer.is_authority}


async def test_a_follower_joins_and_an_authority_leaves_while_the_chain_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One, then two, then four, then the first without itself."""
    layout = changing(tmp_path, monkeypatch, 1, 3, {2: "01", 4: "0123", 8: "312"})
    async with running(layout, 0, 1, 2, 3) as nodes:
        first, second, third, fourth = nodes
        assert voting(first.node.status()) == ("authority", 1, 1)
        assert voting(second.node.status()) == ("follower", 1, 1)
        assert voting(await in_epoch(second, 2)) == ("authority", 2, 2)
        for node in nodes:
            assert voting(await in_epoch(node, 4)) == ("authority", 4, 3)
        assert voting(await in_epoch(first, 8)) == ("follower", 3, 3)
        for node in (second, third, fourth):
            assert voting(await in_epoch(node, 8)) == ("authority", 3, 3)
        # Who left takes transactions still, and hands them on to those who decide.
        transaction = first.sign(ALICE, BOB, 7, 0)
        assert await first.node.submit([transaction.envelope], None) == [transaction.txid]
        for node in nodes:
            await until(lambda node=node: node.node.store.transaction_location(transaction.txid), node.changed)
            await node.reach(9 * EPOCH_BLOCKS)
            hashes = [node.node.store.block_hash(height) for height in range(9 * EPOCH_BLOCKS)]
            assert hashes == [first.node.store.block_hash(height) for height in range(9 * EPOCH_BLOCKS)]
        proposers: dict[int, set[bytes]] = {}
        for height in range(1, 9 * EPOCH_BLOCKS + 1):
            header = first.node.store.header_at(height)
            assert header is not None
            proposers.setdefault(header.epoch, set()).add(header.proposer)
        operators = [member.operator for member in layout.members]
        assert proposers[1] == {operators[0]}
        assert proposers[8] <= {operators[1], operators[2], operators[3]}
        assert authority_links(first.node) == {member.node_key for member in layout.members[1:]}
        assert authority_links(second.node) == {layout.members[2].node_key, layout.members[3].node_key}


async def test_the_chain_waits_for_a_new_member_that_is_away_and_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = changing(tmp_path, monkeypatch, 1, 1, {2: "01"})
    async with running(layout, 0) as (alone,):
        status = await in_epoch(alone, 2)
        assert (status.waiting, status.authorities_connected) == ("waiting for quorum 1/2", 1)
        assert status.height == 2 * EPOCH_BLOCKS
        async with running(layout, 1) as (newcomer,):
            await newcomer.reach(3 * EPOCH_BLOCKS)
            assert voting(newcomer.node.status()) == ("authority", 2, 2)
            assert newcomer.node.status().ready


async def test_restarts_at_the_boundary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stop while the other set is due, and start into it."""
    layout = changing(tmp_path, monkeypatch, 2, 1, {2: "02", 3: "210"})
    async with running(layout, 0, 1) as (first, second):
        await in_epoch(first, 2)
        await in_epoch(second, 2)
        assert first.node.status().waiting == "waiting for quorum 1/2"
        assert second.node.status().role == "follower"
    async with running(layout, 0, 1, 2) as nodes:
        for node in nodes:
            assert voting(await in_epoch(node, 3)) == ("authority", 3, 3)
            await node.reach(4 * EPOCH_BLOCKS)


async def test_one_whose_other_key_the_set_names_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would vote with a key that nobody accepts; the rest go on without it."""
    layout = changing(tmp_path, monkeypatch, 3, 2, {})
    wrong = replace(layout.members[4], node_key=layout.members[3].node_key)
    Script({2: [*layout.members[:3], wrong]}).install(monkeypatch)
    async with running(layout, 0, 1, 2, 3) as nodes:
        status = await in_epoch(nodes[3], 2)
        assert voting(status) == ("follower", 4, 3)
        for node in nodes:
            await node.reach(4 * EPOCH_BLOCKS)


class Recorder:
    """Links, gossip and mempool at once."""

    def __init__(self, *connected: bytes) -> None:
        self.connected = set(connected)
        self.authorities: set[bytes] = set()
        self.pushed: set[bytes] = set()

    def is_connected(self, peer_key: bytes) -> bool:
        return peer_key in self.connected

    def set_authorities(self, keys: Iterable[bytes]) -> None:
        self.authorities = set(keys)

    def peer_connected(self, peer_key: bytes, pending: object) -> None:
        assert pending == ()
        self.pushed.add(peer_key)

    def peer_disconnected(self, peer_key: bytes) -> None:
        self.pushed.discard(peer_key)

    def envelopes(self) -> tuple[tuple[bytes, bytes], ...]:
        return ()


def test_links_and_gossip_follow_the_set(caplog: pytest.LogCaptureFixture) -> None:
    me, old, near, far = (Candidate(name).authority for name in "0123")
    parts = Recorder(old.node_key, near.node_key)
    parts.pushed.add(old.node_key)
    membership = Membership(
        AuthoritySet(4, (old, me)), me.node_key, me.bls_key, links=parts, gossip=parts, pending=parts, listed=()
    )
    assert not membership.advance(AuthoritySet(5, (old, me)))
    assert parts.authorities == set()
    assert membership.advance(AuthoritySet(6, (me, far, near)))
    assert parts.authorities == {me.node_key, far.node_key, near.node_key}
    assert parts.pushed == {near.node_key}, "who left gets no transactions any more, who joined does"
    assert not membership.is_authority(old.node_key)
    assert membership.is_authority(far.node_key)
    assert f"authority {far.node_key.hex()} is not linked" in caplog.text
    assert near.node_key.hex() not in caplog.text
    caplog.clear()
    assert membership.advance(AuthoritySet(7, (near,)))
    assert "no authority any more from epoch 7" in caplog.text
    assert not membership.is_member(AuthoritySet(7, (near,)))


async def test_a_whole_set_is_exchanged_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves serves what the new ones need to begin."""
    layout = changing(tmp_path, monkeypatch, 2, 2, {2: "23"})
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(running(layout, 0, 1))
        for node in old:
            await in_epoch(node, 2)
        new = await stack.enter_async_context(running(layout, 2, 3))
        for node in (*old, *new):
            await node.reach(4 * EPOCH_BLOCKS)
        assert [voting(node.node.status())[0] for node in (*old, *new)] == [*["follower"] * 2, *["authority"] * 2]
