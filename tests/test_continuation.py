"""May a ledger go on: a study that was begun before a field existed does, with that field's default."""

import json
import shutil
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, cast

import pytest
from pydantic import Field
from rich.console import Console

from cnnbench.commands.live_view import StudyView
from cnnbench.ledger import Ledger, Split, TrialRecord
from cnnbench.search.search import Proposal
from cnnbench.study import Architecture, Constraints, Part, Study, StudyError, StudyFolder, load, parse
from cnnbench.trial.images import TrialImages
from cnnbench.vocabulary import vocabulary
from cnnbench.workflows.continuation import FREE, FREE_UNTIL_FINALS, continue_study, resolved, with_defaults
from trials import record

ROOT = Path(__file__).parents[1]
PUBLISHED = sorted(path.parent for path in (ROOT / "reports" / "published").glob("*/ledger.jsonl"))
STUDY = """
study: begun
data: {dataset: digits}
architectures: [lenet5, resnet20]
space: {lr: 0.1}
budget: {trials: 2, epochs: 18}
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return parse(f"{STUDY}storage: {tmp_path}\n", vocabulary())


def goes_on(study: Study, before: Mapping[str, Any], records: list[TrialRecord] | None = None) -> dict[str, Any]:
    """Continues a study whose study.json says ``before``; what that says then. Raises StudyError."""
    records = records or [record(Proposal("lenet5", 0, {"lr": 0.1}), [0.5])]
    study.folder.path.mkdir(parents=True, exist_ok=True)
    study.folder.study_json.write_text(json.dumps(before))
    view = StudyView(Console(quiet=True), study.study, [], 0, 0)
    continue_study(study, records, cast(TrialImages, SimpleNamespace(split=records[0].split)), view)
    written: dict[str, Any] = json.loads(study.folder.study_json.read_text())
    return written


# ---------------------------------------------------------------- every field of every level

Place = tuple[str | int, ...]  # the keys that lead to a part of study.json


def _parts(kind: type[Part], said: Any, place: Place = ()) -> Iterator[tuple[Place, type[Part]]]:
    """Where the parts of a study stand in its study.json, the study itself first."""
    yield place, kind
    for name, field in kind.model_fields.items():
        inner = said.get(name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            yield from _parts(field.annotation, inner, (*place, name))
        elif name == "architectures":
            yield from _parts(Architecture, inner[-1], (*place, name, len(inner) - 1))


LEVELS = dict(_parts(Study, resolved(parse(STUDY, vocabulary()))))
FIELDS = [
    (*place, name)
    for place, kind in LEVELS.items()
    for name, field in kind.model_fields.items()
    if not field.is_required() and not field.exclude
]


def _called(place: Place) -> str:
    return ".".join(map(str, place))


def test_the_levels_are_all_that_there_are() -> None:
    assert {kind.__name__ for kind in LEVELS.values()} == {
        "Study",
        *Study.model_json_schema(mode="serialization")["$defs"],
    }
    assert {(), ("data",), ("budget",), ("resources",), ("finals",), ("effects",), ("architectures", 1)} <= set(LEVELS)


@pytest.mark.parametrize("place", FIELDS, ids=_called)
def test_a_study_that_was_begun_before_a_field_existed_goes_on_with_its_default(study: Study, place: Place) -> None:
    whole = resolved(study)
    before = deepcopy(whole)
    *above, name = place
    level: Any = before
    for key in above:
        level = level[key]
    del level[name]
    assert goes_on(study, before) == whole


@pytest.mark.parametrize("place", FIELDS, ids=_called)
def test_a_field_that_was_there_may_not_change_unless_it_is_free(study: Study, place: Place) -> None:
    before = resolved(study)
    *above, name = place
    level: Any = before
    for key in above:
        level = level[key]
    level[name] = "another"
    called = "architectures" if "architectures" in place else _called(place)  # a list is told whole
    if any(f"{called}.".startswith(f"{free}.") for free in (*FREE, *FREE_UNTIL_FINALS)):
        assert goes_on(study, before) == resolved(study)
    else:
        with pytest.raises(StudyError, match=rf"(?m)^begun: {called}(\.\w+)?: was "):
            goes_on(study, before)


def test_a_study_that_says_other_than_the_default_of_a_later_field_is_refused(study: Study) -> None:
    before = resolved(study)
    del before["data"]["image_size"], before["constraints"], before["architectures"][1]["depth"]
    changed = study.model_copy(
        update={
            "data": study.data.model_copy(update={"image_size": 16}),
            "architectures": (study.architectures[0], study.architectures[1].model_copy(update={"depth": 2.0})),
            "constraints": Constraints(max_params=10),
        }
    )
    with pytest.raises(StudyError) as caught:
        goes_on(changed, before)
    errors = caught.value.errors
    assert [error for error in errors if error.startswith(("data", "constraints"))] == [
        "constraints.max_params: was None when the study was begun, is 10 now",
        "data.image_size: was 32 when the study was begun, is 16 now",
    ]
    assert any(error.startswith("architectures: was [{") for error in errors)


def test_a_ninth_of_the_epochs_is_the_default_of_min_epochs(study: Study) -> None:
    before = resolved(study)
    assert before["search"].pop("min_epochs") == 2  # of 18
    assert goes_on(study, before)["search"]["min_epochs"] == 2
    before = resolved(study)
    del before["search"]["min_epochs"]
    other = study.model_copy(update={"search": study.search.model_copy(update={"min_epochs": 3})})
    with pytest.raises(StudyError, match=r"search\.min_epochs: was 2 when the study was begun, is 3 now"):
        goes_on(other, before)


def test_a_field_that_this_cnnbench_does_not_know_is_named(study: Study) -> None:
    before = resolved(study)
    before["data"]["colour_space"] = "lab"
    with pytest.raises(StudyError, match=r"data\.colour_space: was 'lab' when the study was begun, is None now"):
        goes_on(study, before)


class _Leaf(Part):
    old: int
    new: tuple[float, ...] = (0.5, 1.0)


class _Tree(Part):
    one: _Leaf
    perhaps: _Leaf | None = None
    several: Annotated[tuple[_Leaf, ...], Field(min_length=1)]
    either: tuple[_Leaf, ...] | str = "none"
    named: Mapping[str, _Leaf] = Field(default_factory=dict)


def test_defaults_come_at_any_depth() -> None:
    old, filled = {"old": 1}, {"old": 1, "new": [0.5, 1.0]}
    said = {"one": old, "perhaps": old, "several": [old, old], "either": [old], "named": {"a": old}}
    assert with_defaults(said, _Tree) == {
        "one": filled, "perhaps": filled, "several": [filled, filled], "either": [filled], "named": {"a": filled},
    }  # fmt: skip
    assert with_defaults({"one": old, "several": []}, _Tree) == {
        "one": filled, "perhaps": None, "several": [], "either": "none", "named": {},
    }  # fmt: skip
    told = {"one": "damaged", "several": None, "perhaps": {"new": [2.0], "unknown": 3}, "either": "x", "named": {}}
    assert with_defaults(told, _Tree) == told


# ---------------------------------------------------------------- published studies


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_study_can_be_continued(folder: Path, tmp_path: Path) -> None:
    study_file = ROOT / "search_spaces" / f"{folder.name}.yaml"
    study = load(study_file, vocabulary(), [f"storage={tmp_path}"])
    published = StudyFolder(folder)
    study.folder.path.mkdir()
    shutil.copy(published.ledger, study.folder.ledger)
    records = list(Ledger(study.folder.ledger).read().records)
    assert records
    written = goes_on(study, json.loads(published.study_json.read_text()), records)
    assert written == resolved(study)
    other = {**json.loads(published.study_json.read_text()), "precision": "bf16"}
    with pytest.raises(StudyError, match="precision: was 'bf16'"):
        goes_on(study, other, records)


def test_other_images_are_refused(study: Study) -> None:
    begun = record(Proposal("lenet5", 0, {"lr": 0.1}), [0.5])
    study.folder.path.mkdir(parents=True)
    view = StudyView(Console(quiet=True), study.study, [], 0, 0)
    other: Split = begun.split.model_copy(update={"data_checksum": "other"})
    with pytest.raises(StudyError, match="data: the images have changed since the study was begun"):
        continue_study(study, [begun], cast(TrialImages, SimpleNamespace(split=other)), view)
