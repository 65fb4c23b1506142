"""Where this code comes from: its commit, and the constraints.txt that it was tested with. A clone is asked; setup.py
writes both into a wheel, in whose installation neither git nor constraints.txt is at hand."""

import json
import subprocess
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CLONE = _PACKAGE.parents[1]
CONSTRAINTS = "constraints.txt"
BUILT = "_built.json"  # in an installed package only


def commit() -> str | None:
    """The commit that this package was built from, else that of the git tree in which it lies; None: there is none."""
    try:
        built: dict[str, str | None] = json.loads((_PACKAGE / BUILT).read_text())
    except FileNotFoundError:
        return commit_of(_CLONE)
    return built["commit"]  # no git tree around an installed package is its own


def commit_of(tree: Path) -> str | None:
    """The git commit of a clone, with ``-dirty`` if the code in it has changes; None where there is no git tree."""
    git = ["git", "-C", str(tree)]
    # the ready-made studies are not code: what a study says stands in its ledger
    code = ["platform", ":(exclude)platform/cnnbench/studies"]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "--", *code],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def constraints() -> Path | None:
    """The constraints.txt of this very code; None where it has none."""
    return next((file for folder in (_PACKAGE, _CLONE) if (file := folder / CONSTRAINTS).is_file()), None)
