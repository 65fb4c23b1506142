"""Figures that others published, beside ours: read from published.csv, never recomputed, always marked as theirs."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from cnnbench.report.table.columns import LeaderboardRow


@dataclass(frozen=True)
class Published:
    """A test accuracy in [0, 1] as its source gives it (100 % less the error, where that has the error); recipe: what
    it says of the training, in short; url: where it stands, "" if that is in no public place."""

    architecture: str
    dataset: str
    accuracy: float
    recipe: str
    source: str
    url: str


@dataclass(frozen=True)
class Beside:
    """One of our rows, and a published figure of its architecture on its data set. options: where it departs from the
    architecture's own size."""

    row: str
    options: str
    mean: float
    half: float | None
    theirs: Published

    @property
    def difference(self) -> float:
        return self.mean - self.theirs.accuracy


@cache
def published_figures() -> tuple[Published, ...]:
    text = resources.files("cnnbench.report.table").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(
            architecture=line["architecture"], dataset=line["dataset"], accuracy=float(line["accuracy"]) / 100,
            recipe=line["recipe"], source=line["source"], url=line["url"],
        )
        for line in csv.DictReader(text.splitlines(), strict=True)
    )  # fmt: skip


def beside(board: Sequence[LeaderboardRow], dataset: str) -> list[Beside]:
    """Every published figure on this data set for a row that has a test accuracy, in the order of the rows."""
    return [
        Beside(line.architecture, _options(line), line.test_accuracy_mean, line.test_accuracy_ci95, figure)
        for line in board
        if not line.control and line.test_accuracy_mean is not None
        for figure in published_figures()
        if (figure.architecture, figure.dataset) == (line.model, dataset)
    ]


def _options(line: LeaderboardRow) -> str:
    sizes = {name: line.options.get(name) for name in ("width", "depth")}
    return ", ".join(f"{name} {size:g}" for name, size in sizes.items() if size not in (None, 1.0))
