"""The market in figures: what is listed, what runs, what was sold on which day."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from chain.booking import OPEN_STATUSES, Booking
from chain.inventory import Gpu, GpuStatus
from chain.job import HELD, Job, JobStatus
from chain.queries.pricing import Sold, sold_by_day
from chain.trades import Trades


@dataclass(frozen=True, slots=True)
class Statistics:
    """As of now. GPUs that have retired are not counted."""

    gpus: Counter[str]
    """By status."""
    models: Counter[str]
    """Active GPUs by model."""
    providers: int
    """Owners of active GPUs."""
    renters: int
    """Renters of open bookings and jobs."""
    bookings: Counter[str]
    """Open bookings by status."""
    jobs: Counter[str]
    """Jobs that are not over by status."""
    days: dict[int, Sold]
    """What was sold, by day since 1970."""


def statistics(
    gpus: Iterable[Gpu], bookings: Iterable[Booking], jobs: Iterable[Job], trades: Iterable[tuple[bytes, Trades]]
) -> Statistics:
    """The figures of these records, each with its status as of now."""
    statuses, models, open_bookings, open_jobs = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    providers, renters = set(), set()
    for gpu in gpus:
        if gpu.status is not GpuStatus.RETIRED:
            statuses[gpu.status.name.lower()] += 1
        if gpu.status is GpuStatus.ACTIVE:
            models[gpu.hardware.model] += 1
            providers.add(gpu.owner)
    for booking in bookings:
        if booking.status in OPEN_STATUSES:
            open_bookings[booking.status.name.lower()] += 1
            renters.add(booking.renter)
    for job in jobs:
        if job.status in (JobStatus.OPEN, *HELD, JobStatus.DELIVERED, JobStatus.DISPUTED):
            open_jobs[job.status.name.lower()] += 1
            renters.add(job.renter)
    return Statistics(statuses, models, len(providers), len(renters), open_bookings, open_jobs, sold_by_day(trades))
