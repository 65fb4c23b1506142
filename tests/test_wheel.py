"""What `pip wheel .` makes works where there is no clone: it is installed into a folder, and run from another one."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench.origin import commit_of

ROOT = Path(__file__).parents[1]
_GIT = ["git", "-c", "user.name=a test", "-c", "user.email=test@example.org"]
_SAY = """
import json, cnnbench
from cnnbench.trial.machine import commit, lock
from cnnbench.study.ready_made import ready_made_studies
studies = {name: str(file) for name, file in ready_made_studies().items()}
print(json.dumps({"package": cnnbench.__path__[0], "commit": commit(), "lock": lock(), "studies": studies}))
"""


def _ran(*command: str, folder: Path, **environment: str) -> str:
    ours = {name: value for name, value in os.environ.items() if name not in {"CNNBENCH_COMMIT", "PYTHONPATH"}}
    done = subprocess.run(command, cwd=folder, env={**ours, **environment}, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _commit(tree: Path) -> str:
    _ran(*_GIT, "init", "--quiet", folder=tree)
    _ran(*_GIT, "add", "--all", folder=tree)
    _ran(*_GIT, "commit", "--quiet", "--message", "all", folder=tree)
    return _ran(*_GIT, "rev-parse", "HEAD", folder=tree).strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of what a wheel is made of."""
    copy = tmp_path / "clone"
    shutil.copytree(ROOT / "platform", copy / "platform", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def test_a_wheel_has_all_files_and_knows_the_commit_and_the_pins_of_its_clone(clone: Path, tmp_path: Path) -> None:
    commit = _commit(clone)
    stale = clone / "build" / "lib" / "cnnbench" / "gone.py"  # of a wheel that was made before
    stale.parent.mkdir(parents=True)
    stale.touch()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _ran(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), ".", folder=clone)
    (wheel,) = tmp_path.glob("*.whl")
    users = tmp_path / "users"  # a project of the user's own, in whose git tree cnnbench is installed
    users.mkdir()
    (users / "notes").touch()
    _commit(users)
    installed = users / "packages"
    _ran(*pip, "install", "--no-deps", "--no-compile", "--target", str(installed), str(wheel), folder=users)

    package = installed / "cnnbench"
    source = clone / "platform" / "cnnbench"
    there = {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()}
    assert there == {str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()} | {
        "_built.json", "constraints.txt",
    }  # fmt: skip

    said = json.loads(_ran(sys.executable, "-c", _SAY, folder=users, PYTHONPATH=str(installed)))
    names = ["cifar10", "digits", "fashion_mnist", "image_folder"]
    assert said == {
        "package": str(package),
        "commit": commit,
        "lock": hashlib.sha256((ROOT / "constraints.txt").read_bytes()).hexdigest(),
        "studies": {name: str(package / "studies" / f"{name}.yaml") for name in names},
    }
    shutil.copytree(ROOT / "reports" / "published" / "digits", users / "digits")
    cnnbench = [sys.executable, "-m", "cnnbench"]
    _ran(*cnnbench, "report", "digits", "--out", "page", folder=users, PYTHONPATH=str(installed))
    assert "</html>" in (users / "page" / "index.html").read_text()


def test_changes_of_code_make_a_commit_dirty_and_those_of_studies_do_not(clone: Path) -> None:
    assert commit_of(clone) is None
    commit = _commit(clone)
    with open(clone / "platform" / "cnnbench" / "studies" / "digits.yaml", "a") as study:
        study.write("# a note\n")
    assert commit_of(clone) == commit
    with open(clone / "platform" / "cnnbench" / "ledger.py", "a") as code:
        code.write("# a note\n")
    assert commit_of(clone) == f"{commit}-dirty"


def test_search_spaces_are_the_ready_made_studies() -> None:
    from cnnbench.study.ready_made import ready_made_studies

    listed = {file.stem: file.resolve() for file in (ROOT / "search_spaces").glob("*.yaml")}
    assert listed and listed == ready_made_studies()
