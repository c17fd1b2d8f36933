"""Long reads take turns by kind, on few threads."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from node.rpc import reading
from node.rpc.errors import NodeBusy
from node.rpc.reading import READING_THREADS, ReadingThreads


async def test_a_flood_of_one_kind_delays_another_by_one_turn() -> None:
    threads, gate, ended = ReadingThreads(), threading.Event(), []

    def slow(number: int) -> Callable[[], None]:
        def work() -> None:
            gate.wait(10)
            ended.append(f"flood {number}")

        return work

    flood = [asyncio.create_task(threads.run("flood", slow(number))) for number in range(20)]
    await asyncio.sleep(0)
    other = asyncio.create_task(threads.run("other", lambda: ended.append("other")))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(other, *flood)
    threads.close()
    assert ended.index("other") <= READING_THREADS + 2


async def test_queues_are_bounded_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAXIMUM_WAITING_READS", 3)
    threads, gate = ReadingThreads(), threading.Event()
    tasks = [asyncio.create_task(threads.run("flood", lambda: gate.wait(10))) for _ in range(READING_THREADS + 3)]
    await asyncio.sleep(0)
    with pytest.raises(NodeBusy):
        await threads.run("flood", lambda: None)
    tasks.append(asyncio.create_task(threads.run("other", lambda: True)))
    await asyncio.sleep(0)
    gate.set()
    assert all(await asyncio.gather(*tasks))
    threads.close()


async def test_those_who_leave_take_no_turn_with_them() -> None:
    threads, gate = ReadingThreads(), threading.Event()
    tasks = [asyncio.create_task(threads.run("flood", lambda: gate.wait(10))) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[:8]:
        task.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*tasks[8:]) == [True, True]
    for _ in range(3 * READING_THREADS):
        assert await asyncio.wait_for(threads.run("other", lambda: 1), 5) == 1
    threads.close()
