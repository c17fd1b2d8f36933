"""GPUs: listing, heartbeats, going offline and coming back, and leaving the market."""

import dataclasses

import pytest

from chain.action import Action
from chain.actions.gpus import Heartbeat, RegisterGpu, RetireGpu
from chain.errors import InvalidField
from chain.inventory import GPUS, HARDWARE, GpuStatus, intervals
from chain.schema import COIN
from tests.ledger import subject
from tests.market import SALT, Market, altered, hardware, registration, terms

HASTY = altered(heartbeat_timeout_seconds=120)
UNKNOWN = b"\x77" * 32


class TestRegister:
    def test_lists_the_gpu_and_reserves_its_collateral(self) -> None:
        market = Market(gpus=0)
        market.commit("a")
        result = market.do(market.provider, registration("a", terms(price=5)))
        gpu_id = subject(result, "gpu.registered", "gpu")
        gpu = market.gpu(gpu_id)
        assert (gpu.owner, gpu.status, gpu.terms.price_per_hour) == (market.provider.address, GpuStatus.ACTIVE, 5)
        assert (gpu.collateral, market.stake(market.provider).collateral) == (25 * COIN, 25 * COIN)
        assert gpu.hardware == hardware("a")
        assert dict(result.events[0].amounts) == {"price_per_hour": 5, "collateral": 25 * COIN}

    def test_a_hundred_with_one_signature(self) -> None:
        market = Market(gpus=0, stake=2_500 * COIN)
        names = [str(index) for index in range(100)]
        market.commit(*names)
        registrations = [registration(name) for name in names]
        result = market.run(market.provider, *registrations, fee=COIN)
        assert result.succeeded
        assert len({dict(event.subjects)["gpu"] for event in result.events}) == 100
        assert market.stake(market.provider).free == 0

    def test_the_same_device_twice(self) -> None:
        market = Market()
        market.commit("0")
        refusal = market.refused(market.provider, registration("0"))
        assert refusal == ("hardware_taken", {"gpu": market.gpus[0]})

    def test_one_gpu_registered_by_two_owners(self) -> None:
        market = Market()
        same_hash = dataclasses.replace(hardware("0"), model="another name")
        market.commit("0", owner=market.other)
        refusal = market.refused(market.other, RegisterGpu(same_hash, terms(), SALT))
        assert refusal == ("hardware_taken", {"gpu": market.gpus[0]})

    def test_twice_in_one_transaction(self) -> None:
        market = Market()
        market.commit("a")
        result = market.run(market.provider, registration("a"), registration("a"))
        assert (result.error, result.failed_action) == ("hardware_taken", 1)
        assert len(list(GPUS.scan(market.view))) == 1

    def test_insufficient_collateral(self) -> None:
        market = Market(stake=26 * COIN)
        market.commit("a")
        error, data = market.refused(market.provider, registration("a"))
        expected = {"account": market.provider.address, "needed": 25 * COIN, "available": COIN}
        assert (error, data) == ("insufficient_collateral", expected)

    @pytest.mark.parametrize(
        ("minimum", "maximum", "horizon", "data"),
        [
            (59, 100, 0, {"field": "minimum_seconds", "minimum": 60}),
            (60, 90 * 86_400 + 1, 0, {"field": "maximum_seconds", "maximum": 90 * 86_400}),
            (60, 100, 365 * 86_400 + 1, {"field": "horizon_seconds", "maximum": 365 * 86_400}),
        ],
    )
    def test_terms_out_of_range(self, minimum: int, maximum: int, horizon: int, data: dict[str, object]) -> None:
        market = Market()
        market.commit("a")
        action = registration("a", terms(minimum=minimum, maximum=maximum, horizon=horizon))
        assert market.refused(market.provider, action) == ("terms_out_of_range", data)

    def test_terms_that_contradict_themselves(self) -> None:
        for offer in (
            terms(minimum=0),
            terms(minimum=200, maximum=100),
            dataclasses.replace(terms(), version=2),
        ):
            with pytest.raises(InvalidField):
                registration("a", offer).validate()


class TestHeartbeat:
    def test_keeps_it_online(self) -> None:
        market = Market(parameters=HASTY)
        for _ in range(5):
            market.wait(110_000)
            market.do(market.provider, Heartbeat(market.gpus))
        assert market.gpu(market.gpus[0]).status is GpuStatus.ACTIVE
        assert market.gpu(market.gpus[0]).heartbeat_live_ms == market.live_ms

    @pytest.mark.parametrize(("late_ms", "status"), [(-1, GpuStatus.ACTIVE), (0, GpuStatus.OFFLINE)])
    def test_the_exact_timeout(self, late_ms: int, status: GpuStatus) -> None:
        market = Market(parameters=HASTY)
        market.wait(120_000 + late_ms)
        assert market.gpu(market.gpus[0]).status is status

    def test_brings_an_offline_gpu_back(self) -> None:
        market = Market(parameters=HASTY)
        market.wait(120_000)
        assert market.outcome is not None
        assert [event.kind for event in market.outcome.system.events] == ["gpu.offline"]
        result = market.do(market.provider, Heartbeat(market.gpus))
        assert [event.kind for event in result.events] == ["gpu.online", "gpu.heartbeat"]
        assert market.gpu(market.gpus[0]).status is GpuStatus.ACTIVE
        market.wait(120_000)
        assert market.gpu(market.gpus[0]).status is GpuStatus.OFFLINE

    def test_never_slashes(self) -> None:
        market = Market(parameters=HASTY)
        before = market.wealth(market.provider)
        market.wait(1_000_000)
        assert market.wealth(market.provider) == before

    def test_of_another(self) -> None:
        market = Market()
        error, data = market.refused(market.other, Heartbeat(market.gpus))
        assert (error, data) == ("not_authorized", {"needed": "provider", "account": market.provider.address})

    def test_of_an_unknown_gpu_fails_as_a_whole(self) -> None:
        market = Market()
        before = market.gpu(market.gpus[0])
        refusal = market.refused(market.provider, Heartbeat((*market.gpus, UNKNOWN)))
        assert refusal == ("not_found", {"kind": "gpu", "id": UNKNOWN})
        assert market.gpu(market.gpus[0]) == before

    def test_of_a_retired_gpu(self) -> None:
        market = Market()
        market.do(market.provider, RetireGpu(market.gpus[0]))
        assert market.refused(market.provider, Heartbeat(market.gpus)) == (
            "not_found",
            {"kind": "gpu", "id": market.gpus[0]},
        )

    def test_a_gpu_named_twice(self) -> None:
        with pytest.raises(InvalidField):
            Heartbeat((UNKNOWN, UNKNOWN)).validate()

    def test_twice_in_one_block(self) -> None:
        market = Market(parameters=HASTY)
        market.do(market.provider, Heartbeat(market.gpus), Heartbeat(market.gpus))
        assert market.gpu(market.gpus[0]).offline_live_ms == market.live_ms + 120_000

    def test_of_a_retiring_gpu_counts(self) -> None:
        """Its renter's release is judged by it, though no deadline waits for it any more."""
        market = Market(parameters=HASTY)
        market.active(seconds=3_600)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        market.wait(100_000)
        market.do(market.provider, Heartbeat(market.gpus))
        gpu = market.gpu(market.gpus[0])
        assert (gpu.status, gpu.offline_live_ms) == (GpuStatus.RETIRING, market.live_ms + 120_000)


class TestRetire:
    def test_at_once_without_bookings(self) -> None:
        market = Market()
        result = market.do(market.provider, RetireGpu(market.gpus[0]))
        assert [event.kind for event in result.events] == ["gpu.retiring", "gpu.retired"]
        gpu = market.gpu(market.gpus[0])
        assert (gpu.status, gpu.collateral) == (GpuStatus.RETIRED, 0)
        assert market.stake(market.provider).collateral == 0
        assert HARDWARE.get(market.view, gpu.hardware.hardware_hash) is None

    def test_when_the_last_booking_ends(self) -> None:
        market = Market()
        first, second = market.reserve(), market.reserve(after_seconds=7_200)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        assert len(intervals(market.view, market.gpus[0])) == 2
        market.activate(first)
        market.release(first)
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRING
        assert market.stake(market.provider).collateral > 25 * COIN
        market.cancel(second)
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRED

    def test_the_device_may_be_listed_again(self) -> None:
        market = Market()
        market.do(market.provider, RetireGpu(market.gpus[0]))
        assert market.register("0", owner=market.other) != market.gpus[0]

    def test_an_offline_gpu(self) -> None:
        market = Market(parameters=HASTY)
        market.wait(120_000)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        assert market.gpu(market.gpus[0]).status is GpuStatus.RETIRED

    @pytest.mark.parametrize("booked", [False, True])
    def test_twice(self, booked: bool) -> None:
        market = Market()
        if booked:
            market.reserve(after_seconds=600)
        market.do(market.provider, RetireGpu(market.gpus[0]))
        again = market.refused(market.provider, RetireGpu(market.gpus[0]))
        if booked:
            assert again == ("gpu_retired", {"gpu": market.gpus[0]})
        else:
            assert again == ("not_found", {"kind": "gpu", "id": market.gpus[0]})

    def test_of_another_and_of_none(self) -> None:
        market = Market()
        data = {"needed": "provider", "account": market.provider.address}
        assert market.refused(market.other, RetireGpu(market.gpus[0])) == ("not_authorized", data)
        assert market.refused(market.other, RetireGpu(UNKNOWN))[0] == "not_found"

    def test_its_collateral_cannot_be_taken_out_twice(self) -> None:
        market = Market()
        retire: Action = RetireGpu(market.gpus[0])
        result = market.run(market.provider, retire, retire)
        assert (result.error, result.failed_action) == ("not_found", 1)
        assert market.stake(market.provider).collateral == 25 * COIN
