"""The mean of several effects: closed forms, and its interval's coverage."""

import math

import numpy as np
import pytest

from cnnbench.statistics import random_effects_mean


def test_equal_errors_give_students_interval_of_the_effects():
    # Q = 4 * 2 = 8, C = 12 - 48/12 = 8: tau^2 = (8 - 2) / 8. Effects 1, 2, 3: t(0.975, 2) * 1 / sqrt(3) = 2.484138.
    pooled = random_effects_mean([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    assert (pooled.mean, pooled.ci95, pooled.tau, pooled.n) == pytest.approx((2.0, 2.484138, math.sqrt(0.75), 3))


def test_unequal_errors_by_hand():
    # Weights 1 and 1/4 for effects 0 and 5: mean 1, Q = 1 + 16/4 = 5, C = 5/4 - (17/16) / (5/4) = 0.4, tau^2 = 10.
    # Weights 1/11 and 1/14: mean 5 * 11/25 = 2.2; variance (2.2^2/11 + 2.8^2/14) / (25/154) = 6.16; t(0.975, 1).
    pooled = random_effects_mean([0.0, 5.0], [1.0, 2.0])
    assert (pooled.mean, pooled.tau) == pytest.approx((2.2, math.sqrt(10)))
    assert pooled.ci95 == pytest.approx(12.706205 * math.sqrt(6.16), abs=1e-5)


def test_effects_that_agree_better_than_their_errors_have_no_spread():
    pooled = random_effects_mean([1.0, 1.1], [1.0, 1.0])
    assert (pooled.mean, pooled.tau) == (pytest.approx(1.05), 0.0)


def test_one_effect_is_its_own_mean_without_an_interval():
    pooled = random_effects_mean([0.7], [0.1])
    assert (pooled.mean, pooled.n) == (0.7, 1)
    assert math.isnan(pooled.ci95)


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_interval_covers_the_true_mean_in_93_to_97_percent(spread):
    random = np.random.default_rng(0)
    errors = np.linspace(0.1, 0.4, 8)
    covered = []
    for _ in range(2000):
        pooled = random_effects_mean(1 + random.normal(0, spread, 8) + random.normal(0, errors), errors)
        covered.append(abs(pooled.mean - 1) <= pooled.ci95)
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize(
    ("effects", "errors", "said"),
    [([], [], "at least one"), ([1.0], [1.0, 2.0], "as many"), ([1.0, 2.0], [0.0, 1.0], "above zero")],
)
def test_effects_without_usable_errors_are_refused(effects, errors, said):
    with pytest.raises(ValueError, match=said):
        random_effects_mean(effects, errors)
