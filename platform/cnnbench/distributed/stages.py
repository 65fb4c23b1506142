"""The stages of a study: the search, the finals of what it found, and their control. Each hands out trials, and writes
a ledger line when one ends."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from cnnbench.distributed.configuration import hyperparameters, put_in, record_values
from cnnbench.distributed.machine import commit
from cnnbench.distributed.mirror import shared_place
from cnnbench.distributed.plan import Row
from cnnbench.distributed.remote_checkpoint import checkpoint_at
from cnnbench.distributed.search import Search
from cnnbench.distributed.spec import Progress, TrialSpec, Value
from cnnbench.ledger import EpochPoint, Ledger, Split, TrialRecord
from cnnbench.study import Study
from cnnbench.training.whole_file import write_whole

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
    """What both stages do with a trial that ends: one fsynced ledger line, then everyone is told."""

    study: Study
    split: Split
    ledger: Ledger
    observers: Sequence[Observer]
    records: list[TrialRecord] = field(default_factory=list)
    may_write: Callable[[], None] = lambda: None  # raises if the study is another process's by now

    def write(self, progress: Progress, row: Row, status: str, reason: str, end: Mapping[str, Any]) -> TrialRecord:
        record = self._record(progress, row, status, reason, end)
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

    def _record(self, progress: Progress, row: Row, status: str, reason: str, end: Mapping[str, Any]) -> TrialRecord:
        spec, facts = progress.spec, progress.facts
        score, stop_epoch = score_of(progress.points, spec) if spec.on_validation else (None, spec.stop_epoch)
        epochs_done = progress.points[-1]["epoch"] if progress.points else 0
        return TrialRecord.model_validate(
            {
                "study": self.study.study,
                "stage": spec.stage,
                "trial_id": spec.trial_id,
                "index": spec.index,
                "row": spec.row,
                "architecture": spec.architecture,
                "year": row.year,
                "family": row.family,
                "options": {"width": spec.width, "depth": spec.depth, "stem": facts.get("stem", spec.stem)},
                "components": {
                    **{kind: {"value": value, "sites": row.sites[kind]} for kind, value in spec.components.items()},
                    **facts.get("components", {}),
                    **{kind: {"value": None, "sites": 0} for kind in spec.left_out},
                },
                "hyperparameters": spec.hyperparameters,
                "seed": spec.seed,
                "control": spec.control,
                "effect": spec.effect,
                "split": self.split,
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


class RecordedStage:
    """What all stages share: a trial that ends becomes a ledger line."""

    name = ""

    def __init__(self, study: Study, rows: Mapping[str, Row], recorder: Recorder, gpus: float) -> None:
        """gpus: of each worker of a trial, as found on the cluster."""
        self._study = study
        self._rows = rows
        self._recorder = recorder
        self._gpus = gpus

    @property
    def waiting(self) -> int:
        """Trials that were not asked for yet."""
        raise NotImplementedError

    def ask(self) -> TrialSpec | None:
        raise NotImplementedError

    def started(self, progress: Progress) -> None:
        for observer in self._recorder.observers:
            observer.started(progress)

    def retried(self, progress: Progress, reason: str) -> None:
        for observer in self._recorder.observers:
            observer.retried(progress, reason)

    def note(self, progress: Progress, text: str) -> None:
        for observer in self._recorder.observers:
            observer.note(progress, text)

    def report(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        for observer in self._recorder.observers:
            observer.epoch(progress, EpochPoint(**point))
        return self._prune(progress, point)

    def _prune(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        return None

    def finish(self, progress: Progress, status: str, reason: str, end: Mapping[str, Any]) -> None:
        self._ended(self._recorder.write(progress, self._rows[progress.spec.row], status, reason, end))

    def _ended(self, record: TrialRecord) -> None: ...

    def _spec(
        self, row: Row, stage: Any, trial_id: str, index: int, values: Mapping[str, Value],
        seed: int, stop_epoch: int | None, workers: int,
    ) -> TrialSpec:  # fmt: skip
        return TrialSpec(
            trial_id=trial_id,
            stage=stage,
            index=index,
            row=row.label,
            architecture=row.architecture.name,
            width=row.architecture.width,
            depth=row.architecture.depth,
            stem=row.architecture.stem,
            image_size=self._study.data.image_size,
            components=put_in(values),
            left_out=row.left_out,
            hyperparameters=hyperparameters(values),
            seed=seed,
            epochs=self._study.budget.epochs,
            stop_epoch=stop_epoch,
            precision=row.precision,
            channels_last=row.channels_last,
            checkpoint=shared_place(self._study, f"checkpoints/{trial_id}.ckpt"),
            checkpoint_every_s=self._study.checkpoint_every_s,
            workers=workers,
            cpus=self._study.resources.cpus,
            gpus=self._gpus,
        )


class SearchStage(RecordedStage):
    """Trials as the search proposes them; pruned by its rungs."""

    name = "search"

    def __init__(self, study: Study, rows: Mapping[str, Row], recorder: Recorder, gpus: float, search: Search) -> None:
        super().__init__(study, rows, recorder, gpus)
        self._search = search

    @property
    def waiting(self) -> int:
        return self._search.waiting

    def ask(self) -> TrialSpec | None:
        proposal = self._search.ask()
        if proposal is None:
            return None
        row = self._rows[proposal.row]
        trial_id = f"{row.label}-{proposal.index:03d}"
        seed = self._study.search.seed + proposal.index  # the same for every architecture
        workers = self._study.resources.workers
        return self._spec(row, "search", trial_id, proposal.index, proposal.values, seed, None, workers)

    def _prune(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        spec, limit = progress.spec, self._study.budget.limit
        prune = self._search.report(spec.row, spec.index, point["epoch"], point["val_accuracy"])
        spent = limit is not None and self._search.spend(spec.row, spec.index, getattr(progress, limit[0]))
        if point["epoch"] >= spec.epochs or not (prune or spent):
            return None
        return "by its rung" if prune else f"its architecture's {limit[0]} are spent" if limit else None

    def _ended(self, record: TrialRecord) -> None:
        self._search.tell(record)


@dataclass(frozen=True)
class Winner:
    """A row's frozen configuration: the best completed trial by validation accuracy."""

    row: str
    trial_id: str
    score: float
    stop_epoch: int
    values: Mapping[str, Value]


def freeze(rows: Sequence[str], records: Sequence[TrialRecord], path: Path) -> dict[str, Winner]:
    """Chooses each row's best completed search trial (the earlier one of equals) and writes the choice down.
    A row without a completed trial has none."""
    winners = {}
    for row in rows:
        completed = [r for r in records if r.row == row and r.stage == "search" and r.status == "completed"]
        scored = [(r.score, -r.index, r) for r in completed if r.score is not None and r.stop_epoch is not None]
        if scored:
            score, _, best = max(scored, key=lambda item: item[:2])
            winners[row] = Winner(row, best.trial_id, score, best.stop_epoch or 0, record_values(best))
    text = json.dumps({row: vars(winner) for row, winner in winners.items()}, indent=2, sort_keys=True)
    write_whole(path, text + "\n")
    return winners


class FinalsStage(RecordedStage):
    """Each winner with each seed: the same seeds for every row, row by row within a seed."""

    name = "finals"

    def __init__(
        self, study: Study, rows: Mapping[str, Row], recorder: Recorder, gpus: float, winners: Mapping[str, Winner],
        *, seeds: Sequence[int], control: Literal["a/a"] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(study, rows, recorder, gpus)
        self._control = control
        done = {record.trial_id for record in recorder.records if record.stage == "final"}
        specs = [self._final(winner, index, seed) for index, seed in enumerate(seeds) for winner in winners.values()]
        self.left = [spec for spec in specs if spec.trial_id not in done]
        self.total = len(specs)

    @property
    def waiting(self) -> int:
        return len(self.left)

    def ask(self) -> TrialSpec | None:
        return self.left.pop(0) if self.left else None

    def _final(self, winner: Winner, index: int, seed: int) -> TrialSpec:
        trial_id = f"{winner.row}-final-{seed}"
        row, workers = self._rows[winner.row], self._study.finals.workers
        spec = self._spec(row, "final", trial_id, index, winner.values, seed, winner.stop_epoch, workers)
        return replace(spec, control=self._control)


class Succession:
    """Two stages in one, which share warm processes: the second is made when every trial of the first has ended."""

    def __init__(self, first: RecordedStage, then: Callable[[], RecordedStage | None]) -> None:
        """``then`` may see what the first has recorded; None: nothing is left to do."""
        self.name = first.name
        self._now = first
        self._then: Callable[[], RecordedStage | None] | None = then
        self._flying = 0
        self._go_on()

    def _go_on(self) -> None:
        if self._then is not None and self._flying == self._now.waiting == 0:
            then, self._then = self._then, None
            self._now = then() or self._now

    @property
    def waiting(self) -> int:
        """Trials that were not asked for yet, as far as is known."""
        return self._now.waiting

    def ask(self) -> TrialSpec | None:
        spec = self._now.ask()
        self._flying += spec is not None
        return spec

    def started(self, progress: Progress) -> None:
        self._now.started(progress)

    def report(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        return self._now.report(progress, point)

    def retried(self, progress: Progress, reason: str) -> None:
        self._now.retried(progress, reason)

    def note(self, progress: Progress, text: str) -> None:
        self._now.note(progress, text)

    def finish(self, progress: Progress, status: str, reason: str, end: Mapping[str, Any]) -> None:
        self._now.finish(progress, status, reason, end)
        self._flying -= 1
        self._go_on()
