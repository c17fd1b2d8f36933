"""The errors that the interface adds to the ledger's, and how every error is shown to a client."""

from typing import Any

from chain.errors import LedgerError
from chain.interface import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, ErrorView
from chain.result import error_data_to_json


class RequestTooLarge(LedgerError):
    code = 2401
    hint = "Send less at a time: a request has at most 1 MB."


class BatchTooLarge(LedgerError):
    code = 2402
    hint = "Split the batch: it has at most 100 requests."


class ResponseTooLarge(LedgerError):
    code = 2403
    hint = "Ask for less at a time: a smaller page, or a block without details."


class NodeBusy(LedgerError):
    code = 2404
    hint = "The node has as much to do as it takes; try again soon."


class RequestTimeout(LedgerError):
    code = 2405
    hint = "The request did not arrive in time."


class ForbiddenHost(LedgerError):
    code = 2406
    hint = "Address the node by its IP address or as localhost."


class ForbiddenOrigin(LedgerError):
    code = 2407
    hint = "This web page may not talk to the node."


class UnsupportedEncoding(LedgerError):
    code = 2408
    hint = "Send the body as it is, without Content-Encoding."


class ScanTooLong(LedgerError):
    code = 2409
    hint = "Too many records match for this order; add a filter."


class InvalidCursor(LedgerError):
    code = 2410
    hint = "Pass the next_cursor of the page before with the same filters, or none."


class TooManyConnections(LedgerError):
    code = 2411
    hint = "Close connections that you do not need."


class ProtocolFault(Exception):
    """A fault with one of JSON-RPC's own codes; `reason` is for the client and bounded."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason[:300]
        super().__init__(code, reason)


_PROTOCOL = {
    PARSE_ERROR: ("Parse error", "parse_error", "The body must be JSON in UTF-8."),
    INVALID_REQUEST: ("Invalid request", "invalid_request", "The request must be a JSON-RPC 2.0 object."),
    METHOD_NOT_FOUND: ("Method not found", "method_not_found", "rpc.discover lists the methods."),
    INVALID_PARAMS: ("Invalid params", "invalid_params", "rpc.discover describes the parameters."),
    INTERNAL_ERROR: ("Internal error", "internal_error", "Tell the node's operator the reference."),
}


def protocol_error(code: int, reason: str = "", **extra: str) -> dict[str, Any]:
    """The error object of a protocol fault."""
    message, name, hint = _PROTOCOL[code]
    data = {"name": name, "hint": hint, **extra}
    if reason:
        data["reason"] = reason[:300]
    return {"code": code, "message": message, "data": data}


def ledger_error(error: LedgerError, prefix: str) -> dict[str, Any]:
    """The error object of a coded error: its code, and in `data` its name, its hint and what helps, all as text.

    Data that is itself called `name` or `hint` is shown as `given_name` or `given_hint`.
    """
    data: dict[str, str] = {"name": error.name, "hint": error.hint}
    for key, value in error_data_to_json(error.data, prefix).items():
        data[f"given_{key}" if key in ("name", "hint") else key] = value
    return {"code": error.code, "message": error.hint or error.name.replace("_", " "), "data": data}


def error_view(error: LedgerError, prefix: str) -> ErrorView:
    """The same error as part of a result."""
    return ErrorView(error.code, error.name, error.hint, error_data_to_json(error.data, prefix))
