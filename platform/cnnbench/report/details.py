"""What a leaderboard row opens to: its finals, its configuration, and what the network confuses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnbench.ledger import ClassScore, TrialRecord
from cnnbench.report.formats import points
from cnnbench.report.rows import Row
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

    row: Row
    classes: tuple[ClassScore, ...]
    omitted_classes: int
    matrix: tuple[tuple[Confusion, ...], ...]
    confusions: tuple[Confusion, ...]


def details(row: Row) -> Details:
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


def accuracy_facts(row: Row) -> list[tuple[str, str]]:
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
