"""What an MLflow store alone has of studies: which there are, and the files that a study's tracker left with its parent
run."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cnnbench.errors import UserError
from cnnbench.nearest import FEW, nearest
from cnnbench.study import StudyFolder
from cnnbench.tracking.shipping import PARENT_ID, TRIAL_TAG
from cnnbench.tracking.tracker import ENVIRONMENT
from cnnbench.uri import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


class TrackedError(UserError):
    """A store that does not answer, or does not have the study; the message says which, and what to do."""


def download(uri: str, study: str, folder: Path) -> dict[str, tuple[str, str]]:
    """Copies the study's files from the store at ``uri`` into ``folder``. Returns where its runs stand there, as
    ``tracking.known_runs`` does: trial id → (experiment id, run id).

    Raises TrackedError where the store can't be reached, knows no such study, or lacks its ledger or its study.json.
    """
    shown = without_password(uri)
    with _client(uri) as client:
        parent = _parent(client, study)
        known = [] if parent else list(_studies(client))
        stored = {file.path for file in client.list_artifacts(parent.info.run_id)} if parent else set()
        for file in StudyFolder(folder).reported:
            if parent and file.name in stored:
                client.download_artifacts(parent.info.run_id, file.name, str(folder))
        runs = _runs(client, parent) if parent else {}
    if parent is None:
        there = f"it has {', '.join(known)}" if known else "it has no study of cnnbench"
        if len(known) > FEW:
            there = f"of {len(known)} that it has, the nearest are {', '.join(nearest(study, known))}"
        raise TrackedError(f"MLflow at {shown} has no study {study!r}; {there}")
    needed = (StudyFolder(folder).study_json, StudyFolder(folder).ledger)
    missing = [file.name for file in needed if file.name not in stored]
    if missing:
        raise TrackedError(
            f"MLflow at {shown} has no {' and no '.join(missing)} of study {study!r}: they are stored when a run "
            "of the study ends; run it again, or give the study's folder"
        )
    return runs


def studies(uri: str) -> dict[str, str]:
    """Name → experiment id of each study in the store at ``uri``, by name. Raises TrackedError where it can't be
    read."""
    with _client(uri) as client:
        return _studies(client)


@contextmanager
def _client(uri: str) -> Iterator["MlflowClient"]:
    """MLflow's client of the store at ``uri``; what goes wrong with it is a TrackedError."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    shown = without_password(uri)
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not database.exists():  # MLflow would make an empty one
        raise TrackedError(f"{shown}: no such file; give the MLflow database or server that the study was tracked in")
    if urlsplit(uri).scheme in ("http", "https") and not urlsplit(uri).netloc:
        raise TrackedError(f"{shown}: want an address such as http://host:5000")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # after the import, which sets levels of its own
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield MlflowClient(tracking_uri=uri)
    except Exception as error:  # MLflow, its HTTP client and its database raise what they like
        reason = " ".join(str(error).split())[:200].replace(uri, shown)
        raise TrackedError(f"MLflow at {shown} can't be read: {reason}") from None


def _studies(client: "MlflowClient") -> dict[str, str]:
    names = {each.experiment_id: each.name for each in client.search_experiments()}
    parents = client.search_runs(list(names), f"tags.`{TRIAL_TAG}` = '{PARENT_ID}'")
    return dict(sorted((names[run.info.experiment_id], run.info.experiment_id) for run in parents))


def _parent(client: "MlflowClient", study: str) -> "Run | None":
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return None
    found = client.search_runs([experiment.experiment_id], f"tags.`{TRIAL_TAG}` = '{PARENT_ID}'", max_results=1)
    return found[0] if found else None


def _runs(client: "MlflowClient", parent: "Run") -> dict[str, tuple[str, str]]:
    experiment, page = parent.info.experiment_id, None
    found: dict[str, tuple[str, str]] = {}
    while True:
        runs = client.search_runs([experiment], max_results=1000, page_token=page)
        found |= {run.data.tags[TRIAL_TAG]: (experiment, run.info.run_id) for run in runs if TRIAL_TAG in run.data.tags}
        page = runs.token
        if not page:
            return found
