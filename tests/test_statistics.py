"""rank_groups and intervals: tables small enough for a pencil, and error rates by simulation."""

import numpy as np
import pandas as pd
import pytest

from cnnbench.statistics import (
    adjusted_p_values,
    adjusted_p_values_of_differences,
    mean_interval,
    prediction_interval,
    rank_groups,
    sampling_error,
)


def table(**rows: list[float]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index")


def test_one_row_and_one_seed_is_group_one_without_an_interval():
    result = rank_groups(table(lenet=[0.9]))
    assert result.loc["lenet", ["mean", "n", "rank_group", "p_best"]].tolist() == [0.9, 1, 1, 1.0]
    assert np.isnan(result.loc["lenet", "ci95"])


def test_mean_and_interval_equal_students_formula():
    # Mean 0.92, deviation 0.02, three seeds: t(0.975, 2) = 4.302653, so 4.302653 * 0.02 / sqrt(3) = 0.0496828.
    row = rank_groups(table(lenet=[0.90, 0.92, 0.94])).loc["lenet"]
    assert row["mean"] == pytest.approx(0.92)
    assert row["ci95"] == pytest.approx(0.0496828, abs=1e-7)


def test_p_value_of_two_rows_equals_counting_the_sign_patterns_by_hand():
    # Differences 3, 1, 1 (in points): |3+1+1| = 5 is reached by 2 of 8 patterns; 2/8.
    p_values = adjusted_p_values(np.array([[0.93, 0.91, 0.91], [0.90, 0.90, 0.90]]))
    assert p_values.tolist() == [[1.0, 0.25], [0.25, 1.0]]
    # Differences 1, 1, -1: |1| is reached by all patterns.
    assert adjusted_p_values(np.array([[0.91, 0.91, 0.90], [0.90, 0.90, 0.91]]))[0, 1] == 1.0


def test_step_down_p_values_equal_brute_force_over_all_patterns():
    values = np.random.default_rng(3).normal(0.9, 0.01, (4, 7)).clip(0, 1)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    signs = [[1 - 2 * (number >> seed & 1) for seed in range(7)] for number in range(2**7)]
    size = {(i, j): abs(np.mean(values[i] - values[j])) for i, j in pairs}
    worst = 0.0
    for pair in sorted(pairs, key=size.__getitem__, reverse=True):
        rivals = [rival for rival in pairs if size[rival] <= size[pair]]
        largest = [max(abs(np.mean((values[i] - values[j]) * sign)) for i, j in rivals) for sign in signs]
        worst = max(worst, float(np.mean([value >= size[pair] - 1e-12 for value in largest])))
        assert adjusted_p_values(values)[pair] == pytest.approx(worst)


def test_groups_hold_what_is_not_significantly_worse_than_their_best_row():
    wobble = np.array([1, -1, 2, -2, 1, -1]) / 1000
    scores = table(
        poor=list(0.80 + wobble), best=list(0.95 + wobble), near=list(0.949 + wobble[::-1]), fair=list(0.90 - wobble)
    )
    result = rank_groups(scores)
    assert result["rank_group"].to_dict() == {"poor": 3, "best": 1, "near": 1, "fair": 2}
    assert result.index.tolist() == ["poor", "best", "near", "fair"]


def test_five_seeds_can_never_separate_rows_at_five_percent():
    far_apart = table(good=[0.99] * 5, bad=[0.10] * 5)
    assert rank_groups(far_apart)["rank_group"].tolist() == [1, 1]
    assert rank_groups(far_apart)["p_best"].tolist() == [1.0, 2 / 2**5]
    assert rank_groups(table(good=[0.99] * 6, bad=[0.10] * 6))["rank_group"].tolist() == [1, 2]


def test_a_row_with_a_missing_final_has_no_group_and_costs_the_others_nothing():
    whole = table(a=[0.95] * 6, b=[0.90] * 6)
    holed = pd.concat([whole, table(c=[0.99] * 5 + [np.nan], d=[np.nan] * 6)])
    result = rank_groups(holed)
    assert result.loc[["a", "b"]].equals(rank_groups(whole))
    assert result["rank_group"].isna().tolist() == [False, False, True, True]
    assert result["n"].tolist() == [6, 6, 5, 0]
    assert result.loc["c", "mean"] == pytest.approx(0.99)
    assert np.isnan(result.loc["d", "mean"])


def test_sampled_patterns_agree_with_exact_counting_and_repeat_with_their_seed():
    values = np.stack([np.tile([0.91, 0.90], 10), np.tile([0.90, 0.905], 10)])  # 10 × 1 point, 10 × -0.5 points
    p = adjusted_p_values(values, seed=1)[0, 1]
    # In steps of half a point: ten of 2 and ten of -1, together 10. 0.012 is four standard errors of the sampling.
    assert p == pytest.approx(exact_two_sided_p([2] * 10 + [1] * 10, 10), abs=0.012)
    assert adjusted_p_values(values, seed=1)[0, 1] == p


def exact_two_sided_p(steps: list[int], observed: int) -> float:
    """P(|sum of ± steps| >= observed), by convolution."""
    ways = {0: 1}
    for step in steps:
        longer: dict[int, int] = {}
        for total, count in ways.items():
            for sign in (-step, step):
                longer[total + sign] = longer.get(total + sign, 0) + count
        ways = longer
    return sum(count for total, count in ways.items() if abs(total) >= observed) / 2 ** len(steps)


@pytest.mark.parametrize(
    ("scores", "said"),
    [(table(a=[0.9, 1.2]), "'a', seed 1.*1.2"), (pd.concat([table(a=[0.9])] * 2), "'a' stands there twice")],
)
def test_wrong_scores_are_refused_by_name(scores, said):
    with pytest.raises(ValueError, match=said):
        rank_groups(scores)


def test_a_control_is_tested_like_a_row_but_neither_best_nor_leader():
    wobble = np.array([1, -1, 2, -2, 1, -1]) / 1000
    scores = table(a=list(0.950 + wobble), a_again=list(0.951 - wobble), b=list(0.90 + wobble[::-1]))
    without, result = rank_groups(scores), rank_groups(scores, controls=["a_again", "majority"])
    assert without["p_best"]["a_again"] == 1
    assert result["rank_group"].to_dict() == {"a": 1, "a_again": 1, "b": 2}
    assert result["p_best"]["a"] == 1
    assert result["p_best"]["a_again"] == adjusted_p_values(scores.to_numpy())[0, 1]
    alone = rank_groups(scores.loc[["a_again"]], controls=["a_again"])
    assert alone.loc["a_again", ["rank_group", "p_best"]].tolist() == [1, 1.0]


# ---------------------------------------------------------------- families of paired differences


def test_p_values_of_one_paired_difference_equal_counting_by_hand():
    # 3, 1, 1: |sum| = 5 is reached by 2 of 8 patterns. 1, 1, -1: all patterns reach |1|.
    assert adjusted_p_values_of_differences(np.array([[3.0, 1.0, 1.0]])).tolist() == [0.25]
    assert adjusted_p_values_of_differences(np.array([[1.0, 1.0, -1.0]])).tolist() == [1.0]
    assert adjusted_p_values_of_differences(np.ones((0, 6))).tolist() == []


def test_p_values_of_several_paired_differences_equal_brute_force():
    values = np.random.default_rng(5).normal(0, 1, (5, 6)) + np.array([2.5, 0, 1, 0, -1.5])[:, None]
    signs = [[1 - 2 * (number >> seed & 1) for seed in range(6)] for number in range(2**6)]
    p_values, worst = adjusted_p_values_of_differences(values), 0.0
    size = [abs(np.mean(row)) for row in values]
    for comparison in sorted(range(5), key=size.__getitem__, reverse=True):
        rivals = [row for row, smaller in zip(values, size, strict=True) if smaller <= size[comparison]]
        largest = [max(abs(np.mean(row * sign)) for row in rivals) for sign in signs]
        worst = max(worst, float(np.mean([value >= size[comparison] - 1e-12 for value in largest])))
        assert p_values[comparison] == pytest.approx(worst)


@pytest.mark.parametrize("wrong", [np.ones(6), np.ones((2, 0)), np.array([[0.1, np.nan]])])
def test_differences_of_another_shape_or_with_gaps_are_refused(wrong):
    with pytest.raises(ValueError, match="differences: want"):
        adjusted_p_values_of_differences(wrong)


# ---------------------------------------------------------------- intervals


def test_prediction_interval_equals_students_formula():
    # Mean 0.92, deviation 0.02, n = 3: 4.302653 * 0.02 * sqrt(4 / 3) = 0.0993655.
    low, high = prediction_interval([0.90, 0.92, 0.94])
    assert (low, high) == pytest.approx((0.92 - 0.0993655, 0.92 + 0.0993655), abs=1e-7)
    mean, half = mean_interval(np.array([[0.90, 0.92, 0.94], [0.5, np.nan, np.nan]]))
    assert (mean[0], half[0]) == pytest.approx((0.92, 0.0496828), abs=1e-7)
    assert (mean[1], np.isnan(half[1])) == (0.5, True)
    with pytest.raises(ValueError, match="at least two scores"):
        prediction_interval([0.9])


def test_sampling_error_equals_the_binomial_one():
    assert sampling_error(0.9, 10_000) == pytest.approx(0.003)  # sqrt(0.9 * 0.1 / 10,000)
    assert sampling_error(1.0, 10) == 0
    with pytest.raises(ValueError, match="images: want at least one"):
        sampling_error(0.9, 0)


# Error rates. Bounds are the nominal rate plus three binomial standard errors of that many draws.
DRAWS = 2000
SLACK = 3 * (0.05 * 0.95 / DRAWS) ** 0.5


@pytest.mark.parametrize("seeds", [6, 7, 8, 9, 10])
def test_two_equal_rows_are_told_apart_in_at_most_five_percent(seeds):
    random = np.random.default_rng(seeds)
    found = [adjusted_p_values(random.normal(0.9, 0.003, (2, seeds))).min() <= 0.05 for _ in range(DRAWS)]
    assert np.mean(found) <= 0.05 + SLACK


def test_eight_equal_rows_have_a_family_wise_error_of_at_most_five_percent():
    random = np.random.default_rng(0)
    found = [adjusted_p_values(random.normal(0.9, 0.003, (8, 6))).min() <= 0.05 for _ in range(DRAWS)]
    assert np.mean(found) <= 0.05 + SLACK


def test_equal_rows_beside_a_far_better_one_keep_the_family_wise_error():
    random = np.random.default_rng(1)
    better = np.array([0.05, 0, 0, 0, 0, 0])[:, None]
    found = [adjusted_p_values(random.normal(0.9, 0.003, (6, 8)) + better)[1:, 1:].min() <= 0.05 for _ in range(DRAWS)]
    assert np.mean(found) <= 0.05 + SLACK


def test_a_row_one_and_a_half_points_better_is_found_with_six_seeds():
    random = np.random.default_rng(2)
    better = np.array([0.015] + [0] * 7)[:, None]
    alone = 0
    for _ in range(500):
        groups = rank_groups(pd.DataFrame(random.normal(0.9, 0.003, (8, 6)) + better))["rank_group"]
        alone += groups.tolist() == [1] + [2] * 7
    assert alone / 500 >= 0.90


@pytest.mark.parametrize("rows", [1, 12])
def test_a_family_of_null_differences_has_an_error_of_at_most_five_percent(rows):
    random = np.random.default_rng(rows)
    shared = random.normal(0, 0.2, (DRAWS, 1, 6))  # the original's run, which all comparisons share
    differences = random.normal(0, 0.3, (DRAWS, rows, 6)) - shared
    found = [adjusted_p_values_of_differences(family).min() <= 0.05 for family in differences]
    assert np.mean(found) <= 0.05 + SLACK


def test_a_planted_effect_is_found_in_a_family_and_the_null_ones_are_not():
    random = np.random.default_rng(6)
    differences = random.normal(0, 0.3, (500, 12, 6))
    differences[:, 3] += 1.0
    p_values = np.array([adjusted_p_values_of_differences(family) for family in differences])
    assert np.mean(p_values[:, 3] <= 0.05) >= 0.90
    assert np.mean(np.delete(p_values, 3, axis=1).min(axis=1) <= 0.05) <= 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5


@pytest.mark.parametrize("seeds", [2, 6, 10])
def test_intervals_cover_the_true_mean_in_93_to_97_percent(seeds):
    mean, half = mean_interval(np.random.default_rng(seeds).normal(0.9, 0.003, (DRAWS, seeds)))
    assert 0.93 <= (abs(mean - 0.9) <= half).mean() <= 0.97


def test_prediction_intervals_hold_a_further_run_in_93_to_97_percent():
    runs = np.random.default_rng(4).normal(0.9, 0.003, (DRAWS, 7))
    bounds = np.array([prediction_interval(row[:6]) for row in runs])
    assert 0.93 <= ((bounds[:, 0] <= runs[:, 6]) & (runs[:, 6] <= bounds[:, 1])).mean() <= 0.97


def test_sampling_error_is_the_spread_over_test_sets():
    measured = np.random.default_rng(7).binomial(500, 0.93, DRAWS) / 500
    assert measured.std() == pytest.approx(sampling_error(0.93, 500), rel=0.06)  # four errors of a deviation
