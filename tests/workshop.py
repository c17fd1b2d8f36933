"""A market with one GPU and jobs for it: what the tests of jobs and of disputes about them share."""

from dataclasses import replace
from typing import Any

from chain.actions.jobs import AddReceipt, ClaimJob, SharePayload, SubmitJob
from chain.job import JOBS, Job, Receipt, Unit, receipt_hash
from chain.schema import COIN
from tests.ledger import subject
from tests.market import Market

PRICE = COIN // 10
UNITS = 50


class Workshop(Market):
    """A market with one GPU, and jobs of fifty items at a tenth of a coin each."""

    def __init__(self, **more: Any) -> None:
        super().__init__(gpus=1, **more)
        self.receipts: dict[bytes, list[Receipt]] = {}

    def submission(self, **changes: Any) -> SubmitJob:
        plain: dict[str, Any] = {
            "kind": "inference",
            "input_hash": b"\x01" * 32,
            "unit": Unit.ITEM,
            "max_units": UNITS,
            "unit_price": PRICE,
            "claim_seconds": 120,
            "deadline_ms": self.time_ms + 3_600_000,
        }
        return SubmitJob(**{**plain, **changes})

    def submit(self, **changes: Any) -> bytes:
        return subject(self.do(self.renter, self.submission(**changes)), "job.submitted", "job")

    def job(self, job_id: bytes) -> Job:
        found = JOBS.get(self.view, job_id)
        assert found is not None
        return found

    def claimed(self, **changes: Any) -> bytes:
        job_id = self.submit(**changes)
        self.do(self.provider, ClaimJob(job_id, None if changes.get("booking") else self.gpus[0]))
        return job_id

    def shared(self, **changes: Any) -> bytes:
        job_id = self.claimed(**changes)
        self.do(self.renter, SharePayload(job_id, b"sealed key"))
        return job_id

    def receipt(self, job_id: bytes, units: int, *, final: bool = False, **changes: Any) -> Receipt:
        """The next receipt of the job, about to be included in the next block."""
        claim = self.job(job_id).claim
        assert claim is not None
        plain = Receipt(
            job=job_id,
            sequence=claim.receipts + 1,
            units_total=units,
            previous_hash=claim.last_receipt,
            result_hash=b"\x05" * 32,
            location="ipfs://result",
            started_ms=claim.claimed_ms,
            ended_ms=self.time_ms,
            final=final,
        )
        return replace(plain, **changes)

    def report(self, job_id: bytes, units: int, *, final: bool = False) -> bytes:
        receipt = self.receipt(job_id, units, final=final)
        self.do(self.provider, AddReceipt(receipt))
        return receipt_hash(receipt)

    def delivered(self, units: int = UNITS) -> tuple[bytes, bytes]:
        job_id = self.shared()
        return job_id, self.report(job_id, units, final=True)
