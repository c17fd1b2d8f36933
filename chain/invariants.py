"""What must hold in every state, whatever led to it: money adds up, and every record agrees with every other.

Reads the whole state, so it runs in tests after every block and in `aitbc-node verify`, never inside a block.
"""

from collections import Counter
from collections.abc import Iterator

from chain.action import DEPOSIT_COUNTS, DUE_HANDLERS, INVARIANTS, Clock
from chain.bank import ACCOUNTS, totals
from chain.booking import BOOKINGS, OPEN_STATUSES, Booking, BookingStatus, leaves_live_ms, matured
from chain.clocks import live_instant, read_clocks
from chain.crypto.address import key_address
from chain.errors import LedgerError
from chain.escrow import ESCROWS, escrow_of
from chain.idempotency import IDEMPOTENCY
from chain.inventory import GPUS, HARDWARE, INTERVALS, GpuStatus
from chain.job import HELD, JOBS, OVER, JobStatus
from chain.job import leaves_live_ms as job_leaves_live_ms
from chain.keys import ALIASES, KEYS
from chain.maintenance import MAINTENANCE
from chain.request import REQUESTS
from chain.schedule import DUE, Subject
from chain.stake import STAKES
from chain.standing import is_listed, is_over
from chain.state.tables import u64
from chain.state.view import View


class InvariantBroken(LedgerError):
    code = 1990
    hint = "The state contradicts itself: stop the node and keep its database for examination."


def require(holds: bool, rule: str, **data: int | str | bytes) -> None:
    """Raise InvariantBroken, naming the rule, unless it holds."""
    if not holds:
        raise InvariantBroken(rule=rule, **data)


def check_all(view: View) -> None:
    """Raise InvariantBroken for the first rule that does not hold."""
    check_conservation(view)
    check_escrows(view)
    check_collateral(view)
    check_calendars(view)
    check_deadlines(view)
    check_references(view)
    check_keys(view)
    for check in INVARIANTS:
        check(view)


def check_conservation(view: View) -> None:
    """Balances, stakes, escrows and pots together are what was issued and not burnt."""
    money = totals(view)
    balances = sum(account.balance for _, account in ACCOUNTS.scan(view))
    staked = sum(stake.amount for _, stake in STAKES.scan(view))
    escrow = sum(item.remaining for _, item in ESCROWS.scan(view))
    require(staked == money.staked, "stakes add up to their total", counted=staked, total=money.staked)
    require(escrow == money.escrow, "escrows add up to their total", counted=escrow, total=money.escrow)
    deposited = sum(count(view) for count in DEPOSIT_COUNTS)
    require(deposited == money.deposits, "deposits add up to their total", counted=deposited, total=money.deposits)
    held = money.unbonding + money.deposits + money.rewards + money.epoch_pot + money.treasury
    placed = balances + staked + escrow + held
    expected = money.issued - money.burnt
    require(placed == expected, "money is conserved", placed=placed, expected=expected)


def check_escrows(view: View) -> None:
    """locked = net + fee + refunded + remaining, nothing is negative, and finished subjects hold nothing."""
    for subject, item in ESCROWS.scan(view):
        require(item.remaining >= 0, "no escrow is overdrawn", subject=subject)
        known = any(
            found is not None
            for found in (BOOKINGS.get(view, subject), JOBS.get(view, subject), REQUESTS.get(view, subject))
        )
        require(known, "an escrow belongs to a booking, a job or a request", subject=subject)
    for booking_id, booking in BOOKINGS.scan(view):
        item = escrow_of(view, booking_id)
        require(item.locked == booking.cost, "a booking's cost is what was locked", booking=booking_id)
        expected = {
            BookingStatus.RESERVED: booking.cost,
            BookingStatus.ACTIVE: booking.cost - item.gross,
            BookingStatus.CLOSING: booking.gross - item.gross,
            BookingStatus.DISPUTED: booking.gross - item.gross,
        }.get(booking.status, 0)
        require(item.remaining == expected, "a booking's escrow holds what is open", booking=booking_id)
        if booking.status in (BookingStatus.ACTIVE, BookingStatus.CLOSING):
            early = item.gross - matured(view, booking, read_clocks(view).live_ms)
            require(early <= 0, "nothing is paid before it is undisputed", booking=booking_id)
    for job_id, job in JOBS.scan(view):
        if job.booking is None:
            item = escrow_of(view, job_id)
            paid = job.units_done + (0 if job.claim is None else job.claim.units_accepted)
            open_now = job.status in (JobStatus.OPEN, *HELD, JobStatus.DELIVERED)
            require(item.locked == job.cost, "a job's cost is what was locked", job=job_id)
            if job.dispute is not None:
                ended = job.status is JobStatus.CLOSED
                require(item.remaining == 0 or not ended, "a finished job holds nothing", job=job_id)
                continue
            require(item.gross == paid * job.unit_price, "accepted units are paid", job=job_id)
            require(
                (item.remaining == job.cost - item.gross) or not open_now, "an open job's money is held", job=job_id
            )
            require(item.remaining == 0 or open_now, "a finished job holds nothing", job=job_id)


def check_collateral(view: View) -> None:
    """The collateral inside each stake is exactly what live GPUs and open bookings reserve."""
    reserved: Counter[bytes] = Counter()
    for _, gpu in GPUS.scan(view):
        reserved[gpu.owner] += gpu.collateral
    for _, booking in BOOKINGS.scan(view):
        if booking.status in OPEN_STATUSES:
            reserved[booking.provider] += booking.collateral
    for _, job in JOBS.scan(view):
        if job.claim is not None and job.status in (*HELD, JobStatus.DELIVERED, JobStatus.DISPUTED):
            reserved[job.claim.provider] += job.claim.collateral
    stakes = dict(STAKES.scan(view))
    for address, amount in reserved.items():
        require(amount == 0 or address in stakes, "collateral is what is reserved", account=address)
    for address, stake in stakes.items():
        require(stake.collateral == reserved[address], "collateral is what is reserved", account=address)
        within = stake.collateral <= stake.amount + stake.slashed
        require(within, "collateral lies within its stake, but for what slashes took", account=address)


def check_calendars(view: View) -> None:
    """Nothing on a GPU overlaps what is still on, and the calendars hold what is not over or waits for the queue."""
    booked: Counter[bytes] = Counter()
    previous_gpu, previous_end = b"", 0
    for key, interval in INTERVALS.scan(view):
        gpu_id, start = key[:32], int.from_bytes(key[32:], "big")
        require(gpu_id != previous_gpu or start >= previous_end, "no two bookings overlap", gpu=gpu_id)
        if gpu_id != previous_gpu or not is_over(view, interval):
            previous_gpu, previous_end = gpu_id, 0 if is_over(view, interval) else interval.end_ms
        booked[gpu_id] += 1
        matches = _holds_time(view, interval.holder, gpu_id, start, interval.end_ms)
        require(matches, "a calendar entry has its booking, job or maintenance", gpu=gpu_id)
    for booking_id, booking in BOOKINGS.scan(view):
        open_now = booking.status in (BookingStatus.RESERVED, BookingStatus.ACTIVE)
        for gpu_id in booking.gpus:
            entry = INTERVALS.get(view, gpu_id + u64(booking.start_ms))
            present = entry is not None and entry.holder == booking_id
            require(present == open_now, "an open booking is in the calendar", booking=booking_id)
    _check_claims(view)
    _check_maintenance(view)
    for gpu_id, gpu in GPUS.scan(view):
        require(gpu.open_bookings == booked[gpu_id], "open bookings are counted", gpu=gpu_id)
        claim = HARDWARE.get(view, gpu.hardware.hardware_hash)
        holds, listed = claim is not None and claim.gpu == gpu_id, gpu.status is not GpuStatus.RETIRED
        over = listed and not holds and not is_listed(view, gpu_id)
        require(holds == listed or over, "a live GPU holds its hardware hash", gpu=gpu_id)
        busy = gpu.challenge is not None or gpu.open_bookings > 0
        waits = gpu.status is not GpuStatus.RETIRING or (busy and not gpu.maintenance)
        require(waits, "a retiring GPU waits for a booking, job or challenge", gpu=gpu_id)
    for _, claim in HARDWARE.scan(view):
        require(GPUS.get(view, claim.gpu) is not None, "a hardware hash has its GPU", gpu=claim.gpu)


def _check_claims(view: View) -> None:
    for job_id, job in JOBS.scan(view):
        if job.claim is not None and job.claim.gpu is not None and job.status in HELD:
            entry = INTERVALS.get(view, job.claim.gpu + u64(job.claim.claimed_ms))
            require(entry is not None and entry.holder == job_id, "a claimed job is in the calendar", job=job_id)


def _check_maintenance(view: View) -> None:
    named = {(gpu_id, window_id) for gpu_id, gpu in GPUS.scan(view) for window_id in gpu.maintenance}
    found = {(window.gpu, window_id) for window_id, window in MAINTENANCE.scan(view)}
    require(named == found, "GPUs name their maintenance")
    for window_id, window in MAINTENANCE.scan(view):
        entry = INTERVALS.get(view, window.gpu + u64(window.start_ms))
        require(entry is not None and entry.holder == window_id, "maintenance is in the calendar", id=window_id)


def _holds_time(view: View, identifier: bytes, gpu_id: bytes, start_ms: int, end_ms: int) -> bool:
    """Whether a booking, a claimed job or maintenance occupies the GPU in exactly this interval of block time."""
    window = MAINTENANCE.get(view, identifier)
    if window is not None:
        return (window.gpu, window.start_ms, window.end_ms) == (gpu_id, start_ms, end_ms)
    booking = BOOKINGS.get(view, identifier)
    if booking is not None:
        return gpu_id in booking.gpus and (booking.start_ms, booking.end_ms) == (start_ms, end_ms)
    job = JOBS.get(view, identifier)
    claim = None if job is None else job.claim
    return (
        job is not None
        and claim is not None
        and (claim.gpu, claim.claimed_ms) == (gpu_id, start_ms)
        and end_ms > start_ms + job.claim_seconds * 1_000  # and the grace, as it was when the job was claimed
    )


def check_references(view: View) -> None:
    """Nothing names a booking or a GPU that has left the state, and both count who names them."""
    jobs: Counter[bytes] = Counter()
    named: Counter[bytes] = Counter()
    for job_id, job in JOBS.scan(view):
        if job.booking is not None:
            require(BOOKINGS.get(view, job.booking) is not None, "a job inside a booking has it", job=job_id)
            jobs[job.booking] += 1
        if job.claim is not None and job.claim.gpu is not None:
            require(GPUS.get(view, job.claim.gpu) is not None, "a claimed job has its GPU", job=job_id)
            named[job.claim.gpu] += 1
    for booking_id, booking in BOOKINGS.scan(view):
        require(booking.jobs == jobs[booking_id], "a booking counts its jobs", booking=booking_id)
        for gpu_id in booking.gpus:
            require(GPUS.get(view, gpu_id) is not None, "a booking has its GPUs", booking=booking_id)
            named[gpu_id] += 1
    for gpu_id, gpu in GPUS.scan(view):
        require(gpu.references == named[gpu_id], "a GPU counts who names it", gpu=gpu_id)


def _expected_deadlines(view: View) -> Iterator[tuple[Clock, int, Subject, bytes]]:
    time_ms, live_ms = read_clocks(view).time_ms, read_clocks(view).live_ms
    for gpu_id, gpu in GPUS.scan(view):
        if gpu.status is GpuStatus.ACTIVE:
            yield Clock.LIVE, gpu.offline_live_ms, Subject.GPU, gpu_id
        elif gpu.status is GpuStatus.RETIRED:
            require(gpu.leaves_live_ms is not None, "a retired GPU leaves some day", gpu=gpu_id)
            if not (gpu.references and live_ms >= (gpu.leaves_live_ms or 0)):
                yield Clock.LIVE, gpu.leaves_live_ms or 0, Subject.GPU, gpu_id
    for booking_id, booking in BOOKINGS.scan(view):
        for clock, due_ms in _booking_deadlines(view, booking, time_ms, live_ms):
            yield clock, due_ms, Subject.BOOKING, booking_id
    for job_id, job in JOBS.scan(view):
        if job.status is JobStatus.OPEN:
            yield Clock.BLOCK, job.deadline_ms, Subject.JOB, job_id
        elif job.status in HELD and job.claim is not None:
            yield Clock.LIVE, job.claim.deadline_live_ms, Subject.JOB, job_id
        elif job.status is JobStatus.DELIVERED and job.acceptance_live_ms is not None:
            yield Clock.LIVE, job.acceptance_live_ms, Subject.JOB, job_id
        elif job.status in OVER:
            yield Clock.LIVE, job_leaves_live_ms(view, job), Subject.JOB, job_id
    for window_id, window in MAINTENANCE.scan(view):
        yield Clock.BLOCK, window.end_ms, Subject.MAINTENANCE, window_id
    for key, entry in IDEMPOTENCY.scan(view):
        yield Clock.BLOCK, entry.expires_ms, Subject.IDEMPOTENCY, key


def _booking_deadlines(view: View, booking: Booking, time_ms: int, live_ms: int) -> Iterator[tuple[Clock, int]]:
    if booking.status is BookingStatus.RESERVED and time_ms < booking.start_ms:
        yield Clock.BLOCK, booking.start_ms
    elif booking.status is BookingStatus.RESERVED:
        yield Clock.BLOCK, booking.end_ms
        yield Clock.LIVE, live_instant(view, booking.start_ms) + booking.patience_ms
    elif booking.status is BookingStatus.ACTIVE:
        yield Clock.BLOCK, booking.end_ms
    elif booking.status is BookingStatus.CLOSING:
        require(booking.payment_live_ms is not None, "a closing booking has its payment", renter=booking.renter)
        yield Clock.LIVE, booking.payment_live_ms or 0
    elif booking.status not in OPEN_STATUSES:
        leaves = leaves_live_ms(view, booking)
        if not (booking.jobs and live_ms >= leaves):
            yield Clock.LIVE, leaves


def check_keys(view: View) -> None:
    """A rotated account has one current key, no key signs for two, and its address leads to the account."""
    current = {key: binding.account for key, binding in KEYS.scan(view) if not binding.retired}
    rotated = {account.key: address for address, account in ACCOUNTS.scan(view) if account.key is not None}
    require(current == rotated, "a rotated account has one current key")
    aliases = {address: alias.account for address, alias in ALIASES.scan(view)}
    expected = {key_address(key): binding.account for key, binding in KEYS.scan(view)}
    require(aliases == expected, "the address of a bound key leads to its account")


def check_deadlines(view: View) -> None:
    """Every open record waits for each of its deadlines, or for an overdue one that will set the others."""
    queued = {key for key, _ in DUE.scan(view)}
    now = {Clock.BLOCK: read_clocks(view).time_ms, Clock.LIVE: read_clocks(view).live_ms}
    overdue = set()
    for key in queued:
        require(key[9] in DUE_HANDLERS, "every deadline has a handler", subject=key[9])
        if int.from_bytes(key[1:9], "big") <= now[Clock(key[0])]:
            overdue.add((key[9], key[10:]))
    for clock, due_ms, subject, identifier in _expected_deadlines(view):
        key = bytes([clock]) + u64(due_ms) + bytes([subject]) + identifier
        waits = key in queued or (subject, identifier) in overdue
        require(waits, "an open record has its deadline", id=identifier, due_ms=due_ms)
