"""What supervisors and load balancers ask: alive, ready, and if not, why."""

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from node.status import NodeStatus

METRICS_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def readiness(status: NodeStatus) -> tuple[int, str]:
    """HTTP status and text of /readyz: 200, or 503 with one reason a line."""
    if status.ready:
        return 200, "ready\n"
    return 503, "".join(f"{reason}\n" for reason in status.not_ready)
