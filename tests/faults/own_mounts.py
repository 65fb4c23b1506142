"""A view of the file system of its own, for disks and readings that a test makes up; it ends with its block."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Mounts:
    """pid: of the process that keeps the view."""

    pid: int

    def command(self, command: list[str], folder: Path) -> list[str]:
        """``command`` as it runs in ``folder`` with this view, under the process id that it is started with."""
        # not --wd: it opens the folder before it takes over the view
        enter = ["nsenter", f"--target={self.pid}", "--mount", "sh", "-c", 'cd "$0" && exec "$@"', str(folder)]
        return [*enter, *command]

    def seen(self, path: Path) -> Path:
        """Where a path of the view can be found from outside."""
        return Path(f"/proc/{self.pid}/root") / path.relative_to("/")


@contextmanager
def own_mounts(script: str) -> Iterator[Mounts]:
    """A view in which the shell script ``script`` has mounted what it likes. Skips the test where that can't be had."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("nsenter"):
        pytest.skip("needs root on Linux, for mounts of its own")
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"{script}\necho ready\nexec sleep infinity"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield Mounts(process.pid)
    finally:
        process.kill()
        process.communicate()
