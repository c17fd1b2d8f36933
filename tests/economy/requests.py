"""Requests and bids in the second ledger: who looks for what, who offers what for it, and who has paid for that."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from tests.economy.bookings import Bookings
from tests.economy.books import MOST, size_of
from tests.market import booking_bytes

MAXIMUM_BIDS = 64
MONTH_MS = 30 * 86_400_000
MOST_32, LATEST = (1 << 32) - 1, 1 << 53
ESCROW_BYTES = size_of(bytes(33), 10_000, MOST, MOST, MOST, MOST, 10_000)


def request_fields(action: OpenRequest) -> list[Any]:
    """A request at its fullest."""
    wanted = [action.gpu_filter.model, action.gpu_filter.region, MOST_32, MOST_32]
    head = [bytes(33), wanted, 16, LATEST, MOST_32, MOST, LATEST, bytes(32)]
    return [*head, MOST, MOST, 255, MOST]


def bid_fields(action: PlaceBid) -> list[Any]:
    """A bid at its fullest."""
    return [action.gpus, [MOST_32] * len(action.gpus), MOST, MOST, LATEST, MOST, MOST]


@dataclass
class ModelBid:
    gpus: tuple[bytes, ...]
    versions: tuple[int, ...]
    rate: int
    number: int


@dataclass
class ModelRequest:
    renter: bytes
    wanted: OpenRequest
    placed: int = 0
    bids: dict[bytes, ModelBid] = field(default_factory=dict)
    """By provider."""

    def cost(self, rate: int) -> int:
        return ceil(Fraction(rate * self.wanted.seconds, 3_600))

    def worst(self) -> bytes:
        """Whose bid makes room for a better one: the dearest, the latest of several."""
        return max(self.bids, key=lambda provider: (self.bids[provider].rate, self.bids[provider].number))


@dataclass
class Requests(Bookings):
    requests: dict[bytes, ModelRequest] = field(default_factory=dict)

    def due(self) -> None:
        super().due()
        for request_id, request in list(self.requests.items()):
            if self.now >= request.wanted.expires_ms:
                self.close_request(request_id)

    def held(self) -> Iterator[tuple[bytes, tuple[bytes, int, int, int, int]]]:
        yield from super().held()
        for request_id, request in self.requests.items():
            most = request.wanted.max_cost
            yield request_id, (request.renter, most, 0, 0, most)

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        for request in self.requests.values():
            yield from (request.wanted.expires_ms, request.wanted.start_ms)

    def close_request(self, request_id: bytes) -> None:
        """A request is over, and so are its bids: everybody has back what he put in."""
        request = self.requests.pop(request_id)
        self.pay(request.renter, request.wanted.max_cost)
        self.give_back("request", request_id)
        for provider in request.bids:
            self.give_back("bid", request_id + provider)

    def drop_bid(self, request_id: bytes, provider: bytes) -> None:
        del self.requests[request_id].bids[provider]
        self.give_back("bid", request_id + provider)

    def do_request_open(self, sender: bytes, action: OpenRequest) -> str | None:
        limits, latest = self.parameters, self.now + MONTH_MS
        if action.start_ms:
            if not self.now < action.start_ms <= self.now + limits.booking_horizon_seconds * 1_000:
                return "request_time_refused"
            latest = min(latest, action.start_ms)
        if not limits.booking_minimum_seconds <= action.seconds <= limits.booking_maximum_seconds:
            return "request_time_refused"
        if not self.now < action.expires_ms <= latest:
            return "request_time_refused"
        # It may become a booking, whose place in the state it pays for from the beginning.
        size = max(size_of(*request_fields(action)) + ESCROW_BYTES, booking_bytes(action.count))
        deposit = self.price(size)
        if action.max_cost + deposit > MOST:
            return "amount_overflow"
        if self.has(sender) < action.max_cost + deposit:
            return "insufficient_funds"
        request_id = self.new_id("request")
        self.pay(sender, -action.max_cost)
        self.hold(sender, deposit, "request", request_id)
        self.requests[request_id] = ModelRequest(sender, action)
        return None

    def do_request_place_bid(self, sender: bytes, action: PlaceBid) -> str | None:
        request = self.requests.get(action.request)
        if request is None:
            return "not_found"
        wanted = request.wanted
        if error := self.unsuitable(sender, action, request):
            return error
        times = (wanted.start_ms, wanted.seconds)
        if error := self.bookable(action.gpus, action.terms_versions, *times, action.rate, wanted.max_cost):
            return error
        worst = None
        if sender not in request.bids and len(request.bids) >= MAXIMUM_BIDS:
            worst = request.worst()
            if action.rate >= request.bids[worst].rate:
                return "bid_not_competitive"
        deposit = self.price(size_of(*bid_fields(action)))
        _, before = self.deposits.get(("bid", action.request + sender), (sender, 0))
        if self.has(sender) < deposit - before:
            return "insufficient_funds"
        if worst is not None or sender in request.bids:
            self.drop_bid(action.request, worst or sender)
        self.hold(sender, deposit, "bid", action.request + sender)
        request.placed += 1
        request.bids[sender] = ModelBid(action.gpus, action.terms_versions, action.rate, request.placed)
        return None

    def unsuitable(self, sender: bytes, action: PlaceBid, request: ModelRequest) -> str | None:
        """Why a bid is not what the request asks for."""
        wanted, cost = request.wanted, request.cost(action.rate)
        if request.renter == sender:
            return "own_gpu"
        if len(action.gpus) != wanted.count:
            return "wrong_gpu_count"
        if cost > MOST:
            return "amount_overflow"
        if cost > wanted.max_cost:
            return "bid_above_maximum"
        for gpu_id in action.gpus:
            if error := self.owned(sender, gpu_id):
                return error
            device, asked = self.gpus[gpu_id].hardware, wanted.gpu_filter
            if asked.model not in ("", device.model) or asked.region not in ("", device.region):
                return "gpu_not_wanted"
            if device.memory_mb < asked.minimum_memory_mb or device.cuda_cores < asked.minimum_cuda_cores:
                return "gpu_not_wanted"
        return None

    def do_request_accept_bid(self, sender: bytes, action: AcceptBid) -> str | None:
        if error := self.asked_by(sender, action.request):
            return error
        request = self.requests[action.request]
        wanted, bid = request.wanted, request.bids.get(action.provider)
        if bid is None:
            return "not_found"
        if bid.number != action.number:
            return "terms_moved"
        _, deposit = self.deposits["request", action.request]
        returned = wanted.max_cost + deposit
        terms = (bid.gpus, bid.versions, wanted.start_ms, wanted.seconds, bid.rate, wanted.max_cost)
        if error := self.book(sender, *terms, returned):
            return error
        self.close_request(action.request)
        return None

    def asked_by(self, sender: bytes, request_id: bytes) -> str | None:
        request = self.requests.get(request_id)
        if request is None:
            return "not_found"
        return None if request.renter == sender else "not_authorized"

    def do_request_withdraw_bid(self, sender: bytes, action: WithdrawBid) -> str | None:
        request = self.requests.get(action.request)
        if request is None or sender not in request.bids:
            return "not_found"
        self.drop_bid(action.request, sender)
        return None

    def do_request_cancel(self, sender: bytes, action: CancelRequest) -> str | None:
        if error := self.asked_by(sender, action.request):
            return error
        self.close_request(action.request)
        return None
