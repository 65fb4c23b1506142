"""MLflow shows every trial once, whatever happened to it or to this process, and holds up nothing."""

import hashlib
import json
import logging
import resource
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import ledger_rows
from cnnbench.ledger import ComponentUse, EpochPoint, TestMetrics, TrialRecord
from cnnbench.spool import Spool, unfinished
from cnnbench.tracking import Shipped, Tracker, default_uri, known_runs, ui_command

PATIENT_S = 60.0  # the first connection makes a database


def point(epoch: int, accuracy: float = 0.5) -> EpochPoint:
    """One epoch's metrics."""
    values = {"train_loss": 1.0 / epoch, "train_accuracy": accuracy, "val_loss": 0.5, "val_accuracy": accuracy}
    return EpochPoint(epoch=epoch, learning_rate=0.1, seconds=0.25, **values)


def record(trial_id: str = "lenet5-0", epochs: int = 2, activation: str = "mish", **changes: Any) -> TrialRecord:
    """A finished trial of the study that these tests track; ``changes`` replace fields of the record."""
    fields: dict[str, Any] = {
        "study": "digits",
        "trial_id": trial_id,
        "architecture": "lenet5",
        "components": {"activation": ComponentUse(value=activation, sites=4)},
        "hyperparameters": {"lr": 0.1, "nesterov": True},
        "seed": 3,
        "epochs": tuple(point(epoch) for epoch in range(1, epochs + 1)),
    }
    return ledger_rows.trial("LeNet-5", 0, 0.5, **{**fields, **changes})


def begin(tracker: Tracker, trial_id: str = "lenet5-0", activation: str = "mish") -> None:
    params = {"activation": activation, "lr": 0.1, "width": 1.0}
    tracker.started(trial_id, stage="search", row="LeNet-5", architecture="lenet5", params=params, tags={"rung": "0"})


def play(tracker: Tracker, trial_id: str = "lenet5-0") -> None:
    """A whole trial of two epochs."""
    begin(tracker, trial_id)
    tracker.epoch(trial_id, point(1))
    tracker.epoch(trial_id, point(2))
    tracker.finished(record(trial_id))


def make(folder: Path, uri: str | None = None) -> Tracker:
    return Tracker(uri, "digits", folder, parent_params={"dataset": "digits", "trials": 8, "epochs": 2})


def runs(uri: str, query: str = "") -> list[Run]:
    """The runs of the study, by name; the parent's is 'study'."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    return sorted(client.search_runs([experiment.experiment_id], query), key=lambda run: str(run.info.run_name))


def history(uri: str, run: Run, metric: str) -> list[tuple[int, float]]:
    points = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, metric)
    return sorted((entry.step, entry.value) for entry in points)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The study's folder, in a storage folder of its own."""
    return tmp_path / "results" / "digits"


def test_a_trial_becomes_a_nested_run_with_params_metrics_and_tags(folder: Path) -> None:
    tracker = make(folder)
    play(tracker)
    tracker.finished(record("lenet5-1", activation="relu"))  # nothing was heard of it before
    assert tracker.close(PATIENT_S) == Shipped(synced=5, spooled=0)

    uri = default_uri(folder.parent)
    (trial,) = runs(uri, "params.activation = 'mish'")
    assert (trial.info.run_name, trial.info.status) == ("lenet5-0", "FINISHED")
    wanted = {
        "architecture": "lenet5",
        "lr": "0.1",
        "nesterov": "true",
        "width": "1.0",
        "seed": "3",
        "dataset": "digits",
    }
    assert wanted.items() <= trial.data.params.items()
    tags = {
        "stage": "search",
        "status": "completed",
        "architecture": "lenet5",
        "row": "LeNet-5",
        "reason": "",
        "rung": "0",
    }
    assert tags.items() <= trial.data.tags.items()
    metrics = {"score": 0.5, "params": 1000, "macs": 50_000, "device_seconds": 1.5, "val_accuracy": 0.5}
    assert metrics.items() <= trial.data.metrics.items()
    assert "test_accuracy" not in trial.data.metrics
    assert history(uri, trial, "train_loss") == [(1, 1.0), (2, 0.5)]

    (parent,) = runs(uri, "attributes.run_name = 'study'")
    assert (parent.info.status, parent.data.params["trials"]) == ("FINISHED", "8")
    assert {run.info.run_name for run in runs(uri, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")} == {
        "lenet5-0",
        "lenet5-1",
    }
    (unheard,) = runs(uri, "params.activation = 'relu'")
    assert history(uri, unheard, "val_accuracy") == [(1, 0.5), (2, 0.5)]
    assert unheard.info.start_time == 1_767_323_045_000  # its record's: 2026-01-02T03:04:05Z
    assert unheard.info.end_time == 1_767_323_046_000


def test_ledger_and_study_are_artifacts_of_the_parent(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "ledger.jsonl").write_text("the ledger\n")
    (folder / "study.json").write_text("{}")
    make(folder).close(PATIENT_S)
    uri = default_uri(folder.parent)
    (parent,) = runs(uri)
    assert (folder.parent / "mlartifacts" / "digits") in Path(parent.info.artifact_uri.removeprefix("file://")).parents
    client = MlflowClient(tracking_uri=uri)
    assert {entry.path for entry in client.list_artifacts(parent.info.run_id)} == {"ledger.jsonl", "study.json"}
    copy = client.download_artifacts(parent.info.run_id, "ledger.jsonl", str(tmp_path))
    assert Path(copy).read_text() == "the ledger\n"


def test_a_trials_run_is_noted_for_the_report_and_only_for_its_store(folder: Path) -> None:
    tracker = make(folder)
    play(tracker)
    tracker.close(PATIENT_S)
    client = MlflowClient(tracking_uri=default_uri(folder.parent))
    experiment = client.get_experiment_by_name("digits").experiment_id
    (run,) = client.search_runs([experiment], "tags.`cnnbench.trial_id` = 'lenet5-0'")
    assert known_runs(folder, None)["lenet5-0"] == (experiment, run.info.run_id)
    assert known_runs(folder, "https://mlflow.example") == {}
    assert known_runs(folder / "nothing", None) == {}


@pytest.mark.parametrize(
    ("status", "run_status"),
    [("completed", "FINISHED"), ("pruned", "KILLED"), ("diverged", "FAILED"), ("out-of-memory", "FAILED")],
)
def test_the_run_ends_as_the_trial_did(folder: Path, status: str, run_status: str) -> None:
    tracker = make(folder)
    tracker.finished(record(status=status, reason="why it ended"))
    tracker.close(PATIENT_S)
    (trial,) = runs(default_uri(folder.parent), f"tags.status = '{status}'")
    assert (trial.info.status, trial.data.tags["reason"]) == (run_status, "why it ended")


def test_a_final_shows_its_test_accuracy(folder: Path) -> None:
    tracker = make(folder)
    test = TestMetrics(accuracy=0.75, loss=0.5, per_class=(), confusion=())
    tracker.finished(record("lenet5-final-0", stage="final", score=None, test=test))
    tracker.close(PATIENT_S)
    (trial,) = runs(default_uri(folder.parent), "tags.stage = 'final'")
    assert trial.data.metrics["test_accuracy"] == 0.75
    assert "score" not in trial.data.metrics


def test_a_trial_that_is_retried_goes_on_in_its_run_and_each_epoch_counts_once(folder: Path) -> None:
    tracker = make(folder)
    begin(tracker)
    tracker.epoch("lenet5-0", point(1, accuracy=0.25))
    tracker.close(PATIENT_S)
    tracker = make(folder)  # the driver was restarted, and the trial from its beginning
    begin(tracker)
    tracker.epoch("lenet5-0", point(1, accuracy=0.26))
    tracker.epoch("lenet5-0", point(2, accuracy=0.75))
    tracker.finished(record())
    tracker.close(PATIENT_S)

    uri = default_uri(folder.parent)
    trial, parent = runs(uri)
    assert (parent.info.run_name, trial.info.run_name, trial.info.status) == ("study", "lenet5-0", "FINISHED")
    assert history(uri, trial, "val_accuracy") == [(1, 0.25), (2, 0.75)]


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


def test_the_spool_tells_of_trials_that_were_begun_and_did_not_end(folder: Path) -> None:
    assert unfinished(folder / "tracking.spool.jsonl") == {}
    tracker = make(folder, f"sqlite:///{folder.parent / 'other.db'}")
    play(tracker, "lenet5-0")
    begin(tracker, "lenet5-1")
    tracker.epoch("lenet5-1", point(1))
    begin(tracker, "lenet5-2")
    tracker.close(0.1)
    with open(folder / "tracking.spool.jsonl", "a") as file:
        file.write('{"event":"finished","trial":"lene')
    assert unfinished(folder / "tracking.spool.jsonl") == {"lenet5-1": "search", "lenet5-2": "search"}


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
    with caplog.at_level(logging.WARNING, logger="cnnbench.tracking"):
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
    with caplog.at_level(logging.WARNING, logger="cnnbench.tracking"):
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
    with caplog.at_level(logging.WARNING, logger="cnnbench.tracking"):
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


@contextmanager
def _server(answer_after_s: float) -> Iterator[str]:
    """A server on the loopback that answers 500 to all, after a while."""
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            released.wait(answer_after_s)
            self.send_error(500)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://user:secret@127.0.0.1:{server.server_port}"
    finally:
        released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _nobody() -> Iterator[str]:
    """An address of the loopback that refuses connections: a server was there a moment ago."""
    with _server(0.0) as address:
        pass
    yield address


@pytest.mark.parametrize(
    ("fault", "timeout_s"), [(_nobody(), 30.0), (_server(0.0), 30.0), (_server(60.0), 2.0)], ids=["dead", "500", "slow"]
)
def test_a_store_in_trouble_neither_stops_nor_slows_and_gets_everything_later(
    folder: Path, fault: Any, timeout_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    with fault as uri, caplog.at_level(logging.WARNING, logger="cnnbench.tracking"):
        tracker = make(folder, uri)
        play(tracker)
        began = time.monotonic()
        assert tracker.close(timeout_s) == Shipped(synced=0, spooled=4)
        assert time.monotonic() - began < timeout_s + 5.0  # without bounds it would be minutes
    messages = [entry.getMessage() for entry in caplog.records if entry.name == "cnnbench.tracking"]
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
    with _server(60.0) as uri:  # were epoch() to ask it, this test would run into its timeout
        tracker = make(folder, uri)
        for epoch in range(1, 1001):
            tracker.epoch("lenet5-0", point(epoch))
        lines = (folder / "tracking.spool.jsonl").read_text().splitlines()
        assert [json.loads(line)["epochs"][0]["epoch"] for line in lines] == list(range(1, 1001))
        assert tracker.close(0.1) == Shipped(synced=0, spooled=1000)


def test_a_long_backlog_is_shipped_in_pieces_each_of_which_counts(folder: Path) -> None:
    with _nobody() as uri:
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


def test_two_studies_share_one_store(folder: Path) -> None:
    for study in ("digits", "fashion"):
        tracker = Tracker(None, study, folder.parent / study, parent_params={})
        tracker.finished(record(study=study))
        tracker.close(PATIENT_S)
    client = MlflowClient(tracking_uri=default_uri(folder.parent))
    names = {entry.name for entry in client.search_experiments()}
    assert {"digits", "fashion"} <= names
    assert len(runs(default_uri(folder.parent))) == 2


def test_the_ui_serves_the_embedded_store_on_the_loopback_alone(tmp_path: Path) -> None:
    command = ui_command(None, tmp_path, port=5001)
    assert command[command.index("--backend-store-uri") + 1] == f"sqlite:///{tmp_path}/mlflow.db"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    hosts = set(command[command.index("--allowed-hosts") + 1].split(","))
    assert hosts == {"localhost", "127.0.0.1", "localhost:5001", "127.0.0.1:5001"}


def test_the_ui_of_a_server_is_the_servers_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"//example\.test:5000 is an MLflow server: open it"):
        ui_command("http://me:secret@example.test:5000", tmp_path)
