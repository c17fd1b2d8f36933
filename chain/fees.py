"""What inclusion costs, and who gets it.

The required part (base + bytes + weight) goes to the stakers' pot and the treasury; only the tip goes to the
proposer, so that a proposer cannot fill blocks with his own transactions for free.
"""

from dataclasses import replace

from chain.bank import ACCOUNTS, account, credit, share_fee
from chain.errors import FeeTooLow, InsufficientFunds
from chain.parameters import Parameters
from chain.state.view import View


def required_fee(parameters: Parameters, size: int, weight: int) -> int:
    """The least fee of a transaction whose envelope has `size` bytes, in base units."""
    return parameters.base_fee + parameters.fee_per_byte * size + parameters.fee_per_weight * weight


def check_fee(parameters: Parameters, offered: int, size: int, weight: int) -> None:
    """Raise FeeTooLow unless the offer covers the required fee."""
    needed = required_fee(parameters, size, weight)
    if offered < needed:
        raise FeeTooLow(needed=needed, offered=offered)


def charge(view: View, parameters: Parameters, sender: bytes, fee: int, required: int, proposer: bytes) -> None:
    """Take the fee and the sequence from the sender and share it. Raises InsufficientFunds."""
    payer = account(view, sender)
    if payer.balance < fee:
        raise InsufficientFunds(needed=fee, available=payer.balance)
    ACCOUNTS.put(view, sender, replace(payer, balance=payer.balance - fee, sequence=payer.sequence + 1))
    share_fee(view, required, parameters.fee_staker_share)
    credit(view, proposer, fee - required)
