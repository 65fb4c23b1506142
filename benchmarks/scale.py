"""What the scheduler itself costs: simulated trials that only report, through cnnbench and through bare Tune.

    make bench-scale            (100, 1,000 and 10,000 trials; most of an hour on two cores)

A trial makes ten reports and computes nothing. Through cnnbench: four rows, random proposals, Optuna's store, the
ledger, and MLflow on sqlite, once without pruning and once with ASHA. Bare Tune: as many trials and reports, a function
trainable in warm processes, random proposals, no search history and no tracking at all. Two trials at once on one local
Ray. Each measurement has a driver process of its own, whose CPU seconds and peak memory are taken; Ray's own
processes and the trials' are not counted. Small sizes are measured several times, the ways in turn; shown are medians,
and those of the ratios of each turn. The process that ships to MLflow is counted apart, since bare Tune has
nothing like it: it is no part of the driver, works beside the study and may finish after it.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

REPORTS = 10
ROWS = ("lenet5", "simple_cnn", "resnet20", "mobilenet_v2")
RUNS = {100: 7, 1_000: 3, 10_000: 1}  # of each size
PRUNER = {"cnnbench": "none", "cnnbench, ASHA": "asha"}
WAYS = ("bare Tune", *PRUNER)
HEADS = (
    "trials", "way", "runs", "reports", "ms a trial", "ms a report", "ratio, trial", "ratio, report", "shipping", "MB",
    "wall, s",
)  # fmt: skip
OUT = Path("build/bench/scale.json")


def study(folder: str, trials: int, pruner: str) -> Any:
    from cnnbench.study import parse
    from cnnbench.vocabulary import vocabulary

    text = f"""
study: scale
data: {{dataset: digits, image_size: 32}}
architectures: [{", ".join(ROWS)}]
space: {{lr: {{float: [0.001, 1.0], log: true}}, weight_decay: {{float: [0.00001, 0.01], log: true}}}}
budget: {{trials: {trials // len(ROWS)}, epochs: {REPORTS}}}
search: {{sampler: random, pruner: {pruner}}}
resources: {{concurrent_trials: 2, cluster: local}}
precision: fp32
storage: {folder}
"""
    return parse(text, vocabulary())


def simulated_trial(config: dict[str, Any], facts: dict[str, Any]) -> None:
    """Reports as ``tune_trial`` does: ten epochs of a curve whose height the learning rate decides, the end with the
    last."""
    from ray import tune

    from cnnbench.trial.spec import TrialSpec, payload

    rate = float(TrialSpec.from_config(config).hyperparameters["lr"])
    for epoch in range(1, REPORTS + 1):
        accuracy = (1 - abs(rate - 0.1)) * epoch / (epoch + 1)
        point = {
            "epoch": epoch, "train_loss": 1 - accuracy, "train_accuracy": accuracy, "val_loss": 1 - accuracy,
            "val_accuracy": accuracy, "learning_rate": rate, "seconds": 0.0,
        }  # fmt: skip
        said = {"point": point, "images": epoch, "facts": facts, "peak_memory_mb": 1.0, "notes": []}
        end = {"status": "completed", "reason": ""}
        tune.report(payload("epoch", **said) if epoch < REPORTS else payload("end", **said, **end))


def bare_trial(config: dict[str, Any]) -> None:
    """The same curve in Tune's own words."""
    from ray import tune

    for epoch in range(1, REPORTS + 1):
        accuracy = (1 - abs(config["lr"] - 0.1)) * epoch / (epoch + 1)
        tune.report(
            {"epoch": epoch, "train_loss": 1 - accuracy, "train_accuracy": accuracy, "val_loss": 1 - accuracy,
             "val_accuracy": accuracy, "learning_rate": config["lr"]}
        )  # fmt: skip


def run_bare(trials: int, folder: str) -> dict[str, Any]:
    from ray import tune

    space = {"lr": tune.loguniform(0.001, 1.0), "weight_decay": tune.loguniform(1e-5, 1e-2)}
    begin = time.process_time()
    analysis = tune.run(
        bare_trial, config=space, num_samples=trials, resources_per_trial={"cpu": 1}, max_concurrent_trials=2,
        reuse_actors=True, verbose=0, storage_path=folder, raise_on_failed_trial=False,
    )  # fmt: skip
    cpu = time.process_time() - begin
    reports = sum(trial.last_result["training_iteration"] for trial in analysis.trials)
    return {"cpu_s": cpu, "shipping_cpu_s": 0.0, "trials": len(analysis.trials), "reports": reports}


def run_ours(trials: int, folder: str, pruner: str) -> dict[str, Any]:
    from ray import tune

    from cnnbench.distributed.tune import run_stage
    from cnnbench.ledger import Ledger
    from cnnbench.protocol.phases import SearchPhase
    from cnnbench.protocol.plan import plan_rows
    from cnnbench.protocol.recorder import Recorder
    from cnnbench.search.search import StudySearch
    from cnnbench.tracking.observer import Tracking
    from cnnbench.trial.study_images import open_sources
    from cnnbench.workflows.continuation import resolved

    asked = study(folder, trials, pruner)
    material = open_sources(asked.data).for_search()
    rows = plan_rows(asked, channels=1, classes=10)
    some = next(iter(rows.values()))
    facts = {"cost": some.cost, "stem": "small", "components": {}, "machine": _machine()}
    begin, shipping = time.process_time(), children_cpu()
    spaces = {label: row.space for label, row in rows.items()}
    search = StudySearch(asked.search, asked.budget.trials, spaces, asked.folder / "optuna.journal")
    tracking = Tracking(asked, resolved(asked))
    recorder = Recorder(asked, Ledger(asked.folder / "ledger.jsonl"), [tracking])
    phase = SearchPhase(asked, rows, recorder, search)
    phase.begin(0.0, lambda: material)
    run_stage(
        phase, tune.with_parameters(simulated_trial, facts=facts),
        resources={"cpu": 1}, concurrent=2, folder=Path(folder) / "tune",
        interrupted=threading.Event(), say=print,
    )  # fmt: skip
    shipped = tracking.close()
    cpu = time.process_time() - begin
    assert {record.status for record in recorder.records} <= {"completed", "pruned"}
    return {
        "cpu_s": cpu, "shipping_cpu_s": children_cpu() - shipping,
        "shipped_share": shipped.synced / (shipped.synced + shipped.spooled),
        "trials": len(recorder.records), "reports": sum(record.budget.reports for record in recorder.records),
    }  # fmt: skip


def children_cpu() -> float:
    """CPU seconds of this process's children that have ended, so far; Ray's have not until Ray does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _machine() -> dict[str, Any]:
    from cnnbench.trial import machine

    return {
        "device": machine.device_name("cpu"), "workers": 1, "precision": "fp32", "channels_last": False,
        "host_cpus": machine.host_cpus(), "python": "3.11", "versions": machine.versions(), "lock": machine.lock(),
    }  # fmt: skip


def measure(way: str, trials: int) -> None:
    """In this process, a driver of its own; the last line that it prints are its figures."""
    from cnnbench.distributed.cluster import connected

    with (
        tempfile.TemporaryDirectory() as folder,
        connected(study(folder, 4, "none").resources, Path(folder, "ray.log")),
    ):
        began = time.monotonic()
        figures = run_bare(trials, folder) if way == WAYS[0] else run_ours(trials, folder, PRUNER[way])
        figures["wall_s"] = time.monotonic() - began
    figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name in ("trials", "reports"):
        figures[f"ms_a_{name[:-1]}"] = 1000 * figures["cpu_s"] / figures[name]
    figures["shipping_ms_a_trial"] = 1000 * figures["shipping_cpu_s"] / trials
    print(json.dumps(figures))


def in_a_driver(way: str, trials: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", way, str(trials)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def summary(way: str, turns: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """The medians of one way's figures, and its ratios to bare Tune in the same turn: median, least and largest."""
    rows = [turn[way] for turn in turns]
    medians: dict[str, Any] = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    for each in ("trial", "report"):
        ratios = [turn[way][f"ms_a_{each}"] / turn[WAYS[0]][f"ms_a_{each}"] for turn in turns]
        medians[f"ratio_a_{each}"] = [statistics.median(ratios), min(ratios), max(ratios)]
    return {**medians, "runs": len(turns)}


def cells(row: dict[str, Any]) -> list[str]:
    ratios = ["{:.2f} ({:.2f}-{:.2f})".format(*row[f"ratio_a_{each}"]) for each in ("trial", "report")]
    return [
        str(row["runs"]), f"{row['reports']:,.0f}", f"{row['ms_a_trial']:.1f}", f"{row['ms_a_report']:.2f}", *ratios,
        f"{row['shipping_ms_a_trial']:.1f}", f"{row['peak_memory_mb']:.0f}", f"{row['wall_s']:.0f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=list(RUNS))
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "TRIALS"), help="one measurement, in this process")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], int(arguments.measure[1]))
        return
    from cnnbench.trial import machine

    print("".join(f"{head:>18}" for head in HEADS))
    figures: dict[str, dict[str, Any]] = {}
    for trials in arguments.trials:
        turns = [{way: in_a_driver(way, trials) for way in WAYS} for _ in range(RUNS.get(trials, 1))]
        figures[str(trials)] = {way: summary(way, turns) for way in WAYS}
        for way, row in figures[str(trials)].items():
            print("".join(f"{cell:>18}" for cell in (f"{trials:,}", way, *cells(row))), flush=True)
    result = {
        "benchmark": "scale", "unit": "CPU milliseconds of the driver", "figures": figures,
        "machine": {"device": machine.device_name("cpu"), "cpus": os.cpu_count(), "versions": machine.versions()},
    }  # fmt: skip
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()
