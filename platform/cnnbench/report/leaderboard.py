"""Records → the leaderboard, one row an architecture, as a table of plain values."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from cnnbench.ledger import TrialRecord
from cnnbench.report.formats import listed
from cnnbench.report.rows import Row, by_row, configuration
from cnnbench.statistics import rank_groups

COLUMNS = (
    *("rank_group", "architecture", "year", "test_accuracy_mean", "test_accuracy_ci95", "n_seeds"),
    *("params", "macs", "flops", "trials_completed", "trials_pruned", "trials_failed"),
    *("validation_accuracy", "test_loss_mean", "p_best", "model", "family", "trainable_params", "size_mb"),
    *("search_device_seconds", "final_device_seconds", "search_epochs", "final_epochs", "device", "precision"),
    *("components", "component_sites", "hyperparameters", "options", "remark"),
)
WHOLE = ("rank_group", "year", "n_seeds", "params", "macs", "flops", "trainable_params", "search_epochs")
WHOLE_COUNTS = ("trials_completed", "trials_pruned", "trials_failed")
NESTED = ("components", "component_sites", "hyperparameters", "options")


def leaderboard(records: Iterable[TrialRecord], *, rows: Sequence[str] = (), alpha: float = 0.05) -> pd.DataFrame:
    """The leaderboard of one study's records; see ``COLUMNS`` for its columns.

    Accuracies are in [0, 1]; ``test_accuracy_ci95`` is half the width of the 95 % interval over seeds;
    ``trials_failed`` counts failed, diverged and out-of-memory trials; device-seconds are summed over the search, and
    the mean of one final; ``p_best`` is the adjusted p-value of the difference from the best row. Ranked rows come
    first, best first; then those that lack finals, with a ``remark`` that says why.

    rows: labels that must appear, even without a record. Raises ValueError where records belong to several studies.
    """
    groups = by_row(records, rows)
    ranks = rank_groups(_scores(groups), alpha=alpha)
    table = pd.DataFrame([_facts(row) for row in groups], columns=list(COLUMNS))
    for column, name in (
        ("test_accuracy_mean", "mean"),
        ("test_accuracy_ci95", "ci95"),
        ("n_seeds", "n"),
        ("rank_group", "rank_group"),
        ("p_best", "p_best"),
    ):
        table[column] = ranks[name].to_numpy()
    table["remark"] = [_remark(row, len(_seeds(groups))) for row in groups]
    table = table.astype(dict.fromkeys(WHOLE, "Int64") | dict.fromkeys(WHOLE_COUNTS, "int64"))
    return table.sort_values(
        ["rank_group", "test_accuracy_mean"], ascending=[True, False], na_position="last", kind="stable"
    ).reset_index(drop=True)


def as_csv(table: pd.DataFrame) -> str:
    """CSV with a header; nested columns as JSON, missing values empty."""
    flat = table.copy()
    for column in NESTED:
        flat[column] = [json.dumps(cell, ensure_ascii=False) for cell in table[column]]
    return flat.to_csv(index=False, lineterminator="\n")


def as_json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One plain dict a row; missing values are None."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(name): _plain(cell) for name, cell in row.items()} for row in plain.to_dict("records")]


def _plain(cell: Any) -> Any:
    return cell.item() if hasattr(cell, "item") else cell


def _seeds(rows: Iterable[Row]) -> list[int]:
    return sorted({final.seed for row in rows for final in row.finals})


def _scores(rows: Sequence[Row]) -> pd.DataFrame:
    seeds = _seeds(rows)
    accuracy = {(row.label, final.seed): final.test.accuracy for row in rows for final in row.scored if final.test}
    values = [[accuracy.get((row.label, seed), float("nan")) for seed in seeds] for row in rows]
    return pd.DataFrame(values, index=[row.label for row in rows], columns=seeds, dtype="float64")


def _facts(row: Row) -> dict[str, Any]:
    statuses = [trial.status for trial in row.trials]
    facts: dict[str, Any] = {
        "architecture": row.label,
        "trials_completed": statuses.count("completed"),
        "trials_pruned": statuses.count("pruned"),
        "trials_failed": sum(status in ("failed", "diverged", "out-of-memory") for status in statuses),
        "validation_accuracy": row.chosen.score if row.chosen else None,
        "test_loss_mean": _mean([final.test.loss for final in row.scored if final.test]),
        "search_device_seconds": sum(trial.budget.device_seconds for trial in row.trials),
        "final_device_seconds": _mean([final.budget.device_seconds for final in row.scored]),
        "search_epochs": sum(trial.budget.epochs for trial in row.trials),
        "final_epochs": _mean([final.budget.epochs for final in row.scored]),
    }
    return facts | _network(row.shown, chosen=bool(row.finals or row.chosen))


def _network(record: TrialRecord | None, *, chosen: bool) -> dict[str, Any]:
    if record is None:
        return {name: {} for name in NESTED}
    options, components, hyperparameters = configuration(record) if chosen else ({}, {}, {})
    return {
        "year": record.year,
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


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _remark(row: Row, expected_finals: int) -> str:
    """Why a row has no rank, and what a reader should know of one that has."""
    remarks = []
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
