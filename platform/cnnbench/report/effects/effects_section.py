"""The page's section "Effects of components": a heat map, and its figures as a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from cnnbench.ledger import TrialRecord
from cnnbench.report.effects.effect_table import ALPHA, pooled_effects
from cnnbench.report.figures.svg import CHARACTER, tag
from cnnbench.report.formats import DASH, MINUS, value, visible

CELL = (48.0, 22.0)  # px
LEFT, GAP = 116.0, 24.0  # px of the names of values, and above each component
APART = 10.0  # px between the pooled column and the rows
NAME = 17  # characters of a row's name above its column
RISE = CHARACTER * 0.72  # px that a character of a slanting name rises
FULL, LEAST = 0.9, 0.005  # the colour is full at this quantile of the effects, but not below half a point
ROUNDING = 1e-9


@dataclass(frozen=True)
class Cell:
    """One field of the heat map: its text, colour (share in [-1, 1] of the full one; None: no colour) and tooltip;
    whether the table has a remark on it."""

    text: str
    share: float | None = None
    significant: bool = False
    tooltip: str = ""
    remarked: bool = False


def effects_section(table: pd.DataFrame, records: Sequence[TrialRecord]) -> dict[str, Any] | None:
    """What the template shows of ``effects_table``'s table; None where it is empty."""
    if table.empty:
        return None
    measured = [record for record in records if record.effect and record.effect.phase == "measured"]
    full = _full_colour(table)
    return {
        "heat_map": heat_map(table, full) if table["delta"].notna().any() else "",
        "full": signed(full, 1).lstrip("+"),
        "test_reads": sum(record.test is not None for record in measured),
        "lines": table_lines(table),
        "pooled": pooled_lines(table),
    }


def signed(share: float | None, digits: int = 2) -> str:
    """A difference of accuracies in percentage points: -0.0042 → '−0.42'; None and NaN → an en dash."""
    if share is None or math.isnan(share):
        return DASH
    text = f"{100 * share:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", MINUS)


def table_lines(table: pd.DataFrame) -> list[list[str]]:
    """The effects as texts: component, value, row, instead of, Δ, ±, n, p, learning rate, remark."""
    return [
        [
            line["component"],
            value(line["value"]),
            visible(line["architecture"]),
            value(line["instead_of"]),
            signed(line["delta"]),
            signed(line["ci95"]).lstrip("+"),
            str(line["n_seeds"]),
            DASH if math.isnan(line["p_value"]) else f"{line['p_value']:.3f}",
            DASH if pd.isna(line["lr_factor"]) else f"×{line['lr_factor']:g}",
            line["remark"],
        ]
        for line in table.to_dict("records")
    ]


def pooled_lines(table: pd.DataFrame) -> list[list[str]]:
    """The pooled effects as texts: component, value, mean, ±, deviation between rows, number of rows."""
    return [
        [
            line["component"],
            value(line["value"]),
            signed(line["delta"]),
            signed(line["ci95"]).lstrip("+"),
            signed(line["tau"]).lstrip("+"),
            str(line["n_rows"]),
        ]
        for line in pooled_effects(table).to_dict("records")
    ]


# ---------------------------------------------------------------- the heat map


def _full_colour(table: pd.DataFrame) -> float:
    sizes = table["delta"].abs().dropna()
    return max(LEAST, float(np.quantile(sizes, FULL))) if len(sizes) else LEAST


def heat_map(table: pd.DataFrame, full: float) -> Markup:
    """Values down; across, the mean over rows, and the rows. ``full``: the difference where the colour is full."""
    rows = list(dict.fromkeys(table["architecture"]))
    lines, means = _records(table), _records(pooled_effects(table))
    mean = {(line["component"], repr(line["value"])): line for line in means}
    by_place = {(line["component"], repr(line["value"]), line["architecture"]): line for line in lines}
    own = {(line["component"], line["architecture"]): repr(line["instead_of"]) for line in lines}
    starts = {row: LEFT + (CELL[0] + APART if mean else 0) + place * CELL[0] for place, row in enumerate(rows)}
    y = min(NAME, max(map(len, [*rows, "pooled"]))) * RISE - 8
    parts = [_heading(x, y, visible(row, NAME), "tick") for row, x in starts.items()]
    if mean:
        parts.append(_heading(LEFT, y, "pooled", "group"))
    for component in dict.fromkeys(line["component"] for line in lines):
        y += GAP
        parts.append(tag("text", component, class_="group", x=0, y=y - 7))
        names = {repr(line["value"]): value(line["value"]) for line in lines if line["component"] == component}
        for shown, name in names.items():
            parts.append(tag("text", visible(name, NAME), class_="tick", x=LEFT - 8, y=y + 15, text_anchor="end"))
            for row, x in starts.items():
                line = by_place.get((component, shown, row))
                cell = _cell(line, full) if line else Cell("own" if own.get((component, row)) == shown else "")
                parts.append(_draw(cell, x, y))
            if (component, shown) in mean:
                parts.append(_draw(_pooled(mean[component, shown], full), LEFT, y))
            y += CELL[1]
    width, height = starts[rows[-1]] + CELL[0] + NAME * RISE, y + 4
    label = f"Effects of {len(table)} swaps on test accuracy, in points; the table below has the figures."
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    return tag("svg", *parts, class_="heat", role="img", aria_label=label, **size)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): cell for name, cell in line.items()} for line in table.to_dict("records")]


def _heading(x: float, y: float, name: str, class_: str) -> Markup:
    place = f"translate({x + CELL[0] / 2:g} {y + GAP - 6:g}) rotate(-45)"
    return tag("text", name, class_=class_, transform=place)


def _cell(line: Mapping[str, Any], full: float) -> Cell:
    if math.isnan(line["delta"]):
        return Cell("?", tooltip=line["remark"])
    significant = line["p_value"] <= ALPHA + ROUNDING
    tooltip = (
        f"{line['component']} {value(line['value'])} instead of {value(line['instead_of'])} in "
        f"{visible(line['architecture'], 60)}: {signed(line['delta'])} ± {signed(line['ci95']).lstrip('+')} points, "
        f"{line['n_seeds']} seeds"
    )
    remark = f"; {line['remark']}" if line["remark"] else ""
    text = signed(line["delta"], 1 if abs(line["delta"]) >= 0.0995 else 2) + "*" * significant
    return Cell(text, max(-1.0, min(1.0, line["delta"] / full)), significant, tooltip + remark, bool(remark))


def _pooled(line: Mapping[str, Any], full: float) -> Cell:
    text = signed(line["delta"], 1 if abs(line["delta"]) >= 0.0995 else 2)
    tooltip = f"mean over {line['n_rows']} rows: {signed(line['delta'])} ± {signed(line['ci95']).lstrip('+')} points"
    return Cell(text, max(-1.0, min(1.0, line["delta"] / full)), tooltip=tooltip)


def _draw(cell: Cell, x: float, y: float) -> Markup:
    width, height = CELL
    class_ = "none" if cell.share is None else "better" if cell.share > 0 else "worse"
    box = tag(
        "rect",
        class_=class_,
        x=x + 1,
        y=y + 1,
        width=width - 2,
        height=height - 2,
        style=None if cell.share is None else f"--share:{abs(cell.share):.2f}",
    )
    marks = ["significant"] * cell.significant + ["remarked"] * cell.remarked + ["tick"] * (cell.share is None)
    text = tag(
        "text",
        cell.text,
        class_=" ".join(marks) or None,
        x=x + width / 2,
        y=y + 15,
        text_anchor="middle",
    )
    return tag("g", tag("title", cell.tooltip), box, text, class_="titled") if cell.tooltip else tag("g", box, text)
