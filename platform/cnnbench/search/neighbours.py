"""Configurations near a good one. In a few tens of trials a model of all of them has little to go by; what is known is
that the best so far is good. PriorBand (Mallik et al. 2023, arXiv:2306.12370) mixes draws near it with random ones."""

import math
import random
from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

SPREAD = 0.1  # standard deviation of a number's move, as a share of its range (of its logarithm's where that is log)
REDRAWN = 0.25  # probability that a choice is drawn anew


class NeighbourSampler(BaseSampler):
    """Moves every number of ``centre`` (Optuna's name → value) a little, and draws some choices anew. What ``centre``
    does not have, because it exists only under a choice that was drawn anew, is drawn at random."""

    def __init__(self, centre: Mapping[str, Any], seed: int) -> None:
        self._centre = centre
        self._chance = random.Random(seed)
        self._anywhere = RandomSampler(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        is_kept = param_name in self._centre
        if is_kept and isinstance(param_distribution, FloatDistribution | IntDistribution):
            return self._moved(self._centre[param_name], param_distribution)
        if is_kept and isinstance(param_distribution, CategoricalDistribution) and self._chance.random() >= REDRAWN:
            return self._centre[param_name]
        return self._anywhere.sample_independent(study, trial, param_name, param_distribution)

    def _moved(self, value: float, domain: FloatDistribution | IntDistribution) -> float:
        scaled, back = (math.log, math.exp) if domain.log else (float, float)
        low, high = scaled(domain.low), scaled(domain.high)
        moved = back(min(high, max(low, self._chance.gauss(scaled(value), SPREAD * (high - low)))))
        if isinstance(domain, IntDistribution):
            return min(domain.high, domain.low + round((moved - domain.low) / domain.step) * domain.step)
        return min(domain.high, max(domain.low, moved))
