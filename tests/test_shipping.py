"""The process that ships to MLflow: it costs the study's driver nothing, and lives as long as the driver."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnbench.tracking import Shipped, default_uri
from test_tracking import PATIENT_S, history, make, play, runs

DRIVER = """
import sys
from pathlib import Path
from cnnbench.tracking import Tracker
tracker = Tracker(None, "digits", Path(sys.argv[1]), parent_params={})
tracker.started("t", stage="search", row="a", architecture="a", params={}, tags={})
"""


def shippers(folder: Path) -> list[int]:
    """The processes that ship the study in ``folder``, by the environment that ``folder`` gives them below."""
    wanted = f"SHIPPED={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ships = b"cnnbench.shipping" in (process / "cmdline").read_bytes()
            is_running = (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            if ships and is_running and wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study's folder, in a storage folder of its own."""
    study = tmp_path / "results" / "digits"
    monkeypatch.setenv("SHIPPED", str(study))
    return study


def test_a_process_that_was_killed_is_one_warning_and_the_study_end_ships_the_rest(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = make(folder)
    play(tracker)
    (shipper,) = shippers(folder)
    with caplog.at_level(logging.WARNING, logger="cnnbench.tracking"):
        os.kill(shipper, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
        play(tracker, "lenet5-1")
        shipped = tracker.close(PATIENT_S)
    assert shipped == Shipped(synced=8, spooled=0) and shipped.late
    assert [entry.getMessage() for entry in caplog.records] == [
        "what ships to MLflow has ended (exit code -9): the rest comes when the study ends"
    ]
    uri = default_uri(folder.parent)
    assert [run.info.run_name for run in runs(uri)] == ["lenet5-0", "lenet5-1", "study"]
    for run in runs(uri, "params.activation = 'mish'"):
        assert history(uri, run, "val_accuracy") == [(1, 0.5), (2, 0.5)]
    assert shippers(folder) == []


@pytest.mark.parametrize(
    "end", ["", "print('ready', flush=True); import time; time.sleep(600)"], ids=["left", "killed"]
)
def test_it_ends_with_a_driver_that_did_not_close_it(folder: Path, end: str) -> None:
    command = [sys.executable, "-c", DRIVER + end, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        if end:
            assert driver.stdout.readline() == "ready\n"
            assert len(shippers(folder)) == 1
            driver.kill()
        driver.wait(60)
    deadline = time.monotonic() + 30
    while shippers(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shippers(folder) == []


def test_the_driver_imports_no_mlflow(folder: Path) -> None:
    end = "print(tracker.close(60), sorted(m for m in sys.modules if m.partition('.')[0] in ('mlflow', 'sqlalchemy')))"
    command = [sys.executable, "-c", DRIVER + end, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout == "MLflow: 1 events synced, 0 spooled []\n"
