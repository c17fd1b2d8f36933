"""The client of the throughput benchmark, a process of its own: sends prepared JSON-RPC batches over kept connections.

    python -m tests.benchmarks.generator FOLDER CONNECTIONS RATE HOST:PORT ...

Sends the files of FOLDER in the order of their names; connection `i` goes to address `i` modulo their number and sends
the next batch when the last one is answered; with a RATE above zero, at most that many batches leave in a thousand
seconds. Says `ready`, begins when a line comes in, and ends with a line of JSON:
when the first batch left and the last answer came, by the monotonic clock, and the first refusals.
"""

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path

MAXIMUM_SHOWN = 5


class _Pace:
    """Lets calls through one after the other, `interval` seconds apart at least."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = time.monotonic()

    async def wait(self) -> None:
        if self._interval:
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._interval
            await asyncio.sleep(turn - now)


async def _send(host: str, port: int, bodies: deque[bytes], pace: _Pace, refusals: list[object]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST /rpc HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    try:
        while bodies:
            body = bodies.popleft()
            await pace.wait()
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(line.partition(":")[2] for line in answer.split("\r\n") if line.startswith("content-length:"))
            data = await reader.readexactly(int(length))
            if not answer.startswith("http/1.1 200 "):
                refusals.append(data.decode())
            elif b'"error"' in data:
                refusals += [item["error"] for item in json.loads(data) if "error" in item]
    finally:
        writer.close()


async def _run(
    bodies: deque[bytes], connections: int, interval: float, addresses: list[tuple[str, int]]
) -> dict[str, object]:
    refusals: list[object] = []
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began, pace = time.monotonic(), _Pace(interval)
    await asyncio.gather(
        *(_send(*addresses[number % len(addresses)], bodies, pace, refusals) for number in range(connections))
    )
    ended = time.monotonic()
    return {"began": began, "ended": ended, "refused": len(refusals), "refusals": refusals[:MAXIMUM_SHOWN]}


def main() -> None:
    folder, connections, rate, *places = sys.argv[1:]
    interval = 1_000 / int(rate) if int(rate) else 0.0
    addresses = [(host, int(port)) for host, _, port in (place.rpartition(":") for place in places)]
    bodies = deque(file.read_bytes() for file in sorted(Path(folder).iterdir()))
    print(json.dumps(asyncio.run(_run(bodies, int(connections), interval, addresses))), flush=True)


if __name__ == "__main__":
    main()
