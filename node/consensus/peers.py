"""Small bounded memory about each linked peer: when it was last answered, and what it said too early.

A message of the next epoch may overtake the block that begins it; keeping the first few saves a round of
rebroadcasts at every epoch boundary.
"""

from collections.abc import Container
from dataclasses import dataclass, field

from node.network.messages import Certificates, ConsensusMessage, Proposal, Votes

MAXIMUM_EARLY_MESSAGES = 8
BLOCKS_PER_INTERVAL = 4
"""Requests for a block that one peer may make in an interval: each costs as much as a block is large."""
REQUESTS_PER_INTERVAL = 16
"""Requests for certificates likewise."""
_NEVER = -(1 << 62)


@dataclass(slots=True)
class _Peer:
    answered_at: int = _NEVER
    reported_at: int = _NEVER
    reported_height: int = -1
    served_since: int = _NEVER
    blocks_served: int = 0
    requests_served: int = 0
    early_proposal: tuple[int, Proposal] | None = None
    early: list[tuple[int, ConsensusMessage]] = field(default_factory=list)


class Peers:
    """The linked peers by node key."""

    def __init__(self) -> None:
        self._peers: dict[bytes, _Peer] = {}

    def add(self, peer: bytes) -> None:
        """A new link; what is known of an older one of the same peer is forgotten."""
        self._peers[peer] = _Peer()

    def remove(self, peer: bytes) -> None:
        self._peers.pop(peer, None)

    def turn(self, number: int, preferred: Container[bytes]) -> bytes | None:
        """One of the preferred peers, or of all if none of those is linked; each in its turn."""
        keys = sorted(key for key in self._peers if key in preferred) or sorted(self._peers)
        return keys[number % len(keys)] if keys else None

    def may_answer(self, peer: bytes, now: int, interval: int) -> bool:
        """Whether a stale message of this peer is answered now; at most once per interval."""
        known = self._peers.get(peer)
        if known is None or now - known.answered_at < interval:
            return False
        known.answered_at = now
        return True

    def may_serve_block(self, peer: bytes, now: int, interval: int) -> bool:
        """Whether its request for a block is answered; a few in each interval are."""
        known = self._served(peer, now, interval)
        if known is None or known.blocks_served >= BLOCKS_PER_INTERVAL:
            return False
        known.blocks_served += 1
        return True

    def may_serve_certificates(self, peer: bytes, now: int, interval: int) -> bool:
        """Whether its request for certificates is answered; some in each interval are."""
        known = self._served(peer, now, interval)
        if known is None or known.requests_served >= REQUESTS_PER_INTERVAL:
            return False
        known.requests_served += 1
        return True

    def _served(self, peer: bytes, now: int, interval: int) -> _Peer | None:
        known = self._peers.get(peer)
        if known is not None and now - known.served_since >= interval:
            known.served_since, known.blocks_served, known.requests_served = now, 0, 0
        return known

    def may_report(self, peer: bytes, height: int, now: int, interval: int) -> bool:
        """Whether its claim of a height is reported now: a greater one, or once per interval."""
        known = self._peers.get(peer)
        if known is None or (height <= known.reported_height and now - known.reported_at < interval):
            return False
        known.reported_at, known.reported_height = now, height
        return True

    def keep_early(self, peer: bytes, epoch: int, message: ConsensusMessage) -> None:
        known = self._peers.get(peer)
        if known is None:
            return
        if isinstance(message, Proposal):
            known.early_proposal = known.early_proposal or (epoch, message)
        elif isinstance(message, Votes | Certificates) and len(known.early) < MAXIMUM_EARLY_MESSAGES:
            known.early.append((epoch, message))

    def take_early(self, epoch: int) -> list[tuple[bytes, ConsensusMessage]]:
        """What came early for the epoch that now begins; the rest is dropped."""
        taken: list[tuple[bytes, ConsensusMessage]] = []
        for key in sorted(self._peers):
            known = self._peers[key]
            early = [*([known.early_proposal] if known.early_proposal else []), *known.early]
            taken += [(key, message) for kept, message in early if kept == epoch]
            known.early_proposal = None
            known.early = []
        return taken
