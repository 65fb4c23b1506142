"""Parallel coordinates of the search's trials: one line a trial, through what it tried, to the accuracy it reached."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from cnnbench.ledger import TrialRecord
from cnnbench.report.figures.accuracy_cost import accuracy_range
from cnnbench.report.figures.svg import Axis, linear_axis, log_axis, tag
from cnnbench.report.figures.tuning import trial_score
from cnnbench.report.formats import DASH, points, value, visible
from cnnbench.report.table.row_records import RowRecords, configuration

LINES = 300  # trials drawn at most
AXES = 9  # hyperparameters and components, those that most trials tried something else in
BEST = 0.1  # share of a row's trials that is drawn strong
CATEGORIES = 8  # distinct numbers up to which each has a place of its own
GAP, TOP, BOTTOM = 118.0, 30.0, 330.0  # px between axes, and where they begin and end
LEFT, RIGHT = 60.0, 80.0
MISSING_Y = BOTTOM + 22  # where a line passes that has no such hyperparameter
LONGEST = 15  # characters of a name


@dataclass(frozen=True)
class Line:
    """One trial; ``best``: among its row's best tenth."""

    row: str
    trial: str
    status: str
    values: Mapping[str, Any]
    accuracy: float
    best: bool


@dataclass(frozen=True)
class Trials:
    """What is drawn: the axes' names, the trials, worst first, and of how many scored ones they are a sample."""

    names: tuple[str, ...]
    lines: tuple[Line, ...]
    total: int
    left_out: int

    @property
    def best_first(self) -> tuple[Line, ...]:
        return tuple(sorted(self.lines, key=lambda line: -line.accuracy))

    def texts(self, line: Line) -> list[str]:
        """A trial's values by axis, as a reader sees them."""
        return [value(line.values[name]) if name in line.values else DASH for name in self.names]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        trials = [
            {"row": line.row, "trial": line.trial, "status": line.status, "validation_accuracy": line.accuracy}
            | {"values": dict(line.values)}
            for line in self.best_first
        ]
        return {"sampled_of": self.total, "trials": trials}


def tried(rows: Sequence[RowRecords]) -> Trials | None:
    """The scored trials of the rows, sampled to ``LINES``; None where fewer than two axes or trials are left.

    Of each row its best tenth, then an even sample over the order of accuracies; each row in proportion to its trials,
    but two at least. A pruned trial counts with its best accuracy so far.
    """
    by_row = {row.label: _scored(row) for row in rows}
    total = sum(map(len, by_row.values()))
    left_out = sum(len(row.trials) for row in rows) - total
    lines = [line for of_row in by_row.values() for line in _sample(of_row, total)]
    names = _names(lines)
    if len(lines) < 2 or not names:
        return None
    lines.sort(key=lambda line: (line.best, line.accuracy))
    return Trials(names, tuple(lines), total, left_out)


def _scored(row: RowRecords) -> list[Line]:
    """Best first."""
    scored = [(trial_score(trial), trial) for trial in row.trials if trial.status in ("completed", "pruned")]
    scored = sorted(((score, trial) for score, trial in scored if score > 0), key=lambda each: -each[0])
    strong = max(1, round(BEST * len(scored)))
    return [
        Line(row.label, trial.trial_id, trial.status, _values(trial), score, place < strong)
        for place, (score, trial) in enumerate(scored)
    ]


def _values(trial: TrialRecord) -> dict[str, Any]:
    options, components, hyperparameters = configuration(trial)
    return {**options, **components, **hyperparameters}


def _sample(lines: list[Line], total: int) -> list[Line]:
    if total <= LINES:
        return lines
    wanted = min(len(lines), max(2, LINES * len(lines) // total))
    return [lines[place * len(lines) // wanted] for place in range(wanted)]


def _names(lines: Sequence[Line]) -> tuple[str, ...]:
    """What differs within some row: those that the most trials have, in the order of the configuration."""
    names = dict.fromkeys(name for line in lines for name in line.values)
    differing = {}
    for name in names:
        having = [line for line in lines if name in line.values]
        by_row: dict[str, set[str]] = {}
        for line in having:
            by_row.setdefault(line.row, set()).add(repr(line.values[name]))
        if any(len(found) > 1 for found in by_row.values()):
            differing[name] = len(having)
    most = sorted(differing, key=lambda name: -differing[name])[:AXES]
    return tuple(name for name in names if name in most)


# ---------------------------------------------------------------- drawing


def trials_figure(trials: Trials, series: Mapping[str, str], space: Mapping[str, Any]) -> Markup:
    """The figure as SVG, as wide as its axes need; space: says which of them the search saw on a log scale."""
    names, logs = trials.names, set(_logarithmic(space))
    axes = [_axis([line.values[name] for line in trials.lines if name in line.values], name in logs) for name in names]
    floor, top = accuracy_range([(line.accuracy, 0.0) for line in trials.lines])
    accuracy = linear_axis(floor, top, BOTTOM, TOP, lambda share: points(share, 1))
    places = [LEFT + GAP * number for number in range(len(axes) + 1)]
    parts = []
    for line in trials.lines:
        heights = [
            axis(line.values[name]) if name in line.values else MISSING_Y
            for name, axis in zip(trials.names, axes, strict=True)
        ]
        heights.append(accuracy(max(line.accuracy, floor)))
        parts.append(_line(trials, line, list(zip(places, heights, strict=True)), series))
    scales = [*zip(trials.names, axes, strict=True), ("validation, %", accuracy)]
    parts += [_scale(x, visible(name, LONGEST), axis) for x, (name, axis) in zip(places, scales, strict=True)]
    if any(name not in line.values for line in trials.lines for name in trials.names):
        parts.append(tag("text", "not set", class_="tick", x=8, y=MISSING_Y + 4))
    width, height = places[-1] + RIGHT, MISSING_Y + 14
    label = (
        f"{len(trials.lines)} trials by {len(trials.names)} settings and validation accuracy; "
        "the table below has the figures."
    )
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    return tag("svg", *parts, class_="parallel", role="img", aria_label=label, **size)


def _line(trials: Trials, line: Line, corners: Sequence[tuple[float, float]], series: Mapping[str, str]) -> Markup:
    settings = ", ".join(f"{name} {text}" for name, text in zip(trials.names, trials.texts(line), strict=True))
    title = tag("title", f"{visible(line.row, 60)}: {points(line.accuracy)} %, {line.status}\n{visible(settings)}")
    path = "M" + "L".join(f"{x:g} {y:.1f}" for x, y in corners)
    class_ = f"trial titled {series.get(line.row, 'rest')}" + " best" * line.best
    return tag("path", title, class_=class_, d=path, data_row=visible(line.row))


def _scale(x: float, name: str, axis: "Axis | _Categories") -> Markup:
    parts = [tag("text", name, class_="title", x=x, y=14, text_anchor="middle")]
    parts.append(tag("line", class_="axis", x1=x, x2=x, y1=TOP, y2=BOTTOM))
    for tick, text in axis.ticks:
        parts.append(tag("line", class_="axis", x1=x - 3, x2=x + 3, y1=axis(tick), y2=axis(tick)))
        parts.append(tag("text", visible(text, LONGEST), class_="label", x=x + 6, y=axis(tick) + 4))
    return tag("g", *parts, aria_hidden="true")


class _Categories:
    """An axis of values that have no distance: each at its place, in their own order."""

    def __init__(self, found: Sequence[Any]) -> None:
        distinct = {repr(each): each for each in found}
        numbers = all(isinstance(each, int | float) for each in distinct.values())
        order = sorted(distinct, key=lambda key: (distinct[key], key) if numbers else (0, key))
        step = (BOTTOM - TOP) / max(1, len(order) - 1)
        self._places = {key: BOTTOM - step * number for number, key in enumerate(order)}
        self.ticks = tuple((distinct[key], value(distinct[key])) for key in order)

    def __call__(self, each: Any) -> float:
        return self._places[repr(each)]


def _logarithmic(space: Mapping[str, Any]) -> Iterator[str]:
    """The names that the study file's space searches on a log scale, those below a choice included."""
    for name, node in space.items():
        if isinstance(node, Mapping):
            if node.get("log"):
                yield name
            options = node.get("choice")
            for below in options.values() if isinstance(options, Mapping) else ():
                yield from _logarithmic(below or {})


def _axis(found: Sequence[Any], log: bool) -> "Axis | _Categories":
    numbers = [each for each in found if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(numbers) < len(found) or len(set(numbers)) <= CATEGORIES:
        return _Categories(found)
    low, high = min(numbers), max(numbers)
    if log and low > 0:
        return log_axis(low, high, BOTTOM, TOP, lambda tick: f"{tick:.3g}")
    return linear_axis(low, high, BOTTOM, TOP, lambda tick: f"{tick:.3g}")
