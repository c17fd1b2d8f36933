"""What accounts attempt: transfers, keys, stake, and what the members of a multisig account do."""

from chain.actions.accounts import Profile, SetProfile, Transfer
from chain.actions.multisig import ApproveProposal, CreateMultisig, RejectProposal, SetMembers
from chain.actions.staking import AddStake, ClaimRewards, RemoveStake
from chain.crypto.address import key_address
from chain.schema import COIN
from tests.economy.choices import Attempted, Choices
from tests.ledger import Person
from tests.market import rotation

NOBODY = b"\x00" + b"\x07" * 32


class AccountChoices(Choices):
    """Attempts with money, keys and stake."""

    def account(self) -> Attempted:
        rng = self.rng
        sender = self.anybody()
        if rng.random() < 0.25:
            key = rng.choice(self.spare_keys)
            return sender, rotation(self.chain_id, sender, key)
        if rng.random() < 0.1:
            return sender, SetProfile(Profile("somebody", "", None))
        strangers = [NOBODY, *(Person(f"stranger {index}").address for index in range(3))]
        to = rng.choice([*self.model.balance, *self.model.clubs, *strangers])
        return sender, Transfer(to, rng.choice(("AITBC",) * 20 + ("USD",)), rng.randint(1, 100 * COIN))

    def stake(self) -> Attempted:
        rng = self.rng
        lock = rng.choice((0, 0, 0, 100))
        sender = self.anybody()
        free = self.model.free(sender)
        removed = rng.choice((rng.randint(1, 60 * COIN), free if 0 < free < 10_000 * COIN else 1))
        actions = (AddStake(rng.randint(1, 40 * COIN), lock), RemoveStake(removed))
        return sender, rng.choice(actions)

    def reward(self) -> Attempted:
        return self.anybody(), ClaimRewards()

    def multisig(self) -> Attempted | None:
        """An account of several, or what its members do."""
        rng, model = self.rng, self.model
        members = tuple(sorted(rng.sample([person.address for person in self.people], k=rng.randint(1, 3))))
        threshold = rng.randint(1, len(members))
        person = rng.choice(self.people).address
        if len(model.clubs) < 3 or rng.random() < 0.03:
            if rng.random() < 0.03:
                members = tuple(sorted({*members, key_address(rng.choice(self.spare_keys).public_key)}))
            return person, CreateMultisig(threshold, members)
        if model.proposals and rng.random() < 0.8:
            key, proposal = rng.choice(list(model.proposals.items()))
            key = bytes(32) if rng.random() < 0.02 else key
            if rng.random() < 0.8:
                fresh = [who for who in model.clubs[proposal.account].members if who not in proposal.yes]
                person = self.mostly(rng.choice(fresh or [person]))
            if person not in [each.address for each in self.people]:
                person = rng.choice(self.people).address
            if rng.random() < 0.15:
                return person, RejectProposal(key)
            return person, ApproveProposal(key, proposal.weight if rng.random() < 0.95 else 0)
        club = rng.choice(list(model.clubs))
        if rng.random() < 0.4:
            return club, SetMembers(threshold, members)
        return club, Transfer(person, "AITBC", rng.randint(1, 5 * COIN))
