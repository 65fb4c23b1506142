"""What a leaderboard row opens to: its finals, its configuration, and what the network confuses."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from cnnbench.ledger import ClassScore, TrialRecord
from cnnbench.report.formats import points, tally, value
from cnnbench.report.table.columns import LeaderboardRow
from cnnbench.report.table.row_records import RowRecords
from cnnbench.statistics import mean_interval, prediction_interval, sampling_error

MATRIX_CLASSES = 20  # above, the most frequent confusions are listed instead
LISTED_CONFUSIONS = 20
LISTED_CLASSES = 100  # above, those with the lowest F1


@dataclass(frozen=True)
class Confusion:
    """Images of class ``true`` that were called ``called``, summed over finals; share of all images of ``true``."""

    true: str
    called: str
    images: int
    share: float


@dataclass(frozen=True)
class Details:
    """One row's details; the tables are empty where no final completed."""

    row: RowRecords
    classes: tuple[ClassScore, ...]
    omitted_classes: int
    matrix: tuple[tuple[Confusion, ...], ...]
    confusions: tuple[Confusion, ...]


@dataclass(frozen=True)
class Setting:
    """One line of a configuration; ``default``: without a study's say, None where that is not known."""

    name: str
    value: str
    default: str | None
    sites: int | None

    @property
    def changed(self) -> bool:
        return self.default is not None and self.value != self.default


def details(row: RowRecords) -> Details:
    """Per-class metrics are means over the row's completed finals; confusions are sums."""
    if not row.scored:
        return Details(row, (), 0, (), ())
    classes = sorted(_mean_scores(row.scored), key=lambda score: score.f1)
    omitted = max(0, len(classes) - LISTED_CLASSES)
    in_order = _mean_scores(row.scored) if not omitted else classes[:LISTED_CLASSES]
    cells = _summed(row.scored)
    if len(cells) <= MATRIX_CLASSES:
        return Details(row, tuple(in_order), omitted, cells, ())
    wrong = [cell for line in cells for cell in line if cell.true != cell.called and cell.images]
    wrong.sort(key=lambda cell: -cell.images)
    return Details(row, tuple(in_order), omitted, (), tuple(wrong[:LISTED_CONFUSIONS]))


def accuracy_facts(row: RowRecords) -> list[tuple[str, str]]:
    """(what, figure in percent or points) of the test accuracies: their mean, and what could have come out instead."""
    accuracies = np.array([final.test.accuracy for final in row.scored if final.test])
    if not len(accuracies):
        return []
    mean, half = mean_interval(accuracies)
    facts = [("mean", f"{points(float(mean))} %")]
    if len(accuracies) > 1:
        low, high = prediction_interval(accuracies.tolist())
        facts += [
            ("95 % interval of the mean, over seeds", f"± {points(float(half))} points"),
            ("95 % interval of a further run", f"{points(max(low, 0.0))} to {points(min(high, 1.0))} %"),
        ]
    images = row.scored[0].split.test
    if images:
        error = points(sampling_error(float(mean), images))
        facts.append((f"sampling error of {images:,} test images", f"{error} points (standard error)"))
    return facts


def _mean_scores(finals: Sequence[TrialRecord]) -> list[ClassScore]:
    tests = [final.test for final in finals if final.test]
    means = []
    for same_class in zip(*(test.per_class for test in tests), strict=True):
        precision, recall, f1 = (
            sum(getattr(score, metric) for score in same_class) / len(same_class)
            for metric in ("precision", "recall", "f1")
        )
        first = same_class[0]
        means.append(ClassScore(name=first.name, precision=precision, recall=recall, f1=f1, support=first.support))
    return means


def _summed(finals: Sequence[TrialRecord]) -> tuple[tuple[Confusion, ...], ...]:
    tests = [final.test for final in finals if final.test]
    names = [score.name for score in tests[0].per_class]
    lines = []
    for true, name in enumerate(names):
        images = [sum(test.confusion[true][called] for test in tests) for called in range(len(names))]
        total = max(sum(images), 1)
        lines.append(
            tuple(Confusion(name, other, number, number / total) for other, number in zip(names, images, strict=True))
        )
    return tuple(lines)


# ---------------------------------------------------------------- what made the row


def configuration_lines(line: LeaderboardRow, defaults: Mapping[str, Any]) -> list[Setting]:
    """A leaderboard row's options, components and hyperparameters beside their defaults."""
    known = {name: value(default) for name, default in defaults.items()}
    lines = [Setting(name, value(each), _OPTIONS.get(name), None) for name, each in line.options.items()]
    for kind, each in line.components.items():
        lines.append(Setting(kind, value(each), known.get(kind), line.component_sites[kind]))
    lines += [Setting(name, value(each), known.get(name), None) for name, each in line.hyperparameters.items()]
    return lines


_OPTIONS = {"width": "1", "depth": "1"}  # an option that was left at its default may not be recorded


def environment(row: RowRecords) -> list[tuple[str, str]]:
    """(what, value) of where the row's finals ran, or without any, its trials; a tally where they differ."""
    records = row.finals or row.trials
    if not records:
        return []
    machines = [record.machine for record in records]
    versions = sorted({name for machine in machines for name in machine.versions})
    speeds = [f"{record.speed.device}, {record.speed.threads} threads" for record in records if record.speed]
    return [
        ("device", tally(machine.device for machine in machines)),
        ("precision", tally(m.precision + ", channels last" * m.channels_last for m in machines)),
        ("workers a run", tally(str(machine.workers) for machine in machines)),
        *([("one seed repeats", tally(known))] if (known := [m.repeats for m in machines if m.repeats]) else []),
        ("CPUs of the host", tally(str(machine.host_cpus) for machine in machines)),
        *([("latency measured on", tally(speeds))] if speeds else []),
        ("peak memory", f"{max(machine.peak_memory_mb for machine in machines):,.0f} MB"),
        ("commit", tally(record.commit for record in records)),
        ("Python", tally(machine.python for machine in machines)),
        *((name, tally(machine.versions.get(name, "not recorded") for machine in machines)) for name in versions),
        ("from", min(record.started_utc for record in records)),
        ("to", max(record.finished_utc for record in records)),
    ]


def reproduce_command(study: Mapping[str, Any], name: str, row_id: str) -> str:
    """What runs a row again, from the folder that the study was run in."""
    storage = PurePosixPath(str(study.get("storage") or "results"))
    place = PurePosixPath("results") if storage.is_absolute() or "~" in storage.parts else storage
    return shlex.join(["cnnbench", "reproduce", str(place / name), row_id])
