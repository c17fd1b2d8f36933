"""Each benchmark runs and gives its numbers; how good they are is for a quiet machine to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.extended
def test_networks_of_processes(tmp_path: Path) -> None:
    # One after the other, because they share their ports.
    for name in ("submit", "latency", "idle"):
        assert_measured(results_of(name, tmp_path))
