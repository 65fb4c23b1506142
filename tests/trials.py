"""A simulated trainer for tests of the search: accuracy is a plain function of the configuration and the epoch."""

import math
from collections.abc import Mapping
from typing import Any

from cnnbench.ledger import TrialRecord
from cnnbench.search.search import Proposal, StudySearch
from cnnbench.study.space import FloatRange, Space

EPOCHS = 9
SPACE: Space = {"lr": FloatRange(1e-4, 1.0, log=True)}


def accuracy(values: Mapping[str, Any], epoch: int) -> float:
    """Best at lr = 0.01; rises with the epochs."""
    return (1 - epoch**-1.0 / 2) * math.exp(-abs(math.log10(values["lr"]) + 2) / 2)


def record(proposal: Proposal, points: list[float], status: str = "completed", **changes: Any) -> TrialRecord:
    """The ledger line of a simulated trial that reported ``points``."""
    fields: dict[str, Any] = {
        "study": "simulated", "stage": "search", "trial_id": f"{proposal.row}-{proposal.index:03d}",
        "index": proposal.index, "row": proposal.row, "architecture": proposal.row, "year": 2015, "family": "ResNet",
        "options": {}, "components": {}, "hyperparameters": proposal.values, "seed": 0,
        "split": {"dataset": "digits", "train": 8, "validation": 2, "test": None, "seed": 0,
                  "data_checksum": "a", "split_checksum": "b"},
        "budget": {"epochs_asked": EPOCHS, "epochs": len(points), "images": 8 * len(points), "device_seconds": 0.1},
        "status": status, "score": points[-1] if points else None, "stop_epoch": len(points) or None,
        "epochs": [{"epoch": number, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": point,
                    "learning_rate": 0.1, "seconds": 0.01} for number, point in enumerate(points, 1)],
        "test": None,
        "cost": {"params": 1, "trainable_params": 1, "macs": 1, "flops": 2, "size_mb": 0.1, "input": (1, 8, 8)},
        "machine": {"device": "cpu", "workers": 1, "precision": "fp32", "channels_last": False, "host_cpus": 2,
                    "peak_memory_mb": 1.0, "python": "3.11", "versions": {}},
        "commit": "c", "started_utc": "2026-01-01T00:00:00+00:00", "finished_utc": "2026-01-01T00:00:01+00:00",
    }  # fmt: skip
    return TrialRecord.model_validate({**fields, **changes})


def run_trial(search: StudySearch, proposal: Proposal) -> TrialRecord:
    """Reports every epoch until the search prunes the trial or its row's 8 images an epoch are spent; tells its end."""
    points: list[float] = []
    for epoch in range(1, EPOCHS + 1):
        points.append(accuracy(proposal.values, epoch))
        prune = search.report(proposal.row, proposal.index, epoch, points[-1])
        if (search.spend(proposal.row, proposal.index, 8.0 * epoch) or prune) and epoch < EPOCHS:
            break
    done = record(proposal, points, "completed" if len(points) == EPOCHS else "pruned")
    search.tell(done)
    return done


def run_all(search: StudySearch, most: int = 10_000) -> list[TrialRecord]:
    """One trial at a time, until the budget or ``most`` is spent."""
    done: list[TrialRecord] = []
    while len(done) < most and (proposal := search.ask()) is not None:
        done.append(run_trial(search, proposal))
    return done
