"""Early stopping at rungs, and trials judged again for the search's model."""

from collections.abc import Sequence

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from cnnbench.search.rungs import Rungs

LR = {"lr": optuna.distributions.FloatDistribution(0.0, 1.0)}


def trial(lr: float, points: Sequence[float], state=TrialState.PRUNED, **attributes) -> FrozenTrial:
    value = points[-1] if state is TrialState.COMPLETE else None
    values = dict(enumerate(points, 1))
    return create_trial(
        state=state, value=value, params={"lr": lr}, distributions=LR, user_attrs=attributes, intermediate_values=values
    )


def order(trials: Sequence[FrozenTrial], sets_bar=lambda trial: True) -> dict[float, float]:
    """lr → rank, of trials with rungs at the epochs 1 and 3."""
    seen = Rungs(1, 3).judged_again(trials, sets_bar)
    return {one.params["lr"]: one.value for one in seen if one.value is not None}


def test_rungs_are_powers_of_the_reduction_factor():
    assert [epoch for epoch in range(1, 30) if Rungs(1, 3).is_at(epoch)] == [1, 3, 9, 27]
    assert [epoch for epoch in range(1, 30) if Rungs(2, 2).is_at(epoch)] == [2, 4, 8, 16]


@pytest.mark.parametrize(
    ("value", "others", "stopped"),
    [
        (0.1, [], False),  # the first one goes on, whatever it is
        (0.5, [0.6], True),
        (0.5, [0.5], False),  # of equals, all go on
        (0.7, [0.8, 0.6, 0.5], True),  # of four, one goes on
        (0.7, [0.8, 0.6, 0.5, 0.4, 0.3], False),  # of six, two
        (0.6, [0.8, 0.7, 0.5, 0.4, 0.3], True),
    ],
)
def test_one_trial_in_three_goes_on(value, others, stopped):
    assert Rungs(1, 3).is_stopped(value, others) is stopped


def test_a_trial_that_the_images_cannot_tell_from_the_bar_goes_on():
    """Of 100 images 0.80 is known to 0.04, twice that is allowed; of 10,000 to 0.004; at 0 and 1 there is no doubt."""
    assert not Rungs(1, 3, images=100).is_stopped(0.80, [0.87])
    assert Rungs(1, 3, images=100).is_stopped(0.80, [0.89])
    assert Rungs(1, 3, images=10_000).is_stopped(0.80, [0.81])
    assert not Rungs(1, 3, images=10_000).is_stopped(0.80, [0.807])
    assert Rungs(1, 3, images=100).is_stopped(0.0, [0.01]) and not Rungs(1, 3, images=100).is_stopped(1.0, [1.0])


def test_a_first_trial_that_went_far_for_want_of_others_is_no_longer_taken_for_good():
    first = trial(0.0, [0.1, 0.2, 0.3], TrialState.COMPLETE)
    later = [trial(lr, [0.2 + lr]) for lr in (0.1, 0.2, 0.3)]
    assert order([first, *later]) == {0.0: 1, 0.1: 2, 0.2: 3, 0.3: 4}


def test_a_trial_that_gets_further_is_better_and_of_those_that_get_as_far_the_more_accurate():
    far = trial(0.1, [0.9, 0.9, 0.9, 0.95], TrialState.COMPLETE)
    further_down = trial(0.2, [0.9, 0.9, 0.8])
    stopped = [trial(0.3, [0.7]), trial(0.4, [0.6]), trial(0.5, [0.5]), trial(0.6, [0.4])]
    ranks = order([stopped[3], further_down, stopped[0], far, stopped[1], stopped[2]])
    assert sorted(ranks, key=lambda lr: ranks[lr]) == [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def test_the_bar_is_set_by_those_that_may_set_it():
    trials = [trial(0.1, [0.9]), trial(0.2, [0.8]), trial(0.3, [0.7, 0.7, 0.7], TrialState.COMPLETE), trial(0.4, [0.6])]
    assert order(trials)[0.3] < order(trials)[0.2]
    judges = order(trials, lambda trial: trial.params["lr"] > 0.25)
    assert judges[0.3] == 4, "only 0.4, which is worse, may judge it"


def test_a_diverged_trial_is_the_worst_and_a_failed_one_says_nothing():
    lost = [trial(0.1, [0.9], TrialState.FAIL, status="diverged"), trial(0.2, [0.9], TrialState.FAIL, status="failed")]
    running = trial(0.3, [], TrialState.RUNNING)
    seen = Rungs(1, 3).judged_again([*lost, trial(0.4, [0.1]), running], lambda trial: True)
    assert [(one.params["lr"], one.value) for one in seen] == [(0.4, 1.0), (0.1, 0.0), (0.3, None)]
