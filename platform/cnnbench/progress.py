"""What a running study shows: one live view in a terminal, a plain line a trial elsewhere. Knows no Ray."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cnnbench.ledger import EpochPoint, TrialRecord

FAILED = ("failed", "diverged", "out-of-memory")


class Spec(Protocol):
    """What the view reads of a trial."""

    @property
    def trial_id(self) -> str: ...
    @property
    def row(self) -> str: ...
    @property
    def epochs(self) -> int: ...


class Running(Protocol):
    """A trial in flight."""

    @property
    def spec(self) -> Spec: ...


@dataclass
class _Row:
    completed: int = 0
    pruned: int = 0
    failed: int = 0
    best: float | None = None
    finals: int = 0
    effects: int = 0
    running: dict[str, str] = field(default_factory=dict)

    def count(self, record: TrialRecord) -> None:
        if record.stage == "final":
            self.finals += 1
        elif record.stage == "effect":
            self.effects += 1
            self.failed += record.status in FAILED
        elif record.status in FAILED:
            self.failed += 1
        elif record.status == "pruned":
            self.pruned += 1
        else:
            self.completed += 1
            self.best = max(filter(None, [self.best, record.score]), default=None)


class StudyView:
    """The live view of one study; a context manager. Test accuracies are not shown before the leaderboard."""

    def __init__(self, console: Console, study: str, rows: Sequence[str], trials: int, seeds: int) -> None:
        self._console = console
        self._study = study
        self._trials, self._seeds = trials, seeds
        self._searched = tuple(rows)
        self._rows = {row: _Row() for row in rows}
        self._stage, self._total, self._done, self._kept = "starting", 0, 0, 0
        self._begun = self._stage_begun = time.monotonic()
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "StudyView":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, line: str) -> None:
        """One line above the view."""
        self._console.print(Text(line), soft_wrap=True)

    def stage(self, name: str, total: int, done: Sequence[TrialRecord]) -> None:
        """A stage of ``total`` trials begins; those in ``done`` are kept from an earlier run."""
        self._stage, self._total, self._done, self._kept = name, total, len(done), len(done)
        self._stage_begun = time.monotonic()
        for record in done:
            self._row(record.row).count(record)
        kept = f", {len(done)} kept from before" if done else ""
        self.say(f"{name}: {total} trials{kept}")

    def started(self, progress: Running) -> None:
        self._row(progress.spec.row).running[progress.spec.trial_id] = "begun"

    def epoch(self, progress: Running, point: EpochPoint) -> None:
        self._row(progress.spec.row).running[progress.spec.trial_id] = f"{point.epoch}/{progress.spec.epochs}"

    def retried(self, progress: Running, reason: str) -> None:
        self.say(f"{progress.spec.trial_id}: {reason}")

    def note(self, progress: Running, text: str) -> None:
        self.say(f"{progress.spec.trial_id}: {text}")

    def finished(self, record: TrialRecord) -> None:
        if record.control == "majority":  # nothing ran
            return
        row = self._row(record.row)
        row.running.pop(record.trial_id, None)
        row.count(record)
        self._done += 1
        if record.status in FAILED or not self._console.is_terminal:
            self.say(self._line(record))

    def _row(self, name: str) -> _Row:
        """A row of the study, or one that was added to it: a control."""
        return self._rows.setdefault(name, _Row())

    def _line(self, record: TrialRecord) -> str:
        words = [f"{self._stage} {self._done}/{self._total}", record.trial_id, record.status]
        if record.status in FAILED:
            words.append(f"({record.reason})")
        elif record.score is not None:
            words.append(f"validation {100 * record.score:.2f} %")
        return " ".join([*words, f"{record.budget.epochs} epochs", f"{record.budget.device_seconds:.1f} s"])

    def _left(self) -> str:
        here = self._done - self._kept
        if not here or self._done >= self._total:
            return ""
        seconds = (time.monotonic() - self._stage_begun) / here * (self._total - self._done)
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("architecture")
        for name in ("trials", "pruned", "failed", "best validation", "finals"):
            table.add_column(name, justify="right")
        effects = any(row.effects for row in self._rows.values())
        if effects:
            table.add_column("effects", justify="right")
        table.add_column("now")
        for name, row in self._rows.items():
            done = row.completed + row.pruned + row.failed
            table.add_row(
                Text(name), f"{done}/{self._trials}" if name in self._searched else "",
                str(row.pruned), str(row.failed),
                "" if row.best is None else f"{100 * row.best:.2f} %",
                f"{row.finals}/{self._seeds}" if self._seeds else "", *([str(row.effects)] if effects else []),
                Text(" ".join(f"{trial[len(name) + 1 :]}: {at}" for trial, at in row.running.items()), style="dim"),
            )  # fmt: skip
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        head = f"{self._study} · {self._stage} {self._done}/{self._total} · {minutes}:{seconds:02d}{self._left()}"
        return Group(Text(head, style="bold"), table)
