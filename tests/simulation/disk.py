"""A disk that a node can lose power on: between any two operations, and in the middle of a write."""

import random
from pathlib import Path

from node.consensus.signer import FileLock, SignerLocked


class Crash(Exception):
    """The power fails here. The node's memory is gone; its disk holds what had been synced, and perhaps more."""


class Power:
    """Counts the points at which a node may crash, and fails at the chosen one."""

    def __init__(self) -> None:
        self.remaining: int | None = None
        self.points = 0

    def point(self) -> None:
        self.points += 1
        if self.remaining is None:
            return
        self.remaining -= 1
        if self.remaining <= 0:
            self.remaining = None
            raise Crash


class _Lock:
    def __init__(self, files: "SimulatedFiles", path: Path) -> None:
        self._files = files
        self._path = path

    def release(self) -> None:
        self._files.locked.discard(self._path)


class SimulatedFiles:
    """The signer's FileSystem in memory. Each write is synced; a crash within it leaves a torn end."""

    def __init__(self, rng: random.Random, power: Power) -> None:
        self._rng = rng
        self._power = power
        self.contents: dict[Path, bytes] = {}
        self.locked: set[Path] = set()

    def exists(self, path: Path) -> bool:
        return path in self.contents

    def read(self, path: Path) -> bytes:
        return self.contents[path]

    def append(self, path: Path, data: bytes) -> None:
        self._put(path, self.contents[path], data)

    def write(self, path: Path, data: bytes) -> None:
        self._put(path, b"", data)

    def _put(self, path: Path, before: bytes, data: bytes) -> None:
        self._power.point()
        try:
            self._power.point()
        except Crash:
            torn = data[: self._rng.randint(0, len(data))]
            if self._rng.random() < 0.3:
                torn += bytes(len(data) - len(torn))
            self.contents[path] = before + torn
            raise
        self.contents[path] = before + data
        self._power.point()

    def replace(self, source: Path, target: Path) -> None:
        self._power.point()
        self.contents[target] = self.contents.pop(source)
        self._power.point()

    def truncate(self, path: Path, size: int) -> None:
        self._power.point()
        self.contents[path] = self.contents[path][:size]
        self._power.point()

    def sync_directory(self, path: Path) -> None:
        self._power.point()

    def lock(self, path: Path) -> FileLock:
        if path in self.locked:
            raise SignerLocked(path=str(path))
        self.locked.add(path)
        return _Lock(self, path)

    def power_cut(self) -> None:
        """Locks do not survive the process."""
        self.locked.clear()
