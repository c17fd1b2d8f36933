"""`market.reputation`: what providers and devices did, and what is said of them."""

from collections.abc import Iterable

from chain import interface as api
from chain.actions.reviews import Review
from chain.inventory import GPUS, HARDWARE, Gpu
from chain.queries.reputation import Components, components
from chain.reputation import reputation_of
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, exactly_one
from node.rpc.pages import scan_records
from node.rpc.review import reviews_of


def reputation(read: Read, params: api.ReputationParams) -> api.ReputationDetails:
    exactly_one(provider=params.provider, hardware=params.hardware)
    if params.provider is not None:
        return api.ReputationDetails(read.as_of, provider_reputation(read, read.address(params.provider)))
    hardware = bytes.fromhex(params.hardware or "")
    found = device_reputation(read, hardware, reviews_of(read, hardware=hardware))
    return api.ReputationDetails(read.as_of, found)


def provider_reputation(read: Read, provider: bytes) -> api.ReputationView:
    """The reputation of a provider, with what his listed GPUs are doing now."""
    own = (gpu for _, gpu in scan_records(read.snapshot, GPUS, Gpu, provider) if gpu.owner == provider)
    return _reputation(read, provider, own, reviews_of(read, provider=provider))


def device_reputation(read: Read, hardware: bytes, reviews: Iterable[Review]) -> api.ReputationView:
    """The reputation of a device, with what it is doing now if it is listed."""
    claim = HARDWARE.get(read.view, hardware)
    gpu = None if claim is None else GPUS.get(read.view, claim.gpu)
    return _reputation(read, hardware, () if gpu is None else (gpu,), reviews)


def _reputation(read: Read, subject: bytes, gpus: Iterable[Gpu], reviews: Iterable[Review]) -> api.ReputationView:
    return _reputation_view(read, components(reputation_of(read.view, subject), gpus, read.clocks.live_ms, reviews))


def _reputation_view(read: Read, found: Components) -> api.ReputationView:
    by = found.raters
    return api.ReputationView(
        counters=read.show(found.counters),
        bookings=found.bookings,
        served_share=found.served_share,
        no_show_share=found.no_show_share,
        provider_cancel_share=found.provider_cancel_share,
        dispute_lost_share=found.dispute_lost_share,
        jobs=found.jobs,
        jobs_accepted_share=found.jobs_accepted_share,
        online_seconds=found.online_ms // 1_000,
        offline_seconds=found.offline_ms // 1_000,
        uptime_share=found.uptime_share,
        average_hundredths=found.rating_hundredths,
        weighted_hundredths=found.weighted_hundredths,
        raters=api.RatersView(by.reviews, by.renters, str(by.fees), by.weighted_hundredths, by.largest_share),
    )


HANDLERS: dict[str, Handler] = {"market.reputation": aside(reputation)}
