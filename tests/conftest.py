"""What every test shares: how hard the random tests try, which tests are long, and the seed that replays a run.

A test that needs randomness takes the `seed` fixture (or `rng`, a generator made from it). AITBC_SEED replays a whole
run; AITBC_EXTENDED=1 includes the tests marked `extended` and gives Hypothesis far more examples.
"""

import hashlib
import os
import random
import secrets

import pytest
from hypothesis import HealthCheck, settings

EXTENDED = os.environ.get("AITBC_EXTENDED", "") not in ("", "0")

settings.register_profile("default", max_examples=50, deadline=None, print_blob=True)
settings.register_profile(
    "extended", max_examples=2_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("extended" if EXTENDED else "default")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed once; worker processes inherit it through the environment."""
    if "AITBC_SEED" not in os.environ:
        os.environ["AITBC_SEED"] = str(secrets.randbits(32))
    elif config.option.hypothesis_seed is None and not hasattr(config, "workerinput"):
        config.option.hypothesis_seed = os.environ["AITBC_SEED"]


def _replay() -> str:
    return f"seed: {os.environ['AITBC_SEED']} (AITBC_SEED={os.environ['AITBC_SEED']} ./tests/run replays it)"


def pytest_report_header() -> str:
    return _replay()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(_replay())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if EXTENDED:
        return
    for item in items:
        if item.get_closest_marker("extended"):
            item.add_marker(pytest.mark.skip(reason="long: ./tests/run --extended"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A 64-bit seed of this test alone, fixed by AITBC_SEED and the test's name, and shown when the test fails."""
    text = f"{os.environ['AITBC_SEED']}/{request.node.nodeid}"
    value = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    print(f"seed of this test: {value} (AITBC_SEED={os.environ['AITBC_SEED']})")
    return value


@pytest.fixture
def rng(seed: int) -> random.Random:
    """A generator started from `seed`."""
    return random.Random(seed)
