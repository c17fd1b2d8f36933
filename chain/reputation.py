"""Reputation: what is remembered of a provider and of a device after the bookings and jobs themselves are forgotten.

Counters, added to by whatever ends a booking or a job, so nobody has to report anything: no-shows and cancellations
count by themselves. A device's counters are kept under its hardware hash and follow it from one listing to the next.
Ratings weigh by the market fee paid for what is rated, so that rating oneself costs what it is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from chain.action import Context
from chain.deposit import storage_deposit, take
from chain.record import record
from chain.schema import U64, Amount, Unsigned64
from chain.state.tables import Table, TableId
from chain.state.view import View


@record(version=1)
@dataclass(frozen=True, slots=True)
class Reputation:
    """What happened so far; its key is a provider's address or a hardware hash. Every counter stops at 64 bits."""

    completed: Unsigned64 = 0
    """Bookings that ran to their end."""
    released: Unsigned64 = 0
    """Bookings that their renter left early, or ended by a dispute."""
    cancelled: Unsigned64 = 0
    """Bookings that their renter gave up before the start."""
    no_shows: Unsigned64 = 0
    """Bookings that the provider did not activate in time."""
    cancelled_in_time: Unsigned64 = 0
    """Bookings that the provider gave up before the notice."""
    cancelled_late: Unsigned64 = 0
    """Bookings that the provider gave up within the notice, after the start or while active, also by a dispute."""
    disputes_lost: Unsigned64 = 0
    """Disputes in which the provider was at fault."""
    jobs_accepted: Unsigned64 = 0
    jobs_failed: Unsigned64 = 0
    """Attempts that the provider gave up."""
    jobs_timed_out: Unsigned64 = 0
    """Attempts in which the provider did not deliver in time."""
    online_ms: Unsigned64 = 0
    """Live time, all GPUs together, of the stretches of being online that are over."""
    offline_ms: Unsigned64 = 0
    """Live time of the stretches of being offline that are over."""
    gross: Amount = 0
    """Earned, market fee included; a device's part of a booking of several GPUs is its equal share, floored."""
    fee: Amount = 0
    """Market fee within it."""
    ratings: Unsigned64 = 0
    rating_sum: Unsigned64 = 0
    rated_fee: Amount = 0
    """Market fees paid for what was rated."""
    weighted_rating_sum: Unsigned64 = 0
    """Sum of rating · fee over the ratings."""
    deposit: Amount = 0
    """Paid by whoever listed the first device, or this one first; held for good, as the record stays for good."""


REPUTATIONS: Table[Reputation] = Table(TableId.REPUTATIONS, Reputation)
_NEW = Reputation()
COUNTERS = tuple(field.name for field in fields(Reputation) if field.name != "deposit")


def reputation_of(view: View, subject: bytes) -> Reputation:
    """The reputation of a provider (address) or device (hardware hash); an empty one if it has none yet."""
    return REPUTATIONS.get(view, subject) or _NEW


def missing_deposit(context: Context, provider: bytes, hardware: bytes) -> int:
    """What it costs to begin to remember a provider and a device, as far as they are new."""
    new = sum(REPUTATIONS.get(context.view, subject) is None for subject in (provider, hardware))
    return new * storage_deposit(context.parameters, _NEW)


def open_reputation(context: Context, provider: bytes, hardware: bytes) -> None:
    """Begin to remember a provider and a device, if they are new, for the provider's deposit."""
    deposit = storage_deposit(context.parameters, _NEW)
    for subject in (provider, hardware):
        if REPUTATIONS.get(context.view, subject) is None:
            take(context, provider, deposit, ("reputation", subject))
            REPUTATIONS.put(context.view, subject, replace(_NEW, deposit=deposit))


def _add(view: View, subject: bytes, changes: dict[str, int]) -> None:
    old = reputation_of(view, subject)
    REPUTATIONS.put(
        view, subject, replace(old, **{name: min(U64, getattr(old, name) + more) for name, more in changes.items()})
    )


def count(view: View, provider: bytes, hardware: Sequence[bytes], **happened: int) -> None:
    """Add to the counters of a provider and of each device that had a part in it."""
    for subject in (provider, *hardware):
        _add(view, subject, happened)


def count_earnings(view: View, provider: bytes, hardware: Sequence[bytes], gross: int, fee: int) -> None:
    """Add what was earned: to the provider all of it, to each device an equal share."""
    if not gross:
        return
    _add(view, provider, {"gross": gross, "fee": fee})
    for device in hardware:
        _add(view, device, {"gross": gross // len(hardware), "fee": fee // len(hardware)})


def count_rating(view: View, provider: bytes, hardware: Sequence[bytes], rating: int, fee: int) -> None:
    """Add a rating, weighted by the fee that was paid for what is rated; a device's weight is an equal share."""
    _rate(view, provider, rating, fee)
    for device in hardware:
        _rate(view, device, rating, fee // len(hardware))


def _rate(view: View, subject: bytes, rating: int, fee: int) -> None:
    old = reputation_of(view, subject)
    changes = {"ratings": 1, "rating_sum": rating}
    # The two sums are a quotient: either both take the rating, or neither does.
    if old.weighted_rating_sum + rating * fee <= U64 and old.rated_fee + fee <= U64:
        changes |= {"rated_fee": fee, "weighted_rating_sum": rating * fee}
    _add(view, subject, changes)


def note_dispute_lost(view: View, provider: bytes, hardware: Sequence[bytes]) -> None:
    """A dispute about these devices of the provider (see `inventory.hardware_of`) was decided: he was at fault."""
    count(view, provider, hardware, disputes_lost=1)
