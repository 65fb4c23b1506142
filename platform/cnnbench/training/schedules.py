"""Learning-rate schedules as functions of the step: they hold no state, so resuming one needs only the step's number
(and "plateau" the losses so far)."""

import math
from collections.abc import Sequence

from cnnbench.training.recipe import Recipe

ONE_CYCLE_START = 1 / 25  # of the peak rate; both figures are torch's defaults
ONE_CYCLE_END = 1e-4  # of the starting rate
PLATEAU_THRESHOLD = 1e-4  # relative improvement that ends a plateau, as torch has it


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, epochs: int, losses: Sequence[float] = ()) -> float:
    """The rate of optimizer step ``step``, counted from 0, in a training of ``epochs`` epochs.

    constant: lr. step: times gamma every step_epochs. multi_step: times gamma at both milestones, shares of all steps.
    cosine: from lr to 0 (arXiv:1608.03983, without restarts). warmup_cosine: linear to lr over warmup_epochs, but over
    half of the steps at most, then cosine. warmup_step: the same warm-up, then times gamma every step_epochs, counted
    from its end. plateau: times plateau_factor when the loss has not fallen for more than
    plateau_patience epochs. one_cycle: up to lr and down again (arXiv:1708.07120); the momentum stays as it is.
    losses: of the finished epochs, for "plateau" alone.
    """
    return recipe.lr * _factor(recipe, step, steps_per_epoch, steps_per_epoch * epochs, losses)


def _factor(recipe: Recipe, step: int, steps_per_epoch: int, steps: int, losses: Sequence[float]) -> float:
    match recipe.schedule:
        case "constant":
            return 1.0
        case "step":
            return recipe.gamma ** (step // steps_per_epoch // recipe.step_epochs)
        case "multi_step":
            milestones = (recipe.first_milestone * steps, recipe.second_milestone * steps)
            return recipe.gamma ** sum(step >= milestone for milestone in milestones)
        case "cosine":
            return _cosine(step / steps)
        case "warmup_cosine":
            warmup = _warmup_steps(recipe, steps_per_epoch, steps)
            return (step + 1) / warmup if step < warmup else _cosine((step - warmup) / (steps - warmup))
        case "warmup_step":
            warmup = _warmup_steps(recipe, steps_per_epoch, steps)
            if step < warmup:
                return (step + 1) / warmup
            return recipe.gamma ** ((step - warmup) // steps_per_epoch // recipe.step_epochs)
        case "plateau":
            return recipe.plateau_factor ** plateaus(losses, recipe.plateau_patience)
        case "one_cycle":
            return _one_cycle(step, steps, recipe.pct_start)
        case _:
            raise ValueError(f"schedule: unknown value {recipe.schedule!r}")


def _warmup_steps(recipe: Recipe, steps_per_epoch: int, steps: int) -> int:
    return min(recipe.warmup_epochs * steps_per_epoch, steps // 2)


def _cosine(progress: float) -> float:
    """From 1 at progress 0 to 0 at progress 1."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _one_cycle(step: int, steps: int, pct_start: float) -> float:
    peak, last = pct_start * steps - 1, steps - 1
    if step < peak:
        low, share = ONE_CYCLE_START, 1.0 - step / peak
    else:
        low, share = ONE_CYCLE_START * ONE_CYCLE_END, (step - peak) / (last - peak) if last > peak else 0.0
    return low + (1.0 - low) * _cosine(share)


def plateaus(losses: Sequence[float], patience: int) -> int:
    """How often the loss has stood still for more than ``patience`` epochs."""
    best, waited, count = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1.0 - PLATEAU_THRESHOLD):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            waited, count = 0, count + 1
    return count


def stops_early(accuracies: Sequence[float], patience: int, min_delta: float) -> bool:
    """True if the last ``patience`` epochs brought no validation accuracy more than ``min_delta`` above the best."""
    best, waited = -math.inf, 0
    for accuracy in accuracies:
        best, waited = (accuracy, 0) if accuracy > best + min_delta else (best, waited + 1)
    return waited >= patience
