"""Draws near the best configuration so far."""

import math
import statistics
from pathlib import Path

import optuna
import pytest

from cnnbench.search.neighbours import REDRAWN, SPREAD, NeighbourSampler
from cnnbench.search.search import StudySearch, suggest
from cnnbench.study import Search as Settings
from cnnbench.study.space import Choice, FloatRange, IntRange
from trials import record

SPACE = {
    "lr": FloatRange(1e-4, 1.0, log=True),
    "momentum": FloatRange(0.0, 0.9),
    "batch_size": IntRange(16, 512, log=True),
    "step_epochs": IntRange(2, 20, step=3),
    "optimizer": Choice({"sgd": {"nesterov": Choice({True: {}, False: {}})}, "adam": {"weight_decay": IntRange(1, 3)}}),
}
CENTRE = {
    "lr": 0.01, "momentum": 0.45, "batch_size": 64, "step_epochs": 11, "optimizer": "sgd",
    "optimizer.sgd.nesterov": True,
}  # fmt: skip
DRAWS = 400


@pytest.fixture(scope="module")
def drawn() -> list[dict]:
    study = optuna.create_study()
    found = []
    for seed in range(DRAWS):
        study.sampler = NeighbourSampler(CENTRE, seed)
        found.append(suggest(study.ask(), SPACE))
    return found


def test_numbers_move_by_a_tenth_of_their_range(drawn):
    rates = [math.log(values["lr"]) for values in drawn]
    assert statistics.mean(rates) == pytest.approx(math.log(0.01), abs=0.2)
    assert statistics.stdev(rates) == pytest.approx(SPREAD * math.log(1e4), rel=0.15)
    assert statistics.stdev(values["momentum"] for values in drawn) == pytest.approx(SPREAD * 0.9, rel=0.15)
    assert {values["step_epochs"] for values in drawn} == {5, 8, 11, 14, 17}
    sizes = [values["batch_size"] for values in drawn]
    assert all(isinstance(size, int) and 16 <= size <= 512 for size in sizes) and len(set(sizes)) > 30


def test_a_choice_is_seldom_another_and_what_only_that_has_is_drawn(drawn):
    other = [values["weight_decay"] for values in drawn if values["optimizer"] == "adam"]
    assert len(other) / DRAWS == pytest.approx(REDRAWN / 2, abs=0.04)
    assert set(other) == {1, 2, 3}


def test_a_range_is_not_left():
    study = optuna.create_study()
    for seed in range(100):
        study.sampler = NeighbourSampler({**CENTRE, "lr": 1.0, "step_epochs": 20, "batch_size": 16}, seed)
        values = suggest(study.ask(), SPACE)
        assert values["lr"] <= 1.0 and values["step_epochs"] <= 20 and values["batch_size"] >= 16


@pytest.mark.parametrize(("sampler", "wanted"), [("tpe", 1 / 3), ("random", 0.0)])
def test_a_third_of_tpes_trials_are_near_the_best_that_ran_to_its_end(tmp_path: Path, sampler: str, wanted: float):
    """Of six numbers; a draw at random hardly has all of them near."""
    space = {f"number_{place}": FloatRange(0.0, 1.0) for place in range(6)}
    settings = Settings(sampler=sampler, warm_start=False, startup_trials=1)
    searching = StudySearch(settings, 100, {"a": space}, tmp_path / "optuna.journal")
    worse, best = searching.ask(), searching.ask()
    searching.tell(record(worse, [0.5]))
    searching.tell(record(best, [0.9]))
    later = [searching.ask().values for _ in range(90)]
    near = [all(abs(values[name] - best.values[name]) < 0.25 for name in space) for values in later]
    assert sum(near) / len(near) == pytest.approx(wanted, abs=0.12)
