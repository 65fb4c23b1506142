"""Learning-rate schedules against torch's own, and early stopping."""

from typing import Any

import pytest
import torch
from torch import nn

from cnnbench.training.recipe import KNOBS, Recipe
from cnnbench.training.schedules import learning_rate, plateaus, stops_early

EPOCHS, STEPS = 12, 5  # steps an epoch
SGD = torch.optim.lr_scheduler


def oracle_rates(make: Any, per_step: bool) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.4)
    scheduler, rates = make(optimizer), []
    for step in range(EPOCHS * STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if per_step or (step + 1) % STEPS == 0:
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("recipe", "make", "per_step"),
    [
        (Recipe(lr=0.4, schedule="constant"), lambda o: SGD.ConstantLR(o, factor=1.0), True),
        (Recipe(lr=0.4, schedule="step", step_epochs=5, gamma=0.3), lambda o: SGD.StepLR(o, 5, 0.3), False),
        (Recipe(lr=0.4, schedule="multi_step", gamma=0.3), lambda o: SGD.MultiStepLR(o, [6, 9], 0.3), False),
        (Recipe(lr=0.4, schedule="cosine"), lambda o: SGD.CosineAnnealingLR(o, EPOCHS * STEPS), True),
        (
            Recipe(lr=0.4, schedule="one_cycle", pct_start=0.25),
            lambda o: SGD.OneCycleLR(o, 0.4, EPOCHS * STEPS, pct_start=0.25, cycle_momentum=False),
            True,
        ),
        (
            Recipe(lr=0.4, schedule="warmup_cosine", warmup_epochs=2),
            lambda o: SGD.SequentialLR(
                o,
                [SGD.LinearLR(o, 0.1, 1.0, 9), SGD.CosineAnnealingLR(o, EPOCHS * STEPS - 10)],
                [10],
            ),
            True,
        ),
        (
            Recipe(lr=0.4, schedule="warmup_step", warmup_epochs=2, step_epochs=3, gamma=0.3),
            lambda o: SGD.SequentialLR(o, [SGD.LinearLR(o, 0.1, 1.0, 9), SGD.StepLR(o, 3 * STEPS, 0.3)], [10]),
            True,
        ),
    ],
    ids=lambda value: value.schedule if isinstance(value, Recipe) else "",
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedules_are_torchs(recipe, make, per_step):
    rates = [learning_rate(recipe, step, STEPS, EPOCHS) for step in range(EPOCHS * STEPS)]
    assert rates == pytest.approx(oracle_rates(make, per_step), rel=1e-6)


def test_the_plateau_schedule_is_torchs():
    losses = [1.0, 0.9, 0.91, 0.9, 0.89999, 0.8, 0.81, 0.82, 0.83, 0.84, 0.79, 0.79, 0.79]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = SGD.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    for count, loss in enumerate(losses, 1):
        scheduler.step(loss)
        assert 0.5 ** plateaus(losses[:count], patience=1) == optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("schedule", KNOBS["schedule"].choices)
@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_no_schedule_leaves_its_range_however_short_the_training(schedule, epochs):
    recipe = Recipe(lr=0.4, schedule=schedule, warmup_epochs=5, pct_start=0.01)
    for steps in (1, 2, 9):
        rates = [learning_rate(recipe, step, steps, epochs) for step in range(steps * epochs)]
        assert all(0.0 < rate <= 0.4 for rate in rates)


def test_patience_counts_epochs_without_an_improvement_of_more_than_the_minimum():
    assert not stops_early([0.5, 0.6, 0.6, 0.61], patience=3, min_delta=0.0)
    assert stops_early([0.5, 0.6, 0.6, 0.61, 0.62], patience=3, min_delta=0.05)
    assert not stops_early([0.5, 0.6, 0.6, 0.61, 0.66], patience=3, min_delta=0.05)
