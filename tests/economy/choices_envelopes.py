"""How somebody wraps what he attempts into a transaction: mostly well, sometimes so that no block may include it."""

from dataclasses import replace

from chain.action import Action
from chain.crypto.hashing import sha256
from chain.transaction import Body, Transaction
from tests.economy.choices import Choices
from tests.ledger import DEFAULT_FEE, Person

IDS = tuple(sha256(f"something {index}".encode()) for index in range(3))
"""So few that they are used again."""
HOUR_MS = 3_600_000


class EnvelopeChoices(Choices):
    """Transactions, good and bad."""

    def envelope(self, person: Person, actions: tuple[Action, ...]) -> Transaction:
        """One that may be included, unless its idempotency id is taken or its sender has too little."""
        rng, model = self.rng, self.model
        validity = rng.choice((0, HOUR_MS)) if rng.random() < 0.05 else HOUR_MS // 2
        body = Body(
            chain_id=self.chain_id,
            sender=person.address,
            public_key=person.key.public_key,
            sequence=model.sequences.get(person.address, 0),
            valid_until_ms=model.now + validity,
            idempotency_id=rng.choice(IDS) if rng.random() < 0.06 else None,
            fee=DEFAULT_FEE * (1 + sum(action.weight() for action in actions) // 500),
            actions=actions,
        )
        found = Transaction.sign(body, person.key)
        needed = model.required(found)
        if rng.random() < 0.05:
            return Transaction.sign(replace(body, fee=needed), person.key)
        return found if needed <= body.fee else Transaction.sign(replace(body, fee=needed + DEFAULT_FEE), person.key)

    def spoiled(self, person: Person, actions: tuple[Action, ...]) -> Transaction:
        """One with something wrong, or two things."""
        rng, model = self.rng, self.model
        good = self.envelope(person, actions)
        body, key = good.body, person.key
        for _ in range(rng.choice((1, 1, 1, 2))):
            match rng.choice(("sequence", "fee", "time", "key", "chain", "funds", "id", "id", "signature")):
                case "sequence":
                    steps = [step for step in (body.sequence - 1, body.sequence + 1, 0) if step >= 0]
                    body = replace(body, sequence=rng.choice(steps))
                case "fee":
                    body = replace(body, fee=rng.choice((0, model.required(good) - 1)))
                case "time":
                    body = replace(body, valid_until_ms=model.now + rng.choice((-1, HOUR_MS + 1, 24 * HOUR_MS)))
                case "key":
                    others = [*self.spare_keys, *(other.key for other in self.people)]
                    key = rng.choice(self.retired.get(person.address, others) if rng.random() < 0.6 else others)
                    body = replace(body, public_key=key.public_key)
                case "chain":
                    body = replace(body, chain_id=f"{body.chain_id[:-1]}x")
                case "funds":
                    body = replace(body, fee=model.has(person.address) + 1)
                case "id":
                    used = [name for sender, name in model.remembered if sender == person.address]
                    body = replace(body, idempotency_id=rng.choice(used or IDS))
                case "signature":
                    key = rng.choice(self.spare_keys)
        return Transaction.sign(body, key)
