"""The invariants have teeth: each is shown a state with one thing wrong, and must name it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chain.action import Clock
from chain.actions.multisig import MULTISIGS, PROPOSALS
from chain.bank import ACCOUNTS, account
from chain.booking import BookingStatus
from chain.crypto.address import key_address
from chain.dispute import DISPUTES, Ballot, Fault
from chain.escrow import ESCROWS, Escrow
from chain.invariants import InvariantBroken, check_all
from chain.inventory import HARDWARE, INTERVALS, GpuStatus, HardwareClaim, Interval
from chain.job import JobStatus
from chain.keys import ALIASES, KEYS, KeyBinding
from chain.maintenance import MAINTENANCE
from chain.request import BIDS, REQUESTS, read_bid
from chain.rewards import EPOCH_SHARES, EpochShare
from chain.schedule import DUE, DueItem, Subject
from chain.schema import COIN
from chain.stake import STAKES, Stake, stake_of
from chain.state.tables import u64
from tests.scene import ZERO, Scene

DAMAGES: dict[str, tuple[Callable[[Scene], object], str]] = {
    "money from nothing": (lambda s: s.credit_from_nothing(), "money is conserved"),
    "money lost": (lambda s: s.totals(treasury=-1), "money is conserved"),
    "burnt without trace": (lambda s: s.totals(burnt=1), "money is conserved"),
    "issued without trace": (lambda s: s.totals(issued=1), "money is conserved"),
    "a pot too full": (lambda s: s.totals(epoch_pot=1), "money is conserved"),
    "a stake too large": (
        lambda s: s.stake(amount=stake_of(s.view, s.market.provider.address).amount + 1),
        "stakes add up",
    ),
    "a total of stakes too large": (lambda s: s.totals(staked=1), "stakes add up"),
    "a total of escrows too large": (lambda s: s.totals(escrow=1), "escrows add up"),
    "a total of unbondings too large": (lambda s: s.totals(unbonding=1, treasury=-1), "unbondings add up"),
    "a total of deposits too large": (lambda s: s.totals(deposits=1, treasury=-1), "deposits add up"),
    "unbondings lost": (lambda s: s.drop_unbondings(), "unbondings add up"),
    "an unbonding of another": (
        lambda s: s.change_unbonding(owner=s.market.renter.address),
        "an unbonding is where its owner finds it",
    ),
    "an unbonding of nothing": (
        lambda s: (s.change_unbonding(amount=0), s.totals(unbonding=-5 * COIN, treasury=5 * COIN)),
        "an unbonding holds money",
    ),
    "more unbondings than an account may have": (lambda s: s.many_unbondings(), "an account has few open unbondings"),
    "rewards of nobody": (lambda s: s.totals(rewards=1, treasury=-1), "what is owed is in the pool"),
    "a fraction carried from nothing": (lambda s: s.rewards(carry=1), "what is owed is in the pool"),
    "a staker owed too much": (
        lambda s: s.share(owed=s.staked.share.owed + 1),
        "what is owed is in the pool",
    ),
    "a stake that counts too early": (lambda s: s.share(counted=s.staked.amount), "raised stakes are counted"),
    "more that counts than there is": (
        lambda s: s.share(counted=s.staked.amount + 1),
        "no more counts than there is",
    ),
    "a stake settled in the future": (lambda s: s.share(epoch=9), "nothing is settled before it is shared"),
    "a total that counts too much": (lambda s: s.rewards(counted=1), "stake that counts adds up"),
    "the end of an epoch forgotten": (
        lambda s: [EPOCH_SHARES.delete(s.view, key) for key, _ in list(EPOCH_SHARES.scan(s.view))],
        "where an epoch ended is kept while somebody waits for it",
    ),
    "the end of an epoch kept for nobody": (
        lambda s: EPOCH_SHARES.put(s.view, u64(0), EpochShare(0, 1)),
        "where an epoch ended is kept while somebody waits for it",
    ),
    "the end of an epoch that does not follow": (
        lambda s: [EPOCH_SHARES.put(s.view, key, EpochShare(0, 1)) for key, _ in list(EPOCH_SHARES.scan(s.view))],
        "what is owed is in the pool",
    ),
    "a stake that earned before it was there": (
        lambda s: s.share(s.market.other.address, per_unit=1 << 100),
        "what is owed only grows",
    ),
    "a stake of nothing": (lambda s: STAKES.put(s.view, b"\x00" * 33, Stake()), "nothing is left is gone"),
    "an escrow paid twice": (
        lambda s: (s.escrow(s.closing, net=1), s.totals(escrow=-1, treasury=1)),
        "nothing is paid before it is undisputed",
    ),
    "an escrow overdrawn": (
        lambda s: (s.escrow(s.closed, net=10 * COIN), s.totals(escrow=-10 * COIN, treasury=10 * COIN)),
        "no escrow is overdrawn",
    ),
    "an escrow refunded too early": (
        lambda s: (s.escrow(s.reserved, refunded=1), s.totals(escrow=-1, treasury=1)),
        "holds what is open",
    ),
    "more locked than the cost": (
        lambda s: (s.escrow(s.active, locked=1), s.totals(escrow=1, treasury=-1)),
        "cost is what was locked",
    ),
    "money left in a closed booking": (
        lambda s: (s.escrow(s.closed, net=-1), s.totals(escrow=1, treasury=-1)),
        "holds what is open",
    ),
    "an escrow of nothing": (
        lambda s: (
            ESCROWS.put(s.view, ZERO, Escrow(s.market.renter.address, 0, 1)),
            s.totals(escrow=1, treasury=-1),
        ),
        "an escrow belongs to",
    ),
    "collateral forgotten": (lambda s: s.stake(collateral=0), "collateral is what is reserved"),
    "collateral of nothing": (
        lambda s: STAKES.put(
            s.view, s.market.other.address, replace(stake_of(s.view, s.market.other.address), collateral=1)
        ),
        "collateral is what is reserved",
    ),
    "a stake below its collateral": (
        lambda s: (
            s.totals(staked=-stake_of(s.view, s.market.provider.address).amount + COIN),
            s.totals(treasury=stake_of(s.view, s.market.provider.address).amount - COIN),
            s.stake(amount=COIN),
        ),
        "collateral lies within its stake",
    ),
    "a provider without a stake": (
        lambda s: (
            s.totals(staked=-stake_of(s.view, s.market.provider.address).amount),
            s.totals(treasury=stake_of(s.view, s.market.provider.address).amount),
            STAKES.delete(s.view, s.market.provider.address),
        ),
        "collateral is what is reserved",
    ),
    "a booking's slice changed": (lambda s: s.booking(s.active, collateral=1), "collateral is what is reserved"),
    "overlapping bookings": (lambda s: s.move_interval(), "no two bookings overlap"),
    "an interval of another booking": (lambda s: s.wrong_interval(), "a calendar entry has its booking"),
    "an interval that ends elsewhere": (
        lambda s: INTERVALS.put(
            s.view, s.gpus[0] + u64(s.start_of(s.active)), Interval(s.end_of(s.active) - 1, Subject.BOOKING, s.active)
        ),
        "a calendar entry has its booking",
    ),
    "an interval lost": (
        lambda s: INTERVALS.delete(s.view, s.gpus[0] + u64(s.start_of(s.active))),
        "an open booking is in the calendar",
    ),
    "an interval of a closed booking": (
        lambda s: INTERVALS.put(
            s.view, s.gpus[1] + u64(s.start_of(s.closed)), Interval(s.end_of(s.closed), Subject.BOOKING, s.closed)
        ),
        "an open booking is in the calendar",
    ),
    "miscounted bookings": (lambda s: s.gpu(s.gpus[0], open_bookings=1), "open bookings are counted"),
    "a hash released too early": (
        lambda s: HARDWARE.delete(s.view, s.market.gpu(s.gpus[0]).hardware.hardware_hash),
        "a live GPU holds its hardware hash",
    ),
    "a hash never released": (
        lambda s: HARDWARE.put(s.view, s.market.gpu(s.retired).hardware.hardware_hash, HardwareClaim(s.retired)),
        "a live GPU holds its hardware hash",
    ),
    "a hash of nothing": (
        lambda s: HARDWARE.put(s.view, ZERO, HardwareClaim(ZERO)),
        "a hardware hash has its GPU",
    ),
    "a retiring GPU without bookings": (
        lambda s: s.gpu(s.gpus[1], status=GpuStatus.RETIRING),
        "a retiring GPU waits for a booking",
    ),
    "a retiring GPU that waits for its maintenance": (
        lambda s: s.gpu(s.gpus[5], status=GpuStatus.RETIRING),
        "a retiring GPU waits for a booking",
    ),
    "a GPU without deadline": (lambda s: s.drop_deadlines(Subject.GPU, s.gpus[0]), "an open record has its deadline"),
    **{
        f"a booking without deadline: {name}": (
            lambda s, name=name: s.drop_deadlines(Subject.BOOKING, getattr(s, name)),  # type: ignore[misc]
            "an open record has its deadline",
        )
        for name in ("active", "reserved", "started", "closing")
    },
    "an unbonding without deadline": (lambda s: s.drop_deadlines(Subject.UNBONDING), "an unbonding has its deadline"),
    "a booking that closes at another time": (
        lambda s: s.booking(s.closing, payment_live_ms=1 << 40),
        "an open record has its deadline",
    ),
    "a booking reopened": (lambda s: s.booking(s.closed, status=BookingStatus.ACTIVE), ""),
    "a booking without end": (
        lambda s: s.booking(s.closing, payment_live_ms=None),
        "a closing booking has its payment",
    ),
    "a job paid too much": (
        lambda s: (s.escrow(s.open, net=COIN), s.totals(escrow=-COIN, treasury=COIN)),
        "accepted units are paid",
    ),
    "a job refunded while open": (
        lambda s: (s.escrow(s.open, refunded=COIN), s.totals(escrow=-COIN, treasury=COIN)),
        "an open job's money is held",
    ),
    "a job finished with money in it": (lambda s: s.job(s.open, status=JobStatus.CANCELLED), "a finished job holds"),
    "a job of another price": (lambda s: s.job(s.open, unit_price=1), "a job's cost is what was locked"),
    "a claim dropped": (
        lambda s: s.job(s.claimed, status=JobStatus.OPEN, claim=None),
        "collateral is what is reserved",
    ),
    "a claim not in the calendar": (
        lambda s: (
            s.drop_interval(s.claimed),
            s.gpu(s.gpus[4], open_bookings=0),
        ),
        "a claimed job is in the calendar",
    ),
    "a claimed job without deadline": (lambda s: s.drop_deadlines(Subject.JOB, s.claimed), "has its deadline"),
    "an open job without deadline": (lambda s: s.drop_deadlines(Subject.JOB, s.open), "has its deadline"),
    "an idempotency id kept for ever": (lambda s: s.drop_deadlines(Subject.IDEMPOTENCY), "has its deadline"),
    "a proposal without deadline": (lambda s: s.drop_deadlines(Subject.PROPOSAL), "a proposal has its deadline"),
    "a proposal lost": (lambda s: PROPOSALS.delete(s.view, s.proposal), "accounts name their open proposals"),
    "a multisig account lost": (lambda s: MULTISIGS.delete(s.view, s.multisig), "accounts name their open proposals"),
    "maintenance without deadline": (lambda s: s.drop_deadlines(Subject.MAINTENANCE), "has its deadline"),
    "maintenance lost": (lambda s: MAINTENANCE.delete(s.view, s.window), "a calendar entry has its"),
    "maintenance that its GPU does not name": (
        lambda s: s.gpu(s.gpus[5], maintenance=()),
        "GPUs name their maintenance",
    ),
    "maintenance out of the calendar": (
        lambda s: (s.drop_interval(s.window), s.gpu(s.gpus[5], open_bookings=0)),
        "maintenance is in the calendar",
    ),
    "a request without deadline": (
        lambda s: s.drop_deadlines(Subject.REQUEST, s.request),
        "a request has its deadline",
    ),
    "a bid without deadline": (
        lambda s: s.drop_deadlines(Subject.REQUEST, s.request + s.market.provider.address),
        "a bid has its deadline",
    ),
    "a request that vanished": (
        lambda s: (s.forget_deposit(s.request_deposit), REQUESTS.delete(s.view, s.request)),
        "an escrow belongs to a booking, a job or a request",
    ),
    "a request that holds too little": (
        lambda s: (s.escrow(s.request, refunded=1), s.totals(escrow=-1, treasury=1)),
        "a request holds what it locked",
    ),
    "a request of another maximum": (lambda s: s.alter_request(max_cost=2 * COIN), "a request holds what it locked"),
    "a bid that is not counted": (lambda s: s.alter_request(bids=0), "the bids of a request are counted"),
    "a bid lost": (
        lambda s: (
            s.forget_deposit(read_bid(s.view, s.request, s.market.provider.address).deposit),
            BIDS.delete(s.view, s.request + s.market.provider.address),
        ),
        "the bids of a request are counted",
    ),
    "a bid above the maximum": (lambda s: s.alter_bid(rate=3 * COIN + 1), "a bid is what its request asks for"),
    "a bid from the future": (lambda s: s.alter_bid(number=2), "a bid is what its request asks for"),
    "a request's deposit grown": (lambda s: s.alter_request(deposit=1), "deposits add up to their total"),
    "a bid's deposit grown": (lambda s: s.alter_bid(deposit=1), "deposits add up to their total"),
    "a commitment without deadline": (lambda s: s.drop_deadlines(Subject.COMMITMENT), "a commitment has its deadline"),
    "a dispute without deadline": (
        lambda s: s.drop_deadlines(Subject.DISPUTE, s.dispute),
        "a dispute has its deadline",
    ),
    "a dispute forgotten": (
        lambda s: (DISPUTES.delete(s.view, s.dispute), s.totals(deposits=-COIN, treasury=COIN)),
        "what is disputed names its dispute",
    ),
    "a dispute's deposit lost": (lambda s: s.contest(s.dispute, deposit=1), "deposits add up"),
    "a dispute that another booking names": (
        lambda s: s.contest(s.dispute, subject=s.closing),
        "what is disputed names its dispute",
    ),
    "a challenge that its GPU does not name": (
        lambda s: s.gpu(s.gpus[6], challenge=None),
        "what is disputed names its dispute",
    ),
    "a party in the electorate": (
        lambda s: s.contest(s.dispute, electorate=(s.market.provider.address,)),
        "no party votes",
    ),
    "a vote counted twice": (
        lambda s: s.contest(s.dispute, ballots=(Ballot(0, 0, 0, Fault.NOBODY),) * 2),
        "each voter votes once",
    ),
    "a vote of nobody": (
        lambda s: s.contest(s.dispute, ballots=(Ballot(1, 0, 0, Fault.NOBODY),)),
        "each voter votes once",
    ),
    "paid during a dispute": (
        lambda s: (s.escrow(s.disputed, net=1), s.totals(escrow=-1, treasury=1)),
        "nothing is paid during a dispute",
    ),
    "more held than is disputed": (
        lambda s: (
            s.booking(s.disputed, gross=s._booking(s.disputed).gross + 1),
            s.escrow(s.disputed, refunded=-1),
            s.totals(escrow=1, treasury=-1),
        ),
        "what is disputed is held",
    ),
    "more paid than there was": (lambda s: s.contest(s.dispute, paid=COIN), "what was not paid"),
    "a disputed booking's slice freed": (
        lambda s: s.booking(s.disputed, collateral=0),
        "collateral is what is reserved",
    ),
    "a current key forgotten": (lambda s: KEYS.delete(s.view, s.new_key), "a rotated account has one current key"),
    "a current key retired": (
        lambda s: KEYS.put(s.view, s.new_key, KeyBinding(s.market.other.address, True)),
        "a rotated account has one current key",
    ),
    "a key of two accounts": (
        lambda s: ACCOUNTS.put(
            s.view,
            s.market.renter.address,
            replace(account(s.view, s.market.renter.address), key=s.new_key),
        ),
        "a rotated account has one current key",
    ),
    "a bound key's address forgotten": (
        lambda s: ALIASES.delete(s.view, key_address(s.new_key)),
        "the address of a bound key leads to its account",
    ),
    "a deposit forgotten": (lambda s: s.booking(s.closed, deposit=1), "deposits add up"),
    "a job too many inside a booking": (lambda s: s.booking(s.active, jobs=1), "a booking counts its jobs"),
    "a GPU named by more than there are": (lambda s: s.gpu(s.gpus[5], references=1), "a GPU counts who names it"),
    "a booking whose GPU has left": (lambda s: s.booking(s.closed, gpus=(ZERO,)), "a booking has its GPUs"),
    "a job whose booking has left": (lambda s: s.job(s.open, booking=ZERO), "a job inside a booking has it"),
    "what is over without its end": (
        lambda s: s.drop_deadlines(Subject.BOOKING, s.closed),
        "an open record has its deadline",
    ),
    "a retired GPU that stays": (lambda s: s.gpu(s.retired, leaves_live_ms=None), "a retired GPU leaves some day"),
    "a retired GPU without its end": (lambda s: s.drop_deadlines(Subject.GPU, s.retired), "has its deadline"),
    "a deadline of nobody": (
        lambda s: DUE.put(s.view, bytes([Clock.LIVE]) + u64(1) + bytes([200]) + ZERO, DueItem(1)),
        "every deadline has a handler",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_reported(name: str) -> None:
    damage, rule = DAMAGES[name]
    scene = Scene()
    damage(scene)
    with pytest.raises(InvariantBroken) as caught:
        check_all(scene.view)
    assert rule in str(caught.value.data["rule"])


def test_a_sound_state_passes() -> None:
    scene = Scene()
    assert scene._booking(scene.closing).status is BookingStatus.CLOSING
    assert Stake().free == 0
    scene.market.wait(10_000)
