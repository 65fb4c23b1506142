"""Which rows may be ranked against each other: those of one search budget; and what the controls show."""

from collections import Counter
from collections.abc import Sequence

from cnnbench.ledger import TrialRecord
from cnnbench.report.formats import visible
from cnnbench.report.table.columns import LeaderboardRow
from cnnbench.report.table.row_records import RowRecords, SearchBudget, configuration, ordinary


def final_indices(rows: Sequence[RowRecords]) -> list[int]:
    """The finals that a row needs for a rank, by index: rows share their seeds, an A/A control has others."""
    return sorted({final.index for row in rows if row.control != "majority" for final in row.finals})


def ranked_budget(rows: Sequence[RowRecords]) -> SearchBudget | None:
    """The search budget that most rows with all their finals had; of equally common ones the largest. None where no
    row has all its finals yet."""
    needed = len(final_indices(rows))
    found = Counter(row.search_budget for row in ordinary(rows) if needed and len(row.scored) == needed)
    return max(found, key=lambda budget: (found[budget], budget), default=None)


def budget_text(budget: SearchBudget) -> str:
    """'4 trials of at most 40 epochs together'; 'at most 90 trials of 600 device-seconds together'."""
    if not budget.trials:
        return "no trials"
    trials = "1 trial" if budget.trials == 1 else f"{budget.trials} trials"
    unit = budget.unit.replace("_", "-")
    amount = f"{budget.amount:,.0f} {unit[:-1] if budget.amount == 1 else unit}"
    together = " together" if budget.trials != 1 else ""
    return f"{trials} of at most {amount}{together}" if unit == "epochs" else f"at most {trials} of {amount}{together}"


def originals(rows: Sequence[RowRecords]) -> dict[str, RowRecords]:
    """For each A/A control, by its label, the row whose configuration it repeats. Where several rows have that
    configuration, it is the one whose name the control's begins with."""
    found = {}
    for row in rows:
        if row.control == "a/a" and row.shown:
            same = [each for each in ordinary(rows) if each.shown and _network(each.shown) == _network(row.shown)]
            named = [each for each in same if row.label.startswith(each.label)]
            if same:
                found[row.label] = max(named or same[:1], key=lambda each: len(each.label))
    return found


def _network(record: TrialRecord) -> tuple[object, ...]:
    return record.architecture, configuration(record)


def control_statements(board: Sequence[LeaderboardRow]) -> tuple[list[str], list[str]]:
    """What the A/A controls show: (as expected, warnings), in sentences."""
    fine, warnings = [], []
    groups = {line.architecture: line.rank_group for line in board}
    for line in board:
        original = line.control_of
        if original is None:
            continue
        name, of = visible(line.architecture, 60), visible(original, 60)
        what = f"{name} is {of} again: the same configuration, other seeds (A/A control)."
        if line.rank_group is None or groups[original] is None:
            fine.append(f"{what} It is not ranked, so nothing can be said from it.")
        elif line.rank_group == groups[original]:
            best = "the best row's group" if line.rank_group == 1 else f"the same group {line.rank_group}"
            fine.append(f"{what} As it should, the test finds no difference between the two: both are in {best}.")
        else:
            warnings.append(
                f"{what} Yet the two are in groups {groups[original]} and {line.rank_group}: the test tells apart "
                "what is equal, so this ranking can't be trusted."
            )
    return fine, warnings
