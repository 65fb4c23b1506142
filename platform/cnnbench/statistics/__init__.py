"""What the figures of a study allow to say: intervals, paired tests, rank groups, tuning curves, pooled effects."""

from cnnbench.statistics.critical_difference import FEWEST_DATA_SETS, CriticalDifference, critical_difference
from cnnbench.statistics.intervals import mean_interval, prediction_interval, sampling_error
from cnnbench.statistics.random_effects import RandomEffects, random_effects_mean
from cnnbench.statistics.ranking import rank_groups
from cnnbench.statistics.sign_flip import adjusted_p_values, adjusted_p_values_of_differences
from cnnbench.statistics.tuning_curves import TuningCurve, expected_best, tuning_curve

__all__ = [
    "FEWEST_DATA_SETS",
    "CriticalDifference",
    "RandomEffects",
    "TuningCurve",
    "adjusted_p_values",
    "adjusted_p_values_of_differences",
    "critical_difference",
    "expected_best",
    "mean_interval",
    "prediction_interval",
    "random_effects_mean",
    "rank_groups",
    "sampling_error",
    "tuning_curve",
]
