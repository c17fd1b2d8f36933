"""What is over leaves the state: bookings, jobs, GPUs and reviews, each at its moment, and its deposit returns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chain.action import Clock
from chain.actions.bookings import Cancel, Confirm, ProviderCancel, Release, Settle
from chain.actions.gpus import Heartbeat, RetireGpu, SetMaintenance
from chain.actions.jobs import AcceptJob, CancelJob, ClaimJob, FailJob, SubmitJob
from chain.actions.reviews import REVIEWS, ReplyToReview, SubmitReview
from chain.bank import KEY_BYTES, totals
from chain.booking import BOOKINGS, BookingStatus, leaves_live_ms
from chain.deposit import fullest, size_of, storage_deposit
from chain.escrow import ESCROWS
from chain.inventory import GPU_GROWTH, GPUS, HARDWARE, GpuStatus, HardwareClaim, Interval
from chain.job import ANY_GPU, JOBS, Job, JobStatus, Unit
from chain.job import storage_deposit as job_deposit
from chain.parameters import PARAMETERS, read_parameters
from chain.record import encode_record
from chain.reputation import REPUTATIONS
from chain.schedule import DUE
from chain.schema import COIN
from tests.chain.test_deposits import pay
from tests.chain.test_jobs import Workshop
from tests.ledger import DEFAULT_FEE
from tests.market import TIGHT, altered, booking_bytes, clog, gpu_bytes, registration

PRICE = 1_000
WINDOW = 600
"""Seconds for which what is over can be looked up and reviewed."""
RETENTION = 2_000
PRICED = altered(storage_deposit_per_byte=PRICE, review_window_seconds=WINDOW, review_retention_seconds=RETENTION)
GPU, BOOKING = gpu_bytes() * PRICE, booking_bytes() * PRICE
REPUTATION = (40 + 2 + 19 * 9) * PRICE


JOB = job_deposit(
    PRICED, Job(bytes(33), JobStatus.OPEN, "inference", bytes(32), Unit.ITEM, 1, 1, 1, 1, ANY_GPU, None, 1)
)


def shop(**changes: int) -> Workshop:
    return Workshop(parameters=altered(PRICED, **changes))


def set_price(market: Workshop, price: int) -> None:
    view = market.view
    PARAMETERS.put(view, replace(read_parameters(view), storage_deposit_per_byte=price))
    market.reader.apply(view.changes())


def held(market: Workshop) -> int:
    """Deposits but for those of reputations, which stay."""
    lasting = sum(found.deposit for _, found in REPUTATIONS.scan(market.view))
    return totals(market.view).deposits - lasting


def wait_for_live(market: Workshop, live_ms: int) -> None:
    """Blocks until the one at exactly this live time."""
    market.wait(live_ms - market.live_ms)
    assert market.live_ms == live_ms


class TestSizes:
    """What is paid covers whatever a record becomes."""

    def test_literally(self) -> None:
        """On a development network: so that a change of what things cost is noticed."""
        market = shop()
        gpu = market.gpu(market.gpus[0])
        assert gpu.deposit == GPU == 932 * PRICE
        booking_id = market.reserve()
        assert market.booking(booking_id).deposit == BOOKING == 921 * PRICE
        assert market.job(market.submit()).deposit == JOB == 752 * PRICE
        assert held(market) == GPU + BOOKING + JOB

    def test_every_gpu_more_costs_its_id_and_its_time_in_a_calendar(self) -> None:
        market = shop()
        gpus = (*market.gpus, market.register("second"), market.register("third"))
        costs = [market.booking(market.reserve(gpus[: count + 1])).deposit for count in range(1)]
        costs.append(market.booking(market.reserve(gpus, after_seconds=7_200)).deposit)
        assert costs[1] - costs[0] == 2 * PRICE * (34 + size_of(Interval(0, 0, bytes(32))))

    def test_of_a_gpu_counts_the_claim_on_its_hardware_and_all_maintenance(self) -> None:
        market = shop()
        gpu = market.gpu(market.gpus[0])
        assert gpu.deposit == storage_deposit(market.specification.parameters, gpu, GPU_GROWTH)
        for index in range(16):
            market.do(market.provider, SetMaintenance(market.gpus[0], market.time_ms + 10_000 * (index + 1), 1))
        size = len(encode_record(market.gpu(market.gpus[0]))) + size_of(HardwareClaim(bytes(32)))
        assert gpu.deposit >= PRICE * (KEY_BYTES + size)

    def test_a_record_at_its_fullest_is_valid_and_no_longer_grows(self) -> None:
        market = shop()
        booking_id, job_id = market.active(), market.submit()
        for record in (market.booking(booking_id), market.job(job_id), market.gpu(market.gpus[0])):
            once = fullest(record)
            assert fullest(once) == once
            assert len(encode_record(once)) >= len(encode_record(record))


ENDS: dict[str, Callable[[Workshop, bytes], object]] = {
    "closed by the window": lambda m, b: (m.activate(b), m.release(b), m.wait(300_000)),
    "confirmed": lambda m, b: (m.activate(b), m.release(b), m.confirm(b)),
    "cancelled": lambda m, b: m.cancel(b),
    "provider cancelled": lambda m, b: m.do(m.provider, ProviderCancel(b)),
    "no show": lambda m, b: m.wait(1_070_000),
    "abandoned": lambda m, b: (m.wait_until(m.booking(b).start_ms - 1), m.block(after_ms=90 * 60_000)),
}


class TestBookings:
    @pytest.mark.parametrize("end", ENDS)
    def test_leaves_with_its_escrow_and_the_deposit_returns(self, end: str) -> None:
        market = shop()
        before = market.balance(market.renter)
        booking_id = market.reserve(after_seconds=1_000)
        booking = market.booking(booking_id)
        cost = booking.cost
        assert before - market.balance(market.renter) == cost + BOOKING + DEFAULT_FEE
        ENDS[end](market, booking_id)
        over = market.booking(booking_id)
        assert over.status not in (BookingStatus.RESERVED, BookingStatus.ACTIVE, BookingStatus.CLOSING)
        set_price(market, 5 * PRICE)
        ((due, _),) = [item for item in DUE.scan(market.view) if item[0][10:] == booking_id]
        leaves_live_ms = int.from_bytes(due[1:9], "big")
        assert due[0] == Clock.LIVE
        ended_live_ms = leaves_live_ms - WINDOW * 1_000
        assert ended_live_ms <= market.live_ms
        wait_for_live(market, leaves_live_ms - 1)
        assert market.booking(booking_id) == over
        balance, deposits = market.balance(market.renter), held(market)
        market.block(after_ms=1)
        assert BOOKINGS.get(market.view, booking_id) is None
        assert ESCROWS.get(market.view, booking_id) is None
        assert market.balance(market.renter) - balance == deposits - held(market) == BOOKING
        assert market.outcome is not None
        kinds = [event.kind for event in market.outcome.system.events]
        assert kinds == ["deposit.returned", "booking.removed"]
        assert market.gpu(market.gpus[0]).references == 0

    def test_the_window_counts_from_the_end(self) -> None:
        market = shop()
        booking_id = market.active()
        market.release(booking_id)
        ended_live_ms = market.live_ms
        market.wait(100_000)
        market.confirm(booking_id)
        wait_for_live(market, ended_live_ms + WINDOW * 1_000 - 1)
        assert market.booking(booking_id).status is BookingStatus.CLOSED
        market.block(after_ms=1)
        assert BOOKINGS.get(market.view, booking_id) is None

    def test_what_is_open_stays_however_long_its_window_has_passed(self) -> None:
        market = shop(dispute_window_seconds=WINDOW + 300)
        booking_id = market.active()
        market.release(booking_id)
        released_live_ms = market.live_ms
        wait_for_live(market, released_live_ms + (WINDOW + 300) * 1_000 - 1)
        assert market.booking(booking_id).status is BookingStatus.CLOSING
        before = market.wealth(market.renter)
        market.block(after_ms=1)
        assert BOOKINGS.get(market.view, booking_id) is None, "paid and gone in one block"
        assert market.wealth(market.renter) - before == BOOKING

    def test_a_renter_who_can_pay_the_booking_but_not_its_deposit(self) -> None:
        market = shop()
        action = market.reservation()
        cost = 2 * COIN
        poor = Workshop(parameters=PRICED, balance=cost + BOOKING + DEFAULT_FEE - 1)
        error, data = poor.refused(poor.renter, poor.reservation())
        assert (error, data["needed"], data["deposit"]) == ("insufficient_funds", cost + BOOKING, BOOKING)
        assert data["available"] == cost + BOOKING - 1
        assert market.run(market.renter, action).succeeded
        exact = Workshop(parameters=PRICED, balance=cost + BOOKING + DEFAULT_FEE)
        assert exact.run(exact.renter, exact.reservation()).succeeded
        assert exact.balance(exact.renter) == 0

    def test_a_change_of_the_window_leaves_what_was_reserved_before(self) -> None:
        market = shop()
        booking_id = market.reserve(after_seconds=1_000)
        view = market.view
        PARAMETERS.put(view, replace(read_parameters(view), review_window_seconds=10 * WINDOW))
        market.reader.apply(view.changes())
        market.cancel(booking_id)
        market.wait(WINDOW * 1_000)
        assert BOOKINGS.get(market.view, booking_id) is None

    @pytest.mark.parametrize("action", [Cancel, Release, Confirm, Settle, lambda b: SubmitReview(b, 5)])
    def test_an_action_sees_it_gone_whatever_the_queue_has_reached(self, action: Any) -> None:
        market = Workshop(parameters=altered(TIGHT, review_window_seconds=WINDOW))
        booking_id = market.active()
        market.release(booking_id)
        market.confirm(booking_id)
        market.wait(WINDOW * 1_000 - 11_000)
        clog(market)
        market.block(after_ms=9_000)
        early = market.run(market.renter, action(booking_id), after_ms=1)
        assert early.error != "not_found"
        market.wait(2_000)
        assert BOOKINGS.get(market.view, booking_id) is not None, "the queue is late"
        refusal = market.refused(market.renter, action(booking_id), after_ms=1)
        expected = {"kind": "booking", "id": booking_id}
        assert refusal == ("not_found", expected)

    def test_nobody_waits_through_an_outage(self) -> None:
        """Live time hardly moves in it, so there is the rest of the window after it."""
        market = shop()
        booking_id = market.active()
        market.release(booking_id)
        market.confirm(booking_id)
        market.block(after_ms=3 * 3_600_000)
        market.do(market.renter, SubmitReview(booking_id, 4))
        market.wait((WINDOW - 100) * 1_000)
        assert BOOKINGS.get(market.view, booking_id) is not None
        market.wait(100_000)
        assert BOOKINGS.get(market.view, booking_id) is None

    def test_due_during_an_outage_it_leaves_in_the_first_block_after(self) -> None:
        market = shop()
        booking_id = market.active()
        market.release(booking_id)
        market.confirm(booking_id)
        market.wait((WINDOW - 2) * 1_000)
        assert BOOKINGS.get(market.view, booking_id) is not None
        before = market.balance(market.renter)
        market.block(after_ms=3 * 3_600_000)
        assert BOOKINGS.get(market.view, booking_id) is None
        assert market.balance(market.renter) - before == BOOKING

    def test_a_flood_of_removals_carries_over_and_loses_nothing(self) -> None:
        count = 60
        market = shop(due_weight=100)
        before = market.balance(market.renter)
        ids = [market.reserve(after_seconds=100_000 + 4_000 * index, after_ms=1) for index in range(count)]
        assert held(market) == GPU + count * BOOKING
        charges = sum(market.booking(booking_id).cost // 100 for booking_id in ids)
        market.block(*(market.sign(market.renter, *map(Cancel, ids), fee=3 * COIN),))
        market.wait(WINDOW * 1_000 - 1)
        assert len(list(BOOKINGS.scan(market.view))) == count
        market.block(after_ms=1)
        left = [len(list(BOOKINGS.scan(market.view)))]
        while left[-1]:
            market.block(after_ms=1)
            left.append(len(list(BOOKINGS.scan(market.view))))
        assert len(left) > 3, "a few in each block"
        assert held(market) == GPU
        assert market.balance(market.renter) == before - charges - count * DEFAULT_FEE - 3 * COIN


class TestJobs:
    def test_leaves_with_its_escrow_and_the_deposit_returns(self) -> None:
        market = shop()
        before = market.wealth(market.renter)
        job_id = market.submit()
        assert before - market.wealth(market.renter) == 5 * COIN + JOB + DEFAULT_FEE
        market.do(market.renter, CancelJob(job_id))
        assert held(market) == GPU + JOB
        market.wait(WINDOW * 1_000 - 1)
        assert market.job(job_id).status is JobStatus.CANCELLED
        market.block(after_ms=1)
        assert JOBS.get(market.view, job_id) is None
        assert ESCROWS.get(market.view, job_id) is None
        assert held(market) == GPU
        assert market.wealth(market.renter) == before - 2 * DEFAULT_FEE

    @pytest.mark.parametrize("end", ["accepted", "failed thrice", "timed out", "not shared", "expired"])
    def test_every_end_has_its_moment(self, end: str) -> None:
        market = shop()
        expected_ended_ms = None
        if end == "accepted":
            job_id = market.shared()
            final = market.report(job_id, 5, final=True)
            expected_ended_ms = market.time_ms
            market.wait(10_000)
            market.do(market.renter, AcceptJob(job_id, final))
        elif end == "failed thrice":
            job_id = market.claimed()
            market.do(market.provider, FailJob(job_id))
            expected_ended_ms = market.job(job_id).deadline_ms
            market.wait_until(expected_ended_ms)
        elif end == "timed out":
            job_id = market.shared(deadline_ms=market.time_ms + 20_000)
            expected_ended_ms = market.time_ms + 120_000
            market.wait(121_000)
        elif end == "not shared":
            job_id = market.claimed()
            expected_ended_ms = market.time_ms + 60_000
            market.wait(65_000)
        else:
            job_id = market.submit()
            expected_ended_ms = market.job(job_id).deadline_ms
            market.wait_until(expected_ended_ms + 3)
        job = market.job(job_id)
        assert job.status in (JobStatus.ACCEPTED, JobStatus.EXPIRED)
        assert job.ended_ms == expected_ended_ms
        market.wait_until(expected_ended_ms + WINDOW * 1_000 - 1)
        assert JOBS.get(market.view, job_id) is not None
        market.block(after_ms=1)
        assert JOBS.get(market.view, job_id) is None
        assert market.gpu(market.gpus[0]).references == 0
        assert held(market) == GPU

    def test_one_inside_a_booking_keeps_it_in_the_state_until_it_has_left(self) -> None:
        market = shop()
        booking_id = market.active()
        job_id = market.submit(booking=booking_id, unit_price=0, deadline_ms=market.time_ms + 2_000_000)
        assert market.job(job_id).deposit < JOB, "it has no escrow and no time in a calendar"
        assert market.booking(booking_id).jobs == 1
        market.release(booking_id)
        market.confirm(booking_id)
        market.wait(WINDOW * 1_000)
        stored = BOOKINGS.get(market.view, booking_id)
        assert stored is not None, "the job still names it"
        assert market.refused(market.renter, SubmitReview(booking_id, 5))[0] == "not_found"
        assert market.refused(market.renter, CancelJob(job_id))[0] == "not_found", "it ended with its booking"
        market.wait_until(market.job(job_id).deadline_ms, step_ms=15_000)
        assert JOBS.get(market.view, job_id) is None
        assert BOOKINGS.get(market.view, booking_id) is None
        assert held(market) == GPU

    def test_one_that_was_finished_long_before_its_booking_leaves_before_it(self) -> None:
        market = shop()
        booking_id = market.active(seconds=7_200)
        job_id = market.submit(booking=booking_id, unit_price=0)
        market.do(market.renter, CancelJob(job_id))
        market.wait(WINDOW * 1_000)
        assert JOBS.get(market.view, job_id) is None
        assert market.booking(booking_id).jobs == 0

    def test_its_end_with_a_booking_is_that_of_the_booking_however_late_somebody_looks(self) -> None:
        market = shop()
        booking_id = market.active()
        job_id = market.submit(booking=booking_id, unit_price=0)
        market.release(booking_id)
        released_ms = market.time_ms
        market.wait(50_000)
        assert market.job(job_id).status is JobStatus.OPEN, "nobody has looked"
        market.wait_until(market.job(job_id).deadline_ms, step_ms=15_000)
        assert JOBS.get(market.view, job_id) is None, "over for longer than the window"
        assert released_ms + WINDOW * 1_000 < market.time_ms

    def test_without_the_money_for_the_deposit(self) -> None:
        poor = Workshop(parameters=PRICED, balance=5 * COIN + JOB + DEFAULT_FEE - 1)
        error, data = poor.refused(poor.renter, poor.submission())
        assert (error, data["needed"], data["deposit"]) == ("insufficient_funds", 5 * COIN + JOB, JOB)

    @pytest.mark.parametrize("inside", [False, True])
    def test_nothing_is_larger_than_what_was_paid(self, inside: bool) -> None:
        market = shop()
        parameters = market.specification.parameters
        if inside:
            job_id = market.shared(booking=market.active(), unit_price=0)
        else:
            job_id = market.shared()
        market.report(job_id, 50, final=True)
        job = market.job(job_id)
        assert job.deposit >= PRICE * (KEY_BYTES + len(encode_record(job)))
        assert job.deposit == job_deposit(parameters, job)


class TestGpus:
    def test_leaves_after_retirement_and_the_deposit_returns_to_the_provider(self) -> None:
        market = shop()
        before = market.wealth(market.provider)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        retired_live_ms = market.live_ms
        set_price(market, 1)
        wait_for_live(market, retired_live_ms + WINDOW * 1_000 - 1)
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRED
        market.block(after_ms=1)
        assert GPUS.get(market.view, market.gpus[0]) is None
        assert list(HARDWARE.scan(market.view)) == []
        assert held(market) == 0
        assert market.wealth(market.provider) == before + GPU - DEFAULT_FEE

    def test_stays_as_long_as_a_booking_names_it(self) -> None:
        market = shop(dispute_window_seconds=WINDOW + 500)
        booking_id = market.active()
        market.do(market.provider, RetireGpu(market.gpus[0]))
        market.release(booking_id)
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRED
        market.wait(WINDOW * 1_000)
        assert market.booking(booking_id).status is BookingStatus.CLOSING
        assert GPUS.get(market.view, market.gpus[0]) is not None
        market.wait(500_000)
        assert BOOKINGS.get(market.view, booking_id) is None
        assert GPUS.get(market.view, market.gpus[0]) is None, "the last booking that named it took it along"
        assert held(market) == 0

    def test_waits_for_a_claimed_job(self) -> None:
        market = shop()
        job_id = market.claimed()
        assert market.gpu(market.gpus[0]).references == 1
        market.do(market.provider, RetireGpu(market.gpus[0]), FailJob(job_id))
        assert market.gpu(market.gpus[0]).references == 0, "the claim is gone"
        market.wait(WINDOW * 1_000)
        assert GPUS.get(market.view, market.gpus[0]) is None

    def test_gone_or_not_nobody_can_do_anything_with_a_retired_one(self) -> None:
        market = shop()
        market.do(market.provider, RetireGpu(market.gpus[0]))
        expected = ("not_found", {"kind": "gpu", "id": market.gpus[0]})
        for _ in range(2):
            assert market.refused(market.provider, Heartbeat(market.gpus)) == expected
            assert market.refused(market.renter, market.reservation()) == expected
            job_id = market.submit()
            assert market.run(market.provider, ClaimJob(job_id, market.gpus[0])).error == "not_found"
            market.wait(WINDOW * 1_000)

    def test_the_same_device_may_be_listed_again_meanwhile(self) -> None:
        market = shop()
        market.do(market.provider, RetireGpu(market.gpus[0]))
        again = market.register("0")
        market.wait(WINDOW * 1_000)
        assert {gpu_id for gpu_id, _ in GPUS.scan(market.view)} == {again}
        assert held(market) == GPU

    def test_without_the_money_for_the_deposit(self) -> None:
        market = shop()
        market.commit("second")
        cost = GPU + REPUTATION
        poor = market.balance(market.provider) - DEFAULT_FEE - cost
        market.do(market.provider, pay(market.other, poor - DEFAULT_FEE + 1))
        error, data = market.refused(market.provider, registration("second"))
        assert (error, data["deposit"], data["available"]) == ("insufficient_funds", cost, cost - 1)

    def test_what_is_remembered_of_provider_and_device_is_paid_for_once_and_stays(self) -> None:
        market = shop()
        first = totals(market.view).deposits
        assert first == GPU + 2 * REPUTATION
        market.register("second")
        assert totals(market.view).deposits - first == GPU + REPUTATION
        market.do(market.provider, RetireGpu(market.gpus[0]))
        market.wait(WINDOW * 1_000)
        before = totals(market.view).deposits
        market.register("0")
        assert totals(market.view).deposits - before == GPU


class TestReviews:
    def reviewed(self, market: Workshop) -> bytes:
        booking_id = market.active()
        market.release(booking_id)
        market.confirm(booking_id)
        market.do(market.renter, SubmitReview(booking_id, 5, "good"))
        return booking_id

    def test_outlives_its_booking_and_leaves_when_its_own_time_is_over(self) -> None:
        market = shop()
        booking_id = self.reviewed(market)
        review = REVIEWS.get(market.view, booking_id)
        assert review is not None
        submitted_live_ms = market.live_ms
        assert review.deposit == PRICE * size_of(review)
        market.wait(WINDOW * 1_000)
        assert BOOKINGS.get(market.view, booking_id) is None
        market.do(market.provider, ReplyToReview(booking_id, "thanks"))
        replied = REVIEWS.get(market.view, booking_id)
        assert replied is not None
        assert replied.deposit == review.deposit
        assert replied.deposit >= PRICE * (KEY_BYTES + len(encode_record(replied)))
        wait_for_live(market, submitted_live_ms + RETENTION * 1_000 - 1)
        assert REVIEWS.get(market.view, booking_id) is not None
        before = market.balance(market.renter)
        market.block(after_ms=1)
        assert REVIEWS.get(market.view, booking_id) is None
        assert market.balance(market.renter) - before == review.deposit

    def test_a_reply_to_one_whose_time_is_over_comes_too_late_whatever_the_queue_has_reached(self) -> None:
        market = Workshop(parameters=altered(TIGHT, review_window_seconds=50, review_retention_seconds=100))
        booking_id = self.reviewed(market)
        clog(market)
        market.wait(100_000)
        assert REVIEWS.get(market.view, booking_id) is not None, "the queue is late"
        refusal = market.refused(market.provider, ReplyToReview(booking_id, "thanks"), after_ms=1)
        assert refusal == ("not_found", {"kind": "review", "id": booking_id})

    def test_stays_as_long_as_what_it_is_about_or_that_could_be_rated_twice(self) -> None:
        market = shop(review_window_seconds=1_000, review_retention_seconds=100)
        booking_id = self.reviewed(market)
        leaves = leaves_live_ms(market.view, market.booking(booking_id))
        market.wait(200_000)
        error, data = market.refused(market.renter, SubmitReview(booking_id, 1))
        assert (error, data["reason"]) == ("not_eligible_to_review", "it has been reviewed")
        wait_for_live(market, leaves)
        assert REVIEWS.get(market.view, booking_id) is None
        assert BOOKINGS.get(market.view, booking_id) is None

    def test_without_the_money_for_the_deposit(self) -> None:
        market = shop()
        booking_id = market.active()
        market.release(booking_id)
        market.confirm(booking_id)
        market.do(market.renter, pay(market.other, market.balance(market.renter) - 2 * DEFAULT_FEE - 7))
        error, data = market.refused(market.renter, SubmitReview(booking_id, 5))
        assert (error, data["available"]) == ("insufficient_funds", 7)
        assert data["deposit"] == data["needed"]


def test_dust_returns_as_dust() -> None:
    """A byte at one base unit, and a job that costs less than its record."""
    market = shop(storage_deposit_per_byte=1)
    before = market.balance(market.renter)
    job_id = market.submit(max_units=1, unit_price=1)
    assert before - market.balance(market.renter) == 1 + JOB // PRICE + DEFAULT_FEE
    market.do(market.renter, CancelJob(job_id))
    market.wait(WINDOW * 1_000)
    assert market.balance(market.renter) == before - 2 * DEFAULT_FEE
    assert held(market) == GPU // PRICE


def test_many_short_lives_leave_nothing_behind() -> None:
    """The state after a hundred jobs and bookings is as large as before them."""
    market = shop()

    def size() -> int:
        return sum(len(key) + len(value) for key, value in market.reader.values.items())

    market.do(market.renter, market.submission())
    before = size()
    for _ in range(20):
        actions: list[SubmitJob] = [market.submission(unit_price=1) for _ in range(4)]
        market.do(market.renter, *actions, fee=COIN)
        booking_id = market.active(seconds=60)
        market.release(booking_id)
    market.wait(4_000_000 + WINDOW * 1_000, step_ms=15_000)
    assert not list(JOBS.scan(market.view))
    assert not list(BOOKINGS.scan(market.view))
    assert size() < before
    assert held(market) == GPU
