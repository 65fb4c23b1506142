"""A study at work: its lock, its cluster, its phases. Every workflow is one ``with session(...)``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import ray
from ray import tune as ray_tune
from ray.exceptions import RayTaskError

from cnnbench.distributed import cluster
from cnnbench.distributed.ddp import distributed_trials
from cnnbench.distributed.function_trainable import tune_trial
from cnnbench.distributed.head_watch import watched
from cnnbench.distributed.interruption import interruptible
from cnnbench.distributed.preflight import preflight
from cnnbench.distributed.tune import run_stage
from cnnbench.protocol.phases import Phase, Succession
from cnnbench.protocol.recorder import Observer
from cnnbench.storage.lock import held
from cnnbench.study import Study
from cnnbench.trial.images import TrialImages
from cnnbench.trial.spec import TrialImagesRef
from cnnbench.trial.study_images import Sources


class View(Observer, Protocol):
    """A live view of the study."""

    def phase(self, phase: Phase) -> None: ...
    def say(self, line: str) -> None: ...


class Session:
    """What a workflow has of the machines. They are asked for when they are first needed: a study that has nothing left
    to run starts no Ray."""

    def __init__(
        self, study: Study, sources: Sources, view: View, opened: ExitStack, check_lock: Callable[[], None]
    ) -> None:
        self.check_lock = check_lock  # raises TakenOver if the study is another process's by now
        self._study = study
        self._view = view
        self._opened = opened
        self._is_connected = False
        self._images = {"validation": sources.for_search, "test": sources.for_finals}

    def share(self, workers: int) -> cluster.Share:
        """What a trial of ``workers`` workers gets of the cluster, which is connected to and looked over first. Raises
        ClusterError and Interrupted."""
        resources, say = self._study.resources, self._view.say
        first = not self._is_connected
        if first:
            self._connect()
        share = cluster.share(resources, workers, say, self._interrupted)
        if first:
            preflight(self._study, share, say, self._interrupted)
        return share

    def _connect(self) -> None:
        # in this order: Ray sets a handler of its own for SIGTERM, which would abort the process
        self._opened.enter_context(cluster.connected(self._study.resources, self._study.folder.ray_log))
        self._opened.enter_context(watched(self._view.say))
        self._interrupted = self._opened.enter_context(interruptible(self._view.say))
        self._is_connected = True

    def each(self, function: Callable[..., Any], calls: Sequence[Mapping[str, Any]], workers: int = 1) -> list[Any]:
        """What ``function`` returns for each of the ``calls``, where a worker of a trial of ``workers`` would run and
        with its resources, which it is handed as ``cpus`` and ``gpus``."""
        share = self.share(workers)
        task: Any = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus)(function)
        try:
            answers: list[Any] = ray.get([task.remote(**call, cpus=share.cpus, gpus=share.gpus) for call in calls])
        except RayTaskError as error:  # its text is the whole traceback of the other process
            raise error.cause from None
        return answers

    def run(self, *phases: Phase) -> None:
        """What is left of the phases, one after the other, in the same processes; all of them score on images of one
        kind. Raises Interrupted, and what recording a trial raises."""
        share = self.share(phases[0].workers)
        images = self._images[
            phases[0].scores_on
        ]  # the test images are read when a phase asks for them, and not before

        def begin(phase: Phase) -> None:
            phase.begin(share.gpus, images)
            if phase.total:
                self._view.phase(phase)

        trials = Succession(phases, begin)
        if trials.waiting:
            self._train(trials, images(), share)

    def _train(self, trials: Succession, material: TrialImages, share: cluster.Share) -> None:
        study, say = self._study, self._view.say
        ref = TrialImagesRef(ray.put(material))
        if share.workers > 1:
            trainable = distributed_trials(ref, storage=study.folder.shared(study.folder.ray_train))
        else:
            trainable = ray_tune.with_parameters(tune_trial, material=ref)
        slots = cluster.Slots(study.resources, share, lambda: trials.waiting)
        try:
            run_stage(
                trials, trainable, resources=share.placement(), concurrent=slots, folder=study.folder.ray_tune,
                interrupted=self._interrupted, say=say, time_limit_s=trials.time_limit_s,
            )  # fmt: skip
        finally:
            slots.close()


@contextmanager
def session(study: Study, sources: Sources, view: View, *, takeover: bool = False) -> Iterator[Session]:
    """Holds the study's lock while the block runs, and its cluster from when it is first needed. Raises Held. takeover:
    take the study over from a process that is said to run it."""
    with held(study.folder.lock, view.say, takeover=takeover) as lock, ExitStack() as opened:
        yield Session(study, sources, view, opened, lock.check)
