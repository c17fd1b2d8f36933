"""The protocol: which blocks are valid, and what each one does to the state. Read it top to bottom.

A block first moves the clocks, then runs what is due, then its transactions in order; the last block of an epoch
finally runs what the turn of the epoch brings. A transaction has three
stages: `validate` (shape, signature: no state), `check` (sender, sequence, expiry, fee, funds: a failure here makes
the block invalid) and its actions (a failure here rolls back every effect of the transaction, but the fee is paid
and the sequence is used). Everything is a function of the state, the block context and the envelopes.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from chain import fees
from chain.action import EPOCH_HANDLERS, BlockContext, Context
from chain.bank import account
from chain.clocks import advance_clocks
from chain.crypto.address import module_address
from chain.crypto.hashing import tagged_hash
from chain.errors import (
    InsufficientFunds,
    InvalidBlock,
    LedgerError,
    SequenceMismatch,
    TransactionExpired,
    ValidityTooLong,
    WrongChain,
)
from chain.idempotency import remember, require_new
from chain.keys import require_current_key
from chain.parameters import EPOCH_END_WEIGHT, Parameters, read_parameters
from chain.result import Event, SystemResult, TransactionResult, results_root
from chain.schedule import run_due
from chain.state.view import View
from chain.transaction import MAXIMUM_VALIDITY_MS, Transaction

SYSTEM_ACCOUNT = module_address("system")
MAXIMUM_ERROR_PAIRS = 16


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What a block did, beside the changes in the view."""

    system: SystemResult
    results: tuple[TransactionResult, ...]
    results_root: bytes
    weight: int


def apply_block(
    view: View, block: BlockContext, transactions: Sequence[Transaction], verified: Container[bytes] = frozenset()
) -> BlockOutcome:
    """Execute a block on a view of its parent's state.

    `verified` holds envelopes whose signatures the caller has already checked. Raises InvalidBlock if the block
    breaks a rule; the view is then to be thrown away. The state root is a function of `view.changes()`.
    """
    execution = BlockExecution(view, block)
    for index, transaction in enumerate(transactions):
        try:
            if transaction.envelope not in verified:
                transaction.verify_signature()
            execution.apply_transaction(transaction)
        except InvalidBlock:
            raise
        except LedgerError as error:
            raise InvalidBlock(transaction=index, reason=str(error)) from error
    return execution.outcome()


class BlockExecution:
    """One block in the making: the clocks have moved and due items have run; then transactions, one by one."""

    def __init__(self, view: View, block: BlockContext) -> None:
        """Raises InvalidBlock if height or time do not follow the state."""
        self.view = view
        self.block = block
        self.parameters = read_parameters(view)
        self.results: list[TransactionResult] = []
        clocks = advance_clocks(view, block.height, block.time_ms, self.parameters.maximum_gap_ms)
        self.live_ms = clocks.live_ms
        system_id = tagged_hash("aitbc/system/1", block.chain_id.encode(), block.height.to_bytes(8, "big"))
        self._system = self._context(SYSTEM_ACCOUNT, system_id)
        self._due_weight = run_due(self._system, self.parameters.due_weight)
        self._ends_epoch = block.height % self.parameters.epoch_blocks == 0
        self.weight = self._due_weight + EPOCH_END_WEIGHT * self._ends_epoch

    def _context(self, sender: bytes, txid: bytes) -> Context:
        return Context(self.view, self.block, self.live_ms, self.parameters, sender, txid)

    def apply_transaction(self, transaction: Transaction) -> TransactionResult:
        """Include a transaction whose signature is good.

        Raises a LedgerError, and changes nothing, if it may not be included: InvalidBlock if only the block is full.
        """
        weight = transaction.weight
        if self.weight + weight > self.parameters.maximum_block_weight:
            raise InvalidBlock(reason="the block is full", weight=self.weight, transaction_weight=weight)
        required = check_transaction(self.view, self.parameters, self.block, transaction)
        body = transaction.body
        fees.charge(self.view, self.parameters, body.sender, body.fee, required, self.block.proposer)
        result = self._run_actions(transaction, weight)
        self.results.append(result)
        self.weight += weight
        return result

    def _run_actions(self, transaction: Transaction, weight: int) -> TransactionResult:
        body = transaction.body
        mark = self.view.checkpoint()
        context = self._context(body.sender, transaction.txid)
        for index, action in enumerate(body.actions):
            try:
                action.check(context)
                action.apply(context)
            except LedgerError as error:
                self.view.rollback(mark)
                return _failure(transaction, weight, index, error)
        remember(context, body.idempotency_id)
        events: tuple[Event, ...] = tuple(context.events)
        return TransactionResult(transaction.txid, 0, "", (), None, body.fee, weight, events)

    def outcome(self) -> BlockOutcome:
        """End the block and say what it did. Once only; no transaction can follow."""
        if self._ends_epoch:
            for end_epoch in EPOCH_HANDLERS:
                end_epoch(self._system)
        system = SystemResult(self._due_weight, tuple(self._system.events))
        results = tuple(self.results)
        return BlockOutcome(system, results, results_root(system, results), self.weight)


def check_transaction(view: View, parameters: Parameters, block: BlockContext, transaction: Transaction) -> int:
    """Check a transaction with a good signature against the state; returns the required fee.

    Raises the LedgerError for the first rule that it breaks.
    """
    body = transaction.body
    if body.chain_id != block.chain_id:
        raise WrongChain(expected=block.chain_id, got=body.chain_id)
    require_current_key(view, body.sender, body.public_key)
    if body.valid_until_ms < block.time_ms:
        raise TransactionExpired(valid_until_ms=body.valid_until_ms, time_ms=block.time_ms)
    if body.valid_until_ms > block.time_ms + MAXIMUM_VALIDITY_MS:
        raise ValidityTooLong(valid_until_ms=body.valid_until_ms, maximum=block.time_ms + MAXIMUM_VALIDITY_MS)
    sender = account(view, body.sender)
    if body.sequence != sender.sequence:
        raise SequenceMismatch(expected=sender.sequence, got=body.sequence)
    require_new(view, body.sender, body.idempotency_id, block.time_ms)
    weight = transaction.weight
    fees.check_fee(parameters, body.fee, transaction.size, weight)
    if sender.balance < body.fee:
        raise InsufficientFunds(needed=body.fee, available=sender.balance)
    return fees.required_fee(parameters, transaction.size, weight)


def _failure(transaction: Transaction, weight: int, index: int, error: LedgerError) -> TransactionResult:
    data = tuple(error.data.items())[:MAXIMUM_ERROR_PAIRS]
    return TransactionResult(transaction.txid, error.code, error.name, data, index, transaction.body.fee, weight, ())
