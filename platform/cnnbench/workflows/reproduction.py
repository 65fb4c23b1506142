"""Runs a leaderboard row again, and says whether it comes out as before.

New runs from fresh seeds are judged by the row's prediction interval. Runs from the very seeds of its finals repeat
them to the bit on one CPU and in one environment; elsewhere they are judged by the interval too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from cnnbench.distributed.session import View, session
from cnnbench.ledger import Split, TrialRecord
from cnnbench.protocol.phases import FinalsPhase
from cnnbench.protocol.recorded import (
    RecordedRow,
    as_recorded,
    data_differences,
    environment,
    environment_differences,
    plan,
)
from cnnbench.protocol.recorder import Recorder
from cnnbench.protocol.verdict import Verdict, judge
from cnnbench.study import StudyError
from cnnbench.trial.study_images import open_sources
from cnnbench.whole_file import write_whole
from cnnbench.workflows.continuation import opened, resolved

SEED_OFFSET = 200_000  # of fresh seeds from the finals'; those of the A/A control are 100,000 away


def seeds_of(row: RecordedRow, runs: int | None, *, same: bool) -> list[int]:
    """The seeds of the new runs: by default one fresh one, or with ``same`` all of the finals'. Raises StudyError."""
    finals = [final.seed for final in row.finals]
    if not same and len(finals) < 2:
        raise StudyError(row.label, ["it has one final, and a prediction interval takes two; give --same-seeds"])
    if not same:
        first = row.study.finals.first_seed + SEED_OFFSET
        return list(range(first, first + (runs or 1)))
    if runs and runs > len(finals):
        raise StudyError("--seeds", [f"{runs}: with --same-seeds there are only the row's own {len(finals)}"])
    return finals[:runs]


class ReproductionPhase(FinalsPhase):
    """A row's finals again, with the seeds that are asked for."""

    name = "reproduction"


def reproduce(
    row: RecordedRow, view: View, seeds: Sequence[int], *, allow_different_data: bool = False, takeover: bool = False
) -> Verdict:
    """Runs the row with ``seeds``, or what is left of that, into a ledger of its own below the study's storage.

    Says every difference of data and environment before the first run. Raises StudyError if the images differ and that
    is not allowed, DataError, Held, ClusterError, Interrupted once it has stopped, WriteError on a full disk, TakenOver
    if another process has taken it over. takeover: take it over from a process that is said to run it.
    """
    study = as_recorded(row, len(seeds))
    sources = open_sources(study.data)
    material = sources.for_finals()
    images = data_differences(row.finals[0].split, material.split)
    if images and not allow_different_data:
        raise StudyError(row.label, [*images, "other images say nothing of the row; --allow-different-data runs it"])
    planned, winner = plan(row, channels=material.channels, classes=len(material.classes))
    with session(study, sources, view, takeover=takeover) as here:
        write_whole(study.folder.study_json, json.dumps(resolved(study), indent=2) + "\n")
        ledger, reading = opened(study, view)
        # where the runs will be, which on a cluster is another machine
        (there,) = here.each(environment, [{}], workers=study.finals.workers)
        differences = (*images, *environment_differences(row.finals, there))
        for line in differences:
            view.say(f"different: {line}")
        kept = [record for record in reading.records if still_holds(record, seeds, there, material.split)]
        recorder = Recorder(study, ledger, [view], kept, here.check_lock)
        control: Literal["a/a"] | None = "a/a" if row.finals[0].control else None
        rows, winners = {row.label: planned}, {row.label: winner}
        here.run(ReproductionPhase(study, rows, recorder, winners, seeds, control=control))
        on_cpu = not here.share(study.finals.workers).gpus
        verdict = judge(row.finals, recorder.records, differences, on_cpu=on_cpu)
        write_whole(study.folder.verdict, json.dumps(asdict(verdict), indent=2) + "\n")
    return verdict


def still_holds(record: TrialRecord, seeds: Sequence[int], here: Mapping[str, str], split: Split) -> bool:
    """True for a run that an earlier call completed, and that would come out the same now."""
    same = record.status == "completed" and record.seed in seeds and record.split == split
    return same and not environment_differences([record], here)
