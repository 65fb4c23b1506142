"""Invented studies of any size, for benchmarks and for pages to look at: many trials, many rows, several data sets."""

import math
import random
from collections.abc import Iterator
from typing import Any

from cnnbench.ledger import BudgetSpent, ComponentUse, Cost, EpochPoint, Speed, TestMetrics, TrialRecord
from ledger_rows import SEEDS, again, final, majority, trial
from ledger_rows import scored as tidy

_FAMILIES = (("classic", 1998), ("plain", 2014), ("residual", 2015), ("efficient", 2018), ("modern", 2022))
SPACE: dict[str, Any] = {
    "optimizer": {
        "choice": {
            "sgd": {"lr": {"float": [0.01, 0.5], "log": True}, "momentum": 0.9},
            "adamw": {"lr": {"float": [1e-4, 1e-2], "log": True}},
        }
    },
    "weight_decay": {"float": [1e-5, 1e-2], "log": True},
    "label_smoothing": {"float": [0.0, 0.2]},
    "batch_size": {"choice": [64, 128, 256]},
    "activation": {"choice": ["relu", "gelu", "mish", "silu"]},
}


def large_study(
    trials: int, *, rows: int = 12, epochs: int = 30, classes: int = 10, study: str = "large", dataset: str = "cifar10",
    failed_row: bool = False, finals: bool = True, seed: int = 7,
) -> Iterator[TrialRecord]:  # fmt: skip
    """``trials`` search trials over ``rows`` architectures, half of them pruned at a third of their epochs and one in
    fifty failed, six finals a row, and both controls. Every curve, rate and confusion differs, so that no record
    packs better than a real one's.

    failed_row: all trials of a further row diverged. finals: False, and the search has only just ended.
    """
    chance = random.Random(f"{seed} {dataset}")
    names = tuple(f"class {number}" for number in range(classes))
    makers = [_Row(place, rows, chance, {"study": study}, dataset, epochs, names) for place in range(rows)]
    for number in range(trials):
        yield makers[number % rows].trial(number // rows)
    if failed_row:
        for number in range(max(1, trials // rows)):
            yield trial("zfnet", number, None, study=study, status="diverged", reason=f"diverged at step {number + 7}")
    if finals:
        best = max(makers, key=lambda maker: maker.accuracy)
        for maker in makers:
            yield from (maker.final(index) for index in range(len(SEEDS)))
        for index in range(len(SEEDS)):
            control = again(best.final(index), 0.5)
            yield control.model_copy(update={"test": best.test()})
        baseline = tidy(1 / classes, names, images=1000)
        yield majority(1 / classes, study=study, test=baseline, split=best.split(final("x", 1000, 0.5)))


class _Row:
    """Makes one row's records: its accuracy grows with its place, more slowly towards the end."""

    def __init__(
        self, place: int, rows: int, chance: random.Random, common: dict[str, Any], dataset: str, epochs: int,
        names: tuple[str, ...],
    ) -> None:  # fmt: skip
        family, year = _FAMILIES[place * len(_FAMILIES) // rows]
        params = int(60_000 * 400 ** ((place + chance.random()) / rows))
        macs = int(params * (20 + 180 * chance.random()))
        self.label = f"{family}_net_{place:03}"
        self.accuracy = 0.95 - 0.12 * math.exp(-3 * place / rows) + chance.gauss(0, 0.004)
        self.chance, self.epochs, self.names, self.dataset = chance, epochs, names, dataset
        self.seconds = 2 + macs / 1e7
        cost = Cost(
            params=params, trainable_params=params, macs=macs, flops=2 * macs, size_mb=params * 4e-6, input=(3, 32, 32)
        )
        self.common = {**common, "family": family, "year": year + place % 3, "cost": cost}
        self.best = self.configuration()

    def configuration(self) -> dict[str, Any]:
        chance = self.chance
        optimizer = chance.choice(["sgd", "adamw"])
        rate = 10 ** chance.uniform(-2, -0.31) if optimizer == "sgd" else 10 ** chance.uniform(-4, -2)
        momentum = {"momentum": 0.9, "nesterov": False} if optimizer == "sgd" else {}
        activation = ComponentUse(value=chance.choice(["relu", "gelu", "mish", "silu"]), sites=len(self.label))
        return {
            "components": {"activation": activation},
            "hyperparameters": {
                "optimizer": optimizer, "lr": rate, **momentum, "weight_decay": 10 ** chance.uniform(-5, -2),
                "label_smoothing": chance.uniform(0, 0.2), "batch_size": chance.choice([64, 128, 256]),
                "schedule": "warmup_cosine", "warmup_epochs": 2,
            },
        }  # fmt: skip

    def trial(self, index: int) -> TrialRecord:
        chance = self.chance
        pruned, failed = chance.random() < 0.5, chance.random() < 0.02
        reached = self.accuracy - 0.002 - abs(chance.gauss(0, 0.02))
        ran = max(1, self.epochs // 3) if pruned or failed else self.epochs
        record = trial(
            self.label, index, None if failed else reached, **self.common, **self.configuration(), stop_epoch=ran,
            status="failed" if failed else "pruned" if pruned else "completed",
            reason="the worker was killed (signal 9)" if failed else "", budget=self._budget(ran),
            epochs=self._curve(ran, reached, held_out=True),
        )  # fmt: skip
        return record.model_copy(update={"split": self.split(record)})

    def final(self, index: int) -> TrialRecord:
        speed = Speed(
            latency_ms_median=self.seconds, latency_ms_p95=1.2 * self.seconds, latency_runs=50,
            throughput=4000 / self.seconds, throughput_batch=64, peak_memory_mb=20 + 3 * self.seconds, device="cpu",
            threads=2,
        )  # fmt: skip
        record = final(
            self.label, SEEDS[index], 0.5, **self.common, **self.best, speed=speed, budget=self._budget(self.epochs),
            epochs=self._curve(self.epochs, self.accuracy + 0.02, held_out=False), stop_epoch=self.epochs,
            test=self.test(),
        )  # fmt: skip
        return record.model_copy(update={"split": self.split(record)})

    def split(self, record: TrialRecord) -> Any:
        return record.split.model_copy(update={"dataset": self.dataset})

    def test(self) -> TestMetrics:
        """Ten thousand images, evenly over the classes."""
        reached = min(0.999, self.accuracy + self.chance.gauss(0, 0.0015))
        metrics = tidy(reached, self.names, images=10_000)
        return metrics.model_copy(update={"accuracy": reached, "loss": 3 * (1 - reached)})

    def _budget(self, ran: int) -> BudgetSpent:
        seconds = self.seconds * ran * (0.9 + 0.2 * self.chance.random())
        return BudgetSpent(epochs_asked=self.epochs, epochs=ran, images=45_000 * ran, device_seconds=seconds)

    def _curve(self, ran: int, reached: float, *, held_out: bool) -> tuple[EpochPoint, ...]:
        noise, speed = self.chance.gauss, 3 + 3 * self.chance.random()
        points = []
        for epoch in range(1, ran + 1):
            now = min(0.9999, reached - (reached - 0.1) * math.exp(-speed * epoch / self.epochs) + noise(0, 0.003))
            now = max(0.0, now)
            validation = {"val_loss": 2.2 * (1.02 - now), "val_accuracy": now} if held_out else {}
            rate = 0.1 * (1 - epoch / (self.epochs + 1))
            common = {"learning_rate": rate, "seconds": self.seconds + noise(0, 0.01)}
            training = {"train_loss": 2.3 * (1.005 - now), "train_accuracy": now}
            points.append(EpochPoint(epoch=epoch, **training, **validation, **common))
        return tuple(points)
