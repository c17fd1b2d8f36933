"""Idempotency ids: a client's own name for something that must happen at most once.

Only success consumes an id. It is kept for 24 hours of block time, longer than any retry can stay valid.
"""

from dataclasses import dataclass

from chain.action import Clock, Context
from chain.errors import AlreadyDone
from chain.record import record
from chain.schedule import Subject, schedule
from chain.schema import Hash, Timestamp
from chain.state.tables import Table, TableId
from chain.state.view import View

LIFETIME_MS = 24 * 3_600_000


@record(version=1)
@dataclass(frozen=True, slots=True)
class IdempotencyEntry:
    """An id that has succeeded; its key is sender and id."""

    txid: Hash
    expires_ms: Timestamp
    """Block time from which the id may be used again."""


IDEMPOTENCY: Table[IdempotencyEntry] = Table(TableId.IDEMPOTENCY, IdempotencyEntry)


def require_new(view: View, sender: bytes, idempotency_id: bytes | None, time_ms: int) -> None:
    """Raise AlreadyDone, naming the transaction, if the sender has succeeded with this id in the last 24 hours."""
    if idempotency_id is not None:
        entry = IDEMPOTENCY.get(view, sender + idempotency_id)
        if entry is not None and time_ms < entry.expires_ms:
            raise AlreadyDone(txid=entry.txid)


def remember(context: Context, idempotency_id: bytes | None) -> None:
    """The sender's transaction has succeeded: consume its id."""
    if idempotency_id is not None:
        key = context.sender + idempotency_id
        expires_ms = context.time_ms + LIFETIME_MS
        IDEMPOTENCY.put(context.view, key, IdempotencyEntry(context.txid, expires_ms))
        schedule(context, Clock.BLOCK, expires_ms, Subject.IDEMPOTENCY, key)


def forget(context: Context, key: bytes) -> None:
    """Due handler: an id may be used again."""
    entry = IDEMPOTENCY.get(context.view, key)
    if entry is not None and context.time_ms >= entry.expires_ms:
        IDEMPOTENCY.delete(context.view, key)
