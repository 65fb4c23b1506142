"""Name → thing. A second thing of one name raises, so that no import order decides what a study runs."""

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cnnbench.errors import UserError
from cnnbench.nearest import alternatives

T = TypeVar("T")


class UnknownName(UserError, KeyError):
    """A name that no registry entry has; the message has the nearest that do."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing and what is known about it (year, paper, sites, …)."""

    name: str
    thing: T
    facts: Mapping[str, Any]


class Registry(Generic[T]):
    """The things of one kind: ``@REGISTRY.register("name", year=2015)`` adds, ``REGISTRY["name"]`` finds."""

    def __init__(self, kind: str, listed_by: str) -> None:
        """listed_by: the command that lists its names, for a message."""
        self.kind = kind
        self.listed_by = listed_by
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, **facts: Any) -> Callable[[T], T]:
        """Returns a decorator that adds its argument as ``name``; raises ValueError if the name is taken."""

        def add(thing: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already, by {self._entries[name].thing!r}")
            self._entries[name] = Entry(name, thing, facts)
            return thing

        return add

    def __getitem__(self, name: str) -> Entry[T]:
        if name not in self._entries:
            raise UnknownName(f"unknown {self.kind} {name!r}; {alternatives(name, self._entries, self.listed_by)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


def import_files(package: str, folders: Collection[str], first: Sequence[str] = ()) -> None:
    """Imports every file of ``package`` (its ``__path__`` is ``folders``), so that what it registers is there: those
    that ``first`` names in that order, the others behind them by name."""
    found = sorted(module.name for module in pkgutil.iter_modules(folders))
    for name in (*(name for name in first if name in found), *(name for name in found if name not in first)):
        importlib.import_module(f"{package}.{name}")
