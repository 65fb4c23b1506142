"""Records → the leaderboard, one row an architecture; and the leaderboard as CSV and JSON."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from statistics import median
from typing import Any

import pandas as pd

from cnnbench.ledger import TrialRecord
from cnnbench.report.formats import listed, spreadsheet
from cnnbench.report.table.columns import LeaderboardRow
from cnnbench.report.table.comparison import budget_text, final_indices, originals, ranked_budget
from cnnbench.report.table.row_records import RowRecords, SearchBudget, by_row, configuration
from cnnbench.row_id import row_id
from cnnbench.statistics import rank_groups, sampling_error


def leaderboard(
    records: Iterable[TrialRecord], *, rows: Sequence[str] = (), alpha: float = 0.05
) -> tuple[LeaderboardRow, ...]:
    """The leaderboard of one study's records.

    Only rows of one search budget are ranked. They come first, best first, a control last in its group; then those
    without a rank, with a ``remark`` that says why; a majority-class baseline closes the table.

    rows: labels that must appear, even without a record. Raises ValueError where records belong to several studies.
    """
    groups = by_row(records, rows)
    repeated = originals(groups)
    budget = ranked_budget(groups)
    ranks = _ranks(groups, repeated, budget, alpha).to_dict("index")
    finals = len(final_indices(groups))
    lines = [
        _line(row, ranks[row.label], repeated.get(row.label), _remark(row, repeated, finals, budget)) for row in groups
    ]
    return tuple(sorted(lines, key=_place))


def _place(line: LeaderboardRow) -> tuple[bool, bool, int, bool, bool, float]:
    """What the leaderboard is sorted by."""
    mean = line.test_accuracy_mean
    return (
        line.control == "majority",
        line.rank_group is None,
        line.rank_group or 0,
        line.control is not None,
        mean is None,
        -(mean or 0.0),
    )


def compared_scores(records: Iterable[TrialRecord], rows: Sequence[str] = ()) -> pd.DataFrame:
    """Test accuracies, rows by finals, of the rows that the paired test may compare; NaN where a final is missing."""
    groups = by_row(records, rows)
    scores = _scores(groups)
    return scores[_compared(groups, originals(groups), ranked_budget(groups))]


def as_csv(rows: Iterable[LeaderboardRow]) -> str:
    """CSV with a header; nested columns as JSON, missing values empty; no name is a formula in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(LeaderboardRow)]
    writer.writerow(names)
    writer.writerows([_flat(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue()


def _flat(cell: object) -> object:
    return spreadsheet(json.dumps(cell, ensure_ascii=False) if isinstance(cell, Mapping) else cell)


def as_json(rows: Iterable[LeaderboardRow]) -> str:
    """A list of ``plain_rows``."""
    return json.dumps(plain_rows(rows), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plain_rows(rows: Iterable[LeaderboardRow]) -> list[dict[str, Any]]:
    """Each row as JSON's values."""
    return [asdict(row) for row in rows]


def _ranks(
    rows: Sequence[RowRecords], repeated: Mapping[str, RowRecords], budget: SearchBudget | None, alpha: float
) -> pd.DataFrame:
    """``rank_groups`` of the rows that had this search budget; the others' means and intervals, without a rank."""
    scores = _scores(rows)
    controls = [row.label for row in rows if row.control]
    compared = _compared(rows, repeated, budget)
    apart = [not each for each in compared]
    ranked, others = (rank_groups(scores[part], alpha=alpha, controls=controls) for part in (compared, apart))
    others[["rank_group", "p_best"]] = float("nan")
    return pd.concat([ranked, others]).loc[scores.index]


def _compared(
    rows: Sequence[RowRecords], repeated: Mapping[str, RowRecords], budget: SearchBudget | None
) -> list[bool]:
    return [
        row.control != "majority" and repeated.get(row.label, row).search_budget == (budget or row.search_budget)
        for row in rows
    ]


def _scores(rows: Sequence[RowRecords]) -> pd.DataFrame:
    """Accuracies, rows by finals. Finals are paired by index: an A/A control has other seeds than the rest."""
    indices = final_indices(rows)
    accuracy = {(row.label, final.index): final.test.accuracy for row in rows for final in row.scored if final.test}
    values = [[accuracy.get((row.label, index), float("nan")) for index in indices or [0]] for row in rows]
    return pd.DataFrame(values, index=[row.label for row in rows], columns=indices or [0], dtype="float64")


def _line(row: RowRecords, rank: Mapping[Any, Any], original: RowRecords | None, remark: str) -> LeaderboardRow:
    """rank: of ``rank_groups``. original: what a control repeats."""
    final = next(iter(row.scored), None)
    tests = [each.test for each in row.scored if each.test]
    accuracy = _mean([test.accuracy for test in tests])
    images = final.split.test if final else None
    line = LeaderboardRow(
        rank_group=None if pd.isna(rank["rank_group"]) else int(rank["rank_group"]),
        architecture=row.label,
        test_accuracy_mean=_known(rank["mean"]),
        test_accuracy_ci95=_known(rank["ci95"]),
        n_seeds=int(rank["n"]),
        test_loss_mean=_mean([test.loss for test in tests]),
        p_best=_known(rank["p_best"]),
        final_device_seconds=_mean([each.budget.device_seconds for each in row.scored]),
        final_epochs=_mean([each.budget.epochs for each in row.scored]),
        remark=remark,
        test_sampling_error=sampling_error(accuracy, images) if accuracy is not None and images else None,
        control=row.control,
        control_of=original.label if original else None,
        row_id=None if row.control == "majority" else row_id(row.finals),
    )
    return _with_speed(_with_network(_with_search(line, row), row), row)


def _known(figure: float) -> float | None:
    return None if pd.isna(figure) else float(figure)


def _with_search(line: LeaderboardRow, row: RowRecords) -> LeaderboardRow:
    """A control had none of its own."""
    if row.control is not None:
        return line
    statuses = [trial.status for trial in row.trials]
    return replace(
        line,
        trials_completed=statuses.count("completed"),
        trials_pruned=statuses.count("pruned"),
        trials_failed=sum(status in ("failed", "diverged", "out-of-memory") for status in statuses),
        validation_accuracy=row.chosen.score if row.chosen else None,
        search_device_seconds=sum((trial.budget.device_seconds for trial in row.trials), 0.0),
        search_epochs=sum(trial.budget.epochs for trial in row.trials),
        search_epochs_asked=sum(trial.budget.epochs_asked for trial in row.trials),
    )


def _with_network(line: LeaderboardRow, row: RowRecords) -> LeaderboardRow:
    record = row.shown
    if record is None:
        return line
    chosen = row.finals or row.chosen
    options, components, hyperparameters = configuration(record) if chosen else ({}, {}, {})
    return replace(
        line,
        year=record.year or None,  # a baseline has none
        params=record.cost.params,
        macs=record.cost.macs,
        flops=record.cost.flops,
        model=record.architecture,
        family=record.family,
        trainable_params=record.cost.trainable_params,
        size_mb=record.cost.size_mb,
        device=record.machine.device,
        precision=record.machine.precision,
        components=components,
        component_sites={kind: record.components[kind].sites for kind in components},
        hyperparameters=hyperparameters,
        options=options,
    )


def _with_speed(line: LeaderboardRow, row: RowRecords) -> LeaderboardRow:
    speeds = [final.speed for final in row.scored if final.speed]
    if not speeds:
        return line
    return replace(
        line,
        latency_ms=median(speed.latency_ms_median for speed in speeds),
        latency_ms_p95=median(speed.latency_ms_p95 for speed in speeds),
        throughput=median(speed.throughput for speed in speeds),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _remark(
    row: RowRecords, repeated: Mapping[str, RowRecords], expected_finals: int, ranked: SearchBudget | None
) -> str:
    """Why a row has no rank, and what a reader should know of one that has."""
    if row.control == "majority":
        return "baseline that calls every image by the training split's largest class"
    remarks = []
    if row.control:
        of = f" of {repeated[row.label].label}" if row.label in repeated else ""
        remarks.append(f"A/A control{of}: the same configuration, other seeds")
    budget = repeated.get(row.label, row).search_budget
    if ranked and budget != ranked and len(row.scored) == expected_finals:
        remarks.append(f"not ranked: its search had {budget_text(budget)}, the ranked rows' {budget_text(ranked)}")
    if not row.trials and not row.finals:
        remarks.append("nothing has run yet")
    elif not row.finals and row.chosen is None:
        remarks.append(f"no trial completed: {_reasons(row.trials)}" if row.trials else "no trial has run yet")
    elif not row.scored:
        remarks.append(f"no final completed: {_reasons(row.finals)}" if row.finals else "no final yet")
    elif len(row.scored) < expected_finals:
        ended = [final for final in row.finals if final not in row.scored]
        remarks.append(
            f"{len(row.scored)} of {expected_finals} finals" + (f": {_reasons(ended)}" if ended else " so far")
        )
    shown = row.shown
    idle = [kind for kind, use in shown.components.items() if use.sites == 0] if shown else []
    if idle:
        remarks.append(f"{listed(idle)}: no such site in this network, so the value changed nothing")
    return "; ".join(remarks)


def _reasons(records: Sequence[TrialRecord]) -> str:
    """'2 diverged (first: at step 12), 1 failed (…)', with the first reason of each status."""
    first: dict[str, tuple[int, str]] = {}
    for record in records:
        number, reason = first.get(record.status, (0, record.reason))
        first[record.status] = (number + 1, reason or record.reason)
    return ", ".join(
        f"{number} {status}" + (f" ({'first: ' * (number > 1)}{reason})" if reason else "")
        for status, (number, reason) in first.items()
    )
