"""The genesis specification: everything that a network starts from, in one record with one hash.

The chain id carries the first digits of that hash, and everything anyone signs carries the chain id, so two networks
with different beginnings can never exchange a valid signature. The file on disk is JSON for people; the hash is over
the canonical bytes that it decodes to.
"""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

from chain.certificate import MAXIMUM_AUTHORITIES, Authority, AuthoritySet
from chain.crypto.address import MODULE
from chain.crypto.hashing import tagged_hash
from chain.errors import InvalidGenesis, LedgerError
from chain.parameters import Parameters
from chain.record import encode_record, from_json, record, to_json
from chain.schema import U64, Address, Amount, ListOf, String, Timestamp

FILE_VERSION = 1
MAXIMUM_FILE_BYTES = 16 << 20
MAXIMUM_ALLOCATIONS = 100_000
GENESIS_DOMAIN = "aitbc/genesis/1"


@record(version=1)
@dataclass(frozen=True, slots=True)
class Allocation:
    """What one account owns at the start."""

    address: Address
    balance: Amount
    """Spendable money, base units."""
    stake: Amount = 0
    """Locked from the start, base units."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Specification:
    """A network before its first block."""

    name: Annotated[str, String(24, 1)]
    """Lower-case name; the chain id is this and the start of the hash."""
    prefix: Annotated[str, String(8, 1)]
    """Prefix of the network's bech32m addresses."""
    time_ms: Timestamp
    """Block time of the genesis block, milliseconds since 1970, UTC."""
    parameters: Parameters
    authorities: Annotated[tuple[Authority, ...], ListOf(MAXIMUM_AUTHORITIES, 1)]
    allocations: Annotated[tuple[Allocation, ...], ListOf(MAXIMUM_ALLOCATIONS)]

    @property
    def hash(self) -> bytes:
        """32 bytes over the canonical specification."""
        return tagged_hash(GENESIS_DOMAIN, encode_record(self))

    @property
    def chain_id(self) -> str:
        return f"{self.name}-{self.hash[:4].hex()}"

    def authority_set(self) -> AuthoritySet:
        """The authorities of epoch 0."""
        return AuthoritySet(0, self.authorities)

    def check(self) -> None:
        """Raise InvalidGenesis for the first rule that the specification breaks; verifies proofs of possession."""
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise InvalidGenesis(field="name", reason="expected lower-case letters, digits and dashes")
        if not re.fullmatch(r"[a-z]+", self.prefix):
            raise InvalidGenesis(field="prefix", reason="expected lower-case letters")
        self.parameters.check()
        addresses = [allocation.address for allocation in self.allocations]
        if len(set(addresses)) != len(addresses):
            raise InvalidGenesis(field="allocations", reason="an address is listed twice")
        if any(address[0] == MODULE for address in addresses):
            raise InvalidGenesis(field="allocations", reason="a module account owns nothing")
        if sum(allocation.balance + allocation.stake for allocation in self.allocations) > U64:
            raise InvalidGenesis(field="allocations", reason="the sum exceeds 2^64 - 1 base units")
        try:
            authorities = self.authority_set()
        except ValueError as error:
            raise InvalidGenesis(field="authorities", reason=str(error)) from error
        if len({authority.operator for authority in self.authorities}) != len(self.authorities):
            raise InvalidGenesis(field="authorities", reason="two authorities share an operator account")
        if any(authority.operator[0] == MODULE for authority in self.authorities):
            raise InvalidGenesis(field="authorities", reason="a module account operates nothing")
        self._check_operators_staked()
        if not authorities.possessions_hold():
            raise InvalidGenesis(field="authorities", reason="a BLS key or its proof of possession is bad")

    def _check_operators_staked(self) -> None:
        stakes = {allocation.address: allocation.stake for allocation in self.allocations}
        needed = self.parameters.authority_minimum_stake
        for authority in self.authorities:
            staked = stakes.get(authority.operator, 0)
            if staked < needed:
                reason = "an operator's stake is less than authority_minimum_stake"
                raise InvalidGenesis(field="allocations", reason=reason, account=authority.operator, needed=needed)


def to_file(specification: Specification) -> str:
    """The genesis file: indented JSON that ends with a line feed."""
    plain: dict[str, Any] = {
        "format": "aitbc-genesis",
        "version": FILE_VERSION,
        "chain_id": specification.chain_id,
        "hash": specification.hash.hex(),
        "specification": to_json(specification, specification.prefix),
    }
    return json.dumps(plain, indent=2) + "\n"


def from_file(text: str) -> Specification:
    """The checked specification of a genesis file. Raises InvalidGenesis, saying what is wrong with it."""
    if len(text) > MAXIMUM_FILE_BYTES:
        raise InvalidGenesis(reason="the file is too large", maximum=MAXIMUM_FILE_BYTES)
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidGenesis(reason=f"not JSON: {error}") from error
    if not isinstance(plain, dict) or plain.get("format") != "aitbc-genesis":
        raise InvalidGenesis(reason="not a genesis file")
    if type(plain.get("version")) is not int or plain["version"] != FILE_VERSION:
        raise InvalidGenesis(
            reason="another version of the format", expected=FILE_VERSION, got=str(plain.get("version"))[:20]
        )
    inner = plain.get("specification")
    prefix = inner.get("prefix") if isinstance(inner, dict) else None
    if not isinstance(prefix, str):
        raise InvalidGenesis(field="prefix", reason="missing")
    try:
        specification = from_json(Specification, inner, prefix)
    except InvalidGenesis:
        raise
    except LedgerError as error:
        raise InvalidGenesis(reason=str(error)) from error
    if plain.get("hash") != specification.hash.hex() or plain.get("chain_id") != specification.chain_id:
        raise InvalidGenesis(reason="the file was edited: its hash does not match its content")
    specification.check()
    return specification
