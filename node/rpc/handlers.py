"""How a function over one look at the state becomes a handler: quick ones run at once, long ones aside.

A namespace module lists its methods as `quick(function)` or `aside(function)`; the function takes the look and the
typed parameters and returns the typed result, so that it can be read and tested without anything of RPC.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

import msgspec

from chain.interface import INVALID_PARAMS
from node.rpc.context import Read, RpcContext
from node.rpc.errors import ProtocolFault

P = TypeVar("P")

_encode = msgspec.json.Encoder().encode


def quick(function: Callable[[Read, P], Any]) -> Callable[[RpcContext, P], Any]:
    """A handler that reads a few keys: it runs on the event loop, where it may ask the mempool as well."""

    def handler(context: RpcContext, params: P) -> Any:
        return function(context.read(), params)

    return handler


def aside(
    function: Callable[[Read, P], Any], kind: Callable[[P], Hashable] | None = None
) -> Callable[[RpcContext, P], Any]:
    """A handler that scans, proves or decodes much: it runs, and its result is encoded, on a reading thread.

    Reads of one kind wait for each other: those of one method, or of one `kind` among them.
    """

    def work(params: P, read: Read) -> msgspec.Raw:
        return msgspec.Raw(_encode(function(read, params)))

    def handler(context: RpcContext, params: P) -> Any:
        return context.read_aside((function, kind and kind(params)), partial(work, params))

    return handler


def exactly_one(**choices: object) -> None:
    """Raise ProtocolFault (invalid params) unless one of these parameters, and no more, is given."""
    if sum(value is not None for value in choices.values()) != 1:
        raise ProtocolFault(INVALID_PARAMS, "Expected exactly one of " + ", ".join(choices))
