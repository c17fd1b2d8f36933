"""The namespace `request`: what renters look for, and what providers bid."""

from chain import interface as api
from chain.booking import cost_of
from chain.queries.requests import Standing, standings
from chain.request import BIDS, REQUESTS, Request, bids_of, current_request
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.errors import error_view
from node.rpc.handlers import aside
from node.rpc.pages import newest_first, scan_records


def _view(read: Read, request_id: bytes, request: Request) -> api.RequestView:
    bids = bids_of(read.view, request_id) if request.bids else []
    return api.RequestView(
        id=request_id.hex(),
        request=read.show(request),
        seconds_left=max(0, request.expires_ms - read.clocks.time_ms) // 1_000,
        cheapest=str(cost_of(bids[0][1].rate, request.seconds)) if bids else None,
    )


def _bid(read: Read, standing: Standing) -> api.BidView:
    refused = standing.refusal is not None
    return api.BidView(
        provider=read.address_text(standing.provider),
        bid=read.show(standing.bid),
        cost=str(standing.cost),
        refusal=None if standing.refusal is None else error_view(standing.refusal, read.prefix),
        collateral=None if refused else str(standing.collateral),
        notice_seconds=None if refused else standing.notice_seconds,
        cancellation_share=None if refused else standing.cancellation_share,
    )


def get(read: Read, params: api.RequestParams) -> api.RequestDetails:
    request_id = bytes.fromhex(params.request)
    now = read.now()
    request = current_request(now, request_id)
    return api.RequestDetails(
        as_of=read.as_of,
        view=_view(read, request_id, request),
        bids=tuple(_bid(read, standing) for standing in standings(now, request_id, request)),
    )


def list_requests(read: Read, params: api.RequestListParams) -> api.RequestList:
    renter, provider = (None if text is None else read.address(text) for text in (params.renter, params.provider))
    model = None if params.model is None else params.model.casefold()

    def matches(request_id: bytes, request: Request) -> bool:
        return (
            read.clocks.time_ms < request.expires_ms
            and renter in (None, request.renter)
            and (model is None or request.gpu_filter.model.casefold() in ("", model))
            and (provider is None or BIDS.get(read.view, request_id + provider) is not None)
        )

    found = [
        (request_id, request)
        for request_id, request in scan_records(read.snapshot, REQUESTS, Request, renter)
        if matches(request_id, request)
    ]
    page, following = newest_first(found, lambda request: request.opened_height, params.cursor, params.limit)
    items = tuple(_view(read, request_id, request) for request_id, request in page)
    return api.RequestList(as_of=read.as_of, items=items, next_cursor=following)


HANDLERS: dict[str, Handler] = {
    "request.get": aside(get),
    "request.list": aside(list_requests),
}
