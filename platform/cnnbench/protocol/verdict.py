"""What new runs say of a leaderboard row: whether they came out as was to be expected of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from cnnbench.ledger import TrialRecord
from cnnbench.row_id import row_id
from cnnbench.statistics import prediction_interval

ROUNDING = 1e-12  # of a mean of equal accuracies


@dataclass(frozen=True)
class RepeatedRun:
    """One new run. accuracy: on the test images, in [0, 1], None if the run did not complete; reason: why not.
    before: the accuracy of the row's final of this seed, if it has one; equal: to that final, to the bit."""

    seed: int
    accuracy: float | None
    reason: str
    before: float | None
    equal: bool

    def __str__(self) -> str:
        if self.accuracy is None:
            return f"seed {self.seed}: {self.reason}"
        final = "" if self.before is None else f", its final {100 * self.before:.2f} %"
        return f"seed {self.seed}: {100 * self.accuracy:.2f} %{final}{', equal to the bit' if self.equal else ''}"


@dataclass(frozen=True)
class Verdict:
    """reproduced: None where a run did not complete, so that nothing can be said. interval: where the mean of that many
    new runs lies with probability 95 %, None where the row has one final. differences: of images and environment."""

    row_id: str | None
    reproduced: bool | None
    why: str
    runs: tuple[RepeatedRun, ...]
    interval: tuple[float, float] | None
    differences: tuple[str, ...]

    def __str__(self) -> str:
        head = {True: "reproduced", False: "not reproduced", None: "no verdict"}[self.reproduced]
        return "\n".join([*map(str, self.runs), f"{head}: {self.why}"])


def judge(
    finals: Sequence[TrialRecord], records: Sequence[TrialRecord], differences: Sequence[str], *, on_cpu: bool
) -> Verdict:
    """finals: the row's completed ones; records: of the new runs, at least one. Runs from fresh seeds are judged by the
    row's prediction interval. Runs from its own seeds must equal its finals to the bit on one CPU and without any
    difference of images or environment; otherwise, if they don't, the interval judges them too."""
    by_seed = {final.seed: final for final in finals}
    runs = [_run(record, by_seed.get(record.seed)) for record in records]
    accuracies = [run.accuracy for run in runs if run.accuracy is not None]
    scores = [final.test.accuracy for final in finals if final.test]
    interval = prediction_interval(scores, runs=len(runs)) if len(scores) > 1 else None
    equal = sum(run.equal for run in runs)
    same_seeds = all(run.seed in by_seed for run in runs)
    reproduced: bool | None
    if len(accuracies) < len(runs):
        reproduced, why = None, "not every run completed"
    elif same_seeds and equal == len(runs):
        reproduced, why = True, f"{equal} of {len(runs)} equal to the bit to the final of their seed"
    elif same_seeds and on_cpu and not differences:
        reproduced, why = (
            False,
            f"{equal} of {len(runs)} equal to the bit, though images, code and machine are the same",
        )
    elif interval is None:
        reproduced, why = False, "not equal to the bit, and the row's one final gives no interval"
    else:
        reproduced, why = _by_interval(fmean(accuracies), len(runs), interval)
    return Verdict(row_id(finals), reproduced, why, tuple(runs), interval, tuple(differences))


def _run(record: TrialRecord, final: TrialRecord | None) -> RepeatedRun:
    accuracy = record.test.accuracy if record.status == "completed" and record.test else None
    before = final.test.accuracy if final and final.test else None
    equal = final is not None and accuracy is not None and _outcome(record) == _outcome(final)
    reason = "" if accuracy is not None else f"{record.status} ({record.reason})"
    return RepeatedRun(record.seed, accuracy, reason, before, equal)


def _outcome(record: TrialRecord) -> tuple[Any, ...]:
    curve = [(point.epoch, point.train_loss, point.train_accuracy, point.learning_rate) for point in record.epochs]
    return record.test, curve


def _by_interval(mean: float, runs: int, interval: tuple[float, float]) -> tuple[bool, str]:
    low, high = interval
    inside = low - ROUNDING <= mean <= high + ROUNDING
    what = "a new run's accuracy" if runs == 1 else f"the mean accuracy of {runs} new runs"
    expected = f"{100 * max(low, 0):.2f} to {100 * min(high, 1):.2f} %"
    where = "inside" if inside else "outside"
    return inside, f"{what}, {100 * mean:.2f} %, lies {where} the row's 95 % prediction interval for it, {expected}"
