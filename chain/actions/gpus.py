"""GPUs: listing one device per action, saying that it is alive, and taking it off the market."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain import stake
from chain.action import Action, Clock, Context, Family
from chain.errors import InvalidField, LedgerError, NotAuthorized
from chain.inventory import (
    GPUS,
    HARDWARE,
    Gpu,
    GpuStatus,
    Hardware,
    HardwareClaim,
    Terms,
    clear_overdue,
    current_gpu,
    finish_retirement,
    read_gpu,
    record_heartbeat,
)
from chain.schedule import Subject, schedule, unschedule
from chain.schema import Hash, ListOf, record


class HardwareTaken(LedgerError):
    code = 1301
    hint = "A live GPU with this hardware hash is already listed."


class GpuRetired(LedgerError):
    code = 1302
    hint = "The GPU is retired; register it again to list it."


class TermsOutOfRange(LedgerError):
    code = 1303
    hint = "The network's parameters do not allow such terms."


@record(version=1)
@dataclass(frozen=True, slots=True)
class RegisterGpu(Action):
    """Lists one device and reserves its collateral from the sender's free stake."""

    code: ClassVar[int] = 20
    name: ClassVar[str] = "gpu.register"
    base_weight: ClassVar[int] = 10

    hardware: Hardware
    terms: Terms

    def validate(self) -> None:
        if self.terms.minimum_seconds == 0 or self.terms.minimum_seconds > self.terms.maximum_seconds:
            raise InvalidField(record="RegisterGpu", field="terms", reason="booking durations contradict")
        if self.terms.version != 1:
            raise InvalidField(record="RegisterGpu", field="terms", reason="the first version is 1")

    def check(self, context: Context) -> None:
        parameters = context.parameters
        if self.terms.minimum_seconds < parameters.booking_minimum_seconds:
            raise TermsOutOfRange(field="minimum_seconds", minimum=parameters.booking_minimum_seconds)
        if self.terms.maximum_seconds > parameters.booking_maximum_seconds:
            raise TermsOutOfRange(field="maximum_seconds", maximum=parameters.booking_maximum_seconds)
        if self.terms.horizon_seconds > parameters.booking_horizon_seconds:
            raise TermsOutOfRange(field="horizon_seconds", maximum=parameters.booking_horizon_seconds)
        claim = HARDWARE.get(context.view, self.hardware.hardware_hash)
        if claim is not None and _listed(context, claim.gpu).status is not GpuStatus.RETIRED:
            raise HardwareTaken(gpu=claim.gpu)
        stake.require_free(context.view, context.sender, parameters.collateral_per_gpu)

    def apply(self, context: Context) -> None:
        gpu_id = context.new_id("gpu")
        collateral = context.parameters.collateral_per_gpu
        stake.reserve(context.view, context.sender, collateral)
        HARDWARE.put(context.view, self.hardware.hardware_hash, HardwareClaim(gpu_id))
        offline_live_ms = context.live_ms + context.parameters.heartbeat_timeout_seconds * 1_000
        gpu = Gpu(
            owner=context.sender,
            status=GpuStatus.ACTIVE,
            hardware=self.hardware,
            terms=self.terms,
            collateral=collateral,
            registered_height=context.block.height,
            heartbeat_live_ms=context.live_ms,
            offline_live_ms=offline_live_ms,
        )
        GPUS.put(context.view, gpu_id, gpu)
        schedule(context, Clock.LIVE, offline_live_ms, Subject.GPU, gpu_id)
        context.emit(
            "gpu.registered",
            [("gpu", gpu_id), ("provider", context.sender)],
            price_per_hour=self.terms.price_per_hour,
            collateral=collateral,
        )


def _listed(context: Context, gpu_id: bytes) -> Gpu:
    """The GPU; retired, if it was only waiting for bookings that are over by now. Raises NotFound."""
    if read_gpu(context.view, gpu_id).status is GpuStatus.RETIRING:
        clear_overdue(context, gpu_id)
    return read_gpu(context.view, gpu_id)


def require_owner(context: Context, gpu_id: bytes) -> Gpu:
    """The GPU, if the sender owns it and it is listed. Raises NotFound, NotAuthorized or GpuRetired."""
    gpu = _listed(context, gpu_id)
    if gpu.owner != context.sender:
        raise NotAuthorized(needed="provider", account=gpu.owner)
    if gpu.status is GpuStatus.RETIRED:
        raise GpuRetired(gpu=gpu_id)
    return gpu


@record(version=1)
@dataclass(frozen=True, slots=True)
class Heartbeat(Action):
    """Says that the sender's GPUs are alive; an offline one comes back."""

    code: ClassVar[int] = 21
    name: ClassVar[str] = "gpu.heartbeat"

    gpus: Annotated[tuple[Hash, ...], ListOf(100, 1)]

    def weight(self) -> int:
        return 7 * len(self.gpus)

    def validate(self) -> None:
        if len(set(self.gpus)) != len(self.gpus):
            raise InvalidField(record="Heartbeat", field="gpus", reason="names a GPU twice")

    def check(self, context: Context) -> None:
        for gpu_id in self.gpus:
            require_owner(context, gpu_id)

    def apply(self, context: Context) -> None:
        for gpu_id in self.gpus:
            record_heartbeat(context, gpu_id)
        context.emit("gpu.heartbeat", [("provider", context.sender), *(("gpu", gpu_id) for gpu_id in self.gpus)])


@record(version=1)
@dataclass(frozen=True, slots=True)
class RetireGpu(Action):
    """Takes a GPU off the market: at once without bookings, else when the last one ends."""

    code: ClassVar[int] = 22
    name: ClassVar[str] = "gpu.retire"
    base_weight: ClassVar[int] = 4

    gpu: Hash

    def check(self, context: Context) -> None:
        if require_owner(context, self.gpu).status is GpuStatus.RETIRING:
            raise GpuRetired(gpu=self.gpu)

    def apply(self, context: Context) -> None:
        gpu = current_gpu(context, self.gpu)
        unschedule(context, Clock.LIVE, gpu.offline_live_ms, Subject.GPU, self.gpu)
        GPUS.put(context.view, self.gpu, replace(gpu, status=GpuStatus.RETIRING))
        context.emit("gpu.retiring", [("gpu", self.gpu), ("provider", gpu.owner)], open_bookings=gpu.open_bookings)
        if gpu.open_bookings == 0:
            finish_retirement(context, self.gpu)


def miss_heartbeat(context: Context, gpu_id: bytes) -> None:
    """Due handler: a GPU whose heartbeat is overdue goes offline."""
    if GPUS.get(context.view, gpu_id) is not None:
        current_gpu(context, gpu_id)


FAMILY = Family("gpus", (RegisterGpu, Heartbeat, RetireGpu), {Subject.GPU: miss_heartbeat})
