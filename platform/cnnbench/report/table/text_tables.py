"""The leaderboard for a README or a paper: a Markdown table, or LaTeX with booktabs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.report.formats import DASH, MINUS, NARROW_SPACE, visible
from cnnbench.report.table.columns import IN_TEXT, Column, LeaderboardRow

FORMATS = ("md", "latex", "csv", "json", "html")
NOTE = (
    "Test accuracy in percent: mean over n seeds ± half of its 95 % interval. Rows of one group are not significantly "
    "different from its best row (paired max-T sign-flip test, family-wise 5 %)."
)
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\symbol{34}", "`": r"\symbol{96}", "'": r"\symbol{39}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{character: f"{{{character}}}" for character in "[]*"},  # \\[ and \\* mean something
}  # fmt: skip
_LATEX_OWN = {"±": r"$\pm$", NARROW_SPACE: r"\,", DASH: "--", MINUS: "$-$", "%": r"\%"}


class Name(str):
    """A text from outside, such as an architecture's or a data set's name."""


@dataclass(frozen=True)
class TextTable:
    """Cells as a reader sees them; a ``Name`` is a text from outside. left: columns flush left."""

    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    left: frozenset[int]
    note: str


def leaderboard_table(board: Sequence[LeaderboardRow]) -> TextTable:
    """Of one study, its rows in their order."""
    lines = tuple(tuple(_shown(column, row) for column in IN_TEXT) for row in board)
    left = frozenset(place for place, column in enumerate(IN_TEXT) if column.key == "architecture")
    return TextTable(tuple(column.in_text for column in IN_TEXT), lines, left, NOTE)


def _shown(column: Column, row: LeaderboardRow) -> str:
    words = column.words(row)
    if words is None:
        return DASH
    return Name(words) if column.key == "architecture" else words


def markdown(table: TextTable) -> str:
    """A table of GitHub's Markdown; names stand as code, so that nothing in them is read as markup."""
    rule = [":---" if place in table.left else "---:" for place in range(len(table.head))]
    rows = [[_markdown(cell) for cell in line] for line in (table.head, *table.lines)]
    written = [rows[0], rule, *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in written) + f"\n{table.note}\n"


def latex(table: TextTable) -> str:
    """A tabular that needs the package booktabs. Names of other scripts than Latin need LuaLaTeX or XeLaTeX."""
    columns = "".join("l" if place in table.left else "r" for place in range(len(table.head)))
    head, *lines = [" & ".join(_latex(cell) for cell in line) + r" \\" for line in (table.head, *table.lines)]
    note = "".join(_LATEX_OWN.get(character, character) for character in table.note)
    return "\n".join(
        [
            r"% \usepackage{booktabs}", f"\\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *lines,
            r"\bottomrule", r"\end{tabular}", f"% {note}", "",
        ]
    )  # fmt: skip


def _markdown(cell: str) -> str:
    if not isinstance(cell, Name):
        return cell
    text = visible(cell).replace("|", r"\|") or " "  # a table's own rule: also inside code
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{space}{text}{space}{fence}"


def _latex(cell: str) -> str:
    if not isinstance(cell, Name):
        return "".join(_LATEX_OWN.get(character, character) for character in cell)
    shown = visible(cell).replace("\ufffd", "?")
    return "".join(_LATEX.get(character, character) for character in shown).replace("--", "-{}-")  # no dash
