"""From a file's text, and what ``--set`` replaces in it, to a ``Study``; and what a ``study.json`` says of one."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cnnbench.study.document import MAX_BYTES, DocumentError, read_yaml
from cnnbench.study.faults import described, faults_beside, faults_of_names
from cnnbench.study.fields import SLUG, Study, StudyError, Vocabulary
from cnnbench.study.folder import StudyFolder
from cnnbench.study.space import parse_space
from cnnbench.uri import has_password, without_password


def read_recorded(path: Path) -> dict[str, Any]:
    """A ``study.json``, which may come from somebody else: within the limits of a study file, of a study with a plain
    name. Raises StudyError."""
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"))  # JSON is YAML, and a document's limits hold for it, too
    except (OSError, UnicodeDecodeError, DocumentError) as error:
        raise StudyError(str(path), [f"can't be read: {error}"]) from None
    if not isinstance(tree, dict) or not is_slug(str(tree.get("study"))):
        name = StudyFolder(path.parent).study_json.name
        raise StudyError(str(path), [f"study: missing, or no plain name: this is no {name} that a study wrote"])
    return tree


def is_slug(name: str) -> bool:
    """True for a plain name: it may be a folder's, and leads nowhere else."""
    return re.fullmatch(SLUG.rstrip("$"), name) is not None


def recorded_folder(tree: Mapping[str, Any], field: str, path: str | Path, remedy: str) -> Path:
    """The folder that ``field`` of a ``study.json`` names, where that lies below the current folder: what others wrote
    must not choose where files go. Raises StudyError."""
    folder = Path(str(tree.get(field)))
    if folder.is_absolute() or ".." in folder.parts or str(folder).startswith("~"):
        raise StudyError(str(path), [f"{field}: {folder} is not below the current folder; {remedy}"])
    return folder


def load(path: Path, vocabulary: Vocabulary, overrides: Collection[str] = ()) -> Study:
    """Reads a study file; ``overrides`` are ``a.b=value`` strings. Raises StudyError with everything that is wrong."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise StudyError(str(path), [f"{size} bytes; a study file has at most {MAX_BYTES}"])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(str(path), [error.strerror or str(error)]) from None
    except UnicodeDecodeError as error:
        raise StudyError(str(path), [f"not UTF-8 text: {error.reason} at byte {error.start}"]) from None
    return parse(text, vocabulary, overrides, source=str(path))


def parse(text: str, vocabulary: Vocabulary, overrides: Collection[str] = (), source: str = "study") -> Study:
    """Like ``load``, from the document's text."""
    try:
        tree = read_yaml(text)
    except DocumentError as error:
        raise StudyError(source, [str(error)]) from None
    if not isinstance(tree, dict):
        raise StudyError(source, ["the document is not a mapping; start with 'study: NAME'"])
    errors: list[str] = []
    for override in overrides:
        errors += _override(tree, override)
    if errors:
        raise StudyError(source, errors)
    space_tree = tree.get("space")
    space, errors = parse_space(space_tree if space_tree is not None else {}, vocabulary.knobs)
    rest = {key: value for key, value in tree.items() if key not in ("space", "tree")}
    if "tree" in tree:
        errors.append("tree: unknown key")
    study = None
    try:
        study = Study.model_validate_json(json.dumps(rest))  # JSON, because strict mode takes its arrays as tuples
    except ValidationError as error:
        errors = described(error) + faults_beside(error, rest, vocabulary) + errors
    if study is not None:
        errors = faults_of_names(study, vocabulary) + errors
    if errors or study is None:
        raise StudyError(source, errors)
    return study.model_copy(update={"space": space, "tree": tree, "search": study.search.within(study.budget.epochs)})


def _override(tree: dict[str, Any], override: str) -> list[str]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        return [f"--set {override}: write --set field=value, as in --set budget.trials=4"]
    if "://" in text and has_password(text):
        where = "every user of this machine can read it there; write it into the study file, or docs/postgres.md's way"
        return [f"--set {key}: a password on the command line ({without_password(text)}): {where}"]
    try:
        value = read_yaml(text)
    except DocumentError as error:
        return [f"--set {key}: {error}"]
    *parents, last = key.split(".")
    place: Any = tree
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            return [f"--set {key}: {parent} holds {place!r}, which has no fields of its own"]
    place[last] = value
    return []
