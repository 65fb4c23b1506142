"""What a running study shows: one live view in a terminal, a plain line a trial elsewhere. Knows no Ray."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cnnbench.ledger import EpochPoint, TrialRecord

FAILED = ("failed", "diverged", "out-of-memory")
TRIALS, FINALS = "trials", "finals"  # the columns that are always there


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


class Shown(Protocol):
    """What the view reads of a phase."""

    @property
    def name(self) -> str: ...
    @property
    def counted_as(self) -> str:
        """The column that its trials are counted in."""

    @property
    def total(self) -> int:
        """Its trials."""

    @property
    def done(self) -> Sequence[TrialRecord]:
        """Those of them that are kept from an earlier run."""


@dataclass
class _Row:
    done: Counter[str] = field(default_factory=Counter)  # trials that ended, by column
    pruned: int = 0
    failed: int = 0
    best: float | None = None  # of the search
    running: dict[str, str] = field(default_factory=dict)

    def count(self, record: TrialRecord, column: str) -> None:
        self.done[column] += 1
        self.pruned += record.status == "pruned"
        self.failed += record.status in FAILED
        if column == TRIALS and record.status == "completed":
            self.best = max(filter(None, [self.best, record.score]), default=None)


class StudyView:
    """The live view of one study; a context manager. Test accuracies are not shown before the leaderboard."""

    def __init__(self, console: Console, study: str, rows: Sequence[str], trials: int, seeds: int) -> None:
        self._console = console
        self._study = study
        self._trials, self._seeds = trials, seeds
        self._searched = tuple(rows)
        self._rows = {row: _Row() for row in rows}
        self._phase, self._total, self._done, self._kept = "starting", 0, 0, 0
        self._column = TRIALS
        self._begun = self._phase_begun = time.monotonic()
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

    def phase(self, phase: Shown) -> None:
        """A phase begins."""
        kept = len(phase.done)
        self._phase, self._total, self._done, self._kept = phase.name, phase.total, kept, kept
        self._column = phase.counted_as
        self._phase_begun = time.monotonic()
        for record in phase.done:
            self._row(record.row).count(record, self._column)
        self.say(f"{phase.name}: {phase.total} trials{f', {kept} kept from before' if kept else ''}")

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
        row.count(record, self._column)
        self._done += 1
        if record.status in FAILED or not self._console.is_terminal:
            self.say(self._line(record))

    def _row(self, name: str) -> _Row:
        """A row of the study, or one that was added to it: a control."""
        return self._rows.setdefault(name, _Row())

    def _line(self, record: TrialRecord) -> str:
        words = [f"{self._phase} {self._done}/{self._total}", record.trial_id, record.status]
        if record.status in FAILED:
            words.append(f"({record.reason})")
        elif record.score is not None:
            words.append(f"validation {100 * record.score:.2f} %")
        return " ".join([*words, f"{record.budget.epochs} epochs", f"{record.budget.device_seconds:.1f} s"])

    def _left(self) -> str:
        here = self._done - self._kept
        if not here or self._done >= self._total:
            return ""
        seconds = (time.monotonic() - self._phase_begun) / here * (self._total - self._done)
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"

    def _render(self) -> Group:
        columns = dict.fromkeys(column for row in self._rows.values() for column in row.done)
        others = [column for column in columns if column not in (TRIALS, FINALS)]
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("architecture")
        for name in (TRIALS, "pruned", "failed", "best validation", FINALS, *others):
            table.add_column(name, justify="right")
        table.add_column("now")
        for name, row in self._rows.items():
            table.add_row(
                Text(name), f"{row.done[TRIALS]}/{self._trials}" if name in self._searched else "",
                str(row.pruned), str(row.failed),
                "" if row.best is None else f"{100 * row.best:.2f} %",
                f"{row.done[FINALS]}/{self._seeds}" if self._seeds else "", *(str(row.done[other]) for other in others),
                Text(" ".join(f"{trial[len(name) + 1 :]}: {at}" for trial, at in row.running.items()), style="dim"),
            )  # fmt: skip
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        head = f"{self._study} · {self._phase} {self._done}/{self._total} · {minutes}:{seconds:02d}{self._left()}"
        return Group(Text(head, style="bold"), table)
