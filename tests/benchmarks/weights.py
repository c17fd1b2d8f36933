"""What the dearest of each action costs for each unit of its weight, and so how long the worst full block takes.

    python -m tests.benchmarks.weights [NAME ...]

A unit has a budget: UNIT_US microseconds of processor time for executing and for the state root. A block of nothing
but the dearest action then takes the weight of a block times that, and `MAXIMUM_BLOCK_WEIGHT` is chosen so that this
is half a second. Each scenario is measured several times in one process and its fastest run counts, because whatever
else the machine does only adds.
"""

import json
import sys

from chain.parameters import Parameters
from chain.schedule import DUE_ITEM_WEIGHT
from tests.benchmarks import scenarios, scenarios_due, scenarios_late, scenarios_many
from tests.benchmarks.report import ROOT, machine

REPEATS = 3
BLOCK_MS = 500
"""The worst full block takes at most this long."""
UNIT_US = BLOCK_MS * 1_000 / Parameters().maximum_block_weight
__all__ = ["scenarios_due", "scenarios_late", "scenarios_many"]


def main(names: list[str]) -> None:
    chosen = {name: scenarios.SCENARIOS[name] for name in names or scenarios.SCENARIOS}
    rows = []
    titles = f"{'ms':>8} {'running':>8} {'encoding':>8} {'trie':>8} {'verifying':>10} {'µs a unit':>10}"
    print(f"{'action':24} {'scenario':24} {'weight':>7} {titles}")
    for name, found in chosen.items():
        for scenario in found:
            stage, attempts = scenario()
            attempts = list(attempts)
            costs = [stage.measure(attempts) for _ in range(REPEATS)]
            best = min(costs, key=lambda cost: cost.applied)
            count = best.actions or best.weight // DUE_ITEM_WEIGHT
            parts = (best.applied, best.executed, best.encoded, best.rooted, best.verified)
            parts = tuple(part / count / 1_000 for part in parts)
            weight = best.weight / count
            rows.append((name, scenario.__name__, weight, *parts, best.per_unit))
            flag = "  OVER" if best.per_unit > UNIT_US else ""
            shown = " ".join(f"{part:8.3f}" for part in parts[:4]) + f" {parts[4]:10.3f} {best.per_unit:10.1f}"
            print(f"{name:24} {scenario.__name__:24} {weight:7.1f} {shown}{flag}", flush=True)
    worst = max(rows, key=lambda row: row[-1])
    limit = Parameters().maximum_block_weight
    whole = worst[-1] * limit / 1e6
    print(f"worst: {worst[0]} ({worst[1]}), {worst[-1]:.1f} µs a unit; a block of {limit:,} takes {whole:.2f} s")
    file = ROOT / "build" / "benchmarks" / "weights.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
