"""MLflow servers in trouble, on the loopback, and processes that write to MLflow's database file."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WRITERS = 8
# Holds the database for 50 ms, and lets go of it for so long.
_WRITE = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
while True:
    database.execute("BEGIN IMMEDIATE")
    database.execute("CREATE TABLE IF NOT EXISTS another_program (number INTEGER)")
    database.execute("INSERT INTO another_program VALUES (1)")
    time.sleep(0.05)
    database.execute("COMMIT")
    time.sleep(0.05)
"""


@contextmanager
def answering_500(after_s: float = 0.0) -> Iterator[str]:
    """The address of a server that answers 500 to all, after a while."""
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            released.wait(after_s)
            with suppress(ConnectionError):  # who asked waits no longer
                self.send_error(500)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def refusing() -> Iterator[str]:
    """An address that refuses connections: a server was there a moment ago."""
    with answering_500() as address:
        pass
    yield address


def is_made(database: Path) -> bool:
    """True once MLflow has made its tables."""
    if not database.exists():
        return False
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0.0) as opened:
            return bool(opened.execute("SELECT count(*) FROM experiments").fetchone()[0])
    except sqlite3.Error:
        return False


@contextmanager
def written_by_others(database: Path) -> Iterator[None]:
    """WRITERS processes write to the file."""
    with ExitStack() as stack:
        for _ in range(WRITERS):
            process = subprocess.Popen([sys.executable, "-c", _WRITE, str(database)])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def written(database: Path) -> int:
    """How often they wrote."""
    with sqlite3.connect(database, timeout=60.0) as opened:
        count: int = opened.execute("SELECT count(*) FROM another_program").fetchone()[0]
    return count
