"""Requests and bids a second time, in plain dictionaries: who may do what, who owns what, and what is free when.

It looks at everything after each block, so it has no queue and no deadlines to get wrong. Nobody activates a booking
in it: each ends as a no-show, which gives the renter his money and the provider's collateral. Deposits are what the
ledger says that it took; what the model knows is that each comes back to whoever paid it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from chain.action import Action
from chain.actions.gpus import UpdateGpu
from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from chain.parameters import Parameters
from chain.schema import COIN

MONTH_MS = 30 * 86_400_000


@dataclass
class ModelBid:
    gpus: tuple[bytes, ...]
    versions: tuple[int, ...]
    rate: int
    number: int
    deposit: int


@dataclass
class ModelRequest:
    renter: bytes
    wanted: OpenRequest
    deposit: int
    placed: int = 0
    bids: dict[bytes, ModelBid] = field(default_factory=dict)

    def cost(self, rate: int) -> int:
        return ceil(Fraction(rate * self.wanted.seconds, 3_600))

    def worst(self) -> bytes:
        return max(self.bids, key=lambda provider: (self.bids[provider].rate, self.bids[provider].number))


@dataclass
class ModelBooking:
    renter: bytes
    provider: bytes
    gpus: tuple[bytes, ...]
    start: int
    end: int
    cost: int
    slice: int


@dataclass
class ModelGpu:
    owner: bytes
    model: str
    version: int = 1
    minimum: int = 60


@dataclass
class BiddingModel:
    """What the ledger should hold."""

    parameters: Parameters
    most_bids: int
    balance: dict[bytes, int]
    stake: dict[bytes, int]
    locked: dict[bytes, int]
    """Collateral by provider."""
    gpus: dict[bytes, ModelGpu]
    now: int
    requests: dict[bytes, ModelRequest] = field(default_factory=dict)
    bookings: dict[bytes, ModelBooking] = field(default_factory=dict)
    kept: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    """(renter, deposit) of each booking in the state, over or not."""

    @property
    def deposits(self) -> int:
        held = sum(request.deposit for request in self.requests.values())
        held += sum(deposit for _, deposit in self.kept.values())
        return held + sum(bid.deposit for request in self.requests.values() for bid in request.bids.values())

    @property
    def escrowed(self) -> int:
        held = sum(request.wanted.max_cost for request in self.requests.values())
        return held + sum(booking.cost for booking in self.bookings.values())

    def pass_time(self, now: int) -> None:
        """What happens by itself up to this block time; there are no outages."""
        self.now = now
        for identifier, request in list(self.requests.items()):
            if now >= request.wanted.expires_ms:
                self.close(identifier)
        grace_ms = self.parameters.activation_grace_seconds * 1_000
        for identifier, booking in list(self.bookings.items()):
            if now >= min(booking.start + grace_ms, booking.end):
                del self.bookings[identifier]
                self.balance[booking.renter] += booking.cost + booking.slice
                self.stake[booking.provider] -= booking.slice
                self.locked[booking.provider] -= booking.slice

    def close(self, identifier: bytes) -> ModelRequest:
        """A request and its bids are over: everybody has back what he put in."""
        request = self.requests.pop(identifier)
        self.balance[request.renter] += request.wanted.max_cost + request.deposit
        for provider, bid in request.bids.items():
            self.balance[provider] += bid.deposit
        return request

    def do(self, sender: bytes, action: Action, made: bytes, deposit: int) -> str:
        """Carry an action out, unless it is refused; returns the error's name, or nothing.

        Args:
            made: id of the record that the action makes.
            deposit: what the ledger says that it takes for that, if it is not refused.
        """
        match action:
            case OpenRequest():
                return self.open(sender, action, made, deposit)
            case PlaceBid():
                return self.place(sender, action, deposit)
            case AcceptBid():
                return self.accept(sender, action, made, deposit)
            case WithdrawBid():
                request = self.requests.get(action.request)
                if request is None or sender not in request.bids:
                    return "not_found"
                self.balance[sender] += request.bids.pop(sender).deposit
                return ""
            case CancelRequest():
                return self._as_renter(sender, action.request, lambda _: self.close(action.request) and "")
            case UpdateGpu():
                gpu = self.gpus[action.gpu]
                gpu.version, gpu.minimum = action.terms.version, action.terms.minimum_seconds
                return ""
        raise AssertionError(action)

    def _as_renter(self, sender: bytes, identifier: bytes, then: Callable[[ModelRequest], str]) -> str:
        request = self.requests.get(identifier)
        if request is None:
            return "not_found"
        return then(request) if request.renter == sender else "not_authorized"

    def open(self, sender: bytes, action: OpenRequest, made: bytes, deposit: int) -> str:
        start = action.start_ms or self.now + MONTH_MS
        timely = self.now < action.expires_ms <= min(self.now + MONTH_MS, start) and start > self.now
        if not timely or not 60 <= action.seconds <= 90 * 86_400:
            return "request_time_refused"
        if self.balance[sender] < action.max_cost + deposit:
            return "insufficient_funds"
        self.balance[sender] -= action.max_cost + deposit
        self.requests[made] = ModelRequest(sender, action, deposit)
        return ""

    def place(self, sender: bytes, action: PlaceBid, deposit: int) -> str:
        request = self.requests.get(action.request)
        if request is None:
            return "not_found"
        if request.renter == sender:
            return "own_gpu"
        if len(action.gpus) != request.wanted.count:
            return "wrong_gpu_count"
        if request.cost(action.rate) > request.wanted.max_cost:
            return "bid_above_maximum"
        for gpu_id in action.gpus:
            if self.gpus[gpu_id].owner != sender:
                return "not_authorized"
            if request.wanted.gpu_filter.model not in ("", self.gpus[gpu_id].model):
                return "gpu_not_wanted"
        bid = ModelBid(action.gpus, action.terms_versions, action.rate, request.placed + 1, deposit)
        refusal = self.unavailable(request, bid)
        if refusal:
            return refusal
        if sender not in request.bids and len(request.bids) == self.most_bids:
            worst = request.worst()
            if action.rate >= request.bids[worst].rate:
                return "bid_not_competitive"
            self.balance[worst] += request.bids.pop(worst).deposit
        if sender in request.bids:
            self.balance[sender] += request.bids.pop(sender).deposit
        self.balance[sender] -= deposit
        request.bids[sender] = bid
        request.placed += 1
        return ""

    def unavailable(self, request: ModelRequest, bid: ModelBid) -> str:
        """Why these GPUs could not be booked now."""
        start = request.wanted.start_ms or self.now
        end = start + request.wanted.seconds * 1_000
        gpus = [self.gpus[gpu_id] for gpu_id in bid.gpus]
        if any(gpu.version != version for gpu, version in zip(gpus, bid.versions, strict=True)):
            return "terms_moved"
        if request.wanted.seconds < max(gpu.minimum for gpu in gpus):
            return "booking_time_refused"
        taken = (each for each in self.bookings.values() if set(each.gpus) & set(bid.gpus))
        return "booking_conflict" if any(each.start < end and start < each.end for each in taken) else ""

    def booking_left(self, identifier: bytes, payer: bytes, amount: int) -> None:
        """A booking has left the state."""
        assert identifier not in self.bookings
        assert self.kept.pop(identifier) == (payer, amount)
        self.balance[payer] += amount

    def accept(self, sender: bytes, action: AcceptBid, made: bytes, deposit: int) -> str:
        def accepted(request: ModelRequest) -> str:
            bid = request.bids.get(action.provider)
            if bid is None:
                return "not_found"
            if bid.number != action.number:
                return "terms_moved"
            refusal = self.unavailable(request, bid)
            if refusal:
                return refusal
            cost = request.cost(bid.rate)
            part = min(ceil(Fraction(cost, 10)), 25 * COIN * len(bid.gpus))
            if self.stake[action.provider] - self.locked[action.provider] < part:
                return "insufficient_collateral"
            self.close(action.request)
            self.balance[sender] -= cost + deposit
            assert self.balance[sender] >= 0, "the request held enough for all"
            self.kept[made] = sender, deposit
            self.locked[action.provider] += part
            start = request.wanted.start_ms or self.now
            end = start + request.wanted.seconds * 1_000
            self.bookings[made] = ModelBooking(sender, action.provider, bid.gpus, start, end, cost, part)
            return ""

        return self._as_renter(sender, action.request, accepted)
