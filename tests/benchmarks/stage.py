"""A ledger in memory whose reader finds ranges by search and whose state root is kept: what cost is measured on.

The records are in dictionaries, so what is measured is the work of the ledger itself; a database adds its reads.
"""

import bisect
import gc
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from chain.action import Action
from chain.bank import ACCOUNTS, Account
from chain.certificate import MAXIMUM_AUTHORITIES
from chain.crypto.hashing import sha256
from chain.inventory import Hardware
from chain.parameters import Parameters
from chain.record import encode_record
from chain.result import TransactionResult
from chain.schema import COIN
from chain.state.nodes import NodeReference
from chain.state.trie import MemoryNodes, update
from chain.state.view import MemoryReader, View
from chain.transaction import Transaction
from chain.transition import apply_block
from tests.ledger import Ledger, Person, make_authority, make_specification
from tests.market import Market, commitment, hardware, registration, terms

WIDE = Parameters(
    heartbeat_timeout_seconds=30 * 86_400, due_weight=8_000, maximum_block_weight=10**6, storage_deposit_per_byte=10
)
"""So wide that a block takes whatever is measured."""
FILLER = 20_000
"""Accounts in the state beside those that act, so that paths in the trie are long."""


class OrderedReader(MemoryReader):
    """As a dictionary, but a range is found by search, as in a database."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        super().__init__(values)
        self.ordered: dict[int, list[bytes]] = {}
        """The keys of each table that was scanned, in order."""
        self.waiting: dict[bytes, bytes | None] = dict(values)
        """What the state root does not know yet."""

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        keys = self.ordered.get(start[0])
        if keys is None:
            keys = self.ordered[start[0]] = sorted(key for key in self.values if key[0] == start[0])
        span = range(bisect.bisect_left(keys, start), bisect.bisect_left(keys, end))
        return ((keys[index], self.values[keys[index]]) for index in (reversed(span) if reverse else span))

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None or key not in self.values:
                self.ordered.pop(key[0], None)
        self.waiting.update(changes)
        super().apply(changes)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one block took, in microseconds of processor time."""

    weight: int
    executed: float
    """Running what is due, the transactions, and the end of the block."""
    encoded: float
    """Working out what it changes, as bytes."""
    rooted: float
    """Bringing the trie up to date."""
    verified: float
    """Decoding its transactions and verifying their signatures, which other threads do."""
    actions: int

    @property
    def applied(self) -> float:
        """Executing it and working out the state root."""
        return self.executed + self.encoded + self.rooted

    @property
    def per_unit(self) -> float:
        return self.applied / self.weight


class Stage(Market):
    """A market on a network with as many authorities as there may be, and a crowd: their operators."""

    def __init__(
        self,
        parameters: Parameters = WIDE,
        *,
        gpus: int = 0,
        authorities: int = MAXIMUM_AUTHORITIES,
        accounts: int = FILLER,
    ) -> None:
        self.crowd = [Person(f"crowd {index}") for index in range(authorities)]
        self.provider, self.renter, self.other = Person("provider"), Person("renter"), Person("other")
        members = [
            replace(make_authority(str(index))[0], operator=person.address) for index, person in enumerate(self.crowd)
        ]
        specification = make_specification(
            (self.provider, self.renter, self.other, *self.crowd),
            balance=10**6 * COIN,
            stake=10**6 * COIN,
            parameters=parameters,
            authorities=members,
        )
        Ledger.__init__(self, specification, check=False)
        values = self.reader.values
        for index in range(accounts):
            values[ACCOUNTS.key(b"\x00" + sha256(index.to_bytes(4, "big")))] = encode_record(Account(COIN))
        self.reader = OrderedReader(values)
        self.nodes, self.root = MemoryNodes(), None
        self.names = 0
        self.gpus = ()
        self.gpus = tuple(self.list_gpus(gpus)) if gpus else ()

    nodes: MemoryNodes
    root: NodeReference | None
    refuses: bool = False
    """Whether what is measured is what it costs to refuse."""

    def list_gpus(self, count: int) -> list[bytes]:
        """The ids of so many new GPUs of the provider, each declared at length."""
        found: list[bytes] = []
        names = [f"gpu {self.names + index}" for index in range(count)]
        self.names += count
        offer = terms(notice=3_600, share=1_000)
        for first in range(0, count, 100):
            batch = names[first : first + 100]
            self.all(self.provider, commitment(self.provider, *batch))
            listings = [replace(registration(name, offer), hardware=wordy(name)) for name in batch]
            (result,) = self.all(self.provider, listings)
            found += [dict(event.subjects)["gpu"] for event in result.events if event.kind == "gpu.registered"]
        return found

    def all(self, sender: Person, actions: Iterable[Action], after_ms: int = 1_000) -> tuple[TransactionResult, ...]:
        """A block with these actions of one sender, up to a thousand in a transaction; all must succeed."""
        return self.each([(sender, action) for action in actions], after_ms)

    def each(self, attempts: Iterable[tuple[Person, Action]], after_ms: int = 1_000) -> tuple[TransactionResult, ...]:
        """A block with the actions of these senders."""
        results = self.block(*self.signed(attempts), after_ms=after_ms)
        failed = [(result.error, dict(result.error_data)) for result in results if not result.succeeded]
        assert not failed, failed[:3]
        return results

    def signed(self, attempts: Iterable[tuple[Person, Action]], together: int = 1_000) -> list[Transaction]:
        """The actions, put together into transactions of one sender each."""
        groups: dict[Person, list[Action]] = {}
        for sender, action in attempts:
            groups.setdefault(sender, []).append(action)
        made = []
        for sender, actions in groups.items():
            sequence = self.sign(sender, actions[0]).body.sequence
            for index, first in enumerate(range(0, len(actions), together)):
                part = actions[first : first + together]
                fee = COIN * (1 + sum(action.weight() for action in part) // 500)
                made.append(self.sign(sender, *part, sequence=sequence + index, fee=fee))
        return made

    def ids(self, results: Sequence[TransactionResult], kind: str, role: str) -> list[bytes]:
        """The ids of a role in all events of a kind."""
        events = [event for result in results for event in result.events if event.kind == kind]
        return [dict(event.subjects)[role] for event in events]

    def settle_root(self) -> None:
        """Bring the state root up to date with all blocks so far."""
        if self.reader.waiting:
            done = update(self.nodes, self.root, self.height, self.reader.waiting)
            self.nodes.apply(done)
            self.root, self.reader.waiting = done.root, {}

    def measure(self, attempts: Iterable[tuple[Person, Action]], after_ms: int = 1_000) -> Cost:
        """What a block with these actions costs; nothing is kept of it."""
        transactions = self.signed(attempts, 1 if self.refuses else 1_000)
        self.settle_root()
        context = self.next_block(self.time_ms + after_ms)
        gc.collect()
        gc.disable()
        began = time.process_time()
        decoded = [Transaction.decode(item.envelope) for item in transactions]
        for item in decoded:
            item.verify_signature()
        verified = time.process_time()
        view = View(self.reader)
        outcome = apply_block(view, context, decoded, {item.envelope for item in decoded})
        executed = time.process_time()
        changes = view.changes()
        encoded = time.process_time()
        update(self.nodes, self.root, context.height, changes)
        ended = time.process_time()
        gc.enable()
        failed = [(result.error, dict(result.error_data)) for result in outcome.results if not result.succeeded]
        assert len(failed) == self.refuses * len(transactions), failed[:3] or "nothing was refused"
        actions = sum(len(item.body.actions) for item in decoded)
        parts = (executed - verified, encoded - executed, ended - encoded, verified - began)
        return Cost(outcome.weight, *(part * 1e6 for part in parts), actions)


def wordy(name: str) -> Hardware:
    """A device of this name, declared with as many words as there may be."""
    return replace(
        hardware(name),
        model="M" * 64,
        region="r" * 32,
        cuda_version="1" * 16,
        attributes=tuple(f"{index:02d}={'x' * 61}" for index in range(16)),
    )
