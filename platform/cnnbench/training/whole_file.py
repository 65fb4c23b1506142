"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path


class WriteError(OSError):
    """A file that could not be written; the message names the path, the bytes needed and the reason."""


def write_aside(path: Path, content: bytes) -> Path:
    """Writes a file beside ``path``, waits until the disk has it, and returns where it lies; the caller renames it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
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


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the folder's renames."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
