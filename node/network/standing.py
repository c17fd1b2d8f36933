"""How peers behaved: penalty points that fade, and bans that end. Bounded, and kept across links."""

from collections import OrderedDict
from typing import TypeVar

from node.network.stream import Clock

MAX_REMEMBERED = 4096
"""Peers with points, and bans, that are remembered; the oldest are forgotten first."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class Standing:
    """The points of each peer and who is banned until when. A ban is on a node key (bytes) or a host (str)."""

    def __init__(self, clock: Clock, decay_per_second: float) -> None:
        self._clock = clock
        self._decay = decay_per_second
        self._points: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._bans: OrderedDict[bytes | str, float] = OrderedDict()

    def score(self, peer_key: bytes) -> float:
        """The points that have not faded yet; 0.0 is good."""
        points, at = self._points.get(peer_key, (0.0, 0.0))
        return max(0.0, points - (self._clock.now() - at) * self._decay)

    def add(self, peer_key: bytes, points: float) -> float:
        """Add points and return the score."""
        score = self.score(peer_key) + points
        _put(self._points, peer_key, (score, self._clock.now()))
        return score

    def ban(self, who: bytes | str, seconds: float) -> None:
        """Ban from now on for `seconds`."""
        _put(self._bans, who, self._clock.now() + seconds)

    def is_banned(self, who: bytes | str) -> bool:
        """Whether a ban is in force."""
        return self._bans.get(who, 0.0) > self._clock.now()


def _put(table: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > MAX_REMEMBERED:
        table.popitem(last=False)
