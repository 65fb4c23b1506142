"""`cnnbench effects` as a user runs it: the CLI in a process of its own, real Ray, real images, a real MLflow store."""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cnnbench.ledger import Ledger, TrialRecord

pytestmark = pytest.mark.ray

STUDY = """
study: tiny
data: {dataset: digits, image_size: 16, train_limit: 300}
architectures: [lenet5]
space: {lr: 0.05, activation: {choice: [tanh, relu]}, schedule: constant}
budget: {trials: 1, epochs: 2}
effects: {components: {activation: [tanh, gelu, relu]}}
precision: fp32
resources: {concurrent_trials: 1, cluster: local}
"""


@dataclass
class Session:
    """What the commands printed, in order, and the study's ledger at the end."""

    folder: Path
    output: dict[str, tuple[int, str]] = field(default_factory=dict)

    def cnnbench(self, name: str, verb: str, interrupt_after: int | None = None) -> None:
        """Runs a verb; ``interrupt_after``: Ctrl-C once the ledger has so many effects."""
        command = [sys.executable, "-m", "cnnbench", verb, "tiny.yaml"]
        process = subprocess.Popen(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 900
            while interrupt_after is not None and process.poll() is None and time.monotonic() < deadline:
                if len(self.effects()) >= interrupt_after:
                    process.send_signal(signal.SIGINT)
                    interrupt_after = None
                time.sleep(0.02)
            output, _ = process.communicate(timeout=900)
        finally:
            process.kill()
        self.output[name] = (process.returncode, output)

    def records(self) -> tuple[TrialRecord, ...]:
        return Ledger(self.folder / "results" / "tiny" / "ledger.jsonl").read().records

    def effects(self) -> list[TrialRecord]:
        return [record for record in self.records() if record.stage == "effect"]


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Session:
    session = Session(tmp_path_factory.mktemp("effects"))
    (session.folder / "tiny.yaml").write_text(STUDY)
    session.cnnbench("run", "run")
    session.cnnbench("interrupted", "effects", interrupt_after=2)
    session.cnnbench("continued", "effects")
    return session


def test_effects_that_were_interrupted_say_how_to_go_on_and_repeat_nothing(session):
    code, output = session.output["interrupted"]
    assert code == 130 and output.rstrip().endswith("cnnbench effects tiny.yaml")
    code, output = session.output["continued"]
    assert code == 0 and "kept from before" in output
    names = [record.trial_id for record in session.effects()]
    assert len(names) == len(set(names)) == 2 * 3 + 2 * 6


def test_the_own_value_is_not_swapped_and_the_others_run_at_one_of_the_rates_with_the_finals_seeds(session):
    records = session.records()
    finals = {record.index: record for record in records if record.stage == "final" and record.control is None}
    own = finals[0].components["activation"].value
    for record in session.effects():
        assert record.status == "completed", record.reason
        assert record.effect.instead_of == own != record.effect.value == record.components["activation"].value
        assert record.hyperparameters["lr"] == pytest.approx(0.05 * record.effect.lr_factor)
        if record.effect.phase == "tuning":
            assert record.test is None and record.split.test is None and record.split.validation > 0
        else:
            assert record.seed == finals[record.index].seed and record.split == finals[record.index].split
            assert record.test is not None and record.score is None


def test_each_is_measured_at_the_rate_that_validated_best(session):
    for value in {record.effect.value for record in session.effects()}:
        of_value = [record for record in session.effects() if record.effect.value == value]
        tuning = [record for record in of_value if record.effect.phase == "tuning"]
        best = max(record.score for record in tuning)
        (factor,) = {record.effect.lr_factor for record in of_value if record.effect.phase == "measured"}
        assert best == next(record.score for record in tuning if record.effect.lr_factor == factor)


def test_the_end_prints_a_table_and_the_report_has_the_section(session):
    table = session.output["continued"][1].split("Effects of components on test accuracy:")[1]
    assert "gelu" in table and "lenet5" in table
    page = (session.folder / "reports/tiny/index.html").read_text()
    assert '<section id="effects"' in page and (session.folder / "reports/tiny/effects.csv").exists()


def test_mlflow_has_each_effect_under_its_own_stage(session):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{session.folder / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs([experiment], "tags.stage = 'effect'", max_results=100)
    assert sorted(run.info.run_name for run in runs) == sorted(record.trial_id for record in session.effects())
    swapped = client.search_runs([experiment], "tags.effect_value = 'gelu' and tags.effect_phase = 'measured'")
    assert len(swapped) == 6
