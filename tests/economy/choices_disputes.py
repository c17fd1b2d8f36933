"""What parties attempt when they disagree, and how the authorities judge."""

from chain.actions.disputes import ChallengeHardware, OpenDispute, RespondToDispute, VoteOnDispute
from chain.dispute import Fault
from tests.economy.choices import Attempted
from tests.economy.choices_market import MarketChoices
from tests.economy.disputes import ModelDispute

SHARES = (0, 1, 3_333, 5_000, 9_999, 10_000)
UNKNOWN = bytes(32)


class DisputeChoices(MarketChoices):
    """Attempts with disputes of bookings and jobs, and challenges of hardware."""

    def dispute(self) -> Attempted | None:
        """Somebody begins one, mostly where it can be done."""
        rng = self.rng
        kind = rng.choice(("booking", "booking", "job", "job", "job", "gpu"))
        if kind == "gpu":
            return self.challenge()
        return self.contest(kind) or self.contest("booking" if kind == "job" else "job")

    def contest(self, kind: str) -> Attempted | None:
        rng, model = self.rng, self.model
        anything = rng.random() < 0.08
        parties: dict[bytes, tuple[bytes, bytes]] = {}
        if kind == "booking":
            for key, booking in model.bookings.items():
                if anything or booking.state in ("active", "closing"):
                    parties[key] = (booking.renter, booking.provider)
        for key, job in model.jobs.items():
            if kind == "job" and (anything or (job.state == "delivered" and job.booking is None)):
                parties[key] = (job.renter, job.attempt.provider if job.attempt else job.renter)
        if anything and rng.random() < 0.2:
            parties = dict.fromkeys([*model.gone, UNKNOWN], (self.anybody(), self.anybody()))
        if not parties:
            return None
        subject = rng.choice(list(parties))
        return self.mostly(rng.choice(parties[subject])), OpenDispute(subject, "It does not work.")

    def challenge(self) -> Attempted | None:
        rng, model = self.rng, self.model
        gpus = [key for key in self.listed() if model.gpus[key].challenge is None or rng.random() < 0.1]
        if rng.random() < 0.02:
            return self.anybody(), ChallengeHardware(UNKNOWN, "It is another one.")
        if not gpus:
            return None
        gpu_id = rng.choice(gpus)
        others = [*(person.address for person in self.people), *model.clubs]
        if rng.random() < 0.2:
            others = list(model.operators())
        others = [each for each in others if each != model.gpus[gpu_id].owner] or others
        challenger = rng.choice(others)
        if rng.random() < 0.15:
            challenger = rng.choice((min(others, key=model.has), model.gpus[gpu_id].owner))
        return challenger, ChallengeHardware(gpu_id, "It is another one.")

    def judge(self) -> Attempted | None:
        """What is next in a dispute: an answer, or an opinion about it."""
        rng, model = self.rng, self.model
        known = [item for item in model.disputes.items() if item[1].pending or rng.random() < 0.05]
        if not known:
            return None
        key, dispute = rng.choice(known)
        if rng.random() < 0.03:
            key = rng.choice([*model.forgotten, UNKNOWN])
        if rng.random() < (0.9 if dispute.state == "open" else 0.04):
            return self.mostly(dispute.respondent), RespondToDispute(key, "It does.")
        return self.opinion(key, dispute)

    def opinion(self, key: bytes, dispute: ModelDispute) -> Attempted:
        rng = self.rng
        fresh = [each for each in dispute.judges if each not in dispute.opinions]
        voter = rng.choice(fresh if fresh and rng.random() < 0.95 else [officer.address for officer in self.council])
        fault = rng.choice((Fault.PROVIDER, Fault.PROVIDER, *Fault))
        slash = rng.choice(SHARES) if fault is Fault.PROVIDER else 0
        return voter, VoteOnDispute(key, rng.choice((*SHARES, rng.randint(0, 10_000))), slash, fault)
