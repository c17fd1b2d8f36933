"""A deterministic world for the production consensus core and signer: one seed, one run.

Time, network, clocks, disks and crashes are simulated; the code that decides is the code that runs in production.
Every node may lose power at any point between two effects and inside any disk operation, and comes back with what was
durable. A run is chaos for a while, then healing, after which everybody must make progress.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from chain.certificate import BLS_SCHEME, AuthoritySet, Scheme
from chain.errors import MalformedEncoding
from node.consensus import events as ev
from node.consensus.signer import SigningKeys
from node.consensus.simplex import Simplex
from node.consensus.timing import Timing
from node.network.messages import (
    Message,
    decode_message,
    encode_message,
)
from tests.simulation.byzantine import ByzantineNode
from tests.simulation.node import Node
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.scheme import HashKeys, HashScheme, authorities_for, production_keys
from tests.simulation.toy import Backend, ToyBackend, ToyExecutor

TIMING = Timing(
    delta_ms=100,
    view_cap_ms=3_000,
    idle_interval_ms=600,
    minimum_interval_ms=20,
    precision_ms=300,
    standstill_ms=200,
    standstill_cap_ms=1_600,
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a run depends on."""

    seed: int
    size: int
    """Nodes with the keys of an authority."""
    behaviours: tuple[str, ...] = ()
    """What each Byzantine authority does; they are the last of these nodes."""
    sets: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """From which epoch on which of them are the set, in which order, ascending from epoch 0; empty: all, always."""
    followers: int = 0
    chaos_ms: int = 12_000
    loss: float = 0.1
    duplicates: float = 0.05
    delay_ms: int = 60
    crash_every_ms: int = 1_500
    partition_every_ms: int = 2_500
    skew_ms: int = 200
    transactions_per_s: float = 4.0
    epoch_blocks: int = 7
    production_signatures: bool = False
    timing: Timing = TIMING
    heal_within_ms: int = 180_000
    blocks_after_healing: int = 4


@dataclass(slots=True)
class Parts:
    """What a test may replace to show that the oracle has teeth."""

    core: type[Simplex] = Simplex
    executor: type[ToyExecutor] = ToyExecutor
    backend: Backend | None = None
    keys: list[SigningKeys] | None = None
    authority_set: type[AuthoritySet] = AuthoritySet


class World:
    def __init__(self, scenario: Scenario, parts: Parts | None = None) -> None:
        self.scenario = scenario
        self.parts = parts or Parts()
        self.rng = random.Random(f"{scenario.seed}/world")
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._messages: dict[bytes, Message | None] = {}
        self._encoded: dict[int, tuple[Message, bytes]] = {}
        make = production_keys if scenario.production_signatures else HashKeys
        self.keys: list[SigningKeys] = self.parts.keys or [make(index) for index in range(scenario.size)]
        self.scheme: Scheme = BLS_SCHEME if scenario.production_signatures else HashScheme()
        self._plan = scenario.sets or ((0, tuple(range(scenario.size))),)
        self.backend: Backend = self.parts.backend or ToyBackend(
            authorities_for(self.keys), scenario.epoch_blocks, self.parts.executor
        )
        self._sets: dict[int, AuthoritySet] = {}
        self.settings = ev.Settings(self.backend.chain_id, self.backend.epoch_blocks, 1_000_000, scenario.timing)
        liars = scenario.size - len(scenario.behaviours)
        honest = set(range(liars))
        hashes = not scenario.production_signatures
        self.oracle = Oracle(self.backend, self.keys, honest, self.members_of, hashes=hashes)
        self.nodes: list[Node] = []
        for index in range(scenario.size):
            if index < liars:
                self.nodes.append(Node(self, index, self.keys[index]))
            else:
                self.nodes.append(ByzantineNode(self, index, self.keys[index], scenario.behaviours[index - liars]))
        for index in range(scenario.size, scenario.size + scenario.followers):
            self.nodes.append(Node(self, index, None))
        self.honest = [node for node in self.nodes if not isinstance(node, ByzantineNode)]
        self.by_key = {node.key: node for node in self.nodes}
        self.groups: list[int | None] = [0] * len(self.nodes)
        """Which side of a partition each node is on; None reaches everybody."""
        self.links: dict[tuple[int, int], int] = {}
        self.loss = scenario.loss
        self.duplicates = scenario.duplicates
        self.delay_ms = scenario.delay_ms
        self.crashes = 0
        self.complaints: list[tuple[int, int, str]] = []
        self.delivered = 0

    def members_of(self, epoch: int) -> tuple[int, ...]:
        """The numbers of the nodes that are an epoch's set, in its order."""
        return [members for first, members in self._plan if first <= epoch][-1]

    def authorities_of(self, epoch: int) -> AuthoritySet:
        if epoch not in self._sets:
            members = tuple(self.backend.members[index] for index in self.members_of(epoch))
            self._sets[epoch] = self.parts.authority_set(epoch, members)
        return self._sets[epoch]

    # Time.

    def at(self, time_ms: int, run: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (max(time_ms, self.now), self._sequence, run))

    def after(self, delay_ms: int, run: Callable[[], None]) -> None:
        self.at(self.now + delay_ms, run)

    def run_until(self, time_ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True as soon as `done`."""
        while self._queue and self._queue[0][0] <= time_ms:
            self.now, _, run = heapq.heappop(self._queue)
            run()
            if done is not None and done():
                return True
        self.now = max(self.now, time_ms)
        return False

    # Network.

    def encode(self, message: Message) -> bytes:
        known = self._encoded.get(id(message))
        if known is not None and known[0] is message:
            return known[1]
        if len(self._encoded) > 64:
            self._encoded.clear()
        data = encode_message(message)
        self._encoded[id(message)] = (message, data)
        return data

    def decode(self, data: bytes) -> Message | None:
        if data not in self._messages:
            if len(self._messages) > 512:
                self._messages.clear()
            try:
                self._messages[data] = decode_message(data)
            except MalformedEncoding:
                self._messages[data] = None
        return self._messages[data]

    def linked(self, node: Node) -> list[Node]:
        return [peer for peer in self.nodes if self._pair(node, peer) in self.links]

    @staticmethod
    def _pair(one: Node, other: Node) -> tuple[int, int]:
        return min(one.index, other.index), max(one.index, other.index)

    def link_up(self, node: Node) -> None:
        for peer in self.nodes:
            if peer is node or not peer.up or not node.up or self._apart(peer, node):
                continue
            pair = self._pair(node, peer)
            if pair in self.links:
                continue
            self._sequence += 1
            self.links[pair] = self._sequence
            for one, other in ((node, peer), (peer, node)):
                one.later(self.rng.randint(1, 30), lambda one=one, other=other: self._connected(one, other))

    def _connected(self, one: Node, other: Node) -> ev.Event | None:
        return ev.PeerConnected(one.moment(), other.key) if self._pair(one, other) in self.links else None

    def link_down(self, node: Node, peer: Node | None = None) -> None:
        for pair in [p for p in self.links if node.index in p and (peer is None or peer.index in p)]:
            del self.links[pair]
            for one, other in ((pair[0], pair[1]), (pair[1], pair[0])):
                here, there = self.nodes[one], self.nodes[other]
                if here.up:
                    here.later(1, lambda here=here, there=there: ev.PeerDisconnected(here.moment(), there.key))

    def transmit(self, source: Node, target: Node, data: bytes) -> None:
        link = self.links.get(self._pair(source, target))
        if link is None or self.rng.random() < self.loss:
            return
        copies = 2 if self.rng.random() < self.duplicates else 1
        for _ in range(copies):
            delay = self.rng.randint(1, self.delay_ms)
            if self.rng.random() < 0.02:
                delay *= 8
            self.after(delay, lambda: self._arrive(source, target, link, data))

    def _arrive(self, source: Node, target: Node, link: int, data: bytes) -> None:
        if target.up and self.links.get(self._pair(source, target)) == link:
            self.delivered += 1
            target.receive(source, data)

    def _apart(self, one: Node, other: Node) -> bool:
        sides = {self.groups[one.index], self.groups[other.index]} - {None}
        return len(sides) == 2

    def partition(self, groups: list[int | None]) -> None:
        self.groups = groups
        for pair in list(self.links):
            if self._apart(self.nodes[pair[0]], self.nodes[pair[1]]):
                self.link_down(self.nodes[pair[0]], self.nodes[pair[1]])
        for node in self.nodes:
            if node.up:
                self.link_up(node)

    def reported(self, node: Node, key: bytes, reason: str) -> None:
        self.complaints.append((node.index, self.by_key[key].index, reason))

    # A run.

    def begin(self) -> None:
        for node in self.nodes:
            node.start()

    def chaos(self) -> None:
        scenario = self.scenario
        end = self.now + scenario.chaos_ms
        self._repeat(scenario.crash_every_ms, end, self._some_crash)
        self._repeat(scenario.partition_every_ms, end, self._some_partition)
        if scenario.transactions_per_s:
            self._repeat(
                int(1_000 / scenario.transactions_per_s), end + scenario.heal_within_ms, self._some_transaction
            )
        self.run_until(end)

    def _repeat(self, mean_ms: int, end: int, act: Callable[[], None]) -> None:
        if not mean_ms:
            return

        def run() -> None:
            if self.now < end:
                act()
                self.after(1 + int(self.rng.expovariate(1 / mean_ms)), run)

        self.after(1 + int(self.rng.expovariate(1 / mean_ms)), run)

    def _some_crash(self) -> None:
        if self.rng.random() < 0.25:
            for node in self.nodes:
                node.power.remaining = self.rng.randint(1, 25)
        else:
            self.rng.choice(self.nodes).power.remaining = self.rng.randint(1, 25)

    def _some_partition(self) -> None:
        if self.rng.random() < 0.5:
            self.partition([self.rng.randint(0, 1) for _ in self.nodes])
        else:
            self.partition([0] * len(self.nodes))

    def _some_transaction(self) -> None:
        self.rng.choice(self.nodes).submit(self.backend.transaction(self.rng))

    def heal(self) -> None:
        """The network is good again and nobody crashes any more."""
        self.loss = self.duplicates = 0.0
        self.delay_ms = min(self.delay_ms, 40)
        for node in self.nodes:
            node.power.remaining = None
            self.after(2_000, node.start)
        self.partition([0] * len(self.nodes))

    def heights(self) -> list[int]:
        return [node.executor.head().height if node.up else 0 for node in self.honest]

    def require_progress(self) -> None:
        """Liveness: within the bound, every honest node is some blocks above where the highest one was."""
        goal = len(self.oracle.chain) + self.scenario.blocks_after_healing
        start = self.now
        if not self.run_until(start + self.scenario.heal_within_ms, lambda: min(self.heights()) >= goal):
            views = [node.core.view for node in self.honest if node.up]
            raise Violation(f"no progress after healing: heights {self.heights()} of {goal}, views {views}")
        self.healed_in = self.now - start

    def run(self) -> "World":
        try:
            self.begin()
            self.chaos()
            self.heal()
            self.require_progress()
        except Exception as error:
            raise Violation(f"{type(error).__name__}: {error}; replay with World({self.scenario!r}).run()") from error
        return self
