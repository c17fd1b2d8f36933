"""GPUs in the second ledger: listing, terms, heartbeats, maintenance and retirement."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chain.actions.gpus import (
    CommitHardware,
    EndMaintenance,
    Heartbeat,
    RegisterGpu,
    RetireGpu,
    SetMaintenance,
    UpdateGpu,
    commitment_of,
)
from chain.inventory import Hardware, Terms
from tests.economy.books import MOST, size_of
from tests.economy.reputation import Reputations
from tests.economy.trades import Trading
from tests.market import gpu_bytes

MAXIMUM_WINDOWS = 16
REPUTATION_BYTES = size_of(*[MOST] * 19)
"""Eighteen counters and the deposit; of the owner and of the device, for good."""


@dataclass
class ModelGpu:
    owner: bytes
    offer: Terms
    hardware: Hardware
    collateral: int
    offline_live: int
    windows: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    offline: bool = False
    retiring: bool = False
    retired: bool = False
    challenge: bytes | None = None
    """The open dispute about its hardware."""
    refuted: bool = False
    idle: int = 0
    """Block time at which the last thing in its calendar ended, or its owner retired it."""
    leaves: int = 0
    """Live time from which a retired one leaves the state, unless something names it."""
    since: int = 0
    """Live time since which it is online, or offline."""

    @property
    def status(self) -> str:
        return next((name for name in ("retired", "retiring", "offline") if getattr(self, name)), "active")


@dataclass
class Gpus(Trading, Reputations):
    gpus: dict[bytes, ModelGpu] = field(default_factory=dict)
    promises: dict[tuple[bytes, bytes], tuple[int, int]] = field(default_factory=dict)
    """(owner, commitment) to (height, block time at which it lapses)."""

    def holdings(self) -> Iterator[tuple[bytes, int]]:
        yield from super().holdings()
        yield from ((gpu.owner, gpu.collateral) for gpu in self.gpus.values() if not gpu.retired)

    def calendar(self, gpu: bytes) -> Iterator[tuple[int, int]]:
        yield from super().calendar(gpu)
        yield from self.gpus[gpu].windows.values()

    def due(self) -> None:
        super().due()
        for gpu in self.gpus.values():
            gpu.windows = {key: window for key, window in gpu.windows.items() if window[1] > self.now}
            self.heard_of(gpu, self.live)
        self.vacated(*self.gpus)

    def heard_of(self, gpu: ModelGpu, live: int) -> None:
        """It is offline if its heartbeat was overdue at this live time."""
        if gpu.status == "active" and live >= gpu.offline_live:
            self.stretch(gpu, gpu.offline_live)
            gpu.offline = True

    def stretch(self, gpu: ModelGpu, until: int) -> None:
        """It was online, or offline, up to this live time."""
        spent = "offline_ms" if gpu.offline else "online_ms"
        self.remember(gpu.owner, (gpu.hardware.hardware_hash,), **{spent: until - gpu.since})
        gpu.since = until

    def devices(self, gpus: Sequence[bytes]) -> list[bytes]:
        return [self.gpus[gpu].hardware.hardware_hash for gpu in gpus]

    def models(self, gpus: Sequence[bytes]) -> list[str]:
        return [self.gpus[gpu].hardware.model for gpu in gpus]

    def vacated(self, *gpus: bytes) -> None:
        """Something left these calendars: what was only waiting for that is retired."""
        for gpu_id in gpus:
            gpu = self.gpus[gpu_id]
            if gpu.retiring and not gpu.retired and gpu.challenge is None and not any(self.calendar(gpu_id)):
                gpu.retired = True
                gpu.leaves = self.live_at(gpu.idle) + self.parameters.review_window_seconds * 1_000

    def named(self, gpu: bytes) -> bool:
        """Whether anything in the state refers to a GPU."""
        return False

    def idle(self, time: int, *gpus: bytes) -> None:
        """Something in these calendars ended then."""
        for gpu in gpus:
            self.gpus[gpu].idle = max(self.gpus[gpu].idle, time)

    def leave(self) -> None:
        """What has been over for long enough leaves the state."""
        for gpu_id, gpu in list(self.gpus.items()):
            if gpu.retired and self.live >= gpu.leaves and not self.named(gpu_id):
                del self.gpus[gpu_id]
                self.give_back("gpu", gpu_id)

    def listed(self, gpu: bytes) -> bool:
        return gpu in self.gpus and not self.gpus[gpu].retired

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        yield from (edge for gpu in self.gpus.values() for window in gpu.windows.values() for edge in window)

    def live_edges(self) -> Iterator[int]:
        yield from super().live_edges()
        yield from (gpu.offline_live for gpu in self.gpus.values() if gpu.status == "active")
        yield from (gpu.leaves for gpu in self.gpus.values() if gpu.retired)

    def allowed(self, offer: Terms) -> bool:
        limits = self.parameters
        return (
            offer.minimum_seconds >= limits.booking_minimum_seconds
            and offer.maximum_seconds <= limits.booking_maximum_seconds
            and max(offer.horizon_seconds, offer.notice_seconds) <= limits.booking_horizon_seconds
        )

    def promised(self, promise: tuple[bytes, bytes]) -> bool:
        return promise in self.promises and self.now < self.promises[promise][1]

    def do_gpu_commit_hardware(self, sender: bytes, action: CommitHardware) -> str | None:
        if self.promised((sender, action.commitment)):
            return "commitment_refused"
        self.promises[sender, action.commitment] = (self.height, self.now + 24 * 3_600_000)
        return None

    def do_gpu_register(self, sender: bytes, action: RegisterGpu) -> str | None:
        if not self.allowed(action.terms):
            return "terms_out_of_range"
        device = action.hardware.hardware_hash
        if any(gpu.hardware.hardware_hash == device and not gpu.retired for gpu in self.gpus.values()):
            return "hardware_taken"
        if self.spare(sender) < self.parameters.collateral_per_gpu:
            return "insufficient_collateral"
        deposit = self.price(gpu_bytes())
        lasting = [subject for subject in (sender, device) if ("reputation", subject) not in self.deposits]
        if self.has(sender) < deposit + len(lasting) * self.price(REPUTATION_BYTES):
            return "insufficient_funds"
        promise = (sender, commitment_of(sender, device, action.salt))
        if not self.promised(promise) or self.promises[promise][0] >= self.height:
            return "commitment_refused"
        del self.promises[promise]
        offline = self.live + self.parameters.heartbeat_timeout_seconds * 1_000
        collateral = self.parameters.collateral_per_gpu
        listed = ModelGpu(sender, action.terms, action.hardware, collateral, offline, since=self.live)
        gpu_id = self.new_id("gpu")
        self.hold(sender, deposit, "gpu", gpu_id)
        for subject in lasting:
            self.hold(sender, self.price(REPUTATION_BYTES), "reputation", subject)
        self.gpus[gpu_id] = listed
        return None

    def owned(self, sender: bytes, gpu_id: bytes) -> str | None:
        if not self.listed(gpu_id):
            return "not_found"
        return None if self.gpus[gpu_id].owner == sender else "not_authorized"

    def do_gpu_heartbeat(self, sender: bytes, action: Heartbeat) -> str | None:
        for gpu_id in action.gpus:
            if error := self.owned(sender, gpu_id):
                return error
        for gpu_id in action.gpus:
            gpu = self.gpus[gpu_id]
            if gpu.status == "offline":
                self.stretch(gpu, self.live)
            gpu.offline, gpu.offline_live = False, self.live + self.parameters.heartbeat_timeout_seconds * 1_000
        return None

    def do_gpu_retire(self, sender: bytes, action: RetireGpu) -> str | None:
        if error := self.owned(sender, action.gpu):
            return error
        gpu = self.gpus[action.gpu]
        if gpu.retiring:
            return "gpu_retired"
        self.withdraw(action.gpu, self.live)
        return None

    def withdraw(self, gpu_id: bytes, live: int) -> None:
        """From this live time on a GPU is off the market; what is booked stays booked."""
        gpu = self.gpus[gpu_id]
        self.heard_of(gpu, live)
        self.stretch(gpu, live)
        gpu.windows, gpu.retiring = {}, True
        self.idle(self.instant(live), gpu_id)
        self.vacated(gpu_id)

    def do_gpu_update(self, sender: bytes, action: UpdateGpu) -> str | None:
        if error := self.owned(sender, action.gpu):
            return error
        gpu = self.gpus[action.gpu]
        if action.terms.version != gpu.offer.version + 1:
            return "terms_version_mismatch"
        if not self.allowed(action.terms):
            return "terms_out_of_range"
        gpu.offer = action.terms
        return None

    def do_gpu_set_maintenance(self, sender: bytes, action: SetMaintenance) -> str | None:
        if error := self.owned(sender, action.gpu):
            return error
        gpu = self.gpus[action.gpu]
        if gpu.retiring:
            return "gpu_retired"
        start = action.start_ms or self.now
        if not self.now <= start <= self.now + self.parameters.booking_horizon_seconds * 1_000:
            return "maintenance_time_refused"
        if len(gpu.windows) == MAXIMUM_WINDOWS:
            return "too_much_maintenance"
        end = start + action.seconds * 1_000
        if self.taken((action.gpu,), start, end):
            return "booking_conflict"
        gpu.windows[self.new_id("maintenance")] = (start, end)
        return None

    def do_gpu_end_maintenance(self, sender: bytes, action: EndMaintenance) -> str | None:
        for gpu_id, gpu in self.gpus.items():
            if action.maintenance in gpu.windows:
                if error := self.owned(sender, gpu_id):
                    return error
                del gpu.windows[action.maintenance]
                self.vacated(gpu_id)
                return None
        return "not_found"
