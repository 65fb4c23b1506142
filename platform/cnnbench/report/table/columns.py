"""The leaderboard's row and its columns, said once: what its CSV and JSON hold, and what readers' tables show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnbench.report.formats import DASH, count, duration, points


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """One line of the leaderboard. Its fields, in this order, are the columns of leaderboard.csv and the keys of an
    entry of leaderboard.json. None: not known, or not of this row, such as a control's search.

    Accuracies are in [0, 1]; ``test_accuracy_ci95`` is half the width of the 95 % interval over seeds;
    ``test_sampling_error`` is the standard error that the test set's size leaves; ``p_best`` is the adjusted p-value of
    the difference from the best row. ``trials_failed`` counts failed, diverged and out-of-memory trials. Device-seconds
    are summed over the search, and the mean of one final; latency is that of one image, throughput in images per
    second, both medians over the finals. ``remark`` says why a row has no rank. ``row_id`` is what ``cnnbench
    reproduce`` takes.
    """

    rank_group: int | None = None
    architecture: str
    year: int | None = None
    test_accuracy_mean: float | None = None
    test_accuracy_ci95: float | None = None
    n_seeds: int
    params: int | None = None
    macs: int | None = None
    flops: int | None = None
    trials_completed: int | None = None
    trials_pruned: int | None = None
    trials_failed: int | None = None
    validation_accuracy: float | None = None
    test_loss_mean: float | None = None
    p_best: float | None = None
    model: str | None = None
    family: str | None = None
    trainable_params: int | None = None
    size_mb: float | None = None
    search_device_seconds: float | None = None
    final_device_seconds: float | None = None
    search_epochs: int | None = None
    final_epochs: float | None = None
    device: str | None = None
    precision: str | None = None
    components: Mapping[str, object] = field(default_factory=dict)
    component_sites: Mapping[str, int] = field(default_factory=dict)
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    remark: str = ""
    search_epochs_asked: int | None = None
    test_sampling_error: float | None = None
    control: Literal["a/a", "majority"] | None = None
    control_of: str | None = None
    row_id: str | None = None
    latency_ms: float | None = None
    latency_ms_p95: float | None = None
    throughput: float | None = None


Compared = Literal["points", "ratio", "difference", "text", "settings", "rank"]


@dataclass(frozen=True)
class Column:
    """A column of the tables that people read.

    ``title``, ``in_text``, ``in_terminal``: its heading on the page, in Markdown and LaTeX, and in a terminal; "" where
    it is not shown there. ``over``: the page's heading above several columns. ``fields``: of a ``LeaderboardRow``; the
    first one sorts. ``text``: the fields' values as a reader sees them, where the first is known.

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
    text: Callable[..., str] = str
    start: bool = False  # begins a group of columns
    in_text: str = ""
    in_terminal: str = ""

    def words(self, row: LeaderboardRow) -> str | None:
        """What it says of a row; None where that is not known."""
        values = [getattr(row, name) for name in self.fields]
        return None if values[0] is None else self.text(*values)

    def cell(self, row: LeaderboardRow) -> str:
        """A plain figure on the page: an en dash where it is not known, nothing for a control's search."""
        words = self.words(row)
        if words is None:
            return "" if row.control and self.over == TRIALS else DASH
        return words


ACCURACY, SIZE, TIME, TRIALS, CHOSEN = (
    *("Test accuracy, %", "Size and cost of one image", "Device time", "Search trials", "Chosen configuration"),
)


def accuracy_text(mean: float | None, half: float | None, *_: object) -> str:
    """'93.44 ± 0.15', in percent; without the half where no interval is known."""
    return points(mean) + (f" ± {points(half)}" if half is not None else "")


def _milliseconds(median: float, *_: object) -> str:
    return f"{median:.3g}"


COLUMNS = (
    Column("group", "Group", ("rank_group",), "rank", in_text="Group", in_terminal="group"),
    Column(
        *("architecture", "Architecture", ("architecture",), "text"),
        in_text="Architecture",
        in_terminal="architecture",
    ),
    Column("family", "Family", ("family",), "text", shown=False),
    Column("year", "Year", ("year",), "difference", in_text="Year", in_terminal="year"),
    Column(
        *("accuracy", "Mean ± 95 %", ("test_accuracy_mean", "test_accuracy_ci95", "p_best"), "points", ACCURACY),
        first="descending",
        start=True,
        text=accuracy_text,
        in_text="Test accuracy, %",
        in_terminal="test accuracy, %",
    ),
    Column(
        *("n", "n", ("n_seeds",), "difference", ACCURACY, "descending"),
        hint="Seeds: completed finals",
        in_text="n",
        in_terminal="n",
    ),
    Column(
        *("params", "Params", ("params",), "ratio", SIZE),
        hint="Parameters",
        text=count,
        start=True,
        in_text="Parameters",
        in_terminal="params",
    ),
    Column(
        *("macs", "MACs", ("macs",), "ratio", SIZE),
        hint="Multiply-accumulates of one image's forward pass",
        text=count,
        in_text="MACs",
        in_terminal="MACs",
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
    Column(
        *("trials", "", ("trials_completed", "trials_pruned", "trials_failed"), "text"),
        text="{}/{}/{}".format,
        in_text="Trials",
        in_terminal="trials",
    ),
    Column(
        *("search_device_seconds", "Search", ("search_device_seconds",), "ratio", TIME),
        hint="Device-seconds of all search trials",
        text=duration,
        start=True,
    ),
    Column(
        *("final_device_seconds", "A final", ("final_device_seconds",), "ratio", TIME),
        hint="Device-seconds of one final, mean over seeds",
        text=duration,
        in_terminal="final",
    ),
    Column(
        *("completed", "Done", ("trials_completed",), "difference", TRIALS, "descending"),
        hint="Completed trials",
        start=True,
    ),
    Column(
        *("pruned", "Pruned", ("trials_pruned",), "difference", TRIALS, "descending"),
        hint="Trials stopped early by the search",
    ),
    Column(
        *("failed", "Failed", ("trials_failed",), "difference", TRIALS, "descending"),
        hint="Failed, diverged and out-of-memory trials",
    ),
    Column(
        *("validation", "Validation, %", ("validation_accuracy",), "points", TRIALS, "descending"),
        shown=False,
        hint="Accuracy of the chosen trial on validation images: what it was chosen by, too good by that",
        text=points,
    ),
    Column("components", "Components", ("components",), "settings", CHOSEN, start=True),
    Column("hyperparameters", "Hyperparameters", ("hyperparameters",), "settings", CHOSEN, shown=False),
    Column("remark", "", ("remark",), "text", in_terminal="remark"),
)
ON_THE_PAGE = tuple(column for column in COLUMNS if column.title)
IN_TEXT = tuple(column for column in COLUMNS if column.in_text)
IN_A_TERMINAL = tuple(column for column in COLUMNS if column.in_terminal)


def headings() -> list[tuple[str, int, int]]:
    """The page's upper heading line: (text, columns below it, cells shown of these at first)."""
    found: list[tuple[str, int, int]] = []
    for column in ON_THE_PAGE:
        cells = 2 if column.key == "accuracy" else 1  # the mean and its bar
        if found and found[-1][0] == column.over:
            text, all_, shown = found.pop()
            found.append((text, all_ + cells, shown + cells * column.shown))
        else:
            found.append((column.over, cells, cells * column.shown))
    return found


def for_script() -> list[dict[str, Any]]:
    """What the page's script knows of the columns."""
    known = ("key", "title", "fields", "compared", "over", "shown")
    return [{name: getattr(column, name) for name in known} for column in ON_THE_PAGE]
