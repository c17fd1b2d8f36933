"""What an account earned and spent: `aitbc miner earnings` and `aitbc wallet stats`.

The node tells it in parts where there is much of it; here they are added up.
"""

import time
from collections import Counter
from typing import Any

import click

from cli.context import Application
from cli.framework import Command, application
from cli.output import Column, amount, day, details, number, plain, short, table

MAXIMUM_PARTS = 50
DAY_MS = 86_400_000
EARNED = ("gross", "fee", "net", "penalties_paid", "rewards")
SPENT = (
    *("locked", "paid", "refunded", "penalties_received", "transaction_fees"),
    *("sent", "received", "deposits_taken", "deposits_returned"),
)


def days_option(function: Any) -> Any:
    """--days: the period, counted back from now."""
    return click.option("--days", type=click.IntRange(1, 36_500), help="Only the last so many days [all].")(function)


class Told:
    """All parts of a statement, added up."""

    def __init__(self, app: Application, method: str, address: str, days: int | None) -> None:
        self.address = address
        self.total: Counter[str] = Counter()
        self.days: dict[int, Counter[str]] = {}
        self.deals: dict[tuple[str, str], Counter[str]] = {}
        self.complete = False
        self.from_ms = 0 if days is None else max(0, time.time_ns() // 1_000_000 - days * DAY_MS)
        cursor = None
        for _ in range(MAXIMUM_PARTS):
            part = app.call(method, address=address, from_ms=self.from_ms, cursor=cursor)
            self._add(part)
            cursor = part.next_cursor
            if cursor is None:
                self.complete = True
                return
        app.note("There is more than fits: give --days.")

    def _add(self, part: Any) -> None:
        self.total.update(_numbers(part.total))
        for each in part.days:
            self.days.setdefault(each.day_ms, Counter()).update(_numbers(each.flow))
        for each in part.items:
            self.deals.setdefault((each.kind, each.id), Counter()).update(_numbers(each.flow))

    def data(self, names: tuple[str, ...]) -> dict[str, Any]:
        """For programs: amounts in base units as text."""
        return {
            "address": self.address,
            "from_ms": self.from_ms,
            "complete": self.complete,
            **_text(self.total, names),
            "days": [{"day_ms": when, **_text(flow, names)} for when, flow in sorted(self.days.items(), reverse=True)],
            "items": [{"what": what, "id": which, **_text(flow, names)} for (what, which), flow in self.deals.items()],
        }


def _numbers(flow: Any) -> dict[str, int]:
    return {name: int(value) for name, value in plain(flow).items()}


def _text(flow: Counter[str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: str(flow[name]) for name in names}


def day_table(told: Told, names: dict[str, str]) -> str:
    """Flows by day, in columns with these titles."""
    columns = (Column("day (UTC)"), *(Column(title, right=True) for title in names.values()))
    rows = [
        [day(when), *(number(flow[name]) for name in names)] for when, flow in sorted(told.days.items(), reverse=True)
    ]
    return table(columns, rows, "Nothing on any day.")


@click.command(cls=Command)
@days_option
@application
def earnings(app: Application, days: int | None) -> None:
    """Show what bookings and jobs have paid you, by day and by deal, market fee deducted."""
    told = Told(app, "account.earnings", app.wallet().address_text, days)
    total = told.total
    lines = [("earned", amount(total["net"])), ("market fee", amount(total["fee"]))]
    if total["penalties_paid"]:
        lines.append(("penalties", f"{amount(total['penalties_paid'])} of your stake"))
    if total["rewards"]:
        lines.append(("rewards", amount(total["rewards"])))
    columns = (
        Column("what"),
        Column("id"),
        Column("earned, AITBC", right=True),
        Column("market fee", right=True, optional=True),
        Column("penalty", right=True, optional=True),
    )
    rows = [
        [what, short(which), number(flow["net"]), number(flow["fee"]), number(flow["penalties_paid"])]
        for (what, which), flow in told.deals.items()
    ]

    def human() -> str:
        parts = [details(lines)]
        if rows:
            parts = [day_table(told, {"net": "earned, AITBC", "fee": "market fee"}), table(columns, rows), *parts]
        return "\n\n".join(parts)

    app.show(told.data(EARNED), human)


@click.command(cls=Command)
@click.argument("account", required=False, metavar="[ADDRESS|WALLET]")
@days_option
@application
def stats(app: Application, account: str | None, days: int | None) -> None:
    """Show what an account has earned and spent [that of the wallet]."""
    address = app.account_text(account)
    earned = Told(app, "account.earnings", address, days)
    spent = Told(app, "account.spending", address, days)
    held = spent.total["locked"] - spent.total["paid"] - spent.total["refunded"]
    lines = [
        ("address", address),
        ("earned", f"{amount(earned.total['net'])} after {amount(earned.total['fee'])} of market fees"),
        ("rewards", amount(earned.total["rewards"])),
        ("penalties", f"{amount(earned.total['penalties_paid'])} paid"),
        ("", f"{amount(spent.total['penalties_received'])} received"),
        ("rented", f"{amount(spent.total['paid'])} paid, {amount(spent.total['refunded'])} refunded"),
        ("transfers", f"{amount(spent.total['sent'])} sent, {amount(spent.total['received'])} received"),
        ("transaction fees", amount(spent.total["transaction_fees"])),
        ("deposits", f"{amount(spent.total['deposits_taken'] - spent.total['deposits_returned'])} more than returned"),
    ]
    if days is None:
        lines.insert(6, ("", f"{amount(held)} held for what is not over"))
    by_day = day_table(
        spent, {"paid": "paid, AITBC", "transaction_fees": "fees", "sent": "sent", "received": "received"}
    )
    data = {"address": address, "earnings": earned.data(EARNED), "spending": spent.data(SPENT)}
    app.show(data, lambda: f"{details(lines)}\n\n{by_day}" if spent.days else details(lines))
