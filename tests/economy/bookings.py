"""Bookings in the second ledger, by the words of the money table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Reserve, Settle
from chain.parameters import Parameters
from tests.economy.books import MOST
from tests.economy.gpus import Gpus
from tests.market import booking_bytes

MAXIMUM_SEGMENTS = 16
OVER = ("closed", "cancelled", "no_show", "provider_cancelled", "accepted", "expired")


@dataclass
class Money:
    """What was paid for one thing so far, fee included, and how much of it was the fee."""

    rules: Parameters
    """As they were when it was locked."""
    paid: int = 0
    fee: int = 0
    state: str = ""
    ended: int = 0
    leaves: int = 0
    """Live time at which it leaves the state, once it is over."""
    dispute: bytes | None = None
    """The one that was opened about it."""


@dataclass
class ModelBooking(Money):
    renter: bytes = b""
    provider: bytes = b""
    gpus: tuple[bytes, ...] = ()
    rates: list[tuple[int, int]] = field(default_factory=list)
    """(block time from which it holds, rate) of each segment."""
    end: int = 0
    cost: int = 0
    slice: int = 0
    minimum: int = 0
    notice: int = 0
    share: int = 0
    state: str = "reserved"
    activated: int | None = None
    gross: int = 0
    pay_live: int = 0

    @property
    def start(self) -> int:
        return self.rates[0][0]

    @property
    def since(self) -> int:
        return max(self.start, self.activated or 0)

    @property
    def grace(self) -> int:
        return min(self.rules.activation_grace_seconds * 1_000, self.end - self.start)


@dataclass
class Bookings(Gpus):
    bookings: dict[bytes, ModelBooking] = field(default_factory=dict)
    """Those in the state, also if only a job keeps them there."""
    gone: list[bytes] = field(default_factory=list)
    """Those that have left it."""

    def past(self, money: Money) -> bool:
        """Whether a booking or job should have left the state: when it can no longer be reviewed."""
        if money.state not in OVER:
            return False
        money.leaves = money.leaves or self.live_at(money.ended) + money.rules.review_window_seconds * 1_000
        return self.live >= money.leaves

    def current_booking(self, booking_id: bytes) -> ModelBooking | None:
        booking = self.bookings.get(booking_id)
        return None if booking is None or self.past(booking) else booking

    def used(self, booking_id: bytes) -> bool:
        """Whether a job in the state refers to a booking."""
        return False

    def named(self, gpu: bytes) -> bool:
        return super().named(gpu) or any(gpu in booking.gpus for booking in self.bookings.values())

    def leave(self) -> None:
        for booking_id, booking in list(self.bookings.items()):
            if self.past(booking) and not self.used(booking_id):
                del self.bookings[booking_id]
                self.gone.append(booking_id)
                self.give_back("booking", booking_id)
        super().leave()

    def holdings(self) -> Iterator[tuple[bytes, int]]:
        yield from super().holdings()
        for booking in self.bookings.values():
            if booking.state in ("reserved", "active", "closing", "disputed"):
                yield booking.provider, booking.slice

    def held(self) -> Iterator[tuple[bytes, tuple[bytes, int, int, int, int]]]:
        yield from super().held()
        for key, booking in self.bookings.items():
            due = {"reserved": booking.cost, "active": booking.cost}.get(booking.state, booking.gross)
            left = due - booking.paid if booking.state not in OVER else 0
            yield key, (booking.renter, booking.cost, booking.paid, booking.fee, left)

    def calendar(self, gpu: bytes) -> Iterator[tuple[int, int]]:
        yield from super().calendar(gpu)
        for booking in self.bookings.values():
            if gpu in booking.gpus and booking.state in ("reserved", "active"):
                yield booking.start, booking.end

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        for booking in self.bookings.values():
            yield from (booking.start, booking.end, booking.start - booking.notice * 1_000)

    def live_edges(self) -> Iterator[int]:
        yield from super().live_edges()
        for booking in self.bookings.values():
            if booking.state == "reserved" and booking.start <= self.now:
                yield self.live_at(booking.start) + booking.grace
            elif booking.state == "closing":
                yield booking.pay_live
            elif booking.leaves:
                yield booking.leaves

    def due(self) -> None:
        for booking in self.bookings.values():
            self.settle(booking)
        super().due()

    def settle(self, booking: ModelBooking) -> None:
        if booking.state == "reserved" and self.now >= booking.start:
            began = self.live_at(booking.start)
            over = self.now >= booking.end
            waited = (self.live_at(booking.end, resumed=False) if over else self.live) - began
            if waited >= booking.grace:
                self.unused(booking, "no_show", booking.slice, self.instant(began + booking.grace))
                self.note(booking, "no_shows")
            elif over:
                self.unused(booking, "cancelled", 0, booking.end)
        if booking.state == "active" and self.now >= booking.end:
            self.close(booking, booking.end, self.earned(booking, booking.end))
            self.note(booking, "completed")
        if booking.state == "closing" and self.live >= booking.pay_live:
            self.finish(booking)

    def note(self, booking: ModelBooking, what: str) -> None:
        """What became of a booking counts for the provider and the devices."""
        self.remember(booking.provider, self.devices(booking.gpus), **{what: 1})

    def note_earnings(self, booking: ModelBooking) -> None:
        """All that there will be is paid; that is a deal of the market, unless it was cancelled before it began."""
        self.remember_earnings(booking.provider, self.devices(booking.gpus), booking.paid, booking.fee)
        if booking.cost and booking.state == "closed":
            whole = len(booking.gpus) * (booking.end - booking.start)
            sold = floor(Fraction(whole * booking.paid, booking.cost))
            self.note_deal(self.models(booking.gpus), booking.ended, sold, booking.paid, booking.fee)

    def unused(self, booking: ModelBooking, state: str, forfeited: int, ended: int) -> None:
        """It ends without having been used: what is left and what the provider forfeits go to the renter."""
        booking.state, booking.ended = state, ended
        self.idle(ended, *booking.gpus)
        self.pay(booking.renter, booking.cost - booking.gross)
        self.forfeit(booking.provider, forfeited, booking.renter)

    @staticmethod
    def earned(booking: ModelBooking, until: int) -> int:
        total = Fraction(0)
        for (begins, rate), (ends, _) in pairwise([*booking.rates, (booking.end, 0)]):
            time = max(0, min(ends, until) - max(begins, booking.since))
            total += Fraction(rate * time, 3_600_000)
        return floor(total)

    def charge_for_leaving(self, booking: ModelBooking) -> Fraction:
        share = booking.rules.release_charge
        if booking.start - booking.notice * 1_000 <= self.now < booking.start:
            share = max(share, booking.share)
        return Fraction(share, 10_000)

    def close(self, booking: ModelBooking, time: int, gross: int) -> None:
        booking.state, booking.gross, booking.ended = "closing", gross, time
        self.idle(time, *booking.gpus)
        booking.pay_live = self.live_at(time) + booking.rules.dispute_window_seconds * 1_000
        self.pay(booking.renter, booking.cost - gross)
        self.mature(booking)

    def matured(self, booking: ModelBooking) -> int:
        """What was earned longer ago than the window, or was paid already."""
        window = booking.rules.dispute_window_seconds * 1_000
        earned = self.earned(booking, self.instant(self.live - window))
        return max(booking.paid, earned if booking.state == "active" else min(earned, booking.gross))

    def mature(self, booking: ModelBooking) -> None:
        self.reward(booking, booking.provider, self.matured(booking))

    def finish(self, booking: ModelBooking) -> None:
        booking.state = "closed"
        self.reward(booking, booking.provider, booking.gross)
        self.note_earnings(booking)

    def reward(self, money: Money, payee: bytes, gross: int) -> None:
        """Pay up to this gross, all payments together."""
        gross = max(gross, money.paid)
        fee = floor(gross * Fraction(money.rules.market_fee, 10_000))
        self.pay(payee, (gross - fee) - (money.paid - money.fee))
        self.collect(fee - money.fee, money.rules.market_fee_staker_share, money.fee)
        money.paid, money.fee = gross, fee

    def do_booking_reserve(self, sender: bytes, action: Reserve) -> str | None:
        rate = sum(self.gpus[gpu].offer.price_per_hour for gpu in action.gpus if gpu in self.gpus)
        return self.book(
            sender, action.gpus, action.terms_versions, action.start_ms, action.seconds, rate, action.max_cost
        )

    def book(
        self,
        renter: bytes,
        chosen: tuple[bytes, ...],
        versions: Sequence[int],
        start: int,
        seconds: int,
        rate: int,
        most: int,
        returned: int = 0,
    ) -> str | None:
        """Reserve GPUs at a rate for all of them together, for a renter who first gets so much back."""
        if error := self.bookable(chosen, versions, start, seconds, rate, most):
            return error
        gpus = [self.gpus[gpu] for gpu in chosen]
        offers = [gpu.offer for gpu in gpus]
        limits = self.parameters
        start = start or self.now
        end = start + seconds * 1_000
        cost = ceil(Fraction(rate * seconds, 3_600))
        if gpus[0].owner == renter:
            return "own_gpu"
        deposit = self.price(booking_bytes(len(gpus)))
        if self.has(renter) + returned < cost + deposit:
            return "insufficient_funds"
        part = min(ceil(Fraction(cost, 10)), limits.collateral_per_gpu * len(gpus))
        if self.spare(gpus[0].owner) < part:
            return "insufficient_collateral"
        booking_id = self.new_id("booking")
        self.pay(renter, -cost)
        self.hold(renter, deposit, "booking", booking_id)
        self.bookings[booking_id] = ModelBooking(
            rules=limits,
            renter=renter,
            provider=gpus[0].owner,
            gpus=chosen,
            rates=[(start, rate)],
            end=end,
            cost=cost,
            slice=part,
            minimum=max(offer.minimum_seconds for offer in offers),
            notice=max(offer.notice_seconds for offer in offers),
            share=max(offer.cancellation_share for offer in offers),
        )
        return None

    def bookable(
        self, chosen: tuple[bytes, ...], versions: Sequence[int], start: int, seconds: int, rate: int, most: int
    ) -> str | None:
        """Why GPUs, terms and calendars do not allow a booking, whoever it is for."""
        if not all(self.listed(gpu) for gpu in chosen):
            return "not_found"
        gpus = [self.gpus[gpu] for gpu in chosen]
        for gpu, version in zip(gpus, versions, strict=True):
            if gpu.owner != gpus[0].owner:
                return "different_providers"
            if gpu.offline or gpu.retiring:
                return "gpu_unavailable"
            if version != gpu.offer.version:
                return "terms_moved"
        start = start or self.now
        offers = [gpu.offer for gpu in gpus]
        limits = self.parameters
        horizon = min(limits.booking_horizon_seconds, *(offer.horizon_seconds for offer in offers))
        shortest = max(limits.booking_minimum_seconds, *(offer.minimum_seconds for offer in offers))
        longest = min(limits.booking_maximum_seconds, *(offer.maximum_seconds for offer in offers))
        if not self.now <= start <= self.now + horizon * 1_000 or not shortest <= seconds <= longest:
            return "booking_time_refused"
        cost = ceil(Fraction(rate * seconds, 3_600))
        if max(rate, cost) > MOST:
            return "amount_overflow"
        if cost > most:
            return "terms_moved"
        return "booking_conflict" if self.taken(chosen, start, start + seconds * 1_000) else None

    def do_booking_extend(self, sender: bytes, action: Extend) -> str | None:
        if error := self.found(sender, action.booking, "renter", "reserved", "active"):
            return error
        booking = self.bookings[action.booking]
        gpus = [self.gpus[gpu] for gpu in booking.gpus]
        if booking.state == "reserved" and self.now >= booking.start:
            return "wrong_booking_status"
        if len(booking.rates) == MAXIMUM_SEGMENTS:
            return "booking_time_refused"
        if any(gpu.offline or gpu.retiring for gpu in gpus):
            return "gpu_unavailable"
        end = booking.end + action.seconds * 1_000
        longest = min(self.parameters.booking_maximum_seconds, *(gpu.offer.maximum_seconds for gpu in gpus))
        if end - booking.start > longest * 1_000:
            return "booking_time_refused"
        rate = sum(gpu.offer.price_per_hour for gpu in gpus)
        cost = ceil(Fraction(rate * action.seconds, 3_600))
        if max(rate, cost) > MOST:
            return "amount_overflow"
        if cost > action.max_cost:
            return "terms_moved"
        if self.taken(booking.gpus, booking.end, end):
            return "booking_conflict"
        if self.has(sender) < cost:
            return "insufficient_funds"
        part = min(ceil(Fraction(booking.cost + cost, 10)), self.parameters.collateral_per_gpu * len(gpus))
        part = max(part, booking.slice)
        if self.spare(booking.provider) < part - booking.slice:
            return "insufficient_collateral"
        self.pay(sender, -cost)
        booking.rates.append((booking.end, rate))
        booking.end, booking.cost, booking.slice = end, booking.cost + cost, part
        return None

    def do_booking_provider_cancel(self, sender: bytes, action: ProviderCancel) -> str | None:
        if error := self.found(sender, action.booking, "provider", "reserved", "active"):
            return error
        booking = self.bookings[action.booking]
        if booking.state == "active":
            self.forfeit(sender, booking.slice, booking.renter)
            booking.slice = 0
            self.close(booking, self.now, self.earned(booking, self.now))
            self.note(booking, "cancelled_late")
        else:
            early = self.now < booking.start - booking.notice * 1_000
            forfeited = booking.slice // 2 if early else booking.slice
            self.unused(booking, "provider_cancelled", forfeited, self.now)
            self.note(booking, "cancelled_in_time" if early else "cancelled_late")
        self.vacated(*booking.gpus)
        return None

    def do_booking_settle(self, sender: bytes, action: Settle) -> str | None:
        booking = self.current_booking(action.booking)
        if booking is None:
            return "not_found"
        if booking.state == "disputed":
            return "wrong_booking_status"
        if booking.state in ("active", "closing"):
            self.mature(booking)
        return None

    def found(self, sender: bytes, booking_id: bytes, party: str, *states: str) -> str | None:
        booking = self.current_booking(booking_id)
        if booking is None:
            return "not_found"
        if getattr(booking, party) != sender:
            return "not_authorized"
        return None if booking.state in states else "wrong_booking_status"

    def do_booking_activate(self, sender: bytes, action: Activate) -> str | None:
        if error := self.found(sender, action.booking, "provider", "reserved"):
            return error
        booking = self.bookings[action.booking]
        booking.state, booking.activated = "active", self.now
        return None

    def do_booking_release(self, sender: bytes, action: Release) -> str | None:
        if error := self.found(sender, action.booking, "renter", "active"):
            return error
        booking = self.bookings[action.booking]
        self.close(booking, self.now, self.released(booking))
        self.note(booking, "released")
        self.vacated(*booking.gpus)
        return None

    def released(self, booking: ModelBooking) -> int:
        """What an active booking comes to if its renter leaves it now."""
        if any(self.live >= self.gpus[gpu].offline_live for gpu in booking.gpus):
            return self.earned(booking, self.now)
        used = self.earned(booking, max(self.now, booking.since + booking.minimum * 1_000))
        return used + floor((booking.cost - used) * self.charge_for_leaving(booking))

    def do_booking_confirm(self, sender: bytes, action: Confirm) -> str | None:
        if error := self.found(sender, action.booking, "renter", "closing"):
            return error
        self.finish(self.bookings[action.booking])
        return None

    def do_booking_cancel(self, sender: bytes, action: Cancel) -> str | None:
        if error := self.found(sender, action.booking, "renter", "reserved", "active"):
            return error
        booking = self.bookings[action.booking]
        if self.now >= booking.start:
            return "booking_started"
        booking.gross = floor(booking.cost * self.charge_for_leaving(booking))
        self.reward(booking, booking.provider, booking.gross)
        self.unused(booking, "cancelled", 0, self.now)
        self.note(booking, "cancelled")
        self.note_earnings(booking)
        self.vacated(*booking.gpus)
        return None
