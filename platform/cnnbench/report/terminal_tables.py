"""The leaderboard in a terminal: a rich table, or plain aligned text."""

from collections.abc import Sequence

import pandas as pd
from rich.table import Table
from rich.text import Text

from cnnbench.report.effects.effects_section import table_lines
from cnnbench.report.formats import count, duration, points, visible
from cnnbench.report.page.leaderboard_page import Leaderboard
from cnnbench.report.table.leaderboard import as_json_rows

_COLUMNS = ("group", "architecture", "year", "test accuracy, %", "n", "params", "MACs", "trials", "final", "remark")
_LEFT = ("architecture", "remark")
_LONGEST_NAME, _LONGEST_REMARK = 40, 60


def terminal_table(leaderboard: Leaderboard) -> Table:
    """For rich's console; names are plain text, never markup. A line parts rank groups."""
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=name != "remark")
    lines = _lines(leaderboard.table)
    for number, line in enumerate(lines):
        style = "bold" if line[0] == "1" else "dim" if not line[0] else ""
        ends_group = number + 1 < len(lines) and lines[number + 1][0] != line[0]
        table.add_row(*(Text(cell, style=style) for cell in line), end_section=ends_group)
    return table


def plain_table(leaderboard: Leaderboard) -> str:
    """The same as aligned text without any control sequence, for a file or a pipe."""
    return _aligned([_COLUMNS, *_lines(leaderboard.table)], [name in _LEFT for name in _COLUMNS])


def effects_text(leaderboard: Leaderboard) -> str:
    """The effects of components as aligned text; "" where none was measured."""
    if leaderboard.effects.empty:
        return ""
    head = ("component", "value", "row", "instead of", "Δ points", "±", "n", "p", "rate", "remark")
    return _aligned([head, *table_lines(leaderboard.effects)], [not 4 <= place <= 8 for place in range(len(head))])


def _aligned(lines: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    widths = [max(len(line[place]) for line in lines) for place in range(len(left))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if flush else cell.rjust(width)
            for cell, width, flush in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    )


def _lines(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            str(row["rank_group"] or ""),
            visible(row["architecture"], _LONGEST_NAME),
            str(row["year"] or ""),
            _accuracy(row["test_accuracy_mean"], row["test_accuracy_ci95"]),
            str(row["n_seeds"]),
            _plain(count(row["params"])),
            _plain(count(row["macs"])),
            "" if row["control"] else f"{row['trials_completed']}/{row['trials_pruned']}/{row['trials_failed']}",
            _plain(duration(row["final_device_seconds"])),
            visible(row["remark"], _LONGEST_REMARK),
        )
        for row in as_json_rows(table)
    ]


def _accuracy(mean: float | None, half: float | None) -> str:
    return points(mean) + (f" ± {points(half)}" if half is not None else "")


def _plain(text: str) -> str:
    return text.replace("\u202f", " ")  # some terminals show a narrow space as a box
