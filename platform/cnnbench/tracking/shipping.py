"""Ships a study's spool to MLflow, in a process of its own: what MLflow costs, the study's driver does not pay.

``cnnbench.tracking.tracker`` starts it. Its standard input is one line of JSON, a Job, and later one more: the status
that the study's run ends with. Where standard input ends, the driver is dead or waits no longer: so does this process,
at once. Its standard output is one JSON object a line, the fields of a Message.

Shipping twice is the same as once: a trial's run is found by its tag, a metric carries the time and step it was spooled
with, and the epochs of a retried trial count once. MLflow is imported here, and to read a study back.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cnnbench.study import StorageFolder, StudyFolder
from cnnbench.tracking.spool import Cursor, Event, OpenRun, SpoolFile
from cnnbench.uri import blackened, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRIAL_TAG = "cnnbench.trial_id"
PARENT_ID = "study"

_PAUSE_S = 1.0  # between two rounds of shipping; what is spooled meanwhile goes in one request a trial
_LONGEST_PAUSE_S = 60.0  # while the store does not answer
_LOCKED_S = 60.0  # another process may have a database file for so long, before it is trouble
_METRICS_A_BATCH = 900  # MLflow takes 1000
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # networks, not agents
    "mlflow.note.content": 'Sort by `val_accuracy` to see all trials. Filter: `params.activation = "mish"`, '
    '`tags.stage = "final"`.',
}
# The store's answer to one request it will never take; any other error is the store's trouble, and passes.
_REFUSALS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"}


@dataclass(frozen=True)
class Job:
    """The spool in ``folder`` is to go to the MLflow store at ``uri``. params: of the study's run."""

    uri: str
    study: str
    folder: str
    params: dict[str, str]
    began_ms: int


@dataclass(frozen=True)
class Message:
    """To the driver. synced: events shipped since the last message; warning: for the user; unreachable: the store does
    not answer, so that events come late."""

    synced: int = 0
    warning: str = ""
    unreachable: bool = False


class Shipper:
    """Ships the spool as it grows, until it is told how the study ended, and then what is left, once."""

    def __init__(self, job: Job, say: Callable[[Message], None]) -> None:
        self._folder = folder = StudyFolder(Path(job.folder))
        self._uri = job.uri
        self._say = say
        self._spool = SpoolFile(folder.spool)
        self._cursor = Cursor.load(folder.cursor, job.uri)
        self._store = _Store(job, folder, self._cursor, lambda text: say(Message(warning=text)))
        self._warned = False
        self._free_since = time.monotonic()  # when the database was last not locked by another process
        self._status = ""
        self._closing = threading.Event()

    def close(self, status: str) -> None:
        """The study ended. May come from another thread."""
        self._status = status
        self._closing.set()

    def run(self) -> None:
        """Returns after a last round of shipping, which follows ``close``."""
        pause = _PAUSE_S
        while True:
            closing = self._closing.is_set()  # read first: what was spooled before closing is seen by this round
            try:
                self._ship_what_is_there()
                if closing:
                    self._store.finish(self._status)
                pause, self._free_since = _PAUSE_S, time.monotonic()
            except Exception as error:  # MLflow, its HTTP client and its database raise what they like
                if self._is_only_locked(error):
                    time.sleep(_PAUSE_S)
                    continue
                self._warn(error)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            if closing:
                return
            self._closing.wait(pause)

    def _is_only_locked(self, error: Exception) -> bool:
        """True while others write to the database file that this process wants to write to: no trouble, but traffic."""
        return "database is locked" in str(error) and time.monotonic() - self._free_since < _LOCKED_S

    def _ship_what_is_there(self) -> None:
        self._store.connect()
        while True:
            lines, end = self._spool.read(self._cursor.offset)
            if end == self._cursor.offset:
                return
            events = [event for event in lines if event is not None]
            if len(events) < len(lines):
                self._say(
                    Message(warning=f"{self._folder.spool.name}: passed over {len(lines) - len(events)} damaged lines")
                )
            self._store.ship(events)
            self._cursor.offset = end
            self._cursor.save()
            self._say(Message(synced=len(events)))

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            reason = blackened(_cause(error), self._uri)[:200]
            events = self._spool.count(self._cursor.offset)
            remedy = f"{events} events spooled, shipped when it answers or on the next run ({reason})"
            text = f"MLflow at {without_password(self._uri)} is unreachable: {remedy}"
            self._say(Message(warning=text, unreachable=True))


class _Store:
    """The MLflow side: an experiment of the study's name, a parent run, a child run a trial. Its methods raise whatever
    MLflow raises."""

    def __init__(self, job: Job, folder: StudyFolder, cursor: Cursor, warn: Callable[[str], None]) -> None:
        self._job = job
        self._folder = folder
        self._cursor = cursor
        self._warn = warn
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._parent = ""
        self._made_experiment = False
        self._asked_for: set[str] = set()  # trials whose runs this process found or made, or tried to

    def connect(self) -> None:
        """Finds or makes experiment and parent run, once. A store that has neither is given all of the spool."""
        if self._parent:
            return
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # after the import, which sets levels of its own
            logging.getLogger(name).setLevel(logging.WARNING)
        # what it logs with a traceback, such as a full disk, it raises too
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

        self._client = client = MlflowClient(tracking_uri=self._job.uri)
        experiment = client.get_experiment_by_name(self._job.study)
        if experiment is None:
            place = _artifact_location(self._job.uri, self._folder)
            self._experiment = client.create_experiment(self._job.study, artifact_location=place, tags=_EXPERIMENT_TAGS)
            self._made_experiment = True
        else:
            self._experiment = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(self._experiment)
        parent = self._find(PARENT_ID)
        if parent is None and self._cursor.offset > 0:  # the database was deleted: ship all of the spool again
            self._cursor.offset = 0
            self._cursor.open.clear()
            self._cursor.save()
        parent = parent or self._create(PARENT_ID, {}, self._job.began_ms)
        client.update_run(parent.info.run_id, status="RUNNING")
        self._log(parent.info.run_id, [], _missing(self._job.params, parent), {})
        self._parent = parent.info.run_id

    def ship(self, events: Sequence[Event]) -> None:
        """Sends the events, those of one trial together and in their order."""
        by_trial: dict[str, list[Event]] = {}
        for event in events:
            by_trial.setdefault(event["trial"], []).append(event)
        for trial, of_trial in by_trial.items():
            with self._warned_of_refusals(trial):
                self._ship_trial(trial, of_trial)

    def finish(self, status: str) -> None:
        """Stores all that a report is made from with the parent run, and ends it."""
        assert self._client is not None
        for file in self._folder.reported:
            if file.exists():
                self._client.log_artifact(self._parent, str(file))
        self._client.set_terminated(self._parent, status=status)

    def _ship_trial(self, trial: str, events: Sequence[Event]) -> None:
        assert self._client is not None
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        for event in events:
            params |= event.get("params", {})
            tags |= event.get("tags", {})
        run = self._cursor.open.get(trial)
        known = None
        if run is None:
            known = self._find(trial) if self._may_know(trial) else None
            found = known or self._create(trial, tags, events[0].get("began_ms") or events[0]["time_ms"])
            params = _missing(params, found)
            run = self._cursor.open[trial] = OpenRun(found.info.run_id, self._last_epoch(known) if known else 0)
            self._note_run(trial, run.run_id)
        elif params:
            params = _missing(params, self._client.get_run(run.run_id))
        metrics, last = _metrics_of(events, run.epoch)
        self._log(run.run_id, metrics, params, tags)
        run.epoch = last
        end = events[-1]
        if status := end.get("status"):
            self._client.set_terminated(run.run_id, status=status, end_time=end["ended_ms"] or end["time_ms"])
            del self._cursor.open[trial]
        elif known and events[0]["event"] == "started":
            self._client.update_run(run.run_id, status="RUNNING")

    def _may_know(self, trial: str) -> bool:
        """False if the store can't have a run of this trial, so that it need not be asked."""
        may = not self._made_experiment or trial in self._asked_for
        self._asked_for.add(trial)
        return may

    def _note_run(self, trial: str, run_id: str) -> None:
        """For the report, which knows no MLflow."""
        line = {"store": self._cursor.store, "experiment": self._experiment, "trial": trial, "run": run_id}
        with open(self._folder.mlflow_runs, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    @contextmanager
    def _warned_of_refusals(self, trial: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
            self._cursor.open.pop(trial, None)  # its run may have been deleted by hand: the next event makes one
            reason = blackened(str(error), self._job.uri)
            self._warn(f"MLflow refused events of trial {trial}, which stay in the ledger alone: {reason}")

    def _last_epoch(self, run: "Run") -> int:
        """Of a run that an earlier spool or cursor knew."""
        assert self._client is not None
        points = self._client.get_metric_history(run.info.run_id, "train_loss")
        return max((point.step for point in points), default=0)

    def _find(self, trial: str) -> "Run | None":
        assert self._client is not None
        found = self._client.search_runs([self._experiment], f"tags.`{TRIAL_TAG}` = '{trial}'", max_results=1)
        return found[0] if found else None

    def _create(self, trial: str, tags: Mapping[str, str], time_ms: int) -> "Run":
        assert self._client is not None
        nested = {"mlflow.parentRunId": self._parent} if self._parent else {}
        all_tags = {TRIAL_TAG: trial, **nested, **tags}
        return self._client.create_run(self._experiment, start_time=time_ms, tags=all_tags, run_name=trial)

    def _log(self, run_id: str, metrics: list[Event], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        assert self._client is not None
        points = [Metric(**point) for point in metrics]
        for start in range(0, max(1, len(points)), _METRICS_A_BATCH):
            self._client.log_batch(
                run_id,
                metrics=points[start : start + _METRICS_A_BATCH],
                params=[Param(key, value) for key, value in params.items()] if start == 0 else [],
                tags=[RunTag(key, value) for key, value in tags.items()] if start == 0 else [],
            )


def _cause(error: Exception) -> str:
    """What an HTTP client and a database say at the end of a long sentence."""
    text = " ".join(str(error).split()).rpartition("(Caused by ")[2]
    return text.partition(" [SQL:")[0].rpartition("Error) ")[2]


def _metrics_of(events: Sequence[Event], last: int) -> tuple[list[Event], int]:
    """MLflow's metrics of the epochs after ``last`` and of the end, and the new last epoch."""
    metrics = []
    for event in events:
        for point in event.get("epochs", []):
            if point["epoch"] > last:
                last = point["epoch"]
                values = {name: value for name, value in point.items() if name != "epoch"}
                metrics += [_metric(name, value, event, last) for name, value in values.items()]
        metrics += [_metric(name, value, event, 0) for name, value in event.get("metrics", {}).items()]
    return metrics, last


def _metric(name: str, value: float, event: Event, step: int) -> Event:
    return {"key": name, "value": value, "timestamp": event["time_ms"], "step": step}


def _missing(params: Mapping[str, str], run: "Run") -> dict[str, str]:
    """Those that the run has not: MLflow's params can't be changed."""
    return {name: value for name, value in params.items() if name not in run.data.params}


def _artifact_location(uri: str, folder: StudyFolder) -> str | None:
    """Beside a database file, else in the storage folder above the study's own ``folder``; a server knows its place."""
    if urlsplit(uri).scheme in {"http", "https"}:
        return None
    beside = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else folder.path
    return (StorageFolder(beside.resolve().parent).mlflow_artifacts / folder.path.name).as_uri()


def main() -> None:
    """The process: a job from standard input, messages to standard output."""
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print goes elsewhere

    def say(message: Message) -> None:
        out.write(json.dumps(asdict(message)) + "\n")
        out.flush()

    driver = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 (a buffer's lock would be held when Python ends)
    shipper = Shipper(Job(**json.loads(driver.readline())), say)

    def listen() -> None:
        if line := driver.readline():
            shipper.close(json.loads(line))
            driver.read()
        os._exit(1)  # the main thread may be waiting for an answer

    threading.Thread(target=listen, daemon=True).start()
    shipper.run()
