"""Expected best validation accuracy after B trials: who would win at a smaller tuning budget.

Why: which row is best can depend on how long each was tuned (Dodge et al. 2019, arXiv:1909.03004; Sivaprasad et al.
2019, arXiv:1910.11758). Dodge et al. take the trials' empirical distribution, that is, draw with replacement, which is
biased downwards where B comes near the number of trials (Tang et al. 2020, arXiv:2004.13705). This draws without: the
mean of the maximum over all subsets of B trials, which is unbiased for B up to the number of trials made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TuningCurve:
    """Expected best score after 1 … n trials, or after those numbers of trials that were asked for, and a pointwise
    bootstrap interval of it; each one-dimensional."""

    expected: Floats
    low: Floats
    high: Floats


def expected_best(scores: Sequence[float] | Floats, sizes: Sequence[int] | None = None) -> Floats:
    """The mean of the maximum over all subsets of B of the n scores, for B = 1 … n, over the last axis.

    scores: (…, n), finite. sizes: the values of B, between 1 and n, where not all are wanted. Returns (…, len(sizes)),
    never falling where sizes rise. By order statistics: the i-th smallest is the
    maximum of C(i - 1, B - 1) of the C(n, B) subsets. The trials count as exchangeable; those of a model-based sampler
    are not (later ones are better), and the curve is then that of the trials made, in a random order.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64), axis=-1)
    if not np.isfinite(values).all():
        raise ValueError("scores: want finite numbers")
    means: Floats = values @ _weights(values.shape[-1], sizes).T
    return means


def tuning_curve(
    scores: Sequence[float],
    sizes: Sequence[int] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> TuningCurve:
    """``expected_best`` with the percentile interval of ``resamples`` bootstrap samples of the trials.

    The band is too narrow where B comes near n: no sample holds a score above the best trial made.
    """
    values = np.asarray(scores, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(expected_best(values[drawn], sizes), [tail, 1 - tail], axis=0)
    return TuningCurve(expected_best(values, sizes), low, high)


def _weights(n: int, sizes: Sequence[int] | None) -> Floats:
    """A row for each size B, with C(i - 1, B - 1) / C(n, B) for i = 1 … n: the share of subsets whose maximum is the
    i-th smallest."""
    size, place = np.asarray(sizes or range(1, n + 1))[:, None], np.arange(1, n + 1)[None, :]
    above = np.maximum(place - size, 0)
    ways = gammaln(place) - gammaln(size) - gammaln(above + 1)
    subsets = gammaln(n + 1) - gammaln(size + 1) - gammaln(n - size + 1)
    weights: Floats = np.where(place >= size, np.exp(ways - subsets), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)  # logarithms of large factorials lose some digits
    return weights
