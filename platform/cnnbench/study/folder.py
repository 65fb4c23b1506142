"""Every file of a study, named once: in its folder, in the storage above, and in its report.

Users rely on these names; tests/test_study_folder.py states them, too, and finds each that is written elsewhere.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cnnbench.uri import below


@dataclass(frozen=True)
class StudyFolder:
    """``<storage>/<study>``, or a published study's.

    shared_storage: a URI below which the nodes of a cluster share what they need of it; None: they share the folder.
    """

    path: Path
    shared_storage: str | None = None

    @property
    def storage(self) -> "StorageFolder":
        """The folder above, with other studies in it."""
        return StorageFolder(self.path.parent)

    @property
    def ledger(self) -> Path:
        """One line a finished training."""
        return self.path / "ledger.jsonl"

    @property
    def study_json(self) -> Path:
        """The study, with every default filled in."""
        return self.path / "study.json"

    @property
    def precision(self) -> Path:
        """Number format, memory layout and speed of each row, as they were probed."""
        return self.path / "precision.json"

    @property
    def prediction(self) -> Path:
        """What the study will cost."""
        return self.path / "prediction.json"

    @property
    def frozen(self) -> Path:
        """The configurations that the search has chosen."""
        return self.path / "frozen.json"

    @property
    def verdict(self) -> Path:
        """What came of a row's reproduction."""
        return self.path / "verdict.json"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @property
    def optuna_journal(self) -> Path:
        return self.path / "optuna.journal"

    @property
    def ray_log(self) -> Path:
        return self.path / "ray.log"

    @property
    def ray_tune(self) -> Path:
        """Ray Tune's own folder."""
        return self.path / "tune"

    @property
    def ray_train(self) -> Path:
        """Ray Train's own folder."""
        return self.path / "train"

    @property
    def spool(self) -> Path:
        """What is to go to MLflow."""
        return self.path / "tracking.spool.jsonl"

    @property
    def cursor(self) -> Path:
        """How far each MLflow store has the spool."""
        return self.path / "tracking.cursor.json"

    @property
    def mlflow_runs(self) -> Path:
        """The trainings' runs in MLflow."""
        return self.path / "tracking.runs.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, trial_id: str) -> Path:
        """Of a training that has not ended."""
        return self.checkpoints / f"{trial_id}.ckpt"

    def checkpointed(self) -> set[str]:
        """The ids of the trials that have a checkpoint in the folder itself."""
        return {file.stem for file in self.checkpoints.glob(self.checkpoint("*").name)}

    @property
    def reported(self) -> tuple[Path, ...]:
        """All that a report is made from; the last one is not always there."""
        return self.ledger, self.study_json, self.prediction

    # ------------------------------------------------------------ what is in the shared storage, and not in the folder

    @property
    def readme(self) -> Path:
        return self.path / "README"

    @property
    def ledger_copy(self) -> Path:
        """A folder with a file a record."""
        return self.path / "ledger"

    def record_copy(self, number: int) -> Path:
        """Of the ledger's line ``number``, from 0."""
        return self.ledger_copy / f"{number:06d}.json"

    @property
    def nodes(self) -> Path:
        """A folder in which each node writes a file that the others must see."""
        return self.path / "nodes"

    def inside(self, file: Path) -> str:
        """A file's name in the folder, as in ``checkpoints/lenet5-000.ckpt``."""
        return file.relative_to(self.path).as_posix()

    def shared(self, file: Path) -> str:
        """Where every node finds this file of the folder, or the folder itself: a path, or a URI."""
        if self.shared_storage is None:
            return os.path.abspath(file)
        return below(self.shared_storage, f"{self.path.name}/{self.inside(file)}".removesuffix("/."))


@dataclass(frozen=True)
class StorageFolder:
    """A study's ``storage``: studies' folders, and what they have in common."""

    path: Path

    @property
    def mlflow_database(self) -> Path:
        return self.path / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.path / "mlartifacts"

    def reproduction(self, label: str, row_id: str) -> Path:
        """The storage of the runs that reproduce a row."""
        return self.path / "reproductions" / f"{label}-{row_id}"


@dataclass(frozen=True)
class ReportFolder:
    """``<reports>/<study>``, the report of several studies, or the folder above, which lists them."""

    path: Path

    @property
    def page(self) -> Path:
        return self.path / "index.html"

    @property
    def leaderboard_csv(self) -> Path:
        return self.path / "leaderboard.csv"

    @property
    def leaderboard_json(self) -> Path:
        return self.path / "leaderboard.json"

    @property
    def effects_csv(self) -> Path:
        return self.path / "effects.csv"

    @property
    def joint_csv(self) -> Path:
        """Of several studies."""
        return self.path / "joint.csv"

    @property
    def joint_json(self) -> Path:
        """Of several studies."""
        return self.path / "joint.json"
