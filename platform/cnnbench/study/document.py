"""Reads a YAML document the way its writer meant it, within limits on size, depth and repetition."""

import re
from typing import Any

import yaml

MAX_BYTES = 1_000_000
MAX_DEPTH = 20


class DocumentError(Exception):
    """What keeps a text from being read, with its line and column."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars: 1e-3 is a number; no, on and 12:30 are texts, refused where something else is meant."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, dict | list) or key in seen:
                fault = "is not a plain name" if isinstance(key, dict | list) else "stands twice"
                raise yaml.MarkedYAMLError(problem=f"key {key!r} {fault}", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _resolver(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
_resolver("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_resolver("null", "~|null|Null|NULL|", "~nN\0")
_resolver("int", "[-+]?[0-9]+", "-+0123456789")
_resolver("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789.")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


def _int(loader: Any, node: Any) -> int:
    return int(loader.construct_scalar(node))  # YAML 1.1 would read 010 as 8


def _float(loader: Any, node: Any) -> float:
    return float(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


def read_yaml(text: str) -> Any:
    """Plain values only. Raises DocumentError."""
    if len(text) > MAX_BYTES:
        raise DocumentError(f"{len(text)} characters; at most {MAX_BYTES} are read")
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader: builds plain values only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DocumentError(f"{where}{error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"not YAML: {error}") from None
