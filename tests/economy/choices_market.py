"""What owners of GPUs and renters attempt."""

from typing import Any

from chain.action import Action
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Reserve, Settle
from chain.actions.gpus import EndMaintenance, Heartbeat, RetireGpu, SetMaintenance, UpdateGpu
from chain.inventory import Terms
from chain.schema import COIN
from tests.economy.choices import Attempted, Choices
from tests.market import commitment, registration, terms


class MarketChoices(Choices):
    """Attempts with GPUs and bookings."""

    def listed(self) -> list[bytes]:
        rng = self.rng
        return [gpu_id for gpu_id, gpu in self.model.gpus.items() if not gpu.retired or rng.random() < 0.05]

    def offer(self, version: int = 1) -> Terms:
        rng = self.rng
        price = rng.choice((0, 1, 3_599, rng.randint(1, 10**9), rng.randint(1, 300 * COIN), rng.randint(1, 2 * COIN)))
        notice, share = rng.choice(((0, 0), (0, 10_000), (600, 136), (3_600, 2_500), (86_400, 10_000)))
        minimum = rng.choice((60, 60, 60, 120, 59))
        maximum = rng.choice((30 * 86_400, 30 * 86_400, 7_200, 90 * 86_400 + 1))
        horizon = rng.choice((90 * 86_400, 90 * 86_400, 3_600))
        return terms(price, minimum, maximum, horizon, notice=notice, share=share, version=version)

    def listing(self) -> Attempted:
        """A promise to list some device, or its listing if it was promised."""
        owner, name = self.anybody(), f"device {self.rng.randrange(10)}"
        (promise,) = commitment(owner, name)
        if (owner, promise.commitment) in self.model.promises or self.rng.random() < 0.05:
            return owner, registration(name, self.offer())
        return owner, promise

    def chore(self) -> Attempted | None:
        """What an owner does with a GPU."""
        rng, model = self.rng, self.model
        listed = self.listed()
        if not listed:
            return None
        gpu_id = rng.choice(listed)
        gpu = model.gpus[gpu_id]
        own = tuple(other for other in listed if model.gpus[other].owner == gpu.owner)
        windows = [(window, item.owner) for item in model.gpus.values() for window in item.windows]
        if windows and rng.random() < 0.3:
            window, owner = rng.choice(windows)
            return self.mostly(owner), EndMaintenance(window if rng.random() < 0.97 else bytes(32))
        start = rng.choice((0, model.now + rng.randint(-100, 4_000_000)))
        choices: list[Action] = [
            Heartbeat(own),
            Heartbeat(own),
            Heartbeat(own),
            RetireGpu(gpu_id),
            UpdateGpu(gpu_id, self.offer(gpu.offer.version + rng.choice((1, 1, 1, 1, 1, 1, 0, 2)))),
            SetMaintenance(gpu_id, start, rng.choice((1, 60, 600, 3_600, 86_400))),
        ]
        return self.mostly(gpu.owner), rng.choice(choices)

    def reserve(self) -> Attempted | None:
        rng, model = self.rng, self.model
        listed = self.listed()
        listed = [gpu_id for gpu_id in listed if model.gpus[gpu_id].status == "active" or rng.random() < 0.1] or listed
        if not listed:
            return None
        first = rng.choice(listed)
        owner = model.gpus[first].owner
        same = [gpu_id for gpu_id in listed if model.gpus[gpu_id].owner == owner or rng.random() < 0.02]
        chosen = tuple(dict.fromkeys([first, *rng.sample(same, k=rng.randint(0, min(2, len(same))))]))
        edges = [edge for booking in model.bookings.values() for edge in (booking.start, booking.end)]
        edges = [edge for edge in edges if edge > model.now] or [0]
        start = rng.choice((0, 0, model.now + rng.randint(-100, 400_000), rng.choice(edges)))
        seconds = rng.choice((59, 60, 61, 90, 333, 3_600, rng.randint(60, 10_000)))
        most = rng.choice((10**15, 10**15, 10**15, 10**9))
        versions = tuple(model.gpus[gpu_id].offer.version + (rng.random() < 0.01) for gpu_id in chosen)
        return self.anybody(), Reserve(chosen, start, seconds, most, versions, bytes(32))

    def booking(self) -> Attempted | None:
        """Something with a booking that is going on."""
        rng, model = self.rng, self.model
        known = [item for item in model.bookings.items() if item[1].state in ("reserved", "active", "closing")]
        if not known:
            return None
        booking_id, booking = rng.choice(known)
        if rng.random() < 0.03:
            booking_id = rng.choice([*model.bookings, *model.gone, bytes(32)])
        wanted: dict[str, list[Any]] = {
            "reserved": [Activate, Activate, Activate, Cancel, Extend, ProviderCancel],
            "active": [Release, Release, Release, Cancel, Extend, Extend, Settle, Settle, ProviderCancel],
            "closing": [Confirm, Settle],
        }
        anything: list[Any] = [Activate, Cancel, Release, Confirm, Extend, Settle, ProviderCancel]
        kind = rng.choice(wanted[booking.state]) if rng.random() < 0.9 else rng.choice(anything)
        if kind is Activate:
            return self.mostly(booking.provider), Activate(booking_id, b"x")
        if kind is ProviderCancel:
            return self.mostly(booking.provider), ProviderCancel(booking_id)
        if kind is Settle:
            return self.anybody(), Settle(booking_id)
        if kind is Extend:
            seconds = rng.choice((1, 59, 60, 61, 3_600, rng.randint(1, 10_000), 30 * 86_400))
            return self.mostly(booking.renter), Extend(booking_id, seconds, rng.choice((10**15, 10**15, 10**9)))
        return self.mostly(booking.renter), kind(booking_id)
