"""What of a study is over, as its ledger has it."""

import math
from collections.abc import Mapping, Sequence

from cnnbench.ledger import TrialRecord
from cnnbench.protocol import controls
from cnnbench.protocol.plan import PlannedRow
from cnnbench.study import Study


def finals_begun(records: Sequence[TrialRecord]) -> bool:
    """True once the test set was read: the search is over then, whatever of its budget is left."""
    return any(record.stage == "final" for record in records)


def study_is_done(study: Study, rows: Mapping[str, PlannedRow], records: Sequence[TrialRecord]) -> bool:
    """True if the search is over, and every row with a completed trial has its finals."""
    for row in rows:
        searched = [record for record in records if record.row == row and record.stage == "search"]
        finals = {record.seed for record in records if record.row == row and record.stage == "final"}
        wanted = study.finals.seeds if any(record.status == "completed" for record in searched) else 0
        searching = len(searched) < study.budget.trials and not _limit_is_spent(study, searched)
        if (searching and not finals_begun(records)) or len(finals) < wanted:
            return False
    return not controls.are_missing(records, list(rows), study.finals.seeds)


def _limit_is_spent(study: Study, searched: Sequence[TrialRecord]) -> bool:
    if study.budget.limit is None:
        return False
    unit, amount = study.budget.limit
    return math.fsum(getattr(record.budget, unit) for record in searched) >= amount
