"""One effect from several: the mean over architectures that differ in it (random-effects meta-analysis)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class RandomEffects:
    """mean ± ci95 (half the 95 % interval; NaN for a single effect), in the effects' unit; tau: the standard deviation
    of the true effects between architectures; n: their number."""

    mean: float
    ci95: float
    tau: float
    n: int


def random_effects_mean(effects: Sequence[float], standard_errors: Sequence[float]) -> RandomEffects:
    """The mean of effects that are true to different sizes, weighted by how well each is known.

    effects: one for each architecture; standard_errors: theirs, above zero. The variance between architectures is
    DerSimonian & Laird's (1986), the interval Hartung & Knapp's (2001), on Student's distribution with n - 1 degrees
    of freedom: the normal one is far too narrow for few architectures (IntHout et al. 2014). It speaks of
    architectures like these, and not of another data set. Raises ValueError for unequal lengths, for no effects, and
    for a standard error that is not above zero: an effect of exactly that size would get all the weight.
    """
    y, error = np.asarray(effects, dtype=np.float64), np.asarray(standard_errors, dtype=np.float64)
    if y.ndim != 1 or y.shape != error.shape or not len(y):
        raise ValueError(f"effects: want as many as standard_errors, and at least one; got {y.size} and {error.size}")
    if not (np.isfinite(y).all() and np.isfinite(error).all() and (error > 0).all()):
        raise ValueError("standard_errors: want finite effects, each with a finite standard error above zero")
    n = len(y)
    if n == 1:
        return RandomEffects(float(y[0]), float("nan"), 0.0, 1)
    fixed = error**-2
    heterogeneity = np.sum(fixed * (y - np.average(y, weights=fixed)) ** 2)  # Cochran's Q
    tau2 = max(0.0, (heterogeneity - (n - 1)) / (fixed.sum() - np.sum(fixed**2) / fixed.sum()))
    weights = 1 / (error**2 + tau2)
    mean = np.average(y, weights=weights)
    variance = np.sum(weights * (y - mean) ** 2) / ((n - 1) * weights.sum())
    return RandomEffects(float(mean), float(stdtrit(n - 1, 0.975) * np.sqrt(variance)), float(np.sqrt(tau2)), n)
