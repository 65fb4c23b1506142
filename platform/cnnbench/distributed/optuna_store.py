"""Where Optuna keeps the search, for eyes and dashboards: a journal in the study's folder, or a Postgres database.

Written anew at every start; the ledger is the truth. One Optuna study per leaderboard row.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from cnnbench.study import StudyError
from cnnbench.uri import blackened, without_password


def new_studies(
    uri: str | None, journal: Path, rows: Sequence[str], pruner: optuna.pruners.BasePruner
) -> dict[str, optuna.Study]:
    """An empty Optuna study for each row. uri: a Postgres database, whose studies are called cnnbench/STUDY/ROW; None:
    the file ``journal``, in a folder of the study's name. Raises StudyError if the database can't be used."""
    if uri is None:
        storage: optuna.storages.BaseStorage = _new_journal(journal)
        prefix = ""
    else:
        prefix = f"cnnbench/{journal.parent.name}/"
        storage = _opened(uri)
        for study in storage.get_all_studies():
            if study.study_name.startswith(prefix):  # of an earlier start
                storage.delete_study(study._study_id)
    return {
        row: optuna.create_study(study_name=f"{prefix}{row}", storage=storage, direction="maximize", pruner=pruner)
        for row in rows
    }


class _OneWriter(JournalFileBackend):
    """A journal that one process writes and others only read: no lock, and no fsync at every report, because the next
    start writes it anew from the ledger. Both together are most of what Optuna's own costs."""

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._file = open(journal, "ab", buffering=0)  # noqa: SIM115 (open as long as the search runs)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        while lines:
            lines = lines[self._file.write(lines) :]


def _new_journal(journal: Path) -> optuna.storages.BaseStorage:
    journal.parent.mkdir(parents=True, exist_ok=True)
    for stale in journal.parent.glob(f"{journal.name}*"):  # the journal and a killed driver's lock
        stale.unlink()
    return JournalStorage(_OneWriter(journal))


def need(uri: str) -> None:
    """Raises StudyError if the database can't be used: to be known before a study starts."""
    _opened(uri).remove_session()


def _opened(uri: str) -> RDBStorage:
    try:
        return RDBStorage(uri, engine_kwargs={"pool_pre_ping": True})
    except (SQLAlchemyError, ImportError, optuna.exceptions.OptunaError) as error:
        reason = blackened(" ".join(str(error).split()), uri)
        raise StudyError("search.storage", [f"{without_password(uri)}: {reason}"]) from None
