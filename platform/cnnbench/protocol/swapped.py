"""What effects are measured by: around each row's frozen configuration one component at a time is swapped, its learning
rate is briefly tuned again on the validation images, and it is trained like the finals, with their seeds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Literal

from cnnbench.ledger import EffectOf, TrialRecord
from cnnbench.protocol.freeze import Winner
from cnnbench.protocol.phases import PlannedPhase
from cnnbench.protocol.plan import PlannedRow
from cnnbench.protocol.recorder import Recorder
from cnnbench.protocol.variants import Variant
from cnnbench.study import Study
from cnnbench.study.space import Value
from cnnbench.training.recipe import KNOBS
from cnnbench.trial.images import TrialImages
from cnnbench.trial.spec import TrialSpec

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
        self, study: Study, rows: Mapping[str, PlannedRow], recorder: Recorder, planned: Sequence[Planned], step: Step
    ) -> None:
        measured = step == "measured"
        super().__init__(study, rows, recorder, workers=study.finals.workers if measured else study.resources.workers)
        self.name = f"effects-{step}"
        self.scores_on = "test" if measured else "validation"
        self._planned = planned

    def begin(self, gpus: float, images: Callable[[], TrialImages]) -> None:
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
