"""The namespace `stake`: what accounts have locked, what it earns, and what is on its way back."""

from chain import interface as api
from chain.bank import totals
from chain.parameters import read_parameters
from chain.rewards import read_rewards, settled
from chain.stake import STAKES, Stake, stake_of
from chain.unbonding import id_of, unbondings_of
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, quick
from node.rpc.pages import newest_first, scan_records

_MOST = (1 << 63) - 1


def amounts(read: Read, address: bytes) -> api.StakeAmounts:
    """A stake as of now: its rewards are settled for this answer, whenever it last changed."""
    stake = stake_of(read.view, address)
    share = settled(read.view, stake.share, stake.amount)
    return api.StakeAmounts(
        total=str(stake.amount),
        free=str(stake.free),
        collateral=str(stake.collateral),
        locked_until_ms=stake.locked_until_ms,
        counted=str(share.counted),
        rewards=str(share.claimable),
        slashed=str(stake.slashed),
        unbonding=str(sum(unbonding.amount for _, unbonding in unbondings_of(read.view, address))),
    )


def _epoch(read: Read) -> api.EpochView:
    now, length = read_rewards(read.view), read_parameters(read.view).epoch_blocks
    return api.EpochView(
        epoch=now.epoch,
        ends_height=(read.as_of.height // length + 1) * length,
        counted=str(now.counted),
        pot=str(totals(read.view).epoch_pot),
    )


def get(read: Read, params: api.AccountParams) -> api.StakeView:
    address = read.address(params.address)
    return api.StakeView(
        as_of=read.as_of,
        address=read.address_text(address),
        stake=amounts(read, address),
        unbondings=tuple(
            api.UnbondingView(id_of(key).hex(), str(unbonding.amount), unbonding.due_ms)
            for key, unbonding in unbondings_of(read.view, address)
        ),
        epoch=_epoch(read),
    )


def list_stakes(read: Read, params: api.StakeListParams) -> api.Stakers:
    least = int(params.minimum or 0)
    found = (
        (address, stake)
        for address, stake in scan_records(read.snapshot, STAKES, Stake)
        if stake.amount >= least and params.slashed in (None, stake.slashed > 0)
    )
    # A cursor holds the amount's negative, for which there are 63 bits; at most one stake can be larger.
    page, following = newest_first(found, lambda stake: min(stake.amount, _MOST), params.cursor, params.limit)
    return api.Stakers(
        as_of=read.as_of,
        items=tuple(api.StakerView(read.address_text(address), amounts(read, address)) for address, _ in page),
        epoch=_epoch(read),
        next_cursor=following,
    )


HANDLERS: dict[str, Handler] = {
    "stake.get": quick(get),
    "stake.list": aside(list_stakes),
}
