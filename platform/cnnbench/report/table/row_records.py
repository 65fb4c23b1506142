"""A study's records, sorted into leaderboard rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from cnnbench.ledger import TrialRecord


class SearchBudget(NamedTuple):
    """What a row's search might spend: its trials, however they ended, and what they might spend together."""

    trials: int  # with another unit than epochs: at most so many
    amount: float
    unit: Literal["epochs", "images", "device_seconds"] = "epochs"


@dataclass(frozen=True)
class RowRecords:
    """One row's records: its search trials and its finals, by index. Both may be empty."""

    label: str
    trials: tuple[TrialRecord, ...] = ()
    finals: tuple[TrialRecord, ...] = ()

    @cached_property
    def scored(self) -> tuple[TrialRecord, ...]:
        """The finals that completed, and so have test metrics."""
        return tuple(final for final in self.finals if final.status == "completed" and final.test is not None)

    @property
    def control(self) -> Literal["a/a", "majority"] | None:
        """Which control this row is, if it is one."""
        return next((final.control for final in self.finals if final.control), None)

    @property
    def search_budget(self) -> SearchBudget:
        """Pruned, diverged and failed trials count like others: each had its chance."""
        limit = next((trial.budget.search_limit for trial in self.trials), None)
        if limit is None:
            return SearchBudget(len(self.trials), sum(trial.budget.epochs_asked for trial in self.trials))
        spent = math.fsum(getattr(trial.budget, limit.unit) for trial in self.trials)
        if len(self.trials) >= limit.trials or spent >= limit.amount:
            return SearchBudget(limit.trials, limit.amount, limit.unit)
        return SearchBudget(len(self.trials), spent, limit.unit)  # cut short, by a time limit of the whole search

    @cached_property
    def chosen(self) -> TrialRecord | None:
        """The search trial whose configuration the finals trained: of the completed trials with that configuration
        (of all completed ones, where there is no final yet) the one with the highest validation accuracy."""
        trials = [trial for trial in self.trials if trial.status == "completed" and trial.score is not None]
        if self.finals:
            same = [trial for trial in trials if configuration(trial) == configuration(self.finals[0])]
            trials = same or trials
        return max(trials, key=lambda trial: trial.score or 0.0, default=None)

    @property
    def shown(self) -> TrialRecord | None:
        """The record that stands for the row's configuration and cost."""
        return next(iter((*self.scored, *self.finals)), None) or self.chosen or next(iter(self.trials), None)


def configuration(record: TrialRecord) -> tuple[Mapping[str, object], Mapping[str, object], Mapping[str, object]]:
    """What the search chose: options, component values, hyperparameters."""
    components = {kind: use.value for kind, use in record.components.items()}
    return dict(record.options), components, dict(record.hyperparameters)


def ordinary(rows: Iterable[RowRecords]) -> list[RowRecords]:
    """The rows that are not controls."""
    return [row for row in rows if row.control is None]


def by_row(records: Iterable[TrialRecord], labels: Sequence[str] = ()) -> tuple[RowRecords, ...]:
    """Rows in the order of ``labels``, then of their first record; a label without a record is an empty row.

    Of two records with one trial_id the later counts: a study that was taken up again may have written it anew.
    Raises ValueError where the records belong to several studies.
    """
    latest = {record.trial_id: record for record in records}
    studies = sorted({record.study for record in latest.values()})
    if len(studies) > 1:
        raise ValueError(f"records: want one study's, got those of {', '.join(studies)}")
    found: dict[str, list[TrialRecord]] = {label: [] for label in labels}
    for record in latest.values():
        found.setdefault(record.row, []).append(record)
    return tuple(_row(label, records_of_row) for label, records_of_row in found.items())


def _row(label: str, records: Sequence[TrialRecord]) -> RowRecords:
    trials = sorted((record for record in records if record.stage == "search"), key=lambda record: record.index)
    finals = sorted((record for record in records if record.stage == "final"), key=lambda record: record.index)
    return RowRecords(label, tuple(trials), tuple(finals))
