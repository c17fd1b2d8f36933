"""Ten thousand items due in one block: they carry over in order, within the block's budget, and nobody is misled."""

from chain.actions.jobs import CancelJob, ClaimJob, SubmitJob
from chain.job import Unit
from chain.schema import COIN
from tests.market import Market, altered

ITEMS = 10_000
ABREAST = 400
"""Actions in a transaction."""
EXPIRY = 7
"""Records that it writes at most: the item, the job, its escrow, the total, the account, and the item for its end."""


def test_ten_thousand_items_due_in_one_block() -> None:
    market = Market(parameters=altered(dispute_window_seconds=60), balance=10**6 * COIN, check=False)
    parameters = market.specification.parameters
    due_ms = market.time_ms + 120_000
    job = SubmitJob("render", bytes(32), Unit.ITEM, 1, 7, 60, due_ms)
    jobs: list[bytes] = []
    for _ in range(ITEMS // ABREAST):
        result = market.do(market.renter, *[job] * ABREAST, fee=COIN)
        jobs += [dict(event.subjects)["job"] for event in result.events if event.kind == "job.submitted"]
    market.wait_until(due_ms - 1)
    held = market.balance(market.renter)

    expired: list[bytes] = []
    for blocks in range(1, 100):
        market.block(after_ms=1)
        assert market.outcome is not None
        assert market.outcome.system.weight <= parameters.due_weight
        expired += [
            dict(event.subjects)["job"] for event in market.outcome.system.events if event.kind == "job.expired"
        ]
        if len(expired) == ITEMS:
            break
        assert market.outcome.system.weight > parameters.due_weight - EXPIRY, "a full queue uses the budget"
        if blocks == 1:
            last = max(jobs)
            assert last not in expired
            for sender, late in ((market.renter, CancelJob(last)), (market.provider, ClaimJob(last, market.gpus[0]))):
                result = market.run(sender, late, after_ms=1)
                assert (result.error, dict(result.error_data)["status"]) == ("wrong_job_status", "expired")
                assert market.outcome is not None
                events = market.outcome.system.events
                expired += [dict(event.subjects)["job"] for event in events if event.kind == "job.expired"]
    assert expired == sorted(jobs), "in order of their ids, because all were due at once"
    assert blocks + 2 <= -(-ITEMS * EXPIRY // parameters.due_weight)
    assert market.balance(market.renter) > held + 7 * ITEMS - COIN
