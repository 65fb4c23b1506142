"""Checkpoints: written aside, synced and renamed, with a checksum; the one before is kept until the next is whole."""

import contextlib
import hashlib
import io
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cnnbench.whole_file import set_aside, sync_folder, write_aside

MAGIC = b"cnnbench-checkpoint 1 "
log = logging.getLogger(__name__)


class BadCheckpoint(Exception):
    """A file whose bytes are not those of a checkpoint that was written whole."""


@dataclass
class CheckpointFile:
    """The checkpoint of one training at ``path``, and the one before it at ``path`` + ".previous".

    every_s: seconds between two checkpoints, so that short trainings don't pay for any; 0 writes one each epoch.
    """

    path: Path
    every_s: float = 60.0
    notes: list[str] = field(default_factory=list)  # what its user should hear of, such as a damaged file
    unsaved: str | None = None  # why the last one could not be written

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        self.previous = self.path.with_name(self.path.name + ".previous")
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """True once every_s seconds have passed since the last one, or since this object was made."""
        return time.monotonic() - self._last >= self.every_s

    def save(self, state: dict[str, Any], fingerprint: str, epoch: int = 0) -> None:
        """Writes ``state`` (tensors, numbers, texts, lists, dicts), which is that after ``epoch`` epochs. Raises
        WriteError, and leaves no half file."""
        aside = write_aside(self.path, packed(state, fingerprint, epoch))
        # A host that was cut off may go on with the same training beside us, and be faster.
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path, self.previous)
        os.replace(aside, self.path)
        sync_folder(self.path.parent)
        self._last = time.monotonic()

    def load(self, fingerprint: str) -> dict[str, Any] | None:
        """The newest state that is whole and of this ``fingerprint``, on the CPU; None if there is none.

        A damaged file is set aside as ``*.damaged``, with a warning in the log and in ``notes``. One of another
        fingerprint belongs to another configuration: it is passed over with a warning.
        """
        for file in (self.path, self.previous):
            if not file.exists():
                continue
            try:
                content = unpacked(file.read_bytes())
            except BadCheckpoint as error:
                earlier = self.previous.name if file == self.path and self.previous.exists() else "no earlier state"
                note = f"quarantined {file.name} as {set_aside(file).name} ({error}), using {earlier}"
                log.warning("%s: %s", file, note)
                self.notes.append(note)
                continue
            if content["fingerprint"] == fingerprint:
                state: dict[str, Any] = content["state"]
                return state
            log.warning("%s: belongs to another configuration; not used", file)
        return None

    def epoch(self) -> int:
        """How many epochs the newest file says it has; 0 if there is none. Reads its first line alone."""
        for file in (self.path, self.previous):
            try:
                with open(file, "rb") as opened:
                    epoch = epoch_of(opened.readline(200))
            except OSError:
                continue
            if epoch:  # else it is damaged
                return epoch
        return 0

    def remove(self) -> None:
        """Deletes both files, for a training that is recorded as finished."""
        for file in (self.path, self.previous):
            file.unlink(missing_ok=True)


def packed(state: dict[str, Any], fingerprint: str, epoch: int) -> bytes:
    """A checkpoint's bytes: a line with their checksum and epoch, then what torch.save makes of it."""
    buffer = io.BytesIO()
    torch.save({"fingerprint": fingerprint, "state": state}, buffer)
    body = buffer.getvalue()
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b" %d\n" % epoch + body


def epoch_of(line: bytes) -> int:
    """The epochs that a checkpoint's first line says it has; 0 if it doesn't."""
    try:
        return int(line.split()[3])
    except (ValueError, IndexError):
        return 0


def unpacked(content: bytes) -> dict[str, Any]:
    """``fingerprint`` and ``state`` of a checkpoint's bytes. Raises BadCheckpoint."""
    header, _, body = content.partition(b"\n")
    if not header.startswith(MAGIC) or header.split()[2:3] != [hashlib.sha256(body).hexdigest().encode()]:
        raise BadCheckpoint(f"checksum differs ({len(content)} bytes)")
    try:
        loaded: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)  # never runs code
    except Exception as error:  # a right checksum over something that save() did not write
        raise BadCheckpoint(f"not a checkpoint ({type(error).__name__})") from error
    return loaded
