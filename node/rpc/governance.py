"""The namespace `governance`: what is voted on, who comes and goes among the authorities, and who was convicted."""

from chain import interface as api
from chain.actions.evidence import CONVICTIONS
from chain.authorities import CANDIDATES, Candidate, read_departures
from chain.errors import NotFound
from chain.governance import MEASURES, Measure, counted, read_agenda, tally
from chain.parameter_ranges import FIXED, RANGES, reach
from chain.parameters import read_parameters
from chain.stake import stake_of
from chain.succession import CANDIDATE_EPOCHS
from node.consensus.epochs import epoch_of
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, quick
from node.rpc.pages import make_cursor, read_cursor


def _epoch(read: Read) -> int:
    """The epoch of the next block."""
    return epoch_of(read.clocks.height + 1, read.context.specification.parameters.epoch_blocks)


def _agenda(read: Read) -> tuple[list[bytes], dict[bytes, int]]:
    """The ids of open measures that have not expired, and of passed ones with the epoch in which each is due."""
    agenda = read_agenda(read.view)
    waiting = [entry.measure for entry in agenda.open if read.clocks.time_ms < entry.expires_ms]
    return waiting, {entry.measure: entry.due_epoch for entry in agenda.passed}


def _view(read: Read, measure_id: bytes, measure: Measure, due_epoch: int | None) -> api.MeasureView:
    votes = tally(read.view, measure)
    counting = [each for each in counted(read.view, measure) if each.operator not in measure.ousted]
    return api.MeasureView(
        id=measure_id.hex(),
        measure=read.show(measure),
        status="open" if due_epoch is None else "passed",
        approvals=tuple(read.address_text(each.operator) for each in counting if each.approve),
        rejections=tuple(read.address_text(each.operator) for each in counting if not each.approve),
        needed=votes.needed,
        electors=votes.electors,
        due_epoch=due_epoch,
        spent=str(measure.spent),
    )


def get(read: Read, params: api.MeasureParams) -> api.MeasureDetails:
    measure_id = bytes.fromhex(params.measure)
    waiting, passed = _agenda(read)
    measure = MEASURES.get(read.view, measure_id)
    if measure is None or (measure_id not in waiting and measure_id not in passed):
        raise NotFound(kind="measure", id=measure_id)
    return api.MeasureDetails(as_of=read.as_of, view=_view(read, measure_id, measure, passed.get(measure_id)))


def list_measures(read: Read, params: api.MeasureListParams) -> api.MeasureList:
    waiting, passed = _agenda(read)
    ids = (waiting if params.status != "passed" else []) + (list(passed) if params.status != "open" else [])
    after = read_cursor(params.cursor, int, bytes)
    start = 0
    if after is not None:
        # What stood before may have left the list since; nothing is shown twice, and nothing behind it left out.
        start = ids.index(after[1]) + 1 if after[1] in ids else min(after[0], len(ids))
    page = ids[start : start + params.limit]
    items = []
    for measure_id in page:
        measure = MEASURES.get(read.view, measure_id)
        if measure is not None:
            items.append(_view(read, measure_id, measure, passed.get(measure_id)))
    following = make_cursor(start + len(page) - 1, page[-1]) if start + len(page) < len(ids) else None
    return api.MeasureList(as_of=read.as_of, epoch=_epoch(read), items=tuple(items), next_cursor=following)


def parameters(read: Read, params: api.NoParams) -> api.ChangeableParameters:
    present = read_parameters(read.view)
    items = []
    for name, permitted in RANGES.items():
        value = getattr(present, name)
        minimum, maximum = reach(name, value)
        items.append(api.ChangeableParameter(name, value, minimum, maximum, permitted.minimum, permitted.maximum))
    return api.ChangeableParameters(as_of=read.as_of, items=tuple(items), fixed=tuple(sorted(FIXED)))


def _candidate(read: Read, epoch: int, candidate: Candidate) -> api.CandidateView:
    present = read_parameters(read.view)
    said = candidate.ready_epoch
    return api.CandidateView(
        authority=read.show(candidate.authority),
        approved_epoch=candidate.approved_epoch,
        ready_epoch=said,
        ready=said is not None and epoch - said < present.ready_epochs,
        stake=str(stake_of(read.view, candidate.authority.operator).free),
        needed_stake=str(present.authority_minimum_stake),
        dropped_epoch=candidate.approved_epoch + CANDIDATE_EPOCHS,
    )


def candidates(read: Read, params: api.CandidatesParams) -> api.Candidates:
    after = read_cursor(params.cursor, bytes)
    found = [
        (operator, candidate)
        for operator, candidate in CANDIDATES.scan(read.view)
        if after is None or operator > after[0]
    ]
    page, epoch = found[: params.limit], _epoch(read)
    return api.Candidates(
        as_of=read.as_of,
        epoch=epoch,
        items=tuple(_candidate(read, epoch, candidate) for _, candidate in page),
        leaving=tuple(read.address_text(operator) for operator in read_departures(read.view).operators),
        next_cursor=make_cursor(page[-1][0]) if len(found) > len(page) else None,
    )


def convictions(read: Read, params: api.ConvictionListParams) -> api.ConvictionList:
    operator = None if params.operator is None else read.address(params.operator)
    after = read_cursor(params.cursor, bytes)
    items: list[api.ConvictionView] = []
    following, last = None, b""
    for key, conviction in CONVICTIONS.scan(read.view, b"" if after is None else after[0] + b"\x00"):
        epoch, convicted = int.from_bytes(key[:8], "big"), key[8:]
        if operator not in (None, convicted):
            continue
        if len(items) == params.limit:
            following = make_cursor(last)
            break
        last = key
        items.append(api.ConvictionView(read.address_text(convicted), epoch, read.show(conviction)))
    return api.ConvictionList(as_of=read.as_of, items=tuple(items), next_cursor=following)


HANDLERS: dict[str, Handler] = {
    "governance.get": quick(get),
    "governance.list": aside(list_measures),
    "governance.parameters": quick(parameters),
    "governance.candidates": aside(candidates),
    "governance.convictions": aside(convictions),
}
