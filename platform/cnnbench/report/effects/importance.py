"""PED-ANOVA importances of hyperparameters, from a row's search trials (Watanabe et al. 2023, arXiv:2304.10255).

They say which hyperparameters set the best tenth of the trials apart from all of them, which is no effect: nothing was
held fixed, and the sampler chose where to look.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnbench.ledger import TrialRecord
from cnnbench.report.table.row_records import configuration

FEWEST_TRIALS = 10  # of which the best tenth is one; Optuna advises 50


def ped_anova(trials: Sequence[TrialRecord], space: Mapping[str, Any]) -> dict[str, float]:
    """Hyperparameter → its share of the importance, largest first; the shares sum to 1. Empty if fewer than
    ``FEWEST_TRIALS`` trials within the space completed, or nothing was searched.

    trials: of one row. space: the study file's section, which says what was searched, and within what bounds.
    """
    completed = [trial for trial in trials if trial.status == "completed" and trial.score is not None]
    if len(completed) < FEWEST_TRIALS:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    names = set()
    for trial in completed:
        _, components, hyperparameters = configuration(trial)
        values = {**hyperparameters, **components}
        searched = {name: (values.get(name, "original"), node) for name, node in _active(space, values)}
        searched = {name: found for name, found in searched.items() if found[0] is not None}  # no such site
        try:
            made = optuna.create_trial(
                params={name: value for name, (value, _) in searched.items()},
                distributions={name: _distribution(node) for name, (_, node) in searched.items()},
                value=trial.score,
            )
        except ValueError:  # a value that the space does not have: the study file was another when it was drawn
            continue
        names |= set(searched)
        study.add_trial(made)
    if not names or len(study.get_trials(deepcopy=False)) < FEWEST_TRIALS:
        return {}
    with warnings.catch_warnings():  # of few trials under one choice; the page says how many there were
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _active(space: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, its part of the study file) of every searched parameter that exists under ``values``."""
    for name, node in space.items():
        if not isinstance(node, Mapping):
            continue
        yield name, node
        options = node.get("choice")
        if isinstance(options, Mapping):
            chosen = values.get(name, "original")
            below = options.get(chosen if isinstance(chosen, str) else json.dumps(chosen))  # JSON's keys are texts
            yield from _active(below or {}, values)


def _distribution(node: Mapping[str, Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "float" in node:
        low, high = node["float"]
        return FloatDistribution(float(low), float(high), log=node.get("log", False))
    if "int" in node:
        low, high = node["int"]
        return IntDistribution(low, high, log=node.get("log", False), step=node.get("step", 1))
    return CategoricalDistribution([_option(option) for option in node["choice"]])


def _option(key: Any) -> Any:
    """A choice's value: the study as JSON has texts for the keys of a mapping, whatever they were."""
    if not isinstance(key, str):
        return key
    try:
        value = json.loads(key)
    except ValueError:
        return key
    return value if isinstance(value, int | float | bool | None) else key
