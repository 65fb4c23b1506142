"""A simulated trainer for tests of effects: test accuracy is a plain function of configuration and seed."""

import random
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cnnbench.ledger import Ledger, Split, TrialRecord
from cnnbench.protocol.freeze import Winner
from cnnbench.protocol.phases import FinalsPhase, Phase
from cnnbench.protocol.plan import PlannedRow, plan_rows
from cnnbench.protocol.recorder import Recorder
from cnnbench.protocol.swapped import EffectsPhase, measurements, tunings
from cnnbench.protocol.variants import Variants, plan_variants
from cnnbench.study import Study, parse
from cnnbench.trial.spec import Progress, TrialSpec
from cnnbench.vocabulary import vocabulary
from ledger_rows import scored

IMAGES = 10_000
COST = {"tanh": 0.01}  # what a component costs, by construction
RATE = {"elu": 3.0}  # the best learning rate, as a multiple of 0.1
NOISE = 0.002  # standard deviation of a training's own luck

STUDY = """
study: simulated
data: {{dataset: digits, image_size: 16}}
architectures: [{architectures}]
space: {{lr: 0.1, activation: {{choice: [relu, gelu]}}}}
budget: {{trials: 1, epochs: 6}}
effects: {{components: {components}}}
precision: fp32
storage: {storage}
"""


class Simulated:
    """A study whose finals are done, in ``folder``; ``values``: the frozen configuration of each row."""

    def __init__(
        self, folder: Path, components: str, values: Mapping[str, Any] | None = None, architectures: str = "resnet20"
    ) -> None:
        text = STUDY.format(architectures=architectures, components=components, storage=folder)
        self.study: Study = parse(text, vocabulary())
        self.rows: dict[str, PlannedRow] = plan_rows(self.study, channels=1, classes=10)
        values = {"lr": 0.1, "schedule": "constant", **(values or {})}
        self.winners = {row: Winner(row, f"{row}-000", 0.9, 5, values) for row in self.rows}
        self.split = Split(
            dataset="digits", train=80, validation=20, test=None, seed=0, data_checksum="a", split_checksum="b"
        )
        self.recorder = Recorder(self.study, Ledger(self.study.folder.ledger), [])
        self.trained: list[TrialSpec] = []

    @property
    def records(self) -> list[TrialRecord]:
        return self.recorder.records

    def plan(self) -> Variants:
        return plan_variants(self.study, self.rows, self.winners)

    def finals(self) -> None:
        seeds = range(1000, 1000 + self.study.finals.seeds)
        self.train(FinalsPhase(self.study, self.rows, self.recorder, self.winners, seeds))

    def effects(self, most: int = 10_000) -> None:
        """Both steps, until ``most`` trainings are done."""
        plan = self.plan()
        planned = tunings(self.study, plan.variants, self.records)
        self.train(EffectsPhase(self.study, plan.rows, self.recorder, planned, "tuning"), most)
        if len(self.trained) < most:
            planned = measurements(self.study, plan.variants, self.winners, self.records)
            self.train(EffectsPhase(self.study, plan.rows, self.recorder, planned, "measured"), most)

    def train(self, phase: Phase, most: int = 10_000) -> None:
        images: Any = SimpleNamespace(split=self.split)
        phase.begin(0.0, lambda: images)
        while len(self.trained) < most and (spec := phase.ask()) is not None:
            self.trained.append(spec)
            point = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "learning_rate": 0.1, "seconds": 0.1}
            end: dict[str, Any] = {}
            if spec.on_validation:
                point |= {"val_loss": 1.0, "val_accuracy": accuracy(spec)}
            else:
                end["test"] = scored(accuracy(spec), images=IMAGES)
            phase.finish(Progress(spec, "2026-01-01T00:00:00+00:00", points=[point]), "completed", "", end)


def accuracy(spec: TrialSpec) -> float:
    """0.9, less what the component and a wrong learning rate cost, with the seed's luck and the training's own."""
    swapped = next((value for value in spec.network.components.values() if isinstance(value, str)), "")
    of_seed, own = random.Random(spec.seed).gauss(0, 0.01), random.Random(spec.trial_id).gauss(0, NOISE)
    wrong_rate = abs(spec.hyperparameters["lr"] / (0.1 * RATE.get(swapped, 1.0)) - 1)
    return 0.9 - COST.get(swapped, 0.0) - 0.02 * wrong_rate + of_seed + own
