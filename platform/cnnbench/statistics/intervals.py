"""Intervals: of a row's mean over seeds, of one further run, and what the test set's size leaves open."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]


def mean_interval(values: Floats) -> tuple[Floats, Floats]:
    """Mean and half the width of Student's 95 % interval of it, over the last axis.

    NaN stands for a missing value and is left out. The half is NaN with fewer than two values, the mean with none.
    """
    count = np.sum(~np.isnan(values), axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=-1) / count
        squares = np.nansum((values - mean[..., None]) ** 2, axis=-1)
        deviation = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
        return mean, stdtrit(np.maximum(count - 1, 1), 0.975) * deviation / np.sqrt(count)


def prediction_interval(values: Sequence[float], *, level: float = 0.95, runs: int = 1) -> tuple[float, float]:
    """Where one further run of the same row lies with probability ``level``: mean ± t · s · sqrt(1 + 1/n).

    values: the row's scores, at least two, taken as independent and normal. The interval holds the mean's own error
    too, so it is wider than the interval of the mean, and does not shrink to nothing with more values.
    runs: with several further runs m, where their mean lies: mean ± t · s · sqrt(1/m + 1/n).
    Raises ValueError with fewer than two values, for a level outside (0, 1), and for runs below 1.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or len(scores) < 2:
        raise ValueError(f"values: want at least two scores for a prediction interval, got {scores.size}")
    if not 0 < level < 1:
        raise ValueError(f"level: want a number between 0 and 1, got {level!r}")
    if runs < 1:
        raise ValueError(f"runs: want at least one, got {runs}")
    count, mean = len(scores), float(scores.mean())
    half = stdtrit(count - 1, (1 + level) / 2) * scores.std(ddof=1) * math.sqrt(1 / runs + 1 / count)
    return mean - float(half), mean + float(half)


def sampling_error(accuracy: float, images: int) -> float:
    """Standard error of an accuracy that was measured on ``images`` test images: sqrt(p (1 - p) / m), binomial.

    It says how far the accuracy would move on another test set drawn like this one, and more seeds don't make it
    smaller; for a mean over seeds it is an upper bound. All rows are scored on the same images, which are as lucky
    for one as for the other: so it does not apply to the difference of two rows.
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy: want a number in [0, 1], got {accuracy!r}")
    if images < 1:
        raise ValueError(f"images: want at least one, got {images}")
    return math.sqrt(accuracy * (1 - accuracy) / images)
