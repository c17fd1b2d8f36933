"""The named networks: what a genesis of each starts from, before anyone's keys are known."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from chain.errors import InvalidGenesis
from chain.parameters import Parameters
from chain.schema import COIN


@dataclass(frozen=True, slots=True)
class Network:
    """A kind of network."""

    name: str
    prefix: str
    """Prefix of its bech32m addresses."""
    parameters: Parameters


DEVNET = Network("devnet", "dait", Parameters())
"""Short deadlines, for development and demonstrations; its money is worthless."""

_LONG = Parameters(
    epoch_blocks=10_000,
    maximum_gap_ms=60_000,
    unbonding_seconds=21 * 86_400,
    activation_grace_seconds=900,
    dispute_window_seconds=72 * 3_600,
    heartbeat_timeout_seconds=300,
    dispute_response_seconds=72 * 3_600,
    dispute_vote_seconds=7 * 86_400,
    treasury_delay_epochs=14,
    authority_minimum_stake=10_000 * COIN,
    ready_epochs=2,
    evidence_epochs=180,
)

TESTNET = Network("testnet", "tait", _LONG)
"""The main network's numbers with worthless money."""

MAINNET = Network("main", "ait", _LONG)

NETWORKS = {network.name: network for network in (DEVNET, TESTNET, MAINNET)}


def changed(parameters: Parameters, assignments: Iterable[str]) -> Parameters:
    """Parameters with other numbers, each given as `name=whole number`. Raises ValueError, listing the names."""
    names = [each.name for each in fields(Parameters)]
    numbers = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        name, value = name.strip().replace("-", "_"), value.strip()
        if name not in names or not value.isascii() or not value.isdigit():
            known = ", ".join(names)
            raise ValueError(f"{assignment!r} is no parameter with a whole number. The parameters are: {known}.")
        numbers[name] = int(value)
    return replace(parameters, **numbers)


def network(name: str) -> Network:
    """The network of this name. Raises InvalidGenesis, listing the names."""
    if name not in NETWORKS:
        raise InvalidGenesis(field="network", reason="expected one of " + ", ".join(NETWORKS))
    return NETWORKS[name]
