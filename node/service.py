"""One running node, composed: the only place that knows every part and what starts before what.

The database is opened and checked first, then the signer's record; candidates are executed again and the consensus
core is started before the first byte from the network is read; clients come last. Stopping goes the other way. Any
failure that a part cannot answer for ends the whole node: `wait_stopped` raises it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from chain.certificate import AuthoritySet
from chain.crypto.ed25519 import PrivateKey
from chain.errors import BadSignature, InsufficientFunds, KeyMismatch, LedgerError, MalformedEncoding, WrongChain
from chain.evidence import ConflictingVotes
from node.config import Configuration
from node.consensus.driver import Driver, Reports
from node.consensus.events import Head, Settings
from node.consensus.simplex import Simplex
from node.evidence import EvidenceFolder
from node.executor import FinalBlock, LedgerExecutor
from node.keys import read_secret
from node.membership import Membership
from node.mempool import Mempool
from node.metrics import Metrics
from node.network.config import NetworkConfig
from node.network.frames import Priority
from node.network.gossip import TransactionGossip
from node.network.messages import (
    CatchUpRequest,
    CatchUpResponse,
    Transactions,
    decode_message,
    encode_message,
)
from node.network.peers import PeerInfo, PeerNetwork
from node.network.stream import Clock, LoopClock
from node.pruning import Pruner
from node.rpc.context import RpcContext
from node.rpc.server import RpcServer
from node.setup import open_signer, read_genesis
from node.signatures import SignatureVerifier
from node.status import NodeStatus, software_version
from node.store import Store
from node.submission import Submission
from node.sync import Syncer, SyncSettings

MALFORMED_POINTS = 100
"""For bytes that are no message: no honest node sends them."""
BAD_TRANSACTION_POINTS = 20
USELESS_PER_POINT = 16
"""Transactions with a good signature that an empty account signed cost their sender nothing, and this node much. An
honest node, which admitted them itself, passes on a few at most: the two states are not always the same."""
PEER_TRANSACTION_BYTES = 4 << 20
"""Envelopes of one peer that wait for admission; above it nothing more is read from that peer."""
ENVELOPE_OVERHEAD_BYTES = 128
"""What a message, and each envelope in it, counts beside its bytes, so that no number of empty ones is free."""

_log = logging.getLogger(__name__)


class CannotListen(LedgerError):
    code = 2303
    hint = "Stop what listens there already, or choose another address of this machine in the configuration."


def wall_ms() -> int:
    """The machine's time of day, milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Node:
    """An authority or a follower. `start` it once; then `stop` it, or `wait_stopped` until it stops by itself."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        network: NetworkConfig | None = None,
        sync: SyncSettings | None = None,
        clock: Clock | None = None,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self.configuration = configuration
        self._network_config = network
        self._sync_settings = sync
        self._clock = clock or LoopClock()
        self._wall_ms = wall
        self._parts = AsyncExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._admitting: dict[bytes, int] = {}
        self._pruner: Pruner | None = None
        self._waiting: str | None = None
        self._pruned_epoch: int | None = None
        self._closing: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._stopping = False
        self._stopped = asyncio.Event()

    # Beginning and end.

    async def start(self) -> None:
        """Open, check and start everything, in this order. On an error nothing is left running.

        Raises: LedgerError: with a hint for the operator.
        """
        try:
            await self._open()
            await self._run()
        except BaseException:
            await self._close()
            raise

    async def stop(self) -> None:
        """End everything and release the files. May be called more than once."""
        if self._stopping:
            await self._stopped.wait()
            return
        _log.info("stopping")
        await self._close()

    async def wait_stopped(self) -> None:
        """Wait for the end. Raises the failure that caused it, if one did."""
        await self._stopped.wait()
        if self._failure is not None:
            raise self._failure

    async def _open(self) -> None:
        """What is on disk."""
        files = self.configuration.node
        loop = asyncio.get_running_loop()
        self.specification = await asyncio.to_thread(read_genesis, files.genesis)
        chain_id = self.specification.chain_id
        node_key = PrivateKey(await asyncio.to_thread(read_secret, files.node_key))
        self.node_key = node_key.public_key
        self.store = await asyncio.to_thread(Store.open, files.database, chain_id, self.specification.hash)
        self._parts.callback(self.store.close)
        verifier = SignatureVerifier()
        self._parts.push_async_callback(asyncio.to_thread, verifier.close)
        self.mempool = Mempool(self.store, chain_id, wall_ms=self._wall_ms)
        self.executor = LedgerExecutor(
            self.store,
            self.specification,
            self.mempool,
            verifier,
            notify=loop.call_soon_threadsafe,
            # The others have to execute it, too, before the view ends two deltas after it should have been proposed.
            fill_seconds=self.configuration.timing.delta_ms / 4_000,
        )
        authorities = self._authorities
        self._signer = await asyncio.to_thread(open_signer, files, chain_id, authorities)
        if self._signer is not None:
            self._parts.callback(self._signer.close)
        self.executor.subscribe(self.mempool.final)
        self.executor.subscribe(self._on_final)
        self.metrics = Metrics()
        self.evidence = await asyncio.to_thread(EvidenceFolder, files.evidence)
        self.links = self._make_links(node_key)
        self.gossip = TransactionGossip(self._send_transactions, clock=self._clock)
        self._parts.callback(self.gossip.close)
        self.membership = Membership(
            authorities,
            self.node_key,
            None if self._signer is None else self._signer.bls_key,
            links=self.links,
            gossip=self.gossip,
            pending=self.mempool,
            listed={peer.key for peer in self.configuration.network.peers},
        )
        self._parts.push_async_callback(self._end_background)
        self.submission = Submission(self.mempool, self.store, verifier)
        self._parts.push_async_callback(self.submission.close)
        self.submission.on_admitted(self._on_admitted)
        self.driver = self._make_driver()
        self.syncer = Syncer(
            self.driver,
            self.links,
            self.store,
            chain_id=chain_id,
            epoch_blocks=self.specification.parameters.epoch_blocks,
            is_authority=self.membership.is_authority,
            now=self._clock.now,
            settings=self._sync_settings,
        )

    def _make_links(self, node_key: PrivateKey) -> PeerNetwork:
        settings = self.configuration.network
        return PeerNetwork(
            node_key,
            self.specification.hash,
            settings.listen,
            settings.peers,
            [member.node_key for member in self.executor.head().authorities.members],
            on_message=self._on_message,
            on_connect=self._on_connect,
            on_disconnect=self._on_disconnect,
            config=self._network_config,
            clock=self._clock,
        )

    def _make_driver(self) -> Driver:
        parameters = self.specification.parameters
        settings = Settings(
            self.specification.chain_id,
            parameters.epoch_blocks,
            parameters.maximum_block_weight,
            self.configuration.timing,
        )
        signer = self._signer
        core = Simplex(
            settings,
            None if signer is None else self.node_key,
            bls_key=None if signer is None else signer.bls_key,
        )
        return Driver(
            core,
            self.executor,
            signer,
            self.links,
            self,
            Reports(behind=self._on_behind, conflict=self._on_conflict, advanced=self._on_advanced),
            clock=self._clock,
            wall_ms=self._wall_ms,
        )

    async def _run(self) -> None:
        """What runs."""
        await self.submission.restore()
        self._parts.push_async_callback(self.driver.stop)
        await self.driver.start()
        keep = self.configuration.storage.keep_states
        if keep:
            self._pruner = Pruner(self.store, keep, self.driver.fail)
            self._parts.push_async_callback(self._pruner.stop)
        self._parts.push_async_callback(self.syncer.stop)
        self.syncer.start()
        self._parts.push_async_callback(self.links.stop)
        await _listening(self.links.start(), self.configuration.network.listen)
        context = RpcContext(
            store=self.store,
            specification=self.specification,
            mempool=self.mempool,
            submission=self,
            status=self.status,
            peers=self.links.peers,
            metrics=self.metrics,
            evidence=self.evidence.all,
        )
        self._parts.callback(context.close)
        rpc = self.configuration.rpc
        self.rpc = RpcServer(context, *rpc.listen, hosts=rpc.hosts, origins=rpc.origins)
        self.executor.subscribe(self.rpc.on_final)
        self._parts.push_async_callback(self.rpc.stop)
        await _listening(self.rpc.start(), rpc.listen)
        self.metrics.watch(self.status, lambda: len(self.links.peers()))
        self._spawn(self._watch())
        _log.info(
            "%s of %s at height %d, node key %s",
            self.status().role,
            self.specification.chain_id,
            self.executor.head().height,
            self.node_key.hex(),
        )
        self._say_waiting()

    async def _watch(self) -> None:
        """End the node when a part of it fails."""
        failure = await self.driver.wait_failed()
        if self._failure is None and not self._stopping:
            self._failure = failure
            self._stopping = True  # from here on, `stop` waits for this end instead of beginning another
            known = isinstance(failure, LedgerError)
            _log.critical("the node stops: %s", failure, exc_info=None if known else failure)
            self._closing = asyncio.create_task(self._close())

    async def _close(self) -> None:
        self._stopping = True
        try:
            await self._parts.aclose()
        finally:
            self._stopped.set()

    async def _end_background(self) -> None:
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What others may know.

    def status(self) -> NodeStatus:
        """Where the node stands now."""
        head, authorities = self.driver.head, self._authorities
        return NodeStatus(
            role="authority" if self._is_authority else "follower",
            height=head.height,
            head_hash=head.hash,
            head_time_ms=head.time_ms,
            epoch=authorities.epoch,
            view=self.driver.view,
            authorities_total=authorities.size,
            authorities_connected=self._connected(),
            quorum=authorities.quorum,
            waiting=self._why_waiting(),
            syncing=self.syncer.syncing,
            target_height=self.syncer.target_height,
            mempool_size=len(self.mempool),
            version=software_version(),
        )

    def peers(self) -> list[PeerInfo]:
        """The live links."""
        return self.links.peers()

    @property
    def _authorities(self) -> AuthoritySet:
        return self.executor.head().authorities

    @property
    def _is_authority(self) -> bool:
        return self.membership.is_member(self._authorities)

    def _connected(self) -> int:
        keys = [member.node_key for member in self._authorities.members]
        return sum(self.links.is_connected(key) for key in keys) + self._is_authority

    def _why_waiting(self) -> str | None:
        if not self._is_authority:
            return None if self.links.peers() else "waiting for a peer"
        connected, quorum = self._connected(), self._authorities.quorum
        return None if connected >= quorum else f"waiting for quorum {connected}/{quorum}"

    def _say_waiting(self) -> None:
        """Log once what the node begins, or ends, to wait for."""
        waiting = self._why_waiting()
        if waiting != self._waiting and not self._stopping:
            _log.info("%s", waiting or f"linked with enough peers, no longer {self._waiting}")
            self._waiting = waiting

    # Work for the driver: what a block could hold.

    def pending(self) -> bool:
        return self.mempool.has_executable

    def due_ms(self) -> int | None:
        return self.executor.next_due_ms

    # What the parts report; all on the event loop.

    def _on_message(self, peer: bytes, payload: bytes, received_at: float) -> Awaitable[None] | None:
        try:
            message = decode_message(payload)
        except MalformedEncoding as error:
            self.links.penalise(peer, MALFORMED_POINTS, f"malformed message: {error}")
            return None
        match message:
            case Transactions():
                return self._take_transactions(peer, message.envelopes)
            case CatchUpRequest():
                self.syncer.on_request(peer, message)
            case CatchUpResponse():
                self.syncer.on_response(peer, message)
            case _:
                return self.driver.receive(peer, message, len(payload), received_at)
        return None

    def _on_connect(self, peer: bytes) -> None:
        self.driver.connected(peer)
        if self.membership.is_authority(peer):
            self.gossip.peer_connected(peer, self.mempool.envelopes())
        self._say_waiting()

    def _on_disconnect(self, peer: bytes) -> None:
        self.driver.disconnected(peer)
        self.syncer.disconnected(peer)
        self.gossip.peer_disconnected(peer)
        self._say_waiting()

    def _on_behind(self, peer: bytes, height: int) -> None:
        self.syncer.behind(peer, height)

    def _on_advanced(self, head: Head) -> None:
        """The core knows a new head."""
        if self._pruner is not None:
            self._pruner.on_head(head.height)
        if self.membership.advance(head.authorities):
            self._say_waiting()
        epoch = head.authorities.epoch
        if epoch != self._pruned_epoch:
            self._pruned_epoch = epoch
            oldest = epoch - self.specification.parameters.evidence_epochs
            self._spawn(asyncio.to_thread(self.evidence.prune, oldest))

    def _on_final(self, final: FinalBlock) -> None:
        header, results = final.block.header, final.outcome.results
        succeeded = sum(result.succeeded for result in results)
        self.metrics.block_final(header.time_ms, self._wall_ms(), succeeded, len(results) - succeeded)
        level = logging.INFO if results else logging.DEBUG
        _log.log(level, "final: height %d with %d transactions", header.height, len(results))

    def _on_conflict(self, conflict: ConflictingVotes) -> None:
        _log.error("authority %s signed what excludes itself: %s", conflict.node_key.hex(), conflict.offence)
        self._spawn(asyncio.to_thread(self.evidence.keep, conflict))

    # Transactions between nodes.

    def _on_admitted(self, txid: bytes, envelope: bytes, source_peer: bytes | None) -> None:
        # Every authority hears a transaction from the one that admitted it first.
        if source_peer is None or not self.membership.is_authority(source_peer):
            self.gossip.add(txid, envelope, source_peer)
        self.driver.work_available()

    def _send_transactions(self, peer: bytes, envelopes: list[bytes]) -> bool:
        return self.links.send(peer, encode_message(Transactions(tuple(envelopes))), Priority.NORMAL)

    def _take_transactions(self, peer: bytes, envelopes: tuple[bytes, ...]) -> Awaitable[None] | None:
        size = sum(map(len, envelopes)) + ENVELOPE_OVERHEAD_BYTES * (len(envelopes) + 1)
        self._admitting[peer] = self._admitting.get(peer, 0) + size
        task = self._spawn(self._admit(peer, envelopes, size))
        # Votes come over the same link, so only a flood is made to wait.
        return asyncio.shield(task) if self._admitting[peer] > PEER_TRANSACTION_BYTES else None

    async def _admit(self, peer: bytes, envelopes: tuple[bytes, ...], size: int) -> None:
        try:
            answers = await self.submission.submit(envelopes, peer)
        finally:
            self._admitting[peer] -= size
            if not self._admitting[peer]:
                del self._admitting[peer]
        self.gossip.on_received(peer, [answer for answer in answers if isinstance(answer, bytes)])
        if any(isinstance(answer, MalformedEncoding | BadSignature) for answer in answers):
            self.links.penalise(peer, BAD_TRANSACTION_POINTS, "transaction that no honest node passes on")
        useless = sum(isinstance(answer, InsufficientFunds | WrongChain | KeyMismatch) for answer in answers)
        if useless >= USELESS_PER_POINT:
            self.links.penalise(peer, useless // USELESS_PER_POINT, "transactions that nobody can pay for")

    async def submit(self, envelopes: Sequence[bytes], source_peer: bytes | None) -> list[bytes | LedgerError]:
        """Take envelopes from clients: for each its txid once it is on disk, or why it is refused."""
        try:
            return await self.submission.submit(envelopes, source_peer)
        except Exception as error:
            # What was admitted cannot be kept: nothing that this node says can be relied on any more.
            self.driver.fail(error)
            raise

    def _spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.driver.fail(error)

        task = asyncio.create_task(guarded())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _listening(start: Awaitable[None], address: tuple[str, int] | None) -> None:
    """Start something that binds an address. Raises CannotListen if it cannot be bound."""
    try:
        await start
    except OSError as error:
        host, port = address or ("", 0)
        raise CannotListen(host=host, port=port, reason=error.strerror or str(error)) from error
