"""``cnnbench choices``: the names that a study file may use."""

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from cnnbench.nearest import alternatives
from cnnbench.study import Architecture, Part, Study, StudyError, Vocabulary


def choices(words: Vocabulary) -> dict[str, dict[str, str]]:
    """Where names stand in a study file → the names there, each with a remark, or ""."""
    named = {name: dict.fromkeys(knob.choices, "") for name, knob in words.knobs.items() if knob.choices}
    space = {name: f"{knob.allowed}; default {_text(knob.default)}" for name, knob in words.knobs.items()}
    return {
        "study": dict(_fields(Study)),
        "data.dataset": dict.fromkeys(words.datasets, ""),
        "architectures": dict.fromkeys(words.architectures, ""),
        "space": space,
        **named,
        "effects.components": {name: ", ".join(map(_text, values)) for name, values in words.effects.items()},
    }


def lines(words: Vocabulary, wanted: str | None) -> Iterator[str]:
    """All names, a line a place; of one place, a line a name. Raises StudyError for an unknown place."""
    places = choices(words)
    if wanted is None:
        places["architectures"] = {"see 'cnnbench models'": ""}  # which says more of them, and they are many
        yield from (f"{place}: {', '.join(names)}" for place, names in places.items())
        return
    if wanted not in places:
        raise StudyError(wanted, [f"no such list of names; {alternatives(wanted, places, 'cnnbench choices')}"])
    width = max(map(len, places[wanted]))
    yield from (f"{name:{width}}  {remark}".rstrip() for name, remark in places[wanted].items())


def _fields(model: type[Part], above: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        part = Architecture if name == "architectures" else field.annotation
        if isinstance(part, type) and issubclass(part, Part):
            yield from _fields(part, f"{above}{name}.")
        elif not field.exclude:
            yield f"{above}{name}", _remark(field)
    if not above:
        yield "space", "hyperparameters and components: see 'cnnbench choices space'"


def _remark(field: FieldInfo) -> str:
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    default = "required" if field.is_required() else f"default {_text(field.get_default(call_default_factory=True))}"
    return "; ".join([*([", ".join(map(_text, values))] if values else []), default])


def _text(value: Any) -> str:
    """As a study file has it."""
    return value if isinstance(value, str) else json.dumps(value)
