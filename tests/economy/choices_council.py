"""What operators of authorities attempt, those who would be one, and those who saw one sign twice."""

from copy import copy
from dataclasses import replace
from functools import cache

from chain.actions.authorities import DisableAuthority, ReadyAuthority, RemoveAuthority
from chain.actions.evidence import SubmitEvidence
from chain.actions.governance import ProposeMeasure, SetParameter, SpendTreasury, VoteOnMeasure
from chain.actions.reviews import HideText
from chain.actions.staking import AddStake, RemoveStake
from chain.certificate import VoteKind
from chain.crypto.address import key_address
from chain.governance import GovernedAction
from chain.parameter_ranges import RANGES
from chain.schema import COIN
from tests.council import Officer
from tests.economy.choices import Attempted, Choices
from tests.economy.measures import reach
from tests.ledger import Person

DAY = 86_400
SENSIBLE = {
    "base_fee": (0, 40_000),
    "fee_per_byte": (0, 400),
    "fee_per_weight": (0, 20_000),
    "fee_staker_share": (0, 10_000),
    "market_fee": (0, 2_000),
    "market_fee_staker_share": (0, 10_000),
    "collateral_per_gpu": (0, 6 * COIN),
    "unbonding_seconds": (30, 200),
    "activation_grace_seconds": (30, 600),
    "dispute_window_seconds": (30, 600),
    "heartbeat_timeout_seconds": (60, 3_600),
    "booking_minimum_seconds": (30, 61),
    "booking_maximum_seconds": (30 * DAY, 120 * DAY),
    "booking_horizon_seconds": (80 * DAY, 730 * DAY),
    "release_charge": (0, 5_000),
    "storage_deposit_per_byte": (0, 4_000),
    "dispute_deposit": (0, 4 * COIN),
    "dispute_response_seconds": (30, 600),
    "dispute_vote_seconds": (30, 600),
    "governance_seconds": (3_600, 14 * DAY),
    "treasury_delay_epochs": (1, 3),
    "treasury_spend_share": (0, 5_000),
    "authority_minimum_stake": (COIN, 12 * COIN),
    "ready_epochs": (1, 4),
    "evidence_slash": (100, 10_000),
    "evidence_reward": (0, 5 * COIN),
}
"""Between what bounds an economy goes on as an economy; what is missing would let nothing leave the state any more."""
NODES = (*(str(index) for index in range(7)), *(f"spare {index}" for index in range(5)))
"""Names of all nodes that there are; the first are those that the officers begin with."""
BLOCKS = b"\x01" * 32, b"\x02" * 32
OFFENCES = (
    (VoteKind.PROPOSAL, VoteKind.PROPOSAL),
    (VoteKind.NOTARIZE, VoteKind.NOTARIZE),
    (VoteKind.FINALIZE, VoteKind.FINALIZE),
    (VoteKind.NULLIFY, VoteKind.FINALIZE),
    (VoteKind.FINALIZE, VoteKind.NULLIFY),
)


@cache
def nodes() -> dict[bytes, Officer]:
    """Every node by its key, with the keys that it signs with."""
    return {officer.authority.node_key: officer for officer in map(Officer, NODES)}


def running(operator: bytes, node_key: bytes) -> Officer:
    """Somebody as the operator of this node."""
    officer = copy(nodes()[node_key])
    officer.address = operator
    officer.authority = replace(officer.authority, operator=operator)
    return officer


class CouncilChoices(Choices):
    """Attempts of and about authorities."""

    def operator(self) -> bytes:
        """Mostly of a present authority."""
        rng = self.rng
        return rng.choice(self.model.operators()) if rng.random() < 0.95 else self.citizen()

    def citizen(self) -> bytes:
        """Anybody who might operate an authority, or does."""
        return self.rng.choice([*(officer.address for officer in self.council), self.anybody()])

    def measure(self) -> Attempted:
        if self.rng.random() < 0.03:
            things = (self.setting, self.spending, self.addition, self.removal, self.hiding)
            return self.citizen(), self.rng.choice(things)()
        return self.operator(), self.proposal()

    def proposal(self) -> ProposeMeasure:
        """A measure with one or several things in it."""
        rng, model = self.rng, self.model
        others = [*[self.setting] * 5, *[self.spending] * 2, *[self.addition] * 5]
        others += [self.hiding] * (8 if model.reviews else 1)
        if rng.random() < 0.2:
            actions = [self.removal() for _ in range(rng.choice((1, 1, 1, 2)))]
        else:
            actions = [rng.choice(others)() for _ in range(rng.choice((1, 1, 1, 1, 2, 5)))]
        longest = model.parameters.governance_seconds * 1_000
        lifetime = rng.choice((longest, longest, longest, 3_600_000, 300_000, 40_000, 1))
        if rng.random() < 0.05:
            lifetime = rng.choice((0, longest + 1))
        return ProposeMeasure(tuple(actions), model.now + min(lifetime, longest + 1))

    def setting(self) -> GovernedAction:
        """Another value of a parameter, seldom one that it may not have."""
        rng, now = self.rng, self.model.parameters
        if rng.random() < 0.02:
            name = rng.choice(sorted(set(RANGES) - set(SENSIBLE)))
            return SetParameter(name, rng.choice((getattr(now, name), *reach(name, getattr(now, name)))))
        name = rng.choice(list(SENSIBLE))
        least, most = reach(name, getattr(now, name))
        if rng.random() < 0.06:
            return SetParameter(name, rng.choice((max(0, least - 1), most + 1)))
        low, high = (max(least, min(bound, most)) for bound in SENSIBLE[name])
        return SetParameter(name, rng.choice((low, high, rng.randint(low, high))))

    def spending(self) -> GovernedAction:
        """Some of the treasury, mostly as much as may be spent."""
        rng, model = self.rng, self.model
        share = model.treasury * model.parameters.treasury_spend_share // 10_000
        amount = rng.choice((1, share // 3, share, share + 1, 2 * share, model.treasury, model.treasury + 1))
        strangers = [Person(f"stranger {index}").address for index in range(3, 6)]
        retired = [key_address(key) for key in model.bound] or strangers
        if rng.random() < 0.01:
            return SpendTreasury(rng.choice(strangers), (1 << 64) - 1)
        return SpendTreasury(rng.choice((*strangers, rng.choice(retired), self.anybody())), max(1, amount))

    def addition(self) -> GovernedAction:
        """Somebody with a node that nobody uses; seldom with one that somebody does, or that is not his."""
        rng, model = self.rng, self.model
        known = [*model.operators(), *model.candidates]
        outsiders = [officer.address for officer in self.council if officer.address not in known]
        leaving = [operator for operator, _ in model.leaving]
        clubs = [club for club in model.clubs if club not in known]
        who = rng.choice([*outsiders, *leaving, *clubs] or [self.citizen()])
        if rng.random() < 0.06:
            who = rng.choice([self.citizen(), *(key_address(key) for key in model.bound)])
        used = {candidate.authority.node_key for candidate in model.candidates.values()}
        used |= {member.node_key for member in model.members if member.operator not in leaving} | set(model.disabled)
        unused = [key for key in nodes() if key not in used or rng.random() < 0.02]
        chosen = running(who, rng.choice(unused or list(nodes()))).addition
        if rng.random() < 0.05:
            other = nodes()[rng.choice(list(nodes()))].authority
            wrong = ({"bls_key": other.bls_key}, {"proof_of_possession": other.proof_of_possession})
            return replace(chosen, **rng.choice(wrong))
        return chosen

    def removal(self) -> GovernedAction:
        """Somebody who is in or wants in leaves, or a key of his is lost."""
        rng, model = self.rng, self.model
        who = rng.choice([*model.operators(), *model.candidates]) if rng.random() < 0.9 else self.citizen()
        return rng.choice((RemoveAuthority, DisableAuthority))(who)

    def hiding(self) -> GovernedAction:
        """A comment or a reply that is there; if there is none, something else."""
        rng, reviews = self.rng, self.model.reviews
        if not reviews:
            return HideText(bytes(32)) if rng.random() < 0.1 else self.setting()
        subject = rng.choice(list(reviews))
        return HideText(subject, reviews[subject].replied if rng.random() < 0.8 else rng.random() < 0.5)

    def ballot(self) -> Attempted | None:
        """A vote, mostly of somebody who has not voted yet."""
        rng, model = self.rng, self.model
        if not model.measures:
            return None
        waiting = [key for key, measure in model.measures.items() if measure.passed is None]
        key = rng.choice(waiting if waiting and rng.random() < 0.8 else list(model.measures))
        if rng.random() < 0.02:
            key = bytes(32)
        measure = model.measures.get(key)
        silent = [who for who in model.operators() if measure and who not in model.valid({**measure.yes, **measure.no})]
        who = rng.choice(silent) if silent and rng.random() < 0.9 else self.operator()
        return who, VoteOnMeasure(key, rng.random() < 0.85)

    def office(self) -> Attempted | None:
        """What somebody does to get into the set, or to get his stake out again."""
        rng, model = self.rng, self.model
        if model.candidates and rng.random() < 0.8:
            who, candidate = rng.choice(list(model.candidates.items()))
            return who, self.readiness(running(who, candidate.authority.node_key))
        who = self.operator() if rng.random() < 0.7 else self.citizen()
        if rng.random() < 0.1:
            return who, self.readiness(running(who, rng.choice(list(nodes()))))
        poor = model.free(who) < model.parameters.authority_minimum_stake
        if rng.random() < (0.8 if poor else 0.1):
            return who, AddStake(rng.randint(1, 8 * COIN))
        spare = model.spare(who)
        return who, RemoveStake(max(1, rng.choice((spare, spare, spare + 1, model.free(who), spare // 3))))

    def readiness(self, officer: Officer) -> ReadyAuthority:
        rng, model = self.rng, self.model
        epoch = max(0, model.epoch - rng.choice((0, 0, 0, 0, 1, 2, -1)))
        said = officer.ready(self.chain_id, epoch)
        if rng.random() < 0.08:
            other = officer.ready(self.chain_id, epoch + 1)
            if rng.random() < 0.5:
                return replace(said, node_signature=other.node_signature)
            return replace(said, bls_signature=other.bls_signature)
        return said

    def evidence(self) -> Attempted:
        """Two votes of a present or past authority that nobody may both sign; seldom something that proves nothing."""
        rng, model = self.rng, self.model
        oldest = model.oldest(model.epoch)
        epoch = rng.randint(oldest, model.epoch)
        if rng.random() < 0.1:
            epoch = rng.choice((max(0, oldest - 1), model.epoch + 1))
        members = model.set_of(epoch)
        fresh = [member for member in members if (epoch, member.operator) not in model.convictions]
        member = rng.choice(fresh if fresh and rng.random() < 0.9 else members)
        officer = running(member.operator, member.node_key)
        chain_id = self.chain_id if rng.random() < 0.97 else "another-chain"
        view = rng.randint(1, 1_000)
        first, second = (
            officer.vote(chain_id, kind, epoch, view, b"" if kind is VoteKind.NULLIFY else block)
            for kind, block in zip(rng.choice(OFFENCES), BLOCKS, strict=True)
        )
        node_key = member.node_key
        if rng.random() < 0.05:
            node_key = rng.choice(list(nodes()))
        if rng.random() < 0.05:
            second = replace(second, signature=second.signature[:-1] + bytes([second.signature[-1] ^ 1]))
        reporter = member.operator if rng.random() < 0.1 else self.anybody()
        return reporter, SubmitEvidence(node_key, first, second)
