"""Charts as SVG text: elements, axes, and labels that don't overlap. Colours come from the page's style sheet."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cnnbench.report.formats import visible

CHARACTER = 6.6  # a character's width in px at the charts' 12 px: on the wide side, so that labels keep a distance
LINE = 14.0
NEAR = 16  # places, nearest first, among which one that meets nothing avoided is preferred


def tag(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """An element. Text children and attribute values are escaped; ``class_`` and ``stroke_width`` lose or change their
    underscores; an attribute of None is left out."""
    written = Markup("").join(
        Markup(' {}="{}"').format(Markup(key.rstrip("_").replace("_", "-")), _short(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(children)
    return Markup("<{}{}>{}</{}>").format(Markup(name), written, inner, Markup(name))


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels, with its ticks (value, text)."""

    to_pixel: Callable[[float], float]
    ticks: tuple[tuple[float, str], ...]

    def __call__(self, value: float) -> float:
        return self.to_pixel(value)


def linear_axis(
    low: float, high: float, start: float, end: float, text: Callable[[float], str], steps: int = 5
) -> Axis:
    """Ticks at 1, 2 or 5 × 10^k; the axis ends at ``low`` and ``high``."""
    width = (high - low) or 1.0
    raw = width / steps
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    ticks = [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return Axis(lambda v: start + (v - low) / width * (end - start), tuple((tick, text(tick)) for tick in ticks))


def log_axis(low: float, high: float, start: float, end: float, text: Callable[[float], str]) -> Axis:
    """Ticks at powers of ten; where fewer than three of them lie on the axis, also at 2 and 5 times these; where that
    gives fewer than three, at equal steps."""
    bottom, top = math.log10(low), math.log10(high)
    width = (top - bottom) or 1.0
    powers = range(math.floor(bottom), math.ceil(top) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        ticks = [tick for tick in ticks if bottom - 1e-9 <= math.log10(tick) <= top + 1e-9]
        if len(ticks) >= 3:
            break
    else:
        ticks = [tick for tick, _ in linear_axis(low, high, start, end, text).ticks]
    shown = tuple((tick, text(tick)) for tick in ticks)
    return Axis(lambda v: start + (math.log10(v) - bottom) / width * (end - start), shown)


@dataclass(frozen=True)
class Plot:
    """The rectangle that data is drawn in, in px, and what stands around it."""

    width: float
    height: float
    left: float = 46.0
    right: float = 14.0
    top: float = 12.0
    bottom: float = 42.0

    @property
    def box(self) -> "Box":
        return Box(self.left, self.top, self.width - self.right, self.height - self.bottom)

    def frame(self, x: Axis, y: Axis, x_title: str) -> Markup:
        """Grid lines, tick labels and the x title. The y title belongs into the caption: it would stand upright."""
        box = self.box
        parts = []
        for value, text in y.ticks:
            parts.append(tag("line", class_="grid", x1=box.x1, x2=box.x2, y1=y(value), y2=y(value)))
            parts.append(tag("text", text, class_="tick", x=box.x1 - 8, y=y(value) + 4, text_anchor="end"))
        for value, text in x.ticks:
            parts.append(tag("line", class_="axis", x1=x(value), x2=x(value), y1=box.y2, y2=box.y2 + 4))
            parts.append(tag("text", text, class_="tick", x=x(value), y=box.y2 + 18, text_anchor="middle"))
        parts.append(tag("line", class_="axis", x1=box.x1, x2=box.x2, y1=box.y2, y2=box.y2))
        middle = (box.x1 + box.x2) / 2
        parts.append(tag("text", x_title, class_="title", x=middle, y=self.height - 6, text_anchor="middle"))
        return tag("g", *parts, aria_hidden="true")

    def drawing(self, *parts: Markup, label: str, variant: str, **data: object) -> Markup:
        """The whole SVG; ``label`` is what a screen reader says instead of it."""
        return tag(
            "svg",
            *parts,
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            class_=variant,
            role="img",
            aria_label=label,
            **data,
        )


@dataclass(frozen=True)
class Box:
    """A rectangle, x1 <= x2 and y1 <= y2."""

    x1: float
    y1: float
    x2: float
    y2: float

    def meets(self, other: "Box") -> bool:
        return self.x1 < other.x2 and other.x1 < self.x2 and self.y1 < other.y2 and other.y1 < self.y2

    def holds(self, other: "Box") -> bool:
        return self.x1 <= other.x1 and other.x2 <= self.x2 and self.y1 <= other.y1 and other.y2 <= self.y2


@dataclass(frozen=True)
class Label:
    """A placed label: its text, its box, and the point that it belongs to."""

    text: str
    box: Box
    x: float
    y: float

    def draw(self, class_: str) -> Markup:
        text = tag("text", self.text, class_="label", x=self.box.x1 + 2, y=self.box.y2 - 3)
        near_x = min(max(self.x, self.box.x1), self.box.x2)
        near_y = min(max(self.y, self.box.y1), self.box.y2)
        if math.hypot(near_x - self.x, near_y - self.y) < 12:
            return tag("g", text, class_=class_)
        leader = tag("line", class_="leader", x1=self.x, y1=self.y, x2=near_x, y2=near_y)
        return tag("g", leader, text, class_=class_)


def place_labels(
    points: Sequence[tuple[float, float, str]],
    obstacles: Iterable[Box],
    inside: Box,
    avoided: Sequence[Box] = (),
    longest: int = 20,
) -> list[Label | None]:
    """A label for each (x, y, text), in order of importance, where it meets no obstacle and no other label, and lies
    inside; None where no such place was found. The nearest free place wins, one that meets nothing ``avoided`` first.
    """
    taken = list(obstacles)
    placed: list[Label | None] = []
    for x, y, text in points:
        short = visible(text, longest)
        width = len(short) * CHARACTER + 4
        boxes = [Box(x + dx, y + dy, x + dx + width, y + dy + LINE) for dx, dy in _offsets(width)]
        possible = [box for box in boxes if inside.holds(box) and not any(box.meets(other) for other in taken)]
        near = [box for box in boxes[:NEAR] if box in possible]
        clear = [box for box in near if not any(box.meets(other) for other in avoided)]
        free = next(iter(clear + possible), None)
        placed.append(Label(short, free, x, y) if free else None)
        if free:
            taken.append(free)
    return placed


def _offsets(width: float) -> Iterable[tuple[float, float]]:
    """Where a label's upper left corner may stand, from its point, nearest first."""
    for distance in (7.0, 16.0, 28.0, 42.0, 60.0):
        middle = -LINE / 2
        yield distance, middle
        yield -distance - width, middle
        yield -width / 2, -distance - LINE
        yield -width / 2, distance
        for dy in (-distance - LINE / 2, distance - LINE / 2):
            yield distance * 0.7, dy
            yield -distance * 0.7 - width, dy
