"""Where a trial's checkpoint lies: a file on a disk that all nodes share, or an object behind a URI."""

import logging
import time
from pathlib import Path
from typing import Any

from cnnbench.storage.remote import RemoteError, RemoteFolder
from cnnbench.training.checkpoints import BadCheckpoint, CheckpointFile, epoch_of, packed, unpacked
from cnnbench.uri import parent_and_name
from cnnbench.whole_file import WriteError

log = logging.getLogger(__name__)


class RemoteCheckpoint(CheckpointFile):
    """A checkpoint behind a URI. A store of objects replaces them whole, so that there is no earlier one beside."""

    def __init__(self, uri: str, every_s: float) -> None:
        folder, self._name = parent_and_name(uri)
        self._place = RemoteFolder(folder)
        self.every_s = every_s
        self.notes: list[str] = []
        self.unsaved: str | None = None
        self._last = time.monotonic()

    def save(self, state: dict[str, Any], fingerprint: str, epoch: int = 0) -> None:
        try:
            self._place.write(self._name, packed(state, fingerprint, epoch))
        except RemoteError as error:
            raise WriteError(str(error)) from error
        self._last = time.monotonic()

    def load(self, fingerprint: str) -> dict[str, Any] | None:
        content = self._place.read(self._name)
        if content is None:
            return None
        try:
            found = unpacked(content)
        except BadCheckpoint as error:
            self.notes.append(f"{self._name}: {error}; beginning again")
            return None
        if found["fingerprint"] != fingerprint:
            log.warning("%s: belongs to another configuration; not used", self._name)
            return None
        state: dict[str, Any] = found["state"]
        return state

    def epoch(self) -> int:
        try:
            return epoch_of((self._place.read(self._name) or b"").partition(b"\n")[0])
        except RemoteError:
            return 0

    def remove(self) -> None:
        try:
            self._place.remove(self._name)
        except RemoteError as error:  # it costs a little room, and its trial is recorded
            log.warning("%s", error)


def checkpoint_at(place: str, every_s: float = 60.0) -> CheckpointFile:
    """place: a path, or a URI."""
    return RemoteCheckpoint(place, every_s) if "://" in place else CheckpointFile(Path(place), every_s)
