"""The namespace `tx`: handing in transactions, trying them out, and what became of them."""

import heapq
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from chain import interface as api
from chain.action import BlockContext
from chain.crypto.hashing import sha256
from chain.errors import LedgerError, NotFound, TransactionTooLarge
from chain.fees import required_fee
from chain.record import decode_record
from chain.result import TransactionResult
from chain.transaction import MAXIMUM_TRANSACTION_BYTES, Body, Transaction, encode_envelope
from chain.transition import SYSTEM_ACCOUNT, BlockExecution
from node.consensus.epochs import epoch_of
from node.rpc.chain import action_names, require_header
from node.rpc.context import Read, RpcContext
from node.rpc.dispatch import Handler, Together
from node.rpc.errors import error_view
from node.rpc.handlers import aside, exactly_one, quick
from node.rpc.pages import make_cursor, read_cursor
from node.rpc.params import octets

MAXIMUM_PRECEDING = 64
"""Pending transactions of the sender that a dry run applies first."""
MAXIMUM_PRECEDING_WEIGHT = 500
"""Of those together; with more before it, a transaction counts as one whose turn has not come."""
SMALL_BYTES = 8 << 10
"""Dry runs of larger transactions do not delay those of smaller ones."""
NO_SIGNATURE = bytes(64)


def submit(context: RpcContext, params: api.SubmitParams) -> Together:
    return Together(_submit_all, octets(params.envelope, "envelope"))


async def _submit_all(context: RpcContext, envelopes: Sequence[bytes]) -> list[api.Submitted | LedgerError]:
    """Hand in all envelopes of a batch at once: their signatures are checked together and one write keeps them."""
    answers = await context.submission.submit(envelopes, None)
    return [item if isinstance(item, LedgerError) else api.Submitted(item.hex()) for item in answers]


def simulate(read: Read, params: api.SimulateParams) -> api.Simulation:
    exactly_one(envelope=params.envelope, body=params.body)
    transaction = _given(params)
    height = read.clocks.height + 1
    block = BlockContext(
        chain_id=read.context.specification.chain_id,
        height=height,
        epoch=epoch_of(height, read.context.specification.parameters.epoch_blocks),
        time_ms=max(read.clocks.time_ms + 1, time.time_ns() // 1_000_000),
        proposer=SYSTEM_ACCOUNT,
    )
    execution = BlockExecution(read.view, block)
    result: TransactionResult | None = None
    error: LedgerError | None = None
    try:
        if params.envelope is not None:
            transaction.verify_signature()
        _apply_preceding(read, execution, transaction)
        result = execution.apply_transaction(transaction)
    except LedgerError as raised:
        error = raised
    return api.Simulation(
        as_of=read.as_of,
        txid=transaction.txid.hex(),
        includable=result is not None,
        succeeded=result is not None and result.succeeded,
        error=error_view(error, read.prefix) if error else _failure(read, result),
        failed_action=result.failed_action if result else None,
        required_fee=str(required_fee(execution.parameters, transaction.size, transaction.weight)),
        weight=transaction.weight,
        size=transaction.size,
        events=tuple(read.show(event) for event in result.events) if result else (),
    )


def _given(params: api.SimulateParams) -> Transaction:
    """The transaction to try; a body alone counts as if it were signed."""
    if params.envelope is not None:
        return Transaction.decode(octets(params.envelope, "envelope"))
    body_bytes = octets(params.body or "", "body")
    envelope = encode_envelope(body_bytes, NO_SIGNATURE)
    if len(envelope) > MAXIMUM_TRANSACTION_BYTES:
        raise TransactionTooLarge(size=len(envelope), maximum=MAXIMUM_TRANSACTION_BYTES)
    body = decode_record(Body, body_bytes, max_size=MAXIMUM_TRANSACTION_BYTES)
    return Transaction(body, NO_SIGNATURE, body_bytes, envelope, sha256(body_bytes))


def _apply_preceding(read: Read, execution: BlockExecution, transaction: Transaction) -> None:
    """Apply what the sender has pending before this sequence, as a block would."""
    pending = read.context.mempool.pending_of(transaction.body.sender)
    weight = 0
    for earlier in pending[:MAXIMUM_PRECEDING]:
        weight += earlier.weight
        if earlier.body.sequence >= transaction.body.sequence or weight > MAXIMUM_PRECEDING_WEIGHT:
            return
        try:
            execution.apply_transaction(earlier)
        except LedgerError:
            return


def _is_small(params: api.SimulateParams) -> bool:
    return len(params.envelope or params.body or "") <= 2 * SMALL_BYTES


def _failure(read: Read, result: TransactionResult | None) -> api.ErrorView | None:
    if result is None or result.succeeded:
        return None
    known = LedgerError.by_code.get(result.code)
    error = (known or LedgerError)(**dict(result.error_data))
    view = error_view(error, read.prefix)
    return api.ErrorView(result.code, result.error, view.hint, view.data)


def get(context: RpcContext, params: api.TransactionParams) -> Any:
    """Quick for what waits; aside for what is final, because its whole block has to be decoded."""
    txid = bytes.fromhex(params.txid)
    if context.store.transaction_location(txid) is not None:
        return _get_final(context, params)
    return _get_other(context, params)


def _other(read: Read, params: api.TransactionParams) -> api.TransactionView:
    mempool, txid = read.context.mempool, bytes.fromhex(params.txid)
    view = partial(api.TransactionView, as_of=read.as_of, txid=txid.hex())
    pending = mempool.pending(txid)
    if pending is not None:
        return view(status="pending", transaction=pending.to_json(read.prefix))
    dropped = mempool.dropped(txid)
    if dropped is not None:
        return view(status="dropped", reason=error_view(dropped, read.prefix))
    return view(status="unknown")


def _final(read: Read, params: api.TransactionParams) -> api.TransactionView:
    txid = bytes.fromhex(params.txid)
    place = read.snapshot.transaction_location(txid)
    if place is None:
        raise NotFound(kind="transaction", id=txid)
    height, index = place
    header, block_hash = require_header(read, height)
    envelope = (read.snapshot.envelopes(block_hash) or ())[index]
    result = read.snapshot.result(height, index)
    return api.TransactionView(
        as_of=read.as_of,
        txid=txid.hex(),
        status="final",
        height=height,
        index=index,
        block_hash=block_hash.hex(),
        time_ms=header.time_ms,
        transaction=Transaction.decode(envelope).to_json(read.prefix),
        result=read.show(result) if result else None,
    )


_get_final, _get_other = aside(_final), quick(_other)


def pending(read: Read, params: api.PendingParams) -> api.PendingTransactions:
    mempool = read.context.mempool
    after = read_cursor(params.cursor, bytes)
    if params.sender is not None:
        found = [transaction.txid for transaction in mempool.pending_of(read.address(params.sender))]
    else:
        found = [txid for txid, _ in mempool.envelopes()]
    remaining = found if after is None else [txid for txid in found if txid > after[0]]
    page = heapq.nsmallest(params.limit, remaining)
    shown = [mempool.pending(txid) for txid in page]
    return api.PendingTransactions(
        as_of=read.as_of,
        total=len(mempool),
        items=tuple(_waiting(read, transaction) for transaction in shown if transaction is not None),
        next_cursor=make_cursor(page[-1]) if len(remaining) > len(page) else None,
    )


def _waiting(read: Read, transaction: Transaction) -> api.PendingTransaction:
    body = transaction.body
    return api.PendingTransaction(
        txid=transaction.txid.hex(),
        sender=read.address_text(body.sender),
        sequence=body.sequence,
        fee=str(body.fee),
        size=transaction.size,
        valid_until_ms=body.valid_until_ms,
        actions=action_names(transaction),
    )


HANDLERS: dict[str, Handler] = {
    "tx.submit": submit,
    "tx.simulate": aside(simulate, _is_small),
    "tx.get": get,
    "tx.pending": aside(pending),
}
