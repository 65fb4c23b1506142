"""`cnnbench doctor`: whether this machine can run studies, one line a question, with a remedy to each no."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PYTHONS = ((3, 11), (3, 12), (3, 13))
LEAST_FREE_GB = 5.0  # one study's checkpoints, ledger, reports and Ray's session, with room to spare
MLFLOW_FLOOR = (3, 11)  # below: CVE-2026-0545, -2614, -2651, -2652, -4137
TRY_S = 300.0

# In processes of their own: a broken installation may not raise but crash.
_TORCH = """
import torch, torchvision
torch.zeros(2, 2) @ torch.zeros(2, 2)
torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # its compiled part fits this torch
found = torch.cuda.is_available() and [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
if found: torch.zeros(2, 2, device="cuda").sum().item()
print("CUDA:", ", ".join(found) if found else "no GPU in sight: trials train on the CPU")
"""
_RAY = "from ray import train, tune; print('Tune and Train can be imported')"


@dataclass(frozen=True)
class Diagnosis:
    """What was looked at, what was found, and what to do about it; remedy None: all is well."""

    what: str
    found: str
    remedy: str | None = None

    def __str__(self) -> str:
        mark = "ok  " if self.remedy is None else "FAIL"
        return f"{mark}  {self.what}: {self.found}" + (f" → {self.remedy}" if self.remedy else "")


def examine(storage: Path, constraints: Path | None) -> Iterator[Diagnosis]:
    """All answers, as they are found. storage: where studies will lie; constraints: the pinned versions to compare
    with, None: there is no such file here."""
    questions: tuple[Callable[[], Diagnosis], ...] = (
        _python,
        lambda: _versions(constraints),
        lambda: _tried("torch", _TORCH),
        lambda: _tried("Ray", _RAY),
        _mlflow,
        _token,
        _data,
        lambda: _disk("storage", storage),
        lambda: _disk("Ray's folder", Path(os.environ.get("RAY_TMPDIR") or "/tmp")),
    )
    for question in questions:
        yield question()


def pins(text: str) -> dict[str, str]:
    """The versions of a constraints file, by the normalised names of their packages."""
    return {_normal(name): version for name, version in re.findall(r"(?m)^([^#=\s]+)==(\S+)", text)}


def differences(pinned: dict[str, str]) -> list[str]:
    """Installed packages of another version than pinned, each as ``name 1.0, not 2.0``. A local version such as +cpu is
    the same."""
    installed = {_normal(each.metadata["Name"]): each.version for each in metadata.distributions()}
    return [
        f"{name} {installed[name]}, not {version}"
        for name, version in sorted(pinned.items())
        if name in installed and installed[name].partition("+")[0] != version
    ]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _python() -> Diagnosis:
    version = sys.version_info[:2]
    known = ", ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    remedy = None if version in PYTHONS else f"use Python {known}; constraints.txt is for 3.11"
    return Diagnosis("Python", sys.version.split()[0], remedy)


def _versions(constraints: Path | None) -> Diagnosis:
    if constraints is None:
        return Diagnosis("versions", "no constraints.txt here to compare with (it lies in cnnbench's repository)")
    pinned = pins(constraints.read_text())
    other = differences(pinned)
    if not other:
        return Diagnosis("versions", f"as {constraints} pins them")
    shown = "; ".join(other[:5]) + (f"; and {len(other) - 5} more" if len(other) > 5 else "")
    return Diagnosis("versions", shown, f"pip install -c {constraints} -e '.[dev]'")


def _tried(name: str, code: str) -> Diagnosis:
    try:
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=TRY_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Diagnosis(name, f"no answer in {TRY_S:.0f} s", "is the machine overloaded, or a disk gone?")
    if ran.returncode == 0:
        return Diagnosis(name, f"{_version(name.lower())}, {ran.stdout.strip().splitlines()[-1]}")
    last = (ran.stderr.strip().splitlines() or [f"ended with code {ran.returncode}"])[-1]
    return Diagnosis(name, last[:200], "install it again: pip install --force-reinstall -c constraints.txt -e .")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _mlflow() -> Diagnosis:
    version = _version("mlflow")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers >= MLFLOW_FLOOR:
        return Diagnosis("MLflow", version)
    floor = ".".join(map(str, MLFLOW_FLOOR))
    return Diagnosis("MLflow", version, f"pip install 'mlflow>={floor}': older ones have holes that are known")


def _token() -> Diagnosis:
    """Ray's token, by the same rules as a study has (distributed/authentication.py), without changing anything."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return Diagnosis("Ray's token", "RAY_AUTH_MODE turns it off", "unset RAY_AUTH_MODE, or set it to token")
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Diagnosis("Ray's token", "in RAY_AUTH_TOKEN")
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if not file.exists():
        return Diagnosis("Ray's token", f"{file}: none yet; the first study makes one")
    mode = file.stat().st_mode & 0o777
    remedy = f"chmod 600 {file}" if mode & 0o077 else None
    return Diagnosis("Ray's token", f"{file}: mode {mode:o}", remedy)


def _data() -> Diagnosis:
    from cnnbench.data.sources import data_root

    root = data_root()
    if not root.exists():
        named = os.environ.get("CNNBENCH_DATA")
        remedy = f"mount or make {root}, or unset CNNBENCH_DATA" if named else None
        return Diagnosis("data", f"{root}: not there" + ("" if named else " yet; digits needs none"), remedy)
    if not os.access(root, os.R_OK | os.X_OK):
        return Diagnosis("data", f"{root}: can't be read", f"chmod u+rx {root}")
    found = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    return Diagnosis("data", f"{root}: {', '.join(found[:8]) or 'empty'}" + (", …" if len(found) > 8 else ""))


def _disk(what: str, folder: Path) -> Diagnosis:
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    if not os.access(place, os.W_OK):
        return Diagnosis(what, f"{place}: can't be written", "choose another folder, or change its owner")
    remedy = None if free_gb >= LEAST_FREE_GB else f"free {LEAST_FREE_GB - free_gb:.1f} GB"
    return Diagnosis(what, f"{place}: {free_gb:.1f} GB free", remedy)
