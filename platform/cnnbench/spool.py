"""An append-only file of events, and a cursor that says how far each of its readers has it."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]

_CHUNK_BYTES = 1 << 20


class Spool:
    """One JSON line an event. ``append`` is not thread-safe; ``read`` may run beside it, on another thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = open(path, "ab")  # noqa: SIM115 (open as long as the study runs)
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)  # a crash may have left half a line

    def append(self, event: Event) -> None:
        """Returns once the operating system has the event: it survives this process, though not a power cut."""
        self._file.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def read(self, offset: int) -> tuple[list[Event], int]:
        """The next events, about a megabyte of them, and the offset of the first one after them."""
        with open(self._path, "rb") as file:
            file.seek(offset)
            lines = file.readlines(_CHUNK_BYTES)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # just being written
        return [json.loads(line) for line in lines], offset + sum(map(len, lines))

    def count(self, offset: int) -> int:
        """How many events there are from ``offset`` on."""
        with open(self._path, "rb") as file:
            file.seek(offset)
            return file.read().count(b"\n")

    def close(self) -> None:
        self._file.close()


@dataclass
class OpenRun:
    """A trial that has not ended: its run's id in the store, and the last epoch that the run has."""

    run_id: str
    epoch: int = 0


@dataclass
class Cursor:
    """How far one store has the spool, in bytes, and its open trials. The file keeps one for each store."""

    path: Path
    store: str
    offset: int = 0
    open: dict[str, OpenRun] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, uri: str) -> "Cursor":
        """The cursor of the store at ``uri``; a new one if the file has none."""
        store = hashlib.sha256(uri.encode()).hexdigest()[:16]  # a URI may hold a password
        saved = _read(path).get(store, {"offset": 0, "open": {}})
        return cls(path, store, saved["offset"], {trial: OpenRun(**run) for trial, run in saved["open"].items()})

    def save(self) -> None:
        """Written aside and renamed, so that a crash leaves the old one or the new one."""
        stores = _read(self.path)
        stores[self.store] = {"offset": self.offset, "open": {trial: asdict(run) for trial, run in self.open.items()}}
        aside = self.path.with_suffix(".tmp")
        aside.write_text(json.dumps(stores))
        aside.replace(self.path)


def _read(path: Path) -> dict[str, Any]:
    """Nothing, if the file is missing or damaged: shipping again does no harm."""
    try:
        read = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
