"""A month of a small economy: twenty providers, fifty renters, three authorities, and everything that can happen.

Scripted by a seed. It has bookings of every end, disputes, jobs, requests and bids, reviews, a multisig account,
rewards, a conviction, an authority that enters, a parameter that changes, and a three-hour outage; at its end every
equation is exact, and every booking's story adds up from its events alone. The short profile lives twelve days.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Reserve
from chain.actions.disputes import OpenDispute, RespondToDispute, VoteOnDispute
from chain.actions.evidence import SubmitEvidence
from chain.actions.governance import ProposeMeasure, SetParameter, SpendTreasury, VoteOnMeasure
from chain.actions.gpus import Heartbeat
from chain.actions.jobs import AcceptJob, AddReceipt, ClaimJob, SharePayload, SubmitJob
from chain.actions.multisig import MULTISIGS, PROPOSALS, ApproveProposal, CreateMultisig, ProposeActions
from chain.actions.requests import AcceptBid, OpenRequest, PlaceBid
from chain.actions.reviews import REVIEWS, ReplyToReview, SubmitReview
from chain.actions.staking import ClaimRewards
from chain.authorities import CANDIDATES, read_authorities
from chain.booking import BOOKINGS, Booking, BookingStatus
from chain.certificate import VoteKind
from chain.dispute import DISPUTES, DisputeStatus, Fault
from chain.governance import MEASURES
from chain.invariants import check_all
from chain.inventory import GPUS, GpuStatus
from chain.job import ANY_GPU, JOBS, JobStatus, Receipt, Unit
from chain.parameters import Parameters, read_parameters
from chain.request import BIDS, REQUESTS, bids_of
from chain.schema import COIN
from chain.stake import claimable
from chain.transaction import Transaction
from tests.benchmarks.stage import OrderedReader
from tests.conftest import EXTENDED
from tests.council import Officer
from tests.economy.indexes import check_indexes
from tests.ledger import Ledger, Person, make_specification
from tests.market import commitment, registration, terms

HALF_HOUR_MS = 1_800_000
DAY = 48
"""Blocks of a day."""
RULES = Parameters(
    epoch_blocks=2 * DAY,
    maximum_gap_ms=2 * HALF_HOUR_MS,
    activation_grace_seconds=7_200,
    heartbeat_timeout_seconds=14_400,
    dispute_window_seconds=43_200,
    dispute_response_seconds=21_600,
    dispute_vote_seconds=21_600,
    unbonding_seconds=86_400,
    booking_minimum_seconds=3_600,
    review_retention_seconds=10 * 86_400,
    review_window_seconds=5 * 86_400,
)
Attempts = Iterator[tuple[Person, Action]]


class Month(Ledger):
    """The people, and what each of them does in a block, decided by the state and the seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.providers = [Person(f"provider {index}") for index in range(20)]
        self.renters = [Person(f"renter {index}") for index in range(50)]
        self.officers = [Officer(str(index)) for index in range(3)]
        self.newcomer = Officer("newcomer")
        everybody = [*self.providers, *self.renters, *self.officers, self.newcomer]
        members = [officer.authority for officer in self.officers]
        wealth = {"balance": 50_000 * COIN, "stake": 5_000 * COIN}
        super().__init__(make_specification(everybody, parameters=RULES, authorities=members, **wealth), check=False)
        self.reader = OrderedReader(self.reader.values)
        self.names = {person.address: person for person in everybody}
        self.happened: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.money: defaultdict[bytes, Counter[str]] = defaultdict(Counter)
        self.ended: set[bytes] = set()
        self.sent: set[tuple[str, bytes]] = set()

    def live_through(self, days: int) -> None:
        """Block by block; what is scripted has its day."""
        for person in self.providers:
            names = [f"{person.name} {index}" for index in range(2)]
            self.turn([(person, each) for each in commitment(person, *names)])
            price = self.rng.randint(COIN // 10, 2 * COIN)
            offers = [terms(price, 3_600, notice=3_600, share=2_500) for _ in names]
            self.turn([(person, registration(name, offer)) for name, offer in zip(names, offers, strict=True)])
        for block in range(days * DAY):
            outage = block == days * DAY // 2
            self.turn([] if outage else self.attempts(block, days * DAY), 6 * HALF_HOUR_MS if outage else HALF_HOUR_MS)
            if block % DAY == 0:
                check_all(self.view)

    def turn(self, attempts: list[tuple[Person, Action]], after_ms: int = HALF_HOUR_MS) -> None:
        """A block with these attempts, each in a transaction of its own."""
        sequences: Counter[bytes] = Counter()
        transactions: list[Transaction] = []
        for person, action in attempts:
            first = self.sign(person, action, fee=COIN // 50)
            ahead = sequences[person.address]
            sequences[person.address] += 1
            fee = COIN // 50 + action.weight() * RULES.fee_per_weight
            transactions.append(self.sign(person, action, sequence=first.body.sequence + ahead, fee=fee))
        for result in self.block(*transactions, after_ms=after_ms):
            self.errors[result.error] += 1
            for event in result.events:
                self.tell(event.kind, dict(event.subjects), dict(event.amounts))
        assert self.outcome is not None
        for event in self.outcome.system.events:
            self.tell(event.kind, dict(event.subjects), dict(event.amounts))

    def tell(self, kind: str, roles: dict[str, bytes], amounts: dict[str, int]) -> None:
        """Keep the story of each booking."""
        self.happened[kind] += 1
        if not kind.startswith("booking."):
            return
        story = self.money[roles["booking"]]
        unused = kind in ("booking.cancelled", "booking.no_show", "booking.abandoned")
        if unused or (kind == "booking.provider_cancelled" and "forfeited" in amounts):
            story["net"] = story["fee"] = 0  # these tell the sums, not what moved
        for name in ("locked", "net", "fee", "refund"):
            story[name] += amounts.get(name, 0)
        if unused or kind == "booking.closed" or (kind == "booking.provider_cancelled" and "forfeited" in amounts):
            self.ended.add(roles["booking"])

    def attempts(self, block: int, blocks: int) -> list[tuple[Person, Action]]:
        found = [*self.scripted(block, blocks), *self.bookings(), *self.disputes(), *self.jobs(), *self.requests()]
        if block % 6 == 0:
            found += self.heartbeats()
        found += [*self.reviews(), *self.club(block)]
        return found

    def likely(self, chance: float) -> bool:
        return self.rng.random() < chance

    def once(self, what: str, key: bytes) -> bool:
        """Whether this is the first time that somebody thinks of it."""
        new = (what, key) not in self.sent
        self.sent.add((what, key))
        return new

    def heartbeats(self) -> Attempts:
        own = defaultdict(list)
        for gpu_id, gpu in GPUS.scan(self.view):
            own[gpu.owner].append(gpu_id)
        for owner, gpus in own.items():
            if self.likely(0.97):
                yield self.names[owner], Heartbeat(tuple(gpus))

    def scripted(self, block: int, blocks: int) -> Attempts:
        """What has its day: measures, the newcomer, a conviction, rewards."""
        first = self.officers[0]
        lifetime = self.time_ms + 10 * 86_400_000
        if block == blocks // 10:
            yield first, ProposeMeasure((SetParameter("market_fee", 300),), lifetime)
        if block == 2 * blocks // 10:
            yield self.officers[1], ProposeMeasure((self.newcomer.addition,), lifetime)
        if block == 6 * blocks // 10:
            guilty = self.officers[2]
            votes = [guilty.vote(self.chain_id, VoteKind.NOTARIZE, 0, 3, bytes([each]) * 32) for each in (1, 2)]
            yield self.renters[0], SubmitEvidence(guilty.authority.node_key, *votes)
        if block == 7 * blocks // 10:
            yield first, ProposeMeasure((SpendTreasury(self.renters[1].address, COIN, "a prize"),), lifetime)
        for key, measure in MEASURES.scan(self.view):
            voted = {ballot.operator for ballot in measure.ballots}
            for officer in self.officers:
                if officer.address not in voted and self.once("measure" + officer.name, key):
                    yield officer, VoteOnMeasure(key, True)
        if CANDIDATES.get(self.view, self.newcomer.address) is not None and self.once("ready", b""):
            epoch = self.height // RULES.epoch_blocks
            yield self.newcomer, self.newcomer.ready(self.chain_id, epoch)
        if block % (7 * DAY) == 7 * DAY - 1:
            for person in self.providers:
                if claimable(self.view, person.address):
                    yield person, ClaimRewards()

    def bookings(self) -> Attempts:
        rng, now = self.rng, self.time_ms + HALF_HOUR_MS
        listed = [(key, gpu) for key, gpu in GPUS.scan(self.view) if gpu.status is GpuStatus.ACTIVE]
        if listed and self.likely(0.8):
            key, gpu = rng.choice(listed)
            chosen = [key, *(other for other, each in listed if each.owner == gpu.owner and other != key)]
            start = rng.choice((0, 0, now + rng.randint(1, 48) * HALF_HOUR_MS))
            gpus = tuple(chosen[: rng.randint(1, 2)])
            seconds = rng.choice((3_600, 7_200, 7_201, 36_000, 86_400))
            yield rng.choice(self.renters), self.reserve(gpus, start, seconds)
        for key, booking in BOOKINGS.scan(self.view):
            yield from self.of_booking(key, booking, now)

    def reserve(self, gpus: tuple[bytes, ...], start: int, seconds: int) -> Action:
        return Reserve(gpus, start, seconds, 10**15, (1,) * len(gpus), bytes(32))

    def of_booking(self, key: bytes, booking: Booking, now: int) -> Attempts:
        renter, provider = self.names.get(booking.renter), self.names[booking.provider]
        if renter is None:  # a multisig account; its members do nothing more about it
            if booking.status is BookingStatus.RESERVED and now >= booking.start_ms and self.once("activate", key):
                yield provider, Activate(key, b"x")
            return
        match booking.status:
            case BookingStatus.RESERVED if now < booking.start_ms:
                if self.likely(0.02):
                    yield renter, Cancel(key)
                elif self.likely(0.01):
                    yield provider, ProviderCancel(key)
            case BookingStatus.RESERVED if self.once("activate", key) and self.likely(0.88):
                yield provider, Activate(key, b"x")
            case BookingStatus.ACTIVE if now < booking.end_ms:
                if self.likely(0.03):
                    yield renter, Release(key)
                elif self.likely(0.03):
                    yield renter, Extend(key, 3_600, 10**15)
                elif self.likely(0.005):
                    yield provider, ProviderCancel(key)
                elif self.likely(0.01):
                    yield renter, OpenDispute(key, "It is slow.")
            case BookingStatus.CLOSING:
                if self.likely(0.02):
                    yield renter, Confirm(key)
                elif self.likely(0.004):
                    yield provider, OpenDispute(key, "It was used well.")

    def disputes(self) -> Attempts:
        for key, dispute in DISPUTES.scan(self.view):
            if dispute.status is DisputeStatus.OPEN and self.once("respond", key) and self.likely(0.75):
                yield self.names[dispute.respondent], RespondToDispute(key, "No.")
            if dispute.status is DisputeStatus.ANSWERED:
                for officer in (each for each in self.officers if each.address in dispute.electorate):
                    if self.once("vote" + officer.name, key) and self.likely(0.9):
                        slash = self.rng.choice((0, 5_000, 10_000))
                        fault = Fault.PROVIDER if slash else Fault.NOBODY
                        yield officer, VoteOnDispute(key, self.rng.choice((0, 2_500, 10_000)), slash, fault)

    def jobs(self) -> Attempts:
        rng, now = self.rng, self.time_ms
        if self.likely(0.15):
            deadline = now + rng.randint(2, 60) * HALF_HOUR_MS
            job = SubmitJob("render", bytes(32), Unit.ITEM, 10, COIN // 9, 14_400, deadline)
            yield rng.choice(self.renters), job
        listed = [(key, gpu) for key, gpu in GPUS.scan(self.view) if gpu.status is GpuStatus.ACTIVE]
        free = [(key, gpu) for key, gpu in listed if not gpu.open_bookings]
        for key, job in JOBS.scan(self.view):
            renter, claim = self.names[job.renter], job.claim
            provider = None if claim is None else self.names[claim.provider]
            match job.status:
                case JobStatus.OPEN if free and self.likely(0.6):
                    gpu_id, gpu = rng.choice(free)
                    yield self.names[gpu.owner], ClaimJob(key, gpu_id)
                case JobStatus.CLAIMED if self.once("share", key) and self.likely(0.9):
                    yield renter, SharePayload(key, b"key")
                case JobStatus.PAYLOAD_SHARED if claim and provider and self.likely(0.4):
                    began = claim.claimed_ms
                    receipt = Receipt(
                        key, claim.receipts + 1, 10, claim.last_receipt, bytes(32), "there", began, began, True
                    )
                    yield provider, AddReceipt(receipt)
                case JobStatus.DELIVERED if claim and self.likely(0.1):
                    yield renter, AcceptJob(key, claim.last_receipt)

    def requests(self) -> Attempts:
        rng, now = self.rng, self.time_ms
        if self.likely(0.06):
            expires = now + rng.randint(3, 20) * HALF_HOUR_MS
            yield rng.choice(self.renters), OpenRequest(ANY_GPU, 1, 0, 7_200, 5 * COIN, expires, bytes(32))
        for key, request in REQUESTS.scan(self.view):
            bids = bids_of(self.view, key)
            if len(bids) < 4:
                gpu_id, gpu = rng.choice(list(GPUS.scan(self.view)))
                if gpu.status is GpuStatus.ACTIVE and BIDS.get(self.view, key + gpu.owner) is None:
                    yield self.names[gpu.owner], PlaceBid(key, (gpu_id,), (1,), rng.randint(1, 2 * COIN))
            elif self.once("accept", key):
                provider, bid = bids[0]
                yield self.names[request.renter], AcceptBid(key, provider, bid.number)

    def reviews(self) -> Attempts:
        for key, booking in BOOKINGS.scan(self.view):
            paid = booking.status is BookingStatus.CLOSED and booking.renter in self.names
            if paid and self.once("review", key) and self.likely(0.5):
                yield self.names[booking.renter], SubmitReview(key, self.rng.randint(1, 5), "fine")
        for key, review in REVIEWS.scan(self.view):
            if self.once("reply", key) and self.likely(0.5):
                yield self.names[review.provider], ReplyToReview(key, "thanks")

    def club(self, block: int) -> Attempts:
        """Three renters share an account that books."""
        members = sorted(self.renters[:3], key=lambda person: person.address)
        if block == 5:
            yield members[0], CreateMultisig(2, tuple(member.address for member in members))
        for address, _ in MULTISIGS.scan(self.view):
            if self.once("fund", address):
                yield members[0], Transfer(address, "AITBC", 5_000 * COIN)
            elif block % DAY == 0:
                gpu_id, _ = self.rng.choice(list(GPUS.scan(self.view)))
                booking = self.reserve((gpu_id,), 0, 7_200)
                yield members[1], ProposeActions(address, (booking,), self.time_ms + 10 * HALF_HOUR_MS)
        for key, proposal in PROPOSALS.scan(self.view):
            if self.once("approve", key):
                yield members[2], ApproveProposal(key, proposal.weight)


@pytest.mark.timeout(600)
def test_a_month_adds_up(rng: random.Random) -> None:
    days = 30 if EXTENDED else 12
    month = Month(rng)
    before = month.specification
    month.live_through(days)
    check_all(month.view)
    check_indexes(month.view)
    print(dict(month.errors.most_common()))
    print(dict(month.happened.most_common()))
    for booking_id in month.ended:
        story = month.money[booking_id]
        assert story["locked"] == story["net"] + story["fee"] + story["refund"], booking_id.hex()
    wanted = (
        "booking.completed booking.released booking.no_show booking.cancelled booking.provider_cancelled"
        " booking.extended booking.disputed booking.closed dispute.answered job.paid request.bid_accepted"
        " review.submitted review.replied multisig.executed stake.slashed stake.rewards_claimed gpu.offline"
        " authority.ready governance.executed"
    ).split()
    assert not [kind for kind in wanted if not month.happened[kind]]
    assert len(month.ended) > 10 * days
    assert before.parameters.market_fee != read_parameters(month.view).market_fee == 300
    assert month.newcomer.address in read_authorities(month.view).operators
