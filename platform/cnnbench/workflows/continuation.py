"""May this ledger go on? What an earlier run of a study left, and whether the study file still says the same."""

import json
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic_core import to_jsonable_python

from cnnbench.distributed.session import View
from cnnbench.ledger import Ledger, Reading, TrialRecord
from cnnbench.protocol.done import finals_begun
from cnnbench.study import Part, Search, Study, StudyError
from cnnbench.tracking.spool import unfinished
from cnnbench.trial.images import TrialImages
from cnnbench.trial.remote_checkpoint import checkpoint_at
from cnnbench.uri import without_password
from cnnbench.vocabulary import vocabulary
from cnnbench.whole_file import read_json, write_whole

# What may change between two runs of one study. Anything else would mix two studies in one ledger.
FREE = ("resources", "storage", "shared_storage", "reports", "tracking_uri", "checkpoint_every_s", "data.root",
        "budget.time_limit_s", "finals.seeds", "finals.workers", "finals.few_seeds_reason", "effects",
        "defaults", "search.storage")  # fmt: skip
FREE_UNTIL_FINALS = ("budget.trials",)  # a search that goes on after the test set was read is no longer blind to it


def opened(study: Study, view: View) -> tuple[Ledger, Reading]:
    """The study's ledger, without what a crash left half written of it, which the user is told of."""
    ledger = Ledger(study.folder.ledger)
    if note := ledger.quarantine_half_line():
        view.say(note)
    reading = ledger.read()
    if reading.records or study.folder.spool.exists():
        view.say(_kept_and_redone(study, reading.records))
    return ledger, reading


def _kept_and_redone(study: Study, records: Sequence[TrialRecord]) -> str:
    """What an earlier run left: so many finished trials, and those that were cut off."""
    folder = study.folder
    begun = unfinished(folder.spool) | dict.fromkeys(folder.checkpointed(), "")
    done = {record.trial_id for record in records}
    over = finals_begun(records)  # the search, whatever it had left
    cut = sorted(trial for trial, stage in begun.items() if trial not in done and not (over and stage == "search"))
    epochs = [checkpoint_at(folder.shared(folder.checkpoint(trial))).epoch() + 1 for trial in cut]
    again = ", ".join(f"{trial} from epoch {epoch}" for trial, epoch in zip(cut, epochs, strict=True))
    kept = f"{len(records)} finished trial{'' if len(records) == 1 else 's'} kept"
    return f"{kept}, {len(cut)} cut off and run again: {again}" if cut else kept


def continue_study(study: Study, records: Sequence[TrialRecord], material: TrialImages, view: View) -> None:
    """Writes ``study.json``, or checks that it says the same. Raises StudyError, naming each field that differs."""
    path = study.folder.study_json
    now = resolved(study)
    before = (
        read_json(path, view.say, using="the study file as it is now, and what the ledger says") if records else None
    )
    if records and before is None:
        before = {**now, **_said_by(records[0], now)}
    if before is not None:
        before = _with_later_fields(before, now)
        free = FREE if finals_begun(records) else FREE + FREE_UNTIL_FINALS
        old, new = _leaves(before), _leaves(now)
        errors = [
            f"{name}: was {old.get(name)!r} when the study was begun, is {new.get(name)!r} now"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) and not any(name == f or name.startswith(f"{f}.") for f in free)
        ]
        if records[0].split.data_checksum != material.split.data_checksum:
            errors.append("data: the images have changed since the study was begun (their checksum differs)")
        if errors:
            remedy = f"give this study another name, or remove {study.folder.path}"
            raise StudyError(study.study, [*errors, f"study: {len(records)} trials are recorded under it; {remedy}"])
    write_whole(path, json.dumps(now, indent=2) + "\n")


def _said_by(record: TrialRecord, now: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of its study, where ``study.json`` is lost."""
    return {
        "data": {**now["data"], "dataset": record.split.dataset, "split_seed": record.split.seed},
        "budget": {**now["budget"], "epochs": record.budget.epochs_asked},
    }


def _with_later_fields(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A ``study.json`` of an earlier cnnbench, with the defaults of the fields that it did not know."""
    filled: dict[str, Any] = {"space": {}, "rows": now["rows"], **with_defaults(before, Study)}
    search = filled["search"]
    if isinstance(search, Mapping) and search["min_epochs"] is None:  # a study.json says what that comes to
        filled["search"] = {**search, "min_epochs": Search().within(now["budget"]["epochs"]).min_epochs}
    return filled


def with_defaults(said: Any, kind: Any) -> Any:
    """``said``, plain values of something of this type, with the defaults of all fields that are missing in it, at any
    depth. What is there is left as it is, also where the type has no such field."""
    inner = [each for each in get_args(kind) if each is not Ellipsis]
    if isinstance(kind, type) and issubclass(kind, Part) and isinstance(said, Mapping):
        fields = {name: field for name, field in kind.model_fields.items() if not field.exclude}
        missing = {
            name: to_jsonable_python(field.get_default(call_default_factory=True))
            for name, field in fields.items()
            if name not in said and not field.is_required()
        }
        there = {name: with_defaults(value, fields[name].annotation) for name, value in said.items() if name in fields}
        return {**said, **there, **missing}
    if get_origin(kind) is Annotated:
        return with_defaults(said, inner[0])
    if get_origin(kind) in (Union, UnionType):
        for member in inner:
            said = with_defaults(said, member)
        return said
    if isinstance(said, list) and inner:  # of a tuple of any length
        return [with_defaults(each, inner[0]) for each in said]
    if isinstance(said, Mapping) and len(inner) == 2:
        return {key: with_defaults(value, inner[1]) for key, value in said.items()}
    return said


def resolved(study: Study) -> dict[str, Any]:
    """The study with every default filled in, as plain values without a password; ``rows`` are the leaderboard's,
    ``defaults`` those of hyperparameters and components."""
    said = study.model_dump(mode="json")
    said["tracking_uri"] = study.tracking_uri and without_password(study.tracking_uri)
    said["search"]["storage"] = study.search.storage and without_password(study.search.storage)
    rows = [architecture.row for architecture in study.architectures]
    defaults = {name: knob.default for name, knob in vocabulary().knobs.items()}
    return {**said, "space": study.tree.get("space", {}), "rows": rows, "defaults": defaults}


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, Mapping) and tree:
        found: dict[str, Any] = {}
        for key, branch in tree.items():
            found |= _leaves(branch, f"{path}.{key}" if path else str(key))
        return found
    return {path: tree}
