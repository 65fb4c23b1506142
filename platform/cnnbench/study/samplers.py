"""The samplers that a study file may name, and how each is made: by the name of Optuna's class, since studies are read
where there is no Optuna."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampler:
    """``optuna``: its class in optuna.samplers, made with a seed and these options. learns: it has a model, which takes
    over after ``search.startup_trials`` random trials."""

    optuna: str
    learns: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


SAMPLERS: Mapping[str, Sampler] = {
    "tpe": Sampler("TPESampler", learns=True),
    "random": Sampler("RandomSampler"),
    "cmaes": Sampler("CmaEsSampler", learns=True, options={"warn_independent_sampling": False}),
    "gp": Sampler("GPSampler", learns=True, options={"warn_independent_sampling": False}),
    "grid": Sampler("RandomSampler"),  # all points of the grid are the search's own, in random order
}
