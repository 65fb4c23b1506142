"""A trial of several workers: a Tune function that runs a Ray Train ``TorchTrainer`` with one process a DDP rank."""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

# Ray Train reads these where a run is begun.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # a trial ends 5 s sooner
os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "900")  # as long as a cloud takes to bring a lost node

import ray
import torch
from ray import train as ray_train
from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.queue import Empty, Queue

from cnnbench.distributed.seclusion import seclude
from cnnbench.distributed.spec import TrialSpec, payload
from cnnbench.distributed.trial import MaterialRef, explain, run_trial

POLL_S = 0.2
log = logging.getLogger(__name__)


def distributed_trial(config: dict[str, Any], material: MaterialRef, storage: str) -> None:
    """A Tune function for several workers: DDP over NCCL on GPUs, else gloo.

    An error of the trial's own ends the trial. What came from outside (a rank's process died, the ranks could not be
    started) is reported as ``lost``, and the driver runs the trial again: Ray Train's own attempts would, after a start
    that failed half-way, wait for ever for the places that the half-started ranks still hold.
    """
    spec = TrialSpec.from_config(config)
    reports = Queue(actor_options={"num_cpus": 0})
    trainer = TorchTrainer(
        _rank,
        train_loop_config={**config, "material": material},
        torch_config=TorchConfig(backend="nccl" if spec.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=spec.workers,
            use_gpu=spec.gpus > 0,
            resources_per_worker={"CPU": spec.cpus, **({"GPU": spec.gpus} if spec.gpus else {})},
        ),
        run_config=RunConfig(
            name=spec.trial_id,
            storage_path=storage,
            callbacks=[_PassOn(reports)],  # type: ignore[list-item]
            failure_config=FailureConfig(controller_failure_limit=0),  # type: ignore[call-arg]
        ),
    )
    run = _Fit(trainer)
    run.start()
    for said in _heard(reports, run):
        tune.report(said)
    if run.error is not None:
        failures: Mapping[int, Exception] = getattr(run.error, "worker_failures", {})
        faults = [failure for failure in failures.values() if isinstance(failure, _Fault)]
        if faults:
            status, reason = faults[0].args
            tune.report(payload("end", status=status, reason=reason))
        else:
            tune.report(payload("lost", reason=_last_line(next(iter(failures.values()), run.error))))


def _last_line(error: Exception) -> str:
    """What a long text of Ray's comes down to."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"its workers were lost, or could not be started ({lines[-1][:200] if lines else type(error).__name__})"


class _Fault(Exception):
    """A rank's own error: a status and a reason."""


def _rank(config: dict[str, Any]) -> None:
    seclude()
    spec = TrialSpec.from_config(config)
    try:
        run_trial(spec, ray.get(config["material"].ref), get_device(), ray_train.report)
    except Exception as error:
        if _lost_another_rank(error):
            raise
        log.exception("trial %s", spec.trial_id)  # into this process's file among Ray's session logs
        raise _Fault(*explain(error)) from None


def _lost_another_rank(error: Exception) -> bool:
    """True for an error of communication: a rank's process died. One that merely raised keeps its connections."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return any(words in str(error) for words in ("gloo/transport", "closed by peer", "reset by peer", "Broken pipe"))


class _PassOn(UserCallback):
    """Hands the first rank's reports to the Tune function. Ray's own callback for this (TuneReportCallback) lets the
    trial hang if the run is over before Tune has fetched the last report."""

    def __init__(self, reports: Queue) -> None:
        self._reports = reports

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        self._reports.put(metrics[0])


class _Fit(threading.Thread):
    """A Train run beside the Tune function, which passes on its reports; it ends with the process."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self._trainer = trainer
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:
            self.error = error


def _heard(reports: Queue, run: threading.Thread) -> Iterator[dict[str, str]]:
    """The reports as they come, until the run is over and all are heard."""
    while True:
        is_over = not run.is_alive()  # asked first: all that it reported is in the queue then
        try:
            yield reports.get(timeout=POLL_S)
        except Empty:
            if is_over:
                return
