"""What an operator decides about a node: a TOML file, with environment variables on top, checked before anything runs.

Everything that the network has in common is in the genesis file and not here. Relative paths are relative to the
file's folder. `AITBC_NODE_RPC_LISTEN` overrides `listen` of `[rpc]`, and so on for every key; keys of `[node]` leave
the section out: `AITBC_NODE_DATA`.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from chain.crypto.ed25519 import PUBLIC_KEY_SIZE
from chain.errors import LedgerError
from node.consensus.timing import Timing
from node.network.config import PeerAddress

ENVIRONMENT_PREFIX = "AITBC_NODE_"
MAXIMUM_PEERS = 256
MAXIMUM_NAMES = 64
MINIMUM_STATES = 100
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
DEFAULT_RPC = ("127.0.0.1", 8081)


class InvalidConfiguration(LedgerError):
    code = 2301
    hint = "Correct the configuration file or the environment variable that is named."


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """`[node]`: where things lie."""

    data: Path
    """Folder of the database and of the signer record."""
    genesis: Path
    node_key: Path
    """Ed25519 seed; who this node is on its links."""
    bls_key: Path | None = None
    """Secret of an authority's votes; None for a follower."""

    @property
    def database(self) -> Path:
        return self.data / "ledger"

    @property
    def signer_record(self) -> Path:
        return self.data / "signer.record"

    @property
    def evidence(self) -> Path:
        """Folder of the proofs that authorities misbehaved."""
        return self.data / "evidence"


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """`[network]`: links to other nodes."""

    listen: tuple[str, int] | None = None
    """Host and port to accept links on; None to only dial."""
    peers: tuple[PeerAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """`[rpc]`: what clients talk to."""

    listen: tuple[str, int] = DEFAULT_RPC
    hosts: tuple[str, ...] = ()
    """Names by which clients may address the node, beside localhost and IP addresses."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may use it."""


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """`[storage]`."""

    keep_states: int = 0
    """Heights whose whole state stays provable, counted back from the head; 0 keeps all of them."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`[log]`."""

    level: str = "info"
    format: str = "text"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A node's whole configuration, checked."""

    node: NodeFiles
    network: NetworkSettings = field(default_factory=NetworkSettings)
    rpc: RpcSettings = field(default_factory=RpcSettings)
    timing: Timing = field(default_factory=Timing)
    """`[consensus]`: local policy, in milliseconds; nodes may differ."""
    storage: StorageSettings = field(default_factory=StorageSettings)
    log: LogSettings = field(default_factory=LogSettings)


def load(path: Path, environment: Mapping[str, str]) -> Configuration:
    """The configuration of a file with the overrides of `environment`. Raises InvalidConfiguration, naming the key."""
    try:
        plain = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidConfiguration(file=str(path), reason=error.strerror or "cannot be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(file=str(path), reason=f"not TOML: {error}") from error
    return parse(plain, path.parent, environment)


def parse(plain: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> Configuration:
    """The configuration of parsed TOML whose paths are relative to `folder`. Raises InvalidConfiguration."""
    unknown = [name for name in plain if name not in _SECTIONS]
    if unknown:
        raise InvalidConfiguration(key=unknown[0], reason="unknown section, expected one of " + ", ".join(_SECTIONS))
    read = {}
    for section, keys in _SECTIONS.items():
        table = plain.get(section, {})
        if not isinstance(table, dict):
            _refuse(section, "expected a table")
        read[section] = _read_section(section, keys, table, environment)
    if read["node"].keys() < {"data", "genesis", "node_key"}:
        missing = next(key for key in ("data", "genesis", "node_key") if key not in read["node"])
        _refuse(f"node.{missing}", "missing")
    files = {key: folder / value for key, value in read["node"].items()}
    try:
        timing = Timing(**read["consensus"])
    except ValueError as error:
        raise InvalidConfiguration(key="consensus", reason=str(error)) from error
    return Configuration(
        node=NodeFiles(**files),
        network=NetworkSettings(**read["network"]),
        rpc=RpcSettings(**read["rpc"]),
        timing=timing,
        storage=StorageSettings(**read["storage"]),
        log=LogSettings(**read["log"]),
    )


def _read_section(
    section: str,
    keys: Mapping[str, Callable[[str, Any], Any]],
    table: Mapping[str, Any],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    unknown = [key for key in table if key not in keys]
    if unknown:
        _refuse(f"{section}.{unknown[0]}", "unknown key, expected one of " + ", ".join(keys))
    values = {key: keys[key](f"{section}.{key}", value) for key, value in table.items()}
    for key, read in keys.items():
        name = variable(section, key)
        if name in environment:
            values[key] = read(name, environment[name])
    return values


def variable(section: str, key: str) -> str:
    """The environment variable that overrides a key."""
    return ENVIRONMENT_PREFIX + (key if section == "node" else f"{section}_{key}").upper()


def _refuse(key: str, reason: str) -> NoReturn:
    raise InvalidConfiguration(key=key, reason=reason)


def _path(key: str, value: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        _refuse(key, "expected a path")
    return Path(value).expanduser()


def _milliseconds(key: str, value: Any) -> int:
    number = _number(value)
    if number is None or number > 86_400_000:
        _refuse(key, "expected whole milliseconds, at most a day")
    return number


def _heights(key: str, value: Any) -> int:
    number = _number(value)
    if number is None or 0 < number < MINIMUM_STATES:
        _refuse(key, f"expected 0 to keep all, or a number of heights from {MINIMUM_STATES}")
    return number


def _number(value: Any) -> int | None:
    """A number from 0, also as digits from the environment; None if it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _choice(*choices: str) -> Callable[[str, Any], str]:
    def read(key: str, value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in choices:
            _refuse(key, "expected one of " + ", ".join(choices))
        return value.lower()

    return read


def _address(key: str, value: Any) -> tuple[str, int]:
    """`host:port`, with brackets around an IPv6 host."""
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not host:
        _refuse(key, "expected host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        _refuse(key, "an IPv6 host stands in brackets")
    return host, _port(key, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else port, 0)


def _port(key: str, value: Any, minimum: int) -> int:
    if type(value) is not int or not minimum <= value <= 65_535:
        _refuse(key, f"expected a port from {minimum} to 65535")
    return value


def _names(key: str, value: Any) -> tuple[str, ...]:
    """A list of texts; or, from the environment, separated by commas."""
    items = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > MAXIMUM_NAMES:
        _refuse(key, f"expected a list of at most {MAXIMUM_NAMES} names")
    if not all(isinstance(item, str) and item for item in items):
        _refuse(key, "expected names")
    return tuple(items)


def _peers(key: str, value: Any) -> tuple[PeerAddress, ...]:
    """Tables of key, host and port; or, from the environment, `key@host:port` separated by commas."""
    items: list[Any] = [item for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > MAXIMUM_PEERS:
        _refuse(key, f"expected a list of at most {MAXIMUM_PEERS} peers")
    peers = tuple(_peer(f"{key}[{index}]", item) for index, item in enumerate(items))
    if len({peer.key for peer in peers}) != len(peers):
        _refuse(key, "a node key is listed twice")
    return peers


def _peer(key: str, item: Any) -> PeerAddress:
    if isinstance(item, str):
        node_key, at, address = item.strip().partition("@")
        if not at:
            _refuse(key, "expected key@host:port")
        host, port = _address(key, address)
        item = {"key": node_key, "host": host, "port": port}
    if not isinstance(item, dict) or set(item) != {"key", "host", "port"}:
        _refuse(key, "expected key, host and port")
    if not isinstance(item["host"], str) or not item["host"]:
        _refuse(f"{key}.host", "expected a host name or an address")
    return PeerAddress(_node_key(f"{key}.key", item["key"]), item["host"], _port(f"{key}.port", item["port"], 1))


def _node_key(key: str, value: Any) -> bytes:
    try:
        decoded = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        decoded = b""
    if len(decoded) != PUBLIC_KEY_SIZE:
        _refuse(key, f"expected {PUBLIC_KEY_SIZE} bytes in hexadecimal")
    return decoded


_SECTIONS: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    "node": {"data": _path, "genesis": _path, "node_key": _path, "bls_key": _path},
    "network": {"listen": _address, "peers": _peers},
    "rpc": {"listen": _address, "hosts": _names, "origins": _names},
    "consensus": {item.name: _milliseconds for item in fields(Timing)},
    "storage": {"keep_states": _heights},
    "log": {"level": _choice(*LOG_LEVELS), "format": _choice(*LOG_FORMATS)},
}
