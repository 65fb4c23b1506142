"""Every trial in MLflow, without waiting for MLflow: events go to a spool file, and a process ships them.

The spool ``<study folder>/tracking.spool.jsonl`` is append-only; ``tracking.cursor.json`` beside it says how far each
store has it. A store that is down or slow holds up nothing: what it did not take is shipped when it answers, in this
run or the next, by ``cnnbench.tracking.shipping``. The ledger stays the truth.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cnnbench.ledger import EpochPoint, TrialRecord
from cnnbench.study import StorageFolder, StudyFolder
from cnnbench.tracking.shipping import Job, Message
from cnnbench.tracking.spool import Cursor, Event, Spool, store_key
from cnnbench.uri import has_password, without_password

log = logging.getLogger(__name__)

# MLflow reads these from the environment of its process, and nowhere else. A value that is set already stays.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # its seven retries take minutes; the shipping process backs off itself
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a line a trial, in the middle of the live view
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # the UI's own background jobs, which nothing here uses
}

_RUN_STATUS = {"completed": "FINISHED", "pruned": "KILLED"}  # any other: FAILED
# Not -m, which would put the folder the study is run from first on the path: an installed cnnbench comes first, as in
# __main__.py, whose folder above is given.
_SHIP = "import sys; sys.path.append(sys.argv[1]); from cnnbench.tracking.shipping import main; main()"


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
        self._uri = uri or default_uri(folder.parent)
        self._folder = StudyFolder(folder)
        self._spool = Spool(self._folder.spool)
        cursor = self._cursor()
        if cursor.offset > self._spool.size():  # its end was lost: what is left is shipped again
            cursor.offset = 0
            cursor.save()
        self._was_behind = self._spool.count(cursor.offset) > 0
        self._lock = threading.Lock()
        self._spool_warned = False
        self._job = Job(self._uri, study, str(folder), _texts(parent_params), _now_ms())
        self._shipping = _Shipping(self._job)

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
        """Ships what it can in ``timeout_s`` seconds, then all that a report is made from to the parent run.
        ``interrupted``: the parent run ends as KILLED."""
        first = self._shipping
        if first.has_ended():
            self._shipping = _Shipping(self._job)
        self._shipping.close("KILLED" if interrupted else "FINISHED", timeout_s)
        with self._lock:
            spooled = self._spool.count(self._cursor().offset)
            self._spool.close()
        synced = sum(process.synced for process in {first, self._shipping})
        late = self._was_behind or spooled > 0 or first.was_late or self._shipping.was_late
        return Shipped(synced, spooled, late)

    def _cursor(self) -> Cursor:
        return Cursor.load(self._folder.cursor, self._uri)

    def _append(self, event: Event) -> None:
        with self._lock:
            try:
                self._spool.append({"time_ms": _now_ms(), **event})
            except OSError as error:  # the disk is full: the next run takes it from the ledger
                self._warn_of_spool(error)

    def _warn_of_spool(self, error: OSError) -> None:
        if not self._spool_warned:
            self._spool_warned = True
            remedy = "MLflow gets the rest from the ledger on the next run"
            log.warning("%s: %s; %s", self._folder.spool.name, error.strerror, remedy)


class _Shipping:
    """A process of ``cnnbench.tracking.shipping``. It ends with this one, however that ends: see its standard input."""

    def __init__(self, job: Job) -> None:
        self.synced = 0
        self.was_late = False
        self._closing = False
        command = [sys.executable, "-P", "-c", _SHIP, str(Path(__file__).resolve().parents[1])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**ENVIRONMENT, **os.environ},
            start_new_session=True,  # Ctrl-C is for the study, which then closes the tracker
        )  # fmt: skip
        self._tell(asdict(job))
        self._thread = threading.Thread(target=self._listen, name="cnnbench-tracking", daemon=True)
        self._thread.start()

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def close(self, status: str, timeout_s: float) -> None:
        """Lets it ship what is left, for so long."""
        self._closing = True
        self._tell(status)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def _tell(self, value: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which the thread sees
            self._process.stdin.write(json.dumps(value) + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                message = Message(**json.loads(line))
                self.synced += message.synced
                self.was_late |= message.unreachable
                if message.warning:
                    log.warning("%s", message.warning)
        code = self._process.wait()
        if not self._closing:
            self.was_late = True
            log.warning("what ships to MLflow has ended (exit code %d): the rest comes when the study ends", code)


def known_runs(folder: Path, uri: str | None) -> dict[str, tuple[str, str]]:
    """Trial id → (experiment id, run id) of a study's runs in the store at ``uri`` (see ``Tracker``), as far as they
    were noted in the study's folder when they were shipped."""
    try:
        lines = StudyFolder(folder).mlflow_runs.read_text(encoding="utf-8").splitlines()
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
    return f"sqlite:///{StorageFolder(storage.resolve()).mlflow_database}"


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
    command += [
        "--default-artifact-root",
        StorageFolder(storage).mlflow_artifacts.resolve().as_uri(),
        "--no-serve-artifacts",
    ]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--allowed-hosts", ",".join(hosts)]


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


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _milliseconds(utc: str) -> int | None:
    try:
        return int(datetime.fromisoformat(utc).timestamp() * 1000)
    except ValueError:
        return None  # the time of the event has to do


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
