"""Jobs and reviews in the second ledger."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil, floor
from typing import Any

from chain.actions.jobs import AcceptJob, AddReceipt, CancelJob, ClaimJob, FailJob, SharePayload, SubmitJob
from chain.actions.reviews import ReplyToReview, SubmitReview
from chain.job import GpuFilter, Unit, receipt_hash
from tests.economy.bookings import OVER, Bookings, Money
from tests.economy.books import MOST, size_of
from tests.market import job_bytes

MAXIMUM_ATTEMPTS = 3
YEAR_MS = 365 * 86_400_000
NO_RECEIPT = bytes(32)


@dataclass
class Attempt:
    provider: bytes
    gpu: bytes | None
    slice: int
    began: int
    until: int
    """Block time until which the GPU is taken."""
    deadline_live: int
    receipts: int = 0
    last: bytes = NO_RECEIPT
    total: int = 0
    accepted: int = 0

    @property
    def gpus(self) -> tuple[bytes, ...]:
        return () if self.gpu is None else (self.gpu,)


@dataclass
class ModelJob(Money):
    renter: bytes = b""
    unit: Unit = Unit.ITEM
    units: int = 0
    price: int = 0
    seconds: int = 0
    deadline: int = 0
    wanted: GpuFilter = field(default_factory=GpuFilter)
    booking: bytes | None = None
    state: str = "open"
    tried: list[bytes] = field(default_factory=list)
    done: int = 0
    attempt: Attempt | None = None
    accept_live: int = 0

    @property
    def left(self) -> int:
        return self.units - self.done

    @property
    def cost(self) -> int:
        return self.units * self.price

    @property
    def delivered(self) -> int:
        """What it comes to if all that was delivered is paid, base units."""
        return (self.done + (self.attempt.total if self.attempt else 0)) * self.price


@dataclass
class Jobs(Bookings):
    jobs: dict[bytes, ModelJob] = field(default_factory=dict)

    def at_work(self) -> Iterator[tuple[ModelJob, Attempt]]:
        for job in self.jobs.values():
            if job.state in ("claimed", "payload_shared") and job.attempt:
                yield job, job.attempt

    def holdings(self) -> Iterator[tuple[bytes, int]]:
        yield from super().holdings()
        for job in self.jobs.values():
            if job.state in ("claimed", "payload_shared", "delivered", "disputed") and job.attempt:
                yield job.attempt.provider, job.attempt.slice

    def held(self) -> Iterator[tuple[bytes, tuple[bytes, int, int, int, int]]]:
        yield from super().held()
        for key, job in self.jobs.items():
            if job.booking is None:
                due = job.delivered if job.state == "disputed" else job.cost
                left = due - job.paid if job.state not in OVER else 0
                yield key, (job.renter, job.cost, job.paid, job.fee, left)

    def calendar(self, gpu: bytes) -> Iterator[tuple[int, int]]:
        yield from super().calendar(gpu)
        yield from ((attempt.began, attempt.until) for _, attempt in self.at_work() if attempt.gpu == gpu)

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        yield from (job.deadline for job in self.jobs.values() if job.state == "open")
        yield from (attempt.until for _, attempt in self.at_work())

    def live_edges(self) -> Iterator[int]:
        yield from super().live_edges()
        yield from (attempt.deadline_live for _, attempt in self.at_work())
        yield from (job.accept_live for job in self.jobs.values() if job.state == "delivered")
        yield from (job.leaves for job in self.jobs.values() if job.leaves)

    def used(self, booking_id: bytes) -> bool:
        return any(job.booking == booking_id for job in self.jobs.values())

    def named(self, gpu: bytes) -> bool:
        return super().named(gpu) or any(job.attempt and job.attempt.gpu == gpu for job in self.jobs.values())

    def leave(self) -> None:
        for job_id, job in list(self.jobs.items()):
            if self.past(job):
                del self.jobs[job_id]
                self.give_back("job", job_id)
        super().leave()

    def due(self) -> None:
        super().due()
        for job in self.jobs.values():
            self.settle_job(job)
        self.vacated(*self.gpus)
        self.leave()

    def settle_job(self, job: ModelJob) -> None:
        """What becomes of a job when its deadlines pass; one inside a booking ends with that at the latest."""
        over = self.over_with_booking(job)
        noticed = False
        if job.state in ("claimed", "payload_shared") and job.attempt and self.live >= job.attempt.deadline_live:
            noticed = True
            ran_out = self.instant(job.attempt.deadline_live)
            if over is None or ran_out < over:
                if job.state == "payload_shared":
                    self.note_attempt(job.attempt, "jobs_timed_out")
                    self.give_up(job, job.attempt, job.attempt.slice, ran_out)
                else:
                    self.idle(ran_out, *([job.attempt.gpu] if job.attempt.gpu else []))
                    self.over(job, "expired", ran_out)
        if job.state == "delivered" and self.live >= job.accept_live:
            self.finish_job(job)
        if job.state == "open" and self.now >= job.deadline:
            self.over(job, "expired", job.deadline if over is None else min(over, job.deadline))
        if noticed and over is not None and job.state in ("open", "claimed", "payload_shared"):
            self.over(job, "expired", over)

    def over_with_booking(self, job: ModelJob) -> int | None:
        """Block time at which the booking around an unfinished job ended, if it has."""
        if job.booking is None or job.state not in ("open", "claimed", "payload_shared"):
            return None
        booking = self.bookings[job.booking]
        return None if booking.state in ("reserved", "active") else booking.ended

    def current_job(self, job_id: bytes) -> ModelJob | None:
        """The job as of now; that it ended with its booking is written down when one of its deadlines passes."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        over = self.over_with_booking(job)
        if over is not None:
            job = replace(job, state="expired", ended=over)
        return None if self.past(job) else job

    def over(self, job: ModelJob, state: str, ended: int) -> None:
        job.state, job.ended = state, job.ended or ended
        self.pay(job.renter, job.cost - job.paid)

    def note_attempt(self, attempt: Attempt, what: str) -> None:
        """What became of an attempt counts for the provider and, in a job by itself, for the device."""
        self.remember(attempt.provider, self.devices(attempt.gpus), **{what: 1})

    def pay_units(self, job: ModelJob, units: int) -> None:
        if job.attempt:
            paid, fee = job.paid, job.fee
            self.reward(job, job.attempt.provider, (job.done + units) * job.price)
            devices = self.devices(job.attempt.gpus)
            self.remember_earnings(job.attempt.provider, devices, job.paid - paid, job.fee - fee)

    def finish_job(self, job: ModelJob) -> None:
        if job.attempt:
            self.pay_units(job, job.attempt.total)
            job.attempt.accepted = job.attempt.total
            self.note_attempt(job.attempt, "jobs_accepted")
            self.note_sale(job, job.attempt)
            self.over(job, "accepted", self.now)

    def note_sale(self, job: ModelJob, attempt: Attempt) -> None:
        """A job by itself has sold what it was counted in, or else the time that its GPU was taken."""
        gross = attempt.total * job.price
        fee = floor(gross * Fraction(job.rules.market_fee, 10_000))
        spent = attempt.total * 1_000 if job.unit is Unit.GPU_SECOND else job.ended - attempt.began
        if attempt.gpu is not None:
            self.note_deal(self.models(attempt.gpus), job.ended, spent, gross, fee)

    def give_up(self, job: ModelJob, attempt: Attempt, forfeited: int, time: int) -> None:
        """An attempt ends then without delivery; what is left of the job is open again, if anybody may still try."""
        self.forfeit(attempt.provider, forfeited, job.renter)
        job.tried.append(attempt.provider)
        job.done += attempt.accepted
        job.state, job.attempt = "open", None
        if len(job.tried) == MAXIMUM_ATTEMPTS or job.left == 0 or time >= job.deadline:
            self.over(job, "expired", time)
        if attempt.gpu is not None:
            self.idle(time, attempt.gpu)
            self.vacated(attempt.gpu)

    def as_renter(self, sender: bytes, job_id: bytes, *states: str) -> str | None:
        job = self.current_job(job_id)
        if job is None:
            return "not_found"
        if job.renter != sender:
            return "not_authorized"
        return None if job.state in states else "wrong_job_status"

    def as_claimer(self, sender: bytes, job_id: bytes, *states: str) -> str | None:
        job = self.current_job(job_id)
        if job is None:
            return "not_found"
        if job.state not in states:
            return "wrong_job_status"
        return None if job.attempt and job.attempt.provider == sender else "not_authorized"

    def do_job_submit(self, sender: bytes, action: SubmitJob) -> str | None:
        if not self.now < action.deadline_ms <= self.now + YEAR_MS:
            return "job_time_refused"
        if action.booking is not None:
            booking = self.current_booking(action.booking)
            if booking is None:
                return "not_found"
            if booking.renter != sender:
                return "not_authorized"
            if booking.state not in ("reserved", "active"):
                return "job_not_eligible"
        cost = action.max_units * action.unit_price
        if cost > MOST:
            return "amount_overflow"
        deposit = self.price(job_bytes(action))
        if self.has(sender) < cost + deposit:
            return "insufficient_funds"
        job = ModelJob(
            rules=self.parameters,
            renter=sender,
            unit=action.unit,
            units=action.max_units,
            price=action.unit_price,
            seconds=action.claim_seconds,
            deadline=action.deadline_ms,
            wanted=action.gpu_filter,
            booking=action.booking,
        )
        job_id = self.new_id("job")
        self.pay(sender, -job.cost)
        self.hold(sender, deposit, "job", job_id)
        self.jobs[job_id] = job
        return None

    def do_job_claim(self, sender: bytes, action: ClaimJob) -> str | None:
        job = self.current_job(action.job)
        if job is None:
            return "not_found"
        if job.state != "open":
            return "wrong_job_status"
        if sender == job.renter or sender in job.tried:
            return "job_not_eligible"
        grace = self.parameters.activation_grace_seconds * 1_000
        attempt = Attempt(sender, None, 0, self.now, self.now + grace + job.seconds * 1_000, self.live + grace)
        if job.booking is not None:
            booking = self.bookings[job.booking]
            if booking.provider != sender:
                return "not_authorized"
            if booking.state != "active":
                return "job_not_eligible"
        else:
            if error := self.suits(sender, job, attempt, action.gpu):
                return error
            attempt.gpu = action.gpu
        job = self.jobs[action.job]
        job.state, job.attempt = "claimed", attempt
        return None

    def suits(self, sender: bytes, job: ModelJob, attempt: Attempt, gpu_id: bytes | None) -> str | None:
        """Whether a GPU may do a job, and its owner has the collateral."""
        if gpu_id is None:
            return "job_not_eligible"
        if not self.listed(gpu_id):
            return "not_found"
        gpu, wanted = self.gpus[gpu_id], job.wanted
        if gpu.owner != sender:
            return "not_authorized"
        if gpu.status != "active":
            return "gpu_unavailable"
        if wanted.model not in ("", gpu.hardware.model) or wanted.region not in ("", gpu.hardware.region):
            return "job_not_eligible"
        if gpu.hardware.memory_mb < wanted.minimum_memory_mb or gpu.hardware.cuda_cores < wanted.minimum_cuda_cores:
            return "job_not_eligible"
        if self.taken((gpu_id,), attempt.began, attempt.until):
            return "booking_conflict"
        attempt.slice = min(ceil(Fraction(job.left * job.price, 10)), self.parameters.collateral_per_gpu)
        return "insufficient_collateral" if self.spare(sender) < attempt.slice else None

    def do_job_share_payload(self, sender: bytes, action: SharePayload) -> str | None:
        if error := self.as_renter(sender, action.job, "claimed"):
            return error
        job = self.jobs[action.job]
        job.state = "payload_shared"
        if job.attempt:
            job.attempt.deadline_live = self.live + job.seconds * 1_000
        return None

    def do_job_receipt(self, sender: bytes, action: AddReceipt) -> str | None:
        receipt = action.receipt
        if error := self.as_claimer(sender, receipt.job, "payload_shared"):
            return error
        job = self.jobs[receipt.job]
        attempt = job.attempt
        if attempt is None:
            return "not_authorized"
        continues = receipt.sequence == attempt.receipts + 1 and receipt.previous_hash == attempt.last
        within = attempt.total <= receipt.units_total <= job.left
        timely = attempt.began <= receipt.started_ms <= receipt.ended_ms <= self.now
        if job.unit == Unit.GPU_SECOND:
            within = within and receipt.units_total * 1_000 <= receipt.ended_ms - attempt.began
        if not (continues and within and timely):
            return "receipt_refused"
        attempt.receipts, attempt.last, attempt.total = receipt.sequence, receipt_hash(receipt), receipt.units_total
        if receipt.final:
            job.state, job.ended = "delivered", self.now
            job.accept_live = self.live + self.parameters.dispute_window_seconds * 1_000
            if attempt.gpu is not None:
                self.idle(self.now, attempt.gpu)
                self.vacated(attempt.gpu)
        return None

    def do_job_accept(self, sender: bytes, action: AcceptJob) -> str | None:
        if error := self.as_renter(sender, action.job, "payload_shared", "delivered"):
            return error
        job = self.jobs[action.job]
        if job.attempt is None or job.attempt.last == NO_RECEIPT:
            return "receipt_refused"
        if job.attempt.last != action.receipt_hash:
            return "receipt_superseded"
        if job.state == "delivered":
            self.finish_job(job)
        else:
            self.pay_units(job, job.attempt.total)
            job.attempt.accepted = job.attempt.total
        return None

    def do_job_fail(self, sender: bytes, action: FailJob) -> str | None:
        if error := self.as_claimer(sender, action.job, "claimed", "payload_shared"):
            return error
        job = self.jobs[action.job]
        if job.attempt:
            self.note_attempt(job.attempt, "jobs_failed")
            self.give_up(job, job.attempt, job.attempt.slice // 2, self.now)
        return None

    def do_job_cancel(self, sender: bytes, action: CancelJob) -> str | None:
        if error := self.as_renter(sender, action.job, "open"):
            return error
        self.over(self.jobs[action.job], "cancelled", self.now)
        return None


def review_fields(gpus: int) -> list[Any]:
    """A review at its fullest."""
    address, octets, number = bytes(33), bytes(32), MOST
    head = [address, address, [octets] * gpus, [octets] * gpus, 5, octets, octets]
    return [*head, number, number, number, octets, octets, False, False, number, number]


@dataclass
class ModelReview:
    author: bytes
    provider: bytes
    rating: int
    paid: int
    leaves: int
    """Live time at which it leaves the state."""
    replied: bool = False


@dataclass
class Reviews(Jobs):
    reviews: dict[bytes, ModelReview] = field(default_factory=dict)

    def due(self) -> None:
        super().due()
        for subject, review in list(self.reviews.items()):
            if self.live >= review.leaves:
                del self.reviews[subject]
                self.give_back("review", subject)

    def live_edges(self) -> Iterator[int]:
        yield from super().live_edges()
        yield from (review.leaves for review in self.reviews.values())

    def do_review_submit(self, sender: bytes, action: SubmitReview) -> str | None:
        booking, job = self.current_booking(action.subject), self.current_job(action.subject)
        if booking is not None:
            party, paid, fee = booking.renter, booking.paid if booking.state == "closed" else 0, booking.fee
            provider, gpus = booking.provider, booking.gpus
        elif job is not None:
            party, paid, fee = job.renter, job.paid if job.state in ("accepted", "closed") else 0, job.fee
            provider, gpus = (job.attempt.provider, job.attempt.gpus) if job.attempt else (b"", ())
        else:
            return "not_found"
        if sender != party or paid == 0 or action.subject in self.reviews:
            return "not_eligible_to_review"
        deposit = self.price(size_of(*review_fields(len(gpus))))
        if self.has(sender) < deposit:
            return "insufficient_funds"
        self.hold(sender, deposit, "review", action.subject)
        leaves = self.live + self.parameters.review_retention_seconds * 1_000
        # Not before what it is about.
        leaves = max(leaves, *(deal.leaves for deal in (booking, job) if deal is not None))
        self.remember_rating(provider, self.devices(gpus), action.rating, fee)
        self.reviews[action.subject] = ModelReview(sender, provider, action.rating, paid, leaves)
        return None

    def do_review_reply(self, sender: bytes, action: ReplyToReview) -> str | None:
        review = self.reviews.get(action.subject)
        if review is None:
            return "not_found"
        if review.provider != sender:
            return "not_authorized"
        if review.replied:
            return "already_replied"
        review.replied = True
        return None
