"""Postgres as MLflow's and Optuna's store: a real server, a real study on Ray, and no password in what it writes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from cnnbench.ledger import Ledger
from cnnbench.search.search import StudySearch
from cnnbench.study import Search as Settings
from cnnbench.study import StudyError, parse
from cnnbench.study.space import FloatRange
from cnnbench.uri import blackened, has_password, without_password
from cnnbench.vocabulary import vocabulary
from ledger_rows import trial
from postgres_server import PASSWORD, USER, Server, postgres

pytestmark = pytest.mark.timeout(900)

STUDY = """
study: stored
data: {dataset: digits, image_size: 16}
architectures: [lenet5]
space: {lr: {float: [0.02, 0.2], log: true}}
budget: {trials: 2, epochs: 1}
finals: {seeds: 1, few_seeds_reason: test}
precision: fp32
resources: {cluster: local}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres("mlflow", "optuna") as running:
        yield running


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@host:5432/db?connect_timeout=5", "postgresql://me@host:5432/db?connect_timeout=5"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me"),
        ("http://me:secret@host:5000", "http://host:5000"),
        ("http://token@host:5000/path", "http://host:5000/path"),  # the user may be a token
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("postgresql+psycopg://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql"),
    ],
)
def test_an_address_is_shown_without_its_secrets(uri, shown):
    assert without_password(uri) == shown
    assert has_password(uri) == ("secret" in uri)
    assert "secret" not in blackened(f"no connection to {uri} with secret", uri) or "secret" not in uri


def test_a_password_with_signs_is_blackened_as_it_is_written_and_as_it_is_meant():
    uri = "postgresql://me:p%40ss%2Fword@host/db"
    assert blackened("p%40ss%2Fword and p@ss/word", uri) == "*** and ***"


@pytest.mark.parametrize("field", ["tracking_uri", "search.storage"])
def test_a_password_on_the_command_line_is_refused_without_being_repeated(field):
    with pytest.raises(StudyError, match=f"--set {field}: a password on the command line") as caught:
        parse(STUDY, vocabulary(), [f"{field}=postgresql://me:secret@host/db"])
    assert "secret" not in str(caught.value)


def test_another_store_than_postgres_is_refused_by_name():
    with pytest.raises(StudyError, match=r"search.storage: 'mysql://host/db' is no Postgres address") as caught:
        parse(STUDY, vocabulary(), ["search.storage=mysql://host/db"])
    assert "write postgresql://USER@HOST/DATABASE" in str(caught.value)


def test_a_search_kept_in_postgres_proposes_what_it_proposes_with_its_journal(server, tmp_path):
    def proposed(storage):
        rows = {"LeNet-5": {"lr": FloatRange(0.01, 1.0, log=True)}}
        search = StudySearch(Settings(storage=storage, startup_trials=2), 6, rows, tmp_path / "same" / "optuna.journal")
        values = []
        for index in range(6):
            proposal = search.ask()
            values.append(proposal.values["lr"])
            search.report("LeNet-5", index, 1, values[-1])
            search.tell(trial("LeNet-5", index, values[-1], hyperparameters=dict(proposal.values)))
        return values

    journal = proposed(None)
    assert proposed(server.uri("optuna")) == journal
    assert proposed(server.uri("optuna")) == journal  # written anew: not on top of what is there
    (stored,) = (s for s in optuna.get_all_study_summaries(server.uri("optuna")) if "/same/" in s.study_name)
    assert (stored.study_name, stored.n_trials) == ("cnnbench/same/LeNet-5", 6)


def cnnbench(folder: Path, *arguments: str, code: int, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cnnbench", *arguments], cwd=folder, env={**os.environ, **environment}, timeout=600,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


def test_a_database_that_does_not_answer_is_one_error_before_anything_starts(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY + "search: {storage: 'postgresql://me:secret@127.0.0.1:1/none'}\n")
    output = cnnbench(tmp_path, "run", "study.yaml", code=2)
    assert "search.storage: postgresql://me@127.0.0.1:1/none: " in output and "refused" in output
    assert "secret" not in output and not (tmp_path / "results").exists()


@pytest.mark.ray
def test_a_study_with_both_stores_in_postgres_is_read_back_and_its_password_is_written_nowhere(server, tmp_path):
    without = server.uri("mlflow", password=False)
    MlflowClient(tracking_uri=server.uri("mlflow")).search_experiments()  # makes the tables, which takes MLflow a while
    stores = f"tracking_uri: {server.uri('mlflow')}\nsearch: {{storage: '{server.uri('optuna')}'}}\n"
    (tmp_path / "study.yaml").write_text(STUDY + stores)
    output = cnnbench(tmp_path, "run", "study.yaml", code=0)
    assert f"cnnbench ui --tracking-uri {without}" in output and "spooled" not in output

    records = Ledger(tmp_path / "results/stored/ledger.jsonl").read().records
    os.environ["PGPASSFILE"] = str(server.pgpass)  # the documented way to keep the password out of addresses
    try:
        client = MlflowClient(tracking_uri=without)
        experiment = client.get_experiment_by_name("stored")
        runs = client.search_runs([experiment.experiment_id], max_results=100)
        assert {run.info.run_name for run in runs} == {record.trial_id for record in records} | {"study"}
        (parent,) = (run for run in runs if run.info.run_name == "study")
        stored = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
        assert {"ledger.jsonl", "study.json"} <= stored
        study = optuna.load_study(study_name="cnnbench/stored/lenet5", storage=server.uri("optuna", password=False))
    finally:
        del os.environ["PGPASSFILE"]
    searched = [record for record in records if record.stage == "search"]
    assert sorted(trial.value for trial in study.trials) == sorted(record.score for record in searched)

    (tmp_path / "study.yaml").unlink()  # the user's own file
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    written += [file for file in Path(os.environ["RAY_TMPDIR"]).rglob("*") if file.is_file()]
    written.append(server.folder / "log")
    assert {"study.json", "ledger.jsonl", "index.html", "raylet.out"} <= {file.name for file in written}
    assert [file for file in written if PASSWORD.encode() in file.read_bytes()] == []
    dumped = "".join(
        subprocess.run(
            ["pg_dump", "-h", "127.0.0.1", "-p", str(server.port), "-U", USER, database], check=True, text=True,
            env={**os.environ, "PGPASSFILE": str(server.pgpass)}, stdout=subprocess.PIPE,
        ).stdout
        for database in ("mlflow", "optuna")
    )  # fmt: skip
    assert "val_accuracy" in dumped and "cnnbench/stored/lenet5" in dumped
    assert PASSWORD not in dumped and PASSWORD not in output
