"""Whatever happens to MLflow, to the process that ships to it or to the study's driver: it holds up nothing, and every
trial stands there once in the end."""

import hashlib
import json
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from cnnbench.tracking.spool import Spool
from cnnbench.tracking.tracker import Shipped, default_uri
from fake_mlflow import answering_500, refusing
from tracked_study import PATIENT_S, begin, history, make, play, point, record, runs

DRIVER = """
import sys
from pathlib import Path
from cnnbench.tracking.tracker import Tracker
tracker = Tracker(None, "digits", Path(sys.argv[1]), parent_params={})
tracker.started("t", stage="search", row="a", architecture="a", params={}, tags={})
"""


def shippers(folder: Path) -> list[int]:
    """The processes that ship the study in ``folder``, by the environment that ``folder`` gives them below."""
    wanted = f"SHIPPED={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ships = b"cnnbench.tracking.shipping" in (process / "cmdline").read_bytes()
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
    with caplog.at_level(logging.WARNING, logger="cnnbench.tracking.tracker"):
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


@pytest.mark.parametrize("lost", ["the last round's cursor", "the whole cursor"])
def test_shipping_again_after_a_crash_doubles_nothing(folder: Path, lost: str) -> None:
    cursor = folder / "tracking.cursor.json"
    tracker = make(folder)
    begin(tracker)
    tracker.epoch("lenet5-0", point(1))
    tracker.close(PATIENT_S)
    stale = cursor.read_text()
    tracker = make(folder)
    tracker.epoch("lenet5-0", point(2))
    tracker.finished(record())
    play(tracker, "lenet5-1")
    tracker.close(PATIENT_S)

    uri = default_uri(folder.parent)
    before = {run.info.run_id: run.to_dictionary() for run in runs(uri)}
    cursor.write_text(stale if lost == "the last round's cursor" else "{")
    assert make(folder).close(PATIENT_S) == Shipped(synced=6 if lost == "the last round's cursor" else 8, spooled=0)
    after = {run.info.run_id: run.to_dictionary() for run in runs(uri)}
    for run in [*before.values(), *after.values()]:
        run["info"].pop("end_time")  # the parent's: it ended a second time
    assert after == before
    for run in runs(uri, "params.activation = 'mish'"):
        assert history(uri, run, "val_accuracy") == [(1, 0.5), (2, 0.5)]


def test_a_half_written_last_line_is_dropped_and_the_rest_shipped(folder: Path) -> None:
    tracker = make(folder)
    begin(tracker)
    tracker.close(PATIENT_S)
    with open(folder / "tracking.spool.jsonl", "a") as file:
        file.write('{"event":"epoch","trial":"lene')
    tracker = make(folder)
    tracker.epoch("lenet5-0", point(1))
    assert tracker.close(PATIENT_S) == Shipped(synced=1, spooled=0)
    uri = default_uri(folder.parent)
    trial, _ = runs(uri)
    assert history(uri, trial, "val_accuracy") == [(1, 0.5)]


def test_a_database_that_others_write_to_is_waited_for_in_silence(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = make(folder)
    play(tracker)
    tracker.close(PATIENT_S)
    other = sqlite3.connect(folder.parent / "mlflow.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    free = threading.Timer(8.0, other.execute, ["COMMIT"])  # sqlite itself gives up after 5 seconds
    free.start()
    with caplog.at_level(logging.WARNING, logger="cnnbench.tracking.tracker"):
        tracker = make(folder)
        play(tracker, "lenet5-1")
        shipped = tracker.close(PATIENT_S)
    free.join()
    other.close()
    assert shipped == Shipped(synced=4, spooled=0) and not shipped.late
    assert caplog.text == ""


def test_damaged_lines_of_the_spool_hold_up_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = make(folder, f"sqlite:///{folder.parent / 'other.db'}")
    play(tracker)
    play(tracker, "lenet5-1")
    tracker.close(PATIENT_S)
    spool = folder / "tracking.spool.jsonl"
    lines = spool.read_bytes().splitlines()
    lines[1], lines[3], lines[6] = b"{\x00\xff", lines[3][:50], b"17"  # an epoch, an end, an epoch
    spool.write_bytes(b"\n".join(lines) + b"\n")

    tracker = make(folder)
    with caplog.at_level(logging.WARNING, logger="cnnbench.tracking.tracker"):
        tracker.complete([record("lenet5-0"), record("lenet5-1")])  # from the ledger
        assert tracker.close(PATIENT_S) == Shipped(synced=6, spooled=0)
    assert "passed over 3 damaged lines" in caplog.text
    uri = default_uri(folder.parent)
    first, second = runs(uri, "params.activation = 'mish'")
    assert first.info.status == second.info.status == "FINISHED"
    assert history(uri, first, "val_accuracy") == [(2, 0.5)]  # the epoch whose line was damaged is missing
    assert history(uri, second, "val_accuracy") == [(1, 0.5), (2, 0.5)]  # the end repeats the last ones


@pytest.mark.parametrize("tenth", [0, 4, 9])
def test_a_spool_that_has_lost_its_end_is_shipped_again_and_the_ledger_tells_the_rest(folder: Path, tenth: int) -> None:
    tracker = make(folder)
    play(tracker)
    play(tracker, "lenet5-1")
    tracker.close(PATIENT_S)
    spool = folder / "tracking.spool.jsonl"
    content = spool.read_bytes()
    spool.write_bytes(content[: len(content) * tenth // 10])
    tracker = make(folder)
    tracker.complete([record("lenet5-0"), record("lenet5-1")])
    play(tracker, "lenet5-2")
    assert tracker.close(PATIENT_S).spooled == 0
    uri = default_uri(folder.parent)
    assert [run.info.run_name for run in runs(uri)] == ["lenet5-0", "lenet5-1", "lenet5-2", "study"]
    for run in runs(uri, "params.activation = 'mish'"):
        assert run.info.status == "FINISHED" and history(uri, run, "val_accuracy") == [(1, 0.5), (2, 0.5)]


def test_an_end_that_a_crash_kept_out_of_the_spool_comes_from_the_ledger_once(folder: Path) -> None:
    tracker = make(folder)
    begin(tracker)  # and the driver was killed between the ledger's line and the spool's
    tracker.close(PATIENT_S)
    for _ in range(2):
        tracker = make(folder)
        tracker.complete([record()])
        tracker.close(PATIENT_S)
    uri = default_uri(folder.parent)
    (trial,) = runs(uri, "params.activation = 'mish'")
    assert (trial.info.status, history(uri, trial, "val_accuracy")) == ("FINISHED", [(1, 0.5), (2, 0.5)])
    assert len((folder / "tracking.spool.jsonl").read_text().splitlines()) == 2


def test_a_full_disk_under_the_spool_is_one_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = make(folder, f"sqlite:///{folder.parent / 'other.db'}")
    begin(tracker)
    spool = folder / "tracking.spool.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole = spool.read_bytes()
    with caplog.at_level(logging.WARNING, logger="cnnbench.tracking.tracker"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 50, hard))  # a larger file fails as on a full disk
        try:
            tracker.epoch("lenet5-0", point(1))
            tracker.epoch("lenet5-0", point(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert spool.read_bytes() == whole
    assert caplog.text.count("MLflow gets the rest from the ledger on the next run") == 1
    tracker.close(0.1)


def test_a_store_that_was_emptied_is_filled_again(folder: Path) -> None:
    elsewhere = f"sqlite:///{folder.parent / 'old.db'}"
    tracker = make(folder, elsewhere)
    play(tracker)
    tracker.close(PATIENT_S)
    cursor = folder / "tracking.cursor.json"
    (all_shipped,) = json.loads(cursor.read_text()).values()
    empty = f"sqlite:///{folder.parent / 'empty.db'}"
    cursor.write_text(json.dumps({hashlib.sha256(empty.encode()).hexdigest()[:16]: all_shipped}))

    assert make(folder, empty).close(PATIENT_S) == Shipped(synced=4, spooled=0)
    (trial,) = runs(empty, "params.activation = 'mish'")
    assert trial.info.status == "FINISHED"


def test_an_experiment_that_was_deleted_in_the_ui_comes_back(folder: Path) -> None:
    tracker = make(folder)
    play(tracker)
    tracker.close(PATIENT_S)
    uri = default_uri(folder.parent)
    client = MlflowClient(tracking_uri=uri)
    (experiment_id,) = {run.info.experiment_id for run in runs(uri)}
    client.delete_experiment(experiment_id)
    tracker = make(folder)
    play(tracker, "lenet5-1")
    assert tracker.close(PATIENT_S) == Shipped(synced=4, spooled=0)
    assert [run.info.run_name for run in runs(uri)] == ["lenet5-0", "lenet5-1", "study"]


def test_a_run_that_was_deleted_in_the_ui_holds_up_no_other(folder: Path) -> None:
    tracker = make(folder)
    begin(tracker)
    tracker.close(PATIENT_S)
    uri = default_uri(folder.parent)
    (trial,) = runs(uri, "params.activation = 'mish'")
    MlflowClient(tracking_uri=uri).delete_run(trial.info.run_id)
    tracker = make(folder)
    tracker.epoch("lenet5-0", point(1))
    play(tracker, "lenet5-1")
    assert tracker.close(PATIENT_S) == Shipped(synced=5, spooled=0)
    assert [run.info.run_name for run in runs(uri)] == ["lenet5-1", "study"]


@pytest.mark.parametrize(
    ("fault", "timeout_s"),
    [(refusing(), 30.0), (answering_500(), 30.0), (answering_500(60.0), 2.0)],
    ids=["dead", "500", "slow"],
)
def test_a_store_in_trouble_neither_stops_nor_slows_and_gets_everything_later(
    folder: Path, fault: Any, timeout_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    with fault as uri, caplog.at_level(logging.WARNING, logger="cnnbench.tracking.tracker"):
        tracker = make(folder, uri.replace("http://", "http://user:secret@"))
        play(tracker)
        began = time.monotonic()
        assert tracker.close(timeout_s) == Shipped(synced=0, spooled=4)
        assert time.monotonic() - began < timeout_s + 5.0  # without bounds it would be minutes
    messages = [entry.getMessage() for entry in caplog.records if entry.name == "cnnbench.tracking.tracker"]
    assert len(messages) <= 1
    assert all("4 events spooled" in text and "secret" not in text for text in messages)
    assert "secret" not in "".join(file.read_text() for file in folder.glob("tracking.*"))

    good = default_uri(folder.parent)
    tracker = make(folder, good)
    play(tracker, "lenet5-1")
    assert tracker.close(PATIENT_S) == Shipped(synced=8, spooled=0)
    assert [run.info.run_name for run in runs(good, "params.activation = 'mish'")] == ["lenet5-0", "lenet5-1"]
    for run in runs(good, "params.activation = 'mish'"):
        assert history(good, run, "val_accuracy") == [(1, 0.5), (2, 0.5)]


def test_the_loop_only_writes_the_spool(folder: Path) -> None:
    with answering_500(60.0) as uri:  # were epoch() to ask it, this test would run into its timeout
        tracker = make(folder, uri)
        for epoch in range(1, 1001):
            tracker.epoch("lenet5-0", point(epoch))
        lines = (folder / "tracking.spool.jsonl").read_text().splitlines()
        assert [json.loads(line)["epochs"][0]["epoch"] for line in lines] == list(range(1, 1001))
        assert tracker.close(0.1) == Shipped(synced=0, spooled=1000)


def test_a_long_backlog_is_shipped_in_pieces_each_of_which_counts(folder: Path) -> None:
    with refusing() as uri:
        tracker = make(folder, uri)
        for epoch in range(1, 1001):
            tracker.epoch("lenet5-0", point(epoch))
        tracker.close(0.1)
    spool = Spool(folder / "tracking.spool.jsonl")
    pieces, offset = [], 0
    while (piece := spool.read(offset))[0]:
        pieces.append(len(piece[0]))
        offset = piece[1]
    spool.close()
    assert sum(pieces) == 1000 and max(pieces) < 250
