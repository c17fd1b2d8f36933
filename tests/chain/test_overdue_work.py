"""What an action does while the due queue is late: never more than its weight, however much is overdue.

Whether it may happen is seen by looks at the clocks (`chain.standing`); only one that goes ahead brings its own
subject up to date.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Settle
from chain.actions.disputes import ChallengeHardware, OpenDispute
from chain.actions.gpus import EndMaintenance, Heartbeat, RetireGpu, SetMaintenance, UpdateGpu
from chain.actions.jobs import ClaimJob, SharePayload, SubmitJob
from chain.actions.multisig import CreateMultisig, ProposeActions, read_multisig
from chain.actions.staking import RemoveStake
from chain.booking import BOOKINGS, BookingStatus
from chain.booking_life import current_booking
from chain.errors import NotFound
from chain.inventory import GpuStatus
from chain.job import JOBS, JobStatus, Unit
from chain.job_life import current_job
from chain.queries.present import present
from chain.reputation import reputation_of
from chain.schema import COIN
from chain.standing import booking_now, gpu_now, is_listed, job_now
from chain.state.tables import TableId
from chain.state.view import MemoryReader, View
from tests.ledger import Person, subject
from tests.market import TIGHT, Market, altered, clog, run_queue, terms

WRITES_PER_WEIGHT = 3
"""A due item weighs a unit for each record that it writes; the fees of a transaction are beside that."""
CHALLENGE_WEIGHT = 8
"""Of reading a dispute with 128 voters and counting their ballots (`tests/benchmarks/run weights`)."""
FEE_WRITES = 3
"""Of the sender, the totals and the proposer."""


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The keys of all writes meanwhile, also of those that are undone."""
    keys: list[bytes] = []
    write = View.write

    def writing(self: View, key: bytes, value: Any) -> None:
        keys.append(key)
        write(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(View, "write", writing)
        yield keys


class Late(Market):
    """A market of sixteen GPUs whose due queue stands still once it is clogged."""

    def __init__(self, gpus: int = 16, **more: Any) -> None:
        super().__init__(gpus, parameters=altered(TIGHT, **more), check=False, stake=10_000 * COIN)

    def work(self, monkeypatch: pytest.MonkeyPatch, sender: Person, *actions: Action) -> tuple[int, str]:
        """(writes of a transaction with these actions, its error), in a block whose queue runs nothing of use."""
        transaction = self.sign(sender, *actions, fee=COIN)
        with counted(monkeypatch) as idle:
            self.block(after_ms=1)
        with counted(monkeypatch) as keys:
            (result,) = self.block(transaction, after_ms=1)
        writes = len(keys) - len(idle) - FEE_WRITES
        assert writes <= WRITES_PER_WEIGHT * transaction.weight, "the weight covers the work"
        return writes, result.error

    def overlapping(self) -> list[bytes]:
        """Bookings of all GPUs, one after the other, that have all ended although none is noticed."""
        found = []
        for index in range(12):
            found.append(self.reserve(seconds=60, after_seconds=100 * index + 1))
        return found


def late_bookings(market: Late, *, after_ms: int = 2_000_000) -> list[bytes]:
    found = market.overlapping()
    clog(market, 2_000)
    market.wait(after_ms, step_ms=100_000)
    assert all(market.booking(booking).status is BookingStatus.RESERVED for booking in found)
    return found


@pytest.mark.parametrize("make", [lambda b: Activate(b, b"x"), lambda b: ProviderCancel(b)])
def test_what_a_late_no_show_refuses_costs_a_look(
    make: Callable[[bytes], Action], monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Late()
    booking = late_bookings(market)[0]
    writes, error = market.work(monkeypatch, market.provider, make(booking))
    assert error == "wrong_booking_status"
    assert writes <= 0


@pytest.mark.parametrize("make", [Cancel, Release, lambda b: Extend(b, 60, COIN), lambda b: job_inside(b)])
def test_what_a_late_no_show_refuses_its_renter_costs_a_look(
    make: Callable[[bytes], Action], monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Late()
    booking = late_bookings(market)[0]
    writes, error = market.work(monkeypatch, market.renter, make(booking))
    assert error in ("wrong_booking_status", "job_not_eligible")
    assert writes <= 0


def job_inside(booking: bytes) -> SubmitJob:
    return SubmitJob("render", bytes(32), Unit.ITEM, 1, 0, 60, 1_800_009_000_000, booking=booking)


def test_a_job_inside_a_late_booking_does_not_bring_it_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    market = Late()
    booking = market.active(seconds=600)
    result = market.do(market.renter, job_inside(booking))
    job = dict(next(event for event in result.events if event.kind == "job.submitted").subjects)["job"]
    clog(market, 2_000)
    market.wait(700_000, step_ms=100_000)
    for sender, action in ((market.provider, ClaimJob(job)), (market.renter, SharePayload(job, b"x"))):
        writes, error = market.work(monkeypatch, sender, action)
        assert (error, writes) == ("wrong_job_status", 0)
    assert market.booking(booking).status is BookingStatus.ACTIVE


def test_a_reservation_settles_nobody_elses_bookings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its GPUs is held by another late no-show of all sixteen."""
    market = Late()
    fresh, _ = market.work(monkeypatch, market.other, market.reservation())
    market = Late()
    for index in range(12):
        market.reserve(seconds=60 if index else 7_200, after_seconds=100 * index + 8_000 * bool(index) + 1)
    clog(market, 2_000)
    market.wait(200_000, step_ms=50_000)
    writes, error = market.work(monkeypatch, market.other, market.reservation())
    assert (error, writes) == ("", fresh)


def test_maintenance_settles_no_booking(monkeypatch: pytest.MonkeyPatch) -> None:
    market = Late()
    late_bookings(market)
    writes, error = market.work(monkeypatch, market.provider, SetMaintenance(market.gpus[0], 0, 60))
    assert error == ""
    assert writes <= 6


def test_a_retiring_gpu_is_gone_however_many_of_its_bookings_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve late bookings of sixteen GPUs: nothing holds the GPU, and to see that takes no write."""
    market = Late()
    market.overlapping()
    market.do(market.provider, RetireGpu(market.gpus[0]))
    clog(market, 2_000)
    market.wait(2_000_000, step_ms=100_000)
    assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRING
    assert market.gpu(market.gpus[0]).open_bookings == 12
    for action in (
        Heartbeat((market.gpus[0],)),
        UpdateGpu(market.gpus[0], terms(version=2)),
        RetireGpu(market.gpus[0]),
    ):
        assert market.work(monkeypatch, market.provider, action) == (0, "not_found")


def test_a_retiring_gpu_stays_while_one_booking_is_to_come() -> None:
    market = Late()
    last = market.overlapping()[-1]
    market.do(market.provider, RetireGpu(market.gpus[0]))
    clog(market, 2_000)
    market.wait_until(market.booking(last).start_ms - 1, step_ms=100_000)
    assert market.gpu(market.gpus[0]).open_bookings > 10
    market.do(market.provider, Heartbeat((market.gpus[0],)), after_ms=1)


def test_a_retiring_gpu_stays_while_a_job_works_on_that_an_outage_has_delayed() -> None:
    """Its place in the calendar is over, and so is all that came after it; its live time is not."""
    market = Late(1)
    job = SubmitJob("render", bytes(32), Unit.ITEM, 1, 7, 600, market.time_ms + 10**8)
    result = market.do(market.renter, job)
    job_id = dict(next(event for event in result.events if event.kind == "job.submitted").subjects)["job"]
    market.do(market.provider, ClaimJob(job_id, market.gpus[0]))
    market.do(market.renter, SharePayload(job_id, b"x"))
    later = market.reserve(seconds=60, after_seconds=900)
    market.do(market.provider, RetireGpu(market.gpus[0]))
    clog(market, 2_000)
    market.block(after_ms=2_000_000)
    assert market.time_ms > market.booking(later).end_ms
    assert booking_now(market.view, later).status not in (BookingStatus.RESERVED, BookingStatus.ACTIVE)
    deadline = claim_of(market, job_id).deadline_live_ms
    assert is_listed(market.view, market.gpus[0])
    market.wait(deadline - market.live_ms - 1)
    assert gpu_now(market.view, market.gpus[0]).status is GpuStatus.RETIRING
    market.block(after_ms=1)
    assert not is_listed(market.view, market.gpus[0])


def claim_of(market: Market, job_id: bytes) -> Any:
    job = JOBS.get(market.view, job_id)
    assert job is not None
    return job.claim


def test_unstaking_pays_out_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    market = Late(1)
    market.do(market.provider, *[RemoveStake(1)] * 32, fee=COIN)
    clog(market, 2_000)
    market.wait(100_000)
    writes, error = market.work(monkeypatch, market.provider, RemoveStake(1))
    assert error == ""
    assert writes <= 10


def test_an_end_is_paid_for_with_all_that_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late booking of sixteen GPUs, the last of each of them, which retire with it."""
    for make, after_ms in ((Settle, 1), (Confirm, 1), (lambda b: OpenDispute(b, "x"), 1), (Settle, 400_000)):
        market = Late(authority_minimum_stake=0)
        booking = market.active(seconds=600)
        market.do(market.provider, *[RetireGpu(gpu) for gpu in market.gpus], fee=COIN)
        clog(market, 2_000)
        market.wait(600_000 + after_ms)
        writes, error = market.work(monkeypatch, market.renter, make(booking))
        assert error == ""
        assert writes > 100


def test_each_challenge_that_is_looked_at_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of sixteen GPUs may have one, open or over."""
    market = Late()
    booking = market.active(seconds=600)
    window = subject(
        market.do(market.provider, SetMaintenance(market.gpus[0], market.time_ms + 10**8, 60)),
        "gpu.maintenance_set",
        "maintenance",
    )
    market.do(market.other, *[ChallengeHardware(gpu, "x") for gpu in market.gpus], fee=COIN)
    for sender, action, looks in (
        (market.renter, Extend(booking, 60, COIN), 16),
        (market.renter, market.reservation(start_ms=market.time_ms + 10**6), 16),
        (market.provider, Heartbeat(market.gpus), 16),
        (market.provider, UpdateGpu(market.gpus[0], terms(version=2)), 1),
        (market.provider, EndMaintenance(window), 1),
    ):
        read: list[bytes] = []
        get = MemoryReader.get

        def reading(self: MemoryReader, key: bytes, get: Any = get, read: list[bytes] = read) -> bytes | None:
            read.append(key)
            return get(self, key)

        with monkeypatch.context() as patch:
            patch.setattr(MemoryReader, "get", reading)
            market.do(sender, action, fee=COIN)
        assert sum(key[0] == TableId.DISPUTES for key in read) == looks
        assert action.weight() >= CHALLENGE_WEIGHT * looks


def test_an_expired_proposal_makes_room_and_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    market = Late(1)
    members = tuple(sorted(person.address for person in (market.renter, market.other)))
    club = subject(market.do(market.renter, CreateMultisig(2, members)), "multisig.created", "account")
    payment = Transfer(market.other.address, "AITBC", 1)
    expires_ms = market.time_ms + 60_000
    market.do(market.renter, *[ProposeActions(club, (payment,), expires_ms)] * 32, fee=COIN)
    clog(market, 2_000)
    late = ProposeActions(club, (payment,), market.time_ms + 10**6)
    assert market.refused(market.renter, late)[0] == "too_many_proposals"
    market.wait(60_000)
    writes, error = market.work(monkeypatch, market.renter, late)
    assert (error, len(read_multisig(market.view, club).proposals)) == ("", 32)
    assert writes < 20
    run_queue(market)
    assert len(read_multisig(market.view, club).proposals) == 1


def test_the_clocks_tell_what_the_queue_will_write() -> None:
    """At every moment of a late life, `standing` says of a record what bringing it up to date makes of it."""
    market = Market(3, parameters=altered(TIGHT, review_window_seconds=86_400), check=False)
    start_ms = market.time_ms + 50_000
    missed = market.reserve(market.gpus[:1], seconds=600, after_seconds=50)
    kept = market.active(market.gpus[1:2], seconds=600)
    result = market.do(
        market.renter, job_inside(kept), SubmitJob("x", bytes(32), Unit.ITEM, 9, 1, 300, start_ms + 10**6)
    )
    inside, alone = (dict(event.subjects)["job"] for event in result.events if event.kind == "job.submitted")
    market.do(market.provider, ClaimJob(inside), ClaimJob(alone, market.gpus[2]), fee=COIN)
    market.do(market.renter, SharePayload(alone, b"x"))
    clog(market, 2_000)
    seen = set()
    for step_ms in [10_000] * 80 + [10**7] * 12:
        market.block(after_ms=step_ms)
        for booking_id in (missed, kept):
            told, made = _told(booking_now, market, booking_id), _made(current_booking, market, booking_id)
            assert told == made
            seen.add(told)
        for job_id in (inside, alone):
            told, made = _told(job_now, market, job_id), _made(current_job, market, job_id)
            assert told == made
            seen.add(told)
        assert BOOKINGS.get(market.view, kept).status is BookingStatus.ACTIVE  # type: ignore[union-attr]
    assert {status for status, _ in seen} >= {
        BookingStatus.RESERVED,
        BookingStatus.NO_SHOW,
        BookingStatus.ACTIVE,
        BookingStatus.CLOSING,
        BookingStatus.CLOSED,
        JobStatus.CLAIMED,
        JobStatus.PAYLOAD_SHARED,
        JobStatus.EXPIRED,
        JobStatus.OPEN,
    }


def _told(look: Callable[[View, bytes], Any], market: Market, identifier: bytes) -> tuple[Any, int | None]:
    try:
        found = look(market.view, identifier)
    except NotFound:
        return "left", None
    return found.status, found.ended_ms


def _made(bring: Callable[[Any, bytes], Any], market: Market, identifier: bytes) -> tuple[Any, int | None]:
    try:
        found = bring(present(market.view), identifier)
    except NotFound:
        return "left", None
    return found.status, found.ended_ms


@pytest.mark.parametrize("late", [False, True])
def test_an_attempt_that_runs_out_as_its_booking_is_released_has_run_out(late: bool) -> None:
    """What is due in a block comes before its transactions, whether or not the queue has come to it."""
    market = Late(1, review_window_seconds=86_400)
    booking = market.active(seconds=3_600)
    job = subject(market.do(market.renter, job_inside(booking)), "job.submitted", "job")
    market.do(market.provider, ClaimJob(job))
    market.do(market.renter, SharePayload(job, b"x"))
    if late:
        clog(market, 2_000)
    market.wait(claim_of(market, job).deadline_live_ms - market.live_ms - 1_000)
    market.do(market.renter, Release(booking))
    assert job_now(market.view, job).tried == (market.provider.address,)
    run_queue(market)
    market.wait(10**9, step_ms=10**8)
    assert reputation_of(market.view, market.provider.address).jobs_timed_out == 1


def test_all_is_written_in_the_end() -> None:
    market = Late()
    found = late_bookings(market)
    run_queue(market)
    assert {market.booking(booking).status for booking in found} <= {BookingStatus.NO_SHOW, BookingStatus.CANCELLED}
