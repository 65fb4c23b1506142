"""The effects of components: each variant of a finished study's frozen configurations is tuned and measured.

All of it is recorded in the study's ledger, and effects that were begun are continued.
"""

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from cnnbench.distributed.session import View, session
from cnnbench.ledger import TrialRecord
from cnnbench.protocol.done import study_is_done
from cnnbench.protocol.freeze import Winner, freeze
from cnnbench.protocol.mirror import mirrors
from cnnbench.protocol.plan import plan_rows
from cnnbench.protocol.recorder import Observer, Recorder
from cnnbench.protocol.row_probe import choose_precision
from cnnbench.protocol.swapped import EffectsPhase, measurements, tunings
from cnnbench.protocol.variants import Variants, plan_variants
from cnnbench.study import Study, StudyError
from cnnbench.trial.study_images import open_sources
from cnnbench.workflows.continuation import continue_study, opened
from cnnbench.workflows.study import Conducted


def conduct_effects(
    study: Study, view: View, observers: Sequence[Observer], study_file: str, *, takeover: bool = False
) -> Conducted:
    """Runs the effects of a finished study, or the rest of them. Raises StudyError before anything starts if its
    finals are not complete, and what ``conduct`` raises."""
    run = shlex.join(["cnnbench", "run", study_file])
    first = StudyError(study.study, [f"finals: not complete; run `{run}` first"])
    if not study.folder.ledger.exists():
        raise first
    sources = open_sources(study.data)
    searching = sources.for_search()
    rows = plan_rows(study, channels=searching.channels, classes=len(searching.classes))
    with session(study, sources, view, takeover=takeover) as here:
        told = [view, *observers, *mirrors(study, view.say)]
        ledger, reading = opened(study, view)
        if not study_is_done(study, rows, reading.records):
            raise first
        continue_study(study, reading.records, searching, view)
        winners = freeze(list(rows), reading.records, study.folder.frozen)
        paired = {record.row for record in reading.records if record.stage == "final" and record.test}
        winners = {row: winner for row, winner in winners.items() if row in paired}
        plan = plan_variants(study, rows, winners)
        _tell(study, plan, reading.records, view)
        recorder = Recorder(study, ledger, told, list(reading.records), here.check_lock)
        if _is_done(study, plan, winners, recorder.records):
            view.say("all of these effects are measured; nothing is run again")
        else:
            ready = choose_precision(
                study, plan.rows, partial(here.each, workers=study.resources.workers),
                records=reading.records, say=view.say,
            )  # fmt: skip
            planned = tunings(study, plan.variants, recorder.records)
            here.run(EffectsPhase(study, ready, recorder, planned, "tuning"))
            planned = measurements(study, plan.variants, winners, recorder.records)
            here.run(EffectsPhase(study, ready, recorder, planned, "measured"))
    return Conducted(tuple(recorder.records), rows)


def _is_done(study: Study, plan: Variants, winners: Mapping[str, Winner], records: Sequence[TrialRecord]) -> bool:
    done = {record.trial_id for record in records}
    planned = tunings(study, plan.variants, records)
    if any(training.trial_id not in done for training in planned):
        return False
    return all(training.trial_id in done for training in measurements(study, plan.variants, winners, records))


def _tell(study: Study, plan: Variants, records: Sequence[TrialRecord], view: View) -> None:
    """The plan in words; its price from what the finals took."""
    for line in plan.left_out:
        view.say(f"left out: {line}")
    count = {row: sum(variant.row == row for variant in plan.variants) for row in plan.rows}
    each = len(study.effects.lr_factors) + min(study.effects.seeds, study.finals.seeds)
    seconds = 0.0
    for row, variants in count.items():
        finals = [r.budget.device_seconds for r in records if r.row == row and r.stage == "final"]
        seconds += variants * each * fmean(finals)
    view.say(
        f"{len(plan.variants)} variants ({', '.join(f'{row} {number}' for row, number in count.items())}), "
        f"{each} trainings each, about {seconds:,.0f} device-seconds in all"
    )
