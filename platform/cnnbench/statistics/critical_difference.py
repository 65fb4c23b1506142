"""Which architectures are tied over several data sets: mean ranks, Friedman's test, and Nemenyi's critical difference.

Method: Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7. Pairwise Wilcoxon tests
under Holm's correction, which some take instead, can't find anything on few data sets: on five the smallest p-value is
0.0625, and on eight data sets, corrected over the six pairs of four architectures, 0.047.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaincc

FEWEST_DATA_SETS = 5  # on fewer, mean ranks say too little to be drawn
_DIGITS = 12  # accuracies are counts over a count; equal ones may differ in the last bit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CriticalDifference:
    """mean_ranks: architecture → its mean rank over the data sets, 1 the best, best first. p_value: Friedman's, of all
    architectures being equally good. critical_distance: mean ranks less apart than this are tied (Nemenyi). cliques:
    the largest groups of tied architectures, best first; one that is tied with no other stands in none."""

    mean_ranks: pd.Series
    p_value: float
    critical_distance: float
    cliques: list[tuple[Hashable, ...]]

    def tied_with(self, architecture: Hashable) -> list[Hashable]:
        """Those that share a clique with it, best first."""
        others = {other for clique in self.cliques if architecture in clique for other in clique} - {architecture}
        return [other for other in self.mean_ranks.index if other in others]


def critical_difference(scores: pd.DataFrame, *, alpha: float = 0.05) -> CriticalDifference:
    """Compares architectures by their ranks on each data set.

    scores: index: architectures (unique, at least two), columns: data sets (at least FEWEST_DATA_SETS), values: mean
    accuracy in [0, 1]; equal ones share a rank. alpha: the error rate over all pairs of architectures.

    It speaks of data sets like these: each counts as one observation, however many seeds and images it has. An
    architecture's rank depends on which others it is compared with (Benavoli et al. 2016, JMLR 17).

    Raises ValueError for too few architectures or data sets, duplicate names, missing values, values outside [0, 1]
    and alpha outside (0, 1).
    """
    values = _checked(scores, alpha)
    rows, sets = values.shape
    ranks = pd.DataFrame(-values.round(_DIGITS)).rank().to_numpy()
    mean_ranks = pd.Series(ranks.mean(axis=1), index=scores.index, name="mean_rank").sort_values(kind="stable")
    distance = _quantile(rows, alpha) * math.sqrt(rows * (rows + 1) / (6 * sets))
    return CriticalDifference(mean_ranks, _friedman(ranks), distance, _cliques(mean_ranks, distance))


@cache
def _quantile(rows: int, alpha: float) -> float:
    """Of the studentised range over sqrt(2), with infinitely many degrees of freedom: q in Demšar's table 5."""
    from scipy.stats import studentized_range  # takes a second to import

    return float(studentized_range.ppf(1 - alpha, rows, math.inf)) / math.sqrt(2)


def _friedman(ranks: Floats) -> float:
    """Friedman's p-value, corrected for ties; ranks (architectures, data sets). 1 where all are tied everywhere."""
    rows, sets = ranks.shape
    expected = (rows + 1) / 2
    spread = np.sum((ranks - expected) ** 2) / (sets * (rows - 1))  # of a rank, less where there are ties
    if spread == 0:
        return 1.0
    statistic = sets * np.sum((ranks.mean(axis=1) - expected) ** 2) / spread
    return float(gammaincc((rows - 1) / 2, statistic / 2))  # chi-squared's upper tail, rows - 1 degrees of freedom


def _cliques(mean_ranks: pd.Series, distance: float) -> list[tuple[Hashable, ...]]:
    """Runs of neighbours in the order of mean ranks whose ends are less than ``distance`` apart, and that no longer
    run holds."""
    names, ranks = list(mean_ranks.index), mean_ranks.to_numpy()
    cliques: list[tuple[Hashable, ...]] = []
    reached = 0
    for first in range(len(names)):
        end = int(np.searchsorted(ranks, ranks[first] + distance, side="left"))
        if end > reached and end - first > 1:
            cliques.append(tuple(names[first:end]))
        reached = max(reached, end)
    return cliques


def _checked(scores: pd.DataFrame, alpha: float) -> Floats:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: want a number between 0 and 1, got {alpha!r}")
    for axis, names in (("architecture", scores.index), ("data set", scores.columns)):
        if not names.is_unique:
            raise ValueError(f"scores: the {axis} {names[names.duplicated()][0]!r} stands there twice")
    rows, sets = scores.shape
    if rows < 2 or sets < FEWEST_DATA_SETS:
        raise ValueError(f"scores: want at least 2 architectures on {FEWEST_DATA_SETS} data sets, got {rows} on {sets}")
    values = scores.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.argwhere(~((values >= 0) & (values <= 1)))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"scores: {scores.index[row]!r} on {scores.columns[column]!r}: "
            f"want an accuracy in [0, 1], got {values[row, column]}"
        )
    return values
