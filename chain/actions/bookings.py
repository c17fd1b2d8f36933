"""Bookings: reserving GPUs now or ahead, giving access, ending early, confirming, and changing one's mind."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain import reservation, stake
from chain.action import Action, Clock, Context, Family
from chain.bank import account, checked
from chain.booking import (
    BOOKINGS,
    MAXIMUM_GPUS,
    MAXIMUM_SEGMENTS,
    Booking,
    BookingStatus,
    collateral_of,
    cost_of,
    released_gross,
    subjects,
)
from chain.booking_life import (
    advance,
    cancel,
    close,
    current_booking,
    end,
    extend,
    gpu_is_offline,
    pay_matured,
    provider_cancel,
)
from chain.crypto.hashing import sha256
from chain.deposit import held_in
from chain.errors import InsufficientFunds, InvalidField, LedgerError, NotAuthorized
from chain.invariants import require
from chain.inventory import GpuStatus, GpuUnavailable
from chain.record import record
from chain.reservation import BookingTimeRefused, Plan, TermsMoved
from chain.schedule import Subject, is_scheduled, schedule
from chain.schema import Amount, Hash, ListOf, Octets, PublicKey, Seconds, Timestamp, Unsigned32
from chain.standing import booking_now, gpu_now, require_vacant
from chain.state.view import View
from chain.trades import HOUR_MS, MIXED, TRADES, expire_trades, expires_ms, price_step, split_key


class WrongBookingStatus(LedgerError):
    code = 1406
    hint = "The booking is not in a state that allows this."


class BookingStarted(LedgerError):
    code = 1407
    hint = "The booking has started; release it instead once it is active."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Reserve(Action):
    """Books GPUs of one provider, all or none, and locks the whole cost."""

    code: ClassVar[int] = 30
    name: ClassVar[str] = "booking.reserve"

    gpus: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_GPUS, 1)]
    start_ms: Timestamp
    """Block time of the start; 0 means the block that includes this."""
    seconds: Seconds
    max_cost: Amount
    """Refuse rather than lock more than this."""
    terms_versions: Annotated[tuple[Unsigned32, ...], ListOf(MAXIMUM_GPUS, 1)]
    """The version of each GPU's terms that the renter has seen."""
    sealing_key: PublicKey
    """X25519 key to which the provider seals the access details."""

    def weight(self) -> int:
        return reservation.weight(len(self.gpus))

    def validate(self) -> None:
        if len(set(self.gpus)) != len(self.gpus):
            raise InvalidField(record="Reserve", field="gpus", reason="names a GPU twice")
        if len(self.terms_versions) != len(self.gpus):
            raise InvalidField(record="Reserve", field="terms_versions", reason="expected one for each GPU")
        if self.seconds == 0:
            raise InvalidField(record="Reserve", field="seconds", reason="must be more than zero")

    def check(self, context: Context) -> None:
        reservation.check(context, context.sender, self.plan(context))

    def plan(self, context: Context) -> Plan:
        """What it comes to now. Raises what does not allow it."""
        return reservation.plan(context, self.gpus, self.terms_versions, self.start_ms, self.seconds, self.max_cost)

    def apply(self, context: Context) -> None:
        reservation.reserve(context, context.sender, self.plan(context), self.sealing_key)


def require_status(booking_id: bytes, booking: Booking, *allowed: BookingStatus) -> None:
    """Raise WrongBookingStatus unless the booking is in one of these states."""
    if booking.status not in allowed:
        needed = " or ".join(status.name.lower() for status in allowed)
        raise WrongBookingStatus(booking=booking_id, status=booking.status.name.lower(), needed=needed)


def _as_renter(context: Context, booking_id: bytes) -> Booking:
    booking = booking_now(context.view, booking_id)
    if booking.renter != context.sender:
        raise NotAuthorized(needed="renter", account=booking.renter)
    return booking


def _as_provider(context: Context, booking_id: bytes) -> Booking:
    booking = booking_now(context.view, booking_id)
    if booking.provider != context.sender:
        raise NotAuthorized(needed="provider", account=booking.provider)
    return booking


@record(version=1)
@dataclass(frozen=True, slots=True)
class Activate(Action):
    """The provider hands over access; the booking earns from its start or from now, whichever is later."""

    code: ClassVar[int] = 31
    name: ClassVar[str] = "booking.activate"
    base_weight: ClassVar[int] = 6

    booking: Hash
    sealed_access: Annotated[bytes, Octets(1, 1_024)]
    """Access details, sealed to the booking's sealing key; the ledger keeps their hash."""

    def check(self, context: Context) -> None:
        booking = _as_provider(context, self.booking)
        require_status(self.booking, booking, BookingStatus.RESERVED)

    def apply(self, context: Context) -> None:
        booking = current_booking(context, self.booking)
        active = replace(
            booking,
            status=BookingStatus.ACTIVE,
            access_hash=sha256(self.sealed_access),
            activation_txid=context.txid,
            activated_ms=context.time_ms,
        )
        BOOKINGS.put(context.view, self.booking, active)
        schedule(context, Clock.BLOCK, booking.end_ms, Subject.BOOKING, self.booking)
        context.emit("booking.activated", subjects(self.booking, active), from_ms=active.from_ms)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Release(Action):
    """The renter leaves early: what was not earned returns, less the release charge."""

    code: ClassVar[int] = 32
    name: ClassVar[str] = "booking.release"
    base_weight: ClassVar[int] = 75

    booking: Hash

    def check(self, context: Context) -> None:
        require_status(self.booking, _as_renter(context, self.booking), BookingStatus.ACTIVE)

    def apply(self, context: Context) -> None:
        booking = current_booking(context, self.booking)
        gross = released_gross(booking, context.time_ms, gpu_is_offline(context, booking))
        end(context, self.booking, booking, context.time_ms, gross, "released")


@record(version=1)
@dataclass(frozen=True, slots=True)
class Confirm(Action):
    """The renter has no complaint: the earnings are paid without waiting for the window."""

    code: ClassVar[int] = 33
    name: ClassVar[str] = "booking.confirm"
    base_weight: ClassVar[int] = 80  # its end may not have been noticed yet

    booking: Hash

    def check(self, context: Context) -> None:
        require_status(self.booking, _as_renter(context, self.booking), BookingStatus.CLOSING)

    def apply(self, context: Context) -> None:
        close(context, self.booking, current_booking(context, self.booking))


@record(version=1)
@dataclass(frozen=True, slots=True)
class Cancel(Action):
    """The renter gives up a booking before its start, for the charge in its terms, also when it was activated early."""

    code: ClassVar[int] = 34
    name: ClassVar[str] = "booking.cancel"
    base_weight: ClassVar[int] = 75

    booking: Hash

    def check(self, context: Context) -> None:
        booking = _as_renter(context, self.booking)
        require_status(self.booking, booking, BookingStatus.RESERVED, BookingStatus.ACTIVE)
        if context.time_ms >= booking.start_ms:
            raise BookingStarted(booking=self.booking, start_ms=booking.start_ms)

    def apply(self, context: Context) -> None:
        cancel(context, self.booking, current_booking(context, self.booking))


@record(version=1)
@dataclass(frozen=True, slots=True)
class Extend(Action):
    """The renter adds time at the end, at the present terms, if nobody else has booked it."""

    code: ClassVar[int] = 35
    name: ClassVar[str] = "booking.extend"
    base_weight: ClassVar[int] = 190  # each of its GPUs may be challenged, before 128 voters

    booking: Hash
    seconds: Seconds
    max_cost: Amount
    """Refuse rather than lock more than this for the added time."""

    def validate(self) -> None:
        if self.seconds == 0:
            raise InvalidField(record="Extend", field="seconds", reason="must be more than zero")

    def check(self, context: Context) -> None:
        booking = _as_renter(context, self.booking)
        require_status(self.booking, booking, BookingStatus.RESERVED, BookingStatus.ACTIVE)
        if booking.status is BookingStatus.RESERVED and context.time_ms >= booking.start_ms:
            raise WrongBookingStatus(booking=self.booking, status="reserved", needed="active")
        if len(booking.extensions) >= MAXIMUM_SEGMENTS - 1:
            raise BookingTimeRefused(field="seconds", reason="extended as often as is allowed")
        rate, collateral = self._terms(context, booking)
        cost = checked(cost_of(rate, self.seconds))
        if cost > self.max_cost:
            raise TermsMoved(cost=cost, max_cost=self.max_cost)
        end_ms = booking.end_ms + self.seconds * 1_000
        for gpu_id in booking.gpus:
            require_vacant(context.view, gpu_id, booking.end_ms, end_ms)
        available = account(context.view, context.sender).balance
        if available < cost:
            raise InsufficientFunds(needed=cost, available=available)
        checked(booking.cost + cost)
        stake.require_free(context.view, booking.provider, collateral - booking.collateral)

    def _terms(self, context: Context, booking: Booking) -> tuple[int, int]:
        """(summed rate, collateral of the whole booking) as of now. Raises what does not allow the extension."""
        gpus = [gpu_now(context.view, gpu_id) for gpu_id in booking.gpus]
        for gpu_id, gpu in zip(booking.gpus, gpus, strict=True):
            if gpu.status is not GpuStatus.ACTIVE:
                raise GpuUnavailable(gpu=gpu_id, status=gpu.status.name.lower())
        longest = min(context.parameters.booking_maximum_seconds, *(gpu.terms.maximum_seconds for gpu in gpus))
        total = (booking.end_ms - booking.start_ms) // 1_000 + self.seconds
        if total > longest:
            raise BookingTimeRefused(field="seconds", maximum=longest, got=total)
        rate = checked(sum(gpu.terms.price_per_hour for gpu in gpus))
        cost = booking.cost + checked(cost_of(rate, self.seconds))
        collateral = collateral_of(cost, len(gpus), context.parameters.collateral_per_gpu)
        return rate, max(collateral, booking.collateral)

    def apply(self, context: Context) -> None:
        booking = current_booking(context, self.booking)
        rate, collateral = self._terms(context, booking)
        extend(context, self.booking, booking, self.seconds, rate, collateral)


@record(version=1)
@dataclass(frozen=True, slots=True)
class ProviderCancel(Action):
    """The provider gives up a booking; it costs him collateral, all of it once the notice has begun."""

    code: ClassVar[int] = 36
    name: ClassVar[str] = "booking.provider_cancel"
    base_weight: ClassVar[int] = 75

    booking: Hash

    def check(self, context: Context) -> None:
        booking = _as_provider(context, self.booking)
        require_status(self.booking, booking, BookingStatus.RESERVED, BookingStatus.ACTIVE)

    def apply(self, context: Context) -> None:
        provider_cancel(context, self.booking, current_booking(context, self.booking))


@record(version=1)
@dataclass(frozen=True, slots=True)
class Settle(Action):
    """Anyone may bring a booking up to date and have paid what was earned longer ago than the dispute window."""

    code: ClassVar[int] = 37
    name: ClassVar[str] = "booking.settle"
    base_weight: ClassVar[int] = 85

    booking: Hash

    def check(self, context: Context) -> None:
        booking = booking_now(context.view, self.booking)
        if booking.status is BookingStatus.DISPUTED:
            raise WrongBookingStatus(booking=self.booking, status="disputed", needed="any other")

    def apply(self, context: Context) -> None:
        booking = current_booking(context, self.booking)
        if booking.status in (BookingStatus.ACTIVE, BookingStatus.CLOSING):
            net, fee = pay_matured(context, self.booking, booking)
            context.emit("booking.settled", subjects(self.booking, booking), net=net, fee=fee)


def check_trades(view: View) -> None:
    """Each record of trades is of something paid, at the step of its price, and has its deadline."""
    for key, found in TRADES.scan(view):
        model, day, step = split_key(key)
        require(min(found.deals, found.gpu_ms, found.fee) > 0, "trades are of what was paid", id=key)
        price = found.gross * HOUR_MS // found.gpu_ms
        require(step == (0 if model == MIXED else price_step(price)), "trades lie at the step of their price", id=key)
        waiting = is_scheduled(view, Clock.BLOCK, expires_ms(day), Subject.TRADE, key)
        require(waiting, "trades have their deadline", id=key)


FAMILY = Family(
    "bookings",
    (Reserve, Activate, Release, Confirm, Cancel, Extend, ProviderCancel, Settle),
    {Subject.BOOKING: advance, Subject.TRADE: expire_trades},
    (check_trades,),
    deposits=held_in(BOOKINGS),
)
