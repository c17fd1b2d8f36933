"""All methods of all namespaces: one line per module."""

from node.rpc import (
    account,
    booking,
    chain,
    dispute,
    governance,
    gpu,
    job,
    market,
    multisig,
    node,
    openrpc,
    proof,
    reputation,
    request,
    review,
    stake,
    statement,
    tx,
)
from node.rpc.dispatch import Handler

_MODULES = (
    chain,
    tx,
    account,
    statement,
    gpu,
    booking,
    market,
    reputation,
    request,
    job,
    review,
    dispute,
    stake,
    multisig,
    governance,
    node,
    proof,
    openrpc,
)

HANDLERS: dict[str, Handler] = {name: handler for module in _MODULES for name, handler in module.HANDLERS.items()}
"""By method name; the dispatcher checks that they are exactly those of the interface."""
