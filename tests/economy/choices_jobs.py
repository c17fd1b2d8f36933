"""What renters and providers attempt with jobs, and the reviews afterwards."""

from dataclasses import replace
from typing import Any

from chain.actions.jobs import AcceptJob, AddReceipt, CancelJob, ClaimJob, FailJob, SharePayload, SubmitJob
from chain.actions.reviews import ReplyToReview, SubmitReview
from chain.job import GpuFilter, Receipt, Unit
from chain.schema import COIN
from tests.economy.bookings import OVER
from tests.economy.choices import Attempted
from tests.economy.choices_market import MarketChoices
from tests.economy.jobs import Attempt, ModelJob


class JobChoices(MarketChoices):
    """Attempts with jobs and reviews."""

    def job(self) -> Attempted:
        """A new job, in a booking or by itself."""
        rng, model = self.rng, self.model
        open_now = [item for item in model.bookings.items() if item[1].state in ("reserved", "active")]
        sender, booking, price = self.anybody(), None, rng.choice((0, 1, 333, COIN // 7, COIN))
        if open_now and rng.random() < 0.3:
            booking, found = rng.choice(open_now)
            sender, price = self.mostly(found.renter), 0
        wanted = rng.choice((GpuFilter(), GpuFilter(), GpuFilter("RTX 4090")))
        if rng.random() < 0.08:
            wanted = rng.choice((GpuFilter("", "mars"), GpuFilter("", "", 99_999)))
        deadline = model.now + rng.choice((60_000, 600_000, 3_600_000, rng.randint(1, 10**7)))
        if rng.random() < 0.15:
            deadline = model.now + rng.choice((0, 1, 366 * 86_400_000))
        unit, units = rng.choice(tuple(Unit)), rng.choice((1, 7, 60, rng.randint(1, 1_000)))
        if rng.random() < 0.01:
            units = (1 << 64) - 1
        seconds = rng.choice((1, 30, 60, 600, rng.randint(1, 5_000)))
        return sender, SubmitJob("render", bytes(32), unit, units, price, seconds, deadline, wanted, booking)

    def work(self) -> Attempted | None:
        """Something with a job that is going on."""
        rng, model = self.rng, self.model
        known = [item for item in model.jobs.items() if item[1].state not in (*OVER, "disputed")]
        if rng.random() < 0.05:
            known = list(model.jobs.items())
        if not known:
            return None
        job_id, job = rng.choices(known, [self.promise(job) for _, job in known])[0]
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

    def promise(self, job: ModelJob) -> int:
        """How much sooner something is attempted with this job: work goes on before other work begins."""
        if job.state == "delivered":
            return 2
        if job.state != "open":
            return 20
        waits = job.booking is not None and self.model.bookings[job.booking].state != "active"
        return 1 if waits or job.wanted.region == "mars" else 8

    def claim(self, job_id: bytes, job: ModelJob) -> Attempted:
        rng, model = self.rng, self.model
        if job.booking is not None:
            return self.mostly(model.bookings[job.booking].provider), ClaimJob(job_id, None)
        listed = [gpu_id for gpu_id in self.listed() if model.gpus[gpu_id].status == "active" or rng.random() < 0.1]
        if not listed or rng.random() < 0.02:
            return self.anybody(), ClaimJob(job_id, rng.choice((None, bytes(32))))
        until = model.now + (model.parameters.activation_grace_seconds + job.seconds) * 1_000
        fitting = [
            gpu_id
            for gpu_id in listed
            if model.gpus[gpu_id].owner not in (job.renter, *job.tried) and not model.taken((gpu_id,), model.now, until)
        ]
        gpu_id = rng.choice(fitting if fitting and rng.random() < 0.9 else listed)
        return self.mostly(model.gpus[gpu_id].owner), ClaimJob(job_id, gpu_id)

    def receipt(self, job_id: bytes, job: ModelJob, attempt: Attempt) -> Receipt:
        """The next receipt of an attempt, seldom with something wrong."""
        rng, now = self.rng, self.model.now
        elapsed = (now - attempt.began) // 1_000
        most = min(job.left, elapsed) if job.unit is Unit.GPU_SECOND else job.left
        units = rng.choice((most, attempt.total, rng.randint(attempt.total, max(attempt.total, most))))
        receipt = Receipt(
            job_id, attempt.receipts + 1, units, attempt.last, b"\x05" * 32, "somewhere", attempt.began, now,
            rng.random() < 0.6,
        )  # fmt: skip
        if rng.random() < 0.15:
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
        parties |= {key: job.renter for key, job in model.jobs.items() if job.state in ("accepted", "closed")}
        parties = {key: renter for key, renter in parties.items() if key not in model.reviews or rng.random() < 0.1}
        if rng.random() < 0.1:
            parties = {key: item.renter for key, item in [*model.bookings.items(), *model.jobs.items()]}
        if not parties:
            return None
        if rng.random() < 0.02:
            return self.anybody(), SubmitReview(bytes(32), 3)
        subject = rng.choice(list(parties))
        return self.mostly(parties[subject]), SubmitReview(subject, rng.randint(1, 5), "fine")
