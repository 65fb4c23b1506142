"""Tuning curves: the best validation accuracy to expect of a row after fewer trials than it had."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnbench.ledger import TrialRecord
from cnnbench.report.figures.curves import Curve, Panel
from cnnbench.report.table.row_records import RowRecords
from cnnbench.statistics import tuning_curve

COMPUTED = 200  # points of a curve at most: all of a thousand trials would take as long as the rest of the page
Floats = NDArray[np.float64]

_CAPTION = (
    "After B trials drawn at random from those made, each subset as likely; band: 95 % of bootstrap samples of the "
    "trials, too narrow at its right end. Where curves cross, which row is best depends on the budget; a curve that "
    "still rises at its end would gain from more trials."
)


def tuning_panel(rows: Sequence[RowRecords]) -> Panel | None:
    """One curve a row with at least one scored trial; None where there is no such row."""
    curves, bands = {}, {}
    for row in rows:
        scores = [trial_score(trial) for trial in row.trials]
        if any(scores):
            sizes = _sizes(len(scores))
            curve = tuning_curve(scores, sizes)
            curves[row.label], *band = (_at_every_step(sizes, each) for each in (curve.expected, curve.low, curve.high))
            bands[row.label] = band[0], band[1]
    if not curves:
        return None
    return Panel("tuning", "Expected best validation accuracy, %", _CAPTION, True, curves, bands, x="trials")


def _sizes(trials: int) -> list[int]:
    """After how many trials the curve is computed: all, or so many as a chart can show, closer where it is steeper."""
    if trials <= COMPUTED:
        return list(range(1, trials + 1))
    return sorted({1 + round((trials - 1) * (step / (COMPUTED - 1)) ** 2) for step in range(COMPUTED)})


def _at_every_step(sizes: Sequence[int], values: Floats) -> Curve:
    """Straight between the sizes: so near each other, the curve is."""
    return tuple(np.interp(range(1, sizes[-1] + 1), sizes, values).tolist())


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
