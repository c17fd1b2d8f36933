"""What the tables that only help to find things must hold, made again from the records that they are about.

A calendar, the due queue, who holds which hardware, how much a total is: each can be computed from scratch, and must
be equal to what the ledger has kept up to date step by step.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from chain.action import Clock
from chain.actions.gpus import COMMITMENTS
from chain.actions.multisig import MULTISIGS, PROPOSALS
from chain.actions.reviews import REVIEWS
from chain.bank import totals
from chain.booking import BOOKINGS, OPEN_STATUSES, Booking, BookingStatus
from chain.clocks import live_instant, read_clocks
from chain.dispute import DISPUTES
from chain.escrow import ESCROWS
from chain.governance import read_agenda
from chain.idempotency import IDEMPOTENCY
from chain.inventory import GPUS, HARDWARE, INTERVALS, GpuStatus
from chain.job import HELD, JOBS, OVER, Job, JobStatus
from chain.maintenance import MAINTENANCE
from chain.request import BIDS, REQUESTS
from chain.schedule import DUE, Subject
from chain.stake import STAKES
from chain.state.trie import MemoryNodes, root_of, update
from chain.state.view import MemoryReader, View
from chain.trades import TRADES, expires_ms, split_key
from chain.unbonding import UNBONDINGS

Deadline = tuple[int, int, int, bytes]
"""(clock, due, subject, id)."""


def check_indexes(view: View) -> None:
    """Raise AssertionError where an index differs from one made from scratch."""
    for name, made, found in rebuilt(view):
        if made != found:
            lacks, extra = [item for item in made if item not in found], [item for item in found if item not in made]
            raise AssertionError(f"{name}: the state lacks {lacks} and has {extra} too much")


def rebuilt(view: View) -> Iterator[tuple[str, Any, Any]]:
    """(index, as made from scratch, as the state has it)."""
    yield "calendars", sorted(calendars(view)), [(key, item.end_ms, item.holder) for key, item in INTERVALS.scan(view)]
    due = [(key[0], int.from_bytes(key[1:9], "big"), key[9], key[10:]) for key, _ in DUE.scan(view)]
    met = set(deadlines_met(view))
    yield "due queue", sorted(deadlines(view)), [item for item in due if item not in met]
    live = {gpu.hardware.hardware_hash: key for key, gpu in GPUS.scan(view) if gpu.status is not GpuStatus.RETIRED}
    yield "hardware", live, {key: claim.gpu for key, claim in HARDWARE.scan(view)}
    counted = Counter(key[:32] for key, _ in INTERVALS.scan(view))
    held = {key: gpu.open_bookings for key, gpu in GPUS.scan(view) if gpu.open_bookings}
    yield "open bookings", dict(counted), held
    proposals = {address: sorted(item.proposals) for address, item in MULTISIGS.scan(view) if item.proposals}
    made: dict[bytes, list[bytes]] = {}
    for key, proposal in PROPOSALS.scan(view):
        made.setdefault(proposal.account, []).append(key)
    yield "proposals", made, proposals
    money = totals(view)
    sums = (
        sum(item.remaining for _, item in ESCROWS.scan(view)),
        sum(item.amount for _, item in STAKES.scan(view)),
        sum(item.amount for _, item in UNBONDINGS.scan(view)),
    )
    yield "totals", sums, (money.escrow, money.staked, money.unbonding)


def calendars(view: View) -> Iterator[tuple[bytes, int, bytes]]:
    """(GPU and start, end, holder) of everything that takes a GPU's time."""
    for key, booking in BOOKINGS.scan(view):
        if booking.status in (BookingStatus.RESERVED, BookingStatus.ACTIVE):
            for gpu in booking.gpus:
                yield gpu + booking.start_ms.to_bytes(8, "big"), booking.end_ms, key
    for key, job in JOBS.scan(view):
        claim = job.claim
        if job.status in HELD and claim is not None and claim.gpu is not None:
            place = claim.gpu + claim.claimed_ms.to_bytes(8, "big")
            taken = INTERVALS.get(view, place)
            # Only the interval knows what the grace was when it began; the second ledger knows it too.
            yield place, 0 if taken is None else taken.end_ms, key
    for key, window in MAINTENANCE.scan(view):
        yield window.gpu + window.start_ms.to_bytes(8, "big"), window.end_ms, key


def deadlines(view: View) -> Iterator[Deadline]:
    """Every deadline of every record, and nothing else may be in the queue."""
    live_ms = read_clocks(view).live_ms
    for key, gpu in GPUS.scan(view):
        if gpu.status is GpuStatus.ACTIVE:
            yield Clock.LIVE, gpu.offline_live_ms, Subject.GPU, key
        elif gpu.leaves_live_ms is not None and gpu.leaves_live_ms > live_ms:
            yield Clock.LIVE, gpu.leaves_live_ms, Subject.GPU, key
    for key, booking in BOOKINGS.scan(view):
        for clock, due in booking_deadlines(view, booking):
            yield clock, due, Subject.BOOKING, key
        if booking.status not in OPEN_STATUSES:
            leaves = leaving(view, booking)
            yield from ((Clock.LIVE, due, Subject.BOOKING, key) for due in leaves)
    for key, job in JOBS.scan(view):
        if job.status is JobStatus.OPEN:
            yield Clock.BLOCK, job.deadline_ms, Subject.JOB, key
        elif job.status in HELD and job.claim is not None:
            yield Clock.LIVE, job.claim.deadline_live_ms, Subject.JOB, key
        elif job.status is JobStatus.DELIVERED:
            yield Clock.LIVE, job.acceptance_live_ms or 0, Subject.JOB, key
        elif job.status in OVER:
            yield from ((Clock.LIVE, due, Subject.JOB, key) for due in leaving(view, job))
    for key, window in MAINTENANCE.scan(view):
        yield Clock.BLOCK, window.end_ms, Subject.MAINTENANCE, key
    for key, entry in IDEMPOTENCY.scan(view):
        yield Clock.BLOCK, entry.expires_ms, Subject.IDEMPOTENCY, key
    for key, promise in COMMITMENTS.scan(view):
        yield Clock.BLOCK, promise.expires_ms, Subject.COMMITMENT, key
    for key, unbonding in UNBONDINGS.scan(view):
        yield Clock.BLOCK, unbonding.due_ms, Subject.UNBONDING, key
    for key, proposal in PROPOSALS.scan(view):
        yield Clock.BLOCK, proposal.expires_ms, Subject.PROPOSAL, key
    for key, dispute in DISPUTES.scan(view):
        due = dispute.deadline_live_ms if dispute.forget_live_ms is None else dispute.forget_live_ms
        yield Clock.LIVE, due, Subject.DISPUTE, key
    for entry in read_agenda(view).open:
        yield Clock.BLOCK, entry.expires_ms, Subject.MEASURE, entry.measure
    for key, request in REQUESTS.scan(view):
        yield Clock.BLOCK, request.expires_ms, Subject.REQUEST, key
    for key, bid in BIDS.scan(view):
        yield Clock.BLOCK, bid.expires_ms, Subject.REQUEST, key
    for key, _ in TRADES.scan(view):
        yield Clock.BLOCK, expires_ms(split_key(key)[1]), Subject.TRADE, key
    for key, review in REVIEWS.scan(view):
        yield Clock.LIVE, review.leaves_live_ms, Subject.REVIEW, key


def leaving(view: View, record: Booking | Job) -> Iterator[int]:
    """When something that is over leaves the state, unless that has passed and it only waits for what names it."""
    due = live_instant(view, record.ended_ms or 0) + record.review_seconds * 1_000
    if due > read_clocks(view).live_ms:
        yield due


def booking_deadlines(view: View, booking: Booking) -> Iterator[tuple[Clock, int]]:
    match booking.status:
        case BookingStatus.RESERVED if read_clocks(view).time_ms < booking.start_ms:
            yield Clock.BLOCK, booking.start_ms
        case BookingStatus.RESERVED:
            yield Clock.BLOCK, booking.end_ms
            yield Clock.LIVE, live_instant(view, booking.start_ms) + booking.patience_ms
        case BookingStatus.ACTIVE:
            yield Clock.BLOCK, booking.end_ms
        case BookingStatus.CLOSING:
            yield Clock.LIVE, booking.payment_live_ms or 0


def deadlines_met(view: View) -> Iterator[Deadline]:
    """What an activation leaves in the queue: the start, or the end of the patience; they will run into nothing."""
    for key, booking in BOOKINGS.scan(view):
        if booking.status is BookingStatus.ACTIVE:
            yield Clock.BLOCK, booking.start_ms, Subject.BOOKING, key
            if read_clocks(view).time_ms >= booking.start_ms:
                patience_live_ms = live_instant(view, booking.start_ms) + booking.patience_ms
                yield Clock.LIVE, patience_live_ms, Subject.BOOKING, key


class Root:
    """The state root as a node keeps it, block by block, beside the one that the definition gives."""

    def __init__(self, state: dict[bytes, bytes]) -> None:
        self.nodes = MemoryNodes()
        self.root = None
        self.apply(0, dict(state))

    def apply(self, height: int, changes: dict[bytes, bytes | None]) -> bytes:
        """The root after a block."""
        done = update(self.nodes, self.root, height, changes)
        self.nodes.apply(done, prune=True)
        self.root = done.root
        return done.root_hash

    def check(self, height: int, changes: dict[bytes, bytes | None], reader: MemoryReader) -> None:
        """Raise AssertionError unless both are the same after this block."""
        found = self.apply(height, changes)
        assert found == root_of(reader.values.items()), f"height {height}: the root is not that of the flat table"
