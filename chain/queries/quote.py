"""What a booking would cost, and what would come back when, before anyone signs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chain.actions.bookings import Reserve
from chain.booking import (
    Booking,
    BookingStatus,
    earned_until,
    leaving_charge,
    released_gross,
    storage_deposit,
)
from chain.queries.present import present
from chain.reservation import draft
from chain.schema import U64
from chain.stake import require_free
from chain.standing import gpu_now
from chain.state.view import View

_RELEASE_SHARES = (25, 50, 75)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way in which the booking may end."""

    what: str
    time_ms: int
    """Block time at which it happens."""
    charged: int
    """What the renter pays in the end, base units."""
    refund: int
    """What returns to the renter, base units."""
    compensation: int = 0
    """What the renter gets of the provider's collateral, base units."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The exact terms of a reservation made now."""

    gpus: tuple[bytes, ...]
    terms_versions: tuple[int, ...]
    provider: bytes
    start_ms: int
    end_ms: int
    seconds: int
    rate: int
    """Base units per hour, all GPUs together."""
    cost: int
    """Locked at once, base units; the deposit and the transaction fee come on top."""
    deposit: int
    """Held for the record until the booking leaves the state, then returned, base units."""
    market_fee: int
    """Part of the cost that the network keeps if the booking completes, base units."""
    collateral: int
    notice_seconds: int
    """Before the start, the time in which a cancellation costs `cancellation_share`."""
    cancellation_share: int
    """Basis points of the cost; the release charge of the network holds if it is more."""
    outcomes: tuple[Outcome, ...]


def quote(view: View, gpus: Sequence[bytes], start_ms: int, seconds: int) -> Quote:
    """Quote a booking (start 0 is now). Raises the LedgerError with which the reservation would fail."""
    context = present(view)
    versions = tuple(gpu_now(context.view, gpu_id).terms.version for gpu_id in gpus)
    action = Reserve(tuple(gpus), start_ms, seconds, U64, versions, bytes(32))
    action.validate()
    plan = action.plan(context)
    require_free(view, plan.provider, plan.collateral)
    parameters = context.parameters
    reserved = draft(context, context.sender, plan, bytes(32))
    booking = replace(reserved, status=BookingStatus.ACTIVE, activated_ms=plan.start_ms)
    return Quote(
        gpus=tuple(gpus),
        terms_versions=versions,
        provider=plan.provider,
        start_ms=plan.start_ms,
        end_ms=plan.end_ms,
        seconds=seconds,
        rate=plan.rate,
        cost=plan.cost,
        deposit=storage_deposit(parameters, len(gpus)),
        market_fee=plan.cost * parameters.market_fee // 10_000,
        collateral=plan.collateral,
        notice_seconds=plan.notice_seconds,
        cancellation_share=plan.cancellation_share,
        outcomes=_outcomes(booking, context.time_ms),
    )


def _outcomes(booking: Booking, now_ms: int) -> tuple[Outcome, ...]:
    cost = booking.cost
    ways = []
    notice_ms = booking.start_ms - booking.notice_seconds * 1_000
    if booking.notice_seconds and notice_ms > now_ms:
        charged = cost * leaving_charge(booking, now_ms) // 10_000
        ways.append(Outcome("cancelled before the notice", notice_ms, charged, cost - charged))
    if booking.start_ms > now_ms:
        charged = cost * leaving_charge(booking, booking.start_ms - 1) // 10_000
        when = "within the notice" if booking.notice_seconds else "before start"
        ways.append(Outcome(f"cancelled {when}", booking.start_ms, charged, cost - charged))
    for share in _RELEASE_SHARES:
        time_ms = booking.start_ms + (booking.end_ms - booking.start_ms) * share // 100
        charged = released_gross(booking, time_ms, gpu_offline=False)
        ways.append(Outcome(f"released after {share} %", time_ms, charged, cost - charged))
    ways.append(Outcome("completed", booking.end_ms, cost, 0))
    if notice_ms > now_ms:
        when = "the notice" if booking.notice_seconds else "start"
        ways.append(Outcome(f"provider cancels before {when}", notice_ms, 0, cost, booking.collateral // 2))
    if booking.start_ms > now_ms and booking.notice_seconds:
        ways.append(Outcome("provider cancels within the notice", booking.start_ms, 0, cost, booking.collateral))
    ways.append(
        Outcome("provider does not show up", booking.start_ms + booking.patience_ms, 0, cost, booking.collateral)
    )
    half_ms = (booking.start_ms + booking.end_ms) // 2
    used = earned_until(booking, half_ms)
    ways.append(Outcome("provider cancels after 50 %", half_ms, used, cost - used, booking.collateral))
    return tuple(ways)
