"""A folder that every node of a cluster reaches by a URI, such as s3://bucket/prefix: what pyarrow.fs, and so Ray, can
open. A file there is whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pyarrow import ArrowException, fs

from cnnbench.errors import UserError
from cnnbench.uri import below


class RemoteError(UserError, OSError):
    """A place that can't be read or written; the message names it and the reason."""


@dataclass(frozen=True)
class RemoteFolder:
    """The folder at ``uri``. Raises RemoteError when it can't do what is asked."""

    uri: str

    def write(self, name: str, content: bytes) -> None:
        """Replaces the file, which may lie in a folder below."""
        with self._errors(name, "write"):
            system, path = _opened(self.uri)
            file = f"{path}/{name}"
            if isinstance(system, fs.LocalFileSystem):  # an object store has no folders, and puts objects whole
                system.create_dir(os.path.dirname(file))
                aside = f"{file}.{os.uname().nodename}.{os.getpid()}.part"
                with system.open_output_stream(aside) as stream:
                    stream.write(content)
                system.move(aside, file)
            else:
                with system.open_output_stream(file) as stream:
                    stream.write(content)

    def read(self, name: str) -> bytes | None:
        """None if there is no such file."""
        with self._errors(name, "read"):
            system, path = _opened(self.uri)
            try:
                with system.open_input_stream(f"{path}/{name}") as stream:
                    content: bytes = stream.read()
            except FileNotFoundError:
                return None
            return content

    def names(self, folder: str) -> list[str]:
        """Of the files in a folder below, in order."""
        with self._errors(folder, "list"):
            system, path = _opened(self.uri)
            there = system.get_file_info(fs.FileSelector(f"{path}/{folder}", allow_not_found=True))
            return sorted(file.base_name for file in there if file.type == fs.FileType.File)

    def remove(self, name: str) -> None:
        with self._errors(name, "remove"), contextlib.suppress(FileNotFoundError):
            system, path = _opened(self.uri)
            system.delete_file(f"{path}/{name}")

    @contextlib.contextmanager
    def _errors(self, name: str, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ArrowException) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            place = below(self.uri.partition("?")[0], name)  # a query may hold a key
            raise RemoteError(f"{place}: can't {verb}: {reason}") from error


@cache
def _opened(uri: str) -> tuple[Any, str]:
    system, path = fs.FileSystem.from_uri(uri)
    return system, path.rstrip("/")
