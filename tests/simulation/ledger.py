"""The production ledger under a simulated world: LedgerExecutor over LevelDB, with transactions that pay and stake.

The database is on a real disk; power may fail between any two of its steps. Its own synced batches are atomic, which
the crash tests of the store show with real kills.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from chain.actions.accounts import Transfer
from chain.actions.staking import AddStake
from chain.bank import NATIVE_ASSET, account
from chain.block import Block
from chain.certificate import AuthoritySet, Certificate
from chain.errors import LedgerError
from chain.invariants import check_all
from chain.parameters import Parameters
from chain.schema import COIN
from chain.state.view import View
from chain.transaction import Body, Transaction
from genesis.builder import build
from node.executor import LedgerExecutor, create_store
from node.signatures import SignatureVerifier
from node.store import Store
from tests.ledger import DEFAULT_FEE, GENESIS_TIME_MS, Person, make_authority, make_specification
from tests.simulation.disk import Power
from tests.simulation.scheme import HashKeys

UNHURRIED_SECONDS = 60.0
PEOPLE = tuple(Person(f"simulated {index}") for index in range(4))


class Pool:
    """Transactions by sender and sequence; nothing is ever refused."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.waiting: dict[bytes, dict[int, Transaction]] = {person.address: {} for person in PEOPLE}

    def add(self, transaction: Transaction) -> bool:
        of_sender = self.waiting[transaction.body.sender]
        new = transaction.body.sequence not in of_sender and transaction.body.sequence >= self._next(transaction)
        if new:
            of_sender[transaction.body.sequence] = transaction
        return new

    def _next(self, transaction: Transaction) -> int:
        return account(View(self._store), transaction.body.sender).sequence

    def ready(self) -> bool:
        view = View(self._store)
        return any(account(view, sender).sequence in known for sender, known in self.waiting.items())

    def select(self) -> "Selection":
        view = View(self._store)
        runs = []
        for sender, known in self.waiting.items():
            sequence = account(view, sender).sequence
            while sequence in known:
                runs.append(known[sequence])
                sequence += 1
        return Selection(runs)

    def drop(self, txid: bytes, reason: LedgerError) -> None:
        raise AssertionError(f"a good transaction was refused: {reason}")


class Selection:
    def __init__(self, transactions: list[Transaction]) -> None:
        self._left = transactions[::-1]

    def next(self) -> Transaction | None:
        return self._left.pop() if self._left else None

    def accept(self) -> None:
        """The next one of the sender follows anyway."""


class LedgerNode(LedgerExecutor):
    """One node's executor, with its database open."""

    def __init__(self, backend: "LedgerBackend", path: Path, power: Power) -> None:
        self.backend = backend
        self.power = power
        self.store = Store.open(path, backend.chain_id, backend.specification.hash)
        self.pool = Pool(self.store)
        self.verifier = SignatureVerifier()
        super().__init__(self.store, backend.specification, self.pool, self.verifier, fill_seconds=UNHURRIED_SECONDS)
        for transaction in backend.transactions:
            self.pool.add(transaction)

    def submit(self, envelope: bytes) -> bool:
        return self.pool.add(Transaction.decode(envelope))

    def has_work(self) -> bool:
        return self.pool.ready()

    def at(self, height: int) -> tuple[Block, Certificate] | None:
        header = self.store.header_at(height)
        finalization = self.store.finalization(height)
        if header is None or finalization is None:
            return None
        block = self.store.block(finalization.block_hash)
        return None if block is None else (block, finalization)

    def persist(self, blocks: Sequence[Block], certificates: Sequence[Certificate]) -> None:
        self.backend.power = self.power
        super().persist(blocks, certificates)

    def commit(self, block: Block, finalization: Certificate) -> object:  # type: ignore[override]
        self.backend.power = self.power
        return super().commit(block, finalization)

    def leave(self) -> None:
        self.verifier.close()
        self.store.close()


class LedgerBackend:
    """A database per node under `path`. `point` is to be put in the place of the store's crash_point."""

    next_state: Callable[[bytes, Sequence[bytes]], bytes] | None = None

    def __init__(self, path: Path, size: int, epoch_blocks: int, genesis: Sequence[int] | None = None) -> None:
        """Args: genesis: who of them is in the first set, in order; everybody without it."""
        self._path = path
        self.members = tuple(make_authority(str(index))[0] for index in range(size))
        self.keys = [HashKeys(index, authority) for index, authority in enumerate(self.members)]
        self.specification = make_specification(
            PEOPLE,
            parameters=Parameters(epoch_blocks=epoch_blocks),
            authorities=[self.members[index] for index in (range(size) if genesis is None else genesis)],
        )
        self.chain_id = self.specification.chain_id
        self.epoch_blocks = epoch_blocks
        self.genesis_hash = build(self.specification).block.hash
        self.transactions: list[Transaction] = []
        self.power: Power | None = None
        self._nodes: dict[int, LedgerNode] = {}

    def point(self, name: str) -> None:
        """A place between two steps of the store."""
        if self.power is not None:
            self.power.point()

    def open(self, node: int, power: Power, authorities_of: Callable[[int], AuthoritySet]) -> LedgerNode:
        path = self._path / f"node-{node}"
        if not path.exists():
            create_store(path, self.specification)
        self._nodes[node] = LedgerNode(self, path, power)
        return self._nodes[node]

    def close(self, node: int) -> None:
        self.power = None
        if node in self._nodes:
            self._nodes.pop(node).leave()

    def transaction(self, rng: random.Random) -> bytes:
        """The next transaction of somebody: a payment or a stake."""
        sender, receiver = rng.sample(PEOPLE, 2)
        sequence = sum(known.body.sender == sender.address for known in self.transactions)
        amount = rng.randint(1, COIN)
        actions = (Transfer(receiver.address, NATIVE_ASSET, amount), AddStake(amount, 0))
        body = Body(
            chain_id=self.chain_id,
            sender=sender.address,
            public_key=sender.key.public_key,
            sequence=sequence,
            valid_until_ms=GENESIS_TIME_MS + 1_800_000,
            idempotency_id=None,
            fee=DEFAULT_FEE,
            actions=actions[: rng.randint(1, 2)],
        )
        self.transactions.append(Transaction.sign(body, sender.key))
        return self.transactions[-1].envelope

    def require_equal_states(self) -> None:
        """Nodes at one height hold one state, which obeys the ledger's invariants."""
        states: dict[int, dict[bytes, bytes]] = {}
        for node in self._nodes.values():
            state = dict(node.store.scan(b"", b"\xff" * 64))
            assert state == states.setdefault(node.head().height, state), "two states at one height"
            check_all(View(node.store))

    def leave(self) -> None:
        for node in list(self._nodes):
            self.close(node)
