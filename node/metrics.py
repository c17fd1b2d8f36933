"""What a node measures of itself, for Prometheus: one registry per node, so that several nodes fit into one process.

Gauges are read from the node when somebody asks; histograms and counters are fed as things happen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from node.status import NodeStatus

_FINALISATION_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_RPC_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True, slots=True)
class _Gauge:
    name: str
    help: str
    read: Callable[[NodeStatus], int | bool]


_GAUGES = (
    _Gauge("aitbc_height", "Height of the last final block", lambda status: status.height),
    _Gauge("aitbc_epoch", "Epoch of the next block", lambda status: status.epoch),
    _Gauge("aitbc_view", "View of the epoch in which the node is", lambda status: status.view),
    _Gauge(
        "aitbc_head_time_seconds", "Block time of the last final block", lambda status: status.head_time_ms // 1_000
    ),
    _Gauge("aitbc_mempool_transactions", "Transactions that wait", lambda status: status.mempool_size),
    _Gauge("aitbc_authorities", "Authorities of the epoch", lambda status: status.authorities_total),
    _Gauge("aitbc_authorities_connected", "Authorities with a link", lambda status: status.authorities_connected),
    _Gauge("aitbc_ready", "1 if clients can rely on the node", lambda status: status.ready),
    _Gauge("aitbc_syncing", "1 while it fetches final blocks that it lacks", lambda status: status.syncing),
)


class _NodeCollector(Collector):
    """Reads the gauges at the moment of the question."""

    def __init__(self, status: Callable[[], NodeStatus], peers: Callable[[], int]) -> None:
        self._status = status
        self._peers = peers

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        for gauge in _GAUGES:
            yield GaugeMetricFamily(gauge.name, gauge.help, int(gauge.read(status)))
        yield GaugeMetricFamily("aitbc_peers", "Links to other nodes", self._peers())


class Metrics:
    """The node's registry and what is fed into it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        self._finalisation = Histogram(
            "aitbc_finalisation_seconds",
            "From the block time of a block to when it was final here",
            buckets=_FINALISATION_BUCKETS,
            registry=self.registry,
        )
        self._blocks = Counter("aitbc_blocks", "Blocks that became final here", registry=self.registry)
        self._transactions = Counter(
            "aitbc_transactions", "Transactions that became final here", ["outcome"], registry=self.registry
        )
        self._rpc = Histogram(
            "aitbc_rpc_seconds", "Time to answer a request", ["method"], buckets=_RPC_BUCKETS, registry=self.registry
        )
        self._rpc_errors = Counter(
            "aitbc_rpc_errors", "Requests that were answered with an error", ["method", "code"], registry=self.registry
        )

    def watch(self, status: Callable[[], NodeStatus], peers: Callable[[], int]) -> None:
        """Take the gauges from these; called once, when the node is composed."""
        self.registry.register(_NodeCollector(status, peers))

    def block_final(self, block_time_ms: int, wall_ms: int, succeeded: int, failed: int) -> None:
        """A block became final at this wall-clock time, with so many transactions that succeeded and failed."""
        self._finalisation.observe(max(0, wall_ms - block_time_ms) / 1_000)
        self._blocks.inc()
        if succeeded:
            self._transactions.labels("succeeded").inc(succeeded)
        if failed:
            self._transactions.labels("failed").inc(failed)

    def rpc_answered(self, method: str, seconds: float, error_code: int | None = None) -> None:
        """A request was answered; `method` must be a known one, or a fixed word, for its values are kept for ever."""
        self._rpc.labels(method).observe(seconds)
        if error_code is not None:
            self._rpc_errors.labels(method, str(error_code)).inc()

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
