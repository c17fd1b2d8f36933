"""Maintenance and new terms: what an owner may change about a GPU that is listed."""

import pytest

from chain.actions.bookings import ProviderCancel
from chain.actions.gpus import (
    MAXIMUM_MAINTENANCE_SECONDS,
    EndMaintenance,
    Heartbeat,
    RetireGpu,
    SetMaintenance,
    UpdateGpu,
)
from chain.actions.jobs import ClaimJob, SubmitJob
from chain.booking import BookingStatus
from chain.errors import InvalidField
from chain.inventory import HARDWARE, MAXIMUM_MAINTENANCE, GpuStatus, intervals
from chain.job import Unit
from chain.maintenance import MAINTENANCE, Maintenance
from chain.schedule import DUE, Subject
from chain.schema import COIN
from tests.ledger import subject
from tests.market import PRICE, TIGHT, Market, altered, clog, run_queue, terms

UNKNOWN = b"\x77" * 32


def maintain(market: Market, after_seconds: int = 0, seconds: int = 600, gpu_id: bytes = b"") -> bytes:
    """The id of a window that begins so long after the block that includes it."""
    start_ms = market.time_ms + 1_000 + after_seconds * 1_000 if after_seconds else 0
    action = SetMaintenance(gpu_id or market.gpus[0], start_ms, seconds)
    return subject(market.do(market.provider, action), "gpu.maintenance_set", "maintenance")


def window(market: Market, maintenance_id: bytes) -> Maintenance | None:
    return MAINTENANCE.get(market.view, maintenance_id)


class TestSet:
    def test_keeps_the_calendar_free(self) -> None:
        market = Market()
        start_ms = market.time_ms + 3_600_000
        result = market.do(market.provider, SetMaintenance(market.gpus[0], start_ms, 600))
        maintenance_id = subject(result, "gpu.maintenance_set", "maintenance")
        assert window(market, maintenance_id) == Maintenance(market.gpus[0], start_ms, start_ms + 600_000)
        assert market.gpu(market.gpus[0]).maintenance == (maintenance_id,)
        assert dict(result.events[0].subjects)["provider"] == market.provider.address
        for offset, seconds, fits in ((-60, 60, True), (-60, 61, False), (599, 60, False), (600, 60, True)):
            action = market.reservation(start_ms=start_ms + offset * 1_000, seconds=seconds)
            if fits:
                market.do(market.renter, action)
            else:
                data = {
                    "gpu": market.gpus[0],
                    "start": start_ms,
                    "end": start_ms + 600_000,
                    "conflicting": maintenance_id,
                }
                assert market.refused(market.renter, action) == ("booking_conflict", data)

    def test_now(self) -> None:
        market = Market()
        maintenance_id = maintain(market)
        found = window(market, maintenance_id)
        assert found is not None
        assert (found.start_ms, found.end_ms) == (market.time_ms, market.time_ms + 600_000)
        assert market.refused(market.renter, market.reservation())[0] == "booking_conflict"
        assert market.gpu(market.gpus[0]).status is GpuStatus.ACTIVE

    def test_is_over_by_the_clock(self) -> None:
        market = Market()
        maintenance_id = maintain(market)
        market.wait(599_999)
        assert window(market, maintenance_id) is not None
        market.block(after_ms=1)
        assert market.outcome is not None
        assert [event.kind for event in market.outcome.system.events] == ["gpu.maintenance_ended"]
        assert window(market, maintenance_id) is None
        assert market.gpu(market.gpus[0]).maintenance == ()
        assert intervals(market.view, market.gpus[0]) == []
        market.reserve()

    def test_what_is_booked_stays_booked(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=600, seconds=600)
        start_ms, end_ms = market.booking(booking_id).start_ms, market.booking(booking_id).end_ms
        for begin_ms, seconds in ((start_ms, 1), (end_ms - 1, 60), (start_ms - 1_000, 2), (start_ms - 1_000, 3_000)):
            error, data = market.refused(market.provider, SetMaintenance(market.gpus[0], begin_ms, seconds))
            assert (error, data["conflicting"]) == ("booking_conflict", booking_id)
        market.do(market.provider, SetMaintenance(market.gpus[0], end_ms, 60))
        market.do(market.provider, SetMaintenance(market.gpus[0], start_ms - 60_000, 60))

    def test_over_other_maintenance(self) -> None:
        market = Market()
        maintain(market, 3_600)
        error, _ = market.refused(market.provider, SetMaintenance(market.gpus[0], market.time_ms + 3_700_000, 60))
        assert error == "booking_conflict"

    def test_over_a_claimed_job(self) -> None:
        market = Market()
        action = SubmitJob("inference", bytes(32), Unit.ITEM, 5, 0, 600, market.time_ms + 10_000_000)
        job_id = subject(market.do(market.renter, action), "job.submitted", "job")
        maintenance_id = maintain(market, 60)
        error, data = market.refused(market.provider, ClaimJob(job_id, market.gpus[0]))
        assert (error, data["conflicting"]) == ("booking_conflict", maintenance_id)
        market.do(market.provider, EndMaintenance(maintenance_id), ClaimJob(job_id, market.gpus[0]))
        error, data = market.refused(market.provider, SetMaintenance(market.gpus[0], 0, 60))
        assert (error, data["conflicting"]) == ("booking_conflict", job_id)

    @pytest.mark.parametrize(("offset_ms", "fits"), [(-1, False), (0, True)])
    def test_not_in_the_past(self, offset_ms: int, fits: bool) -> None:
        market = Market()
        start_ms = market.time_ms + 1_000 + offset_ms
        result = market.run(market.provider, SetMaintenance(market.gpus[0], start_ms, 60))
        assert result.succeeded is fits
        if not fits:
            horizon_ms = 365 * 86_400_000
            data = {"minimum": market.time_ms, "maximum": market.time_ms + horizon_ms, "got": start_ms}
            assert (result.error, dict(result.error_data)) == ("maintenance_time_refused", data)

    @pytest.mark.parametrize(("over_ms", "fits"), [(0, True), (1, False)])
    def test_within_the_horizon(self, over_ms: int, fits: bool) -> None:
        market = Market()
        start_ms = market.time_ms + 1_000 + 365 * 86_400_000 + over_ms
        result = market.run(market.provider, SetMaintenance(market.gpus[0], start_ms, 60))
        assert result.error == ("" if fits else "maintenance_time_refused")

    @pytest.mark.parametrize("seconds", [0, MAXIMUM_MAINTENANCE_SECONDS + 1])
    def test_of_a_length_that_is_none(self, seconds: int) -> None:
        with pytest.raises(InvalidField):
            SetMaintenance(UNKNOWN, 0, seconds).validate()

    def test_not_without_end(self) -> None:
        market = Market()
        for index in range(MAXIMUM_MAINTENANCE):
            maintain(market, 1_000 * (index + 1), 60)
        data = {"gpu": market.gpus[0], "maximum": MAXIMUM_MAINTENANCE}
        action = SetMaintenance(market.gpus[0], market.time_ms + 90_000_000, 60)
        assert market.refused(market.provider, action) == ("too_much_maintenance", data)
        market.do(market.provider, EndMaintenance(market.gpu(market.gpus[0]).maintenance[3]), action)

    def test_windows_that_are_over_do_not_count_while_the_queue_is_late(self) -> None:
        market = Market(parameters=TIGHT)
        for index in range(MAXIMUM_MAINTENANCE):
            maintain(market, 20 * (index + 1), 10)
        clog(market)
        market.wait(400_000)
        assert len(market.gpu(market.gpus[0]).maintenance) == MAXIMUM_MAINTENANCE
        maintain(market)
        assert len(market.gpu(market.gpus[0]).maintenance) == MAXIMUM_MAINTENANCE, "one made room, the others wait"
        run_queue(market)
        assert len(market.gpu(market.gpus[0]).maintenance) == 1

    def test_by_another_of_none_and_of_a_retired_one(self) -> None:
        market = Market()
        action = SetMaintenance(market.gpus[0], 0, 60)
        data = {"needed": "provider", "account": market.provider.address}
        assert market.refused(market.other, action) == ("not_authorized", data)
        refusal = market.refused(market.provider, SetMaintenance(UNKNOWN, 0, 60))
        assert refusal == ("not_found", {"kind": "gpu", "id": UNKNOWN})
        market.do(market.provider, RetireGpu(market.gpus[0]))
        assert market.refused(market.provider, action) == ("not_found", {"kind": "gpu", "id": market.gpus[0]})

    def test_of_a_retiring_one(self) -> None:
        market = Market()
        market.reserve(after_seconds=3_600)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        refusal = market.refused(market.provider, SetMaintenance(market.gpus[0], 0, 60))
        assert refusal == ("gpu_retired", {"gpu": market.gpus[0]})

    def test_of_an_offline_one(self) -> None:
        market = Market(parameters=altered(heartbeat_timeout_seconds=120))
        market.wait(120_000)
        maintain(market)
        assert market.gpu(market.gpus[0]).status is GpuStatus.OFFLINE
        market.do(market.provider, Heartbeat(market.gpus))
        assert market.gpu(market.gpus[0]).status is GpuStatus.ACTIVE
        assert len(market.gpu(market.gpus[0]).maintenance) == 1

    def test_it_frees_no_one_from_a_booking(self) -> None:
        """To take time back from a renter, a provider pays with his collateral first."""
        market = Market()
        booking_id = market.reserve(after_seconds=60)
        start_ms = market.booking(booking_id).start_ms
        action = SetMaintenance(market.gpus[0], start_ms, 60)
        assert market.refused(market.provider, action)[0] == "booking_conflict"
        before = market.balance(market.renter)
        market.do(market.provider, ProviderCancel(booking_id), action)
        assert market.balance(market.renter) == before + PRICE + PRICE // 20
        assert market.booking(booking_id).status is BookingStatus.PROVIDER_CANCELLED


class TestEnd:
    @pytest.mark.parametrize("after_seconds", [0, 3_600])
    def test_gives_the_time_back(self, after_seconds: int) -> None:
        market = Market()
        maintenance_id = maintain(market, after_seconds)
        result = market.do(market.provider, EndMaintenance(maintenance_id))
        assert [event.kind for event in result.events] == ["gpu.maintenance_ended"]
        assert (window(market, maintenance_id), intervals(market.view, market.gpus[0])) == (None, [])
        assert not [key for key, _ in DUE.scan(market.view) if key[9] == Subject.MAINTENANCE]
        market.reserve()

    def test_by_another(self) -> None:
        market = Market()
        maintenance_id = maintain(market)
        data = {"needed": "provider", "account": market.provider.address}
        assert market.refused(market.other, EndMaintenance(maintenance_id)) == ("not_authorized", data)

    def test_of_nothing(self) -> None:
        market = Market()
        refusal = market.refused(market.provider, EndMaintenance(UNKNOWN))
        assert refusal == ("not_found", {"kind": "maintenance", "id": UNKNOWN})

    def test_twice(self) -> None:
        market = Market()
        maintenance_id = maintain(market)
        result = market.run(market.provider, EndMaintenance(maintenance_id), EndMaintenance(maintenance_id))
        assert (result.error, result.failed_action) == ("not_found", 1)

    def test_of_what_is_over_while_the_queue_is_late(self) -> None:
        """The queue decides nothing: what the clock has ended is not found, whether or not it is still stored."""
        market = Market(parameters=TIGHT)
        maintenance_id = maintain(market, seconds=60)
        clog(market)
        market.wait(60_000)
        assert window(market, maintenance_id) is not None
        assert market.refused(market.provider, EndMaintenance(maintenance_id), after_ms=1)[0] == "not_found"
        market.reserve()
        run_queue(market)
        assert window(market, maintenance_id) is None


class TestRetirement:
    def test_ends_all_maintenance(self) -> None:
        """Or an owner could keep a device's hash, and its collateral, in a GPU that nobody can book."""
        market = Market()
        for after_seconds in (0, 3_600, 86_400):
            maintain(market, after_seconds)
        result = market.do(market.provider, RetireGpu(market.gpus[0]))
        kinds = [event.kind for event in result.events]
        assert kinds == ["gpu.maintenance_ended"] * 3 + ["gpu.retiring", "gpu.retired"]
        gpu = market.gpu(market.gpus[0])
        assert (gpu.status, gpu.collateral, gpu.maintenance) == (GpuStatus.RETIRED, 0, ())
        assert HARDWARE.get(market.view, gpu.hardware.hardware_hash) is None
        assert list(MAINTENANCE.scan(market.view)) == []
        market.register("0", owner=market.other)

    def test_waits_for_bookings_alone(self) -> None:
        market = Market()
        booking_id = market.reserve(after_seconds=60, seconds=60)
        maintain(market, 600)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        gpu = market.gpu(market.gpus[0])
        assert (gpu.status, gpu.open_bookings) == (GpuStatus.RETIRING, 1)
        market.cancel(booking_id)
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRED


class TestUpdate:
    def test_replaces_the_terms(self) -> None:
        market = Market()
        offer = terms(7, 120, 7_200, 86_400, notice=600, share=500, version=2)
        result = market.do(market.provider, UpdateGpu(market.gpus[0], offer))
        assert market.gpu(market.gpus[0]).terms == offer
        assert dict(result.events[0].amounts) == {"price_per_hour": 7, "terms_version": 2}

    def test_never_touches_bookings(self) -> None:
        market = Market()
        active, reserved = market.active(), market.reserve(after_seconds=7_200)
        before = market.booking(active), market.booking(reserved)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(100 * PRICE, 3_000, version=2)))
        assert (market.booking(active), market.booking(reserved)) == before
        market.wait_until(market.booking(active).end_ms)
        assert market.booking(active).gross == PRICE

    def test_a_reservation_names_the_version(self) -> None:
        market = Market()
        stale = market.reservation()
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(PRICE // 2, version=2)))
        refusal = market.refused(market.renter, stale)
        assert refusal == ("terms_moved", {"gpu": market.gpus[0], "expected": 1, "got": 2})

    @pytest.mark.parametrize("version", [0, 1, 3])
    def test_the_next_version_and_no_other(self, version: int) -> None:
        market = Market()
        refusal = market.refused(market.provider, UpdateGpu(market.gpus[0], terms(version=version)))
        assert refusal == ("terms_version_mismatch", {"gpu": market.gpus[0], "expected": 2, "got": version})

    def test_two_in_one_block(self) -> None:
        market = Market()
        action = UpdateGpu(market.gpus[0], terms(version=2))
        result = market.run(market.provider, action, action)
        assert (result.error, result.failed_action) == ("terms_version_mismatch", 1)

    def test_terms_out_of_range(self) -> None:
        market = Market()
        for offer, field in (
            (terms(minimum=59, version=2), "minimum_seconds"),
            (terms(maximum=90 * 86_400 + 1, version=2), "maximum_seconds"),
            (terms(horizon=365 * 86_400 + 1, version=2), "horizon_seconds"),
            (terms(notice=365 * 86_400 + 1, version=2), "notice_seconds"),
        ):
            error, data = market.refused(market.provider, UpdateGpu(market.gpus[0], offer))
            assert (error, data["field"]) == ("terms_out_of_range", field)

    def test_terms_that_contradict_themselves(self) -> None:
        for offer in (terms(minimum=0, version=2), terms(minimum=200, maximum=100, version=2)):
            with pytest.raises(InvalidField):
                UpdateGpu(UNKNOWN, offer).validate()

    def test_by_another_of_none_and_of_a_retired_one(self) -> None:
        market = Market()
        action = UpdateGpu(market.gpus[0], terms(version=2))
        data = {"needed": "provider", "account": market.provider.address}
        assert market.refused(market.other, action) == ("not_authorized", data)
        assert market.refused(market.provider, UpdateGpu(UNKNOWN, terms(version=2)))[0] == "not_found"
        market.do(market.provider, RetireGpu(market.gpus[0]))
        assert market.refused(market.provider, action) == ("not_found", {"kind": "gpu", "id": market.gpus[0]})

    def test_costs_no_collateral(self) -> None:
        market = Market(stake=25 * COIN)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(version=2)))
        assert market.stake(market.provider).collateral == 25 * COIN
