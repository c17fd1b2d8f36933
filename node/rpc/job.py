"""The namespace `job`: jobs as of now, and the chain of receipts that meters them."""

from chain import interface as api
from chain.actions.jobs import AddReceipt
from chain.errors import NotFound
from chain.escrow import ESCROWS
from chain.job import JOBS, OVER, Job, Receipt, receipt_hash
from chain.job_life import current_job, has_left
from node.rpc.account import Places, concerning
from node.rpc.chain import require_header
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, quick
from node.rpc.pages import make_cursor, newest_first, read_cursor, scan_records
from node.store import SYSTEM_INDEX

HISTORY_STRIDE = 100
MAXIMUM_LOOKED_AT = 2_000
"""Places of a job's history that one page of receipts looks at."""


def _view(read: Read, job_id: bytes, job: Job) -> api.JobView:
    return api.JobView(job_id.hex(), read.show(job), job.status.name.lower())


def get(read: Read, params: api.JobParams) -> api.JobDetails:
    job_id = bytes.fromhex(params.job)
    now = read.now()
    job = current_job(now, job_id)
    escrow = ESCROWS.get(now.view, job_id)
    return api.JobDetails(as_of=read.as_of, view=_view(read, job_id, job), escrow=read.show(escrow) if escrow else None)


def still(read: Read, job_id: bytes, stored: Job) -> Job | None:
    """The job as of now, unless it is about to leave the state."""
    if stored.status in OVER:
        return None if has_left(read.now(), stored) else stored
    try:
        return current_job(read.now(), job_id)
    except NotFound:
        return None


def list_jobs(read: Read, params: api.JobListParams) -> api.JobList:
    account, renter, provider = (
        None if text is None else read.address(text) for text in (params.account, params.renter, params.provider)
    )
    booking, gpu = (None if text is None else bytes.fromhex(text) for text in (params.booking, params.gpu))

    def matches(job: Job) -> bool:
        """The filters over what never changes, or changes only to what no longer matches."""
        claimer = job.claim.provider if job.claim else None
        return (
            renter in (None, job.renter)
            and provider in (None, claimer)
            and account in (None, job.renter, claimer)
            and booking in (None, job.booking)
            and gpu in (None, job.claim.gpu if job.claim else None)
            and params.kind in (None, job.kind)
        )

    found = []
    for job_id, stored in scan_records(read.snapshot, JOBS, Job, account, renter, provider, booking, gpu):
        if matches(stored):
            job = still(read, job_id, stored)
            if job is not None and matches(job) and params.status in (None, job.status.name.lower()):
                found.append((job_id, job))
    page, following = newest_first(found, lambda job: job.submitted_height, params.cursor, params.limit)
    items = tuple(_view(read, job_id, job) for job_id, job in page)
    return api.JobList(as_of=read.as_of, items=items, next_cursor=following)


def receipts(read: Read, params: api.ReceiptsParams) -> api.Receipts:
    """Receipts are in transactions, not in the state; the events name their hashes."""
    job_id = bytes.fromhex(params.job)
    if JOBS.get(read.view, job_id) is None and not read.snapshot.history(job_id, limit=1):
        raise NotFound(kind="job", id=job_id)
    place = read_cursor(params.cursor, int, int)
    before = (place[0], place[1]) if place else None
    places, items, looked = Places(read), list[api.ReceiptView](), 0
    following: str | None = None
    while following is None:
        stride = read.snapshot.history(job_id, before, HISTORY_STRIDE)
        for height, index in stride:
            if len(items) >= params.limit or looked >= MAXIMUM_LOOKED_AT:
                following = make_cursor(*before) if before else None
                break
            items += _receipts_at(read, places, job_id, height, index)
            before, looked = (height, index), looked + 1
        if len(stride) < HISTORY_STRIDE:
            break
    return api.Receipts(as_of=read.as_of, job=job_id.hex(), items=tuple(items), next_cursor=following)


def _receipts_at(read: Read, places: Places, job_id: bytes, height: int, index: int) -> list[api.ReceiptView]:
    """The receipts for this job in one transaction, the last one first."""
    if index == SYSTEM_INDEX:
        return []
    hashes = [
        identifier
        for event in concerning(places.events(height, index), job_id)
        for role, identifier in event.subjects
        if event.kind == "job.receipt" and role == "receipt"
    ]
    if not hashes:
        return []
    transaction = places.transaction(height, index)
    known: dict[bytes, Receipt] = {
        receipt_hash(action.receipt): action.receipt
        for action in transaction.body.actions
        if isinstance(action, AddReceipt)
    }
    time_ms = require_header(read, height)[0].time_ms
    return [
        api.ReceiptView(
            hash=found.hex(),
            height=height,
            time_ms=time_ms,
            txid=transaction.txid.hex(),
            receipt=read.show(known[found]) if found in known else None,
        )
        for found in reversed(hashes)
    ]


HANDLERS: dict[str, Handler] = {
    "job.get": quick(get),
    "job.list": aside(list_jobs),
    "job.receipts": aside(receipts),
}
