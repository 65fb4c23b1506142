"""The phases of a study: the search, the finals of what it found, and their controls. Each hands out trials and judges
what they report; one that ends becomes a line of the ledger.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from cnnbench.ledger import EpochPoint, TrialRecord
from cnnbench.protocol import controls
from cnnbench.protocol.freeze import Winner
from cnnbench.protocol.plan import PlannedRow
from cnnbench.protocol.recorder import Recorder
from cnnbench.search.configuration import hyperparameters, put_in
from cnnbench.search.search import StudySearch
from cnnbench.study import Study
from cnnbench.trial.images import TrialImages
from cnnbench.trial.spec import Progress, TrialSpec, Value


class Phase:
    """One kind of work of a study. A subclass plans its trials in ``begin`` and hands them out in ``ask``."""

    name: str  # as the user reads it
    stage: Literal["search", "final", "effect"]  # as the ledger has it of each of its trials
    counted_as: str  # the live view's column that its trials are counted in
    scores_on: Literal["validation", "test"]  # images
    time_limit_s: float | None = None  # no further trial begins then

    total: int = 0  # trials
    done: Sequence[TrialRecord] = ()  # of these, what was recorded before it began

    def __init__(self, study: Study, rows: Mapping[str, PlannedRow], recorder: Recorder, *, workers: int) -> None:
        """rows: of its trials, by label; workers: DDP ranks of each trial."""
        self.workers = workers
        self._study = study
        self._rows = rows
        self._recorder = recorder

    def begin(self, gpus: float, images: Callable[[], TrialImages]) -> None:
        """Plans what is left to do. gpus: of each worker, as found on the cluster; images: reads what its trials train
        and are scored on."""
        self._gpus = gpus
        self._images = images

    @property
    def waiting(self) -> int:
        """Trials that were not asked for yet."""
        raise NotImplementedError

    def ask(self) -> TrialSpec | None:
        """The next trial, or None when there is none left."""
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
        row, split = self._rows[progress.spec.row], self._images().split
        self._ended(self._recorder.write(progress, row, split, status, reason, end))

    def _ended(self, record: TrialRecord) -> None: ...

    def _spec(
        self, row: PlannedRow, trial_id: str, index: int, values: Mapping[str, Value], seed: int, stop_epoch: int | None
    ) -> TrialSpec:
        folder = self._study.folder
        return TrialSpec(
            trial_id=trial_id,
            stage=self.stage,
            scores_on=self.scores_on,
            index=index,
            row=row.label,
            network=replace(row.network, components=put_in(values)),
            left_out=row.left_out,
            hyperparameters=hyperparameters(values),
            seed=seed,
            epochs=self._study.budget.epochs,
            stop_epoch=stop_epoch,
            precision=row.precision,
            channels_last=row.channels_last,
            checkpoint=folder.shared(folder.checkpoint(trial_id)),
            checkpoint_every_s=self._study.checkpoint_every_s,
            workers=self.workers,
            cpus=self._study.resources.cpus,
            gpus=self._gpus,
        )


class SearchPhase(Phase):
    """Trials as the search proposes them; pruned by its rungs."""

    name = "search"
    stage = "search"
    counted_as = "trials"
    scores_on = "validation"

    def __init__(self, study: Study, rows: Mapping[str, PlannedRow], recorder: Recorder, search: StudySearch) -> None:
        super().__init__(study, rows, recorder, workers=study.resources.workers)
        self._search = search
        self.time_limit_s = study.budget.time_limit_s
        self.total = search.total
        self.done = [record for record in recorder.records if record.stage == "search"]

    @property
    def waiting(self) -> int:
        return self._search.waiting

    def ask(self) -> TrialSpec | None:
        proposal = self._search.ask()
        if proposal is None:
            return None
        row = self._rows[proposal.row]
        seed = self._study.search.seed + proposal.index  # the same for every architecture
        return self._spec(row, f"{row.label}-{proposal.index:03d}", proposal.index, proposal.values, seed, None)

    def _prune(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        spec, limit = progress.spec, self._study.budget.limit
        prune = self._search.report(spec.row, spec.index, point["epoch"], point["val_accuracy"])
        spent = limit is not None and self._search.spend(spec.row, spec.index, getattr(progress, limit[0]))
        if point["epoch"] >= spec.epochs or not (prune or spent):
            return None
        return "by its rung" if prune else f"its architecture's {limit[0]} are spent" if limit else None

    def _ended(self, record: TrialRecord) -> None:
        self._search.tell(record)


class PlannedPhase(Phase):
    """Trials that are all known when the phase begins, of which it runs those that are not recorded yet."""

    _left: list[TrialSpec]

    def _plan(self, trials: Sequence[TrialSpec]) -> None:
        recorded = {record.trial_id: record for record in self._recorder.records if record.stage == self.stage}
        self.total = len(trials)
        self.done = [recorded[spec.trial_id] for spec in trials if spec.trial_id in recorded]
        self._left = [spec for spec in trials if spec.trial_id not in recorded]

    @property
    def waiting(self) -> int:
        return len(self._left)

    def ask(self) -> TrialSpec | None:
        return self._left.pop(0) if self._left else None


class FinalsPhase(PlannedPhase):
    """Each winner with each seed: the same seeds for every row, row by row within a seed."""

    name = "finals"
    stage = "final"
    counted_as = "finals"
    scores_on = "test"

    def __init__(
        self, study: Study, rows: Mapping[str, PlannedRow], recorder: Recorder, winners: Mapping[str, Winner],
        seeds: Sequence[int], *, control: Literal["a/a"] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(study, rows, recorder, workers=study.finals.workers)
        self._winners = winners
        self._seeds = seeds
        self._control = control

    def begin(self, gpus: float, images: Callable[[], TrialImages]) -> None:
        super().begin(gpus, images)
        winners = self._winners.values()
        self._plan([self._final(winner, index, seed) for index, seed in enumerate(self._seeds) for winner in winners])

    def _final(self, winner: Winner, index: int, seed: int) -> TrialSpec:
        trial_id, row = f"{winner.row}-final-{seed}", self._rows[winner.row]
        spec = self._spec(row, trial_id, index, winner.values, seed, winner.stop_epoch)
        return replace(spec, control=self._control)


class ControlsPhase(FinalsPhase):
    """The majority class; and the best row's finals again with other seeds (A/A), where all of its finals completed."""

    name = "controls"

    def __init__(
        self, study: Study, rows: Mapping[str, PlannedRow], recorder: Recorder, winners: Mapping[str, Winner],
        seeds: Sequence[int],
    ) -> None:  # fmt: skip
        repeated = [seed + controls.SEED_OFFSET for seed in seeds]
        super().__init__(study, rows, recorder, winners, repeated, control="a/a")

    def begin(self, gpus: float, images: Callable[[], TrialImages]) -> None:
        records = self._recorder.records
        if not controls.has_majority(records):
            controls.record_majority(self._recorder, images())
        best = controls.best_row(records, list(self._rows), len(self._seeds))
        again = [controls.again(self._rows[best], self._winners[best])] if best else []
        self._rows = {row.label: row for row, _ in again}
        self._winners = {winner.row: winner for _, winner in again}
        super().begin(gpus, images)


class Succession:
    """Phases one after the other in the same warm processes: one begins when every trial of those before has ended."""

    def __init__(self, phases: Sequence[Phase], begin: Callable[[Phase], None]) -> None:
        """begin: what is done with a phase whose turn it is. A phase may see what those before it have recorded."""
        self.name = phases[0].name
        self.time_limit_s = phases[0].time_limit_s
        self._begin = begin
        self._flying = 0
        self._now, *self._later = phases
        begin(self._now)
        self._go_on()

    def _go_on(self) -> None:
        while self._later and self._flying == self._now.waiting == 0:
            self._now = self._later.pop(0)
            self._begin(self._now)

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
