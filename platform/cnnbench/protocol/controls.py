"""The controls of a leaderboard: the best row's finals again with other seeds (A/A), and the majority class.

Two rows of one configuration differ by chance alone. Where the ranking tells them apart, it claims too much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from platform import python_version
from statistics import fmean

import torch

from cnnbench.evaluation.evaluate import Evaluation
from cnnbench.evaluation.majority import majority_class
from cnnbench.evaluation.metrics import class_scores
from cnnbench.ledger import BudgetSpent, Cost, Machine, TestMetrics, TrialRecord
from cnnbench.protocol.freeze import Winner
from cnnbench.protocol.plan import PlannedRow
from cnnbench.protocol.recorder import Recorder
from cnnbench.trial import machine
from cnnbench.trial.images import TrialImages

MAJORITY = "majority_class"
SEED_OFFSET = 100_000  # from the finals' seeds, however many of them are added later


def best_row(records: Sequence[TrialRecord], rows: Sequence[str], seeds: int) -> str | None:
    """The row with the highest mean test accuracy among those whose finals all completed; the first of equals."""
    accuracies: dict[str, list[float]] = {row: [] for row in rows}
    for record in records:
        if record.stage == "final" and record.control is None and record.test and record.row in accuracies:
            accuracies[record.row].append(record.test.accuracy)
    means = {row: fmean(values) for row, values in accuracies.items() if len(values) >= seeds}
    return max(means, key=lambda row: means[row], default=None)


def again(row: PlannedRow, winner: Winner) -> tuple[PlannedRow, Winner]:
    """The A/A row and its configuration: ``row`` and ``winner`` under a name of their own."""
    label = f"{row.label}_aa"
    return replace(row, label=label), replace(winner, row=label)


def are_missing(records: Sequence[TrialRecord], rows: Sequence[str], seeds: int) -> bool:
    """True if there are finals, and a control of theirs has not been run."""
    best = best_row(records, rows, seeds)
    repeated = sum(record.control == "a/a" and record.row == f"{best}_aa" for record in records)
    has_finals = any(record.stage == "final" and record.control is None for record in records)
    return (best is not None and repeated < seeds) or (has_finals and not has_majority(records))


def has_majority(records: Sequence[TrialRecord]) -> bool:
    """True if the baseline is recorded."""
    return any(record.control == "majority" for record in records)


def record_majority(recorder: Recorder, material: TrialImages) -> None:
    """Writes the baseline's ledger line; ``material`` is that of the finals."""
    labels = torch.from_numpy(material.train_labels), torch.from_numpy(material.held_labels)
    scored = majority_class(*labels, classes=len(material.classes))
    shape = (material.channels, *material.train_pixels.shape[2:])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = TrialRecord(
        study=recorder.study.study, stage="final", trial_id=MAJORITY, index=0, row=MAJORITY, architecture=MAJORITY,
        year=0, family="baseline", options={}, components={}, hyperparameters={}, seed=0, split=material.split,
        budget=BudgetSpent(epochs_asked=0, epochs=0, images=0, device_seconds=0.0), control="majority",
        status="completed", score=None, stop_epoch=None, epochs=(), test=_metrics(scored, material.classes),
        cost=Cost(params=0, trainable_params=0, macs=0, flops=0, size_mb=0.0, input=shape), machine=_machine(),
        commit=machine.commit(), started_utc=now, finished_utc=now,
    )  # fmt: skip
    recorder.add(record)


def _metrics(scored: Evaluation, classes: Sequence[str]) -> TestMetrics:
    per_class = [asdict(score) for score in class_scores(scored.confusion, classes)]
    content = {"accuracy": scored.accuracy, "loss": scored.loss, "per_class": per_class}
    return TestMetrics.model_validate({**content, "confusion": scored.confusion.tolist()})


def _machine() -> Machine:
    facts: Mapping[str, object] = {
        "device": machine.device_name("cpu"), "workers": 1, "precision": "fp32", "channels_last": False,
        "host_cpus": machine.host_cpus(), "peak_memory_mb": 0.0, "python": python_version(),
        "versions": machine.versions(), "lock": machine.lock(),
    }  # fmt: skip
    return Machine.model_validate(facts)
