"""Whole studies, as a user runs them: the CLI in a process of its own, real Ray, real images, a real MLflow store."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnbench.ledger import Ledger, TrialRecord

pytestmark = pytest.mark.ray

STUDY = """
study: tiny
data: {dataset: digits, image_size: 16}
architectures: [lenet5, {name: simple_cnn, width: 0.25}]
space:
  lr: {float: [0.02, 0.2], log: true}
  activation: {choice: [relu, gelu]}
  schedule: constant
budget: {trials: 3, epochs: 4}
finals: {seeds: 6}
precision: fp32
resources: {concurrent_trials: 1, cluster: local}
"""
COLUMNS = ("rank_group,architecture,year,test_accuracy_mean,test_accuracy_ci95,n_seeds,params,macs,flops,"
           "trials_completed,trials_pruned,trials_failed")  # fmt: skip


class Place:
    """A folder with a study file, in which the CLI is run."""

    def __init__(self, folder: Path, study: str = STUDY) -> None:
        self.folder = folder
        self.study_file = folder / "tiny.yaml"
        self.study_file.write_text(study)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cnnbench", *arguments]

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            self.command("run", str(self.study_file), *arguments), cwd=self.folder, text=True, timeout=900,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    def disturbed(self, disturb: Callable[[subprocess.Popen[str]], None], after: int) -> tuple[int, str]:
        """Runs the study and calls ``disturb`` once the ledger has ``after`` lines. Returns exit code and output."""
        process = subprocess.Popen(
            self.command("run", str(self.study_file)), cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 900
            while len(self.records()) < after and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            disturb(process)
            output, _ = process.communicate(timeout=900)
        finally:
            process.kill()
        return process.returncode, output

    def records(self) -> tuple[TrialRecord, ...]:
        return Ledger(self.folder / "results" / "tiny" / "ledger.jsonl").read().records

    def outcome(self) -> dict[str, object]:
        """What must not depend on interruptions: each trial's configuration, curve and scores."""
        records = self.records()
        found = {
            r.trial_id: (r.status, dict(r.hyperparameters), r.components, r.score, r.test,
                         [(p.train_loss, p.val_accuracy) for p in r.epochs])
            for r in records
        }  # fmt: skip
        assert len(found) == len(records), "a trial was recorded twice"
        return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, str]:
    """A study that nothing disturbed, and what it printed."""
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    return place, place.run()


def test_a_study_ends_with_its_leaderboard_the_report_and_the_way_to_mlflow(finished):
    _, output = finished
    assert "Leaderboard: reports/tiny/index.html" in output
    assert output.strip().endswith("MLflow UI:   cnnbench ui --storage results")
    assert "lenet5" in output.split("group  architecture")[1]


def test_every_architecture_gets_its_trials_and_its_finals(finished):
    records = finished[0].records()
    for row in ("lenet5", "simple_cnn_w0.25"):
        search = [r for r in records if r.row == row and r.stage == "search"]
        finals = [r for r in records if r.row == row and r.stage == "final"]
        assert [r.index for r in search] == [0, 1, 2]
        assert [r.seed for r in finals] == [1000, 1001, 1002, 1003, 1004, 1005]
        best = max((r for r in search if r.status == "completed"), key=lambda r: r.score)
        assert all(r.hyperparameters["lr"] == best.hyperparameters["lr"] for r in finals)
        assert all(r.components["activation"].value == best.components["activation"].value for r in finals)
        assert all(r.components["activation"].sites > 0 for r in records if r.row == row)


def test_the_best_row_is_run_again_with_other_seeds_and_the_majority_class_stands_beside_it(finished):
    records = finished[0].records()
    means = {
        row: sum(r.test.accuracy for r in records if r.row == row and r.test) for row in ("lenet5", "simple_cnn_w0.25")
    }
    best = max(means, key=means.get)
    again = [r for r in records if r.control == "a/a"]
    finals = {r.index: r for r in records if r.row == best and r.stage == "final"}
    assert [r.row for r in again] == [f"{best}_aa"] * 6 and sorted(finals) == [r.index for r in again]
    for control in again:
        final = finals[control.index]
        assert control.hyperparameters == final.hyperparameters and control.components == final.components
        assert control.stop_epoch == final.stop_epoch and control.seed not in {r.seed for r in finals.values()}
    (majority,) = (r for r in records if r.control == "majority")
    assert max(sum(row) for row in majority.test.confusion) / 359 >= majority.test.accuracy > 0.05


def test_only_finals_have_seen_the_test_images(finished):
    for r in finished[0].records():
        if r.stage == "search":
            assert r.test is None and r.split.test is None and r.split.validation > 0
        else:
            assert r.test is not None and r.split.test == 359 and r.split.validation == 0
            assert sum(map(sum, r.test.confusion)) == 359


def test_a_trial_says_each_epoch_once_and_its_end_with_the_last_unless_it_is_tested_after_it(finished):
    for r in finished[0].records():
        if r.control != "majority":
            tested_or_stopped = r.stage == "final" or r.hyperparameters["early_stopping_patience"] is not None
            assert [point.epoch for point in r.epochs] == list(range(1, r.budget.epochs + 1))
            assert r.budget.reports == r.budget.epochs + tested_or_stopped


def test_a_finals_speed_is_measured_once_it_is_trained(finished):
    for r in finished[0].records():
        if r.stage == "search" or r.control == "majority":
            assert r.speed is None
        else:
            assert r.speed is not None and 0 < r.speed.latency_ms_median <= r.speed.latency_ms_p95
            assert r.speed.peak_memory_mb > r.cost.size_mb and r.speed.threads == 1
            assert r.machine.repeats == "to the bit"


def test_the_csv_has_one_row_an_architecture_in_the_agreed_columns(finished):
    text = (finished[0].folder / "reports/tiny/leaderboard.csv").read_text()
    assert text.splitlines()[0].startswith(COLUMNS)
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["architecture"] for row in rows} > {"lenet5", "simple_cnn_w0.25", "majority_class"}
    finals = [r for r in finished[0].records() if r.row == "lenet5" and r.test]
    mean = sum(r.test.accuracy for r in finals) / 6
    (row,) = (row for row in rows if row["architecture"] == "lenet5")
    assert float(row["test_accuracy_mean"]) == pytest.approx(mean) and row["n_seeds"] == "6"
    assert json.loads((finished[0].folder / "reports/tiny/leaderboard.json").read_text())[0]["rank_group"] == 1


def test_mlflow_has_every_trial_once_nested_under_the_study(finished):
    from mlflow import MlflowClient

    place = finished[0]
    client = MlflowClient(tracking_uri=f"sqlite:///{place.folder / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run is not parent]
    assert sorted(run.info.run_name for run in children) == sorted(r.trial_id for r in place.records())
    gelu = client.search_runs([experiment.experiment_id], "params.activation = 'gelu'", max_results=100)
    assert len(gelu) == sum(
        "activation" in r.components and r.components["activation"].value == "gelu" for r in place.records()
    )
    assert "ledger.jsonl" in {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}


def test_the_same_study_run_again_does_nothing_twice(finished):
    place, _ = finished
    before = place.outcome()
    output = place.run()
    assert "all 25 trials of this study are finished" in output and "Leaderboard:" in output
    assert place.outcome() == before


def test_a_study_that_changed_under_its_name_is_refused(finished):
    output = finished[0].run("--set", "space.lr=0.1", "--set", "data.split_seed=1", code=2)
    assert "data.split_seed: was 0 when the study was begun, is 1 now" in output and "space.lr" in output


def test_a_budget_is_not_raised_once_the_test_set_was_read(finished):
    assert "budget.trials: was 3" in finished[0].run("--set", "budget.trials=4", code=2)


def test_ctrl_c_stops_cleanly_and_the_continued_study_equals_an_undisturbed_one(finished, tmp_path):
    place = Place(tmp_path)
    code, output = place.disturbed(lambda process: process.send_signal(signal.SIGINT), after=2)
    assert code == 130 and f"cnnbench run {place.study_file}" in output, output
    assert 2 <= len(place.records()) < 18
    # and again, without a chance to clean up
    code, _ = place.disturbed(lambda process: process.kill(), after=9)
    assert code == -signal.SIGKILL and 9 <= len(place.records()) < 18
    assert "kept from before" in place.run()
    assert place.outcome() == finished[0].outcome()


def test_a_killed_worker_is_replaced_and_its_trial_run_again(finished, tmp_path):
    place = Place(tmp_path)

    def kill_workers(process: subprocess.Popen[str]) -> None:
        """Three, each in another trial: a worker may be caught between two trials, and then none is run again."""
        for _ in range(3):
            recorded = len(place.records())
            _kill_a_busy_worker(process.pid)
            deadline = time.monotonic() + 300
            while len(place.records()) == recorded and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)

    code, output = place.disturbed(kill_workers, after=1)
    assert code == 0 and "retry 1/2" in output, output
    assert place.outcome() == finished[0].outcome()
    assert 1 <= sum(r.budget.retries for r in place.records()) <= 3


def test_sigterm_after_the_last_trial_is_like_ctrl_c_and_the_report_comes_with_the_next_run(tmp_path):
    """Ray's own handler would abort the process."""
    study = STUDY.replace(", {name: simple_cnn, width: 0.25}", "").replace(
        "seeds: 6", "seeds: 1, few_seeds_reason: test"
    )
    place = Place(tmp_path, study.replace("trials: 3", "trials: 1"))
    reading = "report.read_sources = lambda *_: os.kill(os.getpid(), signal.SIGTERM)"
    modules = "import os, signal, sys; from cnnbench.commands import cli, report"
    start = f"{modules}; {reading}; sys.argv[0] = 'cnnbench'; cli.main()"
    command = [sys.executable, "-c", start, "run", str(place.study_file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 130 and "everything finished is saved. To continue:" in done.stdout, done
    assert done.stderr == ""
    output = place.run()
    assert "nothing is run again" in output and "Leaderboard: reports/tiny/index.html" in output


def _kill_a_busy_worker(driver: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                busy = (folder / "cmdline").read_bytes().startswith(b"ray::ImplicitFunc.train")
                ours = _descends(int(folder.name), driver)
            except OSError:
                continue
            if busy and ours:
                os.kill(int(folder.name), signal.SIGKILL)
                return
    raise AssertionError("no worker was found")


def _descends(process: int, ancestor: int) -> bool:
    while process > 1:
        if process == ancestor:
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def test_two_ddp_workers_train_the_same_final_as_one(tmp_path):
    """LeNet-5 has no batch normalisation, and a recipe's batch is shared by the workers: the curves agree, at a
    learning rate at which no rounding grows."""
    study = STUDY.replace(", {name: simple_cnn, width: 0.25}", "").replace(
        "seeds: 6", "seeds: 1, few_seeds_reason: test"
    )
    study = study.replace("trials: 3", "trials: 1")
    curves = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        place = Place(folder, study)
        place.run("--set", f"finals.workers={workers}", "--set", "space.lr=0.02")
        (final,) = (r for r in place.records() if r.stage == "final" and r.control is None)
        assert final.status == "completed" and final.machine.workers == workers, final.reason
        assert final.speed is not None
        curves.append([point.train_loss for point in final.epochs])
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)


def test_a_search_that_a_time_limit_ended_is_not_taken_up_again_after_its_finals(tmp_path):
    place = Place(
        tmp_path, STUDY.replace("seeds: 6", "seeds: 1, few_seeds_reason: test").replace("trials: 3", "trials: 9")
    )
    place.run("--set", "budget.time_limit_s=0.5")
    before = place.outcome()
    searched = [r for r in place.records() if r.stage == "search"]
    assert 1 <= len(searched) < 18
    finals = [r for r in place.records() if r.stage == "final" and r.control is None]
    assert {r.row for r in finals} == {r.row for r in searched}
    assert "nothing is run again" in place.run()
    assert place.outcome() == before


def test_a_diverged_trial_is_recorded_and_does_not_end_the_study(tmp_path):
    study = STUDY.replace("lr: {float: [0.02, 0.2], log: true}", "lr: {choice: [100.0, 0.05]}")
    study = study.replace("seeds: 6", "seeds: 1, few_seeds_reason: test")
    place = Place(tmp_path, study + "search: {sampler: grid}\n")
    output = place.run("--set", "architectures=[lenet5]")
    diverged = [r for r in place.records() if r.status == "diverged"]
    assert diverged and all(r.hyperparameters["lr"] == 100.0 and r.score is None for r in diverged)
    assert "diverged at step" in output
    finals = [r for r in place.records() if r.stage == "final" and r.control is None]
    assert finals and all(r.hyperparameters["lr"] == 0.05 for r in finals)
