"""The state as a block sees it: an overlay of record objects above a reader of final bytes.

Records are decoded once and encoded once a block, however often they change. Every write is journalled, so an
action or a transaction that fails is undone exactly, in the reverse order. The overlay is never written down by
itself: `changes` gives the net effect, and whoever commits decides.
"""

import bisect
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from chain.record import encode_record

Decode = Callable[[bytes], Any]


class Reader(Protocol):
    """Ordered, read-only access to keys and values."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end, ascending, or descending if `reverse`."""
        ...


class MemoryReader:
    """A reader over a dictionary: genesis states, tests and proofs that the state adds up.

    Whoever takes keys out of `values` or puts keys in, rather than calling `apply`, must do so before the first scan or
    change their number.
    """

    def __init__(self, values: dict[bytes, bytes] | None = None) -> None:
        self.values: dict[bytes, bytes] = {} if values is None else values
        self._keys: list[bytes] = []
        """The keys in order, or another number of them if they are not known."""

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        if len(self._keys) != len(self.values):
            self._keys = sorted(self.values)
        keys = self._keys[bisect.bisect_left(self._keys, start) : bisect.bisect_left(self._keys, end)]
        return ((key, self.values[key]) for key in (reversed(keys) if reverse else keys))

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        """Write the net effect of a view."""
        known = len(self._keys) == len(self.values)
        for key, value in changes.items():
            if (value is None) == (key in self.values) and known:
                place = bisect.bisect_left(self._keys, key)
                self._keys[place : place + (value is None)] = () if value is None else (key,)
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        if not known:
            self._keys = []


class View:
    """Reads through to `base`; keeps writes to itself. One view serves one block, or one dry run."""

    def __init__(self, base: Reader) -> None:
        self._base = base
        self._loaded: dict[bytes, Any] = {}
        self._written: dict[bytes, Any] = {}
        self._ordered: dict[int, list[bytes]] = {}
        self._journal: list[tuple[bytes, bool, Any]] = []

    def read(self, key: bytes, decode: Decode) -> Any:
        """The record at `key`, or None."""
        if key in self._written:
            return self._written[key]
        if key in self._loaded:
            return self._loaded[key]
        data = self._base.get(key)
        value = None if data is None else decode(data)
        self._loaded[key] = value
        return value

    def write(self, key: bytes, value: Any) -> None:
        """Set the record at `key`; None deletes it."""
        if key in self._written:
            self._journal.append((key, True, self._written[key]))
        else:
            self._journal.append((key, False, None))
            bisect.insort(self._ordered.setdefault(key[0], []), key)
        self._written[key] = value

    def scan(self, start: bytes, end: bytes, decode: Decode, reverse: bool = False) -> Iterator[tuple[bytes, Any]]:
        """(key, record) with start <= key < end within one table, in order. Do not write to the range meanwhile."""
        ordered = self._ordered.get(start[0], [])
        keys = ordered[bisect.bisect_left(ordered, start) : bisect.bisect_left(ordered, end)]
        if reverse:
            keys.reverse()
        index = 0
        for key, data in self._base.scan(start, end, reverse):
            while index < len(keys) and (keys[index] > key if reverse else keys[index] < key):
                if self._written[keys[index]] is not None:
                    yield keys[index], self._written[keys[index]]
                index += 1
            if index < len(keys) and keys[index] == key:
                if self._written[key] is not None:
                    yield key, self._written[key]
                index += 1
            else:
                yield key, self._loaded[key] if self._loaded.get(key) is not None else decode(data)
        for key in keys[index:]:
            if self._written[key] is not None:
                yield key, self._written[key]

    def checkpoint(self) -> int:
        """A mark to which `rollback` can return."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Undo every write since the mark."""
        while len(self._journal) > mark:
            key, existed, value = self._journal.pop()
            if existed:
                self._written[key] = value
            else:
                del self._written[key]
                ordered = self._ordered[key[0]]
                del ordered[bisect.bisect_left(ordered, key)]

    def changes(self) -> dict[bytes, bytes | None]:
        """The net effect on the base, by key: new bytes, or None for what is deleted. Sorted by key."""
        net: dict[bytes, bytes | None] = {}
        for key in sorted(self._written):
            value = self._written[key]
            new = None if value is None else encode_record(value)
            if new != self._base.get(key):
                net[key] = new
        return net
