"""What every benchmark shares: its command line, repeated runs, and results as lines for people and as JSON.

A benchmark is a function that does everything once and returns one number for each of its measures. It is run five
times from nothing; the median is the result, and the least and the greatest show how far to trust it.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RUNS = 5


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a benchmark gives."""

    name: str
    unit: str
    target: float | None = None
    """What the project wants of the median; None if the number only explains another."""
    at_least: bool = True
    """Whether more is better."""

    def met(self, median: float) -> bool | None:
        """Whether the median is as wanted."""
        if self.target is None:
            return None
        return median >= self.target if self.at_least else median <= self.target


Once = Callable[[argparse.Namespace], Mapping[str, float]]


def main(name: str, measures: Sequence[Measure], once: Once, options: Mapping[str, tuple[int, str]]) -> None:
    """Run a benchmark from the command line.

    Args:
        once: one whole run; a number by name of each measure.
        options: integers that the command line can change: default and meaning by name.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.benchmarks.{name}")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how often ({RUNS})")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "benchmarks" / f"{name}.json", help="result file")
    for option, (default, meaning) in options.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, default=default, help=f"{meaning} ({default})")
    arguments = parser.parse_args()
    load_before = _load()
    runs: list[Mapping[str, float]] = []
    for number in range(1, arguments.runs + 1):
        runs.append(once(arguments))
        shown = ", ".join(f"{measure.name} {runs[-1][measure.name]:,.1f} {measure.unit}" for measure in measures)
        print(f"{name}: run {number} of {arguments.runs}: {shown}", flush=True)
    if any(getattr(arguments, option) != default for option, (default, _) in options.items()):
        measures = [replace(measure, target=None) for measure in measures]  # the targets are for the default options
    results = {measure.name: _summary(measure, [run[measure.name] for run in runs]) for measure in measures}
    for measure in measures:
        print(f"{name}: {_line(measure, results[measure.name])}")
    document = {
        "benchmark": name,
        "options": {option: getattr(arguments, option) for option in options},
        "results": results,
        "machine": {**machine(), "load_before": load_before, "load_after": _load()},
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(document, indent=2) + "\n")


def _summary(measure: Measure, values: Sequence[float]) -> dict[str, object]:
    median = statistics.median(values)
    return {
        "unit": measure.unit,
        "min": min(values),
        "median": median,
        "max": max(values),
        "runs": list(values),
        "target": measure.target,
        "met": measure.met(median),
    }


def _line(measure: Measure, result: Mapping[str, object]) -> str:
    verdict = ""
    if measure.target is not None:
        bound = "at least" if measure.at_least else "at most"
        verdict = f"; wanted {bound} {measure.target:,.0f}: {'met' if result['met'] else 'NOT met'}"
    numbers = ", ".join(f"{key} {result[key]:,.1f}" for key in ("min", "median", "max"))
    return f"{measure.name}, {measure.unit}: {numbers}{verdict}"


def machine() -> dict[str, object]:
    """What the numbers were taken on."""
    model = platform.processor()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        names = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if line.startswith("model n")]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _load() -> float:
    """Processes that wanted a core in the last minute, on average."""
    return round(os.getloadavg()[0], 2)
