"""Tells a service manager what the node does, by systemd's protocol sd_notify(3); silent without one."""

import os
import socket


def notify(state: str) -> None:
    """Send one state, `READY=1` or `STOPPING=1`, if a manager listens. A manager that is gone changes nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            return
