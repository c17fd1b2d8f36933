"""Requests for GPUs and the bids on them: the service behind their actions.

    request   open → accepted (a booking is made) | cancelled | expired
    bid       placed → accepted | replaced | evicted | withdrawn | returned with its request

A request locks the most that its renter pays; a bid reserves nothing until it is accepted. What is over leaves the
state at once, and what is over by the clock is over for everybody, whatever the due queue has reached. Each bid has a
deadline of its own, so that what falls due with a request is paid for by those who placed it.
"""

from dataclasses import dataclass
from typing import Annotated

from chain import deposit, escrow, reservation
from chain.action import Clock, Context
from chain.bank import KEY_BYTES
from chain.booking import MAXIMUM_GPUS
from chain.errors import NotFound
from chain.job import GpuFilter
from chain.record import record
from chain.reservation import Plan
from chain.schedule import Subject, unschedule
from chain.schema import (
    Address,
    Amount,
    Hash,
    ListOf,
    PublicKey,
    Seconds,
    Timestamp,
    Unsigned,
    Unsigned8,
    Unsigned32,
    Unsigned64,
)
from chain.state.tables import Table, TableId
from chain.state.view import View

MAXIMUM_BIDS = 64
"""On one request; a cheaper one then takes the place of the most expensive."""
MAXIMUM_LIFETIME_MS = 30 * 86_400_000
"""Block time for which a request stays open at most."""
ESCROW_BYTES = KEY_BYTES + 76
"""Of what a request has locked, at its fullest."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Request:
    """What a renter looks for. Providers bid for it, and he accepts one bid at most."""

    renter: Address
    gpu_filter: GpuFilter
    count: Annotated[int, Unsigned(MAXIMUM_GPUS, 1)]
    """GPUs, all of one provider."""
    start_ms: Timestamp
    """Block time of the start; 0 means the block in which a bid is accepted."""
    seconds: Seconds
    max_cost: Amount
    """Locked, and the most that a bid may come to; base units."""
    expires_ms: Timestamp
    """Block time at which it closes by itself; not after a fixed start."""
    sealing_key: PublicKey
    """X25519 key of the renter to which access details are sealed."""
    opened_height: Unsigned64
    deposit: Amount = 0
    """Held for its place in the state, and enough for that of the booking that it may become, base units."""
    bids: Unsigned8 = 0
    """Bids that it has now."""
    placed: Unsigned64 = 0
    """Bids that it ever had: the number of the last one."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Bid:
    """What a provider offers for a request; its key is the request and the provider."""

    gpus: Annotated[tuple[Hash, ...], ListOf(MAXIMUM_GPUS, 1)]
    terms_versions: Annotated[tuple[Unsigned32, ...], ListOf(MAXIMUM_GPUS, 1)]
    """Of each GPU's terms: with other terms the bid cannot be accepted."""
    rate: Amount
    """Base units per hour, for all GPUs together."""
    number: Unsigned64
    """Of this bid among all on its request, from 1: what an acceptance names."""
    expires_ms: Timestamp
    """Block time at which its request closes."""
    placed_height: Unsigned64
    deposit: Amount = 0
    """Held for its place in the state, base units."""


REQUESTS: Table[Request] = Table(TableId.REQUESTS, Request)
BIDS: Table[Bid] = Table(TableId.BIDS, Bid)


def current_request(context: Context, request_id: bytes) -> Request:
    """The request, if the clock has not closed it. Raises NotFound."""
    request = REQUESTS.get(context.view, request_id)
    if request is None or context.time_ms >= request.expires_ms:
        raise NotFound(kind="request", id=request_id)
    return request


def read_bid(view: View, request_id: bytes, provider: bytes) -> Bid:
    """The provider's bid on a request. Raises NotFound."""
    bid = BIDS.get(view, request_id + provider)
    if bid is None:
        raise NotFound(kind="bid", request=request_id, provider=provider)
    return bid


def bids_of(view: View, request_id: bytes) -> list[tuple[bytes, Bid]]:
    """(provider, bid) of a request, the cheapest first and the earliest among equals."""
    found = [(key[32:], bid) for key, bid in BIDS.scan_prefix(view, request_id)]
    return sorted(found, key=lambda item: (item[1].rate, item[1].number))


def plan_of(context: Context, request: Request, bid: Bid) -> Plan:
    """The booking that accepting a bid would make now. Raises what does not allow it."""
    return reservation.plan(
        context, bid.gpus, bid.terms_versions, request.start_ms, request.seconds, request.max_cost, bid.rate
    )


def require_acceptable(context: Context, request: Request, bid: Bid) -> None:
    """Raise what keeps a bid from being accepted now."""
    plan = plan_of(context, request, bid)
    reservation.check(context, request.renter, plan, returning=request.max_cost + request.deposit)


def remove_bid(context: Context, request_id: bytes, provider: bytes, bid: Bid) -> None:
    """Take a bid out of the state; its deposit returns."""
    key = request_id + provider
    BIDS.delete(context.view, key)
    unschedule(context, Clock.BLOCK, bid.expires_ms, Subject.REQUEST, key)
    deposit.give_back(context, provider, bid.deposit, ("request", request_id))


def remove_request(context: Context, request_id: bytes, request: Request) -> int:
    """Take a request out of the state, but not its bids; what it locked and its deposit return. Returns the former."""
    REQUESTS.delete(context.view, request_id)
    unschedule(context, Clock.BLOCK, request.expires_ms, Subject.REQUEST, request_id)
    deposit.give_back(context, request.renter, request.deposit, ("request", request_id))
    return escrow.close(context, request_id)


def expire(context: Context, identifier: bytes) -> None:
    """Due handler: the time of a request, or of one of its bids, is up."""
    request_id, provider = identifier[:32], identifier[32:]
    if provider:
        bid = BIDS.get(context.view, identifier)
        if bid is not None and context.time_ms >= bid.expires_ms:
            remove_bid(context, request_id, provider, bid)
            names = [("request", request_id), ("provider", provider)]
            context.emit("request.bid_expired", names, number=bid.number, rate=bid.rate)
        return
    request = REQUESTS.get(context.view, request_id)
    if request is not None and context.time_ms >= request.expires_ms:
        refund = remove_request(context, request_id, request)
        names = [("request", request_id), ("renter", request.renter)]
        context.emit("request.expired", names, refund=refund)
