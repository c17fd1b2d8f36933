"""One machine of a simulated world: a disk that stays, and a process that comes and goes.

It does for the consensus core what the driver does in production: performs effects in order, answers with events, and
catches up from a peer that is ahead. Between any two effects, and inside every write, it may lose power.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chain.block import Block
from chain.certificate import Certificate, verify_certificate
from node.consensus import events as ev
from node.consensus.signer import Signer, SigningKeys
from node.consensus.simplex import Simplex
from node.network.messages import (
    BlockResponse,
    CatchUpRequest,
    CatchUpResponse,
    Certificates,
    ConsensusMessage,
    Message,
)
from tests.simulation.disk import Crash, Power, SimulatedFiles
from tests.simulation.toy import GENESIS_TIME

if TYPE_CHECKING:
    from tests.simulation.world import World


class Node:
    """One machine: a disk that stays, and a process that comes and goes."""

    def __init__(self, world: "World", index: int, keys: SigningKeys | None) -> None:
        self.world = world
        self.index = index
        self.keys = keys
        self.rng = random.Random(f"{world.scenario.seed}/node/{index}")
        self.power = Power()
        self.files = SimulatedFiles(self.rng, self.power)
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
        self.executor = world.backend.open(self.index, self.power, world.authorities_of)
        self.signer = None
        if self.is_authority and self.keys is not None:
            path = Path("/signer/record")
            first = path not in self.files.contents
            self.signer = Signer.open(
                path, chain_id=world.backend.chain_id, keys=self.keys, files=self.files, initialise=first
            )
        self.core = self.core_class()(world.settings, self.key if self.is_authority else None, world.scheme)
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

    def core_class(self) -> type[Simplex]:
        return self.world.parts.core

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
        self.world.backend.close(self.index)
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
                    self.world.backend.chain_id, authorities, finalization, self.world.scheme
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
