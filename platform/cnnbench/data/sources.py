"""Where data sets lie on this machine, and how a missing one is fetched or reported."""

import contextlib
import fcntl
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cnnbench.errors import UserError

CONNECT_SECONDS = 5.0  # a machine without a network must hear of it soon
READ_SECONDS = 60.0


class DataError(UserError):
    """Data that is missing or can't be used; the message says what was looked for, where, and what to do."""


def data_root(root: str | Path | None = None) -> Path:
    """The folder that data sets are looked for in: ``root``, else ``$CNNBENCH_DATA``, else ~/.cache/cnnbench/data."""
    return Path(root or os.environ.get("CNNBENCH_DATA") or "~/.cache/cnnbench/data").expanduser()


def download(name: str, fetch: Callable[[], object], urls: Sequence[str], root: Path, looked: Sequence[str]) -> None:
    """Runs ``fetch`` (torchvision's downloader into ``root``) if one of ``urls`` answers.

    looked: what was looked for before, one text a place. Raises DataError, in seconds, where the download can't work.
    """
    try:
        _need_an_answer(urls)
        root.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(root), _read_timeout():
            fetch()
    except Exception as error:  # torchvision, urllib and the file system each raise their own kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{name}: not found, and the download failed ({reason}). Looked for "
            + "; ".join(looked)
            + ". Put the files in one of these places, or set CNNBENCH_DATA to the folder that they are in"
        ) from None


def _need_an_answer(urls: Sequence[str]) -> None:
    """Raises ConnectionError unless a server answers. In threads, since a name look-up knows no timeout."""
    reasons: dict[str, str] = {}
    answered = threading.Event()

    def ask(url: str) -> None:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "cnnbench"})
        try:
            with urllib.request.urlopen(request, timeout=CONNECT_SECONDS):
                answered.set()
        except (OSError, ValueError) as error:
            reasons[url] = str(getattr(error, "reason", error))

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(CONNECT_SECONDS + 1.0)
    if not answered.is_set():
        raise ConnectionError(", ".join(f"{url}: {reasons.get(url, 'no answer')}" for url in urls))


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Two workers of one machine must not write the same file at once."""
    with open(root / ".download.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _read_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(READ_SECONDS)  # torchvision passes none to urllib
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
