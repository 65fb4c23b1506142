"""How the figures came about: protocol facts and provenance, read from the records."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnbench.ledger import TrialRecord
from cnnbench.report.formats import count, duration, tally, value, without_secrets
from cnnbench.report.table.row_records import RowRecords, ordinary

_SHOWN_CHECKSUM = 16


def protocol(rows: Sequence[RowRecords]) -> list[tuple[str, str]]:
    """(fact, figures) on splits, budgets and test reads; a tally where records differ."""
    trials = [trial for row in rows for trial in row.trials]
    finals = [final for row in rows if row.control != "majority" for final in row.finals]
    fresh = [final for final in finals if final.control is None]
    again = [final for final in finals if final.control == "a/a"]
    facts = [
        ("Images in a search trial", tally(_sizes(trial) for trial in trials)),
        ("Images in a final", tally(_sizes(final) for final in finals)),
        ("Search trials a row", tally(str(len(row.trials)) for row in ordinary(rows))),
        ("Epochs at most, in a trial", tally(str(trial.budget.epochs_asked) for trial in trials)),
        ("Epochs at most, in a final", tally(str(final.budget.epochs_asked) for final in finals)),
        ("Seeds of the finals", _seeds(fresh)),
        *([("Seeds of the A/A control", _seeds(again))] if again else []),
        ("Times the test set was read", str(sum(final.test is not None for row in rows for final in row.finals))),
        ("Spent in the search", _spent(trials)),
        ("Spent in the finals", _spent(finals)),
    ]
    return facts


def _seeds(finals: Sequence[TrialRecord]) -> str:
    return ", ".join(str(seed) for seed in sorted({final.seed for final in finals})) or "–"


def _sizes(record: TrialRecord) -> str:
    split = record.split
    parts = [f"{split.train:,} training", f"{split.validation:,} validation" if split.validation else "no validation"]
    parts.append("no test" if split.test is None else f"{split.test:,} test")
    return ", ".join(parts)


def _spent(records: Sequence[TrialRecord]) -> str:
    budgets = [record.budget for record in records]
    seconds = duration(sum(budget.device_seconds for budget in budgets))
    epochs, images = sum(budget.epochs for budget in budgets), sum(budget.images for budget in budgets)
    return f"{seconds} on devices, {epochs:,} epochs, {count(images)} images"


def provenance(rows: Sequence[RowRecords], generated_utc: str, tracking_uri: str | None) -> list[tuple[str, str]]:
    """(what, value) of code, data, machines and times; a tally of records where they differ."""
    # The majority-class baseline trains nothing: its precision and its machine would be those of no network.
    records = [record for row in rows if row.control != "majority" for record in (*row.trials, *row.finals)]
    machines = [record.machine for record in records]
    names = sorted({name for machine in machines for name in machine.versions})
    return [
        ("Commit", tally(record.commit for record in records)),
        ("Data set", tally(record.split.dataset for record in records)),
        ("Data checksum", tally(f"sha256:{record.split.data_checksum[:_SHOWN_CHECKSUM]}…" for record in records)),
        ("Split", tally(f"seed {r.split.seed}, sha256:{r.split.split_checksum[:_SHOWN_CHECKSUM]}…" for r in records)),
        ("Input (channels, height, width)", tally(" × ".join(map(str, record.cost.input)) for record in records)),
        ("Lock (constraints.txt)", tally(_lock(machine.lock) for machine in machines)),
        ("Device", tally(machine.device for machine in machines)),
        ("CPUs of the host", tally(str(machine.host_cpus) for machine in machines)),
        ("Workers a run", tally(str(machine.workers) for machine in machines)),
        ("Precision", tally(_precision(record) for record in records)),
        ("Peak memory", f"{max((machine.peak_memory_mb for machine in machines), default=0):,.0f} MB"),
        ("Python", tally(machine.python for machine in machines)),
        *((name, tally(machine.versions.get(name, "not recorded") for machine in machines)) for name in names),
        ("First record begun", min((record.started_utc for record in records), default="–")),
        ("Last record finished", max((record.finished_utc for record in records), default="–")),
        ("Report made", generated_utc),
        ("MLflow tracking", without_secrets(tracking_uri) if tracking_uri else "–"),
    ]


def _lock(digest: str | None) -> str:
    return f"sha256:{digest[:_SHOWN_CHECKSUM]}…" if digest else "not recorded"


def _precision(record: TrialRecord) -> str:
    return record.machine.precision + (", channels last" if record.machine.channels_last else "")


def study_settings(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The resolved study file, flattened to (dotted key, value), without secrets and folders."""
    shown = {key: branch for key, branch in study.items() if key != "defaults"}  # those stand in the rows' details
    return [(key, without_secrets(value(leaf))) for key, leaf in _leaves(shown, "")]


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, branch in tree.items():
            yield from _leaves(branch, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list | tuple) and any(isinstance(branch, Mapping | list | tuple) for branch in tree):
        for number, branch in enumerate(tree):
            yield from _leaves(branch, f"{path}.{number}")
    elif isinstance(tree, list | tuple):
        yield path, ", ".join(value(branch) for branch in tree)
    else:
        yield path, tree
