"""What Ray's own schema says, and what was not filled in."""

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnnbench.cluster_check.launcher_file import Document, Finding, Place

PLACEHOLDER = re.compile(r"\b\S*REPLACE-\S*")


def placeholders(document: Document) -> Iterator[Finding]:
    """What an example file asks to be replaced, and keys that stand twice."""
    for place, text in document.texts():
        if found := PLACEHOLDER.search(text):
            yield document.finding(place, f"{found.group()} is still there", "put in your own")
    for place in document.twice:
        yield document.finding(place, "stands twice, and only the last one counts", "delete one of them")


def rays_own(document: Document) -> Iterator[Finding]:
    """Faults by ray/autoscaler/ray-schema.json."""
    import jsonschema

    for error in jsonschema.Draft7Validator(_schema()).iter_errors(document.tree):
        place: Place = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            allowed = sorted(error.schema.get("properties", {}))
            for key in sorted(set(error.instance) - set(allowed)):
                remedy = f"Ray knows {', '.join(allowed)} there"
                yield document.finding((*place, str(key)), "unknown key", remedy)
        elif error.validator == "required":
            yield document.finding(place, error.message, "add it")
        else:
            what = error.schema.get("description", "")
            yield document.finding(place, error.message, f"Ray asks for: {what}" if what else "see Ray's documentation")


def _schema() -> Any:
    spec = find_spec("ray")
    assert spec is not None and spec.origin is not None  # cnnbench depends on it
    return json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text(encoding="utf-8"))
