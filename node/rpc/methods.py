"""All methods of all namespaces: one line per module."""

from node.rpc import (
    account,
    booking,
    chain,
    dispute,
    gpu,
    job,
    multisig,
    node,
    openrpc,
    proof,
    request,
    review,
    stake,
    tx,
)
from node.rpc.dispatch import Handler

_MODULES = (chain, tx, account, gpu, booking, request, job, review, dispute, stake, multisig, node, proof, openrpc)

HANDLERS: dict[str, Handler] = {name: handler for module in _MODULES for name, handler in module.HANDLERS.items()}
"""By method name; the dispatcher checks that they are exactly those of the interface."""
