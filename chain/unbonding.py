"""Unbondings: money on its way from a stake back to the balance, which a slash can still reach.

They are kept by owner and by when they are due, so that whoever slashes an account finds them. One that is due is its
owner's, whether the due queue has come to it or not: only those that are not due are open.
"""

from dataclasses import dataclass, replace

from chain.action import Clock, Context
from chain.bank import adjust, credit
from chain.record import record
from chain.schedule import Subject, schedule, unschedule
from chain.schema import Address, Amount, Timestamp
from chain.state.tables import Table, TableId, prefix_end, u64
from chain.state.view import View

MAXIMUM_UNBONDINGS = 32
"""Open at a time, of one account: what a slash may have to go through."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Unbonding:
    """Money on its way back from a stake to the balance."""

    owner: Address
    amount: Amount
    """What is left of it, base units; a slash may have taken from it, and takes the record with the last of it."""
    due_ms: Timestamp
    """Block time at which it is paid out."""


UNBONDINGS: Table[Unbonding] = Table(TableId.UNBONDINGS, Unbonding)
"""By owner ‖ due_ms ‖ id, so in the order in which they are paid out."""

ADDRESS_BYTES = 33


def unbonding_key(unbonding_id: bytes, unbonding: Unbonding) -> bytes:
    """Where the record is, and what its due item is about."""
    return unbonding.owner + u64(unbonding.due_ms) + unbonding_id


def id_of(key: bytes) -> bytes:
    """The id in the key of an unbonding."""
    return key[ADDRESS_BYTES + 8 :]


def unbondings_of(view: View, owner: bytes) -> list[tuple[bytes, Unbonding]]:
    """(key, unbonding) of an account, the soonest due first; those that are due wait for the due queue."""
    return list(UNBONDINGS.scan_prefix(view, owner))


def open_unbonding(context: Context, owner: bytes, amount: int, due_ms: int) -> bytes:
    """Begin one with money that has just left a stake; returns its id."""
    unbonding_id = context.new_id("unbonding")
    unbonding = Unbonding(owner, amount, due_ms)
    key = unbonding_key(unbonding_id, unbonding)
    UNBONDINGS.put(context.view, key, unbonding)
    adjust(context.view, unbonding=amount)
    schedule(context, Clock.BLOCK, due_ms, Subject.UNBONDING, key)
    return unbonding_id


def release(context: Context, key: bytes) -> None:
    """Due handler: an unbonding arrives in its owner's balance. Does nothing if it has, or was slashed."""
    unbonding = UNBONDINGS.get(context.view, key)
    if unbonding is None:
        return
    UNBONDINGS.delete(context.view, key)
    unschedule(context, Clock.BLOCK, unbonding.due_ms, Subject.UNBONDING, key)
    adjust(context.view, unbonding=-unbonding.amount)
    credit(context.view, unbonding.owner, unbonding.amount)
    subjects = [("account", unbonding.owner), ("unbonding", id_of(key))]
    context.emit("stake.released", subjects, amount=unbonding.amount)


def open_unbondings(context: Context, owner: bytes) -> list[tuple[bytes, Unbonding]]:
    """(key, unbonding) of those that are not due yet, the soonest due first; at most MAXIMUM_UNBONDINGS."""
    after = owner + u64(context.time_ms + 1)
    return list(UNBONDINGS.scan(context.view, after, prefix_end(owner)))


def take(context: Context, owner: bytes, amount: int) -> int:
    """Take up to an amount out of open unbondings, the soonest due first; returns how much there was.

    What leaves soonest is taken first, so that the most is left for a slash that comes later.
    """
    left = amount
    for key, unbonding in open_unbondings(context, owner):
        taken = min(left, unbonding.amount)
        if not taken:
            break
        left -= taken
        if taken == unbonding.amount:
            UNBONDINGS.delete(context.view, key)
            unschedule(context, Clock.BLOCK, unbonding.due_ms, Subject.UNBONDING, key)
        else:
            UNBONDINGS.put(context.view, key, replace(unbonding, amount=unbonding.amount - taken))
    adjust(context.view, unbonding=left - amount)
    return amount - left
