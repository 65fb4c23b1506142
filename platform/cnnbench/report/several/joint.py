"""Several studies side by side: which architecture ranks where on each data set, and over all of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cnnbench.report.formats import DASH, listed, visible
from cnnbench.report.source import Source, SourceError
from cnnbench.report.table.columns import LeaderboardRow, accuracy_text
from cnnbench.report.table.leaderboard import leaderboard
from cnnbench.report.table.text_tables import Name, TextTable
from cnnbench.statistics import CriticalDifference, critical_difference
from cnnbench.statistics.critical_difference import FEWEST_DATA_SETS

NOTE = (
    "In a data set's column: rank group there, then test accuracy in percent, mean ± half of its 95 % interval over "
    "seeds. Mean rank: of the mean accuracies, over the data sets, among the rows that are ranked on all of them."
)
_FROM_THE_LEADERBOARD = (
    *("rank_group", "test_accuracy_mean", "test_accuracy_ci95", "n_seeds"),
    *("params", "macs", "remark"),
)


@dataclass(frozen=True)
class Board:
    """One study's leaderboard. key: its name as shown and addressed; label: its data set, with the study's name where
    several studies have that data set."""

    key: str
    dataset: str
    label: str
    rows: tuple[LeaderboardRow, ...]


@dataclass(frozen=True)
class JointRow:
    """An architecture: its cells in each study (None where it is not there), its mean rank if it has one."""

    label: str
    cells: tuple[LeaderboardRow | None, ...]
    mean_rank: float | None

    @property
    def ranked(self) -> int:
        """In how many studies it is ranked."""
        return sum(cell is not None and cell.rank_group is not None for cell in self.cells)


@dataclass(frozen=True)
class Joint:
    """datasets: how many different ones. difference: from five data sets on, where two rows are ranked on all."""

    boards: tuple[Board, ...]
    rows: tuple[JointRow, ...]
    datasets: int
    difference: CriticalDifference | None
    sentence: str
    notices: tuple[str, ...]


def join(sources: Sequence[Source]) -> Joint:
    """Raises SourceError where two studies have one name."""
    boards = _boards(sources)
    labels = dict.fromkeys(cell.architecture for board in boards for cell in board.rows if not cell.control)
    by_label = [{cell.architecture: cell for cell in board.rows if not cell.control} for board in boards]
    scores = _scores(boards, labels, by_label)
    ranks = (-scores.round(12)).rank().mean(axis=1).to_dict() if len(scores) > 1 else {}
    rows = [JointRow(label, tuple(cells.get(label) for cells in by_label), ranks.get(label)) for label in labels]
    rows.sort(key=lambda row: (row.mean_rank is None, row.mean_rank or 0.0, -row.ranked, row.label))
    enough = scores.shape[1] >= FEWEST_DATA_SETS and len(scores) > 1
    difference = critical_difference(scores) if enough else None
    sentence = _sentence(rows, len(boards), scores.shape[1], difference)
    return Joint(tuple(boards), tuple(rows), scores.shape[1], difference, sentence, tuple(_notices(boards, rows)))


def joint_table(joint: Joint) -> TextTable:
    """For Markdown and LaTeX."""
    head = ("Architecture", "Mean rank", *(Name(board.label) for board in joint.boards))
    lines = tuple(
        (Name(row.label), DASH if row.mean_rank is None else f"{row.mean_rank:.2f}", *map(cell_text, row.cells))
        for row in joint.rows
    )
    return TextTable(head, lines, frozenset({0}), NOTE)


def cell_text(cell: LeaderboardRow | None) -> str:
    """'2: 91.05 ± 0.18': the rank group, and the accuracy."""
    if cell is None:
        return DASH
    group = "" if cell.rank_group is None else f"{cell.rank_group}: "
    return group + accuracy_text(cell.test_accuracy_mean, cell.test_accuracy_ci95)


def as_records(joint: Joint) -> list[dict[str, Any]]:
    """One plain dict an architecture and study where it stands."""
    return [
        {
            "architecture": row.label,
            "mean_rank": row.mean_rank,
            "study": board.key,
            "dataset": board.dataset,
            **{name: getattr(cell, name) for name in _FROM_THE_LEADERBOARD},
        }
        for row in joint.rows
        for board, cell in zip(joint.boards, row.cells, strict=True)
        if cell is not None
    ]


def _boards(sources: Sequence[Source]) -> list[Board]:
    keys = [visible(source.name, 120) for source in sources]
    twice = [key for key, number in Counter(keys).items() if number > 1]
    if twice:
        raise SourceError(f"{twice[0]}: two of the studies have this name; a report needs different ones")
    datasets = [listed(sorted({r.split.dataset for r in source.records}) or ["no data set"]) for source in sources]
    shared = Counter(datasets)
    return [
        Board(
            key,
            dataset,
            dataset if shared[dataset] == 1 else f"{dataset} ({key})",
            leaderboard(source.records, rows=tuple(source.study.get("rows", ()))),
        )
        for key, dataset, source in zip(keys, datasets, sources, strict=True)
    ]


def _scores(
    boards: Sequence[Board], labels: Iterable[str], by_label: Sequence[Mapping[str, LeaderboardRow]]
) -> pd.DataFrame:
    """Mean accuracies of the rows that are ranked in every study, by data set: of two studies on one, their mean."""
    values = {
        label: [cells[label].test_accuracy_mean for cells in by_label]
        for label in labels
        if all(label in cells and cells[label].rank_group is not None for cells in by_label)
    }
    names = [board.dataset for board in boards]
    table = pd.DataFrame.from_dict(values, orient="index", columns=range(len(names)), dtype="float64")
    return table.T.groupby(names, sort=False).mean().T


def _sentence(rows: Sequence[JointRow], studies: int, datasets: int, found: CriticalDifference | None) -> str:
    """It claims no more than the tests: a mean rank is called best, a difference significant only where it is."""
    complete = [row for row in rows if row.ranked == studies]
    where = f"{studies} studies" if studies != datasets else f"{datasets} data sets"
    if not complete:
        return f"No row is ranked on all {where}, so there is nothing to rank over them."
    names = [visible(row.label, 60) for row in complete]
    if found is None:
        first = [visible(row.label, 60) for row in complete if all(cell and cell.rank_group == 1 for cell in row.cells)]
        if first:
            return f"{listed(first)} {'is' if len(first) == 1 else 'are'} in the first rank group on all {where}."
        mean = f"; {names[0]} has the best mean rank, {complete[0].mean_rank:.2f}" if len(complete) > 1 else ""
        return f"No row is in the first rank group on all {where}{mean}."
    p_value = f"p = {found.p_value:.3f}" if found.p_value >= 0.001 else "p < 0.001"
    if found.p_value > 0.05:
        return (
            f"Over {datasets} data sets, the {len(names)} rows' ranks show no difference (Friedman's test, {p_value})."
        )
    lead = f"Over {datasets} data sets, {names[0]} has the best mean rank, {complete[0].mean_rank:.2f} of {len(names)}"
    tied = [visible(str(name), 60) for name in (found.cliques[0] if found.cliques else ()) if name != complete[0].label]
    if not found.cliques or complete[0].label not in found.cliques[0]:
        return f"{lead}, significantly better than every other row's (Nemenyi's test at 5 %)."
    return f"{lead}; Nemenyi's test at 5 % does not tell {listed(tied)} from it."


def _notices(boards: Sequence[Board], rows: Sequence[JointRow]) -> list[str]:
    found = []
    mixed = [
        visible(row.label, 60)
        for row in rows
        if len({(cell.model, repr(sorted(cell.options.items()))) for cell in row.cells if cell and cell.model}) > 1
    ]
    if mixed:
        found.append(f"Not the same network, or not the same options, in all studies: {listed(mixed)}.")
    epochs = {
        cell.search_epochs_asked for board in boards for cell in board.rows if cell.rank_group and not cell.control
    }
    if len(epochs) > 1:
        found.append(
            "The studies had different search budgets; compare ranks within a data set, and between them with care."
        )
    some = sum(row.ranked < len(boards) for row in rows)
    if some:
        found.append(f"{some} of {len(rows)} rows are not ranked in every study, and have no mean rank.")
    return found
