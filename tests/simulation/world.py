"""A deterministic world for the production consensus core and signer: one seed, one run.

Time, network, clocks, disks and crashes are simulated; the code that decides is the code that runs in production.
Every node may lose power at any point between two effects and inside any disk operation, and comes back with what was
durable. A run is chaos for a while, then healing, after which everybody must make progress.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chain.block import Block
from chain.certificate import BLS_SCHEME, AuthoritySet, Certificate, Scheme, verify_certificate
from chain.errors import MalformedEncoding
from node.consensus import events as ev
from node.consensus.signer import Signer, SigningKeys
from node.consensus.simplex import Simplex
from node.consensus.timing import Timing
from node.network.messages import (
    BlockResponse,
    CatchUpRequest,
    CatchUpResponse,
    Certificates,
    ConsensusMessage,
    Message,
    decode_message,
    encode_message,
)
from tests.simulation.disk import Crash, Power, SimulatedFiles
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.scheme import HashKeys, HashScheme, authorities_for, production_keys
from tests.simulation.toy import GENESIS_TIME, ToyExecutor, ToyStore

CHAIN_ID = "simulation-00000000"
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
    behaviours: tuple[str, ...] = ()
    """What each Byzantine authority does; they take the last places of the set."""
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
    authority_set: type[AuthoritySet] = AuthoritySet


class Node:
    """One machine: a disk that stays, and a process that comes and goes."""

    def __init__(self, world: "World", index: int, keys: SigningKeys | None) -> None:
        self.world = world
        self.index = index
        self.keys = keys
        self.rng = random.Random(f"{world.scenario.seed}/node/{index}")
        self.power = Power()
        self.files = SimulatedFiles(self.rng, self.power)
        self.store = ToyStore()
        self.skew_ms = self.rng.randint(-world.scenario.skew_ms, world.scenario.skew_ms)
        self.up = False
        self.life = 0
        self.paused_until = 0
        self._boot = 0
        self._signed_at = 0
        self._busy_until = 0
        self._syncing_until = 0
        self._deadlines: dict[ev.Timer, int] = {}

    @property
    def key(self) -> bytes:
        return self.keys.node_key if self.keys is not None else b"follower %023d" % self.index

    @property
    def is_authority(self) -> bool:
        return self.index < self.world.scenario.size

    def moment(self) -> ev.Moment:
        now = self.world.now
        return ev.Moment(now - self._boot, GENESIS_TIME + 60_000 + now + self.skew_ms)

    # Life.

    def start(self) -> None:
        if self.up:
            return
        self.life += 1
        self.up = True
        self._boot = self.world.now - self.rng.randint(0, 1_000)
        self._signed_at = self._busy_until = self._syncing_until = 0
        self._deadlines = {}
        try:
            self._open()
        except Crash:
            self.die()

    def _open(self) -> None:
        world = self.world
        self.executor = world.parts.executor(
            CHAIN_ID, world.authorities_of, world.scenario.epoch_blocks, self.store, self.power
        )
        self.signer = None
        if self.is_authority and self.keys is not None:
            path = Path("/signer/record")
            first = path not in self.files.contents
            self.signer = Signer.open(path, chain_id=CHAIN_ID, keys=self.keys, files=self.files, initialise=first)
        self.core = world.parts.core(world.settings, self.key if self.is_authority else None, world.scheme)
        head = self.executor.head()
        self.on_restart(head)
        self.handle(
            ev.Started(
                self.moment(),
                head,
                tuple(self.executor.candidates()),
                tuple(self.executor.certificates()),
                self.signer.votes() if self.signer is not None else (),
                self.executor.has_work(),
            )
        )
        if self.up:
            world.link_up(self)

    def on_restart(self, head: ev.Head) -> None:
        self.world.oracle.restarted(self.index, head.height, self.executor.at(head.height))

    def die(self) -> None:
        """The power is gone; it comes back after a while."""
        if not self.up:
            return
        self.switch_off()
        self.world.crashes += 1
        self.world.after(self.rng.randint(10, 2_000), self.start)

    def switch_off(self) -> None:
        """The power is gone until somebody calls start."""
        self.up = False
        self.life += 1
        self.power.remaining = None
        self.files.power_cut()
        self.world.link_down(self)

    # Events.

    def later(self, delay_ms: int, make: Callable[[], ev.Event | None]) -> None:
        """An event of this life of the process."""
        self._at_life(self.life, self.world.now + delay_ms, make)

    def _at_life(self, life: int, at: int, make: Callable[[], ev.Event | None]) -> None:
        def run() -> None:
            if self.life != life or not self.up:
                return
            if self.paused_until > self.world.now:
                self._at_life(life, self.paused_until, make)
                return
            event = make()
            if event is not None:
                self.handle(event)

        self.world.at(at, run)

    def handle(self, event: ev.Event) -> None:
        try:
            for effect in self.core.step(event):
                self.power.point()
                self.perform(effect)
        except Crash:
            self.die()

    def receive(self, peer: "Node", data: bytes) -> None:
        message = self.world.decode(data)
        if message is None:
            return
        life = self.life
        at = self.moment()
        if self.paused_until > self.world.now:
            self._at_life(life, self.paused_until, lambda: self._arrived(peer, at, message))
            return
        event = self._arrived(peer, at, message)
        if event is not None:
            self.handle(event)

    def _arrived(self, peer: "Node", at: ev.Moment, message: Message) -> ev.Event | None:
        if isinstance(message, CatchUpRequest):
            self._serve(peer, message)
        elif isinstance(message, CatchUpResponse):
            return self._catch_up(message)
        elif isinstance(message, ConsensusMessage):
            return ev.MessageReceived(at, peer.key, message)
        return None

    def submit(self, envelope: bytes) -> None:
        if self.up and self.executor.submit(envelope):
            self.later(0, lambda: ev.WorkAvailable(self.moment()))
            for peer in self.world.linked(self):
                self.world.after(self.rng.randint(1, 40), lambda peer=peer: peer.submit(envelope))

    # Effects.

    def perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Persist(blocks, certificates):
                self.executor.persist(blocks, certificates)
            case ev.SignVote():
                self.sign(effect)
            case ev.Broadcast(message):
                self.broadcast(message)
            case ev.Send(key, message):
                self.send(self.world.by_key[key], message)
            case ev.SetDeadline(timer, at_ms):
                self._set_deadline(timer, at_ms)
            case ev.ExecuteBlock(block):
                self._run(lambda: self.execute(block))
            case ev.BuildBlock():
                self._run(lambda: self.build(effect))
            case ev.Commit(block, finalization):
                self.commit(block, finalization)
                self.later(1, self._advanced)
            case ev.RaiseFloor(epoch, view):
                if self.signer is not None:
                    self.signer.raise_floor(epoch, view)
            case ev.ServeBlock(key, block_hash):
                block = self.executor.block(block_hash)
                if block is not None:
                    self.send(self.world.by_key[key], BlockResponse(block))
            case ev.ServeFinalization(key, height):
                finalization = self.executor.finalization(height)
                if finalization is not None:
                    self.send(self.world.by_key[key], Certificates((finalization,)))
            case ev.Behind(key, _):
                self._sync(self.world.by_key[key])
            case ev.ReportConflict(conflict):
                self.world.oracle.convicted(conflict)
            case ev.ReportPeer(key, reason):
                self.world.reported(self, key, reason)
            case ev.Halt(reason):
                self.halted(reason)

    def sign(self, effect: ev.SignVote) -> None:
        assert self.signer is not None
        vote = self.signer.sign(effect.kind, effect.epoch, effect.view, effect.block_hash)
        self._signed_at = max(self._signed_at, self.world.now + self.rng.randint(0, 2))
        self._at_life(self.life, self._signed_at, lambda: ev.VoteSigned(self.moment(), vote))

    def execute(self, block: Block) -> ev.Event | None:
        if self.executor.head().hash != block.header.parent_hash:
            return None
        return ev.BlockExecuted(self.moment(), block.hash, self.executor.execute(block))

    def build(self, effect: ev.BuildBlock) -> ev.Event | None:
        if self.executor.head().hash != effect.parent_hash:
            return None
        block = self.executor.build(
            height=effect.height,
            parent_hash=effect.parent_hash,
            epoch=effect.epoch,
            view=effect.view,
            time_ms=effect.time_ms,
            proposer=effect.proposer,
            weight_budget=effect.weight_budget,
        )
        return ev.BlockBuilt(self.moment(), effect.view, block)

    def commit(self, block: Block, finalization: Certificate) -> None:
        fresh = block.hash != self.executor.head().hash
        self.executor.commit(block, finalization)
        if fresh:
            self.world.oracle.committed(self.index, block, finalization)

    def halted(self, reason: str) -> None:
        self.world.oracle.halted(self.index, reason)

    def broadcast(self, message: ConsensusMessage) -> None:
        for peer in self.world.linked(self):
            self.send(peer, message)

    def send(self, peer: "Node", message: Message) -> None:
        if isinstance(message, ConsensusMessage):
            self.world.oracle.said(self.index, message)
        self.world.transmit(self, peer, self.world.encode(message))

    def _run(self, work: Callable[[], ev.Event | None]) -> None:
        """The executor does one thing at a time."""
        self._busy_until = max(self._busy_until, self.world.now) + self.rng.randint(1, 20)
        self._at_life(self.life, self._busy_until, work)

    def _set_deadline(self, timer: ev.Timer, at_ms: int) -> None:
        due = max(self.world.now, at_ms + self._boot)
        self._deadlines[timer] = due

        def reach() -> ev.Event | None:
            if self._deadlines.get(timer) != due:
                return None
            del self._deadlines[timer]
            return ev.DeadlineReached(self.moment(), timer)

        self._at_life(self.life, due, reach)

    def _advanced(self) -> ev.Event:
        return ev.Advanced(self.moment(), self.executor.head(), self.executor.has_work())

    # A small synchroniser: asks the peer that is ahead, verifies, commits.

    def _sync(self, peer: "Node") -> None:
        if self.world.now < self._syncing_until:
            return
        self._syncing_until = self.world.now + 500
        self.send(peer, CatchUpRequest(self.executor.head().height + 1, 8))

    def _serve(self, peer: "Node", request: CatchUpRequest) -> None:
        found = (
            self.executor.at(height) for height in range(request.first_height, request.first_height + request.count)
        )
        self.send(peer, CatchUpResponse(request.first_height, tuple(entry for entry in found if entry is not None)))

    def _catch_up(self, response: CatchUpResponse) -> ev.Event | None:
        start = self.executor.head().height
        try:
            for block, finalization in response.entries:
                head = self.executor.head()
                if block.header.height != head.height + 1 or finalization.block_hash != block.hash:
                    continue
                authorities = self.world.authorities_of(head.authorities.epoch)
                if finalization.kind != 3 or not verify_certificate(
                    CHAIN_ID, authorities, finalization, self.world.scheme
                ):
                    break
                if self.executor.execute(block) is not None:
                    break
                self.commit(block, finalization)
        except Crash:
            self.die()
            return None
        self._syncing_until = 0
        return self._advanced() if self.executor.head().height > start else None


class World:
    def __init__(self, scenario: Scenario, parts: Parts | None = None) -> None:
        from tests.simulation.byzantine import ByzantineNode

        self.scenario = scenario
        self.parts = parts or Parts()
        self.rng = random.Random(f"{scenario.seed}/world")
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._messages: dict[bytes, Message | None] = {}
        self._encoded: dict[int, tuple[Message, bytes]] = {}
        make = production_keys if scenario.production_signatures else HashKeys
        self.keys: list[SigningKeys] = [make(index) for index in range(scenario.size)]
        self.scheme: Scheme = BLS_SCHEME if scenario.production_signatures else HashScheme()
        self.members = authorities_for(self.keys)
        self._sets: dict[int, AuthoritySet] = {}
        self.settings = ev.Settings(CHAIN_ID, scenario.epoch_blocks, 1_000, scenario.timing)
        liars = scenario.size - len(scenario.behaviours)
        self.oracle = Oracle(CHAIN_ID, self.keys, scenario.epoch_blocks, set(range(liars)))
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

    def authorities_of(self, epoch: int) -> AuthoritySet:
        if epoch not in self._sets:
            self._sets[epoch] = self.parts.authority_set(epoch, self.members)
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
        self.rng.choice(self.nodes).submit(self.rng.randbytes(12))

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
