"""What may be typed: amounts, durations, times, ids. Parsed exactly, by integers and text alone, never by float."""

import re
import time
from typing import Any

import click

COIN = 10**9
LARGEST_AMOUNT = (1 << 64) - 1
LARGEST_SECONDS = (1 << 32) - 1
LARGEST_NUMBER = (1 << 53) - 1
"""Of what nodes take as a number that is not an amount."""
LEAST_PREFIX = 6
"""Digits of an id that may stand for it."""

_AMOUNT = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,30}))?(?: ?AITBC)?", re.IGNORECASE)
_DURATION = re.compile(r"(?:([0-9]{1,7})d)?(?:([0-9]{1,8})h)?(?:([0-9]{1,9})m(?:in)?)?(?:([0-9]{1,10})s?)?")
_HOURS = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,9}))?h?")
_MEMORY = re.compile(r"([0-9]{1,9}) ?(MB|GB|MiB|GiB|M|G)?", re.IGNORECASE)
_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))? ?%?")
_HEX = re.compile(r"[0-9a-f]{6,64}")


def parse_amount(text: str) -> int:
    """Base units of an amount in AITBC with at most nine decimals. Raises ValueError, saying why."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount; write AITBC such as 12 or 0.25")
    fraction = match[2] or ""
    if len(fraction.rstrip("0")) > 9:
        raise ValueError(f"{text} has more than nine decimals; the smallest amount is 0.000000001 AITBC")
    value: int = int(match[1]) * COIN + int(fraction.rstrip("0").ljust(9, "0") or 0)
    if value > LARGEST_AMOUNT:
        raise ValueError(f"{text} is more than all money there can be")
    return value


def parse_duration(text: str) -> int:
    """Seconds of `90`, `90s`, `15m`, `1h30m`, `7d`. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip().replace(" ", ""))
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration; write seconds, or such as 15m, 2h, 7d")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    value: int = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if value > LARGEST_SECONDS:
        raise ValueError(f"{text} is too long")
    return value


def parse_hours(text: str) -> int:
    """Seconds of a number of hours that is a whole number of seconds, such as 1.5. Raises ValueError."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a number of hours")
    scale = int("1" + "0" * len(match[2] or ""))
    seconds, rest = divmod((int(match[1]) * scale + int(match[2] or 0)) * 3_600, scale)
    if rest:
        raise ValueError(f"{text} hours are not a whole number of seconds; use --seconds")
    if not 0 < seconds <= LARGEST_SECONDS:
        raise ValueError(f"{text} hours are out of range")
    return seconds


def parse_time(text: str) -> int:
    """Milliseconds since 1970 of an ISO time (local unless it names a zone) or of `+2h` from now. Raises ValueError."""
    from datetime import datetime

    text = text.strip()
    if text.startswith("+"):
        return time.time_ns() // 1_000_000 + parse_duration(text[1:]) * 1_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write such as 2030-01-31T18:00, or +2h from now") from None
    try:
        seconds = int(moment.astimezone().timestamp())
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"{text} is out of range") from None
    if not 0 < seconds * 1_000 < 1 << 53:
        raise ValueError(f"{text} is out of range")
    return seconds * 1_000


def parse_memory(text: str) -> int:
    """Megabytes of `24576`, `24GB`. Raises ValueError."""
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size of memory; write megabytes, or such as 24GB")
    value: int = int(match[1]) * (1_024 if (match[2] or "M")[0] in "gG" else 1)
    if not 0 < value <= 16 << 20:
        raise ValueError(f"{text} is out of range")
    return value


def parse_percent(text: str) -> int:
    """Basis points of a percentage with at most two decimals, from 0 to 100. Raises ValueError."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a percentage; write such as 25 or 12.5")
    value = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if value > 10_000:
        raise ValueError(f"{text} % is more than all of it")
    return value


def parse_id(text: str) -> str:
    """An id or the beginning of one, in lower-case hexadecimal. Raises ValueError."""
    found = text.strip().lower().removesuffix("…")
    if not _HEX.fullmatch(found):
        raise ValueError(f"{text!r} is not an id: 64 hexadecimal digits, or at least the first {LEAST_PREFIX}")
    return found


def parse_number(text: str) -> int:
    """A whole number. Raises ValueError."""
    found = text.strip().replace(",", "")
    if not (found.isascii() and found.isdigit()) or int(found[:20]) > LARGEST_NUMBER:
        raise ValueError(f"{text!r} is not a whole number up to {LARGEST_NUMBER:,}")
    return int(found)


def parse_count(text: str) -> int:
    """A whole number of one or more. Raises ValueError."""
    number = parse_number(text)
    if number == 0:
        raise ValueError("at least 1 is needed")
    return number


def parse_number31(text: str) -> int:
    """A whole number of 31 bits: what a step of the derivation of keys can be. Raises ValueError."""
    number = parse_number(text)
    if number >> 31:
        raise ValueError(f"{text} is too large")
    return number


def parse_number32(text: str) -> int:
    """A whole number of 32 bits. Raises ValueError."""
    number = parse_number(text)
    if number >> 32:
        raise ValueError(f"{text} is too large")
    return number


class _Parsed(click.ParamType):
    """A type made of a parsing function."""

    def __init__(self, name: str, parse: Any) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


AMOUNT = _Parsed("amount", parse_amount)
DURATION = _Parsed("duration", parse_duration)
HOURS = _Parsed("hours", parse_hours)
TIME = _Parsed("time", parse_time)
PERCENT = _Parsed("percent", parse_percent)
MEMORY = _Parsed("size", parse_memory)
NUMBER = _Parsed("number", parse_number)
COUNT = _Parsed("number", parse_count)
NUMBER31 = _Parsed("number", parse_number31)
NUMBER32 = _Parsed("number", parse_number32)
ID = _Parsed("id", parse_id)
