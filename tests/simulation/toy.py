"""The smallest ledger that consensus can run: a chain of hashes over the transactions, kept on a crashing disk.

`Backend` is what a world asks of a ledger; ledger.py puts the production executor and database in the toy's place.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chain.block import Block, Header, transactions_root
from chain.certificate import Authority, AuthoritySet, Certificate
from node.consensus.epochs import epoch_of, is_last_of_epoch
from node.consensus.events import Executor, Head
from tests.simulation.disk import Power

GENESIS_HASH = hashlib.sha256(b"genesis of the simulation").digest()
GENESIS_TIME = 1_800_000_000_000
EMPTY_RESULTS = hashlib.sha256(b"results").digest()


class SimulatedExecutor(Executor, Protocol):
    """An executor with a mempool of its own."""

    def submit(self, envelope: bytes) -> bool:
        """Take a transaction into the mempool; whether it is new."""

    def has_work(self) -> bool: ...

    def at(self, height: int) -> tuple[Block, Certificate] | None:
        """A final block and its finalization."""


class Backend(Protocol):
    """A ledger for every node of a world."""

    chain_id: str
    members: tuple[Authority, ...]
    """Everybody who can be an authority."""
    epoch_blocks: int
    genesis_hash: bytes
    next_state: Callable[[bytes, Sequence[bytes]], bytes] | None
    """State root after a block, for the oracle to compute on its own; None if another check takes its place."""

    def open(self, node: int, power: Power, authorities_of: Callable[[int], AuthoritySet]) -> SimulatedExecutor:
        """The node starts on what is durable."""

    def close(self, node: int) -> None:
        """The node's process is gone."""

    def transaction(self, rng: random.Random) -> bytes: ...


@dataclass(slots=True)
class ToyStore:
    """What is durable."""

    blocks: list[Block] = field(default_factory=list)
    finalizations: list[Certificate] = field(default_factory=list)
    candidates: dict[bytes, Block] = field(default_factory=dict)
    certificates: dict[tuple[int, int, int], Certificate] = field(default_factory=dict)


def next_state(state: bytes, envelopes: Sequence[bytes]) -> bytes:
    for envelope in envelopes:
        state = hashlib.sha256(state + envelope).digest()
    return state


class ToyExecutor:
    """An Executor over a ToyStore. Writes are atomic: a crash leaves all of one or nothing."""

    def __init__(
        self,
        chain_id: str,
        authorities_of: Callable[[int], AuthoritySet],
        epoch_blocks: int,
        store: ToyStore,
        power: Power,
    ) -> None:
        self._chain_id = chain_id
        self._authorities_of = authorities_of
        self._epoch_blocks = epoch_blocks
        self._store = store
        self._power = power
        self.mempool: dict[bytes, None] = {}
        self._included = {envelope for block in store.blocks for envelope in block.envelopes}

    def head(self) -> Head:
        height = len(self._store.blocks)
        authorities = self._authorities_of(epoch_of(height + 1, self._epoch_blocks))
        if height == 0:
            return Head(0, GENESIS_HASH, GENESIS_TIME, None, authorities)
        block = self._store.blocks[-1]
        return Head(height, block.hash, block.header.time_ms, self._store.finalizations[-1], authorities)

    def state(self) -> bytes:
        return self._store.blocks[-1].header.state_root if self._store.blocks else GENESIS_HASH

    def submit(self, envelope: bytes) -> bool:
        """Take a transaction into the mempool; whether it is new."""
        if envelope in self._included or envelope in self.mempool:
            return False
        self.mempool[envelope] = None
        return True

    def has_work(self) -> bool:
        return bool(self.mempool)

    def build(
        self,
        *,
        height: int,
        parent_hash: bytes,
        epoch: int,
        view: int,
        time_ms: int,
        proposer: bytes,
        weight_budget: int,
    ) -> Block:
        envelopes = tuple(self.mempool)[: min(weight_budget, 50)]
        ends = is_last_of_epoch(height, self._epoch_blocks)
        header = Header(
            chain_id=self._chain_id,
            height=height,
            epoch=epoch,
            view=view,
            parent_hash=parent_hash,
            time_ms=time_ms,
            proposer=proposer,
            transactions_root=transactions_root(envelopes),
            results_root=EMPTY_RESULTS,
            state_root=next_state(self.state(), envelopes),
            authorities_hash=self._authorities_of(epoch).hash(),
            next_authorities_hash=self._authorities_of(epoch + 1).hash() if ends else None,
        )
        return Block.of(header, envelopes)

    def execute(self, block: Block) -> str | None:
        if block.header.parent_hash != self.head().hash:
            return "not above the head"
        if block.header.state_root != next_state(self.state(), block.envelopes):
            return "state root differs"
        if any(envelope in self._included for envelope in block.envelopes):
            return "a transaction is included twice"
        named = block.header.next_authorities_hash
        if named is not None and named != self._authorities_of(block.header.epoch + 1).hash():
            return "another next authority set"
        return None

    def persist(self, blocks: Sequence[Block], certificates: Sequence[Certificate]) -> None:
        self._power.point()
        for block in blocks:
            self._store.candidates[block.hash] = block
        for certificate in certificates:
            self._store.certificates[(certificate.epoch, certificate.view, certificate.kind)] = certificate
        self._power.point()

    def commit(self, block: Block, finalization: Certificate) -> Head:
        if block.hash == self.head().hash:
            return self.head()
        fault = self.execute(block)
        if fault is not None:
            raise RuntimeError(f"committing an invalid block: {fault}")
        self._power.point()
        store = self._store
        store.blocks.append(block)
        store.finalizations.append(finalization)
        store.candidates = {h: b for h, b in store.candidates.items() if b.header.height > block.header.height}
        place = (finalization.epoch, finalization.view)
        store.certificates = {k: c for k, c in store.certificates.items() if k[:2] > place}
        self._included.update(block.envelopes)
        for envelope in block.envelopes:
            self.mempool.pop(envelope, None)
        self._power.point()
        return self.head()

    def candidates(self) -> Sequence[Block]:
        return tuple(self._store.candidates.values())

    def certificates(self) -> Sequence[Certificate]:
        return tuple(self._store.certificates.values())

    def block(self, block_hash: bytes) -> Block | None:
        known = self._store.candidates.get(block_hash)
        if known is not None:
            return known
        return next((block for block in reversed(self._store.blocks) if block.hash == block_hash), None)

    def at(self, height: int) -> tuple[Block, Certificate] | None:
        if not 1 <= height <= len(self._store.blocks):
            return None
        return self._store.blocks[height - 1], self._store.finalizations[height - 1]

    def finalization(self, height: int) -> Certificate | None:
        found = self.at(height)
        return None if found is None else found[1]


class ToyBackend:
    """A toy ledger per node."""

    chain_id = "simulation-00000000"
    genesis_hash = GENESIS_HASH

    def __init__(
        self, members: tuple[Authority, ...], epoch_blocks: int, executor: type[ToyExecutor] = ToyExecutor
    ) -> None:
        self.members = members
        self.epoch_blocks = epoch_blocks
        self.next_state: Callable[[bytes, Sequence[bytes]], bytes] | None = next_state
        self._executor = executor
        self._stores: dict[int, ToyStore] = {}

    def open(self, node: int, power: Power, authorities_of: Callable[[int], AuthoritySet]) -> ToyExecutor:
        store = self._stores.setdefault(node, ToyStore())
        return self._executor(self.chain_id, authorities_of, self.epoch_blocks, store, power)

    def close(self, node: int) -> None:
        """The store is memory that stays."""

    def transaction(self, rng: random.Random) -> bytes:
        return rng.randbytes(12)
