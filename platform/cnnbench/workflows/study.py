"""A whole study: plan, search, freeze, finals. One that was begun is continued: the ledger has what is finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cnnbench.distributed.session import View, session
from cnnbench.ledger import TrialRecord
from cnnbench.protocol.constraints import admission
from cnnbench.protocol.done import finals_begun, study_is_done
from cnnbench.protocol.freeze import freeze
from cnnbench.protocol.mirror import mirrors
from cnnbench.protocol.phases import ControlsPhase, FinalsPhase, SearchPhase
from cnnbench.protocol.plan import PlannedRow, check_budget, plan_rows
from cnnbench.protocol.price import write_prediction
from cnnbench.protocol.recorder import Observer, Recorder
from cnnbench.protocol.row_probe import choose_precision, probed_rates
from cnnbench.search import optuna_store
from cnnbench.search.search import StudySearch
from cnnbench.study import Study
from cnnbench.trial.images import TrialImages
from cnnbench.trial.study_images import open_sources
from cnnbench.workflows.continuation import continue_study, opened

FEW_ADMITTED = "hardly any configuration is within the constraints"


@dataclass(frozen=True)
class Conducted:
    """A finished study: its records, and the facts that the report tells."""

    records: tuple[TrialRecord, ...]
    rows: Mapping[str, PlannedRow]


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
    with session(study, sources, view, takeover=takeover) as here:
        told = [view, *observers, *mirrors(study, view.say)]
        ledger, reading = opened(study, view)
        continue_study(study, reading.records, searching, view)
        recorder = Recorder(study, ledger, told, list(reading.records), here.check_lock)
        if study_is_done(study, rows, recorder.records):
            view.say(f"all {len(recorder.records)} trials of this study are finished; nothing is run again")
        else:
            rows = choose_precision(
                study, rows, partial(here.each, workers=study.resources.workers),
                records=reading.records, say=view.say,
            )  # fmt: skip
            write_prediction(study, probed_rates(study), searching)
            if not finals_begun(recorder.records):  # else a time limit had ended the search
                search = search_of(study, rows, searching, recorder.records)
                here.run(SearchPhase(study, rows, recorder, search))
                for row in search.given_up:
                    view.say(f"{row}: given up before its budget was spent: {FEW_ADMITTED}")
            winners = freeze(list(rows), recorder.records, study.folder.frozen)
            if winners:
                seeds = range(study.finals.first_seed, study.finals.first_seed + study.finals.seeds)
                here.run(
                    FinalsPhase(study, rows, recorder, winners, seeds),
                    ControlsPhase(study, rows, recorder, winners, seeds),
                )
    return Conducted(tuple(recorder.records), rows)


def search_of(
    study: Study, rows: Mapping[str, PlannedRow], material: TrialImages, records: Sequence[TrialRecord]
) -> StudySearch:
    """The study's search, with what the records of an earlier run say of it."""
    return StudySearch(
        study.search, study.budget.trials, {label: row.space for label, row in rows.items()},
        study.folder.optuna_journal, [record for record in records if record.stage == "search"],
        admission(study, rows), study.budget.limit,
        validation_images=len(material.held_labels), trial_images=study.budget.epochs * len(material.train_labels),
        normalized=[label for label, row in rows.items() if row.normalized],
    )  # fmt: skip
