"""The lock file pins exactly what the project declares and what that brings along, and the tests run on those pins."""

import importlib.metadata
import pathlib
import re
import tomllib

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parents[2]
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][0-9a-z.]*)(?P<marker> ; [^#]+)?  # (?P<why>\S.*)")


def pins() -> dict[str, tuple[str, str]]:
    """Name -> (version, reason) for each line that applies to this interpreter."""
    found: dict[str, tuple[str, str]] = {}
    for line in (ROOT / ".ci/requirements.lock").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        match = PIN.fullmatch(line)
        assert match, f"not of the form `name==version  # why`: {line}"
        if match["marker"] and not Marker(match["marker"].removeprefix(" ; ").strip()).evaluate():
            continue
        assert match["name"] not in found, f"pinned twice: {line}"
        found[match["name"]] = (match["version"], match["why"])
    return found


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lines = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
    ]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_declared_range_includes_the_pin(requirement: Requirement) -> None:
    assert len(list(requirement.specifier)) > 0, "a dependency has a range"
    name = canonicalize_name(requirement.name)
    version, why = pins()[name]
    assert requirement.specifier.contains(version), f"{name} {version} is outside {requirement.specifier}"
    assert re.search(r"\(.+\)$", why), f"{name}: the licence in brackets ends the line"


def test_lock_holds_all_that_is_needed_and_nothing_else() -> None:
    locked = pins()
    needed: set[str] = set()
    pending = declared()
    while pending:
        requirement = pending.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{requirement} is needed and not locked"
        assert requirement.specifier.contains(locked[name][0], prereleases=True), f"{name} breaks {requirement}"
        if name not in needed:
            needed.add(name)
            pending += [Requirement(line) for line in importlib.metadata.requires(name) or []]
    assert not set(locked) - needed, "locked and not needed"


def test_environment_is_the_locked_one() -> None:
    differing = {n: importlib.metadata.version(n) for n, (v, _) in pins().items() if importlib.metadata.version(n) != v}
    assert not differing


def test_commands_are_declared_for_modules_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for command, target in project["project"]["scripts"].items():
        module, _, function = target.partition(":")
        path = ROOT / (module.replace(".", "/") + ".py")
        assert path.is_file(), f"{command}: {path.relative_to(ROOT)} is missing"
        assert f"def {function}(" in path.read_text("utf-8"), f"{command}: {module} has no {function}()"
