"""What is installed is what constraints.txt says, to the last package; nothing is below a version with a known hole."""

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([^#=\s]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}


def needed() -> dict[str, Requirement]:
    """cnnbench with all its extras, and what each package needs in turn, as far as it is installed."""
    cnnbench = metadata.metadata("cnnbench")
    found: dict[str, Requirement] = {}
    waiting = [
        (text, extra) for text in metadata.requires("cnnbench") or () for extra in cnnbench.get_all("Provides-Extra")
    ]
    seen = set()
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if (text, extra) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        seen.add((text, extra))
        found[canonicalize_name(requirement.name)] = requirement
        try:
            inner = metadata.requires(requirement.name) or ()
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        waiting += [(each, wanted) for each in inner for wanted in ("", *requirement.extras)]
    return found


def test_every_package_that_cnnbench_needs_is_pinned_and_installed_as_pinned():
    requirements = needed()
    assert len(requirements) > 100
    unpinned = [name for name in requirements if name not in PINS]
    assert unpinned == []
    installed = {canonicalize_name(each.metadata["Name"]): each.version for each in metadata.distributions()}
    # torch may carry a local version: +cpu
    others = {n: (v.partition("+")[0], PINS[n]) for n, v in installed.items() if n in requirements}
    assert {name: pair for name, pair in others.items() if pair[0] != pair[1]} == {}


def test_nothing_is_installed_or_allowed_below_a_version_with_a_known_hole():
    floors = {"mlflow": "3.11", "ray": "2.60", "jinja2": "3.1.6"}  # CVEs of MLflow: see pyproject.toml
    requirements = needed()
    for name, floor in floors.items():
        assert Version(PINS[name]) >= Version(floor)
        assert Version(metadata.version(name)) >= Version(floor)
        just_below = {"mlflow": "3.10.9", "ray": "2.59.9", "jinja2": "3.1.5"}[name]
        assert not Requirement(str(_own(name))).specifier.contains(just_below), requirements[name]


def _own(name: str) -> Requirement:
    """cnnbench's own range for a package."""
    ranges = [Requirement(text) for text in metadata.requires("cnnbench") or ()]
    return next(each for each in ranges if canonicalize_name(each.name) == name)
