"""What can go wrong on the command line, and how any error becomes an exit code, a message and a hint.

Errors of the ledger, the wallet and the node keep their own codes and names; the command adds those of its own (40xx).
Nothing else ever reaches a person: an unexpected exception becomes `internal_error`, its trace only with --debug.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import click

DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
LOCKED = 4
REJECTED = 5
PENDING = 6
INTERRUPTED = 130

_AMOUNTS = frozenset(("needed", "available", "offered", "cost", "max_cost", "rate", "most_expensive", "balance"))
"""Data of errors that are base units, unless the error counts something else."""
_NOT_MONEY = frozenset(
    ("execution_weight_too_low", "measure_impossible", "not_authorized", "wrong_booking_status", "wrong_job_status")
)
_LOCKED_NAMES = frozenset(
    (
        "wrong_passphrase",
        "passphrase_required",
        "wallet_locked",
        "tampered_wallet",
        "watch_only_wallet",
        "wrong_wallet",
        "insecure_permissions",
        "cannot_open_seal",
    )
)
_USAGE_NAMES = frozenset(
    (
        "invalid_address",
        "wrong_network_address",
        "invalid_field",
        "invalid_params",
        "invalid_wallet_name",
        "invalid_mnemonic",
        "invalid_secret",
        "invalid_derivation_path",
        "invalid_passphrase",
        "malformed_encoding",
        "unknown_action",
        "unreadable_transaction_file",
    )
)


_FIRST_OF_NODE = 1_900
"""Codes from here on are no refusals of an action."""
_NOT_REFUSALS = frozenset(("not_found", "invalid_proof"))


class CliError(Exception):
    """An error of the command itself. `message` says what happened, `hint` what to do about it."""

    code: ClassVar[int] = 4000
    name: ClassVar[str] = "command_failed"
    exit_code: ClassVar[int] = FAILED

    def __init__(self, message: str, hint: str, /, **details: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class ConfirmationNeeded(CliError):
    """Nobody is there to say yes."""

    code = 4002
    name = "confirmation_needed"
    exit_code = USAGE


class Declined(CliError):
    """The person said no."""

    code = 4012
    name = "declined"


class PassphraseNeeded(CliError):
    """The wallet is locked and nobody is there to type its passphrase."""

    code = 4003
    name = "passphrase_needed"
    exit_code = LOCKED


class AmbiguousId(CliError):
    """What was given fits several things."""

    code = 4004
    name = "ambiguous_id"
    exit_code = USAGE


class NothingFound(CliError):
    """What was given fits nothing."""

    code = 4005
    name = "nothing_found"


class BadInput(CliError):
    """An argument or a file that cannot be what it should be."""

    code = 4006
    name = "bad_input"
    exit_code = USAGE


class Refused(CliError):
    """The ledger refuses a transaction: before it was sent, or after; code and name are the ledger's own."""

    exit_code = REJECTED

    def __init__(self, message: str, hint: str, code: int, name: str, details: dict[str, str]) -> None:
        super().__init__(f"{message}: {explain(name, details)}.", hint, **details)
        self.rejection_code = code
        self.rejection = name


class StillWaiting(CliError):
    """A transaction is not final in time."""

    code = 3104
    name = "still_pending"
    exit_code = PENDING


class ProofRefused(CliError):
    """A proof does not show what it claims."""

    code = 4009
    name = "proof_refused"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is shown."""

    exit_code: int
    code: int
    name: str
    message: str
    hint: str
    details: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = {"code": self.code, "name": self.name, "message": self.message, "hint": self.hint}
        return {**plain, "data": self.details} if self.details else plain


def classify(error: BaseException) -> Failure:
    """How an exception is shown, and with which code the command ends."""
    if isinstance(error, Refused):
        return Failure(error.exit_code, error.rejection_code, error.rejection, error.message, error.hint, error.details)
    if isinstance(error, CliError):
        return Failure(error.exit_code, error.code, error.name, error.message, error.hint, error.details)
    if isinstance(error, click.ClickException):
        return _of_click(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort, EOFError)):
        hint = "A transaction that was sent stays sent; `aitbc wallet history` shows it."
        return Failure(INTERRUPTED, 4007, "interrupted", "Interrupted.", hint)
    known = _of_wallet(error) or _of_ledger(error)
    if known is not None:
        return known
    if isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else (error.strerror or "the system refused")
        return Failure(FAILED, 4010, "system_error", f"{text}.", "Check the path and its permissions.")
    reason = f"Something unexpected happened: {type(error).__name__}."
    return Failure(FAILED, 4999, "internal_error", reason, "Run it again with --debug to see where, and report it.")


def _of_click(error: click.ClickException) -> Failure:
    if isinstance(error, click.FileError):
        return Failure(USAGE, 4006, "bad_input", error.format_message(), "Check the path and its permissions.")
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        path = _path(error)
        return Failure(USAGE, 4001, "usage", "A command is missing.", f"`{path} --help` lists the commands.")
    path = _path(error)
    return Failure(USAGE, 4001, "usage", _sentence(error.format_message()), f"`{path} --help` shows how it is used.")


def _path(error: click.ClickException) -> str:
    """The command that was being read when the error occurred."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return "aitbc" if context is None else context.command_path


def _of_wallet(error: BaseException) -> Failure | None:
    from wallet.errors import WalletError

    if not isinstance(error, WalletError):
        return None
    from wallet.client import NodeUnreachable, RpcError
    from wallet.transactions import TransactionRejected

    if isinstance(error, NodeUnreachable):
        return Failure(UNREACHABLE, error.code, error.name, error.message, error.hint)
    if isinstance(error, TransactionRejected):
        message = f"The transaction was rejected: {explain(error.rejection, error.details)}."
        details = {**error.details, "txid": error.txid}
        return Failure(REJECTED, error.rejection_code, error.rejection, message, error.hint, details)
    if isinstance(error, RpcError):
        details = {key: str(value) for key, value in error.details.items()}
        exit_code = USAGE if error.rpc_name in _USAGE_NAMES else _of_rpc_code(error.rpc_code, error.rpc_name)
        message = f"The node refused: {explain(error.rpc_name, details)}."
        if error.rpc_name == "invalid_params":
            # Its own hint is for those who write programs.
            return Failure(
                exit_code, error.rpc_code, error.rpc_name, message, "See `--help` for what each option takes.", details
            )
        return Failure(exit_code, error.rpc_code, error.rpc_name, message, error.hint or error.message, details)
    exit_code = LOCKED if error.name in _LOCKED_NAMES else USAGE if error.name in _USAGE_NAMES else FAILED
    return Failure(exit_code, error.code, error.name, error.message, error.hint or "See `aitbc --help`.")


def _of_rpc_code(code: int, name: str) -> int:
    """What the ledger says to a question, such as that a booking would conflict, it would say to the transaction."""
    return REJECTED if 0 < code < _FIRST_OF_NODE and name not in _NOT_REFUSALS else FAILED


def _of_ledger(error: BaseException) -> Failure | None:
    from chain.errors import LedgerError

    if not isinstance(error, LedgerError):
        return None
    details = {key: value.hex() if isinstance(value, bytes) else str(value) for key, value in error.data.items()}
    exit_code = USAGE if error.name in _USAGE_NAMES else FAILED
    return Failure(
        exit_code,
        error.code,
        error.name,
        f"{_sentence(explain(error.name, details))}",
        error.hint or "See `aitbc --help`.",
        details,
    )


def explain(name: str, details: dict[str, str]) -> str:
    """The name of an error with its data in human units: `insufficient_funds (needed 2 AITBC, available 1 AITBC)`."""
    if name == "invalid_field" and details.get("field"):
        return f"{details['field'].replace('_', ' ')}: {details.get('reason', 'is not right')}"
    told = [f"{key.removesuffix('_ms').replace('_', ' ')} {_human(name, key, details)}" for key in details]
    return f"{name} ({', '.join(told)})" if told else name


def _human(name: str, key: str, details: dict[str, str]) -> str:
    from cli.output import amount, local_time

    value = details[key]
    if not value.isdigit():
        return value
    about = details.get("field", "") if key in ("minimum", "maximum", "got") else key
    if about.endswith("_ms") or (name == "booking_conflict" and key in ("start", "end")):
        return local_time(int(value))
    if about == "seconds":
        return f"{value} s"
    if key in _AMOUNTS and name not in _NOT_MONEY:
        return amount(value)
    return value


def _sentence(text: str) -> str:
    text = text.strip()
    text = text[:1].upper() + text[1:] if not text.partition(" ")[0].count("_") else text
    return text if text.endswith((".", "!", "?")) else f"{text}."
