"""The dearest that each action can be made to be, as far as we know: a state, and attempts that all succeed in it.

A scenario is given a stage, prepares it, and returns who attempts what in the block that is measured. What is bounded
is at its bound: sixteen GPUs, sixteen segments, sixteen windows, 128 authorities, 64 bids, 32 members and proposals.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from chain.action import Action
from chain.actions.accounts import Profile, SetProfile, Transfer
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Settle
from chain.actions.disputes import ChallengeHardware, OpenDispute, RespondToDispute, VoteOnDispute
from chain.actions.gpus import EndMaintenance, Heartbeat, RetireGpu, SetMaintenance, UpdateGpu
from chain.actions.jobs import AcceptJob, AddReceipt, CancelJob, ClaimJob, FailJob, SharePayload, SubmitJob
from chain.actions.multisig import CreateMultisig
from chain.actions.reviews import ReplyToReview, SubmitReview
from chain.actions.staking import AddStake, ClaimRewards, RemoveStake
from chain.booking import MAXIMUM_GPUS
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256
from chain.dispute import Fault
from chain.job import Receipt, Unit, receipt_hash
from chain.schema import COIN
from tests.benchmarks.stage import WIDE, Stage, wordy
from tests.ledger import Person
from tests.market import commitment, registration, rotation, terms

Attempts = Iterable[tuple[Person, Action]]
Scenario = Callable[[], tuple[Stage, Attempts]]
SCENARIOS: dict[str, list[Scenario]] = {}
"""By the name of the action, or of something else that takes weight."""
TEXT = "y" * 500
TEN = 10


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Make a scenario one of an action."""

    def keep(function: Scenario) -> Scenario:
        SCENARIOS.setdefault(name, []).append(function)
        return function

    return keep


@scenario("account.transfer")
def transfer() -> tuple[Stage, Attempts]:
    stage = Stage()
    return stage, [(person, Transfer(_after(stage, person).address, "AITBC", 5)) for person in stage.crowd]


@scenario("account.transfer")
def transfer_to_the_new() -> tuple[Stage, Attempts]:
    stage = Stage()
    strangers = [b"\x00" + sha256(f"stranger {index}".encode()) for index in range(500)]
    return stage, [(stage.renter, Transfer(address, "AITBC", 5)) for address in strangers]


def _after(stage: Stage, person: Person) -> Person:
    return stage.crowd[(stage.crowd.index(person) * 7 + 1) % len(stage.crowd)]


@scenario("account.set_profile")
def set_profile() -> tuple[Stage, Attempts]:
    stage = Stage()
    stage.each((person, SetProfile(Profile("n" * 64, "c" * 128, bytes(32)))) for person in stage.crowd)
    return stage, [(person, SetProfile(Profile("m" * 64, "d" * 128, bytes(32)))) for person in stage.crowd]


@scenario("account.rotate_key")
def rotate_key() -> tuple[Stage, Attempts]:
    stage = Stage()
    for person in stage.crowd[:30]:
        key = PrivateKey(sha256(b"first" + person.address))
        stage.do(person, rotation(stage.chain_id, person.address, key))
        person.key = key
    fresh = {person: PrivateKey(sha256(b"second" + person.address)) for person in stage.crowd[:30]}
    return stage, [(person, rotation(stage.chain_id, person.address, key)) for person, key in fresh.items()]


@scenario("stake.add")
def add_stake() -> tuple[Stage, Attempts]:
    stage = Stage()
    return stage, [(person, AddStake(7, 100)) for person in stage.crowd]


@scenario("stake.remove")
def remove_stake() -> tuple[Stage, Attempts]:
    stage = Stage(replace(WIDE, unbonding_seconds=90 * 86_400))
    stage.each((person, RemoveStake(1)) for person in stage.crowd[:60] for _ in range(31))
    return stage, [(person, RemoveStake(1)) for person in stage.crowd[:60]]


@scenario("stake.claim_rewards")
def claim_rewards() -> tuple[Stage, Attempts]:
    stage = Stage(replace(WIDE, epoch_blocks=10))
    stage.each((person, AddStake(7)) for person in stage.crowd)
    stage.all(stage.renter, [CreateMultisig(1, tuple(sorted(person.address for person in stage.crowd[:32])))] * 1)
    stage.wait(30_000, 1_000)
    stage.each((person, AddStake(7)) for person in stage.crowd)
    stage.wait(30_000, 1_000)
    return stage, [(person, ClaimRewards()) for person in stage.crowd]


@scenario("gpu.commit_hardware")
def commit_hardware() -> tuple[Stage, Attempts]:
    stage = Stage()
    return stage, [(stage.provider, each) for each in commitment(stage.provider, *(f"new {i}" for i in range(200)))]


@scenario("gpu.register")
def register() -> tuple[Stage, Attempts]:
    stage, names = Stage(), [f"new {index}" for index in range(200)]
    stage.all(stage.provider, commitment(stage.provider, *names))
    return stage, [(stage.provider, replace(registration(name), hardware=wordy(name))) for name in names]


@scenario("gpu.heartbeat")
def heartbeat() -> tuple[Stage, Attempts]:
    stage = Stage(replace(WIDE, heartbeat_timeout_seconds=60), gpus=400)
    stage.wait(61_000)
    return stage, [(stage.provider, Heartbeat(stage.gpus[first : first + 100])) for first in range(0, 400, 100)]


def _windows(stage: Stage, count: int) -> list[bytes]:
    """Maintenance on every GPU, this many windows each."""
    found: list[bytes] = []
    for index in range(count):
        start = stage.time_ms + 10_000_000 + index * 1_000_000
        results = stage.all(stage.provider, [SetMaintenance(gpu, start, 60) for gpu in stage.gpus])
        found = stage.ids(results, "gpu.maintenance_set", "maintenance")
    return found


@scenario("gpu.retire")
def retire() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=40)
    _windows(stage, 16)
    return stage, [(stage.provider, RetireGpu(gpu)) for gpu in stage.gpus]


@scenario("gpu.update")
def update_terms() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    return stage, [(stage.provider, UpdateGpu(gpu, terms(7, version=2))) for gpu in stage.gpus]


@scenario("gpu.set_maintenance")
def set_maintenance() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    _windows(stage, 15)
    return stage, [(stage.provider, SetMaintenance(gpu, 0, 60)) for gpu in stage.gpus]


@scenario("gpu.end_maintenance")
def end_maintenance() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    last = _windows(stage, 16)
    return stage, [(stage.provider, EndMaintenance(window)) for window in last]


@scenario("gpu.challenge_hardware")
def challenge() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=40)
    return stage, [(stage.renter, ChallengeHardware(gpu, TEXT)) for gpu in stage.gpus]


def _wide(gpus: int = MAXIMUM_GPUS, bookings: int = TEN) -> Stage:
    return Stage(gpus=gpus * bookings)


def _reservations(stage: Stage, gpus: int = MAXIMUM_GPUS, **more: Any) -> list[Action]:
    groups = [stage.gpus[first : first + gpus] for first in range(0, len(stage.gpus), gpus)]
    return [stage.reservation(group, **more) for group in groups]


def _booked(stage: Stage, *, gpus: int = MAXIMUM_GPUS, segments: int = 16, active: bool = False) -> list[bytes]:
    """Bookings of all GPUs of the stage, in as many segments as may be."""
    start_ms = stage.time_ms + 20_000
    results = stage.all(stage.renter, _reservations(stage, gpus, seconds=600, start_ms=start_ms))
    found = stage.ids(results, "booking.reserved", "booking")
    if active:
        stage.wait_until(start_ms + 1)
        stage.all(stage.provider, [Activate(booking, b"x" * 1_024) for booking in found])
    for _ in range(segments - 1):
        stage.all(stage.renter, [Extend(booking, 60, 10**15) for booking in found])
    return found


@scenario("booking.reserve")
def reserve() -> tuple[Stage, Attempts]:
    stage = _wide()
    return stage, [(stage.renter, action) for action in _reservations(stage, start_ms=stage.time_ms + 60_000)]


@scenario("booking.reserve")
def reserve_one() -> tuple[Stage, Attempts]:
    stage = _wide(1, 100)
    return stage, [(stage.renter, action) for action in _reservations(stage, 1)]


@scenario("booking.activate")
def activate() -> tuple[Stage, Attempts]:
    stage = _wide()
    return stage, [(stage.provider, Activate(booking, b"x" * 1_024)) for booking in _booked(stage)]


@scenario("booking.extend")
def extend() -> tuple[Stage, Attempts]:
    stage = _wide()
    return stage, [(stage.renter, Extend(booking, 60, 10**15)) for booking in _booked(stage, segments=15, active=True)]


@scenario("booking.release")
def release() -> tuple[Stage, Attempts]:
    stage = _wide()
    return stage, [(stage.renter, Release(booking)) for booking in _booked(stage, active=True)]


@scenario("booking.provider_cancel")
def provider_cancel() -> tuple[Stage, Attempts]:
    stage = _wide()
    return stage, [(stage.provider, ProviderCancel(booking)) for booking in _booked(stage, active=True)]


@scenario("booking.cancel")
def cancel() -> tuple[Stage, Attempts]:
    stage = _wide()
    return stage, [(stage.renter, Cancel(booking)) for booking in _booked(stage)]


@scenario("booking.confirm")
def confirm() -> tuple[Stage, Attempts]:
    stage = _wide()
    found = _booked(stage, active=True)
    stage.all(stage.renter, [Release(booking) for booking in found])
    return stage, [(stage.renter, Confirm(booking)) for booking in found]


@scenario("booking.settle")
def settle() -> tuple[Stage, Attempts]:
    """One whose end nobody has noticed: the budget for what is due was used up by something else."""
    stage = Stage(replace(WIDE, due_weight=100), gpus=MAXIMUM_GPUS * TEN)
    found = _booked(stage, active=True)
    later = stage.booking(found[0]).end_ms
    stage.each((person, RemoveStake(1)) for person in stage.crowd[:40] for _ in range(20))
    stage.wait_until(later - 5)
    return stage, [(stage.other, Settle(booking)) for booking in found]


@scenario("review.submit")
def review() -> tuple[Stage, Attempts]:
    stage = _wide()
    found = _booked(stage, active=True)
    stage.all(stage.renter, [Release(booking) for booking in found])
    stage.all(stage.renter, [Confirm(booking) for booking in found])
    return stage, [(stage.renter, SubmitReview(booking, 5, TEXT)) for booking in found]


@scenario("review.reply")
def reply() -> tuple[Stage, Attempts]:
    stage, submitted = review()
    stage.each(submitted)
    return stage, [(stage.provider, ReplyToReview(action.subject, TEXT)) for _, action in submitted]  # type: ignore[attr-defined]


@scenario("dispute.open")
def open_dispute() -> tuple[Stage, Attempts]:
    stage = _wide()
    found = _booked(stage, active=True)
    stage.wait(400_000)
    return stage, [(stage.renter, OpenDispute(booking, TEXT)) for booking in found]


@scenario("dispute.respond")
def respond() -> tuple[Stage, Attempts]:
    stage, opened = open_dispute()
    found = stage.ids(stage.each(opened), "dispute.opened", "dispute")
    return stage, [(stage.provider, RespondToDispute(dispute, TEXT)) for dispute in found]


def _answered() -> tuple[Stage, list[bytes]]:
    stage, answers = respond()
    stage.each(answers)
    return stage, [action.dispute for _, action in answers]  # type: ignore[attr-defined]


@scenario("dispute.vote")
def decide() -> tuple[Stage, Attempts]:
    """The last of 128 votes, which decides."""
    stage, found = _answered()
    for person in stage.crowd[:-1]:
        stage.all(person, [VoteOnDispute(dispute, 5_000, 5_000, Fault.PROVIDER) for dispute in found], after_ms=1)
    return stage, [(stage.crowd[-1], VoteOnDispute(dispute, 5_000, 5_000, Fault.PROVIDER)) for dispute in found]


def _jobs(stage: Stage, count: int) -> list[bytes]:
    job = SubmitJob("k" * 32, bytes(32), Unit.ITEM, 100, COIN, 3_600, stage.time_ms + 10**9)
    return stage.ids(stage.all(stage.renter, [job] * count), "job.submitted", "job")


def _claimed(stage: Stage) -> list[bytes]:
    found = _jobs(stage, len(stage.gpus))
    stage.all(stage.provider, [ClaimJob(job, gpu) for job, gpu in zip(found, stage.gpus, strict=True)])
    return found


def _shared(stage: Stage) -> list[bytes]:
    found = _claimed(stage)
    stage.all(stage.renter, [SharePayload(job, b"x" * 1_024) for job in found])
    return found


def _receipt(stage: Stage, job: bytes, *, final: bool) -> Receipt:
    now = stage.time_ms
    return Receipt(job, 1, 60, bytes(32), b"\x01" * 32, "l" * 256, now, now, final)


@scenario("job.submit")
def submit() -> tuple[Stage, Attempts]:
    stage = Stage()
    job = SubmitJob("k" * 32, bytes(32), Unit.ITEM, 100, COIN, 3_600, stage.time_ms + 10**9)
    return stage, [(stage.renter, job)] * 200


@scenario("job.claim")
def claim() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    return stage, [(stage.provider, ClaimJob(j, g)) for j, g in zip(_jobs(stage, 100), stage.gpus, strict=True)]


@scenario("job.share_payload")
def share() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    return stage, [(stage.renter, SharePayload(job, b"x" * 1_024)) for job in _claimed(stage)]


@scenario("job.receipt")
def receipt() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    return stage, [(stage.provider, AddReceipt(_receipt(stage, job, final=True))) for job in _shared(stage)]


@scenario("job.accept")
def accept() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    receipts = {job: _receipt(stage, job, final=True) for job in _shared(stage)}
    stage.all(stage.provider, [AddReceipt(item) for item in receipts.values()])
    return stage, [(stage.renter, AcceptJob(job, receipt_hash(item))) for job, item in receipts.items()]


@scenario("job.fail")
def fail() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    return stage, [(stage.provider, FailJob(job, "r" * 200)) for job in _shared(stage)]


@scenario("job.cancel")
def cancel_job() -> tuple[Stage, Attempts]:
    stage = Stage()
    return stage, [(stage.renter, CancelJob(job)) for job in _jobs(stage, 200)]
