"""May this ledger go on? What an earlier run of a study left, and whether the study file still says the same."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.distributed.session import View
from cnnbench.ledger import Ledger, Reading, TrialRecord
from cnnbench.protocol.done import finals_begun
from cnnbench.protocol.mirror import shared_place
from cnnbench.study import Architecture, Part, Study, StudyError
from cnnbench.tracking.spool import SPOOL, unfinished
from cnnbench.trial.images import Material
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
    ledger = Ledger(study.folder / "ledger.jsonl")
    if note := ledger.quarantine_half_line():
        view.say(note)
    reading = ledger.read()
    if reading.records or (study.folder / SPOOL).exists():
        view.say(_kept_and_redone(study, reading.records))
    return ledger, reading


def _kept_and_redone(study: Study, records: Sequence[TrialRecord]) -> str:
    """What an earlier run left: so many finished trials, and those that were cut off."""
    begun = unfinished(study.folder / SPOOL) | {file.stem: "" for file in (study.folder / "checkpoints").glob("*.ckpt")}
    done = {record.trial_id for record in records}
    over = finals_begun(records)  # the search, whatever it had left
    cut = sorted(trial for trial, stage in begun.items() if trial not in done and not (over and stage == "search"))
    places = [f"checkpoints/{trial}.ckpt" for trial in cut]
    epochs = [checkpoint_at(shared_place(study, place)).epoch() + 1 for place in places]
    again = ", ".join(f"{trial} from epoch {epoch}" for trial, epoch in zip(cut, epochs, strict=True))
    kept = f"{len(records)} finished trial{'' if len(records) == 1 else 's'} kept"
    return f"{kept}, {len(cut)} cut off and run again: {again}" if cut else kept


def continue_study(study: Study, records: Sequence[TrialRecord], material: Material, view: View) -> None:
    """Writes ``study.json``, or checks that it says the same. Raises StudyError, naming each field that differs."""
    path = study.folder / "study.json"
    now = resolved(study)
    before = (
        read_json(path, view.say, using="the study file as it is now, and what the ledger says") if records else None
    )
    if records and before is None:
        before = {**now, **_said_by(records[0], now)}
    if before is not None:
        before = _with_later_fields(before)
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
            remedy = f"give this study another name, or remove {study.folder}"
            raise StudyError(study.study, [*errors, f"study: {len(records)} trials are recorded under it; {remedy}"])
    write_whole(path, json.dumps(now, indent=2) + "\n")


def _said_by(record: TrialRecord, now: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of its study, where ``study.json`` is lost."""
    return {
        "data": {**now["data"], "dataset": record.split.dataset, "split_seed": record.split.seed},
        "budget": {**now["budget"], "epochs": record.budget.epochs_asked},
    }


def _with_later_fields(before: dict[str, Any]) -> dict[str, Any]:
    """A ``study.json`` of an earlier cnnbench, with the defaults of the fields that it did not know."""
    options = Architecture(name="").model_dump(mode="json")
    sections = {name: field.default for name, field in Study.model_fields.items() if isinstance(field.default, Part)}
    defaults = {name: section.model_dump(mode="json") for name, section in sections.items()}
    filled = {name: {**values, **before.get(name, {})} for name, values in defaults.items()}
    return {**before, **filled, "architectures": [{**options, **row} for row in before["architectures"]]}


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
