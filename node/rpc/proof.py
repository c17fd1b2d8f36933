"""The namespace `proof`: answers that need no trust, for a verifier who has the genesis file and nothing else.

What counts in an answer are the bytes in `proof`, which `chain.state.proof` makes and checks. The fields beside them
are for reading; a verifier takes nothing from them.
"""

from typing import Any

from chain import interface as api
from chain.actions.accounts import PROFILES, StoredProfile
from chain.actions.evidence import CONVICTIONS, Conviction
from chain.actions.multisig import MULTISIGS, PROPOSALS, Multisig, Proposal
from chain.actions.reviews import REVIEWS, Review
from chain.authorities import CANDIDATES, Candidate
from chain.bank import ACCOUNTS, Account
from chain.booking import BOOKINGS, Booking
from chain.dispute import DISPUTES, Dispute
from chain.errors import NotFound
from chain.escrow import ESCROWS, Escrow
from chain.governance import MEASURES, Measure
from chain.inventory import GPUS, Gpu
from chain.job import JOBS, Job
from chain.record import decode_record, encode_record
from chain.request import BIDS, REQUESTS, Bid, Request
from chain.stake import STAKES, Stake
from chain.state.proof import EpochLink, FinalHeader, prove_state, prove_transaction
from chain.state.tables import Table
from node.consensus.epochs import last_height
from node.executor import decode_authorities
from node.rpc.chain import require_header
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside
from node.store_tables import AUTHORITY_SETS

TABLES: dict[str, tuple[Table[Any], type[Any]]] = {
    "account": (ACCOUNTS, Account),
    "stake": (STAKES, Stake),
    "profile": (PROFILES, StoredProfile),
    "gpu": (GPUS, Gpu),
    "booking": (BOOKINGS, Booking),
    "escrow": (ESCROWS, Escrow),
    "request": (REQUESTS, Request),
    "bid": (BIDS, Bid),
    "job": (JOBS, Job),
    "review": (REVIEWS, Review),
    "dispute": (DISPUTES, Dispute),
    "multisig": (MULTISIGS, Multisig),
    "proposal": (PROPOSALS, Proposal),
    "measure": (MEASURES, Measure),
    "candidate": (CANDIDATES, Candidate),
    "conviction": (CONVICTIONS, Conviction),
}


def account(read: Read, params: api.ProofAccountParams) -> api.StateProofView:
    return _state(read, ACCOUNTS, Account, read.address(params.address))


def record(read: Read, params: api.ProofRecordParams) -> api.StateProofView:
    return _state(read, *TABLES[params.kind], bytes.fromhex(params.key))


def _state(read: Read, table: Table[Any], cls: type[Any], identifier: bytes) -> api.StateProofView:
    head = read.snapshot.head
    proof = prove_state(read.snapshot, head.root, table.key(identifier), _final(read, head.height))
    return api.StateProofView(
        as_of=read.as_of,
        key=proof.key.hex(),
        present=proof.value is not None,
        record=None if proof.value is None else read.show(decode_record(cls, proof.value)),
        proof=encode_record(proof).hex(),
    )


def transaction(read: Read, params: api.TransactionParams) -> api.TransactionProofView:
    txid = bytes.fromhex(params.txid)
    place = read.snapshot.transaction_location(txid)
    if place is None:
        raise NotFound(kind="transaction", id=txid)
    height, index = place
    _, block_hash = require_header(read, height)
    envelopes, system = read.snapshot.envelopes(block_hash), read.snapshot.system_result(height)
    if envelopes is None or system is None:
        raise NotFound(kind="block", height=height, head=read.snapshot.head.height)
    results = read.snapshot.results(height)
    proof = prove_transaction(_final(read, height), envelopes, system, results, index)
    return api.TransactionProofView(
        as_of=read.as_of,
        height=height,
        txid=txid.hex(),
        result=read.show(results[index]),
        proof=encode_record(proof).hex(),
    )


def _final(read: Read, height: int) -> FinalHeader:
    """The final header at a height, with one link for each change of the authorities before it."""
    epoch_blocks = read.context.specification.parameters.epoch_blocks
    links = []
    for place, data in read.snapshot.read_table(AUTHORITY_SETS):
        epoch = int.from_bytes(place, "big")
        if epoch == 0:
            continue
        announced = last_height(epoch - 1, epoch_blocks)
        if announced >= height:
            break
        links.append(EpochLink(*_certified(read, announced), decode_authorities(data, epoch).members))
    return FinalHeader(*_certified(read, height), tuple(links))


def _certified(read: Read, height: int) -> tuple[bytes, bytes]:
    """Header and certificate of a final block; no certificate for genesis, which follows from the genesis file."""
    _, block_hash = require_header(read, height)
    certificate = read.snapshot.finalization(height)
    return read.snapshot.header_bytes(block_hash) or b"", b"" if certificate is None else certificate.encode()


HANDLERS: dict[str, Handler] = {
    "proof.account": aside(account),
    "proof.record": aside(record),
    "proof.transaction": aside(transaction),
}
