"""A trial of several workers: a Tune function hands it to a Ray Train ``TorchTrainer``, with one process a DDP rank.

To start such a trainer takes half a minute on a small machine: eight processes, half of which import torch. So one
trains the trials of a Tune process one after another; its ranks wait for the next as a warm process of one worker does.
"""

import itertools
import logging
import os
import threading
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

# Ray Train reads these where a run is begun.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # the death of a rank is heard of sooner
os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "900")  # as long as a cloud takes to bring a lost node

import ray
import torch
from ray import tune
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.tune.trainable import Trainable, wrap_function
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cnnbench.distributed.mailbox import Mailbox, Trial
from cnnbench.ranks import Ranks
from cnnbench.trial.isolation import isolate
from cnnbench.trial.run import explain, run_trial
from cnnbench.trial.spec import TrialImagesRef, TrialSpec, content, payload

POLL_S = 0.2
CLOSE_S = 10.0
IDLE_S = 20.0  # ranks without a trial give their places back: another Tune process may wait for them
log = logging.getLogger(__name__)


def distributed_trials(material: TrialImagesRef, storage: str) -> type[Trainable]:
    """``distributed_trial`` for Tune. It sends the ranks home before the process ends. They would end with it, but
    a process of Ray Train's, its PlacementGroupCleaner, outlives a study whose run was not brought to an end."""
    function = tune.with_parameters(distributed_trial, material=material, storage=storage)

    class Distributed(wrap_function(function)):  # type: ignore[misc]
        def cleanup(self) -> None:
            try:
                super().cleanup()
            finally:
                _send_home()

    return Distributed


def distributed_trial(config: Trial, material: TrialImagesRef, storage: str) -> None:
    """A Tune function for several workers: DDP over NCCL on GPUs, else gloo.

    An error of the trial's own ends the trial. What came from outside (a rank's process died, the ranks could not be
    started) is reported as ``lost``, and the driver runs the trial again: Ray Train's own attempts would, after a start
    that failed half-way, wait for ever for the places that the half-started ranks still hold. For the same reason Tune
    is made to end this process after any error: with it ends what it began.
    """
    trainer = _handed_out({**config, "material": material}, TrialSpec.from_config(config), storage)
    with closing(trainer.reports()) as reports:
        for said in reports:
            tune.report(said)  # if Tune calls the trial off, this raises SystemExit
    if trainer.error is not None:
        tune.report(_end_of(trainer.error))
        raise RuntimeError("its workers are gone, and this process with them")


_trainer: "_Trainer | None" = None  # this process's, which Tune keeps for one trial after another


def _handed_out(trial: Trial, spec: TrialSpec, storage: str) -> "_Trainer":
    """The trainer that has the trial now: the one of the trial before, if its ranks are still there."""
    global _trainer
    if _trainer is None or not _trainer.hand_out(trial):
        _trainer = _Trainer(spec, storage)
        _trainer.hand_out(trial)
    return _trainer


def _send_home() -> None:
    if _trainer is not None:
        _trainer.close()


def _end_of(error: Exception) -> dict[str, str]:
    """The last report of a trial whose Train run failed."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    faults = [failure for failure in failures.values() if isinstance(failure, _Fault)]
    if faults:
        status, reason = faults[0].args
        return payload("end", status=status, reason=reason)
    return payload("lost", reason=_last_line(next(iter(failures.values()), error)))


def _last_line(error: Exception) -> str:
    """What a long text of Ray's comes down to."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"its workers were lost, or could not be started ({lines[-1][:200] if lines else type(error).__name__})"


class _Trainer(threading.Thread):
    """A Train run beside the Tune function, whose ranks train one trial after another; it ends with the process."""

    def __init__(self, spec: TrialSpec, storage: str) -> None:
        """``spec``: the first trial's, which says what ranks there are."""
        super().__init__(daemon=True)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here)
        self._mailbox = actor.remote(IDLE_S)
        self._run = TorchTrainer(
            _rank,
            train_loop_config={"mailbox": self._mailbox},
            torch_config=TorchConfig(backend="nccl" if spec.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=spec.workers,
                use_gpu=spec.gpus > 0,
                resources_per_worker={"CPU": spec.cpus, **({"GPU": spec.gpus} if spec.gpus else {})},
            ),
            run_config=RunConfig(
                name=spec.trial_id,
                storage_path=storage,
                failure_config=FailureConfig(controller_failure_limit=0),  # type: ignore[call-arg]
            ),
        )
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._run.fit()
        except Exception as error:
            self.error = error

    def hand_out(self, trial: Trial) -> bool:
        """False if the ranks have gone, for want of trials or because one died meanwhile."""
        if self.is_alive() and ray.get(self._mailbox.hand_out.remote(trial)):
            return True
        self.join()  # their places are free then
        return False

    def close(self) -> None:
        """Waits for the ranks a little; they are busy to the end of their epoch."""
        self._mailbox.close.remote()
        self.join(CLOSE_S)

    def reports(self) -> Generator[dict[str, str]]:
        """The newest trial's as they come, until its end or the run's. Closed before, it calls the trial off."""
        try:
            while True:
                is_over = not self.is_alive()  # asked first: all that was reported is in the mailbox then
                for said in ray.get(self._mailbox.reports.remote(POLL_S)):
                    yield said
                    if _is_end(said):
                        return
                if is_over:
                    return
        finally:
            self._mailbox.call_off.remote()


def _is_end(said: Mapping[str, str]) -> bool:
    return (content(said) or {}).get("event") == "end"


class _Fault(Exception):
    """A rank's own error: a status and a reason."""


class _CalledOff(Exception):
    """Nobody wants to hear of the trial any longer."""


def _rank(config: dict[str, Any]) -> None:
    """What a rank's process does: one trial after another."""
    for number in itertools.count():
        trial = ray.get(config["mailbox"].trial.remote(number))
        if trial is None:
            return
        _train(trial, number, config["mailbox"])


def _train(trial: Trial, number: int, mailbox: Any) -> None:
    isolate()
    spec, ranks, device = TrialSpec.from_config(trial), Ranks.current(), get_device()

    def report(said: dict[str, str]) -> None:
        """By the first rank. All ranks report at the same places, so here they learn together that they may stop."""
        is_over = ranks.rank == 0 and ray.get(mailbox.report.remote(number, said))
        if ranks.from_first(is_over, device):
            raise _CalledOff

    try:
        run_trial(spec, ray.get(trial["material"].ref), device, report)
    except _CalledOff:
        return
    except Exception as error:
        if _lost_another_process(error):
            raise
        log.exception("trial %s", spec.trial_id)  # into this process's file among Ray's session logs
        raise _Fault(*explain(error)) from None


def _lost_another_process(error: Exception) -> bool:
    """True for an error of communication: another rank died, or the mailbox. One that merely raised keeps its
    connections."""
    if isinstance(error, torch.distributed.DistError | RayActorError):
        return True
    return any(words in str(error) for words in ("gloo/transport", "closed by peer", "reset by peer", "Broken pipe"))
