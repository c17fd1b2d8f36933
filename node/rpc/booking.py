"""The namespace `booking`: quotes before signing, bookings as of now, and where their money went."""

from collections import Counter

from chain import interface as api
from chain.bank import require_funds
from chain.booking import BOOKINGS, OPEN_STATUSES, Booking, BookingStatus
from chain.errors import NotFound
from chain.escrow import Escrow
from chain.queries.bookings import BookingNow, present_booking
from chain.queries.quote import quote as quote_of
from node.rpc.account import Places, concerning
from node.rpc.chain import require_header
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.errors import ScanTooLong
from node.rpc.handlers import aside, quick
from node.rpc.pages import newest_first, scan_records
from node.store import SYSTEM_INDEX

MAXIMUM_STEPS = 200
"""Latest events that a booking's money story shows."""
STRIDE, MAXIMUM_STRIDES = 100, 50
"""Places of a booking's history that are looked at together, and how often, to tell what became of its money."""

_MOVED = ("locked", "net", "fee", "refund")
_LAST = {
    "closed": "closed",
    "cancelled": "cancelled",
    "abandoned": "cancelled",
    "no_show": "no_show",
    "provider_cancelled": "provider_cancelled",
}
"""The last event of a booking that is over to its status."""


def quote(read: Read, params: api.QuoteParams) -> api.Quote:
    gpus = [bytes.fromhex(gpu) for gpu in params.gpus]
    found = quote_of(read.view, gpus, params.start_ms or 0, params.seconds)
    if params.renter is not None:
        require_funds(read.view, read.address(params.renter), found.cost, found.deposit)
    return api.Quote(
        as_of=read.as_of,
        gpus=tuple(gpu.hex() for gpu in found.gpus),
        provider=read.address_text(found.provider),
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        rate=str(found.rate),
        cost=str(found.cost),
        deposit=str(found.deposit),
        debit=str(found.cost + found.deposit),
        market_fee=str(found.market_fee),
        provider_net=str(found.cost - found.market_fee),
        collateral=str(found.collateral),
        notice_seconds=found.notice_seconds,
        cancellation_share=found.cancellation_share,
        terms_versions=found.terms_versions,
        outcomes=tuple(
            api.Outcome(way.what, way.time_ms, str(way.charged), str(way.refund), str(way.compensation))
            for way in found.outcomes
        ),
    )


def view_of(read: Read, booking_id: bytes, now: BookingNow) -> api.BookingView:
    """A booking as clients see it."""
    payment = now.booking.payment_live_ms if now.booking.status is BookingStatus.CLOSING else None
    return api.BookingView(
        id=booking_id.hex(),
        booking=read.show(now.booking),
        status=now.booking.status.name.lower(),
        escrow=read.show(now.escrow),
        earned=str(now.earned),
        refund_if_ended=str(now.refund_if_released),
        seconds_left=now.seconds_left,
        payment_in_seconds=None if payment is None else max(0, payment - read.clocks.live_ms) // 1_000,
    )


def _now(read: Read, booking_id: bytes) -> BookingNow:
    return present_booking(read.now().view, booking_id)


def still(read: Read, booking_id: bytes) -> BookingNow | None:
    """The booking as of now, unless it is about to leave the state."""
    try:
        return _now(read, booking_id)
    except NotFound:
        return None


def get(read: Read, params: api.BookingParams) -> api.BookingDetails:
    booking_id = bytes.fromhex(params.booking)
    return api.BookingDetails(as_of=read.as_of, view=view_of(read, booking_id, _now(read, booking_id)))


def list_bookings(read: Read, params: api.BookingListParams) -> api.BookingList:
    account_, renter, provider = (
        None if text is None else read.address(text) for text in (params.account, params.renter, params.provider)
    )
    gpu = None if params.gpu is None else bytes.fromhex(params.gpu)

    def matches(booking_id: bytes, booking: Booking) -> bool:
        if renter not in (None, booking.renter) or provider not in (None, booking.provider):
            return False
        if account_ not in (None, booking.renter, booking.provider) or (gpu is not None and gpu not in booking.gpus):
            return False
        if params.status is None and not params.open:
            return True
        status = booking.status
        if status in OPEN_STATUSES:
            now = still(read, booking_id)
            if now is None:
                return False
            status = now.booking.status
        return params.status in (None, status.name.lower()) and (not params.open or status in OPEN_STATUSES)

    found = [
        (booking_id, booking)
        for booking_id, booking in scan_records(read.snapshot, BOOKINGS, Booking, account_, renter, provider, gpu)
        if matches(booking_id, booking)
    ]
    page, following = newest_first(found, lambda booking: booking.reserved_height, params.cursor, params.limit)
    shown = [(booking_id, still(read, booking_id)) for booking_id, _ in page]
    items = tuple(view_of(read, booking_id, now) for booking_id, now in shown if now is not None)
    return api.BookingList(as_of=read.as_of, items=items, next_cursor=following)


def money(read: Read, params: api.BookingParams) -> api.BookingMoney:
    booking_id = bytes.fromhex(params.booking)
    now = still(read, booking_id)
    if now is not None:
        status, escrow, deposit = now.booking.status.name.lower(), now.escrow, now.booking.deposit
    else:
        status, escrow = _told(read, booking_id)
        deposit = 0
    steps: list[api.MoneyStep] = []
    places = Places(read)
    for height, index in reversed(read.snapshot.history(booking_id, limit=MAXIMUM_STEPS)):
        time_ms = require_header(read, height)[0].time_ms
        result = None if index == SYSTEM_INDEX else read.snapshot.result(height, index)
        txid = result.txid.hex() if result else None
        steps += [
            api.MoneyStep(height, time_ms, txid, read.show(event))
            for event in concerning(places.events(height, index), booking_id)
        ]
    return api.BookingMoney(
        as_of=read.as_of,
        booking=booking_id.hex(),
        status=status,
        in_state=now is not None,
        deposit=str(deposit),
        locked=str(escrow.locked),
        net=str(escrow.net),
        fee=str(escrow.fee),
        refunded=str(escrow.refunded),
        remaining=str(escrow.remaining),
        steps=tuple(steps),
    )


def _told(read: Read, booking_id: bytes) -> tuple[str, Escrow]:
    """(last status, escrow) of a booking that has left the state, from its events. Raises NotFound."""
    places, totals = Places(read), Counter[str]()
    status, payer, before = "", b"", None
    for _ in range(MAXIMUM_STRIDES):
        stride = read.snapshot.history(booking_id, before, STRIDE)
        for height, index in stride:
            before = (height, index)
            for event in reversed(concerning(places.events(height, index), booking_id)):
                family, _, what = event.kind.partition(".")
                if family == "booking":
                    totals.update({name: value for name, value in event.amounts if name in _MOVED})
                    status = status or _LAST.get(what, "")
                    payer = dict(event.subjects)["renter"]
        if len(stride) < STRIDE:
            break
    else:
        raise ScanTooLong(maximum=MAXIMUM_STRIDES * STRIDE)
    if not payer:
        raise NotFound(kind="booking", id=booking_id)
    moved = (totals[name] for name in ("locked", "net", "fee", "refund"))
    return status, Escrow(payer, 0, *moved)


HANDLERS: dict[str, Handler] = {
    "booking.quote": quick(quote),
    "booking.get": quick(get),
    "booking.list": aside(list_bookings),
    "booking.money": aside(money),
}
