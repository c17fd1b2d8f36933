"""Background processes that outlive the command that started them, and are never mistaken for others.

A process id can be used again by the system, so a pid file also holds when the process began; a signal goes only to
a process that still matches both.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was started here."""

    pid: int
    began: str
    """When it began, in the system's own words."""

    @property
    def state(self) -> str:
        """`running`, `paused` or `stopped`."""
        facts = _facts(self.pid)
        if facts is None or facts[0] != self.began or facts[1] in "ZX":
            return "stopped"
        return "paused" if facts[1] in "Tt" else "running"

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False if the process is gone."""
        if self.state == "stopped":
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    def wait_stopped(self, seconds: float) -> bool:
        """Wait until it has ended; False after `seconds`."""
        end = time.monotonic() + seconds
        while self.state != "stopped":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def stop(self) -> None:
        """End it in an orderly way, or after 15 seconds at once."""
        self.signal(signal.SIGCONT)
        if self.signal(signal.SIGTERM) and not self.wait_stopped(_STOP_SECONDS):
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        self.signal(signal.SIGKILL)
        self.wait_stopped(_STOP_SECONDS)


def start(
    command: Sequence[str], *, pid_file: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Process:
    """Start a command in the background with its output appended to `log`; remember it in `pid_file`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    facts = _facts(child.pid)
    process = Process(child.pid, facts[0] if facts else "")
    pid_file.write_text(f"{process.pid} {process.began}\n")
    return process


def remembered(pid_file: Path) -> Process | None:
    """The process of a pid file; None if there never was one."""
    try:
        pid, _, began = pid_file.read_text().strip().partition(" ")
        return Process(int(pid), began)
    except (FileNotFoundError, ValueError):
        return None


def is_running(pid_file: Path) -> bool:
    """Whether the process of a pid file lives, paused or not."""
    process = remembered(pid_file)
    return process is not None and process.state != "stopped"


def _facts(pid: int) -> tuple[str, str] | None:
    """(when it began, one-letter state) of a living process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[19], fields[0]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (ProcessLookupError, PermissionError):
        return None
    listing = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, began = listing.stdout.strip().partition(" ")
    return (began.strip(), state[0]) if state else None
