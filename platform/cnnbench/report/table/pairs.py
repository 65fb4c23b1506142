"""Which rows the paired test tells apart: every pair's adjusted p-value, for comparing rows with one another."""

from collections.abc import Iterable
from typing import Any

from cnnbench.ledger import TrialRecord
from cnnbench.report.table.leaderboard import compared_scores
from cnnbench.statistics import adjusted_p_values

ALPHA = 0.05


def pairs(records: Iterable[TrialRecord]) -> dict[str, Any]:
    """``rows``: those that the test compared; ``p``: for each of them the p-values against the rows before it.

    The family is the leaderboard's own: all pairs of these rows, by the same test that makes the rank groups.
    """
    scores = compared_scores(records).dropna()
    p_values = adjusted_p_values(scores.to_numpy())
    lines = [[_short(p) for p in line[:place]] for place, line in enumerate(p_values.tolist())]
    return {"rows": list(scores.index), "p": lines, "alpha": ALPHA}


def _short(p: float) -> float:
    """Four digits, rounded up: a p-value just above the limit must not fall to it."""
    return min(1.0, -(-round(p * 1e4, 6) // 1) / 1e4)
