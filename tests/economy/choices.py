"""What somebody may attempt in a random economy: mostly sensible in the present state, sometimes not.

Each family has a method in a file beside this one; what it returns is an account and an action that the account
attempts. The random generator decides everything, so a run is replayed by its seed.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from chain.action import Action
from chain.actions.multisig import ProposeActions, SetMembers
from chain.actions.staking import AddStake
from chain.crypto.address import KEY
from chain.crypto.ed25519 import PrivateKey
from tests.council import Officer
from tests.economy.model import Model
from tests.ledger import Person

Attempted = tuple[bytes, Action]


@dataclass
class Choices:
    """Draws attempts of one family after the other."""

    rng: random.Random
    model: Model
    people: list[Person]
    """Those who do everything; some operate an authority."""
    council: list[Officer]
    """Who operates an authority, or may come to; also those who do nothing else."""
    spare_keys: list[PrivateKey]
    chain_id: str
    families: Mapping[str, int]
    """Those that happen, and how often each against the others."""
    retired: dict[bytes, list[PrivateKey]] = field(default_factory=dict)
    """Keys that signed once, by account."""

    def attempt(self, family: str | None = None) -> Attempted:
        """An attempt of this family, or of any; of another one, if nothing of it is possible."""
        names, weights = list(self.families), list(self.families.values())
        found: Attempted | None = None
        while found is None:
            chosen = family or self.rng.choices(names, weights)[0]
            found = getattr(self, chosen)()
            family = None
        return found

    def anybody(self) -> bytes:
        """An account that can act."""
        rng = self.rng
        if self.model.clubs and rng.random() < 0.15:
            return rng.choice(list(self.model.clubs))
        return rng.choice(self.people).address

    def mostly(self, address: bytes) -> bytes:
        """The account; seldom somebody else."""
        return self.anybody() if self.rng.random() < 0.06 else address

    def wrapped(self, account: bytes, *actions: Action) -> tuple[bytes, tuple[Action, ...]]:
        """Who signs so that an account attempts this, and what: a member proposes it for a multisig account."""
        if account[0] == KEY:
            return account, actions
        rng, model = self.rng, self.model
        everybody = [person.address for person in self.people]
        members = [member for member in model.clubs[account].members if member in everybody] or everybody
        member = rng.choice(members if rng.random() < 0.95 else everybody)
        fitting = [
            action for action in actions if not action.name.startswith("multisig.") or type(action) is SetMembers
        ]
        expires = model.now + rng.choice((60_000, 600_000, 3_600_000, 3_600_000, 0, 31 * 86_400_000))
        return member, (ProposeActions(account, tuple(fitting) or (AddStake(1),), expires),)
