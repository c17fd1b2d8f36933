"""What must be the same in the ledger and in the second ledger, and what the ledger's tables must say of each other."""

from collections.abc import Iterator
from dataclasses import astuple
from itertools import pairwise
from typing import Any

from chain.actions.accounts import PROFILES
from chain.actions.evidence import CONVICTIONS
from chain.actions.gpus import COMMITMENTS
from chain.actions.multisig import MULTISIGS, PROPOSALS, valid
from chain.actions.reviews import REVIEWS
from chain.authorities import (
    AUTHORITY_SETS,
    CANDIDATES,
    DISABLED_KEYS,
    FORMER,
    read_authorities,
    read_departures,
    stake_bound,
)
from chain.bank import ACCOUNTS, totals
from chain.booking import BOOKINGS
from chain.crypto.address import key_address
from chain.dispute import DISPUTES
from chain.escrow import ESCROWS
from chain.governance import MEASURES, read_agenda
from chain.idempotency import IDEMPOTENCY
from chain.invariants import check_all
from chain.inventory import GPUS, INTERVALS
from chain.job import JOBS
from chain.keys import ALIASES, KEYS
from chain.maintenance import MAINTENANCE
from chain.parameters import read_parameters
from chain.reputation import COUNTERS, REPUTATIONS
from chain.request import BIDS, REQUESTS
from chain.rewards import settled
from chain.stake import STAKES
from chain.state.view import View
from chain.trades import TRADES, split_key
from chain.unbonding import UNBONDINGS, id_of
from tests.economy.model import Model

SIDES = (True, False)


def compare(model: Model, view: View) -> None:
    """Raise AssertionError where the two ledgers differ, and InvariantBroken where the first contradicts itself."""
    check_all(view)
    for name, told, found in pairs(model, view):
        assert told == found, difference(name, told, found)


def difference(name: str, told: Any, found: Any) -> str:
    """Where two tables differ."""
    if isinstance(told, dict) and isinstance(found, dict):
        keys = [key for key in {**told, **found} if told.get(key) != found.get(key)]
        told, found = {key: told.get(key) for key in keys}, {key: found.get(key) for key in keys}
    return f"{name}: model {told}, ledger {found}"


def pairs(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    """(what, as the model has it, as the ledger has it)."""
    accounts = dict(ACCOUNTS.scan(view))
    yield "balances", model.balance, {address: account.balance for address, account in accounts.items()}
    yield "sequences", model.sequences, {a: account.sequence for a, account in accounts.items() if account.sequence}
    money = totals(view)
    told = (model.issued, model.pot, model.rewards, model.treasury, model.burnt)
    yield "pots", told, (money.issued, money.epoch_pot, money.rewards, money.treasury, money.burnt)
    # locked = net + fee + refunded + remaining: what remains is what the second ledger says, and not what is left.
    held = {
        key: (payer, cost, paid - fee, fee, cost - paid - left) for key, (payer, cost, paid, fee, left) in model.held()
    }
    escrows = {key: (it.payer, it.locked, it.net, it.fee, it.refunded) for key, it in ESCROWS.scan(view)}
    yield "escrows", held, escrows
    shares = {address: settled(view, stake.share, stake.amount) for address, stake in STAKES.scan(view)}
    yield "what counts", model.counted, {address: share.counted for address, share in shares.items()}
    owed = {address: share.owed for address, share in shares.items() if share.owed}
    yield "rewards", {who: amount for who, amount in model.owed.items() if amount}, owed
    stakes = {address: (stake.amount, stake.collateral) for address, stake in STAKES.scan(view)}
    yield "stakes", {who: (amount, model.reserved(who)) for who, amount in model.stake.items()}, stakes
    yield "deposits", sum(amount for _, amount in model.deposits.values()), money.deposits
    unbonding = {id_of(key): (item.due_ms, item.owner, item.amount) for key, item in UNBONDINGS.scan(view)}
    yield "unbonding", model.unbonding, unbonding
    remembered = {(key[:33], key[33:]): (item.txid, item.expires_ms) for key, item in IDEMPOTENCY.scan(view)}
    yield "idempotency ids", model.remembered, remembered
    promises = {(key[:33], key[33:]): (item.height, item.expires_ms) for key, item in COMMITMENTS.scan(view)}
    yield "commitments", {key: item for key, item in model.promises.items() if model.promised(key)}, promises
    profiles = {key: item.deposit for key, item in PROFILES.scan(view)}
    yield (
        "profiles",
        {key: amount for (what, key), (_, amount) in model.deposits.items() if what == "profile"},
        profiles,
    )
    yield from market(model, view)
    yield from work(model, view)
    yield from demand(model, view)
    yield from fame(model, view)
    yield from contests(model, view)
    yield from clubs(model, view)
    yield from measures(model, view)
    yield from authorities(model, view)


def market(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    gpus = {
        gpu_id: (gpu.status.name.lower(), gpu.maintenance, gpu.terms, gpu.challenge, gpu.refuted)
        for gpu_id, gpu in GPUS.scan(view)
    }
    told = {
        key: (gpu.status, tuple(gpu.windows), gpu.offer, gpu.challenge, gpu.refuted) for key, gpu in model.gpus.items()
    }
    yield "gpus", told, gpus
    live = {key: gpu for key, gpu in GPUS.scan(view) if gpu.leaves_live_ms is None}
    told_live = {key: (gpu.collateral, gpu.offline_live) for key, gpu in model.gpus.items() if not gpu.retired}
    yield "live GPUs", told_live, {key: (gpu.collateral, gpu.offline_live_ms) for key, gpu in live.items()}
    leaving = {key: gpu.leaves_live_ms for key, gpu in GPUS.scan(view) if key not in live}
    yield "leaving GPUs", {key: gpu.leaves for key, gpu in model.gpus.items() if gpu.retired}, leaving
    windows = {key: (item.gpu, item.start_ms, item.end_ms) for key, item in MAINTENANCE.scan(view)}
    told_windows = {key: (gpu_id, *window) for gpu_id, gpu in model.gpus.items() for key, window in gpu.windows.items()}
    yield "maintenance", told_windows, windows
    bookings = {
        key: (item.status.name.lower(), item.gross, item.dispute, item.ended_ms or 0, item.activated_ms, item.end_ms)
        for key, item in BOOKINGS.scan(view)
    }
    told_bookings = {
        key: (item.state, item.gross, item.dispute, item.ended, item.activated, item.end)
        for key, item in model.bookings.items()
    }
    yield "bookings", told_bookings, bookings
    calendars = {key[:32]: [] for key, _ in INTERVALS.scan(view)}
    for key, interval in INTERVALS.scan(view):
        calendars[key[:32]].append((int.from_bytes(key[32:], "big"), interval.end_ms))
    yield "calendars", {key: found for key in model.gpus if (found := sorted(model.calendar(key)))}, calendars
    for gpu_id, intervals in calendars.items():
        overlaps = [pair for pair in pairwise(intervals) if pair[0][1] > pair[1][0]]
        yield f"overlaps of {gpu_id.hex()}", [], overlaps


def work(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    told, jobs = {}, {}
    for key, job in JOBS.scan(view):
        claim = job.claim
        jobs[key] = (
            job.status.name.lower(),
            job.units_done,
            job.dispute,
            job.tried,
            job.acceptance_live_ms or 0,
            *((claim.provider, claim.units_total, claim.units_accepted, claim.deadline_live_ms) if claim else ()),
        )
    for key, twin in model.jobs.items():
        attempt = twin.attempt
        work = (attempt.provider, attempt.total, attempt.accepted, attempt.deadline_live) if attempt else ()
        told[key] = (twin.state, twin.done, twin.dispute, tuple(twin.tried), twin.accept_live, *work)
    yield "jobs", told, jobs
    reviews = {
        key: (item.author, item.provider, item.rating, item.paid, item.leaves_live_ms, item.reply_hash is not None)
        for key, item in REVIEWS.scan(view)
    }
    told_reviews = {
        key: (item.author, item.provider, item.rating, item.paid, item.leaves, item.replied)
        for key, item in model.reviews.items()
    }
    yield "reviews", told_reviews, reviews


def demand(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    """Requests and bids, with the money and the deposits that they hold."""
    found = {
        key: (item.renter, item.max_cost, item.expires_ms, item.bids, item.placed, item.deposit)
        for key, item in REQUESTS.scan(view)
    }
    told = {
        key: (item.renter, item.wanted.max_cost, item.wanted.expires_ms, len(item.bids), item.placed, deposit)
        for key, item in model.requests.items()
        for _, deposit in [model.deposits["request", key]]
    }
    yield "requests", told, found
    bids = {
        key: (item.gpus, item.terms_versions, item.rate, item.number, item.deposit) for key, item in BIDS.scan(view)
    }
    told_bids = {
        key + who: (bid.gpus, bid.versions, bid.rate, bid.number, model.deposits["bid", key + who][1])
        for key, item in model.requests.items()
        for who, bid in item.bids.items()
    }
    yield "bids", told_bids, bids


def fame(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    """Every counter of every provider and device, what its record has cost, and what was sold."""
    records = dict(REPUTATIONS.scan(view))
    for name in COUNTERS:
        told = {subject: counted[name] for subject, counted in model.counters.items() if counted[name]}
        yield name, told, {key: value for key, item in records.items() if (value := getattr(item, name))}
    paid = {key: amount for (what, key), (_, amount) in model.deposits.items() if what == "reputation"}
    yield "reputations", paid, {key: item.deposit for key, item in records.items()}
    trades = {split_key(key): [item.deals, item.gpu_ms, item.gross, item.fee] for key, item in TRADES.scan(view)}
    yield "trades", model.trades, trades


def contests(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    found = {}
    for key, item in DISPUTES.scan(view):
        parties = (item.kind.name.lower(), item.subject, item.opener, item.respondent, item.by_provider)
        money = (item.earned, item.paid, item.collateral, item.deposit, item.storage, item.interrupts)
        ballots = {
            item.electorate[ballot.voter]: (ballot.renter_share, ballot.slash_share, ballot.fault)
            for ballot in item.ballots
        }
        ruling = item.ruling and (item.ruling.renter_share, item.ruling.slash_share, item.ruling.fault)
        end = (item.gross, item.slashed, item.deposit_returned if item.forget_live_ms else 0, item.forget_live_ms or 0)
        time = item.deadline_live_ms
        found[key] = (parties, money, sorted(item.electorate), item.status.name.lower(), ballots, ruling, end, time)
    told = {}
    for key, twin in model.disputes.items():
        parties = (twin.kind, twin.subject, twin.opener, twin.respondent, twin.by_provider)
        _, storage = model.deposits["dispute", key]
        money = (twin.earned, twin.paid, twin.slice, twin.deposit, storage, twin.interrupts)
        end = (twin.gross, twin.slashed, twin.returned, twin.leaves)
        judges = sorted(twin.judges)
        told[key] = (parties, money, judges, twin.state, twin.opinions, twin.ruling, end, twin.deadline_live)
    yield "disputes", told, found


def clubs(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    found = {address: (item.threshold, item.members) for address, item in MULTISIGS.scan(view)}
    yield "multisigs", {address: (club.threshold, club.members) for address, club in model.clubs.items()}, found
    proposals = {}
    for key, item in PROPOSALS.scan(view):
        yes, no = (
            sorted(opinion.member for opinion in valid(view, side)) for side in (item.approvals, item.rejections)
        )
        proposals[key] = (item.account, yes, no)
    told = {
        key: (item.account, sorted(model.counts(item.yes)), sorted(model.counts(item.no)))
        for key, item in model.proposals.items()
    }
    yield "proposals", told, proposals
    keys = {key: binding.account for key, binding in KEYS.scan(view)}
    yield "keys", model.bound, keys
    aliases = {address: alias.account for address, alias in ALIASES.scan(view)}
    yield "aliases", {key_address(key): account for key, account in model.bound.items()}, aliases


def measures(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    yield "parameters", model.parameters, read_parameters(view)
    agenda = read_agenda(view)
    waiting = [(key, item.proposer, item.expires) for key, item in model.measures.items() if item.passed is None]
    yield "open measures", waiting, [(item.measure, item.proposer, item.expires_ms) for item in agenda.open]
    passed = [(key, model.measures[key].due, model.measures[key].spent) for key in model.passed]
    yield "passed measures", passed, [(item.measure, item.due_epoch, item.spent) for item in agenda.passed]
    told = {}
    for key, item in model.measures.items():
        head = (item.proposer, item.actions, item.expires, item.passed)
        told[key] = (*head, item.yes, item.no, model.deposits["measure", key][1])
    found = {}
    for key, measure in MEASURES.scan(view):
        yes, no = (
            {each.operator: each.rotations for each in measure.ballots if each.approve is side} for side in SIDES
        )
        head = (measure.proposer, measure.actions, measure.expires_ms, measure.passed_epoch)
        found[key] = (*head, yes, no, measure.deposit)
    yield "measures", told, found
    hidden = {(key, False) for key, review in REVIEWS.scan(view) if review.hidden}
    hidden |= {(key, True) for key, review in REVIEWS.scan(view) if review.reply_hidden}
    yield "hidden texts", model.hidden, hidden


def authorities(model: Model, view: View) -> Iterator[tuple[str, Any, Any]]:
    present, coming = read_authorities(view), model.next_epoch
    yield "authorities", (model.since, model.members), (present.epoch, list(present.members))
    kept = {term.first: term.members for term in model.terms if term.last >= model.oldest(coming)}
    past = {int.from_bytes(key, "big"): list(item.members) for key, item in AUTHORITY_SETS.scan(view)}
    yield "sets of the past", kept, past
    candidates = {who: (item.authority, item.approved, item.ready) for who, item in model.candidates.items()}
    found = {who: (item.authority, item.approved_epoch, item.ready_epoch) for who, item in CANDIDATES.scan(view)}
    yield "candidates", candidates, found
    yield "who leaves", model.leaving, [(item.operator, item.disabled) for item in read_departures(view).waiting]
    former = {who: last for who, last in model.former.items() if last >= model.oldest(coming)}
    yield "who left", former, {who: item.last_epoch for who, item in FORMER.scan(view)}
    yield "disabled keys", model.disabled, {key: (item.operator, item.epoch) for key, item in DISABLED_KEYS.scan(view)}
    bound = {who: stake_bound(view, model.parameters, coming, who) for who in model.balance}
    yield "what stays staked", {who: model.keeps_in(coming, who) for who in model.balance}, bound
    convictions = {}
    for key, item in CONVICTIONS.scan(view):
        said = (item.node_key, item.rate, item.stake_before, item.amount, item.reward, item.submitter, item.height)
        convictions[int.from_bytes(key[:8], "big"), key[8:]] = said
    yield "convictions", {key: astuple(item) for key, item in model.convictions.items()}, convictions
