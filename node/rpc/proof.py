"""The namespace `proof`: answers that need no trust, for a verifier who has the genesis file and nothing else."""

from typing import Any

from chain import interface as api
from chain.actions.accounts import PROFILES, Profile
from chain.actions.multisig import MULTISIGS, PROPOSALS, Multisig, Proposal
from chain.actions.reviews import REVIEWS, Review
from chain.bank import ACCOUNTS, Account
from chain.booking import BOOKINGS, Booking
from chain.crypto.hashing import merkle_path, sha256
from chain.errors import NotFound
from chain.escrow import ESCROWS, Escrow
from chain.inventory import GPUS, Gpu
from chain.job import JOBS, Job
from chain.schema import decode_record, encode_record
from chain.stake import STAKES, Stake
from chain.state import trie
from chain.state.tables import Table
from node.consensus.epochs import last_height
from node.executor import decode_authorities
from node.rpc.chain import require_header
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside
from node.rpc.params import octets
from node.store_tables import AUTHORITY_SETS

MAXIMUM_KEY_BYTES = 64

TABLES: dict[str, tuple[Table[Any], type[Any]]] = {
    "account": (ACCOUNTS, Account),
    "stake": (STAKES, Stake),
    "profile": (PROFILES, Profile),
    "gpu": (GPUS, Gpu),
    "booking": (BOOKINGS, Booking),
    "escrow": (ESCROWS, Escrow),
    "job": (JOBS, Job),
    "review": (REVIEWS, Review),
    "multisig": (MULTISIGS, Multisig),
    "proposal": (PROPOSALS, Proposal),
}


def account(read: Read, params: api.ProofAccountParams) -> api.StateProof:
    return _prove(read, ACCOUNTS, Account, read.address(params.address))


def record(read: Read, params: api.ProofRecordParams) -> api.StateProof:
    return _prove(read, *TABLES[params.kind], octets(params.key[: 2 * MAXIMUM_KEY_BYTES], "key"))


def _prove(read: Read, table: Table[Any], cls: type[Any], identifier: bytes) -> api.StateProof:
    key = table.key(identifier)
    height = read.snapshot.head.height
    siblings, leaf = trie.prove(read.snapshot, read.snapshot.head.root, key)
    present = leaf is not None and leaf.key == key
    return api.StateProof(
        as_of=read.as_of,
        header=_header_bytes(read, height).hex(),
        finalization=_finalization(read, height).hex(),
        links=_links(read),
        key=key.hex(),
        siblings=tuple(sibling.hex() for sibling in siblings),
        leaf_key=leaf.key.hex() if leaf else None,
        leaf_value=leaf.value.hex() if leaf else None,
        present=present,
        record=read.show(decode_record(cls, leaf.value)) if leaf and present else None,
    )


def _header_bytes(read: Read, height: int) -> bytes:
    _, block_hash = require_header(read, height)
    return read.snapshot.header_bytes(block_hash) or b""


def _finalization(read: Read, height: int) -> bytes:
    """The certificate's bytes; empty for genesis, whose header follows from the genesis file."""
    certificate = read.snapshot.finalization(height)
    return b"" if certificate is None else certificate.encode()


def _links(read: Read) -> tuple[api.EpochLink, ...]:
    """One link for each epoch, up to the head's, that began with other authorities than the one before."""
    epoch_blocks = read.context.specification.parameters.epoch_blocks
    links = []
    for place, data in read.snapshot.read_table(AUTHORITY_SETS):
        epoch = int.from_bytes(place, "big")
        if epoch == 0:
            continue
        height = last_height(epoch - 1, epoch_blocks)
        if height >= read.snapshot.head.height:
            break
        members = decode_authorities(data, epoch).members
        links.append(
            api.EpochLink(
                header=_header_bytes(read, height).hex(),
                finalization=_finalization(read, height).hex(),
                authorities=tuple(encode_record(member).hex() for member in members),
            )
        )
    return tuple(links)


def transaction(read: Read, params: api.TransactionParams) -> api.TransactionProof:
    txid = bytes.fromhex(params.txid)
    place = read.snapshot.transaction_location(txid)
    if place is None:
        raise NotFound(kind="transaction", id=txid)
    height, index = place
    _, block_hash = require_header(read, height)
    envelopes = read.snapshot.envelopes(block_hash) or ()
    system, results = read.snapshot.system_result(height), read.snapshot.results(height)
    encoded = [encode_record(result) for result in (system, *results)]
    return api.TransactionProof(
        as_of=read.as_of,
        header=_header_bytes(read, height).hex(),
        finalization=_finalization(read, height).hex(),
        links=_links(read),
        txid=txid.hex(),
        envelope=envelopes[index].hex(),
        index=index,
        count=len(envelopes),
        transaction_path=_path([sha256(envelope) for envelope in envelopes], index),
        result=encoded[index + 1].hex(),
        result_path=_path([sha256(item) for item in encoded], index + 1),
    )


def _path(leaves: list[bytes], index: int) -> tuple[str, ...]:
    return tuple(sibling.hex() for sibling in merkle_path(leaves, index))


HANDLERS: dict[str, Handler] = {
    "proof.account": aside(account),
    "proof.record": aside(record),
    "proof.transaction": aside(transaction),
}
