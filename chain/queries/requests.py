"""The bids on a request as of now: what each comes to, and whether it could be accepted."""

from dataclasses import dataclass

from chain.action import Context
from chain.booking import cost_of
from chain.errors import LedgerError
from chain.request import Bid, Request, bids_of, plan_of, require_acceptable


@dataclass(frozen=True, slots=True)
class Standing:
    """One bid, and what accepting it now would come to."""

    provider: bytes
    bid: Bid
    cost: int
    """Base units, locked if it is accepted."""
    refusal: LedgerError | None
    """Why it could not be accepted now."""
    collateral: int = 0
    """Of the provider's stake; this and what follows is known of what could be accepted."""
    notice_seconds: int = 0
    cancellation_share: int = 0
    """Basis points."""


def standings(context: Context, request_id: bytes, request: Request) -> tuple[Standing, ...]:
    """The bids on a request, the cheapest first and the earliest among equals."""
    return tuple(_standing(context, request, provider, bid) for provider, bid in bids_of(context.view, request_id))


def _standing(context: Context, request: Request, provider: bytes, bid: Bid) -> Standing:
    cost = cost_of(bid.rate, request.seconds)
    try:
        require_acceptable(context, request, bid)
    except LedgerError as error:
        return Standing(provider, bid, cost, error)
    plan = plan_of(context, request, bid)
    return Standing(provider, bid, cost, None, plan.collateral, plan.notice_seconds, plan.cancellation_share)
