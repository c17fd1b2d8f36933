"""The namespace `node`: where this node stands, who it is linked to, what it saw of others, and what it runs."""

import asyncio
import platform

from chain import interface as api
from chain.action import action_to_json
from chain.actions.evidence import CONVICTIONS, SubmitEvidence, conviction_key
from chain.errors import NotFound
from chain.evidence import ConflictingVotes
from node.rpc.chain import authority_set
from node.rpc.context import Read, RpcContext
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside
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


def evidence(read: Read, params: api.NodeEvidenceParams) -> api.NodeEvidence:
    kept = read.context.evidence()
    return api.NodeEvidence(
        as_of=read.as_of,
        total=len(kept),
        items=tuple(_evidence(read, conflict) for conflict in kept[: params.limit]),
    )


def _evidence(read: Read, conflict: ConflictingVotes) -> api.EvidenceItem:
    epoch = conflict.first.epoch
    operator = _operator(read, epoch, conflict.node_key)
    submit = SubmitEvidence(conflict.node_key, conflict.first, conflict.second)
    return api.EvidenceItem(
        offence=str(conflict.offence),
        epoch=epoch,
        view=conflict.first.view,
        node_key=conflict.node_key.hex(),
        operator=None if operator is None else read.address_text(operator),
        convicted=operator is not None and CONVICTIONS.get(read.view, conviction_key(epoch, operator)) is not None,
        action=action_to_json(submit, read.prefix),
    )


def _operator(read: Read, epoch: int, node_key: bytes) -> bytes | None:
    try:
        found = authority_set(read, epoch)
    except NotFound:
        return None
    index = found.index_of(node_key)
    return None if index is None else found.members[index].operator


def version(context: RpcContext, params: api.NoParams) -> api.VersionView:
    return _VERSION


HANDLERS: dict[str, Handler] = {
    "node.status": status,
    "node.peers": peers,
    "node.health": health,
    "node.evidence": aside(evidence),
    "node.version": version,
}
