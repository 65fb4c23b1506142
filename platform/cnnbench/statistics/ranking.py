"""Which rows of a leaderboard are tied: rank groups from the paired max-T sign-flip test."""

from collections.abc import Collection, Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnnbench.statistics.intervals import mean_interval
from cnnbench.statistics.sign_flip import adjusted_p_values

Floats = NDArray[np.float64]


def rank_groups(
    scores: pd.DataFrame, *, alpha: float = 0.05, seed: int = 0, controls: Collection[Hashable] = ()
) -> pd.DataFrame:
    """Ranks leaderboard rows by mean score, tied where the difference is not significant.

    scores: index: rows (unique labels), columns: paired seeds, values: accuracy in [0, 1], NaN where a final is
    missing. alpha: the family-wise error rate over all pairs of rows. seed: of the sampled sign patterns, which are
    used above 14 seeds; up to 14 all patterns are enumerated. controls: labels of rows that are tested and placed like
    the others, but are never called the best, and lead a group only where no other row is left.

    Returns, for each row in the order given: ``mean``; ``ci95``, half the width of Student's 95 % interval of the mean
    (NaN with fewer than two seeds); ``n``, the seeds present; ``rank_group``, 1 the best; ``p_best``, the adjusted
    p-value of the difference from the best mean (1 for the best itself). Group g is the best row not in a group yet
    and every row that is not significantly different from it.

    A row with a missing final has no group and no p-value (NA), and takes no part in the test: a final that diverged
    is not missing by chance, and leaving its seed out for every row would hide that and cost all rows their power.

    With n seeds no p-value lies below 2 / 2^n: fewer than 6 seeds find nothing at 0.05.

    Raises ValueError for duplicate rows, values outside [0, 1] and alpha outside (0, 1).
    """
    values = _checked(scores, alpha)
    count = np.sum(~np.isnan(values), axis=1)
    mean, half_width = mean_interval(values)
    complete = np.flatnonzero(count == values.shape[1]) if values.shape[1] else np.array([], int)
    group, p_best = np.full(len(values), np.nan), np.full(len(values), np.nan)
    if len(complete):
        p_values = adjusted_p_values(values[complete], seed=seed)
        is_control = scores.index.isin(list(controls))[complete]
        best_first = np.lexsort((-mean[complete], is_control))
        group[complete] = _groups(best_first, p_values, alpha)
        p_best[complete] = p_values[best_first[0]]
    columns = {"mean": mean, "ci95": half_width, "n": count, "rank_group": group, "p_best": p_best}
    return pd.DataFrame(columns, index=scores.index).astype({"n": "int64", "rank_group": "Int64"})


def _groups(best_first: NDArray[np.int64], p_values: Floats, alpha: float) -> Floats:
    group = np.full(len(best_first), np.nan)
    number = 0
    for leader in best_first:
        if np.isnan(group[leader]):
            number += 1
            group[np.isnan(group) & (p_values[leader] > alpha)] = number
    return group


def _checked(scores: pd.DataFrame, alpha: float) -> Floats:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: want a number between 0 and 1, got {alpha!r}")
    if not scores.index.is_unique:
        raise ValueError(f"scores: the row {scores.index[scores.index.duplicated()][0]!r} stands there twice")
    values = scores.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.argwhere((values < 0) | (values > 1))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"scores: {scores.index[row]!r}, seed {scores.columns[column]!r}: "
            f"want an accuracy in [0, 1] or NaN, got {values[row, column]}"
        )
    return values
