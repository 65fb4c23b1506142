"""What the leaderboard says in a sentence, and what a reader must know before believing it."""

from collections.abc import Iterable, Sequence

from cnnbench.report.formats import listed, points, share, visible
from cnnbench.report.table.columns import LeaderboardRow, accuracy_text
from cnnbench.report.table.comparison import budget_text, ranked_budget
from cnnbench.report.table.row_records import RowRecords, ordinary


def result_sentence(board: Sequence[LeaderboardRow], dataset: str, trials: int | None) -> str:
    """One sentence of result, on the rows that are no controls; ``trials``: of each row, None where rows differ.

    It says "highest" of a mean, "tie" where the paired test finds no difference from the best, and "significantly"
    where it finds one; nothing else is claimed.
    """
    ranked = [row for row in board if row.rank_group is not None and row.control is None]
    where = f"On {visible(dataset, 60)}" + (f", at {_number(trials, 'trial')} each" if trials else "")
    if not ranked:
        return f"{where}: no row has all its finals yet, so nothing is ranked."
    best = ranked[0]
    mean = f"{_accuracy(best)}, mean of {_number(best.n_seeds, 'seed')}"
    if len(ranked) == 1:
        apart = any(row.test_accuracy_mean is not None and not row.control for row in board if row is not best)
        other = "no other row of its search budget" if apart else "no other row"
        return f"{where}, {_name(best)} has a test accuracy of {mean}; there is {other} to compare it with."
    tied = [row for row in ranked if row.rank_group == 1]
    if len(tied) == 1:
        others = "the other row" if len(ranked) == 2 else f"each of the {len(ranked) - 1} other rows"
        return (
            f"{where}, {_name(best)} has the highest test accuracy ({mean}), significantly above {others}"
            f"{_bargain(best, ranked)}."
        )
    if 2 ** (1 - best.n_seeds) > 0.05:
        return (
            f"{where}, {_name(best)} has the highest mean test accuracy ({mean}); "
            f"{_number(best.n_seeds, 'seed')} can't show a difference at the 5 % level, so all rows tie."
        )
    names = listed([f"{_name(best)} ({mean})", *(_name(row) for row in tied[1:])])
    return (
        f"{where}, {names} tie for the highest test accuracy: none of them differs significantly from the first"
        f"{_cheapest(best, tied)}."
    )


def _cheapest(best: LeaderboardRow, tied: Sequence[LeaderboardRow]) -> str:
    cheapest = min(tied, key=_macs)
    if _macs(cheapest) >= _macs(best):
        return ""
    return f", and {_name(cheapest)} needs {share(_macs(cheapest), _macs(best))} of its MACs"


def _bargain(best: LeaderboardRow, ranked: Sequence[LeaderboardRow]) -> str:
    """The best row of those that cost at most a tenth."""
    cheap = next((row for row in ranked if 0 < _macs(row) * 10 <= _macs(best)), None)
    if cheap is None:
        return ""
    less = points(_mean(best) - _mean(cheap))
    return f"; {_name(cheap)} has a mean {less} points lower at {share(_macs(cheap), _macs(best))} of its MACs"


def _macs(ranked: LeaderboardRow) -> int:
    assert ranked.macs is not None, "a ranked row has all its finals"
    return ranked.macs


def _mean(ranked: LeaderboardRow) -> float:
    assert ranked.test_accuracy_mean is not None, "a ranked row has all its finals"
    return ranked.test_accuracy_mean


def _accuracy(row: LeaderboardRow) -> str:
    return f"{accuracy_text(row.test_accuracy_mean, row.test_accuracy_ci95)} %"


def _name(row: LeaderboardRow) -> str:
    return visible(row.architecture, 60)


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def common(values: Iterable[int]) -> int | None:
    """The one value that all have, or None."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def notices(rows: Sequence[RowRecords]) -> list[str]:
    """What makes rows less comparable than the table looks: unequal budgets, different data, few seeds."""
    finals = [final for row in rows if row.control != "majority" for final in row.finals]
    found = []
    for what, values in (
        ("data (by checksum)", {final.split.data_checksum for final in finals}),
        ("splits (by checksum)", {final.split.split_checksum for final in finals}),
        ("epochs allowed in a final", {str(final.budget.epochs_asked) for final in finals}),
        ("commits", {final.commit for final in finals}),
        ("devices", {final.machine.device for final in finals}),
    ):
        if len(values) > 1:
            found.append(f"The finals do not share one value of: {what}. Compare rows with that in mind.")
    found += _budgets(ordinary(rows))
    seeds = len({final.index for final in finals})
    if finals and 2 ** (1 - seeds) > 0.05:
        found.append(f"With {_number(seeds, 'seed')} no difference between rows can be significant at the 5 % level.")
    return found


def _budgets(rows: Sequence[RowRecords]) -> list[str]:
    budgets = sorted({row.search_budget for row in rows if row.trials})
    if len(budgets) < 2:
        return []
    ranked = ranked_budget(rows)
    if ranked is None:
        return [
            f"Rows have had unequal search budgets so far, {budget_text(budgets[0])} to {budget_text(budgets[-1])}."
        ]
    apart = [visible(row.label, 60) for row in rows if row.scored and row.search_budget != ranked]
    if not apart:
        return []
    return [
        f"Search budgets are unequal, and more trials find better values: only rows that had {budget_text(ranked)} are "
        f"ranked; {listed(apart)} stand{'s' if len(apart) == 1 else ''} below them, unranked."
    ]
