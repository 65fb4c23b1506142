"""MLflow servers for tests: on the loopback, on a free port, ended with all that they started."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cnnbench.tracking.tracker import ENVIRONMENT

START_S = 240.0


@contextmanager
def serving(command: Sequence[str], port: int, folder: Path, **environment: str) -> Iterator[str]:
    """Runs ``command``, which serves on ``port``, in ``folder``; gives its address once it answers."""
    log = folder / "server.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT, **environment}, cwd=folder, stdout=file, stderr=file,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # its own group: it and the workers it started
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
