"""Files that are there whole or not at all."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnnbench.errors import UserError


class WriteError(UserError, OSError):
    """A file that could not be written; the message names the path, the bytes needed and the reason."""


def write_aside(path: Path, content: bytes) -> Path:
    """Writes a file beside ``path``, waits until the disk has it, and returns where it lies; the caller renames it."""
    # on storage that hosts share, a process of another one may have the same number
    aside = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise WriteError(f"{path}: could not write {len(content)} bytes: {error.strerror or error}") from error
    return aside


def write_whole(path: Path, text: str) -> None:
    """Replaces a small text file: a reader sees the old one or the new one. Raises WriteError."""
    os.replace(write_aside(path, text.encode()), path)


def set_aside(path: Path) -> Path:
    """Renames a damaged file to ``*.damaged``, so that nothing reads it again, and returns where it lies."""
    damaged = damaged_name(path)
    os.replace(path, damaged)
    return damaged


def damaged_name(path: Path) -> Path:
    """Where what is damaged of a file is kept: beside it."""
    return path.with_name(path.name + ".damaged")


def read_json(path: Path, say: Callable[[str], None], using: str) -> dict[str, Any] | None:
    """A JSON object; None if there is no such file, or if it is damaged: it is set aside then, and ``say`` told what is
    used in its place."""
    try:
        read = json.loads(path.read_bytes())
        if isinstance(read, dict):
            return read
        reason = "no JSON object"
    except FileNotFoundError:
        return None
    except ValueError as error:
        reason = f"not JSON: {error}"
    say(f"quarantined {path.name} as {set_aside(path).name} ({reason}), using {using}")
    return None


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the folder's renames."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
