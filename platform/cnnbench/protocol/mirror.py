"""A copy of a study's ledger where every node reaches it: a head that is lost takes nothing finished with it, and the
same command on a new one goes on.

One object a record, in the ledger's order. The ledger on the driver's own disk stays the truth while it is there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from cnnbench.ledger import EpochPoint, TrialRecord
from cnnbench.storage.remote import RemoteError, RemoteFolder
from cnnbench.study import Study, StudyError, StudyFolder
from cnnbench.trial.spec import Progress
from cnnbench.whole_file import write_whole


class Mirror:
    """An observer of stages: what is finished is copied. A place that does not answer holds up nothing; what it did not
    take goes with the next record."""

    def __init__(self, place: RemoteFolder, folder: StudyFolder, say: Callable[[str], None]) -> None:
        """Brings ledger and mirror to the same length. Raises StudyError if they are of two different runs."""
        self._place, self._folder, self._say = place, folder, say
        # what a continued study reads
        self._beside = (folder.study_json, folder.precision, folder.frozen, folder.prediction)
        self._waiting: list[tuple[int, bytes]] = []
        self._copied: dict[str, bytes] = {}
        self._warned = False
        self._count = self._reconcile()

    def _reconcile(self) -> int:
        folder, ledger = self._folder, self._folder.ledger
        readme = b"A copy of a cnnbench study: its ledger, and its trials' checkpoints.\n"
        self._place.write(folder.readme.name, readme)
        mine = ledger.read_bytes().splitlines() if ledger.exists() else []
        theirs = self._place.names(folder.inside(folder.ledger_copy))
        common = min(len(mine), len(theirs))
        if common and self._read_record(theirs[common - 1]) != mine[common - 1]:
            problem = f"shared_storage: {self._place.uri} holds another run of this study than {folder.path}"
            raise StudyError(folder.path.name, [f"{problem}; give the study another name, or remove one of them"])
        if len(theirs) > len(mine):
            self._fetch(ledger, mine, theirs[len(mine) :])
        self._waiting = list(enumerate(mine))[len(theirs) :]
        self._copy()
        return max(len(mine), len(theirs))

    def _fetch(self, ledger: Path, mine: Sequence[bytes], names: Sequence[str]) -> None:
        self._folder.path.mkdir(parents=True, exist_ok=True)
        for file in self._beside:
            content = self._place.read(file.name)
            if content is not None and not file.exists():
                write_whole(file, content.decode())
        fetched = [self._read_record(name) or b"" for name in names]
        write_whole(ledger, b"".join(line + b"\n" for line in (*mine, *fetched)).decode())
        self._say(f"{len(names)} records of {self._place.uri} are fetched: an earlier run's, lost here")

    def _read_record(self, name: str) -> bytes | None:
        return self._place.read(self._folder.inside(self._folder.ledger_copy / name))

    def finished(self, record: TrialRecord) -> None:
        self._waiting.append((self._count, record.model_dump_json().encode()))
        self._count += 1
        self._copy()

    def _copy(self) -> None:
        try:
            for file in self._beside:
                content = file.read_bytes() if file.exists() else None
                if content is not None and self._copied.get(file.name) != content:
                    self._place.write(file.name, content)
                    self._copied[file.name] = content
            while self._waiting:
                number, line = self._waiting[0]
                self._place.write(self._folder.inside(self._folder.record_copy(number)), line)
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
        return [Mirror(RemoteFolder(study.folder.shared(study.folder.path)), study.folder, say)]
    except RemoteError as error:
        remedy = "check the address, this machine's rights and its network"
        raise StudyError(study.study, [f"shared_storage: {error}; {remedy}"]) from None
