"""The namespace `account`: what an account owns, and what concerned it."""

from typing import Literal

from chain import interface as api
from chain.actions.accounts import PROFILES
from chain.bank import ACCOUNTS, account
from chain.crypto.address import KEY, MULTISIG
from chain.result import Event
from chain.transaction import Transaction
from node.rpc import stake
from node.rpc.chain import action_names, require_header
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, quick
from node.rpc.pages import make_cursor, read_cursor
from node.store import SYSTEM_INDEX


def get(read: Read, params: api.AccountParams) -> api.AccountView:
    address = read.address(params.address)
    found = ACCOUNTS.get(read.view, address)
    profile = PROFILES.get(read.view, address)
    held = account(read.view, address)
    return api.AccountView(
        as_of=read.as_of,
        address=read.address_text(address),
        kind=_kind(address),
        exists=found is not None,
        balance=str(held.balance),
        sequence=held.sequence,
        next_sequence=max(held.sequence, read.context.mempool.next_sequence(address)),
        stake=stake.amounts(read, address),
        profile=read.show(profile.profile) if profile else None,
        key=held.key.hex() if held.key else None,
        rotations=held.rotations,
    )


def _kind(address: bytes) -> Literal["key", "multisig", "module"]:
    if address[0] == KEY:
        return "key"
    return "multisig" if address[0] == MULTISIG else "module"


def next_sequence(read: Read, params: api.AccountParams) -> api.NextSequence:
    address = read.address(params.address)
    final = account(read.view, address).sequence
    return api.NextSequence(read.as_of, final, max(final, read.context.mempool.next_sequence(address)))


class Places:
    """Blocks and transactions along a history; each block's body is read once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._height = -1
        self._envelopes: tuple[bytes, ...] = ()

    def transaction(self, height: int, index: int) -> Transaction:
        """The transaction at a place that the history names."""
        if height != self._height:
            _, block_hash = require_header(self._read, height)
            self._height, self._envelopes = height, self._read.snapshot.envelopes(block_hash) or ()
        return Transaction.decode(self._envelopes[index])

    def events(self, height: int, index: int) -> tuple[Event, ...]:
        """The events at a place that the history names."""
        snapshot = self._read.snapshot
        result = snapshot.system_result(height) if index == SYSTEM_INDEX else snapshot.result(height, index)
        return result.events if result else ()


def concerning(events: tuple[Event, ...], subject: bytes) -> list[Event]:
    """Those events that name the account or record."""
    return [event for event in events if any(identifier == subject for _, identifier in event.subjects)]


def history(read: Read, params: api.HistoryParams) -> api.History:
    address = read.address(params.address)
    before = read_cursor(params.cursor, int, int)
    found = read.snapshot.history(address, (before[0], before[1]) if before else None, params.limit + 1)
    page = found[: params.limit]
    places = Places(read)
    return api.History(
        as_of=read.as_of,
        address=read.address_text(address),
        items=tuple(_entry(read, places, address, height, index) for height, index in page),
        next_cursor=make_cursor(*page[-1]) if len(found) > len(page) else None,
    )


def _entry(read: Read, places: Places, address: bytes, height: int, index: int) -> api.HistoryEntry:
    time_ms = require_header(read, height)[0].time_ms
    events = tuple(read.show(event) for event in concerning(places.events(height, index), address))
    if index == SYSTEM_INDEX:
        return api.HistoryEntry(height, None, time_ms, None, None, True, "", "0", (), "", events)
    transaction = places.transaction(height, index)
    result = read.snapshot.result(height, index)
    paid = result.fee if result and transaction.body.sender == address else 0
    return api.HistoryEntry(
        height=height,
        index=index,
        time_ms=time_ms,
        txid=transaction.txid.hex(),
        sender=read.address_text(transaction.body.sender),
        succeeded=bool(result and result.succeeded),
        error=result.error if result else "",
        fee=str(paid),
        actions=action_names(transaction),
        memo=transaction.body.memo,
        events=events,
    )


HANDLERS: dict[str, Handler] = {
    "account.get": quick(get),
    "account.history": aside(history),
    "account.next_sequence": quick(next_sequence),
}
