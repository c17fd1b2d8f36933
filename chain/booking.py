"""A booking: its record, and the arithmetic of its money. Its life is in `booking_life.py`.

    reserved → active → closing → closed          reserved → cancelled | provider_cancelled | no_show
    active | closing → disputed → closed

Everything that money depends on is copied into the booking when it is reserved, so what it costs and earns follows
from the record and a point in time. The letters L, S, E, c and c₀ are those of the money table in the README.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from chain import deposit, escrow
from chain.clocks import block_instant, live_instant
from chain.errors import NotFound
from chain.inventory import INTERVAL_BYTES
from chain.parameters import Parameters
from chain.record import record
from chain.schema import (
    Address,
    Amount,
    BasisPoints,
    Hash,
    ListOf,
    PublicKey,
    Seconds,
    Timestamp,
    Unsigned32,
    Unsigned64,
)
from chain.state.tables import Table, TableId
from chain.state.view import View

MAXIMUM_GPUS = 16
MAXIMUM_SEGMENTS = 16
"""The reservation and its extensions."""
HOUR_MS = 3_600_000


class BookingStatus(IntEnum):
    RESERVED = 1
    ACTIVE = 2
    CLOSING = 3
    """Ended; the earnings are paid when the dispute window passes, or at once when the renter confirms."""
    CLOSED = 4
    CANCELLED = 5
    NO_SHOW = 6
    PROVIDER_CANCELLED = 7
    DISPUTED = 8
    """Ended; what was not paid waits for the outcome of its dispute."""


OPEN_STATUSES = (BookingStatus.RESERVED, BookingStatus.ACTIVE, BookingStatus.CLOSING, BookingStatus.DISPUTED)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Extension:
    """Time added to a booking, at the terms of that moment."""

    from_ms: Timestamp
    """Block time from which the rate holds: the end before the extension."""
    rate: Amount
    """Summed price of the GPUs, base units per hour."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Booking:
    """One renter's exclusive time on one or more GPUs of one provider."""

    renter: Address
    provider: Address
    gpus: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_GPUS, 1)]
    status: BookingStatus
    rate: Amount
    """Summed price of its GPUs when it was reserved, base units per hour."""
    start_ms: Timestamp
    end_ms: Timestamp
    cost: Amount
    """Locked for it: when it was reserved, and with each extension."""
    collateral: Amount
    """Slice of the provider's stake that pays the renter if the provider does not show up."""
    minimum_seconds: Seconds
    """Charged at least, once active."""
    grace_seconds: Seconds
    """Live time after the start within which it must be activated."""
    window_seconds: Seconds
    """Live time between its end and its last payment."""
    release_charge: BasisPoints
    """Smallest share of what was not used that leaving early costs."""
    notice_seconds: Seconds
    """Before the start, the time in which leaving costs `cancellation_share` if that is more."""
    cancellation_share: BasisPoints
    sealing_key: PublicKey
    """X25519 key of the renter to which access details are sealed."""
    reserved_height: Unsigned64
    access_hash: Hash | None = None
    """SHA-256 of the sealed access details."""
    activation_txid: Hash | None = None
    """The transaction that carries the sealed access details."""
    activated_ms: Timestamp | None = None
    ended_ms: Timestamp | None = None
    """Block time of its end: completed, released, disputed, cancelled or not shown."""
    gross: Amount = 0
    """Earned, market fee included; final once it has ended, unless a dispute makes it less."""
    payment_live_ms: Timestamp | None = None
    """Live time at which the earnings are paid."""
    closed_height: Unsigned64 | None = None
    extensions: Annotated[tuple[Extension, ...], ListOf(MAXIMUM_SEGMENTS - 1)] = ()
    dispute: Hash | None = None
    """The dispute about it; there is one at most."""
    review_seconds: Seconds = 0
    """Live time after its end in which it may be reviewed; then, once it is over, it leaves the state."""
    jobs: Unsigned32 = 0
    """Jobs in the state that are inside it, over or not; it does not leave before they do."""
    deposit: Amount = 0
    """Paid by the renter; returned when it leaves the state."""

    @property
    def from_ms(self) -> int:
        """Block time from which it earns; only for a booking that was activated."""
        return max(self.start_ms, self.activated_ms or 0)

    @property
    def patience_ms(self) -> int:
        """Live time after the start for which the renter waits: the grace, or the whole booking if it is shorter."""
        return min(self.grace_seconds * 1_000, self.end_ms - self.start_ms)


BOOKINGS: Table[Booking] = Table(TableId.BOOKINGS, Booking)


def read_booking(view: View, booking_id: bytes) -> Booking:
    """The booking as last written. Raises NotFound."""
    booking = BOOKINGS.get(view, booking_id)
    if booking is None:
        raise NotFound(kind="booking", id=booking_id)
    return booking


def subjects(booking_id: bytes, booking: Booking) -> list[tuple[str, bytes]]:
    """Who and what a booking's events are about."""
    return [
        ("booking", booking_id),
        ("renter", booking.renter),
        ("provider", booking.provider),
        *(("gpu", gpu_id) for gpu_id in booking.gpus),
    ]


def leaves_live_ms(view: View, booking: Booking) -> int:
    """Live time at which a booking that is over leaves the state."""
    return live_instant(view, booking.ended_ms or 0) + booking.review_seconds * 1_000


def cost_of(rate: int, seconds: int) -> int:
    """ceil(rate · seconds / 3600), base units."""
    return -(-rate * seconds // 3_600)


def collateral_of(cost: int, gpus: int, collateral_per_gpu: int) -> int:
    """S = min(ceil(L / 10), collateral per GPU · GPUs), base units."""
    return min(-(-cost // 10), collateral_per_gpu * gpus)


def earned_between(booking: Booking, from_ms: int, until_ms: int) -> int:
    """E: the floor of the summed rate · time / 3,600,000 over the parts of the booking in [from, until), base units."""
    total = 0
    begins = booking.start_ms
    rate = booking.rate
    for extension in (*booking.extensions, Extension(booking.end_ms, 0)):
        total += rate * max(0, min(extension.from_ms, until_ms) - max(begins, from_ms))
        begins, rate = extension.from_ms, extension.rate
    return total // HOUR_MS


def earned_until(booking: Booking, time_ms: int) -> int:
    """What an active booking has earned by a block time, without any release charge."""
    return 0 if booking.activated_ms is None else earned_between(booking, booking.from_ms, time_ms)


def matured(view: View, booking: Booking, live_ms: int) -> int:
    """What an active or closing booking earned longer ago than the dispute window, base units."""
    gross = earned_until(booking, block_instant(view, live_ms - booking.window_seconds * 1_000))
    return gross if booking.status is BookingStatus.ACTIVE else min(gross, booking.gross)


def leaving_charge(booking: Booking, time_ms: int) -> int:
    """Basis points of what was not used that leaving at this block time costs: max(c, c0) of the money table."""
    within_notice = booking.start_ms - booking.notice_seconds * 1_000 <= time_ms < booking.start_ms
    return max(booking.release_charge, booking.cancellation_share if within_notice else 0)


def released_gross(booking: Booking, time_ms: int, gpu_offline: bool) -> int:
    """Gross of a release at a block time (the row `released at t` of the money table)."""
    if gpu_offline:
        return earned_until(booking, time_ms)
    used_until_ms = max(time_ms, booking.from_ms + booking.minimum_seconds * 1_000)
    used = earned_between(booking, booking.from_ms, used_until_ms)
    return used + (booking.cost - used) * leaving_charge(booking, time_ms) // 10_000


def storage_deposit(parameters: Parameters, gpus: int) -> int:
    """What a booking of so many GPUs costs while it is in the state, with its escrow and its times in calendars."""
    booking = Booking(
        renter=bytes(33),
        provider=bytes(33),
        gpus=(bytes(32),) * gpus,
        status=BookingStatus.RESERVED,
        rate=0,
        start_ms=0,
        end_ms=0,
        cost=0,
        collateral=0,
        minimum_seconds=0,
        grace_seconds=0,
        window_seconds=0,
        release_charge=0,
        notice_seconds=0,
        cancellation_share=0,
        sealing_key=bytes(32),
        reserved_height=0,
        extensions=(Extension(0, 0),) * (MAXIMUM_SEGMENTS - 1),
    )
    return deposit.storage_deposit(parameters, booking, escrow.ESCROW_BYTES + gpus * INTERVAL_BYTES)
