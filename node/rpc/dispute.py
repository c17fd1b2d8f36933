"""The namespace `dispute`: who contests what, what was said and voted, and how it ended."""

from chain import interface as api
from chain.action import Action
from chain.actions.disputes import ChallengeHardware, OpenDispute, RespondToDispute
from chain.dispute import DISPUTES, PENDING, Dispute, DisputeStatus
from chain.dispute_life import current_dispute, has_left
from chain.errors import NotFound
from node.rpc.account import Places
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside
from node.rpc.pages import newest_first, scan_records


def _view(read: Read, dispute_id: bytes, dispute: Dispute) -> api.DisputeView:
    left_ms = dispute.deadline_live_ms - read.clocks.live_ms if dispute.status in PENDING else 0
    voted = {ballot.voter for ballot in dispute.ballots}
    voting = dispute.status is DisputeStatus.ANSWERED
    return api.DisputeView(
        id=dispute_id.hex(),
        dispute=read.show(dispute),
        status=dispute.status.name.lower(),
        disputed=str(dispute.disputed),
        text=_text(read, dispute.txid, dispute_id, dispute),
        response=None if dispute.response_txid is None else _text(read, dispute.response_txid, dispute_id, dispute),
        seconds_left=max(0, left_ms) // 1_000,
        waiting=tuple(
            read.address_text(voter) for index, voter in enumerate(dispute.electorate) if voting and index not in voted
        ),
    )


def _text(read: Read, txid: bytes, dispute_id: bytes, dispute: Dispute) -> str | None:
    """The complaint or the response, which only its transaction keeps."""
    place = read.snapshot.transaction_location(txid)
    if place is None:
        return None
    for action in Places(read).transaction(*place).body.actions:
        said = _said(action, dispute_id, dispute)
        if said is not None:
            return said
    return None


def _said(action: Action, dispute_id: bytes, dispute: Dispute) -> str | None:
    """The text of an action, if it is about this dispute."""
    match action:
        case OpenDispute(subject=subject, text=text) if subject == dispute.subject:
            return text
        case ChallengeHardware(gpu=gpu, text=text) if gpu == dispute.subject:
            return text
        case RespondToDispute(dispute=answered, text=text) if answered == dispute_id:
            return text
    return None


def get(read: Read, params: api.DisputeParams) -> api.DisputeDetails:
    dispute_id = bytes.fromhex(params.dispute)
    dispute = current_dispute(read.now(), dispute_id)
    return api.DisputeDetails(as_of=read.as_of, view=_view(read, dispute_id, dispute))


def still(read: Read, dispute_id: bytes, stored: Dispute) -> Dispute | None:
    """The dispute as of now, unless it is about to leave the state."""
    if stored.status not in PENDING:
        return None if has_left(read.now(), stored) else stored
    try:
        return current_dispute(read.now(), dispute_id)
    except NotFound:
        return None


def list_disputes(read: Read, params: api.DisputeListParams) -> api.DisputeList:
    party, voter = (None if text is None else read.address(text) for text in (params.party, params.voter))
    subject = None if params.subject is None else bytes.fromhex(params.subject)

    def matches(dispute: Dispute) -> bool:
        """The filters over what never changes."""
        return (
            (party is None or party in (dispute.opener, dispute.respondent))
            and (voter is None or voter in dispute.electorate)
            and subject in (None, dispute.subject)
            and params.kind in (None, dispute.kind.name.lower())
        )

    def stands(dispute: Dispute) -> bool:
        """The filters over what time changes."""
        wanted = params.status in (None, dispute.status.name.lower())
        return wanted and (dispute.status in PENDING or not params.pending)

    found = []
    for dispute_id, stored in scan_records(read.snapshot, DISPUTES, Dispute, party, voter, subject):
        dispute = still(read, dispute_id, stored) if matches(stored) else None
        if dispute is not None and stands(dispute):
            found.append((dispute_id, dispute))
    page, following = newest_first(found, lambda dispute: dispute.opened_height, params.cursor, params.limit)
    items = tuple(_view(read, dispute_id, dispute) for dispute_id, dispute in page)
    return api.DisputeList(as_of=read.as_of, items=items, next_cursor=following)


HANDLERS: dict[str, Handler] = {
    "dispute.get": aside(get),
    "dispute.list": aside(list_disputes),
}
