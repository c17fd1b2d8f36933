"""From what a person types to the id that is meant: beginnings of ids, and a GPU that stands for its booking.

A full id is taken as it is. The beginning of one is looked up in the lists where it can be, and if it fits several
things they are listed instead of guessed at.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cli.context import Application
from cli.errors import AmbiguousId, NothingFound
from cli.output import local_time, short

FULL = 64
"""Digits of an id."""
PAGE = 100
MAXIMUM_PAGES = 50
"""Pages of a list that are searched."""


def pages(app: Application, method: str, **params: Any) -> Iterator[Any]:
    """Every item of a list, page by page."""
    cursor = None
    for _ in range(MAXIMUM_PAGES):
        page = app.call(method, limit=PAGE, cursor=cursor, **params)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def gpu_id(app: Application, text: str, **only: Any) -> str:
    """The GPU whose id begins so. `only` narrows the list that is searched."""
    if len(text) == FULL:
        return text
    found = [view for view in pages(app, "gpu.list", **only) if view.id.startswith(text)]
    if not found:
        found = [view for view in pages(app, "gpu.list", status="retired", **only) if view.id.startswith(text)]
    return _single("GPU", text, found, _tell_gpu, "`aitbc marketplace gpu list` shows the GPUs.")


def booking_id(app: Application, text: str, status: Sequence[str] = (), *, gone: bool = False, **role: Any) -> str:
    """The booking whose id begins so, or the caller's only booking of the GPU that is meant.

    Args:
        status: states in which a booking of that GPU counts; any if empty.
        gone: whether a full id may be that of a booking that has left the state.
        role: as whom the caller takes part: `renter`, `provider` or `account`, with his address.
    """
    role = role or {"account": app.wallet().address_text}
    if len(text) == FULL:
        from wallet.client import RpcError

        booking, gpu = app.client().batch([("booking.get", {"booking": text}), ("gpu.get", {"gpu": text})])
        if isinstance(booking, RpcError) and isinstance(gpu, RpcError):
            if gone and booking.rpc_name == "not_found":
                return text
            raise booking
        if not isinstance(booking, RpcError):
            return text
    mine = list(pages(app, "booking.list", **role))
    found = [view for view in mine if view.id.startswith(text)]
    if not found:
        of_gpu = [view for view in mine if any(gpu.startswith(text) for gpu in view.booking["gpus"])]
        found = [view for view in of_gpu if not status or view.status in status]
        if of_gpu and not found:
            raise NothingFound(
                f"No booking of yours of GPU {short(text)} is {' or '.join(status)}.",
                "`aitbc marketplace booking list` shows your bookings and where they stand.",
            )
    return _single("booking", text, found, _tell_booking, "`aitbc marketplace booking list` shows your bookings.")


def job_id(app: Application, text: str, *filters: dict[str, Any]) -> str:
    """The job whose id begins so, in the first of these lists that has it."""
    if len(text) == FULL:
        return text
    found: list[Any] = []
    for only in filters or ({},):
        found = [view for view in pages(app, "job.list", **only) if view.id.startswith(text)]
        if found:
            break
    return _single("job", text, found, _tell_job, "`aitbc client history` and `aitbc miner jobs` show jobs.")


def request_id(app: Application, text: str, **only: Any) -> str:
    """The open request whose id begins so. `only` narrows the list that is searched."""
    if len(text) == FULL:
        return text
    found = [view for view in pages(app, "request.list", **only) if view.id.startswith(text)]
    return _single("request", text, found, _tell_request, "`aitbc marketplace request list` shows the open requests.")


def dispute_id(app: Application, text: str, **only: Any) -> str:
    """The dispute whose id begins so, or the latest about the booking, job or GPU that is meant.

    Args:
        only: narrows the list that is searched.
    """
    if len(text) == FULL:
        from wallet.client import RpcError

        named = app.client().batch([("dispute.get", {"dispute": text})])[0]
        if not isinstance(named, RpcError):
            return text
        found = list(app.call("dispute.list", subject=text, limit=1).items)
        if not found:
            raise named
        return str(found[0].id)
    listed = list(pages(app, "dispute.list", **only))
    found = [view for view in listed if view.id.startswith(text)]
    if not found:
        about = {str(view.dispute["subject"]): view for view in reversed(listed)}
        found = [view for subject, view in about.items() if subject.startswith(text)]
    return _single("dispute", text, found, _tell_dispute, "`aitbc marketplace dispute list` shows the disputes.")


def measure_id(app: Application, text: str) -> str:
    """The open or passed measure whose id begins so."""
    if len(text) == FULL:
        return text
    found = [view for view in pages(app, "governance.list") if view.id.startswith(text)]
    hint = "`aitbc governance list` shows them; an executed, rejected or expired one is gone."
    return _single("measure", text, found, _tell_measure, hint)


def disputed_id(app: Application, text: str) -> str:
    """The booking, job or GPU whose id begins so and that a dispute is about."""
    if len(text) == FULL:
        return text
    about = {str(view.dispute["subject"]): view for view in pages(app, "dispute.list")}
    found = [view for subject, view in about.items() if subject.startswith(text)]
    hint = "`aitbc marketplace dispute list` shows what they are about."
    return _single("dispute", text, found, _tell_dispute, hint, lambda view: str(view.dispute["subject"]))


def transaction_id(app: Application, text: str) -> str:
    """The transaction whose id begins so, among those of the acting wallet."""
    if len(text) == FULL:
        return text
    history = pages(app, "account.history", address=app.wallet().address_text)
    found = {entry.txid: entry for entry in history if entry.txid and entry.txid.startswith(text)}
    return _single(
        "transaction",
        text,
        list(found.values()),
        lambda entry: f"{entry.txid}  {local_time(entry.time_ms)}",
        "Give all 64 digits; a shortened id is only looked for in the history of your wallet.",
        lambda entry: str(entry.txid),
    )


def _single(
    kind: str,
    text: str,
    found: Iterable[Any],
    tell: Callable[[Any], str],
    hint: str,
    identify: Callable[[Any], str] = lambda view: str(view.id),
) -> str:
    matches = list(found)
    if not matches:
        raise NothingFound(f"No {kind} is known by {text}.", hint)
    if len(matches) > 1:
        listed = "\n".join(f"  {tell(match)}" for match in matches[:20])
        raise AmbiguousId(f"{text} fits {len(matches)} {kind}s.", f"Give more of the id that you mean:\n{listed}")
    return identify(matches[0])


def _tell_gpu(view: Any) -> str:
    return f"{view.id}  {view.gpu['hardware']['model']}  {view.status}"


def _tell_booking(view: Any) -> str:
    return f"{view.id}  {view.status}  from {local_time(view.booking['start_ms'])}"


def _tell_request(view: Any) -> str:
    wanted = view.request["gpu_filter"]["model"] or "any model"
    return f"{view.id}  {wanted}  until {local_time(view.request['expires_ms'])}"


def _tell_dispute(view: Any) -> str:
    return f"{view.id}  {view.status}  about {view.dispute['kind']} {view.dispute['subject']}"


def _tell_measure(view: Any) -> str:
    actions = ", ".join(str(action["action"]) for action in view.measure["actions"])
    return f"{view.id}  {view.status}  {actions}"


def _tell_job(view: Any) -> str:
    return f"{view.id}  {view.job['kind']}  {view.status}"
