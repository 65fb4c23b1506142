"""The leaderboard in a terminal: a rich table, or plain aligned text."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cnnbench.report.effects.effects_section import table_lines
from cnnbench.report.formats import DASH, NARROW_SPACE, visible
from cnnbench.report.page.leaderboard_page import Leaderboard
from cnnbench.report.table.columns import IN_A_TERMINAL, Column, LeaderboardRow

_LONGEST = {"architecture": 40, "remark": 60}  # characters of the columns that hold words, which stand flush left
_EMPTY = ("group", "year", "trials")  # nothing where others have a dash


def terminal_table(leaderboard: Leaderboard) -> Table:
    """For rich's console; names are plain text, never markup. A line parts rank groups."""
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    for column in IN_A_TERMINAL:
        left = column.key in _LONGEST
        table.add_column(column.in_terminal, justify="left" if left else "right", no_wrap=column.key != "remark")
    lines = _lines(leaderboard.rows)
    for number, line in enumerate(lines):
        style = "bold" if line[0] == "1" else "dim" if not line[0] else ""
        ends_group = number + 1 < len(lines) and lines[number + 1][0] != line[0]
        table.add_row(*(Text(cell, style=style) for cell in line), end_section=ends_group)
    return table


def plain_table(leaderboard: Leaderboard) -> str:
    """The same as aligned text without any control sequence, for a file or a pipe."""
    head = [column.in_terminal for column in IN_A_TERMINAL]
    return _aligned([head, *_lines(leaderboard.rows)], [column.key in _LONGEST for column in IN_A_TERMINAL])


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


def _lines(board: Sequence[LeaderboardRow]) -> list[list[str]]:
    return [[_shown(column, row) for column in IN_A_TERMINAL] for row in board]


def _shown(column: Column, row: LeaderboardRow) -> str:
    words = column.words(row)
    if words is None:
        return "" if column.key in _EMPTY else DASH
    if column.key in _LONGEST:
        return visible(words, _LONGEST[column.key])
    return words.replace(NARROW_SPACE, " ")  # some terminals show a narrow space as a box
