"""The columns of the page's table: what each shows, how it sorts, and how a comparison of two rows writes it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cnnbench.report.formats import DASH, count, duration, points
from cnnbench.report.table.comparison import Cells

Compared = Literal["points", "ratio", "difference", "text", "settings", "rank"]


@dataclass(frozen=True)
class Column:
    """``fields``: of a leaderboard row; the first one sorts. ``over``: the heading above several columns.

    ``compared``: how a row differs from another one: ``points`` and ``difference`` subtract, ``ratio`` divides,
    ``settings`` names what is set otherwise, ``text`` and ``rank`` stay as they are.
    """

    key: str
    title: str
    fields: tuple[str, ...]
    compared: Compared
    over: str = ""
    first: Literal["ascending", "descending"] = "ascending"
    shown: bool = True
    hint: str = ""
    text: Callable[[Any], str] | None = None  # of a plain figure; None where the template draws the cell
    start: bool = False  # begins a group of columns

    def cell(self, row: Cells) -> str:
        """The figure as text: an en dash where it is not known, nothing for a control's search."""
        value = row[self.fields[0]]
        if value is None:
            return "" if row["control"] and self.over in ("Search trials", "Search") else DASH
        return self.text(value) if self.text else str(value)


ACCURACY, SIZE, TIME, TRIALS, CHOSEN = (
    *("Test accuracy, %", "Size and cost of one image", "Device time", "Search trials", "Chosen configuration"),
)


def _seconds(key: str, title: str, hint: str, **more: Any) -> Column:
    return Column(key, title, (key,), "ratio", TIME, hint=hint, text=duration, **more)


def _milliseconds(value: float) -> str:
    return f"{value:.3g}"


COLUMNS = (
    Column("group", "Group", ("rank_group",), "rank"),
    Column("architecture", "Architecture", ("architecture",), "text"),
    Column("family", "Family", ("family",), "text", shown=False),
    Column("year", "Year", ("year",), "difference", text=str),
    Column(
        *("accuracy", "Mean ± 95 %", ("test_accuracy_mean", "test_accuracy_ci95", "p_best"), "points", ACCURACY),
        first="descending",
        start=True,
    ),
    Column("n", "n", ("n_seeds",), "difference", ACCURACY, "descending", hint="Seeds: completed finals", text=str),
    Column("params", "Params", ("params",), "ratio", SIZE, hint="Parameters", text=count, start=True),
    Column(
        *("macs", "MACs", ("macs",), "ratio", SIZE),
        hint="Multiply-accumulates of one image's forward pass",
        text=count,
    ),
    Column("flops", "FLOPs", ("flops",), "ratio", SIZE, hint="Two for each multiply-accumulate", text=count),
    Column(
        *("latency", "ms", ("latency_ms", "latency_ms_p95"), "ratio", SIZE),
        hint="Latency: median of one image's forward pass, in milliseconds, on the finals' machine",
        text=_milliseconds,
    ),
    Column(
        *("throughput", "Images/s", ("throughput",), "ratio", SIZE, "descending"),
        shown=False,
        hint="Forward passes in batches on the finals' machine",
        text=count,
    ),
    Column("size", "Size, MB", ("size_mb",), "ratio", SIZE, shown=False, text=lambda value: f"{value:.3g}"),
    _seconds("search_device_seconds", "Search", "Device-seconds of all search trials", start=True),
    _seconds("final_device_seconds", "A final", "Device-seconds of one final, mean over seeds"),
    Column(
        *("completed", "Done", ("trials_completed",), "difference", TRIALS, "descending"),
        hint="Completed trials",
        text=str,
        start=True,
    ),
    Column(
        *("pruned", "Pruned", ("trials_pruned",), "difference", TRIALS, "descending"),
        hint="Trials stopped early by the search",
        text=str,
    ),
    Column(
        *("failed", "Failed", ("trials_failed",), "difference", TRIALS, "descending"),
        hint="Failed, diverged and out-of-memory trials",
        text=str,
    ),
    Column(
        *("validation", "Validation, %", ("validation_accuracy",), "points", TRIALS, "descending"),
        shown=False,
        hint="Accuracy of the chosen trial on validation images: what it was chosen by, too good by that",
        text=points,
    ),
    Column("components", "Components", ("components",), "settings", CHOSEN, start=True),
    Column("hyperparameters", "Hyperparameters", ("hyperparameters",), "settings", CHOSEN, shown=False),
)
HIDEABLE = tuple(column for column in COLUMNS if column.key not in ("group", "architecture"))


def headings() -> list[tuple[str, int, int]]:
    """The upper heading line: (text, columns below it, cells shown of these at first)."""
    found: list[tuple[str, int, int]] = []
    for column in COLUMNS:
        cells = 2 if column.key == "accuracy" else 1  # the mean and its bar
        if found and found[-1][0] == column.over:
            text, all_, shown = found.pop()
            found.append((text, all_ + cells, shown + cells * column.shown))
        else:
            found.append((column.over, cells, cells * column.shown))
    return found


def for_script(columns: Iterable[Column] = COLUMNS) -> list[dict[str, Any]]:
    """What the page's script knows of the columns."""
    kept = ("key", "title", "fields", "compared", "over", "shown")
    return [{name: value for name, value in asdict(column).items() if name in kept} for column in columns]
