"""Runs a leaderboard row again, and says whether it comes out as before.

New runs from fresh seeds are judged by the row's prediction interval. Runs from the very seeds of its finals repeat
them to the bit on one CPU and in one environment; elsewhere they are judged by the interval too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import ray

from cnnbench.distributed import cluster
from cnnbench.distributed.conduct import View, opened, resolved, run_trials
from cnnbench.distributed.lock import held
from cnnbench.distributed.preflight import preflight
from cnnbench.distributed.recorded import (
    RecordedRow,
    as_recorded,
    data_differences,
    environment,
    environment_differences,
    plan,
)
from cnnbench.distributed.sources import open_sources
from cnnbench.distributed.stages import FinalsStage, Recorder
from cnnbench.distributed.tune import interruptible
from cnnbench.distributed.verdict import Verdict, judge
from cnnbench.ledger import Split, TrialRecord
from cnnbench.study import StudyError
from cnnbench.training.whole_file import write_whole

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


def reproduce(row: RecordedRow, view: View, seeds: Sequence[int], *, allow_different_data: bool = False) -> Verdict:
    """Runs the row with ``seeds``, or what is left of that, into a ledger of its own below the study's storage.

    Says every difference of data and environment before the first run. Raises StudyError if the images differ and that
    is not allowed, DataError, ClusterError, and Interrupted once it has stopped.
    """
    study = as_recorded(row, len(seeds))
    material = open_sources(study.data).for_finals()
    images = data_differences(row.finals[0].split, material.split)
    if images and not allow_different_data:
        raise StudyError(row.label, [*images, "other images say nothing of the row; --allow-different-data runs it"])
    planned, winner = plan(row, channels=material.channels, classes=len(material.classes))
    with held(study.folder / ".lock", view.say) as lock:
        write_whole(study.folder / "study.json", json.dumps(resolved(study), indent=2) + "\n")
        ledger, reading = opened(study, view)
        with cluster.connected(study.resources, study.folder / "ray.log"), interruptible(view.say) as interrupted:
            share = cluster.share(study.resources, study.finals.workers, view.say, interrupted)
            preflight(study, share, view.say, interrupted)
            here = _environment_there(share)
            differences = (*images, *environment_differences(row.finals, here))
            for line in differences:
                view.say(f"different: {line}")
            kept = [record for record in reading.records if still_holds(record, seeds, here, material.split)]
            recorder = Recorder(study, material.split, ledger, [view], kept, lock.check)
            stage = FinalsStage(
                study, {row.label: planned}, recorder, share.gpus, {row.label: winner},
                seeds=seeds, control="a/a" if row.finals[0].control else None,
            )  # fmt: skip
            view.stage("reproduction", stage.total, kept)
            if stage.left:
                run_trials(stage, material, share, study, interrupted, view.say)
        verdict = judge(row.finals, recorder.records, differences, on_cpu=not share.gpus)
        write_whole(study.folder / "verdict.json", json.dumps(asdict(verdict), indent=2) + "\n")
    return verdict


def _environment_there(share: cluster.Share) -> dict[str, str]:
    """The environment where the runs will be, which on a cluster is another machine."""
    task: Any = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus)(environment)  # type: ignore[arg-type]
    there: dict[str, str] = ray.get(task.remote(cpus=share.cpus, gpus=share.gpus))
    return there


def still_holds(record: TrialRecord, seeds: Sequence[int], here: Mapping[str, str], split: Split) -> bool:
    """True for a run that an earlier call completed, and that would come out the same now."""
    same = record.status == "completed" and record.seed in seeds and record.split == split
    return same and not environment_differences([record], here)
