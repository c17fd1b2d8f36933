"""Catching up beside a peer that is slow on purpose, and from one whose link breaks."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.parameters import Parameters
from node.network.config import NetworkConfig
from node.network.messages import CatchUpRequest, CatchUpResponse, encode_message
from node.sync import SyncSettings
from tests.ledger import Person
from tests.node.test_sync import EPOCH_BLOCKS, FRIEND, HEIGHT, QUICK, STRANGER, syncing
from tests.nodes import until
from tests.solo import Solo

OTHER = b"\x04" * 32


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Solo]:
    parameters = Parameters(epoch_blocks=EPOCH_BLOCKS)
    with Solo(tmp_path_factory.mktemp("history") / "store", [Person("alice")], parameters=parameters) as solo:
        for _ in range(HEIGHT):
            solo.advance()
        yield solo


@pytest.fixture
def replica(history: Solo, tmp_path: Path) -> Iterator[Solo]:
    with Solo(tmp_path / "store", specification=history.specification) as solo:
        yield solo


def answer(history: Solo, request: CatchUpRequest, count: int) -> CatchUpResponse:
    entries = []
    for height in range(request.first_height, min(request.first_height + count, HEIGHT + 1)):
        block, proof = history.store.block_at(height), history.store.finalization(height)
        assert block is not None
        assert proof is not None
        entries.append((block, proof))
    return CatchUpResponse(request.first_height, tuple(entries))


async def test_a_peer_that_drips_does_not_hold_up_the_others(history: Solo, replica: Solo) -> None:
    """It answers in time, one block after the other, and claims more than anybody."""
    loop = asyncio.get_running_loop()

    def drip(request: CatchUpRequest) -> None:
        response = answer(history, request, 1)
        loop.call_later(0.15, lambda: peers.syncer.on_response(STRANGER, response))

    settings = replace(QUICK, stall_seconds=0.5, turn_seconds=0.2)
    behaviours = {STRANGER: drip, OTHER: lambda request: answer(history, request, request.count)}
    async with syncing(replica, behaviours, settings) as (syncer, ledger, peers):
        syncer.behind(STRANGER, 10**9)
        syncer.behind(OTHER, HEIGHT)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed, 3)
        assert {peer for peer, _ in peers.asked} == {STRANGER, OTHER}
        assert not peers.penalties


async def test_a_broken_link_is_nobodys_fault(history: Solo, replica: Solo) -> None:
    """A peer that restarts is asked again as soon as it is back: in a pair there is nobody else."""
    behaviours = {FRIEND: lambda request: answer(history, request, request.count) if again else None}
    again = False
    async with syncing(replica, behaviours, replace(QUICK, stall_seconds=20.0)) as (syncer, ledger, peers):
        syncer.behind(FRIEND, HEIGHT)
        await until(lambda: peers.asked, peers.changed)
        syncer.disconnected(FRIEND)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        again = True
        syncer.behind(FRIEND, HEIGHT)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)
        assert not peers.penalties


def test_the_largest_answer_passes_as_a_message_of_a_follower() -> None:
    settings = SyncSettings()
    overhead = settings.blocks_per_request * 512
    assert settings.response_bytes + overhead < NetworkConfig().follower_limits.max_message_bytes
    assert len(encode_message(CatchUpResponse(1, ()))) < 512


async def test_own_verification_waits_for_one_answer_and_not_for_all(history: Solo, replica: Solo) -> None:
    """Many peers ask for old blocks while this node catches up itself."""
    running = most = 0

    def slow(request: CatchUpRequest) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running + syncer._worker._work_queue.qsize())
        time.sleep(0.02)
        running -= 1
        return encode_message(CatchUpResponse(request.first_height, ()))

    behaviours = {FRIEND: lambda request: answer(history, request, request.count)}
    async with syncing(replica, behaviours, replace(QUICK, stall_seconds=5.0)) as (syncer, ledger, peers):
        syncer._answer_bytes = slow  # type: ignore[method-assign]
        for number in range(50):
            syncer.on_request(number.to_bytes(32, "big"), CatchUpRequest(1, 256))
        syncer.behind(FRIEND, HEIGHT)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)
        assert len(peers.sent) < 40
        await until(lambda: len(peers.sent) == 50, peers.changed)
    assert most <= 2
