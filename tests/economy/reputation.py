"""Reputations in the second ledger: what is said of providers and devices, each time that something happens."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.economy.books import Books


@dataclass
class Reputations(Books):
    counters: dict[bytes, Counter[str]] = field(default_factory=dict)
    """Of a provider by his address, of a device by its hardware hash."""

    def remember(self, provider: bytes, devices: Sequence[bytes], **happened: int) -> None:
        """Something happened to a provider, and to each device that had a part in it."""
        for subject in (provider, *devices):
            self.counters.setdefault(subject, Counter()).update(happened)

    def remember_earnings(self, provider: bytes, devices: Sequence[bytes], gross: int, fee: int) -> None:
        """A device has an equal share of what the provider earned."""
        self.remember(provider, (), gross=gross, fee=fee)
        for device in devices:
            self.remember(device, (), gross=gross // len(devices), fee=fee // len(devices))

    def remember_rating(self, provider: bytes, devices: Sequence[bytes], rating: int, fee: int) -> None:
        """A rating weighs what its author's deal has cost in fees."""
        weights = [(provider, fee), *((device, fee // len(devices)) for device in devices)]
        for subject, weight in weights:
            self.remember(
                subject, (), ratings=1, rating_sum=rating, rated_fee=weight, weighted_rating_sum=weight * rating
            )
