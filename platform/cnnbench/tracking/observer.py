"""Passes what happens in a study on to MLflow's tracker."""

from collections.abc import Mapping
from typing import Any

from cnnbench.ledger import EpochPoint, Ledger, TrialRecord
from cnnbench.study import Study
from cnnbench.tracking.spool import is_behind
from cnnbench.tracking.tracker import Shipped, Tracker, default_uri
from cnnbench.trial.spec import Progress

CLOSE_S = 60.0  # what is not shipped by then stays spooled


class Tracking:
    """An observer of stages. The tracker starts with the first trial, so that a study refused leaves no trace of it."""

    def __init__(self, study: Study, settings: Mapping[str, Any]) -> None:
        """settings: the study with every default filled in."""
        self._study = study
        self._settings = settings
        self._tracker: Tracker | None = None
        self._shipped: Shipped | None = None

    def _open(self) -> Tracker:
        if self._tracker is None:
            flat = {"dataset": self._study.data.dataset, **self._settings["budget"], **self._settings["search"]}
            self._tracker = Tracker(
                self._study.tracking_uri, self._study.study, self._study.folder.path, parent_params=flat
            )
            self._tracker.complete(Ledger(self._study.folder.ledger).read().records)
        return self._tracker

    def started(self, progress: Progress) -> None:
        spec = progress.spec
        params = {
            **spec.network.components,
            **spec.hyperparameters,
            "seed": spec.seed,
            "width": spec.network.width,
            "depth": spec.network.depth,
        }
        effect = spec.effect or {}
        swapped = {f"effect_{name}": str(effect[name]) for name in ("component", "value", "phase") if name in effect}
        self._open().started(
            spec.trial_id, stage=spec.stage, row=spec.row, architecture=spec.network.architecture, params=params,
            tags=swapped,
        )  # fmt: skip

    def epoch(self, progress: Progress, point: EpochPoint) -> None:
        self._open().epoch(progress.spec.trial_id, point)

    def retried(self, progress: Progress, reason: str) -> None:
        """MLflow sees the trial go on in the same run."""

    def note(self, progress: Progress, text: str) -> None:
        """For the user's eyes."""

    def finished(self, record: TrialRecord) -> None:
        self._open().finished(record)

    def close(self, *, interrupted: bool = False) -> Shipped:
        """Ships what is left, for a while; also what an earlier run left, where this one had nothing to do. Once: what
        came of it the first time comes again."""
        if self._shipped is None:
            idle = self._tracker is None and (interrupted or not self._is_behind())
            seconds = 5.0 if interrupted else CLOSE_S
            self._shipped = Shipped(0, 0) if idle else self._open().close(seconds, interrupted=interrupted)
        return self._shipped

    def _is_behind(self) -> bool:
        folder = self._study.folder
        uri = self._study.tracking_uri or default_uri(folder.storage.path)
        return is_behind(folder.spool, folder.cursor, uri)
