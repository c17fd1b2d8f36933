"""Listing a device in two steps, so that whoever sees its hash in a pending transaction comes too late."""

from dataclasses import replace

import pytest

from chain.actions.gpus import (
    COMMITMENT_LIFETIME_MS,
    COMMITMENTS,
    CommitHardware,
    RegisterGpu,
    RetireGpu,
    commitment_of,
)
from chain.parameters import Parameters
from chain.schedule import DUE, DUE_ITEM_WEIGHT, Subject
from tests.ledger import subject
from tests.market import SALT, TIGHT, Market, clog, commitment, hardware, registration, terms

HASH = hardware("a").hardware_hash


def waiting(market: Market) -> int:
    return sum(key[9] == Subject.COMMITMENT for key, _ in DUE.scan(market.view))


class TestCommit:
    def test_shows_nothing_of_the_device(self) -> None:
        market = Market(gpus=0)
        (action,) = commitment(market.provider, "a")
        result = market.do(market.provider, action)
        assert action.commitment != HASH
        found = COMMITMENTS.get(market.view, market.provider.address + action.commitment)
        assert found is not None
        assert (found.height, found.expires_ms) == (market.height, market.time_ms + COMMITMENT_LIFETIME_MS)
        (event,) = result.events
        assert dict(event.subjects) == {"commitment": action.commitment, "provider": market.provider.address}

    def test_binds_owner_hash_and_salt(self) -> None:
        market = Market(gpus=0)
        made = commitment_of(market.provider.address, HASH, SALT)
        others = [
            commitment_of(market.other.address, HASH, SALT),
            commitment_of(market.provider.address, hardware("b").hardware_hash, SALT),
            commitment_of(market.provider.address, HASH, bytes(32)),
        ]
        assert made not in others

    def test_twice(self) -> None:
        market = Market(gpus=0)
        (action,) = commitment(market.provider, "a")
        market.do(market.provider, action)
        data = {"commitment": action.commitment, "reason": "made already"}
        assert market.refused(market.provider, action) == ("commitment_refused", data)

    def test_the_same_bytes_of_two_senders_do_not_meet(self) -> None:
        """A copied commitment is worth nothing to him who copies it, and takes nothing from its owner."""
        market = Market(gpus=0)
        (action,) = commitment(market.provider, "a")
        copied, made = market.sign(market.other, action), market.sign(market.provider, action)
        assert [result.error for result in market.block(copied, made)] == ["", ""]
        assert market.refused(market.other, registration("a"))[0] == "commitment_refused"
        market.do(market.provider, registration("a"))

    def test_a_flood_is_forgotten_as_fast_as_it_can_be_made(self) -> None:
        """A whole block of them is not more than one block can run when they lapse."""
        parameters = Parameters()
        per_block = parameters.maximum_block_weight // CommitHardware(bytes(32)).weight()
        assert per_block * DUE_ITEM_WEIGHT <= parameters.due_weight

    def test_lapses(self) -> None:
        market = Market(gpus=0)
        (action,) = commitment(market.provider, "a")
        market.do(market.provider, action)
        market.block(after_ms=COMMITMENT_LIFETIME_MS - 1)
        assert waiting(market) == 1
        market.block(after_ms=1)
        assert (waiting(market), list(COMMITMENTS.scan(market.view))) == (0, [])
        market.do(market.provider, action)


class TestRegister:
    def test_uses_the_commitment_up(self) -> None:
        market = Market(gpus=0)
        market.register("a")
        assert (waiting(market), list(COMMITMENTS.scan(market.view))) == (0, [])

    def test_without_one(self) -> None:
        market = Market(gpus=0)
        data = {
            "commitment": commitment_of(market.provider.address, HASH, SALT),
            "reason": "not made, or expired",
        }
        assert market.refused(market.provider, registration("a")) == ("commitment_refused", data)

    def test_in_the_block_of_the_commitment(self) -> None:
        market = Market(gpus=0)
        (action,) = commitment(market.provider, "a")
        result = market.run(market.provider, action, registration("a"))
        assert (result.error, result.failed_action) == ("commitment_refused", 1)
        assert dict(result.error_data)["reason"] == "made in this block; list the device in a later one"
        first = market.sign(market.provider, action)
        second = market.sign(market.provider, registration("a"), sequence=first.body.sequence + 1)
        assert [result.error for result in market.block(first, second)] == ["", "commitment_refused"]
        market.do(market.provider, registration("a"))

    @pytest.mark.parametrize("change", ["salt", "hash"])
    def test_with_something_else(self, change: str) -> None:
        market = Market(gpus=0)
        market.commit("a")
        device = hardware("b") if change == "hash" else hardware("a")
        action = RegisterGpu(device, terms(), bytes(32) if change == "salt" else SALT)
        assert market.refused(market.provider, action)[0] == "commitment_refused"

    def test_the_rest_of_the_hardware_may_be_chosen_late(self) -> None:
        """The hash alone is what somebody could take."""
        market = Market(gpus=0)
        market.commit("a")
        market.do(market.provider, RegisterGpu(replace(hardware("a"), model="another name"), terms(), SALT))

    @pytest.mark.parametrize(("late_ms", "fits"), [(-1, True), (0, False)])
    def test_of_a_lapsed_one(self, late_ms: int, fits: bool) -> None:
        """By the clock, whatever the queue has reached."""
        market = Market(gpus=0, parameters=TIGHT)
        market.commit("a")
        clog(market)
        market.block(after_ms=COMMITMENT_LIFETIME_MS - 1_000)
        result = market.run(market.provider, registration("a"), after_ms=1_000 + late_ms)
        assert result.succeeded is fits
        if not fits:
            market.commit("a")
            market.do(market.provider, registration("a"))
        assert list(COMMITMENTS.scan(market.view)) == []

    def test_a_failed_registration_keeps_it(self) -> None:
        market = Market(gpus=0, stake=1)
        market.commit("a")
        assert market.refused(market.provider, registration("a"))[0] == "insufficient_collateral"
        assert waiting(market) == 1

    def test_again_after_retirement_needs_another(self) -> None:
        market = Market(gpus=0)
        gpu_id = market.register("a")
        market.do(market.provider, RetireGpu(gpu_id))
        assert market.refused(market.provider, registration("a"))[0] == "commitment_refused"
        assert market.register("a") != gpu_id


class TestFrontRunning:
    """A hash seen and front-run."""

    def test_a_thief_who_sees_the_registration_is_too_late(self) -> None:
        market = Market(gpus=0)
        market.commit("a")
        honest = market.sign(market.provider, registration("a"))
        promise = market.sign(market.other, *commitment(market.other, "a"), fee=10**9)
        stolen = market.sign(market.other, registration("a"), sequence=promise.body.sequence + 1, fee=10**9)
        results = market.block(promise, stolen, honest)
        assert [result.error for result in results] == ["", "commitment_refused", ""]
        gpu_id = subject(results[2], "gpu.registered", "gpu")
        assert market.refused(market.other, registration("a")) == ("hardware_taken", {"gpu": gpu_id})

    def test_the_salt_and_hash_of_another_are_of_no_use(self) -> None:
        market = Market(gpus=0)
        market.commit("a")
        assert market.refused(market.other, registration("a"))[0] == "commitment_refused"

    def test_of_two_who_promised_the_first_to_list_wins(self) -> None:
        market = Market(gpus=0)
        for owner in (market.provider, market.other):
            market.commit("a", owner=owner)
        listing, late = (market.sign(owner, registration("a")) for owner in (market.provider, market.other))
        assert [result.error for result in market.block(listing, late)] == ["", "hardware_taken"]
