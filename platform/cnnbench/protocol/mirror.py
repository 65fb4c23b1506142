"""A copy of a study's ledger where every node reaches it: a head that is lost takes nothing finished with it, and the
same command on a new one goes on.

One object a record, in the ledger's order. The ledger on the driver's own disk stays the truth while it is there.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from cnnbench.ledger import EpochPoint, TrialRecord
from cnnbench.storage.remote import Place, RemoteError, below
from cnnbench.study import Study, StudyError
from cnnbench.trial.spec import Progress
from cnnbench.whole_file import write_whole

RECORDS = "ledger"
BESIDE = ("study.json", "precision.json", "frozen.json", "prediction.json")  # what a continued study reads


class Mirror:
    """An observer of stages: what is finished is copied. A place that does not answer holds up nothing; what it did not
    take goes with the next record."""

    def __init__(self, place: Place, folder: Path, say: Callable[[str], None]) -> None:
        """Brings ledger and mirror to the same length. Raises StudyError if they are of two different runs."""
        self._place, self._folder, self._say = place, folder, say
        self._waiting: list[tuple[int, bytes]] = []
        self._copied: dict[str, bytes] = {}
        self._warned = False
        self._count = self._reconcile()

    def _reconcile(self) -> int:
        self._place.write("README", b"A copy of a cnnbench study: its ledger, and its trials' checkpoints.\n")
        ledger = self._folder / "ledger.jsonl"
        mine = ledger.read_bytes().splitlines() if ledger.exists() else []
        theirs = self._place.names(RECORDS)
        common = min(len(mine), len(theirs))
        if common and self._place.read(f"{RECORDS}/{theirs[common - 1]}") != mine[common - 1]:
            problem = f"shared_storage: {self._place.uri} holds another run of this study than {self._folder}"
            raise StudyError(self._folder.name, [f"{problem}; give the study another name, or remove one of them"])
        if len(theirs) > len(mine):
            self._fetch(ledger, mine, theirs[len(mine) :])
        self._waiting = list(enumerate(mine))[len(theirs) :]
        self._copy()
        return max(len(mine), len(theirs))

    def _fetch(self, ledger: Path, mine: Sequence[bytes], names: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in BESIDE:
            content = self._place.read(name)
            if content is not None and not (self._folder / name).exists():
                write_whole(self._folder / name, content.decode())
        fetched = [self._place.read(f"{RECORDS}/{name}") or b"" for name in names]
        write_whole(ledger, b"".join(line + b"\n" for line in (*mine, *fetched)).decode())
        self._say(f"{len(names)} records of {self._place.uri} are fetched: an earlier run's, lost here")

    def finished(self, record: TrialRecord) -> None:
        self._waiting.append((self._count, record.model_dump_json().encode()))
        self._count += 1
        self._copy()

    def _copy(self) -> None:
        try:
            for name in BESIDE:
                file = self._folder / name
                content = file.read_bytes() if file.exists() else None
                if content is not None and self._copied.get(name) != content:
                    self._place.write(name, content)
                    self._copied[name] = content
            while self._waiting:
                number, line = self._waiting[0]
                self._place.write(f"{RECORDS}/{number:06d}.json", line)
                self._waiting.pop(0)
            self._warned = False
        except RemoteError as error:
            if not self._warned:
                self._say(f"shared_storage: {error}; it is tried again with each trial")
            self._warned = True

    def started(self, progress: Progress) -> None: ...

    def epoch(self, progress: Progress, point: EpochPoint) -> None: ...

    def retried(self, progress: Progress, reason: str) -> None: ...

    def note(self, progress: Progress, text: str) -> None: ...


def mirrors(study: Study, say: Callable[[str], None]) -> list[Mirror]:
    """The study's mirror, if it has one; what a lost head had recorded is fetched from it. Raises StudyError."""
    if study.shared_storage is None:
        return []
    try:
        return [Mirror(Place(shared_place(study, "")), study.folder, say)]
    except RemoteError as error:
        remedy = "check the address, this machine's rights and its network"
        raise StudyError(study.study, [f"shared_storage: {error}; {remedy}"]) from None


def shared_place(study: Study, name: str) -> str:
    """Where a file of the study lies that every node needs: a path, or a URI."""
    if study.shared_storage is not None:
        return below(study.shared_storage, f"{study.study}/{name}")
    return os.path.abspath(study.folder / name)
