"""Earnings and spending of an account over a period, from the events of its history alone.

The events are the only source, so this stays true when the bookings and jobs themselves have left the state. Amounts
are told apart by their names and by the role in which the account is named, so a new kind of event that keeps to the
names is counted without a change here.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chain.result import Event
from chain.trades import DAY_MS

AS_PROVIDER = ("gross", "fee", "net", "penalties_paid")
"""Earned: gross = fee + net; penalties are taken from the stake."""
AS_RENTER = ("locked", "paid", "refunded", "penalties_received")
"""Spent: locked = paid + refunded + what is still held."""
AS_ACCOUNT = ("rewards", "received", "sent", "transaction_fees", "deposits_taken", "deposits_returned")
"""Whoever it is."""
DEALS = ("booking", "job", "request")
"""Roles of the records that flows are told apart by."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One transaction, or one block's own work, that concerned the account."""

    time_ms: int
    """Block time."""
    events: tuple[Event, ...]
    """Those that name the account."""
    fee: int = 0
    """What the account itself paid for the transaction, base units."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What flowed, by name as listed above, base units."""

    total: Counter[str] = field(default_factory=Counter)
    days: dict[int, Counter[str]] = field(default_factory=dict)
    """By day of block time since 1970."""
    deals: dict[tuple[str, bytes], Counter[str]] = field(default_factory=dict)
    """By (what it is, id): bookings, jobs and requests."""


def flows(account: bytes, event: Event) -> Counter[str]:
    """What one event moved, seen from the account."""
    found: Counter[str] = Counter()
    roles = {role for role, identifier in event.subjects if identifier == account}
    amounts = Counter(dict(event.amounts))
    gross = amounts["net"] + amounts["fee"]
    if "provider" in roles:
        found.update(gross=gross, fee=amounts["fee"], net=amounts["net"], penalties_paid=amounts["forfeited"])
    if "renter" in roles:
        found.update(paid=gross, locked=amounts["locked"], refunded=amounts["refund"])
    if roles & {"renter", "challenger"}:
        found.update(penalties_received=amounts["forfeited"])
    match event.kind:
        case "stake.rewards_claimed":
            found.update(rewards=amounts["amount"])
        case "account.transfer":
            found.update(received=amounts["amount"] * ("to" in roles), sent=amounts["amount"] * ("from" in roles))
        case "deposit.taken" | "deposit.returned" if "payer" in roles:
            found.update({"deposits_" + event.kind.removeprefix("deposit."): amounts["amount"]})
    return +found


def statement(account: bytes, occurrences: Iterable[Occurrence], from_ms: int, until_ms: int) -> Statement:
    """What flowed to and from an account in [from, until) of block time."""
    found = Statement()
    for occurrence in occurrences:
        if not from_ms <= occurrence.time_ms < until_ms:
            continue
        day = found.days.setdefault(occurrence.time_ms // DAY_MS, Counter())
        if occurrence.fee:
            day["transaction_fees"] += occurrence.fee
            found.total["transaction_fees"] += occurrence.fee
        for event in occurrence.events:
            moved = flows(account, event)
            day.update(moved)
            found.total.update(moved)
            for role, identifier in event.subjects if moved else ():
                if role in DEALS:
                    found.deals.setdefault((role, identifier), Counter()).update(moved)
    return found
