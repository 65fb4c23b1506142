"""A study of 300 short trials in which something breaks every few seconds, until it is complete. `make soak` runs it.

What breaks, and how long after the fault before, is drawn with a seed; what it hits depends on the machine's speed.
"""

import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

import fault_table
from breakable import Way, way_to
from cnnbench.ledger import TrialRecord
from cnnbench.tracking.tracker import ui_command
from disturbed import Place, Run, cut
from mlflow_servers import serving
from ray_heads import free_port

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.ray]

TRIALS = 300
STUDY = f"""
study: soak
data: {{dataset: digits, image_size: 16, train_limit: 300, test_limit: 100}}
architectures: [{{name: "faulty_networks:paced", label: soak}}]
space: {{lr: {{float: [0.02, 0.2], log: true}}, schedule: constant, batch_size: 32}}
budget: {{trials: {TRIALS}, epochs: 3}}
search: {{sampler: random, pruner: none}}
finals: {{seeds: 6}}
precision: fp32
checkpoint_every_s: 0
resources: {{concurrent_trials: 2, cluster: local}}
"""
ALL = TRIALS + 6 + 6 + 1
STOPS = {"driver SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
WEIGHTS = {"worker SIGKILL": 9, "MLflow gone and back": 6, **dict.fromkeys(STOPS, 1)}
PAUSE_S = (1.0, 4.0)  # between two faults, while trials run
FEWEST_FAULTS = 20
MOST_RUNS = 100


class Soak:
    """The study, and what has broken so far."""

    def __init__(self, place: Place, way: Way, drawn: random.Random) -> None:
        self.place, self._way, self._drawn = place, way, drawn
        self.faults: Counter[str] = Counter()
        self.runs = 0

    def once(self, uri: str) -> bool:
        """Runs the study until it ends or is ended; True if it is complete."""
        self.runs += 1
        with self.place.running(f"tracking_uri={uri}") as run:
            while not run.has_ended():
                self._break_something(run)
            code = run.ended()
            assert code in (0, 130, -signal.SIGKILL), run.output
            assert "Traceback" not in run.output, run.output
        self._say(f"run {self.runs}: exit code {code}, {len(self.place.records())} of {ALL} trials are finished")
        if code != 0:
            self._cut_a_file()
        return code == 0

    def _break_something(self, run: Run) -> None:
        pause, kind = self._drawn.uniform(*PAUSE_S), self._drawn.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        before = run.epochs_heard()
        if not run.waited(lambda: run.epochs_heard() > before) or not _waited(run, pause):
            return  # it has ended
        training = run.training()
        if kind == "worker SIGKILL" and not training:
            return  # between two stages
        self.faults[kind] += 1
        if kind == "worker SIGKILL":
            with suppress(ProcessLookupError):  # it was faster
                os.kill(self._drawn.choice(training), signal.SIGKILL)
        elif kind == "MLflow gone and back":
            self._way.cut()
            _waited(run, pause)
            self._way.mend()
        elif kind in STOPS:
            run.process.send_signal(STOPS[kind])
            run.ended()

    def _cut_a_file(self) -> None:
        name = self._drawn.choice(["tracking.spool.jsonl", "optuna.journal", None])
        if name is not None and (self.place.results / name).exists():
            self.faults[f"truncated {name}"] += 1
            cut(self.place.results / name, self._drawn.randrange(10))

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _waited(run: Run, seconds: float) -> bool:
    """False if the study has ended meanwhile."""
    until = time.monotonic() + seconds
    return run.waited(lambda: time.monotonic() >= until)


@contextmanager
def breakable_mlflow(folder: Path) -> Iterator[tuple[str, Way]]:
    """A real server, the address of a way to it, and that way."""
    storage, port, target = folder / "mlflow", free_port(), free_port()
    storage.mkdir()
    command = ui_command(None, storage, port)  # which answers to that port's name alone
    command[command.index("--port") + 1] = str(target)
    with serving(command, target, storage), way_to(target, port) as way:
        yield f"http://127.0.0.1:{port}", way


def test_a_study_in_which_something_breaks_every_few_seconds_ends_complete(tmp_path, seed):
    print(f"seed of the faults: {seed} (FAULTS_SEED={seed} make soak)", file=sys.stderr)
    began = time.monotonic()
    with breakable_mlflow(tmp_path) as (uri, way):
        soak = Soak(Place(tmp_path, STUDY, "soak"), way, random.Random(seed))
        while not soak.once(uri):
            assert soak.runs < MOST_RUNS
        seconds = time.monotonic() - began
        records = soak.place.records()
        names = [record.trial_id for record in records]
        assert len(names) == len(set(names)) == ALL, Counter(names).most_common(3)
        searched = [record for record in records if record.stage == "search"]
        assert sorted(record.index for record in searched) == list(range(TRIALS))
        finals = [(record.row, record.seed) for record in records if record.stage == "final"]
        assert len(set(finals)) == len(finals) == ALL - TRIALS
        for record in records:  # one that was killed three times is given up
            assert record.status == "completed" or record.budget.retries == 2, record.reason
            assert [point.epoch for point in record.epochs] in ([], [1, 2, 3]) or record.status == "failed"
        while "shipped on the next run" in soak.place.run(f"tracking_uri={uri}"):
            soak.runs += 1
            assert soak.runs < MOST_RUNS
        assert runs_in_mlflow(uri) == Counter(["study", *names])
    assert soak.faults.total() >= FEWEST_FAULTS
    line = summary(soak, seed, seconds, records)
    print(line, file=sys.stderr, flush=True)
    fault_table.replace("soak", line)


def summary(soak: Soak, seed: int, seconds: float, records: Sequence[TrialRecord]) -> str:
    faults = ", ".join(f"{count} × {kind}" for kind, count in sorted(soak.faults.items()))
    retries = sum(record.budget.retries for record in records)
    failed = sum(record.status != "completed" for record in records)
    return (
        f"Seed {seed}: complete after {seconds / 60:.0f} minutes on {os.cpu_count()} cores, {soak.runs} runs and "
        f"{soak.faults.total()} faults ({faults}). All {ALL} trials stand once in the ledger and once in MLflow; "
        f"{retries} retries, {failed} given up."
    )


def runs_in_mlflow(uri: str) -> Counter[str]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("soak")
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    return Counter(re.sub(r"\s", "", run.info.run_name) for run in found)
