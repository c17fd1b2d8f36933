"""What is promised of money whatever happens, counted from the second ledger and from the bytes that were written.

The second ledger has been found equal to the first before this is asked, so what holds of the one holds of both.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import cbor2

from tests.economy.model import Model


def check_promises(model: Model, issued: int, changes: Mapping[bytes, bytes | None]) -> None:
    """Raise AssertionError unless money is conserved, no amount negative, and collateral within its stake.

    Args:
        issued: all money that genesis made; there is one asset.
        changes: what the block wrote.
    """
    amounts = list(model.amounts())
    placed = sum(amounts)
    assert placed == issued - model.burnt, f"{placed} base units are somewhere, {issued} - {model.burnt} are to be"
    assert min(amounts) >= 0, "an amount of the second ledger is negative"
    assert model.burnt >= 0, "less than nothing was burnt"
    for key, value in changes.items():
        negative = [] if value is None else [number for number in numbers(cbor2.loads(value)) if number < 0]
        assert not negative, f"{key.hex()} holds {negative}"
    for owner, amount in model.stake.items():
        held = model.reserved(owner)
        assert held <= amount or owner in model.slashed, f"{owner.hex()} has {amount} at stake for {held} of collateral"


def numbers(value: Any) -> Iterator[int]:
    """Every number in a record, however deep."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
