"""The namespace `market`: offers, prices, orders and statistics. What is computed is in `chain.queries`."""

from collections import Counter
from collections.abc import Iterator

from chain import interface as api
from chain.bank import totals
from chain.booking import BOOKINGS, OPEN_STATUSES, Booking
from chain.booking_life import has_left
from chain.inventory import Gpu, GpuStatus
from chain.job import JOBS, OVER, Job
from chain.queries.bookings import present_booking
from chain.queries.offers import Offer, offer
from chain.queries.orders import Order, booking_order, job_order
from chain.queries.pricing import Pricing, models_sold, pricing
from chain.queries.reputation import components, mean_hundredths
from chain.queries.statistics import statistics
from chain.reputation import reputation_of
from chain.trades import DAY_MS, TRADES, Trades, split_key
from node.rpc.booking import still as still_booking
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.gpu import GpuFilter, gpus_now, pattern
from node.rpc.handlers import aside
from node.rpc.job import still as still_job
from node.rpc.pages import make_cursor, newest_first, read_cursor, scan_records

MAXIMUM_REFUSED = 5_000
"""GPUs that cannot be booked after all that one page of offers passes over."""
MAXIMUM_MODELS = 100


def _order_of(read: Read, order: str, gpu: Gpu) -> int:
    """What offers are ordered by; the least comes first."""
    match order.removeprefix("-"):
        case "memory":
            value = gpu.hardware.memory_mb
        case "cores":
            value = gpu.hardware.cuda_cores
        case "rating":
            found = reputation_of(read.view, gpu.hardware.hardware_hash)
            value = mean_hundredths(found.weighted_rating_sum, found.rated_fee) or 0
        case _:
            value = gpu.terms.price_per_hour
    return -value if order.startswith("-") else value


def offers(read: Read, params: api.OffersParams) -> api.Offers:
    """Filter and order by the records, then ask the ledger about one after the other until the page is full."""
    provider = None if params.provider is None else read.address(params.provider)
    wanted = GpuFilter(
        read,
        api.GpuListParams(
            available=True,
            model=params.model,
            region=params.region,
            provider=params.provider,
            price_max=params.price_max,
            memory_min=params.memory_min,
            cores_min=params.cores_min,
            attribute=params.attribute,
        ),
    )
    after = read_cursor(params.cursor, int, bytes)
    matching = sorted(
        (_order_of(read, params.order, gpu), gpu_id) for gpu_id, gpu in gpus_now(read, provider) if wanted.matches(gpu)
    )
    start_ms = 0 if (params.start_ms or 0) <= read.clocks.time_ms else params.start_ms or 0
    items: list[api.OfferView] = []
    place, refused = after, 0
    for key in matching:
        if after is not None and key <= after:
            continue
        if len(items) == params.limit or refused == MAXIMUM_REFUSED:
            return api.Offers(read.as_of, tuple(items), make_cursor(*place) if place else None)
        found = offer(read.now(), key[1], start_ms, params.seconds)
        if found is None:
            refused += 1
        else:
            items.append(_offer_view(read, found))
        place = key
    return api.Offers(read.as_of, tuple(items), None)


def _offer_view(read: Read, found: Offer) -> api.OfferView:
    known = components(found.device, (), read.clocks.live_ms, ())
    return api.OfferView(
        id=found.gpu_id.hex(),
        gpu=read.show(found.gpu),
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        cost=str(found.cost),
        collateral=str(found.collateral),
        free_until_ms=found.free_until_ms,
        bookings=known.bookings,
        served_share=known.served_share,
        ratings=found.device.ratings,
        weighted_hundredths=known.weighted_hundredths,
    )


def stats(read: Read, params: api.StatsParams) -> api.MarketStats:
    since = read.clocks.time_ms // DAY_MS - params.days + 1
    found = statistics(
        (gpu for _, gpu in gpus_now(read)),
        (booking for _, booking in _bookings_now(read)),
        (job for _, job in _jobs_now(read)),
        ((key, trade) for key, trade in scan_records(read.snapshot, TRADES, Trades) if split_key(key)[1] >= since),
    )
    money = totals(read.view)
    return api.MarketStats(
        as_of=read.as_of,
        gpus=_counted(found.gpus),
        models=_counted(found.models)[:MAXIMUM_MODELS],
        providers=found.providers,
        renters=found.renters,
        bookings=_counted(found.bookings),
        jobs=_counted(found.jobs),
        days=tuple(
            api.DayOfTrades(day * DAY_MS, sold.deals, sold.gpu_ms // 1_000, str(sold.gross), str(sold.fee))
            for day, sold in sorted(found.days.items(), reverse=True)
        ),
        supply=str(money.issued - money.burnt),
        staked=str(money.staked),
        escrow=str(money.escrow),
    )


def _bookings_now(read: Read, *parties: bytes | None) -> Iterator[tuple[bytes, Booking]]:
    """Every booking of these parties as of now, but for those that are about to leave the state."""
    for booking_id, booking in scan_records(read.snapshot, BOOKINGS, Booking, *parties):
        if booking.status in OPEN_STATUSES:
            now = still_booking(read, booking_id)
            if now is not None:
                yield booking_id, now.booking
        elif not has_left(read.now(), booking):
            yield booking_id, booking


def _jobs_now(read: Read, *parties: bytes | None) -> Iterator[tuple[bytes, Job]]:
    """The same for jobs."""
    for job_id, stored in scan_records(read.snapshot, JOBS, Job, *parties):
        job = still_job(read, job_id, stored)
        if job is not None:
            yield job_id, job


def _counted(counter: Counter[str]) -> tuple[api.Counted, ...]:
    return tuple(
        api.Counted(name, count) for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    )


def prices(read: Read, params: api.PricingParams) -> api.Pricing:
    named = pattern(params.model)
    after = read_cursor(params.cursor, str)
    by_model: dict[str, list[tuple[bytes, Gpu]]] = {}
    for gpu_id, gpu in gpus_now(read):
        if gpu.status is not GpuStatus.RETIRED and (named is None or named.match(gpu.hardware.model)):
            by_model.setdefault(gpu.hardware.model, []).append((gpu_id, gpu))
    for model in models_sold(scan_records(read.snapshot, TRADES, Trades)):
        if named is None or named.match(model):
            by_model.setdefault(model, [])
    models = sorted(model for model in by_model if after is None or model > after[0])
    page = models[: params.limit]
    view, time_ms = read.now().view, read.clocks.time_ms
    return api.Pricing(
        as_of=read.as_of,
        items=tuple(
            _pricing_view(pricing(view, model, by_model[model], time_ms, params.days, params.past_days, len(page)))
            for model in page
        ),
        next_cursor=make_cursor(page[-1]) if len(models) > len(page) else None,
    )


def _pricing_view(found: Pricing) -> api.PricingView:
    sold = found.sold
    return api.PricingView(
        model=found.model,
        listed=found.listed,
        active=found.active,
        low=_text(found.low),
        median=_text(found.median),
        high=_text(found.high),
        calendars=found.calendars,
        booked_share=found.booked_share,
        sold_share=found.sold_share,
        deals=sold.deals,
        gpu_seconds=sold.gpu_ms // 1_000,
        gross=str(sold.gross),
        fee=str(sold.fee),
        middle_price=_text(sold.middle_price),
        mean_price=_text(sold.mean_price),
        recommended=_text(found.recommended),
        basis=found.basis,
    )


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def orders(read: Read, params: api.OrdersParams) -> api.Orders:
    parties = [
        None if text is None else read.address(text) for text in (params.account, params.renter, params.provider)
    ]
    account, renter, provider = parties

    def between(renters: bytes, providers: bytes | None) -> bool:
        return renter in (None, renters) and provider in (None, providers) and account in (None, renters, providers)

    def has_status(name: str, over: bool) -> bool:
        return params.status in (None, name) and not (params.open and over)

    found: list[tuple[bytes, tuple[int, str]]] = []
    if params.kind in (None, "booking"):
        for booking_id, booking in _bookings_now(read, *parties):
            status = booking.status
            if between(booking.renter, booking.provider) and has_status(
                status.name.lower(), status not in OPEN_STATUSES
            ):
                found.append((booking_id, (booking.reserved_height, "booking")))
    if params.kind in (None, "job"):
        for job_id, job in _jobs_now(read, *parties):
            party = between(job.renter, job.claim.provider if job.claim else None)
            if job.booking is None and party and has_status(job.status.name.lower(), job.status in OVER):
                found.append((job_id, (job.submitted_height, "job")))
    page, following = newest_first(found, lambda item: item[0], params.cursor, params.limit)
    items = tuple(_order_view(read, identifier, kind) for identifier, (_, kind) in page)
    return api.Orders(as_of=read.as_of, items=items, next_cursor=following)


def _order(read: Read, identifier: bytes, kind: str) -> Order:
    if kind == "booking":
        return booking_order(present_booking(read.now().view, identifier), read.clocks.time_ms)
    return job_order(read.now(), identifier)


def _order_view(read: Read, identifier: bytes, kind: str) -> api.OrderView:
    found = _order(read, identifier, kind)
    return api.OrderView(
        id=identifier.hex(),
        kind=found.kind,
        renter=read.address_text(found.renter),
        provider=None if found.provider is None else read.address_text(found.provider),
        gpus=tuple(gpu.hex() for gpu in found.gpus),
        status=found.status,
        locked=str(found.locked),
        earned=str(found.earned),
        fee=str(found.fee),
        paid=str(found.paid),
        refunded=str(found.refunded),
        remaining=str(found.remaining),
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        seconds_left=found.seconds_left,
        seconds_until_empty=found.seconds_until_empty,
    )


HANDLERS: dict[str, Handler] = {
    "market.offers": aside(offers),
    "market.stats": aside(stats),
    "market.pricing": aside(prices),
    "market.orders": aside(orders),
}
