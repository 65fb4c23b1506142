"""A study in a process of its own that is disturbed while it runs, and what must not depend on that."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect

from cnnbench.ledger import Ledger, TrialRecord
from cnnbench.study import StudyFolder
from faulty_networks import HOLD
from own_mounts import Mounts

HERE = Path(__file__).parent
PATIENCE_S = 600.0  # of anything waited for: on a busy machine only a hang may reach it
POLL_S = 0.02

# Trials of 1.5 seconds, one at a time, each epoch with a checkpoint.
STUDY = """
study: paced
data: {dataset: digits, image_size: 16, train_limit: 300, test_limit: 100}
architectures: [{name: "faulty_networks:paced", label: paced}]
space: {lr: {float: [0.02, 0.2], log: true}, schedule: constant, batch_size: 64}
budget: {trials: 6, epochs: 12}
search: {pruner: none}
finals: {seeds: 1, few_seeds_reason: faults are tested and not the networks}
precision: fp32
checkpoint_every_s: 0
resources: {concurrent_trials: 1, cluster: local}
"""
SEARCHED = 6
ALL = SEARCHED + 1 + 1 + 1  # a final, the A/A control, the majority class


class Place:
    """A folder with a study file, in which the CLI is run."""

    def __init__(self, folder: Path, text: str = STUDY, name: str = "paced", mounts: Mounts | None = None) -> None:
        """mounts: what the study sees of the disk, where that is not what all see."""
        self.folder, self.name, self._mounts = folder, name, mounts
        self.study_file = folder / "study.yaml"
        self.study_file.write_text(text)
        self.verb = ["run", str(self.study_file)]
        results = folder / "results" / name
        self.results = mounts.seen(results) if mounts else results
        self.hold = folder / "hold"
        self._runs = 0

    @contextmanager
    def running(self, *settings: str, patch: str = "", **environment: str) -> Iterator["Run"]:
        """``cnnbench run``, or what ``verb`` says, in a process of its own, which ends with the block. settings:
        field=value; patch: Python that the process executes first."""
        log = self._new_log()
        with open(log, "wb") as file:
            process = subprocess.Popen(
                self._command(settings, patch), cwd=self.folder, env=self._environment(**environment),
                stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            yield Run(self, process, log)
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def typed(self, *settings: str) -> Iterator["Run"]:
        """The same in a terminal of its own."""
        command, log = self._command(settings), self._new_log()
        with open(log, "wb") as file:
            child = pexpect.spawn(command[0], command[1:], cwd=str(self.folder), env=self._environment(), logfile=file)
            try:
                yield Typed(self, child, log)
            finally:
                child.close(force=True)

    def _command(self, settings: Sequence[str], patch: str = "") -> list[str]:
        options = [part for setting in settings for part in ("--set", setting)]
        start = f"import sys\n{patch}\nfrom cnnbench.commands.cli import main\nsys.argv[0] = 'cnnbench'\nmain()"
        command = [sys.executable, "-c", start, *self.verb, *options]
        return self._mounts.command(command, self.folder) if self._mounts else command

    def _environment(self, **changes: str) -> dict[str, str]:
        """Of a process that finds the networks of this folder."""
        return {**os.environ, "PYTHONPATH": str(HERE), HOLD: str(self.hold), "COLUMNS": "200", **changes}

    def _new_log(self) -> Path:
        self._runs += 1
        return self.folder / f"run{self._runs}.log"

    def ahead(self, count: int) -> list[str]:
        """The trials of the search that run next, in their order."""
        done = {record.trial_id for record in self.records()}
        names = [f"{self.name}-{index:03d}" for index in range(SEARCHED)]
        return [name for name in names if name not in done][:count]

    def cut_off(self) -> list[str]:
        """Trials that were begun, and are not finished: each has a checkpoint."""
        done = {record.trial_id for record in self.records()}
        return sorted({file.stem for file in (self.results / "checkpoints").glob("*.ckpt")} - done)

    def record(self, trial: str) -> TrialRecord:
        (found,) = (record for record in self.records() if record.trial_id == trial)
        return found

    def run(self, *settings: str, code: int = 0, **environment: str) -> str:
        """Runs it to its end; what it printed."""
        with self.running(*settings, **environment) as run:
            assert run.ended() == code, run.output
            return run.output

    def records(self) -> tuple[TrialRecord, ...]:
        return Ledger(self.results / "ledger.jsonl").read().records

    def outcome(self) -> dict[str, object]:
        """What must not depend on faults: each trial's configuration, curve and scores, and the leaderboard."""
        records = self.records()
        found: dict[str, object] = {
            r.trial_id: (r.status, r.seed, dict(r.hyperparameters), r.score, r.stop_epoch, r.test, r.budget.images,
                         [(p.epoch, p.train_loss, p.val_loss, p.val_accuracy) for p in r.epochs])
            for r in records
        }  # fmt: skip
        assert len(found) == len(records), "a trial was recorded twice"
        return {**found, "leaderboard": self.leaderboard(), "frozen": (self.results / "frozen.json").read_text()}

    def leaderboard(self) -> list[Mapping[str, str]]:
        """Its rows, without what is measured in seconds."""
        lines = (self.folder / "reports" / self.name / "leaderboard.csv").read_text().splitlines()
        kept = ("rank_group", "architecture", "test_accuracy_mean", "n_seeds", "params", "trials_completed")
        return [{name: row[name] for name in kept} for row in csv.DictReader(lines)]


class Run:
    """A study that runs."""

    def __init__(self, place: Place, process: Any, log: Path) -> None:
        """process: of subprocess, or in Typed of pexpect."""
        self.process = process
        self._place, self._log = place, log
        self._spool = StudyFolder(place.results).spool
        # what earlier runs spooled, without a half line, which this one cuts off
        self._seen = self._spool.read_bytes().rfind(b"\n") + 1 if self._spool.exists() else 0

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def pause(self) -> None:
        time.sleep(POLL_S)

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        code: int = self.process.wait(PATIENCE_S)
        return code

    def wait(self, what: str, is_so: Callable[[], object]) -> None:
        """Waits for what must happen while the study runs."""
        assert self.waited(is_so), f"it ended before {what}:\n{self.output}"

    def waited(self, is_so: Callable[[], object]) -> bool:
        """Waits for what may happen while the study runs; False if it has ended before."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            if self.has_ended():
                return False
            assert time.monotonic() < deadline, f"waited in vain:\n{self.output}"
            self.pause()
        return True

    @contextmanager
    def held(self, trial: str, epoch: int) -> Iterator[None]:
        """Once ``trial`` has reported ``epoch``, its training stands still for as long as the block runs."""
        self.wait_for_epoch(trial, epoch)
        self._place.hold.touch()
        try:
            yield
        finally:
            self._place.hold.unlink()

    def wait_for_epoch(self, trial: str, epoch: int) -> None:
        """Until ``trial`` has reported ``epoch``: the driver spools it the moment it hears of it."""

        def is_so() -> bool:
            reports = (event for event in self._events() if event["event"] == "epoch" and event["trial"] == trial)
            return any(event["epochs"][0]["epoch"] >= epoch for event in reports)

        self.wait(f"epoch {epoch} of {trial}", is_so)

    def wait_for(self, words: str) -> None:
        """Until it has said them."""
        self.wait(repr(words), lambda: words in self.output)

    def _events(self) -> list[dict[str, Any]]:
        if not self._spool.exists():
            return []
        with open(self._spool, "rb") as file:
            file.seek(self._seen)
            lines = file.read().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def epochs_heard(self) -> int:
        """How many the driver has been told of, in this run."""
        return sum(event["event"] == "epoch" for event in self._events())

    def kill_worker(self) -> None:
        """SIGKILL to the process that trains."""
        self.wait("a process that trains", self.training)
        os.kill(self.training()[0], signal.SIGKILL)

    def training(self) -> list[int]:
        """The processes that train."""
        named = (pid for pid, command in commands() if command.startswith("ray::ImplicitFunc.train"))
        return [pid for pid in named if descends(pid, self.process.pid)]


class Typed(Run):
    """In a terminal."""

    @property
    def output(self) -> str:
        """Line by line, whatever the live view has painted over."""
        return re.sub(r"(\x1b\[[0-9;?]*[A-Za-z]|\r)+", "\n", super().output)

    def pause(self) -> None:
        self.process.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=POLL_S)  # reads, so that it can go on writing

    def has_ended(self) -> bool:
        return not self.process.isalive()

    def press_ctrl_c(self) -> None:
        self.process.sendintr()

    def ended(self) -> int:
        self.process.expect(pexpect.EOF, timeout=PATIENCE_S)
        self.process.close()
        return int(self.process.exitstatus if self.process.exitstatus is not None else -self.process.signalstatus)


def cut(file: Path, tenth: int) -> None:
    """Leaves so many tenths of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * tenth // 10])


def commands() -> Iterator[tuple[int, str]]:
    """(process id, command line) of every process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile


def descends(process: int, ancestor: int) -> bool:
    try:
        while process > 1:
            if process == ancestor:
                return True
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        pass
    return False
