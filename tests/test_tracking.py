"""MLflow shows every trial, as what it was and once."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from cnnbench.ledger import TestMetrics
from cnnbench.tracking.spool import unfinished
from cnnbench.tracking.tracker import Shipped, Tracker, default_uri, known_runs, ui_command
from tracked_study import PATIENT_S, begin, history, make, play, point, record, runs


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
