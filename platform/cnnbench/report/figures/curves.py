"""Curves by row: per epoch, the mean over a row's finals and its chosen trial's validation; and how they are drawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from cnnbench.ledger import EpochPoint
from cnnbench.report.figures.svg import Axis, Plot, linear_axis, log_axis, tag
from cnnbench.report.formats import points, visible
from cnnbench.report.table.row_records import RowRecords

SIZES = {"wide": Plot(600, 320), "narrow": Plot(360, 270, left=42)}
FINE = 1.5  # px between two steps of a drawn curve, at least
BANDS = 4  # above, a row's band is only shown where a reader points at the row
Curve = tuple[float | None, ...]  # a value a step (an epoch), from step 1; None where no run has one


@dataclass(frozen=True)
class Panel:
    """One chart: a metric's curves by row, perhaps with an interval (low, high) around each; x: what a step is."""

    key: str
    title: str
    caption: str
    percent: bool
    curves: Mapping[str, Curve]
    bands: Mapping[str, tuple[Curve, Curve]] = field(default_factory=dict)
    x: str = "epoch"

    @property
    def steps(self) -> int:
        return max(len(curve) for curve in self.curves.values())

    def cell(self, row: str, step: int) -> str:
        """A row's value at a step as the table shows it, with its interval."""
        text = self._text(_at(self.curves[row], step))
        if row not in self.bands or step > len(self.curves[row]):
            return text
        low, high = (self._text(_at(bound, step)) for bound in self.bands[row])
        return f"{text} ({low} to {high})"

    def _text(self, value: float | None) -> str:
        return points(value) if self.percent or value is None else f"{value:.3g}"


def _at(curve: Curve, step: int) -> float | None:
    return curve[step - 1] if step <= len(curve) else None


_PANELS = (
    ("train_accuracy", "Training accuracy, %", "finals", True),
    ("train_loss", "Training loss, nats an image", "finals", False),
    ("val_accuracy", "Validation accuracy, %", "search", True),
    ("val_loss", "Validation loss, nats an image", "search", False),
)
_CAPTIONS = {
    "finals": "Finals, on training and validation images; mean over seeds.",
    "search": "The chosen trial of the search; finals have no validation images left.",
}


def panels(rows: Sequence[RowRecords]) -> list[Panel]:
    """The panels that have any data. Drawn on log axes: of the loss, and of the error."""
    found = []
    for key, title, source, percent in _PANELS:
        curves = {}
        for row in rows:
            runs = (
                [final.epochs for final in row.scored]
                if source == "finals"
                else [row.chosen.epochs]
                if row.chosen
                else []
            )
            curve = mean_curve(runs, key)
            if any(value is not None for value in curve):
                curves[row.label] = curve
        if curves:
            found.append(Panel(key, title, _CAPTIONS[source], percent, curves))
    return found


def row_panel(row: RowRecords) -> Panel | None:
    """One row's own accuracies: of its finals while they train, and of the chosen trial on validation images."""
    found = {
        "training, finals": mean_curve([final.epochs for final in row.scored], "train_accuracy"),
        "validation, chosen trial": mean_curve([row.chosen.epochs] if row.chosen else [], "val_accuracy"),
    }
    curves = {name: curve for name, curve in found.items() if any(value is not None for value in curve)}
    return Panel("row", "Accuracy, %", "", True, curves) if curves else None


def mean_curve(runs: Sequence[Sequence[EpochPoint]], metric: str) -> Curve:
    """The mean over the runs at each epoch, as far as all of them went (early stopping ends some before others)."""
    by_epoch = [{point.epoch: getattr(point, metric) for point in run} for run in runs]
    last = min((max(run, default=0) for run in by_epoch), default=0)
    curve: list[float | None] = []
    for epoch in range(1, last + 1):
        values = [run.get(epoch) for run in by_epoch]
        present = [value for value in values if value is not None]
        curve.append(sum(present) / len(present) if present and len(present) == len(values) else None)
    return tuple(curve)


def shown_steps(panel: Panel, most: int = 8) -> list[int]:
    """Steps for the table: the first, the last, and some between, about evenly on a log scale."""
    last = panel.steps
    return sorted({round(last ** (step / (most - 1))) for step in range(most)} | {1, last})


def curves_figure(panel: Panel, series: Mapping[str, str], variant: str, label: str = "") -> Markup:
    """One panel as SVG; ``series``: row → its CSS class. The script reads where the steps lie from data-steps."""
    plot = SIZES[variant]
    box = plot.box
    x = linear_axis(1, max(panel.steps, 2), box.x1, box.x2, lambda value: f"{value:.0f}", steps=6)
    x = Axis(x.to_pixel, tuple((tick, text) for tick, text in x.ticks if tick == int(tick)))
    y = _value_axis(panel, box.y2, box.y1)
    paths = [
        tag("path", class_=f"curve {series[row]}", d=_path(curve, x, y), data_row=visible(row))
        for row, curve in reversed(list(panel.curves.items()))  # the best row last, on top
    ]
    faint = " many" * (len(panel.bands) > BANDS)
    areas = [
        tag("path", class_=f"band {series[row]}{faint}", d=_area(*band, x, y), data_row=visible(row))
        for row, band in panel.bands.items()
    ]
    cursor = tag("line", class_="cursor", y1=box.y1, y2=box.y2)
    return plot.drawing(
        plot.frame(x, y, panel.x),
        *areas,
        *paths,
        cursor,
        label=label or f"{panel.title} by {panel.x}, {len(panel.curves)} rows; the table below has the figures.",
        variant=variant,
        data_panel=panel.key,
        data_steps=f"1 {max(panel.steps, 2)} {box.x1:g} {box.x2:g}",
    )


def _value_axis(panel: Panel, start: float, end: float) -> Axis:
    drawn = [*panel.curves.values(), *(bound for band in panel.bands.values() for bound in band)]
    values = [value for curve in drawn for value in curve if value is not None]
    if panel.percent:  # the error's logarithm, so that 99.0 and 99.5 lie as far apart as 90 and 95
        errors = [1 - value for value in values]
        smallest = min((error for error in errors if error > 1e-9), default=0.01)
        least = smallest / (2 if min(errors) <= 1e-9 else 1.1)  # no error at all has no place on a log axis
        worst = min(1.1 * max(*errors, 2 * least), 1.0)
        axis = log_axis(least, worst, end, start, lambda error: f"{100 - 100 * error:.6g}")
        return Axis(lambda value: axis(max(1 - value, least)), tuple((1 - error, text) for error, text in axis.ticks))
    high = max(values)
    low = max(min(values), high * 1e-5, 1e-9)  # a loss of zero has no place on a log axis
    axis = log_axis(low / 1.15, max(high, low) * 1.15, start, end, lambda loss: f"{loss:g}")
    return Axis(lambda loss: axis(max(loss, low)), axis.ticks)


def _path(curve: Curve, x: Axis, y: Axis) -> str:
    """Line segments over the steps present; a lone one becomes a dot, by a segment without length."""
    path: list[str] = []
    pen_down = False
    for step in _drawn(len(curve), x):
        value = curve[step - 1]
        if value is None or not math.isfinite(value):
            pen_down = False
            continue
        place = f"{x(step):.1f} {y(value):.1f}"
        path.append(f"L{place}" if pen_down else f"M{place}h0")
        pen_down = True
    return "".join(path)


def _area(low: Curve, high: Curve, x: Axis, y: Axis) -> str:
    """The outline between two curves without gaps: along the upper one and back along the lower one."""
    steps = _drawn(len(high), x)
    lower, upper = (
        [(x(step), y(value)) for step in steps if (value := curve[step - 1]) is not None] for curve in (low, high)
    )
    return "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in [*upper, *reversed(lower)]) + "Z"


def _drawn(steps: int, x: Axis) -> list[int]:
    """The steps that a line is drawn through: first, last, and no two nearer than ``FINE`` where there are many."""
    stride = max(1, math.ceil(FINE / abs(x(2) - x(1))))
    return sorted({1, *range(steps, 0, -stride)})
