"""The namespace `node`: where this node stands, who it is linked to, and what it runs."""

import asyncio
import platform

from chain import interface as api
from node.rpc.context import RpcContext
from node.rpc.dispatch import Handler
from node.status import software_version

_VERSION = api.VersionView(software_version(), api.INTERFACE_VERSION, platform.python_version())


def status(context: RpcContext, params: api.NoParams) -> api.NodeStatusView:
    now = context.status()
    return api.NodeStatusView(
        chain_id=context.specification.chain_id,
        version=now.version,
        role=now.role,
        height=now.height,
        head_hash=now.head_hash.hex(),
        head_time_ms=now.head_time_ms,
        epoch=now.epoch,
        view=now.view,
        authorities_total=now.authorities_total,
        authorities_connected=now.authorities_connected,
        quorum=now.quorum,
        ready=now.ready,
        waiting=now.waiting,
        syncing=now.syncing,
        target_height=now.target_height,
        mempool_size=now.mempool_size,
    )


def peers(context: RpcContext, params: api.NoParams) -> api.Peers:
    now = asyncio.get_running_loop().time()
    return api.Peers(
        tuple(
            api.PeerView(
                key=peer.key.hex(),
                host=peer.host,
                port=peer.port,
                direction=peer.direction,
                connected_seconds=max(0, int(now - peer.connected_since)),
                bytes_in=peer.bytes_in,
                bytes_out=peer.bytes_out,
                messages_in=peer.messages_in,
                messages_out=peer.messages_out,
                latency_ms=None if peer.latency is None else round(peer.latency * 1_000),
                is_authority=peer.is_authority,
            )
            for peer in context.peers()
        )
    )


def health(context: RpcContext, params: api.NoParams) -> api.Health:
    now = context.status()
    return api.Health(ready=now.ready, reason="; ".join(now.not_ready) or None)


def version(context: RpcContext, params: api.NoParams) -> api.VersionView:
    return _VERSION


HANDLERS: dict[str, Handler] = {
    "node.status": status,
    "node.peers": peers,
    "node.health": health,
    "node.version": version,
}
