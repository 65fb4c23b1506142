"""The leaderboard page: records in, one self-contained HTML file and its tables out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cnnbench.ledger import TrialRecord
from cnnbench.report.effects.effect_table import effects_csv, effects_table
from cnnbench.report.effects.effects_section import effects_section
from cnnbench.report.effects.importance_section import importance_section
from cnnbench.report.figures import accuracy_cost, curves
from cnnbench.report.figures.front import trial_front
from cnnbench.report.figures.svg import Axis, linear_axis, tag
from cnnbench.report.figures.trials_figure import Trials, trials_figure, tried
from cnnbench.report.figures.tuning import tuning_panel
from cnnbench.report.files import write_whole
from cnnbench.report.formats import count, duration, listed, points, value, visible
from cnnbench.report.page import details as row_details
from cnnbench.report.page import price_section, provenance
from cnnbench.report.script import asset, script, script_hash
from cnnbench.report.source import MLflowRun
from cnnbench.report.table import columns, comparison, published, summary
from cnnbench.report.table.columns import LeaderboardRow
from cnnbench.report.table.leaderboard import as_csv, as_json, leaderboard, plain_rows
from cnnbench.report.table.pairs import pairs
from cnnbench.report.table.row_records import RowRecords, by_row, ordinary
from cnnbench.study import ReportFolder

COLOURS = 10  # series s0 … s9 of the style sheet; further rows are grey
CURVES = 30  # rows in the learning curves at most, the best ones
BAR = (112.0, 18.0)  # px of an interval bar in the table
VARIANTS = ("wide", "narrow")


@dataclass(frozen=True)
class Leaderboard:
    """What a report says: the leaderboard, one sentence, where the page is, and what swapping components does."""

    study: str
    rows: tuple[LeaderboardRow, ...]
    sentence: str
    page: Path
    effects: pd.DataFrame


def write_report(
    study: Mapping[str, Any],
    records: Sequence[TrialRecord],
    folder: Path,
    *,
    generated_utc: str,
    tracking_uri: str | None,
    prediction: Mapping[str, Any] | None = None,
    runs: Mapping[str, MLflowRun] | None = None,
) -> Leaderboard:
    """Writes index.html, leaderboard.csv and leaderboard.json into ``folder``.

    study: the resolved study as plain JSON values; shown as it is, without secrets and folders. These keys are read:
    ``study`` (or ``name``); ``rows``, the labels of all rows, so that one without any record is shown too; ``space``,
    what was searched; ``defaults``, of settings; ``storage``. Where effects were measured, effects.csv is written too.
    records: of that study. generated_utc: the only thing that differs between two reports of the same records.
    prediction: the study's ``prediction.json``, if there is one. runs: trial id → its run in MLflow.
    Raises ValueError where records belong to several studies.
    """
    labels = tuple(study.get("rows", ()))
    name = str(study.get("study") or study.get("name") or "study")
    board = leaderboard(records, rows=labels)
    groups = {row.label: row for row in by_row(records, labels)}
    rows = [groups[line.architecture] for line in board]
    datasets = listed(sorted({record.split.dataset for record in records}) or ["no data set"])
    budget = comparison.ranked_budget(rows)
    trials = (
        budget.trials
        if budget and budget.unit == "epochs"
        else summary.common(len(row.trials) for row in ordinary(rows))
    )
    sentence = summary.result_sentence(board, datasets, trials)
    effects = effects_table(records)
    html = render(
        board,
        rows,
        name=name,
        dataset=datasets,
        sentence=sentence,
        generated_utc=generated_utc,
        published=published.beside(board, datasets),
        settings=provenance.study_settings(study),
        provenance=provenance.provenance(rows, generated_utc, tracking_uri),
        prices=price_section.prices(prediction, rows),
        effects=effects_section(effects, records),
        study=study,
        compared=pairs(records),
        tracking_uri=tracking_uri,
        runs=runs or {},
    )
    files = ReportFolder(folder)
    write_whole(files.leaderboard_csv, as_csv(board))
    write_whole(files.leaderboard_json, as_json(board))
    if len(effects):
        write_whole(files.effects_csv, effects_csv(effects))
    write_whole(files.page, html)
    return Leaderboard(name, board, sentence, files.page, effects)


def render(
    board: Sequence[LeaderboardRow],
    rows: Sequence[RowRecords],
    *,
    study: Mapping[str, Any],
    compared: Mapping[str, Any],
    **texts: Any,
) -> str:
    """The page's HTML; ``board`` and ``rows`` in the same order; compared: of ``pairs``."""
    networks = ordinary(rows)
    series = {row.label: "control" for row in rows}
    series |= {row.label: f"s{place}" if place < COLOURS else "rest" for place, row in enumerate(networks)}
    learning = curves.panels(networks[:CURVES])
    tuning = tuning_panel(networks[:CURVES])
    panels = [*learning, *([tuning] if tuning else [])]
    trials = tried(networks)
    expected, distrust = comparison.control_statements(board)
    code = script()
    return (
        _environment()
        .get_template("page.html")
        .render(
            **texts,
            board=board,
            series=series,
            columns=columns.ON_THE_PAGE,
            headings=columns.headings(),
            bars=_bars(board),
            costs=_cost_figures(board, series),
            front=trial_front(networks, trials.names if trials else ()),
            learning=learning,
            tuning=tuning,
            drawings={
                panel.key: [curves.curves_figure(panel, series, variant) for variant in VARIANTS] for panel in panels
            },
            shown_steps=curves.shown_steps,
            curves_omitted=max(0, len(networks) - CURVES),
            trials=trials,
            trials_drawn=trials_figure(trials, series, study.get("space") or {}) if trials else "",
            importance=importance_section(rows, study.get("space") or {}),
            control_statements=expected,
            details=[_details(row, line, study, str(texts["name"])) for row, line in zip(rows, board, strict=True)],
            with_defaults=bool(study.get("defaults")),
            notices=[*distrust, *summary.notices(rows)],
            protocol=provenance.protocol(rows),
            style=Markup(asset("style.css")),
            script=Markup(code),
            script_hash=script_hash(code),
            data=_as_script_data(_page_data(board, panels, trials, compared, str(texts["name"]))),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cnnbench.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=count,
        dictvalues=lambda settings: [(key, value(setting)) for key, setting in settings.items()],
        duration=duration,
        points=points,
        value=value,
        visible=visible,
    )
    return environment


def _details(row: RowRecords, line: LeaderboardRow, study: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the template shows of a row that is opened."""
    panel, shown = curves.row_panel(row), visible(row.label, 60)
    colours = dict(zip(panel.curves, ("s0", "s1"), strict=False)) if panel else {}
    return {
        "row": row,
        "scores": row_details.details(row),
        "accuracy": row_details.accuracy_facts(row),
        "configuration": row_details.configuration_lines(line, study.get("defaults") or {}),
        "environment": row_details.environment(row),
        "reproduce": row_details.reproduce_command(study, name, line.row_id) if line.row_id else None,
        "curve": curves.curves_figure(panel, colours, "narrow", label=f"Accuracy by epoch of {shown}")
        if panel
        else None,
        "curves": colours,
    }


def _page_data(
    board: Sequence[LeaderboardRow],
    panels: Sequence[curves.Panel],
    trials: Trials | None,
    compared: Mapping[str, Any],
    name: str,
) -> dict[str, Any]:
    """What the script needs: the table, its pairs, the curves for tooltips (four digits); the trials for downloads."""
    shown = {
        panel.key: {
            "percent": panel.percent,
            "x": panel.x,
            "curves": {
                visible(row): [None if v is None else float(f"{v:.4g}") for v in curve]
                for row, curve in panel.curves.items()
            },
        }
        for panel in panels
    }
    return {
        "name": name,
        "columns": columns.for_script(),
        "rows": plain_rows(board),
        "pairs": compared,
        "panels": shown,
        "search": trials.plain() if trials else None,
    }


def _as_script_data(data: object) -> Markup:
    """JSON that can't end its script element, whatever names it holds."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _cost_figures(board: Sequence[LeaderboardRow], series: Mapping[str, str]) -> list[dict[str, Any]]:
    figures = []
    for cost in (*accuracy_cost.COSTS, accuracy_cost.YEAR):
        chart = accuracy_cost.accuracy_points(board, cost.field, series)
        if chart:
            drawn = [accuracy_cost.accuracy_figure(chart, cost, variant) for variant in VARIANTS]
            figures.append({"cost": cost, "points": chart, "drawn": drawn})
    return figures


def _bars(board: Sequence[LeaderboardRow]) -> dict[str, Any]:
    """An interval bar for each row that has a mean, all on one axis; with the axis' ends as text. The baseline, far
    below every network, does not stretch the axis."""
    known = {
        line.architecture: (line.test_accuracy_mean, line.test_accuracy_ci95 or 0.0)
        for line in board
        if line.test_accuracy_mean is not None
    }
    if not known:
        return {"low": "", "high": "", "drawn": {}}
    baselines = {line.architecture for line in board if line.control == "majority"}
    shown = [interval for row, interval in known.items() if row not in baselines] or list(known.values())
    low, high = accuracy_cost.accuracy_range(shown)
    axis = linear_axis(low, high, 5, BAR[0] - 5, str)
    drawn = {row: _bar(axis, low, high, *interval) for row, interval in known.items()}
    return {"low": points(low, 1), "high": points(high, 1), "drawn": drawn}


def _bar(axis: Axis, low: float, high: float, mean: float, half: float) -> Markup:
    width, height = BAR
    middle = height / 2
    track = tag("line", class_="track", x1=0, x2=width, y1=middle, y2=middle)
    if mean < low:
        mark = tag("path", class_="mean", d=f"M8 {middle - 4:.0f}v8l-7 -4z")
        return tag("svg", track, mark, viewBox=f"0 0 {width:g} {height:g}", class_="bar", aria_hidden="true")
    start, end = axis(max(mean - half, low)), axis(min(mean + half, high))
    whisker = tag("line", class_="whisker", x1=start, x2=end, y1=middle, y2=middle)
    dot = tag("circle", class_="mean", cx=axis(mean), cy=middle, r=3.5)
    return tag("svg", track, whisker, dot, viewBox=f"0 0 {width:g} {height:g}", class_="bar", aria_hidden="true")
