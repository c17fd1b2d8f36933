"""Making a booking: worked out in full before anything changes. The service behind reservations and accepted bids.

`plan` says what GPUs, terms and calendar allow, `check` whether both sides can pay for it, `reserve` does it.
"""

from dataclasses import dataclass, replace

from chain import deposit, escrow, stake
from chain.action import Clock, Context
from chain.bank import checked, require_funds
from chain.booking import BOOKINGS, Booking, BookingStatus, collateral_of, cost_of, storage_deposit, subjects
from chain.booking_life import current_booking
from chain.errors import LedgerError
from chain.inventory import Gpu, GpuStatus, GpuUnavailable, occupy
from chain.schedule import Subject, schedule
from chain.standing import gpu_now, require_vacant


class TermsMoved(LedgerError):
    code = 1402
    hint = "The terms changed since the quote; ask for a new one."


class BookingTimeRefused(LedgerError):
    code = 1403
    hint = "The start or the duration is outside what the provider or the network allows."


class DifferentProviders(LedgerError):
    code = 1404
    hint = "Book the GPUs of different providers separately."


class OwnGpu(LedgerError):
    code = 1405
    hint = "A provider cannot rent his own GPU."


def weight(gpus: int) -> int:
    """Of making a booking, or of seeing whether it could be made."""
    return 40 + 10 * gpus


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reservation would come to."""

    gpu_ids: tuple[bytes, ...]
    gpus: tuple[Gpu, ...]
    provider: bytes
    start_ms: int
    end_ms: int
    rate: int
    """Summed price of the GPUs, base units per hour."""
    cost: int
    collateral: int
    minimum_seconds: int
    notice_seconds: int
    cancellation_share: int


def plan(
    context: Context,
    gpu_ids: tuple[bytes, ...],
    terms_versions: tuple[int, ...],
    start_ms: int,
    seconds: int,
    max_cost: int,
    rate: int | None = None,
) -> Plan:
    """Times, cost and collateral, if GPUs, terms and calendar allow the booking; raises what does not.

    Args:
        terms_versions: of each GPU's terms, as the renter has seen them.
        start_ms: block time of the start; 0 means this block.
        max_cost: refuse rather than lock more, base units.
        rate: base units per hour for all GPUs together, if something else than their prices was agreed.
    """
    gpus = tuple(gpu_now(context.view, gpu_id) for gpu_id in gpu_ids)
    provider = gpus[0].owner
    for gpu_id, gpu, version in zip(gpu_ids, gpus, terms_versions, strict=True):
        if gpu.owner != provider:
            raise DifferentProviders(gpu=gpu_id)
        if gpu.status is not GpuStatus.ACTIVE:
            raise GpuUnavailable(gpu=gpu_id, status=gpu.status.name.lower())
        if gpu.terms.version != version:
            raise TermsMoved(gpu=gpu_id, expected=version, got=gpu.terms.version)
    start_ms = start_ms or context.time_ms
    _check_times(context, gpus, start_ms, seconds)
    end_ms = start_ms + seconds * 1_000
    rate = checked(sum(gpu.terms.price_per_hour for gpu in gpus)) if rate is None else rate
    cost = checked(cost_of(rate, seconds))
    if cost > max_cost:
        raise TermsMoved(cost=cost, max_cost=max_cost)
    for gpu_id in gpu_ids:
        require_vacant(context.view, gpu_id, start_ms, end_ms)
    return Plan(
        gpu_ids=gpu_ids,
        gpus=gpus,
        provider=provider,
        start_ms=start_ms,
        end_ms=end_ms,
        rate=rate,
        cost=cost,
        collateral=collateral_of(cost, len(gpus), context.parameters.collateral_per_gpu),
        minimum_seconds=max(gpu.terms.minimum_seconds for gpu in gpus),
        notice_seconds=max(gpu.terms.notice_seconds for gpu in gpus),
        cancellation_share=max(gpu.terms.cancellation_share for gpu in gpus),
    )


def _check_times(context: Context, gpus: tuple[Gpu, ...], start_ms: int, seconds: int) -> None:
    parameters = context.parameters
    if start_ms < context.time_ms:
        raise BookingTimeRefused(field="start_ms", minimum=context.time_ms, got=start_ms)
    horizon = min(parameters.booking_horizon_seconds, *(gpu.terms.horizon_seconds for gpu in gpus))
    if start_ms > context.time_ms + horizon * 1_000:
        raise BookingTimeRefused(field="start_ms", maximum=context.time_ms + horizon * 1_000, got=start_ms)
    shortest = max(parameters.booking_minimum_seconds, *(gpu.terms.minimum_seconds for gpu in gpus))
    longest = min(parameters.booking_maximum_seconds, *(gpu.terms.maximum_seconds for gpu in gpus))
    if not shortest <= seconds <= longest:
        raise BookingTimeRefused(field="seconds", minimum=shortest, maximum=longest, got=seconds)


def check(context: Context, renter: bytes, plan: Plan, returning: int = 0) -> None:
    """Raise unless the renter can pay, the provider has the collateral, and they are two.

    Args:
        returning: what the renter has locked elsewhere and gets back before he pays, base units.
    """
    if plan.provider == renter:
        raise OwnGpu(provider=plan.provider)
    held = storage_deposit(context.parameters, len(plan.gpu_ids))
    require_funds(context.view, renter, plan.cost, held, returning)
    stake.require_free(context.view, plan.provider, plan.collateral)


def draft(context: Context, renter: bytes, plan: Plan, sealing_key: bytes) -> Booking:
    """The booking that a plan would make now."""
    parameters = context.parameters
    return Booking(
        renter=renter,
        provider=plan.provider,
        gpus=plan.gpu_ids,
        status=BookingStatus.RESERVED,
        rate=plan.rate,
        start_ms=plan.start_ms,
        end_ms=plan.end_ms,
        cost=plan.cost,
        collateral=plan.collateral,
        minimum_seconds=plan.minimum_seconds,
        grace_seconds=parameters.activation_grace_seconds,
        window_seconds=parameters.dispute_window_seconds,
        release_charge=parameters.release_charge,
        notice_seconds=plan.notice_seconds,
        cancellation_share=plan.cancellation_share,
        sealing_key=sealing_key,
        reserved_height=context.block.height,
        review_seconds=parameters.review_window_seconds,
    )


def reserve(context: Context, renter: bytes, plan: Plan, sealing_key: bytes) -> bytes:
    """Lock the cost and the collateral, enter the calendars and return the booking's id."""
    booking_id = context.new_id("booking")
    booking = draft(context, renter, plan, sealing_key)
    held = storage_deposit(context.parameters, len(booking.gpus))
    booking = replace(booking, deposit=held)
    escrow.open_escrow(context, booking_id, renter, plan.cost)
    stake.reserve(context.view, plan.provider, plan.collateral)
    for gpu_id in plan.gpu_ids:
        occupy(context, gpu_id, plan.start_ms, plan.end_ms, Subject.BOOKING, booking_id)
    BOOKINGS.put(context.view, booking_id, booking)
    context.emit(
        "booking.reserved",
        subjects(booking_id, booking),
        locked=plan.cost,
        collateral=plan.collateral,
        start_ms=plan.start_ms,
        end_ms=plan.end_ms,
    )
    deposit.take(context, renter, held, ("booking", booking_id))
    if plan.start_ms > context.time_ms:
        schedule(context, Clock.BLOCK, plan.start_ms, Subject.BOOKING, booking_id)
    else:
        current_booking(context, booking_id)
    return booking_id
