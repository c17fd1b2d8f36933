"""Challenges of a GPU's declared hardware: deposit, refutation by ruling or silence, and what waits for it."""

from fractions import Fraction
from math import ceil

import pytest

from chain.actions.accounts import Transfer
from chain.actions.disputes import ChallengeHardware, OpenDispute
from chain.actions.gpus import Heartbeat, RetireGpu, SetMaintenance, UpdateGpu
from chain.bank import adjust, totals
from chain.booking import BookingStatus
from chain.dispute import DisputeKind, DisputeStatus, Fault
from chain.errors import InvalidField
from chain.inventory import HARDWARE, GpuStatus, intervals
from chain.reputation import reputation_of
from chain.schema import COIN
from chain.stake import seize, stake_of
from tests.court import RESPONSE_MS, RULES, VOTE_MS, Court, Purse
from tests.ledger import DEFAULT_FEE
from tests.market import TIGHT, altered, clog, hardware, registration, run_queue, terms

UNKNOWN = b"\x77" * 32
COLLATERAL = 25 * COIN
DEPOSIT = COLLATERAL // 20


class Scene:
    """A challenged GPU, and what its challenger and its owner had before."""

    def __init__(self, court: Court | None = None) -> None:
        self.court = court or Court()
        self.gpu = self.court.gpus[0]
        self.purse = Purse(self.court, renter=self.court.other)
        self.dispute = self.court.challenge(self.court.other, self.gpu)

    def judged(self, slash: int = 0, fault: Fault | None = None) -> "Scene":
        self.court.respond(self.court.provider, self.dispute)
        self.court.rule(self.dispute, 0, slash, fault)
        return self

    @property
    def status(self) -> GpuStatus:
        return self.court.gpu(self.gpu).status


class TestOutcomes:
    def test_opening(self) -> None:
        scene = Scene()
        dispute, gpu = scene.court.dispute(scene.dispute), scene.court.gpu(scene.gpu)
        assert (dispute.kind, dispute.subject) == (DisputeKind.GPU, scene.gpu)
        assert (dispute.earned, dispute.paid, dispute.collateral) == (0, 0, COLLATERAL)
        assert (dispute.deposit, totals(scene.court.view).deposits) == (DEPOSIT, DEPOSIT)
        assert (gpu.challenge, gpu.refuted, gpu.status) == (scene.dispute, False, GpuStatus.ACTIVE)
        assert scene.court.booking(scene.court.active()).status is BookingStatus.ACTIVE

    @pytest.mark.parametrize("slash", [0, 1, 3_333, 10_000])
    def test_ruled_against_the_provider(self, slash: int) -> None:
        scene = Scene().judged(slash, Fault.PROVIDER)
        gpu, slashed = scene.court.gpu(scene.gpu), COLLATERAL * slash // 10_000
        assert (gpu.status, gpu.refuted, gpu.challenge, gpu.collateral) == (GpuStatus.RETIRED, True, None, 0)
        assert scene.purse.change() == (slashed, -slashed)
        assert scene.court.stake(scene.court.provider).collateral == 0
        assert totals(scene.court.view).deposits == 0
        for known in (scene.court.provider.address, gpu.hardware.hardware_hash):
            assert reputation_of(scene.court.view, known).disputes_lost == 1

    def test_a_slash_may_have_left_less(self) -> None:
        """The challenger gets what there is; of the collateral the whole share is gone, of another GPU's nothing."""
        scene = Scene(Court(gpus=2))
        court = scene.court
        court.respond(court.provider, scene.dispute)
        with court.system() as context:
            rest = stake_of(context.view, court.provider.address).amount - 5
            seize(context, court.provider.address, rest)
            adjust(context.view, burnt=rest)
        court.rule(scene.dispute, 0, 10_000)
        assert court.dispute(scene.dispute).slashed == 5
        assert court.gpu(court.gpus[1]).collateral == COLLATERAL
        held = court.stake(court.provider)
        assert (held.amount, held.collateral) == (0, COLLATERAL)

    @pytest.mark.parametrize("fault", [Fault.NOBODY, Fault.RENTER])
    def test_ruled_for_the_provider(self, fault: Fault) -> None:
        """The challenger's deposit is the owner's."""
        scene = Scene().judged(0, fault)
        gpu = scene.court.gpu(scene.gpu)
        assert (gpu.status, gpu.refuted, gpu.challenge, gpu.collateral) == (GpuStatus.ACTIVE, False, None, COLLATERAL)
        assert scene.purse.change() == (-DEPOSIT, DEPOSIT)

    def test_no_ruling_in_time(self) -> None:
        scene = Scene()
        scene.court.respond(scene.court.provider, scene.dispute)
        scene.court.vote(0, scene.dispute, 0, 10_000)
        scene.court.wait(VOTE_MS)
        assert scene.court.dispute(scene.dispute).status is DisputeStatus.UNDECIDED
        assert scene.status is GpuStatus.ACTIVE
        assert scene.purse.change() == (0, 0)

    def test_unanswered(self) -> None:
        """Silence takes the GPU off the market, but only a ruling slashes."""
        scene = Scene()
        scene.court.wait(RESPONSE_MS)
        gpu = scene.court.gpu(scene.gpu)
        assert (gpu.status, gpu.refuted) == (GpuStatus.RETIRED, True)
        assert scene.purse.change() == (0, 0)
        assert scene.court.stake(scene.court.provider).collateral == 0

    def test_bookings_are_kept(self) -> None:
        court = Court()
        booking_id = court.active(seconds=3_600)
        scene = Scene(court).judged(5_000)
        assert (scene.status, court.gpu(scene.gpu).collateral) == (GpuStatus.RETIRING, COLLATERAL // 2)
        assert court.refused(court.renter, court.reservation())[0] == "gpu_unavailable"
        court.wait_until(court.booking(booking_id).end_ms)
        assert court.booking(booking_id).status is BookingStatus.CLOSING
        assert scene.status is GpuStatus.RETIRED

    def test_maintenance_ends(self) -> None:
        court = Court()
        court.do(court.provider, SetMaintenance(court.gpus[0], court.time_ms + 5_000_000, 60))
        scene = Scene(court).judged(0, Fault.PROVIDER)
        assert scene.status is GpuStatus.RETIRED
        assert intervals(court.view, scene.gpu) == []

    def test_an_offline_gpu(self) -> None:
        court = Court(parameters=altered(RULES, heartbeat_timeout_seconds=60))
        court.wait(60_000)
        scene = Scene(court)
        assert scene.status is GpuStatus.OFFLINE
        scene.judged(0, Fault.PROVIDER)
        assert scene.status is GpuStatus.RETIRED

    def test_a_dispute_about_its_booking_goes_on_beside(self) -> None:
        court = Court()
        booking_id = court.active()
        scene = Scene(court)
        other = court.open(court.renter, booking_id)
        scene.judged(10_000)
        court.respond(court.provider, other)
        court.rule(other, 10_000, 10_000)
        assert court.booking(booking_id).status is BookingStatus.CLOSED
        assert court.stake(court.provider).collateral == 0


class TestRetirement:
    @pytest.mark.parametrize(
        ("fault", "refuted"), [(Fault.PROVIDER, True), (Fault.NOBODY, False)], ids=["refuted", "confirmed"]
    )
    def test_waits_for_the_outcome(self, fault: Fault, refuted: bool) -> None:
        """The collateral cannot get away."""
        scene = Scene()
        court = scene.court
        court.do(court.provider, RetireGpu(scene.gpu))
        assert scene.status is GpuStatus.RETIRING
        assert court.stake(court.provider).collateral == COLLATERAL
        scene.judged(4_000 if refuted else 0, fault)
        gpu = court.gpu(scene.gpu)
        assert (gpu.status, gpu.refuted, gpu.collateral) == (GpuStatus.RETIRED, refuted, 0)
        assert court.stake(court.provider).collateral == 0
        assert HARDWARE.get(court.view, gpu.hardware.hardware_hash) is None

    def test_of_a_booked_gpu_waits_for_both(self) -> None:
        court = Court()
        booking_id = court.active(seconds=100)
        scene = Scene(court)
        court.do(court.provider, RetireGpu(scene.gpu))
        court.wait_until(court.booking(booking_id).end_ms)
        assert (scene.status, court.gpu(scene.gpu).open_bookings) == (GpuStatus.RETIRING, 0)
        court.wait(RESPONSE_MS)
        assert scene.status is GpuStatus.RETIRED

    @pytest.mark.parametrize("retiring", [False, True])
    def test_a_late_queue_decides_nothing(self, retiring: bool) -> None:
        """Its time is over although nothing ran: it can neither be booked nor be updated, but be listed again."""
        court = Court(parameters=TIGHT)
        scene = Scene(court)
        if retiring:
            court.do(court.provider, RetireGpu(scene.gpu))
        clog(court)
        court.wait(RESPONSE_MS)
        assert court.gpu(scene.gpu).challenge is not None
        gone = ("not_found", {"kind": "gpu", "id": scene.gpu})
        assert court.refused(court.renter, court.reservation()) == gone
        for action in (Heartbeat((scene.gpu,)), UpdateGpu(scene.gpu, terms(version=2)), RetireGpu(scene.gpu)):
            assert court.refused(court.provider, action) == gone
        court.commit("0")
        court.do(court.provider, registration("0"))
        run_queue(court)
        assert court.gpu(scene.gpu).refuted
        assert hardware("0").hardware_hash == court.gpu(scene.gpu).hardware.hardware_hash

    @pytest.mark.parametrize("beats_ms", [30 * 86_400_000, RESPONSE_MS + 20_000], ids=["online", "silent by then"])
    def test_a_late_queue_refutes_as_of_the_deadline(self, beats_ms: int) -> None:
        """When it retired, how long it was online and when it is forgotten are told from the deadline."""
        told = []
        for late in (False, True):
            court = Court(parameters=altered(TIGHT, heartbeat_timeout_seconds=beats_ms // 1_000))
            scene = Scene(court)
            begins_ms = court.time_ms + RESPONSE_MS - 10_000
            court.do(court.provider, SetMaintenance(scene.gpu, begins_ms, 20))
            if late:
                clog(court, 800)
            court.wait_until(begins_ms + 40_000)
            assert (court.gpu(scene.gpu).challenge is not None) is late
            while court.gpu(scene.gpu).status is not GpuStatus.RETIRED:
                court.wait(10_000)
            known = (scene.court.provider.address, court.gpu(scene.gpu).hardware.hardware_hash)
            told.append((court.gpu(scene.gpu), [reputation_of(court.view, each) for each in known]))
        assert told[0] == told[1]


class TestRefusals:
    def test_unknown(self) -> None:
        court = Court()
        refused = court.refused(court.other, ChallengeHardware(UNKNOWN, "x"))
        assert refused == ("not_found", {"kind": "gpu", "id": UNKNOWN})

    def test_the_owner(self) -> None:
        court = Court()
        name, data = court.refused(court.provider, ChallengeHardware(court.gpus[0], "x"))
        assert (name, data["account"]) == ("not_authorized", court.provider.address)

    def test_one_at_a_time(self) -> None:
        scene = Scene()
        refused = scene.court.refused(scene.court.renter, ChallengeHardware(scene.gpu, "x"))
        assert refused == ("already_disputed", {"subject": scene.gpu, "dispute": scene.dispute})
        scene.judged()
        again = scene.court.challenge(scene.court.renter, scene.gpu)
        assert scene.court.gpu(scene.gpu).challenge == again

    def test_retired(self) -> None:
        court = Court()
        court.do(court.provider, RetireGpu(court.gpus[0]))
        refused = court.refused(court.other, ChallengeHardware(court.gpus[0], "x"))
        assert refused == ("not_found", {"kind": "gpu", "id": court.gpus[0]})

    def test_the_last_booking_is_over_although_the_queue_is_late(self) -> None:
        court = Court(parameters=TIGHT)
        court.active(seconds=100)
        court.do(court.provider, RetireGpu(court.gpus[0]))
        clog(court)
        court.wait(100_000)
        assert court.gpu(court.gpus[0]).status is GpuStatus.RETIRING
        refused = court.refused(court.other, ChallengeHardware(court.gpus[0], "x"))
        assert refused == ("not_found", {"kind": "gpu", "id": court.gpus[0]})

    @pytest.mark.parametrize(("collateral", "deposit"), [(25 * COIN, 1_250_000_000), (10 * COIN, COIN), (COIN, COIN)])
    def test_the_deposit_must_be_there(self, collateral: int, deposit: int) -> None:
        court = Court(parameters=altered(RULES, collateral_per_gpu=collateral))
        assert deposit == max(COIN, ceil(Fraction(collateral, 20)))
        spare = court.balance(court.other) - deposit - 2 * DEFAULT_FEE + 1
        court.do(court.other, Transfer(court.renter.address, "AITBC", spare))
        refused = court.refused(court.other, ChallengeHardware(court.gpus[0], "x"))
        assert refused == ("insufficient_funds", {"needed": deposit, "available": deposit - 1})

    def test_fields(self) -> None:
        for text in (" x", "x\n"):
            with pytest.raises(InvalidField):
                ChallengeHardware(UNKNOWN, text).validate()

    def test_a_gpu_is_not_disputed_like_a_booking(self) -> None:
        court = Court()
        refused = court.refused(court.other, OpenDispute(court.gpus[0], "x"))
        assert refused == ("not_found", {"kind": "booking or job", "id": court.gpus[0]})
