"""The namespace `multisig`: accounts with several members, and what waits for their approval."""

from chain import interface as api
from chain.actions.multisig import MULTISIGS, PROPOSALS, Multisig, Opinion, read_multisig, valid
from chain.bank import account
from node.rpc.context import Read
from node.rpc.dispatch import Handler
from node.rpc.handlers import aside, quick
from node.rpc.pages import make_cursor, newest_first, read_cursor, scan_records


def _view(read: Read, address: bytes, multisig: Multisig) -> api.MultisigView:
    return api.MultisigView(
        address=read.address_text(address),
        multisig=read.show(multisig),
        balance=str(account(read.view, address).balance),
    )


def get(read: Read, params: api.MultisigParams) -> api.MultisigDetails:
    address = read.address(params.address)
    return api.MultisigDetails(as_of=read.as_of, view=_view(read, address, read_multisig(read.view, address)))


def list_multisigs(read: Read, params: api.MultisigListParams) -> api.MultisigList:
    member = None if params.member is None else read.address(params.member)
    after = read_cursor(params.cursor, bytes)
    page: list[tuple[bytes, Multisig]] = []
    following: str | None = None
    for address, multisig in scan_records(read.snapshot, MULTISIGS, Multisig, member):
        if (after is not None and address <= after[0]) or (member is not None and member not in multisig.members):
            continue
        if len(page) == params.limit:
            following = make_cursor(page[-1][0])
            break
        page.append((address, multisig))
    items = tuple(_view(read, address, multisig) for address, multisig in page)
    return api.MultisigList(as_of=read.as_of, items=items, next_cursor=following)


def _names(read: Read, opinions: tuple[Opinion, ...]) -> tuple[str, ...]:
    return tuple(read.address_text(opinion.member) for opinion in opinions)


def proposals(read: Read, params: api.ProposalsParams) -> api.Proposals:
    address = read.address(params.address)
    found = []
    multisig = read_multisig(read.view, address)
    for proposal_id in multisig.proposals:
        proposal = PROPOSALS.get(read.view, proposal_id)
        if proposal is not None and read.clocks.time_ms < proposal.expires_ms:
            found.append((proposal_id, proposal))
    page, following = newest_first(found, lambda proposal: proposal.proposed_height, params.cursor, params.limit)
    return api.Proposals(
        as_of=read.as_of,
        address=read.address_text(address),
        items=tuple(
            api.ProposalView(
                id=proposal_id.hex(),
                proposal=read.show(proposal),
                approvals=_names(read, valid(read.view, proposal.approvals)),
                rejections=_names(read, valid(read.view, proposal.rejections)),
                threshold=multisig.threshold,
                execution_weight=proposal.weight,
            )
            for proposal_id, proposal in page
        ),
        next_cursor=following,
    )


HANDLERS: dict[str, Handler] = {
    "multisig.get": quick(get),
    "multisig.list": aside(list_multisigs),
    "multisig.proposals": quick(proposals),
}
