"""What all tests share: one thread each, a Ray folder of their own, Debian's Chromium, and nothing left running."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ray_heads import processes_of

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported, and inherited by Ray's workers

# Ray in the tests sees no other Ray of this machine, and a process that it leaves is known by its open log files.
# The path is short because Ray puts Unix sockets, of at most 107 characters, below it.
RAY_FOLDER = Path(tempfile.mkdtemp(prefix="cnnb-", dir="/tmp"))
os.environ["RAY_TMPDIR"] = str(RAY_FOLDER)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray's workers have niceness 15, with which other tests that keep two cores busy all but stop them.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own spelling

RAY_TIMEOUT_S = 2400.0  # of a test; those that run the CLI give it 900 s a call

_GRACE_S = 60.0  # agents outlive a driver that was killed by so much


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole studies come first: with two processes, the longest files must not be the last. On a busy machine they take
    many times what they take on an idle one: only a hang should end them."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.timeout(RAY_TIMEOUT_S))


def pytest_unconfigure() -> None:
    shutil.rmtree(RAY_FOLDER, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def no_ray_process_survives() -> Iterator[None]:
    """Fails the session (as an error of its last test) if Ray processes outlive the tests, and ends those."""
    yield
    deadline = time.monotonic() + _GRACE_S
    while (left := processes_of(RAY_FOLDER)) and time.monotonic() < deadline:
        time.sleep(0.5)
    for process in left:
        with suppress(ProcessLookupError):  # it ends with its parent
            os.kill(process, signal.SIGKILL)
    assert not left, f"the tests left Ray processes running, {_GRACE_S:.0f} s after their end: {left}"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium instead of a downloaded one, with what it needs to run as root and make no calls."""
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "no chromium on PATH; on Debian: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    return {**browser_type_launch_args, "executable_path": chromium, "args": flags}
