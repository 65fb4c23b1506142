"""The bridge to Ray Tune: a stage (the search or the finals) hands out trials and judges their reports; Tune places
them on the cluster, keeps warm processes for them, and runs them again when a process dies.

Tune's own state is never read back. What is finished stands in the ledger, and a stage begun again asks for the rest.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cnnbench.distributed.interruption import Interrupted
from cnnbench.distributed.placements import free_orphans, waited_for
from cnnbench.trial.remote_checkpoint import checkpoint_at
from cnnbench.trial.spec import Progress, TrialSpec, content

# Tune reads these when it is imported.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # no TensorBoard, CSV and JSON beside the ledger
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # ours stops cleanly, see `interruptible`
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")  # its snapshots are not used
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000000")  # how many there are at once, _Asker decides
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints a table even at verbose=0

from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

# Tune hands the driver's AWS keys to its workers in a runtime environment, which every node's log shows in clear. A
# node has an instance profile, or keys in its own environment.
class_cache.ENV_VARS_TO_PROPAGATE = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")}

MAX_RETRIES = 2
MEMORY_KILL = "Ray's memory monitor ended its process, because its host was running out of memory"
LOOK_S = 2.0  # between two looks for what ended trials have left reserved
QUIET_S = 60.0  # without a word from any trial, before the user is told what is waited for


class Stage(Protocol):
    """What Tune asks while a stage runs. All calls come from one thread of the driver."""

    @property
    def name(self) -> str: ...
    def ask(self) -> TrialSpec | None:
        """The next trial, or None when there is none left."""

    def started(self, progress: Progress) -> None: ...
    def report(self, progress: Progress, point: Mapping[str, Any]) -> str | None:
        """An epoch's metrics; a reason ends the trial as pruned."""

    def retried(self, progress: Progress, reason: str) -> None:
        """A trial whose process died will be run again, from its last checkpoint."""

    def note(self, progress: Progress, text: str) -> None:
        """What the user should hear of a trial that goes on."""

    def finish(self, progress: Progress, status: str, reason: str, end: Mapping[str, Any]) -> None:
        """A trial's end: completed, pruned, diverged, out-of-memory or failed."""


class _Asker(Searcher):
    """Hands Tune the stage's next trial."""

    def __init__(self, table: "_Table", slots: Callable[[int], int]) -> None:
        super().__init__()
        self._table = table
        self._slots = slots
        self._live: set[str] = set()  # its process may outlive a trial's last report for a moment

    def suggest(self, trial_id: str) -> Any:
        if self._live and len(self._live) >= self._slots(len(self._live)):
            return None
        spec = self._table.ask(trial_id)
        if spec is not None:
            self._live.add(trial_id)
            return spec.as_config()
        return None if self._table.flying else Searcher.FINISHED  # one in flight may have to be run again

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The referee has seen it already; here its place gets free."""
        self._live.discard(trial_id)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: the ledger is the truth."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Referee(FIFOScheduler):
    """Passes reports to the stage and stops what the stage calls off."""

    def __init__(self, table: "_Table") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._table = table
        self._waiting: dict[str, Trial] = {}  # trials that have not begun, in their order
        self._chosen: set[str] = set()  # of these, those that a process is being started for

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        self._waiting[trial.trial_id] = trial

    def choose_trial_to_run(self, controller: Any) -> Trial | None:
        """The trial that was proposed last takes the warm process of the one that ended before it. Tune's own choice
        is the oldest that waits, for which it throws away the process that is being started; so while trials are
        shorter than such a start, a node that is new would never get to work."""
        self._waiting = {name: trial for name, trial in self._waiting.items() if trial.status == Trial.PENDING}
        self._chosen &= self._waiting.keys()
        fresh = (trial for name, trial in self._waiting.items() if name not in self._chosen)
        chosen = next(fresh, None) or next(iter(self._waiting.values()), None)
        if chosen is not None:
            self._chosen.add(chosen.trial_id)
        return chosen

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        stop = self._table.report(trial.trial_id, content(result))
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self._table.lost(trial.trial_id, "it ended without saying how")

    def on_trial_error(self, controller: Any, trial: Trial) -> None:
        self._table.lost(trial.trial_id, _why(_said_of(trial)))


def _said_of(trial: Trial) -> str:
    """What Ray says of a trial's death. Tune's own get_error() looks where that file is yet to be copied to."""
    try:
        return Path(trial.error_file).read_text(errors="replace")
    except (OSError, TypeError):
        return ""


def _why(said: str) -> str:
    """Ray's long text in a few words."""
    if MEMORY_KILL in said or "low on memory" in said:
        return MEMORY_KILL
    if re.search(r"\bnode has died|temporarily unavailable", said):
        return "its host was lost, or can't be reached"
    return "its process died"


class _Table:
    """The trials in flight, by Tune's ids, and those whose process died and that are run again.

    Tune's own retries are off: it gives up on a process that dies before its first report.
    """

    def __init__(self, stage: Stage, limit_s: float | None, interrupted: threading.Event) -> None:
        self._stage = stage
        self._deadline = None if limit_s is None else time.monotonic() + limit_s
        self._interrupted = interrupted
        self._again: list[Progress] = []
        self._heard = time.monotonic()
        self.flying: dict[str, Progress] = {}
        self.fault: Exception | None = None  # the stage's own, such as a full disk: it ends the stage

    @contextmanager
    def _stage_faults(self) -> Iterator[None]:
        """Tune would take the stage's errors for a trial's, or hide them in a TuneError."""
        try:
            yield
        except Exception as error:
            self.fault = self.fault or error

    @property
    def stopped(self) -> bool:
        return self.fault is not None or self._interrupted.is_set()

    def ask(self, trial_id: str) -> TrialSpec | None:
        with self._stage_faults():
            return self._ask(trial_id)
        return None

    def _ask(self, trial_id: str) -> TrialSpec | None:
        if self.stopped:
            return None
        if self._again:
            progress = self._again.pop(0)
        elif self._deadline is not None and time.monotonic() > self._deadline:
            return None
        else:
            spec = self._stage.ask()
            if spec is None:
                return None
            progress = Progress(spec, datetime.now(UTC).isoformat(timespec="seconds"))
            self._stage.started(progress)
        self.flying[trial_id] = progress
        self._heard = time.monotonic()
        return progress.spec

    def report(self, trial_id: str, said: Mapping[str, Any] | None) -> bool:
        """Takes a trial's report; True if it should be stopped."""
        self._heard = time.monotonic()
        with self._stage_faults():
            return self._report(trial_id, said)
        return True

    def _report(self, trial_id: str, said: Mapping[str, Any] | None) -> bool:
        progress = self.flying.get(trial_id)
        if progress is None or said is None or self.fault is not None:
            return False
        for note in said.get("notes", ()):
            self._stage.note(progress, note)
        progress.reports += 1
        progress.facts.update(said.get("facts", {}))
        for name in ("images", "peak_memory_mb"):
            setattr(progress, name, said.get(name, getattr(progress, name)))
        if said["event"] == "lost":
            self.lost(trial_id, said["reason"])
            return False  # its process ends by itself, and is warm for the next one
        reason = self._epoch(progress, said["point"]) if "point" in said else None
        if said["event"] == "end":
            del self.flying[trial_id]
            self._stage.finish(progress, said["status"], said["reason"], said)
            return False  # as above
        if reason is None:
            return False
        del self.flying[trial_id]
        self._stage.finish(progress, "pruned", f"after epoch {progress.points[-1]['epoch']}, {reason}", {})
        return True

    def _epoch(self, progress: Progress, point: dict[str, Any]) -> str | None:
        """Takes an epoch's metrics; the stage's reason for calling the trial off."""
        known = progress.points[-1]["epoch"] if progress.points else 0
        if point["epoch"] <= known:
            return None  # run again after its process died, and not yet past what it had reported
        progress.points.append(point)
        return self._stage.report(progress, point)

    def is_quiet(self) -> bool:
        """True once in QUIET_S seconds in which no trial has said a word, though some are in flight."""
        if not self.flying or time.monotonic() - self._heard < QUIET_S:
            return False
        self._heard = time.monotonic()
        return True

    def lost(self, trial_id: str, reason: str) -> None:
        """A trial's process ended without a word: run it again, at most MAX_RETRIES times."""
        progress = self.flying.pop(trial_id, None)
        if progress is None or self.stopped:
            return
        with self._stage_faults():
            if progress.retries < MAX_RETRIES:
                first = checkpoint_at(progress.spec.checkpoint).epoch() + 1
                progress.retried.append(f"{reason}; retry {progress.retries + 1}/{MAX_RETRIES} from epoch {first}")
                self._stage.retried(progress, progress.retried[-1])
                self._again.append(progress)
            else:
                advice = "; try a smaller batch_size, or fewer trials at once" if reason == MEMORY_KILL else ""
                status = "out-of-memory" if reason == MEMORY_KILL else "failed"
                reasons = f"gave up after {MAX_RETRIES} retries: {reason}{advice}"
                self._stage.finish(progress, status, reasons, {})


class _Watch(Stopper):
    """Looked at by Tune every moment: stops everything after an interruption, frees what ended trials have left
    reserved, and says what a quiet stage waits for."""

    def __init__(self, table: _Table, say: Callable[[str], None]) -> None:
        self._table, self._say = table, say
        self._looked = time.monotonic()

    def __call__(self, trial_id: str, result: Any) -> bool:
        return False

    def stop_all(self) -> bool:
        if time.monotonic() - self._looked >= LOOK_S:
            free_orphans()
            self._looked = time.monotonic()
        if self._table.is_quiet() and (wanted := waited_for()):
            self._say(f"waiting for resources: {wanted}")
        return self._table.stopped

    def __reduce__(self) -> Any:  # Tune pickles its stopper into a snapshot, and a lock can't be pickled
        return FIFOScheduler, ()


def _trial_name(trial: Trial) -> str:
    """Tune's own name for a trial; its id is in it, because a trial that is run again is a new one to Tune."""
    return f"{TrialSpec.from_config(trial.config).trial_id}-{trial.trial_id}"


def run_stage(
    stage: Stage,
    trainable: Callable[..., Any],
    *,
    resources: Any,
    concurrent: int | Callable[[int], int],
    folder: Path,
    interrupted: threading.Event,
    say: Callable[[str], None],
    time_limit_s: float | None = None,
) -> None:
    """Runs a stage until it has no trial left, or ``time_limit_s`` has passed and the running ones are finished.

    resources: Tune's resources of one trial; concurrent: trials at once, or what says so, given how many run now;
    say: a line for the user, if trials wait for resources. Raises Interrupted, and what the stage itself raised.
    """
    slots = (lambda running: concurrent) if isinstance(concurrent, int) else concurrent
    table = _Table(stage, time_limit_s, interrupted)
    try:
        _run(table, stage.name, trainable, resources, slots, folder, say)
    except Exception:
        if table.fault is None:
            raise
    if table.fault is not None:
        raise table.fault
    if interrupted.is_set():
        raise Interrupted


def _run(
    table: _Table, name: str, trainable: Callable[..., Any], resources: Any, slots: Callable[[int], int],
    folder: Path, say: Callable[[str], None],
) -> None:  # fmt: skip
    tune.run(
        trainable,
        name=name,
        num_samples=-1,  # until the searcher says FINISHED
        search_alg=_Asker(table, slots),
        scheduler=_Referee(table),
        resources_per_trial=resources,
        reuse_actors=True,  # a trial's process is kept warm for the next
        trial_name_creator=_trial_name,
        trial_dirname_creator=_trial_name,
        raise_on_failed_trial=False,
        storage_path=str(folder.resolve()),
        stop=_Watch(table, say),
        verbose=0,
    )


class _KilledForMemory(RayActorError):
    """A process that Ray's memory monitor has ended."""


def _memory_kills_end_one_trial() -> None:
    """Tune (2.60) gives up a whole experiment when the memory monitor kills one of its processes: it does not know that
    error. It is told of a process that died, and goes on."""
    original = RayActorManager._actor_task_failed

    def failed(manager: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        killed = isinstance(exception, OutOfMemoryError)
        original(manager, tracked_actor_task, _KilledForMemory(error_msg=MEMORY_KILL) if killed else exception)

    RayActorManager._actor_task_failed = failed  # type: ignore[method-assign, assignment]


_memory_kills_end_one_trial()
