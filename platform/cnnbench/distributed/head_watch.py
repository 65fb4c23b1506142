"""A cluster whose head is lost: Ray (2.60) would end the driver after a minute, without a word."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray

PATIENCE_S = 30.0
POLL_S = 2.0


@contextmanager
def watched(say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, ends this process with exit code 1 once the head has not answered for PATIENCE_S seconds.
    It says how to go on first: what is finished is in the ledger, and nothing else could be saved without a head."""
    address = ray.get_runtime_context().gcs_address
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(address, say, ended), name="cnnbench-head", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _watch(address: str, say: Callable[[str], None], ended: threading.Event) -> None:
    seen = time.monotonic()
    while not ended.wait(POLL_S):
        if _answers(address):
            seen = time.monotonic()
        elif time.monotonic() - seen > PATIENCE_S and not ended.is_set():
            say(f"Ray's head at {address} has not answered for {PATIENCE_S:.0f} s: it is lost, and the cluster with it")
            say("stopped; everything finished is saved. The same command, on a cluster that runs, continues the study")
            if sys.stdout.isatty():
                sys.stdout.write("\x1b[?25h")  # the cursor, which the live view hides
            sys.stdout.flush()
            os._exit(1)  # the main thread waits for Ray, and can't be reached


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5.0):
            return True
    except OSError:
        return False
