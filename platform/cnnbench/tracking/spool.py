"""An append-only file of events, and a cursor that says how far each of its readers has it."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]

# A server may be slow, and soon gone again: it must be little that it takes at once, or a backlog never gets shorter.
_CHUNK_BYTES = 1 << 15


class SpoolFile:
    """One JSON line an event. It may be read while another process appends to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, offset: int) -> tuple[list[Event | None], int]:
        """The next events, some dozens of them, and the offset of the first one after them. None: a line that is
        damaged."""
        with open(self._path, "rb") as file:
            file.seek(offset)
            lines = file.readlines(_CHUNK_BYTES)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # just being written
        return [_event(line) for line in lines], offset + sum(map(len, lines))

    def finished(self) -> set[str]:
        """The trials whose end was spooled."""
        with open(self._path, "rb") as file:
            events = [_event(line) for line in file if b'"event":"finished"' in line]
        return {event["trial"] for event in events if event}

    def size(self) -> int:
        """In bytes."""
        return self._path.stat().st_size

    def count(self, offset: int) -> int:
        """How many events there are from ``offset`` on."""
        with open(self._path, "rb") as file:
            file.seek(offset)
            return file.read().count(b"\n")


class Spool(SpoolFile):
    """The one that is appended to. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (open as long as the study runs)
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)  # a crash may have left half a line

    def append(self, event: Event) -> None:
        """Returns once the operating system has the event: it survives this process, though not a power cut. Raises
        OSError where it has no room for it, and leaves no half line."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        size = os.lseek(self._file.fileno(), 0, os.SEEK_END)
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            os.truncate(self._path, size)
            raise

    def close(self) -> None:
        self._file.close()


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and {"event", "trial", "time_ms"} <= event.keys() else None


def unfinished(spool: Path) -> dict[str, str]:
    """Trials that were begun and have no end in the spool: their stages, by their ids."""
    begun: dict[str, str] = {}
    if spool.exists():
        with open(spool, "rb") as file:
            for event in (_event(line) for line in file if b'"event":"epoch"' not in line):
                if event and event["event"] == "started":
                    begun[event["trial"]] = event.get("tags", {}).get("stage", "")
                elif event:
                    begun.pop(event["trial"], None)
    return begun


def is_behind(spool: Path, cursor: Path, uri: str) -> bool:
    """True if the store at ``uri`` has not all of the spool."""
    return spool.exists() and Cursor.load(cursor, uri).offset != spool.stat().st_size


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
        store = store_key(uri)
        saved = _read(path).get(store, {"offset": 0, "open": {}})
        return cls(path, store, saved["offset"], {trial: OpenRun(**run) for trial, run in saved["open"].items()})

    def save(self) -> None:
        """Written aside and renamed, so that a crash leaves the old one or the new one."""
        stores = _read(self.path)
        stores[self.store] = {"offset": self.offset, "open": {trial: asdict(run) for trial, run in self.open.items()}}
        aside = self.path.with_suffix(".tmp")
        aside.write_text(json.dumps(stores))
        aside.replace(self.path)


def store_key(uri: str) -> str:
    """What stands for a store in files: its URI may hold a password."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    """Nothing, if the file is missing or damaged: shipping again does no harm."""
    try:
        read = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
