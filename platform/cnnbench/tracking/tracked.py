"""A study read back from an MLflow store alone: the files that its tracker left with the parent run."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cnnbench.errors import UserError
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
        client = MlflowClient(tracking_uri=uri)
        parent, known = _parent(client, study)
        stored = {file.path for file in client.list_artifacts(parent.info.run_id)} if parent else set()
        for file in StudyFolder(folder).reported:
            if parent and file.name in stored:
                client.download_artifacts(parent.info.run_id, file.name, str(folder))
        runs = _runs(client, parent) if parent else {}
    except Exception as error:  # MLflow, its HTTP client and its database raise what they like
        reason = " ".join(str(error).split())[:200].replace(uri, shown)
        raise TrackedError(f"MLflow at {shown} can't be read: {reason}") from None
    if parent is None:
        there = f"it has {', '.join(known[:10])}" if known else "it has no study of cnnbench"
        raise TrackedError(f"MLflow at {shown} has no study {study!r}; {there}")
    needed = (StudyFolder(folder).study_json, StudyFolder(folder).ledger)
    missing = [file.name for file in needed if file.name not in stored]
    if missing:
        raise TrackedError(
            f"MLflow at {shown} has no {' and no '.join(missing)} of study {study!r}: they are stored when a run "
            "of the study ends; run it again, or give the study's folder"
        )
    return runs


def _parent(client: "MlflowClient", study: str) -> tuple["Run | None", list[str]]:
    """The study's parent run; where there is none, the names of the studies that are there."""
    experiment = client.get_experiment_by_name(study)
    if experiment is not None:
        found = client.search_runs([experiment.experiment_id], f"tags.`{TRIAL_TAG}` = '{PARENT_ID}'", max_results=1)
        if found:
            return found[0], []
    return None, sorted(each.name for each in client.search_experiments(max_results=100) if each.name != "Default")


def _runs(client: "MlflowClient", parent: "Run") -> dict[str, tuple[str, str]]:
    experiment, page = parent.info.experiment_id, None
    found: dict[str, tuple[str, str]] = {}
    while True:
        runs = client.search_runs([experiment], max_results=1000, page_token=page)
        found |= {run.data.tags[TRIAL_TAG]: (experiment, run.info.run_id) for run in runs if TRIAL_TAG in run.data.tags}
        page = runs.token
        if not page:
            return found
