"""What a node's keys say for their operator to submit: who it is, and that it is ready to join the authorities.

Both are JSON on standard output. The ledger takes the word of a candidate for a few epochs only, so its epoch is asked
of the running node, which at the same time shows that there is one and that it has caught up.
"""

import http.client
import json
from typing import Any

from chain.authorities import ready_bytes
from chain.crypto import bls
from chain.crypto.address import format_address, parse_address
from chain.crypto.ed25519 import PrivateKey
from chain.errors import LedgerError
from genesis.specification import Specification
from node.config import NodeFiles
from node.keys import read_secret

ASKING_SECONDS = 10.0
MAXIMUM_ANSWER_BYTES = 1 << 20


class NodeNotReady(LedgerError):
    code = 2306
    hint = "Start the node, let it catch up, and try again; or give --epoch, if it runs on another machine."


def identity(files: NodeFiles, prefix: str, operator: str) -> dict[str, str]:
    """What a measure that adds this node to the authorities names.

    Raises KeyFileUnusable, or the errors of an address of another network.
    """
    node_key, secret = _secrets(files)
    return {
        "operator": format_address(prefix, parse_address(prefix, operator)),
        "node_key": node_key.public_key.hex(),
        "bls_key": bls.public_key(secret).hex(),
        "proof_of_possession": bls.prove_possession(secret).hex(),
    }


def readiness(files: NodeFiles, specification: Specification, operator: str, epoch: int) -> dict[str, Any]:
    """What the operator submits: both keys' signatures that the node runs in this epoch. Raises as `identity`."""
    node_key, secret = _secrets(files)
    account = parse_address(specification.prefix, operator)
    public = bls.public_key(secret)
    message = ready_bytes(specification.chain_id, account, epoch, node_key.public_key, public)
    return {
        "operator": format_address(specification.prefix, account),
        "epoch": epoch,
        "node_signature": node_key.sign(message).hex(),
        "bls_signature": bls.sign(secret, message).hex(),
    }


def present_epoch(address: tuple[str, int], chain_id: str) -> int:
    """The epoch in which a running node is. Raises NodeNotReady unless it runs, on this chain, and has caught up."""
    status = _ask(address, "node.status")
    if status["chain_id"] != chain_id:
        raise NodeNotReady(reason="the node that answers is of another chain", chain_id=status["chain_id"])
    if status["syncing"]:
        raise NodeNotReady(reason="the node is catching up", height=status["height"], target=status["target_height"])
    return int(status["epoch"])


def _ask(address: tuple[str, int], method: str) -> dict[str, Any]:
    host, port = address
    connection = http.client.HTTPConnection(host, port, timeout=ASKING_SECONDS)
    try:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}})
        connection.request("POST", "/rpc", body, {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read(MAXIMUM_ANSWER_BYTES))["result"]
        return answer
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise NodeNotReady(reason="the node does not answer", host=host, port=port) from error
    finally:
        connection.close()


def _secrets(files: NodeFiles) -> tuple[PrivateKey, bytes]:
    """The node key and the BLS secret."""
    if files.bls_key is None:
        raise ValueError("a node without a BLS key is no authority")
    return PrivateKey(read_secret(files.node_key)), read_secret(files.bls_key)
