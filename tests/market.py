"""A provider with GPUs and a renter on a ledger in memory: the stage on which the tests of the market play."""

from collections.abc import Sequence
from dataclasses import replace

from chain.action import Action, Clock
from chain.actions.accounts import RotateKey, rotation_bytes
from chain.actions.bookings import Activate, Cancel, Confirm, Release, Reserve, Settle
from chain.actions.gpus import CommitHardware, RegisterGpu, commitment_of
from chain.actions.jobs import SubmitJob
from chain.booking import BOOKINGS, OPEN_STATUSES, Booking
from chain.booking import storage_deposit as booking_deposit
from chain.clocks import read_clocks
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256, tagged_hash
from chain.deposit import storage_deposit
from chain.escrow import Escrow, escrow_of
from chain.inventory import GPU_GROWTH, Gpu, GpuStatus, Hardware, Terms, read_gpu
from chain.job import Job, JobStatus
from chain.job import storage_deposit as job_deposit
from chain.parameters import Parameters
from chain.result import TransactionResult
from chain.schedule import DUE, DueItem, Subject, next_due
from chain.schema import COIN
from chain.stake import Stake, stake_of
from chain.state.tables import u64
from tests.ledger import Ledger, Person, make_authority, make_specification, subject

PRICE = 2 * COIN
"""Of one GPU-hour."""
UNHURRIED = Parameters(heartbeat_timeout_seconds=30 * 86_400, storage_deposit_per_byte=0, authority_minimum_stake=0)
"""A development network whose GPUs stay online by themselves and whose state is free, for tests of something else."""


def hardware(name: str) -> Hardware:
    """A device with this name's hash."""
    return Hardware(
        model="RTX 4090",
        memory_mb=24_576,
        cuda_cores=16_384,
        cuda_version="12.4",
        region="eu-west",
        attributes=("nvlink=no",),
        hardware_hash=sha256(f"hardware {name}".encode()),
    )


def terms(
    price: int = PRICE,
    minimum: int = 60,
    maximum: int = 30 * 86_400,
    horizon: int = 90 * 86_400,
    notice: int = 0,
    share: int = 0,
    version: int = 1,
) -> Terms:
    """What a provider asks for; durations in seconds, the cancellation share in basis points."""
    return Terms(price, minimum, maximum, horizon, notice, share, version)


SALT = sha256(b"salt")


def commitment(owner: Person | bytes, *names: str) -> tuple[CommitHardware, ...]:
    """The promises of an owner (a person or an account) to list the devices of these names."""
    address = owner.address if isinstance(owner, Person) else owner
    return tuple(CommitHardware(commitment_of(address, hardware(name).hardware_hash, SALT)) for name in names)


def registration(name: str, offer: Terms | None = None) -> RegisterGpu:
    """The action that lists the device of this name, once it was committed to."""
    return RegisterGpu(hardware(name), offer or terms(), SALT)


class Market(Ledger):
    """A ledger on which `provider` has listed GPUs that `renter` may book; `other` is a stranger."""

    def __init__(
        self,
        gpus: int = 1,
        *,
        parameters: Parameters = UNHURRIED,
        price: int = PRICE,
        minimum: int = 60,
        offer: Terms | None = None,
        stake: int = 1_000 * COIN,
        balance: int = 10_000 * COIN,
        check: bool = True,
        operators: Sequence[Person] = (),
    ) -> None:
        """
        Args:
            operators: of the network's authorities, who then own what everybody owns; a stranger's if none are given.
        """
        self.provider, self.renter, self.other = Person("provider"), Person("renter"), Person("other")
        people = (self.provider, self.renter, self.other)
        authorities = [
            replace(make_authority(str(index))[0], operator=operator.address)
            for index, operator in enumerate(operators)
        ]
        specification = make_specification(
            tuple({person.address: person for person in (*operators, *people)}.values()),
            balance=balance,
            stake=stake,
            parameters=parameters,
            authorities=authorities,
        )
        super().__init__(specification, check=check)
        self.gpus = tuple(self.register(str(index), offer or terms(price, minimum)) for index in range(gpus))

    def register(self, name: str, offer: Terms | None = None, owner: Person | None = None) -> bytes:
        """The id of a new GPU: committed to in one block, listed in the next."""
        self.commit(name, owner=owner)
        result = self.do(owner or self.provider, registration(name, offer))
        return subject(result, "gpu.registered", "gpu")

    def commit(self, *names: str, owner: Person | None = None) -> None:
        """Let an owner promise to list these devices."""
        self.do(owner or self.provider, *commitment(owner or self.provider, *names), fee=COIN)

    def reservation(
        self,
        gpus: Sequence[bytes] = (),
        *,
        seconds: int = 3_600,
        start_ms: int = 0,
        max_cost: int = 10**15,
    ) -> Reserve:
        """The action that books these GPUs (all of the market's if none is given)."""
        chosen = tuple(gpus) or self.gpus
        return Reserve(chosen, start_ms, seconds, max_cost, (1,) * len(chosen), b"\x09" * 32)

    def reserve(
        self,
        gpus: Sequence[bytes] = (),
        *,
        seconds: int = 3_600,
        after_seconds: int = 0,
        after_ms: int = 1_000,
        renter: Person | None = None,
    ) -> bytes:
        """The id of a new booking, which starts `after_seconds` after the block that includes it."""
        start_ms = self.time_ms + after_ms + after_seconds * 1_000 if after_seconds else 0
        action = self.reservation(gpus, seconds=seconds, start_ms=start_ms)
        return subject(self.do(renter or self.renter, action, after_ms=after_ms), "booking.reserved", "booking")

    def activate(self, booking: bytes, *, after_ms: int = 1_000) -> TransactionResult:
        return self.do(self.provider, Activate(booking, b"sealed access"), after_ms=after_ms)

    def active(self, gpus: Sequence[bytes] = (), *, seconds: int = 3_600) -> bytes:
        """The id of a booking that the provider activates in the block that reserves it: it earns from its start."""
        reserving = self.sign(self.renter, self.reservation(gpus, seconds=seconds))
        booking_id = derived_id(reserving.txid, "booking")
        activating = self.sign(self.provider, Activate(booking_id, b"sealed access"))
        results = self.block(reserving, activating)
        assert all(result.succeeded for result in results), results
        return booking_id

    def release(self, booking: bytes, *, after_ms: int = 1_000) -> TransactionResult:
        return self.do(self.renter, Release(booking), after_ms=after_ms)

    def confirm(self, booking: bytes, *, after_ms: int = 1_000) -> TransactionResult:
        return self.do(self.renter, Confirm(booking), after_ms=after_ms)

    def settle(self, booking: bytes, *, after_ms: int = 1_000) -> TransactionResult:
        return self.do(self.other, Settle(booking), after_ms=after_ms)

    def cancel(self, booking: bytes, *, after_ms: int = 1_000) -> TransactionResult:
        return self.do(self.renter, Cancel(booking), after_ms=after_ms)

    def refused(self, sender: Person, *actions: Action, after_ms: int = 1_000) -> tuple[str, dict[str, object]]:
        """The error name and data of a transaction that must fail."""
        result = self.run(sender, *actions, after_ms=after_ms)
        assert not result.succeeded, "the transaction succeeded"
        return result.error, dict(result.error_data)

    def booking(self, booking: bytes) -> Booking:
        found = BOOKINGS.get(self.view, booking)
        assert found is not None
        return found

    def escrow(self, booking: bytes) -> Escrow:
        return escrow_of(self.view, booking)

    def gpu(self, gpu: bytes) -> Gpu:
        return read_gpu(self.view, gpu)

    def stake(self, person: Person) -> Stake:
        return stake_of(self.view, person.address)

    def wait_until(self, time_ms: int, step_ms: int = 10_000) -> None:
        """Let time pass in empty blocks up to a block at exactly this block time."""
        self.wait(time_ms - self.time_ms, step_ms)

    def wealth(self, person: Person) -> int:
        """Balance and stake of a person, base units."""
        return self.balance(person) + self.stake(person).amount


def rotate(ledger: Ledger, person: Person, name: str = "") -> bytes:
    """Give a person another key, which signs for him from now on; returns it."""
    key = PrivateKey(sha256(f"key {name or person.name} {person.key.public_key.hex()}".encode()))
    ledger.do(person, rotation(ledger.chain_id, person.address, key))
    person.key = key
    return key.public_key


def rotation(chain_id: str, address: bytes, key: PrivateKey) -> RotateKey:
    """The action that gives an account this key."""
    return RotateKey(key.public_key, key.sign(rotation_bytes(chain_id, address, key.public_key)))


TIGHT = replace(UNHURRIED, due_weight=100)
"""A network whose blocks run twenty due items at most."""


def open_deadlines(ledger: Ledger) -> list[bytes]:
    """The deadlines of bookings, but for those at which what is over leaves the state."""
    view = ledger.view
    over = {booking_id for booking_id, booking in BOOKINGS.scan(view) if booking.status not in OPEN_STATUSES}
    return [key for key, _ in DUE.scan(view) if key[9] == Subject.BOOKING and key[10:] not in over]


def clog(ledger: Ledger, items: int = 2_000) -> None:
    """Put this many items that do nothing at the head of either clock's queue, of which TIGHT blocks run few."""
    view = ledger.view
    for clock in Clock:
        for index in range(items):
            key = bytes([clock]) + u64(0) + bytes([Subject.IDEMPOTENCY]) + index.to_bytes(4, "big")
            DUE.put(view, key, DueItem(0))
    ledger.reader.apply(view.changes())


def run_queue(ledger: Ledger) -> None:
    """Let blocks pass, a millisecond each, until nothing is overdue."""
    while any(due is not None and due <= now for due, now in _heads(ledger)):
        ledger.block(after_ms=1)


def _heads(ledger: Ledger) -> list[tuple[int | None, int]]:
    """What is due first on either clock, and what it shows."""
    clocks = read_clocks(ledger.view)
    return [(next_due(ledger.view, Clock.BLOCK), clocks.time_ms), (next_due(ledger.view, Clock.LIVE), clocks.live_ms)]


def derived_id(txid: bytes, domain: str, count: int = 1) -> bytes:
    """The id that the transaction gives to the `count`-th record it creates."""
    return tagged_hash(f"aitbc/id/{domain}/1", txid, count.to_bytes(4, "big"))


BYTES = Parameters(storage_deposit_per_byte=1)


def booking_bytes(gpus: int = 1) -> int:
    """What the deposit of a booking counts; see `tests/chain/test_leaving.py` for the number itself."""
    return booking_deposit(BYTES, gpus)


def gpu_bytes() -> int:
    """What the deposit of a GPU counts."""
    gpu = Gpu(bytes(33), GpuStatus.ACTIVE, hardware("any"), terms(), 1, 1, 1, 1)
    return storage_deposit(BYTES, gpu, GPU_GROWTH)


def job_bytes(action: SubmitJob) -> int:
    """What the deposit of a job counts."""
    numbers = (1,) * 4
    job = Job(bytes(33), JobStatus.OPEN, action.kind, bytes(32), action.unit, *numbers, action.gpu_filter, None, 1)
    return job_deposit(BYTES, replace(job, booking=action.booking))


def altered(parameters: Parameters = UNHURRIED, **changes: int) -> Parameters:
    """These parameters with some changed."""
    return replace(parameters, **changes)
