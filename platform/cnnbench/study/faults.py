"""What is wrong with a study file, in words: the field, what it holds, and what is allowed."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from cnnbench.nearest import alternatives
from cnnbench.study.fields import FEWEST_SEEDS, Architecture, Study, Vocabulary
from cnnbench.study.space import unknown_value
from cnnbench.uri import without_password


def described(error: ValidationError) -> list[str]:
    """What is wrong with single values, a line a field."""
    faults: dict[str, list[str]] = {}
    for fault in error.errors():
        # pydantic names the members of a union in the location: gpus.literal['auto'], gpus.constrained-float
        where = ".".join(str(part) for part in fault["loc"] if not re.search(r"[\[(-]", str(part)))
        faults.setdefault(where, []).append(_describe(fault))
    return [f"{where}: {' or '.join(dict.fromkeys(messages))}" for where, messages in faults.items()]


def _describe(fault: Any) -> str:
    got = fault.get("input")
    if fault["type"] == "extra_forbidden":
        return f"unknown key; {alternatives(fault['loc'][-1], _fields_beside(fault['loc']), 'cnnbench choices study')}"
    if fault["type"] == "missing":
        return "missing"
    if fault["type"] == "string_pattern_mismatch":
        return f"{got!r} is no plain name: small letters, digits, '_', '-', '.', at most 64"
    message = fault["msg"].replace("Input should be", "should be")
    message = message.replace(" after validation", "").replace(" valid ", " ")
    message = message.replace("a integer", "a whole number").replace("a dictionary", "a mapping")
    hint = ""
    if fault["type"] == "bool_type" and isinstance(got, str):
        hint = "; write true or false"
    elif isinstance(got, str) and re.fullmatch(r"[0-9]+(:[0-9]{2})+", got):
        hint = "; write a time as a number of seconds"
    return f"{message}, got {got!r}{hint}"


def _fields_beside(location: tuple[Any, ...]) -> list[str]:
    model: Any = Study
    for part in location[:-1]:
        if part == "architectures":
            model = Architecture
        elif isinstance(part, str) and part in model.model_fields:
            model = model.model_fields[part].annotation
    return [name for name in model.model_fields if name != "tree"]


def faults_beside(error: ValidationError, tree: Mapping[str, Any], vocabulary: Vocabulary) -> list[str]:
    """What is wrong with the names of a study some of whose values are wrong themselves; these are left out."""
    rest = json.loads(json.dumps(tree))
    for fault in error.errors():
        _leave_out(rest, fault["loc"])
    rest = {"study": "rest", "architectures": [next(iter(vocabulary.architectures))], **rest}
    rest["data"] = {"dataset": next(iter(vocabulary.datasets)), **rest.get("data", {})}
    rest["budget"] = {"trials": 1, "epochs": 10**9, **rest.get("budget", {})}
    try:
        return faults_of_names(Study.model_validate_json(json.dumps(rest)), vocabulary)
    except ValidationError:
        return []


def _leave_out(tree: Any, location: tuple[Any, ...]) -> None:
    """Removes what stands at ``location``, or the last part of it that there is; of a list, all of it."""
    key, *below = location
    inside = tree.get(key)
    if isinstance(inside, list) and below and isinstance(below[0], int) and isinstance(inside[below[0]], dict):
        inside, below = inside[below[0]], below[1:]
    if isinstance(inside, dict) and below and below[0] in inside:
        _leave_out(inside, tuple(below))
    else:
        tree.pop(key, None)


def faults_of_names(study: Study, vocabulary: Vocabulary) -> list[str]:
    """What is wrong with the names of a study whose values are right one by one, and with their company."""
    errors = []
    if study.data.dataset not in vocabulary.datasets:
        instead = alternatives(study.data.dataset, vocabulary.datasets, "cnnbench choices data.dataset")
        errors.append(f"data.dataset: unknown data set {study.data.dataset!r}; {instead}")
    for number, architecture in enumerate(study.architectures):
        if architecture.name not in vocabulary.architectures:
            instead = alternatives(architecture.name, vocabulary.architectures, "cnnbench models")
            errors.append(f"architectures.{number}: unknown architecture {architecture.name!r}; {instead}")
    rows = [architecture.row for architecture in study.architectures]
    for row in rows:
        if row.endswith("_aa") or row == "majority_class":
            errors.append(f"architectures: the name {row!r} is kept for the study's controls; give that row a 'label'")
    for row in sorted({row for row in rows if rows.count(row) > 1}):
        errors.append(f"architectures: two rows are called {row!r}; give one of them a 'label'")
    if study.finals.seeds < FEWEST_SEEDS and not study.finals.few_seeds_reason:
        errors.append(
            f"finals.seeds: {study.finals.seeds} seeds can't show a difference at p < 0.05 (it takes {FEWEST_SEEDS}); "
            "if that is meant, say why in finals.few_seeds_reason"
        )
    errors += _check_effects(study.effects.components, vocabulary)
    if study.budget.images is not None and study.budget.device_seconds is not None:
        errors.append("budget: images and device_seconds are given; architectures get the same of one of them")
    for name, value, wanted in (("storage", study.storage, False), ("shared_storage", study.shared_storage, True)):
        if value is not None and ("://" in value) != wanted:
            what = "a URI, such as s3://bucket/prefix" if wanted else "a folder; shared_storage takes a URI"
            errors.append(f"{name}: {value!r} should be {what}")
    if study.search.storage and not re.match(r"postgresql(\+psycopg)?://", study.search.storage):
        shown = without_password(study.search.storage)
        errors.append(
            f"search.storage: {shown!r} is no Postgres address; write postgresql://USER@HOST/DATABASE, or null"
        )
    if (study.search.min_epochs or 1) > study.budget.epochs:
        errors.append(f"search.min_epochs: {study.search.min_epochs} is more than budget.epochs, {study.budget.epochs}")
    return errors


def _check_effects(components: Any, vocabulary: Vocabulary) -> list[str]:
    errors = []
    for name in components or ():
        if name not in vocabulary.effects:
            instead = alternatives(name, vocabulary.effects, "cnnbench choices effects.components")
            errors.append(f"effects.components: unknown component {name!r}; {instead}")
            continue
        for value in components[name] if isinstance(components, Mapping) else ():
            if not vocabulary.knobs[name].accepts(value):
                errors.append(f"effects.components.{name}: {unknown_value(name, vocabulary.knobs[name], value)}")
    return errors
