"""SIGKILL at every named point and at random moments: what was acknowledged is there, and nothing half done is.

One database lives through all the kills of a test, so each crash starts from what the one before it left behind.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chain.crypto.hashing import sha256
from chain.state import trie
from node.crash import VARIABLE
from node.store import CRASH_POINTS, Store
from node.store_check import check_store
from node.store_errors import StoreMissing
from tests.conftest import EXTENDED
from tests.storage_chain import CHAIN_ID, GENESIS_HASH, Chain

ROOT = Path(__file__).resolve().parent.parent.parent
CHILD = Path(__file__).with_name("store_child.py")
KILLS = 8
SEED = 11


class Child:
    """A writing process, and the last number that it reported for each kind of write."""

    def __init__(self, path: Path, *arguments: str, crash_at: str = "") -> None:
        self.said: dict[str, int] = {}
        self._enough = threading.Event()
        self._blocks = 1 << 60
        environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: crash_at}
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(path), str(SEED), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        committed = 0
        for line in self.process.stdout:
            word, _, number = line.strip().partition(" ")
            self.said[word] = int(number or 0)
            committed += word == "committed"
            if committed >= self._blocks:
                self._enough.set()
        self._enough.set()

    def kill_after(self, blocks: int, delay: float) -> None:
        """Kill it `delay` seconds after it reported that many blocks."""
        self._blocks = blocks
        assert self._enough.wait(60)
        threading.Event().wait(delay)
        self.process.kill()

    def wait(self) -> dict[str, int]:
        """What it reported, once it has been killed."""
        assert self.process.stderr is not None
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self._listener.join()
            errors = self.process.stderr.read()
            self.process.stderr.close()
            if self.process.stdout is not None:
                self.process.stdout.close()
        assert self.process.returncode == -signal.SIGKILL, errors
        return self.said


def verify(path: Path, said: dict[str, int], before: int = 0) -> int:
    """Open what a killed process left, which began at the height `before`. Returns the height it is at."""
    with Store.open(path, CHAIN_ID, GENESIS_HASH) as store:
        height = store.head.height
        committed = said.get("committed", before)
        assert committed <= height <= committed + 1, (
            "neither the last block nor the one after it that was being written"
        )
        chain = Chain(SEED)
        while chain.height < height:
            chain.advance()
        check_store(store)
        assert store.head.hash == chain.blocks[-1].hash
        assert dict(store.scan(b"\x00", b"\xff")) == chain.state
        for kept in range(store.prune_floor, height + 1):
            assert sum(1 for _ in trie.leaves(store, store.root_at(kept))) > 0
        _verify_pending(store, chain, said, before)
        return height


def _verify_pending(store: Store, chain: Chain, said: dict[str, int], before: int) -> None:
    """Candidates, certificates and envelopes that were acknowledged and not used up since."""
    height = store.head.height
    submitted = dict(store.submitted())
    ahead = Chain(SEED)
    while ahead.height <= height:
        ahead.advance()
    candidates = store.candidates()
    assert set(candidates) <= {ahead.blocks[height + 1]}
    if said.get("persisted", 0) == height + 1:
        assert candidates == (ahead.blocks[height + 1],)
        assert set(ahead.certificates_above()) <= set(store.certificates())
    if said.get("submitted", 0) == height + 1:
        for envelope in ahead.blocks[height + 1].envelopes:
            assert submitted[sha256(envelope)] == envelope
    for block in chain.blocks:
        assert not {sha256(envelope) for envelope in block.envelopes} & set(submitted)
    dropped = said.get("dropped", -1)
    for waiting in range(max(before + 1, dropped + 2), min(height, said.get("submitted", 0)) + 1):
        assert sha256(b"waits %d" % waiting) in submitted
    for gone in range(1, dropped + 1):
        assert sha256(b"waits %d" % gone) not in submitted


RUNNING_POINTS = [name for name in CRASH_POINTS if not name.startswith("store.create.")]


def test_every_point_that_a_running_node_can_die_at(tmp_path: Path, rng: random.Random) -> None:
    path = tmp_path / "store"
    Store.create(path, GENESIS_HASH, Chain(SEED).genesis)
    heights = [0]
    for name in RUNNING_POINTS:
        times = 1 if name == "store.open.before_head" else rng.randrange(8, 20)
        heights.append(verify(path, Child(path, crash_at=f"{name}:{times}").wait(), heights[-1]))
    assert heights[-1] > 100


@pytest.mark.parametrize("name", [name for name in CRASH_POINTS if name.startswith("store.create.")])
def test_creating_is_whole_or_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "store"
    said = Child(path, "create", crash_at=name).wait()
    assert said == {}
    if name == "store.create.after_rename":
        assert verify(path, said) == 0
        return
    with pytest.raises(StoreMissing):
        Store.open(path)
    Store.create(path, GENESIS_HASH, Chain(SEED).genesis)
    assert verify(path, said) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("round_", range(10 if EXTENDED else 1))
def test_random_moments(tmp_path: Path, rng: random.Random, round_: int) -> None:
    path = tmp_path / "store"
    Store.create(path, GENESIS_HASH, Chain(SEED).genesis)
    height = 0
    for _ in range(KILLS):
        child = Child(path)
        child.kill_after(rng.randrange(1, 30), rng.random() * 0.02)
        reached = verify(path, child.wait(), height)
        assert reached > height
        height = reached
