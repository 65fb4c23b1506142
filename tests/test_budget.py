"""Search budgets in images or device-seconds: every architecture gets the same, whatever a trial of it costs."""

import threading
from types import SimpleNamespace

import pytest

from cnnbench.distributed.tune import _Table
from cnnbench.ledger import Ledger, SearchLimit, Split
from cnnbench.protocol.phases import SearchPhase
from cnnbench.protocol.plan import check_budget, plan_rows
from cnnbench.protocol.price import predict
from cnnbench.protocol.recorder import Recorder
from cnnbench.search.search import StudySearch
from cnnbench.study import Search as Settings
from cnnbench.study import Study, StudyError, parse
from cnnbench.trial.spec import content, payload
from cnnbench.vocabulary import vocabulary
from trials import EPOCHS, SPACE, run_all

STUDY = """
study: tiny
data: {dataset: digits, image_size: 16}
architectures: [lenet5, {name: lenet5, label: slow}]
space: {lr: {float: [0.001, 0.1], log: true}}
budget: {trials: 50, epochs: 4, device_seconds: 10}
search: {pruner: none}
"""
ROWS = {"a": SPACE, "b": SPACE}
IMAGES = 8 * EPOCHS * 4  # four full trials of the simulated trainer


def study(*changes: str) -> Study:
    return parse(STUDY, vocabulary(), changes)


def search(folder, records=(), limit=("images", float(IMAGES)), **settings) -> StudySearch:
    return StudySearch(Settings(**settings), 100, ROWS, folder / "optuna.journal", records, None, limit)


def test_each_row_spends_its_images_and_early_stopping_buys_it_more_trials(tmp_path):
    for pruner in ("none", "asha"):
        done = run_all(search(tmp_path / pruner, pruner=pruner))
        for row in ROWS:
            spent = [record.budget.images for record in done if record.row == row]
            assert sum(spent) == IMAGES  # an epoch's images divide it, so that nothing is spent in excess
            assert len(spent) == 4 if pruner == "none" else len(spent) > 4


def test_a_search_that_was_interrupted_spends_what_is_left(tmp_path):
    undisturbed = run_all(search(tmp_path / "1"))
    before = run_all(search(tmp_path / "2"), most=7)
    after = search(tmp_path / "2", before)
    assert not after.is_over
    assert [r.trial_id for r in before + run_all(after)] == [r.trial_id for r in undisturbed]
    assert after.is_over and search(tmp_path / "2", undisturbed).is_over


def test_the_row_that_has_spent_the_smaller_share_is_served_next(tmp_path):
    searching = search(tmp_path)
    dear, cheap = searching.ask(), searching.ask()
    assert (dear.row, cheap.row) == ("a", "b")
    assert not searching.spend("a", dear.index, 20.0) and not searching.spend("b", cheap.index, 1.0)
    assert searching.ask().row == "b"


def test_the_trial_that_spends_a_rows_last_device_second_is_stopped_there_and_says_why(tmp_path):
    """Two rows, one whose epochs take three times as long; the trainer is this loop, all else is cnnbench's."""
    given = study()
    rows = plan_rows(given, channels=1, classes=10)
    split = Split(dataset="digits", train=8, validation=2, test=None, seed=0, data_checksum="a", split_checksum="b")
    recorder = Recorder(given, Ledger(tmp_path / "ledger.jsonl"), [])
    spaces = {label: row.space for label, row in rows.items()}
    searching = StudySearch(
        given.search, given.budget.trials, spaces, tmp_path / "journal", (), None, given.budget.limit
    )
    phase, images = SearchPhase(given, rows, recorder, searching), SimpleNamespace(split=split)
    phase.begin(0.0, lambda: images)
    table = _Table(phase, None, threading.Event())
    number = 0
    while (spec := table.ask(str(number))) is not None:
        seconds = 3.0 if spec.row == "slow" else 1.0
        for epoch in range(1, spec.epochs + 1):
            point = {"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
            point |= {"learning_rate": 0.1, "seconds": seconds}
            if table.report(str(number), content(payload("epoch", point=point, images=8 * epoch))):
                break
        else:
            table.report(str(number), content(payload("end", status="completed", reason="")))
        number += 1
    ended = {row: [(r.status, r.budget.epochs) for r in recorder.records if r.row == row] for row in rows}
    assert ended == {
        "lenet5": [("completed", 4), ("completed", 4), ("pruned", 2)],  # ten seconds
        "slow": [("completed", 4)],  # twelve: its last epoch began when one second was left
    }
    last = [record for record in recorder.records if record.row == "lenet5"][-1]
    assert last.reason == "after epoch 2, its architecture's device_seconds are spent"
    assert last.budget.search_limit == SearchLimit(unit="device_seconds", amount=10.0, trials=50)


def test_budgets_that_say_two_things_or_allow_nothing_are_refused():
    with pytest.raises(StudyError, match="budget: images and device_seconds are given"):
        study("budget.images=1000000")
    short = study("budget.device_seconds=null", "budget.images=3000")
    check_budget(short, train_images=750)
    with pytest.raises(StudyError, match=r"budget\.images: 3,000 are less than one trial's, 4 epochs of 751 images"):
        check_budget(short, train_images=751)


def test_a_limit_bounds_the_predicted_price():
    rates = {"lenet5": 100.0}
    free = predict(study("budget.device_seconds=null"), rates, train=900, held=300)["rows"]["lenet5"]
    assert free["search_device_hours"] == pytest.approx(50 * 4 * 1000 / 100 / 3600)
    seconds = predict(study(), rates, train=900, held=300)["rows"]["lenet5"]
    assert seconds["search_device_hours"] == pytest.approx(10 / 3600)
    images = predict(study("budget.device_seconds=null", "budget.images=9000"), rates, train=900, held=300)
    assert images["rows"]["lenet5"]["search_device_hours"] == pytest.approx(10_000 / 100 / 3600)
