"""What every node of a local network says of itself, side by side."""

from typing import Any

import click

from localnet import processes
from localnet.layout import Layout, NodePlace
from wallet.client import NodeClient
from wallet.errors import WalletError

_SHOWN_DIGITS = 8
"""Of each hash, so that a line fits into 80 columns."""


def read_status(layout: Layout) -> list[dict[str, Any]]:
    """One row a node: what the system knows of its process, and what it answers."""
    return [_row(place) for place in layout.nodes()]


def _row(place: NodePlace) -> dict[str, Any]:
    process = processes.remembered(place.pid_file)
    row: dict[str, Any] = {
        "node": place.number,
        "state": "stopped" if process is None else process.state,
        "pid": None if process is None or process.state == "stopped" else process.pid,
        "rpc": place.url,
    }
    if row["state"] != "running":
        return row
    try:
        with NodeClient(place.url, timeout=2) as client:
            status, head = client.call("node.status"), client.call("chain.head")
    except WalletError as error:
        return {**row, "problem": str(error)}
    return {
        **row,
        "role": status.role,
        "height": head.height,
        "hash": head.hash,
        "state_root": head.state_root,
        "ready": status.ready,
        "waiting": status.waiting,
        "pending": status.mempool_size,
    }


def print_status(layout: Layout, rows: list[dict[str, Any]]) -> None:
    """The rows as a table on stdout."""
    header = ("node", "state", "role", "height", "block", "state root", "pid", "rpc")
    lines = [header]
    for row in rows:
        lines.append(
            (
                str(row["node"]),
                row["state"],
                row.get("role", "-"),
                str(row.get("height", "-")),
                row.get("hash", "-")[:_SHOWN_DIGITS],
                row.get("state_root", "-")[:_SHOWN_DIGITS],
                str(row["pid"] or "-"),
                row["rpc"].removeprefix("http://"),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    for row in rows:
        trouble = row.get("problem") or row.get("waiting")
        if trouble:
            click.echo(f"node {row['node']}: {trouble}")
    agent = processes.remembered(layout.agent_pid_file)
    click.echo(f"provider agent: {'stopped' if agent is None else agent.state}")
