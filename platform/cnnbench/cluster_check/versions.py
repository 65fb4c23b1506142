"""The same versions on every node, this month and next."""

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version

from cnnbench.cluster_check.commands import ALL
from cnnbench.cluster_check.launcher_file import Document, Finding

RAY = (r"\bray(?:\[[^\]]*\])?==\s*([0-9][\w.]*)", r"ray\.__version__\s*==\s*\\?[\"']([0-9][\w.]*)",
       r"\brayproject/ray[\w-]*:([0-9]+(?:\.[0-9]+)+)")  # fmt: skip
PIP = re.compile(r"\bpip3?\s+install\b(?P<arguments>[^;&|]*)")
WITH_A_VALUE = {"-r", "--requirement", "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--target", "-t"}


def pip_installs(document: Document) -> Iterator[Finding]:
    """Packages without an exact version: each month other ones."""
    for place, line in document.commands(*ALL):
        for match in PIP.finditer(line):
            loose = _loose(match["arguments"])
            if loose:
                problem = f"installs {', '.join(loose)} in whatever version is the newest"
                remedy = "add -c ~/cnnbench-source/constraints.txt, or write ==VERSION"
                yield document.finding(place, problem, remedy)


def _loose(arguments: str) -> list[str]:
    """The packages that nothing pins. A file of constraints pins all, an exact version its own."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        words = arguments.split()
    if any(re.match(r"(-c|--constraint)\b", word) for word in words):
        return []
    loose, skip = [], False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in WITH_A_VALUE
        elif "==" not in word and "@" not in word:
            loose.append(word)
    return loose


def images(document: Document) -> Iterator[Finding]:
    """Container images that change under their name."""
    for key in ("image", "head_image", "worker_image"):
        image = document.get("docker", key)
        if isinstance(image, str) and "@sha256:" not in image:
            _, colon, tag = image.rpartition("/")[2].partition(":")
            if not colon or tag.startswith("latest") or tag.startswith("nightly"):
                yield document.finding(("docker", key), f"{image} is another one next month", "name a version")


def ray_versions(document: Document) -> Iterator[Finding]:
    """Every Ray that the file names, against the one here: Ray refuses nodes of another version."""
    here = version("ray")
    for place, text in document.texts():
        for pattern in RAY:
            for found in re.findall(pattern, text):
                if found != here:
                    remedy = f"name the same one everywhere, or install {found} here"
                    yield document.finding(place, f"Ray {found}, but this machine has {here}", remedy)


def pythons(document: Document) -> Iterator[Finding]:
    """An environment of whatever Python 3 a machine has: Ray refuses nodes of another minor version."""
    for place, line in document.commands(*ALL):
        if re.search(r"(^|[\s/;&|])python3?\s+-m\s+venv\b", line):
            yield document.finding(place, "makes an environment of any Python", "name it: python3.11 -m venv")
