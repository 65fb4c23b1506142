"""`make setup`, the Makefile's own recipe: which Python it takes, what it says, what it refuses. The Pythons on its
PATH answer as ones of other versions would, and pip is played."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# It answers -c as a Python of VERSION (without the module ABSENT); pip says and ends as PIP has it.
PYTHON = """#!/bin/sh
case "$1 $2" in
-V*) echo Python 3.{minor}.7 ;;
-c*) exec '{real}' -I -c 'import sys; sys.version_info = (3, {minor}, 7); sys.modules["{absent}"] = None; exec(sys.argv[1])' "$2" ;;
"-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
"-m pip") echo "$0 $*" >>pip.log; {pip} ;;
esac
"""  # noqa: E501
SHIM = "#!/bin/sh\necho 'pyenv: python: command not found' >&2\nexit 127\n"
PIP = """
echo 'Collecting torch>=2.11'
echo '  Downloading torch-2.15.0-cp313-cp313-manylinux_2_28_x86_64.whl.metadata (31 kB)'
echo 'Downloading torch-2.15.0-cp313-cp313-manylinux_2_28_x86_64.whl (539.2 MB)'
echo '  Downloading nvidia_cublas-13.4.1.3-py3-none-manylinux_2_27_x86_64.whl (404.9 MB)'
echo 'Downloading rich-15.0.0-py3-none-any.whl (310.8 kB)'
echo 'Installing collected packages: torch, rich'
"""


def python(version: str, *, absent: str = "nothing", pip: str = PIP) -> str:
    return PYTHON.format(minor=version.removeprefix("3."), real=sys.executable, absent=absent, pip=pip)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    for name in ("Makefile", "tools/set-up", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "make", "date", "touch", "mkdir", "cp"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or pytest.fail(f"no {tool} here"))
    return tmp_path


def set_up(clone: Path, pythons: dict[str, str], *arguments: str, code: int = 0) -> str:
    """What `make setup` prints where these Pythons, file name → script, are all there are."""
    for name, script in pythons.items():
        (clone / "bin" / name).write_text(script)
        (clone / "bin" / name).chmod(0o755)
    made = subprocess.run(
        ["make", "setup", *arguments], cwd=clone, text=True, timeout=60,
        env={"PATH": str(clone / "bin"), "HOME": os.environ.get("HOME", "/")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert made.returncode == code, made.stdout
    return made.stdout


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({f"python3.{n}": python(f"3.{n}") for n in (11, 12, 13)}, "3.13"),
        ({"python3.13": SHIM, "python3.12": python("3.12"), "python3": python("3.12")}, "3.12"),
        ({"python3.12": python("3.12"), "python3": python("3.13")}, "3.13"),
        ({"python3.14": python("3.14"), "python3": python("3.14"), "python3.11": python("3.11")}, "3.11"),
        ({"python3.13": python("3.13", absent="ensurepip"), "python3.11": python("3.11")}, "3.11"),
        ({"python": python("3.12")}, "3.12"),
    ],
)
def test_the_newest_python_that_runs_and_makes_environments_is_taken(pythons, chosen, clone):
    assert f"a new environment in .venv, of Python {chosen}.7 " in set_up(clone, pythons)


def test_python_names_another(clone):
    pythons = {"python3.13": python("3.13"), "mine": python("3.11")}
    assert "of Python 3.11.7 " in set_up(clone, pythons, f"PYTHON={clone}/bin/mine")


@pytest.mark.parametrize(
    ("pythons", "arguments", "said"),
    [
        ({}, (), "needs Python 3.11, 3.12 or 3.13; install one"),
        ({"python3": python("3.10"), "python3.13": SHIM}, (), "needs Python 3.11, 3.12 or 3.13; install one"),
        ({"python3": python("3.12", absent="venv")}, (), "apt-get install python3.12-venv"),
        ({"python3.13": python("3.13"), "old": python("3.10")}, ("PYTHON=old",), "and old is none of these"),
    ],
)
def test_where_none_fits_one_line_says_what_to_do(pythons, arguments, said, clone):
    told = [line for line in set_up(clone, pythons, *arguments, code=2).splitlines() if line.startswith("make setup")]
    assert len(told) == 1 and said in told[0]
    assert not (clone / ".venv").exists()


def test_it_says_what_it_does_and_nothing_when_all_is_done(clone):
    here = clone / "bin" / "python3.13"
    first, *phases, last = set_up(clone, {"python3.13": python("3.13")}).splitlines()
    assert first.startswith(
        f"make setup: a new environment in .venv, of Python 3.13.7 ({here}): fetches 3 GB, takes 7 GB"
    )
    assert phases == [
        "make setup: fetches torch, 539.2 MB",
        "make setup: fetches nvidia_cublas, 404.9 MB",
        "make setup: unpacks all of it",
    ]
    assert last.startswith("make setup: done in ")
    assert (clone / "pip.log").read_text().split()[-4:] == ["-c", "constraints.txt", "-e", ".[dev]"]
    assert set_up(clone, {}) == ""


def test_an_environment_that_is_there_keeps_its_python(clone):
    set_up(clone, {"python3.11": python("3.11")})
    (clone / ".venv" / ".set-up").unlink()
    said = set_up(clone, {"python3.13": python("3.13")})
    assert said.startswith("make setup: brings .venv (Python 3.11.7) to the versions of constraints.txt; for another")
    assert (clone / "pip.log").read_text().count("\n") == 2


def test_where_pip_fails_so_does_it_and_begins_again_the_next_time(clone):
    said = set_up(clone, {"python3.13": python("3.13", pip="echo no torch >&2; exit 1")}, code=2)
    assert "no torch" in said and "make setup: pip failed" in said and "done" not in said
    assert set_up(clone, {}, code=2) != ""
