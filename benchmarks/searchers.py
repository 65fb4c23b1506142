"""Searches played against a table of recorded trainings: who asks, what is stopped early, and what that cost.

Each searcher takes (table, seed, epochs) and yields, until about so many epochs are spent, every trial that ran to its
end: (epochs spent by then on all trials, its last validation accuracy). One trial at a time; a trial that was stopped
early counts with its epochs, and yields nothing. All draw from one space, whose values are led to the nearest
configuration of the grid, so that a searcher meets it as it meets a real study: it does not know that there is a grid.
"""

import itertools
import logging
import math
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from trial_tables import EPOCHS, LEARNING_RATES, SCHEDULES, WEIGHT_DECAYS, Table, nearest

from cnnbench.ledger import TrialRecord
from cnnbench.search.search import StudySearch
from cnnbench.study import Search as Settings
from cnnbench.study.space import Choice, Fixed, FloatRange, Space

logging.getLogger("ray.tune").setLevel(logging.ERROR)

SPACE: Space = {
    "lr": FloatRange(LEARNING_RATES[0], LEARNING_RATES[-1], log=True),
    "weight_decay": FloatRange(WEIGHT_DECAYS[0], WEIGHT_DECAYS[-1], log=True),
    "schedule": Choice({schedule: {} for schedule in SCHEDULES}),
}
FIRST_RUNG = 3  # epochs: a ninth of all
FORESEEN = 0.1  # of a table's trainings are good enough to be trained to their end by who knows how all end

Trials = Iterator[tuple[int, float]]


def cnnbench_search(table: Table, seed: int, epochs: int, **settings: Any) -> Trials:
    """cnnbench's own search, with a study's defaults unless ``settings`` say otherwise."""
    luck = random.Random(f"luck {seed}")
    with tempfile.TemporaryDirectory() as folder:
        trials = epochs  # more than there can be
        search = StudySearch(
            Settings(seed=seed, **settings).within(EPOCHS),
            trials,
            {"row": {**SPACE, "batch_size": Fixed(table.batch_size)}},
            Path(folder) / "optuna.journal",
            validation_images=table.validation_images,
            trial_images=EPOCHS * table.training_images,
            normalized=["row"] if table.network.normalized else [],
        )
        spent = 0
        while spent < epochs:
            proposal = search.ask()
            assert proposal is not None
            accuracies = _looked_up(table, proposal.values, luck)
            status = "completed" if len(accuracies) == EPOCHS else "diverged"
            for epoch, accuracy in enumerate(accuracies, 1):
                spent += 1
                if search.report("row", proposal.index, epoch, accuracy) and epoch < EPOCHS:
                    status = "pruned"
                    break
            score = accuracies[-1] if status == "completed" else None
            record = TrialRecord.model_construct(row="row", index=proposal.index, status=status, score=score)
            search.tell(record)
            if score is not None:
                yield spent, score


def cnnbench_cold(table: Table, seed: int, epochs: int) -> Trials:
    """The same, but it does not begin with the recipe's defaults."""
    return cnnbench_search(table, seed, epochs, warm_start=False)


def random_search(table: Table, seed: int, epochs: int) -> Trials:
    """Random configurations, each trained to its end."""
    spent = 0
    for accuracies in _random_trainings(table, seed):
        if spent >= epochs:
            return
        spent += len(accuracies)
        if len(accuracies) == EPOCHS:
            yield spent, accuracies[-1]


def random_with_foresight(table: Table, seed: int, epochs: int) -> Trials:
    """Random configurations, of which those that will end among the best of the table's are trained to their end and
    all others stopped at cnnbench's first rung. No search can know that: it is how far early stopping could get."""
    best = _quantile(table, 1 - FORESEEN)
    spent = 0
    for accuracies in _random_trainings(table, seed):
        if spent >= epochs:
            return
        is_good = len(accuracies) == EPOCHS and accuracies[-1] >= best
        spent += EPOCHS if is_good else min(len(accuracies), FIRST_RUNG)
        if is_good:
            yield spent, accuracies[-1]


def random_asha(table: Table, seed: int, epochs: int) -> Trials:
    """Random configurations, stopped early as cnnbench does by default."""
    return cnnbench_search(table, seed, epochs, sampler="random", warm_start=False)


def ray_search(table: Table, seed: int, epochs: int, **settings: float) -> Trials:
    """Ray Tune's OptunaSearch and ASHAScheduler themselves, called in the order in which its TuneController calls them
    (ray 2.60, ``_process_trial_result`` and ``_stop_trial``), without the processes around. Their own defaults but for
    the longest trial and the seed."""
    space = {
        "lr": optuna.distributions.FloatDistribution(LEARNING_RATES[0], LEARNING_RATES[-1], log=True),
        "weight_decay": optuna.distributions.FloatDistribution(WEIGHT_DECAYS[0], WEIGHT_DECAYS[-1], log=True),
        "schedule": optuna.distributions.CategoricalDistribution(SCHEDULES),
    }
    searcher = OptunaSearch(space, metric="accuracy", mode="max", seed=seed)
    scheduler = ASHAScheduler(metric="accuracy", mode="max", max_t=EPOCHS, **settings)  # type: ignore[arg-type]
    luck, spent = random.Random(f"luck {seed}"), 0
    for number in itertools.count():
        if spent >= epochs:
            return
        trial: Any = SimpleNamespace(trial_id=f"trial-{number}")
        values = searcher.suggest(trial.trial_id)
        assert values is not None
        scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        accuracies = _looked_up(table, values, luck)
        result: dict[str, Any] = {}
        for epoch, accuracy in enumerate(accuracies, 1):
            spent += 1
            result = {"training_iteration": epoch, "accuracy": accuracy}
            if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:  # type: ignore[arg-type]
                break
            searcher.on_trial_result(trial.trial_id, result)
        has_diverged = result.get("training_iteration", 0) == len(accuracies) < EPOCHS
        if has_diverged:
            scheduler.on_trial_error(None, trial)  # type: ignore[arg-type]
            searcher.on_trial_complete(trial.trial_id, error=True)
            continue
        scheduler.on_trial_complete(None, trial, result)  # type: ignore[arg-type]
        searcher.on_trial_complete(trial.trial_id, result)
        if result["training_iteration"] == EPOCHS:
            yield spent, result["accuracy"]


def ray_search_same_rungs(table: Table, seed: int, epochs: int) -> Trials:
    """Ray's own with cnnbench's rungs: 3 and 9 epochs instead of 1, 4 and 16."""
    return ray_search(table, seed, epochs, reduction_factor=3, grace_period=FIRST_RUNG)


SEARCHERS = {
    "random": random_search,
    "random + ASHA": random_asha,
    "random + foresight": random_with_foresight,
    "Ray's OptunaSearch + ASHA": ray_search,
    "Ray's, at cnnbench's rungs": ray_search_same_rungs,
    "cnnbench without warm start": cnnbench_cold,
    "cnnbench": cnnbench_search,
}


def _random_trainings(table: Table, seed: int) -> Iterator[list[float]]:
    """Without end: accuracies after each epoch of configurations drawn from ``SPACE``."""
    draw, luck = random.Random(seed), random.Random(f"luck {seed}")
    while True:
        values = {
            "lr": _log_uniform(draw, LEARNING_RATES[0], LEARNING_RATES[-1]),
            "weight_decay": _log_uniform(draw, WEIGHT_DECAYS[0], WEIGHT_DECAYS[-1]),
            "schedule": draw.choice(SCHEDULES),
        }
        yield _looked_up(table, values, luck)


def _quantile(table: Table, share: float) -> float:
    """The last accuracy that ``share`` of the table's trainings are below, diverged ones among them."""
    ends = [of[-1] if len(of) == EPOCHS else 0.0 for trainings in table.accuracies.values() for of in trainings]
    return sorted(ends)[math.floor(share * len(ends))]


def _looked_up(table: Table, values: Mapping[str, Any], luck: random.Random) -> list[float]:
    """One of the trainings of the nearest configuration."""
    return list(luck.choice(table.accuracies[nearest(values["lr"], values["weight_decay"], values["schedule"])]))


def _log_uniform(draw: random.Random, low: float, high: float) -> float:
    return math.exp(draw.uniform(math.log(low), math.log(high)))
