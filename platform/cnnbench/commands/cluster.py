"""``cnnbench cluster``: what is wrong with a file before Ray is given it."""

from pathlib import Path
from typing import Annotated

import typer

cluster = typer.Typer(no_args_is_help=True, help="Ray clusters.")


@cluster.callback()
def _cluster() -> None: ...  # so that a single command keeps its name


@cluster.command("check")
def cluster_check(
    file: Annotated[Path, typer.Argument(help="A Ray cluster launcher file, such as cluster.yaml.")],
) -> None:
    """What is wrong, unsafe or unrepeatable in a launcher file, with line and remedy. Exit code 1: something is."""
    from cnnbench.cluster_check import check

    found = check(file)
    for finding in found:
        typer.echo(f"{file}, {finding}")
    typer.echo(f"{file}: {len(found) or 'no'} finding{'s' * (len(found) != 1)}", err=bool(found))
    raise typer.Exit(1 if found else 0)
