"""A random economy that the ledger and its model live through side by side.

Both get the same transactions, valid and invalid, under random jumps of time with outages; every outcome and every
balance is compared after each block.

`python -m tests.economy SEED BLOCKS` prints a digest of all state changes of a run, for comparison across processes.
"""

import hashlib
import random
import sys
from typing import Any

from chain.action import Action, BlockContext
from chain.actions.accounts import RotateKey, Transfer
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Reserve, Settle
from chain.actions.gpus import EndMaintenance, Heartbeat, RetireGpu, SetMaintenance, UpdateGpu
from chain.actions.staking import AddStake, RemoveStake
from chain.bank import ACCOUNTS, totals
from chain.booking import BOOKINGS
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256
from chain.escrow import escrow_of
from chain.invariants import check_all
from chain.inventory import GPUS, Terms
from chain.parameters import Parameters
from chain.schema import COIN
from chain.stake import stake_of
from chain.state.view import View
from chain.transaction import Transaction
from chain.transition import BlockOutcome, apply_block
from tests.economy_model import Model
from tests.ledger import DEFAULT_FEE, Ledger, Person, make_specification
from tests.market import commitment, registration, rotation, terms

PARAMETERS = Parameters(
    heartbeat_timeout_seconds=600,
    dispute_window_seconds=120,
    unbonding_seconds=45,
    epoch_blocks=40,
    collateral_per_gpu=3 * COIN + 1,
    market_fee=333,
    market_fee_staker_share=2_222,
    release_charge=137,
)
JUMPS_MS = (1, 2, 500, 1_000, 1_000, 9_999, 14_999, 15_000, 15_001, 40_000, 61_000, 600_000, 3 * 3_600_000)


class Economy:
    """Model and ledger side by side, and the people in them."""

    def __init__(self, seed: int, *, parameters: Parameters = PARAMETERS, wealth: int | None = None) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        wealth = wealth or self.rng.choice((50, 400, 3_000)) * COIN
        self.people = [Person(name) for name in ("ada", "ben", "cleo", "dan")]
        specification = make_specification(self.people, balance=wealth, stake=wealth // 5, parameters=parameters)
        self.ledger = Ledger(specification, check=False)
        balances = {person.address: wealth for person in self.people}
        stakes = {person.address: wealth // 5 for person in self.people}
        self.model = Model(parameters, balances, stakes, keys={person.key.public_key for person in self.people})
        self.spare_keys = [PrivateKey(sha256(f"spare {index}".encode())) for index in range(12)]
        self.digest = hashlib.sha256()
        self.history: list[tuple[BlockContext, list[Transaction], BlockOutcome]] = []

    def jump(self) -> int:
        """Milliseconds to the next block: often something typical, often the exact edge of something."""
        rng = self.rng
        if rng.random() < 0.85:
            return min(self.edge(), rng.choice((1, 1_000, 10_000, 14_999, 15_000, 15_000, 15_000)))
        return self.edge() if rng.random() < 0.5 else rng.choice(JUMPS_MS)

    def edge(self) -> int:
        """Milliseconds to about the next moment at which something is due, or some other time."""
        rng, model = self.rng, self.model
        if rng.random() < 0.7:
            edges = [edge for booking in model.bookings.values() for edge in (booking.start, booking.end)]
            edges += [due for due, _, _ in model.unbonding]
            edges += [edge for gpu in model.gpus.values() for window in gpu.windows.values() for edge in window]
            edges += [booking.start - booking.notice * 1_000 for booking in model.bookings.values()]
            edges += [
                model.now + max(0, model.live_at(booking.start) + 60_000 - model.live)
                for booking in model.bookings.values()
                if booking.state == "reserved" and booking.start <= model.now
            ]
            waiting = [edge - model.now for edge in edges if edge > model.now]
            if waiting:
                return max(1, min(waiting) + rng.choice((-1, 0, 0, 0, 1)))
        return rng.randint(1, 100_000)

    def person(self, address: bytes) -> Person:
        """The person at the address; seldom somebody else."""
        if self.rng.random() < 0.06:
            return self.rng.choice(self.people)
        return next(person for person in self.people if person.address == address)

    def choose(self) -> tuple[Person, Action]:
        """Somebody and what he attempts."""
        rng, model = self.rng, self.model
        someone = rng.choice(self.people)
        bookings = [item for item in model.bookings.items() if item[1].state in ("reserved", "active", "closing")]
        roll = rng.random()
        if roll < 0.4 and bookings:
            booking_id, booking = rng.choice(bookings)
            if rng.random() < 0.03:
                booking_id = rng.choice([*model.bookings, bytes(32)])
            wanted: dict[str, list[Any]] = {
                "reserved": [Activate, Activate, Activate, Cancel, Extend, ProviderCancel],
                "active": [Release, Release, Release, Cancel, Extend, Extend, Settle, Settle, ProviderCancel],
                "closing": [Confirm, Settle],
            }
            kinds = wanted[booking.state]
            anything: list[Any] = [Activate, Cancel, Release, Confirm, Extend, Settle, ProviderCancel]
            kind = rng.choice(kinds) if rng.random() < 0.9 else rng.choice(anything)
            if kind is Activate:
                return self.person(booking.provider), Activate(booking_id, b"x")
            if kind is ProviderCancel:
                return self.person(booking.provider), ProviderCancel(booking_id)
            if kind is Settle:
                return someone, Settle(booking_id)
            if kind is Extend:
                seconds = rng.choice((1, 59, 60, 61, 3_600, rng.randint(1, 10_000), 30 * 86_400))
                return self.person(booking.renter), Extend(booking_id, seconds, rng.choice((10**15, 10**15, 10**9)))
            return self.person(booking.renter), kind(booking_id)
        listed = [gpu_id for gpu_id, gpu in model.gpus.items() if not gpu.retired or rng.random() < 0.05]
        if roll < 0.7 and listed:
            open_now = [gpu_id for gpu_id in listed if model.gpus[gpu_id].status == "active" or rng.random() < 0.1]
            return someone, self.reserve(open_now or listed)
        return self.household(someone, listed)

    def reserve(self, listed: list[bytes]) -> Reserve:
        rng, model = self.rng, self.model
        first = rng.choice(listed)
        same = [
            gpu_id for gpu_id in listed if model.gpus[gpu_id].owner == model.gpus[first].owner or rng.random() < 0.02
        ]
        chosen = tuple(dict.fromkeys([first, *rng.sample(same, k=rng.randint(0, min(2, len(same))))]))
        edges = [edge for booking in self.model.bookings.values() for edge in (booking.start, booking.end)]
        edges = [edge for edge in edges if edge > model.now] or [0]
        start = rng.choice((0, 0, model.now + rng.randint(-100, 400_000), rng.choice(edges)))
        seconds = rng.choice((59, 60, 61, 90, 333, 3_600, rng.randint(60, 10_000)))
        most = rng.choice((10**15, 10**15, 10**15, 10**9))
        versions = tuple(model.gpus[gpu_id].offer.version + (rng.random() < 0.01) for gpu_id in chosen)
        return Reserve(chosen, start, seconds, most, versions, bytes(32))

    def household(self, someone: Person, listed: list[bytes]) -> tuple[Person, Action]:
        rng = self.rng
        key = rng.choice(self.spare_keys)
        options: list[Action] = [
            self.listing(someone),
            self.listing(someone),
            self.listing(someone),
            AddStake(rng.randint(1, 40 * COIN), rng.choice((0, 0, 0, 100))),
            RemoveStake(rng.randint(1, 60 * COIN)),
            Transfer(rng.choice(self.people).address, "AITBC", rng.randint(1, 100 * COIN)),
            rotation(self.ledger.chain_id, someone.address, key),
        ]
        if listed:
            gpu_id = rng.choice(listed)
            owner = self.model.gpus[gpu_id].owner
            own = tuple(other for other in listed if self.model.gpus[other].owner == owner)
            if rng.random() < 0.6:
                return self.person(owner), self.chore(gpu_id, own)
        return someone, rng.choice(options)

    def offer(self, version: int = 1) -> Terms:
        rng = self.rng
        price = rng.choice((0, 1, 3_599, rng.randint(1, 10**9), rng.randint(1, 300 * COIN)))
        notice, share = rng.choice(((0, 0), (0, 10_000), (600, 136), (3_600, 2_500), (86_400, 10_000)))
        minimum = rng.choice((60, 60, 60, 120, 59))
        return terms(price, minimum, notice=notice, share=share, version=version)

    def listing(self, someone: Person) -> Action:
        """A promise to list some device, or its listing if it was promised."""
        name = f"device {self.rng.randrange(8)}"
        (promise,) = commitment(someone, name)
        if (someone.address, promise.commitment) in self.model.promises or self.rng.random() < 0.05:
            return registration(name, self.offer())
        return promise

    def chore(self, gpu_id: bytes, own: tuple[bytes, ...]) -> Action:
        """What an owner does with a GPU."""
        rng, model = self.rng, self.model
        gpu = model.gpus[gpu_id]
        windows = [window for other in own for window in model.gpus[other].windows] or [bytes(32)]
        start = rng.choice((0, model.now + rng.randint(-100, 4_000_000)))
        choices: list[Action] = [
            Heartbeat(own),
            Heartbeat(own),
            Heartbeat(own),
            RetireGpu(gpu_id),
            UpdateGpu(gpu_id, self.offer(gpu.offer.version + rng.choice((1, 1, 1, 0, 2)))),
            SetMaintenance(gpu_id, start, rng.choice((1, 60, 600, 3_600))),
            EndMaintenance(rng.choice(windows)),
        ]
        return rng.choice(choices)

    def block(self) -> list[str]:
        """One block of random transactions; returns their errors. Raises AssertionError where the two differ."""
        ledger, model = self.ledger, self.model
        context = ledger.next_block(ledger.time_ms + self.jump())
        model.step(context.time_ms)
        ledger.time_ms = context.time_ms
        sequences: dict[bytes, int] = {}
        expected: list[str] = []
        transactions: list[Transaction] = []
        for _ in range(self.rng.choice((0, 1, 1, 2, 3, 6))):
            sender, action = self.choose()
            if model.balance[sender.address] < DEFAULT_FEE:
                continue
            ahead = sequences.get(sender.address, 0)
            known = ACCOUNTS.get(ledger.view, sender.address)
            assert known is not None
            transaction = ledger.sign(sender, action, sequence=known.sequence + ahead)
            sequences[sender.address] = ahead + 1
            required = ledger.required_fee(transaction)
            model.charge(sender.address, DEFAULT_FEE, required, context.proposer)
            expected.append(model.attempt(sender.address, action, transaction.txid))
            if isinstance(action, RotateKey) and not expected[-1]:
                sender.key = next(key for key in self.spare_keys if key.public_key == action.new_key)
            transactions.append(transaction)
        view = ledger.view
        outcome = apply_block(view, context, transactions)
        found = [result.error for result in outcome.results]
        actions = [transaction.body.actions[0] for transaction in transactions]
        assert found == expected, f"height {context.height}: ledger {found}, model {expected}, {actions}"
        changes = view.changes()
        for key, value in changes.items():
            self.digest.update(repr((key, value)).encode())
        ledger.reader.apply(changes)
        ledger.height = context.height
        self.history.append((context, transactions, outcome))
        self.compare(ledger.view)
        return found

    def compare(self, view: View) -> None:
        """Every balance, stake, collateral and status is the same on both sides, and the ledger is consistent."""
        check_all(view)
        model = self.model
        for address, amount in model.balance.items():
            found = ACCOUNTS.get(view, address)
            assert (0 if found is None else found.balance) == amount, f"balance of {address.hex()}"
        for address, amount in model.stake.items():
            stake = stake_of(view, address)
            assert (stake.amount, stake.collateral) == (amount, model.reserved(address)), f"stake of {address.hex()}"
        money = totals(view)
        assert money.epoch_pot + money.rewards + money.treasury == model.pots
        assert money.deposits == model.deposits
        assert money.unbonding == sum(amount for _, _, amount in model.unbonding)
        states = {booking_id: booking.status.name.lower() for booking_id, booking in BOOKINGS.scan(view)}
        assert states == {booking_id: booking.state for booking_id, booking in model.bookings.items()}
        for booking_id, booking in model.bookings.items():
            assert escrow_of(view, booking_id).gross == booking.paid, f"paid for {booking_id.hex()}"
        for gpu_id, gpu in GPUS.scan(view):
            twin = model.gpus[gpu_id]
            status = (
                "retired" if twin.retired else "retiring" if twin.retiring else "offline" if twin.offline else "active"
            )
            assert gpu.status.name.lower() == status, f"status of {gpu_id.hex()}"
            assert gpu.maintenance == tuple(twin.windows), f"maintenance of {gpu_id.hex()}"


def run(seed: int, blocks: int, **more: Any) -> Economy:
    """An economy after this many blocks."""
    economy = Economy(seed, **more)
    for _ in range(blocks):
        economy.block()
    return economy


if __name__ == "__main__":
    print(run(int(sys.argv[1]), int(sys.argv[2])).digest.hexdigest())
