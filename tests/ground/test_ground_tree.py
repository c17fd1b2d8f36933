"""What is in the repository: nothing that it says is to be ignored, such as somebody's virtual environment."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a working tree of git")
def test_nothing_ignored_is_tracked() -> None:
    """A tracked link in the place of .venv would delete the environment of whoever checks it out."""
    listing = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
