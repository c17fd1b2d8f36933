"""That the ledger refuses what may not be in a block, for the reason that the second ledger gives, and does nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from chain.action import BlockContext
from chain.errors import InvalidBlock, LedgerError
from chain.state.view import Reader, View
from chain.transaction import Transaction
from chain.transition import BlockExecution, apply_block
from tests.economy.envelopes import Refusal


@dataclass
class Refused:
    """A transaction that somebody attempted after so many others of a block, and why it cannot follow them."""

    after: int
    transaction: Transaction
    why: Refusal


def check_refusal(state: Reader, context: BlockContext, included: Sequence[Transaction], refused: Refused) -> None:
    """Raise AssertionError unless the block goes on without it, and is invalid with it."""
    transaction, before, view = refused.transaction, included[: refused.after], View(state)
    execution = BlockExecution(view, context)
    for other in before:
        execution.apply_transaction(other)
    changes = view.changes()
    found = refused_for(execution, transaction)
    assert found == refused.why, f"ledger {found}, model {refused.why}, {transaction.body}"
    assert view.changes() == changes, f"{found} has changed something"
    with pytest.raises(InvalidBlock, match=f"transaction={refused.after}, reason={refused.why[0]}"):
        apply_block(View(state), context, [*before, transaction])


def refused_for(execution: BlockExecution, transaction: Transaction) -> Refusal | None:
    """Why the ledger does not include a transaction in a block in the making, if it does not."""
    try:
        transaction.verify_signature()
        execution.apply_transaction(transaction)
    except LedgerError as error:
        return error.name, error.data
    return None
