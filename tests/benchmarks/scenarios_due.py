"""Scenarios of what nobody sends: due items at their dearest, and the last block of an epoch."""

from dataclasses import replace

from chain.actions.gpus import SetMaintenance
from chain.actions.jobs import SubmitJob
from chain.actions.staking import RemoveStake
from chain.job import Unit
from chain.schema import COIN
from tests.benchmarks.scenarios import Attempts, _booked, _reservations, _shared, scenario
from tests.benchmarks.stage import WIDE, Stage


def _until(stage: Stage, time_ms: int) -> tuple[Stage, Attempts]:
    """The next block, a second later, is the first at which it is due."""
    stage.wait_until(time_ms - 1_000)
    return stage, []


@scenario("due: no-show")
def no_show() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=160)
    stage.all(stage.renter, _reservations(stage, seconds=600, start_ms=stage.time_ms + 5_000))
    return _until(stage, stage.time_ms - 1_000 + 5_000 + 60_000)


@scenario("due: booking completes")
def completes() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=160)
    found = _booked(stage, active=True)
    return _until(stage, stage.booking(found[0]).end_ms)


@scenario("due: booking is paid")
def paid() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=160)
    found = _booked(stage, active=True)
    stage.wait_until(stage.booking(found[0]).end_ms)
    live_ms = stage.booking(found[0]).payment_live_ms or 0
    return _until(stage, stage.time_ms + live_ms - stage.live_ms)


@scenario("due: job times out")
def times_out() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    _shared(stage)
    return _until(stage, stage.time_ms + 3_600_000)


@scenario("due: job expires")
def expires() -> tuple[Stage, Attempts]:
    stage = Stage()
    due_ms = stage.time_ms + 60_000
    stage.all(stage.renter, [SubmitJob("k" * 32, bytes(32), Unit.ITEM, 100, COIN, 3_600, due_ms)] * 200)
    return _until(stage, due_ms)


@scenario("due: GPU goes offline")
def offline() -> tuple[Stage, Attempts]:
    stage = Stage(replace(WIDE, heartbeat_timeout_seconds=60))
    stage.list_gpus(200)
    return _until(stage, stage.time_ms + 60_000)


@scenario("due: maintenance ends")
def maintenance() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=100)
    for index in range(15):
        stage.all(
            stage.provider, [SetMaintenance(gpu, stage.time_ms + 10**8 + index * 10**6, 60) for gpu in stage.gpus]
        )
    stage.all(stage.provider, [SetMaintenance(gpu, 0, 60) for gpu in stage.gpus])
    return _until(stage, stage.time_ms + 60_000)


@scenario("due: unbonding is paid")
def unbonding() -> tuple[Stage, Attempts]:
    stage = Stage()
    stage.each((person, RemoveStake(1)) for person in stage.crowd for _ in range(3))
    return _until(stage, stage.time_ms + 60_000)
