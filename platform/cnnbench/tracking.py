"""Every trial in MLflow, without waiting for MLflow: events go to a spool file, and one thread ships them.

The spool ``<study folder>/tracking.spool.jsonl`` is append-only; ``tracking.cursor.json`` beside it says how far each
store has it. A store that is down or slow holds up nothing: what it did not take is shipped when it answers, in this
run or the next. Shipping twice is the same as once: a trial's run is found by its tag, a metric carries the time and
step it was spooled with, and the epochs of a retried trial count once.

The ledger stays the truth. MLflow is imported here alone, and only by that thread (importing it takes seconds).
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cnnbench.ledger import EpochPoint, TrialRecord
from cnnbench.spool import CURSOR, SPOOL, Cursor, Event, OpenRun, Spool, store_key
from cnnbench.uri import blackened, has_password, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

# MLflow reads these from the environment of its process, and nowhere else. A value that is set already stays.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # its seven retries take minutes; the shipping thread backs off itself
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a line a trial, in the middle of the live view
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # the UI's own background jobs, which nothing here uses
}

_PAUSE_S = 1.0  # between two rounds of shipping; what is spooled meanwhile goes in one request a trial
_LONGEST_PAUSE_S = 60.0  # while the store does not answer
_LOCKED_S = 60.0  # another process may have a database file for so long, before it is trouble
_METRICS_A_BATCH = 900  # MLflow takes 1000
TRIAL_TAG = "cnnbench.trial_id"
PARENT_ID = "study"
ARTIFACTS = ("ledger.jsonl", "study.json", "prediction.json")  # of the parent run: all that a report is made from
_RUNS = "tracking.runs.jsonl"
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # networks, not agents
    "mlflow.note.content": 'Sort by `val_accuracy` to see all trials. Filter: `params.activation = "mish"`, '
    '`tags.stage = "final"`.',
}
_RUN_STATUS = {"completed": "FINISHED", "pruned": "KILLED"}  # any other: FAILED
# The store's answer to one request it will never take; any other error is the store's trouble, and passes.
_REFUSALS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"}


@dataclass(frozen=True)
class Shipped:
    """What came of the events: sent to MLflow by this process, and left in the spool for the next run. late: some had
    to wait for a store that did not answer, in this run or an earlier one."""

    synced: int
    spooled: int
    late: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        left = f"{self.spooled} spooled" + (", shipped on the next run" if self.spooled else "")
        return f"MLflow: {self.synced} events synced, {left}"


class Tracker:
    """Mirrors one study to one MLflow store: an experiment of the study's name, a parent run, a child run a trial.

    ``uri``: an MLflow tracking URI; None: ``mlflow.db`` in the folder above ``folder``, the study's own.
    ``parent_params``: the study's settings, shown at the parent run. No method raises for MLflow's sake.
    """

    def __init__(self, uri: str | None, study: str, folder: Path, *, parent_params: Mapping[str, Any]) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._uri = uri or default_uri(folder.parent)
        self._spool = Spool(folder / SPOOL)
        self._cursor = Cursor.load(folder / CURSOR, self._uri)
        if self._cursor.offset > self._spool.size():  # its end was lost: what is left is shipped again
            self._cursor.offset = 0
        self._store = _Store(self._uri, study, folder, _texts(parent_params), self._cursor)
        self._lock = threading.Lock()
        self._pending = self._spool.count(self._cursor.offset)
        self._synced = 0
        self._was_behind = self._pending > 0
        self._warned = self._spool_warned = False
        self._free_since = time.monotonic()  # when the database was last not locked by another process
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._status = "FINISHED"
        self._thread = threading.Thread(target=self._ship_until_closed, name="cnnbench-tracking", daemon=True)
        self._thread.start()

    def complete(self, records: Sequence[TrialRecord]) -> None:
        """Spools what a crash or a full disk kept out of the spool: the ends of trials that the ledger has."""
        spooled = self._spool.finished()
        for record in records:
            if record.trial_id not in spooled:
                self.finished(record)

    def started(
        self,
        trial_id: str,
        *,
        stage: str,
        row: str,
        architecture: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        """A trial begins, or begins again: the same ``trial_id`` goes on in the same run."""
        places = {"stage": stage, "row": row, "architecture": architecture, "status": "running"}
        all_params = {"architecture": architecture, **params}
        self._append({"event": "started", "trial": trial_id, "params": _texts(all_params), "tags": {**places, **tags}})

    def epoch(self, trial_id: str, point: EpochPoint) -> None:
        """One epoch's metrics. Returns once they are in the spool file: far below a millisecond."""
        self._append({"event": "epoch", "trial": trial_id, "epochs": [point.known()]})

    def finished(self, record: TrialRecord) -> None:
        """A trial ended, in whatever way. Its run is complete even if nothing was heard of it before."""
        ended_ms = _milliseconds(record.finished_utc)
        self._append(
            {
                **({} if ended_ms is None else {"time_ms": ended_ms}),  # the same whenever it is spooled
                "event": "finished",
                "trial": record.trial_id,
                "params": _texts(_params_of(record)),
                "tags": _tags_of(record),
                "epochs": [point.known() for point in record.epochs],
                "metrics": _final_metrics(record),
                "status": _RUN_STATUS.get(record.status, "FAILED"),
                "began_ms": _milliseconds(record.started_utc),
                "ended_ms": ended_ms,
            }
        )

    def close(self, timeout_s: float, *, interrupted: bool = False) -> Shipped:
        """Ships what it can in ``timeout_s`` seconds, then the files of ARTIFACTS to the parent run.
        ``interrupted``: the parent run ends as KILLED."""
        self._status = "KILLED" if interrupted else "FINISHED"
        self._closing.set()
        self._thread.join(timeout_s)
        self._abandoned.set()  # a thread that is still waiting for an answer ends after it
        with self._lock:
            self._spool.close()
            return Shipped(self._synced, self._pending, late=self._warned or self._was_behind or self._pending > 0)

    def _append(self, event: Event) -> None:
        with self._lock:
            try:
                self._spool.append({"time_ms": _now_ms(), **event})
            except OSError as error:  # the disk is full: the next run takes it from the ledger
                self._warn_of_spool(error)
                return
            self._pending += 1

    def _warn_of_spool(self, error: OSError) -> None:
        if not self._spool_warned:
            self._spool_warned = True
            log.warning("%s: %s; MLflow gets the rest from the ledger on the next run", SPOOL, error.strerror)

    def _ship_until_closed(self) -> None:
        pause = _PAUSE_S
        while True:
            closing = self._closing.is_set()  # read first: what was spooled before closing is seen by this round
            try:
                self._ship_what_is_there()
                if closing and not self._abandoned.is_set():
                    self._store.finish(self._status)
                pause, self._free_since = _PAUSE_S, time.monotonic()
            except Exception as error:  # MLflow, its HTTP client and its database raise what they like
                if self._is_only_locked(error) and not self._abandoned.wait(_PAUSE_S):
                    continue
                self._warn(error)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            if closing or self._abandoned.is_set():
                return
            self._closing.wait(pause)

    def _is_only_locked(self, error: Exception) -> bool:
        """True while others write to the database file that this process wants to write to: no trouble, but traffic."""
        return "database is locked" in str(error) and time.monotonic() - self._free_since < _LOCKED_S

    def _ship_what_is_there(self) -> None:
        if self._store.connect():  # True: this store has nothing of the study, whatever the cursor says
            with self._lock:
                self._pending = self._spool.count(0)
        while not self._abandoned.is_set():
            lines, end = self._spool.read(self._cursor.offset)
            if end == self._cursor.offset:
                return
            events = [event for event in lines if event is not None]
            if len(events) < len(lines):
                log.warning("%s: passed over %d damaged lines", SPOOL, len(lines) - len(events))
            self._store.ship(events)
            self._cursor.offset = end
            self._cursor.save()
            with self._lock:
                self._pending -= len(lines)
                self._synced += len(events)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            reason = blackened(_cause(error), self._uri)[:200]
            log.warning(
                "MLflow at %s is unreachable: %d events spooled, shipped when it answers or on the next run (%s)",
                without_password(self._uri),
                self._pending,
                reason,
            )


class _Store:
    """The MLflow side, used by the shipping thread alone. Its methods raise whatever MLflow raises."""

    def __init__(self, uri: str, study: str, folder: Path, params: dict[str, str], cursor: Cursor) -> None:
        self._uri = uri
        self._study = study
        self._folder = folder
        self._params = params
        self._cursor = cursor
        self._began_ms = _now_ms()
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._parent = ""

    def connect(self) -> bool:
        """Finds or makes experiment and parent run, once. True if the cursor was of another store of this address."""
        if self._parent:
            return False
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # after the import, which sets levels of its own
            logging.getLogger(name).setLevel(logging.WARNING)
        # what it logs with a traceback, such as a full disk, it raises too
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

        self._client = client = MlflowClient(tracking_uri=self._uri)
        experiment = client.get_experiment_by_name(self._study)
        if experiment is None:
            place = _artifact_location(self._uri, self._folder)
            self._experiment = client.create_experiment(self._study, artifact_location=place, tags=_EXPERIMENT_TAGS)
        else:
            self._experiment = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(self._experiment)
        parent = self._find(PARENT_ID)
        is_new = parent is None and self._cursor.offset > 0
        if is_new:  # the database was deleted: ship all of the spool again
            self._cursor.offset = 0
            self._cursor.open.clear()
        parent = parent or self._create(PARENT_ID, {}, self._began_ms)
        client.update_run(parent.info.run_id, status="RUNNING")
        self._log(parent.info.run_id, [], _missing(self._params, parent), {})
        self._parent = parent.info.run_id
        return is_new

    def ship(self, events: Sequence[Event]) -> None:
        """Sends the events, those of one trial together and in their order."""
        by_trial: dict[str, list[Event]] = {}
        for event in events:
            by_trial.setdefault(event["trial"], []).append(event)
        for trial, of_trial in by_trial.items():
            with self._warned_of_refusals(trial):
                self._ship_trial(trial, of_trial)

    def finish(self, status: str) -> None:
        """Stores ARTIFACTS with the parent run, and ends it."""
        assert self._client is not None
        for name in ARTIFACTS:
            if (self._folder / name).exists():
                self._client.log_artifact(self._parent, str(self._folder / name))
        self._client.set_terminated(self._parent, status=status)

    def _ship_trial(self, trial: str, events: Sequence[Event]) -> None:
        assert self._client is not None
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        for event in events:
            params |= event.get("params", {})
            tags |= event.get("tags", {})
        run = self._cursor.open.get(trial)
        if run is None:
            known = self._find(trial)
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
        elif events[0]["event"] == "started":
            self._client.update_run(run.run_id, status="RUNNING")

    def _note_run(self, trial: str, run_id: str) -> None:
        """For the report, which knows no MLflow."""
        line = {"store": self._cursor.store, "experiment": self._experiment, "trial": trial, "run": run_id}
        with open(self._folder / _RUNS, "a", encoding="utf-8") as file:
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
            reason = blackened(str(error), self._uri)
            log.warning("MLflow refused events of trial %s, which stay in the ledger alone: %s", trial, reason)

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


def known_runs(folder: Path, uri: str | None) -> dict[str, tuple[str, str]]:
    """Trial id → (experiment id, run id) of a study's runs in the store at ``uri`` (see ``Tracker``), as far as they
    were noted in the study's folder when they were shipped."""
    try:
        lines = (folder / _RUNS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    store = store_key(uri or default_uri(folder.parent))
    found = {}
    for line in lines:
        try:
            noted = json.loads(line)
        except ValueError:
            continue  # a crash may have left half a line
        if noted["store"] == store:
            found[noted["trial"]] = (noted["experiment"], noted["run"])
    return found


def default_uri(storage: Path) -> str:
    """The embedded store of all studies below ``storage``."""
    return f"sqlite:///{storage.resolve() / 'mlflow.db'}"


def ui_command(uri: str | None, storage: Path, port: int = 5000) -> list[str]:
    """The command that serves the MLflow UI of a database, on this machine's loopback and to its own browser alone:
    http://127.0.0.1:PORT/#/experiments, where "Model training" hides what is for agents. Run it with ENVIRONMENT.
    Raises ValueError if ``uri`` is a server, which has its own UI."""
    uri = uri or default_uri(storage)
    if urlsplit(uri).scheme in {"http", "https"}:
        raise ValueError(f"tracking.uri: {without_password(uri)} is an MLflow server: open it in a browser")
    if has_password(uri):  # the server would have it on its command line, too
        remedy = "every user of this machine can read it there; put it into ~/.pgpass"
        raise ValueError(f"tracking.uri: a password on the command line ({without_password(uri)}): {remedy}")
    hosts = [f"{name}{suffix}" for name in ("localhost", "127.0.0.1") for suffix in ("", f":{port}")]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--default-artifact-root", (storage / "mlartifacts").resolve().as_uri(), "--no-serve-artifacts"]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--allowed-hosts", ",".join(hosts)]


def _cause(error: Exception) -> str:
    """What an HTTP client and a database say at the end of a long sentence."""
    text = " ".join(str(error).split()).rpartition("(Caused by ")[2]
    return text.partition(" [SQL:")[0].rpartition("Error) ")[2]


def _params_of(record: TrialRecord) -> dict[str, Any]:
    components = {kind: use.value for kind, use in record.components.items()}
    facts = {"architecture": record.architecture, "seed": record.seed, "dataset": record.split.dataset}
    return {**facts, **record.options, **components, **record.hyperparameters, "precision": record.machine.precision}


def _tags_of(record: TrialRecord) -> dict[str, str]:
    places = {"stage": record.stage, "row": record.row, "architecture": record.architecture}
    facts = {"family": record.family, "device": record.machine.device, "commit": record.commit}
    effect = record.effect.model_dump(include={"component", "value", "phase"}) if record.effect else {}
    named = {f"effect_{name}": str(value) for name, value in effect.items()}
    return {**places, **named, "status": record.status, "reason": record.reason, **facts}


def _final_metrics(record: TrialRecord) -> dict[str, float]:
    metrics: dict[str, float | None] = {
        "score": record.score,
        "test_accuracy": record.test.accuracy if record.test else None,
        "test_loss": record.test.loss if record.test else None,
        "params": record.cost.params,
        "macs": record.cost.macs,
        "flops": record.cost.flops,
        "size_mb": record.cost.size_mb,
        "latency_ms_median": record.speed.latency_ms_median if record.speed else None,
        "throughput": record.speed.throughput if record.speed else None,
        "device_seconds": record.budget.device_seconds,
        "peak_memory_mb": record.machine.peak_memory_mb,
    }
    return {name: float(value) for name, value in metrics.items() if value is not None}


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


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _milliseconds(utc: str) -> int | None:
    try:
        return int(datetime.fromisoformat(utc).timestamp() * 1000)
    except ValueError:
        return None  # the time of the event has to do


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _artifact_location(uri: str, folder: Path) -> str | None:
    """Beside a database file, else in the storage folder above the study's own ``folder``; a server knows its place."""
    if urlsplit(uri).scheme in {"http", "https"}:
        return None
    beside = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else folder
    return (beside.resolve().parent / "mlartifacts" / folder.name).as_uri()
