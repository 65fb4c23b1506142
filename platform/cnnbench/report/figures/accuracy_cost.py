"""Test accuracy against a cost (MACs, parameters, latency) or the year: one point a row, its interval, and the Pareto
front."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markupsafe import Markup

from cnnbench.report.figures.svg import Axis, Box, Plot, linear_axis, log_axis, place_labels, tag
from cnnbench.report.formats import count, points, round_count, visible
from cnnbench.report.table.columns import LeaderboardRow

RADIUS = 4.5
LABELLED = 40  # rows that get a label where there is room for it, the best ones; the others have a tooltip
SIZES = {"wide": Plot(600, 400), "narrow": Plot(360, 340, left=40)}


@dataclass(frozen=True)
class CostAxis:
    """A field of the leaderboard's rows as the x axis: ``name`` in the caption, ``unit`` below the axis, ``seen``: what
    the figure shows."""

    field: str
    name: str
    unit: str
    seen: str
    text: Callable[[float], str] = count
    tick: Callable[[float], str] = round_count
    log: bool = True


_FRONT = (
    "Dashed: the Pareto front, which no row is both above and to the left of. What lies right of it and below costs "
    "more than a better one."
)
COSTS = (
    CostAxis("macs", "MACs", "multiply-accumulates of one image, forward (log scale)", _FRONT),
    CostAxis("params", "parameters", "parameters (log scale)", _FRONT),
    CostAxis(
        *("latency_ms", "latency", "milliseconds an image, median (log scale)"),
        "One image at a time, on the finals' machine. " + _FRONT,
        text=lambda value: f"{value:.3g} ms",
        tick=lambda value: f"{value:g}",
    ),
)
YEAR = CostAxis(
    *("year", "year of publication", "year"),
    "Classic networks stand on the left, modern ones on the right. Dashed: the best up to that year; what lies below "
    "is beaten by something as old or older. All rows had the same budget and recipe, which the papers had not.",
    text=lambda value: f"{value:.0f}",
    tick=lambda value: f"{value:.0f}",
    log=False,
)


@dataclass(frozen=True)
class Point:
    """One row's place: cost > 0; accuracy and half (of the 95 % interval; 0 if unknown) in [0, 1]."""

    row: str
    series: str
    cost: float
    accuracy: float
    half: float
    front: bool
    ranked: bool


def accuracy_points(rows: Sequence[LeaderboardRow], cost: str, series: Mapping[str, str]) -> list[Point]:
    """The leaderboard rows that have an accuracy and a cost, best first, without controls: an A/A control has the cost
    of its original. ``series``: row → its CSS class."""
    shown = [
        Point(
            row=row.architecture,
            series=series[row.architecture],
            cost=getattr(row, cost),
            accuracy=row.test_accuracy_mean,
            half=row.test_accuracy_ci95 or 0.0,
            front=False,
            ranked=row.rank_group is not None,
        )
        for row in rows
        if row.test_accuracy_mean is not None and getattr(row, cost) and row.control is None
    ]
    front = pareto_front([(point.row, point.cost, point.accuracy) for point in shown if point.ranked])
    return [replace(point, front=point.row in front) for point in shown]


def pareto_front(rows: Sequence[tuple[str, float, float]]) -> set[str]:
    """Of (row, cost, mean), the rows that no other beats: one at least as high for at most the cost, and better in
    one of the two."""
    return {
        name
        for name, price, mean in rows
        if not any(p <= price and m >= mean and (p < price or m > mean) for _, p, m in rows)
    }


def accuracy_figure(chart: Sequence[Point], cost: CostAxis, variant: str) -> Markup:
    """The chart as SVG; ``variant``: wide or narrow. Rows far below the rest are drawn at the lower edge, as arrows."""
    plot = SIZES[variant]
    box = plot.box
    floor, top = accuracy_range([(point.accuracy, point.half) for point in chart])
    digits = 0 if top - floor > 0.05 else 1 if top - floor > 0.005 else 2
    x = _cost_axis([point.cost for point in chart], cost, box)
    y = linear_axis(floor, top, box.y2, box.y1, lambda value: points(value, digits))
    places = [(x(point.cost), y(max(point.accuracy, floor))) for point in chart]
    intervals = [_interval(point, y, floor, top) for point in chart]
    placed = list(zip(chart, places, intervals, strict=True))
    marks = [_mark(point, cost, place, interval, point.accuracy < floor) for point, place, interval in reversed(placed)]
    # Labels keep clear of all marks and intervals, and of the front's line where there is room.
    around = RADIUS + 1
    obstacles = [Box(px - around, py - around, px + around, py + around) for px, py in places]
    obstacles += [Box(px - 1, upper, px + 1, lower) for _, (px, _), (upper, lower) in placed]
    corners = _front_corners([(place, point) for point, place, _ in placed if point.front], box)
    steps = [Box(x1 - 1, min(y1, y2) - 1, x2 + 1, max(y1, y2) + 1) for (x1, y1), (x2, y2) in pairwise(corners)]
    labels = place_labels(
        [(px, py, point.row) for point, (px, py), _ in placed[:LABELLED]], obstacles, box, avoided=steps
    )
    drawn = [label.draw(point.series) for label, point in zip(labels, chart, strict=False) if label]
    front = tag("polyline", class_="front", points=" ".join(f"{px:.1f},{py:.1f}" for px, py in corners))
    description = f"Test accuracy in percent against {cost.name}: {len(chart)} rows; the table below has the figures."
    return plot.drawing(plot.frame(x, y, cost.unit), front, *marks, *drawn, label=description, variant=variant)


def _cost_axis(costs: Sequence[float], cost: CostAxis, box: Box) -> Axis:
    if cost.log:
        return log_axis(min(costs) / 1.5, max(costs) * 1.5, box.x1, box.x2, cost.tick)
    margin = max(0.06 * (max(costs) - min(costs)), 1.0)
    axis = linear_axis(min(costs) - margin, max(costs) + margin, box.x1, box.x2, cost.tick)
    return Axis(axis.to_pixel, tuple((tick, text) for tick, text in axis.ticks if tick == int(tick)))


def accuracy_range(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """An axis for (mean, half) intervals: from the lowest end to the highest, unless fewer than half of the rows lie so
    far below that they would squeeze the others together."""
    means = sorted(mean for mean, _ in intervals)
    top = max(mean + half for mean, half in intervals)
    far = top - 4 * max(top - means[(len(means) - 1) // 2], 0.005)
    low = min(mean - half for mean, half in intervals if mean >= far)
    margin = 0.06 * max(top - low, 0.002)
    return max(0.0, low - margin), min(1.0, top + margin)


def _interval(point: Point, y: Axis, floor: float, top: float) -> tuple[float, float]:
    """The interval's upper and lower end in px, cut where the axis ends."""
    return y(min(point.accuracy + point.half, top)), y(max(point.accuracy - point.half, floor))


def _mark(
    point: Point, cost: CostAxis, place: tuple[float, float], interval: tuple[float, float], below: bool
) -> Markup:
    px, py = place
    half = f" ± {points(point.half)}" if point.half else ""
    title = tag("title", f"{visible(point.row, 60)}\n{points(point.accuracy)}{half} %\n{cost.text(point.cost)}")
    target = tag("circle", class_="target", cx=px, cy=py, r=12)
    common = {"class_": f"point titled {point.series}" + " hollow" * (not point.ranked), "data_row": visible(point.row)}
    if below:
        arrow = tag("path", class_="dot", d=f"M{px - 5:.1f} {py - 9:.1f}h10l-5 8z")
        return tag("g", title, arrow, target, **common)
    bar = tag("line", class_="interval", x1=px, x2=px, y1=interval[0], y2=interval[1])
    dot = tag("circle", class_="dot", cx=px, cy=py, r=RADIUS)
    return tag("g", title, bar, dot, target, **common)


def _front_corners(front: Sequence[tuple[tuple[float, float], Point]], box: Box) -> list[tuple[float, float]]:
    """The front's line: at a cost, its height is the best accuracy that costs no more."""
    corners: list[tuple[float, float]] = []
    for (px, py), _ in sorted(front, key=lambda entry: entry[1].cost):
        corners += [(px, corners[-1][1]), (px, py)] if corners else [(px, py)]
    return [*corners, (box.x2, corners[-1][1])] if corners else []
