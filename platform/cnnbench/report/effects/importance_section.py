"""The page's section on PED-ANOVA importances: a heat map of rows by hyperparameters, and its figures as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cnnbench.report.effects.importance import FEWEST_TRIALS, ped_anova
from cnnbench.report.figures.svg import CHARACTER, tag
from cnnbench.report.formats import DASH, visible
from cnnbench.report.table.row_records import RowRecords, ordinary

ROWS, NAMES = 30, 14  # of the heat map at most: the best rows, the most important hyperparameters
CELL = (46.0, 22.0)  # px
LABEL, HEADING = 20, 22  # characters of a row's and of a hyperparameter's name
RISE = CHARACTER * 0.72  # px that a character of a slanting name rises


def importance_section(rows: Sequence[RowRecords], space: Mapping[str, Any]) -> dict[str, Any]:
    """``names``: hyperparameters, the most important over all rows first; ``lines``: (row, trials, shares as texts)."""
    networks = ordinary(rows)
    found = {row.label: ped_anova(row.trials, space) for row in networks}
    names = {name for shares in found.values() for name in shares}
    total = {name: sum(shares.get(name, 0.0) for shares in found.values()) for name in names}
    ordered = sorted(names, key=lambda name: (-total[name], name))
    lines = [
        (
            visible(row.label),
            str(sum(trial.status == "completed" for trial in row.trials)),
            [f"{100 * found[row.label][name]:.0f}" if name in found[row.label] else DASH for name in ordered],
        )
        for row in networks
    ]
    known = [row for row in networks if found[row.label]][:ROWS]
    drawn = heat_map({row.label: found[row.label] for row in known}, ordered[:NAMES]) if ordered else ""
    return {"names": ordered, "lines": lines, "heat_map": drawn, "fewest_trials": FEWEST_TRIALS}


def heat_map(shares: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> Markup:
    """Rows down, hyperparameters across; a cell holds the share in percent and is the darker the larger it is."""
    left = CHARACTER * min(LABEL, max(map(len, shares))) + 12
    top = RISE * min(HEADING, max(map(len, names))) + 14
    parts = []
    for column, name in enumerate(names):
        place = f"translate({left + (column + 0.5) * CELL[0]:g} {top - 6:g}) rotate(-45)"
        parts.append(tag("text", visible(name, HEADING), class_="tick", transform=place))
    for line, (row, of_row) in enumerate(shares.items()):
        y = top + line * CELL[1]
        parts.append(tag("text", visible(row, LABEL), class_="tick", x=left - 8, y=y + 15, text_anchor="end"))
        for column, name in enumerate(names):
            parts.append(_cell(row, name, of_row.get(name), left + column * CELL[0], y))
    width = left + len(names) * CELL[0] + HEADING * RISE
    height = top + len(shares) * CELL[1] + 4
    label = f"Importance of {len(names)} hyperparameters in {len(shares)} rows; the table below has the figures."
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    return tag("svg", *parts, class_="heat", role="img", aria_label=label, **size)


def _cell(row: str, name: str, share: float | None, x: float, y: float) -> Markup:
    width, height = CELL
    box = tag(
        "rect",
        class_="none" if share is None else "better",
        x=x + 1, y=y + 1, width=width - 2, height=height - 2,
        style=None if share is None else f"--share:{share:.2f}",
    )  # fmt: skip
    if share is None:
        return box
    text = tag("text", f"{100 * share:.0f}", x=x + width / 2, y=y + 15, text_anchor="middle")
    title = tag("title", f"{visible(row, 60)}\n{visible(name, 60)}: {100 * share:.1f} %")
    return tag("g", title, box, text, class_="titled")
