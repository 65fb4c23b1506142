"""Early stopping at rungs (asynchronous successive halving, Li et al. 2018, arXiv:1810.05934) beside a model that
proposes trials, and what the model learns from trials that were stopped.

The bar of a rung is set by the trials that no earlier one led to, and by them alone. What a model or the best so far
proposes is much alike: judged by each other, two thirds of these would be stopped for the noise of an early epoch, the
best of them as likely as any.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState, create_trial

DIVERGED = "diverged"  # the user attribute "status" of such a trial
DOUBT = 2  # standard errors of its own accuracy that a trial may be below the bar

SetsBar = Callable[[FrozenTrial], bool]


@dataclass(frozen=True)
class Rungs:
    """When trials are judged, and how."""

    min_epochs: int
    reduction_factor: int
    images: int | None = None  # that an accuracy was measured on; None: it is taken as exact

    def is_at(self, epoch: int) -> bool:
        """True at the epochs at which trials are judged: min_epochs, and each reduction_factor times the one before."""
        rung = self.min_epochs
        while rung < epoch:
            rung *= self.reduction_factor
        return rung == epoch

    def is_stopped(self, value: float, others: Sequence[float]) -> bool:
        """True for an accuracy in [0, 1] that is below the bar by more than the images can't tell. The bar: the best
        one in ``reduction_factor`` of itself and the others; where there are fewer, the best."""
        known = sorted((*others, value), reverse=True)
        bar = known[max(1, len(known) // self.reduction_factor) - 1]
        return value + DOUBT * self._standard_error(value) < bar

    def _standard_error(self, accuracy: float) -> float:
        return math.sqrt(accuracy * (1 - accuracy) / self.images) if self.images else 0.0

    def judged_again(self, trials: Sequence[FrozenTrial], sets_bar: SetsBar) -> list[FrozenTrial]:
        """The trials as a model should see them: finished ones complete, their value a rank from 0, the worst.

        Each is judged anew by all that are known now, since it was judged by those before it alone, and the first ones
        go far whatever they are worth (Optuna's TPE takes every completed trial for better than every pruned one). One
        that gets further is better; of those that get as far, the higher accuracy is. A diverged one is worse than all
        others; one that failed for another reason says nothing, and is left out. Running ones stay.
        """
        finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        places = self._places(finished, sets_bar)
        rank = {place: number for number, place in enumerate(sorted(set(places)), 1)}
        seen = [_ranked(trial, rank[place]) for trial, place in zip(finished, places, strict=True)]
        lost = [trial for trial in trials if trial.user_attrs.get("status") == DIVERGED]
        running = [trial for trial in trials if trial.state is TrialState.RUNNING]
        return [*seen, *(_ranked(trial, 0) for trial in lost), *running]

    def _places(self, trials: Sequence[FrozenTrial], sets_bar: SetsBar) -> list[tuple[int, float]]:
        """(rungs passed, accuracy where it stands) of each trial."""
        left = dict(enumerate(trials))
        places: dict[int, tuple[int, float]] = {}
        for passed in itertools.count():
            epoch = self.min_epochs * self.reduction_factor**passed
            there = {number: trial.intermediate_values.get(epoch) for number, trial in left.items()}
            bar = {number: value for number, value in there.items() if value is not None and sets_bar(left[number])}
            for number, value in there.items():
                if value is None:  # it ended before this rung
                    places[number] = (passed, _last(left.pop(number)))
                elif self.is_stopped(value, [other for judge, other in bar.items() if judge != number]):
                    places[number] = (passed, value)
                    del left[number]
            if not left:
                break
        return [places[number] for number in range(len(trials))]


def _last(trial: FrozenTrial) -> float:
    if trial.value is not None:
        return trial.value
    return trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else 0.0


def _ranked(trial: FrozenTrial, rank: int) -> FrozenTrial:
    return create_trial(
        state=TrialState.COMPLETE, value=float(rank), params=trial.params, distributions=trial.distributions
    )
