"""What a running study shows: a live table in a terminal, plain lines elsewhere. Nothing runs; time stands still."""

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cnnbench import progress as progress_view
from cnnbench.ledger import EpochPoint, TrialRecord
from cnnbench.progress import StudyView
from cnnbench.search.search import Proposal
from cnnbench.trial.spec import Progress
from test_stage import spec
from trials import record


def _record(index: int, points: list[float], status: str = "completed", **changes: Any) -> TrialRecord:
    return record(Proposal("resnet20", index, {"lr": 0.1}), points, status, **changes)


def _running(index: int) -> Progress:
    return Progress(replace(spec(index), trial_id=f"resnet20-{index:03d}", row="resnet20", epochs=9), "2026-01-01")


def _phase(name: str, total: int, done: list[TrialRecord], counted_as: str = "trials") -> Any:
    return SimpleNamespace(name=name, counted_as=counted_as, total=total, done=done)


def _point(epoch: int) -> EpochPoint:
    return _record(0, [0.5] * epoch).epochs[-1]


def _view(*, terminal: bool) -> tuple[StudyView, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    return StudyView(console, "tiny", ["lenet5", "resnet20"], trials=4, seeds=6), out


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(progress_view.time, "monotonic", lambda: now[0])
    return now


def _table(view: StudyView) -> list[list[str]]:
    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(view._render())
    return [line.split() for line in out.getvalue().splitlines()]


def test_the_table_has_each_rows_trials_its_best_and_what_runs_now(clock):
    view, _ = _view(terminal=True)
    view.phase(_phase("search", 8, []))
    for index, (points, status) in enumerate([([0.5, 0.75], "completed"), ([0.25], "pruned"), ([], "diverged")]):
        view.started(_running(index))
        view.finished(_record(index, points, status))
    view.started(_running(3))
    view.epoch(_running(3), _point(2))
    head, _, lenet5, resnet20 = _table(view)
    assert head[:4] == ["tiny", "·", "search", "3/8"]
    assert lenet5 == ["lenet5", "0/4", "0", "0", "0/6"]
    assert resnet20 == ["resnet20", "3/4", "1", "1", "75.00", "%", "0/6", "003:", "2/9"]


def test_the_time_left_is_that_of_the_trials_of_this_run_alone(clock):
    view, _ = _view(terminal=True)
    view.phase(_phase("search", 8, [_record(index, [0.5]) for index in range(4)]))
    assert "left" not in " ".join(_table(view)[0]), "nothing is known yet"
    clock[0] += 60.0
    view.finished(_record(4, [0.5]))
    assert " ".join(_table(view)[0]).endswith("1:00, about 3 min left")


def test_without_a_terminal_each_trial_is_a_plain_line(clock):
    view, out = _view(terminal=False)
    with view:
        view.phase(_phase("search", 8, [_record(0, [0.5])]))
        view.finished(_record(1, [0.5, 0.75]))
        view.retried(_running(2), "its process died ([Errno 9] [bold]x); retry 1/2 from epoch 1")
        view.finished(_record(2, [], "failed", reason="ValueError: [red]no[/red]"))
    assert out.getvalue().splitlines() == [
        "search: 8 trials, 1 kept from before",
        "search 2/8 resnet20-001 completed validation 75.00 % 2 epochs 0.1 s",
        "resnet20-002: its process died ([Errno 9] [bold]x); retry 1/2 from epoch 1",
        "search 3/8 resnet20-002 failed (ValueError: [red]no[/red]) 0 epochs 0.1 s",
    ]


def test_in_a_terminal_only_what_went_wrong_is_a_line(clock):
    view, out = _view(terminal=True)
    view.finished(_record(1, [0.5, 0.75]))
    assert out.getvalue() == ""
    view.finished(_record(2, [], "failed", reason="out of luck"))
    assert "failed (out of luck)" in out.getvalue()


def test_a_finals_accuracy_is_not_shown_before_the_leaderboard(clock):
    view, out = _view(terminal=False)
    view.phase(_phase("finals", 12, [], "finals"))
    view.finished(_record(0, [], stage="final", score=None, stop_epoch=3))
    assert "%" not in out.getvalue() and "1/6" in _table(view)[3]


def test_a_phase_of_another_kind_is_counted_in_a_column_of_its_own_and_not_as_the_searchs_trials(clock):
    view, _ = _view(terminal=True)
    view.phase(_phase("search", 8, [_record(0, [0.5, 0.75])]))
    view.phase(_phase("pruning", 3, [_record(1, [0.99], stage="effect")], "compressed"))
    view.finished(_record(2, [0.99], stage="effect"))
    head, columns, lenet5, resnet20 = _table(view)
    assert head[:4] == ["tiny", "·", "pruning", "2/3"]
    assert columns[-3:] == ["finals", "compressed", "now"]
    assert lenet5 == ["lenet5", "0/4", "0", "0", "0/6", "0"]
    assert resnet20 == ["resnet20", "1/4", "0", "0", "75.00", "%", "0/6", "2"]
