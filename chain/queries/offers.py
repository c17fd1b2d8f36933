"""Offers: GPUs that a reservation made now would get, with what it would cost and what is known of them."""

from dataclasses import dataclass

from chain import reservation, stake
from chain.action import Context
from chain.errors import LedgerError
from chain.inventory import INTERVALS, Gpu
from chain.reputation import Reputation, reputation_of
from chain.schema import U64
from chain.standing import gpu_now
from chain.state.tables import prefix_end, u64


@dataclass(frozen=True, slots=True)
class Offer:
    """One GPU, bookable alone for the time that was asked for."""

    gpu_id: bytes
    gpu: Gpu
    start_ms: int
    end_ms: int
    cost: int
    """Of the whole time, base units."""
    collateral: int
    """Of the provider's stake, the renter's if the provider does not show up."""
    free_until_ms: int | None
    """Start of what the calendar holds next; None if it holds nothing."""
    provider: Reputation
    device: Reputation


def offer(context: Context, gpu_id: bytes, start_ms: int, seconds: int | None) -> Offer | None:
    """What a reservation of this GPU would come to, as the ledger itself works it out; None if it would be refused.

    Args:
        start_ms: 0 for now.
        seconds: the shortest booking that the GPU takes if None.
    """
    try:
        gpu = gpu_now(context.view, gpu_id)
        shortest = max(gpu.terms.minimum_seconds, context.parameters.booking_minimum_seconds)
        length = shortest if seconds is None else seconds
        plan = reservation.plan(context, (gpu_id,), (gpu.terms.version,), start_ms, length, U64)
        stake.require_free(context.view, plan.provider, plan.collateral)
    except LedgerError:
        return None
    following = INTERVALS.scan(context.view, gpu_id + u64(plan.end_ms), prefix_end(gpu_id))
    key = next((key for key, _ in following), None)
    return Offer(
        gpu_id=gpu_id,
        gpu=plan.gpus[0],
        start_ms=plan.start_ms,
        end_ms=plan.end_ms,
        cost=plan.cost,
        collateral=plan.collateral,
        free_until_ms=None if key is None else int.from_bytes(key[32:], "big"),
        provider=reputation_of(context.view, gpu.owner),
        device=reputation_of(context.view, gpu.hardware.hardware_hash),
    )
