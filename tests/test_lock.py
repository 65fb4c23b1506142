"""The study's lock: one process at a time, on one host and between hosts, and a way out where the holder is gone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnbench.storage import lock
from cnnbench.storage.lock import Held, TakenOver, held

HOLD = """
import sys, time
from pathlib import Path
from cnnbench.storage.lock import held
with held(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study" / ".lock"


@pytest.fixture
def other(path: Path):
    """Another process of this host, which holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def take(path: Path, **options: bool) -> list[str]:
    """Takes the lock and gives it back; what was said."""
    said: list[str] = []
    with held(path, said.append, **options) as mine:
        mine.check()
    return said


def elsewhere(path: Path, seconds_ago: float = 0.0) -> None:
    """A lock as a process of another host left it, over a file system that does not know flock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": "node-7", "pid": 4242, "token": "t"}))
    os.utime(path, (time.time() - seconds_ago,) * 2)


def test_a_lock_that_was_given_back_is_free(path):
    assert take(path) == [] and take(path) == []


def test_the_second_process_is_told_who_holds_it_since_when_and_what_it_can_do(path, other):
    with pytest.raises(Held) as caught:
        take(path)
    assert re.search(
        rf"running already, as process {other.pid} on {re.escape(socket.gethostname())}; last sign of life \d+ s ago",
        str(caught.value),
    )
    assert "--takeover" in str(caught.value)
    assert sorted(file.name for file in path.parent.iterdir()) == [".lock"]


def test_a_killed_holder_of_this_host_blocks_nobody(path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert take(path) == [f"process {other.pid} on {socket.gethostname()} ended without a word; "
                          "going on from what it finished"]  # fmt: skip


def test_a_lock_of_another_host_holds_until_it_is_taken_over(path):
    elsewhere(path, seconds_ago=3 * 3600)
    with pytest.raises(Held, match=r"process 4242 on node-7; last sign of life 3 h ago .* --takeover"):
        take(path)
    assert take(path, takeover=True) == ["taking the study over from process 4242 on node-7"]
    assert take(path) == []


def test_whoever_is_robbed_of_the_lock_notices_and_leaves_it_to_the_robber(path):
    with held(path, lambda line: None) as mine:
        mine.check()
        with held(path, lambda line: None, takeover=True) as theirs:
            with pytest.raises(TakenOver, match=f"taken over by process {os.getpid()}"):
                mine.check()
            theirs.check()
    assert take(path) == []


def test_a_live_holder_can_be_robbed_by_another_process(path, other):
    assert take(path, takeover=True) == [f"taking the study over from process {other.pid} on {socket.gethostname()}"]


def test_a_holder_renews_its_sign_of_life(path, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_S", 0.01)
    with held(path, lambda line: None):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


@pytest.mark.parametrize("content", ["", "{", "process 12 on there", "[]", '{"host": 1}'])
def test_a_damaged_lock_file_that_nobody_holds_is_free(path, content):
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert take(path) == []
