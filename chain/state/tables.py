"""Typed tables over the flat state: a one-byte table id, then the key, gives a versioned record.

All ids are listed here, so that no two tables can collide; the records live with the code that owns them.
Composite keys use big-endian integers, so that byte order is numeric order.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, TypeVar

from chain.record import decode_record
from chain.state.view import View

R = TypeVar("R")


class TableId(IntEnum):
    """The first byte of every state key."""

    PARAMETERS = 0x01
    CLOCKS = 0x02
    TOTALS = 0x03
    AUTHORITIES = 0x04
    OUTAGES = 0x05
    AUTHORITY_SETS = 0x06
    CANDIDATES = 0x07
    DISABLED_KEYS = 0x08
    CONVICTIONS = 0x09
    MEASURES = 0x0A
    GOVERNANCE = 0x0B
    DEPARTURES = 0x0C
    FORMER_AUTHORITIES = 0x0D
    ACCOUNTS = 0x10
    IDEMPOTENCY = 0x11
    PROFILES = 0x12
    KEYS = 0x13
    ALIASES = 0x14
    STAKES = 0x18
    UNBONDINGS = 0x19
    REWARDS = 0x1A
    EPOCH_SHARES = 0x1B
    DUE = 0x20
    ESCROWS = 0x28
    GPUS = 0x30
    HARDWARE = 0x31
    INTERVALS = 0x32
    COMMITMENTS = 0x33
    MAINTENANCE = 0x34
    BOOKINGS = 0x38
    JOBS = 0x40
    REVIEWS = 0x48
    MULTISIGS = 0x50
    PROPOSALS = 0x51
    DISPUTES = 0x58
    REQUESTS = 0x60
    BIDS = 0x61
    REPUTATIONS = 0x68
    TRADES = 0x69


class Table(Generic[R]):
    """Records of one class under one table id."""

    def __init__(self, table: TableId, record: type[R]) -> None:
        self._prefix = bytes([table])
        self._end = bytes([table + 1])
        self._record = record

    def _decode(self, data: bytes) -> R:
        return decode_record(self._record, data)

    def key(self, key: bytes) -> bytes:
        """The state key, for proofs."""
        return self._prefix + key

    def get(self, view: View, key: bytes) -> R | None:
        record: R | None = view.read(self._prefix + key, self._decode)
        return record

    def put(self, view: View, key: bytes, record: R) -> None:
        view.write(self._prefix + key, record)

    def delete(self, view: View, key: bytes) -> None:
        view.write(self._prefix + key, None)

    def scan(
        self, view: View, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, R]]:
        """(key, record) with start <= key < end, in key order. Do not write to the range meanwhile."""
        stop = self._end if end is None else self._prefix + end
        for key, record in view.scan(self._prefix + start, stop, self._decode, reverse):
            yield key[1:], record

    def scan_prefix(self, view: View, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, R]]:
        """(key, record) whose key starts with `prefix` and follows `after`, in key order."""
        start = max(prefix, after + b"\x00" if after else prefix)
        return self.scan(view, start, prefix_end(prefix))


class Singleton(Generic[R]):
    """A table with a single record."""

    def __init__(self, table: TableId, record: type[R]) -> None:
        self._table: Table[R] = Table(table, record)

    def get(self, view: View) -> R | None:
        return self._table.get(view, b"")

    def put(self, view: View, record: R) -> None:
        self._table.put(view, b"", record)

    def key(self) -> bytes:
        """The state key, for proofs."""
        return self._table.key(b"")


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key after every key that starts with `prefix`; None if there is none within the table."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None


def u64(value: int) -> bytes:
    """Eight bytes, big-endian."""
    return value.to_bytes(8, "big")
