"""Makes a local network and runs its nodes: keys, genesis, configuration, processes, readiness."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chain.certificate import Authority
from chain.errors import LedgerError
from chain.parameters import Parameters
from chain.record import encode_record
from genesis.networks import DEVNET, changed
from genesis.specification import Allocation, Specification, to_file
from localnet import processes
from localnet.layout import PUBLISHED_WALLETS, Layout, NodePlace
from wallet.keystore import Keystore
from wallet.mnemonic import generate_mnemonic
from wallet.wallet_file import CHEAPEST_COST, Kind

READY_SECONDS = 30.0
_POLL_SECONDS = 0.05
OPERATOR_STAKE = 1_000 * 10**9
"""What each authority's operator has at stake, base units."""
OPERATOR_BALANCE = 100 * 10**9
"""What it has to spend, for the fees and deposits of proposals and votes."""

IDLE_SECONDS = 2.0
"""A block follows the one before after this long at the latest."""

_DELTA_MS = 500


class LocalnetError(Exception):
    """What went wrong, in a sentence, and what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def command(name: str, *arguments: str) -> list[str]:
    """A command of this installation, whatever PATH says."""
    return [str(Path(sys.executable).parent / name), *arguments]


def require_free_ports(places: Sequence[NodePlace]) -> None:
    """Refuse, naming the port, if something listens where a node is to."""
    for place in places:
        for port in (place.rpc_port, place.peer_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise LocalnetError(
                        f"Port {port} of 127.0.0.1, which {place.name} needs, is in use.",
                        f"Choose others, for example: ./localnet/start --base-port {place.rpc_port + 100}",
                    ) from error


def other_parameters(assignments: Sequence[str]) -> Parameters:
    """The parameters of a local network with some numbers changed. Raises LocalnetError."""
    try:
        parameters = changed(DEVNET.parameters, assignments)
        encode_record(parameters)
        parameters.check()
    except LedgerError as error:
        reason = str(error.data.get("reason", error.name))
        raise LocalnetError(f"A network cannot have these parameters: {reason}.", "Choose other numbers.") from error
    except ValueError as error:
        problem, _, hint = str(error).partition(". ")
        raise LocalnetError(f"{problem}.", hint) from error
    return parameters


def create(
    layout: Layout,
    authorities: int,
    followers: int,
    base_port: int,
    parameters: Parameters = DEVNET.parameters,
    idle_seconds: float = IDLE_SECONDS,
) -> list[NodePlace]:
    """Make a network: keys, wallets, genesis, configuration and databases. Followers come after the authorities.

    A follower, too, has the keys of an authority and an operator, so that it can be voted in.
    """
    places = [layout.place(number, base_port) for number in range(1, authorities + followers + 1)]
    require_free_ports(places)
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.marker.touch()
    keystore = Keystore(layout.wallets, cost=CHEAPEST_COST)
    allocations = _published_wallets(keystore)
    members: list[Authority] = []
    node_keys: dict[int, str] = {}
    for place in places:
        place.folder.mkdir(parents=True)
        public = json.loads(_run(command("aitbc-node", "keygen", str(place.folder))))
        node_keys[place.number] = public["node_key"]
        authority = _authority(place, public, keystore)
        if place.number <= authorities:
            members.append(authority)
        staked = OPERATOR_STAKE if place.number <= authorities else 0
        allocations.append(Allocation(authority.operator, OPERATOR_BALANCE, staked))
    keystore.switch("client")
    specification = Specification(
        name=DEVNET.name,
        prefix=DEVNET.prefix,
        time_ms=time.time_ns() // 1_000_000,
        parameters=parameters,
        authorities=tuple(members),
        allocations=tuple(allocations),
    )
    specification.check()
    layout.genesis.write_text(to_file(specification))
    for place in places:
        # Everybody dials the authorities; they are told apart by their keys, not by their addresses.
        others = [other for other in places[:authorities] if other != place]
        _write_config(layout, place, [(other, node_keys[other.number]) for other in others], idle_seconds)
        _run(command("aitbc-node", "init", "--config", str(place.config)))
    layout.write_nodes(places)
    return places


def _published_wallets(keystore: Keystore) -> list[Allocation]:
    allocations = []
    for published in PUBLISHED_WALLETS:
        wallet = keystore.create(
            published.name, Kind.HD, published.words, prefix=DEVNET.prefix, allow_empty_passphrase=True
        )
        allocations.append(Allocation(wallet.address, published.balance))
    return allocations


def _authority(place: NodePlace, public: dict[str, str], keystore: Keystore) -> Authority:
    """The authority of a node whose keys were just made; its operator's wallet is kept beside the others."""
    operator = keystore.create(
        f"operator-{place.number}", Kind.HD, generate_mnemonic(), prefix=DEVNET.prefix, allow_empty_passphrase=True
    )
    return Authority(
        operator=operator.address,
        node_key=bytes.fromhex(public["node_key"]),
        bls_key=bytes.fromhex(public["bls_key"]),
        proof_of_possession=bytes.fromhex(public["proof_of_possession"]),
    )


def _write_config(
    layout: Layout, place: NodePlace, others: Sequence[tuple[NodePlace, str]], idle_seconds: float
) -> None:
    lines = ["[node]", 'data = "data"', f"genesis = {json.dumps(str(layout.genesis))}"]
    lines += ['node_key = "node.key"', 'bls_key = "bls.key"']
    lines += ["", "[network]", f'listen = "127.0.0.1:{place.peer_port}"']
    for other, key in others:
        lines += ["", "[[network.peers]]", f'key = "{key}"', 'host = "127.0.0.1"', f"port = {other.peer_port}"]
    lines += ["", "[rpc]", f'listen = "127.0.0.1:{place.rpc_port}"', "", "[consensus]"]
    lines += [f"delta_ms = {_DELTA_MS}", f"idle_interval_ms = {round(idle_seconds * 1_000)}"]
    place.config.write_text("\n".join(lines) + "\n")


def _run(arguments: Sequence[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LocalnetError(
            f"`{Path(arguments[0]).name} {arguments[1]}` failed: {done.stderr.strip()[-500:]}",
            "See the message above; ./localnet/stop --reset starts from nothing.",
        )
    return done.stdout


def start_node(place: NodePlace) -> None:
    """Start a node in the background, unless it runs."""
    if not processes.is_running(place.pid_file):
        processes.start(
            command("aitbc-node", "run", "--config", str(place.config)), pid_file=place.pid_file, log=place.log
        )


def node_process(place: NodePlace) -> processes.Process:
    """The node's process. Raises LocalnetError if it does not run."""
    process = processes.remembered(place.pid_file)
    if process is None or process.state == "stopped":
        raise LocalnetError(
            f"{place.name.capitalize()} is not running.",
            f"Start it with: aitbc localnet restart {place.number}",
        )
    return process


def readiness(place: NodePlace) -> tuple[bool, str]:
    """(whether the node is ready, why not)."""
    connection = http.client.HTTPConnection("127.0.0.1", place.rpc_port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        text = response.read(4_096).decode("utf-8", "replace").strip()
        return response.status == http.HTTPStatus.OK, text
    except OSError:
        return False, "no answer"
    finally:
        connection.close()


def wait_ready(places: Sequence[NodePlace], seconds: float = READY_SECONDS) -> None:
    """Wait until every node is ready. Raises LocalnetError with the end of the log of one that is not."""
    end = time.monotonic() + seconds
    for place in places:
        while True:
            ready, reason = readiness(place)
            if ready:
                break
            if not processes.is_running(place.pid_file):
                raise LocalnetError(
                    f"{place.name.capitalize()} has stopped:\n{log_tail(place.log)}", f"Log: {place.log}"
                )
            if time.monotonic() >= end:
                raise LocalnetError(f"{place.name.capitalize()} is not ready: {reason}.", f"Log: {place.log}")
            time.sleep(_POLL_SECONDS)


def log_tail(log: Path, lines: int = 15) -> str:
    """The end of a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1_024))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def stop_all(layout: Layout) -> int:
    """Stop the agent and every node; returns how many processes ended."""
    files = [layout.agent_pid_file, *(place.pid_file for place in layout.nodes())]
    running = [process for file in files if (process := processes.remembered(file)) and process.state != "stopped"]
    for process in running:
        process.signal(signal.SIGCONT)
        process.signal(signal.SIGTERM)
    for process in running:
        process.stop()
    return len(running)


def remove(layout: Layout) -> None:
    """Delete the network and everything on it; its processes must have been stopped.

    Raises LocalnetError, and deletes nothing, if the folder holds something that was not made here.
    """
    if not layout.root.exists() or not any(layout.root.iterdir()):
        return
    if not layout.marker.exists():
        raise LocalnetError(
            f"{layout.root} is not empty and holds no local network.",
            "Name another folder in AITBC_LOCALNET_DIR, or empty this one yourself.",
        )
    shutil.rmtree(layout.root)
