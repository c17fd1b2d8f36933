"""A booking as of now: what it has earned, what would come back, how long it lasts."""

from dataclasses import dataclass

from chain.booking import Booking, BookingStatus, earned_until, leaving_charge, released_gross
from chain.booking_life import current_booking, gpu_is_offline
from chain.escrow import Escrow, escrow_of
from chain.queries.present import present
from chain.state.view import View


@dataclass(frozen=True, slots=True)
class BookingNow:
    """A booking brought up to date with the state's clocks, whatever the due queue has reached."""

    booking: Booking
    escrow: Escrow
    earned: int
    """Gross earned so far, base units."""
    refund_if_released: int
    """What would return to the renter if the booking were released or cancelled now, base units."""
    seconds_left: int
    """Until its end, for a booking that is not over."""


def present_booking(view: View, booking_id: bytes) -> BookingNow:
    """The booking as of now. Raises NotFound."""
    context = present(view)
    booking = current_booking(context, booking_id)
    escrow = escrow_of(view, booking_id)
    earned, refund, seconds_left = booking.gross, 0, 0
    if booking.status is BookingStatus.ACTIVE:
        earned = earned_until(booking, context.time_ms)
        refund = booking.cost - released_gross(booking, context.time_ms, gpu_is_offline(context, booking))
    if booking.status in (BookingStatus.RESERVED, BookingStatus.ACTIVE) and context.time_ms < booking.start_ms:
        cancelled = booking.cost - booking.cost * leaving_charge(booking, context.time_ms) // 10_000
        refund = max(refund, cancelled)
    elif booking.status is BookingStatus.RESERVED:
        refund = booking.cost
    if booking.status in (BookingStatus.RESERVED, BookingStatus.ACTIVE):
        seconds_left = max(0, booking.end_ms - max(context.time_ms, booking.start_ms)) // 1_000
    return BookingNow(booking, escrow, earned, refund, seconds_left)
