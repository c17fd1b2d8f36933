"""Scenarios of what many have a part in: multisig accounts, requests with bids, measures, authorities, evidence."""

from dataclasses import replace

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.authorities import ReadyAuthority
from chain.actions.evidence import SubmitEvidence
from chain.actions.governance import ProposeMeasure, SetParameter, SpendTreasury, VoteOnMeasure
from chain.actions.multisig import ApproveProposal, CreateMultisig, ProposeActions, RejectProposal, SetMembers
from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from chain.actions.staking import RemoveStake
from chain.bank import adjust
from chain.booking import MAXIMUM_GPUS
from chain.certificate import Vote, VoteKind, vote_bytes
from chain.crypto import bls
from chain.job import ANY_GPU
from chain.schema import COIN
from tests.benchmarks.scenarios import Attempts, scenario
from tests.benchmarks.stage import WIDE, Stage
from tests.ledger import Person, make_authority
from tests.market import commitment, registration

MEMBERS = 32


def _clubs(stage: Stage, count: int, threshold: int = MEMBERS) -> list[bytes]:
    members = tuple(sorted(person.address for person in stage.crowd[:MEMBERS]))
    found: list[bytes] = []
    for _ in range(count):
        results = stage.all(stage.renter, [CreateMultisig(threshold, members)])
        found += stage.ids(results, "multisig.created", "account")
    stage.all(stage.renter, [Transfer(club, "AITBC", 1_000 * COIN) for club in found])
    return found


def _proposals(stage: Stage, clubs: list[bytes], each: int, actions: tuple[Action, ...] = ()) -> list[bytes]:
    payment = Transfer(stage.other.address, "AITBC", 1)
    propose = [
        ProposeActions(club, actions or (payment,) * 32, stage.time_ms + 10**8) for club in clubs for _ in range(each)
    ]
    return stage.ids(stage.all(stage.crowd[0], propose), "multisig.proposed", "proposal")


@scenario("multisig.create")
def create() -> tuple[Stage, Attempts]:
    stage = Stage()
    members = tuple(sorted(person.address for person in stage.crowd[:MEMBERS]))
    return stage, [(person, CreateMultisig(3, members)) for person in stage.crowd]


@scenario("multisig.propose")
def propose() -> tuple[Stage, Attempts]:
    stage = Stage()
    clubs = _clubs(stage, 20)
    _proposals(stage, clubs, 31)
    payment = Transfer(stage.other.address, "AITBC", 1)
    proposal = [ProposeActions(club, (payment,) * 32, stage.time_ms + 10**8) for club in clubs]
    return stage, [(stage.crowd[0], action) for action in proposal]


@scenario("multisig.propose")
def propose_little() -> tuple[Stage, Attempts]:
    stage = Stage()
    clubs = _clubs(stage, 20)
    payment = Transfer(stage.other.address, "AITBC", 1)
    _proposals(stage, clubs, 31, (payment,))
    return stage, [(stage.crowd[0], ProposeActions(club, (payment,), stage.time_ms + 10**8)) for club in clubs]


def _almost(stage: Stage, payments: int) -> list[bytes]:
    """Proposals that one more approval executes."""
    payment = Transfer(stage.other.address, "AITBC", 1)
    found = _proposals(stage, _clubs(stage, 20), 1, (payment,) * payments)
    for person in stage.crowd[1 : MEMBERS - 1]:
        stage.all(person, [ApproveProposal(proposal) for proposal in found], after_ms=1)
    return found


@scenario("multisig.approve")
def approve() -> tuple[Stage, Attempts]:
    stage = Stage()
    return stage, [(stage.crowd[MEMBERS - 1], ApproveProposal(item, 1)) for item in _almost(stage, 1)]


@scenario("multisig.approve")
def approve_thirty_two() -> tuple[Stage, Attempts]:
    stage = Stage()
    return stage, [(stage.crowd[MEMBERS - 1], ApproveProposal(item, 32)) for item in _almost(stage, 32)]


@scenario("multisig.reject")
def reject() -> tuple[Stage, Attempts]:
    stage = Stage()
    return stage, [(stage.crowd[MEMBERS - 1], RejectProposal(item)) for item in _almost(stage, 32)]


@scenario("multisig.set_members")
def set_members() -> tuple[Stage, Attempts]:
    stage = Stage()
    clubs = _clubs(stage, 10, threshold=1)
    members = tuple(sorted(person.address for person in stage.crowd[:MEMBERS]))
    stage.each(
        (stage.crowd[0], ProposeActions(club, (SetMembers(32, members),), stage.time_ms + 10**8)) for club in clubs
    )
    payment = Transfer(stage.other.address, "AITBC", 1)
    change = _proposals(stage, clubs, 1, (SetMembers(1, members),))
    for person in stage.crowd[1 : MEMBERS - 1]:
        stage.all(person, [ApproveProposal(proposal) for proposal in change], after_ms=1)
    _proposals(stage, clubs, 31, (payment,) * 32)
    weight = SetMembers(1, members).weight()
    return stage, [(stage.crowd[MEMBERS - 1], ApproveProposal(item, weight)) for item in change]


def _bidding(bids: int, requests: int = 8) -> tuple[Stage, list[bytes], dict[Person, tuple[bytes, ...]]]:
    """Requests for sixteen GPUs with this many bids each."""
    stage = Stage(replace(WIDE, collateral_per_gpu=COIN))
    owned = {}
    for person in stage.crowd[: bids + 1]:
        names = [f"{person.name} {index}" for index in range(MAXIMUM_GPUS)]
        stage.all(person, commitment(person, *names), after_ms=1)
        results = stage.all(person, [registration(name) for name in names], after_ms=1)
        owned[person] = tuple(stage.ids(results, "gpu.registered", "gpu"))
    opening = OpenRequest(ANY_GPU, MAXIMUM_GPUS, 0, 3_600, 1_000 * COIN, stage.time_ms + 10**8, b"\x09" * 32)
    found = stage.ids(stage.all(stage.renter, [opening] * requests), "request.opened", "request")
    for rate, person in enumerate(stage.crowd[:bids], 1):
        stage.all(person, [_bid(request, owned[person], rate) for request in found], after_ms=1)
    return stage, found, owned


def _bid(request: bytes, gpus: tuple[bytes, ...], rate: int) -> PlaceBid:
    return PlaceBid(request, gpus, (1,) * len(gpus), rate * COIN)


@scenario("request.open")
def open_request() -> tuple[Stage, Attempts]:
    stage = Stage()
    opening = OpenRequest(ANY_GPU, MAXIMUM_GPUS, 0, 3_600, 1_000 * COIN, stage.time_ms + 10**8, b"\x09" * 32)
    return stage, [(stage.renter, opening)] * 100


@scenario("request.place_bid")
def place_bid() -> tuple[Stage, Attempts]:
    stage, requests, owned = _bidding(64)
    bidder = stage.crowd[64]
    return stage, [(bidder, replace(_bid(request, owned[bidder], 1), rate=7)) for request in requests]


@scenario("request.place_bid")
def place_a_bid_of_one() -> tuple[Stage, Attempts]:
    stage = Stage(gpus=1)
    opening = OpenRequest(ANY_GPU, 1, 0, 3_600, 1_000 * COIN, stage.time_ms + 10**8, b"\x09" * 32)
    found = stage.ids(stage.all(stage.renter, [opening] * 100), "request.opened", "request")
    return stage, [(stage.provider, _bid(request, stage.gpus, 1)) for request in found]


@scenario("request.accept_bid")
def accept_bid() -> tuple[Stage, Attempts]:
    stage, requests, _ = _bidding(64)
    accepted = zip(requests, stage.crowd, range(1, 65), strict=False)
    return stage, [(stage.renter, AcceptBid(request, person.address, number)) for request, person, number in accepted]


@scenario("request.withdraw_bid")
def withdraw_bid() -> tuple[Stage, Attempts]:
    stage, requests, owned = _bidding(2, 40)
    return stage, [(person, WithdrawBid(request)) for request in requests for person in list(owned)[:2]]


@scenario("request.cancel")
def cancel_request() -> tuple[Stage, Attempts]:
    stage, requests, _ = _bidding(64)
    return stage, [(stage.renter, CancelRequest(request)) for request in requests]


def _rich_treasury(stage: Stage) -> None:
    view = stage.view
    adjust(view, treasury=10**6 * COIN, issued=10**6 * COIN)
    stage.reader.apply(view.changes())


def _measures(stage: Stage, *actions: Action, count: int = 8) -> list[bytes]:
    made = ProposeMeasure(actions, stage.time_ms + 10**8)
    results = stage.each((person, made) for person in stage.crowd[-count:])
    return stage.ids(results, "governance.proposed", "measure")


@scenario("governance.propose")
def propose_measure() -> tuple[Stage, Attempts]:
    """The 121st to 128th of 128 measures that may be open, each with as many actions as may be."""
    stage = Stage()
    _rich_treasury(stage)
    spending = (SpendTreasury(stage.other.address, 1, "m" * 256),) * 8
    made = ProposeMeasure(spending, stage.time_ms + 10**8)
    stage.each((person, made) for person in stage.crowd[:-8])
    return stage, [(person, made) for person in stage.crowd[-8:]]


@scenario("governance.propose")
def propose_parameter() -> tuple[Stage, Attempts]:
    stage = Stage()
    made = ProposeMeasure((SetParameter("market_fee", 300),), stage.time_ms + 10**8)
    stage.each((person, made) for person in stage.crowd[:-8])
    return stage, [(person, made) for person in stage.crowd[-8:]]


@scenario("governance.vote")
def vote() -> tuple[Stage, Attempts]:
    stage = Stage()
    _rich_treasury(stage)
    found = _measures(stage, *(SpendTreasury(stage.other.address, 1, "m" * 256),) * 8)
    for person in stage.crowd[:79]:
        stage.all(person, [VoteOnMeasure(measure, True) for measure in found], after_ms=1)
    return stage, [(stage.crowd[80], VoteOnMeasure(measure, True)) for measure in found]


@scenario("governance.vote")
def vote_that_passes() -> tuple[Stage, Attempts]:
    stage = Stage()
    _rich_treasury(stage)
    found = _measures(stage, *(SpendTreasury(stage.other.address, 1, "m" * 256),) * 8)
    for person in stage.crowd[:84]:
        stage.all(person, [VoteOnMeasure(measure, True) for measure in found], after_ms=1)
    return stage, [(stage.crowd[85], VoteOnMeasure(measure, True)) for measure in found]


@scenario("evidence.submit")
def evidence() -> tuple[Stage, Attempts]:
    stage, found = Stage(replace(WIDE, unbonding_seconds=90 * 86_400)), []
    stage.each((person, RemoveStake(COIN)) for person in stage.crowd[1:11] for _ in range(32))
    for index in range(1, 11):
        _, _, secret = make_authority(str(index))
        node_key = stage.specification.authorities[index].node_key
        votes = []
        for block_hash in (b"\x01" * 32, b"\x02" * 32):
            message = vote_bytes(stage.chain_id, 0, 1, VoteKind.NOTARIZE, block_hash)
            votes.append(Vote(VoteKind.NOTARIZE, 0, 1, block_hash, bls.sign(secret, message)))
        found.append((stage.other, SubmitEvidence(node_key, *votes)))
    return stage, found


NOT_BY_THEMSELVES = {
    "authority.add",
    "authority.remove",
    "authority.disable",
    "governance.set_parameter",
    "governance.spend",
    "review.hide_text",
}
"""Actions that only a measure holds: they run within `governance.propose`, and at the end of an epoch."""
NEEDS_A_CANDIDATE = {ReadyAuthority.name}
"""One BLS signature, as evidence has two."""
