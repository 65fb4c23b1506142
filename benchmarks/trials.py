"""What a trial costs beyond its compute: cnnbench, a plain Tune function, and a TorchTrainer nested in a Tune function;
cnnbench and the nested trainer also with two DDP workers.

    make bench-trials           (about 20 minutes on two cores, most of it the nested trainer's)

The same 16 trials of about 1.5 s of compute in each: a small network on scikit-learn's digits, one trial at a time, on
one local Ray, in one run. Overhead of a trial: the time from the end of the one before to its own end, less the seconds
that its epochs took. The first trial of each way is its warm-up.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train as ray_train
from ray import tune

from cnnbench.distributed import cluster
from cnnbench.distributed.ddp import distributed_trials
from cnnbench.distributed.function_trainable import tune_trial
from cnnbench.distributed.tune import run_stage
from cnnbench.ledger import EpochPoint, Ledger
from cnnbench.protocol.phases import SearchPhase
from cnnbench.protocol.plan import plan_rows
from cnnbench.protocol.recorder import Recorder
from cnnbench.search.search import StudySearch
from cnnbench.study import Study, parse
from cnnbench.tracking.observer import Tracking
from cnnbench.tracking.tracker import Tracker
from cnnbench.trial import machine
from cnnbench.trial.images import TrialImages
from cnnbench.trial.run import run_trial
from cnnbench.trial.spec import TrialImagesRef, TrialSpec, content
from cnnbench.trial.study_images import open_sources
from cnnbench.vocabulary import vocabulary
from cnnbench.workflows.continuation import resolved

COMPUTE_S = 1.5
OUT = Path("build/bench/trials.json")


def study(folder: str, trials: int, epochs: int, workers: int = 1) -> Study:
    text = f"""
study: bench
data: {{dataset: digits, image_size: 16}}
architectures: [{{name: simple_cnn, width: 0.5}}]
space: {{lr: {{float: [0.01, 0.1], log: true}}}}
budget: {{trials: {trials}, epochs: {epochs}}}
search: {{sampler: tpe, pruner: none}}
resources: {{concurrent_trials: 1, workers: {workers}, cluster: local}}
precision: fp32
storage: {folder}
"""
    return parse(text, vocabulary())


class Clock:
    """Ends of trials and their seconds of compute, as a stage's observer and as a Tune callback."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.ends: list[float] = []
        self.compute: list[float] = []

    def add(self, compute: float) -> None:
        self.ends.append(time.monotonic())
        self.compute.append(compute)

    def started(self, progress: Any) -> None: ...
    def epoch(self, progress: Any, point: Any) -> None: ...
    def retried(self, progress: Any, reason: str) -> None: ...
    def note(self, progress: Any, text: str) -> None: ...
    def finished(self, record: Any) -> None:
        assert record.status == "completed", record.reason
        self.add(record.budget.device_seconds / self.workers)

    def overheads(self) -> list[float]:
        """Of every trial but the first, seconds."""
        gaps = [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]
        return [gap - compute for gap, compute in zip(gaps, self.compute[1:], strict=True)]


class Ends(tune.Callback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.compute: dict[str, float] = {}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        said = content(result) or {}
        seconds = said.get("point", {}).get("seconds", 0.0)
        self.compute[trial.trial_id] = self.compute.get(trial.trial_id, 0.0) + seconds

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.clock.add(self.compute[trial.trial_id])


def plain(config: dict[str, Any], material: TrialImagesRef) -> None:
    """The same training in a Tune function as the documentation has it: a new process each trial."""
    run_trial(TrialSpec.from_config(config), ray.get(material.ref), torch.device("cpu"), tune.report)


def nested(config: dict[str, Any], material: TrialImagesRef, storage: str, workers: int) -> None:
    """The same training in a TorchTrainer nested in a Tune function, as the documentation has it."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    TorchTrainer(
        nested_worker, train_loop_config={**config, "material": material},
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(storage_path=storage, callbacks=[TuneReportCallback()]),
    ).fit()  # fmt: skip


def nested_worker(config: dict[str, Any]) -> None:
    spec = TrialSpec.from_config(config)
    run_trial(spec, ray.get(config["material"].ref), torch.device("cpu"), ray_train.report)


def tracking_ms(folder: str, epochs: int = 2000) -> list[float]:
    """Milliseconds that the reporting path spends on an epoch's tracking, while its events are shipped to MLflow."""
    tracker = Tracker(None, "tracking", Path(folder) / "tracking", parent_params={})
    tracker.started("t", stage="search", row="a", architecture="a", params={}, tags={})
    point = EpochPoint(epoch=1, train_loss=1.0, train_accuracy=0.5, learning_rate=0.1, seconds=1.0)
    taken = []
    for epoch in range(1, epochs + 1):
        begin = time.monotonic()
        tracker.epoch("t", replace(point, epoch=epoch))
        taken.append(1000 * (time.monotonic() - begin))
        time.sleep(0.005)
    tracker.close(60.0)
    return taken


class Table:
    """A search and its observers for ``trials`` trials, as ``cnnbench run`` has them."""

    def __init__(self, folder: str, trials: int, epochs: int, material: TrialImages, workers: int = 1) -> None:
        self.study = study(folder, trials, epochs, workers)
        rows = plan_rows(self.study, channels=material.channels, classes=len(material.classes))
        spaces = {label: row.space for label, row in rows.items()}
        search = StudySearch(self.study.search, trials, spaces, self.study.folder.optuna_journal)
        self.tracking, self.clock = Tracking(self.study, resolved(self.study)), Clock(workers)
        ledger = Ledger(self.study.folder.ledger)
        recorder = Recorder(self.study, ledger, [self.tracking, self.clock])
        self.phase = SearchPhase(self.study, rows, recorder, search)
        self.phase.begin(0.0, lambda: material)

    def specs(self) -> list[TrialSpec]:
        found = []
        while (spec := self.phase.ask()) is not None:
            found.append(spec)
        return found


def calibrate(folder: str, material: TrialImages) -> int:
    """Epochs that take about COMPUTE_S seconds."""
    (spec,) = Table(f"{folder}/calibration", 1, 3, material).specs()
    seconds: list[float] = []
    run_trial(spec, material, torch.device("cpu"), lambda said: seconds.append(_seconds(said)))
    return max(1, round(COMPUTE_S / statistics.median(seconds[:-1])))


def _seconds(said: dict[str, str]) -> float:
    point = (content(said) or {}).get("point", {})
    return float(point.get("seconds", 0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16)
    trials = parser.parse_args().trials
    clocks = {}
    with tempfile.TemporaryDirectory() as folder:
        base = study(folder, trials, 1)
        material = open_sources(base.data).for_search()
        epochs = calibrate(folder, material)
        tracking = tracking_ms(folder)
        with cluster.connected(base.resources, Path(folder) / "ray.log"):
            ref = TrialImagesRef(ray.put(material))
            anywhere, on_head = {"cpu": 1}, tune.PlacementGroupFactory([{"node:__internal_head__": 0.001}])
            ours: dict[str, tuple[int, Any, Any]] = {
                "cnnbench": (1, tune.with_parameters(tune_trial, material=ref), anywhere),
                "cnnbench, 2 workers": (2, distributed_trials(ref, f"{folder}/train-a"), on_head),
            }
            for name, (workers, trainable, resources) in ours.items():
                mine = Table(f"{folder}/{name}", trials, epochs, material, workers)
                run_stage(
                    mine.phase, trainable, resources=resources, concurrent=1, folder=Path(folder) / f"tune-{workers}",
                    interrupted=threading.Event(), say=print,
                )  # fmt: skip
                mine.tracking.close()
                clocks[name] = mine.clock
            theirs: dict[str, tuple[int, Any, Any]] = {
                "plain Tune function": (1, tune.with_parameters(plain, material=ref), anywhere)
            }
            for workers, name in ((1, "TorchTrainer nested in Tune"), (2, "the same, 2 workers")):
                storage = f"{folder}/train-{workers}"
                trainer = tune.with_parameters(nested, material=ref, storage=storage, workers=workers)
                theirs[name] = (workers, trainer, on_head)
            for name, (workers, trainable, resources) in theirs.items():
                clocks[name] = Clock()
                specs = Table(f"{folder}/specs of {name}", trials, epochs, material, workers).specs()
                tune.run(
                    trainable, config={"spec": tune.grid_search([spec.as_config()["spec"] for spec in specs])},
                    resources_per_trial=resources, max_concurrent_trials=1, verbose=0, reuse_actors=False,
                    callbacks=[Ends(clocks[name])], storage_path=f"{folder}/{len(clocks)}",
                    trial_dirname_creator=lambda trial: trial.trial_id,
                )  # fmt: skip
    figures = {
        name: {
            "compute_s_median": round(statistics.median(clock.compute), 3),
            "overhead_s_median": round(statistics.median(clock.overheads()), 3),
            "overhead_s_min": round(min(clock.overheads()), 3),
            "overhead_s_max": round(max(clock.overheads()), 3),
            "runs": len(clock.overheads()),
        }
        for name, clock in clocks.items()
    }
    least = figures["cnnbench"]["overhead_s_median"]
    ratios = {name: round(figure["overhead_s_median"] / least, 1) for name, figure in figures.items()}
    print(f"{'':30}{'compute, s':>12}{'overhead, s':>13}{'min':>8}{'max':>8}{'runs':>6}{'ratio':>8}")
    for name, figure in figures.items():
        cells = [f"{figure['compute_s_median']:12.2f}", f"{figure['overhead_s_median']:13.3f}"]
        cells += [f"{figure['overhead_s_min']:8.3f}", f"{figure['overhead_s_max']:8.3f}", f"{figure['runs']:6}"]
        print(f"{name:30}" + "".join(cells) + f"{ratios[name]:8}")
    epoch_ms = {"median": round(statistics.median(tracking), 4), "max": round(max(tracking), 3), "runs": len(tracking)}
    print(f"tracking, ms an epoch of the reporting path: median {epoch_ms['median']}, max {epoch_ms['max']}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "benchmark": "trials", "unit": "wall seconds of a trial beyond its compute, medians; runs after one warm-up",
        "trials": trials, "epochs": epochs, "figures": figures, "ratios_to_cnnbench": ratios,
        "tracking_ms_an_epoch": epoch_ms,
        "machine": {"device": machine.device_name("cpu"), "cpus": os.cpu_count(), "versions": machine.versions()},
    }  # fmt: skip
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()
