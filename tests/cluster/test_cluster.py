"""A study on a cluster of three hosts: launched as a user does, disturbed by a power cut and a cut cable, and equal to
the undisturbed one. `make test-cluster` runs it."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hosts
from hosts import ROOT, SHARED, Lab, wait_until
from lab_cluster import Cluster, outcome, records, submit

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(2400)]

LOGS = ROOT / "build" / "test-cluster"
MLFLOW = "http://127.0.0.1:5000"  # the head's own
NAMES = ("head", "one", "two", "laptop")

# Proposals that depend on nothing but seeds, and no pruning: with several trials at once, those of TPE and ASHA depend
# on which trial is first, on a cluster as on one machine.
STUDY = """
study: lab
data: {dataset: digits, image_size: 16}
architectures: [lenet5, {name: simple_cnn, width: 0.125}]
space: {lr: {float: [0.02, 0.2], log: true}, activation: {choice: [relu, gelu]}, schedule: constant, batch_size: 128}
budget: {trials: 10, epochs: 60}
search: {sampler: random, pruner: none}
finals: {seeds: 1, few_seeds_reason: the cluster is tested and not the networks, workers: 2}
precision: fp32
checkpoint_every_s: 1
"""
TRIALS = 20
ALL = TRIALS + 2 + 1 + 1  # two finals, the A/A control, the majority class


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    reason = hosts.why_not()
    if reason:
        pytest.skip(reason)
    with Lab(LOGS).opened(NAMES) as lab:
        yield lab


def undisturbed(folder: Path) -> Path:
    """The same study on this machine, with the CPUs of both hosts: the folder with its results and reports."""
    (folder / "study.yaml").write_text(STUDY)
    command = [sys.executable, "-m", "cnnbench", "run", "study.yaml", "--set", "resources.cluster=local"]
    done = subprocess.run(
        command, cwd=folder, text=True, timeout=1500, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return folder


def test_a_study_survives_a_power_cut_and_a_cut_cable_and_ends_as_if_nothing_had_been(lab: Lab, tmp_path: Path) -> None:
    (lab.shared / "study.yaml").write_text(STUDY)
    folder = lab.shared / "results" / "lab"
    common = f"run {SHARED}/study.yaml --set reports={SHARED}/reports --set resources.nodes=2"
    run = f"{common} --set storage={SHARED}/results --set tracking_uri={MLFLOW}"
    with Cluster(lab).up() as cluster:
        one, two = cluster.workers

        # What is wrong with a cluster is said before anything is trained.
        refusal = cluster.refused(submit(f"{common} --set storage=/root/results"))
        for host, other in ((one, two), (two, one)):
            assert re.search(rf"{host.address}: storage: it does not see what .*{other.address}", refusal), refusal
        read_only = f"mount -o remount,bind,ro {SHARED}"
        assert one.run(read_only).returncode == 0
        refusal = cluster.refused(submit(run))
        assert re.search(rf"{one.address}: storage: .*can't write: .*Read-only file system", refusal), refusal
        assert one.run(read_only.replace("ro", "rw")).returncode == 0
        assert not (folder / "ledger.jsonl").exists()

        with cluster.submitted(run) as submitted:

            def wait(what: str, done: object, timeout_s: float) -> None:
                def check() -> bool:
                    if submitted.ended() and what != "the end":
                        raise AssertionError(f"it ended before {what}:\n{submitted.output}")
                    return bool(done())  # type: ignore[operator]

                wait_until(what, check, timeout_s, lab.say)

            def retries() -> int:
                return len(re.findall(r"retry\s+\d/2", submitted.output))  # a terminal wraps lines

            wait("trials on both hosts", lambda: all(map(cluster.training_on, cluster.workers)), 600)
            wait("a first finished trial", lambda: records(folder), 300)
            wait("a trial on host one", lambda: cluster.training_on(one), 300)
            one.power_off()
            wait("its trial to be run again", lambda: retries() >= 1, 300)
            one.power_on()
            # of the search, or on a slow machine a final
            wait("training on both hosts again", lambda: all(map(cluster.training_on, cluster.workers)), 600)
            two.cut_cable()
            lab.say(f"retries: {[line for line in submitted.output.splitlines() if 'retry' in line]}")
            wait("that trial to be run again", lambda: retries() >= 2, 600)
            two.mend_cable()
            wait("a final", lambda: len(records(folder)) > TRIALS, 900)
            wait("the end", submitted.ended, 900)
        assert submitted.process.returncode == 0, submitted.output
        again = cluster.on_laptop(submit(run))
        assert f"all {ALL} trials of this study are finished" in again
        assert cluster.runs_in_mlflow("lab") == ALL + 1  # and the study's own

    places = (lab.shared, undisturbed(tmp_path))
    mine, expected = (outcome(records(place / "results" / "lab")) for place in places)
    assert mine == expected
    frozen = [json.loads((place / "results/lab/frozen.json").read_text()) for place in places]
    assert frozen[0] == frozen[1]
    boards = [(place / "reports/lab/leaderboard.csv").read_text().splitlines() for place in places]
    for mine, other in zip(*map(csv.DictReader, boards), strict=True):
        for column in ("rank_group", "architecture", "test_accuracy_mean", "n_seeds", "params", "trials_completed"):
            assert mine[column] == other[column]
