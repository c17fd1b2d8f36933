"""Whom a node dials, and the limits and times of its peer network: local policy, which no peer has to share."""

from dataclasses import dataclass, field

from node.network.link import LinkLimits, LinkTimes


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer to dial."""

    key: bytes
    """Its Ed25519 node key, 32 bytes: who must answer there."""
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Limits and times of a node's peer network. Times are in seconds."""

    times: LinkTimes = field(default_factory=LinkTimes)
    trusted_limits: LinkLimits = field(default_factory=LinkLimits)
    """For authorities and listed peers."""
    follower_limits: LinkLimits = field(
        default_factory=lambda: LinkLimits(
            max_message_bytes=1 << 20,
            send_queue_bytes=8 << 20,
            bytes_per_second=4.0 * (1 << 20),
            messages_per_second=2_000.0,
        )
    )
    """For everybody else."""
    max_followers: int = 32
    max_pending_handshakes: int = 64
    """Connections that have not proved a key yet. The oldest makes room for a new one."""
    accepts_per_second: float = 50.0
    """Inbound handshakes begun with one host, sustained; four seconds of it may come at once."""
    accepts_per_second_in_total: float = 500.0
    """Likewise with all hosts together."""
    connect_timeout: float = 5.0
    dial_backoff_min: float = 0.2
    """Wait before the first redial. It doubles with each failure; half of every wait is random."""
    dial_backoff_max: float = 10.0
    stable_after: float = 10.0
    """A link that lived this long resets the backoff."""
    ban_score: int = 100
    ban_seconds: float = 600.0
    score_decay_per_second: float = 1.0
    throttle_points: int = 1
    """What exceeding a receive rate once costs."""
    rest_per_point: float = 0.001
    """How long an authority above `ban_score` is not read from, for each further point."""
    violation_points: int = 100
    """What breaking the link protocol costs."""
