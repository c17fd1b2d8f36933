"""Which parameters governance may change, within what range, and how far at once.

At the end of an epoch a parameter may at most double or halve, counted from what it was before: several measures in
one epoch cannot do more together than one alone. Governance can never change the numbers by which nodes lay out epochs
and time their views, because they take them from the genesis file, nor how long evidence counts, because a longer time
would bring offences back of which the convictions are forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from chain.errors import InvalidGenesis, LedgerError
from chain.parameters import Parameters
from chain.schema import COIN

DAY = 86_400
FIXED = frozenset(("epoch_blocks", "maximum_block_weight", "due_weight", "maximum_gap_ms", "evidence_epochs"))
"""The length of an epoch, the work in a block, the silence that nodes fill, the time for which evidence counts."""


class ParameterRefused(LedgerError):
    code = 2056
    hint = "A parameter stays in its range, and at most doubles or halves in an epoch."


@dataclass(frozen=True, slots=True)
class Range:
    """What a parameter may be."""

    minimum: int
    maximum: int
    first_step: int = 0
    """The most that it may become from zero, which cannot be doubled; the minimum, if that is more."""


_SHARE_STEP = 100

RANGES: Mapping[str, Range] = {
    "base_fee": Range(0, COIN, 10_000),
    "fee_per_byte": Range(0, 10**7, 100),
    "fee_per_weight": Range(0, 10**8, 10_000),
    "fee_staker_share": Range(0, 10_000, _SHARE_STEP),
    "market_fee": Range(0, 2_000, _SHARE_STEP),
    "market_fee_staker_share": Range(0, 10_000, _SHARE_STEP),
    "collateral_per_gpu": Range(0, 10_000 * COIN, COIN),
    "unbonding_seconds": Range(30, 90 * DAY),
    "activation_grace_seconds": Range(30, DAY),
    "dispute_window_seconds": Range(30, 30 * DAY),
    "heartbeat_timeout_seconds": Range(30, 30 * DAY),
    "booking_minimum_seconds": Range(1, DAY),
    "booking_maximum_seconds": Range(3_600, 730 * DAY),
    "booking_horizon_seconds": Range(DAY, 730 * DAY),
    "release_charge": Range(0, 5_000, _SHARE_STEP),
    "review_window_seconds": Range(DAY, 365 * DAY),
    "storage_deposit_per_byte": Range(0, 10**7, 100),
    "review_retention_seconds": Range(30 * DAY, 3_650 * DAY),
    "dispute_deposit": Range(0, 1_000 * COIN, COIN // 10),
    "dispute_response_seconds": Range(30, 30 * DAY),
    "dispute_vote_seconds": Range(30, 30 * DAY),
    "governance_seconds": Range(3_600, 90 * DAY),
    "treasury_delay_epochs": Range(1, 1_000),
    "treasury_spend_share": Range(0, 5_000, _SHARE_STEP),
    "authority_minimum_stake": Range(COIN, 10**6 * COIN),
    "ready_epochs": Range(1, 100),
    "evidence_slash": Range(100, 10_000),
    "evidence_reward": Range(0, 1_000 * COIN, COIN),
}
"""Every parameter that governance may change."""


def reach(name: str, old: int) -> tuple[int, int]:
    """The least and the greatest value that a parameter may have after an epoch in which it was `old`.

    A genesis file may set it outside of its range; then it may come in at once, to the bound that is nearer.
    """
    permitted = RANGES[name]
    lowest, highest = old // 2, 2 * old if old else permitted.first_step
    return (
        max(permitted.minimum, min(lowest, permitted.maximum)),
        min(permitted.maximum, max(highest, permitted.minimum)),
    )


def changed(parameters: Parameters, before: Parameters, name: str, value: int) -> Parameters:
    """The parameters with one of them changed.

    Args:
        before: what they were when the end of the epoch began.

    Raises:
        ParameterRefused: out of reach, or in contradiction to another parameter.
    """
    minimum, maximum = reach(name, getattr(before, name))
    if not minimum <= value <= maximum:
        raise ParameterRefused(parameter=name, value=value, minimum=minimum, maximum=maximum)
    after = replace(parameters, **{name: value})
    try:
        after.check()
    except InvalidGenesis as error:
        raise ParameterRefused(parameter=name, value=value, reason=str(error.data["reason"])) from error
    return after
