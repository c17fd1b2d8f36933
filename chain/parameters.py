"""The numbers of a network: set by its genesis file, kept in the state, read by everything that needs one.

Durations are integer seconds of live time where a person must act and of block time where a calendar counts;
money is in base units; shares are basis points.
"""

from dataclasses import dataclass

from chain.errors import InvalidGenesis
from chain.record import record
from chain.schema import COIN, Amount, BasisPoints, Seconds, Unsigned32, Unsigned64
from chain.state.tables import Singleton, TableId
from chain.state.view import View

HEAVIEST_TRANSACTION = 1_300
"""Weight for which there must be room beside what is due."""
EPOCH_END_WEIGHT = 2_000
"""Of what the end of an epoch brings: 128 measures counted, 16 of them executed, another set of authorities."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Parameters:
    """All parameters; the defaults are those of a development network."""

    epoch_blocks: Unsigned32 = 1_000
    """Blocks in an epoch."""
    maximum_block_weight: Unsigned64 = 8_000
    """Weight of all transactions and due items of a block together."""
    due_weight: Unsigned64 = 4_000
    """The part of a block's weight that due items may take before transactions run."""
    maximum_gap_ms: Unsigned32 = 15_000
    """Live time advances by at most this much in one block."""
    base_fee: Amount = 10_000
    """Charged for every transaction."""
    fee_per_byte: Amount = 100
    fee_per_weight: Amount = 10_000
    fee_staker_share: BasisPoints = 5_000
    """Share of the required fee that goes to the epoch pot; the rest goes to the treasury."""
    market_fee: BasisPoints = 200
    """Share of a provider's gross earnings."""
    market_fee_staker_share: BasisPoints = 5_000
    """Share of the market fee that goes to the epoch pot; the rest goes to the treasury."""
    collateral_per_gpu: Amount = 25 * COIN
    """Reserved of the provider's stake while a GPU is registered, and the cap of a booking's slice per GPU."""
    unbonding_seconds: Seconds = 60
    activation_grace_seconds: Seconds = 60
    """Live time after a booking's start within which the provider must activate it."""
    dispute_window_seconds: Seconds = 300
    """Live time between a booking's end and its last payment; also a job's acceptance window."""
    heartbeat_timeout_seconds: Seconds = 120
    """Live time without a heartbeat after which a GPU is offline."""
    booking_minimum_seconds: Seconds = 60
    booking_maximum_seconds: Seconds = 90 * 86_400
    booking_horizon_seconds: Seconds = 365 * 86_400
    """How far ahead of block time a booking may start."""
    release_charge: BasisPoints = 100
    """Share of what is left of a booking that the provider keeps when the renter leaves early."""
    review_window_seconds: Seconds = 30 * 86_400
    """Live time after the end of a booking or job within which it may be reviewed."""

    storage_deposit_per_byte: Amount = 1_000
    """Held for each byte of a record, as long as it is in the state."""
    review_retention_seconds: Seconds = 365 * 86_400
    """Live time for which a review stays in the state; the reputation that it made stays longer."""
    dispute_deposit: Amount = COIN
    """The least deposit of a dispute."""
    dispute_response_seconds: Seconds = 300
    """Live time in which the other party must respond to a dispute."""
    dispute_vote_seconds: Seconds = 300
    """Live time after the response in which authorities may vote."""
    governance_seconds: Seconds = 14 * 86_400
    """Block time for which a measure may be voted on at most."""
    treasury_delay_epochs: Unsigned32 = 1
    """Whole epochs between the decision to spend from the treasury and the payment."""
    treasury_spend_share: BasisPoints = 1_000
    """Share of the treasury that may be spent in an epoch."""
    authority_minimum_stake: Amount = 100 * COIN
    """Stake that the operator of an authority keeps."""
    ready_epochs: Unsigned32 = 4
    """Epochs for which a new authority's word that it is ready counts."""
    evidence_epochs: Unsigned32 = 100
    """Epochs for which an authority can be convicted of what it signed, and for which its stake stays locked."""
    evidence_slash: BasisPoints = 1_000
    """Share of its operator's stake that a convicted authority loses."""
    evidence_reward: Amount = 10 * COIN
    """The most that whoever submits evidence gets of it; the rest is burnt."""

    @property
    def maximum_transaction_weight(self) -> int:
        """What fits into a block in which nothing is due, if need be one that ends no epoch."""
        return self.maximum_block_weight - EPOCH_END_WEIGHT * (self.epoch_blocks == 1)

    def check(self) -> None:
        """Raise InvalidGenesis if the numbers contradict each other."""
        rules = [
            (self.epoch_blocks >= 1, "epoch_blocks must be at least 1"),
            (
                self.due_weight + HEAVIEST_TRANSACTION <= self.maximum_transaction_weight,
                "due_weight must leave room for one full transaction, or due items could keep it out for ever",
            ),
            (self.due_weight >= 100, "due_weight must be at least 100"),
            (self.maximum_gap_ms >= 1_000, "maximum_gap_ms must be at least 1000"),
            (
                self.activation_grace_seconds * 1_000 >= 2 * self.maximum_gap_ms,
                "activation_grace_seconds must be at least twice maximum_gap_ms, or outages punish providers",
            ),
            (self.heartbeat_timeout_seconds * 1_000 >= 2 * self.maximum_gap_ms, "heartbeat_timeout_seconds too short"),
            (self.dispute_response_seconds * 1_000 >= 2 * self.maximum_gap_ms, "dispute_response_seconds too short"),
            (self.dispute_vote_seconds * 1_000 >= 2 * self.maximum_gap_ms, "dispute_vote_seconds too short"),
            (self.ready_epochs >= 1, "ready_epochs must be at least 1"),
            (1 <= self.booking_minimum_seconds <= self.booking_maximum_seconds, "booking durations contradict"),
        ]
        for holds, reason in rules:
            if not holds:
                raise InvalidGenesis(reason=reason)


PARAMETERS = Singleton(TableId.PARAMETERS, Parameters)


def read_parameters(view: View) -> Parameters:
    """The parameters of this state. Raises InvalidGenesis if the state was never initialised."""
    parameters = PARAMETERS.get(view)
    if parameters is None:
        raise InvalidGenesis(reason="the state holds no parameters")
    return parameters
