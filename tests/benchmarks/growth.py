"""What a booking costs as the market grows: GPUs, accounts, and the calendar and past of the GPU that is booked.

    python -m tests.benchmarks.growth [--largest N]

The state is in memory (records in dictionaries, the trie in nodes as a node keeps them) and most of it is written
directly. A booking is executed and the state root worked out; the median of many goes into a table and a plot.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chain.booking import BOOKINGS, BookingStatus
from chain.crypto.hashing import sha256
from chain.inventory import GPUS, INTERVALS, Interval, read_gpu
from chain.record import encode_record
from chain.schedule import Subject
from chain.state.tables import u64
from tests.benchmarks.report import ROOT, machine
from tests.benchmarks.stage import Cost, Stage

SIZES = (
    (100, 10_000, 10),
    (1_000, 50_000, 300),
    (10_000, 200_000, 2_000),
    (30_000, 500_000, 5_000),
    (100_000, 1_000_000, 10_000),
)
"""(GPUs, accounts, intervals of the GPU that is booked: as many past bookings, as many to come)."""
BOOKINGS_MEASURED = 60
TIMES = 2.0
"""A booking in the largest market costs at most this many times what it costs in the smallest."""


def market(gpus: int, accounts: int, intervals: int) -> Stage:
    """A market of this size, written down rather than lived through."""
    stage = Stage(gpus=1, authorities=4, accounts=accounts)
    values, (booked,) = stage.reader.values, stage.gpus
    record = encode_record(read_gpu(stage.view, booked))
    written: dict[bytes, bytes | None] = {}
    for index in range(gpus):
        written[GPUS.key(sha256(f"gpu {index}".encode()))] = record
    past = stage.booking(stage.reserve(seconds=60))
    over = encode_record(replace(past, status=BookingStatus.CLOSED, ended_ms=past.end_ms, closed_height=1))
    stage.wait(130_000)
    start = stage.time_ms + 3_600_000
    for index in range(intervals):
        holder = sha256(f"holder {index}".encode())
        written[BOOKINGS.key(holder)] = over
        key = INTERVALS.key(booked + u64(start + index * 120_000))
        written[key] = encode_record(Interval(start + index * 120_000 + 60_000, int(Subject.BOOKING), holder))
    stage.reader.apply(written)
    assert len(values) > gpus + accounts + 2 * intervals
    return stage


def once(stage: Stage, intervals: int) -> Cost:
    """A booking in the middle of the calendar."""
    first, _ = next(INTERVALS.scan(stage.view, stage.gpus[0], stage.gpus[0] + b"\xff"))
    start = int.from_bytes(first[32:], "big") + (intervals // 2) * 120_000 + 60_000
    return stage.measure([(stage.renter, stage.reservation(seconds=60, start_ms=start))])


def measure(size: tuple[int, int, int]) -> dict[str, float]:
    stage = market(*size)
    costs = [once(stage, size[2]) for _ in range(BOOKINGS_MEASURED)]
    parts = {name: [getattr(cost, name) for cost in costs] for name in ("applied", "executed", "encoded", "rooted")}
    return {name: statistics.median(values) for name, values in parts.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth")
    parser.add_argument("--largest", type=int, default=SIZES[-1][0], help="GPUs of the largest market")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "benchmarks", help="where the results go")
    chosen = parser.parse_args(arguments)
    rows = []
    print(f"{'GPUs':>8} {'accounts':>10} {'intervals':>10} {'µs':>8} {'running':>8} {'encoding':>9} {'trie':>6}")
    for size in (size for size in SIZES if size[0] <= chosen.largest):
        found = measure(size)
        rows.append((size, found))
        shown = f"{found['applied']:8.0f} {found['executed']:8.0f} {found['encoded']:9.0f} {found['rooted']:6.0f}"
        print(f"{size[0]:8,} {size[1]:10,} {size[2]:10,} {shown}", flush=True)
    times = rows[-1][1]["applied"] / rows[0][1]["applied"]
    print(f"growth: {times:.2f} times; wanted at most {TIMES}: {'met' if times <= TIMES else 'NOT met'}")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    document = {"rows": rows, "times": times, "machine": machine()}
    (chosen.folder / "growth.json").write_text(json.dumps(document, indent=2) + "\n")
    (chosen.folder / "growth.svg").write_text(plot(rows))


def plot(rows: Sequence[tuple[tuple[int, int, int], dict[str, float]]]) -> str:
    """Microseconds of a booking for each size, as SVG."""
    width, height, margin = 640, 360, 56
    top = max(found["applied"] for _, found in rows) * 1.25
    lines = {"in all": "applied", "running": "executed", "trie": "rooted", "encoding": "encoded"}
    colours = ("#1f4e79", "#c55a11", "#548235", "#7f7f7f")

    def place(index: int, value: float) -> tuple[float, float]:
        x = margin + (width - 2 * margin) * index / max(1, len(rows) - 1)
        return x, height - margin - (height - 2 * margin) * value / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{margin}" y="24" font-size="14">Microseconds of a booking, by the size of the market</text>',
    ]
    for step in range(5):
        value = top * step / 4
        _, y = place(0, value)
        parts.append(f'<line x1="{margin}" y1="{y:.1f}" x2="{width - margin}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{margin - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.0f}</text>')
    for index, (size, _) in enumerate(rows):
        x, _ = place(index, 0)
        for line, text in enumerate((f"{size[0]:,} GPUs", f"{size[1]:,} accounts", f"{size[2]:,} intervals")):
            parts.append(f'<text x="{x:.1f}" y="{height - margin + 16 + 13 * line}" text-anchor="middle">{text}</text>')
    for colour, (name, field) in zip(colours, lines.items(), strict=True):
        points = [place(index, found[field]) for index, (_, found) in enumerate(rows)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = points[-1]
        parts.append(f'<text x="{x:.1f}" y="{y - 6:.1f}" text-anchor="end" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()
