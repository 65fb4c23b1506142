"""Expected best after B trials, against brute force over all subsets; its band and its limits."""

from itertools import combinations

import numpy as np
import pytest

from cnnbench.statistics import expected_best, tuning_curve


def by_brute_force(scores: list[float]) -> list[float]:
    subsets = [list(combinations(scores, size)) for size in range(1, len(scores) + 1)]
    return [float(np.mean([max(subset) for subset in each])) for each in subsets]


@pytest.mark.parametrize("scores", [[0.3], [0.2, 0.8, 0.5], [0.5, 0.5, 0.9, 0.0], list(np.linspace(0, 1, 9) ** 2)])
def test_expected_best_equals_the_mean_over_all_subsets(scores):
    assert expected_best(scores).tolist() == pytest.approx(by_brute_force(scores), abs=1e-12)


def test_expected_best_of_three_by_hand():
    # Pairs of 1, 2, 6: maxima 2, 6, 6.
    assert expected_best([6.0, 1.0, 2.0]).tolist() == pytest.approx([3.0, 14 / 3, 6.0])


def test_expected_best_is_unbiased_where_drawing_with_replacement_is_not():
    # Of 6 uniform scores, the best of 5 has the expectation 5/6.
    scores = np.random.default_rng(0).uniform(size=(20_000, 6))
    assert expected_best(scores)[:, 4].mean() == pytest.approx(5 / 6, abs=0.004)  # four standard errors
    largest, steps = np.sort(scores, axis=1), (np.arange(1, 7) / 6) ** 5 - (np.arange(6) / 6) ** 5
    assert (largest @ steps).mean() < 5 / 6 - 0.04


def test_many_trials_keep_their_digits():
    curve = expected_best(np.arange(1, 2001) / 2000)
    sizes = np.arange(1, 2001)
    assert curve == pytest.approx(sizes * 2001 / (sizes + 1) / 2000, abs=1e-10)  # the German tank problem's mean
    assert (np.diff(curve) > 0).all()


def test_the_band_holds_the_curve_repeats_with_its_seed_and_ends_at_the_best_trial():
    scores = np.random.default_rng(1).normal(0.9, 0.01, 24)
    curve, again = tuning_curve(scores, seed=3), tuning_curve(scores, seed=3)
    assert (curve.low <= curve.expected).all() and (curve.expected <= curve.high).all()
    assert curve.low.tolist() == again.low.tolist()
    assert curve.high[-1] == pytest.approx(scores.max())
    assert tuning_curve([0.7]).low.tolist() == [0.7]


def test_the_band_of_a_small_budget_covers_the_true_expectation():
    # Uniform scores: the best of 2 has the expectation 2/3. The percentile bootstrap covers somewhat less than 95 %.
    random = np.random.default_rng(2)
    curves = [tuning_curve(random.uniform(size=40), resamples=200, seed=draw) for draw in range(500)]
    covered = np.mean([curve.low[1] <= 2 / 3 <= curve.high[1] for curve in curves])
    assert 0.90 <= covered <= 0.98


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        expected_best([0.5, float("nan")])


def test_a_curve_at_some_sizes_is_the_whole_curve_at_these():
    scores = np.random.default_rng(4).normal(0.9, 0.01, 300)
    whole, some = tuning_curve(scores), tuning_curve(scores, [1, 7, 150, 300])
    for full, part in ((whole.expected, some.expected), (whole.low, some.low), (whole.high, some.high)):
        assert part == pytest.approx(full[[0, 6, 149, 299]], abs=1e-12)
