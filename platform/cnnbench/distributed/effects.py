"""The effects of components: around each row's frozen configuration one component at a time is swapped, its learning
rate is briefly tuned again on the validation images, and it is trained like the finals, with their seeds.

All of it is recorded in the study's ledger, and one that was begun is continued.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log
from statistics import fmean
from typing import Literal

from cnnbench.distributed.conduct import Conducted
from cnnbench.distributed.continuation import continue_study, opened
from cnnbench.distributed.done import study_is_done
from cnnbench.distributed.freeze import Winner, freeze
from cnnbench.distributed.material import Material
from cnnbench.distributed.mirror import mirrors
from cnnbench.distributed.phases import PlannedPhase
from cnnbench.distributed.plan import Row, plan_rows
from cnnbench.distributed.probe import choose_precision
from cnnbench.distributed.recorder import Observer, Recorder
from cnnbench.distributed.session import View, session
from cnnbench.distributed.sources import open_sources
from cnnbench.distributed.spec import TrialSpec
from cnnbench.distributed.variants import Variant, Variants, plan_variants
from cnnbench.ledger import EffectOf, TrialRecord
from cnnbench.space import Value
from cnnbench.study import Study, StudyError
from cnnbench.training.recipe import KNOBS

Step = Literal["tuning", "measured"]


@dataclass(frozen=True)
class Planned:
    """One training: a variant at ``lr_factor`` times the frozen learning rate. index: the factor's, or the seed's."""

    variant: Variant
    lr_factor: float
    phase: Step
    index: int
    seed: int
    stop_epoch: int | None

    @property
    def trial_id(self) -> str:
        swapped = f"{self.variant.row}-effect-{self.variant.component}-{self.variant.value}"
        return f"{swapped}-lr{self.lr_factor:g}" if self.phase == "tuning" else f"{swapped}-{self.seed}"

    @property
    def values(self) -> dict[str, Value]:
        """The whole configuration."""
        return {**self.variant.values, "lr": _rate(self.variant) * self.lr_factor}

    @property
    def effect(self) -> EffectOf:
        variant = self.variant
        return EffectOf(
            component=variant.component, value=variant.value, instead_of=variant.instead_of, phase=self.phase,
            lr_factor=self.lr_factor,
        )  # fmt: skip


def _rate(variant: Variant) -> float:
    rate = variant.values.get("lr", KNOBS["lr"].default)
    return float(rate)  # type: ignore[arg-type]  # the recipe's lr is a number


class EffectsPhase(PlannedPhase):
    """The planned trainings of one step."""

    stage = "effect"
    counted_as = "effects"

    def __init__(
        self, study: Study, rows: Mapping[str, Row], recorder: Recorder, planned: Sequence[Planned], step: Step
    ) -> None:
        measured = step == "measured"
        super().__init__(study, rows, recorder, workers=study.finals.workers if measured else study.resources.workers)
        self.name = f"effects-{step}"
        self.scores_on = "test" if measured else "validation"
        self._planned = planned

    def begin(self, gpus: float, images: Callable[[], Material]) -> None:
        super().begin(gpus, images)
        self._plan([self._training(training) for training in self._planned])

    def _training(self, training: Planned) -> TrialSpec:
        row = self._rows[training.variant.row]
        spec = self._spec(row, training.trial_id, training.index, training.values, training.seed, training.stop_epoch)
        return replace(spec, effect=training.effect.model_dump())


def tunings(study: Study, variants: Sequence[Variant], records: Sequence[TrialRecord]) -> list[Planned]:
    """Each variant at each learning rate, with one seed for all; less a variant that is being measured already."""
    seed = study.search.seed
    factors = [(index, factor) for index, factor in enumerate(study.effects.lr_factors)]
    return [
        Planned(variant, factor, "tuning", index, seed, None)
        for variant in variants
        if not _of(variant, "measured", records)
        for index, factor in factors
        if KNOBS["lr"].accepts(_rate(variant) * factor)
    ]


def measurements(
    study: Study, variants: Sequence[Variant], winners: Mapping[str, Winner], records: Sequence[TrialRecord]
) -> list[Planned]:
    """Each variant that trained at some learning rate, at the best one, with the finals' seeds."""
    first, seeds = study.finals.first_seed, min(study.effects.seeds, study.finals.seeds)
    factors = [(variant, best_factor(variant, records)) for variant in variants]
    return [
        Planned(variant, factor, "measured", index, first + index, winners[variant.row].stop_epoch)
        for index in range(seeds)
        for variant, factor in factors
        if factor is not None
    ]


def best_factor(variant: Variant, records: Sequence[TrialRecord]) -> float | None:
    """The learning rate that the variant is measured at, as a multiple of the frozen one: the best by validation
    accuracy, of equals the nearest to 1. One that it was measured at stays. None if it trained at no rate."""
    for record in _of(variant, "measured", records):
        return record.effect.lr_factor if record.effect else None
    scored = [
        (record.score, -abs(log(record.effect.lr_factor)), record.effect.lr_factor)
        for record in _of(variant, "tuning", records)
        if record.effect and record.status == "completed" and record.score is not None
    ]
    return max(scored)[-1] if scored else None


def _of(variant: Variant, phase: Step, records: Iterable[TrialRecord]) -> list[TrialRecord]:
    return [
        record
        for record in records
        if record.row == variant.row and record.effect and record.effect.phase == phase
        and (record.effect.component, record.effect.value) == (variant.component, variant.value)
    ]  # fmt: skip


# ---------------------------------------------------------------- the conduct


def conduct_effects(
    study: Study, view: View, observers: Sequence[Observer], study_file: str, *, takeover: bool = False
) -> Conducted:
    """Runs the effects of a finished study, or the rest of them. Raises StudyError before anything starts if its
    finals are not complete, and what ``conduct`` raises."""
    run = shlex.join(["cnnbench", "run", study_file])
    first = StudyError(study.study, [f"finals: not complete; run `{run}` first"])
    if not (study.folder / "ledger.jsonl").exists():
        raise first
    sources = open_sources(study.data)
    searching = sources.for_search()
    channels, classes = searching.channels, len(searching.classes)
    rows = plan_rows(study, channels=channels, classes=classes)
    with session(study, sources, view, takeover=takeover) as here:
        told = [view, *observers, *mirrors(study, view.say)]
        ledger, reading = opened(study, view)
        if not study_is_done(study, rows, reading.records):
            raise first
        continue_study(study, reading.records, searching, view)
        winners = freeze(list(rows), reading.records, study.folder / "frozen.json")
        paired = {record.row for record in reading.records if record.stage == "final" and record.test}
        winners = {row: winner for row, winner in winners.items() if row in paired}
        plan = plan_variants(study, rows, winners, channels=channels, classes=classes)
        _tell(study, plan, reading.records, view)
        recorder = Recorder(study, ledger, told, list(reading.records), here.check_lock)
        if _is_done(study, plan, winners, recorder.records):
            view.say("all of these effects are measured; nothing is run again")
        else:
            ready = choose_precision(
                study, plan.rows, partial(here.each, workers=study.resources.workers), channels=channels,
                classes=classes, records=reading.records, say=view.say,
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
