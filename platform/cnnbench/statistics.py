"""Which differences are real: means with intervals, and rank groups from a paired max-T sign-flip test.

Method: Westfall & Young 1993, "Resampling-Based Multiple Testing", algorithm 4.1 (step-down), on the pairwise mean
differences. Under the null hypothesis a seed's difference between two rows is as likely to be positive as negative,
so every sign pattern over the seeds is equally likely. A pattern flips whole seeds, in all rows at once, which keeps
the correlation between pairs; comparing with the largest pair keeps the family-wise error rate.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

MAX_EXACT_SEEDS = 14
SAMPLED_PATTERNS = 2**14
_CHUNK = 2**22  # values held at once
_ROUNDING = 1e-12  # accuracies are counts over a count; equal ones may differ in the last bit

Floats = NDArray[np.float64]


def rank_groups(scores: pd.DataFrame, *, alpha: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Ranks leaderboard rows by mean score, tied where the difference is not significant.

    scores: index: rows (unique labels), columns: paired seeds, values: accuracy in [0, 1], NaN where a final is
    missing. alpha: the family-wise error rate over all pairs of rows. seed: of the sampled sign patterns, which are
    used above 14 seeds; up to 14 all patterns are enumerated.

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
    mean, half_width = _student(values, count)
    complete = np.flatnonzero(count == values.shape[1]) if values.shape[1] else np.array([], int)
    group, p_best = np.full(len(values), np.nan), np.full(len(values), np.nan)
    if len(complete):
        p_values = adjusted_p_values(values[complete], seed=seed)
        group[complete] = _groups(mean[complete], p_values, alpha)
        p_best[complete] = p_values[np.argmax(mean[complete])]
    columns = {"mean": mean, "ci95": half_width, "n": count, "rank_group": group, "p_best": p_best}
    return pd.DataFrame(columns, index=scores.index).astype({"n": "int64", "rank_group": "Int64"})


def adjusted_p_values(values: Floats, *, seed: int = 0) -> Floats:
    """Family-wise adjusted p-values of all pairwise mean differences; values (rows, seeds) without NaN.

    Returns a symmetric (rows, rows) matrix with ones on its diagonal. The statistic is the mean difference itself: a
    studentised one finds far less with few seeds, because a pair's own deviation is then hardly known.
    """
    rows, seeds = values.shape
    first, second = np.triu_indices(rows, 1)
    matrix = np.ones((rows, rows))
    if not len(first):
        return matrix
    means = values.mean(axis=1)
    observed = np.abs(means[first] - means[second])
    smallest_first = np.argsort(observed, kind="stable")
    first, second, observed = first[smallest_first], second[smallest_first], observed[smallest_first]

    at_least, patterns = np.zeros(len(observed)), 0
    for signs in _sign_patterns(seeds, seed, chunk=max(1, _CHUNK // len(observed))):
        flipped = signs @ values.T / seeds  # (patterns, rows): a pair's flipped difference is a difference of these
        # Step-down: a pair competes with itself and all smaller ones.
        largest = np.maximum.accumulate(np.abs(flipped[:, first] - flipped[:, second]), axis=1)
        at_least += np.sum(largest >= observed - _ROUNDING, axis=0)
        patterns += len(signs)
    # A smaller difference is never more significant than a larger one.
    p_values = np.maximum.accumulate((at_least / patterns)[::-1])[::-1]
    matrix[first, second] = matrix[second, first] = p_values
    return matrix


def _sign_patterns(seeds: int, seed: int, chunk: int) -> Iterator[Floats]:
    """Sign patterns (patterns, seeds) in chunks. A pattern and its negative give the same absolute differences, so the
    first seed keeps its sign. The identity is always among them."""
    if seeds <= MAX_EXACT_SEEDS:
        numbers = np.arange(2 ** (seeds - 1))
        for start in range(0, len(numbers), chunk):
            bits = numbers[start : start + chunk, None] >> np.arange(seeds) & 1
            yield np.roll(1.0 - 2.0 * bits, 1, axis=1)  # the highest bit is never set: it becomes the first seed
        return
    random = np.random.default_rng(seed)
    yield np.ones((1, seeds))
    for start in range(1, SAMPLED_PATTERNS, chunk):
        yield random.choice([-1.0, 1.0], size=(min(chunk, SAMPLED_PATTERNS - start), seeds))


def _groups(mean: Floats, p_values: Floats, alpha: float) -> Floats:
    group = np.full(len(mean), np.nan)
    number = 0
    for leader in np.argsort(-mean, kind="stable"):
        if np.isnan(group[leader]):
            number += 1
            group[np.isnan(group) & (p_values[leader] > alpha)] = number
    return group


def _student(values: Floats, count: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Mean and half the 95 % interval over the seeds present, NaN where there are too few."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=1) / count
        squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
        deviation = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
        return mean, stdtrit(np.maximum(count - 1, 1), 0.975) * deviation / np.sqrt(count)


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
