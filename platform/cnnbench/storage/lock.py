"""One process a study: a lock file that says who holds it, also to other hosts of a shared file system.

On one host the file's flock decides, and falls with its process. Between hosts, where a file system may not know
flock, what the file says decides: host, process, and the time of its last touch, which the holder renews. A lock that
was taken over by force is noticed by its old holder before it writes again.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

RENEW_S = 20.0


class Held(Exception):
    """The study is run by another process; the message says by whom, since when, and what can be done."""


class TakenOver(Exception):
    """Another process has taken the study over: this one must write nothing more."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    host: str
    pid: int
    token: str  # tells this holding from every other

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Lock:
    """A lock that this process holds."""

    def __init__(self, path: Path, holder: Holder, descriptor: int) -> None:
        self._path, self._holder, self._descriptor = path, holder, descriptor
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="cnnbench-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises TakenOver if the lock is another process's by now."""
        now = _holder(self._path)
        if now != self._holder:
            who = f"taken over by {now}" if now else "removed"
            raise TakenOver(f"{self._path}: the study's lock was {who}; this process stops and writes nothing more")

    def _renew(self) -> None:
        while not self._released.wait(RENEW_S):
            with contextlib.suppress(OSError):  # a lock that looks old does no harm
                os.utime(self._descriptor)

    def release(self) -> None:
        """Leaves an empty file: nobody holds it."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if _holder(self._path) == self._holder:
                os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


@contextmanager
def held(path: Path, say: Callable[[str], None], *, takeover: bool = False) -> Iterator[Lock]:
    """Holds the lock file ``path``. Raises Held. takeover: take it from whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _acquire(path, say, takeover)
    try:
        yield lock
    finally:
        lock.release()


def _acquire(path: Path, say: Callable[[str], None], takeover: bool) -> Lock:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        is_free = _flock(descriptor)
        before = _holder(path)
        if before is not None or not is_free:
            abandoned = is_free and before is not None and before.host == socket.gethostname()
            if not abandoned and not takeover:
                raise Held(_refusal(path, before))
            if abandoned:
                say(f"{before} ended without a word; going on from what it finished")
            else:
                say(f"taking the study over from {before or 'its holder'}")
        if not is_free:  # the file itself is another's: a new one takes its place
            os.close(descriptor)
            descriptor = _new_file(path)
            _flock(descriptor)
        holder = Holder(socket.gethostname(), os.getpid(), uuid.uuid4().hex)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
        os.fsync(descriptor)
        return Lock(path, holder, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _flock(descriptor: int) -> bool:
    """False if another process of this host (or, where the file system knows flock, of any host) has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without flock: what the file says has to do
        return True
    return True


def _new_file(path: Path) -> int:
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.replace(aside, path)
    return descriptor


def _holder(path: Path) -> Holder | None:
    """None: nobody, or a file that doesn't say."""
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _refusal(path: Path, holder: Holder | None) -> str:
    who = str(holder) if holder else "another process"
    seconds = max(0.0, _now_there(path) - path.stat().st_mtime)
    return (
        f"study: it is running already, as {who}; last sign of life {_age(seconds)} ago "
        f"(a running study renews it every {RENEW_S:.0f} s). If that process is gone, continue with --takeover"
    )


def _now_there(path: Path) -> float:
    """The time by the file system's own clock, which on a network is not this host's."""
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
