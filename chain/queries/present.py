"""A context for looking at the state as it would be right now, deadlines included, without changing it."""

from chain.action import BlockContext, Context
from chain.clocks import read_clocks
from chain.parameters import read_parameters
from chain.state.view import View

_NOBODY = bytes(33)


def present(view: View, sender: bytes = _NOBODY) -> Context:
    """A context at the state's own time; whatever is written through it stays in this throw-away view."""
    clocks, parameters = read_clocks(view), read_parameters(view)
    epoch = clocks.height // parameters.epoch_blocks  # that of the next block
    block = BlockContext(chain_id="", height=clocks.height, epoch=epoch, time_ms=clocks.time_ms, proposer=_NOBODY)
    return Context(view, block, clocks.live_ms, parameters, sender, bytes(32))
