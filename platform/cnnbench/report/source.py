"""What a report is made from: a study's folder, or a published one, with study.json and ledger.jsonl."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnbench.errors import UserError
from cnnbench.ledger import Ledger, TrialRecord
from cnnbench.report.formats import without_secrets
from cnnbench.study import StudyFolder


class SourceError(UserError):
    """A folder that no report can be made from; the message names the file and the remedy."""


@dataclass(frozen=True)
class MLflowRun:
    """A training's run in MLflow."""

    experiment: str
    id: str

    def link(self, tracking_uri: str | None) -> str | None:
        """Where it stands on an MLflow server; None for a store without one."""
        if not tracking_uri or not tracking_uri.startswith(("http://", "https://")):
            return None
        return f"{without_secrets(tracking_uri).rstrip('/')}/#/experiments/{self.experiment}/runs/{self.id}"


@dataclass(frozen=True)
class Source:
    """study: the resolved study as plain JSON values. prediction: of its price, if it was written. warnings: what had
    to be dropped from the ledger. runs: trial id → its run in MLflow, where that is known."""

    study: Mapping[str, Any]
    records: tuple[TrialRecord, ...]
    prediction: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    runs: Mapping[str, MLflowRun] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.study.get("study") or self.study.get("name") or "study")

    @property
    def tracking_uri(self) -> str | None:
        return self.study.get("tracking_uri")


def read_source(folder: Path) -> Source:
    """Raises SourceError where study.json is missing or damaged, LedgerError where the ledger can't be read."""
    files = StudyFolder(folder)
    if not files.study_json.exists():
        raise SourceError(
            f"{files.study_json}: no such file; give the folder of a study that was run, such as results/digits, "
            f"or a published one with {files.study_json.name} and {files.ledger.name}"
        )
    reading = Ledger(files.ledger).read()
    prediction = _object(files.prediction) if files.prediction.exists() else None
    return Source(_object(files.study_json), reading.records, prediction, reading.warnings)


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: not JSON ({error}); restore the file, or run the study again") from None
    if not isinstance(found, dict):
        raise SourceError(f"{path}: want a JSON object, got {type(found).__name__}; restore the file")
    return found
