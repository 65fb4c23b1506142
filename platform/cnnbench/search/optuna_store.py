"""Where Optuna keeps the search, for eyes and dashboards: a journal in the study's folder, or a Postgres database.

Written anew at every start; the ledger is the truth. One Optuna study per leaderboard row.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
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


class _OneWriter(BaseJournalBackend):
    """A new journal in Optuna's JournalFileBackend's format, that one process writes and others only read: no lock, no
    fsync at every report, because the next start writes it anew from the ledger, and what was just written is not read
    back from the file. Together they are most of what Optuna's own costs."""

    def __init__(self, journal: Path) -> None:
        self._file = open(journal, "xb", buffering=0)  # noqa: SIM115 (open as long as the search runs)
        self._read = 0  # how many logs Optuna is known to have read
        self._unread: list[str] = []

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        texts = [json.dumps(log, separators=(",", ":")) for log in logs]
        lines = "".join(f"{text}\n" for text in texts).encode()
        while lines:
            lines = lines[self._file.write(lines) :]
        self._unread += texts

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """The logs from that number on; its one reader asks for none before those that it has read."""
        del self._unread[: log_number_from - self._read]
        self._read = log_number_from
        return [json.loads(text) for text in self._unread]


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
