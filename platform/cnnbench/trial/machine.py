"""Where a trial ran, and on which versions."""

import hashlib
import os
import platform
import resource
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from cnnbench import origin

PACKAGES = ("cnnbench", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "scikit-learn")


@cache
def versions() -> dict[str, str]:
    """The installed versions of what a result depends on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def device_name(kind: str) -> str:
    """For example ``cuda: NVIDIA H200`` or ``cpu: Intel(R) Xeon(R) Platinum``; kind is a torch device type."""
    if kind == "cuda":
        return f"cuda: {torch.cuda.get_device_name()}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{kind}: {name}"


def host_cpus() -> int:
    """Logical processors of this host."""
    return os.cpu_count() or 1


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in 10^6 bytes: what torch allocated on a GPU, else this process's resident set since its start."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


@cache
def lock() -> str | None:
    """The sha256 of the constraints.txt of this code, in a clone or an installed package; None where it has none."""
    file = origin.constraints()
    return hashlib.sha256(file.read_bytes()).hexdigest() if file else None


@cache
def commit() -> str:
    """``$CNNBENCH_COMMIT`` where it is set (on a cluster); else the commit of the clone, with ``-dirty`` if it has
    changes, or the one that the installed package was built from; else ``release-VERSION``."""
    named = os.environ.get("CNNBENCH_COMMIT") or origin.commit()
    return named or f"release-{versions().get('cnnbench', 'unknown')}"
