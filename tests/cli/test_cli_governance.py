"""`aitbc governance` at a network of two authorities: proposing, voting, and what an epoch's end makes of it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.action import action_to_json
from chain.actions.evidence import SubmitEvidence
from chain.certificate import VoteKind
from chain.evidence import ConflictingVotes
from chain.parameters import Parameters
from chain.schema import COIN
from node import keys
from tests.council import Officer
from tests.ledger import Person
from tests.nodes import FAST
from tests.shell import RunningNode, Shell, import_people, import_person

EPOCH_BLOCKS = 10
CALM = replace(FAST, idle_interval_ms=10_000)
"""Blocks come with transactions, so that an epoch does not end in the middle of a test."""
PARAMETERS = Parameters(epoch_blocks=EPOCH_BLOCKS, authority_minimum_stake=COIN)
OPERATORS = ("one", "two")
"""Wallets of the two operators."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    people = [Person(f"operator authority{index}") for index in range(2)] + [Person("operator new")]
    node = RunningNode(
        tmp_path_factory.mktemp("network"), 2, running=2, parameters=PARAMETERS, others=people, timing=CALM
    )
    yield node
    node.stop()


@pytest.fixture(scope="module")
def council(network: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell with wallets of the usual people, of both operators, and of the operator of a newcomer."""
    shell = Shell(tmp_path_factory.mktemp("home"), network.url)
    import_people(shell)
    for index, wallet in enumerate(OPERATORS):
        import_person(shell, f"operator authority{index}", wallet)
    import_person(shell, "operator new", "newcomer")
    return shell


def propose(council: Shell, *words: str, wallet: str = "one") -> str:
    """The id of a new measure."""
    made = council.ok("governance", "propose", *words, wallet=wallet)
    assert made["passed"] is False
    return str(made["measure"])


def end_epoch(council: Shell) -> int:
    """Send money about until the next epoch has begun; returns it."""
    begun = council.ok("governance", "list")["epoch"]
    while (now := int(council.ok("governance", "list")["epoch"])) == begun:
        council.ok("wallet", "send", "other", "0.001", wallet="renter")
    return now


def address(council: Shell, wallet: str) -> str:
    return str(council.ok("wallet", "address", wallet=wallet)["address"])


def test_a_parameter_from_the_proposal_to_its_effect(council: Shell) -> None:
    end_epoch(council)
    measure = propose(council, "set-parameter", "market-fee", "3%")
    (listed,) = council.ok("governance", "list")["items"]
    assert (listed["id"], listed["status"], len(listed["approvals"])) == (measure, "open", 1)
    human = council("governance", "list").out
    assert "market_fee to 3 %" in human
    assert "1 of 2 needed" in human
    shown = council("governance", "show", measure[:8]).out
    assert address(council, "one") in shown
    assert "2 who have one" in shown
    dry = council("governance", "vote", measure[:8], "--dry-run", wallet="two")
    assert "market_fee to 3 %" in dry.out + dry.err
    voted = council.ok("governance", "vote", measure[:8], wallet="two")
    assert (voted["outcome"], voted["approvals"], voted["needed"]) == ("passed", 2, 2)
    assert "end of epoch" in council("governance", "show", measure).out
    assert "end of epoch" in council("governance", "list", "--status", "passed").out
    end_epoch(council)
    (fee,) = [each for each in council.ok("governance", "parameters")["items"] if each["name"] == "market_fee"]
    assert (fee["value"], fee["minimum"], fee["maximum"]) == (300, 150, 600)
    assert council.fails(1, "governance", "show", measure)["name"] == "not_found"
    assert "Nothing is voted on" in council("governance", "list").out


def test_rejecting(council: Shell) -> None:
    measure = propose(council, "set-parameter", "unbonding_seconds", "90s", "--expires", "1h")
    assert "unbonding_seconds to 1 min 30 s" in council("governance", "list").out
    voted = council.ok("governance", "vote", measure, "--reject", wallet="two")
    assert (voted["outcome"], voted["rejections"]) == ("rejected", 1)
    assert council.fails(1, "governance", "vote", measure[:8], wallet="two")["name"] == "nothing_found"


def test_taking_an_approval_back(council: Shell) -> None:
    end_epoch(council)
    measure = propose(council, "set-parameter", "ready_epochs", "5")
    council.ok("governance", "vote", measure, wallet="two")
    assert council.ok("governance", "vote", measure, "--reject", wallet="one")["outcome"] == "revoked"


@pytest.mark.parametrize(
    ("outcome", "approvals", "lacks"), [("passed", 2, True), ("passed", 3, False), ("open", 2, False)]
)
def test_what_has_passed_may_lack_approvals(outcome: str, approvals: int, lacks: bool) -> None:
    from cli.governance import _outcome

    assert ("lacks approvals" in _outcome(outcome, approvals=approvals, needed=3, approve=0)) == lacks


def test_parameters_in_the_units_of_people(council: Shell) -> None:
    shown = council("governance", "parameters").out
    assert "0.00001 AITBC" in shown
    assert "14 d" in shown
    assert "Fixed for ever: due_weight, epoch_blocks" in shown
    for words in (
        ("no_such", "1"),
        ("market_fee", "x"),
        ("market_fee", "101"),
        ("ready_epochs", "1.5"),
        ("base_fee", "0.0000000001"),
        ("governance_seconds", "fortnight"),
    ):
        assert council.fails(2, "governance", "propose", "set-parameter", *words, wallet="one")["name"] == "bad_input"
    error = council.fails(5, "governance", "propose", "set-parameter", "base-fee", "1", wallet="one")
    assert (error["name"], error["data"]["maximum"]) == ("parameter_refused", "20000")
    fixed = council.fails(2, "governance", "propose", "set-parameter", "epoch_blocks", "10", wallet="one")
    assert fixed["name"] == "invalid_field"


def test_who_may_not(council: Shell) -> None:
    words = ("governance", "propose", "set-parameter", "market_fee", "4")
    assert council.fails(5, *words, wallet="renter")["name"] == "not_an_operator"
    out = ("governance", "propose", "remove-authority", "two")
    assert council.fails(5, *out, wallet="one")["name"] == "measure_impossible"
    assert "electors 1, needed 2" in council(*out, "--yes", wallet="one").err
    assert council.fails(5, "governance", "propose", "disable-authority", "one", wallet="one")["name"] == (
        "measure_impossible"
    )


def test_a_payment_and_several_actions_at_once(council: Shell, tmp_path: Path) -> None:
    paid = propose(council, "spend", "renter", "0.00001", "--memo", "audit")
    (view,) = council.ok("governance", "list")["items"]
    assert (view["spent"], view["measure"]["actions"][0]["memo"]) == ("10000", "audit")
    council.ok("governance", "vote", paid, "--reject", wallet="two")
    file = tmp_path / "actions.json"
    both = [
        {"action": "governance.set_parameter", "parameter": "market_fee", "value": 250},
        {"action": "governance.set_parameter", "parameter": "release_charge", "value": 150},
    ]
    file.write_text(json.dumps(both))
    measure = propose(council, "actions", str(file))
    shown = council("governance", "show", measure).out
    assert "market_fee to 2.5 %" in shown
    assert "release_charge to 1.5 %" in shown
    council.ok("governance", "vote", measure, "--reject", wallet="two")
    file.write_text(json.dumps([{"action": "governance.vote", "measure": measure, "approve": True}]))
    assert council.fails(2, "governance", "propose", "actions", str(file), wallet="one")["name"] == "invalid_field"


def test_a_review_that_is_not_there(council: Shell) -> None:
    error = council.fails(5, "governance", "propose", "hide-text", "ab" * 32, wallet="one")
    assert (error["name"], error["data"]["kind"]) == ("not_found", "review")


def test_an_authority_is_voted_in_and_says_that_it_is_ready(
    council: Shell, network: RunningNode, tmp_path: Path
) -> None:
    """Only up to its entry: a set with a member that runs nowhere would wait for it."""
    newcomer = Officer("new")
    file = tmp_path / "keys.json"
    file.write_text(
        json.dumps(
            {
                "node_key": newcomer.authority.node_key.hex(),
                "bls_key": newcomer.authority.bls_key.hex(),
                "proof_of_possession": newcomer.authority.proof_of_possession.hex(),
            }
        )
    )
    assert council.fails(2, "governance", "propose", "add-authority", str(file), wallet="one")["name"] == "bad_input"
    measure = propose(council, "add-authority", str(file), "--operator", "newcomer")
    council.ok("governance", "vote", measure, wallet="two")
    epoch = end_epoch(council)
    (waiting,) = council.ok("governance", "candidates")["items"]
    own = address(council, "newcomer")
    assert (waiting["authority"]["operator"], waiting["ready"], waiting["stake"]) == (own, False, "0")
    assert own[:12] in council("governance", "candidates").out
    action = newcomer.ready(network.layout.specification.chain_id, epoch)
    said = {
        "operator": own,
        "epoch": epoch,
        "node_signature": action.node_signature.hex(),
        "bls_signature": action.bls_signature.hex(),
    }
    file.write_text(json.dumps(said))
    assert council.fails(2, "governance", "ready", str(file), wallet="renter")["name"] == "bad_input"
    assert council.ok("governance", "ready", str(file), wallet="newcomer")["epoch"] == epoch
    (waiting,) = council.ok("governance", "candidates")["items"]
    assert (waiting["ready_epoch"], waiting["ready"]) == (epoch, True)
    for broken in ({**said, "epoch": "1"}, {**said, "bls_signature": "xx"}, {}, [], "text"):
        file.write_text(json.dumps(broken))
        assert council.fails(2, "governance", "ready", str(file), wallet="newcomer")["name"] == "bad_input"
    file.write_text("{")
    assert council.fails(2, "governance", "ready", str(file), wallet="newcomer")["name"] == "bad_input"
    out = propose(council, "remove-authority", "newcomer")
    council.ok("governance", "vote", out, wallet="two")
    end_epoch(council)
    assert council.ok("governance", "candidates")["items"] == []


def test_convicting(council: Shell, network: RunningNode, tmp_path: Path) -> None:
    """The second authority's own keys sign what its node would never."""
    chain_id = network.layout.specification.chain_id
    home = network.layout.configurations[1].node
    guilty = Officer("guilty")
    guilty.node_key, secret = keys.PrivateKey(keys.read_secret(home.node_key)), home.bls_key
    assert secret is not None
    guilty.secret = keys.read_secret(secret)
    epoch = council.ok("governance", "list")["epoch"]
    votes = [guilty.vote(chain_id, VoteKind.NOTARIZE, epoch, 3, bytes([number]) * 32) for number in (1, 2)]
    evidence = SubmitEvidence(network.layout.members[1].node_key, *votes)
    plain = action_to_json(evidence, "dait")
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps({"offence": "conflicting_notarize", "action": plain}))
    human = council("governance", "convict", str(file), "--dry-run", wallet="renter")
    assert "conflicting notarize" in human.out + human.err
    (done,) = council.ok("governance", "convict", str(file), wallet="renter")["convicted"]
    assert done["operator"] == address(council, "two")
    assert int(done["amount"]) >= 2 * int(done["reward"]) > 0
    (listed,) = council.ok("governance", "convictions", "--operator", "two")["items"]
    assert (listed["epoch"], listed["conviction"]["offence"]) == (epoch, "conflicting_notarize")
    assert "conflicting notarize" in council("governance", "convictions").out
    assert council.ok("governance", "convictions", "--operator", "one")["items"] == []
    file.write_text(json.dumps(plain))
    assert council.fails(5, "governance", "convict", str(file), wallet="renter")["name"] == "already_convicted"
    for other in ({"action": "governance.vote", "measure": "00" * 32, "approve": True}, {"action": "x"}, []):
        file.write_text(json.dumps(other))
        assert council.fails(2, "governance", "convict", str(file), wallet="renter")["name"] == "bad_input"


def test_convicting_with_what_the_node_saw(council: Shell, network: RunningNode) -> None:
    """One piece of evidence for an authority and an epoch: an earlier one, when it was one for sure."""
    while end_epoch(council) < 2:
        pass
    nothing = council.fails(1, "governance", "convict", wallet="renter")
    assert nothing["name"] == "nothing_found"
    guilty = Officer("guilty")
    home = network.layout.configurations[1].node
    assert home.bls_key is not None
    guilty.node_key = keys.PrivateKey(keys.read_secret(home.node_key))
    guilty.secret = keys.read_secret(home.bls_key)
    epoch = council.ok("governance", "list")["epoch"] - 2
    for view in (3, 4):
        votes = [
            guilty.vote(network.layout.specification.chain_id, VoteKind.FINALIZE, epoch, view, bytes([number]) * 32)
            for number in (1, 2)
        ]
        network.node.evidence.keep(ConflictingVotes(network.layout.members[1].node_key, *votes))
    (done,) = council.ok("governance", "convict", wallet="renter")["convicted"]
    assert done["operator"] == address(council, "two")
    assert council.fails(1, "governance", "convict", wallet="renter")["name"] == "nothing_found"
