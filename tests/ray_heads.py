"""Ray clusters of their own for tests: a head process with its own folder, home and ports, ended by its process id."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 240.0


def free_port() -> int:
    """A port nobody listens on. Above 20000: Ray gives 10002 to 19999 to its workers."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port > 20000:
            return port


@contextmanager
def head(home: Path, folder: Path, **environment: str) -> Iterator[str]:
    """A Ray head of one CPU as ``ray start --head`` makes it; gives its address, HOST:PORT. home: where it finds its
    token; folder: Ray's, of at most some 50 characters; environment: RAY_AUTH_MODE and the like."""
    port = free_port()
    folder.mkdir(parents=True)
    log = folder / "head.log"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"),
        *("--num-cpus=1", "--include-dashboard=false", f"--temp-dir={folder}", "--object-store-memory=80000000"),
        f"--dashboard-agent-listen-port={free_port()}",
    ]
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, env={**ours, "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0", **environment},
            stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_S
        while "Ray runtime started" not in log.read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()  # ends its children, too
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def processes_of(folder: Path) -> dict[int, str]:
    """Processes, but for this one, with an open file below ``folder``: {process id: command line}."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = [os.readlink(link) for link in (process / "fd").iterdir()]
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # ended meanwhile, or not ours to look at
        if int(process.name) != os.getpid() and any(name.startswith(f"{folder}/") for name in opened):
            found[int(process.name)] = command[:120]
    return found
