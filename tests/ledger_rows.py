"""Small TrialRecords for tests of what reads a ledger."""

import math
from collections.abc import Sequence
from typing import Any

from cnnbench.ledger import (
    BudgetSpent,
    ClassScore,
    ComponentUse,
    Cost,
    EpochPoint,
    Machine,
    Split,
    TestMetrics,
    TrialRecord,
)

CLASSES = ("0", "1")
SEEDS = range(1000, 1006)


def trial(row: str, index: int, score: float | None, /, **changes: Any) -> TrialRecord:
    """A search trial; ``changes`` replace fields of the record."""
    return _record(row, "search", index, **{"seed": index, "score": score, "stop_epoch": 2, **changes})


def final(row: str, seed: int, accuracy: float, **changes: Any) -> TrialRecord:
    """A completed final, scored on 100 test images of two classes."""
    return _record(row, "final", seed - 1000, **{"seed": seed, "test": scored(accuracy), "score": None, **changes})


def again(original: TrialRecord, accuracy: float) -> TrialRecord:
    """The A/A control's final beside this one: its configuration from another seed, in a row of its own."""
    row, seed = f"{original.row}_aa", original.seed + 100_000
    changes = {"row": row, "seed": seed, "trial_id": f"{row}-{seed}", "test": scored(accuracy), "control": "a/a"}
    return original.model_copy(update=changes)


def majority(accuracy: float, **changes: Any) -> TrialRecord:
    """The majority-class baseline's one record."""
    nothing = {
        "year": 0,
        "family": "baseline",
        "options": {},
        "components": {},
        "hyperparameters": {},
        "epochs": (),
        "budget": BudgetSpent(epochs_asked=0, epochs=0, images=0, device_seconds=0.0),
        "cost": Cost(params=0, trainable_params=0, macs=0, flops=0, size_mb=0.0, input=(1, 16, 16)),
    }
    changes = {"test": scored(accuracy), "control": "majority", "seed": 0, **nothing, **changes}
    return _record("majority_class", "final", 0, **changes)


def scored(accuracy: float, classes: tuple[str, ...] = CLASSES, images: int = 100) -> TestMetrics:
    """Test metrics where each class loses the same number of images to the next one."""
    support = images // len(classes)
    right = round(accuracy * support)
    confusion = [[0] * len(classes) for _ in classes]
    for number in range(len(classes)):
        confusion[number][number] = right
        confusion[number][(number + 1) % len(classes)] += support - right
    share = right / support
    per_class = tuple(
        ClassScore(name=name, precision=share, recall=share, f1=share, support=support) for name in classes
    )
    return TestMetrics(
        accuracy=accuracy, loss=1 - accuracy, per_class=per_class, confusion=tuple(map(tuple, confusion))
    )


def _record(row: str, stage: str, index: int, /, **changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "study": "tiny",
        "stage": stage,
        "trial_id": f"{row}-{stage}-{index}",
        "index": index,
        "row": row,
        "architecture": row,
        "year": 1998,
        "family": "classic",
        "options": {"width": 1.0},
        "components": {"activation": ComponentUse(value="relu", sites=4)},
        "hyperparameters": {"optimizer": "sgd", "lr": 0.1},
        "seed": 0,
        "split": Split(
            dataset="digits",
            train=80,
            validation=20 if stage == "search" else 0,
            test=100 if stage == "final" else None,
            seed=0,
            data_checksum="a" * 64,
            split_checksum="b" * 64,
        ),
        "budget": BudgetSpent(epochs_asked=2, epochs=2, images=160, device_seconds=1.5),
        "status": "completed",
        "score": None,
        "stop_epoch": None,
        "epochs": curve(2, 0.9, validation=stage == "search"),
        "test": None,
        "cost": Cost(params=1000, trainable_params=1000, macs=50_000, flops=100_000, size_mb=0.004, input=(1, 16, 16)),
        "machine": Machine(
            device="cpu: invented",
            workers=1,
            precision="fp32",
            channels_last=False,
            host_cpus=2,
            peak_memory_mb=300.0,
            python="3.11.2",
            versions={"torch": "2.15.0", "cnnbench": "0.1.0"},
        ),
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "started_utc": "2026-01-02T03:04:05Z",
        "finished_utc": "2026-01-02T03:04:06Z",
    }
    return TrialRecord.model_validate(fields | changes)


def curve(epochs: int, accuracy: float, *, validation: bool, speed: float = 3.0) -> tuple[EpochPoint, ...]:
    """Metrics that rise to ``accuracy`` exponentially."""
    points = []
    for epoch in range(1, epochs + 1):
        reached = accuracy - (accuracy - 0.1) * math.exp(-speed * epoch / epochs)
        held_out = {"val_loss": 2.2 * (1.02 - reached), "val_accuracy": reached} if validation else {}
        points.append(
            EpochPoint(
                epoch=epoch,
                train_loss=2.3 * (1.005 - reached),
                train_accuracy=reached,
                learning_rate=0.1,
                seconds=0.5,
                **held_out,
            )
        )
    return tuple(points)


def finals(row: str, accuracy: float, seeds: Sequence[int] = SEEDS, macs: int = 50_000) -> list[TrialRecord]:
    """One row's finals, all of one accuracy."""
    cost = final(row, 1000, 0.5).cost.model_copy(update={"macs": macs})
    return [final(row, seed, accuracy, cost=cost) for seed in seeds]


def two_rows() -> list[TrialRecord]:
    """Two ranked rows, four trials and six finals each."""
    good = [trial("good", 0, 0.9), trial("good", 1, 0.95), trial("good", 2, 0.5, status="pruned")]
    good.append(trial("good", 3, 0.6, status="pruned"))
    bad = [trial("bad", 0, 0.7), trial("bad", 1, None, status="diverged"), trial("bad", 2, None, status="failed")]
    bad.append(trial("bad", 3, None, status="out-of-memory"))
    return [*bad, *good, *(final("good", s, 0.94) for s in SEEDS), *(final("bad", s, 0.72) for s in SEEDS)]
