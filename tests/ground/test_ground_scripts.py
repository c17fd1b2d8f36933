"""The shell scripts parse, stop at the first error, run from anywhere, and refuse clearly."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = [".ci/environment.sh", ".ci/run", "localnet/start", "localnet/stop", "tests/benchmarks/run", "tests/run"]


def run(script: pathlib.Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments],
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: pathlib.Path) -> pathlib.Path:
    """A repository that has the scripts and nothing else."""
    for name in SCRIPTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".ci/requirements.lock").write_text("# nothing\n")
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def test_no_script_is_forgotten() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in (".ci", "chain", "cli", "genesis", "localnet", "node", "tests", "wallet")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in ("", ".sh") and path.read_bytes().startswith(b"#!")
    ]
    assert sorted(found) == sorted(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_well_formed(name: str) -> None:
    script = ROOT / name
    text = script.read_text("utf-8")
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "\nset -euo pipefail\n" in text
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("name", [".ci/environment.sh", "localnet/start", "tests/run", ".ci/run"])
def test_unusable_python_is_refused_by_name_of_the_versions(copy: pathlib.Path, name: str) -> None:
    done = run(copy / name, AITBC_PYTHON="/bin/false")
    assert done.returncode == 1
    assert "needs CPython 3.11 or 3.12" in done.stderr
    assert not (copy / ".venv").exists()


def test_failed_installation_shows_its_log_and_is_not_taken_for_done(copy: pathlib.Path) -> None:
    (copy / ".ci/requirements.lock").write_text("./no-such-package\n")
    for _ in range(2):
        done = run(copy / ".ci/environment.sh")
        assert done.returncode == 1
        assert "no-such-package" in done.stderr
    assert not (copy / ".venv/aitbc-installed").exists()


def test_stop_without_an_environment_has_nothing_to_do(copy: pathlib.Path) -> None:
    done = run(copy / "localnet/stop")
    assert done.returncode == 0
    assert "Nothing to stop" in done.stdout
    assert not (copy / ".venv").exists()
