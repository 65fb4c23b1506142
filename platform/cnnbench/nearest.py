"""What is said of a name that does not exist: the nearest that do."""

from collections.abc import Collection
from difflib import SequenceMatcher

FEW = 8  # names that are all said at once
NEAREST = 3


def nearest(name: object, known: Collection[str]) -> list[str]:
    """The three of ``known`` that are most like ``name``, the likest first; case and punctuation don't count."""
    wanted = _plain(str(name))

    def likeness(other: str) -> float:
        return SequenceMatcher(None, wanted, _plain(other)).ratio()

    return sorted(known, key=likeness, reverse=True)[:NEAREST]


def alternatives(name: object, known: Collection[str], listed_by: str) -> str:
    """How a message about an unknown ``name`` goes on: all of ``known`` where these are few, else the nearest and the
    command that lists all."""
    if len(known) <= FEW:
        return f"choose from {', '.join(known)}"
    return f"the nearest are {', '.join(nearest(name, known))}; '{listed_by}' lists all {len(known)}"


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
