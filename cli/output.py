"""Four ways to say the same: a table for people; json, yaml and ndjson for programs.

Programs get what the node said, unabridged: amounts in base units as text, times in milliseconds, ids in full. People
get AITBC, local times and tables that fit their terminal. Text that comes from the chain is anyone's, so whatever
could steer a terminal is taken out of it.
"""

import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from datetime import datetime

FORMATS = ("table", "json", "yaml", "ndjson")
COIN = 10**9
SHORT_ID = 12
"""Characters of an id in a table; every command takes an id that is shortened so."""

_GAP = "  "
_LEAST_WIDTH = 6

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    right: bool = False
    """Numbers align on the right."""
    shrinks: bool = False
    """Its text may be cut where the terminal is narrow."""
    optional: bool = False
    """Left out, from the right, where the terminal is too narrow for all columns."""


def plain(value: Any) -> Any:
    """A result of the node as values that JSON and YAML know."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def show(form: str, data: Any, human: Callable[[], str]) -> None:
    """Write data to stdout in the wanted form; `human` makes the table form."""
    if form == "table":
        text = human()
        if text:
            # Nothing may be taken out of it here: what is not for this terminal was never put in.
            click.echo(text, color=True)
        return
    value = plain(data)
    if form == "ndjson":
        items = value.get("items", value) if isinstance(value, dict) else value
        for item in items if isinstance(items, list) else [items]:
            click.echo(json.dumps(item, ensure_ascii=sys.stdout.isatty()))
    elif form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(json.dumps(value, indent=2, ensure_ascii=sys.stdout.isatty()))


def note(text: str, label: str = "") -> None:
    """Say something that is not data, after a label in bold."""
    shown = f"{click.style(label, bold=True)} " if label else ""
    click.echo(shown + clean_lines(text), err=True, color=_colored(sys.stderr))


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], empty: str = "Nothing found.") -> str:
    """A table that fits the terminal; in full where the output is no terminal."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if not cells:
        return empty
    shown = list(range(len(columns)))
    widths = [max(width(columns[at].title), *(width(row[at]) for row in cells)) for at in shown]
    limit = terminal_width()
    if limit is not None:
        shown = _fit(columns, widths, limit)
    header = _line(columns, widths, shown, [column.title for column in columns])
    lines = [click.style(header, bold=True) if _colored(sys.stdout) else header]
    lines += [_line(columns, widths, shown, row) for row in cells]
    return "\n".join(lines)


def _fit(columns: Sequence[Column], widths: list[int], limit: int) -> list[int]:
    """Leave out optional columns and narrow `widths` until the table fits; returns the columns that stay."""
    shown = list(range(len(columns)))

    def excess() -> int:
        return sum(widths[at] for at in shown) + len(_GAP) * (len(shown) - 1) - limit

    floors = [max(_LEAST_WIDTH, min(width, 16)) if columns[at].shrinks else width for at, width in enumerate(widths)]
    for at in reversed(range(len(columns))):
        if sum(floors[i] for i in shown) + len(_GAP) * (len(shown) - 1) <= limit:
            break
        if columns[at].optional:
            shown.remove(at)
    while excess() > 0:
        widest = max((at for at in shown if columns[at].shrinks), key=lambda at: widths[at], default=None)
        if widest is None or widths[widest] <= _LEAST_WIDTH:
            break
        widths[widest] -= 1
    return shown


def _line(columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], cells: Sequence[str]) -> str:
    parts = []
    for at in shown:
        text = cut(cells[at], widths[at])
        blanks = " " * (widths[at] - width(text))
        parts.append(blanks + text if columns[at].right else text + blanks)
    return _GAP.join(parts).rstrip()


def details(pairs: Pairs, indent: str = "") -> str:
    """One line for each name and value, values aligned."""
    wide = max((width(name) for name, _ in pairs), default=0)
    lines = []
    for name, value in pairs:
        first, *more = value.split("\n")
        lines.append(f"{indent}{name}{' ' * (wide - width(name))}{_GAP}{clean(first)}".rstrip())
        lines += [f"{indent}{' ' * wide}{_GAP}{clean(line)}".rstrip() for line in more]
    return "\n".join(lines)


def clean(text: str) -> str:
    """Text without anything that could steer a terminal or hide what is written."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def clean_lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(map(clean, text.split("\n")))


def foreign(text: str) -> str:
    """A whole text of someone else, to be shown: cleaned for a terminal, untouched for a file or a program."""
    return clean_lines(text) if sys.stdout.isatty() else text


def width(text: str) -> int:
    """Cells that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def cut(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis, in at most `limit` cells."""
    if width(text) <= limit:
        return text
    while text and width(text) > limit - 1:
        text = text[:-1]
    return text + "…"


def terminal_width() -> int | None:
    """Cells in a line; None where nothing limits it."""
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _colored(stream: Any) -> bool:
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def amount(base_units: str | int) -> str:
    """Base units as AITBC with unit, without trailing zeros."""
    return f"{number(base_units)} AITBC"


def number(base_units: str | int) -> str:
    """The same without unit, for columns whose title names it."""
    value = int(base_units)
    whole, part = divmod(abs(value), COIN)
    fraction = f".{part:09d}".rstrip("0") if part else ""
    return f"{'-' if value < 0 else ''}{whole:,}{fraction}"


_MONEY = frozenset(
    "amount stake locked collateral collateral_freed price_per_hour rate cost saved"
    " gross net fee refund forfeited paid payment deposit"
    " disputed earned claimed granted slashed deposit_to_opener deposit_to_respondent".split()
)


def event_amounts(pairs: Iterable[dict[str, str]]) -> str:
    """The amounts of an event: money in AITBC, times in local time, anything else as it is."""
    told = []
    for pair in pairs:
        name, value = pair["name"], pair["value"]
        if name.endswith("_ms"):
            shown = local_time(int(value))
        elif name.endswith("_share"):
            shown = share(int(value))
        else:
            shown = amount(value) if name in _MONEY else value
        told.append(f"{name.removesuffix('_ms').replace('_', ' ')} {shown}")
    return ", ".join(told)


def plural(count: int, noun: str) -> str:
    """`1 review`, `2 reviews`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def brief_time(ms: int | None) -> str:
    """A local time for a column whose title names the zone (see `zoned`); the year only where it is another."""
    if not ms:
        return "-"
    try:
        moment = _moment(ms)
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
    return moment.strftime("%m-%d %H:%M:%S" if moment.year == _now().year else "%Y-%m-%d %H:%M")


def zoned(title: str) -> str:
    """The title of a column of times: `from (CET)`."""
    return f"{title} ({_now().strftime('%Z')})"


def _moment(ms: int) -> "datetime":
    """A time in this machine's zone. Raises OverflowError, ValueError or OSError if it is out of range."""
    from datetime import datetime

    return datetime.fromtimestamp(ms / 1_000).astimezone()


def _now() -> "datetime":
    return _moment(time.time_ns() // 1_000_000)


def day(ms: int) -> str:
    """The day that begins at this time in UTC, as the ledger counts days."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(ms // 1_000, UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def rating(hundredths: int | None) -> str:
    """A mean rating: `4.25`."""
    return "-" if hundredths is None else f"{hundredths // 100}.{hundredths % 100:02d}"


def local_time(ms: int | None) -> str:
    """A time in this machine's zone: `2026-11-21 16:24:05 CET`."""
    if not ms:
        return "-"
    try:
        return _moment(ms).strftime("%Y-%m-%d %H:%M:%S %Z")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def duration(seconds: int) -> str:
    """`45 s`, `5 min`, `2 h 30 min`, `3 d 4 h`: the two largest units."""
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def short(identifier: str | None) -> str:
    """The beginning of an id, or both ends of an address."""
    if not identifier:
        return "-"
    if "1" in identifier[:32] and not _is_hex(identifier):
        return f"{identifier[:10]}…{identifier[-6:]}"
    return identifier[:SHORT_ID]


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)


def memory(megabytes: int) -> str:
    """Memory of a GPU in GB, where it is a whole number of them."""
    return f"{megabytes // 1_024} GB" if megabytes % 1_024 == 0 else f"{megabytes} MB"


def share(basis_points: int) -> str:
    """Basis points in percent."""
    return f"{basis_points // 100}.{basis_points % 100:02d}".rstrip("0").rstrip(".") + " %"


def json_failure(failure: dict[str, Any]) -> None:
    """An error as one JSON object on stderr."""
    click.echo(json.dumps(failure, ensure_ascii=False), err=True)
