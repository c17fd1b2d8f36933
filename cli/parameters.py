"""Parameters of the network in the units that people use: AITBC, percentages, durations, counts."""

from cli.errors import BadInput
from cli.output import amount, duration, share
from cli.types import parse_amount, parse_duration, parse_percent


def _kind(name: str) -> str:
    """In what a parameter is measured. Raises BadInput if there is none of this name."""
    from chain.parameters import Parameters
    from chain.record import layout
    from chain.schema import Money, Unsigned

    compiled = layout(Parameters)
    kinds = dict(zip(compiled.names, compiled.kinds, strict=True))
    if name not in kinds:
        raise BadInput(f"{name!r} is no parameter.", "`aitbc governance parameters` lists those that can be changed.")
    if isinstance(kinds[name], Money):
        return "amount"
    if kinds[name] == Unsigned(10_000):
        return "share"
    return "duration" if name.endswith("_seconds") else "count"


def parse_value(name: str, text: str) -> int:
    """The value of a parameter as the ledger holds it. Raises BadInput."""
    kind = _kind(name)
    try:
        if kind == "amount":
            return parse_amount(text)
        if kind == "share":
            return parse_percent(text)
        if kind == "duration":
            return parse_duration(text)
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise ValueError(f"{text!r} is not a whole number")
        return int(text)
    except ValueError as error:
        raise BadInput(
            f"{name}: {error}.", "Amounts are in AITBC, shares in percent, times such as 90s or 2h."
        ) from error


def value_text(name: str, value: int) -> str:
    """The value of a parameter for people."""
    kind = _kind(name)
    if kind == "amount":
        return amount(value)
    if kind == "share":
        return share(value)
    if kind == "count":
        return f"{value:,}"
    text = duration(value)
    return text if parse_duration(text) == value else f"{text} ({value:,} s)"
