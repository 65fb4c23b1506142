"""PED-ANOVA importances of a row's search trials, by the study file's own bounds."""

import random

import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from cnnbench.ledger import ComponentUse
from cnnbench.report.effects.importance import ped_anova
from ledger_rows import trial

SPACE = {"lr": {"float": [0.001, 1.0], "log": True}, "batch_size": {"int": [16, 256]}, "momentum": 0.9}


def trials(count, score, draw=None):
    chance = random.Random(0)
    found = []
    for index in range(count):
        values = draw(chance) if draw else {"lr": 10 ** chance.uniform(-3, 0), "batch_size": chance.randint(16, 256)}
        found.append(trial("net", index, score(values), hyperparameters=values, components={}))
    return found


def test_what_decides_the_score_has_the_importance():
    shares = ped_anova(trials(60, lambda values: 1 - abs(values["lr"] - 0.1)), SPACE)
    assert list(shares) == ["lr", "batch_size"] and sum(shares.values()) == pytest.approx(1)
    assert shares["lr"] > 0.8


def test_the_shares_are_those_of_an_optuna_study_of_the_same_trials():
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(
        lambda t: 1 - abs(t.suggest_float("lr", 0.001, 1.0, log=True) - t.suggest_int("batch_size", 16, 256) / 256),
        n_trials=40,
    )
    records = [trial("net", t.number, t.value, hyperparameters=t.params, components={}) for t in study.trials]
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    assert ped_anova(records, SPACE) == pytest.approx(shares)


def test_a_hyperparameter_under_two_choices_is_one_hyperparameter():
    space = {
        "optimizer": {"choice": {"sgd": {"lr": {"float": [0.1, 1.0]}}, "adamw": {"lr": {"float": [0.001, 0.01]}}}},
        "label_smoothing": {"choice": {"0.0": None, "0.1": None}},
    }

    def draw(chance):
        optimizer = chance.choice(["sgd", "adamw"])
        lr = chance.uniform(0.1, 1.0) if optimizer == "sgd" else chance.uniform(0.001, 0.01)
        return {"optimizer": optimizer, "lr": lr, "label_smoothing": chance.choice([0.0, 0.1])}

    shares = ped_anova(trials(60, lambda values: float(values["optimizer"] == "sgd") * values["lr"], draw), space)
    assert set(shares) == {"optimizer", "lr", "label_smoothing"} and shares["label_smoothing"] < 0.1


def test_a_component_left_as_published_counts_as_original_and_one_without_a_site_not_at_all():
    space = {"activation": {"choice": ["original", "gelu"]}, "window_pooling": {"choice": ["max", "average"]}}
    nowhere = {"window_pooling": ComponentUse(value=None, sites=0)}
    gelu = {"activation": ComponentUse(value="gelu", sites=3)}
    records = [
        trial("net", index, 0.5 + 0.1 * (index % 2), components={**nowhere, **(gelu if index % 2 else {})})
        for index in range(20)
    ]
    assert ped_anova(records, space) == {"activation": 1.0}


def test_few_completed_trials_and_a_fixed_space_give_none():
    good = trials(12, lambda values: values["lr"])
    assert ped_anova(good, SPACE) and ped_anova(good, {"lr": 0.1}) == {}
    pruned = [record.model_copy(update={"status": "pruned"}) for record in good[9:]]
    assert ped_anova([*good[:9], *pruned], SPACE) == {}


def test_a_trial_outside_the_space_is_left_out():
    inside = trials(60, lambda values: 1 - abs(values["lr"] - 0.1))
    outside = trial("net", 60, 0.99, hyperparameters={"lr": 5.0, "batch_size": 16}, components={})
    assert ped_anova([*inside, outside], SPACE) == ped_anova(inside, SPACE)
    assert ped_anova([*inside[:9], outside], SPACE) == {}
