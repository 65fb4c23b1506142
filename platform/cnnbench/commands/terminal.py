"""What verbs print: tables and leaderboards, as a terminal or a file can show them."""

from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from cnnbench.report import Leaderboard, plain_table, terminal_table
from cnnbench.report.several.joint import Joint, joint_table
from cnnbench.report.table.text_tables import markdown


def print_report(made: Leaderboard | tuple[Joint, Path]) -> None:
    """The leaderboard of one study, or what several say together, and where the page is."""
    console = Console()
    console.print()
    if not isinstance(made, Leaderboard):
        joint, page = made
        typer.echo(markdown(joint_table(joint)))
        typer.echo(f"{joint.sentence}\n\nLeaderboard: {page}")
        return
    if console.is_terminal:
        console.print(terminal_table(made))
    else:
        typer.echo(plain_table(made))
    typer.echo(f"\n{made.sentence}")
    typer.echo(f"\nLeaderboard: {made.page}")


def print_table(table: Any) -> None:
    """A Rich table; as wide as it needs to be where the output is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
