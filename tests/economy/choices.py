"""What somebody may attempt in a random economy: mostly sensible in the present state, sometimes not.

Each family has a method here; what it returns is an account and an action that the account attempts. The random
generator decides everything, so a run is replayed by its seed.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

from chain.action import Action
from chain.actions.accounts import Profile, SetProfile, Transfer
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Reserve, Settle
from chain.actions.gpus import EndMaintenance, Heartbeat, RetireGpu, SetMaintenance, UpdateGpu
from chain.actions.jobs import AcceptJob, AddReceipt, CancelJob, ClaimJob, FailJob, SharePayload, SubmitJob
from chain.actions.multisig import ApproveProposal, CreateMultisig, ProposeActions, RejectProposal, SetMembers
from chain.actions.reviews import ReplyToReview, SubmitReview
from chain.actions.staking import AddStake, ClaimRewards, RemoveStake
from chain.crypto.address import KEY, key_address
from chain.crypto.ed25519 import PrivateKey
from chain.inventory import Terms
from chain.job import GpuFilter, Receipt, Unit
from chain.schema import COIN
from tests.economy.jobs import Attempt, ModelJob
from tests.economy.model import Model
from tests.ledger import Person
from tests.market import commitment, registration, rotation, terms

Attempted = tuple[bytes, Action]
FAMILIES = {
    "account": 2,
    "stake": 1,
    "reward": 1,
    "listing": 3,
    "chore": 2,
    "reserve": 6,
    "booking": 8,
    "job": 2,
    "work": 4,
    "review": 1,
    "multisig": 2,
}
"""How often each is tried, against the others."""
BOOKING_FAMILIES = ("account", "stake", "listing", "chore", "reserve", "booking")
NOBODY = b"\x00" + b"\x07" * 32


@dataclass
class Choices:
    """Draws attempts of one family after the other."""

    rng: random.Random
    model: Model
    people: list[Person]
    spare_keys: list[PrivateKey]
    chain_id: str

    families: tuple[str, ...] = ()
    """Those that happen; all if none is named."""

    def attempt(self, family: str | None = None) -> Attempted:
        """An attempt of this family, or of any; of another one, if nothing of it is possible."""
        families = self.families or tuple(FAMILIES)
        found: Attempted | None = None
        while found is None:
            chosen = family or self.rng.choices(families, [FAMILIES[name] for name in families])[0]
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

    def listed(self) -> list[bytes]:
        rng = self.rng
        return [gpu_id for gpu_id, gpu in self.model.gpus.items() if not gpu.retired or rng.random() < 0.05]

    def offer(self, version: int = 1) -> Terms:
        rng = self.rng
        price = rng.choice((0, 1, 3_599, rng.randint(1, 10**9), rng.randint(1, 300 * COIN), rng.randint(1, 2 * COIN)))
        notice, share = rng.choice(((0, 0), (0, 10_000), (600, 136), (3_600, 2_500), (86_400, 10_000)))
        minimum = rng.choice((60, 60, 60, 120, 59))
        maximum = rng.choice((30 * 86_400, 30 * 86_400, 7_200, 90 * 86_400 + 1))
        horizon = rng.choice((90 * 86_400, 90 * 86_400, 3_600))
        return terms(price, minimum, maximum, horizon, notice=notice, share=share, version=version)

    def listing(self) -> Attempted:
        """A promise to list some device, or its listing if it was promised."""
        owner, name = self.anybody(), f"device {self.rng.randrange(10)}"
        (promise,) = commitment(owner, name)
        if (owner, promise.commitment) in self.model.promises or self.rng.random() < 0.05:
            return owner, registration(name, self.offer())
        return owner, promise

    def chore(self) -> Attempted | None:
        """What an owner does with a GPU."""
        rng, model = self.rng, self.model
        listed = self.listed()
        if not listed:
            return None
        gpu_id = rng.choice(listed)
        gpu = model.gpus[gpu_id]
        own = tuple(other for other in listed if model.gpus[other].owner == gpu.owner)
        windows = [window for other in own for window in model.gpus[other].windows] or [bytes(32)]
        start = rng.choice((0, model.now + rng.randint(-100, 4_000_000)))
        choices: list[Action] = [
            Heartbeat(own),
            Heartbeat(own),
            Heartbeat(own),
            RetireGpu(gpu_id),
            UpdateGpu(gpu_id, self.offer(gpu.offer.version + rng.choice((1, 1, 1, 0, 2)))),
            SetMaintenance(gpu_id, start, rng.choice((1, 60, 600, 3_600))),
            EndMaintenance(rng.choice(windows)),
        ]
        return self.mostly(gpu.owner), rng.choice(choices)

    def reserve(self) -> Attempted | None:
        rng, model = self.rng, self.model
        listed = self.listed()
        listed = [gpu_id for gpu_id in listed if model.gpus[gpu_id].status == "active" or rng.random() < 0.1] or listed
        if not listed:
            return None
        first = rng.choice(listed)
        owner = model.gpus[first].owner
        same = [gpu_id for gpu_id in listed if model.gpus[gpu_id].owner == owner or rng.random() < 0.02]
        chosen = tuple(dict.fromkeys([first, *rng.sample(same, k=rng.randint(0, min(2, len(same))))]))
        edges = [edge for booking in model.bookings.values() for edge in (booking.start, booking.end)]
        edges = [edge for edge in edges if edge > model.now] or [0]
        start = rng.choice((0, 0, model.now + rng.randint(-100, 400_000), rng.choice(edges)))
        seconds = rng.choice((59, 60, 61, 90, 333, 3_600, rng.randint(60, 10_000)))
        most = rng.choice((10**15, 10**15, 10**15, 10**9))
        versions = tuple(model.gpus[gpu_id].offer.version + (rng.random() < 0.01) for gpu_id in chosen)
        return self.anybody(), Reserve(chosen, start, seconds, most, versions, bytes(32))

    def booking(self) -> Attempted | None:
        """Something with a booking that is going on."""
        rng, model = self.rng, self.model
        known = [item for item in model.bookings.items() if item[1].state in ("reserved", "active", "closing")]
        if not known:
            return None
        booking_id, booking = rng.choice(known)
        if rng.random() < 0.03:
            booking_id = rng.choice([*model.bookings, *model.gone, bytes(32)])
        wanted: dict[str, list[Any]] = {
            "reserved": [Activate, Activate, Activate, Cancel, Extend, ProviderCancel],
            "active": [Release, Release, Release, Cancel, Extend, Extend, Settle, Settle, ProviderCancel],
            "closing": [Confirm, Settle],
        }
        anything: list[Any] = [Activate, Cancel, Release, Confirm, Extend, Settle, ProviderCancel]
        kind = rng.choice(wanted[booking.state]) if rng.random() < 0.9 else rng.choice(anything)
        if kind is Activate:
            return self.mostly(booking.provider), Activate(booking_id, b"x")
        if kind is ProviderCancel:
            return self.mostly(booking.provider), ProviderCancel(booking_id)
        if kind is Settle:
            return self.anybody(), Settle(booking_id)
        if kind is Extend:
            seconds = rng.choice((1, 59, 60, 61, 3_600, rng.randint(1, 10_000), 30 * 86_400))
            return self.mostly(booking.renter), Extend(booking_id, seconds, rng.choice((10**15, 10**15, 10**9)))
        return self.mostly(booking.renter), kind(booking_id)

    def job(self) -> Attempted:
        """A new job, in a booking or by itself."""
        rng, model = self.rng, self.model
        open_now = [item for item in model.bookings.items() if item[1].state in ("reserved", "active")]
        sender, booking, price = self.anybody(), None, rng.choice((0, 1, 333, COIN // 7, COIN))
        if open_now and rng.random() < 0.4:
            booking, found = rng.choice(open_now)
            sender, price = self.mostly(found.renter), 0
        wanted = rng.choice(
            (GpuFilter(), GpuFilter(), GpuFilter("RTX 4090"), GpuFilter("", "mars"), GpuFilter("", "", 99_999))
        )
        deadline = model.now + rng.choice((0, 1, 60_000, 600_000, 3_600_000, rng.randint(1, 10**7), 366 * 86_400_000))
        unit, units = rng.choice(tuple(Unit)), rng.choice((1, 7, 60, rng.randint(1, 1_000)))
        if rng.random() < 0.01:
            units = (1 << 64) - 1
        seconds = rng.choice((1, 30, 60, 600, rng.randint(1, 5_000)))
        return sender, SubmitJob("render", bytes(32), unit, units, price, seconds, deadline, wanted, booking)

    def work(self) -> Attempted | None:
        """Something with a job that is going on."""
        rng, model = self.rng, self.model
        known = [item for item in model.jobs.items() if item[1].state not in ("accepted", "cancelled", "expired")]
        if rng.random() < 0.05:
            known = list(model.jobs.items())
        if not known:
            return None
        job_id, job = rng.choice(known)
        if rng.random() < 0.02:
            job_id = bytes(32)
        provider = job.attempt.provider if job.attempt else self.anybody()
        wanted = {
            "open": ["claim"] * 8 + ["cancel"],
            "claimed": ["share"] * 6 + ["fail"],
            "payload_shared": ["receipt"] * 6 + ["accept", "accept", "fail"],
            "delivered": ["accept", "accept", "fail"],
        }.get(job.state, ["claim"])
        kind = rng.choice(wanted if rng.random() < 0.9 else ["claim", "cancel", "share", "fail", "receipt", "accept"])
        match kind:
            case "claim":
                return self.claim(job_id, job)
            case "share":
                return self.mostly(job.renter), SharePayload(job_id, b"key")
            case "receipt":
                attempt = job.attempt or Attempt(provider, None, 0, model.now, model.now, 0)
                return self.mostly(provider), AddReceipt(self.receipt(job_id, job, attempt))
            case "accept":
                last = job.attempt.last if job.attempt else bytes(32)
                return self.mostly(job.renter), AcceptJob(job_id, last if rng.random() < 0.95 else b"\x01" * 32)
            case "fail":
                return self.mostly(provider), FailJob(job_id, "broken")
        return self.mostly(job.renter), CancelJob(job_id)

    def claim(self, job_id: bytes, job: ModelJob) -> Attempted:
        rng, model = self.rng, self.model
        if job.booking is not None:
            return self.mostly(model.bookings[job.booking].provider), ClaimJob(job_id, None)
        listed = [gpu_id for gpu_id in self.listed() if model.gpus[gpu_id].status == "active" or rng.random() < 0.1]
        if not listed or rng.random() < 0.02:
            return self.anybody(), ClaimJob(job_id, rng.choice((None, bytes(32))))
        gpu_id = rng.choice(listed)
        return self.mostly(model.gpus[gpu_id].owner), ClaimJob(job_id, gpu_id)

    def receipt(self, job_id: bytes, job: ModelJob, attempt: Attempt) -> Receipt:
        """The next receipt of an attempt, seldom with something wrong."""
        rng, now = self.rng, self.model.now
        elapsed = (now - attempt.began) // 1_000
        most = min(job.left, elapsed) if job.unit is Unit.GPU_SECOND else job.left
        units = rng.choice((most, attempt.total, rng.randint(attempt.total, max(attempt.total, most))))
        receipt = Receipt(
            job_id, attempt.receipts + 1, units, attempt.last, b"\x05" * 32, "somewhere", attempt.began, now,
            rng.random() < 0.4,
        )  # fmt: skip
        if rng.random() < 0.1:
            wrong: list[dict[str, Any]] = [
                {"sequence": receipt.sequence + 1},
                {"previous_hash": b"\x06" * 32},
                {"units_total": job.left + 1},
                {"units_total": max(0, attempt.total - 1)},
                {"units_total": elapsed + 1},
                {"started_ms": attempt.began - 1},
                {"ended_ms": now + 1},
            ]
            return replace(receipt, **rng.choice(wrong))
        return receipt

    def review(self) -> Attempted | None:
        rng, model = self.rng, self.model
        if model.reviews and rng.random() < 0.4:
            subject, review = rng.choice(list(model.reviews.items()))
            return self.mostly(review.provider), ReplyToReview(subject, "thanks")
        parties = {key: booking.renter for key, booking in model.bookings.items() if booking.state == "closed"}
        parties |= {key: job.renter for key, job in model.jobs.items() if job.state == "accepted"}
        parties = {key: renter for key, renter in parties.items() if key not in model.reviews or rng.random() < 0.1}
        if rng.random() < 0.1:
            parties = {key: item.renter for key, item in [*model.bookings.items(), *model.jobs.items()]}
        if not parties:
            return None
        if rng.random() < 0.02:
            return self.anybody(), SubmitReview(bytes(32), 3)
        subject = rng.choice(list(parties))
        return self.mostly(parties[subject]), SubmitReview(subject, rng.randint(1, 5), "fine")

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
        if rng.random() < 0.15:
            return club, SetMembers(threshold, members)
        return club, Transfer(person, "AITBC", rng.randint(1, 5 * COIN))

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
