"""Records → the leaderboard, one row an architecture, as a table of plain values."""

import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from cnnbench.ledger import Speed, TrialRecord
from cnnbench.report.formats import listed, spreadsheet
from cnnbench.report.table.comparison import budget_text, final_indices, originals, ranked_budget
from cnnbench.report.table.row_records import RowRecords, SearchBudget, by_row, configuration
from cnnbench.row_id import row_id
from cnnbench.statistics import rank_groups, sampling_error

COLUMNS = (
    *("rank_group", "architecture", "year", "test_accuracy_mean", "test_accuracy_ci95", "n_seeds"),
    *("params", "macs", "flops", "trials_completed", "trials_pruned", "trials_failed"),
    *("validation_accuracy", "test_loss_mean", "p_best", "model", "family", "trainable_params", "size_mb"),
    *("search_device_seconds", "final_device_seconds", "search_epochs", "final_epochs", "device", "precision"),
    *("components", "component_sites", "hyperparameters", "options", "remark"),
    *("search_epochs_asked", "test_sampling_error", "control", "control_of", "row_id"),
    *("latency_ms", "latency_ms_p95", "throughput"),
)
WHOLE = (
    *("rank_group", "year", "n_seeds", "params", "macs", "flops", "trainable_params", "search_epochs"),
    *("trials_completed", "trials_pruned", "trials_failed", "search_epochs_asked"),
)
NESTED = ("components", "component_sites", "hyperparameters", "options")


def leaderboard(records: Iterable[TrialRecord], *, rows: Sequence[str] = (), alpha: float = 0.05) -> pd.DataFrame:
    """The leaderboard of one study's records; see ``COLUMNS`` for its columns.

    Accuracies are in [0, 1]; ``test_accuracy_ci95`` is half the width of the 95 % interval over seeds;
    ``trials_failed`` counts failed, diverged and out-of-memory trials; device-seconds are summed over the search, and
    the mean of one final; latency is that of one image, throughput in images per second, both medians over the finals;
    ``p_best`` is the adjusted p-value of the difference from the best row;
    ``test_sampling_error`` is the standard error that the test set's size leaves. Only rows of one search budget are
    ranked. They come first, best first, a control last in its group; then those without a rank, with a ``remark`` that
    says why; a majority-class baseline closes the table. A control's search columns are empty. ``row_id`` is what
    ``cnnbench reproduce`` takes.

    rows: labels that must appear, even without a record. Raises ValueError where records belong to several studies.
    """
    groups = by_row(records, rows)
    repeated = originals(groups)
    budget = ranked_budget(groups)
    ranks = _ranks(groups, repeated, budget, alpha)
    table = pd.DataFrame([_facts(row) for row in groups], columns=list(COLUMNS))
    for column, name in (
        ("test_accuracy_mean", "mean"),
        ("test_accuracy_ci95", "ci95"),
        ("n_seeds", "n"),
        ("rank_group", "rank_group"),
        ("p_best", "p_best"),
    ):
        table[column] = ranks[name].to_numpy()
    table["control_of"] = [repeated[row.label].label if row.label in repeated else None for row in groups]
    table["remark"] = [_remark(row, repeated, len(final_indices(groups)), budget) for row in groups]
    place = pd.DataFrame(
        {
            "baseline": table["control"].eq("majority"),
            "unranked": table["rank_group"].isna(),
            "group": table["rank_group"].fillna(0),
            "control": table["control"].notna(),
            "error": -table["test_accuracy_mean"],
        }
    )
    best_first = place.sort_values(list(place.columns), kind="stable").index
    return table.loc[best_first].astype(dict.fromkeys(WHOLE, "Int64")).reset_index(drop=True)


def compared_scores(records: Iterable[TrialRecord], rows: Sequence[str] = ()) -> pd.DataFrame:
    """Test accuracies, rows by finals, of the rows that the paired test may compare; NaN where a final is missing."""
    groups = by_row(records, rows)
    scores = _scores(groups)
    return scores[_compared(groups, originals(groups), ranked_budget(groups))]


def as_csv(table: pd.DataFrame) -> str:
    """CSV with a header; nested columns as JSON, missing values empty; no name is a formula in a spreadsheet."""
    flat = table.copy()
    for column in NESTED:
        flat[column] = [json.dumps(cell, ensure_ascii=False) for cell in table[column]]
    return flat.map(spreadsheet).to_csv(index=False, lineterminator="\n")


def as_json(table: pd.DataFrame) -> str:
    """A list of ``as_json_rows``."""
    return json.dumps(as_json_rows(table), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One plain dict a row; missing values are None."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(name): _plain(cell) for name, cell in row.items()} for row in plain.to_dict("records")]


def _plain(cell: Any) -> Any:
    return cell.item() if hasattr(cell, "item") else cell


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


def _facts(row: RowRecords) -> dict[str, Any]:
    final = next(iter(row.scored), None)
    accuracy = _mean([final.test.accuracy for final in row.scored if final.test])
    facts: dict[str, Any] = {
        "architecture": row.label,
        "control": row.control,
        "row_id": None if row.control == "majority" else row_id(row.finals),
        "test_loss_mean": _mean([final.test.loss for final in row.scored if final.test]),
        "final_device_seconds": _mean([final.budget.device_seconds for final in row.scored]),
        "final_epochs": _mean([final.budget.epochs for final in row.scored]),
        **_speed([final.speed for final in row.scored if final.speed]),
        "test_sampling_error": (
            sampling_error(accuracy, final.split.test) if accuracy is not None and final and final.split.test else None
        ),
    }
    if row.control is None:
        facts |= _search(row)
    return facts | _network(row.shown, chosen=bool(row.finals or row.chosen))


def _search(row: RowRecords) -> dict[str, Any]:
    statuses = [trial.status for trial in row.trials]
    return {
        "trials_completed": statuses.count("completed"),
        "trials_pruned": statuses.count("pruned"),
        "trials_failed": sum(status in ("failed", "diverged", "out-of-memory") for status in statuses),
        "validation_accuracy": row.chosen.score if row.chosen else None,
        "search_device_seconds": sum(trial.budget.device_seconds for trial in row.trials),
        "search_epochs": sum(trial.budget.epochs for trial in row.trials),
        "search_epochs_asked": sum(trial.budget.epochs_asked for trial in row.trials),
    }


def _network(record: TrialRecord | None, *, chosen: bool) -> dict[str, Any]:
    if record is None:
        return {name: {} for name in NESTED}
    options, components, hyperparameters = configuration(record) if chosen else ({}, {}, {})
    return {
        "year": record.year or None,  # a baseline has none
        "model": record.architecture,
        "family": record.family,
        **record.cost.model_dump(exclude={"input"}),
        "device": record.machine.device,
        "precision": record.machine.precision,
        "components": components,
        "component_sites": {kind: record.components[kind].sites for kind in components},
        "hyperparameters": hyperparameters,
        "options": options,
    }


def _speed(speeds: Sequence[Speed]) -> dict[str, float]:
    if not speeds:
        return {}
    return {
        "latency_ms": median(speed.latency_ms_median for speed in speeds),
        "latency_ms_p95": median(speed.latency_ms_p95 for speed in speeds),
        "throughput": median(speed.throughput for speed in speeds),
    }


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
