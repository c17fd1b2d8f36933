"""Reputation as components, each with what it is based on: no single mark, because nobody could say what it means."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from chain.actions.reviews import Review
from chain.inventory import Gpu, GpuStatus
from chain.reputation import Reputation


@dataclass(frozen=True, slots=True)
class Raters:
    """Who is behind the reviews that are in the state."""

    reviews: int
    renters: int
    """Distinct authors."""
    fees: int
    """Market fees paid for what they reviewed, base units."""
    rating_hundredths: int | None
    """Mean rating times 100, floored; None without reviews."""
    weighted_hundredths: int | None
    """The same weighted by the fees; None if none was paid."""
    largest_share: int
    """Basis points of the fees that the one renter who paid most of them paid: near 10,000, it is one man's word."""


@dataclass(frozen=True, slots=True)
class Components:
    """What is known of a provider or a device. Shares are basis points, floored; None where nothing happened yet."""

    counters: Reputation
    bookings: int
    """The provider's turn to deliver came, or he gave up: all but those that their renter cancelled."""
    served_share: int | None
    """Bookings that were completed, or used until the renter left."""
    no_show_share: int | None
    provider_cancel_share: int | None
    dispute_lost_share: int | None
    jobs: int
    """Attempts that ended."""
    jobs_accepted_share: int | None
    online_ms: int
    """Live time, with the present stretch of each listed GPU."""
    offline_ms: int
    uptime_share: int | None
    rating_hundredths: int | None
    """Mean of all ratings ever times 100, floored."""
    weighted_hundredths: int | None
    """The same weighted by the market fees that were paid for what was rated."""
    raters: Raters


def share(part: int, whole: int) -> int | None:
    """Basis points, floored; None of nothing."""
    return part * 10_000 // whole if whole else None


def mean_hundredths(total: int, weight: int) -> int | None:
    """A mean times 100, floored; None of nothing."""
    return 100 * total // weight if weight else None


def raters(reviews: Iterable[Review]) -> Raters:
    """Who wrote these reviews, and what it has cost them."""
    written, rating_sum, weighted_sum = 0, 0, 0
    paid: Counter[bytes] = Counter()
    for review in reviews:
        written, rating_sum, weighted_sum = (
            written + 1,
            rating_sum + review.rating,
            weighted_sum + review.rating * review.fee,
        )
        paid[review.author] += review.fee
    fees = sum(paid.values())
    return Raters(
        reviews=written,
        renters=len(paid),
        fees=fees,
        rating_hundredths=mean_hundredths(rating_sum, written),
        weighted_hundredths=mean_hundredths(weighted_sum, fees),
        largest_share=share(max(paid.values(), default=0), fees) or 0,
    )


def uptime(found: Reputation, gpus: Iterable[Gpu], live_ms: int) -> tuple[int, int]:
    """(online, offline) in milliseconds of live time, with the present stretch of these GPUs."""
    online_ms, offline_ms = found.online_ms, found.offline_ms
    for gpu in gpus:
        if gpu.status is GpuStatus.ACTIVE:
            online_ms += min(live_ms, gpu.offline_live_ms) - gpu.since_live_ms
            offline_ms += max(0, live_ms - gpu.offline_live_ms)
        elif gpu.status is GpuStatus.OFFLINE:
            offline_ms += live_ms - gpu.since_live_ms
    return online_ms, offline_ms


def components(found: Reputation, gpus: Iterable[Gpu], live_ms: int, reviews: Iterable[Review]) -> Components:
    """The reputation of whom these counters, listed GPUs and reviews are of.

    Args:
        gpus: the provider's, or the one that has the device's hardware hash now.
        live_ms: the present live time.
        reviews: of the provider or of the device, as far as they are in the state.
    """
    served = found.completed + found.released
    given_up = found.cancelled_in_time + found.cancelled_late
    bookings = served + found.no_shows + given_up
    jobs = found.jobs_accepted + found.jobs_failed + found.jobs_timed_out
    online_ms, offline_ms = uptime(found, gpus, live_ms)
    return Components(
        counters=found,
        bookings=bookings,
        served_share=share(served, bookings),
        no_show_share=share(found.no_shows, bookings),
        provider_cancel_share=share(given_up, bookings),
        dispute_lost_share=share(found.disputes_lost, bookings + jobs),
        jobs=jobs,
        jobs_accepted_share=share(found.jobs_accepted, jobs),
        online_ms=online_ms,
        offline_ms=offline_ms,
        uptime_share=share(online_ms, online_ms + offline_ms),
        rating_hundredths=mean_hundredths(found.rating_sum, found.ratings),
        weighted_hundredths=mean_hundredths(found.weighted_rating_sum, found.rated_fee),
        raters=raters(reviews),
    )
