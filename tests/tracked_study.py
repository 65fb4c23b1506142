"""A study of invented trials that tests track in a real MLflow store, and what that store then has of it."""

from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

import ledger_rows
from cnnbench.ledger import ComponentUse, EpochPoint, TrialRecord
from cnnbench.tracking.tracker import Tracker

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
