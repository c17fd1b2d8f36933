"""Each benchmark runs and gives its numbers; how good they are is for a quiet machine to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chain.action import ACTIONS
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.scenarios_many import NEEDS_A_CANDIDATE, NOT_BY_THEMSELVES
from tests.e2e.support import ROOT

TINY = {
    "apply": ["--transactions=60", "--block=30", "--accounts=20"],
    "submit": ["--transactions=150", "--accounts=50", "--connections=2"],
    "latency": ["--transactions=2", "--authorities=2"],
    "idle": ["--seconds=1"],
}


def results_of(name: str, folder: Path) -> dict[str, dict[str, float]]:
    file = folder / f"{name}.json"
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--runs=1", f"--json={file}", *TINY[name]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results: dict[str, dict[str, float]] = json.loads(file.read_text())["results"]
    return results


def assert_measured(results: dict[str, dict[str, float]]) -> None:
    assert results
    for result in results.values():
        assert result["min"] == result["median"] == result["max"] >= 0


def test_one_node_applies(tmp_path: Path) -> None:
    assert_measured(results_of("apply", tmp_path))


def test_the_dearest_actions_are_measured() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.weights", "stake.add", "due: unbonding is paid"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "worst: " in done.stdout


def test_growth_is_plotted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.growth", "--largest=1000", f"--folder={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "<polyline" in (tmp_path / "growth.svg").read_text()


def test_every_action_has_its_dearest() -> None:
    known = {action.name for action in ACTIONS.values()}
    assert known - set(SCENARIOS) - NOT_BY_THEMSELVES - NEEDS_A_CANDIDATE == set()


@pytest.mark.extended
def test_networks_of_processes(tmp_path: Path) -> None:
    # One after the other, because they share their ports.
    for name in ("submit", "latency", "idle"):
        assert_measured(results_of(name, tmp_path))
