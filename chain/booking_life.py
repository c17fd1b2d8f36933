"""The life of a booking: how time and people move it from one status to the next, and what money this moves.

`current_booking` brings a booking up to date from the clocks alone, so an action on an overdue booking and the due
queue always agree. What a step pays is worked out in `booking.py`; who may take it is for `actions/bookings.py`. A
booking that is over stays for as long as it may be reviewed and a job names it.
"""

from dataclasses import replace

from chain import deposit, escrow, reputation, stake
from chain.action import DUE_HANDLERS, Clock, Context
from chain.booking import (
    BOOKINGS,
    OPEN_STATUSES,
    Booking,
    BookingStatus,
    Extension,
    cost_of,
    earned_until,
    leaves_live_ms,
    leaving_charge,
    matured,
    read_booking,
    subjects,
)
from chain.clocks import live_instant
from chain.inventory import hardware_of, let_go, models_of, prolong, read_gpu, vacate
from chain.schedule import Subject, schedule, unschedule
from chain.standing import awaited, booking_now
from chain.trades import record_trade


def current_booking(context: Context, booking_id: bytes) -> Booking:
    """The booking, brought up to date with both clocks. Raises NotFound, also when it should have left the state.

    What that takes is for the weight of the action: see first whether it may happen at all, by `standing.booking_now`.
    """
    booking_now(context.view, booking_id)
    return _update(context, booking_id)


def _update(context: Context, booking_id: bytes) -> Booking:
    """Do with a booking what both clocks say, but for its leaving; returns it as of now."""
    booking = read_booking(context.view, booking_id)
    if booking.status is BookingStatus.RESERVED and context.time_ms >= booking.start_ms:
        booking = _await_activation(context, booking_id, booking)
    if booking.status is BookingStatus.ACTIVE and context.time_ms >= booking.end_ms:
        booking = end(context, booking_id, booking, booking.end_ms, earned_until(booking, booking.end_ms), "completed")
    if (
        booking.status is BookingStatus.CLOSING
        and booking.payment_live_ms is not None
        and context.live_ms >= booking.payment_live_ms
    ):
        booking = close(context, booking_id, booking)
    if booking.status is BookingStatus.DISPUTED and booking.dispute is not None:
        DUE_HANDLERS[Subject.DISPUTE](context, booking.dispute)
        booking = read_booking(context.view, booking_id)
    return booking


def advance(context: Context, booking_id: bytes) -> None:
    """Due handler: bring a booking up to date, and let it leave in the end."""
    if BOOKINGS.get(context.view, booking_id) is not None:
        booking = _update(context, booking_id)
        if has_left(context, booking):
            _leave(context, booking_id, booking)


def _await_activation(context: Context, booking_id: bytes, booking: Booking) -> Booking:
    """The start has passed without activation: wait for the provider, give up on him, or end without fault."""
    status, ended_ms = awaited(context.view, booking)
    if status is BookingStatus.NO_SHOW:
        return _no_show(context, booking_id, replace(booking, ended_ms=ended_ms))
    if status is BookingStatus.CANCELLED:
        return _abandon(context, booking_id, replace(booking, ended_ms=ended_ms))
    deadline = live_instant(context.view, booking.start_ms) + booking.patience_ms
    schedule(context, Clock.LIVE, deadline, Subject.BOOKING, booking_id)
    schedule(context, Clock.BLOCK, booking.end_ms, Subject.BOOKING, booking_id)
    return booking


def _no_show(context: Context, booking_id: bytes, booking: Booking) -> Booking:
    """The provider never came: the renter gets the money back, and the collateral slice on top."""
    _remember(context, booking, no_shows=1)
    return _finish_unused(context, booking_id, booking, BookingStatus.NO_SHOW, "no_show", forfeited=booking.collateral)


def _abandon(context: Context, booking_id: bytes, booking: Booking) -> Booking:
    """The booking's time passed while the chain was down: everyone gets back what he put in."""
    return _finish_unused(context, booking_id, booking, BookingStatus.CANCELLED, "abandoned", forfeited=0)


def extend(context: Context, booking_id: bytes, booking: Booking, seconds: int, rate: int, collateral: int) -> Booking:
    """Add time at the end, at today's rate; cost and collateral slice grow with it."""
    cost = cost_of(rate, seconds)
    end_ms = booking.end_ms + seconds * 1_000
    escrow.add(context, booking_id, cost)
    stake.reserve(context.view, booking.provider, collateral - booking.collateral)
    for gpu_id in booking.gpus:
        prolong(context, gpu_id, booking.start_ms, end_ms)
    longer = replace(
        booking,
        end_ms=end_ms,
        cost=booking.cost + cost,
        collateral=collateral,
        extensions=(*booking.extensions, Extension(booking.end_ms, rate)),
    )
    BOOKINGS.put(context.view, booking_id, longer)
    if booking.status is BookingStatus.ACTIVE:
        # Also what was met by the activation: nobody would find the patience of the shorter booking afterwards.
        _unschedule(context, booking_id, booking)
        schedule(context, Clock.BLOCK, end_ms, Subject.BOOKING, booking_id)
    context.emit(
        "booking.extended",
        subjects(booking_id, longer),
        locked=cost,
        collateral=collateral - booking.collateral,
        end_ms=end_ms,
    )
    return longer


def cancel(context: Context, booking_id: bytes, booking: Booking) -> Booking:
    """The renter cancels before the start: its charge is paid, the rest returns."""
    gross = booking.cost * leaving_charge(booking, context.time_ms) // 10_000
    escrow.pay(context, booking_id, booking.provider, gross)
    _remember(context, booking, cancelled=1)
    _remember_earnings(context, booking_id, booking)
    ended = replace(booking, gross=gross)
    return _finish_unused(context, booking_id, ended, BookingStatus.CANCELLED, "cancelled", forfeited=0)


def provider_cancel(context: Context, booking_id: bytes, booking: Booking) -> Booking:
    """The provider gives up a booking: the renter gets back what was not earned, and collateral on top."""
    if booking.status is BookingStatus.ACTIVE:
        paid = stake.forfeit(context, booking.provider, booking.collateral, booking.renter)
        context.emit("booking.collateral_forfeited", subjects(booking_id, booking), forfeited=paid)
        _remember(context, booking, cancelled_late=1)
        unsecured = replace(booking, collateral=0)
        gross = earned_until(booking, context.time_ms)
        return end(context, booking_id, unsecured, context.time_ms, gross, "provider_cancelled")
    in_time = context.time_ms < booking.start_ms - booking.notice_seconds * 1_000
    forfeited = booking.collateral // 2 if in_time else booking.collateral
    _remember(context, booking, **{"cancelled_in_time" if in_time else "cancelled_late": 1})
    return _finish_unused(
        context, booking_id, booking, BookingStatus.PROVIDER_CANCELLED, "provider_cancelled", forfeited=forfeited
    )


def _finish_unused(
    context: Context, booking_id: bytes, booking: Booking, status: BookingStatus, what: str, *, forfeited: int
) -> Booking:
    """End a booking without use: what is left of its cost returns, collateral goes to the renter or is freed."""
    ended_ms = booking.ended_ms or context.time_ms
    _unschedule(context, booking_id, booking)
    _leave_calendar(context, booking, ended_ms)
    refund = escrow.refund_rest(context, booking_id)
    paid = stake.forfeit(context, booking.provider, forfeited, booking.renter)
    stake.free(context, booking.provider, booking.collateral - forfeited)
    done = replace(booking, status=status, ended_ms=ended_ms, closed_height=context.block.height)
    _retain(context, booking_id, done)
    settled = escrow.escrow_of(context.view, booking_id)
    context.emit(
        f"booking.{what}",
        subjects(booking_id, done),
        gross=done.gross,
        refund=refund,
        forfeited=paid,
        net=settled.net,
        fee=settled.fee,
    )
    return done


def end(context: Context, booking_id: bytes, booking: Booking, time_ms: int, gross: int, what: str) -> Booking:
    """An active booking ends: what was not earned returns at once, what was earned waits for the window."""
    _unschedule(context, booking_id, booking)
    _leave_calendar(context, booking, time_ms)
    refund = escrow.refund(context, booking_id, booking.cost - gross)
    payment_live_ms = live_instant(context.view, time_ms) + booking.window_seconds * 1_000
    closing = replace(
        booking, status=BookingStatus.CLOSING, ended_ms=time_ms, gross=gross, payment_live_ms=payment_live_ms
    )
    BOOKINGS.put(context.view, booking_id, closing)
    net, fee = pay_matured(context, booking_id, closing)
    schedule(context, Clock.LIVE, payment_live_ms, Subject.BOOKING, booking_id)
    context.emit(f"booking.{what}", subjects(booking_id, closing), gross=gross, refund=refund, net=net, fee=fee)
    if what in ("completed", "released"):
        _remember(context, booking, **{what: 1})
    return closing


def pay_matured(context: Context, booking_id: bytes, booking: Booking) -> tuple[int, int]:
    """Pay what was earned longer ago than the dispute window; returns what moved now as (net, fee)."""
    gross = matured(context.view, booking, context.live_ms)
    return escrow.pay(context, booking_id, booking.provider, gross)


def close(context: Context, booking_id: bytes, booking: Booking) -> Booking:
    """Pay the provider, free the collateral slice, and finish."""
    _unschedule(context, booking_id, booking)
    net, fee = escrow.pay(context, booking_id, booking.provider, booking.gross)
    stake.free(context, booking.provider, booking.collateral)
    _remember_earnings(context, booking_id, booking)
    closed = replace(booking, status=BookingStatus.CLOSED, closed_height=context.block.height)
    _retain(context, booking_id, closed)
    context.emit("booking.closed", subjects(booking_id, closed), net=net, fee=fee)
    return closed


def freeze(context: Context, booking_id: bytes, booking: Booking, dispute_id: bytes, gross: int) -> Booking:
    """A dispute begins: an active booking ends now, and what is not paid of the gross waits for the outcome."""
    _unschedule(context, booking_id, booking)
    refund, ended_ms = 0, booking.ended_ms
    if booking.status is BookingStatus.ACTIVE:
        _leave_calendar(context, booking, context.time_ms)
        refund, ended_ms = escrow.refund(context, booking_id, booking.cost - gross), context.time_ms
        _remember(context, booking, **{"cancelled_late" if context.sender == booking.provider else "released": 1})
    net, fee = pay_matured(context, booking_id, booking)
    frozen = replace(
        booking,
        status=BookingStatus.DISPUTED,
        ended_ms=ended_ms,
        gross=gross,
        payment_live_ms=None,
        dispute=dispute_id,
    )
    BOOKINGS.put(context.view, booking_id, frozen)
    context.emit("booking.disputed", subjects(booking_id, frozen), gross=gross, refund=refund, net=net, fee=fee)
    return frozen


def resolve(context: Context, booking_id: bytes, gross: int, slashed: int) -> int:
    """Its dispute is over: pay up to the gross, return the rest, and give the renter a part of the collateral slice.

    Returns what the renter got of it.
    """
    booking = read_booking(context.view, booking_id)
    net, fee = escrow.pay(context, booking_id, booking.provider, gross)
    refund = escrow.refund_rest(context, booking_id)
    forfeited = stake.forfeit(context, booking.provider, slashed, booking.renter)
    stake.free(context, booking.provider, booking.collateral - slashed)
    _remember_earnings(context, booking_id, booking)
    closed = replace(booking, status=BookingStatus.CLOSED, gross=gross, closed_height=context.block.height)
    _retain(context, booking_id, closed)
    names = subjects(booking_id, closed)
    context.emit("booking.closed", names, gross=gross, net=net, fee=fee, refund=refund, forfeited=forfeited)
    return forfeited


def has_left(context: Context, booking: Booking) -> bool:
    """Whether a booking is over for so long that nobody finds it any more, whatever the due queue has reached."""
    return booking.status not in OPEN_STATUSES and context.live_ms >= leaves_live_ms(context.view, booking)


def _retain(context: Context, booking_id: bytes, booking: Booking) -> None:
    """Write a booking that is over: it stays for as long as it may be reviewed."""
    BOOKINGS.put(context.view, booking_id, booking)
    schedule(context, Clock.LIVE, leaves_live_ms(context.view, booking), Subject.BOOKING, booking_id)


def _leave(context: Context, booking_id: bytes, booking: Booking) -> None:
    """Remove a booking whose time is over, unless a job still names it: then the last of them does."""
    if booking.jobs:
        return
    unschedule(context, Clock.LIVE, leaves_live_ms(context.view, booking), Subject.BOOKING, booking_id)
    BOOKINGS.delete(context.view, booking_id)
    escrow.close(context, booking_id)
    for gpu_id in booking.gpus:
        let_go(context, gpu_id)
    deposit.give_back(context, booking.renter, booking.deposit, ("booking", booking_id))
    context.emit("booking.removed", subjects(booking_id, booking))


def enter_job(context: Context, booking_id: bytes) -> None:
    """A job inside the booking enters the state."""
    booking = read_booking(context.view, booking_id)
    BOOKINGS.put(context.view, booking_id, replace(booking, jobs=booking.jobs + 1))


def leave_job(context: Context, booking_id: bytes) -> None:
    """A job inside the booking leaves the state."""
    booking = read_booking(context.view, booking_id)
    booking = replace(booking, jobs=booking.jobs - 1)
    BOOKINGS.put(context.view, booking_id, booking)
    if has_left(context, booking):
        _leave(context, booking_id, booking)


def _unschedule(context: Context, booking_id: bytes, booking: Booking) -> None:
    """Take every deadline of the booking off the queue."""
    unschedule(context, Clock.BLOCK, booking.start_ms, Subject.BOOKING, booking_id)
    unschedule(context, Clock.BLOCK, booking.end_ms, Subject.BOOKING, booking_id)
    if context.time_ms >= booking.start_ms:
        deadline = live_instant(context.view, booking.start_ms) + booking.patience_ms
        unschedule(context, Clock.LIVE, deadline, Subject.BOOKING, booking_id)
    if booking.payment_live_ms is not None:
        unschedule(context, Clock.LIVE, booking.payment_live_ms, Subject.BOOKING, booking_id)


def _leave_calendar(context: Context, booking: Booking, ended_ms: int) -> None:
    for gpu_id in booking.gpus:
        vacate(context, gpu_id, booking.start_ms, ended_ms)


def gpu_is_offline(context: Context, booking: Booking) -> bool:
    """Whether any of its GPUs has missed its heartbeat."""
    return any(context.live_ms >= read_gpu(context.view, gpu_id).offline_live_ms for gpu_id in booking.gpus)


def _remember(context: Context, booking: Booking, **happened: int) -> None:
    """Count for the reputation of the provider and of each device what became of a booking."""
    reputation.count(context.view, booking.provider, hardware_of(context.view, booking.gpus), **happened)


def _remember_earnings(context: Context, booking_id: bytes, booking: Booking) -> None:
    """A booking is paid in full: count it for the reputation, and as a deal of the market if GPU time was sold.

    The time that was sold is the part of the booking that was paid, so its price is the booking's rate.
    """
    paid = escrow.escrow_of(context.view, booking_id)
    hardware = hardware_of(context.view, booking.gpus)
    reputation.count_earnings(context.view, booking.provider, hardware, paid.gross, paid.fee)
    if booking.ended_ms is not None and booking.cost:
        gpu_ms = len(booking.gpus) * (booking.end_ms - booking.start_ms) * paid.gross // booking.cost
        models = models_of(context.view, booking.gpus)
        record_trade(context, models, booking.ended_ms, gpu_ms, paid.gross, paid.fee)
