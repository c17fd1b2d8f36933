"""A market with something of everything: the state that the tests of the invariants damage."""

from dataclasses import replace

from chain.actions.disputes import ChallengeHardware, OpenDispute
from chain.actions.gpus import RetireGpu, SetMaintenance
from chain.actions.jobs import ClaimJob, SubmitJob
from chain.actions.multisig import CreateMultisig, ProposeActions
from chain.actions.requests import OpenRequest, PlaceBid
from chain.actions.staking import AddStake, RemoveStake
from chain.bank import ACCOUNTS, TOTALS, account, totals
from chain.booking import BOOKINGS, Booking
from chain.clocks import CLOCKS, read_clocks
from chain.crypto.hashing import sha256
from chain.dispute import DISPUTES
from chain.escrow import ESCROWS, escrow_of
from chain.invariants import check_all
from chain.inventory import GPUS, INTERVALS, Gpu, Interval
from chain.job import ANY_GPU, JOBS, Unit
from chain.request import BIDS, REQUESTS, read_bid
from chain.rewards import REWARDS, read_rewards
from chain.schedule import DUE, Subject
from chain.schema import COIN
from chain.stake import STAKES, Stake, stake_of
from chain.state.tables import u64
from chain.state.view import View
from chain.unbonding import UNBONDINGS, Unbonding, unbonding_key
from tests.ledger import subject
from tests.market import Market, altered, rotate

ZERO = b"\x00" * 32


class Scene:
    """A market with something of everything: the state that each test damages."""

    def __init__(self) -> None:
        market = Market(gpus=7, parameters=altered(heartbeat_timeout_seconds=120, epoch_blocks=20))
        self.market = market
        a, b, c, d, e, f, g = market.gpus
        self.gpus = market.gpus
        self.active = market.active([a], seconds=7_200)
        self.reserved = market.reserve([a], after_seconds=20_000)
        self.closing = market.active([b])
        market.release(self.closing)
        self.closed = market.active([b])
        market.release(self.closed)
        market.confirm(self.closed)
        self.started = market.reserve([c], seconds=7_200)
        self.retired = d
        market.do(market.provider, RetireGpu(d), RemoveStake(5 * COIN))
        set_now = SetMaintenance(f, market.time_ms + 3_600_000, 600)
        self.window = subject(market.do(market.provider, set_now), "gpu.maintenance_set", "maintenance")
        self.disputed = market.active([g])
        contest = OpenDispute(self.disputed, "too slow"), ChallengeHardware(g, "too small")
        self.dispute, self.challenge = (
            subject(market.do(market.renter, each), "dispute.opened", "dispute") for each in contest
        )
        market.commit("unlisted")
        self.new_key = rotate(market, market.other)
        self.claimed, self.open = self.jobs(e)
        self.multisig, self.proposal = self.office()
        self.request = self.asked(e)
        market.block(market.sign(market.renter, AddStake(1), idempotency_id=b"\x01" * 32))
        while market.height % 20:
            market.block(market.sign(market.other, AddStake(1)))  # in an epoch before, and in the last one raised again
        market.do(market.renter, AddStake(1))
        self.view: View = market.view
        check_all(self.view)

    def jobs(self, gpu_id: bytes) -> tuple[bytes, bytes]:
        """A claimed job and an open one."""
        deadline_ms = self.market.time_ms + 3_600_000
        action = SubmitJob("inference", ZERO, Unit.ITEM, 50, COIN, 60, deadline_ms)
        claimed, opened = (
            subject(self.market.do(self.market.renter, action), "job.submitted", "job") for _ in range(2)
        )
        self.market.do(self.market.provider, ClaimJob(claimed, gpu_id))
        return claimed, opened

    def asked(self, gpu_id: bytes) -> bytes:
        """A request with one bid, of `provider`."""
        market, start_ms = self.market, self.market.time_ms + 7_200_000
        action = OpenRequest(ANY_GPU, 1, start_ms, 3_600, 3 * COIN, start_ms, ZERO)
        request_id = subject(market.do(market.renter, action), "request.opened", "request")
        market.do(market.provider, PlaceBid(request_id, (gpu_id,), (1,), COIN))
        return request_id

    def alter_request(self, **changes: int) -> None:
        found = REQUESTS.get(self.view, self.request)
        assert found is not None
        REQUESTS.put(self.view, self.request, replace(found, **changes))  # type: ignore[arg-type]

    @property
    def request_deposit(self) -> int:
        found = REQUESTS.get(self.view, self.request)
        return 0 if found is None else found.deposit

    def forget_deposit(self, amount: int) -> None:
        self.totals(deposits=-amount, treasury=amount)

    def alter_bid(self, **changes: int) -> None:
        provider = self.market.provider.address
        bid = replace(read_bid(self.view, self.request, provider), **changes)  # type: ignore[arg-type]
        BIDS.put(self.view, self.request + provider, bid)

    def office(self) -> tuple[bytes, bytes]:
        """A multisig account and its proposal."""
        renter, members = self.market.renter, sorted((self.market.renter.address, self.market.other.address))
        made = self.market.do(renter, CreateMultisig(2, tuple(members)))
        address = subject(made, "multisig.created", "account")
        action = ProposeActions(address, (AddStake(1),), self.market.time_ms + 3_600_000)
        return address, subject(self.market.do(renter, action), "multisig.proposed", "proposal")

    def job(self, job_id: bytes, **changes: object) -> None:
        found = JOBS.get(self.view, job_id)
        assert found is not None
        JOBS.put(self.view, job_id, replace(found, **changes))  # type: ignore[arg-type]

    def booking(self, booking_id: bytes, **changes: object) -> None:
        BOOKINGS.put(self.view, booking_id, replace(self._booking(booking_id), **changes))  # type: ignore[arg-type]

    def _booking(self, booking_id: bytes) -> Booking:
        found = BOOKINGS.get(self.view, booking_id)
        assert found is not None
        return found

    def gpu(self, gpu_id: bytes, **changes: object) -> None:
        found: Gpu | None = GPUS.get(self.view, gpu_id)
        assert found is not None
        GPUS.put(self.view, gpu_id, replace(found, **changes))  # type: ignore[arg-type]

    def totals(self, **changes: int) -> None:
        old = totals(self.view)
        TOTALS.put(self.view, replace(old, **{name: getattr(old, name) + change for name, change in changes.items()}))

    def escrow(self, booking_id: bytes, **changes: int) -> None:
        old = escrow_of(self.view, booking_id)
        ESCROWS.put(
            self.view,
            booking_id,
            replace(old, **{name: getattr(old, name) + change for name, change in changes.items()}),
        )

    def stake(self, **changes: int) -> None:
        address = self.market.provider.address
        STAKES.put(self.view, address, replace(stake_of(self.view, address), **changes))

    @property
    def staked(self) -> Stake:
        """A stake that was raised in this epoch."""
        return stake_of(self.view, self.market.renter.address)

    def share(self, address: bytes | None = None, **changes: int) -> None:
        address = address or self.market.renter.address
        held = stake_of(self.view, address)
        STAKES.put(self.view, address, replace(held, share=replace(held.share, **changes)))

    def rewards(self, **changes: int) -> None:
        old = read_rewards(self.view)
        REWARDS.put(self.view, replace(old, **{name: getattr(old, name) + more for name, more in changes.items()}))

    def contest(self, dispute_id: bytes, **changes: object) -> None:
        found = DISPUTES.get(self.view, dispute_id)
        assert found is not None
        DISPUTES.put(self.view, dispute_id, replace(found, **changes))  # type: ignore[arg-type]

    def start_of(self, booking_id: bytes) -> int:
        return self._booking(booking_id).start_ms

    def end_of(self, booking_id: bytes) -> int:
        return self._booking(booking_id).end_ms

    def drop_deadlines(self, subject: Subject, identifier: bytes | None = None) -> None:
        for key, _ in list(DUE.scan(self.view)):
            if key[9] == subject and identifier in (None, key[10:]):
                DUE.delete(self.view, key)

    def credit_from_nothing(self) -> None:
        address = self.market.renter.address
        ACCOUNTS.put(self.view, address, replace(account(self.view, address), balance=1))

    def move_interval(self) -> None:
        """The reservation's interval begins within the active one."""
        gpu_id = self.gpus[0]
        early_ms = self.end_of(self.active) - 1
        INTERVALS.put(self.view, gpu_id + u64(early_ms), Interval(early_ms + 10, Subject.BOOKING, self.reserved))

    def wrong_interval(self) -> None:
        INTERVALS.put(self.view, self.gpus[2] + u64(self.start_of(self.started)), Interval(1, Subject.BOOKING, ZERO))

    def drop_interval(self, holder: bytes) -> None:
        INTERVALS.delete(self.view, next(key for key, item in INTERVALS.scan(self.view) if item.holder == holder))

    def drop_unbondings(self) -> None:
        for identifier, _ in list(UNBONDINGS.scan(self.view)):
            UNBONDINGS.delete(self.view, identifier)

    def change_unbonding(self, **changes: object) -> None:
        ((key, found),) = UNBONDINGS.scan(self.view)
        UNBONDINGS.put(self.view, key, replace(found, **changes))  # type: ignore[arg-type]

    def many_unbondings(self) -> None:
        for index in range(32):
            item = Unbonding(self.market.provider.address, 1, self.market.time_ms + 1)
            UNBONDINGS.put(self.view, unbonding_key(sha256(bytes([index])), item), item)
        self.totals(unbonding=32, treasury=-32)

    def jump(self) -> None:
        clocks = read_clocks(self.view)
        CLOCKS.put(self.view, replace(clocks, live_ms=clocks.time_ms))
