"""One exception tree. Each leaf has a stable code and name, data that helps, and a hint for a person.

The same name appears in a transaction's result, in the RPC error and in the CLI's message. An action family
declares its own leaves beside its code; what is here is shared by several. Codes are never reused: 10xx encoding
and transactions, 11xx accounts and funds, 12xx staking, 13xx gpus, 14xx bookings, 15xx jobs, 16xx reviews,
17xx multisig, 18xx disputes, 19xx blocks and certificates, 205x and 206x governance and authorities, 21xx evidence,
22xx requests and bids. The node adds its own in the rest of 20xx and from 23xx.
"""

import re
from typing import ClassVar

ErrorValue = int | str | bytes


class LedgerError(Exception):
    """Base of all coded errors. Keyword arguments become `data`: integers, text or bytes, in the order given."""

    code: ClassVar[int] = 1000
    name: ClassVar[str] = "ledger_error"
    hint: ClassVar[str] = ""
    by_code: ClassVar[dict[int, type["LedgerError"]]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if "code" in cls.__dict__:
            other = LedgerError.by_code.setdefault(cls.code, cls)
            if other.__qualname__ != cls.__qualname__:
                raise TypeError(f"error code {cls.code} is used by {other.__name__} and {cls.__name__}")

    def __init__(self, **data: ErrorValue) -> None:
        self.data = data
        super().__init__(data)

    def __str__(self) -> str:
        details = ", ".join(f"{key}={_text(value)}" for key, value in self.data.items())
        return f"{self.name} ({details})" if details else self.name


def _text(value: ErrorValue) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


class MalformedEncoding(LedgerError):
    code = 1001
    hint = "The bytes are not the canonical CBOR encoding of a known record."


class InvalidField(LedgerError):
    code = 1002
    hint = "A field is outside its range or has the wrong type."


class UnknownVersion(LedgerError):
    code = 1003
    hint = "This record comes from another version of the software."


class UnknownAction(LedgerError):
    code = 1004
    hint = "Update the software: this action is not known to it."


class WrongChain(LedgerError):
    code = 1005
    hint = "The transaction was signed for another network."


class BadSignature(LedgerError):
    code = 1006
    hint = "Sign again with the sender's key."


class TransactionTooLarge(LedgerError):
    code = 1007
    hint = "Split the transaction into several."


class KeyMismatch(LedgerError):
    code = 1008
    hint = "The public key does not belong to the sender."


class SequenceMismatch(LedgerError):
    code = 1009
    hint = "Use the expected sequence; another transaction of this account came first or is missing."


class TransactionExpired(LedgerError):
    code = 1010
    hint = "Sign it again with a later valid_until_ms."


class ValidityTooLong(LedgerError):
    code = 1011
    hint = "valid_until_ms may be at most one hour ahead."


class FeeTooLow(LedgerError):
    code = 1012
    hint = "Raise the fee to what is needed."


class AlreadyDone(LedgerError):
    code = 1013
    hint = "A transaction with this idempotency id has already succeeded."


class InsufficientFunds(LedgerError):
    code = 1101
    hint = "The account's balance does not cover this."


class InvalidAddress(LedgerError):
    code = 1102
    hint = "Check the address: it is not a valid address of this network."


class WrongNetworkAddress(InvalidAddress):
    code = 1103
    hint = "The address belongs to another network."


class AmountOverflow(LedgerError):
    code = 1104
    hint = "The amount exceeds 2^64 - 1 base units."


class InsufficientStake(LedgerError):
    code = 1201
    hint = "Stake more first: the free stake does not cover this."


class InsufficientCollateral(LedgerError):
    code = 1202
    hint = "The provider's free stake does not cover the collateral that this needs."


class NotAuthorized(LedgerError):
    code = 1105
    hint = "Only the party named in the error may do this."


class NotFound(LedgerError):
    code = 1106
    hint = "Nothing with this id is in the state; what has long been over leaves it, and the blocks keep its story."


class InvalidBlock(LedgerError):
    """The block breaks a rule of the protocol; no honest authority votes for it."""

    code = 1901


class InvalidCertificate(LedgerError):
    code = 1902


class InvalidProof(LedgerError):
    code = 1903


class InvalidGenesis(LedgerError):
    code = 1904
    hint = "Build the genesis file again; nothing may be edited in it afterwards."
