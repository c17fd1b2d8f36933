"""The node's configuration: what is accepted, what overrides what, and that every refusal names the key at fault."""

from pathlib import Path
from typing import Any

import pytest

from node.config import Configuration, InvalidConfiguration, load, parse, variable
from node.consensus.timing import Timing
from node.network.config import PeerAddress

KEY_1, KEY_2 = "11" * 32, "22" * 32
MINIMAL = {"node": {"data": "data", "genesis": "../genesis.json", "node_key": "node.key"}}
FULL = f"""
[node]
data = "data"
genesis = "/etc/aitbc/genesis.json"
node_key = "node.key"
bls_key = "bls.key"

[network]
listen = "0.0.0.0:7081"

[[network.peers]]
key = "{KEY_1}"
host = "authority.example"
port = 7082

[rpc]
listen = "[::1]:8081"
hosts = ["node.example"]

[consensus]
delta_ms = 300
idle_interval_ms = 2000

[storage]
keep_states = 1000

[log]
level = "WARNING"
format = "json"
"""


def changed(section: str, **keys: Any) -> dict[str, Any]:
    return {**MINIMAL, section: {**MINIMAL.get(section, {}), **keys}}


def test_a_full_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(FULL)
    configuration = load(file, {})
    assert configuration.node.data == tmp_path / "data"
    assert configuration.node.genesis == Path("/etc/aitbc/genesis.json")
    assert configuration.node.bls_key == tmp_path / "bls.key"
    assert configuration.network.listen == ("0.0.0.0", 7081)
    assert configuration.network.peers == (PeerAddress(bytes.fromhex(KEY_1), "authority.example", 7082),)
    assert configuration.rpc.listen == ("::1", 8081)
    assert (configuration.rpc.hosts, configuration.rpc.origins) == (("node.example",), ())
    assert configuration.timing == Timing(delta_ms=300, idle_interval_ms=2_000)
    assert configuration.storage.keep_states == 1_000
    assert (configuration.log.level, configuration.log.format) == ("warning", "json")


def test_what_is_left_out_has_a_default() -> None:
    configuration = parse(MINIMAL, Path("/node"), {})
    assert configuration == Configuration(configuration.node)
    assert configuration.node.bls_key is None
    assert configuration.network.listen is None
    assert configuration.rpc.listen == ("127.0.0.1", 8081)


def test_the_environment_overrides_the_file() -> None:
    environment = {
        "AITBC_NODE_DATA": "/elsewhere",
        "AITBC_NODE_NETWORK_LISTEN": "127.0.0.1:1",
        "AITBC_NODE_NETWORK_PEERS": f"{KEY_1}@a:1, {KEY_2}@[::1]:2,",
        "AITBC_NODE_RPC_LISTEN": "127.0.0.1:2",
        "AITBC_NODE_RPC_ORIGINS": "https://a.example, https://b.example",
        "AITBC_NODE_CONSENSUS_DELTA_MS": "250",
        "AITBC_NODE_LOG_LEVEL": "debug",
        "AITBC_NODE_URL": "http://not.ours",
    }
    configuration = parse(changed("consensus", delta_ms=1, precision_ms=7), Path("/node"), environment)
    assert configuration.node.data == Path("/elsewhere")
    assert configuration.node.genesis == Path("/node/../genesis.json")
    assert configuration.network.listen == ("127.0.0.1", 1)
    assert [(peer.host, peer.port) for peer in configuration.network.peers] == [("a", 1), ("::1", 2)]
    assert configuration.rpc.listen == ("127.0.0.1", 2)
    assert configuration.rpc.origins == ("https://a.example", "https://b.example")
    assert configuration.timing == Timing(delta_ms=250, precision_ms=7)
    assert configuration.log.level == "debug"


@pytest.mark.parametrize(
    ("plain", "key"),
    [
        ({}, "node.data"),
        ({"node": {"data": "d", "genesis": "g"}}, "node.node_key"),
        ({"node": 3}, "node"),
        ({**MINIMAL, "nodes": {}}, "nodes"),
        (changed("node", colour="red"), "node.colour"),
        (changed("node", data=""), "node.data"),
        (changed("node", data=7), "node.data"),
        (changed("network", listen="7081"), "network.listen"),
        (changed("network", listen="host:"), "network.listen"),
        (changed("network", listen="host:65536"), "network.listen"),
        (changed("network", listen="host:٣"), "network.listen"),
        (changed("network", listen="::1:80"), "network.listen"),
        (changed("network", peers=[{"key": KEY_1, "host": "a"}]), "network.peers[0]"),
        (changed("network", peers=[{"key": "11", "host": "a", "port": 1}]), "network.peers[0].key"),
        (changed("network", peers=[{"key": KEY_1, "host": "a", "port": 0}]), "network.peers[0].port"),
        (changed("network", peers=[{"key": KEY_1, "host": "", "port": 1}]), "network.peers[0].host"),
        (changed("network", peers=[{"key": KEY_1, "host": "a", "port": 1}] * 2), "network.peers"),
        (changed("network", peers={"key": KEY_1}), "network.peers"),
        (changed("rpc", hosts=["a", 1]), "rpc.hosts"),
        (changed("rpc", origins={}), "rpc.origins"),
        (changed("consensus", delta_ms=0), "consensus"),
        (changed("consensus", delta_ms=-1), "consensus.delta_ms"),
        (changed("consensus", delta_ms=1.5), "consensus.delta_ms"),
        (changed("consensus", delta_ms=True), "consensus.delta_ms"),
        (changed("storage", keep_states=-1), "storage.keep_states"),
        (changed("storage", keep_states=99), "storage.keep_states"),
        (changed("log", level="loud"), "log.level"),
        (changed("log", format="xml"), "log.format"),
    ],
)
def test_a_refusal_names_the_key(plain: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidConfiguration) as refusal:
        parse(plain, Path("/node"), {})
    assert refusal.value.data["key"] == key


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AITBC_NODE_CONSENSUS_DELTA_MS", "fast"),
        ("AITBC_NODE_CONSENSUS_DELTA_MS", "9999999999999"),
        ("AITBC_NODE_NETWORK_LISTEN", "nowhere"),
        ("AITBC_NODE_LOG_FORMAT", ""),
    ],
)
def test_a_refusal_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidConfiguration) as refusal:
        parse(MINIMAL, Path("/node"), {name: value})
    assert refusal.value.data["key"] == name


def test_a_bad_peer_of_the_environment_is_named() -> None:
    with pytest.raises(InvalidConfiguration) as refusal:
        parse(MINIMAL, Path("/node"), {"AITBC_NODE_NETWORK_PEERS": f"{KEY_1}@a:1,{KEY_2}"})
    assert refusal.value.data["key"] == "AITBC_NODE_NETWORK_PEERS[1]"


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="No such file"):
        load(tmp_path / "node.toml", {})
    (tmp_path / "node.toml").write_bytes(b"[node\xff")
    with pytest.raises(InvalidConfiguration, match="not TOML"):
        load(tmp_path / "node.toml", {})


def test_names_of_variables() -> None:
    assert variable("node", "bls_key") == "AITBC_NODE_BLS_KEY"
    assert variable("rpc", "listen") == "AITBC_NODE_RPC_LISTEN"
