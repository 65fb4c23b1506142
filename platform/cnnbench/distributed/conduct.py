"""A whole study: plan, search, freeze, finals. One that was begun is continued: the ledger has what is finished."""

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray import tune as ray_tune

from cnnbench.catalogue import vocabulary
from cnnbench.distributed import cluster, controls, optuna_store
from cnnbench.distributed.constraints import admission
from cnnbench.distributed.ddp import distributed_trials
from cnnbench.distributed.head import watched
from cnnbench.distributed.lock import held
from cnnbench.distributed.material import Material
from cnnbench.distributed.mirror import mirrors, shared_place
from cnnbench.distributed.plan import Row, check_budget, plan_rows
from cnnbench.distributed.preflight import preflight
from cnnbench.distributed.price import write_prediction
from cnnbench.distributed.probe import choose_precision, probed_rates
from cnnbench.distributed.remote_checkpoint import checkpoint_at
from cnnbench.distributed.search import Search
from cnnbench.distributed.sources import Sources, open_sources
from cnnbench.distributed.spec import MaterialRef
from cnnbench.distributed.stages import FinalsStage, Observer, RecordedStage, Recorder, SearchStage, Succession, freeze
from cnnbench.distributed.trial import tune_trial
from cnnbench.distributed.tune import interruptible, run_stage
from cnnbench.ledger import Ledger, Reading, TrialRecord
from cnnbench.spool import SPOOL, unfinished
from cnnbench.study import Architecture, Part, Study, StudyError
from cnnbench.training.whole_file import read_json, write_whole
from cnnbench.uri import without_password

# What may change between two runs of one study. Anything else would mix two studies in one ledger.
FREE = ("resources", "storage", "shared_storage", "reports", "tracking_uri", "checkpoint_every_s", "data.root",
        "budget.time_limit_s", "finals.seeds", "finals.workers", "finals.few_seeds_reason", "effects",
        "defaults", "search.storage")  # fmt: skip
FREE_UNTIL_FINALS = ("budget.trials",)  # a search that goes on after the test set was read is no longer blind to it


class View(Observer, Protocol):
    """A live view of the study."""

    def stage(self, name: str, total: int, done: Sequence[TrialRecord]) -> None: ...
    def say(self, line: str) -> None: ...


@dataclass(frozen=True)
class Conducted:
    """A finished study: its records, and the facts that the report tells."""

    records: tuple[TrialRecord, ...]
    rows: Mapping[str, Row]


def conduct(study: Study, view: View, observers: Sequence[Observer], *, takeover: bool = False) -> Conducted:
    """Runs a study, or the rest of it. Raises StudyError, DataError and Held before Ray starts, ClusterError before the
    first trial, Interrupted once it has stopped, WriteError on a full disk, TakenOver if another process has taken the
    study over. takeover: take it over from a process that is said to run it."""
    sources = open_sources(study.data)
    searching = sources.for_search()
    rows = plan_rows(study, channels=searching.channels, classes=len(searching.classes))
    check_budget(study, len(searching.train_labels))
    if study.search.storage:
        optuna_store.need(study.search.storage)
    with held(study.folder / ".lock", view.say, takeover=takeover) as lock:
        told = [view, *observers, *mirrors(study, view.say)]
        ledger, reading = opened(study, view)
        continue_study(study, reading.records, searching, view)
        recorder = Recorder(study, searching.split, ledger, told, list(reading.records), lock.check)
        found = [record for record in reading.records if record.stage == "search"]
        if study_is_done(study, rows, recorder.records):
            view.say(f"all {len(recorder.records)} trials of this study are finished; nothing is run again")
        else:
            # in this order: Ray sets a handler of its own for SIGTERM, which would abort the process
            with (
                cluster.connected(study.resources, study.folder / "ray.log"),
                watched(view.say),
                interruptible(view.say) as interrupted,
            ):
                share = cluster.share(study.resources, study.resources.workers, view.say, interrupted)
                preflight(study, share, view.say, interrupted)
                rows = choose_precision(
                    study, rows, share, channels=searching.channels, classes=len(searching.classes),
                    records=reading.records, say=view.say,
                )  # fmt: skip
                write_prediction(study, probed_rates(study), searching)
                if not finals_begun(recorder.records):  # else a time limit had ended the search
                    _search(study, rows, recorder, share, searching, found, view, interrupted)
                _finals(study, rows, recorder, sources, view, interrupted)
    return Conducted(tuple(recorder.records), rows)


def finals_begun(records: Sequence[TrialRecord]) -> bool:
    """True once the test set was read: the search is over then, whatever of its budget is left."""
    return any(record.stage == "final" for record in records)


def study_is_done(study: Study, rows: Mapping[str, Row], records: Sequence[TrialRecord]) -> bool:
    """True if the search is over, and every row with a completed trial has its finals."""
    for row in rows:
        searched = [record for record in records if record.row == row and record.stage == "search"]
        finals = {record.seed for record in records if record.row == row and record.stage == "final"}
        wanted = study.finals.seeds if any(record.status == "completed" for record in searched) else 0
        searching = len(searched) < study.budget.trials and not _limit_is_spent(study, searched)
        if (searching and not finals_begun(records)) or len(finals) < wanted:
            return False
    return not controls.are_missing(records, list(rows), study.finals.seeds)


def _limit_is_spent(study: Study, searched: Sequence[TrialRecord]) -> bool:
    if study.budget.limit is None:
        return False
    unit, amount = study.budget.limit
    return math.fsum(getattr(record.budget, unit) for record in searched) >= amount


def _search(
    study: Study, rows: Mapping[str, Row], recorder: Recorder, share: cluster.Share, material: Material,
    found: Sequence[TrialRecord], view: View, interrupted: threading.Event,
) -> None:  # fmt: skip
    search = search_of(study, rows, material, found)
    view.stage("search", search.total, found)
    if not search.is_over:
        stage = SearchStage(study, rows, recorder, share.gpus, search)
        run_trials(stage, material, share, study, interrupted, view.say, study.budget.time_limit_s)
    for row in search.given_up:
        view.say(f"{row}: given up before its budget was spent: hardly any configuration is within the constraints")


def search_of(study: Study, rows: Mapping[str, Row], material: Material, found: Sequence[TrialRecord]) -> Search:
    """The study's search, with what it has ``found`` so far."""
    return Search(
        study.search, study.budget.trials, {label: row.space for label, row in rows.items()},
        study.folder / "optuna.journal", found,
        admission(study, rows, channels=material.channels, classes=len(material.classes)), study.budget.limit,
        validation_images=len(material.held_labels), trial_images=study.budget.epochs * len(material.train_labels),
        normalized=[label for label, row in rows.items() if row.normalized],
    )  # fmt: skip


def _finals(
    study: Study,
    rows: Mapping[str, Row],
    recorder: Recorder,
    sources: Sources,
    view: View,
    interrupted: threading.Event,
) -> None:
    winners = freeze(list(rows), recorder.records, study.folder / "frozen.json")
    if not winners:
        return
    share = cluster.share(study.resources, study.finals.workers, view.say, interrupted)
    material = sources.for_finals()  # the test images are read here, and not before
    recorder.split = material.split
    seeds = range(study.finals.first_seed, study.finals.first_seed + study.finals.seeds)
    finals = FinalsStage(study, rows, recorder, share.gpus, winners, seeds=seeds)
    view.stage("finals", finals.total, [r for r in recorder.records if r.stage == "final" and r.control is None])

    def control() -> FinalsStage | None:
        if not controls.has_majority(recorder.records):
            controls.record_majority(recorder, material)
        best = controls.best_row(recorder.records, list(rows), study.finals.seeds)
        if best is None:
            return None
        row, winner = controls.again(rows[best], winners[best])
        repeated = FinalsStage(
            study, {row.label: row}, recorder, share.gpus, {row.label: winner},
            seeds=[seed + controls.SEED_OFFSET for seed in seeds], control="a/a",
        )  # fmt: skip
        done = [r for r in recorder.records if r.control == "a/a" and r.row == row.label]
        view.stage("controls", repeated.total, done)
        return repeated

    stage = Succession(finals, control)
    if stage.waiting:
        run_trials(stage, material, share, study, interrupted, view.say)


def run_trials(
    stage: RecordedStage | Succession,
    material: Material,
    share: cluster.Share,
    study: Study,
    interrupted: threading.Event,
    say: Callable[[str], None],
    limit_s: float | None = None,
) -> None:
    """A stage's trials, on Ray; say: for what they wait for. Raises Interrupted."""
    ref = MaterialRef(ray.put(material))
    if share.workers > 1:
        trainable = distributed_trials(ref, storage=shared_place(study, "train"))
    else:
        trainable = ray_tune.with_parameters(tune_trial, material=ref)
    slots = cluster.Slots(study.resources, share, lambda: stage.waiting)
    try:
        run_stage(
            stage, trainable, resources=share.placement(), concurrent=slots,
            folder=study.folder / "tune", interrupted=interrupted, say=say, time_limit_s=limit_s,
        )  # fmt: skip
    finally:
        slots.close()


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
