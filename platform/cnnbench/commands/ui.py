"""``cnnbench ui``: MLflow's own pages, and where each study stands in them."""

import os
import sys
from pathlib import Path
from urllib.parse import urlencode

import typer

from cnnbench.errors import UserError
from cnnbench.study import StorageFolder
from cnnbench.tracking.tracked import TrackedError, studies
from cnnbench.tracking.tracker import ENVIRONMENT, default_uri, ui_command

# "Model training" of MLflow's two kinds of pages, and the table of runs with the best validation accuracy first
_VIEW = {"workflowType": "machine_learning", "orderByKey": "metrics.`val_accuracy`", "orderByAsc": "false"}


def serve(tracking_uri: str | None, storage: Path, port: int) -> None:
    """Becomes the server, after it has said where to look. Raises UserError."""
    database = StorageFolder(storage).mlflow_database
    if tracking_uri is None and not database.exists():
        raise UserError(f"{database}: no such file; run a study first, or give --storage")
    try:
        command = ui_command(tracking_uri, storage, port)
    except ValueError as error:
        raise UserError(str(error)) from None
    server = f"http://127.0.0.1:{port}"
    typer.echo(f"MLflow UI on {server} (Ctrl-C ends it). Each study's trials, by validation accuracy:")
    for name, address in addresses(tracking_uri or default_uri(storage), server).items():
        typer.echo(f"  {name}: {address}")
    sys.stdout.flush()
    os.execvpe(command[0], command, {**ENVIRONMENT, **os.environ})


def addresses(uri: str, server: str) -> dict[str, str]:
    """Study → the address of its runs at ``server``, which serves the store at ``uri``; none if that can't be read,
    as the server will say itself."""
    try:
        experiments = studies(uri)
    except TrackedError:
        return {}
    return {name: f"{server}/#/experiments/{number}/runs?{urlencode(_VIEW)}" for name, number in experiments.items()}
