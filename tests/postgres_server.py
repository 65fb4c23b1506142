"""A Postgres of its own for tests: Debian's, in a temporary folder, on the loopback, with a password, ended by its
process id. Postgres refuses to run as root, so root runs it as the user postgres."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ray_heads import free_port

USER, PASSWORD = "cnnbench", "canary-of-postgres-5e1d"
START_S = 120.0


@dataclass(frozen=True)
class Server:
    """folder: the server's own files and log; pgpass: a password file as libpq wants it."""

    port: int
    folder: Path
    pgpass: Path

    def uri(self, database: str, *, password: bool = True) -> str:
        user = f"{USER}:{PASSWORD}" if password else USER
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    place = found[-1] if found else Path(shutil.which("initdb") or "")
    if not place.is_file():
        reason = "no Postgres here; on Debian: apt-get install postgresql"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return place.parent


@contextmanager
def postgres(*databases: str) -> Iterator[Server]:
    """A server with empty ``databases``."""
    import psycopg

    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="cnnb-pg-", dir="/tmp"))
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    server = Server(free_port(), folder, folder / "pgpass")
    server.pgpass.write_text(f"127.0.0.1:{server.port}:*:{USER}:{PASSWORD}\n")
    server.pgpass.chmod(0o600)
    data, log = folder / "data", open(folder / "log", "wb")  # noqa: SIM115 (closed below)
    process = None
    try:
        subprocess.run(
            [*as_user, binaries / "initdb", "-D", data, "-U", USER, f"--pwfile={password}", "--auth=scram-sha-256",
             "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        process = subprocess.Popen(
            [*as_user, binaries / "postgres", "-D", data, "-k", folder, "-p", str(server.port), "-h", "127.0.0.1",
             "-c", "fsync=off"],
            cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while True:
            try:
                connection = psycopg.connect(server.uri("postgres"), autocommit=True)
                break
            except psycopg.OperationalError:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
        with connection:
            for database in databases:
                connection.execute(f"CREATE DATABASE {database}")
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # "fast": clients are disconnected
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.close()
        shutil.rmtree(folder)
