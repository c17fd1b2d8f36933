"""`aitbc client` and `aitbc miner` at a real node: work offered, taken, metered, paid; inputs for the claimer alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chain.codec import encode
from chain.crypto.hashing import sha256
from chain.schema import COIN
from cli import payloads
from cli.context import Application
from cli.errors import BadInput, NothingFound
from cli.jobs import read_content
from tests.shell import Shell

Register = Callable[..., str]


@pytest.fixture(scope="module")
def worker(market: Shell) -> str:
    """The only GPU of the model `Worker`, whose owner has published a sealing key."""
    words = ["--name", "Worker", "--memory", "24GB", "--cuda-cores", "1", "--price-per-hour", "1"]
    made = market.ok("miner", "register", *words, "--provider-name", "P", "--contact", "p@example", wallet="provider")
    assert market.ok("wallet", "profile", "show", "provider")["profile"]["contact"] == "p@example"
    return str(made["gpu"])


def offer(market: Shell, *words: str, prompt: str = "What is a ledger?") -> str:
    usual = (
        "--max-units",
        "100",
        "--unit-price",
        "0.01",
        "--unit",
        "token",
        "--gpu-model",
        "Worker",
        "--attempt",
        "1m",
    )
    submitted = market.ok("client", "submit", "inference", "--prompt", prompt, *usual, *words, wallet="renter")
    return str(submitted["job"])


def test_the_whole_way(market: Shell, worker: str, tmp_path: Path) -> None:
    job = offer(market)
    assert job in [each["id"] for each in market.ok("miner", "jobs")["items"]]
    assert "≥" not in market("client", "status", job[:8], wallet="renter").out
    assert market.fails(1, "client", "share", job, wallet="renter")["name"] == "nothing_found"
    claimed = market.ok("miner", "claim", job, wallet="provider")
    assert claimed["gpu"] == worker
    assert market.fails(1, "miner", "payload", job, wallet="provider")["name"] == "nothing_found"
    market.ok("client", "share", job, wallet="renter")
    assert market("miner", "payload", job[:8], wallet="provider").out == "What is a ledger?\n"
    assert market.fails(4, "miner", "payload", job, wallet="renter")["name"] == "cannot_open_seal"
    out = tmp_path / "input"
    market.ok("miner", "payload", job, "--out", str(out), wallet="provider")
    assert out.read_text() == "What is a ledger?"

    assert market.fails(1, "client", "accept", job, wallet="renter")["name"] == "nothing_found"
    market.ok("miner", "receipt", job, "--units", "10", "--result", "so far", wallet="provider")
    paid = market.ok("client", "accept", job, wallet="renter")
    assert paid["events"][0]["kind"] == "job.receipt_accepted"
    refused = market.fails(5, "miner", "receipt", job, "--units", "101", "--result", "x", wallet="provider")
    assert refused["name"] == "receipt_refused"
    market.ok(
        "miner", "deliver", job, "--units", "64", "--result", "A book.", "--location", "file:///r", wallet="provider"
    )
    found = market.ok("client", "receipts", "--job-id", job, wallet="renter")["items"]
    assert [(each["receipt"]["units_total"], each["receipt"]["final"]) for each in found] == [(64, True), (10, False)]
    assert found[0]["receipt"]["result_hash"] == sha256(b"A book.").hex()
    assert "file:///r" in market("client", "receipts", wallet="renter").out
    market.ok("client", "accept", job, wallet="renter")
    assert market.ok("client", "status", job, wallet="renter")["view"]["status"] == "accepted"
    earned = market.ok("miner", "earnings", wallet="provider")
    entry = next(each for each in earned["items"] if each["id"] == job)
    assert int(entry["net"]) + int(entry["fee"]) == 64 * COIN // 100
    assert "Worker" in market("miner", "status", wallet="provider").out
    market.ok("marketplace", "review", job, "--rating", "5", wallet="renter")
    assert job[:12] in market("client", "history", wallet="renter").out


def test_cancel_and_fail(market: Shell, worker: str) -> None:
    job = offer(market)
    assert market.fails(5, "client", "cancel", job, wallet="other")["name"] == "not_authorized"
    assert market.ok("client", "cancel", job, wallet="renter")["refund"] == str(COIN)
    job = offer(market)
    market.ok("miner", "claim", job, "--gpu", worker[:10], wallet="provider")
    assert market.fails(5, "client", "cancel", job, wallet="renter")["name"] == "wrong_job_status"
    assert job in [each["id"] for each in market.ok("miner", "jobs", "--mine", wallet="provider")["items"]]
    market.ok("miner", "fail", job, "--reason", "no power", wallet="provider")
    again = market.fails(5, "miner", "claim", job, wallet="provider")
    assert again["name"] == "job_not_eligible"


def test_a_job_inside_a_booking_costs_nothing_more(market: Shell, register: Register) -> None:
    gpu = register("Inside")
    booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")["booking"]
    market.ok("marketplace", "booking", "activate", booking, "--access", "x", wallet="provider")
    words = ("--prompt", "p", "--max-units", "5", "--unit", "item", "--booking", gpu)
    made = market.ok("client", "submit", "render", *words, wallet="renter")
    assert made["locked"] == "0"
    assert market.fails(2, "miner", "claim", made["job"], "--gpu", gpu, wallet="provider")["name"] == "bad_input"
    assert market.ok("miner", "claim", made["job"], wallet="provider")["gpu"] is None
    priced = market.fails(2, "client", "submit", "render", *words, "--unit-price", "1", wallet="renter")
    assert priced["name"] == "invalid_field"


def test_a_large_input_travels_as_an_encrypted_file(market: Shell, worker: str, tmp_path: Path) -> None:
    large, travelling, arrived = tmp_path / "large", tmp_path / "sealed", tmp_path / "arrived"
    large.write_bytes(bytes(range(256)) * 40)
    words = ("--max-units", "1", "--unit-price", "1", "--unit", "item", "--gpu-model", "Worker", "--attempt", "1m")
    job = market.ok("client", "submit", "train", "--file", str(large), *words, wallet="renter")["job"]
    market.ok("miner", "claim", job, wallet="provider")
    assert "too large" in market.fails(2, "client", "share", job, wallet="renter")["message"]
    place = ("--encrypted", str(travelling), "--location", "https://example/sealed")
    market.ok("client", "share", job, *place, wallet="renter")
    assert large.read_bytes()[:64] not in travelling.read_bytes()
    assert market.ok("miner", "payload", job, wallet="provider")["location"] == "https://example/sealed"
    opening = ("miner", "payload", job, "--encrypted", str(travelling), "--out", str(arrived))
    market.ok(*opening, wallet="provider")
    assert arrived.read_bytes() == large.read_bytes()
    damaged = bytearray(travelling.read_bytes())
    damaged[100] ^= 1
    travelling.write_bytes(damaged)
    assert market.fails(2, *opening, wallet="provider")["name"] == "bad_input"
    travelling.write_bytes(b"")
    assert market.fails(2, *opening, wallet="provider")["name"] == "bad_input"
    market.ok("miner", "fail", job, wallet="provider")


@pytest.mark.parametrize(
    "words",
    [
        ("--max-units", "1", "--unit-price", "1"),
        ("--max-units", "1", "--unit-price", "1", "--prompt", "p", "--file", "f"),
        ("--max-units", "1", "--prompt", "p"),
        ("--max-units", "0", "--unit-price", "1", "--prompt", "p"),
        ("--max-units", "x", "--unit-price", "1", "--prompt", "p"),
        ("--max-units", "1", "--unit-price", "1e3", "--prompt", "p"),
        ("--max-units", "1", "--unit-price", "1", "--prompt", "p", "--unit", "parsec"),
        ("--max-units", "1", "--unit-price", "1", "--prompt", "p", "--file", "/nonexistent"),
    ],
)
def test_jobs_that_cannot_be_typed(market: Shell, words: tuple[str, ...]) -> None:
    assert market.fails(2, "client", "submit", "inference", *words, wallet="renter")["name"] == "usage"


def test_jobs_that_the_ledger_refuses(market: Shell) -> None:
    words = ("--prompt", "p", "--max-units", "1")
    assert (
        market.fails(2, "client", "submit", "k" * 33, *words, "--unit-price", "1", wallet="renter")["name"]
        == "invalid_field"
    )
    dear = market.fails(5, "client", "submit", "k", *words, "--unit-price", "1000000", wallet="renter")
    assert dear["name"] == "insufficient_funds"
    late = ("--unit-price", "1", "--deadline", "9999d")
    assert market.fails(5, "client", "submit", "k", *words, *late, wallet="renter")["name"] == "job_time_refused"
    assert market.fails(1, "miner", "claim", "ab" * 32, wallet="provider")["name"] == "not_found"


def test_an_input_that_is_not_here_cannot_be_shared(market: Shell, worker: str, tmp_path: Path) -> None:
    job = offer(market, prompt="elsewhere")
    market.ok("miner", "claim", job, wallet="provider")
    elsewhere = Shell(tmp_path / "elsewhere", market.node, {"AITBC_WALLET_PATH": str(market.folder / "wallets")})
    assert "not on this machine" in elsewhere.fails(1, "client", "share", job, wallet="renter")["message"]
    market.ok("miner", "fail", job, wallet="provider")


def test_payloads_are_salted_bounded_and_checked(tmp_path: Path) -> None:
    first, second = payloads.make_document(b"same"), payloads.make_document(b"same")
    assert sha256(first) != sha256(second)
    assert payloads.content_of(first, sha256(first).hex()) == b"same"
    with pytest.raises(BadInput, match="hash is another"):
        payloads.content_of(first, sha256(second).hex())
    with pytest.raises(BadInput, match="larger"):
        payloads.make_document(bytes(payloads.MAXIMUM_INPUT_BYTES + 1))
    app = Application({"AITBC_CONFIG_DIR": str(tmp_path)})
    name = payloads.keep(app, first)
    assert payloads.kept(app, name) == first
    assert (tmp_path / "payloads" / name).stat().st_mode & 0o077 == 0
    with pytest.raises(NothingFound):
        payloads.kept(app, "00" * 32)


def test_a_result_is_never_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "result"
    file.write_bytes(b"12345")
    assert read_content(None, str(file), "--result-file", 5) == b"12345"
    with pytest.raises(BadInput, match="larger"):
        read_content(None, str(file), "--result-file", 4)


@pytest.mark.parametrize("size", range(880, 990, 5))
def test_what_goes_inline_fits_into_a_seal(size: int) -> None:
    message = payloads.inline_message(payloads.make_document(bytes(size)))
    assert message is None or len(message) <= payloads.SEALED_ROOM
    assert (message is None) is (size > 920) or size in range(900, 945)


@pytest.mark.parametrize(
    "message", [b"", b"rubbish", encode(["inline/1"]), encode(["file/1", b"short", "x"]), encode(1)]
)
def test_what_was_sealed_may_be_anything(message: bytes) -> None:
    with pytest.raises(BadInput):
        payloads.read_message(message)


def test_the_payload_format_stays() -> None:
    document = encode(["aitbc-payload/1", bytes(16), b"content"])
    assert document.hex() == "836f61697462632d7061796c6f61642f3150" + "00" * 16 + "47636f6e74656e74"
    assert payloads.content_of(document, sha256(document).hex()) == b"content"
    assert payloads.inline_message(document) == encode(["inline/1", document])
