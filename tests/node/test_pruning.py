"""Old states go, recent ones stay whole, and the database still verifies."""

import asyncio
from pathlib import Path

import pytest

from chain.state.trie import leaves
from node import pruning
from node.pruning import Pruner
from node.store_errors import StoreFailed
from node.verify import verify
from tests.ledger import Person
from tests.solo import Solo, pay

ALICE, BOB = Person("alice"), Person("bob")
KEEP, HEIGHT = 4, 20


async def test_only_the_kept_states_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "SLICE_NODES", 3)
    failures: list[BaseException] = []
    with Solo(tmp_path / "store", [ALICE, BOB]) as solo:
        pruner = Pruner(solo.store, KEEP, failures.append)
        for _ in range(HEIGHT):
            solo.mempool.add(solo.sign(ALICE, pay(BOB, 1)))
            pruner.on_head(solo.advance().header.height)
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while solo.store.prune_floor < HEIGHT - KEEP:
                pruner.on_head(HEIGHT)
                assert pruner._task is not None
                await pruner._task
        await pruner.stop()
        assert solo.store.prune_floor == HEIGHT - KEEP
        for height in range(HEIGHT - KEEP, HEIGHT + 1):
            assert len(list(leaves(solo.store, solo.store.root_at(height)))) > 2
        assert solo.store.block_at(1) is not None
    assert not failures
    verify(tmp_path / "store", solo.specification)


async def test_an_error_of_the_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    with Solo(tmp_path / "store") as solo:

        def broken(*_: object) -> int:
            raise StoreFailed(reason="input/output error")

        monkeypatch.setattr(solo.store, "prune", broken)
        pruner = Pruner(solo.store, 1, failed.set_result)
        pruner.on_head(2)
        assert isinstance(await asyncio.wait_for(failed, 5), StoreFailed)
        await pruner.stop()
