"""The list of all methods: name, parameters, result, and one line of what it is for."""

from dataclasses import dataclass
from typing import Any

from chain.interface.common import Json, NoParams
from chain.interface.disputes import DisputeDetails, DisputeList, DisputeListParams, DisputeParams
from chain.interface.economy import (
    Earnings,
    MarketStats,
    Offers,
    OffersParams,
    Orders,
    OrdersParams,
    Pricing,
    PricingParams,
    ReputationDetails,
    ReputationParams,
    Spending,
    StatementParams,
    StatsParams,
)
from chain.interface.governance import (
    Candidates,
    CandidatesParams,
    ChangeableParameters,
    ConvictionList,
    ConvictionListParams,
    MeasureDetails,
    MeasureList,
    MeasureListParams,
    MeasureParams,
)
from chain.interface.ledger import (
    AccountParams,
    AccountView,
    Authorities,
    AuthoritiesParams,
    BlockParams,
    BlockReference,
    Blocks,
    BlocksParams,
    BlockView,
    CertificateView,
    ChainInfo,
    Head,
    History,
    HistoryParams,
    NextSequence,
    ParametersView,
    PendingParams,
    PendingTransactions,
    SimulateParams,
    Simulation,
    SubmitParams,
    Submitted,
    Supply,
    TransactionParams,
    TransactionView,
)
from chain.interface.market import (
    Availability,
    AvailabilityParams,
    BookingDetails,
    BookingList,
    BookingListParams,
    BookingMoney,
    BookingParams,
    GpuDetails,
    GpuList,
    GpuListParams,
    GpuParams,
    GpuReviewsParams,
    JobDetails,
    JobList,
    JobListParams,
    JobParams,
    MultisigDetails,
    MultisigList,
    MultisigListParams,
    MultisigParams,
    Proposals,
    ProposalsParams,
    Quote,
    QuoteParams,
    Receipts,
    ReceiptsParams,
    ReviewListParams,
    Reviews,
)
from chain.interface.node import (
    Health,
    NodeEvidence,
    NodeEvidenceParams,
    NodeStatusView,
    Peers,
    ProofAccountParams,
    ProofRecordParams,
    StateProofView,
    Subscribed,
    SubscribeParams,
    TransactionProofView,
    Unsubscribed,
    UnsubscribeParams,
    VersionView,
)
from chain.interface.requests import RequestDetails, RequestList, RequestListParams, RequestParams
from chain.interface.stake import StakeListParams, Stakers, StakeView


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method."""

    name: str
    params: type
    result: Any
    summary: str


_LIST: tuple[tuple[str, type, Any, str], ...] = (
    ("chain.info", NoParams, ChainInfo, "Which network this is."),
    ("chain.head", NoParams, Head, "The last final block."),
    ("chain.block", BlockParams, BlockView, "A block by height or hash."),
    ("chain.blocks", BlocksParams, Blocks, "A range of blocks."),
    ("chain.certificate", BlockReference, CertificateView, "The finalization of a block."),
    ("chain.authorities", AuthoritiesParams, Authorities, "Who finalises blocks in an epoch."),
    ("chain.supply", NoParams, Supply, "Where all money is."),
    ("chain.params", NoParams, ParametersView, "The network's parameters."),
    ("tx.submit", SubmitParams, Submitted, "Hands in a signed transaction; answers once it is on disk."),
    ("tx.simulate", SimulateParams, Simulation, "What a transaction would do now: result, fee, events."),
    ("tx.get", TransactionParams, TransactionView, "What became of a transaction."),
    ("tx.pending", PendingParams, PendingTransactions, "Transactions that this node holds for inclusion."),
    ("account.get", AccountParams, AccountView, "Balance, sequence, stake and profile."),
    ("account.history", HistoryParams, History, "What concerned an account, newest first."),
    ("account.next_sequence", AccountParams, NextSequence, "The sequence for the next transaction."),
    ("account.earnings", StatementParams, Earnings, "What an account earned in a period, by day and by deal."),
    ("account.spending", StatementParams, Spending, "What an account spent in a period, by day and by deal."),
    ("gpu.list", GpuListParams, GpuList, "GPUs on the market, filtered and ordered."),
    ("gpu.get", GpuParams, GpuDetails, "One GPU with its provider and rating."),
    ("gpu.availability", AvailabilityParams, Availability, "Free and booked slots of a GPU."),
    ("gpu.reviews", GpuReviewsParams, Reviews, "Reviews of the device, newest first."),
    ("booking.quote", QuoteParams, Quote, "Exact cost, fee and refunds before signing."),
    ("booking.get", BookingParams, BookingDetails, "A booking as of now."),
    ("booking.list", BookingListParams, BookingList, "Bookings, newest first."),
    ("booking.money", BookingParams, BookingMoney, "The money story of a booking by height."),
    ("request.get", RequestParams, RequestDetails, "A request as of now, with its bids."),
    ("request.list", RequestListParams, RequestList, "Open requests, newest first."),
    ("job.get", JobParams, JobDetails, "A job as of now."),
    ("job.list", JobListParams, JobList, "Jobs, newest first."),
    ("job.receipts", ReceiptsParams, Receipts, "The receipts of a job, newest first."),
    ("market.offers", OffersParams, Offers, "GPUs that a reservation would get, with what it would cost."),
    ("market.stats", StatsParams, MarketStats, "The market in figures: GPUs, open deals, what was sold by day."),
    ("market.pricing", PricingParams, Pricing, "Prices, occupancy and recommendation by model."),
    ("market.orders", OrdersParams, Orders, "Bookings and standalone jobs as commercial orders, newest first."),
    ("market.reputation", ReputationParams, ReputationDetails, "Reputation of a provider or device, with samples."),
    ("review.list", ReviewListParams, Reviews, "Reviews, newest first."),
    ("dispute.get", DisputeParams, DisputeDetails, "A dispute as of now, with what was said and voted."),
    ("dispute.list", DisputeListParams, DisputeList, "Disputes, newest first."),
    ("stake.get", AccountParams, StakeView, "The stake of an account, its rewards and what is unbonding."),
    ("stake.list", StakeListParams, Stakers, "Who has staked, the largest first."),
    ("multisig.get", MultisigParams, MultisigDetails, "A multisig account."),
    ("multisig.list", MultisigListParams, MultisigList, "Multisig accounts, of one member if given."),
    ("multisig.proposals", ProposalsParams, Proposals, "The open proposals of a multisig account."),
    ("governance.get", MeasureParams, MeasureDetails, "A measure with its votes."),
    ("governance.list", MeasureListParams, MeasureList, "Measures that are open, or passed and not executed."),
    ("governance.parameters", NoParams, ChangeableParameters, "Which parameters can change, and how far now."),
    ("governance.candidates", CandidatesParams, Candidates, "Authorities that wait to enter or to leave."),
    ("governance.convictions", ConvictionListParams, ConvictionList, "Authorities convicted by evidence."),
    ("node.status", NoParams, NodeStatusView, "Where this node stands."),
    ("node.peers", NoParams, Peers, "Who this node is linked to."),
    ("node.health", NoParams, Health, "Whether this node is ready, and if not, why."),
    ("node.evidence", NodeEvidenceParams, NodeEvidence, "Proofs that an authority lied, as this node saw them."),
    ("node.version", NoParams, VersionView, "Which software this node runs."),
    ("proof.account", ProofAccountParams, StateProofView, "Proof of an account's balance and sequence."),
    ("proof.record", ProofRecordParams, StateProofView, "Proof of any record, or of its absence."),
    ("proof.transaction", TransactionParams, TransactionProofView, "Proof of a final transaction and of its result."),
    ("rpc.discover", NoParams, Json, "This interface as an OpenRPC document."),
)

_STREAM_LIST: tuple[tuple[str, type, Any, str], ...] = (
    ("subscribe", SubscribeParams, Subscribed, "Begins to send what becomes final, from a place in the chain on."),
    ("unsubscribe", UnsubscribeParams, Unsubscribed, "Ends a subscription."),
)

STREAM_METHODS: dict[str, Method] = {
    name: Method(name, params, result, text) for name, params, result, text in _STREAM_LIST
}
"""What the WebSocket /ws takes beside them; it answers with `subscription` messages whose params are `Notification`."""

METHODS: dict[str, Method] = {name: Method(name, params, result, text) for name, params, result, text in _LIST}
"""Every method of POST /rpc by its name."""
