"""Transactions that wait for a block: which are admitted, which give way, and in what order they are proposed.

A sender's transactions form a run from his next sequence on; what lies beyond a gap waits for the gap to close. Each
is admitted by the ledger's own check, as if its turn had come and all before it were paid. Selection goes by fee for
weight across senders and by sequence within one; when room is short the cheapest last transaction of a sender gives
way, so that no run is ever broken from the front. Nothing here touches the disk but to read accounts of new senders.

The event loop admits and the executor's thread selects, so every method takes the lock; none holds it for long.
"""

import heapq
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from chain.action import BlockContext
from chain.actions.accounts import Transfer
from chain.actions.staking import AddStake
from chain.bank import ACCOUNTS, NATIVE_ASSET, Account, account
from chain.clocks import read_clocks
from chain.errors import FeeTooLow, InsufficientFunds, KeyMismatch, LedgerError, SequenceMismatch, TransactionExpired
from chain.fees import required_fee
from chain.parameters import PARAMETERS, read_parameters
from chain.record import decode_record
from chain.state.view import Reader, View
from chain.transaction import Transaction
from chain.transition import SYSTEM_ACCOUNT, check_transaction
from node.executor import FinalBlock

PRICE_SCALE = 1 << 20
"""Prices are integers: this many times fee for weight, rounded down."""
HEAP_SLACK = 1_024
"""Outdated heap entries beyond the number of transactions at which a heap is built again."""


class MempoolFull(LedgerError):
    code = 2031
    hint = "The node holds all it can. Offer a higher fee, or try again in a few seconds."


class ReplacementUnderpriced(LedgerError):
    code = 2032
    hint = "Another transaction with this sequence waits already; to replace it, offer at least ten percent more."


class SequenceTooFar(LedgerError):
    code = 2033
    hint = "Send the transactions with the lower sequences first."


class TransactionTooHeavy(LedgerError):
    """No block can hold it. Were it pending, it would be work that is never done: one empty block after the other."""

    code = 2037
    hint = "Split the actions over several transactions."


class Replaced(LedgerError):
    """A transaction with the same sequence and a higher fee took its place."""

    code = 2034
    hint = "Look up the transaction named in the error instead."


@dataclass(frozen=True, slots=True)
class Limits:
    """What a mempool holds at most."""

    count: int = 50_000
    size: int = 32 << 20
    """Bytes of all envelopes."""
    sender_count: int = 4_096
    sender_size: int = 4 << 20
    """Bytes of one sender's envelopes."""
    gap: int = 64
    """How far a sequence may be beyond the first one that is missing."""
    remembered: int = 10_000
    """Transactions whose dropping is remembered."""


class _Entry:
    """A pending transaction."""

    __slots__ = ("arrival", "cost", "price", "transaction")

    def __init__(self, transaction: Transaction, arrival: int) -> None:
        self.transaction = transaction
        self.arrival = arrival
        self.price = transaction.body.fee * PRICE_SCALE // transaction.weight
        self.cost = transaction.body.fee + spending(transaction)


class _Sender:
    """What one account has pending."""

    __slots__ = ("account", "address", "cost", "end", "entries", "size", "top")

    def __init__(self, address: bytes, account: Account) -> None:
        self.address = address
        self.account = account
        self.entries: dict[int, _Entry] = {}
        self.end = account.sequence
        """The first sequence that is missing."""
        self.top = -1
        """The highest sequence pending."""
        self.size = 0
        self.cost = 0

    @property
    def first(self) -> _Entry | None:
        """What can be in the next block."""
        return self.entries.get(self.account.sequence)

    @property
    def tail(self) -> tuple[bool, int, int]:
        """How the last transaction stands against others when room is short: (no gap before it, price, age)."""
        entry = self.entries[self.top]
        return (self.top < self.end, entry.price, -entry.arrival)

    def put(self, entry: _Entry) -> None:
        sequence = entry.transaction.body.sequence
        self.entries[sequence] = entry
        self.size += entry.transaction.size
        self.cost += entry.cost
        self.top = max(self.top, sequence)
        while self.end in self.entries:
            self.end += 1

    def remove(self, sequence: int) -> _Entry:
        entry = self.entries.pop(sequence)
        self.size -= entry.transaction.size
        self.cost -= entry.cost
        self.end = min(self.end, sequence)
        while self.entries and self.top not in self.entries:
            self.top -= 1
        return entry

    def move(self, account: Account) -> None:
        """The account as of a new final block; what is below its sequence must be gone."""
        self.account = account
        self.end = max(self.end, account.sequence)
        while self.end in self.entries:
            self.end += 1


class Selection:
    """The order of one proposal: always the best-paying transaction that is some sender's next."""

    def __init__(self, lock: threading.RLock, ready: Iterable[_Sender]) -> None:
        self._lock = lock
        self._heap = [(-first.price, first.arrival, first, sender) for sender in ready if (first := sender.first)]
        heapq.heapify(self._heap)
        self._last: tuple[_Entry, _Sender] | None = None

    def next(self) -> Transaction | None:
        """The best one left, or None. Its sender's following ones come only if it is accepted."""
        if not self._heap:
            return None
        _, _, entry, sender = heapq.heappop(self._heap)
        self._last = entry, sender
        return entry.transaction

    def accept(self) -> None:
        """The last one is in the block."""
        if self._last is not None:
            entry, sender = self._last
            with self._lock:
                following = sender.entries.get(entry.transaction.body.sequence + 1)
            if following is not None:
                heapq.heappush(self._heap, (-following.price, following.arrival, following, sender))
            self._last = None


class Mempool:
    """The pending transactions of one node, above its final state. Safe from any thread."""

    def __init__(
        self, reader: Reader, chain_id: str, *, wall_ms: Callable[[], int], limits: Limits | None = None
    ) -> None:
        """
        Args:
            reader: the final state.
            wall_ms: the machine's clock, milliseconds since 1970: a block of this node would carry that time.
        """
        self._reader = reader
        self._chain_id = chain_id
        self._wall_ms = wall_ms
        self._limits = limits or Limits()
        self._lock = threading.RLock()
        self._entries: dict[bytes, Transaction] = {}
        self._size = 0
        self._senders: dict[bytes, _Sender] = {}
        self._ready: dict[bytes, _Sender] = {}
        self._tails: list[tuple[tuple[bool, int, int], bytes, int]] = []
        self._expiries: list[tuple[int, bytes]] = []
        self._arrivals = 0
        self._dropped: OrderedDict[bytes, LedgerError] = OrderedDict()
        self._listeners: list[Callable[[bytes, LedgerError], None]] = []
        view = View(reader)
        self._parameters = read_parameters(view)
        clocks = read_clocks(view)
        self._height, self._time_ms = clocks.height, clocks.time_ms

    # What is pending

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._entries

    @property
    def size(self) -> int:
        """Bytes of all pending envelopes."""
        return self._size

    @property
    def has_executable(self) -> bool:
        """Whether some sender's next transaction is here."""
        return bool(self._ready)

    def pending(self, txid: bytes) -> Transaction | None:
        """The pending transaction of this id."""
        return self._entries.get(txid)

    def pending_of(self, address: bytes) -> tuple[Transaction, ...]:
        """Everything an account has pending, in sequence."""
        with self._lock:
            sender = self._senders.get(address)
            return () if sender is None else tuple(sender.entries[key].transaction for key in sorted(sender.entries))

    def next_sequence(self, address: bytes) -> int:
        """The first sequence of an account that is neither final nor pending: what it should sign next."""
        with self._lock:
            sender = self._senders.get(address)
            return account(View(self._reader), address).sequence if sender is None else sender.end

    def envelopes(self) -> tuple[tuple[bytes, bytes], ...]:
        """(txid, envelope) of everything pending; a sender's transactions are in sequence."""
        with self._lock:
            return tuple(
                (entry.transaction.txid, entry.transaction.envelope)
                for sender in self._senders.values()
                for _, entry in sorted(sender.entries.items())
            )

    def dropped(self, txid: bytes) -> LedgerError | None:
        """Why a transaction that was pending is not any more, if it did not become final; None if unknown."""
        return self._dropped.get(txid)

    def remember_dropped(self, txid: bytes, reason: LedgerError) -> None:
        """Remember why a transaction that was acknowledged is not pending."""
        with self._lock:
            self._dropped[txid] = reason
            self._dropped.move_to_end(txid)
            while len(self._dropped) > self._limits.remembered:
                self._dropped.popitem(last=False)

    def on_drop(self, listener: Callable[[bytes, LedgerError], None]) -> None:
        """Call `listener(txid, reason)` for each dropped transaction, from whatever thread drops it."""
        self._listeners.append(listener)

    # Admission

    def add(self, transaction: Transaction, *, acknowledged: bool = False) -> bool:
        """Admit a transaction whose signature is good; False if it is pending already.

        One that this node has acknowledged before expires by block time alone, so that a wrong clock cannot lose it.

        Raises SequenceMismatch, SequenceTooFar, ReplacementUnderpriced, TransactionTooHeavy, InsufficientFunds,
        MempoolFull or what the ledger's check raises. Nothing has changed then.
        """
        body = transaction.body
        with self._lock:
            if transaction.txid in self._entries:
                return False
            sender = self._senders.get(body.sender)
            if sender is None:
                sender = _Sender(body.sender, account(View(self._reader), body.sender))
            old = self._place(sender, transaction)
            self._check(sender, transaction, old, acknowledged)
            entry = _Entry(transaction, self._arrivals)
            self._make_room(sender, entry, old)
            if old is not None:
                self._drop(sender, body.sequence, Replaced(by=transaction.txid), keep=True)
            self._put(sender, entry)
            return True

    def _place(self, sender: _Sender, transaction: Transaction) -> _Entry | None:
        """What the transaction would replace. Raises if its sequence, or its fee beside that one, does not do."""
        sequence, fee = transaction.body.sequence, transaction.body.fee
        if sequence < sender.account.sequence:
            raise SequenceMismatch(expected=sender.end, got=sequence)
        if sequence > sender.end + self._limits.gap:
            raise SequenceTooFar(expected=sender.end, got=sequence, maximum=sender.end + self._limits.gap)
        old = sender.entries.get(sequence)
        if old is not None:
            needed = -(-old.transaction.body.fee * 11 // 10)
            if fee < max(needed, old.transaction.body.fee + 1):
                raise ReplacementUnderpriced(needed=needed, offered=fee, pending=old.transaction.txid)
        return old

    def _check(self, sender: _Sender, transaction: Transaction, old: _Entry | None, acknowledged: bool) -> None:
        """The ledger's check, as if everything else of the sender were paid and it were this one's turn."""
        self._check_weight(transaction)
        left = max(0, sender.account.balance - sender.cost + (old.cost if old else 0))
        view = View(self._reader)
        ACCOUNTS.put(view, sender.address, replace(sender.account, balance=left, sequence=transaction.body.sequence))
        wall_ms = self._wall_ms()
        if acknowledged:
            wall_ms = min(wall_ms, transaction.body.valid_until_ms)
        time_ms = max(self._time_ms + 1, wall_ms)
        block = BlockContext(self._chain_id, self._height + 1, 0, time_ms, SYSTEM_ACCOUNT)
        check_transaction(view, self._parameters, block, transaction)
        needed = transaction.body.fee + spending(transaction)
        if left < needed:
            raise InsufficientFunds(needed=needed, available=left)

    def _check_weight(self, transaction: Transaction) -> None:
        maximum = self._parameters.maximum_transaction_weight
        if transaction.weight > maximum:
            raise TransactionTooHeavy(weight=transaction.weight, maximum=maximum)

    def _make_room(self, sender: _Sender, entry: _Entry, old: _Entry | None) -> None:
        """Drop cheaper tails until the entry fits. Raises MempoolFull."""
        limits, transaction = self._limits, entry.transaction
        count, size = (0, old.transaction.size) if old else (1, 0)
        size = transaction.size - size
        if len(sender.entries) + count > limits.sender_count or sender.size + size > limits.sender_size:
            raise MempoolFull(scope="sender", count=limits.sender_count, bytes=limits.sender_size)
        rank = (transaction.body.sequence <= sender.end, entry.price, -entry.arrival)
        while len(self._entries) + count > limits.count or self._size + size > limits.size:
            victim = self._cheapest()
            if victim is None or victim is sender or rank[:2] <= victim.tail[:2]:
                raise MempoolFull(scope="node", count=limits.count, bytes=limits.size)
            self._drop(victim, victim.top, MempoolFull(scope="node", count=limits.count, bytes=limits.size))

    def _cheapest(self) -> _Sender | None:
        """Who has the last transaction that is worth least."""
        while self._tails:
            rank, address, sequence = self._tails[0]
            sender = self._senders.get(address)
            if sender is not None and sender.top == sequence and sender.tail == rank:
                return sender
            heapq.heappop(self._tails)
        return None

    # Coming and going

    def _put(self, sender: _Sender, entry: _Entry) -> None:
        transaction = entry.transaction
        self._arrivals += 1
        sender.put(entry)
        self._entries[transaction.txid] = transaction
        self._size += transaction.size
        self._dropped.pop(transaction.txid, None)
        heapq.heappush(self._expiries, (transaction.body.valid_until_ms, transaction.txid))
        if len(self._expiries) > 2 * len(self._entries) + HEAP_SLACK:
            self._expiries = [(item.body.valid_until_ms, txid) for txid, item in self._entries.items()]
            heapq.heapify(self._expiries)
        self._settle(sender)

    def _remove(self, sender: _Sender, sequence: int) -> Transaction:
        transaction = sender.remove(sequence).transaction
        del self._entries[transaction.txid]
        self._size -= transaction.size
        return transaction

    def _drop(self, sender: _Sender, sequence: int, reason: LedgerError, *, keep: bool = False) -> None:
        """Remove a transaction and remember why; `keep` if another takes its place at once."""
        txid = self._remove(sender, sequence).txid
        self.remember_dropped(txid, reason)
        if not keep:
            self._settle(sender)
        for listener in self._listeners:
            listener(txid, reason)

    def _settle(self, sender: _Sender) -> None:
        """Put a changed sender where he belongs: gone, ready or waiting; and his tail among the tails."""
        if not sender.entries:
            self._senders.pop(sender.address, None)
            self._ready.pop(sender.address, None)
            return
        self._senders[sender.address] = sender
        if sender.first is None:
            self._ready.pop(sender.address, None)
        else:
            self._ready[sender.address] = sender
        heapq.heappush(self._tails, (sender.tail, sender.address, sender.top))
        if len(self._tails) > 2 * len(self._entries) + HEAP_SLACK:
            self._tails = [(item.tail, item.address, item.top) for item in self._senders.values()]
            heapq.heapify(self._tails)

    def drop(self, txid: bytes, reason: LedgerError) -> None:
        """Forget a transaction that can never be included. Does nothing if it is not pending."""
        with self._lock:
            transaction = self._entries.get(txid)
            if transaction is not None:
                self._drop(self._senders[transaction.body.sender], transaction.body.sequence, reason)

    # Proposals and final blocks

    def select(self) -> Selection:
        """Begin to choose for a proposal; the choosing may go on while transactions come and go."""
        with self._lock:
            return Selection(self._lock, self._ready.values())

    def final(self, final: FinalBlock) -> None:
        """A block became final: what it holds is done, and what it made impossible is dropped."""
        with self._lock:
            self._height, self._time_ms = final.block.header.height, final.block.header.time_ms
            included = {transaction.txid for transaction in final.transactions}
            prefix = ACCOUNTS.key(b"")
            for key, value in final.changes.items():
                if key.startswith(prefix) and (sender := self._senders.get(key[1:])) is not None:
                    new = Account() if value is None else decode_record(Account, value)
                    self._advance(sender, new, included)
            if PARAMETERS.key() in final.changes:
                self._parameters = read_parameters(View(self._reader))
                self._drop_unfit()
            while self._expiries and self._expiries[0][0] <= self._time_ms:
                valid_until_ms, txid = heapq.heappop(self._expiries)
                self.drop(txid, TransactionExpired(valid_until_ms=valid_until_ms, time_ms=self._time_ms))

    def _advance(self, sender: _Sender, new: Account, included: set[bytes]) -> None:
        """Bring a sender up to his new account; drop what an old key signed and, from the tail, what he cannot pay."""
        for sequence in [key for key in range(sender.account.sequence, new.sequence) if key in sender.entries]:
            if sender.entries[sequence].transaction.txid in included:
                self._remove(sender, sequence)
            else:
                self._drop(sender, sequence, SequenceMismatch(expected=new.sequence, got=sequence), keep=True)
        if new.key is not None and new.key != sender.account.key:
            for sequence, entry in list(sender.entries.items()):
                if entry.transaction.body.public_key != new.key:
                    self._drop(sender, sequence, KeyMismatch(sender=sender.address), keep=True)
        sender.move(new)
        while sender.cost > new.balance:
            reason = InsufficientFunds(needed=sender.cost, available=new.balance)
            self._drop(sender, sender.top, reason, keep=True)
        self._settle(sender)

    def _drop_unfit(self) -> None:
        """Drop what the new parameters exclude."""
        for transaction in list(self._entries.values()):
            try:
                self._check_weight(transaction)
            except TransactionTooHeavy as error:
                self.drop(transaction.txid, error)
                continue
            needed = required_fee(self._parameters, transaction.size, transaction.weight)
            if transaction.body.fee < needed:
                self.drop(transaction.txid, FeeTooLow(needed=needed, offered=transaction.body.fee))


def spending(transaction: Transaction) -> int:
    """What the actions certainly take from the sender's balance, in base units, beside the fee.

    Only what is exact without the state counts: an upper bound, as of a booking's cost, would refuse too much.
    """
    total = 0
    for action in transaction.body.actions:
        if isinstance(action, AddStake) or (isinstance(action, Transfer) and action.asset == NATIVE_ASSET):
            total += action.amount
    return total
