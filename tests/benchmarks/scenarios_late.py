"""Scenarios of a due queue that stands still: what was due long ago is done, or seen, by the actions themselves.

Those whose attempts are refused measure what it costs to say no, each in a transaction of its own.
"""

from collections.abc import Callable
from dataclasses import replace

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.authorities import AddAuthority
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Settle
from chain.actions.disputes import ChallengeHardware, OpenDispute, RespondToDispute, VoteOnDispute
from chain.actions.governance import ProposeMeasure, SpendTreasury, VoteOnMeasure
from chain.actions.gpus import EndMaintenance, Heartbeat, RetireGpu, SetMaintenance, UpdateGpu
from chain.actions.jobs import CancelJob, ClaimJob, SharePayload, SubmitJob
from chain.actions.multisig import ProposeActions
from chain.actions.requests import OpenRequest, PlaceBid
from chain.actions.reviews import SubmitReview
from chain.actions.staking import RemoveStake
from chain.dispute import Fault
from chain.job import ANY_GPU, Unit
from chain.parameters import PARAMETERS
from chain.schema import COIN
from tests.benchmarks.scenarios import (
    TEXT,
    Attempts,
    _booked,
    _jobs,
    _reservations,
    _shared,
    _wide,
    _windows,
    scenario,
)
from tests.benchmarks.scenarios_many import _clubs, _proposals, _rich_treasury
from tests.benchmarks.stage import WIDE, Stage
from tests.ledger import make_authority
from tests.market import commitment, registration, terms

LATE_MS = 100_000
MONTHS_MS = 10**9


def stop_queue(stage: Stage) -> None:
    """From now on no block has room for anything that is due."""
    view = stage.view
    PARAMETERS.put(view, replace(stage.specification.parameters, due_weight=0))
    stage.reader.apply(view.changes())


def late(stage: Stage, by_ms: int = LATE_MS, step_ms: int = 10_000) -> None:
    """Let time pass in which the queue does nothing."""
    stop_queue(stage)
    stage.wait(by_ms, step_ms)


def refused(stage: Stage, attempts: Attempts) -> tuple[Stage, Attempts]:
    stage.refuses = True
    return stage, attempts


def _missed() -> tuple[Stage, list[bytes]]:
    """Bookings of sixteen GPUs that nobody has activated, nor noticed."""
    stage = _wide()
    found = _booked(stage)
    late(stage, 2_000_000, 14_000)
    return stage, found


def _ended(*, retiring: bool = False, windows: int = 0, **more: int) -> tuple[Stage, list[bytes]]:
    """Active bookings of sixteen GPUs whose end nobody has noticed."""
    stage = Stage(replace(WIDE, **more), gpus=160)
    found = _booked(stage, active=True)
    if retiring:
        stage.all(stage.provider, [RetireGpu(gpu) for gpu in stage.gpus])
    stop_queue(stage)
    stage.wait_until(stage.booking(found[0]).end_ms + 1 + windows * 600_000, 14_000)
    return stage, found


@scenario("booking.activate")
def late_activation() -> tuple[Stage, Attempts]:
    stage, found = _missed()
    return refused(stage, [(stage.provider, Activate(booking, b"x")) for booking in found])


@scenario("booking.settle")
def settle_a_no_show() -> tuple[Stage, Attempts]:
    stage, found = _missed()
    return stage, [(stage.other, Settle(booking)) for booking in found]


def _retired(make: Callable[[bytes], Action], *, active: bool, provider: bool = False) -> tuple[Stage, Attempts]:
    """The last bookings of sixteen GPUs each, which retire with them."""
    stage = _wide()
    found = _booked(stage, active=active)
    stage.all(stage.provider, [RetireGpu(gpu) for gpu in stage.gpus])
    return stage, [(stage.provider if provider else stage.renter, make(booking)) for booking in found]


@scenario("booking.release")
def release_of_retiring() -> tuple[Stage, Attempts]:
    return _retired(Release, active=True)


@scenario("booking.provider_cancel")
def cancelled_while_retiring() -> tuple[Stage, Attempts]:
    return _retired(ProviderCancel, active=True, provider=True)


@scenario("booking.cancel")
def cancel_of_retiring() -> tuple[Stage, Attempts]:
    return _retired(Cancel, active=False)


@scenario("dispute.open")
def dispute_of_retiring() -> tuple[Stage, Attempts]:
    return _retired(lambda booking: OpenDispute(booking, TEXT), active=True)


@scenario("booking.settle")
def settle_late() -> tuple[Stage, Attempts]:
    """Ended and to be paid, and the last booking of each of its GPUs."""
    stage, found = _ended(retiring=True, windows=1)
    return stage, [(stage.other, Settle(booking)) for booking in found]


@scenario("booking.confirm")
def confirm_late() -> tuple[Stage, Attempts]:
    stage, found = _ended(retiring=True)
    return stage, [(stage.renter, Confirm(booking)) for booking in found]


@scenario("dispute.open")
def dispute_late() -> tuple[Stage, Attempts]:
    stage, found = _ended(retiring=True)
    return stage, [(stage.renter, OpenDispute(booking, TEXT)) for booking in found]


@scenario("review.submit")
def review_late() -> tuple[Stage, Attempts]:
    stage, found = _ended(retiring=True, windows=1)
    return stage, [(stage.renter, SubmitReview(booking, 5, TEXT)) for booking in found]


def _disputed() -> tuple[Stage, list[bytes], list[bytes]]:
    """Bookings whose disputes wait to be decided: 127 of 128 have voted. (stage, bookings, disputes)."""
    stage = _wide()
    found = _booked(stage, active=True)
    stage.all(stage.provider, [RetireGpu(gpu) for gpu in stage.gpus])
    stage.wait(400_000)
    opened = stage.all(stage.renter, [OpenDispute(booking, TEXT) for booking in found])
    disputes = stage.ids(opened, "dispute.opened", "dispute")
    stage.all(stage.provider, [RespondToDispute(dispute, TEXT) for dispute in disputes])
    _vote(stage, disputes)
    late(stage, 400_000)
    return stage, found, disputes


def _vote(stage: Stage, disputes: list[bytes], fault: Fault = Fault.PROVIDER) -> None:
    slash = 5_000 if fault is Fault.PROVIDER else 0
    for person in stage.crowd[:-1]:
        stage.all(person, [VoteOnDispute(dispute, 5_000, slash, fault) for dispute in disputes], after_ms=1)


@scenario("booking.settle")
def settle_what_was_disputed() -> tuple[Stage, Attempts]:
    stage, found, _ = _disputed()
    return stage, [(stage.other, Settle(booking)) for booking in found]


@scenario("review.submit")
def review_what_was_disputed() -> tuple[Stage, Attempts]:
    stage, found, _ = _disputed()
    return stage, [(stage.renter, SubmitReview(booking, 5, TEXT)) for booking in found]


@scenario("dispute.vote")
def vote_too_late() -> tuple[Stage, Attempts]:
    stage, _, disputes = _disputed()
    return refused(stage, [(stage.crowd[-1], VoteOnDispute(each, 0, 0, Fault.NOBODY)) for each in disputes])


@scenario("due: dispute is decided")
def decided() -> tuple[Stage, Attempts]:
    stage, _, _ = _disputed()
    return _go_on(stage)


def _go_on(stage: Stage) -> tuple[Stage, Attempts]:
    view = stage.view
    PARAMETERS.put(view, stage.specification.parameters)
    stage.reader.apply(view.changes())
    return stage, []


def _challenged(fault: Fault, *, windows: int = 15) -> Stage:
    """GPUs whose challenge by now is over, with this outcome."""
    stage = Stage(gpus=100)
    _windows(stage, windows)
    _challenge_all(stage, fault)
    late(stage, 400_000)
    return stage


def _challenge_all(stage: Stage, fault: Fault) -> None:
    opened = stage.all(stage.other, [ChallengeHardware(gpu, TEXT) for gpu in stage.gpus])
    disputes = stage.ids(opened, "dispute.opened", "dispute")
    stage.all(stage.provider, [RespondToDispute(dispute, TEXT) for dispute in disputes])
    _vote(stage, disputes, fault)


@scenario("gpu.heartbeat")
def heartbeat_of_challenged() -> tuple[Stage, Attempts]:
    stage = _challenged(Fault.NOBODY)
    return stage, [(stage.provider, Heartbeat(stage.gpus))]


@scenario("gpu.heartbeat")
def heartbeat_of_refuted() -> tuple[Stage, Attempts]:
    """Bookings to come keep them from being retired."""
    stage = Stage(gpus=100)
    stage.all(stage.renter, _reservations(stage, 1, start_ms=stage.time_ms + 10**8))
    _challenge_all(stage, Fault.PROVIDER)
    late(stage, 400_000)
    return stage, [(stage.provider, Heartbeat(stage.gpus))]


@scenario("gpu.update")
def update_of_challenged() -> tuple[Stage, Attempts]:
    stage = _challenged(Fault.NOBODY)
    return stage, [(stage.provider, UpdateGpu(gpu, terms(7, version=2))) for gpu in stage.gpus]


@scenario("gpu.end_maintenance")
def end_maintenance_of_challenged() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    windows = _windows(stage, 1)
    _challenge_all(stage, Fault.NOBODY)
    late(stage, 400_000)
    return stage, [(stage.provider, EndMaintenance(window)) for window in windows]


@scenario("booking.extend")
def extend_of_challenged() -> tuple[Stage, Attempts]:
    """Each of sixteen GPUs is challenged, and 127 of 128 have voted."""
    stage = _wide(bookings=4)
    found = _booked(stage, segments=14, active=True)
    _challenge_all(stage, Fault.NOBODY)
    late(stage, 400_000)
    return stage, [(stage.renter, Extend(booking, 60, 10**15)) for booking in found]


@scenario("booking.reserve")
def reserve_of_challenged() -> tuple[Stage, Attempts]:
    stage = _wide(bookings=4)
    _challenge_all(stage, Fault.NOBODY)
    late(stage, 400_000)
    return stage, [(stage.renter, action) for action in _reservations(stage)]


@scenario("gpu.challenge_hardware")
def challenge_again() -> tuple[Stage, Attempts]:
    stage = _challenged(Fault.NOBODY)
    return stage, [(stage.other, ChallengeHardware(gpu, TEXT)) for gpu in stage.gpus]


@scenario("gpu.challenge_hardware")
def challenge_of_refuted() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    stage.all(stage.renter, _reservations(stage, 1, start_ms=stage.time_ms + 10**8))
    _windows(stage, 15)
    stage.all(stage.other, [ChallengeHardware(gpu, TEXT) for gpu in stage.gpus])
    late(stage, 400_000)
    return stage, [(stage.other, ChallengeHardware(gpu, TEXT)) for gpu in stage.gpus]


@scenario("gpu.heartbeat")
def heartbeat_of_retiring() -> tuple[Stage, Attempts]:
    """Four bookings of each GPU are over and not noticed; one is to come."""
    stage = Stage(gpus=96)
    for index in range(4):
        stage.all(stage.renter, _reservations(stage, start_ms=stage.time_ms + 20_000 + 100_000 * index, seconds=60))
    stage.all(stage.renter, _reservations(stage, start_ms=stage.time_ms + 10**8, seconds=60))
    stage.all(stage.provider, [RetireGpu(gpu) for gpu in stage.gpus])
    late(stage, 500_000)
    return stage, [(stage.provider, Heartbeat(stage.gpus))]


@scenario("gpu.heartbeat")
def heartbeat_of_the_gone() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=96)
    for index in range(12):
        stage.all(stage.renter, _reservations(stage, start_ms=stage.time_ms + 20_000 + 100_000 * index, seconds=60))
    stage.all(stage.provider, [RetireGpu(gpu) for gpu in stage.gpus])
    late(stage, 1_500_000)
    return refused(stage, [(stage.provider, Heartbeat((gpu,))) for gpu in stage.gpus])


@scenario("gpu.retire")
def retire_late() -> tuple[Stage, Attempts]:
    """Sixteen windows that are over, a heartbeat that is overdue, and a challenge that has failed."""
    stage = _challenged(Fault.NOBODY)
    _windows(stage, 1)
    late(stage, 10**8, 10**8)
    return stage, [(stage.provider, RetireGpu(gpu)) for gpu in stage.gpus]


@scenario("gpu.set_maintenance")
def maintenance_late() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    _windows(stage, 16)
    late(stage, 10**8, 10**8)
    return stage, [(stage.provider, SetMaintenance(gpu, 0, 60)) for gpu in stage.gpus]


def _each_its_own(stage: Stage) -> Attempts:
    """Reservations of sixteen GPUs of which each is held by another no-show of sixteen."""
    size = len(stage.gpus) // 16
    groups = [stage.gpus[first::size] for first in range(size)]
    return [(stage.other, stage.reservation(group)) for group in groups]


@scenario("booking.reserve")
def reserve_after_no_shows() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=256)
    stage.all(stage.renter, _reservations(stage, seconds=86_400))
    late(stage)
    return stage, _each_its_own(stage)


@scenario("request.place_bid")
def bid_after_no_shows() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=256)
    opening = OpenRequest(ANY_GPU, 16, 0, 3_600, 1_000 * COIN, stage.time_ms + 10**8, b"\x09" * 32)
    found = stage.ids(stage.all(stage.other, [opening] * 16), "request.opened", "request")
    stage.all(stage.renter, _reservations(stage, seconds=86_400))
    late(stage)
    groups = [action.gpus for _, action in _each_its_own(stage)]  # type: ignore[attr-defined]
    bids = [PlaceBid(request, group, (1,) * 16, COIN) for request, group in zip(found, groups, strict=True)]
    return stage, [(stage.provider, bid) for bid in bids]


@scenario("job.claim")
def claim_late() -> tuple[Stage, Attempts]:
    """By another provider."""
    stage = Stage(gpus=100)
    found = _shared(stage)
    names = [f"other {index}" for index in range(100)]
    stage.all(stage.other, commitment(stage.other, *names))
    listed = stage.all(stage.other, [registration(name) for name in names])
    others = stage.ids(listed, "gpu.registered", "gpu")
    late(stage, 3_700_000)
    return stage, [(stage.other, ClaimJob(job, gpu)) for job, gpu in zip(found, others, strict=True)]


@scenario("job.cancel")
def cancel_late() -> tuple[Stage, Attempts]:
    """Its first attempt has failed, which nobody has noticed."""
    stage = Stage(gpus=100)
    found = _shared(stage)
    late(stage, 3_700_000)
    return stage, [(stage.renter, CancelJob(job)) for job in found]


@scenario("job.share_payload")
def share_late() -> tuple[Stage, Attempts]:
    """A job inside a booking of sixteen GPUs that is over."""
    stage = _wide()
    found = _booked(stage, active=True)
    deadline_ms = stage.time_ms + MONTHS_MS
    inside = [SubmitJob("k" * 32, bytes(32), Unit.ITEM, 1, 0, 3_600, deadline_ms, booking=each) for each in found]
    jobs = stage.ids(stage.all(stage.renter, inside), "job.submitted", "job")
    stop_queue(stage)
    stage.wait_until(stage.booking(found[0]).end_ms + 1, 14_000)
    return refused(stage, [(stage.renter, SharePayload(job, b"x")) for job in jobs])


@scenario("stake.remove")
def remove_stake_late() -> tuple[Stage, Attempts]:
    """After many that are due and were not paid out."""
    stage = Stage()
    stop_queue(stage)
    for _ in range(8):
        stage.each((person, RemoveStake(1)) for person in stage.crowd[:30] for _ in range(32))
        stage.wait(60_000)
    stage.each((person, RemoveStake(1)) for person in stage.crowd[:30] for _ in range(31))
    return stage, [(person, RemoveStake(1)) for person in stage.crowd[:30]]


@scenario("multisig.propose")
def propose_after_the_expired() -> tuple[Stage, Attempts]:
    stage = Stage()
    clubs = _clubs(stage, 10)
    _proposals(stage, clubs, 32)
    late(stage, 10**8, 10**8)
    ours = [proposal_of(stage, club) for club in clubs]
    return stage, [(stage.crowd[0], action) for action in ours]


def proposal_of(stage: Stage, club: bytes) -> ProposeActions:
    return ProposeActions(club, (Transfer(stage.other.address, "AITBC", 1),), stage.time_ms + 10**8)


def _agenda() -> Stage:
    """128 measures that have expired, half of the operators for each."""
    stage = Stage()
    _rich_treasury(stage)
    spending = (SpendTreasury(stage.other.address, 1, "m" * 256),) * 8
    made = ProposeMeasure(spending, stage.time_ms + 10**8)
    stage.each((person, made) for person in stage.crowd)
    late(stage, 10**8, 10**8)
    return stage


@scenario("governance.propose")
def propose_on_a_full_agenda() -> tuple[Stage, Attempts]:
    stage = _agenda()
    made = ProposeMeasure((SpendTreasury(stage.other.address, 1, ""),), stage.time_ms + 10**8)
    return stage, [(person, made) for person in stage.crowd[:8]]


@scenario("due: measure expires")
def measure_expires() -> tuple[Stage, Attempts]:
    return _go_on(_agenda())


@scenario("due: proposal expires")
def proposal_expires() -> tuple[Stage, Attempts]:
    stage = Stage()
    _proposals(stage, _clubs(stage, 10), 32)
    late(stage, 10**8, 10**8)
    return _go_on(stage)


@scenario("due: job of a GPU is expired")
def jobs_of_gpus() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=1)
    _jobs(stage, 200)
    late(stage, 10**9, 10**9)
    return _go_on(stage)


@scenario("due: last booking of retiring GPUs")
def last_bookings() -> tuple[Stage, Attempts]:
    stage, _ = _ended(retiring=True, windows=1)
    return _go_on(stage)


@scenario("due: booking and GPUs leave")
def leaving() -> tuple[Stage, Attempts]:
    """All of it at once: it ends, is paid, and leaves with its sixteen GPUs."""
    stage, _ = _ended(retiring=True, windows=1, review_window_seconds=300)
    return _go_on(stage)


@scenario("end of an epoch")
def end_of_epoch() -> tuple[Stage, Attempts]:
    """Of as many measures as there may be, sixteen are executed, of eight new authorities each; all are recounted."""
    stage = Stage()
    _rich_treasury(stage)
    due = [tuple(_newcomer(eight * 8 + index) for index in range(8)) for eight in range(16)]
    for wanted, people, votes in ((due, stage.crowd[:16], 86), (None, stage.crowd[16:], 80)):
        found = []
        for index, person in enumerate(people):
            actions = wanted[index] if wanted else (SpendTreasury(stage.other.address, 1, "m" * 256),) * 8
            made = ProposeMeasure(actions, stage.time_ms + 10**8)
            found += stage.ids(stage.all(person, [made], after_ms=1), "governance.proposed", "measure")
        for voter in stage.crowd[:votes]:
            ballots = [VoteOnMeasure(each, True) for each, person in zip(found, people, strict=True) if person != voter]
            stage.all(voter, ballots, after_ms=1)
    view = stage.view
    PARAMETERS.put(view, replace(stage.specification.parameters, epoch_blocks=stage.height + 1))
    stage.reader.apply(view.changes())
    return stage, []


def _newcomer(index: int) -> AddAuthority:
    member = make_authority(f"newcomer {index}")[0]
    return AddAuthority(member.operator, member.node_key, member.bls_key, member.proof_of_possession)
