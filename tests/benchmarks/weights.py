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
from tests.benchmarks import scenarios, scenarios_due, scenarios_many
from tests.benchmarks.report import ROOT, machine

REPEATS = 3
BLOCK_MS = 500
"""The worst full block takes at most this long."""
UNIT_US = BLOCK_MS * 1_000 / Parameters().maximum_block_weight
__all__ = ["scenarios_due", "scenarios_many"]


def main(names: list[str]) -> None:
    chosen = {name: scenarios.SCENARIOS[name] for name in names or scenarios.SCENARIOS}
    rows = []
    print(f"{'action':24} {'scenario':24} {'weight':>7} {'ms':>8} {'µs a unit':>10} {'verify µs':>10}")
    for name, found in chosen.items():
        for scenario in found:
            stage, attempts = scenario()
            attempts = list(attempts)
            costs = [stage.measure(attempts) for _ in range(REPEATS)]
            best = min(costs, key=lambda cost: cost.applied)
            verified = min(cost.verified for cost in costs) / max(1, best.actions)
            weight = best.weight / max(1, best.actions)
            milliseconds = best.applied / max(1, best.actions) / 1_000
            rows.append((name, scenario.__name__, weight, milliseconds, best.per_unit, verified))
            flag = "  OVER" if best.per_unit > UNIT_US else ""
            shown = f"{weight:7.1f} {milliseconds:8.3f} {best.per_unit:10.1f} {verified:10.1f}"
            print(f"{name:24} {scenario.__name__:24} {shown}{flag}", flush=True)
    worst = max(rows, key=lambda row: row[4])
    limit = Parameters().maximum_block_weight
    whole = worst[4] * limit / 1e6
    print(f"worst: {worst[0]} ({worst[1]}), {worst[4]:.1f} µs a unit; a block of {limit:,} takes {whole:.2f} s")
    file = ROOT / "build" / "benchmarks" / "weights.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
