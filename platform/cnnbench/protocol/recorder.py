"""What becomes of a trial that ends: one fsynced line of the ledger, then everyone is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from cnnbench.ledger import EpochPoint, Ledger, Split, TrialRecord
from cnnbench.protocol.plan import PlannedRow
from cnnbench.study import Study
from cnnbench.trial.machine import commit
from cnnbench.trial.remote_checkpoint import checkpoint_at
from cnnbench.trial.spec import Progress, TrialSpec

MOST_POINTS = 100  # of a record's curve


class Observer(Protocol):
    """Who hears of every trial: the live view, the tracker."""

    def started(self, progress: Progress) -> None: ...
    def epoch(self, progress: Progress, point: EpochPoint) -> None: ...
    def retried(self, progress: Progress, reason: str) -> None: ...
    def note(self, progress: Progress, text: str) -> None: ...
    def finished(self, record: TrialRecord) -> None: ...


@dataclass
class Recorder:
    """Writes a study's ledger, and tells its observers."""

    study: Study
    ledger: Ledger
    observers: Sequence[Observer]
    records: list[TrialRecord] = field(default_factory=list)
    may_write: Callable[[], None] = lambda: None  # raises if the study is another process's by now

    def write(
        self, progress: Progress, row: PlannedRow, split: Split, status: str, reason: str, end: Mapping[str, Any]
    ) -> TrialRecord:
        """The record of a trial that ended, whose checkpoint is not needed any more."""
        record = self._record(progress, row, split, status, reason, end)
        self.add(record)
        checkpoint_at(progress.spec.checkpoint).remove()
        return record

    def add(self, record: TrialRecord) -> None:
        """Writes a record down, then tells everyone of it."""
        self.may_write()
        self.ledger.append(record)
        self.records.append(record)
        for observer in self.observers:
            observer.finished(record)

    def _record(
        self, progress: Progress, row: PlannedRow, split: Split, status: str, reason: str, end: Mapping[str, Any]
    ) -> TrialRecord:
        spec, facts = progress.spec, progress.facts
        network = spec.network
        score, stop_epoch = score_of(progress.points, spec) if spec.on_validation else (None, spec.stop_epoch)
        epochs_done = progress.points[-1]["epoch"] if progress.points else 0
        return TrialRecord.model_validate(
            {
                "study": self.study.study,
                "stage": spec.stage,
                "trial_id": spec.trial_id,
                "index": spec.index,
                "row": spec.row,
                "architecture": network.architecture,
                "year": row.year,
                "family": row.family,
                "options": {"width": network.width, "depth": network.depth, "stem": facts.get("stem", network.stem)},
                "components": {
                    **{kind: {"value": value, "sites": row.sites[kind]} for kind, value in network.components.items()},
                    **facts.get("components", {}),
                    **{kind: {"value": None, "sites": 0} for kind in spec.left_out},
                },
                "hyperparameters": spec.hyperparameters,
                "seed": spec.seed,
                "control": spec.control,
                "effect": spec.effect,
                "split": split,
                "budget": {
                    "epochs_asked": spec.epochs,
                    "epochs": epochs_done,
                    "images": progress.images,
                    "device_seconds": progress.device_seconds,
                    "reports": progress.reports,
                    "retries": progress.retries,
                    "search_limit": self._search_limit() if spec.stage == "search" else None,
                },
                "status": status,
                "reason": reason,
                "retried": progress.retried,
                "score": score,
                "stop_epoch": stop_epoch,
                "epochs": thin(progress.points),
                "test": end.get("test"),
                "cost": facts.get("cost", row.cost),
                "speed": end.get("speed"),
                "machine": {
                    **facts.get("machine", row.unknown_machine(spec)),
                    "peak_memory_mb": progress.peak_memory_mb,
                },
                "commit": commit(),
                "started_utc": progress.started_utc,
                "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )

    def _search_limit(self) -> dict[str, Any] | None:
        limit = self.study.budget.limit
        return limit and {"unit": limit[0], "amount": limit[1], "trials": self.study.budget.trials}


def thin(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most MOST_POINTS of a curve, evenly, the last one among them."""
    if len(points) <= MOST_POINTS:
        return list(points)
    last = len(points) - 1
    return [points[round(place * last / (MOST_POINTS - 1))] for place in range(MOST_POINTS)]


def score_of(points: Sequence[Mapping[str, Any]], spec: TrialSpec) -> tuple[float | None, int | None]:
    """A trial's validation accuracy, and the epoch that it is of: the best epoch where early stopping chose one
    (a final stops there too), else the last."""
    if not points:
        return None, None
    patience = spec.hyperparameters.get("early_stopping_patience")
    best = max(points, key=lambda point: point["val_accuracy"]) if patience else points[-1]
    return best["val_accuracy"], best["epoch"]
