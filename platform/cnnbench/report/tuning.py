"""Tuning curves: the best validation accuracy to expect of a row after fewer trials than it had."""

from collections.abc import Sequence

from cnnbench.ledger import TrialRecord
from cnnbench.report.curves import Panel
from cnnbench.report.rows import Row
from cnnbench.statistics import tuning_curve

_CAPTION = (
    "After B trials drawn at random from those made, each subset as likely; band: 95 % of bootstrap samples of the "
    "trials, too narrow at its right end. Where curves cross, which row is best depends on the budget; a curve that "
    "still rises at its end would gain from more trials."
)


def tuning_panel(rows: Sequence[Row]) -> Panel | None:
    """One curve a row with at least one scored trial; None where there is no such row."""
    curves, bands = {}, {}
    for row in rows:
        scores = [trial_score(trial) for trial in row.trials]
        if any(scores):
            curve = tuning_curve(scores)
            curves[row.label] = tuple(curve.expected.tolist())
            bands[row.label] = tuple(curve.low.tolist()), tuple(curve.high.tolist())
    if not curves:
        return None
    return Panel("tuning", "Expected best validation accuracy, %", _CAPTION, True, curves, bands, x="trials")


def trial_score(trial: TrialRecord) -> float:
    """What a trial contributes: its score if it completed; its best validation accuracy so far if it was pruned.

    0 if it diverged or failed, at whatever accuracy it had been: it spent a trial and left no network to use. Any value
    below all others gives the same curve as soon as B exceeds the number of such trials.
    """
    if trial.status == "completed":
        return trial.score or 0.0
    if trial.status == "pruned":
        reached = [point.val_accuracy for point in trial.epochs if point.val_accuracy is not None]
        return max([*reached, trial.score or 0.0])
    return 0.0
