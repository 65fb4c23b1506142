"""A leaderboard row as its ledger has it: what ran, and what is different here and now."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from cnnbench.ledger import Ledger, Split, TrialRecord
from cnnbench.nearest import alternatives
from cnnbench.protocol.freeze import Winner
from cnnbench.protocol.plan import PlannedRow, plan_rows
from cnnbench.row_id import row_id
from cnnbench.search.configuration import record_values
from cnnbench.study import Architecture, Study, StudyError, StudyFolder, load, parse, read_recorded, recorded_folder
from cnnbench.study.space import Fixed
from cnnbench.trial import machine
from cnnbench.vocabulary import vocabulary

# What a study may say of this machine. All else is as the ledger has it.
HERE = ("data.root", "resources", "storage", "checkpoint_every_s")
_KEPT = ("study", "data", "budget", "finals", "resources", "storage", "checkpoint_every_s")  # all that a final needs
_UNKNOWN = "not recorded"


@dataclass(frozen=True)
class RecordedRow:
    """label: in the leaderboard; study: as it was resolved, on this machine; finals: the completed ones, by index."""

    label: str
    id: str
    study: Study
    finals: tuple[TrialRecord, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        return tuple(final.test.accuracy for final in self.finals if final.test)

    def __str__(self) -> str:
        seeds = ", ".join(str(final.seed) for final in self.finals)
        return (
            f"row {self.label} ({self.id}) of {self.study.study}: {len(self.finals)} finals, "
            f"mean {100 * fmean(self.accuracies):.2f} %, seeds {seeds}"
        )


def find(place: Path, wanted: str, settings: Sequence[str] = ()) -> RecordedRow:
    """The row called ``wanted``, or with that id. place: a study file whose study was run, or a folder with a ledger
    and ``study.json``; settings: ``field=value``, of fields in HERE. Raises StudyError and LedgerError."""
    for setting in settings:
        field = setting.partition("=")[0]
        if not any(field == name or field.startswith(f"{name}.") for name in HERE):
            raise StudyError("--set", [f"{field}: a row is run as its ledger says; set only {', '.join(HERE)}"])
    here = None if place.is_dir() else load(place, vocabulary(), settings)
    folder = here.folder if here else StudyFolder(place)
    needed = (folder.ledger, folder.study_json)
    for file in needed:
        if not file.exists():
            files = " and ".join(each.name for each in needed)
            remedy = "run the study first" if here else f"give a study file, or a folder with {files}"
            raise StudyError(str(place), [f"{file}: no such file; {remedy}"])
    finals = _finals(folder.ledger, wanted)
    identity = row_id(finals)
    assert identity is not None, "a row has a completed final"
    if here is None and not any(setting.startswith("storage=") for setting in settings):
        _need_own_storage(folder.study_json)
    study = _study(folder.study_json, finals[0], () if here else settings)
    if here:
        own = {name: getattr(here, name) for name in ("resources", "storage", "checkpoint_every_s")}
        study = study.model_copy(update={**own, "data": study.data.model_copy(update={"root": here.data.root})})
    return RecordedRow(finals[0].row, identity, study, finals)


def _finals(path: Path, wanted: str) -> tuple[TrialRecord, ...]:
    latest = {record.trial_id: record for record in Ledger(path).read().records if record.stage == "final"}
    rows: dict[str, list[TrialRecord]] = {}
    for record in sorted(latest.values(), key=lambda record: record.index):
        if record.control != "majority" and record.status == "completed" and record.test:
            rows.setdefault(record.row, []).append(record)
    for label, finals in rows.items():
        if wanted in (label, row_id(finals)):
            return tuple(finals)
    known = [f"{label} ({row_id(finals)})" for label, finals in rows.items()]
    instead = (
        alternatives(wanted, known, f"cnnbench report {path.parent} --format md") if known else "no final has completed"
    )
    raise StudyError(str(path), [f"row {wanted!r}: not among the rows with finals; {instead}"])


def _need_own_storage(described: Path) -> None:
    """Raises StudyError if ``study.json`` names a storage that is neither below the current folder nor its own."""
    tree = read_recorded(described)
    if Path(str(tree.get("storage"))).expanduser().resolve() != described.resolve().parent.parent:
        recorded_folder(tree, "storage", described, "say where the runs go with --set storage=FOLDER")


def _study(path: Path, final: TrialRecord, settings: Sequence[str]) -> Study:
    """The study as it was resolved, with this row alone; how it was searched is left out."""
    tree = read_recorded(path)
    architecture = {"name": final.architecture, **final.options}
    if architecture.get("stem") == "own":
        del architecture["stem"]  # no study asks for it: a network without another has it
    label = final.row.removesuffix("_aa")  # that ending is kept for controls
    if Architecture.model_validate(architecture).row != label:
        architecture["label"] = label
    kept = {key: tree[key] for key in _KEPT if key in tree}
    resources = kept.get("resources")
    if isinstance(resources, dict) and resources.get("cluster") != "local":
        kept["resources"] = {
            **resources,
            "cluster": "auto",
        }  # whoever wrote the file chooses no cluster for this machine
    text = json.dumps({**kept, "architectures": [architecture]}, ensure_ascii=False)
    return parse(text, vocabulary(), settings, source=str(path))


def plan(recorded: RecordedRow, *, channels: int, classes: int) -> tuple[PlannedRow, Winner]:
    """The row and its configuration, as the finals' stage takes them. Raises StudyError where this cnnbench can't build
    that network any more."""
    final = recorded.finals[0]
    space = {kind: Fixed(use.value) for kind, use in final.components.items() if use.sites}
    study = recorded.study.model_copy(update={"space": space})
    (planned,) = plan_rows(study, channels=channels, classes=classes).values()
    idle = tuple(kind for kind, use in final.components.items() if not use.sites)
    row = replace(planned, label=recorded.label, left_out=idle)
    row = row.with_precision(final.machine.precision, final.machine.channels_last)
    return row, Winner(recorded.label, final.trial_id, 0.0, final.stop_epoch or 0, record_values(final))


def as_recorded(recorded: RecordedRow, runs: int) -> Study:
    """The study that runs the row ``runs`` times again, in a folder of its own."""
    study, final = recorded.study, recorded.finals[0]
    finals = study.finals.model_copy(update={"seeds": runs, "workers": final.machine.workers})
    budget = study.budget.model_copy(update={"epochs": final.budget.epochs_asked})
    storage = study.folder.storage.reproduction(recorded.label, recorded.id)
    return study.model_copy(update={"finals": finals, "budget": budget, "storage": str(storage)})


# ---------------------------------------------------------------- what is different


def data_differences(recorded: Split, here: Split) -> list[str]:
    """One line for each difference between the images of the finals and those here."""
    pairs = ((name, getattr(recorded, name), getattr(here, name)) for name in Split.model_fields)
    return [f"{name}: {before} in the row, {now} here" for name, before, now in pairs if before != now]


def environment(*, cpus: float, gpus: float) -> dict[str, str]:
    """Code, versions and machine of the process that calls this; cpus, gpus: of a worker that it stands for."""
    return {
        "commit": machine.commit(), "device": machine.device_name("cuda" if gpus else "cpu"),
        "CPUs of the host": str(machine.host_cpus()), "threads": str(max(1, int(cpus))),
        "Python": sys.version.split()[0], **machine.versions(),
    }  # fmt: skip


def environment_differences(finals: Sequence[TrialRecord], here: Mapping[str, str]) -> list[str]:
    """One line for each difference between the finals' environments and the one here."""
    recorded = [_environment(final) for final in finals]
    lines = []
    for name in dict.fromkeys([*(name for each in recorded for name in each), *here]):
        before = dict.fromkeys(each.get(name, _UNKNOWN) for each in recorded)
        now = here.get(name, _UNKNOWN)
        if set(before) != {now}:
            lines.append(f"{name}: {', '.join(before)} in the row, {now} here")
    if here["commit"].endswith("-dirty"):
        lines.append("commit: the code here has changes that no commit holds")
    return lines


def _environment(final: TrialRecord) -> dict[str, str]:
    ran_on = final.machine
    return {
        "commit": final.commit, "device": ran_on.device, "CPUs of the host": str(ran_on.host_cpus),
        "threads": str(final.speed.threads) if final.speed else _UNKNOWN, "Python": ran_on.python, **ran_on.versions,
    }  # fmt: skip
