"""Tables fit their terminal, data comes whole, and nothing that others wrote steers the terminal."""

import json
from types import SimpleNamespace

import pytest
import yaml

from chain.interface import AsOf, Blocks, BlockSummary
from cli import output
from cli.jobs import job_table
from cli.output import Column

COLUMNS = (
    Column("id"),
    Column("model", shrinks=True),
    Column("price", right=True),
    Column("region", optional=True),
    Column("provider", optional=True),
)
ROWS = [
    ["aef8a3697e5f", "A very long name of a graphics card that nobody needs to read", "1.5 AITBC", "eu-west", "x" * 17],
    ["000000000000", "RTX", "1,200 AITBC", "-", "y" * 17],
]


@pytest.mark.parametrize("cells", [40, 60, 80, 120])
def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setenv("COLUMNS", str(cells))
    lines = output.table(COLUMNS, ROWS).splitlines()
    assert max(output.width(line) for line in lines) <= cells
    assert lines[1].startswith("aef8a3697e5f")
    assert ("provider" in lines[0]) is (cells >= 80)


def test_a_table_is_whole_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert ROWS[0][1] in output.table(COLUMNS, ROWS)


def test_numbers_align_on_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    _, first, second = output.table((Column("a", right=True), Column("b")), [["1", "x"], ["22", "y"]]).splitlines()
    assert (first, second) == (" 1  x", "22  y")


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert output.clean("a\x1b[31mb\nc\u202ed") == "a [31mb c d"
    assert "\x1b[31m" not in output.table((Column("a"),), [["\x1b[31mred"]]).splitlines()[1]
    assert "\u202e" not in output.details([("name", "gpj.\u202eexe")])


def test_wide_characters_take_two_cells() -> None:
    assert output.width("显卡") == 4
    assert output.cut("显卡显卡", 5) == "显卡…"


VIEW = Blocks(
    AsOf(2, 7), (BlockSummary(2, "aa", 7, 0, 2, "dait1x", 0), BlockSummary(1, "bb", 6, 0, 1, "dait1x", 3)), None
)


def test_programs_get_everything(capsys: pytest.CaptureFixture[str]) -> None:
    output.show("json", VIEW, str)
    whole = json.loads(capsys.readouterr().out)
    assert whole["as_of"] == {"height": 2, "time_ms": 7}
    assert whole["items"][1]["transactions"] == 3
    output.show("yaml", VIEW, str)
    assert yaml.safe_load(capsys.readouterr().out) == whole
    output.show("ndjson", VIEW, str)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == whole["items"]
    output.show("ndjson", {"a": 1}, str)
    assert capsys.readouterr().out == '{"a": 1}\n'


def test_amounts_have_a_unit_and_no_trailing_zeros() -> None:
    assert output.amount("1500000000") == "1.5 AITBC"
    assert output.amount(1_234_000_000_001) == "1,234.000000001 AITBC"
    assert output.amount(-5) == "-0.000000005 AITBC"
    assert output.amount(0) == "0 AITBC"


def test_times_are_local_and_name_their_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert output.local_time(1_800_000_000_000) == "2027-01-15 09:00:00 CET"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert output.local_time(None) == "-"
    assert output.local_time(1 << 63) == f"{1 << 63} ms"


@pytest.mark.parametrize("kind", ["inference", "x" * 64])
def test_jobs_fit_80_columns(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    job = {
        "kind": kind,
        "renter": "dait1qz73arrc6qvufg5swwfkgwhhxcdphutrvxalwwee2rhrkhlrpwhlumhq6wl",
        "unit": "gpu_second",
        "units_done": 0,
        "max_units": 10,
        "unit_price": "100000000",
        "booking": None,
        "claim": None,
        "deadline_ms": 1_900_000_000_000,
        "gpu_filter": {"model": "", "region": "", "minimum_memory_mb": 0, "minimum_cuda_cores": 0},
    }
    shown = job_table([SimpleNamespace(id="ab" * 32, status="payload_shared", job=job)])
    assert max(output.width(line) for line in shown.splitlines()) <= 80
