"""How many connections are let in: few from one host, so that it cannot use up what all the others share."""

from collections import OrderedDict

from node.network.link import TokenBucket
from node.network.stream import Clock

BURST_SECONDS = 4.0
"""So many seconds of both rates may come at once."""
MAXIMUM_HOSTS = 1_024
"""Hosts whose rate is remembered; the one not heard of for longest is forgotten first."""


class AcceptRates:
    """One rate for each host and one for all."""

    def __init__(self, clock: Clock, per_host: float, total: float) -> None:
        """Args: connections per second, sustained."""
        self._clock = clock
        self._per_host = per_host
        self._total = TokenBucket(clock, total, BURST_SECONDS * total)
        self._hosts: OrderedDict[str, TokenBucket] = OrderedDict()

    def allows(self, host: str) -> bool:
        """Whether one more connection from `host` is let in; if so, it counts."""
        bucket = self._hosts.pop(host, None)
        if bucket is None:
            bucket = TokenBucket(self._clock, self._per_host, BURST_SECONDS * self._per_host)
        self._hosts[host] = bucket
        if len(self._hosts) > MAXIMUM_HOSTS:
            self._hosts.popitem(last=False)
        if bucket.charge(0.0) > 0.0 or self._total.charge(0.0) > 0.0:
            return False
        bucket.charge(1.0)
        self._total.charge(1.0)
        return True
