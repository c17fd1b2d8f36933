"""From actions to a final result in separate steps: build, sign, submit, wait.

Each step stands alone, so that signing can happen on a machine without a network. The fee is worked out exactly from
the network's parameters; what the user adds on top is the tip.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chain.action import Action
from chain.codec import decode, encode
from chain.crypto.hashing import sha256
from chain.errors import LedgerError, MalformedEncoding
from chain.fees import required_fee
from chain.interface import TransactionView
from chain.parameters import Parameters
from chain.record import decode_record, encode_record, from_json
from chain.transaction import Body, Transaction, body_weight, encode_envelope, signing_bytes
from wallet.client import NodeClient, RpcError
from wallet.errors import WalletError
from wallet.wallet_file import UnlockedWallet

VALIDITY_MS = 10 * 60_000
"""How long a transaction may wait for inclusion, unless the user says otherwise."""
_SIGNED_FORMAT = "aitbc-signed/1"
_UNSIGNED_FORMAT = "aitbc-unsigned/1"


class StillPending(WalletError):
    """data: txid, seconds."""

    code = 3104
    text = "Transaction {txid} is not final after {seconds} seconds."
    advice = "It may still be included until it expires; `aitbc blockchain transaction {txid}` tells."


class TransactionRejected(WalletError):
    """The ledger refused the transaction, or an action of it failed; the data are those of the ledger's error."""

    code = 3108
    text = "{message}"

    def __init__(self, txid: str, name: str, code: int, hint: str, details: dict[str, str], message: str) -> None:
        super().__init__(message=message)
        self.txid = txid
        self.rejection = name
        self.rejection_code = code
        self.details = details
        self._hint = hint

    @property
    def hint(self) -> str:
        return self._hint


class WrongWallet(WalletError):
    """data: wallet."""

    code = 3105
    text = "The transaction is not one of wallet {wallet}."
    advice = "Choose the sender's wallet with --wallet."


class UnreadableTransactionFile(WalletError):
    """data: reason."""

    code = 3106
    text = "This is not a transaction file: {reason}."
    advice = "Use a file written by `aitbc wallet build` or `aitbc wallet sign`."


@dataclass(frozen=True, slots=True)
class Network:
    """What signing for a network needs to know of it."""

    chain_id: str
    prefix: str
    parameters: Parameters
    time_ms: int
    """Block time of the head, milliseconds since 1970, UTC."""


def read_network(client: NodeClient) -> Network:
    """Ask a node which network it serves. Raises as `NodeClient.call`."""
    info, view = client.batch([("chain.info", {}), ("chain.params", {})])
    for answer in (info, view):
        if isinstance(answer, RpcError):
            raise answer
    parameters = from_json(Parameters, view.parameters, info.prefix)
    return Network(info.chain_id, info.prefix, parameters, view.as_of.time_ms)


def build(
    network: Network,
    sender: bytes,
    public_key: bytes,
    sequence: int,
    actions: Sequence[Action],
    *,
    tip: int = 0,
    memo: str = "",
    idempotency_id: bytes | None = None,
    valid_for_ms: int = VALIDITY_MS,
    now_ms: int | None = None,
) -> Body:
    """An unsigned transaction with the exact fee plus `tip` (base units).

    `now_ms` is the wall clock, by default this machine's: after an outage block time lies behind it.
    """
    wall_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    body = Body(
        chain_id=network.chain_id,
        sender=sender,
        public_key=public_key,
        sequence=sequence,
        valid_until_ms=max(wall_ms, network.time_ms) + valid_for_ms,
        idempotency_id=idempotency_id,
        fee=0,
        actions=tuple(actions),
        memo=memo,
    )
    for action in body.actions:
        action.validate()
    weight = body_weight(body)
    while True:
        size = len(encode_envelope(encode_record(body), bytes(64)))
        fee = required_fee(network.parameters, size, weight) + tip
        if fee <= body.fee:
            return body
        body = replace(body, fee=fee)


def sign(wallet: UnlockedWallet, body: Body) -> Transaction:
    """Sign a body. Raises WrongWallet if the wallet's key is not the sender's."""
    if wallet.public_key != body.public_key:
        raise WrongWallet(wallet=wallet.wallet.name)
    body_bytes = encode_record(body)
    signature = wallet.sign(signing_bytes(body_bytes))
    return Transaction(body, signature, body_bytes, encode_envelope(body_bytes, signature), sha256(body_bytes))


def submit(client: NodeClient, transaction: Transaction) -> str:
    """Hand a transaction in; returns its txid in hex once the node has it on disk. Raises TransactionRejected."""
    try:
        client.call("tx.submit", envelope=transaction.envelope.hex())
    except RpcError as error:
        if error.rpc_code < 0:
            raise
        raise TransactionRejected(
            transaction.txid.hex(),
            error.rpc_name,
            error.rpc_code,
            error.hint,
            {key: str(value) for key, value in error.details.items()},
            error.message,
        ) from error
    return transaction.txid.hex()


def wait_final(client: NodeClient, txid: str, timeout: float, poll_seconds: float = 0.1) -> TransactionView:
    """Wait until a transaction is final, and return it if every action succeeded.

    Raises TransactionRejected if it failed or was dropped, StillPending after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        view: TransactionView = client.call("tx.get", txid=txid)
        if view.status == "final":
            return _succeeded(view)
        if view.status == "dropped" and view.reason is not None:
            reason = view.reason
            raise TransactionRejected(
                txid, reason.name, reason.code, reason.hint, reason.data, f"It was dropped: {reason.name}."
            )
        if time.monotonic() >= end:
            raise StillPending(txid=txid, seconds=f"{timeout:g}")
        time.sleep(poll_seconds)


def _succeeded(view: TransactionView) -> TransactionView:
    result = view.result or {}
    code = result.get("code", 0)
    if code:
        error = LedgerError.by_code.get(code, LedgerError)
        details = {pair["name"]: pair["value"] for pair in result.get("error_data", [])}
        text = ", ".join(f"{key}={value}" for key, value in details.items())
        name = str(result.get("error"))
        raise TransactionRejected(view.txid, name, code, error.hint, details, f"{name} ({text})" if text else name)
    return view


def to_file(transaction: Transaction | Body) -> bytes:
    """The file form of an unsigned body or a signed transaction, for signing on another machine."""
    if isinstance(transaction, Body):
        return encode([_UNSIGNED_FORMAT, encode_record(transaction)])
    return encode([_SIGNED_FORMAT, transaction.envelope])


def from_file(data: bytes) -> Transaction | Body:
    """What `to_file` wrote. Raises UnreadableTransactionFile."""
    try:
        match decode(data):
            case (str() as kind, bytes() as content) if kind == _UNSIGNED_FORMAT:
                return decode_record(Body, content)
            case (str() as kind, bytes() as content) if kind == _SIGNED_FORMAT:
                return Transaction.decode(content)
        raise MalformedEncoding(reason="unknown format")
    except LedgerError as error:
        raise UnreadableTransactionFile(reason=str(error)) from error
