"""Who may talk to the node: Host and Origin of a request.

A web page anywhere can make a browser send requests to localhost. Its origin gives it away, and where a page has its
own name point at this machine (DNS rebinding), the name in Host does. So names are refused unless they are localhost
or configured, addresses are let in, and origins are refused unless they are configured or the node's own.
"""

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from node.rpc.errors import ForbiddenHost, ForbiddenOrigin


class Access:
    """The rules of one server."""

    def __init__(self, hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        """`hosts` are further names of this machine, `origins` are those of web pages that may use the node."""
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def check(self, host: str | None, origin: str | None) -> None:
        """Raise ForbiddenHost or ForbiddenOrigin for a request with these headers."""
        name = _host_name(host or "")
        if name not in self._hosts and not _is_address(name):
            raise ForbiddenHost(host=(host or "")[:100])
        if origin is not None and not self.allows_origin(host or "", origin):
            raise ForbiddenOrigin(origin=origin[:100])

    def allows_origin(self, host: str, origin: str) -> bool:
        """Whether pages of this origin may use the node that they address as `host`."""
        return origin.lower() in self._origins or origin.lower() in (
            f"http://{host.lower()}",
            f"https://{host.lower()}",
        )


def _host_name(host: str) -> str:
    """The name or address in a Host header; empty if it is malformed."""
    if "@" in host or "/" in host:
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
