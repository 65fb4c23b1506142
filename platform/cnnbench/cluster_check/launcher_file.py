"""A launcher file as values, as Ray would read it, with the line that each stands in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cnnbench.errors import UserError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NODES = 50_000  # with every alias written out

Place = tuple[str | int, ...]  # a way down into the document: ("provider", "worker_ips", 0)


@dataclass(frozen=True)
class Finding:
    """line: in the file, from 1; where: the field, as in ``provider.head_ip``; remedy: what to do about it."""

    line: int
    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.where + ': ' if self.where else ''}{self.problem}; {self.remedy}"


class UnreadableError(UserError):
    """A file that is no launcher file at all."""

    def __init__(self, line: int, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.finding = Finding(line, "", problem, remedy)


class Document:
    """The values, and where they stand."""

    def __init__(self, tree: dict[str, Any], lines: Mapping[Place, int], twice: tuple[Place, ...]) -> None:
        self.tree = tree
        self.twice = twice  # keys that stand twice in one mapping: the first one's value is lost
        self._lines = lines

    def line(self, place: Place) -> int:
        """Of a value, or of the nearest thing above it that is in the file."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def finding(self, place: Place, problem: str, remedy: str) -> Finding:
        return Finding(self.line(place), ".".join(map(str, place)), problem, remedy)

    def get(self, *place: str | int) -> Any:
        """The value there; None if there is none."""
        value: Any = self.tree
        for part in place:
            if isinstance(value, Mapping):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def mapping(self, *place: str | int) -> dict[str, Any]:
        """The mapping there; an empty one if there is none. Ray's schema complains of anything else."""
        value = self.get(*place)
        return value if isinstance(value, dict) else {}

    def commands(self, *names: str) -> Iterator[tuple[Place, str]]:
        """Every shell command of these fields, with its place."""
        for name in names:
            value = self.get(name)
            for number, command in enumerate(value if isinstance(value, list) else []):
                if isinstance(command, str):
                    yield (name, number), command

    def texts(self) -> Iterator[tuple[Place, str]]:
        """Every text in the document, keys too."""
        yield from _texts(self.tree, ())

    @property
    def provider(self) -> str:
        return str(self.get("provider", "type"))


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield (*place, str(key)), str(key)
            yield from _texts(below, (*place, str(key)))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _texts(below, (*place, number))


def read(path: Path) -> Document:
    """Raises UnreadableError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableError(1, f"more than {MAX_BYTES} bytes", "that is no launcher file")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableError(1, f"{path}: {reason}", "give a launcher file, such as cluster.yaml") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and _size(root, {}, 0) > MAX_NODES:
            raise UnreadableError(1, f"more than {MAX_NODES} values", "that is no launcher file")
        tree = yaml.safe_load(text)  # as Ray does: plain values only
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UnreadableError(line, f"not YAML: {error.problem}", "correct it") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnreadableError(1, f"not YAML: {error}", "correct it") from None
    if not isinstance(tree, dict):
        raise UnreadableError(1, "not a mapping", "start with 'cluster_name: NAME'")
    lines: dict[Place, int] = {}
    twice: list[Place] = []
    _note_lines(root, (), lines, twice)
    return Document(tree, lines, tuple(twice))


def _size(node: Any, known: dict[int, int], depth: int) -> int:
    """How many values there are below a node if every alias is written out; an alias of its own parent never ends."""
    if depth > MAX_DEPTH:
        raise UnreadableError(node.start_mark.line + 1, f"nested deeper than {MAX_DEPTH}", "that is no launcher file")
    if id(node) not in known:
        below = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_size(part, known, depth + 1) for part in below if isinstance(part, yaml.Node))
    return known[id(node)]


def _note_lines(node: Any, place: Place, lines: dict[Place, int], twice: list[Place]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines.setdefault((*place, number), item.start_mark.line + 1)
            _note_lines(item, (*place, number), lines, twice)
    elif isinstance(node, yaml.MappingNode):
        own: set[str] = set()
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if key.value == "<<":
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
                continue
            below = (*place, str(key.value))
            if key.value in own:
                twice.append(below)
            own.add(key.value)
            lines[below] = key.start_mark.line + 1  # the last of two counts, as it does for its value
            _note_lines(value, below, lines, twice)
        for source in merged:  # what is written here goes before what comes from an anchor
            inherited: dict[Place, int] = {}
            _note_lines(source, place, inherited, [])
            for below, line in inherited.items():
                lines.setdefault(below, line)
