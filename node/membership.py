"""Who the authorities are, for the parts of a node that treat them differently: links, gossip, and what operators read.

The set changes when an epoch ends. The consensus core takes the new one from the head by itself; here the rest of the
node follows, without a restart: a follower that joins begins to vote, an authority that leaves goes on as a follower.
"""

import logging
from collections.abc import Collection, Container, Iterable
from typing import Protocol

from chain.certificate import AuthoritySet

_log = logging.getLogger(__name__)


class Links(Protocol):
    """What it needs of the peer network."""

    def is_connected(self, peer_key: bytes) -> bool: ...

    def set_authorities(self, keys: Collection[bytes]) -> None: ...


class Gossip(Protocol):
    """What it needs of the gossip of transactions, which goes to authorities alone."""

    def peer_connected(self, peer_key: bytes, pending: Iterable[tuple[bytes, bytes]]) -> None: ...

    def peer_disconnected(self, peer_key: bytes) -> None: ...


class Pending(Protocol):
    """The mempool."""

    def envelopes(self) -> Iterable[tuple[bytes, bytes]]: ...


class Membership:
    """The present set, and this node's place in it. All methods run on the event loop."""

    def __init__(
        self,
        authorities: AuthoritySet,
        node_key: bytes,
        bls_key: bytes | None,
        *,
        links: Links,
        gossip: Gossip,
        pending: Pending,
        listed: Container[bytes],
    ) -> None:
        """
        Args:
            bls_key: None for a node that never votes.
            listed: node keys whose addresses the operator gave.
        """
        self._authorities = authorities
        self._node_key = node_key
        self._bls_key = bls_key
        self._links = links
        self._gossip = gossip
        self._pending = pending
        self._listed = listed

    def is_member(self, authorities: AuthoritySet) -> bool:
        """Whether this node votes in a set."""
        return self._bls_key is not None and authorities.index_of_both(self._node_key, self._bls_key) is not None

    def is_authority(self, peer: bytes) -> bool:
        """Whether a peer is one of the present set."""
        return self._authorities.index_of(peer) is not None

    def advance(self, authorities: AuthoritySet) -> bool:
        """Take over the set that certifies the next block; whether it is another one."""
        before, self._authorities = self._authorities, authorities
        if before.members == authorities.members:
            return False
        old, new = ({member.node_key for member in found.members} for found in (before, authorities))
        self._links.set_authorities(new)
        for peer in sorted(old - new):
            self._gossip.peer_disconnected(peer)
        for peer in sorted(new - old):
            if self._links.is_connected(peer):
                self._gossip.peer_connected(peer, self._pending.envelopes())
        self._say(before)
        return True

    def _say(self, before: AuthoritySet) -> None:
        now = self._authorities
        _log.info("epoch %d has %d authorities, of whom %d decide", now.epoch, now.size, now.quorum)
        was, votes = self.is_member(before), self.is_member(now)
        if votes and not was:
            _log.info("this node is an authority from epoch %d on", now.epoch)
        elif was and not votes:
            _log.warning("this node is no authority any more from epoch %d on; it follows", now.epoch)
        if self._bls_key is not None and not votes and now.index_of(self._node_key) is not None:
            _log.error(
                "the set of epoch %d names another BLS key for this node, which therefore cannot vote", now.epoch
            )
        for member in now.members:
            key = member.node_key
            if votes and key != self._node_key and key not in self._listed and not self._links.is_connected(key):
                _log.warning("authority %s is not linked, and no address of it is configured", key.hex())
