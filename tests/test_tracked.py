"""A report made from an MLflow store alone is the report of the study's folder."""

import json
import shutil

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from cnnbench.commands.cli import app
from cnnbench.commands.ui import addresses
from cnnbench.ledger import Ledger
from cnnbench.report.source import read_source
from cnnbench.tracking.shipping import PARENT_ID
from cnnbench.tracking.tracked import TrackedError, download, studies
from cnnbench.tracking.tracker import Tracker, default_uri, known_runs
from invented_study import invented_study

PREDICTION = {"rows": {}, "price_per_hour": None}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A study's folder, and the store that its tracker shipped three of its trials and one row's finals to."""
    place = tmp_path_factory.mktemp("tracked")
    folder = place / "results" / "invented"
    records = invented_study(epochs=2)
    for record in records:
        Ledger(folder / "ledger.jsonl").append(record)
    described = {"study": "invented", "reports": str(place / "reports"), "tracking_uri": None}
    (folder / "study.json").write_text(json.dumps(described))
    (folder / "prediction.json").write_text(json.dumps(PREDICTION))
    uri = default_uri(folder.parent)
    tracker = Tracker(uri, "invented", folder, parent_params={})
    for record in [*records[:3], *(record for record in records if record.row == "resnet18" and record.seed >= 1000)]:
        tracker.finished(record)
    assert tracker.close(180).spooled == 0
    return folder, uri


def test_the_page_from_the_store_alone_is_the_folders_but_for_its_time(store, tmp_path):
    folder, uri = store
    hidden = folder.with_name("elsewhere")
    from_folder, from_store = tmp_path / "a", tmp_path / "b"
    runner = CliRunner()
    assert runner.invoke(app, ["report", str(folder), "--out", str(from_folder)]).exit_code == 0
    shutil.move(folder, hidden)
    try:
        arguments = ["report", "--tracking-uri", uri, "--study", "invented", "--out", str(from_store)]
        ran = runner.invoke(app, arguments)
        assert ran.exit_code == 0, ran.output
    finally:
        shutil.move(hidden, folder)
    assert known_runs(folder, uri)["resnet18-final-0"][1] in (from_store / "index.html").read_text()
    names = sorted(path.name for path in from_folder.iterdir())
    assert names == sorted(path.name for path in from_store.iterdir()) and "index.html" in names
    for name in names:
        assert _without_time((from_folder / name).read_text()) == _without_time((from_store / name).read_text()), name


def test_all_that_a_report_needs_is_an_artifact_of_the_parent_run(store, tmp_path):
    folder, uri = store
    runs = download(uri, "invented", tmp_path)
    assert read_source(tmp_path) == read_source(folder) and read_source(folder).prediction == PREDICTION
    shipped = {trial: place for trial, place in runs.items() if trial != PARENT_ID}
    assert len(shipped) == 9 and shipped == known_runs(folder, uri)


def test_a_study_that_the_store_has_not_is_named_with_those_that_it_has(store, tmp_path):
    with pytest.raises(TrackedError, match="has no study 'other'; it has invented"):
        download(store[1], "other", tmp_path)


def test_of_many_studies_the_nearest_are_named(tmp_path):
    uri = default_uri(tmp_path)
    for number in range(9):
        Tracker(uri, f"study_{number}", tmp_path / f"study_{number}", parent_params={}).close(180)
    with pytest.raises(TrackedError, match="has no study 'study-7'; of 9 that it has, the nearest are study_7, "):
        download(uri, "study-7", tmp_path)


def test_the_studies_of_a_store_are_its_experiments_that_cnnbench_made(store):
    client = MlflowClient(tracking_uri=store[1])
    client.create_run(client.create_experiment("somebody else's"))
    assert studies(store[1]) == {"invented": client.get_experiment_by_name("invented").experiment_id}


def test_the_address_of_a_studys_runs_has_its_experiment_and_their_order(store):
    (number,) = studies(store[1]).values()
    assert addresses(store[1], "http://127.0.0.1:5001") == {
        "invented": f"http://127.0.0.1:5001/#/experiments/{number}/runs?"
        "workflowType=machine_learning&orderByKey=metrics.%60val_accuracy%60&orderByAsc=false"
    }


def test_a_store_that_can_not_be_read_keeps_no_ui_from_starting(tmp_path):
    assert addresses(default_uri(tmp_path), "http://127.0.0.1:5001") == {}


def test_a_server_that_does_not_answer_is_said_without_its_password(tmp_path):
    with pytest.raises(TrackedError, match=r"MLflow at http://127\.0\.0\.1:9 can't be read") as raised:
        download("http://me:canary@127.0.0.1:9", "invented", tmp_path)
    assert "canary" not in str(raised.value)


def _without_time(text: str) -> str:
    """``text`` without the second that its report was made in."""
    start = text.find('<meta name="date" content="') + len('<meta name="date" content="')
    return text.replace(text[start : text.index('"', start)], "now") if start > len('<meta name="date"') else text
