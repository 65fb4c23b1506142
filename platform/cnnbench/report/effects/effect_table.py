"""Records → the effects of components: what swapping one of them in a row's tuned configuration does to its test
accuracy, seed by seed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cnnbench.ledger import EffectOf, TrialRecord
from cnnbench.report.formats import listed, spreadsheet
from cnnbench.statistics import adjusted_p_values_of_differences, mean_interval, random_effects_mean

COLUMNS = (
    *("component", "value", "architecture", "instead_of", "delta", "ci95", "standard_error", "n_seeds"),
    *("p_value", "lr_factor", "remark"),
)
POOLED = ("component", "value", "delta", "ci95", "tau", "n_rows")
ALPHA = 0.05
Variant = tuple[str, object]  # component, value


def effects_table(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """One line a row and component value that was tried; see ``COLUMNS``. Empty without records of stage "effect".

    ``delta``: mean test accuracy of the swapped configuration less that of the row's finals, a share of one, over the
    seeds that both have; ``ci95``: half of Student's 95 % interval of the paired differences; ``p_value``: adjusted
    for all comparisons of its row, by joint sign flips of whole seeds (max-T, step-down), NaN where a seed is missing;
    ``lr_factor``: the learning rate as a multiple of the tuned one. Components in the order of their first record,
    values by their mean effect, best first, rows in the order of their first record.
    """
    latest = {record.trial_id: record for record in records}
    tried = [record for record in latest.values() if record.effect]
    lines: list[dict[str, Any]] = []
    for row in dict.fromkeys(record.row for record in tried):
        finals = [r for r in latest.values() if r.row == row and r.stage == "final" and r.control is None]
        lines += _row(row, finals, [record for record in tried if record.row == row])
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    if table.empty:
        return table
    first_tried = {name: place for place, name in enumerate(dict.fromkeys(table["component"]))}
    key = pd.DataFrame(
        {
            "component": table["component"].map(first_tried),
            "effect": -table.groupby(["component", _text(table["value"])], dropna=False)["delta"].transform("mean"),
            "value": _text(table["value"]),
            "row": range(len(table)),
        }
    )
    return table.loc[key.sort_values(list(key.columns), kind="stable").index].reset_index(drop=True)


def _text(values: "pd.Series[Any]") -> "pd.Series[str]":
    """Values may be texts, numbers and truths in one column, which can't be sorted as they are."""
    return values.map(repr)


def _row(row: str, finals: Sequence[TrialRecord], tried: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    original = {final.index: final.test.accuracy for final in finals if final.test}
    by_variant: dict[Variant, list[TrialRecord]] = {}
    for record in tried:
        if record.effect:
            by_variant.setdefault((record.effect.component, record.effect.value), []).append(record)
    needed = sorted({r.index for r in tried if r.effect and r.effect.phase == "measured"})
    differences = {variant: _differences(original, found) for variant, found in by_variant.items()}
    values = [[differences[variant].get(index, math.nan) for index in needed] for variant in by_variant]
    array = np.array(values, dtype=np.float64).reshape(len(by_variant), len(needed))
    complete = ~np.isnan(array).any(axis=1) & bool(needed)
    p_values = np.full(len(array), np.nan)
    if complete.any():
        p_values[complete] = adjusted_p_values_of_differences(array[complete])
    images = next((final.split.test for final in finals if final.split.test), None)
    lines = []
    for place, ((component, value), found) in enumerate(by_variant.items()):
        present = array[place][~np.isnan(array[place])]
        mean, half = mean_interval(present) if len(present) else (math.nan, math.nan)
        effect = _chosen(found)
        lines.append(
            {
                "component": component,
                "value": value,
                "architecture": row,
                "instead_of": effect.instead_of,
                "delta": float(mean),
                "ci95": float(half),
                "standard_error": _standard_error(present, images),
                "n_seeds": len(present),
                "p_value": float(p_values[place]),
                "lr_factor": effect.lr_factor if len(present) else None,
                "remark": _remark(found, len(present), len(needed)),
            }
        )
    return lines


def _chosen(records: Sequence[TrialRecord]) -> EffectOf:
    """What was measured; without that, what was first tried."""
    effects = [record.effect for record in records if record.effect]
    return next((effect for effect in effects if effect.phase == "measured"), effects[0])


def _differences(original: Mapping[int, float], records: Iterable[TrialRecord]) -> dict[int, float]:
    """Seed index → accuracy less the final's, where both completed."""
    return {
        record.index: record.test.accuracy - original[record.index]
        for record in records
        if record.effect and record.effect.phase == "measured" and record.test and record.index in original
    }


def _standard_error(differences: "np.ndarray[Any, Any]", images: int | None) -> float:
    """Of the mean difference. At least what rounding leaves: an accuracy is a count over ``images``, so differences
    may be equal by chance, and are then no more certain than that."""
    count = len(differences)
    if count < 2:
        return math.nan
    rounding = 1 / (images * math.sqrt(6)) if images else 0.0  # deviation of a difference of two rounded figures
    return max(float(differences.std(ddof=1)), rounding) / math.sqrt(count)


def _remark(records: Sequence[TrialRecord], present: int, needed: int) -> str:
    tuning = [record for record in records if record.effect and record.effect.phase == "tuning"]
    measured = [record for record in records if record.effect and record.effect.phase == "measured"]
    if not measured:
        failed = [record.status for record in tuning if record.status != "completed"]
        return "not measured yet" if len(failed) < len(tuning) else f"trained at no learning rate: {_counted(failed)}"
    remarks = []
    if present < needed:
        failed = [record.status for record in measured if record.status != "completed"]
        remarks.append(f"{present} of {needed} seeds" + (f": {_counted(failed)}" if failed else ""))
    factors = {record.effect.lr_factor for record in tuning if record.effect}
    if len(factors) > 1 and _chosen(measured).lr_factor in (min(factors), max(factors)):
        remarks.append("best at the lowest or highest learning rate tried")
    return "; ".join(remarks)


def _counted(statuses: Sequence[str]) -> str:
    return listed([f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)])


def pooled_effects(table: pd.DataFrame) -> pd.DataFrame:
    """One line a component value that two rows or more have an effect of; see ``POOLED``, and ``RandomEffects``."""
    known = table[table["standard_error"] > 0]
    lines = []
    for (component, _), group in known.groupby(["component", _text(known["value"])], sort=False):
        if len(group) > 1:
            mean = random_effects_mean(list(group["delta"]), list(group["standard_error"]))
            value = group["value"].iloc[0]
            lines.append((component, value, mean.mean, mean.ci95, mean.tau, mean.n))
    return pd.DataFrame(lines, columns=list(POOLED))


def effects_csv(table: pd.DataFrame) -> str:
    """CSV with a header; missing figures empty."""
    return table.map(spreadsheet).to_csv(index=False, lineterminator="\n")
