"""Requests and bids: a renter says what he looks for, providers bid, and an accepted bid becomes a booking."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain import escrow, reservation
from chain.action import Action, Clock, Context, Family
from chain.bank import checked, require_funds
from chain.booking import MAXIMUM_GPUS, cost_of
from chain.booking import storage_deposit as booking_deposit
from chain.clocks import read_clocks
from chain.deposit import held_in, storage_deposit, take
from chain.errors import InvalidField, LedgerError, NotAuthorized
from chain.escrow import ESCROWS
from chain.invariants import require
from chain.job import GpuFilter
from chain.record import record
from chain.request import (
    BIDS,
    ESCROW_BYTES,
    MAXIMUM_BIDS,
    MAXIMUM_LIFETIME_MS,
    REQUESTS,
    Bid,
    Request,
    bids_of,
    current_request,
    expire,
    plan_of,
    read_bid,
    remove_bid,
    remove_request,
    require_acceptable,
)
from chain.reservation import OwnGpu, TermsMoved
from chain.schedule import Subject, is_scheduled, schedule
from chain.schema import (
    U64,
    Address,
    Amount,
    Hash,
    ListOf,
    PublicKey,
    Seconds,
    Timestamp,
    Unsigned,
    Unsigned32,
    Unsigned64,
)
from chain.standing import gpu_now
from chain.state.view import View

BIDS_WEIGHT = 130
"""Of taking all bids of a request out of the state."""


class RequestTimeRefused(LedgerError):
    code = 2201
    hint = "The start, the duration or the time for bids is outside what the network allows."


class WrongGpuCount(LedgerError):
    code = 2202
    hint = "Offer exactly as many GPUs as the request asks for."


class GpuNotWanted(LedgerError):
    code = 2203
    hint = "The request asks for other GPUs."


class BidAboveMaximum(LedgerError):
    code = 2204
    hint = "The bid comes to more than the renter has locked for the request."


class BidNotCompetitive(LedgerError):
    code = 2205
    hint = "The request has as many bids as it may; bid less than the most expensive of them."


@record(version=1)
@dataclass(frozen=True, slots=True)
class OpenRequest(Action):
    """Asks for bids, and locks the most that the renter would pay."""

    code: ClassVar[int] = 100
    name: ClassVar[str] = "request.open"
    base_weight: ClassVar[int] = 15

    gpu_filter: GpuFilter
    count: Annotated[int, Unsigned(MAXIMUM_GPUS, 1)]
    start_ms: Timestamp
    """Block time of the start; 0 means the block in which a bid is accepted."""
    seconds: Seconds
    max_cost: Amount
    expires_ms: Timestamp
    """Block time until which bids may come in and be accepted; not after a fixed start."""
    sealing_key: PublicKey
    """X25519 key to which the provider seals the access details."""

    def check(self, context: Context) -> None:
        now_ms, parameters = context.time_ms, context.parameters
        if self.start_ms:
            latest_ms = now_ms + parameters.booking_horizon_seconds * 1_000
            _within("start_ms", self.start_ms, now_ms + 1, latest_ms)
        _within("seconds", self.seconds, parameters.booking_minimum_seconds, parameters.booking_maximum_seconds)
        closing_ms = now_ms + MAXIMUM_LIFETIME_MS
        _within("expires_ms", self.expires_ms, now_ms + 1, min(closing_ms, self.start_ms or closing_ms))
        deposit = self._request(context).deposit
        checked(self.max_cost + deposit)
        require_funds(context.view, context.sender, self.max_cost, deposit)

    def _request(self, context: Context) -> Request:
        request = Request(
            renter=context.sender,
            gpu_filter=self.gpu_filter,
            count=self.count,
            start_ms=self.start_ms,
            seconds=self.seconds,
            max_cost=self.max_cost,
            expires_ms=self.expires_ms,
            sealing_key=self.sealing_key,
            opened_height=context.block.height,
        )
        fullest = replace(request, bids=MAXIMUM_BIDS, placed=U64, deposit=U64)
        own = storage_deposit(context.parameters, fullest, ESCROW_BYTES)
        return replace(request, deposit=max(own, booking_deposit(context.parameters, self.count)))

    def apply(self, context: Context) -> None:
        request_id, request = context.new_id("request"), self._request(context)
        escrow.open_escrow(context, request_id, context.sender, self.max_cost)
        take(context, context.sender, request.deposit, ("request", request_id))
        REQUESTS.put(context.view, request_id, request)
        schedule(context, Clock.BLOCK, self.expires_ms, Subject.REQUEST, request_id)
        names = [("request", request_id), ("renter", context.sender)]
        context.emit("request.opened", names, locked=self.max_cost, expires_ms=self.expires_ms)


def _within(field: str, got: int, minimum: int, maximum: int) -> None:
    if not minimum <= got <= maximum:
        raise RequestTimeRefused(field=field, minimum=minimum, maximum=maximum, got=got)


@record(version=1)
@dataclass(frozen=True, slots=True)
class PlaceBid(Action):
    """A provider offers GPUs that are free for the time; it takes the place of an earlier bid of his."""

    code: ClassVar[int] = 101
    name: ClassVar[str] = "request.place_bid"

    request: Hash
    gpus: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_GPUS, 1)]
    terms_versions: Annotated[tuple[Unsigned32, ...], ListOf(MAXIMUM_GPUS, 1)]
    """The version of each GPU's terms under which the bid may be accepted."""
    rate: Amount
    """Base units per hour, for all GPUs together."""

    def weight(self) -> int:
        return reservation.weight(len(self.gpus))

    def validate(self) -> None:
        if len(set(self.gpus)) != len(self.gpus):
            raise InvalidField(record="PlaceBid", field="gpus", reason="names a GPU twice")
        if len(self.terms_versions) != len(self.gpus):
            raise InvalidField(record="PlaceBid", field="terms_versions", reason="expected one for each GPU")

    def check(self, context: Context) -> None:
        request = current_request(context, self.request)
        if request.renter == context.sender:
            raise OwnGpu(provider=context.sender)
        if len(self.gpus) != request.count:
            raise WrongGpuCount(expected=request.count, got=len(self.gpus))
        cost = checked(cost_of(self.rate, request.seconds))
        if cost > request.max_cost:
            raise BidAboveMaximum(cost=cost, max_cost=request.max_cost)
        for gpu_id in self.gpus:
            gpu = gpu_now(context.view, gpu_id)
            if gpu.owner != context.sender:
                raise NotAuthorized(needed="provider", account=gpu.owner)
            if not request.gpu_filter.matches(gpu.hardware):
                raise GpuNotWanted(gpu=gpu_id, request=self.request)
        bid = self._bid(context, request)
        plan_of(context, request, bid)
        replaced = BIDS.get(context.view, self.request + context.sender)
        if replaced is None and request.bids >= MAXIMUM_BIDS:
            _, worst = bids_of(context.view, self.request)[-1]
            if self.rate >= worst.rate:
                raise BidNotCompetitive(rate=self.rate, most_expensive=worst.rate)
        more = bid.deposit - (0 if replaced is None else replaced.deposit)
        require_funds(context.view, context.sender, 0, max(0, more))

    def _bid(self, context: Context, request: Request) -> Bid:
        bid = Bid(
            gpus=self.gpus,
            terms_versions=self.terms_versions,
            rate=self.rate,
            number=request.placed + 1,
            expires_ms=request.expires_ms,
            placed_height=context.block.height,
        )
        return replace(bid, deposit=storage_deposit(context.parameters, replace(bid, deposit=U64)))

    def apply(self, context: Context) -> None:
        request, provider = current_request(context, self.request), context.sender
        key, bid = self.request + provider, self._bid(context, request)
        bids = request.bids + 1
        replaced = BIDS.get(context.view, key)
        if replaced is not None:
            remove_bid(context, self.request, provider, replaced)
            bids -= 1
        elif request.bids >= MAXIMUM_BIDS:
            self._evict(context, request)
            bids -= 1
        take(context, provider, bid.deposit, ("request", self.request))
        BIDS.put(context.view, key, bid)
        REQUESTS.put(context.view, self.request, replace(request, bids=bids, placed=bid.number))
        schedule(context, Clock.BLOCK, bid.expires_ms, Subject.REQUEST, key)
        names = [*bid_subjects(self.request, request, provider), *(("gpu", gpu_id) for gpu_id in self.gpus)]
        cost = cost_of(bid.rate, request.seconds)
        context.emit("request.bid_placed", names, number=bid.number, rate=bid.rate, cost=cost)

    def _evict(self, context: Context, request: Request) -> None:
        """The most expensive bid, the latest among equals, makes room."""
        loser, worst = bids_of(context.view, self.request)[-1]
        remove_bid(context, self.request, loser, worst)
        names = bid_subjects(self.request, request, loser)
        context.emit("request.bid_evicted", names, number=worst.number, rate=worst.rate)


def bid_subjects(request_id: bytes, request: Request, provider: bytes) -> list[tuple[str, bytes]]:
    """Who and what the events of a bid are about."""
    return [("request", request_id), ("renter", request.renter), ("provider", provider)]


def _as_renter(context: Context, request_id: bytes) -> Request:
    request = current_request(context, request_id)
    if request.renter != context.sender:
        raise NotAuthorized(needed="renter", account=request.renter)
    return request


def _close(context: Context, request_id: bytes, request: Request) -> tuple[int, list[tuple[str, bytes]]]:
    """Take a request and all its bids out of the state; returns what it had locked, and whose bids they were."""
    bids = bids_of(context.view, request_id)
    for provider, bid in bids:
        remove_bid(context, request_id, provider, bid)
    return remove_request(context, request_id, request), [("bidder", provider) for provider, _ in bids]


@record(version=1)
@dataclass(frozen=True, slots=True)
class AcceptBid(Action):
    """The renter takes a bid: it becomes a booking, and what it does not cost returns at once."""

    code: ClassVar[int] = 102
    name: ClassVar[str] = "request.accept_bid"
    base_weight: ClassVar[int] = reservation.weight(MAXIMUM_GPUS) + BIDS_WEIGHT

    request: Hash
    provider: Address
    number: Unsigned64
    """Of the bid that the renter has seen: one that took its place since is refused."""

    def check(self, context: Context) -> None:
        request, bid = self._chosen(context)
        require_acceptable(context, request, bid)

    def _chosen(self, context: Context) -> tuple[Request, Bid]:
        request = _as_renter(context, self.request)
        bid = read_bid(context.view, self.request, self.provider)
        if bid.number != self.number:
            raise TermsMoved(provider=self.provider, expected=self.number, got=bid.number)
        return request, bid

    def apply(self, context: Context) -> None:
        request, bid = self._chosen(context)
        plan = plan_of(context, request, bid)
        # First the refund: the renter may have nothing but what the request holds.
        refund, bidders = _close(context, self.request, request)
        booking_id = reservation.reserve(context, request.renter, plan, request.sealing_key)
        names = [*bid_subjects(self.request, request, self.provider), ("booking", booking_id), *bidders]
        context.emit("request.bid_accepted", names, refund=refund, cost=plan.cost, saved=refund - plan.cost)


@record(version=1)
@dataclass(frozen=True, slots=True)
class WithdrawBid(Action):
    """A provider takes his bid back."""

    code: ClassVar[int] = 103
    name: ClassVar[str] = "request.withdraw_bid"
    base_weight: ClassVar[int] = 6

    request: Hash

    def check(self, context: Context) -> None:
        current_request(context, self.request)
        read_bid(context.view, self.request, context.sender)

    def apply(self, context: Context) -> None:
        request = current_request(context, self.request)
        bid = read_bid(context.view, self.request, context.sender)
        remove_bid(context, self.request, context.sender, bid)
        REQUESTS.put(context.view, self.request, replace(request, bids=request.bids - 1))
        names = bid_subjects(self.request, request, context.sender)
        context.emit("request.bid_withdrawn", names, number=bid.number, rate=bid.rate)


@record(version=1)
@dataclass(frozen=True, slots=True)
class CancelRequest(Action):
    """The renter looks no longer: everything returns to those who paid it."""

    code: ClassVar[int] = 104
    name: ClassVar[str] = "request.cancel"
    base_weight: ClassVar[int] = 6 + BIDS_WEIGHT

    request: Hash

    def check(self, context: Context) -> None:
        _as_renter(context, self.request)

    def apply(self, context: Context) -> None:
        request = _as_renter(context, self.request)
        refund, bidders = _close(context, self.request, request)
        names = [("request", self.request), ("renter", request.renter), *bidders]
        context.emit("request.cancelled", names, refund=refund)


def check_requests(view: View) -> None:
    """A request holds its whole maximum, counts its bids, and like each of them waits for the end of its time."""
    counted: Counter[bytes] = Counter()
    for key, bid in BIDS.scan(view):
        request_id = key[:32]
        request = REQUESTS.get(view, request_id)
        counted[request_id] += 1
        waits = is_scheduled(view, Clock.BLOCK, bid.expires_ms, Subject.REQUEST, key)
        require(waits, "a bid has its deadline", id=request_id)
        if request is None:
            require(read_clocks(view).time_ms >= bid.expires_ms, "a bid has its request", id=request_id)
            continue
        agrees = bid.expires_ms == request.expires_ms and len(bid.gpus) == request.count
        agrees = agrees and cost_of(bid.rate, request.seconds) <= request.max_cost
        require(agrees and 1 <= bid.number <= request.placed, "a bid is what its request asks for", id=request_id)
    for request_id, request in REQUESTS.scan(view):
        held = ESCROWS.get(view, request_id)
        whole = held is not None and (held.payer, held.locked, held.remaining) == (
            request.renter,
            request.max_cost,
            request.max_cost,
        )
        require(whole, "a request holds what it locked", id=request_id)
        require(counted[request_id] == request.bids <= MAXIMUM_BIDS, "the bids of a request are counted", id=request_id)
        waits = is_scheduled(view, Clock.BLOCK, request.expires_ms, Subject.REQUEST, request_id)
        require(waits, "a request has its deadline", id=request_id)


FAMILY = Family(
    "requests",
    (OpenRequest, PlaceBid, AcceptBid, WithdrawBid, CancelRequest),
    {Subject.REQUEST: expire},
    (check_requests,),
    deposits=held_in(REQUESTS, BIDS),
)
