"""Paired max-T sign-flip tests of several mean differences at once.

Method: Westfall & Young 1993, "Resampling-Based Multiple Testing", algorithm 4.1 (step-down), on the mean differences.
Under the null hypothesis a seed's difference between two rows is as likely to be positive as negative, so every sign
pattern over the seeds is equally likely. A pattern flips whole seeds, in all rows at once, which keeps the correlation
between comparisons; comparing with the largest of them keeps the family-wise error rate.

The statistic is the mean difference itself: a studentised one finds far less with few seeds, because a comparison's
own deviation is then hardly known. The price: a comparison much noisier than the others hides small differences.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

MAX_EXACT_SEEDS = 14
SAMPLED_PATTERNS = 2**14
_CHUNK = 2**22  # values held at once
_ROUNDING = 1e-12  # accuracies are counts over a count; equal ones may differ in the last bit

Floats = NDArray[np.float64]


def adjusted_p_values(values: Floats, *, seed: int = 0) -> Floats:
    """Family-wise adjusted p-values of all pairwise mean differences; values (rows, seeds) without NaN.

    seed: of the sampled sign patterns, used above 14 seeds. Returns a symmetric (rows, rows) matrix with ones on its
    diagonal.
    """
    rows = len(values)
    first, second = np.triu_indices(rows, 1)
    matrix = np.ones((rows, rows))
    if len(first):
        p_values = _step_down(values, lambda means: np.abs(means[..., first] - means[..., second]), seed)
        matrix[first, second] = matrix[second, first] = p_values
    return matrix


def adjusted_p_values_of_differences(differences: Floats, *, seed: int = 0) -> Floats:
    """Family-wise adjusted p-values of several paired differences; differences (comparisons, seeds) without NaN.

    A comparison's differences are those of two runs that share a seed; all comparisons have the same seeds, in the
    same order, and may share runs (several components against one original). Returns one two-sided p-value for each.
    Raises ValueError for another shape and for missing values.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"differences: want the shape (comparisons, seeds), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("differences: want a finite number for each comparison and seed")
    return _step_down(values, np.abs, seed) if len(values) else np.ones(0)


def _step_down(values: Floats, statistics: Callable[[Floats], Floats], seed: int) -> Floats:
    """Adjusted p-values of comparisons; ``statistics``: means (…, rows) to absolute differences (…, comparisons)."""
    seeds = values.shape[1]
    observed = statistics(values.mean(axis=1))
    smallest_first = np.argsort(observed, kind="stable")
    observed = observed[smallest_first]
    at_least, patterns = np.zeros(len(observed)), 0
    for signs in _sign_patterns(seeds, seed, chunk=max(1, _CHUNK // len(observed))):
        flipped = statistics(signs @ values.T / seeds)  # a comparison's flipped mean is that of the rows' flipped ones
        # Step-down: a comparison competes with itself and all smaller ones.
        largest = np.maximum.accumulate(flipped[:, smallest_first], axis=1)
        at_least += np.sum(largest >= observed - _ROUNDING, axis=0)
        patterns += len(signs)
    p_values = np.empty(len(observed))
    # A smaller difference is never more significant than a larger one.
    p_values[smallest_first] = np.maximum.accumulate((at_least / patterns)[::-1])[::-1]
    return p_values


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
