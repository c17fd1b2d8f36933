"""What a local network prints fits into a terminal of 80 columns."""

from pathlib import Path

import pytest

from localnet.demonstration import Step, Story, _print_money, _print_steps
from localnet.layout import Layout
from localnet.status import print_status

_COLUMNS = 80
_COIN = 10**9


def _event(kind: str, subject: str, **amounts: int) -> dict[str, object]:
    return {
        "kind": kind,
        "subjects": [{"role": "booking", "id": subject}],
        "amounts": [{"name": name, "value": str(value)} for name, value in amounts.items()],
    }


def _step(what: str, *events: dict[str, object]) -> Step:
    return Step("client", what, 100_000, "ab" * 32, 345_800, list(events))


def test_demonstration_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = Story(Layout(tmp_path), "http://127.0.0.1:1")
    for subject, opened, paid, returned in (
        ("booking", "booking.reserved", "booking.closed", "booking.released"),
        ("job", "job.submitted", "job.paid", "job.accepted"),
    ):
        story.steps.append(
            _step(
                "result delivered with a receipt over 640 tokens",
                _event(opened, subject, locked=200 * _COIN),
                _event(paid, subject, net=98 * _COIN, fee=2 * _COIN),
                _event(returned, subject, refund=100 * _COIN),
            )
        )
    _print_steps(story)
    _print_money(story, "booking", "job")
    lines = capsys.readouterr().out.splitlines()
    assert any("98.000000000" in line for line in lines)
    assert max(map(len, lines)) <= _COLUMNS


def test_status_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "node": 10,
        "state": "running",
        "role": "authority",
        "height": 999_999,
        "hash": "ab" * 32,
        "state_root": "cd" * 32,
        "pid": 12_345,
        "rpc": "http://127.0.0.1:22081",
    }
    print_status(Layout(tmp_path), [row])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= _COLUMNS
