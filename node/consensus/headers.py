"""What consensus itself requires of a header; roots and results are the executor's to judge."""

from chain.block import Header
from node.consensus.epochs import is_last_of_epoch
from node.consensus.events import Head, Settings


def header_fault(header: Header, view: int, head: Head, authorities_hash: bytes, settings: Settings) -> str | None:
    """Why `header`, proposed in `view` as the block above `head`, is invalid; None if it is not.

    Args:
        authorities_hash: of the set that certifies the block.
    """
    authorities = head.authorities
    if header.chain_id != settings.chain_id or header.epoch != authorities.epoch:
        return "proposal for another chain or epoch"
    if header.height != head.height + 1 or header.parent_hash != head.hash:
        return "proposal on another parent"
    if not 1 <= header.view <= view:
        return "proposal from a later view"
    if header.proposer != authorities.members[authorities.leader(header.view)].operator:
        return "proposal by another proposer than its view's leader"
    if header.authorities_hash != authorities_hash:
        return "proposal for another authority set"
    if is_last_of_epoch(header.height, settings.epoch_blocks) != (header.next_authorities_hash is not None):
        return "proposal names the next authority set at the wrong height"
    if header.time_ms <= head.time_ms:
        return "proposal not later than its parent"
    return None
