"""GPUs: listing one device per action, its terms and its maintenance, saying that it is alive, and taking it off.

A device is listed in two steps, a commitment and a block later the registration, so that nobody who sees the hardware
hash in a pending transaction can list the device first.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain import stake
from chain.action import Action, Clock, Context, Family
from chain.bank import require_funds
from chain.crypto.hashing import tagged_hash
from chain.deposit import held_in, storage_deposit, take
from chain.errors import InvalidField, LedgerError, NotAuthorized
from chain.invariants import require
from chain.inventory import (
    GPU_GROWTH,
    GPUS,
    HARDWARE,
    MAXIMUM_MAINTENANCE,
    Gpu,
    GpuStatus,
    Hardware,
    HardwareClaim,
    Terms,
    heard_of,
    leave_if_forgotten,
    read_gpu,
    record_heartbeat,
)
from chain.maintenance import begin, end_overdue, finish, maintenance_now, overdue_window, retire
from chain.record import record
from chain.reputation import REPUTATIONS, missing_deposit, open_reputation
from chain.schedule import Subject, is_scheduled, schedule, unschedule
from chain.schema import Hash, ListOf, Seconds, Timestamp, Unsigned64
from chain.standing import gpu_now, is_listed, refuted_live_ms, require_vacant
from chain.state.tables import Table, TableId
from chain.state.view import View


class HardwareTaken(LedgerError):
    code = 1301
    hint = "A live GPU with this hardware hash is already listed."


class GpuRetired(LedgerError):
    code = 1302
    hint = "The GPU is being retired; register the device again once its last booking has ended."


class TermsOutOfRange(LedgerError):
    code = 1303
    hint = "The network's parameters do not allow such terms."


class TermsVersionMismatch(LedgerError):
    code = 1304
    hint = "Somebody changed the terms meanwhile; look at them again."


class MaintenanceTimeRefused(LedgerError):
    code = 1306
    hint = "Maintenance begins now or later, within the booking horizon."


class CommitmentRefused(LedgerError):
    code = 1307
    hint = "Commit to the hardware first (`aitbc marketplace gpu register` does both)."


class TooMuchMaintenance(LedgerError):
    code = 1308
    hint = "End a window of maintenance, or wait until one is over."


MAXIMUM_MAINTENANCE_SECONDS = 90 * 86_400
COMMITMENT_LIFETIME_MS = 24 * 3_600_000
HEARTBEAT_WEIGHT = 12
"""Of one GPU, of whose challenge 128 ballots may have to be counted."""


def validate_terms(action: str, terms: Terms) -> None:
    """Raise InvalidField if the terms cannot be right under any state."""
    if terms.minimum_seconds == 0 or terms.minimum_seconds > terms.maximum_seconds:
        raise InvalidField(record=action, field="terms", reason="booking durations contradict")


def check_terms(context: Context, terms: Terms) -> None:
    """Raise TermsOutOfRange if the network does not allow the terms."""
    parameters = context.parameters
    if terms.minimum_seconds < parameters.booking_minimum_seconds:
        raise TermsOutOfRange(field="minimum_seconds", minimum=parameters.booking_minimum_seconds)
    if terms.maximum_seconds > parameters.booking_maximum_seconds:
        raise TermsOutOfRange(field="maximum_seconds", maximum=parameters.booking_maximum_seconds)
    if terms.horizon_seconds > parameters.booking_horizon_seconds:
        raise TermsOutOfRange(field="horizon_seconds", maximum=parameters.booking_horizon_seconds)
    if terms.notice_seconds > parameters.booking_horizon_seconds:
        raise TermsOutOfRange(field="notice_seconds", maximum=parameters.booking_horizon_seconds)


@record(version=1)
@dataclass(frozen=True, slots=True)
class RegisterGpu(Action):
    """Lists one device and reserves its collateral from the sender's free stake."""

    code: ClassVar[int] = 20
    name: ClassVar[str] = "gpu.register"
    base_weight: ClassVar[int] = 23

    hardware: Hardware
    terms: Terms
    salt: Hash
    """What the commitment was made with."""

    def validate(self) -> None:
        validate_terms("RegisterGpu", self.terms)
        if self.terms.version != 1:
            raise InvalidField(record="RegisterGpu", field="terms", reason="the first version is 1")

    def check(self, context: Context) -> None:
        check_terms(context, self.terms)
        claim = HARDWARE.get(context.view, self.hardware.hardware_hash)
        if claim is not None and is_listed(context.view, claim.gpu):
            raise HardwareTaken(gpu=claim.gpu)
        stake.require_free(context.view, context.sender, context.parameters.collateral_per_gpu)
        lasting = missing_deposit(context, context.sender, self.hardware.hardware_hash)
        require_funds(context.view, context.sender, 0, self._deposit(context) + lasting)
        # Last, so that a dry run before the commitment tells of everything else that is in the way.
        _open_commitment(context, self._commitment(context))

    def _commitment(self, context: Context) -> bytes:
        return commitment_of(context.sender, self.hardware.hardware_hash, self.salt)

    def _gpu(self, context: Context) -> Gpu:
        return Gpu(
            owner=context.sender,
            status=GpuStatus.ACTIVE,
            hardware=self.hardware,
            terms=self.terms,
            collateral=context.parameters.collateral_per_gpu,
            registered_height=context.block.height,
            heartbeat_live_ms=context.live_ms,
            offline_live_ms=context.live_ms + context.parameters.heartbeat_timeout_seconds * 1_000,
            since_live_ms=context.live_ms,
        )

    def _deposit(self, context: Context) -> int:
        return storage_deposit(context.parameters, self._gpu(context), GPU_GROWTH)

    def apply(self, context: Context) -> None:
        commitment = self._commitment(context)
        _drop_commitment(context, context.sender + commitment, _open_commitment(context, commitment))
        gpu_id = context.new_id("gpu")
        gpu, deposit = self._gpu(context), self._deposit(context)
        stake.reserve(context.view, context.sender, gpu.collateral)
        take(context, context.sender, deposit, ("gpu", gpu_id))
        HARDWARE.put(context.view, self.hardware.hardware_hash, HardwareClaim(gpu_id))
        open_reputation(context, context.sender, self.hardware.hardware_hash)
        GPUS.put(context.view, gpu_id, replace(gpu, deposit=deposit))
        schedule(context, Clock.LIVE, gpu.offline_live_ms, Subject.GPU, gpu_id)
        context.emit(
            "gpu.registered",
            [("gpu", gpu_id), ("provider", context.sender)],
            price_per_hour=self.terms.price_per_hour,
            collateral=gpu.collateral,
        )


def require_owner(context: Context, gpu_id: bytes) -> Gpu:
    """The GPU, if the sender owns it and it is not retired. Raises NotFound or NotAuthorized."""
    gpu = gpu_now(context.view, gpu_id)
    if gpu.owner != context.sender:
        raise NotAuthorized(needed="provider", account=gpu.owner)
    return gpu


@record(version=1)
@dataclass(frozen=True, slots=True)
class Heartbeat(Action):
    """Says that the sender's GPUs are alive; an offline one comes back."""

    code: ClassVar[int] = 21
    name: ClassVar[str] = "gpu.heartbeat"

    gpus: Annotated[tuple[Hash, ...], ListOf(100, 1)]

    def weight(self) -> int:
        return HEARTBEAT_WEIGHT * len(self.gpus)

    def validate(self) -> None:
        if len(set(self.gpus)) != len(self.gpus):
            raise InvalidField(record="Heartbeat", field="gpus", reason="names a GPU twice")

    def check(self, context: Context) -> None:
        for gpu_id in self.gpus:
            require_owner(context, gpu_id)

    def apply(self, context: Context) -> None:
        for gpu_id in self.gpus:
            record_heartbeat(context, gpu_id, refuted_live_ms(context.view, read_gpu(context.view, gpu_id)))
        context.emit("gpu.heartbeat", [("provider", context.sender), *(("gpu", gpu_id) for gpu_id in self.gpus)])


@record(version=1)
@dataclass(frozen=True, slots=True)
class RetireGpu(Action):
    """Takes a GPU off the market: at once without bookings, else when the last one ends. Ends its maintenance."""

    code: ClassVar[int] = 22
    name: ClassVar[str] = "gpu.retire"
    base_weight: ClassVar[int] = 40

    gpu: Hash

    def check(self, context: Context) -> None:
        if require_owner(context, self.gpu).status is GpuStatus.RETIRING:
            raise GpuRetired(gpu=self.gpu)

    def apply(self, context: Context) -> None:
        retire(context, self.gpu, context.live_ms)


def advance(context: Context, gpu_id: bytes) -> None:
    """Due handler: a GPU whose heartbeat is overdue goes offline, and one that was retired long ago goes."""
    gpu = GPUS.get(context.view, gpu_id)
    if gpu is None:
        return
    if gpu.status is GpuStatus.RETIRED:
        leave_if_forgotten(context, gpu_id)
    elif gpu.status is not GpuStatus.RETIRING:
        heard_of(context, gpu_id, context.live_ms)


@record(version=1)
@dataclass(frozen=True, slots=True)
class UpdateGpu(Action):
    """Replaces a GPU's terms; bookings keep those they were made under."""

    code: ClassVar[int] = 23
    name: ClassVar[str] = "gpu.update"
    base_weight: ClassVar[int] = 12  # a challenge may have to be counted out

    gpu: Hash
    terms: Terms
    """With the version after the present one."""

    def validate(self) -> None:
        validate_terms("UpdateGpu", self.terms)

    def check(self, context: Context) -> None:
        gpu = require_owner(context, self.gpu)
        if self.terms.version != gpu.terms.version + 1:
            raise TermsVersionMismatch(gpu=self.gpu, expected=gpu.terms.version + 1, got=self.terms.version)
        check_terms(context, self.terms)

    def apply(self, context: Context) -> None:
        gpu = read_gpu(context.view, self.gpu)
        GPUS.put(context.view, self.gpu, replace(gpu, terms=self.terms))
        context.emit(
            "gpu.updated",
            [("gpu", self.gpu), ("provider", gpu.owner)],
            price_per_hour=self.terms.price_per_hour,
            terms_version=self.terms.version,
        )


@record(version=1)
@dataclass(frozen=True, slots=True)
class SetMaintenance(Action):
    """Keeps a stretch of a GPU's calendar free of bookings; what is booked already stays booked."""

    code: ClassVar[int] = 24
    name: ClassVar[str] = "gpu.set_maintenance"
    base_weight: ClassVar[int] = 20

    gpu: Hash
    start_ms: Timestamp
    """Block time; 0 means the block that includes this."""
    seconds: Seconds

    def validate(self) -> None:
        if not 0 < self.seconds <= MAXIMUM_MAINTENANCE_SECONDS:
            raise InvalidField(record="SetMaintenance", field="seconds", reason="must be 1 second to 90 days")

    def _window(self, context: Context) -> tuple[int, int]:
        start_ms = self.start_ms or context.time_ms
        return start_ms, start_ms + self.seconds * 1_000

    def check(self, context: Context) -> None:
        if require_owner(context, self.gpu).status is GpuStatus.RETIRING:
            raise GpuRetired(gpu=self.gpu)
        start_ms, end_ms = self._window(context)
        latest = context.time_ms + context.parameters.booking_horizon_seconds * 1_000
        if not context.time_ms <= start_ms <= latest:
            raise MaintenanceTimeRefused(minimum=context.time_ms, maximum=latest, got=start_ms)
        gpu = read_gpu(context.view, self.gpu)
        if len(gpu.maintenance) >= MAXIMUM_MAINTENANCE and overdue_window(context.view, gpu) is None:
            raise TooMuchMaintenance(gpu=self.gpu, maximum=MAXIMUM_MAINTENANCE)
        require_vacant(context.view, self.gpu, start_ms, end_ms)

    def apply(self, context: Context) -> None:
        start_ms, end_ms = self._window(context)
        begin(context, self.gpu, start_ms, end_ms)


@record(version=1)
@dataclass(frozen=True, slots=True)
class EndMaintenance(Action):
    """Gives a window of maintenance, or what is left of it, back to the market."""

    code: ClassVar[int] = 25
    name: ClassVar[str] = "gpu.end_maintenance"
    base_weight: ClassVar[int] = 14  # a challenge may have to be counted out

    maintenance: Hash

    def check(self, context: Context) -> None:
        require_owner(context, maintenance_now(context.view, self.maintenance).gpu)

    def apply(self, context: Context) -> None:
        finish(context, self.maintenance)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Commitment:
    """A promise to list some device; its key is the owner and the commitment."""

    height: Unsigned64
    """Block that made it; the device may be listed from the next one on."""
    expires_ms: Timestamp


COMMITMENTS: Table[Commitment] = Table(TableId.COMMITMENTS, Commitment)


def commitment_of(owner: bytes, hardware_hash: bytes, salt: bytes) -> bytes:
    """The 32 bytes that bind an owner to a hardware hash without showing it."""
    return tagged_hash("aitbc/commitment/1", owner, hardware_hash, salt)


@record(version=1)
@dataclass(frozen=True, slots=True)
class CommitHardware(Action):
    """Promises to list a device, a block before its hash is shown: whoever sees the hash then is too late."""

    code: ClassVar[int] = 26
    name: ClassVar[str] = "gpu.commit_hardware"
    base_weight: ClassVar[int] = 20  # blocks full of these must not come due faster than blocks can forget them

    commitment: Hash

    def check(self, context: Context) -> None:
        key = context.sender + self.commitment
        expire_commitment(context, key)
        if COMMITMENTS.get(context.view, key) is not None:
            raise CommitmentRefused(commitment=self.commitment, reason="made already")

    def apply(self, context: Context) -> None:
        key = context.sender + self.commitment
        expires_ms = context.time_ms + COMMITMENT_LIFETIME_MS
        COMMITMENTS.put(context.view, key, Commitment(context.block.height, expires_ms))
        schedule(context, Clock.BLOCK, expires_ms, Subject.COMMITMENT, key)
        context.emit("gpu.hardware_committed", [("commitment", self.commitment), ("provider", context.sender)])


def _open_commitment(context: Context, commitment: bytes) -> Commitment:
    """The sender's commitment, if a device may be listed under it now. Raises CommitmentRefused."""
    found = COMMITMENTS.get(context.view, context.sender + commitment)
    if found is None or context.time_ms >= found.expires_ms:
        raise CommitmentRefused(commitment=commitment, reason="not made, or expired")
    if found.height >= context.block.height:
        raise CommitmentRefused(commitment=commitment, reason="made in this block; list the device in a later one")
    return found


def _drop_commitment(context: Context, key: bytes, found: Commitment) -> None:
    unschedule(context, Clock.BLOCK, found.expires_ms, Subject.COMMITMENT, key)
    COMMITMENTS.delete(context.view, key)


def expire_commitment(context: Context, key: bytes) -> None:
    """Due handler: a commitment that nobody used is forgotten."""
    found = COMMITMENTS.get(context.view, key)
    if found is not None and context.time_ms >= found.expires_ms:
        _drop_commitment(context, key, found)


def check_commitments(view: View) -> None:
    """Each commitment has the deadline at which it is forgotten."""
    for key, found in COMMITMENTS.scan(view):
        waiting = is_scheduled(view, Clock.BLOCK, found.expires_ms, Subject.COMMITMENT, key)
        require(waiting, "a commitment has its deadline", id=key)


FAMILY = Family(
    "gpus",
    (RegisterGpu, Heartbeat, RetireGpu, UpdateGpu, SetMaintenance, EndMaintenance, CommitHardware),
    {
        Subject.GPU: advance,
        Subject.MAINTENANCE: end_overdue,
        Subject.COMMITMENT: expire_commitment,
    },
    (check_commitments,),
    deposits=held_in(GPUS, REPUTATIONS),
)
