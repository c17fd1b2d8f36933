"""The namespace `chain`: which network this is, its blocks and who finalises them."""

from dataclasses import fields

from chain import interface as api
from chain.bank import totals
from chain.block import Header
from chain.certificate import AuthoritySet
from chain.errors import NotFound
from chain.parameters import read_parameters
from chain.result import TransactionResult
from chain.schema import COIN
from chain.transaction import Transaction
from node.consensus.epochs import epoch_of
from node.executor import decode_authorities
from node.rpc.context import Read, RpcContext
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, exactly_one, quick
from node.rpc.pages import make_cursor, read_cursor
from node.store_tables import RESULTS, u64


def info(context: RpcContext, params: api.NoParams) -> api.ChainInfo:
    specification = context.specification
    return api.ChainInfo(
        chain_id=specification.chain_id,
        name=specification.name,
        prefix=specification.prefix,
        genesis_hash=specification.hash.hex(),
        genesis_block_hash=(context.store.block_hash(0) or b"").hex(),
        genesis_time_ms=specification.time_ms,
        coin=str(COIN),
        interface_version=api.INTERFACE_VERSION,
    )


def head(read: Read, params: api.NoParams) -> api.Head:
    header = require_header(read, read.snapshot.head.height)[0]
    return api.Head(
        height=header.height,
        hash=read.snapshot.head.hash.hex(),
        state_root=header.state_root.hex(),
        time_ms=header.time_ms,
        live_ms=read.clocks.live_ms,
        epoch=header.epoch,
        view=header.view,
        proposer=read.address_text(header.proposer),
    )


def require_header(read: Read, height: int) -> tuple[Header, bytes]:
    """Header and hash of the final block at a height. Raises NotFound."""
    block_hash = read.snapshot.block_hash(height)
    header = None if block_hash is None else read.snapshot.header(block_hash)
    if block_hash is None or header is None:
        raise NotFound(kind="block", height=height, head=read.snapshot.head.height)
    return header, block_hash


def find_header(read: Read, height: int | None, block_hash: str | None) -> tuple[Header, bytes]:
    """Header and hash of the block that a client names by either. Raises NotFound."""
    exactly_one(height=height, hash=block_hash)
    if height is not None:
        return require_header(read, height)
    wanted = bytes.fromhex(block_hash or "")
    header = read.snapshot.header(wanted)
    if header is None:
        raise NotFound(kind="block", id=wanted)
    return header, wanted


def block(read: Read, params: api.BlockParams) -> api.BlockView:
    header, block_hash = find_header(read, params.height, params.hash)
    envelopes = read.snapshot.envelopes(block_hash) or ()
    results = read.snapshot.results(header.height)
    system = read.snapshot.system_result(header.height)
    header_bytes = read.snapshot.header_bytes(block_hash) or b""
    shown = [
        transaction_view(read, index, Transaction.decode(envelope), result, details=params.details)
        for index, (envelope, result) in enumerate(zip(envelopes, results, strict=True))
    ]
    return api.BlockView(
        as_of=read.as_of,
        height=header.height,
        hash=block_hash.hex(),
        header=read.show(header),
        size=len(header_bytes) + sum(map(len, envelopes)),
        transactions=tuple(shown),
        system_events=tuple(read.show(event) for event in system.events) if system else (),
    )


def transaction_view(
    read: Read, index: int, transaction: Transaction, result: TransactionResult, *, details: bool
) -> api.TransactionInBlock:
    """A transaction at its place in a block."""
    return api.TransactionInBlock(
        txid=transaction.txid.hex(),
        index=index,
        sender=read.address_text(transaction.body.sender),
        succeeded=result.succeeded,
        error=result.error,
        fee=str(result.fee),
        actions=action_names(transaction),
        transaction=transaction.to_json(read.prefix) if details else None,
        result=read.show(result) if details else None,
    )


def action_names(transaction: Transaction) -> tuple[str, ...]:
    """The names of its actions, in order."""
    return tuple(action.name for action in transaction.body.actions)


def blocks(read: Read, params: api.BlocksParams) -> api.Blocks:
    newest = read.snapshot.head.height
    step = 1 if params.oldest_first else -1
    place = read_cursor(params.cursor, int)
    if place is not None:
        start = place[0]
    elif params.from_height is not None:
        start = params.from_height if params.oldest_first else min(params.from_height, newest)
    else:
        start = 0 if params.oldest_first else newest
    end = newest + 1 if params.oldest_first else -1
    heights = range(start, end, step)
    items = [summary(read, height) for height in heights[: params.limit]]
    following = make_cursor(heights[params.limit]) if len(heights) > params.limit else None
    return api.Blocks(as_of=read.as_of, items=tuple(items), next_cursor=following)


def summary(read: Read, height: int) -> api.BlockSummary:
    """A block without its body. Raises NotFound."""
    header, block_hash = require_header(read, height)
    return api.BlockSummary(
        height=height,
        hash=block_hash.hex(),
        time_ms=header.time_ms,
        epoch=header.epoch,
        view=header.view,
        proposer=read.address_text(header.proposer),
        transactions=_count(read, height),
    )


def _count(read: Read, height: int) -> int:
    """How many transactions a block has: the number of its last result, for the system's own result is number 0."""
    start = RESULTS + u64(height)
    for key, _ in read.snapshot.read_range(start, start + b"\xff" * 5, reverse=True):
        return int.from_bytes(key[-4:], "big")
    return 0


def authority_set(read: Read, epoch: int) -> AuthoritySet:
    """The authorities of an epoch that has begun, or whose first block is the next. Raises NotFound."""
    present = epoch_of(read.clocks.height + 1, read.context.specification.parameters.epoch_blocks)
    data = read.snapshot.authority_set(epoch) if epoch <= present else None
    if data is None:
        raise NotFound(kind="epoch", epoch=epoch, present=present)
    return decode_authorities(data, epoch)


def certificate(read: Read, params: api.BlockReference) -> api.CertificateView:
    header, block_hash = find_header(read, params.height, params.hash)
    found = read.snapshot.finalization(header.height)
    if found is None:
        raise NotFound(kind="finalization", height=header.height)
    members = authority_set(read, found.epoch)
    return api.CertificateView(
        height=header.height,
        block_hash=block_hash.hex(),
        kind=found.kind.name.lower(),
        epoch=found.epoch,
        view=found.view,
        signers=tuple(read.address_text(members.members[index].operator) for index in found.signers()),
        authorities=members.size,
        quorum=members.quorum,
        bitmap=found.bitmap.hex(),
        signature=found.signature.hex(),
        encoded=found.encode().hex(),
    )


def authorities(read: Read, params: api.AuthoritiesParams) -> api.Authorities:
    epoch = params.epoch
    if epoch is None:
        epoch = epoch_of(read.clocks.height + 1, read.context.specification.parameters.epoch_blocks)
    found = authority_set(read, epoch)
    return api.Authorities(
        as_of=read.as_of,
        epoch=epoch,
        hash=found.hash().hex(),
        quorum=found.quorum,
        members=tuple(read.show(member) for member in found.members),
    )


def supply(read: Read, params: api.NoParams) -> api.Supply:
    amounts = totals(read.view)
    elsewhere = sum(getattr(amounts, item.name) for item in fields(amounts) if item.name not in ("issued", "burnt"))
    return api.Supply(
        as_of=read.as_of,
        issued=str(amounts.issued),
        burnt=str(amounts.burnt),
        balances=str(amounts.issued - amounts.burnt - elsewhere),
        escrow=str(amounts.escrow),
        staked=str(amounts.staked),
        unbonding=str(amounts.unbonding),
        deposits=str(amounts.deposits),
        rewards=str(amounts.rewards),
        epoch_pot=str(amounts.epoch_pot),
        treasury=str(amounts.treasury),
    )


def parameters(read: Read, params: api.NoParams) -> api.ParametersView:
    return api.ParametersView(as_of=read.as_of, parameters=read.show(read_parameters(read.view)))


HANDLERS: dict[str, Handler] = {
    "chain.info": info,
    "chain.head": quick(head),
    "chain.block": aside(block),
    "chain.blocks": aside(blocks),
    "chain.certificate": quick(certificate),
    "chain.authorities": quick(authorities),
    "chain.supply": quick(supply),
    "chain.params": quick(parameters),
}
