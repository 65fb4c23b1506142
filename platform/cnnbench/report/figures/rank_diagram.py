"""Mean ranks over data sets: a dot a row, and a bar beside each group of rows that the test does not tell apart."""

from collections.abc import Hashable

from markupsafe import Markup

from cnnbench.report.figures.svg import CHARACTER, Axis, Plot, linear_axis, tag
from cnnbench.report.formats import visible
from cnnbench.statistics import CriticalDifference

DRAWN = 40  # rows at most, the best ones
LINE = 20.0  # px a row
BAR = 9.0  # px between two bars
WIDTHS = {"wide": (640.0, 30), "narrow": (360.0, 18)}  # px, and characters of a name at most


def rank_diagram(found: CriticalDifference, variant: str) -> Markup:
    """Best row on top; ``variant``: wide or narrow. Bars whose rows overlap stand side by side."""
    width, longest = WIDTHS[variant]
    names = list(found.mean_ranks.index)[:DRAWN]
    ranks = [float(rank) for rank in found.mean_ranks[:DRAWN]]
    lanes = _lanes(found, names)
    texts = [visible(str(name), longest) for name in names]
    left = max(len(text) for text in texts) * CHARACTER + 16
    right = 16 + BAR * (1 + max(lanes.values(), default=0))
    plot = Plot(width, 34 + LINE * len(names) + 42, left=left, right=right, top=34)
    box = plot.box
    x = linear_axis(1, max(len(found.mean_ranks), 2), box.x1 + 6, box.x2 - 14, lambda value: f"{value:.0f}")
    x = Axis(x.to_pixel, ((1, "1"), *((tick, text) for tick, text in x.ticks if tick == int(tick) and tick > 1)))
    marks = []
    for place, (name, text, rank) in enumerate(zip(names, texts, ranks, strict=True)):
        y = box.y1 + LINE * (place + 0.5)
        title = tag("title", f"{visible(str(name), 60)}: mean rank {rank:.2f}")
        line = tag("line", class_="grid", x1=box.x1, x2=box.x2 - 8, y1=y, y2=y)
        named = tag("text", text, class_="name-label", x=box.x1 - 8, y=y + 4, text_anchor="end")
        marks.append(tag("g", title, line, named, tag("circle", class_="dot", cx=x(rank), cy=y, r=4.5), class_="s0"))
    bars = []
    for clique, lane in lanes.items():
        first, last = names.index(clique[0]), max(place for place, name in enumerate(names) if name in clique)
        at = box.x2 + BAR * lane
        ends = {"y1": box.y1 + LINE * (first + 0.2), "y2": box.y1 + LINE * (last + 0.8)}
        bars.append(tag("line", class_="clique", x1=at, x2=at, **ends))
    scale = _scale(found.critical_distance, x, box.x1 + 6)
    label = f"Mean ranks of {len(names)} rows; the table has the figures."
    return plot.drawing(plot.frame(x, Axis(x.to_pixel, ()), "mean rank (1: the best)"), *marks, *bars, scale,
                        label=label, variant=variant)  # fmt: skip


def _lanes(found: CriticalDifference, names: list[Hashable]) -> dict[tuple[Hashable, ...], int]:
    """Each clique that has two drawn rows, and how far to the right its bar stands."""
    lanes: dict[tuple[Hashable, ...], int] = {}
    ends: list[int] = []  # of each lane, the last row that it is taken to
    for clique in found.cliques:
        places = [place for place, name in enumerate(names) if name in set(clique)]
        if len(places) > 1:
            lane = next((number for number, end in enumerate(ends) if end < places[0]), len(ends))
            ends[lane : lane + 1] = [places[-1]]
            lanes[clique] = lane
    return lanes


def _scale(distance: float, x: Axis, start: float) -> Markup:
    """How long the critical difference is on the axis."""
    end = start + x(1 + distance) - x(1)
    bar = tag("path", class_="clique", d=f"M{start:.1f} 8v8M{start:.1f} 12H{end:.1f}M{end:.1f} 8v8")
    text = tag("text", f"critical difference {distance:.2f}", class_="tick", x=start, y=28)
    return tag("g", bar, text)
