"""The namespace `booking`: quotes before signing, bookings as of now, and where their money went."""

from chain import interface as api
from chain.bank import account
from chain.booking import BOOKINGS, OPEN_STATUSES, Booking, BookingStatus, read_booking
from chain.errors import InsufficientFunds
from chain.queries.bookings import BookingNow, booking_now
from chain.queries.quote import quote as quote_of
from node.rpc.account import Places, concerning
from node.rpc.chain import require_header
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, quick
from node.rpc.pages import newest_first, scan_records
from node.store import SYSTEM_INDEX

MAXIMUM_STEPS = 200
"""Latest events that a booking's money story shows."""


def quote(read: Read, params: api.QuoteParams) -> api.Quote:
    gpus = [bytes.fromhex(gpu) for gpu in params.gpus]
    found = quote_of(read.view, gpus, params.start_ms or 0, params.seconds)
    if params.renter is not None:
        available = account(read.view, read.address(params.renter)).balance
        if available < found.cost:
            raise InsufficientFunds(needed=found.cost, available=available)
    return api.Quote(
        as_of=read.as_of,
        gpus=tuple(gpu.hex() for gpu in found.gpus),
        provider=read.address_text(found.provider),
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        rate=str(found.rate),
        cost=str(found.cost),
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
    return booking_now(read.now().view, booking_id)


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
            status = _now(read, booking_id).booking.status
        return params.status in (None, status.name.lower()) and (not params.open or status in OPEN_STATUSES)

    found = [
        (booking_id, booking)
        for booking_id, booking in scan_records(read.snapshot, BOOKINGS, Booking, account_, renter, provider, gpu)
        if matches(booking_id, booking)
    ]
    page, following = newest_first(found, lambda booking: booking.reserved_height, params.cursor, params.limit)
    items = tuple(view_of(read, booking_id, _now(read, booking_id)) for booking_id, _ in page)
    return api.BookingList(as_of=read.as_of, items=items, next_cursor=following)


def money(read: Read, params: api.BookingParams) -> api.BookingMoney:
    booking_id = bytes.fromhex(params.booking)
    read_booking(read.view, booking_id)
    now = _now(read, booking_id)
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
    escrow = now.escrow
    return api.BookingMoney(
        as_of=read.as_of,
        booking=booking_id.hex(),
        status=now.booking.status.name.lower(),
        locked=str(escrow.locked),
        net=str(escrow.net),
        fee=str(escrow.fee),
        refunded=str(escrow.refunded),
        remaining=str(escrow.remaining),
        steps=tuple(steps),
    )


HANDLERS: dict[str, Handler] = {
    "booking.quote": quick(quote),
    "booking.get": quick(get),
    "booking.list": aside(list_bookings),
    "booking.money": aside(money),
}
