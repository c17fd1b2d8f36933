"""Pages of lists: cursors that are opaque to clients and checked when they come back, and bounded scans."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from chain.codec import Value, decode, encode
from chain.errors import MalformedEncoding
from chain.record import decode_record
from chain.state.tables import Table
from chain.state.view import Reader
from node.rpc.errors import InvalidCursor, ScanTooLong

MAXIMUM_SCAN = 100_000
"""Records that one list looks at before it gives up."""
MAXIMUM_MATCHES = 20_000
"""Records that one list decodes and keeps."""
MAXIMUM_CURSOR_BYTES = 256

R = TypeVar("R")

# Lists are asked for again and again while few records change, and records cannot be altered, so they may be shared.
_decoded: Any = lru_cache(32_768)(decode_record)


def make_cursor(*parts: Value) -> str:
    """The text of a position in a list."""
    return encode(list(parts)).hex()


def read_cursor(text: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """The parts of a cursor with exactly these types; None without one. Raises InvalidCursor."""
    if text is None:
        return None
    try:
        parts = decode(bytes.fromhex(text), max_size=MAXIMUM_CURSOR_BYTES)
    except (ValueError, MalformedEncoding) as error:
        raise InvalidCursor from error
    if not isinstance(parts, tuple) or tuple(type(part) for part in parts) != kinds:
        raise InvalidCursor
    return parts


def scan_records(reader: Reader, table: Table[R], record: type[R], *needles: bytes | None) -> Iterator[tuple[bytes, R]]:
    """(key, record) of a whole table whose bytes contain every needle that is not None.

    A record holds an id or address as its bytes, so looking for them first spares decoding what cannot match; what
    is found may hold them in another field. Raises ScanTooLong.
    """
    wanted = [needle for needle in needles if needle is not None]
    start = table.key(b"")
    matches = 0
    for looked, (key, data) in enumerate(reader.scan(start, bytes([start[0] + 1]))):
        if looked >= MAXIMUM_SCAN:
            raise ScanTooLong(maximum=MAXIMUM_SCAN)
        if all(needle in data for needle in wanted):
            matches += 1
            if matches > MAXIMUM_MATCHES:
                raise ScanTooLong(maximum=MAXIMUM_MATCHES)
            yield key[1:], _decoded(record, data)


def newest_first(
    found: Iterable[tuple[bytes, R]], moment: Callable[[R], int], cursor: str | None, limit: int
) -> tuple[list[tuple[bytes, R]], str | None]:
    """One page of records by descending moment (height or time), then id; and the cursor of the next page."""
    after = read_cursor(cursor, int, bytes)
    ordered = sorted(((-moment(record), key, record) for key, record in found), key=lambda item: item[:2])
    if after is not None:
        ordered = [item for item in ordered if item[:2] > (-after[0], after[1])]
    page = ordered[:limit]
    following = make_cursor(-page[-1][0], page[-1][1]) if len(ordered) > limit else None
    return [(key, record) for _, key, record in page], following
