"""Authorities that change by a script: written into the state at the end of an epoch, as a vote does it."""

from collections.abc import Mapping, Sequence

import pytest

from chain import transition
from chain.action import EPOCH_HANDLERS, Context
from chain.authorities import AUTHORITIES, Authorities
from chain.certificate import Authority
from chain.succession import change_set
from tests.ledger import make_authority


class Candidate:
    """Somebody with both keys of an authority."""

    def __init__(self, name: str) -> None:
        self.authority, self.node_key, self.secret = make_authority(name)

    def __repr__(self) -> str:
        return f"Candidate({self.authority.operator.hex()[:8]})"


class Script:
    """From which epoch on who is the set; until the first of them, those of genesis."""

    def __init__(self, sets: Mapping[int, Sequence[Authority]]) -> None:
        self.sets = sets

    def __call__(self, context: Context) -> None:
        following = context.block.epoch + 1
        if following in self.sets:
            AUTHORITIES.put(context.view, Authorities(following, tuple(self.sets[following])))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it what happens at the end of every epoch, after everything else, in the place of votes."""
        others = [handler for handler in EPOCH_HANDLERS if handler is not change_set]
        monkeypatch.setattr(transition, "EPOCH_HANDLERS", [*others, self])
