"""The freeze between search and finals: each row's best configuration, by validation accuracy, is written down."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnbench.ledger import TrialRecord
from cnnbench.search.configuration import record_values
from cnnbench.study.space import Value
from cnnbench.whole_file import write_whole


@dataclass(frozen=True)
class Winner:
    """A row's frozen configuration: the best completed trial by validation accuracy."""

    row: str
    trial_id: str
    score: float
    stop_epoch: int
    values: Mapping[str, Value]


def freeze(rows: Sequence[str], records: Sequence[TrialRecord], path: Path) -> dict[str, Winner]:
    """Chooses each row's best completed search trial (the earlier one of equals) and writes the choice down.
    A row without a completed trial has none."""
    winners = {}
    for row in rows:
        completed = [r for r in records if r.row == row and r.stage == "search" and r.status == "completed"]
        scored = [(r.score, -r.index, r) for r in completed if r.score is not None and r.stop_epoch is not None]
        if scored:
            score, _, best = max(scored, key=lambda item: item[:2])
            winners[row] = Winner(row, best.trial_id, score, best.stop_epoch or 0, record_values(best))
    text = json.dumps({row: vars(winner) for row, winner in winners.items()}, indent=2, sort_keys=True)
    write_whole(path, text + "\n")
    return winners
