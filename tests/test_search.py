"""The search over Optuna's ask and tell: equal budgets, repeatable, honest about how trials ended."""

import json
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from wsgiref.simple_server import make_server

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from cnnbench.search.search import StudySearch
from cnnbench.study import Search as Settings
from cnnbench.study.samplers import SAMPLERS
from cnnbench.study.space import Choice, Fixed, FloatRange, IntRange
from trials import EPOCHS, SPACE, accuracy, record, run_all, run_trial

ROWS = {"a": SPACE, "b": SPACE, "c": SPACE}


def search(folder: Path, trials: int = 8, rows=ROWS, records=(), **settings) -> StudySearch:
    return StudySearch(Settings(**settings), trials, rows, folder / "optuna.journal", records)


def summary(records):
    return [(r.trial_id, r.status, r.hyperparameters, r.budget.epochs) for r in records]


def stored(folder: Path, row: str) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    return optuna.load_study(study_name=row, storage=storage).trials


def test_the_journal_tells_another_process_all_that_this_one_knows(tmp_path):
    """Optuna replays the file as a dashboard would; this process goes by its memory of what it wrote."""
    mine = search(tmp_path)
    run_all(mine)
    for row, study in mine._studies.items():
        assert stored(tmp_path, row) == study.trials and len(study.trials) == 8


def test_every_row_gets_the_same_number_of_trials_in_turns(tmp_path):
    done = run_all(search(tmp_path))
    assert [r.row for r in done[:6]] == ["a", "b", "c", "a", "b", "c"]
    assert Counter(r.row for r in done) == {"a": 8, "b": 8, "c": 8}


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "grid"])
def test_the_same_seed_gives_the_same_study_and_another_seed_another(tmp_path, sampler):
    rows = {"a": {**SPACE, "batch_size": IntRange(16, 64)}}
    first = summary(run_all(search(tmp_path / "1", rows=rows, sampler=sampler)))
    assert first == summary(run_all(search(tmp_path / "2", rows=rows, sampler=sampler)))
    assert first != summary(run_all(search(tmp_path / "3", rows=rows, sampler=sampler, seed=1)))


@pytest.mark.parametrize("kept", [1, 7, 13, 23])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(tmp_path, kept):
    undisturbed = summary(run_all(search(tmp_path / "1")))
    before = run_all(search(tmp_path / "2"), most=kept)
    interrupted = search(tmp_path / "2", records=before)
    assert summary(before) + summary(run_all(interrupted)) == undisturbed


def test_a_trial_that_was_running_at_the_crash_is_asked_again(tmp_path):
    first = search(tmp_path / "1", rows={"a": SPACE})
    before = run_all(first, most=3)
    lost = first.ask()
    assert search(tmp_path / "1", rows={"a": SPACE}, records=before).ask() == lost


def test_pruned_trials_are_pruned_in_optuna_with_their_intermediate_values(tmp_path):
    done = run_all(search(tmp_path))
    pruned = [r for r in done if r.status == "pruned" and r.row == "a"]
    assert pruned, "nothing was pruned: the test shows nothing"
    trials = {trial.user_attrs["index"]: trial for trial in stored(tmp_path, "a")}
    for r in pruned:
        trial = trials[r.index]
        assert trial.state is optuna.trial.TrialState.PRUNED
        assert trial.intermediate_values == {p.epoch: p.val_accuracy for p in r.epochs}


def test_diverged_and_failed_trials_are_failures_in_optuna_and_count_in_the_budget(tmp_path):
    searching = search(tmp_path, trials=3, rows={"a": SPACE})
    for status in ("diverged", "failed", "out-of-memory"):
        searching.tell(record(searching.ask(), [], status))
    assert searching.ask() is None
    assert [trial.state for trial in stored(tmp_path, "a")] == [optuna.trial.TrialState.FAIL] * 3


def test_early_stopping_compares_a_row_with_itself_only(tmp_path):
    """Row b is a hundred times worse than row a at every epoch, yet trials of its run to their end."""
    searching = search(tmp_path, trials=6, rows={"a": SPACE, "b": SPACE}, sampler="random")
    finished = Counter()
    while (proposal := searching.ask()) is not None:
        scale = 1.0 if proposal.row == "a" else 0.01
        points: list[float] = []
        for epoch in range(1, EPOCHS + 1):
            points.append(scale * accuracy(proposal.values, epoch))
            if searching.report(proposal.row, proposal.index, epoch, points[-1]):
                break
        finished[proposal.row] += len(points) == EPOCHS
        searching.tell(record(proposal, points, "completed" if len(points) == EPOCHS else "pruned"))
    assert finished["b"] >= 1 and finished["a"] >= 1


def test_parameters_under_a_choice_are_drawn_only_with_it(tmp_path):
    space = {
        "optimizer": Choice({"sgd": {"lr": FloatRange(0.1, 1.0)}, "adamw": {"lr": FloatRange(1e-4, 1e-3)}}),
        "schedule": Choice({"cosine": {}, "step": {"gamma": FloatRange(0.1, 0.5)}}),
        "batch_size": Fixed(64),
    }
    searching = search(tmp_path, trials=20, rows={"a": space})
    seen = Counter()
    while (proposal := searching.ask()) is not None:
        values = proposal.values
        assert (values["lr"] >= 0.1) == (values["optimizer"] == "sgd")
        assert ("gamma" in values) == (values["schedule"] == "step")
        seen[values["optimizer"], values["schedule"]] += 1
        searching.tell(record(proposal, [0.5]))
    assert len(seen) == 4


@pytest.mark.parametrize("pruner", ["asha", "median"])
def test_warm_starts_go_all_the_way(tmp_path, pruner):
    """Also the second, where the first, begun beside it, is through and was better all along."""
    searching = search(tmp_path, trials=9, rows={"a": SPACE}, pruner=pruner, startup_trials=1)
    better, worst = searching.ask(), searching.ask()
    for epoch in range(1, EPOCHS + 1):
        searching.report("a", better.index, epoch, 0.9)
    searching.tell(record(better, [0.9] * EPOCHS))
    assert not any(searching.report("a", worst.index, epoch, 0.1) for epoch in range(1, EPOCHS + 1))
    drawn = searching.ask()
    assert any(searching.report("a", drawn.index, epoch, 0.1) for epoch in range(1, EPOCHS + 1))


def test_warm_starts_set_the_bar_for_others(tmp_path):
    """Also where TPE's model is used from the second trial on."""
    searching = search(tmp_path, trials=9, rows={"a": SPACE}, startup_trials=1)
    for reached in (0.3, 0.9):
        warm = searching.ask()
        for epoch in range(1, EPOCHS + 1):
            searching.report("a", warm.index, epoch, reached)
        searching.tell(record(warm, [reached] * EPOCHS))
    assert searching.report("a", searching.ask().index, 1, 0.7)
    assert not searching.report("a", searching.ask().index, 1, 0.95)


def test_the_search_allows_for_the_number_of_validation_images(tmp_path):
    for images, stopped in ((None, True), (100, False), (100_000, True)):
        searching = StudySearch(
            Settings(sampler="random", warm_start=False), 3, {"a": SPACE}, tmp_path / str(images) / "journal",
            validation_images=images,
        )  # fmt: skip
        for _ in range(2):
            best = searching.ask()
            assert not searching.report("a", best.index, 1, 0.87)
        assert searching.report("a", searching.ask().index, 1, 0.8) is stopped


def test_a_grid_is_searched_point_by_point_and_only_once(tmp_path):
    space = {"optimizer": Choice({"sgd": {}, "adam": {}, "adamw": {}}), "batch_size": Choice({32: {}, 64: {}})}
    searching = search(tmp_path, trials=50, rows={"a": space}, sampler="grid", pruner="none")
    first = []
    for _ in range(3):
        first.append(record(searching.ask(), [0.5]))
        searching.tell(first[-1])
    again = search(tmp_path, trials=50, rows={"a": space}, sampler="grid", pruner="none", records=first)
    points = [r.hyperparameters for r in first]
    while (proposal := again.ask()) is not None:
        points.append(proposal.values)
        again.tell(record(proposal, [0.5]))
    assert len(points) == 6 == len({tuple(sorted(point.items())) for point in points})


def test_the_search_finds_a_better_configuration_than_its_first_ones(tmp_path):
    done = run_all(search(tmp_path, trials=25, rows={"a": SPACE}))
    assert max(r.score for r in done[4:]) > max(r.score for r in done[:4])
    assert abs(max(done, key=lambda r: r.score).hyperparameters["lr"] / 0.01 - 1) < 0.5


def test_the_store_opens_in_optuna_dashboard(tmp_path):
    from optuna_dashboard import wsgi

    searching = search(tmp_path, trials=2)
    while (proposal := searching.ask()) is not None:
        run_trial(searching, proposal)
    application = wsgi(JournalStorage(JournalFileBackend(str(tmp_path / "optuna.journal"))))
    with make_server("127.0.0.1", 0, application) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/api/studies", timeout=30) as answer:
            names = {study["study_name"] for study in json.load(answer)["study_summaries"]}
        server.shutdown()
    assert names == {"a", "b", "c"}


def is_cheap(row, values):
    return row != "a" or values["lr"] < 0.02


def test_a_configuration_over_a_limit_is_never_a_trial_and_another_takes_its_place(tmp_path):
    limited = StudySearch(Settings(sampler="random"), 8, ROWS, tmp_path / "optuna.journal", admits=is_cheap)
    done = run_all(limited)
    assert Counter(r.row for r in done) == {"a": 8, "b": 8, "c": 8}
    assert all(r.hyperparameters["lr"] < 0.02 for r in done if r.row == "a")
    assert any(r.hyperparameters["lr"] >= 0.02 for r in done if r.row == "b")
    assert len(stored(tmp_path, "a")) == 8


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_limits_do_not_change_how_an_interrupted_study_goes_on(tmp_path, sampler):
    def limited(folder, records=()):
        rows = {"a": {**SPACE, "batch_size": IntRange(16, 64)}}
        return StudySearch(Settings(sampler=sampler), 8, rows, folder / "optuna.journal", records, is_cheap)

    undisturbed = summary(run_all(limited(tmp_path / "1")))
    before = run_all(limited(tmp_path / "2"), most=6)
    assert summary(before) + summary(run_all(limited(tmp_path / "2", before))) == undisturbed


def test_a_row_that_has_nothing_within_the_limits_is_given_up_and_the_others_go_on(tmp_path):
    for sampler, space in (("random", SPACE), ("grid", {"lr": Choice({0.1: {}, 0.2: {}})})):
        rows = {"a": space, "b": space}
        limited = StudySearch(
            Settings(sampler=sampler), 2, rows, tmp_path / sampler / "journal", admits=lambda row, _: row == "b"
        )
        assert [r.row for r in run_all(limited)] == ["b", "b"]
        assert limited.given_up == ["a"]
