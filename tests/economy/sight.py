"""A look at a whole state after each of many blocks: what has not changed is not decoded again."""

from collections.abc import Iterator
from typing import Any

from chain.state.view import Decode, MemoryReader, View


class Sight(View):
    """A view to look at, which keeps what it has decoded for as long as the bytes stay."""

    def __init__(self, reader: MemoryReader) -> None:
        super().__init__(reader)
        self._reader = reader
        self._seen: dict[bytes, tuple[bytes, Any]] = {}

    def _record(self, key: bytes, data: bytes, decode: Decode) -> Any:
        known = self._seen.get(key)
        if known is None or known[0] != data:
            known = self._seen[key] = (data, decode(data))
        return known[1]

    def read(self, key: bytes, decode: Decode) -> Any:
        data = self._reader.get(key)
        return None if data is None else self._record(key, data, decode)

    def scan(self, start: bytes, end: bytes, decode: Decode, reverse: bool = False) -> Iterator[tuple[bytes, Any]]:
        for key, data in self._reader.scan(start, end, reverse):
            yield key, self._record(key, data, decode)

    def write(self, key: bytes, value: Any) -> None:
        raise AssertionError("whoever only looks must not write")
